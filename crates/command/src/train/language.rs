//! A language model of a hub's folder that goes on learning a text: all of its weights, or adapters beside them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{Dataset, Windows, read_text};
use kiln_learn::hub::{self, LanguageModel, TrainedDecoder, gguf};
use kiln_learn::prelude::*;
use kiln_learn::schedule::Constant;
use kiln_learn::trainer::{Checkpoints, CsvLog, EarlyStopping, JsonlLog, Run, TensorBoard, TimeLimit};
use kiln_learn::weights;
use serde_json::{Value, json};

use super::depth::ByDepth;
use super::plan::{environment, every};
use super::say::Say;
use super::time::TimeBudget;
use super::{Before, CHECKPOINTS, going_on};
use crate::folder::{CONFIG, Folder, Keep};
use crate::measure::Measured;
use crate::out::counted;
use crate::report::{self, Shows, Told};
use crate::runs::past_samples;
use crate::settings::{Amount, Count, DEFAULT_SEED, Rate, Seed, Settings, Whole};
use crate::source::{counts, name_of, shares};
use crate::{choices, out};

/// What suits a model that knows its language already.
const EPOCHS: u64 = 3;
const BATCH: usize = 8;
const RATE: f64 = 1e-4;
const ADAPTERS_RATE: f64 = 1e-3;
const SCHEDULE: &str = "warmup 20, cosine";
const CLIP: f64 = 1.0;

/// Pieces of a text that are seen at once, where the model sees as many.
const WINDOW: usize = 256;

/// An adapter's product is multiplied by this, whatever its rank.
const ADAPTER_SCALE: f64 = 2.0;

/// The share of a time limit that is left for the figures and the files after the training.
const AFTERWARDS: f64 = 0.2;

/// The model's folder in that of the run, and its adapters alone.
pub const MODEL: &str = "model";
pub const ADAPTERS: &str = "adapters.safetensors";

/// Whether a training starts from a language model.
pub(super) fn is_asked(settings: &Settings) -> Result<bool> {
    match &settings.from {
        Some(path) if gguf::is_gguf(path) => bail!(
            "{}: the weights of a GGUF file are packed for predictions and aren't trained; start from the folder that it was made of",
            path.display()
        ),
        Some(path) if hub::is_folder(path) => Ok(true),
        _ if settings.lora.is_some() => {
            bail!("--lora is for a language model's folder, with config.json in it; name it, --from FOLDER")
        }
        _ => Ok(false),
    }
}

/// All that such a training is made of.
struct Tuning {
    settings: Settings,
    model: LanguageModel,
    name: String,
    said: Vec<String>,
    parts: [Windows; 3],
    /// Characters that a piece of the text has, in the mean.
    characters: f64,
    rate: f64,
}

