//! Low-rank adapters: a matrix that stays as it is, and a product of two narrow ones that is trained in its place (LoRA).

use kiln_ir::{Error, ErrorKind, Result};

use super::Param;
use crate::init::{Fan, Init};
use crate::random::Key;
use crate::tensor::Tensor;

/// What is added to a matrix `[inputs, outputs]`: `a · b · scale`.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// `[inputs, rank]`.
    pub a: Param,
    /// `[rank, outputs]`; zeros at first, so that nothing changes.
    pub b: Param,
    /// What their product is multiplied by.
    pub scale: f64,
}

/// The narrow matrices' names behind that of their matrix, as others call them.
pub(crate) const NAMES: [&str; 2] = ["lora_a", "lora_b"];

/// Whether a path is that of an adapter's matrix.
pub(crate) fn is_of_adapter(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|name| NAMES.contains(&name))
}

impl Adapter {
    /// One of this rank for a matrix, with the scale `alpha / rank`.
    pub(crate) fn new(matrix: &Param, rank: usize, alpha: f64, key: &Key) -> Result<Adapter> {
        let shape = matrix.shape();
        let [inputs, outputs] = shape[..] else {
            let message = format!("an adapter is for a matrix, and this parameter is {shape}");
            return Err(Error::new(ErrorKind::Shape, "adapt", message).nowhere());
        };
        if rank == 0 || rank > inputs.min(outputs) {
            let message = format!("rank {rank} for a matrix {shape}; it is 1 to {}", inputs.min(outputs));
            return Err(Error::new(ErrorKind::Value, "adapt", message).nowhere());
        }
        let a = Init::PYTORCH.fill([inputs, rank], Fan { inputs, outputs: rank }, key);
        let (a, b) = (Param::new(&a), Param::new(&Tensor::zeros([rank, outputs])));
        let adapter = Adapter { a, b, scale: alpha / rank as f64 };
        if let Some(error) = adapter.a.error().or_else(|| adapter.b.error()) {
            return Err(error.clone());
        }
        Ok(adapter)
    }

    /// Whether its product has a parameter's shape.
    ///
    /// # Errors
    /// Where it hasn't, with the shapes.
    pub fn fits(&self, param: &Param) -> Result<()> {
        let (own, a, b) = (param.shape(), self.a.shape(), self.b.shape());
        match own.rank() == 2 && a.rank() == 2 && b.rank() == 2 && a[1] == b[0] && own[..] == [a[0], b[1]] {
            true => Ok(()),
            false => {
                let message = format!("an adapter of {a} and {b} doesn't fit a parameter {own}");
                Err(Error::new(ErrorKind::Shape, "adapt", message).nowhere())
            }
        }
    }

    /// `x · a · b · scale`, which is less work than with the product of both.
    #[track_caller]
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        x.matmul(&self.a.tensor()).matmul(&self.b.tensor()) * self.scale
    }

    /// What is added to the matrix.
    #[track_caller]
    pub(super) fn product(&self) -> Tensor {
        self.a.tensor().matmul(&self.b.tensor()) * self.scale
    }
}
