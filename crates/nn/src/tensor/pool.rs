//! Pooling over one to three spatial axes: largest or mean of each window, adaptive and global pooling.

use kiln_ir::Result;
use kiln_ir::op::WindowSpec;

use super::Tensor;
use super::check::check_table;
use super::window::{Padding, PerAxis};
use crate::composite::{Composite, note};

/// The windows of a pooling; a bare number or array is a window that moves by its own size.
///
/// ```
/// # use kiln_nn::{PoolOptions, Tensor};
/// let x = Tensor::ones([1, 3, 7, 7]);
/// assert_eq!(*x.max_pool2d(2).shape(), [1, 3, 3, 3]);
/// assert_eq!(*x.max_pool2d(PoolOptions::new(2).ceil_mode(true)).shape(), [1, 3, 4, 4]);
/// assert_eq!(*x.avg_pool2d(PoolOptions::new(3).stride(2).padding(1)).shape(), [1, 3, 4, 4]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Sizes of a window.
    pub window: PerAxis,
    /// The distance between windows; `None` is the window's size.
    pub stride: Option<PerAxis>,
    /// Padding around the image; never the largest, zero for a mean.
    pub padding: Padding,
    /// The distance between the elements of a window.
    pub dilation: PerAxis,
    /// Whether a last window may hang over the end.
    pub ceil_mode: bool,
    /// Whether a mean counts padding as elements.
    pub count_include_pad: bool,
}

impl PoolOptions {
    /// Windows of this size, moved by their own size, without padding.
    pub fn new(window: impl Into<PerAxis>) -> PoolOptions {
        PoolOptions {
            window: window.into(),
            stride: None,
            padding: 0.into(),
            dilation: 1.into(),
            ceil_mode: false,
            count_include_pad: true,
        }
    }

    /// The distance between windows.
    pub fn stride(mut self, stride: impl Into<PerAxis>) -> PoolOptions {
        self.stride = Some(stride.into());
        self
    }

    /// Padding around the image.
    pub fn padding(mut self, padding: impl Into<Padding>) -> PoolOptions {
        self.padding = padding.into();
        self
    }

    /// The distance between the elements of a window.
    pub fn dilation(mut self, dilation: impl Into<PerAxis>) -> PoolOptions {
        self.dilation = dilation.into();
        self
    }

    /// Whether a last window may hang over the end.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> PoolOptions {
        self.ceil_mode = ceil_mode;
        self
    }

    /// Whether a mean counts padding as elements (it does unless told otherwise).
    pub fn count_include_pad(mut self, count_include_pad: bool) -> PoolOptions {
        self.count_include_pad = count_include_pad;
        self
    }

    /// The windows over spatial `sizes`, and the padding asked for without what ceil mode adds.
    #[track_caller]
    fn resolve(&self, operation: &str, sizes: &[usize]) -> Result<(WindowSpec, Vec<(usize, usize)>)> {
        let window = self.window.for_axes(operation, "window", sizes.len())?;
        let dilation = self.dilation.for_axes(operation, "dilation", sizes.len())?;
        let stride = match &self.stride {
            Some(stride) => stride.for_axes(operation, "stride", sizes.len())?,
            None => window.clone(),
        };
        if [&window, &dilation, &stride].iter().any(|values| values.contains(&0)) {
            refuse!(Value, operation, "window, stride and dilation must be at least 1");
        }
        let extent =
            |(&window, &dilation): (&usize, &usize)| (window - 1).saturating_mul(dilation).saturating_add(1);
        let extents: Vec<usize> = window.iter().zip(&dilation).map(extent).collect();
        let asked = self.padding.for_axes(operation, sizes, &extents, &stride)?;
        let mut pad = asked.clone();
        if self.ceil_mode {
            for axis in 0..sizes.len() {
                let front = sizes[axis].saturating_add(pad[axis].0);
                let Some(room) = front.saturating_add(pad[axis].1).checked_sub(extents[axis]) else {
                    continue;
                };
                let mut last = room.div_ceil(stride[axis]).saturating_mul(stride[axis]);
                // A window that would start behind the image and its front padding isn't there.
                if last >= front {
                    last = last.saturating_sub(stride[axis]);
                }
                pad[axis].1 = last.saturating_add(extents[axis]).saturating_sub(front);
            }
        }
        Ok((WindowSpec { window, stride, pad, dilation }, asked))
    }
}

