//! Everything a training is at some step: weights, what the optimizer remembers, counts, place in the data, metrics, history, and
//! what callbacks remember. Written as it is, read back as it was.

use std::path::Path;

use kiln_nn::Data;
use kiln_nn::metrics::History;
use serde_json::Value;

use crate::store::TensorFile;
use crate::{Error, Result};

/// A training at some step. Made by checkpoints; a training goes on from it with [`Trainer::resume`](super::Trainer::resume).
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState(pub(super) TensorFile);

/// What the file says it is, and the version of its contents.
const WHAT: &str = "train state";
const VERSION: u64 = 1;

impl TrainState {
    /// Nothing yet.
    pub(super) fn new() -> TrainState {
        let mut store = TensorFile::default();
        let about =
            [("what", WHAT.into()), ("version", VERSION.into()), ("kiln", env!("CARGO_PKG_VERSION").into())];
        store.about =
            about.into_iter().map(|(name, value): (&str, Value)| (name.to_string(), value)).collect();
        TrainState(store)
    }

    /// Writes it to a file, whole or not at all.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.0.save(path)
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// Where there is none, it is damaged, or of a later version of kiln.
    pub fn load(path: impl AsRef<Path>) -> Result<TrainState> {
        let path = path.as_ref();
        let store = TensorFile::load(path)?;
        if store.about.get("what").and_then(Value::as_str) != Some(WHAT) {
            return Err(Error::format(path, "this is no checkpoint of a training"));
        }
        let version = store.about.get("version").and_then(Value::as_u64).unwrap_or(0);
        if version != VERSION {
            let message = format!("a checkpoint of version {version}; this kiln reads version {VERSION}");
            return Err(Error::format(path, message));
        }
        Ok(TrainState(store))
    }

    /// Steps that were done.
    pub fn step(&self) -> u64 {
        self.place()[2] as u64
    }

    /// Epochs that were done.
    pub fn epoch(&self) -> u64 {
        self.place()[0] as u64
    }

    /// Epoch, batch in it, and step.
    pub(super) fn place(&self) -> [i64; 3] {
        let place = self.0.tensors.get("place").and_then(|stored| stored.data.as_slice::<i64>());
        place.and_then(|place| place.try_into().ok()).unwrap_or_default()
    }

    pub(super) fn put_history(&mut self, history: &History) {
        self.0.about.insert("history".to_string(), history.names().into());
        for name in history.names() {
            self.0
                .put(format!("history.{name}"), Data::F64(history.series(name).unwrap_or_default().to_vec()));
        }
    }

    pub(super) fn history(&self) -> History {
        let names = self.0.about.get("history").and_then(Value::as_array);
        let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
        let series: Vec<&[f64]> =
            names.iter().map(|name| self.0.numbers(&format!("history.{name}"))).collect();
        let mut history = History::default();
        for epoch in 0..series.iter().map(|series| series.len()).min().unwrap_or(0) {
            let numbers: Vec<(&str, f64)> =
                names.iter().zip(&series).map(|(name, series)| (*name, series[epoch])).collect();
            history.record(&numbers);
        }
        history
    }
}
