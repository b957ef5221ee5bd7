//! What a training is made of: settings where they say something, and what suits the data where they don't.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{Form, Order};
use kiln_learn::explain::Background;
use kiln_learn::model::{About, NETWORK, Task, TaskLoss};
use kiln_learn::prelude::*;
use kiln_learn::presets::{self, Preset, Recipe, Suits};
use kiln_learn::schedule::Constant;
use kiln_learn::trainer::{Checkpoints, ClassWeights};
use kiln_learn::{Model, Preparation};
use serde_json::{Value, json};

use super::calibration;
use super::chosen::{Decider, TaskFigure, usual};
use super::depth::ByDepth;
use super::threshold::Threshold;
use crate::base::Base;
use crate::choices;
use crate::folder::Folder;
use crate::report::Shows;
use crate::settings::{Amount, Count, DEFAULT_SEED, Rate, Seed, Settings, Whole};
use crate::source::{Habits, TrainingData, numbers};

/// Everything a training is made of, with nothing left open.
pub(super) struct TrainingPlan {
    pub(super) settings: Settings,
    pub(super) base: Option<Base>,
    pub(super) layers: String,
    pub(super) outputs: usize,
    pub(super) epochs: u64,
    pub(super) batch_size: usize,
    pub(super) rate: f64,
    pub(super) seed: u64,
    /// The figures that are shown of each epoch.
    pub(super) metrics: Vec<TaskFigure>,
    /// What says which epoch is the best.
    pub(super) decider: Decider,
    pub(super) early_stop: u64,
}

/// How layers are trained of which nothing else is said: as the preset says, or as suits the data.
fn recipe(preset: Option<&Preset>, source: &TrainingData) -> Recipe {
    let Habits { epochs, batch_size, rate, schedule, decay, early_stop, smoothing, .. } = source.habits;
    if let Some(recipe) = preset.and_then(|preset| preset.recipe) {
        return recipe(source.train.len(), matches!(source.task, Task::Numbers { .. }));
    }
    let rate = preset.and_then(|preset| preset.rate).unwrap_or(rate);
    Recipe { epochs, batch_size, rate, schedule, decay, early_stop, smoothing }
}

/// The layer that makes waves of a table's numbers, of those that there are.
fn waves(preset: Option<&Preset>, source: &TrainingData) -> String {
    match (preset.and_then(|preset| preset.waves), source.preparation.table()) {
        (Some(layer), Some(plan)) => {
            let places = numbers(plan);
            if places.0.is_empty() { String::new() } else { format!("{layer} of {places}, ") }
        }
        _ => String::new(),
    }
}

