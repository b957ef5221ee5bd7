//! `kiln train`: from data to a trained, measured model in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use kiln_learn::Model;
use kiln_learn::data::Order;
use kiln_learn::model::{About, Task};
use kiln_learn::prelude::*;
use kiln_learn::presets;
use kiln_learn::schedule::Constant;
use kiln_learn::trainer::{
    Callback, Checkpoints, ClassWeights, CsvLog, EarlyStopping, JsonlLog, Moment, Run, TensorBoard,
    TimeLimit, cross_validate,
};
use serde_json::{Value, json};

use super::base::Base;
use super::choices;
use super::folder::{CONFIG, Folder, Keep};
use super::measure::Measured;
use super::out;
use super::report;
use super::settings::{Amount, Count, Rate, Seed, Settings, Whole};
use super::source::{self, Source};

/// Where randomness starts, if nobody says.
pub const SEED: u64 = 7;

/// What `kiln train --help` adds.
pub const AFTER_HELP: &str = "Examples:
  kiln train                                   learn digits that are made, in a few seconds
  kiln train heart.csv --target target         a table: the kind of task is found and said
  kiln train data/mnist --preset mlp           the four files of MNIST
  kiln train photos/ --image-size 64           a folder of images for each class
  kiln train novel.txt                         a text, character by character
  kiln train config.toml                       what a file says; flags win over it
  kiln train --resume runs/digits-1            go on where a run ended
  kiln train --resume runs/digits-1 --lr 1e-4 --allow-changes lr
                                               go on with another rate
  kiln train photos/ --from resnet18.kiln --head --freeze 'layer*,conv1.*'
                                               a trained model, taught other classes
  kiln train x.csv --print-config              the file that would repeat the run

With --from, layers, weights and how raw data become rows are the model's; rows and what is told apart are the data's.
Without --head the data's classes must be among the model's.

The run's folder has model.kiln, report.html, config.toml, metrics.csv, metrics.jsonl and checkpoints/.
The same seed gives the same weights, bit for bit, whatever the number of threads.

Ctrl-C, SIGTERM and SIGHUP finish the step, save, and say how to go on; the exit code is then 130, 143 or 129. A second one ends it at once.";

/// Everything a training is made of, with nothing left open.
struct Plan {
    settings: Settings,
    base: Option<Base>,
    layers: String,
    outputs: usize,
    epochs: u64,
    batch_size: usize,
    rate: f64,
    seed: u64,
    /// The figure that says how good a model is.
    metrics: Vec<&'static str>,
    early_stop: u64,
}

