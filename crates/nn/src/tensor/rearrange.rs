//! Rearranging elements: joining, splitting, repeating, padding, rolling, triangles and diagonals.

use std::borrow::Borrow;

use kiln_ir::op::SliceRange;
use kiln_ir::{DType, Expr, Result, Scalar, Shape};

use super::Tensor;
use super::arguments::Axes;

impl Tensor {
    /// Tensors one after the other along an existing axis, promoted to one dtype.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let (a, b) = (Tensor::zeros([2, 3]), Tensor::ones([1, 3]));
    /// assert_eq!(*Tensor::concat(&[&a, &b], 0).shape(), [3, 3]);
    /// ```
    #[track_caller]
    pub fn concat<T: Borrow<Tensor>>(parts: &[T], axis: isize) -> Tensor {
        let Some(first) = parts.first() else {
            poison!(Value, "concat", "needs at least one tensor");
        };
        let axis = check!(first.borrow().axis("concat", axis));
        let dtype = parts.iter().fold(DType::Bool, |dtype, part| dtype.promote(part.borrow().dtype()));
        let mut cast = Vec::with_capacity(parts.len());
        for part in parts {
            cast.push(part.borrow().0.cast(dtype));
        }
        match &cast[..] {
            [one] => Tensor(one.clone()),
            many => Tensor(Expr::concat(&many.iter().collect::<Vec<_>>(), axis)),
        }
    }

    /// Tensors of one shape side by side along a new axis.
    #[track_caller]
    pub fn stack<T: Borrow<Tensor>>(parts: &[T], axis: isize) -> Tensor {
        let mut wider = Vec::with_capacity(parts.len());
        for part in parts {
            let part: &Tensor = part.borrow();
            let first: &Tensor = parts[0].borrow();
            ensure!(
                part.0.error().is_some() || first.0.error().is_some() || part.shape() == first.shape(),
                Shape,
                "stack",
                "shapes differ, {} and {}",
                first.shape(),
                part.shape()
            );
            wider.push(part.unsqueeze(axis));
        }
        Tensor::concat(&wider, axis)
    }

    /// Cut along an axis into parts of the sizes given, which sum to the axis's.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::zeros([4, 10]);
    /// let [head, tail] = x.split(1, [3, 7]);
    /// assert_eq!((head.size(1), tail.size(1)), (3, 7));
    /// ```
    #[track_caller]
    pub fn split<const N: usize>(&self, axis: isize, sizes: [usize; N]) -> [Tensor; N] {
        let poisoned = |error| std::array::from_fn(|_| Tensor::from(kiln_ir::Error::clone(&error)));
        let index = check!(self.axis("split", axis), error => poisoned(error));
        let shape = self.shape();
        let total = sizes.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        if total != shape[index] {
            let message = format!("sizes {sizes:?} don't sum to axis {index} of {shape}");
            return poisoned(kiln_ir::Error::new(kiln_ir::ErrorKind::Shape, "split", message));
        }
        let mut parts = Vec::with_capacity(N);
        let mut start = 0;
        for size in sizes {
            parts.push(Tensor(self.0.narrow(index, start, size)));
            start += size;
        }
        let mut parts = parts.into_iter();
        std::array::from_fn(|_| parts.next().unwrap_or_else(|| self.clone()))
    }

    /// Cut along an axis into `N` equal parts.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let [query, key, value] = Tensor::zeros([8, 96]).chunk(-1);
    /// assert_eq!(*value.shape(), [8, 32]);
    /// # let _ = (query, key);
    /// ```
    #[track_caller]
    pub fn chunk<const N: usize>(&self, axis: isize) -> [Tensor; N] {
        let size = self.size(axis);
        if self.0.error().is_none() && N > 0 && !size.is_multiple_of(N) {
            let message = format!("axis {axis} of {} doesn't divide into {N} equal parts", self.shape());
            let error = kiln_ir::Error::new(kiln_ir::ErrorKind::Shape, "chunk", message);
            return std::array::from_fn(|_| Tensor::from(error.clone()));
        }
        self.split(axis, [size / N.max(1); N])
    }

