//! Convolutions over one, two and three spatial axes, and their transposes.

use crate::init::{Fan, Init};
use crate::layers::Layer;
use crate::module::Context;
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::conv::ConvOptions;
use crate::tensor::window::PerAxis;
use crate::variable::Param;

/// A weight `[first, second / groups, window…]` and a bias `[outputs]` as PyTorch starts them: uniform within
/// ±1/√(numbers summed for one output). The weight is stored window-first, as its kernels read it.
#[track_caller]
fn start(weight: [usize; 2], outputs: usize, window: &[usize], key: &Key) -> (Param, Param) {
    let positions: usize = window.iter().product();
    // As PyTorch counts, for transposed ones too: the weight's second axis comes in.
    let fan = Fan { inputs: weight[1] * positions, outputs: weight[0] * positions };
    let shape: Vec<usize> = weight.iter().chain(window).copied().collect();
    let order: Vec<usize> = (2..shape.len()).chain([1, 0]).collect();
    let values = Init::PYTORCH.fill(shape, fan, &key.derive(0));
    let bias = Init::PYTORCH.fill([outputs], fan, &key.derive(1));
    (Param::stored(&values, &order), Param::new(&bias))
}

/// The sizes of a window for so many axes; a wrong count is noticed by the convolution.
fn sizes(window: PerAxis, axes: usize) -> Vec<usize> {
    match window {
        PerAxis::Same(size) => vec![size; axes],
        PerAxis::Each(sizes) => sizes,
    }
}

macro_rules! convolutions {
    ($($axes:literal $name:ident $conv:ident $transposed_name:ident $transposed:ident $image:literal;)*) => {$(
        #[doc = concat!("A convolution over ", $image, ". Padding is 0 unless options say otherwise, as PyTorch's.")]
        #[derive(Clone, Debug)]
        pub struct $name {
            /// `[out, in / groups, window…]`; stored window-first, as its kernels read it.
            pub weight: Param,
            /// `[out]`, unless a norm that follows makes it pointless.
            pub bias: Option<Param>,
            /// Stride, padding, dilation, groups.
            pub options: ConvOptions,
        }

        crate::parameters!($name { weight, bias });

        impl $name {
            /// A window (one size, or one for each axis) from `inputs` to `outputs` channels; uniform within ±1/√(inputs · window),
            /// as PyTorch's.
            #[track_caller]
            pub fn new(
                inputs: usize,
                outputs: usize,
                window: impl Into<PerAxis>,
                options: ConvOptions,
                key: Key,
            ) -> $name {
                let window = sizes(window.into(), $axes);
                let each = inputs / options.groups.max(1);
                let (weight, bias) = start([outputs, each], outputs, &window, &key);
                $name { weight, bias: Some(bias), options }
            }

            /// The same layer without its bias.
            pub fn without_bias(self) -> $name {
                $name { bias: None, ..self }
            }
        }

        impl Layer for $name {
            /// Applies the convolution.
            #[track_caller]
            fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
                with_bias(x.$conv(&self.weight.tensor(), &self.options), &self.bias, $axes)
            }
        }

        #[doc = concat!("A transposed convolution over ", $image, ": it turns a result's size back into an image's.")]
        #[derive(Clone, Debug)]
        pub struct $transposed_name {
            /// `[in, out / groups, window…]`; stored window-first, as its kernels read it.
            pub weight: Param,
            /// `[out]`, unless a norm that follows makes it pointless.
            pub bias: Option<Param>,
            /// Stride, padding, dilation, groups, output padding.
            pub options: ConvOptions,
        }

        crate::parameters!($transposed_name { weight, bias });

        impl $transposed_name {
            /// A window (one size, or one for each axis) from `inputs` to `outputs` channels; starts as PyTorch's.
            #[track_caller]
            pub fn new(
                inputs: usize,
                outputs: usize,
                window: impl Into<PerAxis>,
                options: ConvOptions,
                key: Key,
            ) -> $transposed_name {
                let window = sizes(window.into(), $axes);
                let each = outputs / options.groups.max(1);
                let (weight, bias) = start([inputs, each], outputs, &window, &key);
                $transposed_name { weight, bias: Some(bias), options }
            }

            /// The same layer without its bias.
            pub fn without_bias(self) -> $transposed_name {
                $transposed_name { bias: None, ..self }
            }
        }

        impl Layer for $transposed_name {
            /// Applies the transposed convolution.
            #[track_caller]
            fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
                with_bias(x.$transposed(&self.weight.tensor(), &self.options), &self.bias, $axes)
            }
        }
    )*};
}

convolutions! {
    1 Conv1d conv1d ConvTranspose1d conv_transpose1d "`[batch, channel, length]`";
    2 Conv2d conv2d ConvTranspose2d conv_transpose2d "`[batch, channel, height, width]`";
    3 Conv3d conv3d ConvTranspose3d conv_transpose3d "`[batch, channel, depth, height, width]`";
}

#[track_caller]
fn with_bias(y: Tensor, bias: &Option<Param>, axes: usize) -> Tensor {
    match bias {
        Some(bias) => {
            let mut sizes = vec![1isize; axes + 1];
            sizes[0] = -1;
            y + bias.tensor().reshape(&sizes[..])
        }
        None => y,
    }
}