impl Plan {
    /// Settings where they say something, and what suits the data where they don't.
    fn new(mut settings: Settings, base: Option<Base>, source: &Source) -> Result<Plan> {
        let habits = &source.habits;
        let outputs = source.task.outputs();
        let form = source.train.x();
        let shape = form.shape.clone();
        if settings.layers.is_some() && settings.preset.is_some() {
            bail!("--layers and --preset both say what the model is; leave one out");
        }
        let layers = match (&base, &settings.layers, &settings.preset) {
            (Some(base), ..) => base.model.about().layers.clone(),
            (None, Some(layers), _) => layers.clone(),
            (None, None, preset) => {
                source.front.clone()
                    + &presets::layers(preset.as_deref().unwrap_or(habits.preset), &shape, form.codes())?
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
        let usual_rate = if is_tuned { habits.rate / 10.0 } else { habits.rate };
        let epochs = settings.epochs.get_or_insert(Whole(habits.epochs)).0;
        let batch_size = settings.batch_size.get_or_insert(Count(habits.batch_size)).0;
        let rate = settings.lr.get_or_insert(Rate(usual_rate)).0;
        let seed = settings.seed.get_or_insert(Seed(SEED)).0;
        settings.optimizer.get_or_insert_with(|| habits.optimizer.to_string());
        settings.schedule.get_or_insert_with(|| habits.schedule.to_string());
        settings.weight_decay.get_or_insert(Amount(habits.decay));
        settings.label_smoothing.get_or_insert(Amount(habits.smoothing));
        let early_stop = settings.early_stop.get_or_insert(Whole(habits.early_stop)).0;
        let metrics = match &source.task {
            Task::Classes { names } if names.len() == 2 => vec!["accuracy", "roc-auc"],
            Task::Classes { .. } => vec!["accuracy"],
            Task::Numbers { .. } => vec!["r2"],
            Task::Text { .. } => Vec::new(),
        };
        let plan =
            Plan { settings, base, layers, outputs, epochs, batch_size, rate, seed, metrics, early_stop };
        // Names and rules that make no sense are found now.
        plan.optimizer()?;
        choices::schedule(plan.rule(), 1)?;
        Ok(plan)
    }

    fn optimizer(&self) -> Result<Box<dyn kiln_learn::optim::Optimizer>> {
        let name = self.settings.optimizer.as_deref().unwrap_or("adam");
        choices::optimizer(name, self.rate, self.settings.weight_decay.map_or(0.0, |decay| decay.0))
    }

    fn rule(&self) -> &str {
        self.settings.schedule.as_deref().unwrap_or("constant")
    }

    /// The model before its first step, and what there is to say of where it comes from.
    fn model(&self, source: &Source, seed: u64) -> Result<(Model, Vec<String>)> {
        if let Some(base) = &self.base {
            return base.start(&source.task, seed);
        }
        let layers = choices::layers(&self.layers, self.outputs, seed)?;
        let about = About::new(&layers, &source.train.x(), source.task.clone())?;
        let model = Model::new(layers, about);
        model.check().with_context(|| format!("layers \"{}\"", self.layers))?;
        Ok((model, Vec::new()))
    }

    /// Where checkpoints go.
    fn checkpoints(&self, folder: &Folder) -> PathBuf {
        self.settings.checkpoint_dir.clone().unwrap_or_else(|| folder.at("checkpoints"))
    }

    /// A trainer without anything that watches it.
    fn trainer<'a, M: Layer>(&self, model: M, source: &Source, seed: u64) -> Result<Trainer<'a, M>> {
        let smoothing = self.settings.label_smoothing.map_or(0.0, |share| share.0);
        let optimizer = self.optimizer()?;
        let rule = self.rule().to_string();
        // It was read when the plan was made.
        let schedule = move |steps| choices::schedule(&rule, steps).unwrap_or_else(|_| Box::new(Constant));
        let mut trainer = match &source.task {
            Task::Classes { .. } | Task::Text { .. } => {
                Trainer::new(model, CrossEntropy::new().label_smoothing(smoothing), optimizer)
            }
            Task::Numbers { .. } => Trainer::new(model, Mse::new(), optimizer),
        };
        trainer = trainer
            .epochs(self.epochs)
            .batch_size(self.batch_size)
            .seed(seed)
            .metrics(self.metrics.iter().copied())
            .schedule_over(schedule);
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
            Some("balanced") => trainer = trainer.order(Order::balanced(&source.train.labels()?)),
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

/// A run that goes on.
struct Before {
    folder: PathBuf,
    settings: Settings,
    /// What may change.
    allowed: Vec<String>,
}

/// Trains as the settings say. The exit code is that of the signal that ended it, if one did.
pub fn run(flags: Settings, print_config: bool, allowed: Vec<String>) -> Result<ExitCode> {
    let began = Instant::now();
    let (settings, before) = gather(&flags, allowed)?;
    let resumed = before.as_ref().filter(|_| !print_config).map(|before| Folder::open(&before.folder));
    let resumed = resumed.transpose()?;
    if let Some(device) = &settings.device {
        super::devices::choose(device)?;
    }
    if let Some(threads) = settings.threads {
        kiln_learn::set_threads(threads.0)?;
    }
    let say = Say::new(&settings);
    let base = Base::of(&settings)?;
    let source = source::load(&settings, base.as_ref())?;
    let plan = Plan::new(settings, base, &source)?;
    if let Some(before) = &before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        plan.settings.only_as_before(&flags, &before.settings, &allowed)?;
    }
    let (model, origin) = plan.model(&source, plan.seed)?;
    if print_config {
        out::text(plan.settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    source.said.iter().chain(&origin).for_each(|line| say.line(line));
    let folder = match resumed {
        Some(folder) => folder,
        None => {
            let folder = Folder::new(plan.settings.out.as_deref(), &source.name)?;
            // From here on it can be gone on with.
            folder.write(CONFIG, plan.settings.to_toml())?;
            folder
        }
    };
    let goes_on = before.is_some() && Checkpoints::last(plan.checkpoints(&folder)).exists();
    if let (Some(count), false) = (plan.settings.k_fold, goes_on) {
        folds(&plan, &source, count.0, &say)?;
    }
    let run = match train(&plan, &source, &model, &folder, before.as_ref(), &say) {
        Err(error) => match error.downcast::<kiln_learn::Error>() {
            Ok(kiln_learn::Error::Rescued { cause, saved }) => {
                bail!(rescued(&plan, &source, &model, &cause, &saved))
            }
            Ok(kiln_learn::Error::Changed { parts, what }) => {
                let mut names: Vec<&str> = parts.into_iter().map(Settings::named).collect();
                names.sort_unstable();
                names.dedup();
                let name = names.join(",");
                bail!(
                    "{}: another training was begun here ({what}); --allow-changes {name} goes on all the same",
                    folder.path().display()
                )
            }
            Ok(error) => return Err(error.into()),
            Err(error) => return Err(error),
        },
        Ok(run) => run,
    };
    match run.interrupted() {
        Some(signal) => interrupted(&plan, &source, &model, &folder, &run, signal, &say),
        None => finish(&plan, &source, &model, &folder, &run, &say, began),
    }
}

/// Flags, the file they name, and the run they go on with.
fn gather(flags: &Settings, allowed: Vec<String>) -> Result<(Settings, Option<Before>)> {
    let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
    Settings::parts(&names)?;
    if let Some(folder) = flags.resume.clone() {
        let config = folder.join(CONFIG);
        if !config.exists() {
            bail!("{}: this is no run's folder; it has no config.toml", folder.display());
        }
        let before = Settings::of_run(&config)?;
        let mut inherited = before.clone();
        if flags.preset.is_some() {
            inherited.layers = None;
        }
        let settings = flags.clone().or(&inherited);
        return Ok((settings, Some(Before { folder, settings: before, allowed })));
    }
    if !allowed.is_empty() {
        bail!("--allow-changes is for a run that goes on; name it, --resume DIR");
    }
    match &flags.data {
        Some(path) if path.extension().is_some_and(|extension| extension == "toml") => {
            let file = Settings::from_file(path)?;
            let said = Settings { data: None, ..flags.clone() };
            Ok((said.or(&file), None))
        }
        _ => Ok((flags.clone(), None)),
    }
}

/// Keeps the model and what repeats the run beside a checkpoint that was saved elsewhere, and says so.
fn rescued(plan: &Plan, source: &Source, model: &Model, cause: &kiln_learn::Error, saved: &Path) -> String {
    let folder = saved.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let settings =
        Settings { out: None, resume: None, checkpoint_dir: None, log_csv: None, ..plan.settings.clone() };
    let kept = model.save_as(&about(plan, source, model), folder.join("model.kiln")).and_then(|()| {
        let path = folder.join(CONFIG);
        kiln_files::write(&path, settings.to_toml())
            .map_err(|source| kiln_learn::Error::File { path, source })
    });
    let folder = folder.display();
    match kept {
        Ok(()) => format!(
            "{cause}; the training and its model, as far as they have come, are saved in {folder}. Go on with: kiln train --resume {folder}"
        ),
        Err(error) => {
            format!("{cause}; the training as far as it has come is saved in {} ({error})", saved.display())
        }
    }
}

/// The model's description, before anything is known of its training.
fn about(plan: &Plan, source: &Source, model: &Model) -> About {
    let mut about = model.about().clone();
    about.task = source.task.clone();
    about.preparation = source.preparation.clone();
    about.training.insert("seed".to_string(), plan.seed.into());
    about
}

/// What the numbers depend on besides the settings.
fn environment(plan: &Plan) -> Value {
    json!({
        "kiln": env!("CARGO_PKG_VERSION"),
        "seed": plan.seed,
        "threads": kiln_learn::threads(),
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "command": std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>(),
    })
}

fn folds(plan: &Plan, source: &Source, count: usize, say: &Say) -> Result<()> {
    let mut mistake = None;
    let folds = cross_validate(&source.train, count, plan.seed, |fold| {
        let seed = plan.seed + fold.number as u64;
        let model = plan.model(source, seed).map(|(model, _)| model.into_layers());
        let trainer = model.and_then(|model| plan.trainer(model, source, seed));
        trainer.map(Trainer::quiet).unwrap_or_else(|error| {
            mistake = Some(error);
            Trainer::new(Sequential::new(), Mse::new(), Sgd::new(1.0)).epochs(0).quiet()
        })
    });
    if let Some(error) = mistake {
        return Err(error);
    }
    let folds = folds?;
    say.line(&format!("{count} folds:\n{folds}"));
    let mean = |name: &str| json!({ "mean": folds.mean(name), "deviation": folds.deviation(name) });
    say.event(json!({ "event": "folds", "folds": count, "loss": mean("loss") }));
    Ok(())
}

fn train<'a>(
    plan: &Plan,
    source: &'a Source,
    model: &'a Model,
    folder: &'a Folder,
    before: Option<&Before>,
    say: &Say,
) -> Result<Run<'a, &'a Sequential>> {
    let settings = &plan.settings;
    let checkpoints = plan.checkpoints(folder);
    let best = if source.valid.is_empty() { "loss" } else { "val_loss" };
    let mut trainer = plan.trainer(model.layers(), source, plan.seed)?;
    let shape: Vec<usize> = std::iter::once(1).chain(source.train.x().shape).collect();
    let dtype = kiln_learn::model::dtype(&source.train.x());
    let summary = kiln_learn::Summary::of_type(model.layers(), shape.as_slice(), dtype)?;
    let (layers, parameters) = (&model.about().layers, summary.trained + summary.frozen);
    say.line(&format!("model: {layers} ({parameters} parameters)"));
    say.line(&format!(
        "{} epochs of batches of {}, {} at {}, {}; {} {}",
        plan.epochs,
        plan.batch_size,
        settings.optimizer.as_deref().unwrap_or(""),
        plan.rate,
        settings.schedule.as_deref().unwrap_or(""),
        kiln_learn::threads(),
        if kiln_learn::threads() == 1 { "thread" } else { "threads" },
    ));
    say.event(json!({
        "event": "begin", "run": folder.path(), "layers": layers, "parameters": parameters,
        "train_rows": source.train.len(), "val_rows": source.valid.len(), "test_rows": source.test.len(),
        "epochs": plan.epochs, "batch_size": plan.batch_size, "seed": plan.seed,
    }));
    if !source.valid.is_empty() {
        trainer = trainer.validate(&*source.valid);
    }
    if plan.early_stop > 0 && !source.valid.is_empty() {
        trainer = trainer.callback(EarlyStopping::on(best).patience(plan.early_stop));
    }
    if let Some(limit) = settings.time_limit {
        trainer = trainer.callback(TimeLimit::new(limit.0));
    }
    let files =
        vec![(CONFIG, settings.to_toml()), ("environment.json", format!("{:#}\n", environment(plan)))];
    trainer = trainer
        .callback(Keep::new(folder, files))
        .callback(CsvLog::new(folder.at("metrics.csv")))
        .callback(JsonlLog::new(folder.at("metrics.jsonl")))
        .rescue_to(
            folder.elsewhere().into_iter().map(|folder| Checkpoints::last(folder.join("checkpoints"))),
        );
    if let Some(path) = &settings.log_csv {
        trainer = trainer.callback(CsvLog::new(path));
    }
    if let Some(events) = &settings.tensorboard {
        trainer = trainer.callback(TensorBoard::new(events));
    }
    let mut saves = every(Checkpoints::new(&checkpoints), settings.checkpoint_every.as_deref())?.best(best);
    if let Some(count) = settings.keep {
        saves = saves.keep(count.0 as usize);
    }
    trainer = trainer.checkpoints(saves).hint(hint(folder));
    if let Some(before) = before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        trainer = trainer.allow_changes(Settings::parts(&allowed)?);
        trainer = trainer.resume_if_there(Checkpoints::last(&checkpoints));
    }
    if say.json {
        trainer = trainer.callback(Events);
    }
    if say.quiet || say.json {
        trainer = trainer.quiet();
    }
    Ok(trainer.fit(&source.train)?)
}

/// How to go on with a run.
fn hint(folder: &Folder) -> String {
    format!("kiln train --resume {}", folder.path().display())
}

/// How often checkpoints are written: `2 epochs`, `500 steps`.
fn every(checkpoints: Checkpoints, text: Option<&str>) -> Result<Checkpoints> {
    let Some(text) = text else { return Ok(checkpoints) };
    let mut words = text.split_whitespace();
    let count = words.next().and_then(|count| count.parse::<u64>().ok()).filter(|count| *count > 0);
    match (count, words.next(), words.next()) {
        (Some(count), Some("epoch" | "epochs") | None, None) => Ok(checkpoints.every_epochs(count)),
        (Some(count), Some("step" | "steps"), None) => Ok(checkpoints.every_steps(count)),
        _ => bail!("--checkpoint-every {text}: write how often, such as \"2 epochs\" or \"500 steps\""),
    }
}

/// An object for each epoch, for programs.
struct Events;

impl Callback for Events {
    fn after_epoch(&mut self, at: &mut Moment) -> kiln_learn::Result<()> {
        let mut event = json!({ "event": "epoch", "epoch": at.epoch, "step": at.step, "seconds": at.elapsed.as_secs_f64() });
        for (name, number) in at.numbers {
            event[name] = (*number).into();
        }
        out::event(event);
        Ok(())
    }
}

/// Writes the model as far as it has come, and nothing that takes long: whoever sent the signal waits.
fn interrupted(
    plan: &Plan,
    source: &Source,
    model: &Model,
    folder: &Folder,
    run: &Run<&Sequential>,
    signal: i32,
    say: &Say,
) -> Result<ExitCode> {
    let mut about = about(plan, source, model);
    about.training.extend(run.training());
    folder.check()?;
    model.save_as(&about, folder.at("model.kiln"))?;
    let hint = hint(folder);
    match (say.json, say.quiet) {
        (true, _) => say.event(json!({
            "event": "interrupted", "run": folder.path(), "signal": signal, "steps": run.steps(), "resume": hint,
        })),
        // The trainer has said it already, unless it was to be quiet.
        (false, true) => out::note(format!("interrupted; saved. Go on with: {hint}")),
        (false, false) => {}
    }
    Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)))
}

