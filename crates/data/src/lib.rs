//! Host side: raw data to batches. Knows nothing of tensors on devices.
//!
//! A [`Dataset`] writes single rows; [`Batching`] says in which order they come and how many make a batch; [`Prefetch`] prepares
//! batches while others are computed with. A [`Table`] is read from a file and made a set by a [`TablePreparation`]; a [`Frame`] serves
//! prepared rows of a file larger than memory.
//!
//! # Features
//!
//! Each switches one module: `csv` tables in text, `excel` workbooks, `parquet` and `feather` tables in such files, `gzip` and `zstd` packed
//! files, `image` pictures in PNG, JPEG, BMP, WebP, GIF, TIFF, PNM and ICO, `arrow` record batches of Arrow, `tokenizer` tokenizers in
//! `tokenizer.json`. All but `arrow` are on by default.
//!
//! # Invariants
//!
//! - **A row is a function of its number and its draw**, whoever reads it and on which thread. [`Prefetch`] and a training that goes on
//!   from a checkpoint rely on it; `an_augmented_set_differs_by_epoch_and_is_the_same_by_seed` and
//!   `a_training_cut_at_any_step_goes_on_bit_for_bit` hold it.
//! - **The order of rows is a function of seed and epoch**, so that a place in the data is two numbers ([`Cursor`]). Checkpoints rely on it.
//! - **What is fitted is fitted on training rows alone**, and a stored [`TablePreparation`] makes the same numbers of the same cells to the last
//!   bit: `a_stored_preparation_comes_back_to_the_last_bit`.
//! - **No file is believed**: what it says takes memory from a [`Budget`](kiln_map::Budget) first, and a damaged one is an [`Error`] that
//!   names file, line and column. `garbage_never_panics` and `tests/hostile` hold it.
//! - **Nothing is printed**, and nothing here knows a device: the crate depends on neither (`tests/streams.rs`, the manifest).

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod archive;
mod batching;
mod dataset;
mod error;
mod fingerprint;
#[cfg(feature = "gzip")]
mod gzip;
mod image;
mod known;
mod lengths;
#[cfg(feature = "parquet")]
mod lz4;
mod made;
#[cfg(not(feature = "gzip"))]
mod no_gzip;
#[cfg(not(feature = "zstd"))]
mod no_zstd;
mod packing;
mod prefetch;
mod rng;
mod series;
mod set;
mod split;
mod table;
mod text;
mod values;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(not(feature = "gzip"))]
use no_gzip as gzip;

pub use batching::{Batching, Cursor, Order};
pub use dataset::{Batch, Batches, Dataset, Joined, Subset};
pub use error::{Error, Result};
pub use fingerprint::fingerprint;
pub use image::{
    Augment, Augmented, Change, ImageSize, MNIST_FILES, Mixed, cifar10, edge_brightness, is_cifar10,
    is_mnist, mnist, read_idx,
};
#[cfg(feature = "image")]
pub use image::{
    Gallery, PICTURES, Picture, PictureArchive, PictureFile, PictureFiles, Pictures, encode_png,
};
pub use known::{FileKind, file_kind};
pub use lengths::{NO_LABEL, PADDING, bucket, buckets};
pub use made::{blobs, circles, digits, friedman, moons, sine, spirals};
pub use prefetch::Prefetch;
pub use rng::Rng;
pub use series::series;
pub use set::Set;
pub use split::{by_time, folds, folds_forward, fractions, grouped, grouped_folds, stratified};
pub use table::{
    Cell, CellFormat, Choices, Column, ColumnKind, Curve, DateFormat, DatePart, DateTime, EncodedBlock,
    Encoding, Feature, FeatureMatrix, FileFormat, FirstRows, Frame, FrameWriter, Framing, Impute,
    NumberFormat, NumberTarget, OneTarget, RawBlock, RawCell, Reading, Row, RowEncoder, RowPlan, RowStream,
    RowTransform, Scale, Table, TablePreparation, TableText, TargetColumn, TargetKind, TextEncoding,
    Treatment, Unit, UnseenWords, Vocabulary,
};
pub use text::{
    Cut, TaggedSentence, Tokens, Windows, conll, is_conll, labelled, read_conll, read_text, text_of,
};
#[cfg(feature = "tokenizer")]
pub use text::{EncodedText, Tokenizer};
pub use values::{Form, Meaning, ValueKind, Values};

/// The code in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
