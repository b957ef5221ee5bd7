//! Models that are fitted rather than descended to: no epochs and no checkpoints, and all that the folder of a run has else.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{Dataset, Encoding, Subset, TablePreparation};
use kiln_learn::linear::{self, Chosen, LinearOptions, Penalty, WeightSign};
use kiln_learn::metrics::History;
use kiln_learn::model::{About, PartMeaning, Task, TaskPart};
use kiln_learn::prelude::*;
use kiln_learn::presets::Suits;
use kiln_learn::trees::{self, TreeChoice, TreeOptions};
use kiln_learn::{Interrupt, Model};
use serde_json::{Map, Value, json};

use super::calibration;
use super::outcome::{Finished, TrainingResult, finish, interrupted};
use super::plan::{about, environment, suits};
use super::say::Say;
use super::threshold::Threshold;
use super::time::TimeBudget;
use super::{Before, refit};
use crate::folder::{CONFIG, Folder};
use crate::measure::Measured;
use crate::out::{self, counted};
use crate::settings::{DEFAULT_SEED, Seed, Settings};
use crate::source::{Ties, TrainingData};

/// How a model is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FittedKind {
    /// A linear model with the penalty that cross-validation chooses.
    Linear,
    /// Boosted trees, as many as help rows that are held out.
    Trees,
}

/// What a model is fitted to.
pub(super) struct Fitting<'f> {
    pub(super) settings: &'f Settings,
    pub(super) source: &'f TrainingData,
    pub(super) rows: &'f dyn Dataset,
    /// Rows that say how many trees are enough, where they are told; else some of the others do, each in its turn.
    pub(super) valid: Option<&'f dyn Dataset>,
    /// Which of the rows belong together.
    pub(super) ties: Option<&'f Ties>,
    pub(super) seed: u64,
    /// When it has to be done.
    pub(super) ends: Option<Instant>,
    /// Whether somebody asks for the end.
    pub(super) interrupt: &'f (dyn Fn() -> bool + Sync),
    /// What was chosen for trees before: the same trees come of it, whatever the clock says.
    pub(super) chosen: Option<Vec<TreeChoice>>,
}

/// How layers were fitted.
pub(super) struct HowFitted {
    pub(super) said: Vec<String>,
    /// What result.json says of it.
    pub(super) how: Map<String, Value>,
    /// What was chosen for each target, of trees.
    pub(super) chosen: Vec<TreeChoice>,
    /// Numbers by round, where it came about in rounds.
    pub(super) history: History,
    /// Whether time or somebody ended it.
    pub(super) was_stopped: bool,
}

/// Settings by which a linear model is trained step by step.
const STEPS_TAKEN: [&str; 10] = [
    "epochs",
    "batch-size",
    "lr",
    "optimizer",
    "schedule",
    "accumulate",
    "layer-decay",
    "unfreeze-every",
    "ema",
    "early-stop",
];

/// Settings that say how weights are descended to.
pub(super) const STEPS: [&str; 18] = [
    "epochs",
    "batch-size",
    "lr",
    "optimizer",
    "schedule",
    "weight-decay",
    "label-smoothing",
    "clip",
    "accumulate",
    "layer-decay",
    "unfreeze-every",
    "ema",
    "sampling",
    "metric",
    "early-stop",
    "checkpoint-every",
    "keep",
    "tensorboard",
];

impl FittedKind {
    /// What a preset's name asks for, of rows of a table.
    pub(super) fn of(settings: &Settings, source: &TrainingData) -> Result<Option<FittedKind>> {
        let form = source.train.x();
        let is_table = suits(source, &form) == Suits::Tables;
        let preset =
            settings.preset.as_deref().filter(|_| settings.layers.is_none() && settings.from.is_none());
        let weights = source.task.outputs() * form.width();
        let is_small = match source.task.parts().iter().all(is_number) {
            true => form.width() <= WIDEST,
            false => weights <= MOST,
        };
        Ok(match preset {
            // Whoever says how steps are taken wants steps.
            Some("linear") => {
                (is_table && is_small && !settings.says_any(&STEPS_TAKEN)).then_some(FittedKind::Linear)
            }
            Some("trees") if !is_table || source.preparation.table().is_none() => {
                bail!("trees are for tables, and the data are none")
            }
            Some("trees") => Some(FittedKind::Trees),
            _ => None,
        })
    }

