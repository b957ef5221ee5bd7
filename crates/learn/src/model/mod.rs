//! A trained model as one file: weights, layers, what goes in, what comes out, and how raw data become its inputs. Nothing else is
//! needed to use it.

mod imported;
mod own;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kiln_data::{Dataset, Form, Kind, Meaning};
use kiln_map::Budget;
use kiln_nn::random::Key;
use kiln_nn::variable::with_parameter_budget;
use kiln_nn::{Context, DType, Data, Layer, Module, Param, Sequential, Shape};
use kiln_onnx::Network;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::inputs::blank_of;
use crate::store::Store;
use crate::trainer::{put_weights, set_weights};
use crate::{Error, Result};
pub use imported::Pixels;
use imported::{Named, PREFIX, as_layers};
pub use own::CODE;

/// A model with everything that is known of it. The file is safetensors, or JSON where its name ends so.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::Model;
///
/// let set = data::moons(200, 0.1, 1).named(["upper", "lower"]);
/// let trainer = Trainer::new(Sequential::new().dense(16).relu().dense(2), CrossEntropy::new(), Adam::new(0.02));
/// let run = trainer.epochs(5).quiet().fit(&set)?;
/// let path = std::env::temp_dir().join("moons.kiln");
/// run.save(&path)?;
///
/// let model = Model::load(&path)?;
/// assert_eq!(model.about().layers, "dense 16, relu, dense 2");
/// assert_eq!(model.predict(&set)?, run.predict(&set)?);
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct Model<M = Sequential> {
    layers: M,
    about: About,
    /// The structure of a network that came from an ONNX file, which is its one layer.
    network: Option<Vec<u8>>,
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Its layers, as a text.
    pub layers: String,
    /// One row's input.
    pub input: Input,
    /// What it says of a row.
    pub task: Task,
    /// How raw data become inputs; nothing where they are inputs already.
    #[serde(default)]
    pub preparation: Value,
    /// How it was trained, and how well.
    #[serde(default)]
    pub training: Map<String, Value>,
}

/// One row's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type of its numbers: `u8`, `f32`, …
    pub kind: String,
    /// What numbers are multiplied by; nothing for codes.
    pub scale: Option<f32>,
    /// How many codes there are; nothing for amounts.
    pub codes: Option<usize>,
    /// What a network from elsewhere wants done to pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Pixels>,
}

/// What a model says of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Task {
    /// Which of these classes it is of.
    Classes {
        /// Their names, in order.
        names: Vec<String>,
    },
    /// What comes next in a text, at each place of a window.
    Text {
        /// How many pieces are known.
        pieces: usize,
    },
    /// A number for each name.
    Numbers {
        /// What is predicted.
        names: Vec<String>,
        /// The model's outputs times these,
        scale: Vec<f64>,
        /// plus these, are the numbers.
        offset: Vec<f64>,
    },
}

const KINDS: [(&str, Kind); 5] =
    [("u8", Kind::U8), ("u16", Kind::U16), ("i64", Kind::I64), ("f16", Kind::F16), ("f32", Kind::F32)];

/// What the file says it is, and the version of its contents.
const WHAT: &str = "model";
/// The tensor that holds the structure of a network.
const STRUCTURE: &str = "network.onnx";
/// What stands for the layers of a network of an ONNX file.
pub const NETWORK: &str = "network";
const VERSION: u64 = 1;

/// The type a model takes inputs of this form in: amounts as `f32`, codes as whole numbers.
pub fn dtype(form: &Form) -> DType {
    if form.codes().is_some() { DType::I64 } else { DType::F32 }
}

impl Input {
    /// The input of a set's rows.
    pub fn of(form: &Form) -> Input {
        let kind = KINDS.iter().find(|(_, kind)| *kind == form.kind).map_or("f32", |(name, _)| name);
        let (scale, codes) = match form.meaning {
            Meaning::Numbers { scale } => (Some(scale), None),
            Meaning::Codes { count } => (None, Some(count)),
        };
        Input { shape: form.shape.clone(), kind: kind.to_string(), scale, codes, pixels: None }
    }

    /// As sets say it.
    pub fn form(&self) -> Form {
        let kind = KINDS.iter().find(|(name, _)| *name == self.kind).map_or(Kind::F32, |(_, kind)| *kind);
        let meaning = match self.codes {
            Some(count) => Meaning::Codes { count },
            None => Meaning::Numbers { scale: self.scale.unwrap_or(1.0) },
        };
        Form { kind, shape: self.shape.clone(), meaning }
    }
}

impl Task {
    /// What a set's targets ask for.
    pub fn of(set: &dyn Dataset) -> Task {
        let form = set.y();
        match form.codes() {
            Some(count) if !form.shape.is_empty() => Task::Text { pieces: count },
            Some(count) => {
                let names = set.names();
                let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
                Task::Classes { names: (0..count).map(name).collect() }
            }
            None => {
                let width = form.width();
                let names = (0..width).map(|at| format!("y{at}")).collect();
                Task::Numbers { names, scale: vec![1.0; width], offset: vec![0.0; width] }
            }
        }
    }
}

