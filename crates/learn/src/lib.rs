//! kiln's training and models: from data and layers to a file that answers, and everything about it that isn't the command. The package
//! `kiln` re-exports all of it.
//!
//! - [`trainer`]: the loop, what it writes and how it goes on; [`trainer::Trainer`] is the door.
//! - [`model`]: a model's file: layers, weights, the preparation of its data, what it answers.
//! - [`weights`]: weights of other systems' files, by name. [`onnx`]: the same for whole networks, both ways.
//! - [`presets`]: rows of layers that people ask for by name. [`store`]: numbers by name in a file with a checksum.

#![forbid(unsafe_code)]

mod checksum;
mod error;
mod inputs;
pub mod model;
#[cfg(not(feature = "terminal"))]
mod no_terminal;
mod note;
pub mod onnx;
pub mod presets;
mod registry;
pub mod store;
#[cfg(feature = "terminal")]
mod terminal;
pub mod trainer;
pub mod weights;

#[cfg(not(feature = "terminal"))]
use no_terminal as terminal;

pub use error::{Error, Result};
pub use inputs::Inputs;
pub use kiln_data as data;
pub use kiln_ir as ir;
pub use kiln_map::{Exceeded, Limits, Resource};
pub use kiln_nn::*;
pub use model::Model;
pub use registry::{default_device, device, devices};

/// What most programs use: `use kiln::prelude::*;`.
pub mod prelude {
    pub use kiln_nn::{
        Adam, AdamW, BatchNorm, Clip, Context, Conv2d, ConvOptions, DType, Data, Dense, Dropout, Embedding,
        Function, Gru, Init, Input, Key, Layer, LayerNorm, Lstm, Module, Optimizer, Padding, Param,
        PoolOptions, RecurrentOptions, Sequential, Sgd, Step, StepOptions, Summary, Tensor, Variable,
        parameters,
    };

    pub use kiln_nn::loss::{BinaryCrossEntropy, CrossEntropy, Loss, Mse};

    pub use crate::data::{self, Batch, Dataset};
    pub use crate::trainer::Trainer;
    pub use crate::{Error, Inputs, Result};
}