impl From<usize> for PoolOptions {
    fn from(window: usize) -> PoolOptions {
        PoolOptions::new(window)
    }
}

impl From<&PoolOptions> for PoolOptions {
    fn from(options: &PoolOptions) -> PoolOptions {
        options.clone()
    }
}

impl<const N: usize> From<[usize; N]> for PoolOptions {
    fn from(window: [usize; N]) -> PoolOptions {
        PoolOptions::new(window)
    }
}

macro_rules! pools {
    ($($spatial:literal $max:ident $avg:ident $adaptive_max:ident $adaptive_avg:ident $image:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!("The largest element of each window, of images ", $image, " (or one without its batch axis).",
                " Of equal ones the first receives the gradient.")]
            #[track_caller]
            pub fn $max(&self, options: impl Into<PoolOptions>) -> Tensor {
                max_pool(stringify!($max), $spatial, self, &options.into())
            }

            #[doc = concat!("The mean of each window, of images ", $image, " (or one without its batch axis).")]
            #[track_caller]
            pub fn $avg(&self, options: impl Into<PoolOptions>) -> Tensor {
                avg_pool(stringify!($avg), $spatial, self, &options.into())
            }

            #[doc = concat!("The largest of each of `sizes` even parts of every spatial axis, of images ", $image,
                " (or one without its batch axis).")]
            #[track_caller]
            pub fn $adaptive_max(&self, sizes: [usize; $spatial]) -> Tensor {
                adaptive(stringify!($adaptive_max), self, &sizes, largest_of_parts)
            }

            #[doc = concat!("The mean of each of `sizes` even parts of every spatial axis, of images ", $image,
                " (or one without its batch axis).")]
            #[track_caller]
            pub fn $adaptive_avg(&self, sizes: [usize; $spatial]) -> Tensor {
                adaptive(stringify!($adaptive_avg), &self.float(), &sizes, mean_of_parts)
            }
        )*}
    };
}

pools! {
    1 max_pool1d avg_pool1d adaptive_max_pool1d adaptive_avg_pool1d "`[batch, channels, length]`";
    2 max_pool2d avg_pool2d adaptive_max_pool2d adaptive_avg_pool2d "`[batch, channels, height, width]`";
    3 max_pool3d avg_pool3d adaptive_max_pool3d adaptive_avg_pool3d "`[batch, channels, depth, height, width]`";
}

impl Tensor {
    /// The mean over all spatial axes: `[batch, channels, …]` → `[batch, channels]`.
    #[track_caller]
    pub fn global_avg_pool(&self) -> Tensor {
        note(self.mean(2..), || (Composite::GlobalAverage, [self]))
    }

    /// The largest over all spatial axes: `[batch, channels, …]` → `[batch, channels]`.
    #[track_caller]
    pub fn global_max_pool(&self) -> Tensor {
        note(self.max(2..), || (Composite::GlobalMax, [self]))
    }
}

/// The image with a batch axis.
#[track_caller]
fn with_batch(operation: &str, spatial: usize, image: &Tensor) -> Result<Tensor> {
    let shape = image.sound()?.shape();
    match shape.rank() {
        rank if rank == spatial + 2 => Ok(image.clone()),
        rank if rank == spatial + 1 => Ok(image.unsqueeze(0)),
        _ => {
            refuse!(
                Shape,
                operation,
                "the image {shape} should have {} axes (batch, channels, {spatial} spatial)",
                spatial + 2
            )
        }
    }
}

#[track_caller]
fn like_image(result: Tensor, image: &Tensor) -> Tensor {
    match result.0.error() {
        None if image.rank() < result.rank() => result.squeeze(0),
        _ => result,
    }
}

#[track_caller]
fn max_pool(operation: &str, spatial: usize, image: &Tensor, options: &PoolOptions) -> Tensor {
    let x = check!(with_batch(operation, spatial, image));
    let (spec, _) = check!(options.resolve(operation, &x.shape()[2..]));
    like_image(Tensor(x.0.window_pick(&x.0, &spec)), image)
}

