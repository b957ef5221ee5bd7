//! Models that are a program's own structs, or layers in code: weights with what is known of them in a file, which are loaded into a
//! struct that the program makes.

use std::path::Path;

use kiln_data::{Batch, Dataset, Form};
use kiln_nn::loss::Loss;
use kiln_nn::{Layer, Module};
use serde_json::{Map, Value};

use super::file::{MODEL, MODEL_IN_CODE, read, write};
use super::{About, InputSpec, Model, Task};
use crate::predictions::Predictions;
use crate::preparation::Preparation;
use crate::programs::Programs;
use crate::store::{TensorFile, put_all_weights, set_weights};
use crate::trainer::{Evaluation, evaluate};
use crate::{Error, Result};

/// What stands for layers that are code.
pub const CODE: &str = "code";

impl About {
    /// What a module is that was trained on rows of this form: a row of layers with its text, or code.
    pub(crate) fn of_module(module: &impl Module, input: &Form, task: Task) -> About {
        let layers = module.text().unwrap_or_else(|| CODE.to_string());
        About {
            layers,
            input: InputSpec::of(input),
            task,
            preparation: Preparation::Unsaid,
            threshold: None,
            background: None,
            kept_rows: None,
            sets: Vec::new(),
            profile: None,
            training: Map::new(),
        }
    }

    /// Writes a module with it.
    pub(crate) fn save_module(
        self,
        module: &dyn Module,
        path: &Path,
        training: Map<String, Value>,
    ) -> Result<()> {
        let mut store = TensorFile::default();
        put_all_weights(&mut store, module)?;
        let what = if self.layers == CODE { MODEL_IN_CODE } else { MODEL };
        write(what, &About { training, ..self }, store, path)
    }
}

impl<M: Module> Model<M> {
    /// Reads a model of a program's own layers into a struct that the program makes, whose weights become those of the file. Layers
    /// without a size of their own have no weights before the first rows: [`Sequential::build`](kiln_nn::Sequential::build) (or a forward
    /// pass) makes them.
    ///
    /// ```
    /// use kiln::prelude::*;
    /// use kiln::Model;
    ///
    /// struct Net { hidden: Dense, out: Dense }
    /// parameters!(Net { hidden, out });
    ///
    /// impl Layer for Net {
    ///     fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
    ///         self.out.forward(&self.hidden.forward(x, cx).relu(), cx)
    ///     }
    /// }
    ///
    /// let net = |seed: u64| {
    ///     let [hidden, out] = Key::new(seed).split();
    ///     Net { hidden: Dense::new(2, 8, hidden), out: Dense::new(8, 2, out) }
    /// };
    /// let set = data::moons(100, 0.1, 1);
    /// let run = Trainer::new(net(1), CrossEntropy::new(), Adam::new(0.02)).epochs(3).quiet().fit(&set)?;
    /// let path = std::env::temp_dir().join("own-net.kiln");
    /// run.save(&path)?;
    ///
    /// let model = Model::load_into(&path, net(2))?;
    /// assert_eq!(model.predict(&set)?, run.predict(&set)?);
    /// # std::fs::remove_file(path).ok();
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where there is none, it is damaged or no model; where the struct has other parameters than the file, all of which are named.
    pub fn load_into(path: impl AsRef<Path>, module: M) -> Result<Model<M>> {
        let path = path.as_ref();
        let (store, about) = read(&[MODEL_IN_CODE, MODEL], path)?;
        set_weights(&store, "", &module).map_err(|error| {
            let own = module.parameters().len() + module.states().len();
            let mend = match own < store.tensors.len() {
                true => {
                    "; layers that no row has reached have no weights yet: Sequential::build or a forward pass makes them"
                }
                false => "",
            };
            Error::format(path, format!("{error}{mend}"))
        })?;
        Ok(Model { layers: module, about, network: None, programs: Programs::default() })
    }

    /// What it is.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The module, with the weights of the file.
    pub fn module(&self) -> &M {
        &self.layers
    }

    /// The module, as one's own.
    pub fn into_module(self) -> M {
        self.layers
    }
}

impl<M: Layer> Model<M> {
    /// What it gives for each row. Programs are compiled when they are first needed and kept; a [`Predictor`](crate::Predictor)
    /// says it in the words of the data.
    ///
    /// # Errors
    /// Where the rows aren't like those it was trained on.
    pub fn predict(&self, set: &dyn Dataset) -> Result<Predictions> {
        self.about.input.check(&set.x())?;
        self.programs.predict(&self.layers, set)
    }

    /// Shows each batch of a set and what it gives for its rows, `[rows, outputs]`: as [`Model::predict`], where all of it at once would be
    /// too much.
    ///
    /// # Errors
    /// As there, and what `see` says.
    pub fn predict_each(
        &self,
        set: &dyn Dataset,
        see: impl FnMut(&Batch, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.about.input.check(&set.x())?;
        self.programs.each(&self.layers, set, see)
    }

    /// Its loss on a set, and metrics by name.
    ///
    /// # Errors
    /// As [`Model::predict`], and where there is no metric of a name.
    pub fn evaluate<'n>(
        &self,
        set: &dyn Dataset,
        loss: impl Loss,
        metrics: impl IntoIterator<Item = &'n str>,
    ) -> Result<Evaluation> {
        self.about.input.check(&set.x())?;
        evaluate(&self.layers, loss, set, metrics)
    }
}

impl InputSpec {
    /// Rows must be as those that were trained on.
    pub(super) fn check(&self, form: &Form) -> Result<()> {
        let own = self.form();
        match form.shape == own.shape && form.codes() == own.codes() {
            true => Ok(()),
            false => Err(Error::Training(format!(
                "the model takes rows of {:?}, and these are {:?}",
                own.shape, form.shape
            ))),
        }
    }
}