impl Tuning {
    fn new(mut settings: Settings) -> Result<Tuning> {
        settings.only_without_base(&["layers", "preset", "pieces"])?;
        settings.only("a language model", &["window", "test-fraction", "val-fraction"])?;
        let idle = ["head", "metric", "refit", "k-fold", "sampling", "class-weights"];
        settings.without("a language model", &idle)?;
        let from = settings.from.clone().unwrap_or_default();
        let path = settings
            .data
            .clone()
            .with_context(|| format!("{}: it learns a text; name one", from.display()))?;
        let is_text =
            path.extension().is_some_and(|end| ["txt", "text", "md"].iter().any(|text| end == *text));
        if !is_text {
            bail!(
                "{}: a language model learns a text (.txt, .md), and this is none by its name",
                path.display()
            );
        }
        let model = LanguageModel::open(&from)?;
        let text = read_text(&path)?;
        let codes = model.encode(&text).with_context(|| from.display().to_string())?;
        let window = settings.window.get_or_insert(Count(WINDOW.min(model.window()))).0;
        if window > model.window() {
            bail!("--window {window}: the model sees {} at once", counted(model.window(), "piece"));
        }
        let seed = settings.seed.get_or_insert(Seed(DEFAULT_SEED)).0;
        let mut said = vec![format!(
            "a text of {}: {}; {} goes on learning what comes next",
            counted(text.chars().count(), "character"),
            counted(codes.len(), "piece"),
            from.display()
        )];
        let characters = text.chars().count() as f64 / codes.len().max(1) as f64;
        let all =
            Windows::new(codes, model.config().vocabulary, window).map_err(|error| error.in_file(&path))?;
        let usual = Settings {
            test_fraction: Some(settings.test_fraction.unwrap_or(crate::settings::Share(0.05))),
            ..settings.clone()
        };
        let shares = shares(&usual, 0.05);
        let (first, test) = all.split(1.0 - shares[2])?;
        let (train, valid) = first.split(shares[0] / (shares[0] + shares[1]))?;
        said.push(format!("windows of {window}: {}", counts(&train, &valid, &test)));
        if let Some(rank) = settings.lora {
            let rank = rank.0;
            let adapted = model.adapt_dense(rank, ADAPTER_SCALE * rank as f64, Key::new(seed))?;
            said.push(format!(
                "adapters of rank {rank} on {}; all else stays as it is",
                counted(adapted, "dense layer")
            ));
        }
        for pattern in
            settings.freeze.iter().flat_map(|all| all.split(',')).map(str::trim).filter(|one| !one.is_empty())
        {
            model.decoder().freeze(pattern).with_context(|| format!("--freeze {pattern}"))?;
        }
        if model.decoder().parameters().iter().all(|(_, param)| param.is_frozen()) {
            bail!("everything is frozen, and nothing is left to train");
        }
        let usual = if settings.lora.is_some() { ADAPTERS_RATE } else { RATE };
        let rate = settings.lr.get_or_insert(Rate(usual)).0;
        settings.epochs.get_or_insert(Whole(EPOCHS));
        settings.batch_size.get_or_insert(Count(BATCH));
        settings.optimizer.get_or_insert_with(|| "adamw".to_string());
        settings.schedule.get_or_insert_with(|| SCHEDULE.to_string());
        settings.weight_decay.get_or_insert(Amount(if settings.lora.is_some() { 0.0 } else { 0.01 }));
        settings.label_smoothing.get_or_insert(Amount(0.0));
        settings.clip.get_or_insert(Amount(CLIP));
        settings.early_stop.get_or_insert(Whole(0));
        choices::schedule(settings.schedule.as_deref().unwrap_or(SCHEDULE), 1)?;
        let parts = [train.moved(), valid, test];
        Ok(Tuning { characters, name: name_of(&path), settings, model, said, parts, rate })
    }

    fn optimizer(&self) -> Result<Box<dyn kiln_learn::optim::Optimizer>> {
        let name = self.settings.optimizer.as_deref().unwrap_or("adamw");
        choices::optimizer(name, self.rate, self.settings.weight_decay.map_or(0.0, |decay| decay.0))
    }

    fn seed(&self) -> u64 {
        self.settings.seed.map_or(DEFAULT_SEED, |seed| seed.0)
    }

    /// The trained numbers, and all.
    fn numbers(&self) -> (usize, usize) {
        let all = self.model.decoder().parameters();
        let count = |trained: bool| {
            let counted = all.iter().filter(|(_, param)| !trained || !param.is_frozen());
            counted.map(|(_, param)| param.shape().elements()).sum()
        };
        (count(true), count(false))
    }

