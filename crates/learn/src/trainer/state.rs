//! Everything a training is at some step: weights, what the optimizer remembers, counts, place in the data, metrics, history, and
//! what callbacks remember. Written as it is, read back as it was.

use std::path::Path;

use kiln_nn::metrics::History;
use kiln_nn::{Data, Module, Result as ComputeResult, Tensor};
use serde_json::Value;

use crate::store::{Store, Stored};
use crate::{Error, Result};

/// A training at some step. Made by checkpoints; a training goes on from it with [`Trainer::resume`](super::Trainer::resume).
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState(pub(super) Store);

/// What the file says it is, and the version of its contents.
const WHAT: &str = "train state";
const VERSION: u64 = 1;

impl TrainState {
    /// Nothing yet.
    pub(super) fn new() -> TrainState {
        let mut store = Store::default();
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
        let store = Store::load(path)?;
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

/// A model's weights and running statistics under a prefix.
pub(crate) fn put_weights<M: Module + ?Sized>(
    store: &mut Store,
    prefix: &str,
    model: &M,
) -> ComputeResult<()> {
    let mut put = |path: String, shape: Vec<usize>, data: Data| {
        match store.tensors.insert(format!("{prefix}{path}"), Stored { shape, data }) {
            None => Ok(()),
            // One of them would be lost.
            Some(_) => {
                let message = format!("two of the model's tensors are called {path}");
                Err(kiln_nn::Error::new(kiln_nn::ErrorKind::Value, "save", message).nowhere())
            }
        }
    };
    for (path, param) in model.parameters() {
        put(path, param.shape().sizes().to_vec(), param.value()?)?;
    }
    for (path, state) in model.states() {
        put(path, state.shape().sizes().to_vec(), state.read()?)?;
    }
    Ok(())
}

/// Gives a model the weights and running statistics under a prefix. All of them must be there, and no others.
pub(crate) fn set_weights(store: &Store, prefix: &str, model: &dyn Module) -> Result<()> {
    let (parameters, states) = (model.parameters(), model.states());
    let own: Vec<&String> =
        parameters.iter().map(|(path, _)| path).chain(states.iter().map(|(path, _)| path)).collect();
    let missing: Vec<&str> = own
        .iter()
        .filter(|path| !store.tensors.contains_key(&format!("{prefix}{path}")))
        .map(|path| path.as_str())
        .collect();
    let unexpected: Vec<&str> =
        store.under(prefix).map(|(path, _)| path).filter(|path| own.iter().all(|own| own != path)).collect();
    if !missing.is_empty() || !unexpected.is_empty() {
        let list = |what: &str, names: &[&str]| match names.is_empty() {
            true => String::new(),
            false => format!("; {what}: {}", names.join(", ")),
        };
        return Err(Error::Training(format!(
            "the saved weights are of another model{}{}",
            list("it lacks", &missing),
            list("it has besides", &unexpected)
        )));
    }
    let sizes = parameters.iter().map(|(path, param)| (path, param.shape()));
    for (path, shape) in sizes.chain(states.iter().map(|(path, state)| (path, state.shape().clone()))) {
        if let Some(stored) = store.tensors.get(&format!("{prefix}{path}"))
            && stored.shape != shape.sizes()
        {
            let saved = &stored.shape;
            let message = format!("the saved {path} is {saved:?}, and the model's is {:?}", shape.sizes());
            return Err(Error::Training(message));
        }
    }
    for (path, param) in &parameters {
        let Some(stored) = store.tensors.get(&format!("{prefix}{path}")) else { continue };
        param.set(&Tensor::from_data(stored.data.clone(), stored.shape.as_slice()))?;
    }
    for (path, state) in &states {
        let Some(stored) = store.tensors.get(&format!("{prefix}{path}")) else { continue };
        state.write(&stored.data)?;
    }
    Ok(())
}