    fn named(self) -> &'static str {
        match self {
            FittedKind::Linear => "a linear model, which is fitted at once",
            FittedKind::Trees => "trees, which are fitted at once",
        }
    }

    /// Layers that are fitted to some rows, and what there is to say of them.
    pub(super) fn fit(self, fitting: &Fitting) -> Result<(Sequential, HowFitted)> {
        let Fitting { settings, source, .. } = fitting;
        let plan = source.preparation.table();
        let codes = plan
            .map_or(Vec::new(), |plan| plan.vocabularies().iter().map(|(_, words)| words.size()).collect());
        let balanced = match settings.class_weights.as_deref() {
            None | Some("none") => false,
            Some("balanced") => true,
            Some(other) => bail!("class weights are balanced or none, not {other}"),
        };
        let fold_of = fitting.ties.and_then(|ties| ties.parts(FOLDS));
        let signs = settings.monotone.as_deref().map(|said| signs(said, plan)).transpose()?;
        match self {
            FittedKind::Linear => {
                let mut options = LinearOptions::new().codes(codes).seed(fitting.seed).balanced(balanced);
                if let Some(signs) = signs {
                    options = options.signs(signs);
                }
                if let Some(fold_of) = fold_of {
                    options = options.fold_of(fold_of);
                }
                let (layers, chosen) = linear::fit_and_tell(fitting.rows, &source.task, &options)?;
                let how = HowFitted {
                    said: said(&source.task, &chosen),
                    how: Map::new(),
                    chosen: Vec::new(),
                    history: History::default(),
                    was_stopped: false,
                };
                Ok((layers, how))
            }
            FittedKind::Trees => {
                let way = |sign: &WeightSign| match sign {
                    WeightSign::Free => 0,
                    WeightSign::Rising => 1,
                    WeightSign::Falling => -1,
                };
                let options = TreeOptions {
                    seed: fitting.seed,
                    ends: fitting.ends,
                    interrupt: Some(fitting.interrupt),
                    codes,
                    balanced,
                    fold_of: fold_of.unwrap_or_default(),
                    monotone: signs.iter().flatten().map(way).collect(),
                    chosen: fitting.chosen.clone(),
                    valid: fitting.valid,
                };
                grown(trees::fit(fitting.rows, &source.task, &options)?, plan)
            }
        }
    }
}

/// What there is to say of trees.
fn grown(forest: trees::FittedTrees, plan: Option<&TablePreparation>) -> Result<(Sequential, HowFitted)> {
    let gain =
        |at: std::ops::Range<usize>| forest.gains.get(at).map_or(0.0, |gains| gains.iter().sum::<f64>());
    let groups = plan.map(TablePreparation::groups).unwrap_or_default();
    let mut gains: Vec<(String, f64)> = groups.into_iter().map(|(name, at)| (name, gain(at))).collect();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1));
    let rounds: Vec<usize> = forest.chosen.iter().flat_map(|choice| choice.rounds.clone()).collect();
    let most: Vec<String> =
        gains.iter().take(5).map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
    let said = vec![
        format!(
            "{}, {}; rounds {} in {}",
            counted(forest.trees, "tree"),
            counted(forest.nodes, "node"),
            rounds.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            counted(rounds.len(), "fold"),
        ),
        format!("gained by {}", most.join(", ")),
    ];
    let gains: Map<String, Value> = gains.into_iter().map(|(name, gain)| (name, json!(gain))).collect();
    let how = [
        ("trees".to_string(), forest.trees.into()),
        ("nodes".to_string(), forest.nodes.into()),
        ("chosen".to_string(), serde_json::to_value(&forest.chosen)?),
        ("gains".to_string(), gains.into()),
    ];
    let how = HowFitted {
        said,
        how: Map::from_iter(how),
        chosen: forest.chosen,
        history: forest.history,
        was_stopped: forest.was_stopped,
    };
    Ok((forest.layers, how))
}

/// More weights of classes than this take less time step by step.
const MOST: usize = 5_000;

/// More inputs than this, whose products are all added up, take less memory step by step.
const WIDEST: usize = 1_000;

fn is_number(part: &TaskPart) -> bool {
    matches!(part.meaning, PartMeaning::Number { .. })
}

/// In how many folds rows are cut to choose a strength.
const FOLDS: usize = 5;

/// What was chosen for each target.
fn said(task: &Task, chosen: &[Chosen]) -> Vec<String> {
    let parts = task.parts();
    let one = |(part, chosen): (&TaskPart, &Chosen)| {
        let of = if parts.len() > 1 { format!("{}: ", part.name) } else { String::new() };
        let Chosen { penalty, strength, loss, kept } = chosen;
        let penalty = match penalty {
            Penalty::L1 => format!("L1 of {strength:.3e}, which leaves {}", counted(*kept, "weight")),
            Penalty::L2 | Penalty::Best => format!("L2 of {strength:.3e}"),
        };
        format!("{of}{penalty}, is best on rows that were held out: a loss of {loss:.5} there")
    };
    parts.iter().zip(chosen).map(one).collect()
}