    fn train<'a>(
        &'a self,
        folder: &'a Folder,
        before: Option<&Before>,
        budget: &TimeBudget,
        say: &Say,
    ) -> Result<Run<'a, TrainedDecoder<'a>>> {
        let settings = &self.settings;
        let [train, valid, _] = &self.parts;
        let smoothing = settings.label_smoothing.map_or(0.0, |share| share.0);
        let planned = settings.schedule.clone().unwrap_or_default();
        // It was read when the settings were.
        let schedule = move |steps| choices::schedule(&planned, steps).unwrap_or_else(|_| Box::new(Constant));
        let loss = CrossEntropy::new().label_smoothing(smoothing);
        let batch_size = settings.batch_size.map_or(BATCH, |rows| rows.0);
        let by_depth = ByDepth::of(settings, train, batch_size);
        if !by_depth.is_even() {
            say.line(&by_depth.said(&self.model.trained(), train)?);
        }
        let rule = by_depth.rule(self.optimizer()?, &self.model.trained(), train)?;
        let mut trainer = Trainer::new(self.model.trained(), loss, rule)
            .epochs(settings.epochs.map_or(EPOCHS, |epochs| epochs.0))
            .batch_size(batch_size)
            .seed(self.seed())
            .schedule_over(schedule)
            .validate(valid);
        if let Some(norm) = settings.clip {
            trainer = trainer.clip(Clip::GlobalNorm(norm.0));
        }
        if let Some(batches) = settings.accumulate {
            trainer = trainer.accumulate(batches.0);
        }
        if let Some(decay) = settings.ema {
            trainer = trainer.ema(decay.0);
        }
        if let Some(epochs) = settings.early_stop.filter(|epochs| epochs.0 > 0) {
            trainer = trainer.callback(EarlyStopping::on("val_loss").patience(epochs.0));
        }
        if let Some(limit) = budget.limit {
            let end = budget.began + limit.mul_f64(1.0 - AFTERWARDS);
            trainer = trainer.callback(TimeLimit::until(end).named(limit));
        }
        let files = vec![
            (CONFIG, settings.to_toml()),
            ("environment.json", format!("{:#}\n", environment(self.seed()))),
        ];
        let checkpoints = self.checkpoints(folder);
        trainer = trainer
            .callback(Keep::new(folder, files))
            .callback(self.model.samples()?)
            .callback(CsvLog::new(folder.at("metrics.csv")))
            .callback(JsonlLog::new(folder.at("metrics.jsonl")));
        if let Some(path) = &settings.log_csv {
            trainer = trainer.callback(CsvLog::new(path));
        }
        if let Some(events) = &settings.tensorboard {
            trainer = trainer.callback(TensorBoard::new(events));
        }
        let mut saves =
            every(Checkpoints::new(&checkpoints), settings.checkpoint_every.as_deref())?.best("val_loss");
        if let Some(count) = settings.keep {
            saves = saves.keep(count.0 as usize);
        }
        let trainer = trainer.checkpoints(saves).hint(folder.resume_hint());
        Ok(going_on(trainer, (folder, CHECKPOINTS), before, &checkpoints, say)?.fit(train)?)
    }

    fn checkpoints(&self, folder: &Folder) -> PathBuf {
        self.settings.checkpoint_dir.clone().unwrap_or_else(|| folder.at(CHECKPOINTS))
    }

    /// Measures the model, writes it and the report, and says what to do with it.
    fn finish(
        &self,
        folder: &Folder,
        run: &Run<TrainedDecoder>,
        budget: &TimeBudget,
        say: &Say,
    ) -> Result<()> {
        let [train, valid, test] = &self.parts;
        let measure = |set: &Windows| -> Result<Measured> {
            Measured::of_text(&self.model.trained(), self.characters, set)
        };
        let parts = [measure(train)?, measure(valid)?, measure(test)?];
        let (trained, numbers) = self.numbers();
        folder.check()?;
        if self.settings.lora.is_some() {
            weights::save_adapters(self.model.decoder(), folder.at(ADAPTERS))?;
            self.model.merge_adapters()?;
        }
        let path = folder.make(MODEL)?;
        self.model.save(&path)?;
        let seconds = budget.began.elapsed().as_secs_f64();
        if let Some(reason) = run.stopped() {
            say.line(&format!("stopped: {reason}"));
        }
        let [on_train, on_valid, on_test] = parts.each_ref().map(Measured::json);
        let done = json!({
            "event": "done", "run": folder.path(), "model": path, "seconds": seconds, "epochs": run.history().len(),
            "stopped": run.stopped(), "best": Value::Null, "refit": Value::Null, "said": self.said,
            "train": on_train, "val": on_valid, "test": on_test, "importances": Value::Null, "trained": trained,
        });
        let told = Told {
            title: format!("{}: a run of kiln", self.name),
            said: &self.said,
            layers: &format!(
                "{}, a language model",
                self.settings.from.as_deref().unwrap_or(Path::new("")).display()
            ),
            parameters: numbers,
            seconds: run.elapsed().as_secs_f64(),
            history: run.history(),
            parts: [Some(&parts[0]), Some(&parts[1]), Some(&parts[2])],
            test: test as &dyn Dataset,
            shows: &Shows::Nothing,
            config: self.settings.to_toml(),
            environment: format!("{:#}", environment(self.seed())),
            board: None,
            importances: None,
            insight: None,
            rows: [0; 3],
            columns: Vec::new(),
            samples: &past_samples(folder.path()),
        };
        report::write(&told, folder)?;
        folder.write("result.json", format!("{done:#}\n"))?;
        say.event(done);
        if say.json {
            return out::settle();
        }
        for (name, part) in ["train", "val", "test"].iter().zip(&parts) {
            out::line(format_args!("{name:>5}  {}", part.line()))?;
        }
        let report = folder.at("report.html");
        out::line(format_args!("{} after {seconds:.1} s; look at {}", path.display(), report.display()))?;
        let path = path.display();
        say.line(&format!(
            "\nnext: `kiln predict {path} --prompt TEXT`, `kiln export {} FOLDER`",
            folder.path().display()
        ));
        if self.settings.lora.is_some() {
            let from = self.settings.from.as_deref().unwrap_or(Path::new("")).display();
            say.line(&format!(
                "      `kiln predict {from} --adapters {} --prompt TEXT`",
                folder.at(ADAPTERS).display()
            ));
        }
        Ok(())
    }
}