impl TrainingPlan {
    /// Settings where they say something, and what suits the data where they don't.
    pub(super) fn new(
        mut settings: Settings,
        base: Option<Base>,
        source: &TrainingData,
    ) -> Result<TrainingPlan> {
        let habits = &source.habits;
        let outputs = source.task.outputs();
        let form = source.train.x();
        let shape = match source.preparation.forecast() {
            Some(plan) => plan.sizes().to_vec(),
            None => form.shape.clone(),
        };
        if settings.layers.is_some() && settings.preset.is_some() {
            bail!("--layers and --preset both say what the model is; leave one out");
        }
        let data = suits(source, &form);
        let preset = match (&base, &settings.layers) {
            (None, None) => Preset::of(settings.preset.as_deref().unwrap_or(habits.preset), data),
            _ => None,
        };
        let layers = match (&base, &settings.layers, &settings.preset) {
            (Some(base), ..) => base.model.about().layers.clone(),
            (None, Some(layers), _) => layers.clone(),
            (None, None, named) => {
                let name = named.as_deref().unwrap_or(habits.preset);
                let text = presets::layers(name, data, &shape, form.codes().unwrap_or(0))?;
                source.front.clone() + &waves(preset, source) + &text
            }
        };
        if base.is_none() {
            // As the file keeps it: with the number of outputs in its place.
            let layers = choices::layers(&layers, outputs, 0)?.to_text()?;
            (settings.layers, settings.preset) = (Some(layers), None);
        }
        let layers = settings.layers.clone().unwrap_or(layers);
        // Weights that are good already want smaller steps.
        let is_tuned = base.as_ref().is_some_and(Base::trains_all);
        let recipe = recipe(preset, source);
        let usual_rate = if is_tuned { recipe.rate / 10.0 } else { recipe.rate };
        let epochs = settings.epochs.get_or_insert(Whole(recipe.epochs)).0;
        let batch_size = settings.batch_size.get_or_insert(Count(recipe.batch_size)).0;
        let rate = settings.lr.get_or_insert(Rate(usual_rate)).0;
        let seed = settings.seed.get_or_insert(Seed(DEFAULT_SEED)).0;
        settings.optimizer.get_or_insert_with(|| habits.optimizer.to_string());
        settings.schedule.get_or_insert_with(|| recipe.schedule.to_string());
        settings.weight_decay.get_or_insert(Amount(recipe.decay));
        settings.label_smoothing.get_or_insert(Amount(recipe.smoothing));
        // A run that goes on keeps what it had.
        if settings.resume.is_none() {
            settings.clip = settings.clip.or(habits.clip.map(Amount));
        }
        let early_stop = settings.early_stop.get_or_insert(Whole(recipe.early_stop)).0;
        let decider = Decider::of(settings.metric.as_deref(), &source.task)?;
        let mut metrics = usual(&source.task)?;
        if let Decider::Figure(figure) = &decider
            && metrics.iter().all(|known| known.name() != figure.name())
        {
            metrics.push(figure.clone());
        }
        if let Task::Several { .. } = source.task {
            for (flag, said) in [("sampling", &settings.sampling), ("class-weights", &settings.class_weights)]
            {
                if said.as_deref() == Some("balanced") {
                    bail!("--{flag}: of several targets none says alone what balanced is; leave it out");
                }
            }
        }
        Threshold::of(&settings, &source.task, !source.valid.is_empty())?;
        calibration::options(&settings, &source.task, source.valid.len(), false)?;
        let is_network = base.as_ref().is_some_and(|base| base.model.about().layers == NETWORK);
        let asked = [
            ("coverage", settings.coverage.is_some()),
            ("calibrate", settings.calibrate.as_deref().is_some_and(|how| how != "none")),
        ];
        if let (true, Some((name, _))) = (is_network, asked.iter().find(|(_, is_asked)| *is_asked)) {
            bail!(
                "--{name}: the network of an ONNX file stays as it is, and nothing stands behind it; leave it out"
            );
        }
        if settings.monotone.is_some() {
            bail!(
                "--monotone: a network can't be held to it; --preset linear can, where more of a column never says less (or more) of what is predicted"
            );
        }
        if settings.refit == Some(true) && source.valid.is_empty() {
            bail!("--refit trains on the validation rows too, and there are none");
        }
        let plan = TrainingPlan {
            settings,
            base,
            layers,
            outputs,
            epochs,
            batch_size,
            rate,
            seed,
            metrics,
            decider,
            early_stop,
        };
        // Names and rules that make no sense are found now.
        plan.optimizer()?;
        choices::schedule(plan.rule(), 1)?;
        Ok(plan)
    }

    fn optimizer(&self) -> Result<Box<dyn kiln_learn::optim::Optimizer>> {
        let name = self.settings.optimizer.as_deref().unwrap_or("adam");
        choices::optimizer(name, self.rate, self.settings.weight_decay.map_or(0.0, |decay| decay.0))
    }

    /// Whether a second training follows, on all rows.
    pub(super) fn refits(&self) -> bool {
        self.settings.refit == Some(true)
    }

    /// How layers are trained by how deep they lie.
    pub(super) fn by_depth(&self, train: &dyn Dataset) -> ByDepth {
        ByDepth::of(&self.settings, train, self.batch_size)
    }

    fn rule(&self) -> &str {
        self.settings.schedule.as_deref().unwrap_or("constant")
    }

    /// The model before its first step, and what there is to say of where it comes from.
    pub(super) fn model(&self, source: &TrainingData, seed: u64) -> Result<(Model, Vec<String>)> {
        if let Some(base) = &self.base {
            return base.start(&source.task, seed);
        }
        let layers = choices::layers(&self.layers, self.outputs, seed)?;
        let mut about = About::new(&layers, &source.train.x(), source.task.clone())?;
        about.preparation = source.preparation.clone();
        let model = Model::new(layers, about);
        model.check().with_context(|| format!("layers \"{}\"", self.layers))?;
        Ok((model, Vec::new()))
    }

    /// Where checkpoints go.
    pub(super) fn checkpoints(&self, folder: &Folder) -> PathBuf {
        self.settings.checkpoint_dir.clone().unwrap_or_else(|| folder.at("checkpoints"))
    }