/// Which sign the weight of each input may have: `age:+, price:-`.
fn signs(said: &str, plan: Option<&TablePreparation>) -> Result<Vec<WeightSign>> {
    let plan = plan.context("--monotone names columns of a table")?;
    let mut signs = vec![WeightSign::Free; plan.width()];
    for one in said.split(',').map(str::trim) {
        let (column, sign) = match one.rsplit_once(':').map(|(column, sign)| (column.trim(), sign.trim())) {
            Some((column, "+")) => (column, WeightSign::Rising),
            Some((column, "-")) => (column, WeightSign::Falling),
            _ => bail!(
                "--monotone {one}: a column, a colon, and + where more of it never says less, or -, like \"age:+, price:-\""
            ),
        };
        let groups = plan.groups();
        let Some((_, places)) = groups.iter().find(|(name, _)| name == column) else {
            let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
            bail!("--monotone: there is no column {column}; {}", crate::choices::meant(column, &names));
        };
        let feature = plan.features().iter().find(|feature| feature.column == column);
        if !feature.is_some_and(|feature| matches!(feature.encoding, Encoding::Number { .. })) {
            bail!("--monotone: column {column} isn't learned as a number, and has no more and less");
        }
        // Whether it is missing stands behind the number.
        signs[places.start] = sign;
    }
    Ok(signs)
}

/// Fits, evaluates and writes what a run's folder has.
pub(super) fn run(
    kind: FittedKind,
    mut settings: Settings,
    source: &TrainingData,
    (flags, before, resumed): (&Settings, Option<&Before>, Option<Folder>),
    print_config: bool,
    budget: &TimeBudget,
    say: &Say,
) -> Result<ExitCode> {
    settings.without(kind.named(), &STEPS)?;
    Threshold::of(&settings, &source.task, !source.valid.is_empty())?;
    calibration::options(&settings, &source.task, source.valid.len(), false)?;
    if settings.refit == Some(true) && source.valid.is_empty() {
        bail!("--refit trains on the validation rows too, and there are none");
    }
    let seed = settings.seed.get_or_insert(Seed(DEFAULT_SEED)).0;
    if let Some(before) = before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        settings.only_as_before(flags, &before.settings, &allowed)?;
    }
    if print_config {
        out::text(settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    source.said.iter().for_each(|line| say.line(line));
    let folder = match resumed {
        Some(folder) => {
            say.line(&format!("this is {}, and so from the start again", kind.named()));
            folder
        }
        None => Folder::new(settings.out.as_deref(), &source.name)?,
    };
    folder.write(CONFIG, settings.to_toml())?;
    folder.write("environment.json", format!("{:#}\n", environment(seed)))?;
    let signals = Interrupt::listen();
    let asked = || signals.asked().is_some();
    let fit = FitRun { kind, settings: &settings, source, seed, budget, asked: &asked };
    if let Some(count) = settings.k_fold {
        fit.folds(count.0, say)?;
    }
    let refits = settings.refit == Some(true);
    let began = Instant::now();
    let (mut model, mut fitted) =
        fit.model(&*source.train, Some(&source.ties), if refits { 2 } else { 1 })?;
    let mut first = None;
    let mut rows = source.train.len();
    if refits && !asked() {
        let all = refit::rows(source)?;
        rows = all.len();
        let (again, own) = fit.model(&all, None, 1)?;
        (fitted.said, fitted.how, fitted.was_stopped) =
            (own.said, own.how, own.was_stopped | fitted.was_stopped);
        model.save_as(&about(seed, source, &model), folder.at(refit::MODEL))?;
        first = Some(std::mem::replace(&mut model, again));
    }
    let HowFitted { said: mut lines, how, history, was_stopped, .. } = fitted;
    let parameters = counted(model.parameter_count(), "parameter");
    lines.insert(0, format!("model: {} ({parameters})", model.about().layers));
    lines.iter().for_each(|line| say.line(line));
    say.event(json!({
        "event": "begin", "run": folder.path(), "layers": model.about().layers, "parameters": model.parameter_count(),
        "train_rows": source.train.len(), "val_rows": source.valid.len(), "test_rows": source.test.len(), "seed": seed,
    }));
    let mut training = how.clone();
    training.insert("rows".to_string(), rows.into());
    if let Some(signal) = signals.asked() {
        return interrupted((seed, source), &model, &folder, (training, 0), (signal, true), say);
    }
    drop(signals);
    folder.write("metrics.jsonl", by_round(&history))?;
    let stopped = match (was_stopped, settings.time_limit) {
        (true, Some(limit)) => Some(format!("the time limit of {:?}", limit.0)),
        (true, None) | (false, _) => None,
    };
    let trained = TrainingResult {
        training,
        how,
        history,
        elapsed: began.elapsed(),
        stopped,
        said: lines,
        refit_rows: first.is_some().then_some(rows),
        evidence: None,
    };
    let finished = Finished {
        settings: &settings,
        seed,
        source,
        model: &model,
        folder: &folder,
        trained,
        best: None,
        first: first.as_ref(),
    };
    finish(&finished, budget, &budget.afterwards(source, &model)?, say)
}

/// An object for each round.
fn by_round(history: &History) -> String {
    let line = |round: usize| {
        let mut line = json!({ "epoch": round + 1 });
        for name in history.names() {
            line[name] = history.series(name).and_then(|series| series.get(round)).copied().into();
        }
        format!("{line}\n")
    };
    (0..history.len()).map(line).collect()
}

/// The share of a time limit that fits may take; the rest is for figures and files.
const FITS: f64 = 0.7;

/// What all fits of a run share.
struct FitRun<'f> {
    kind: FittedKind,
    settings: &'f Settings,
    source: &'f TrainingData,
    seed: u64,
    budget: &'f TimeBudget,
    asked: &'f (dyn Fn() -> bool + Sync),
}