/// Evaluates, writes the model and the report, and says what to try next.
fn finish(
    plan: &Plan,
    source: &Source,
    model: &Model,
    folder: &Folder,
    run: &Run<&Sequential>,
    say: &Say,
    began: Instant,
) -> Result<ExitCode> {
    let measure = |set: &dyn Dataset| -> Result<Option<Measured>> {
        if set.is_empty() {
            return Ok(None);
        }
        Measured::new(&source.task, model, set).map(Some)
    };
    let parts = [measure(&*source.train)?, measure(&*source.valid)?, measure(&*source.test)?];
    let [train, valid, test] = parts.each_ref().map(|part| part.as_ref().map_or(Value::Null, Measured::json));
    let mut about = about(plan, source, model);
    about.training.extend(run.training());
    about.training.insert("test".to_string(), test.clone());
    let path = folder.at("model.kiln");
    if let Err(error) = folder.check().and_then(|()| model.save_as(&about, &path)) {
        let mut places = folder.elsewhere().into_iter().map(|folder| folder.join("model.kiln"));
        match places.find(|place| model.save_as(&about, place).is_ok()) {
            Some(place) => bail!("{error}; the trained model is saved in {}", place.display()),
            None => return Err(error.into()),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if let Some(reason) = run.stopped() {
        say.line(&format!("stopped: {reason}"));
    }
    let done = json!({
        "event": "done", "run": folder.path(), "model": path, "seconds": seconds, "epochs": run.history().len(),
        "stopped": run.stopped(), "train": train, "val": valid, "test": test,
    });
    let [on_train, on_valid, on_test] = &parts;
    report::write(
        &report::Told {
            title: format!("{}: a run of kiln", source.name),
            said: &source.said,
            layers: &about.layers,
            parameters: model.parameter_count(),
            seconds: run.elapsed().as_secs_f64(),
            history: run.history(),
            parts: [on_train.as_ref(), on_valid.as_ref(), on_test.as_ref()],
            test: &*source.test,
            task: &source.task,
            shows: &source.shows,
            config: plan.settings.to_toml(),
            environment: format!("{:#}", environment(plan)),
            model,
        },
        folder,
    )?;
    folder.write("result.json", format!("{done:#}\n"))?;
    say.event(done);
    if say.json {
        out::settle()?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, part) in ["train", "val", "test"].iter().zip(&parts) {
        if let Some(part) = part {
            out::line(format_args!("{name:>5}  {}", part.line()))?;
        }
    }
    out::line(format_args!(
        "{} after {seconds:.1} s; look at {}",
        path.display(),
        folder.at("report.html").display()
    ))?;
    if !say.quiet {
        let model = path.display();
        say.line(&format!(
            "\nnext: `kiln eval {model} DATA`, `kiln predict {model} INPUT`, `kiln inspect {model}`,\n      \
             `kiln train --help` for other models, rates and augmentation"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Where messages go: stderr for people, stdout for programs.
struct Say {
    quiet: bool,
    json: bool,
}

impl Say {
    fn new(settings: &Settings) -> Say {
        Say { quiet: settings.quiet == Some(true), json: settings.json == Some(true) }
    }

    fn line(&self, text: &str) {
        if !self.quiet && !self.json {
            out::note(text);
        }
    }

    fn event(&self, event: Value) {
        if self.json {
            out::event(event);
        }
    }
}
