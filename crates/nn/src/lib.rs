//! What people write: tensors, parameters, modules and compiled steps.
//!
//! Start with [`Tensor`]; then [`Module`], [`Step`] and [`Function`].
//!
//! # Invariants
//!
//! - Arithmetic computes nothing; shape and dtype are known at once, and numbers are computed where they are asked for.
//! - No method panics. A mistake poisons the tensor, and comes out with the line of whoever made it.
//! - No number of the host's is frozen into a program: parameters, rates, counts and randomness are variables.
//! - What a key draws is a function of the key alone.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

#[macro_use]
pub mod tensor;

mod budget;
pub mod composite;
pub mod depth;
pub mod device;
pub mod features;
pub mod function;
pub mod init;
pub mod layers;
pub mod loss;
pub mod metrics;
pub mod models;
pub mod module;
pub mod optim;
pub mod random;
mod runtime;
pub mod schedule;
pub mod sequential;
pub mod step;
mod storage;
pub mod summary;
pub mod variable;

pub use kiln_compile::{Program, compilations};
pub use kiln_device::{Device, DeviceDescription, DeviceSettings, same};
pub use kiln_ir::expr::ScanOptions;
pub use kiln_ir::{DType, Data, Element, Error, ErrorKind, Result, Scalar, Shape};

pub use device::{check_finite, default_device, device, devices, set_default_device, set_threads, threads};
pub use features::Rest;
pub use function::{Compiled, Function, Input, InputList};
pub use init::{Fan, Init};
pub use layers::{
    Activation, BatchNorm, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Dense,
    Dropout, EmbedColumns, Embedding, Flatten, GroupNorm, Gru, InstanceNorm, Lambda, Layer, LayerNorm,
    LearnedScale, Lstm, MemberScales, MembersDense, MultiHeadAttention, OverTime, PRelu, Places, Pool,
    PositionalEmbedding, RecurrentOptions, Reshape, RmsNorm, Rnn, RowSteps, Take, TransformerBlock,
    TransformerOptions, Transpose, Upsample, Waves,
};
pub use loss::{CrossEntropyOptions, Reduction};
pub use module::{Cache, Context, Module, TimeAxis, Visitor};
pub use optim::{Adam, AdamW, Optimizer, Sgd};
pub use random::Key;
pub use sequential::{Join, Sequential, Spec};
pub use step::{Clip, Step, StepOptions, Update};
pub use summary::Summary;
pub use tensor::arguments::{Axes, Correction, Dims, IntoAxes, Operand, Position};
pub use tensor::attention::AttentionOptions;
pub use tensor::conv::ConvOptions;
pub use tensor::custom::HostOp;
pub use tensor::pool::PoolOptions;
pub use tensor::recurrent::Recurrence;
pub use tensor::slice::{Index, Indices, strided};
pub use tensor::window::{Padding, PerAxis, SpatialRank};
pub use tensor::{Tensor, eval_all};
pub use variable::{Adapter, Param, Variable};

/// The code in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
