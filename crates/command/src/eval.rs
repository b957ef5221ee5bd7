//! `kiln eval`: how good a model is on data with answers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::data::Dataset;
use kiln_learn::forecast::ForecastPreparation;
use kiln_learn::metrics::Confusion;
use kiln_learn::{Model, Preparation};
use serde_json::json;

use super::figures::entity_table;
use super::forecasts::{ForecastFigures, naive, plain};
use super::measure::{Measured, Of};
use super::reading::{ReadingFlags, open};
use super::{out, rows};

/// Say how good a model is on data with answers
///
/// Prints the figures that suit the task, and for classes a table with a line for each (of more than 100 the worst 20) and, of at most 20,
/// which was taken for which.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln eval runs/heart-1/model.kiln new.csv
  kiln eval runs/mnist-1/model.kiln data/mnist      the test images of MNIST's four files
  kiln eval runs/digits-1/model.kiln                digits that are made anew
  kiln eval model.kiln prices.xlsx --sheet 2023     another sheet than that of the training
  kiln eval runs/sales-1/model.kiln sales.csv       forecasts: the last steps of each series are held out
  kiln eval model.kiln data.csv --json")]
pub struct EvalFlags {
    /// The model's file
    model: PathBuf,

    /// A table with the column that is predicted, or images as for training
    data: Option<PathBuf>,

    #[command(flatten)]
    seen: rows::ViewFlags,

    #[command(flatten)]
    reading: ReadingFlags,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// More classes than this get no line each, and then so many of them do.
const MOST: usize = 100;
const WORST: usize = 20;

pub fn run(flags: EvalFlags) -> Result<()> {
    let mut model = rows::asked(&flags.model)?;
    flags.reading.tell(&mut model)?;
    let views = flags.seen.views(model.about())?;
    if let Preparation::Forecast(plan) = &model.about().preparation {
        let Some(data) = &flags.data else { bail!("say which series to evaluate on: kiln eval MODEL DATA") };
        return of_series(&model, plan, data, flags.json);
    }
    let set = rows::with_answers(model.about(), flags.data.as_deref())?;
    let measured = Measured::seen(&model.about().task, &model, &*set, views.as_ref())?;
    if flags.json {
        return out::line(
            json!({ "model": flags.model, "data": flags.data, "rows": set.len(), "numbers": measured.json() }),
        );
    }
    out::line(format_args!("{}  ({})", measured.line(), out::counted(set.len(), "row")))?;
    if measured.entities.kinds().next().is_some() {
        out::text(format!("\n{}", entity_table(&measured.entities)))?;
    }
    classes(&measured.of)
}

/// Prints how good the forecasts of the last horizon of each series are, and beside them the seasonal naive ones.
fn of_series(model: &Model, plan: &ForecastPreparation, data: &Path, json: bool) -> Result<()> {
    let windows = plan.held_out(&open(&plan.reading(), data)?).with_context(|| data.display().to_string())?;
    let outputs = windows.mixed(model.predict(&windows)?.outputs());
    let units = windows.units();
    let figures = ForecastFigures::of(&windows, &outputs, &units)?;
    let of_naive = ForecastFigures::of(&plain(&windows), &naive(&windows), &units)?;
    let horizon = out::counted(plan.horizon, "step");
    if json {
        return out::line(json!({
            "data": data, "series": windows.len(), "horizon": plan.horizon, "numbers": figures.whole_json(),
            "seasonal_naive": of_naive.json(),
        }));
    }
    out::line(format_args!("{}  (the last {horizon} of {} series)", figures.line(), windows.len()))?;
    out::line(format_args!("seasonal naive: {}", of_naive.line()))?;
    if windows.len() > 1 {
        let worst = figures.by_series.iter().rev().take(WORST);
        let width = figures.by_series.iter().map(|(key, ..)| key.chars().count()).max().unwrap_or(0).min(40);
        out::line(format_args!("\n{:width$}  MASE, the worst first", "series"))?;
        for (key, _, error) in worst {
            out::line(format_args!("{key:width$}  {error:.4}"))?;
        }
    }
    Ok(())
}

/// Prints the tables of classes, of several targets those of each.
fn classes(of: &Of) -> Result<()> {
    if let Of::Several(each) = of {
        for one in each {
            if let Of::Classes { .. } = one.measured.of {
                out::line(format_args!("\n{}", one.name))?;
                classes(&one.measured.of)?;
            }
        }
    }
    if let Of::Classes { names, confusion, .. } = of {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.len() {
            count if count > MOST => {
                let worst = confusion.report_of(&confusion.worst(WORST), &names);
                out::line(format_args!("\nthe worst {WORST} of {count} classes\n{worst}"))?;
            }
            _ => out::line(format_args!("\n{}", confusion.report(&names)))?,
        }
        if names.len() <= 20 {
            out::text(matrix(confusion, &names))?;
        }
    }
    Ok(())
}

/// Which class was taken for which, as a table.
pub fn matrix(confusion: &Confusion, names: &[&str]) -> String {
    let classes = confusion.classes();
    let name = |class: usize| names.get(class).map_or_else(|| class.to_string(), |name| name.to_string());
    let short = |class: usize| name(class).chars().take(8).collect::<String>();
    let left = (0..classes).map(|class| name(class).chars().count()).max().unwrap_or(0).max(5);
    let largest =
        (0..classes * classes).map(|at| confusion.count(at / classes, at % classes)).max().unwrap_or(0);
    let width = (0..classes)
        .map(|class| short(class).chars().count())
        .max()
        .unwrap_or(0)
        .max(largest.to_string().len())
        + 2;
    let mut text = format!("{:>left$}  taken for\n{:>left$}", "", "truth");
    (0..classes).for_each(|class| text += &format!("{:>width$}", short(class)));
    for truth in 0..classes {
        text += &format!("\n{:>left$}", name(truth));
        for predicted in 0..classes {
            let count = confusion.count(truth, predicted);
            let shown = if count == 0 { "·".to_string() } else { count.to_string() };
            text += &format!("{shown:>width$}");
        }
    }
    text + "\n"
}
