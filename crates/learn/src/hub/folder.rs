//! The files of a hub's folder: found, read, and written.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_data::Tokenizer;
use kiln_map::Budget;
use kiln_nn::Module;
use kiln_nn::variable::{with_parameter_budget, with_unfilled_parameters};
use serde_json::{Map, Value};

use super::CONFIG;
use super::names::Naming;
use crate::store::{TensorFile, safetensors, write_atomically};
use crate::weights::{Weights, write};
use crate::{Error, Result};

/// The file of pieces.
pub(super) const TOKENIZER: &str = "tokenizer.json";

/// What tensors lie in: one file, or one that names several.
const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// As many bytes of weights go into one file.
const LARGE: usize = 5_000_000_000;

/// A folder whose `config.json` was read.
pub(super) struct HubFolder {
    path: PathBuf,
    /// What `config.json` holds.
    pub(super) described: Map<String, Value>,
}

impl HubFolder {
    pub(super) fn open(path: impl AsRef<Path>) -> Result<HubFolder> {
        let path = path.as_ref().to_path_buf();
        Ok(HubFolder { described: object(&path.join(CONFIG))?, path })
    }

    /// What is wrong with its `config.json`.
    pub(super) fn fault(&self, message: String) -> Error {
        Error::format(self.path.join(CONFIG), message)
    }

    /// What is wrong with another of its files.
    pub(super) fn fault_in(&self, name: &str, message: String) -> Error {
        Error::format(self.path.join(name), message)
    }

    /// The object of a file of JSON, if there is one.
    pub(super) fn object(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        let path = self.path.join(name);
        path.is_file().then(|| object(&path)).transpose()
    }

    pub(super) fn weights(&self) -> Result<Weights> {
        let file =
            WEIGHTS.iter().map(|name| self.path.join(name)).find(|path| path.is_file()).ok_or_else(|| {
                Error::format(
                    &self.path,
                    format!("there is no {} and no {} in this folder", WEIGHTS[0], WEIGHTS[1]),
                )
            })?;
        Weights::open(file)
    }

    pub(super) fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        let path = self.path.join(TOKENIZER);
        Ok(path.is_file().then(|| Tokenizer::read(path)).transpose()?)
    }

    /// Makes layers: what a configuration says isn't believed before it was held against the file of weights. Up to twice as many numbers are made, so
    /// that it can be said which are missing.
    pub(super) fn within<M: Module>(&self, weights: &Weights, make: impl FnOnce() -> M) -> Result<M> {
        let numbers: usize = weights.iter().map(|weight| weight.elements()).sum();
        let model = with_parameter_budget(numbers.saturating_mul(2), || with_unfilled_parameters(make));
        match first_error(&model) {
            Some(_) => Err(self.fault(format!(
                "it speaks of a model with far more than the {numbers} numbers that {} has",
                weights.path().display()
            ))),
            None => Ok(model),
        }
    }
}

/// What is wrong with the first parameter that couldn't be made.
pub(super) fn first_error<M: Module>(model: &M) -> Option<kiln_nn::Error> {
    model.parameters().iter().find_map(|(_, parameter)| parameter.error().cloned())
}

/// Whether the names in a file are those of a bare backbone, without what they begin with in others.
pub(super) fn is_bare(weights: &Weights, kind: Naming) -> bool {
    !weights.iter().any(|weight| weight.name().starts_with(kind.prefix()))
}

/// The same tensors under the names of a bare backbone.
pub(super) fn bare(store: TensorFile, kind: Naming) -> TensorFile {
    let name = |name: String| name.strip_prefix(kind.prefix()).map(str::to_string).unwrap_or(name);
    let tensors = store.tensors.into_iter().map(|(own, tensor)| (name(own), tensor)).collect();
    TensorFile { tensors, ..store }
}

/// Writes a folder: weights in one file, or several where they are large.
pub(super) fn save(
    folder: &Path,
    store: &TensorFile,
    described: &Map<String, Value>,
    tokenizer: Option<&Tokenizer>,
) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let bytes: usize =
        store.tensors.values().map(|tensor| tensor.data.len() * tensor.data.dtype().size()).sum();
    let [one, several] = WEIGHTS;
    match bytes > LARGE {
        true => write(store, folder.join(several))?,
        false => {
            // Without it, some that read such files refuse them.
            let metadata = Map::from_iter([("format".to_string(), "pt".into())]);
            write_atomically(&folder.join(one), &safetensors::write(store, metadata))?;
        }
    }
    write_object(&folder.join(CONFIG), described)?;
    match tokenizer {
        Some(tokenizer) => write_atomically(&folder.join(TOKENIZER), tokenizer.to_json().as_bytes()),
        None => Ok(()),
    }
}

/// Writes an object as a file of JSON.
pub(super) fn write_object(path: &Path, object: &Map<String, Value>) -> Result<()> {
    let text = serde_json::to_string_pretty(object).unwrap_or_default() + "\n";
    write_atomically(path, text.as_bytes())
}

/// The object in a file of JSON.
pub(super) fn object(path: &Path) -> Result<Map<String, Value>> {
    let bytes = Budget::default().read_file(path).map_err(Error::file(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::format(path, format!("it should be an object of JSON: {error}")))
}
