//! Picking and putting by index tensors, and sorting. An index out of range makes the evaluation fail with an error
//! that names it.

use kiln_ir::op::ScatterMode;
use kiln_ir::{DType, Result};

use super::Tensor;
use crate::composite::{Composite, note};

impl Tensor {
    /// For each index the element at its place along `axis`: `out[…, i, …] = x[…, index[…, i, …], …]`. On the other
    /// axes `index` may be shorter than this tensor.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let scores = Tensor::from([[0.1, 0.9], [0.8, 0.2]]);
    /// let labels = Tensor::from([[1], [0]]);
    /// assert_eq!(scores.gather(1, &labels).to_vec::<f64>()?, [0.9, 0.8]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = check!(self.axis("gather", axis));
        let index = check!(indices("gather", index));
        let (shape, wanted) = (self.shape(), index.shape());
        let mut x = self.0.clone();
        if shape.rank() == wanted.rank() {
            for other in (0..shape.rank()).filter(|&other| other != axis && wanted[other] < shape[other]) {
                x = x.narrow(other, 0, wanted[other]);
            }
        }
        Tensor(x.gather(&index.0, axis))
    }

    /// Whole slices of `axis`, in the order of a vector of indices.
    #[track_caller]
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = check!(self.axis("index_select", axis));
        let index = check!(indices("index_select", index));
        ensure!(
            index.rank() == 1,
            Shape,
            "index_select",
            "needs a vector of indices, not {}; flatten(..) it or use gather",
            index.shape()
        );
        let shape = self.shape();
        let mut sizes = vec![1; shape.rank()];
        sizes[axis] = index.elements();
        let spread = index.0.reshape(sizes).broadcast_to(&shape.with(axis, index.elements()));
        note(Tensor(self.0.gather(&spread, axis)), || (Composite::Select(axis), [self, &index]))
    }

    /// The rows of this table `[rows, width]` that an index tensor of any shape names: its shape, then `width`.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let table = Tensor::zeros([1000, 64]);
    /// let tokens = Tensor::from([[3u16, 1, 4], [1, 5, 9]]);
    /// assert_eq!(*table.embedding(&tokens).shape(), [2, 3, 64]);
    /// ```
    #[track_caller]
    pub fn embedding(&self, index: &Tensor) -> Tensor {
        let shape = check!(self.sound()).shape();
        ensure!(shape.rank() == 2, Shape, "embedding", "the table should be [rows, width], not {shape}");
        let index = check!(indices("embedding", index));
        let rows = self.index_select(0, &index.flatten(..));
        let sizes = [&index.shape()[..], &[shape[1]]].concat();
        note(Tensor(rows.0.reshape(sizes)), || (Composite::Select(0), [self, &index]))
    }

    /// This tensor with each element of `source` put at its index along `axis`; where indices repeat, the last stays.
    #[track_caller]
    pub fn scatter(&self, axis: isize, index: &Tensor, source: &Tensor) -> Tensor {
        self.put("scatter", axis, index, source, ScatterMode::Set)
    }

    /// This tensor with each element of `source` added at its index along `axis`.
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Tensor, source: &Tensor) -> Tensor {
        self.put("scatter_add", axis, index, source, ScatterMode::Add)
    }

    #[track_caller]
    fn put(
        &self,
        operation: &str,
        axis: isize,
        index: &Tensor,
        source: &Tensor,
        mode: ScatterMode,
    ) -> Tensor {
        let axis = check!(self.axis(operation, axis));
        let index = check!(indices(operation, index));
        Tensor(self.0.scatter(&index.0, &source.0.cast(self.dtype()), axis, mode))
    }

    /// This vector or batch with each slice of `source` added at its index along `axis`: `index_select` backwards.
    #[track_caller]
    pub fn index_add(&self, axis: isize, index: &Tensor, source: &Tensor) -> Tensor {
        let place = check!(self.axis("index_add", axis));
        let index = check!(indices("index_add", index));
        ensure!(index.rank() == 1, Shape, "index_add", "needs a vector of indices, not {}", index.shape());
        let shape = self.shape();
        let mut sizes = vec![1; shape.rank()];
        sizes[place] = index.elements();
        let spread = Tensor(index.0.reshape(sizes).broadcast_to(&shape.with(place, index.elements())));
        self.put("index_add", axis, &spread, source, ScatterMode::Add)
    }

    /// Sorted along an axis, and where each element came from (`i64`). Equal elements keep their order, `NaN` counts
    /// as largest.
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Tensor, Tensor) {
        let order = self.argsort(axis, descending);
        (self.gather(axis, &order), order)
    }

    /// Where the elements sorted along an axis come from (`i64`).
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Tensor {
        let axis = check!(self.axis("argsort", axis));
        Tensor(self.0.argsort(axis, descending))
    }

    /// The `count` largest elements along an axis, largest first, and where they come from (`i64`).
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let (values, places) = Tensor::from([3.0, 9.0, 5.0]).top_k(-1, 2);
    /// assert_eq!(values.to_vec::<f64>()?, [9.0, 5.0]);
    /// assert_eq!(places.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn top_k(&self, axis: isize, count: usize) -> (Tensor, Tensor) {
        let order = self.argsort(axis, true).narrow(axis, 0, count);
        (self.gather(axis, &order), order)
    }
}

/// Indices as `i64`.
#[track_caller]
fn indices(operation: &str, index: &Tensor) -> Result<Tensor> {
    match index.sound()?.dtype() {
        dtype if dtype.is_int() => Ok(index.cast(DType::I64)),
        dtype => {
            refuse!(DType, operation, "indices are integers, not {dtype}; cast them to i64")
        }
    }
}