    /// A trainer without anything that watches it.
    pub(super) fn trainer<'a, M: Layer>(
        &self,
        model: M,
        source: &TrainingData,
        train: &dyn Dataset,
        seed: u64,
    ) -> Result<Trainer<'a, M>> {
        let smoothing = self.settings.label_smoothing.map_or(0.0, |share| share.0);
        let optimizer = self.by_depth(train).rule(self.optimizer()?, &model, train)?;
        let rule = self.rule().to_string();
        // It was read when the plan was made.
        let schedule = move |steps| choices::schedule(&rule, steps).unwrap_or_else(|_| Box::new(Constant));
        let mut trainer = match &source.task {
            Task::Classes { .. } if are_ordered(source).contains(&true) => {
                let loss = TaskLoss::new(&source.task).ordered(&are_ordered(source));
                Trainer::new(model, loss.label_smoothing(smoothing), optimizer)
            }
            Task::Classes { .. } | Task::Text { .. } | Task::Tags { .. } => {
                Trainer::new(model, CrossEntropy::new().label_smoothing(smoothing), optimizer)
            }
            // What decides between forecasts is how far they are off, not the square of it.
            Task::Numbers { .. } if source.preparation.forecast().is_some() => {
                Trainer::new(model, Mae::new(), optimizer)
            }
            Task::Numbers { .. } | Task::Several { .. } => {
                let loss = TaskLoss::new(&source.task).ordered(&are_ordered(source));
                match loss.is_squared_error() {
                    true => Trainer::new(model, Mse::new(), optimizer),
                    false => Trainer::new(model, loss.label_smoothing(smoothing), optimizer),
                }
            }
        };
        trainer = trainer.epochs(self.epochs).batch_size(self.batch_size).seed(seed).schedule_over(schedule);
        for metric in &self.metrics {
            trainer = trainer.metric(metric.clone());
        }
        if let Some(norm) = self.settings.clip {
            trainer = trainer.clip(Clip::GlobalNorm(norm.0));
        }
        if let Some(batches) = self.settings.accumulate {
            trainer = trainer.accumulate(batches.0);
        }
        if let Some(decay) = self.settings.ema {
            trainer = trainer.ema(decay.0);
        }
        match self.settings.sampling.as_deref() {
            None | Some("shuffled") => {}
            Some("balanced") => trainer = trainer.order(Order::balanced(&train.labels()?)),
            Some(other) => bail!("sampling is shuffled or balanced, not {other}"),
        }
        match self.settings.class_weights.as_deref() {
            None | Some("none") => {}
            Some("balanced") => trainer = trainer.class_weights(ClassWeights::Balanced),
            Some(other) => bail!("class weights are balanced or none, not {other}"),
        }
        Ok(trainer)
    }
}

/// Of each target, whether it is classes that go from little to much.
fn are_ordered(source: &TrainingData) -> Vec<bool> {
    let target = source.preparation.table().and_then(|plan| plan.target());
    target.map_or(Vec::new(), |target| target.are_ordered())
}

/// What kind of data are trained on.
pub(super) fn suits(source: &TrainingData, form: &Form) -> Suits {
    if matches!(source.preparation, Preparation::Pairs(_)) {
        return Suits::Pairs;
    }
    if source.preparation.forecast().is_some() {
        return Suits::Series;
    }
    match (&source.task, form.codes(), form.shape.len()) {
        (Task::Tags { .. }, ..) => Suits::Tagged,
        (Task::Text { .. }, ..) => Suits::Texts,
        (Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. }, Some(_), _) => Suits::Sorted,
        (Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. }, None, 3) => Suits::Images,
        (Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. }, None, _) => Suits::Tables,
    }
}

/// How often checkpoints are written: `2 epochs`, `500 steps`.
pub(super) fn every(checkpoints: Checkpoints, text: Option<&str>) -> Result<Checkpoints> {
    let Some(text) = text else { return Ok(checkpoints) };
    let mut words = text.split_whitespace();
    let count = words.next().and_then(|count| count.parse::<u64>().ok()).filter(|count| *count > 0);
    match (count, words.next(), words.next()) {
        (Some(count), Some("epoch" | "epochs") | None, None) => Ok(checkpoints.every_epochs(count)),
        (Some(count), Some("step" | "steps"), None) => Ok(checkpoints.every_steps(count)),
        _ => bail!("--checkpoint-every {text}: write how often, such as \"2 epochs\" or \"500 steps\""),
    }
}

/// The model's description with predictions that are lifted to the right mean on rows that it wasn't trained on, or where there are none on
/// those that it was.
pub(super) fn levelled(seed: u64, source: &TrainingData, model: &Model, held: &Model) -> Result<About> {
    let rows = if source.valid.is_empty() { &source.train } else { &source.valid };
    let factors = source.task.levels(held, &**rows)?;
    Ok(about(seed, source, model).levelled(&factors))
}

/// The model's description, before anything is known of its training.
pub(super) fn about(seed: u64, source: &TrainingData, model: &Model) -> About {
    let mut about = model.about().clone();
    about.task = source.task.clone();
    about.preparation = source.preparation.clone();
    // What can't be read again is no reason to lose a model over.
    about.background = source.preparation.table().and_then(|plan| Background::fit(&*source.train, plan).ok());
    about.kept_rows = match &source.shows {
        Shows::Table { kept, .. } => kept.as_deref().cloned(),
        Shows::Columns(_) | Shows::Images(_) | Shows::Words(_) | Shows::Nothing => None,
    };
    about.training.insert("seed".to_string(), seed.into());
    about
}

/// What the numbers depend on besides the settings.
pub(super) fn environment(seed: u64) -> Value {
    json!({
        "kiln": env!("CARGO_PKG_VERSION"),
        "seed": seed,
        "threads": kiln_learn::threads(),
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "command": std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>(),
    })
}
