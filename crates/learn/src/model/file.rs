//! A model's file: read, written, and refused with the mend where it is something else.

use std::path::Path;

use kiln_map::Budget;
use kiln_nn::variable::with_parameter_budget;
use kiln_nn::{Context, Data, Layer, Sequential, Shape};
use kiln_onnx::Network;
use serde_json::Value;

use super::imported::{PREFIX, as_layers};
use super::{About, InputSpec, Model};
use crate::inputs::blank_of;
use crate::store::{TensorFile, put_all_weights, set_weights};
use crate::{Error, Result};

/// What the file of layers with a text, or of a network, says it is.
pub(super) const MODEL: &str = "model";
/// What one of layers in code says.
pub(super) const MODEL_IN_CODE: &str = "model of layers in code, for Model::load_into";
/// The version of their contents.
const VERSION: u64 = 1;
/// The tensor that holds the structure of a network.
const STRUCTURE: &str = "network.onnx";

impl About {
    pub(super) fn store(&self, layers: &Sequential, network: Option<&[u8]>, path: &Path) -> Result<()> {
        // Layers that no row has reached have no weights yet, and without them the file couldn't be read.
        made(layers, &self.input, 1)?;
        let mut store = TensorFile::default();
        put_all_weights(&mut store, layers)?;
        if let Some(structure) = network {
            store.put(STRUCTURE, Data::U8(structure.to_vec()));
        }
        let mut about = self.clone();
        if network.is_none() {
            // What was left open is known now: the rank of a convolution.
            about.layers = layers.to_text()?;
        }
        write(MODEL, &about, store, path)
    }
}

/// Writes weights and what they are of as a file of this kind.
pub(super) fn write(what: &str, about: &About, mut store: TensorFile, path: &Path) -> Result<()> {
    let about = serde_json::to_value(about)
        .map_err(|error| Error::format(path, format!("its description can't be written: {error}")))?;
    let fields = [
        ("what", what.into()),
        ("version", VERSION.into()),
        ("kiln", env!("CARGO_PKG_VERSION").into()),
        ("model", about),
    ];
    store.about = fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    match is_json(path) {
        true => store.save_json(path),
        false => store.save(path),
    }
}

/// Reads a file of one of these kinds: the weights, and what they are of.
pub(super) fn read(kinds: &[&str], path: &Path) -> Result<(TensorFile, About)> {
    if let Some(mend) = from_elsewhere(path) {
        return Err(Error::format(path, mend));
    }
    let mut store = if is_json(path) { TensorFile::load_json(path)? } else { TensorFile::load(path)? };
    let what = store.about.get("what").and_then(Value::as_str).unwrap_or("nothing known");
    if !kinds.contains(&what) {
        return Err(Error::format(path, format!("this is a {what}, not a model")));
    }
    let version = store.about.get("version").and_then(Value::as_u64).unwrap_or(0);
    if version != VERSION {
        let message = format!("a model of version {version}; this kiln reads version {VERSION}");
        return Err(Error::format(path, message));
    }
    let about = store.about.remove("model").unwrap_or_default();
    let about: About = serde_json::from_value(about)
        .map_err(|error| Error::format(path, format!("its description can't be read: {error}")))?;
    about.check().map_err(|error| Error::format(path, error.to_string()))?;
    let row = about.input.shape.iter().try_fold(4u64, |bytes, size| bytes.checked_mul(*size as u64));
    Budget::default().bytes(row.unwrap_or(u64::MAX)).map_err(|exceeded| {
        Error::format(path, format!("a row of {:?} numbers: {exceeded}", about.input.shape))
    })?;
    Ok((store, about))
}

impl Model {
    /// Writes it to a file: safetensors, or JSON where the name ends in `.json`. What was there stays until the new one is whole.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(&self.about, path)
    }

    /// As [`Model::save`], with another description in the file than the model's own: of the training it comes out of.
    ///
    /// # Errors
    /// As there.
    pub fn save_as(&self, about: &About, path: impl AsRef<Path>) -> Result<()> {
        about.store(&self.layers, self.network.as_deref(), path.as_ref())
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// Where there is none, it is damaged, no model, or of a later version of kiln.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        let (mut store, about) = read(&[MODEL], path)?;
        let model = match store.tensors.remove(STRUCTURE).map(|stored| stored.data) {
            Some(Data::U8(structure)) => {
                let apart = |name: &str| {
                    let stored = store.tensors.get(&format!("{PREFIX}{name}"))?;
                    Some((stored.shape.clone(), stored.data.clone()))
                };
                let network = Network::from_structure(structure.clone(), &apart)?;
                let layers = as_layers(network, about.input.pixels.clone());
                let model = Model { network: Some(structure), ..Model::new(layers, about) };
                model.shape_for(1)?;
                model
            }
            Some(_) => return Err(Error::format(path, "its network isn't made of bytes")),
            None => {
                let numbers = store.tensors.values().map(|stored| stored.data.len()).sum();
                let model = Model::new(about.layers.parse()?, about);
                with_parameter_budget(numbers, || model.shape_for(1)).map_err(|error| {
                    Error::format(path, format!("its layers don't go with its weights: {error}"))
                })?;
                model
            }
        };
        set_weights(&store, "", &model.layers).map_err(|error| Error::format(path, error.to_string()))?;
        Ok(model)
    }
}

/// Makes layers for so many rows, and says the shape of what they give.
pub(super) fn made(layers: &Sequential, input: &InputSpec, rows: usize) -> Result<Shape> {
    let form = input.form();
    let shape: Vec<usize> = std::iter::once(rows).chain(form.shape.iter().copied()).collect();
    let y = layers.forward(&blank_of(&form, shape), &Context::inference());
    match y.error() {
        // Layers of a file or a text, which no line of code has made.
        Some(error) => Err(error.nowhere().into()),
        None => Ok(y.shape()),
    }
}

/// What makes a model of a file that other systems write; nothing of one that may be kiln's own or isn't there.
fn from_elsewhere(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_string_lossy().to_lowercase();
    let name = path.display();
    match extension.as_str() {
        _ if !path.exists() => None,
        "onnx" => Some(format!("this is an ONNX file; `kiln import {name} --out NEW.kiln` makes it a model")),
        "pt" | "pth" | "bin" | "ckpt" | "npz" | "npy" => Some(format!(
            "these are weights without a model; `kiln import {name} --into MODEL --out NEW.kiln` puts them into one"
        )),
        _ => None,
    }
}

pub(super) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