impl Task {
    /// How many numbers a model gives for it.
    pub fn outputs(&self) -> usize {
        match self {
            Task::Classes { names } | Task::Numbers { names, .. } => names.len(),
            Task::Text { pieces } => *pieces,
        }
    }

    /// Whether a model that gives numbers of this shape, `[rows, …]`, gives what is asked for: one for each class, or a single one for two
    /// classes; one for each piece of text at each place; one for each number.
    ///
    /// # Errors
    /// Where it doesn't, with the mend.
    pub fn check(&self, given: &Shape) -> Result<()> {
        let each: usize = given.iter().skip(1).product();
        let (fits, asked) = match self {
            Task::Classes { names } => {
                let fits = given.rank() == 2 && (each == names.len() || each == 1 && names.len() == 2);
                if names.len() < 2 {
                    let all = names.join(", ");
                    return Err(Error::Training(format!(
                        "there is nothing to tell apart: the only class is {all}, and it takes two"
                    )));
                }
                (fits, format!("{} classes", names.len()))
            }
            Task::Text { pieces } => {
                (given.rank() == 3 && given[1] == *pieces, format!("{pieces} pieces of text at each place"))
            }
            Task::Numbers { names, scale, offset } => {
                let counts = [each, scale.len(), offset.len()];
                (counts.iter().all(|count| *count == names.len()), format!("{} numbers", names.len()))
            }
        };
        match fits {
            true => Ok(()),
            false => Err(Error::Training(format!(
                "the layers give {:?} for each row, and {asked} are asked for; the last layer needs an output for each",
                given.get(1..).unwrap_or_default()
            ))),
        }
    }
}

impl About {
    /// What layers are that were trained on a set like this.
    ///
    /// # Errors
    /// Where layers are code, which has no text.
    pub fn new(layers: &Sequential, input: &Form, task: Task) -> Result<About> {
        let text = layers.to_text()?;
        Ok(About {
            layers: text,
            input: Input::of(input),
            task,
            preparation: Value::Null,
            training: Map::new(),
        })
    }

