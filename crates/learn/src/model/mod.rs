//! A trained model as one file: weights, layers, what goes in, what comes out, and how raw data become its inputs. Nothing else is
//! needed to use it.

mod about;
mod answers;
mod file;
mod imported;
mod level;
mod own;
mod parts;
mod profile;
mod raw;
mod sets;
mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_data::Form;
use kiln_nn::random::Key;
use kiln_nn::{Element, Function, Layer, Module, Param, Sequential, Shape};
use kiln_onnx::Network;
use serde_json::Map;

use crate::Result;
use crate::preparation::Preparation;
use crate::programs::{Programs, inference};

pub use crate::inputs::{dtype, stored_dtype};
pub use crate::row::{InputSpec, Pixels};
pub use about::{About, NamedTask, Task, listed};
pub use answers::{Answered, by_class};
use file::made;
use imported::{LayersByFileName, PREFIX, ParametersByFileName, as_layers};
pub use own::CODE;
pub use parts::{PartMeaning, TaskLoss, TaskPart, number_of, quantiles};
pub use profile::{ColumnProfile, DataProfile, InputProfile};
pub(crate) use sets::likelier;
pub use sets::{ClassSets, SetKind};
pub use views::Views;

/// What stands for the layers of a network of an ONNX file.
pub const NETWORK: &str = "network";

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
    programs: Programs,
}

impl Model {
    /// Layers that are trained, and what they are.
    pub fn new(layers: Sequential, about: About) -> Model {
        Model { layers, about, network: None, programs: Programs::default() }
    }

    /// A network of an ONNX file as a model, whose rows are of this form.
    ///
    /// # Errors
    /// Where the network doesn't take one such value, or can't be computed for it.
    pub fn of_network(network: Network, input: &Form, task: Task) -> Result<Model> {
        Model::behind(network, InputSpec::of(input), task, Preparation::Unsaid)
    }

    /// A network behind what raw data go through.
    pub(crate) fn behind(
        network: Network,
        input: InputSpec,
        task: Task,
        preparation: Preparation,
    ) -> Result<Model> {
        let (layers, training) = (NETWORK.to_string(), Map::new());
        let about = About {
            layers,
            input,
            task,
            preparation,
            threshold: None,
            background: None,
            kept_rows: None,
            sets: Vec::new(),
            profile: None,
            training,
        };
        let structure = network.structure();
        let layers = as_layers(network, about.input.pixels.clone());
        let model = Model { network: Some(structure), ..Model::new(layers, about) };
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

    /// The same model for raw data, which become its rows this way. The target of a prepared table says what is predicted, in its own
    /// unit.
    ///
    /// # Errors
    /// Where other rows than the model's come of it, or its target asks for something else than the layers give.
    pub fn with_preparation(mut self, preparation: impl Into<Preparation>) -> Result<Model> {
        self.about.preparation = preparation.into();
        self.about.check()?;
        let target = self.about.preparation.table().and_then(|plan| plan.target()).map(Task::of_target);
        if let Some(task) = target {
            task.check(&self.shape_for(1)?)?;
            self.about.task = task;
        }
        Ok(self)
    }

    /// What it is, to add to.
    pub fn about_mut(&mut self) -> &mut About {
        &mut self.about
    }

    /// Its layers, with their weights.
    pub fn layers(&self) -> &Sequential {
        &self.layers
    }

    /// Its layers as a file of another system gets them: what came out of one has the names it had there.
    pub(crate) fn written(&self) -> Box<dyn Layer + '_> {
        match self.network {
            Some(_) => Box::new(LayersByFileName(&self.layers)),
            None => Box::new(&self.layers),
        }
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
        let Model { layers, mut about, network, .. } = self;
        (about.task, about.sets) = (task, Vec::new());
        let (model, new) = match network {
            None => {
                // What put the old outputs right is of them.
                let layers = layers.uncalibrated().new_head(outputs)?.seed(seed);
                about.layers = layers.to_text()?;
                let kept: HashSet<String> = layers.parameters().into_iter().map(|(path, _)| path).collect();
                let model = Model::new(layers, about);
                // The new layer is made here; what turns outputs may stand behind it.
                model.shape_for(1)?;
                let all = model.parameters().into_iter().map(|(path, _)| path);
                let new = all.filter(|path| !kept.contains(path)).collect();
                (model, new)
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
                (Model { network: Some(structure), ..Model::new(layers, about) }, new)
            }
        };
        model.shape_for(1)?;
        Ok((model, new))
    }

    /// The same model without what puts its outputs right ([`calibration`](crate::calibration)): what a training goes on with.
    ///
    /// # Errors
    /// Where layers are code, which has no text.
    pub fn uncalibrated(self) -> Result<Model> {
        let Model { layers, mut about, network, programs } = self;
        about.sets = Vec::new();
        if network.is_some() {
            return Ok(Model { layers, about, network, programs });
        }
        let layers = layers.uncalibrated();
        about.layers = layers.to_text()?;
        Ok(Model::new(layers, about))
    }

    /// Its parameters with their paths; those of an ONNX file's network go by their names there.
    pub fn parameters(&self) -> Vec<(String, Param)> {
        match self.network {
            Some(_) => ParametersByFileName::of(&self.layers).parameters(),
            None => self.layers.parameters(),
        }
    }

    /// Keeps training from changing the parameters whose paths match (`features.*`; a star is any text), from the next step that is
    /// made on. Says how many.
    ///
    /// # Errors
    /// Where no path matches.
    pub fn freeze(&self, pattern: &str) -> Result<usize> {
        Ok(ParametersByFileName(self.parameters()).freeze(pattern)?)
    }

    /// Moves it to a device, where it predicts and is trained from then on.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn to(&self, device: &Arc<dyn kiln_nn::Device>) -> Result<()> {
        self.layers.to(device)?;
        self.programs.clear();
        Ok(())
    }

    /// What it gives for rows in the form of [`About::input`], for whoever runs, times or looks at that himself: it takes the numbers in
    /// the type they are stored in ([`stored_dtype`]).
    pub fn function(&self) -> Function<'_, 1> {
        inference(&self.layers, &self.about.input.form())
    }

    /// Its layers, as one's own.
    pub fn into_layers(self) -> Sequential {
        self.layers
    }

    /// Adds what its layers give for rows of this form.
    pub(crate) fn run<T: Element>(
        &self,
        form: &Form,
        values: &[T],
        rows: usize,
        outputs: &mut Vec<f32>,
    ) -> Result<()> {
        self.programs.run(&self.layers, form, values, rows, outputs)
    }

    /// Compiles all programs for rows of a form.
    pub(crate) fn warm_up(&self, form: &Form) -> Result<()> {
        self.programs.warm_up(&self.layers, form)
    }

    /// How many programs are compiled.
    pub(crate) fn compiled(&self) -> usize {
        self.programs.compiled()
    }

    /// Other sizes of batch to compile programs for.
    pub(crate) fn set_batches(&mut self, sizes: &[usize]) {
        self.programs = Programs::new(sizes);
    }

    /// How many numbers were trained.
    pub fn parameter_count(&self) -> usize {
        self.layers.parameter_count()
    }
}
