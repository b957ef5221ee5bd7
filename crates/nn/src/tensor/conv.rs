//! Convolutions and transposed convolutions over one to three spatial axes, with PyTorch's layouts. A bias is added
//! afterwards: `x.conv2d(&weight, &options) + bias.reshape([-1, 1, 1])`.

use kiln_ir::Result;
use kiln_ir::op::ConvSpec;

use super::Tensor;
use super::window::{Padding, PerAxis};

/// How a convolution's window moves; `ConvOptions::new()` is stride 1, no padding, no dilation, one group.
///
/// ```
/// # use kiln_nn::{ConvOptions, Padding, Tensor};
/// let (image, weight) = (Tensor::ones([1, 3, 8, 8]), Tensor::ones([16, 3, 3, 3]));
/// assert_eq!(*image.conv2d(&weight, &ConvOptions::new().stride(2).padding(1)).shape(), [1, 16, 4, 4]);
/// assert_eq!(*image.conv2d(&weight, &ConvOptions::new().padding(Padding::Same)).shape(), [1, 16, 8, 8]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// The distance between windows.
    pub stride: PerAxis,
    /// Zeros around the image.
    pub padding: Padding,
    /// The distance between the elements of a window.
    pub dilation: PerAxis,
    /// Channels are cut into this many independent groups.
    pub groups: usize,
    /// Transposed only: added to one side of the result, where several sizes are possible.
    pub output_padding: PerAxis,
}

impl Default for ConvOptions {
    fn default() -> ConvOptions {
        ConvOptions {
            stride: 1.into(),
            padding: 0.into(),
            dilation: 1.into(),
            groups: 1,
            output_padding: 0.into(),
        }
    }
}

impl ConvOptions {
    /// Stride 1, no padding, no dilation, one group.
    pub fn new() -> ConvOptions {
        ConvOptions::default()
    }

    /// The distance between windows: one number, or one for each axis.
    pub fn stride(mut self, stride: impl Into<PerAxis>) -> ConvOptions {
        self.stride = stride.into();
        self
    }

    /// Zeros around the image: `1`, `[1, 2]`, `[(0, 1), (2, 2)]` or `Padding::Same`.
    pub fn padding(mut self, padding: impl Into<Padding>) -> ConvOptions {
        self.padding = padding.into();
        self
    }

    /// The distance between the elements of a window: one number, or one for each axis.
    pub fn dilation(mut self, dilation: impl Into<PerAxis>) -> ConvOptions {
        self.dilation = dilation.into();
        self
    }

    /// Channels cut into independent groups; as many as there are channels makes it depthwise.
    pub fn groups(mut self, groups: usize) -> ConvOptions {
        self.groups = groups;
        self
    }

    /// Transposed only: added to one side of the result, where several sizes are possible.
    pub fn output_padding(mut self, output_padding: impl Into<PerAxis>) -> ConvOptions {
        self.output_padding = output_padding.into();
        self
    }

    /// The settings for images of spatial `sizes` and windows of `window`.
    #[track_caller]
    fn resolve(&self, operation: &str, sizes: &[usize], window: &[usize]) -> Result<ConvSpec> {
        let stride = self.stride.for_axes(operation, "stride", sizes.len())?;
        let dilation = self.dilation.for_axes(operation, "dilation", sizes.len())?;
        let extent = |(&window, &dilation): (&usize, &usize)| {
            window.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
        };
        let extents: Vec<usize> = window.iter().zip(&dilation).map(extent).collect();
        let pad = self.padding.for_axes(operation, sizes, &extents, &stride)?;
        Ok(ConvSpec { stride, pad, dilation, groups: self.groups })
    }
}

macro_rules! convolutions {
    ($($spatial:literal $conv:ident $transposed:ident $image:literal $weight:literal $transposed_weight:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!("The convolution (cross-correlation) of images ", $image, " (or one without its batch axis) ",
                "with a weight ", $weight, ".")]
            #[track_caller]
            pub fn $conv(&self, weight: &Tensor, options: &ConvOptions) -> Tensor {
                convolve(stringify!($conv), $spatial, self, weight, options)
            }

            #[doc = concat!("The transposed convolution of images ", $image, " (or one without its batch axis) with a ",
                "weight ", $transposed_weight, ": the gradient of a convolution in its image.")]
            #[track_caller]
            pub fn $transposed(&self, weight: &Tensor, options: &ConvOptions) -> Tensor {
                transposed(stringify!($transposed), $spatial, self, weight, options)
            }
        )*}
    };
}

