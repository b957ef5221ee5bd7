//! Operations of a user's own, computed on the host from ordinary vectors.

use std::fmt;
use std::sync::Arc;

use kiln_ir::op::CustomOp;
use kiln_ir::{DType, Data, Error, Expr, Shape};

use super::Tensor;
use super::grad::tensors;

/// An operation that kiln doesn't have, computed on the host.
///
/// ```
/// # use kiln_nn::{Data, DType, Error, HostOp, Shape, Tensor};
/// /// The number of ones in the binary representation.
/// struct PopCount;
///
/// impl HostOp for PopCount {
///     fn name(&self) -> &str {
///         "pop_count"
///     }
///     fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
///         match operands {
///             [(shape, DType::I64)] => Ok(((*shape).clone(), DType::I64)),
///             _ => Err("takes one tensor of i64".to_string()),
///         }
///     }
///     fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error> {
///         let values = operands[0].1.as_slice::<i64>().unwrap_or_default();
///         Ok(Data::I64(values.iter().map(|x| i64::from(x.count_ones())).collect()))
///     }
/// }
///
/// let x = Tensor::from([1i64, 3, 255]);
/// assert_eq!(Tensor::custom(PopCount, &[&x]).to_vec::<i64>()?, [1, 2, 8]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub trait HostOp: Send + Sync {
    /// The name shown in errors and printed graphs.
    fn name(&self) -> &str;

    /// The result's shape and dtype, or why the operands don't fit.
    ///
    /// # Errors
    /// Where they don't.
    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String>;

    /// The result's elements, row-major, from the operands'.
    ///
    /// # Errors
    /// Where it can't be computed.
    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error>;

    /// The gradient for each operand, given the result and the gradient that arrives at it; `None`: none flows.
    fn gradient(&self, operands: &[Tensor], value: &Tensor, upstream: &Tensor) -> Vec<Option<Tensor>> {
        let _ = (value, upstream);
        vec![None; operands.len()]
    }
}

impl Tensor {
    /// The result of an operation of your own.
    #[track_caller]
    pub fn custom(operation: impl HostOp + 'static, operands: &[&Tensor]) -> Tensor {
        let operands: Vec<&Expr> = operands.iter().map(|operand| &operand.0).collect();
        Tensor(Expr::custom(Arc::new(OnExpressions(operation)), &operands))
    }
}

/// A [`HostOp`] as the graph knows it.
struct OnExpressions<T>(T);

impl<T: HostOp> fmt::Debug for OnExpressions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl<T: HostOp> CustomOp for OnExpressions<T> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
        self.0.infer(operands)
    }

    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error> {
        self.0.compute(operands)
    }

    fn gradient(&self, operands: &[Expr], value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        let (value, upstream) = (Tensor(value.clone()), Tensor(upstream.clone()));
        let gradients = self.0.gradient(&tensors(operands.to_vec()), &value, &upstream);
        gradients.into_iter().map(|gradient| gradient.map(|tensor| tensor.0)).collect()
    }
}
