//! kiln's training and models: from data and layers to a file that answers, and everything about it that isn't the command. The package
//! `kiln` re-exports all of it.
//!
//! - [`trainer`]: the loop, what it writes and how it goes on; [`trainer::Trainer`] is the door.
//! - [`model`]: a model's file: layers, weights, the preparation of its data, what it answers.
//! - [`preparation`]: how raw data become a model's rows. [`Predictor`]: a model ready to be asked, from raw values to labels.
//! - [`weights`]: weights of other systems' files, by name. [`onnx`]: the same for whole networks, both ways.
//! - [`presets`]: rows of layers that people ask for by name. [`store`]: numbers by name in a file with a checksum.
//!
//! # Invariants
//!
//! - A training that was cut at any step and goes on ends with the bits of one that wasn't, and only the same training goes on.
//! - A model's file holds all that prediction needs.
//! - A file of any system is a value or an error; nothing in it is executed.

#![forbid(unsafe_code)]

mod checksum;
mod error;
mod inputs;
pub mod model;
#[cfg(not(feature = "terminal"))]
mod no_terminal;
mod note;
pub mod onnx;
mod predictions;
mod predictor;
pub mod preparation;
pub mod presets;
mod programs;
mod registry;
mod row;
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
pub use predictor::{Prediction, Predictor};
pub use preparation::Preparation;
pub use registry::{default_device, device, devices};

/// What most programs use, and all that the README and the guides do: `use kiln::prelude::*;`.
pub mod prelude {
    pub use kiln_nn::{
        Adam, AdamW, BatchNorm, Clip, Context, Conv2d, ConvOptions, Correction, DType, Data, Dense, Dropout,
        Embedding, Function, Gru, HostOp, Init, Input, Key, Layer, LayerNorm, Lstm, Module, Optimizer,
        Padding, Param, PoolOptions, RecurrentOptions, Sequential, Sgd, Shape, Step, StepOptions, Summary,
        Tensor, Update, Variable, parameters,
    };

    pub use kiln_nn::loss::{BinaryCrossEntropy, CrossEntropy, Loss, Mae, Mse};
    pub use kiln_nn::metrics::{Figure, Metric};

    pub use crate::data::{self, Batch, Dataset};
    pub use crate::model::Model;
    pub use crate::trainer::{Callback, Checkpoints, EarlyStopping, Moment, Objective, Phase, Rows, Trainer};
    pub use crate::{Error, Inputs, Result};
}
