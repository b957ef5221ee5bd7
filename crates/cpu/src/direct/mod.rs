//! Convolutions directly over channels-last images, in `f32`: nothing is unfolded; the inner kernel walks the image
//! through row and window offsets that are worked out when a program is loaded.

mod depthwise;
mod image;
mod panel;
mod pixels;
mod tile;
mod weight;
mod winograd;

use kiln_compile::program::{Conv, ConvKind};
use kiln_ir::Result;

use super::block::Output;
use super::memory::Allocation;
use super::scratch::{self, Purpose};
use super::simd::Level;
use depthwise::Depthwise;
use pixels::Pixels;
use weight::WeightGradient;

/// One way to compute a convolution or one of its gradients, planned for its sizes.
trait Way: Send + Sync {
    /// How many numbers the second operand has once it is arranged; none: it is read as it lies.
    fn arranged(&self) -> usize {
        0
    }

    /// Writes the second operand as the way reads it.
    ///
    /// # Safety
    /// `b` has all elements that the convolution's view speaks of, and `out` room for [`Way::arranged`] numbers.
    unsafe fn arrange(&self, _b: *const f32, _out: *mut f32) {}

    /// Computes it from the first operand as it lies, and the second arranged.
    ///
    /// # Safety
    /// Both operands are complete, and the output is free to be written.
    unsafe fn run(&self, a: *const f32, b: *const f32, output: &Output<f32>);
}

/// A convolution, or one of its gradients, made ready to run.
pub(crate) struct Direct {
    way: Box<dyn Way>,
    /// The second operand as [`Direct::arrange`] left it; without, it is arranged at every run.
    kept: Option<Allocation>,
}

impl Direct {
    /// Plans the work for a convolution of `f32` operands. `steady`: the second operand is the same for many runs, and is
    /// arranged whenever it changes.
    pub(crate) fn new(conv: &Conv, level: Level, steady: bool) -> Result<Direct> {
        let way = way(conv, level, steady);
        let kept = match way.arranged() {
            numbers if steady && numbers > 0 => Some(Allocation::zeroed(numbers * size_of::<f32>())?),
            _ => None,
        };
        Ok(Direct { way, kept })
    }

    /// How many bytes are kept of the second operand; none: [`Direct::arrange`] has nothing to do.
    pub(crate) fn kept(&self) -> usize {
        self.kept.as_ref().map_or(0, Allocation::bytes)
    }

    /// Arranges the second operand for the runs to come.
    ///
    /// # Safety
    /// It has all elements that the convolution's view speaks of, and no run is going on.
    pub(crate) unsafe fn arrange(&self, b: *const f32) {
        if let Some(kept) = &self.kept {
            // SAFETY: the caller's promise; there is room for as many numbers as the way asked for.
            unsafe { self.way.arrange(b, kept.start().cast()) }
        }
    }

    /// Computes it from the operands' first elements.
    ///
    /// # Safety
    /// Both operands have all elements that the convolution's views speak of, the output is free to be written, and what
    /// is kept of the second operand was arranged.
    pub(crate) unsafe fn run(&self, a: *const f32, b: *const f32, output: &Output<f32>) {
        // SAFETY: the caller's promise.
        unsafe {
            match (&self.kept, self.way.arranged()) {
                (Some(kept), _) => self.way.run(a, kept.start().cast(), output),
                (None, 0) => self.way.run(a, b, output),
                (None, numbers) => scratch::with(Purpose::Weights, numbers, |arranged: *mut f32| {
                    self.way.arrange(b, arranged);
                    self.way.run(a, arranged, output);
                }),
            }
        }
    }
}

fn way(conv: &Conv, level: Level, steady: bool) -> Box<dyn Way> {
    let kernel = tile::Kernel::at(level);
    if let Some(depthwise) = Depthwise::new(conv, level) {
        return Box::new(depthwise);
    }
    let maps = winograd::maps(conv, level, steady);
    match (conv.kind, maps) {
        (ConvKind::Forward | ConvKind::GradInput, Some(maps)) => {
            Box::new(winograd::Pixels::new(conv, kernel, maps, steady))
        }
        (ConvKind::GradWeight, Some(maps)) => Box::new(winograd::WeightGradient::new(conv, kernel, maps)),
        (ConvKind::Forward, None) => Box::new(Pixels::forward(conv, kernel, steady)),
        (ConvKind::GradInput, None) => Box::new(Pixels::grad_input(conv, kernel, steady)),
        (ConvKind::GradWeight, None) => Box::new(WeightGradient::new(conv, kernel)),
    }
}
