//! Convolutions over one, two and three spatial axes, and their transposes.

use kiln_ir::Result;

use crate::composite::{Composite, note};
use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{CachedPass, Context, KeptKind, TimeAxis, unpadded};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::conv::ConvOptions;
use crate::tensor::window::{PerAxis, SpatialRank};
use crate::variable::Param;

/// A weight `[first, second / groups, window…]` and, for so many outputs, a bias as PyTorch starts them: uniform within
/// ±1/√(numbers summed for one output). The weight is stored window-first, as its kernels read it.
#[track_caller]
fn start(weight: [usize; 2], biases: Option<usize>, window: &[usize], key: &Key) -> (Param, Option<Param>) {
    let positions: usize = window.iter().product();
    // As PyTorch counts, for transposed ones too: the weight's second axis comes in.
    let fan = Fan { inputs: weight[1] * positions, outputs: weight[0] * positions };
    let shape: Vec<usize> = weight.iter().chain(window).copied().collect();
    let order: Vec<usize> = (2..shape.len()).chain([1, 0]).collect();
    let values = Init::PYTORCH.fill(shape, fan, &key.derive(0));
    let bias = |outputs: usize| Param::new(&Init::PYTORCH.fill([outputs], fan, &key.derive(1)));
    (Param::stored(&values, &order), biases.map(bias))
}

/// The sizes of a window for so many axes; a wrong count is noticed by the convolution.
fn sizes(window: PerAxis, axes: usize) -> Vec<usize> {
    match window {
        PerAxis::Same(size) => vec![size; axes],
        PerAxis::Each(sizes) => sizes,
    }
}

macro_rules! convolutions {
    ($($axes:literal $name:ident $method:ident $what:literal, $sequence:literal weight $shape:literal
        |$inputs:ident, $outputs:ident, $groups:ident| $weight:expr;)*) => {$(
        #[doc = concat!($what, ". Padding is 0 unless options say otherwise, as PyTorch's.")]
        #[derive(Clone, Debug)]
        pub struct $name {
            #[doc = concat!($shape, "; stored window-first, as its kernels read it.")]
            pub weight: Param,
            /// `[out]`, unless a norm that follows makes it pointless.
            pub bias: Option<Param>,
            /// Stride, padding, dilation, groups (and output padding, where it is transposed).
            pub options: ConvOptions,
        }

        crate::parameters!($name { weight, bias });

        impl $name {
            /// A window (one size, or one for each axis) from `inputs` to `outputs` channels; uniform within
            /// ±1/√(numbers summed for one output), as PyTorch's.
            #[track_caller]
            pub fn new(
                inputs: usize,
                outputs: usize,
                window: impl Into<PerAxis>,
                options: ConvOptions,
                key: Key,
            ) -> $name {
                $name::with_bias(inputs, outputs, window.into(), options, true, key)
            }

            /// As `new`, with a bias or none.
            #[track_caller]
            pub(crate) fn with_bias(
                inputs: usize,
                outputs: usize,
                window: PerAxis,
                options: ConvOptions,
                bias: bool,
                key: Key,
            ) -> $name {
                let window = sizes(window, $axes);
                let ($inputs, $outputs, $groups) = (inputs, outputs, options.groups.max(1));
                let (weight, bias) = start($weight, bias.then_some(outputs), &window, &key);
                $name { weight, bias, options }
            }

            /// How many steps before its own each step reads, of a convolution over a sequence that reads none behind its own.
            fn steps_back(&self) -> Option<usize> {
                $sequence.then(|| steps_back(&self.weight.shape(), &self.options)).flatten()
            }

            /// Whether a sequence has as many steps behind it as in front of it, each where it was.
            fn keeps_steps(&self) -> bool {
                let [span, before, behind] = match padded_span(&self.weight.shape(), &self.options) {
                    Some(span) if $sequence => span,
                    _ => return false,
                };
                before + behind == span
            }

            /// The same layer without its bias.
            pub fn without_bias(self) -> $name {
                $name { bias: None, ..self }
            }
        }

        impl Layer for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
                let weight = self.weight.tensor();
                let lengths = context.lengths();
                // Padding is the zeros that stand around a sequence.
                let cleared = match &lengths {
                    Some(lengths) => check!(lengths.filled(x, x.rank().saturating_sub(1), 0.0)),
                    None => x.clone(),
                };
                let x = &cleared;
                let y = match (context.cache(), self.steps_back()) {
                    (Some(pass), Some(back)) => {
                        let x = check!(with_steps_before(x, back, pass, context));
                        x.$method(&weight, &ConvOptions { padding: 0.into(), ..self.options.clone() })
                    }
                    _ => x.$method(&weight, &self.options),
                };
                biased(y, &self.bias, $axes)
            }

            fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
                only_back::<Self>(time.at(2, 3).filter(|_| self.steps_back().is_some()))
            }

            fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
                let same = time.at(2, 3).filter(|_| self.keeps_steps());
                let message = "a convolution after which there are other numbers of steps doesn't know where sequences end";
                same.map(Some).ok_or_else(|| unpadded(message.to_string()))
            }
        }
    )*};
}