    /// The parts of `size` elements along an axis, the last one perhaps shorter. A poisoned tensor is its only part.
    #[track_caller]
    pub fn split_every(&self, axis: isize, size: usize) -> Vec<Tensor> {
        let index = check!(self.axis("split_every", axis), error => vec![error.into()]);
        if size == 0 {
            let error = kiln_ir::Error::new(kiln_ir::ErrorKind::Value, "split_every", "parts of 0 elements");
            return vec![error.into()];
        }
        let mut parts = Vec::new();
        for start in (0..self.shape()[index]).step_by(size) {
            parts.push(Tensor(self.0.narrow(index, start, size.min(self.shape()[index] - start))));
        }
        parts
    }

    /// Every element along an axis by itself, without that axis. A poisoned tensor is its only part.
    #[track_caller]
    pub fn unbind(&self, axis: isize) -> Vec<Tensor> {
        let mut parts = self.split_every(axis, 1);
        for part in &mut parts {
            *part = part.squeeze(axis);
        }
        parts
    }

    /// The whole tensor `repeats` times along each axis (NumPy's `tile`); missing leading axes are added.
    #[track_caller]
    pub fn repeat(&self, repeats: impl Into<Shape>) -> Tensor {
        let (shape, repeats) = (check!(self.sound()).shape(), repeats.into());
        let rank = repeats.rank();
        ensure!(
            rank >= shape.rank(),
            Axis,
            "repeat",
            "{rank} repeats for the {} axes of {shape}; write one for each axis",
            shape.rank()
        );
        let sizes = [vec![1; rank - shape.rank()], shape.to_vec()].concat();
        let apart = |inner: &dyn Fn(usize) -> [usize; 2]| (0..rank).flat_map(inner).collect::<Vec<_>>();
        let from = apart(&|axis| [1, sizes[axis]]);
        let to = apart(&|axis| [repeats[axis], sizes[axis]]);
        let merged: Vec<usize> = (0..rank).map(|axis| repeats[axis].saturating_mul(sizes[axis])).collect();
        Tensor(self.0.reshape(from).broadcast_to(&to.into()).reshape(merged))
    }

    /// Each element `count` times in a row along an axis.
    #[track_caller]
    pub fn repeat_interleave(&self, axis: isize, count: usize) -> Tensor {
        let axis = check!(self.axis("repeat_interleave", axis));
        let shape = self.shape();
        let mut sizes = shape.to_vec();
        sizes.insert(axis + 1, 1);
        let narrow = self.0.reshape(sizes.clone());
        sizes[axis + 1] = count;
        let merged = shape.with(axis, shape[axis].saturating_mul(count));
        Tensor(narrow.broadcast_to(&sizes.into()).reshape(merged))
    }

    /// The axes backwards.
    #[track_caller]
    pub fn flip(&self, axes: impl Into<Axes>) -> Tensor {
        Tensor(self.0.flip(&check!(self.axes("flip", axes))))
    }

    /// Every element moved `shift` places on along an axis, those that leave at the end coming back at the start.
    #[track_caller]
    pub fn roll(&self, axis: isize, shift: isize) -> Tensor {
        let axis = check!(self.axis("roll", axis));
        let size = self.shape()[axis];
        if size == 0 {
            return self.clone();
        }
        let shift = shift.rem_euclid(size as isize) as usize;
        if shift == 0 {
            return self.clone();
        }
        let (tail, head) = (self.0.narrow(axis, size - shift, shift), self.0.narrow(axis, 0, size - shift));
        Tensor(Expr::concat(&[&tail, &head], axis))
    }