    /// Writes layers with it; see [`Model::save`].
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, layers: &Sequential, path: &Path) -> Result<()> {
        self.store(layers, None, path)
    }

    fn store(&self, layers: &Sequential, network: Option<&[u8]>, path: &Path) -> Result<()> {
        // Layers that no row has reached have no weights yet, and without them the file couldn't be read.
        made(layers, &self.input, 1)?;
        let mut store = Store::default();
        put_weights(&mut store, "", layers)?;
        if let Some(structure) = network {
            store.put(STRUCTURE, Data::U8(structure.to_vec()));
        }
        let about = serde_json::to_value(self)
            .map_err(|error| Error::format(path, format!("its description can't be written: {error}")))?;
        let fields = [
            ("what", WHAT.into()),
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
}

impl Model {
    /// Layers that are trained, and what they are.
    pub fn new(layers: Sequential, about: About) -> Model {
        Model { layers, about, network: None }
    }

    /// A network of an ONNX file as a model, whose rows are of this form.
    ///
    /// # Errors
    /// Where the network doesn't take one such value, or can't be computed for it.
    pub fn of_network(network: Network, input: &Form, task: Task) -> Result<Model> {
        Model::behind(network, Input::of(input), task, Value::Null)
    }

    /// A network behind what raw data go through.
    pub(crate) fn behind(network: Network, input: Input, task: Task, preparation: Value) -> Result<Model> {
        let about = About { layers: NETWORK.to_string(), input, task, preparation, training: Map::new() };
        let structure = network.structure();
        let layers = as_layers(network, about.input.pixels.clone());
        let model = Model { layers, about, network: Some(structure) };
        model.shape_for(1)?;
        Ok(model)
    }

    /// The shape of what it gives for so many rows, for which the layers are made.
    pub(crate) fn shape_for(&self, rows: usize) -> Result<Shape> {
        made(&self.layers, &self.about.input, rows)
    }

    /// Whether its layers give what its task asks for, without which nothing can be said in the words of the data; see [`Task::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self) -> Result<()> {
        self.about.task.check(&self.shape_for(1)?)
    }

    /// What it is, to add to.
    pub fn about_mut(&mut self) -> &mut About {
        &mut self.about
    }

    /// Its layers, with their weights.
    pub fn layers(&self) -> &Sequential {
        &self.layers
    }

    /// The same model for another task, with a new last layer for it: the last dense layer of a row, the last matrix product of an ONNX
    /// file's network. The other weights stay. Says the paths of the parameters that are new.
    ///
    /// ```
    /// use kiln::model::{About, Model, Task};
    /// use kiln::prelude::*;
    ///
    /// let layers: Sequential = "dense 8, relu, dense 2".parse()?;
    /// let named = |names: &[&str]| Task::Classes { names: names.iter().map(|name| name.to_string()).collect() };
    /// let about = About::new(&layers, &data::Form::numbers(&[4]), named(&["up", "down"]))?;
    /// let (model, new) = Model::new(layers, about).new_head(named(&["a", "b", "c"]), 7)?;
    /// assert_eq!((new, model.about().layers.as_str()), (vec!["2.weight".to_string(), "2.bias".to_string()], "dense 8, relu, dense 3"));
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the last layer is of another kind.
    pub fn new_head(self, task: Task, seed: u64) -> Result<(Model, Vec<String>)> {
        let outputs = task.outputs();
        // What stays must be made, or it would start from the new seed too.
        self.shape_for(1)?;
        let Model { layers, mut about, network } = self;
        about.task = task;
        let (model, new) = match network {
            None => {
                let last = layers.len().saturating_sub(1);
                let layers = layers.new_head(outputs)?.seed(seed);
                about.layers = layers.to_text()?;
                let new = ["weight", "bias"].map(|name| format!("{last}.{name}")).to_vec();
                (Model::new(layers, about), new)
            }
            Some(structure) => {
                let parameters = layers
                    .parameters()
                    .into_iter()
                    .map(|(path, param)| Ok((path, (param.shape().sizes().to_vec(), param.value()?))));
                let states = layers
                    .states()
                    .into_iter()
                    .map(|(path, state)| Ok((path, (state.shape().sizes().to_vec(), state.read()?))));
                let weights = parameters.chain(states).collect::<kiln_nn::Result<HashMap<_, _>>>()?;
                let apart = |name: &str| weights.get(&format!("{PREFIX}{name}")).cloned();
                let mut network = Network::from_structure(structure, &apart)?;
                let new = network.new_head(outputs, &Key::new(seed))?;
                let structure = network.structure();
                let layers = as_layers(network, about.input.pixels.clone());
                (Model { layers, about, network: Some(structure) }, new)
            }
        };
        model.shape_for(1)?;
        // A dense layer may have no bias.
        let own = model.parameters();
        let is_own = |path: &String| own.iter().any(|(own, _)| own == path);
        let new = new.into_iter().filter(is_own).collect();
        Ok((model, new))
    }

    /// Its parameters with their paths; those of an ONNX file's network go by their names there.
    pub fn parameters(&self) -> Vec<(String, Param)> {
        match self.network {
            Some(_) => Named::of(&self.layers).parameters(),
            None => self.layers.parameters(),
        }
    }

    /// Keeps training from changing the parameters whose paths match (`features.*`; a star is any text), from the next step that is
    /// made on. Says how many.
    ///
    /// # Errors
    /// Where no path matches.
    pub fn freeze(&self, pattern: &str) -> Result<usize> {
        Ok(Named(self.parameters()).freeze(pattern)?)
    }

    /// Moves it to a device, where it predicts and is trained from then on.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn to(&self, device: &Arc<dyn kiln_nn::Device>) -> Result<()> {
        Ok(self.layers.to(device)?)
    }

    /// Its layers, as one's own.
    pub fn into_layers(self) -> Sequential {
        self.layers
    }

    /// Writes it to a file: safetensors, or JSON where the name ends in `.json`. What was there stays until the new one is whole.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(&self.about, path)
    }

    /// As [`Model::save`], with another description: after a training that others watched, the model is still theirs.
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
        if let Some(mend) = from_elsewhere(path) {
            return Err(Error::format(path, mend));
        }
        let mut store = if is_json(path) { Store::load_json(path)? } else { Store::load(path)? };
        let what = store.about.get("what").and_then(Value::as_str).unwrap_or("nothing known");
        if what != WHAT {
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
        let row = about.input.shape.iter().try_fold(4u64, |bytes, size| bytes.checked_mul(*size as u64));
        Budget::default().bytes(row.unwrap_or(u64::MAX)).map_err(|exceeded| {
            Error::format(path, format!("a row of {:?} numbers: {exceeded}", about.input.shape))
        })?;
        let model = match store.tensors.remove(STRUCTURE).map(|stored| stored.data) {
            Some(Data::U8(structure)) => {
                let apart = |name: &str| {
                    let stored = store.tensors.get(&format!("{PREFIX}{name}"))?;
                    Some((stored.shape.clone(), stored.data.clone()))
                };
                let network = Network::from_structure(structure.clone(), &apart)?;
                let layers = as_layers(network, about.input.pixels.clone());
                let model = Model { layers, about, network: Some(structure) };
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

    /// How many numbers were trained.
    pub fn parameter_count(&self) -> usize {
        self.layers.parameter_count()
    }
}

/// Makes layers for so many rows, and says the shape of what they give.
fn made(layers: &Sequential, input: &Input, rows: usize) -> Result<Shape> {
    let form = input.form();
    let shape: Vec<usize> = std::iter::once(rows).chain(form.shape.iter().copied()).collect();
    let y = layers.forward(&blank_of(&form, shape), &Context::inference());
    match y.error() {
        Some(error) => Err(error.into()),
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

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