convolutions! {
    1 Conv1d conv1d "A convolution over `[batch, channel, length]`", true
        weight "`[out, in / groups, window]`" |inputs, outputs, groups| [outputs, inputs / groups];
    2 Conv2d conv2d "A convolution over `[batch, channel, height, width]`", false
        weight "`[out, in / groups, height, width]`" |inputs, outputs, groups| [outputs, inputs / groups];
    3 Conv3d conv3d "A convolution over `[batch, channel, depth, height, width]`", false
        weight "`[out, in / groups, depth, height, width]`" |inputs, outputs, groups| [outputs, inputs / groups];
    1 ConvTranspose1d conv_transpose1d "A transposed convolution, which grows images `[batch, channel, length]`", false
        weight "`[in, out / groups, window]`" |inputs, outputs, groups| [inputs, outputs / groups];
    2 ConvTranspose2d conv_transpose2d "A transposed convolution, which grows images `[batch, channel, height, width]`", false
        weight "`[in, out / groups, height, width]`" |inputs, outputs, groups| [inputs, outputs / groups];
    3 ConvTranspose3d conv_transpose3d "A transposed convolution, which grows images `[batch, channel, depth, height, width]`", false
        weight "`[in, out / groups, depth, height, width]`" |inputs, outputs, groups| [inputs, outputs / groups];
}

/// A convolution of this rank.
#[track_caller]
pub(crate) fn convolution(
    rank: SpatialRank,
    [inputs, outputs]: [usize; 2],
    window: PerAxis,
    options: ConvOptions,
    bias: bool,
    key: Key,
) -> Box<dyn Layer> {
    match rank {
        SpatialRank::One => Box::new(Conv1d::with_bias(inputs, outputs, window, options, bias, key)),
        SpatialRank::Two => Box::new(Conv2d::with_bias(inputs, outputs, window, options, bias, key)),
        SpatialRank::Three => Box::new(Conv3d::with_bias(inputs, outputs, window, options, bias, key)),
    }
}

/// A transposed convolution of this rank.
#[track_caller]
pub(crate) fn transposed_convolution(
    rank: SpatialRank,
    [inputs, outputs]: [usize; 2],
    window: PerAxis,
    options: ConvOptions,
    key: Key,
) -> Box<dyn Layer> {
    match rank {
        SpatialRank::One => Box::new(ConvTranspose1d::new(inputs, outputs, window, options, key)),
        SpatialRank::Two => Box::new(ConvTranspose2d::new(inputs, outputs, window, options, key)),
        SpatialRank::Three => Box::new(ConvTranspose3d::new(inputs, outputs, window, options, key)),
    }
}

/// How many steps before its own each step of what comes out depends on, if on none behind: the padding in front is as long as what the
/// window spans.
fn steps_back(weight: &[usize], options: &ConvOptions) -> Option<usize> {
    padded_span(weight, options)
        .filter(|[span, before, behind]| before == span && *behind == 0)
        .map(|[span, ..]| span)
}

/// What the window of a convolution over a sequence spans besides one step, and the padding on either side; nothing where steps are left out.
fn padded_span(weight: &[usize], options: &ConvOptions) -> Option<[usize; 3]> {
    let one =
        |each: &PerAxis| each.for_axes("conv1d", "a setting", 1).ok().and_then(|each| each.first().copied());
    let (window, stride, dilation) = (*weight.last()?, one(&options.stride)?, one(&options.dilation)?);
    let span = dilation.checked_mul(window.checked_sub(1)?)?;
    let padding = options.padding.for_axes("conv1d", &[1], &[span + 1], &[stride]).ok()?;
    let &[(before, behind)] = padding.as_slice() else { return None };
    (stride == 1).then_some([span, before, behind])
}

/// `[rows, channels, steps]` of sequences that go on, with as many steps before as the convolution reads.
#[track_caller]
fn with_steps_before(x: &Tensor, back: usize, pass: &CachedPass, context: &Context) -> Result<Tensor> {
    if back == 0 {
        return Ok(x.clone());
    }
    let kept = pass.kept(KeptKind::Window, &[x.sound()?.size(1), back], x.dtype())?;
    let whole = Tensor::concat(&[&kept.tensor(), x], 2);
    pass.keep(context, &kept, &whole.narrow(2, -(back as isize), back));
    Ok(whole)
}

#[track_caller]
fn biased(y: Tensor, bias: &Option<Param>, axes: usize) -> Tensor {
    match bias {
        Some(bias) => {
            let mut sizes = vec![1isize; axes + 1];
            sizes[0] = -1;
            let bias = bias.tensor();
            note(&y + bias.reshape(&sizes[..]), || (Composite::Biased, [&y, &bias]))
        }
        None => y,
    }
}
