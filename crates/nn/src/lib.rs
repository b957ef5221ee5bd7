//! What people write: tensors, parameters, modules and compiled steps.
//!
//! Start with [`Tensor`]; then [`Module`], [`Step`] and [`Function`].

#![forbid(unsafe_code)]

#[macro_use]
pub mod tensor;

pub mod composite;
pub mod device;
pub mod function;
pub mod init;
pub mod layers;
pub mod loss;
pub mod metrics;
pub mod module;
mod nearest;
pub mod optim;
pub mod random;
mod runtime;
pub mod schedule;
pub mod sequential;
pub mod step;
pub mod summary;
pub mod variable;

pub use kiln_compile::Program;
pub use kiln_device::{Description, Device, Settings, same};
pub use kiln_ir::{DType, Data, Element, Error, ErrorKind, Result, Scalar, Shape};

pub use device::{check_finite, default_device, device, devices, set_default_device, set_threads, threads};
pub use function::{Compiled, Function, Input, InputList};
pub use init::{Fan, Init};
pub use layers::{
    Activation, BatchNorm, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Dense,
    Dropout, EmbedColumns, Embedding, Flatten, GroupNorm, Gru, InstanceNorm, Lambda, Layer, LayerNorm, Lstm,
    MultiHeadAttention, OverTime, PRelu, Pool, PositionalEmbedding, RecurrentOptions, Reshape, RmsNorm, Rnn,
    TransformerBlock, TransformerOptions, Transpose, Upsample,
};
pub use module::{Context, Module, Visitor};
pub use nearest::nearest;
pub use optim::{Adam, AdamW, Optimizer, Sgd};
pub use random::Key;
pub use sequential::{Cell, Join, Sequential, Spec};
pub use step::{Clip, Step, StepOptions, Update};
pub use summary::Summary;
pub use tensor::arguments::{Axes, Correction, Dims, IntoAxes, Operand, Position};
pub use tensor::attention::AttentionOptions;
pub use tensor::conv::ConvOptions;
pub use tensor::custom::HostOp;
pub use tensor::loss::{CrossEntropyOptions, Reduction};
pub use tensor::pool::PoolOptions;
pub use tensor::recurrent::Recurrence;
pub use tensor::slice::{Index, Indices, strided};
pub use tensor::window::{Padding, PerAxis};
pub use tensor::{Tensor, eval_all};
pub use variable::{Param, Variable};
