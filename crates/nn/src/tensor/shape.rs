//! The same elements under other axes: reshape, permute, broadcast, squeeze. None of it does arithmetic.
//! Axes count from the end where negative.

use kiln_ir::{Result, Shape};

use super::Tensor;
use super::arguments::{Axes, Dims};

impl Tensor {
    /// The same elements, row-major, in another shape. One size may be `-1`: it is found from the others.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::arange(0..6);
    /// assert_eq!(*x.reshape([2, -1]).shape(), [2, 3]);
    /// assert_eq!(*x.reshape(-1).shape(), [6]);
    /// ```
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Dims>) -> Tensor {
        Tensor(self.0.reshape(check!(self.resolve(&shape.into()))))
    }

    #[track_caller]
    fn resolve(&self, dims: &Dims) -> Result<Shape> {
        let shape = self.sound()?.shape();
        let open: Vec<usize> = (0..dims.0.len()).filter(|&axis| dims.0[axis] < 0).collect();
        let mut sizes: Vec<usize> = dims.0.iter().map(|&size| size.unsigned_abs()).collect();
        if let Some(&axis) = open.first() {
            if open.len() > 1 || dims.0[axis] != -1 {
                refuse!(Shape, "reshape", "{shape} into {:?}: only one size may be -1", dims.0);
            }
            sizes[axis] = 1;
            let known = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
            match known {
                Some(known) if known > 0 && shape.elements().is_multiple_of(known) => {
                    sizes[axis] = shape.elements() / known;
                }
                _ => {
                    let count = shape.elements();
                    refuse!(
                        Shape,
                        "reshape",
                        "{shape} into {:?}: {count} elements don't divide into the sizes given",
                        dims.0
                    );
                }
            }
        }
        Ok(Shape::from(sizes))
    }

    /// Some neighbouring axes made one; `flatten(..)` gives a vector, `flatten(1..)` keeps the batch axis.
    #[track_caller]
    pub fn flatten(&self, axes: impl Into<Axes>) -> Tensor {
        let axes = check!(self.axes("flatten", axes));
        let shape = self.shape();
        let Some(&first) = axes.first() else {
            // No axes: a scalar becomes a vector of one element, anything else gets an axis of one at the end.
            return self.unsqueeze(-1);
        };
        ensure!(
            axes.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            Axis,
            "flatten",
            "axes {axes:?} of {shape} aren't neighbours in order"
        );
        let last = first + axes.len();
        let mut sizes = shape[..first].to_vec();
        sizes.push(shape[first..last].iter().product());
        sizes.extend_from_slice(&shape[last..]);
        Tensor(self.0.reshape(sizes))
    }

    /// One axis split into several, whose product is its size; one of them may be `-1`.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let heads = Tensor::zeros([2, 5, 64]).unflatten(-1, [8, -1]);
    /// assert_eq!(*heads.shape(), [2, 5, 8, 8]);
    /// ```
    #[track_caller]
    pub fn unflatten(&self, axis: isize, sizes: impl Into<Dims>) -> Tensor {
        let axis = check!(self.axis("unflatten", axis));
        let shape = self.shape();
        let part = Tensor(kiln_ir::Expr::full([shape[axis]], 0.0, self.dtype()));
        let parts = check!(part.resolve(&sizes.into()));
        let mut sizes = shape[..axis].to_vec();
        sizes.extend_from_slice(&parts);
        sizes.extend_from_slice(&shape[axis + 1..]);
        Tensor(self.0.reshape(sizes))
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this.
    #[track_caller]
    pub fn permute(&self, axes: impl Into<Axes>) -> Tensor {
        Tensor(self.0.permute(&check!(self.axes("permute", axes))))
    }

    /// Two axes exchanged.
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let a = check!(self.axis("transpose", a));
        let b = check!(self.axis("transpose", b));
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        axes.swap(a, b);
        Tensor(self.0.permute(&axes))
    }

    /// The last two axes exchanged: the transpose of a matrix, or of each in a batch. Vectors and scalars stay.
    #[track_caller]
    pub fn t(&self) -> Tensor {
        Tensor(self.0.transpose())
    }

    /// One axis moved to another place, the others keeping their order.
    #[track_caller]
    pub fn move_axis(&self, from: isize, to: isize) -> Tensor {
        let from = check!(self.axis("move_axis", from));
        let to = check!(self.axis("move_axis", to));
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        let moved = axes.remove(from);
        axes.insert(to, moved);
        Tensor(self.0.permute(&axes))
    }

    /// Repeated to `shape` as NumPy broadcasts: missing leading axes are added, sizes of one repeat. Nothing is
    /// copied.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let from = check!(self.sound()).shape();
        ensure!(
            from.broadcast(&shape).as_ref() == Some(&shape),
            Shape,
            "broadcast_to",
            "{from} doesn't broadcast to {shape}; sizes must be equal or one, aligned at the last axis"
        );
        Tensor(self.0.broadcast_to(&shape))
    }

    /// Without the axes named, each of size one; `squeeze(..)` removes every axis of size one.
    #[track_caller]
    pub fn squeeze(&self, axes: impl Into<Axes>) -> Tensor {
        let axes = axes.into();
        let shape = check!(self.sound()).shape();
        let removed: Vec<usize> = if matches!(axes, Axes::All) {
            (0..shape.rank()).filter(|&axis| shape[axis] == 1).collect()
        } else {
            check!(self.axes("squeeze", axes))
        };
        for &axis in &removed {
            ensure!(
                shape[axis] == 1,
                Shape,
                "squeeze",
                "axis {axis} of {shape} has size {}, not 1",
                shape[axis]
            );
        }
        let kept = (0..shape.rank()).filter(|axis| !removed.contains(axis));
        Tensor(self.0.reshape(kept.map(|axis| shape[axis]).collect::<Vec<_>>()))
    }

    /// A new axis of size one, at position `axis` of the result.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::zeros([2, 3]);
    /// assert_eq!(*x.unsqueeze(0).shape(), [1, 2, 3]);
    /// assert_eq!(*x.unsqueeze(-1).shape(), [2, 3, 1]);
    /// ```
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Tensor {
        let shape = check!(self.sound()).shape();
        let axis = check!(super::check::axis_of("unsqueeze", axis, shape.rank() + 1, &shape));
        let mut sizes = shape.to_vec();
        sizes.insert(axis, 1);
        Tensor(self.0.reshape(sizes))
    }

    /// The range of axes as indices, for methods that take one.
    #[track_caller]
    pub(crate) fn trailing(&self, count: usize) -> std::ops::Range<usize> {
        let rank = self.rank();
        rank.saturating_sub(count)..rank
    }
}
