//! What people write: tensors, parameters, modules and compiled steps.
//!
//! Start with [`Tensor`]; then [`Module`], [`Step`] and [`Function`].

#[macro_use]
pub mod tensor;

pub mod layers;
pub mod module;
pub mod optim;
pub mod random;
mod runtime;
pub mod step;
pub mod variable;

pub use kiln_compile::Program;
pub use kiln_device::{check_finite, set_threads, threads};
pub use kiln_ir::{DType, Data, Element, Error, ErrorKind, Result, Scalar, Shape};

pub use layers::{BatchNorm, Conv2d, Dense};
pub use module::{Context, Module, Visitor};
pub use optim::{Adam, Optimizer, Sgd};
pub use random::Key;
pub use step::{Function, Input, Step};
pub use tensor::arguments::{Axes, Dims, Operand};
pub use tensor::attention::AttentionOptions;
pub use tensor::conv::ConvOptions;
pub use tensor::custom::HostOp;
pub use tensor::loss::{CrossEntropyOptions, Reduction};
pub use tensor::pool::PoolOptions;
pub use tensor::slice::{Index, Indices, strided};
pub use tensor::window::{Padding, PerAxis};
pub use tensor::{Tensor, eval_all};
pub use variable::{Param, Variable};