/// Trains as the settings say.
pub(super) fn run(
    settings: Settings,
    (flags, before, resumed): (&Settings, Option<Before>, Option<Folder>),
    print_config: bool,
    budget: &TimeBudget,
    say: &Say,
) -> Result<ExitCode> {
    let tuning = Tuning::new(settings)?;
    if let Some(before) = &before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        tuning.settings.only_as_before(flags, &before.settings, &allowed)?;
    }
    if print_config {
        out::text(tuning.settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    tuning.said.iter().for_each(|line| say.line(line));
    let folder = match resumed {
        Some(folder) => folder,
        None => {
            let folder = Folder::new(tuning.settings.out.as_deref(), &tuning.name)?;
            folder.write(CONFIG, tuning.settings.to_toml())?;
            folder
        }
    };
    let (trained, numbers) = tuning.numbers();
    let settings = &tuning.settings;
    say.line(&format!(
        "{} of {} are trained: {} of batches of {}, {} at {}, {}; {}",
        trained,
        counted(numbers, "number"),
        counted(settings.epochs.map_or(0, |epochs| epochs.0 as usize), "epoch"),
        settings.batch_size.map_or(BATCH, |rows| rows.0),
        settings.optimizer.as_deref().unwrap_or(""),
        tuning.rate,
        settings.schedule.as_deref().unwrap_or(""),
        counted(kiln_learn::threads(), "thread"),
    ));
    let [train, valid, test] = &tuning.parts;
    say.event(json!({
        "event": "begin", "run": folder.path(), "layers": Value::Null, "parameters": numbers, "trained": trained,
        "train_rows": train.len(), "val_rows": valid.len(), "test_rows": test.len(),
        "epochs": settings.epochs.map(|epochs| epochs.0), "batch_size": settings.batch_size.map(|rows| rows.0), "seed": tuning.seed(),
    }));
    let run = tuning.train(&folder, before.as_ref(), budget, say);
    let run = run.map_err(|error| super::changed(error, &folder))?;
    if let Some(signal) = run.interrupted() {
        let hint = folder.resume_hint();
        match (say.json, say.quiet) {
            (true, _) => say.event(json!({
                "event": "interrupted", "run": folder.path(), "signal": signal, "steps": run.steps(), "resume": hint,
            })),
            // The trainer has said it already, unless it was to be quiet.
            (false, true) => out::note(format!("interrupted; saved. Go on with: {hint}")),
            (false, false) => {}
        }
        return Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)));
    }
    tuning.finish(&folder, &run, budget, say)?;
    Ok(ExitCode::SUCCESS)
}