    /// `value` around the last axes: one `(before, after)` for each, in order.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let image = Tensor::ones([1, 3, 8, 8]);
    /// assert_eq!(*image.pad([(1, 1), (2, 0)], 0.0).shape(), [1, 3, 10, 10]);
    /// ```
    #[track_caller]
    pub fn pad(&self, widths: impl AsRef<[(usize, usize)]>, value: impl Into<Scalar>) -> Tensor {
        let axes = check!(self.padded("pad", widths.as_ref()));
        let (mut before, mut after) = (vec![0; axes.start], vec![0; axes.start]);
        for &(front, back) in widths.as_ref() {
            before.push(front);
            after.push(back);
        }
        Tensor(self.0.pad(&before, &after, value))
    }

    /// The last axes, one for each pair of widths.
    #[track_caller]
    fn padded(&self, operation: &str, widths: &[(usize, usize)]) -> Result<std::ops::Range<usize>> {
        let rank = self.sound()?.rank();
        match rank.checked_sub(widths.len()) {
            Some(first) => Ok(first..rank),
            None => refuse!(Axis, operation, "{} pairs of widths for {}", widths.len(), self.shape()),
        }
    }

    /// The last axes continued by their mirror image, the edge itself not repeated: `abc` by two → `cbabcba`.
    #[track_caller]
    pub fn pad_reflect(&self, widths: impl AsRef<[(usize, usize)]>) -> Tensor {
        let (axes, widths) = (check!(self.padded("pad_reflect", widths.as_ref())), widths.as_ref());
        let mut x = self.clone();
        for (axis, &(before, after)) in axes.zip(widths) {
            let size = x.shape()[axis];
            ensure!(
                before < size.max(1) && after < size.max(1),
                Value,
                "pad_reflect",
                "widths ({before}, {after}) must be below the size of axis {axis} of {}",
                self.shape()
            );
            let parts = [
                x.0.narrow(axis, 1, before).flip(&[axis]),
                x.0.clone(),
                x.0.narrow(axis, size - 1 - after.min(size - 1), after).flip(&[axis]),
            ];
            x = joined(&parts, axis);
        }
        x
    }

    /// The last axes continued by their first and last elements: `abc` by two → `aaabccc`.
    #[track_caller]
    pub fn pad_replicate(&self, widths: impl AsRef<[(usize, usize)]>) -> Tensor {
        let (axes, widths) = (check!(self.padded("pad_replicate", widths.as_ref())), widths.as_ref());
        let mut x = self.clone();
        for (axis, &(before, after)) in axes.zip(widths) {
            let shape = x.shape();
            ensure!(shape[axis] > 0, Shape, "pad_replicate", "axis {axis} of {shape} has no edge");
            let parts = [
                x.0.narrow(axis, 0, 1).broadcast_to(&shape.with(axis, before)),
                x.0.clone(),
                x.0.narrow(axis, shape[axis] - 1, 1).broadcast_to(&shape.with(axis, after)),
            ];
            x = joined(&parts, axis);
        }
        x
    }

    /// The last axes continued by their other end, as if they were rings: `abc` by one → `cabca`.
    #[track_caller]
    pub fn pad_circular(&self, widths: impl AsRef<[(usize, usize)]>) -> Tensor {
        let (axes, widths) = (check!(self.padded("pad_circular", widths.as_ref())), widths.as_ref());
        let mut x = self.clone();
        for (axis, &(before, after)) in axes.zip(widths) {
            let size = x.shape()[axis];
            ensure!(
                before <= size && after <= size,
                Value,
                "pad_circular",
                "widths ({before}, {after}) exceed the size of axis {axis} of {}",
                self.shape()
            );
            let parts = [x.0.narrow(axis, size - before, before), x.0.clone(), x.0.narrow(axis, 0, after)];
            x = joined(&parts, axis);
        }
        x
    }

