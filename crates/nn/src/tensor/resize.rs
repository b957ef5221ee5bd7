//! Resizing the spatial axes of images, by the nearest element or by straight lines between neighbours.

use kiln_ir::Shape;

use super::Tensor;
use super::check::check_table;
use crate::composite::{Composite, Resizing, note};

impl Tensor {
    /// Images `[batch, channels, spatial…]` resized to `sizes`, each element taken from the nearest one (PyTorch's
    /// `nearest`).
    #[track_caller]
    pub fn resize_nearest(&self, sizes: impl Into<Shape>) -> Tensor {
        let sizes = sizes.into();
        check!(check_sizes("resize_nearest", self, &sizes));
        let mut x = self.clone();
        for (axis, &to) in self.trailing(sizes.rank()).zip(sizes.iter()) {
            let from = check!(x.sound()).shape()[axis];
            let place = axis as isize;
            x = if to == from {
                x
            } else if to.is_multiple_of(from) {
                x.repeat_interleave(place, to / from)
            } else {
                check!(check_table("resize_nearest", 1, to));
                let nearest = |element: usize| (element as u128 * from as u128 / to as u128) as i64;
                let index: Vec<i64> = (0..to).map(nearest).collect();
                x.index_select(place, &Tensor::from(index))
            };
        }
        note(x, || (Composite::Resize(sizes.to_vec(), Resizing::Nearest), [self]))
    }

    /// Images `[batch, channels, spatial…]` resized to `sizes` by linear interpolation along each axis (bilinear for
    /// two). With `align_corners` the outermost elements keep their places, else the outer edges do.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([[[0.0f32, 1.0]]]);
    /// assert_eq!(x.resize_linear([3], true).to_vec::<f32>()?, [0.0, 0.5, 1.0]);
    /// assert_eq!(x.resize_linear([4], false).to_vec::<f32>()?, [0.0, 0.25, 0.75, 1.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn resize_linear(&self, sizes: impl Into<Shape>, align_corners: bool) -> Tensor {
        let sizes = sizes.into();
        check!(check_sizes("resize_linear", self, &sizes));
        let mut x = self.float();
        for (axis, &to) in self.trailing(sizes.rank()).zip(sizes.iter()) {
            let from = check!(x.sound()).shape()[axis];
            if to != from {
                check!(check_table("resize_linear", from, to));
                x = x.mix(axis, &Tensor::new(interpolation(from, to, align_corners), [from, to]));
            }
        }
        let way = if align_corners { Resizing::LinearAligned } else { Resizing::Linear };
        note(x, || (Composite::Resize(sizes.to_vec(), way), [self]))
    }
}

#[track_caller]
fn check_sizes(operation: &str, x: &Tensor, sizes: &[usize]) -> kiln_ir::Result<()> {
    let shape = x.sound()?.shape();
    let spatial = shape.rank().checked_sub(sizes.len()).map(|rank| &shape[rank..]);
    match spatial {
        None => refuse!(Shape, operation, "{} sizes for {shape}", sizes.len()),
        Some(spatial) if spatial.contains(&0) || sizes.contains(&0) => {
            refuse!(Shape, operation, "{shape} to {sizes:?}: sizes must be at least 1")
        }
        Some(_) => Ok(()),
    }
}

/// The weight of each of `from` elements in each of `to`, row-major `[from, to]`.
fn interpolation(from: usize, to: usize, align_corners: bool) -> Vec<f64> {
    let mut weights = vec![0.0; from * to];
    for element in 0..to {
        let source = match align_corners {
            true if to > 1 => element as f64 * (from - 1) as f64 / (to - 1) as f64,
            true => 0.0,
            false => ((element as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
        };
        let left = (source as usize).min(from - 1);
        let right = (left + 1).min(from - 1);
        let share = source - left as f64;
        weights[left * to + element] += 1.0 - share;
        weights[right * to + element] += share;
    }
    weights
}
