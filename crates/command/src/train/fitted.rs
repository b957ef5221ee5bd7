//! Models that are fitted rather than descended to: no epochs and no checkpoints, and all that the folder of a run has else.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use kiln_learn::Model;
use kiln_learn::data::{Dataset, Encoding, Subset, TablePreparation};
use kiln_learn::linear::{self, Chosen, LinearOptions, Penalty, Sign};
use kiln_learn::metrics::History;
use kiln_learn::model::{About, PartMeaning, Task, TaskPart};
use kiln_learn::prelude::*;
use kiln_learn::presets::Suits;
use serde_json::{Map, json};

use super::outcome::{Finished, Trained, finish};
use super::plan::{environment, suits};
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
pub(super) enum Fitted {
    /// A linear model with the penalty that cross-validation chooses.
    Linear,
}

/// Settings that say how weights are descended to.
const STEPS: [&str; 16] = [
    "epochs",
    "batch-size",
    "lr",
    "optimizer",
    "schedule",
    "weight-decay",
    "label-smoothing",
    "clip",
    "accumulate",
    "ema",
    "sampling",
    "metric",
    "early-stop",
    "checkpoint-every",
    "keep",
    "tensorboard",
];

impl Fitted {
    /// What a preset's name asks for, of rows of a table.
    pub(super) fn of(settings: &Settings, source: &TrainingData) -> Option<Fitted> {
        let form = source.train.x();
        let weights = source.task.outputs() * form.width();
        let is_table = suits(source, &form) == Suits::Tables
            && (weights <= MOST || source.task.parts().iter().all(is_number));
        match settings
            .preset
            .as_deref()
            .filter(|_| is_table && settings.layers.is_none() && settings.from.is_none())
        {
            Some("linear") => Some(Fitted::Linear),
            _ => None,
        }
    }

    fn named(self) -> &'static str {
        match self {
            Fitted::Linear => "a linear model, which is fitted at once",
        }
    }

    /// Layers that are fitted to some rows, and what there is to say of them.
    pub(super) fn fit(
        self,
        settings: &Settings,
        source: &TrainingData,
        rows: &dyn Dataset,
        ties: Option<&Ties>,
    ) -> Result<(Sequential, Vec<String>)> {
        let plan = source.preparation.table();
        let codes = plan
            .map_or(Vec::new(), |plan| plan.vocabularies().iter().map(|(_, words)| words.size()).collect());
        let seed = settings.seed.map_or(DEFAULT_SEED, |seed| seed.0);
        let balanced = match settings.class_weights.as_deref() {
            None | Some("none") => false,
            Some("balanced") => true,
            Some(other) => bail!("class weights are balanced or none, not {other}"),
        };
        match self {
            Fitted::Linear => {
                let mut options = LinearOptions::new().codes(codes).seed(seed).balanced(balanced);
                if let Some(said) = &settings.monotone {
                    options = options.signs(signs(said, plan)?);
                }
                if let Some(fold_of) = ties.and_then(|ties| ties.parts(FOLDS)) {
                    options = options.fold_of(fold_of);
                }
                let (layers, chosen) = linear::fit_and_tell(rows, &source.task, &options)?;
                Ok((layers, said(&source.task, &chosen)))
            }
        }
    }
}

/// More weights of classes than this take less time step by step.
const MOST: usize = 5_000;

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
fn signs(said: &str, plan: Option<&TablePreparation>) -> Result<Vec<Sign>> {
    let plan = plan.context("--monotone names columns of a table")?;
    let mut signs = vec![Sign::Free; plan.width()];
    for one in said.split(',').map(str::trim) {
        let (column, sign) = match one.rsplit_once(':').map(|(column, sign)| (column.trim(), sign.trim())) {
            Some((column, "+")) => (column, Sign::Rising),
            Some((column, "-")) => (column, Sign::Falling),
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
    kind: Fitted,
    mut settings: Settings,
    source: &TrainingData,
    (flags, before, resumed): (&Settings, Option<&Before>, Option<Folder>),
    print_config: bool,
    budget: &TimeBudget,
    say: &Say,
) -> Result<ExitCode> {
    settings.without(kind.named(), &STEPS)?;
    Threshold::of(&settings, &source.task, !source.valid.is_empty())?;
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
        Some(folder) => folder,
        None => Folder::new(settings.out.as_deref(), &source.name)?,
    };
    folder.write(CONFIG, settings.to_toml())?;
    folder.write("environment.json", format!("{:#}\n", environment(seed)))?;
    if let Some(count) = settings.k_fold {
        folds(kind, &settings, source, (count.0, seed), say)?;
    }
    let began = Instant::now();
    let (layers, mut lines) = kind.fit(&settings, source, &*source.train, Some(&source.ties))?;
    let mut model = model_of(source, layers)?;
    let mut first = None;
    let mut rows = source.train.len();
    if settings.refit == Some(true) {
        let all = refit::rows(source)?;
        let (layers, _) = kind.fit(&settings, source, &all, None)?;
        rows = all.len();
        first = Some(std::mem::replace(&mut model, model_of(source, layers)?));
    }
    let elapsed = began.elapsed();
    let parameters = counted(model.parameter_count(), "parameter");
    lines.insert(0, format!("model: {} ({parameters})", model.about().layers));
    lines.iter().for_each(|line| say.line(line));
    say.event(json!({
        "event": "begin", "run": folder.path(), "layers": model.about().layers, "parameters": model.parameter_count(),
        "train_rows": source.train.len(), "val_rows": source.valid.len(), "test_rows": source.test.len(), "seed": seed,
    }));
    let trained = Trained {
        training: Map::from_iter([("rows".to_string(), rows.into())]),
        history: History::default(),
        elapsed,
        stopped: None,
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

/// Layers as a model of the data.
pub(super) fn model_of(source: &TrainingData, layers: Sequential) -> Result<Model> {
    let mut about = About::new(&layers, &source.train.x(), source.task.clone())?;
    about.preparation = source.preparation.clone();
    let model = Model::new(layers, about);
    model.check()?;
    Ok(model)
}

/// Fits on every fold but one, and says how much figures vary from fold to fold.
fn folds(
    kind: Fitted,
    settings: &Settings,
    source: &TrainingData,
    (count, seed): (usize, u64),
    say: &Say,
) -> Result<()> {
    let mut each: Vec<Vec<(String, f64)>> = Vec::new();
    for (train, held) in source.folds(count, seed)? {
        let (train, held) = (Subset::new(&source.train, train), Subset::new(&source.train, held));
        let (layers, _) = kind.fit(settings, source, &train, None)?;
        each.push(Measured::new(&source.task, &model_of(source, layers)?, &held)?.numbers);
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