    /// Windows of `size` elements along an axis, each `step` after the one before: their number takes the axis's
    /// place, their elements are a new last axis.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let windows = Tensor::arange(0..5).unfold(0, 3, 2);
    /// assert_eq!(windows.to_vec::<i64>()?, [0, 1, 2, 2, 3, 4]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Tensor {
        let axis = check!(self.axis("unfold", axis));
        let shape = self.shape();
        ensure!(
            size <= shape[axis] && step > 0,
            Value,
            "unfold",
            "windows of {size} in steps of {step} on axis {axis} of {shape}"
        );
        let count = (shape[axis] - size) / step + 1;
        let elements = Tensor::index_along([count, size], 0) * step + Tensor::index_along([count, size], 1);
        let taken = self.index_select(axis as isize, &elements.flatten(..));
        taken.unflatten(axis as isize, [count, size]).move_axis(axis as isize + 1, -1)
    }

    /// The elements of each matrix on and below the diagonal `offset` (0 is the main one, 1 the one above), zeros
    /// elsewhere.
    #[track_caller]
    pub fn tril(&self, offset: i64) -> Tensor {
        self.triangle("tril", |row, column| (row + offset).ge(column))
    }

    /// The elements of each matrix on and above the diagonal `offset`, zeros elsewhere.
    #[track_caller]
    pub fn triu(&self, offset: i64) -> Tensor {
        self.triangle("triu", |row, column| (row + offset).le(column))
    }

    #[track_caller]
    fn triangle(&self, operation: &str, kept: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
        let shape = check!(self.sound()).shape();
        ensure!(shape.rank() >= 2, Shape, operation, "needs a matrix, the shape is {shape}");
        let matrix = &shape[shape.rank() - 2..];
        kept(&Tensor::index_along(matrix, 0), &Tensor::index_along(matrix, 1)).select(self, self.zeros_like())
    }

    /// The diagonal `offset` of each matrix, as a new last axis in place of the last two.
    #[track_caller]
    pub fn diagonal(&self, offset: isize) -> Tensor {
        let shape = check!(self.sound()).shape();
        let rank = shape.rank();
        ensure!(rank >= 2, Shape, "diagonal", "needs a matrix, the shape is {shape}");
        let (rows, columns) = (shape[rank - 2], shape[rank - 1]);
        let (row, column) = (offset.min(0).unsigned_abs(), offset.max(0).unsigned_abs());
        let len = rows.saturating_sub(row).min(columns.saturating_sub(column));
        // In row-major order the diagonal is every (columns + 1)-th element.
        let mut flat = shape[..rank - 2].to_vec();
        let mut ranges: Vec<SliceRange> =
            flat.iter().map(|&len| SliceRange { start: 0, len, step: 1 }).collect();
        flat.push(rows * columns);
        let start = if len == 0 { 0 } else { row * columns + column };
        ranges.push(SliceRange { start, len, step: columns as isize + 1 });
        Tensor(self.0.reshape(flat).slice(&ranges))
    }

    /// Matrices with the last axis on their diagonal and zeros elsewhere.
    #[track_caller]
    pub fn diagonal_matrix(&self) -> Tensor {
        let shape = check!(self.sound()).shape();
        ensure!(shape.rank() >= 1, Shape, "diagonal_matrix", "needs a vector, not a scalar");
        let size = self.size(-1);
        let matrix = [size, size];
        let on = Tensor::index_along(matrix, 0).eq(Tensor::index_along(matrix, 1));
        on.select(self.unsqueeze(-1), self.zeros_like().unsqueeze(-1))
    }

    /// The coordinates of a grid: for each vector a tensor of all sizes that changes along its own axis only.
    #[track_caller]
    pub fn meshgrid<const N: usize>(vectors: [&Tensor; N]) -> [Tensor; N] {
        let sizes = vectors.map(|vector| vector.elements());
        let mut grids = vectors.map(Tensor::clone);
        for (axis, grid) in grids.iter_mut().enumerate() {
            let mut alone = [1; N];
            alone[axis] = sizes[axis];
            *grid = grid.reshape(alone).broadcast_to(sizes);
        }
        grids
    }
}

#[track_caller]
fn joined(parts: &[Expr], axis: usize) -> Tensor {
    let parts: Vec<&Expr> = parts.iter().filter(|part| part.shape().get(axis) != Some(&0)).collect();
    match parts[..] {
        [one] => Tensor(one.clone()),
        _ => Tensor(Expr::concat(&parts, axis)),
    }
}
