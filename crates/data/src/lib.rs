//! Host side: raw data to batches. Knows nothing of tensors on devices.
//!
//! A [`Dataset`] writes single rows; [`Batching`] says in which order they come and how many make a batch; [`Prefetch`] prepares
//! batches while others are computed with. A [`Table`] is read from a file and made a set by a [`TablePreparation`]; a [`Frame`] serves
//! prepared rows of a file larger than memory.
//!
//! # Invariants
//!
//! - The order of rows, and how they are varied, follow from the seed, the epoch and the row, never from what was drawn before.
//! - A preparation is fitted on the rows it was given and on no other, and applied unchanged from then on.
//! - A file of whatever content is a value or an error with its place, and takes what it asks for from a budget.

#![forbid(unsafe_code)]

mod batches;
mod dataset;
mod error;
mod fingerprint;
#[cfg(feature = "gzip")]
mod gzip;
mod image;
mod made;
#[cfg(not(feature = "gzip"))]
mod no_gzip;
mod prefetch;
mod rng;
mod series;
mod set;
mod subset;
mod table;
mod text;
mod values;

#[cfg(not(feature = "gzip"))]
use no_gzip as gzip;

pub use batches::{Batches, Batching, Cursor, Order};
pub use dataset::{Batch, Dataset};
pub use error::{Error, Result};
pub use fingerprint::fingerprint;
pub use image::{
    Augment, Augmented, Change, ImageSize, MNIST_FILES, Mixed, cifar10, edge_brightness, is_cifar10,
    is_mnist, mnist, read_idx,
};
#[cfg(feature = "image")]
pub use image::{Gallery, PICTURES, Picture, Pictures, encode_png};
pub use made::{blobs, circles, digits, friedman, moons, sine, spirals};
pub use prefetch::Prefetch;
pub use rng::Rng;
pub use series::series;
pub use set::Set;
pub use subset::{Subset, by_time, folds, fractions, grouped, stratified};
pub use table::{
    Cell, Choices, Column, ColumnKind, DatePart, Encoding, Feature, Frame, FrameWriter, Framing, Impute,
    Inputs, RawCell, Reading, Row, RowPlan, RowTransform, Scale, Table, TablePreparation, Target, TargetKind,
    Treatment, Vocabulary,
};
pub use text::{Cut, Tokens, Windows, labelled, read_text};
pub use values::{Form, Kind, Meaning, Values};

/// The code in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
