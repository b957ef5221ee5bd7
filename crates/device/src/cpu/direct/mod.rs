//! Convolutions directly over channels-last images, in `f32`: nothing is unfolded; the inner kernel walks the image
//! through row and window offsets that are worked out when a program is loaded.

mod depthwise;
mod image;
mod panel;
mod pixels;
mod scratch;
mod tile;
mod weight;
mod winograd;

use kiln_compile::program::{Conv, ConvKind};

use super::block::Output;
use depthwise::Depthwise;
use pixels::Pixels;
use weight::WeightGradient;

/// A convolution, or one of its gradients, made ready to run.
pub(crate) enum Direct {
    /// Forward, and the gradient in the image: sums over window positions for every pixel.
    Pixels(Pixels),
    /// The gradient in the weight: sums over pixels for every window position.
    Weight(WeightGradient),
    /// Any of the three, with a window for every channel.
    Depthwise(Depthwise),
    /// Forward and the gradient in the image, by way of points.
    PointPixels(winograd::Pixels),
    /// The gradient in the weight, by way of points.
    PointWeight(winograd::WeightGradient),
}

impl Direct {
    /// Plans the work for a convolution of `f32` operands.
    pub(crate) fn new(conv: &Conv, level: super::simd::Level) -> Direct {
        let kernel = tile::Kernel::at(level);
        if let Some(depthwise) = Depthwise::new(conv, level) {
            return Direct::Depthwise(depthwise);
        }
        if let Some(maps) = winograd::maps(conv, level) {
            return match conv.kind {
                ConvKind::Forward | ConvKind::GradInput => {
                    Direct::PointPixels(winograd::Pixels::new(conv, kernel, maps))
                }
                ConvKind::GradWeight => {
                    Direct::PointWeight(winograd::WeightGradient::new(conv, kernel, maps))
                }
            };
        }
        match conv.kind {
            ConvKind::Forward => Direct::Pixels(Pixels::forward(conv, kernel)),
            ConvKind::GradInput => Direct::Pixels(Pixels::grad_input(conv, kernel)),
            ConvKind::GradWeight => Direct::Weight(WeightGradient::new(conv, kernel)),
        }
    }

    /// Computes it from the operands' first elements.
    ///
    /// # Safety
    /// Both operands have all elements that the convolution's views speak of, and the output is free to be written.
    pub(crate) unsafe fn run(&self, a: *const f32, b: *const f32, output: &Output<f32>) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Direct::Pixels(pixels) => pixels.run(a, b, output),
                Direct::Weight(weight) => weight.run(a, b, output),
                Direct::Depthwise(depthwise) => depthwise.run(a, b, output),
                Direct::PointPixels(pixels) => pixels.run(a, b, output),
                Direct::PointWeight(weight) => weight.run(a, b, output),
            }
        }
    }
}