impl FitRun<'_> {
    /// The first of so many fits of like length, on these rows.
    fn model(&self, rows: &dyn Dataset, ties: Option<&Ties>, of: usize) -> Result<(Model, HowFitted)> {
        let began = Instant::now();
        let ends = self.budget.limit.map(|limit| {
            let end = self.budget.began + limit.mul_f64(FITS);
            began + end.saturating_duration_since(began) / u32::try_from(of).unwrap_or(u32::MAX)
        });
        let FitRun { kind, settings, source, seed, asked, .. } = *self;
        let (layers, how) = kind.fit(&Fitting {
            settings,
            source,
            rows,
            valid: None,
            ties,
            seed,
            ends,
            interrupt: asked,
            chosen: None,
        })?;
        Ok((model_of(source, layers)?, how))
    }

    /// Fits on every fold but one, and says how much figures vary from fold to fold.
    fn folds(&self, count: usize, say: &Say) -> Result<()> {
        let mut each: Vec<Vec<(String, f64)>> = Vec::new();
        for (at, (train, held)) in self.source.folds(count, self.seed)?.into_iter().enumerate() {
            let ties = self.source.ties.of_rows(&train);
            let (train, held) =
                (Subset::new(&self.source.train, train), Subset::new(&self.source.train, held));
            let (model, _) = self.model(&train, ties.as_ref(), count + 1 - at)?;
            if (self.asked)() {
                return Ok(());
            }
            each.push(Measured::new(&self.source.task, &model, &held)?.numbers);
        }
        let names: Vec<&String> =
            each.first().map_or(Vec::new(), |first| first.iter().map(|(name, _)| name).collect());
        let of = |at: usize| {
            each.iter().filter_map(|fold| fold.get(at)).map(|(_, number)| *number).collect::<Vec<f64>>()
        };
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
        let deviation = |numbers: &[f64]| {
            let squares: f64 =
                numbers.iter().map(|number| (number - mean(numbers)) * (number - mean(numbers))).sum();
            (squares / (numbers.len().max(2) - 1) as f64).sqrt()
        };
        let mut event = json!({ "event": "folds", "folds": count });
        let mut lines = vec![format!("{count} folds:")];
        for (at, name) in names.into_iter().enumerate() {
            let numbers = of(at);
            lines.push(format!("  {name} {:.4} ± {:.4}", mean(&numbers), deviation(&numbers)));
            event[name] = json!({ "mean": mean(&numbers), "deviation": deviation(&numbers) });
        }
        say.line(&lines.join("\n"));
        say.event(event);
        Ok(())
    }
}

/// Layers as a model of the data.
pub(super) fn model_of(source: &TrainingData, layers: Sequential) -> Result<Model> {
    let mut about = About::new(&layers, &source.train.x(), source.task.clone())?;
    about.preparation = source.preparation.clone();
    let model = Model::new(layers, about);
    model.check()?;
    Ok(model)
}