#[track_caller]
fn avg_pool(operation: &str, spatial: usize, image: &Tensor, options: &PoolOptions) -> Tensor {
    let x = check!(with_batch(operation, spatial, &image.float()));
    let sizes = x.shape()[2..].to_vec();
    let (spec, asked) = check!(options.resolve(operation, &sizes));
    let mut mean = Tensor(x.0.window_sum(&spec));
    check!(mean.sound());
    let mut divisor = 1.0;
    for axis in 0..spatial {
        let counts = counts(&spec, axis, sizes[axis], asked[axis], options.count_include_pad);
        match counts.first() {
            Some(&first) if counts.iter().all(|&count| count == first) => divisor *= first,
            _ => {
                let mut shape = vec![1; spatial + 2];
                shape[axis + 2] = counts.len();
                mean /= Tensor::new(counts, shape).cast(x.dtype());
            }
        }
    }
    let whole = || (Composite::AveragePool(spec, asked, options.count_include_pad), [&x]);
    like_image(note(mean / divisor, whole), image)
}

/// How many elements each window along an axis counts.
fn counts(
    spec: &WindowSpec,
    axis: usize,
    size: usize,
    asked: (usize, usize),
    with_padding: bool,
) -> Vec<f64> {
    let (window, stride, dilation) = (spec.window[axis], spec.stride[axis], spec.dilation[axis]);
    let windows = kiln_ir::op::windows(size, spec.pad[axis], window, dilation, stride).unwrap_or(0);
    let front = spec.pad[axis].0;
    let counted = match with_padding {
        true => 0..front + size + asked.1,
        false => front..front + size,
    };
    let count = |position: usize| {
        let inside =
            (0..window).filter(|element| counted.contains(&(position * stride + element * dilation)));
        inside.count().max(1) as f64
    };
    (0..windows).map(count).collect()
}

/// Each spatial axis in turn folded into even parts.
#[track_caller]
fn adaptive(
    operation: &str,
    image: &Tensor,
    sizes: &[usize],
    fold: fn(&Tensor, usize, usize) -> Tensor,
) -> Tensor {
    let mut x = check!(with_batch(operation, sizes.len(), image));
    for (axis, &parts) in sizes.iter().enumerate() {
        let size = check!(x.sound()).shape()[axis + 2];
        ensure!(
            parts > 0 && size > 0,
            Value,
            operation,
            "{parts} parts of spatial axis {axis} of {}",
            image.shape()
        );
        if parts != size {
            x = fold(&x, axis + 2, parts);
        }
    }
    like_image(x, image)
}

/// The elements of part `part` of `parts`: PyTorch's bounds, overlapping where the size doesn't divide.
fn part_range(part: usize, parts: usize, size: usize) -> std::ops::Range<usize> {
    part * size / parts..((part + 1) * size).div_ceil(parts)
}

#[track_caller]
fn mean_of_parts(x: &Tensor, axis: usize, parts: usize) -> Tensor {
    let size = x.shape()[axis];
    if size.is_multiple_of(parts) {
        return x.unflatten(axis as isize, [parts, size / parts]).mean(axis + 1);
    }
    check!(check_table("adaptive_avg_pool", size, parts));
    let mut weights = vec![0.0f64; size * parts];
    for part in 0..parts {
        let range = part_range(part, parts, size);
        let len = range.len() as f64;
        for element in range {
            weights[element * parts + part] = 1.0 / len;
        }
    }
    x.mix(axis, &Tensor::new(weights, [size, parts]))
}

#[track_caller]
fn largest_of_parts(x: &Tensor, axis: usize, parts: usize) -> Tensor {
    let size = x.shape()[axis];
    if size.is_multiple_of(parts) {
        return x.unflatten(axis as isize, [parts, size / parts]).max(axis + 1);
    }
    check!(check_table("adaptive_max_pool", size, parts));
    // Parts of unequal length are filled up with their last element, which doesn't change their maximum.
    let longest = (0..parts).map(|part| part_range(part, parts, size).len()).max().unwrap_or(1);
    let mut index = Vec::with_capacity(parts * longest);
    for part in 0..parts {
        let range = part_range(part, parts, size);
        index.extend((0..longest).map(|offset| (range.start + offset).min(range.end - 1) as i64));
    }
    let gathered = x.index_select(axis as isize, &Tensor::from(index));
    gathered.unflatten(axis as isize, [parts, longest]).max(axis + 1)
}

impl Tensor {
    /// One axis multiplied by a matrix `[size, new size]`, in this tensor's dtype.
    #[track_caller]
    pub(crate) fn mix(&self, axis: usize, matrix: &Tensor) -> Tensor {
        let (axis, matrix) = (axis as isize, matrix.cast(self.dtype()));
        self.move_axis(axis, -1).matmul(&matrix).move_axis(-1, axis)
    }
}
