//! A product made ready to run: B packed ahead where it stays the same for many runs.

use std::marker::PhantomData;

use kiln_ir::Result;

use super::blocked::{self, KeptColumns};
use super::blocking::Blocking;
use super::kernels::GemmNumber;
use super::panel_packer::PanelPacker;
use super::{Gemm, GemmElement, Mat, ResultSink};
use crate::call::Lasting;
use crate::memory::AlignedBytes;
use crate::simd::Level;
use crate::threads::threads;

/// The plan of a product.
pub(crate) struct PlannedGemm<S> {
    level: Level,
    shape: Gemm,
    /// Columns of a panel, and the panels as [`PlannedGemm::prepack`] left them; without, B is read at every run as it lies.
    kept: Option<(usize, AlignedBytes)>,
    elements: PhantomData<fn() -> S>,
}

impl<S: GemmElement> PlannedGemm<S> {
    /// Plans a product of matrices that lie so. Where B stays the same for many calls, it is packed whenever it changes if it
    /// would be at every call, and always for the steps of a walk, which follow each other at once. Halves aren't: packed they
    /// would be twice as large.
    pub(crate) fn new(
        level: Level,
        shape: Gemm,
        a: &Mat<S>,
        b: &Mat<S>,
        lasting: Lasting,
    ) -> Result<PlannedGemm<S>> {
        let kernels = S::Sum::KERNELS.at(level);
        let empty = [shape.batch, shape.m, shape.n, shape.k].contains(&0);
        let plan = Blocking::new(kernels, threads(), shape, a, b, None);
        let packs = match lasting {
            Lasting::Call => false,
            Lasting::Steps => true,
            Lasting::Runs => !plan.direct_b,
        };
        let kept = if packs && S::PLAIN && !empty && !super::is_column(shape) {
            let between = PanelPacker::new(level, kernels, *b, shape.k, plan.panel).packed(shape.n);
            let count = if b.batch == 0 { 1 } else { shape.batch };
            let bytes = (between * count).saturating_mul(size_of::<S::Sum>());
            Some((plan.panel, AlignedBytes::zeroed(bytes)?))
        } else {
            None
        };
        Ok(PlannedGemm { level, shape, kept, elements: PhantomData })
    }

    /// How many bytes are kept of B; none: [`PlannedGemm::prepack`] has nothing to do.
    pub(crate) fn kept(&self) -> usize {
        self.kept.as_ref().map_or(0, |(_, kept)| kept.bytes())
    }

    /// Packs B for the runs to come.
    ///
    /// # Safety
    /// All elements of B are readable, and no run is going on.
    pub(crate) unsafe fn prepack(&self, b: Mat<S>) {
        let Some((panel, kept)) = &self.kept else { return };
        let kernels = S::Sum::KERNELS.at(self.level);
        let columns = PanelPacker::new(self.level, kernels, b, self.shape.k, *panel);
        let between = columns.packed(self.shape.n);
        let count = if b.batch == 0 { 1 } else { self.shape.batch };
        for batch in 0..count {
            let to = kept.start().cast::<S::Sum>().wrapping_add(batch * between);
            // SAFETY: the caller's promise; there is room for all panels of each product.
            unsafe { columns.pack_for_all(batch, 0..self.shape.n, to) };
        }
    }

    /// Computes it.
    ///
    /// # Safety
    /// As for [`super::gemm`], and what is kept of B was prepacked.
    pub(crate) unsafe fn run(&self, a: Mat<S>, b: Mat<S>, out: &ResultSink<S::Sum>) {
        let Some((panel, kept)) = &self.kept else {
            // SAFETY: the caller's promise.
            return unsafe { super::gemm_at(self.level, self.shape, a, b, out) };
        };
        let kernels = S::Sum::KERNELS.at(self.level);
        let between = PanelPacker::new(self.level, kernels, b, self.shape.k, *panel).packed(self.shape.n);
        let batch = if b.batch == 0 { 0 } else { between };
        let kept = KeptColumns { start: kept.start().cast(), batch, panel: *panel };
        // SAFETY: the caller's promise.
        unsafe { blocked::run(self.level, self.shape, a, b, Some(kept), out) }
    }
}
