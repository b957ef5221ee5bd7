//! What people write: tensors, parameters, modules and compiled steps.
//!
//! Start with [`Tensor`].

#[macro_use]
pub mod tensor;

pub mod random;

#[path = "oracle.rs"]
mod runtime;

pub use kiln_ir::{DType, Data, Element, Error, ErrorKind, Result, Scalar, Shape};

pub use random::Key;
pub use tensor::arguments::{Axes, Dims, Operand};
pub use tensor::attention::AttentionOptions;
pub use tensor::conv::ConvOptions;
pub use tensor::custom::HostOp;
pub use tensor::loss::{CrossEntropyOptions, Reduction};
pub use tensor::pool::PoolOptions;
pub use tensor::slice::{Index, Indices, strided};
pub use tensor::window::{Padding, PerAxis};
pub use tensor::{Tensor, eval_all};
