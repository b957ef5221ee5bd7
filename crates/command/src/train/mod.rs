//! `kiln train`: from data to a trained, measured model in a folder of its own.

mod calibrated;
mod calibration;
mod chosen;
pub mod decide;
mod depth;
mod evidence;
mod features;
mod fitted;
mod forecast;
pub mod language;
mod outcome;
mod plan;
mod refit;
mod say;
mod size;
mod texts;
mod threshold;
mod time;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use kiln_learn::Model;
use kiln_learn::data::Subset;
use kiln_learn::prelude::*;
use kiln_learn::trainer::{
    Checkpoints, CsvLog, EarlyStopping, JsonlLog, Run, TensorBoard, TimeLimit, cross_validate_on,
};
use serde_json::json;

use self::decide::Repeated;
use self::features::{Front, TrainedLayers};
use self::fitted::FittedKind;
use self::outcome::{Finished, TrainingResult, finish, interrupted, rescued};
use self::plan::{TrainingPlan, environment, every};
use self::refit::{BestEpoch, Refit, refit};
use self::say::{Events, Say};
use self::time::{Afterwards, TimeBudget};
use super::base::Base;
use super::folder::{CONFIG, Folder, Keep};
use super::out;
use super::report::Shows;
use super::settings::Settings;
use super::source::{self, TrainingData};

/// What `kiln train --help` adds.
pub const AFTER_HELP: &str = "Examples:
  kiln train                                   learn digits that are made, in a few seconds
  kiln train heart.csv --target target         a table: several kinds of models are tried, the best or their blend is taken
  kiln train heart.csv --time-limit 2m         the same in two minutes
  kiln train heart.csv --quick                 one network at once
  kiln train --repeat runs/heart-1/result.json the same once more, to the bit, whatever the clock says
  kiln train heart.csv --preset trees          boosted trees instead of a network
  kiln train sales.csv --target amount --forecast 28 --series store,item --known price
                                               what comes next in each series, with bounds
  kiln train data/mnist --preset mlp           the four files of MNIST
  kiln train photos/ --image-size 64           a folder of images for each class
  kiln train novel.txt --time-limit 5m         a text, character by character
  curl …/novel.txt | kiln train - --pieces characters
                                               a text from the standard input
  kiln train news.conll                        a tag for each word: names, parts of speech
  kiln train dates.tsv --pairs --text written --target iso
                                               pairs of texts: one is read, the other written
  kiln train config.toml                       what a file says; flags win over it
  kiln train --resume runs/digits-1            go on where a run ended
  kiln train --resume runs/digits-1 --lr 1e-4 --allow-changes lr
                                               go on with another rate
  kiln train photos/ --from resnet18.kiln --head --freeze 'layer*,conv1.*'
                                               a trained model, taught other classes
  kiln train novel.txt --from llama-1b/ --lora 8
                                               a language model's folder goes on learning, by adapters
  kiln train x.csv --print-config              the file that would repeat the run

With --from, layers, weights and how raw data become rows are the model's; rows and what is told apart are the data's.
Without --head the data's classes must be among the model's. A language model's folder (config.json, model.safetensors, tokenizer.json)
goes on learning a text in its own pieces; the run then has the folder model/ in the place of model.kiln, and with --lora adapters.safetensors.

The run's folder has model.kiln, report.html, result.json, config.toml, metrics.csv, metrics.jsonl, plots/ and checkpoints/; with --refit
also first.kiln, the model before it was trained once more.
A table of which nothing says the model (--preset, --layers, --epochs, …) gets the best of several, each fitted to the same folds; the folder
then has candidates/ in the place of checkpoints/ and logs, and result.json the leaderboard and what a clock decided.

The same seed gives the same weights, bit for bit, whatever the number of threads.

