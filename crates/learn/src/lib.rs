//! kiln's training and models: from data and layers to a file that answers, and everything about it that isn't the command. The package
//! `kiln` re-exports all of it.
//!
//! - [`trainer`]: the loop, what it writes and how it goes on; [`trainer::Trainer`] is the door.
//! - [`model`]: a model's file: layers, weights, the preparation of its data, what it answers.
//! - [`preparation`]: how raw data become a model's rows. [`Predictor`]: a model ready to be asked, from raw values to labels.
//! - [`explain`]: why a model answers as it does.
//! - [`calibration`]: how sure a model may be: probabilities, sets of classes and intervals that come true as often as they say.
//! - [`drift`]: whether new rows are like those of a training.
//! - [`generate`]: texts that go on, and how well a model foresees one.
//! - [`trees`]: boosted trees, fitted at once. [`forecast`]: series, how often they step, what is to be beaten, and how it is measured.
//! - [`weights`]: weights of other systems' files, by name. [`onnx`]: the same for whole networks, both ways.
//! - [`selection`]: which of several ways to make a model is the best, by folds, and the blend of them.
//! - [`presets`]: rows of layers that people ask for by name. [`store`]: numbers by name in a file with a checksum.
//!
//! # Features
//!
//! `cpu` makes the CPU the default device; `csv`, `gzip`, `image`, `parquet`, `arrow` and `tokenizer` are kinds of data; `ndarray` takes arrays
//! of that crate as tensors; `terminal` shows how far a training is and hears Ctrl-C.
//!
//! # Invariants
//!
//! - **A training that goes on ends with the same bits** as one that was never cut: everything that changes numbers is in a
//!   [`trainer::TrainState`], and what a training is of goes with it, so that nothing else goes on from there. The command's `--resume`
//!   relies on it; `a_training_cut_at_any_step_goes_on_bit_for_bit` holds it.
//! - **A file is the old one or the new one**, never half of either, and one that is damaged is refused by its checksum:
//!   `a_file_that_is_cut_or_changed_anywhere_is_refused`.
//! - **A model's file needs nothing else to answer**: layers, weights, preparation and classes are in it. `tests/matrix` holds it.
//! - **Nothing is printed and no process ended** but by the feature `terminal`: what there is to say are events of `tracing` at the level
//!   INFO, and a signal that a training has heard already does what it does by default. Programs that draw their own screen rely on it;
//!   `tests/streams.rs` and `a_second_signal_does_what_it_does_without_kiln` hold it.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod background;
pub mod calibration;
mod checksum;
pub mod drift;
mod embeddings;
mod error;
pub mod explain;
pub mod forecast;
pub mod generate;
#[cfg(feature = "tokenizer")]
pub mod hub;
mod inputs;
mod kept_rows;
pub mod linear;
pub mod lines;
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
pub mod selection;
pub mod store;
#[cfg(feature = "terminal")]
mod terminal;
#[cfg(feature = "tokenizer")]
mod text_rows;
pub mod trainer;
pub mod trees;
pub mod weights;

#[cfg(not(feature = "terminal"))]
use no_terminal as terminal;

pub use embeddings::Embeddings;
pub use error::{Error, Result};
pub use inputs::Inputs;
pub use kiln_data as data;
pub use kiln_ir as ir;
pub use kiln_map::{Exceeded, Limits, Resource};
pub use kiln_nn::*;
pub use model::Model;
pub use predictor::{ForecastSteps, Prediction, Predictor, PreparedRows, TaggedWord};
pub use preparation::Preparation;
pub use registry::{default_device, device, devices};
pub use terminal::Interrupt;

/// What most programs use, and all that the README and the guides do: `use kiln::prelude::*;`.
pub mod prelude {
    pub use kiln_nn::{
        Adam, AdamW, BatchNorm, Clip, Context, Conv2d, ConvOptions, Correction, DType, Data, Dense, Dropout,
        Embedding, Function, Gru, HostOp, Init, Input, Key, Layer, LayerNorm, Lstm, Module, Optimizer,
        Padding, Param, PoolOptions, RecurrentOptions, ScanOptions, Sequential, Sgd, Shape, Step,
        StepOptions, Summary, Tensor, Update, Variable, parameters,
    };

    pub use kiln_nn::loss::{BinaryCrossEntropy, CrossEntropy, Loss, Mae, Mse};
    pub use kiln_nn::metrics::{Figure, Metric};

    pub use crate::data::{self, Batch, Dataset};
    pub use crate::model::Model;
    pub use crate::trainer::{Callback, Checkpoints, EarlyStopping, Moment, Objective, Phase, Rows, Trainer};
    pub use crate::{Error, Inputs, Result};
}
