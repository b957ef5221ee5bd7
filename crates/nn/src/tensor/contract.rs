//! Products that sum: matrix, dot and outer products.

use kiln_ir::{DType, Expr, Shape};

use super::Tensor;

impl Tensor {
    /// The matrix product of the last two axes; the others are a batch and broadcast. A vector on the left is a row,
    /// on the right a column, and its axis goes away.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::ones([8, 5, 3]);
    /// assert_eq!(*x.matmul(&Tensor::ones([3, 4])).shape(), [8, 5, 4]);
    /// assert_eq!(*x.matmul(&Tensor::ones([3])).shape(), [8, 5]);
    /// let wrong = x.matmul(&Tensor::ones([4, 3])).error().map(|error| error.message);
    /// assert_eq!(wrong.as_deref(), Some("inner sizes differ, [8, 5, 3] × [4, 3]"));
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        let (a_shape, b_shape) = (check!(self.sound()).shape(), check!(other.sound()).shape());
        let (a_rank, b_rank) = (a_shape.rank(), b_shape.rank());
        ensure!(
            a_rank > 0 && b_rank > 0,
            Shape,
            "matmul",
            "needs vectors or matrices, {a_shape} × {b_shape}; multiply by a scalar with `*`"
        );
        let inner = (a_shape[a_rank - 1], b_shape[b_rank.max(2) - 2]);
        ensure!(
            inner.0 == inner.1,
            Shape,
            "matmul",
            "inner sizes differ, {a_shape} × {b_shape}{}",
            named(&[self, other])
        );
        let dtype = self.dtype().promote(other.dtype());
        ensure!(dtype != DType::Bool, DType, "matmul", "isn't defined on bool; cast first");
        let (a, b) = (self.0.cast(dtype), other.0.cast(dtype));
        let a_matrix = if a_rank == 1 { a.reshape([1, inner.0]) } else { a };
        let b_matrix = if b_rank == 1 { b.reshape([inner.0, 1]) } else { b };
        let Some(product) = batched(&a_matrix, &b_matrix) else {
            poison!(
                Shape,
                "matmul",
                "batch sizes don't broadcast, {a_shape} × {b_shape}; the last two axes are the matrices"
            );
        };
        let mut sizes = product.shape().to_vec();
        if b_rank == 1 {
            sizes.pop();
        }
        if a_rank == 1 {
            sizes.remove(sizes.len() - if b_rank == 1 { 1 } else { 2 });
        }
        Tensor(product.reshape(sizes))
    }

    /// The dot product of two vectors.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        let vectors = check!(self.sound()).rank() == 1 && check!(other.sound()).rank() == 1;
        ensure!(vectors, Shape, "dot", "needs two vectors, {} · {}", self.shape(), other.shape());
        self.matmul(other)
    }

    /// All products of an element of one vector with one of the other: `[m] × [n]` → `[m, n]`.
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        let vectors = check!(self.sound()).rank() == 1 && check!(other.sound()).rank() == 1;
        ensure!(vectors, Shape, "outer", "needs two vectors, {} × {}", self.shape(), other.shape());
        self.unsqueeze(1) * other.unsqueeze(0)
    }
}

/// The product of two operands of rank 2 or more, or `None` where their batch axes don't broadcast.
#[track_caller]
fn batched(a: &Expr, b: &Expr) -> Option<Expr> {
    let (a_shape, b_shape) = (a.shape(), b.shape());
    let (a_batch, b_batch) = (&a_shape[..a_shape.rank() - 2], &b_shape[..b_shape.rank() - 2]);
    if b_batch.is_empty() && !a_batch.is_empty() {
        // One matrix for the whole batch: the batch's rows make one tall matrix.
        let [rows, inner] = [a_shape[a_shape.rank() - 2], a_shape[a_shape.rank() - 1]];
        let tall = a.reshape([a_batch.iter().product::<usize>() * rows, inner]);
        let columns = b_shape[1];
        return Some(tall.matmul(b).reshape([a_batch, &[rows, columns][..]].concat()));
    }
    let batch = Shape::from(a_batch).broadcast(&Shape::from(b_batch))?;
    let wide = |shape: &Shape| Shape::from([&batch, &shape[shape.rank() - 2..]].concat());
    Some(a.broadcast_to(&wide(&a_shape)).matmul(&b.broadcast_to(&wide(&b_shape))))
}

/// The names of the parameters among the operands, for messages.
fn named(operands: &[&Tensor]) -> String {
    let name = |tensor: &&Tensor| tensor.0.node().ok().and_then(|node| node.variable_name());
    let names: Vec<String> = operands.iter().filter_map(name).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" ({})", names.join(", ")),
    }
}