Ctrl-C, SIGTERM and SIGHUP finish the step, save, and say how to go on; the exit code is then 130, 143 or 129. A second one ends it at once.";

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
    let (mut settings, before, repeated) = gather(&flags, allowed)?;
    let budget = TimeBudget { began, limit: settings.time_limit.map(|limit| limit.0) };
    let resumed = before.as_ref().filter(|_| !print_config).map(|before| Folder::open(&before.folder));
    let resumed = resumed.transpose()?;
    if let Some(device) = &settings.device {
        super::devices::choose(device)?;
    }
    if let Some(threads) = settings.threads {
        kiln_learn::set_threads(threads.0)?;
    }
    let say = Say::new(&settings);
    if language::is_asked(&settings)? {
        return language::run(settings, (&flags, before, resumed), print_config, &budget, &say);
    }
    if settings.forecast.is_some() {
        let before = (&flags, before.as_ref(), resumed, repeated);
        return forecast::run(settings, before, print_config, &budget, &say);
    }
    let base = Base::of(&settings)?;
    let mut source = source::load(&settings, base.as_ref())?;
    if settings.keep_neighbours.is_some() && !matches!(source.shows, Shows::Table { .. }) {
        bail!("--keep-neighbours is for tables that fit into memory, whose rows are kept as they are");
    }
    if source.preparation.table().is_some() && base.is_none() && settings.resume.is_none() {
        // So that the run goes on with it whatever is usual then.
        settings.numbers.get_or_insert_with(|| source::NUMBERS.to_string());
    }
    source.said.extend(size::settle(&mut settings, &source, &budget)?);
    if decide::is_asked(&settings, &source) {
        let before = (&flags, before.as_ref(), resumed, repeated);
        return decide::run(settings, &source, before, print_config, &budget, &say);
    }
    if let Some(kind) = FittedKind::of(&settings, &source)? {
        let before = (&flags, before.as_ref(), resumed);
        return fitted::run(kind, settings, &source, before, print_config, &budget, &say);
    }
    let plan = TrainingPlan::new(settings, base, &source)?;
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
        folds(&plan, &source, count.0, &budget, &say)?;
    }
    let afterwards = budget.afterwards(&source, &model)?;
    let known = if before.is_some() { BestEpoch::read(&folder)? } else { None };
    let best = match known.filter(|_| plan.refits()) {
        Some(best) => best,
        None => {
            let front = Front::of(model.layers(), (&*source.train, &afterwards.valid), &say)?;
            let rows = match front.parts(&*source.train, &afterwards.valid) {
                Ok(rows) => rows,
                Err(signal) => return Ok(before_the_first_step(signal, &folder)),
            };
            let run = train(&plan, &source, (&model, rows), &folder, before.as_ref(), &afterwards, &say);
            let run = run.map_err(|error| explained(error, &plan, &source, &model, (&folder, None)))?;
            if let Some(signal) = run.interrupted() {
                let come = (run.training(), run.steps());
                return interrupted((plan.seed, &source), &model, &folder, come, (signal, say.quiet), &say);
            }
            let best = BestEpoch::of(&plan, &source, run.history());
            match best.as_ref().filter(|_| plan.refits()) {
                Some(best) => best.keep(&plan, &source, (&model, &run), &folder)?,
                None => {
                    let finished = Finished {
                        settings: &plan.settings,
                        seed: plan.seed,
                        source: &source,
                        model: &model,
                        folder: &folder,
                        trained: TrainingResult::of(&run),
                        best: best.as_ref(),
                        first: None,
                    };
                    return finish(&finished, &budget, &afterwards, &say);
                }
            }
            best.context("the best epoch is known")?
        }
    };
    let first = Model::load(folder.at(refit::MODEL))?;
    let (model, _) = plan.model(&source, plan.seed)?;
    let all = refit::rows(&source)?;
    let none = Subset::new(&source.train, Vec::new());
    let front = Front::of(model.layers(), (&all, &none), &say)?;
    let (layer, rows, _) = match front.parts(&all, &none) {
        Ok(rows) => rows,
        Err(signal) => return Ok(before_the_first_step(signal, &folder)),
    };
    let again =
        Refit { plan: &plan, source: &source, model: &model, layer, all: rows, folder: &folder, best: &best };
    let run = refit(again, before.as_ref(), &afterwards, &say);
    let first_training = Some((&first, &best));
    let run = run.map_err(|error| explained(error, &plan, &source, &model, (&folder, first_training)))?;
    if let Some(signal) = run.interrupted() {
        let come = (run.training(), run.steps());
        return interrupted((plan.seed, &source), &model, &folder, come, (signal, say.quiet), &say);
    }
    let finished = Finished {
        settings: &plan.settings,
        seed: plan.seed,
        source: &source,
        model: &model,
        folder: &folder,
        trained: TrainingResult::of(&run),
        best: Some(&best),
        first: Some(&first),
    };
    finish(&finished, &budget, &afterwards, &say)
}

