//! The model a training starts from. It brings layers, weights, and how raw data become its input; the data bring rows and, where it gets a
//! new last layer, what is told apart.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::Set;
use kiln_learn::model::{NamedTask, Task, by_class, listed};
use kiln_learn::preparation::ImagePreparation;
use kiln_learn::{Model, Preparation};

use super::out::counted;
use super::settings::Settings;

/// A model to start from, and what is asked of it.
pub struct Base {
    path: PathBuf,
    pub model: Model,
    /// Patterns of what stays as it is.
    freeze: Vec<String>,
    /// Whether its last layer is made anew.
    pub head: bool,
}

impl Base {
    /// What the settings name, if they do.
    pub fn of(settings: &Settings) -> Result<Option<Base>> {
        let head = settings.head == Some(true);
        let Some(path) = &settings.from else {
            if head || settings.freeze.is_some() {
                bail!(
                    "--freeze and --head change the model that a training starts from; name it, --from MODEL"
                );
            }
            return Ok(None);
        };
        settings.only_without_base(&["layers", "preset"])?;
        let model = Model::load(path)?.uncalibrated()?;
        if model.parameters().is_empty() && !head {
            bail!(
                "{}: nothing in it is trained by descent; trees are grown anew, by --preset trees",
                path.display()
            );
        }
        let patterns = settings.freeze.iter().flat_map(|all| all.split(','));
        let freeze = patterns.map(|pattern| pattern.trim().to_string()).filter(|pattern| !pattern.is_empty());
        let base = Base { path: path.clone(), model, freeze: freeze.collect(), head };
        Ok(Some(base))
    }

    /// The images it takes.
    pub fn images(&self) -> Result<&ImagePreparation> {
        match self.preparation() {
            Preparation::Images(images) => Ok(images),
            _ => bail!("{}: {}, and the data are images", self.path.display(), self.takes()),
        }
    }

    /// How raw data become its rows.
    pub fn preparation(&self) -> &Preparation {
        &self.model.about().preparation
    }

    /// What it takes, for errors.
    pub fn takes(&self) -> String {
        self.preparation().takes(&self.model.about().input)
    }

    /// A set of images for it: of its size and, unless its last layer is new, with its classes.
    pub fn adopt(&self, set: Set) -> Result<Set> {
        self.model.about().fits(&set).with_context(|| self.path.display().to_string())?;
        self.with_classes(set)
    }

    /// A set whose classes are the model's, unless its last layer is new.
    pub fn with_classes(&self, set: Set) -> Result<Set> {
        match (&self.model.about().task, self.head) {
            (Task::Classes { names }, false) => by_class(set, names).with_context(|| self.hint()),
            _ => Ok(set),
        }
    }

    /// What helps where data don't fit: in front of what doesn't.
    pub fn hint(&self) -> String {
        match self.head {
            true => self.path.display().to_string(),
            false => format!(
                "{} goes on with what it tells apart (--head gives it a new last layer)",
                self.path.display()
            ),
        }
    }

    /// The model with its weights as they are in the file, ready for this task; and what there is to say of it.
    pub fn start(&self, task: &Task, seed: u64) -> Result<(Model, Vec<String>)> {
        let place = || self.path.display().to_string();
        // What put its outputs right is of them as they were.
        let mut model = Model::load(&self.path)?.uncalibrated()?;
        let mut said = vec![format!("from {}: layers, weights, and how raw data become rows", place())];
        let mut new = Vec::new();
        if self.head {
            (model, new) = model.new_head(task.clone(), seed).with_context(place)?;
            said.push(format!("new last layer: {}, for {}", new.join(", "), asked(task)));
        } else if !alike(&model.about().task, task) {
            let own = asked(&model.about().task);
            bail!(
                "{}: the model is for {own}, and the data are for {}; --head gives it a new last layer",
                place(),
                asked(task)
            );
        }
        model.check().with_context(place)?;
        for pattern in &self.freeze {
            model.freeze(pattern).with_context(|| format!("{}: --freeze {pattern}", place()))?;
        }
        let all = model.parameters();
        // What is new isn't the model's that was named: `--freeze '*'` leaves it to be trained.
        all.iter().filter(|(path, _)| new.contains(path)).for_each(|(_, param)| param.freeze(false));
        let frozen: Vec<_> = all.iter().filter(|(_, param)| param.is_frozen()).collect();
        if !frozen.is_empty() {
            let numbers: usize = frozen.iter().map(|(_, param)| param.shape().elements()).sum();
            said.push(format!(
                "frozen: {} of {} of parameters, {}",
                frozen.len(),
                counted(all.len(), "tensor"),
                counted(numbers, "number")
            ));
        }
        if frozen.len() == all.len() {
            bail!("{}: everything is frozen, and nothing is left to train", place());
        }
        Ok((model, said))
    }

    /// Whether all of it is trained, which wants small steps.
    pub fn trains_all(&self) -> bool {
        self.freeze.is_empty()
    }
}

/// Whether a model for one task can learn the other as it is.
fn alike(own: &Task, other: &Task) -> bool {
    match (own, other) {
        (
            Task::Numbers { names: own, interval: of_own, .. },
            Task::Numbers { names: other, interval: of_other, .. },
        ) => own.len() == other.len() && of_own == of_other,
        (Task::Several { targets: own }, Task::Several { targets: other }) => {
            let same = |(own, other): (&NamedTask, &NamedTask)| alike(&own.task, &other.task);
            own.len() == other.len() && own.iter().zip(other).all(same)
        }
        _ => own == other,
    }
}

/// A task in a few words.
fn asked(task: &Task) -> String {
    match task {
        Task::Classes { names } => format!("{} ({})", counted(names.len(), "class"), listed(names)),
        Task::Numbers { names, interval, .. } => {
            let numbers =
                if names.len() > 1 { counted(names.len(), "number") } else { "a number".to_string() };
            match interval {
                Some(share) => format!("{numbers} with an interval of {share}"),
                None => numbers,
            }
        }
        Task::Several { targets } => {
            let each = targets.iter().map(|target| format!("{}: {}", target.name, asked(&target.task)));
            each.collect::<Vec<_>>().join("; ")
        }
        Task::Tags { names } => format!("{} ({})", counted(names.len(), "tag"), listed(names)),
        Task::Text { pieces } => format!("what comes next, of {} of text", counted(*pieces, "piece")),
    }
}