convolutions! {
    1 conv1d conv_transpose1d "`[batch, in, length]`" "`[out, in / groups, window]`" "`[in, out / groups, window]`";
    2 conv2d conv_transpose2d "`[batch, in, height, width]`" "`[out, in / groups, height, width]`"
        "`[in, out / groups, height, width]`";
    3 conv3d conv_transpose3d "`[batch, in, depth, height, width]`" "`[out, in / groups, depth, height, width]`"
        "`[in, out / groups, depth, height, width]`";
}

#[track_caller]
fn convolve(
    operation: &str,
    spatial: usize,
    image: &Tensor,
    weight: &Tensor,
    options: &ConvOptions,
) -> Tensor {
    let (x, w) = check!(operands(operation, spatial, image, weight));
    let spec = check!(options.resolve(operation, &x.shape()[2..], &w.shape()[2..]));
    without_batch(Tensor(x.0.conv(&w.0, &spec)), image)
}

#[track_caller]
fn transposed(
    operation: &str,
    spatial: usize,
    image: &Tensor,
    weight: &Tensor,
    options: &ConvOptions,
) -> Tensor {
    let (x, w) = check!(operands(operation, spatial, image, weight));
    let (shape, window) = (x.shape(), w.shape());
    ensure!(
        window[0] == shape[1],
        Shape,
        operation,
        "the image {shape} has {} channels, the weight {window} takes {}",
        shape[1],
        window[0]
    );
    let extra = check!(options.output_padding.for_axes(operation, "output padding", spatial));
    ensure!(
        options.padding != Padding::Same,
        Value,
        operation,
        "`Padding::Same` has no meaning for a transposed convolution; give the widths"
    );
    let spec = check!(options.resolve(operation, &shape[2..], &window[2..]));
    let mut sizes = Vec::with_capacity(spatial);
    for axis in 0..spatial {
        let (before, behind) = spec.pad[axis];
        let (stride, dilation) = (spec.stride[axis], spec.dilation[axis]);
        ensure!(
            extra[axis] < stride,
            Value,
            operation,
            "an output padding of {} must be below the stride {stride}",
            extra[axis]
        );
        let covered = (shape[axis + 2].saturating_sub(1))
            .saturating_mul(stride)
            .saturating_add(window[axis + 2].saturating_sub(1).saturating_mul(dilation))
            .saturating_add(1 + extra[axis]);
        ensure!(
            covered > before.saturating_add(behind),
            Shape,
            operation,
            "padding ({before}, {behind}) leaves nothing of {covered} elements on spatial axis {axis}"
        );
        sizes.push(covered - before - behind);
    }
    without_batch(Tensor(x.0.conv_grad_input(&w.0, &spec, &sizes)), image)
}

/// Image and weight in one dtype, the image with a batch axis.
#[track_caller]
fn operands(operation: &str, spatial: usize, image: &Tensor, weight: &Tensor) -> Result<(Tensor, Tensor)> {
    let (shape, window) = (image.sound()?.shape(), weight.sound()?.shape());
    let image_fits = shape.rank() == spatial + 2 || shape.rank() == spatial + 1;
    if !image_fits || window.rank() != spatial + 2 {
        refuse!(
            Shape,
            operation,
            "image {shape} and weight {window} should both have {} axes (batch or out, channels, {spatial} spatial)",
            spatial + 2
        );
    }
    let x = if shape.rank() == spatial + 1 { image.unsqueeze(0) } else { image.clone() };
    let dtype = x.dtype().promote(weight.dtype()).to_float();
    Ok((x.cast(dtype), weight.cast(dtype)))
}

/// The result for a single image loses the batch axis that was put in.
#[track_caller]
fn without_batch(result: Tensor, image: &Tensor) -> Tensor {
    match result.0.error() {
        None if image.rank() < result.rank() => result.squeeze(0),
        _ => result,
    }
}
