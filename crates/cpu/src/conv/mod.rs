//! Convolutions directly over channels-last images, in `f32`: nothing is unfolded; the inner kernel walks the image
//! through row and window offsets that are worked out when a program is loaded.

mod depthwise;
mod direct;
mod direct_weight;
mod microkernel;
mod pack;
mod padding;
mod winograd;

use kiln_compile::program::{Conv, ConvKind};
use kiln_ir::Result;

use super::memory::AlignedBytes;
use super::output::ResultSink;
use super::scratch::{self, Purpose};
use super::simd::Level;
use depthwise::Depthwise;
use direct::DirectConv;
use direct_weight::DirectWeightGradient;

/// One algorithm to compute a convolution or one of its gradients, planned for its sizes.
trait ConvAlgorithm: Send + Sync {
    /// How many numbers the second operand has once it is prepacked; none: it is read as it lies.
    fn prepacked(&self) -> usize {
        0
    }

    /// Writes the second operand as the algorithm reads it.
    ///
    /// # Safety
    /// `b` has all elements that the convolution's view speaks of, and `out` room for [`ConvAlgorithm::prepacked`] numbers.
    unsafe fn prepack(&self, _b: *const f32, _out: *mut f32) {}

    /// Computes it from the first operand as it lies, and the second prepacked.
    ///
    /// # Safety
    /// Both operands are complete, and the output is free to be written.
    unsafe fn run(&self, a: *const f32, b: *const f32, output: &ResultSink<f32>);
}

/// A convolution, or one of its gradients, made ready to run.
pub(crate) struct PlannedConv {
    algorithm: Box<dyn ConvAlgorithm>,
    /// The second operand as [`PlannedConv::prepack`] left it; without, it is prepacked at every run.
    kept: Option<AlignedBytes>,
}

impl PlannedConv {
    /// Plans the work for a convolution of `f32` operands. `invariant`: the second operand is the same for many runs, and is
    /// prepacked whenever it changes.
    pub(crate) fn new(conv: &Conv, level: Level, invariant: bool) -> Result<PlannedConv> {
        let algorithm = algorithm(conv, level, invariant);
        let kept = match algorithm.prepacked() {
            numbers if invariant && numbers > 0 => Some(AlignedBytes::zeroed(numbers * size_of::<f32>())?),
            _ => None,
        };
        Ok(PlannedConv { algorithm, kept })
    }

    /// How many bytes are kept of the second operand; none: [`PlannedConv::prepack`] has nothing to do.
    pub(crate) fn kept(&self) -> usize {
        self.kept.as_ref().map_or(0, AlignedBytes::bytes)
    }

    /// Prepacks the second operand for the runs to come.
    ///
    /// # Safety
    /// It has all elements that the convolution's view speaks of, and no run is going on.
    pub(crate) unsafe fn prepack(&self, b: *const f32) {
        if let Some(kept) = &self.kept {
            // SAFETY: the caller's promise; there is room for as many numbers as the algorithm asked for.
            unsafe { self.algorithm.prepack(b, kept.start().cast()) }
        }
    }

    /// Computes it from the operands' first elements.
    ///
    /// # Safety
    /// Both operands have all elements that the convolution's views speak of, the output is free to be written, and what
    /// is kept of the second operand was prepacked.
    pub(crate) unsafe fn run(&self, a: *const f32, b: *const f32, output: &ResultSink<f32>) {
        // SAFETY: the caller's promise.
        unsafe {
            match (&self.kept, self.algorithm.prepacked()) {
                (Some(kept), _) => self.algorithm.run(a, kept.start().cast(), output),
                (None, 0) => self.algorithm.run(a, b, output),
                (None, numbers) => scratch::with(Purpose::Weights, numbers, |prepacked: *mut f32| {
                    self.algorithm.prepack(b, prepacked);
                    self.algorithm.run(a, prepacked, output);
                }),
            }
        }
    }
}

fn algorithm(conv: &Conv, level: Level, invariant: bool) -> Box<dyn ConvAlgorithm> {
    let kernel = microkernel::ConvMicrokernel::at(level);
    if let Some(depthwise) = Depthwise::new(conv, level) {
        return Box::new(depthwise);
    }
    let transforms = winograd::transforms(conv, level);
    match (conv.kind, transforms) {
        (ConvKind::Forward | ConvKind::GradInput, Some(transforms)) => {
            Box::new(winograd::WinogradConv::new(conv, level, transforms, invariant))
        }
        (ConvKind::GradWeight, Some(transforms)) => {
            Box::new(winograd::WinogradWeightGradient::new(conv, level, transforms))
        }
        (ConvKind::Forward, None) => Box::new(DirectConv::forward(conv, kernel, invariant)),
        (ConvKind::GradInput, None) => Box::new(DirectConv::grad_input(conv, kernel, invariant)),
        (ConvKind::GradWeight, None) => Box::new(DirectWeightGradient::new(conv, kernel)),
    }
}