/// The exit code of a run that a signal ended while the features of its rows were computed.
fn before_the_first_step(signal: i32, folder: &Folder) -> ExitCode {
    out::note(format!("interrupted before the first step. Go on with: {}", folder.resume_hint()));
    ExitCode::from(128 + u8::try_from(signal).unwrap_or(0))
}

/// A fault of a training, in the words of the command; of a second one with what the first came to.
fn explained(
    error: anyhow::Error,
    plan: &TrainingPlan,
    source: &TrainingData,
    model: &Model,
    (folder, first): (&Folder, Option<(&Model, &BestEpoch)>),
) -> anyhow::Error {
    match error.downcast::<kiln_learn::Error>() {
        Ok(kiln_learn::Error::Rescued { cause, saved }) => {
            anyhow!(rescued(plan, source, (model, first), &cause, &saved))
        }
        Ok(error) => changed(error.into(), folder),
        Err(error) => error,
    }
}

/// Where a folder holds another training, how to go on all the same.
fn changed(error: anyhow::Error, folder: &Folder) -> anyhow::Error {
    match error.downcast::<kiln_learn::Error>() {
        Ok(kiln_learn::Error::Changed { parts, what }) => {
            let mut names: Vec<&str> = parts.into_iter().map(Settings::named).collect();
            names.sort_unstable();
            names.dedup();
            let name = names.join(",");
            anyhow!(
                "{}: another training was begun here ({what}); --allow-changes {name} goes on all the same",
                folder.path().display()
            )
        }
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

/// Flags, the file they name, the run they go on with, and the one that they repeat.
fn gather(flags: &Settings, allowed: Vec<String>) -> Result<(Settings, Option<Before>, Option<Repeated>)> {
    let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
    Settings::parts(&names)?;
    if let Some(folder) = flags.resume.clone() {
        let config = folder.join(CONFIG);
        if !config.exists() {
            bail!("{}: this is no run's folder; it has no config.toml", folder.display());
        }
        let chose = decide::was_here(&folder);
        if let (true, Some(name)) = (chose, flags.one_model()) {
            bail!(
                "{}: this run chooses among models, and --{name} is of one; leave it out",
                folder.display()
            );
        }
        let before = if chose { Settings::from_file(&config)? } else { Settings::of_run(&config)? };
        let mut inherited = before.clone();
        if flags.preset.is_some() {
            inherited.layers = None;
        }
        let settings = flags.clone().or(&inherited);
        let repeated = before.repeat.as_deref().filter(|_| chose).map(decide::repeated).transpose()?;
        let repeated = repeated.map(|(_, repeated)| repeated);
        return Ok((settings, Some(Before { folder, settings: before, allowed }), repeated));
    }
    if !allowed.is_empty() {
        bail!("--allow-changes is for a run that goes on; name it, --resume DIR");
    }
    if let Some(path) = &flags.repeat {
        if let Some(name) = flags.one_model() {
            bail!("--repeat does what was done before, and --{name} is of one model; leave it out");
        }
        let (settings, repeated) = decide::repeated(path)?;
        return Ok((flags.clone().or(&settings), None, Some(repeated)));
    }
    match &flags.data {
        Some(path) if path.extension().is_some_and(|extension| extension == "toml") => {
            let file = Settings::from_file(path)?;
            let said = Settings { data: None, ..flags.clone() };
            Ok((said.or(&file), None, None))
        }
        _ => Ok((flags.clone(), None, None)),
    }
}

fn folds(
    plan: &TrainingPlan,
    source: &TrainingData,
    count: usize,
    budget: &TimeBudget,
    say: &Say,
) -> Result<()> {
    let mut mistake = None;
    let rows = source.folds(count, plan.seed)?;
    let folds = cross_validate_on(&source.train, rows, |fold| {
        let seed = plan.seed + fold.number as u64;
        let model = plan.model(source, seed).map(|(model, _)| model.into_layers());
        let trainer = model.and_then(|model| plan.trainer(model, source, &fold.train, seed)).map(|trainer| {
            // Folds and the training that follows share what is left.
            match budget.share(count - fold.number + 1) {
                Some(share) => trainer.callback(share),
                None => trainer,
            }
        });
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

/// Where a run's folder has its checkpoints.
const CHECKPOINTS: &str = "checkpoints";

fn train<'a>(
    plan: &TrainingPlan,
    source: &'a TrainingData,
    (model, (layer, rows, valid)): (&'a Model, (TrainedLayers<'a>, &'a dyn Dataset, &'a dyn Dataset)),
    folder: &'a Folder,
    before: Option<&Before>,
    afterwards: &Afterwards,
    say: &Say,
) -> Result<Run<'a, TrainedLayers<'a>>> {
    let settings = &plan.settings;
    let checkpoints = plan.checkpoints(folder);
    let best = &*plan.decider.number(!source.valid.is_empty());
    let mut trainer = plan.trainer(layer, source, rows, plan.seed)?;
    let shape: Vec<usize> = std::iter::once(1).chain(source.train.x().shape).collect();
    let dtype = kiln_learn::model::dtype(&source.train.x());
    let summary = kiln_learn::Summary::of_type(model.layers(), shape.as_slice(), dtype)?;
    let (layers, parameters) = (&model.about().layers, summary.trained + summary.frozen);
    say.line(&format!("model: {layers} ({})", out::counted(parameters, "parameter")));
    say.line(&format!(
        "{} of batches of {}, {} at {}, {}; {}",
        out::counted(plan.epochs as usize, "epoch"),
        plan.batch_size,
        settings.optimizer.as_deref().unwrap_or(""),
        plan.rate,
        settings.schedule.as_deref().unwrap_or(""),
        out::counted(kiln_learn::threads(), "thread"),
    ));
    let by_depth = plan.by_depth(rows);
    if !by_depth.is_even() {
        say.line(&by_depth.said(&layer, rows)?);
    }
    say.event(json!({
        "event": "begin", "run": folder.path(), "layers": layers, "parameters": parameters,
        "train_rows": source.train.len(), "val_rows": source.valid.len(), "test_rows": source.test.len(),
        "epochs": plan.epochs, "batch_size": plan.batch_size, "seed": plan.seed,
    }));
    if !source.valid.is_empty() {
        trainer = trainer.validate(valid);
    }
    if plan.early_stop > 0 && !source.valid.is_empty() {
        trainer = trainer.callback(EarlyStopping::on(best).patience(plan.early_stop));
    }
    if let (Some(limit), Some(end)) = (settings.time_limit, afterwards.training_ends) {
        // Half of the time is for the training that follows.
        let left = end.saturating_duration_since(Instant::now());
        let end = if plan.refits() { end.checked_sub(left / 2).unwrap_or(end) } else { end };
        trainer = trainer.callback(TimeLimit::until(end).named(limit.0));
    }
    let files =
        vec![(CONFIG, settings.to_toml()), ("environment.json", format!("{:#}\n", environment(plan.seed)))];
    trainer = trainer
        .callback(Keep::new(folder, files))
        .callback(CsvLog::new(folder.at("metrics.csv")))
        .callback(JsonlLog::new(folder.at("metrics.jsonl")));
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
    trainer = trainer.checkpoints(saves).hint(folder.resume_hint());
    trainer = match source.valid.is_empty() {
        true => texts::shown(trainer, source, model, &*source.train, "")?,
        false => texts::shown(trainer, source, model, &*source.valid, "val_")?,
    };
    Ok(going_on(trainer, (folder, CHECKPOINTS), before, &checkpoints, say)?.fit(&rows)?)
}

/// A training that goes on from the last of these checkpoints where a run was cut before, is saved elsewhere where its folder can't be
/// written any more, and says how far it is in the way that was asked for. `part` is the folder of its checkpoints in that of a run.
fn going_on<'a, M: Layer>(
    mut trainer: Trainer<'a, M>,
    (folder, part): (&Folder, &str),
    before: Option<&Before>,
    checkpoints: &Path,
    say: &Say,
) -> Result<Trainer<'a, M>> {
    trainer =
        trainer.rescue_to(folder.elsewhere().into_iter().map(|folder| Checkpoints::last(folder.join(part))));
    if let Some(before) = before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        trainer = trainer.allow_changes(Settings::parts(&allowed)?);
        trainer = trainer.resume_if_there(Checkpoints::last(checkpoints));
    }
    if say.json {
        trainer = trainer.callback(Events);
    }
    if say.quiet || say.json {
        trainer = trainer.quiet();
    }
    Ok(trainer)
}
