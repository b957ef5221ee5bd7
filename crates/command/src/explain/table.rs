//! Rows of a table: what each column moves.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::Table;
use kiln_learn::explain::{ChangeOptions, ExplainMethod, ExplainOptions, Explainer, NearRow, RowExplanation};
use kiln_learn::model::About;
use kiln_learn::{Model, Prediction, Predictor};
use serde_json::Value;

use super::change::{self, Turned};
use super::shown::Movers;
use super::{ExplainFlags, near, shown};
use crate::out::{self, counted};
use crate::predict::lines::{best, object, quoted};
use crate::rows::{self, Questions};

/// So many rows are shown where nobody says how many.
const SHOWN: usize = 5;

/// The strongest columns that are shown of rows that are near.
const NAMED: usize = 5;

/// So many rows of a table are enough to compare with.
const ENOUGH: usize = 16;

pub(super) fn run(flags: &ExplainFlags, model: Model) -> Result<()> {
    let predictor = Predictor::new(model)?;
    let model = predictor.model();
    let about = model.about();
    let asked = rows::without_answers(about, &flags.inputs)?;
    asked.notes.iter().for_each(out::note);
    let table = asked.table.as_ref().context("the rows of a table are explained")?;
    let inputs = prepared(&asked)?;
    let names: Vec<&str> = table.names().collect();
    let options = ExplainOptions {
        class: flags.class.clone(),
        target: flags.target.clone(),
        method: flags.method,
        background: background(flags, about, inputs, table.len())?,
        orders: flags.orders,
        ..ExplainOptions::default()
    };
    let explainer = Explainer::new(model, &names, &options)?;
    if flags.orders.is_some() && explainer.method() != ExplainMethod::Sampled {
        bail!(
            "--orders is of sampled values, and the model has {} ones; leave it out, or add --method sampled",
            explainer.method().name()
        );
    }
    let count = match (flags.rows, flags.json || flags.out.is_some()) {
        (Some(rows), _) => rows.min(table.len()),
        (None, _) => table.len(),
    };
    if count == 0 {
        bail!("there are no rows to explain");
    }
    let width = inputs.len() / table.len().max(1);
    let why = explainer.explain(&inputs[..count * width])?;
    let said = predictor.predict(&asked.rows)?;
    let change = flags.change.options()?;
    let shown =
        if flags.json || flags.out.is_some() { count } else { count.min(flags.rows.unwrap_or(SHOWN)) };
    let turned = match &change {
        None => Vec::new(),
        Some(options) => (0..shown)
            .map(|row| change::of_row((&explainer, &predictor), table, row, options))
            .collect::<Result<Vec<_>>>()?,
    };
    let near = match flags.neighbours {
        None => Vec::new(),
        Some(count) => {
            (0..shown).map(|row| near::of_row(about, table, row, count)).collect::<Result<Vec<_>>>()?
        }
    };
    let told = ToldRows {
        explainer: &explainer,
        about,
        table,
        why: &why,
        said: &said,
        change: &change,
        turned,
        near,
    };
    match (&flags.out, flags.json) {
        (Some(path), _) => {
            kiln_files::write(path, told.csv()?).with_context(|| path.display().to_string())?;
            out::note(format_args!("{}: why {} are what they are", path.display(), counted(count, "answer")));
            Ok(())
        }
        (None, true) => told.objects(),
        (None, false) => told.print(flags.rows.unwrap_or(SHOWN), flags.top()),
    }
}

/// The numbers of prepared rows.
fn prepared(asked: &Questions) -> Result<&[f32]> {
    asked.rows.inputs().as_f32().context("the model's rows aren't single floats")
}

/// Rows to compare with: those of a file, or those that are asked about where the model knows none.
fn background(flags: &ExplainFlags, about: &About, inputs: &[f32], rows: usize) -> Result<Option<Vec<f32>>> {
    match &flags.background {
        Some(path) => {
            Ok(Some(prepared(&rows::without_answers(about, std::slice::from_ref(path))?)?.to_vec()))
        }
        None if about.background.is_none() && rows >= ENOUGH => {
            out::note(
                "the model's file has no rows to compare with: the mean of these rows is the baseline (--background TABLE)",
            );
            Ok(Some(inputs.to_vec()))
        }
        None => Ok(None),
    }
}

/// All that there is to tell.
struct ToldRows<'t> {
    explainer: &'t Explainer<'t>,
    about: &'t About,
    table: &'t Table,
    why: &'t [RowExplanation],
    said: &'t [Prediction],
    /// The change that was asked for, and what it came to row by row.
    change: &'t Option<ChangeOptions>,
    turned: Vec<Turned>,
    /// Rows of the training that are near each row.
    near: Vec<Vec<NearRow>>,
}

impl ToldRows<'_> {
    /// What a row has in each column; a column of one's own making has nothing.
    fn values(&self, row: usize) -> Vec<String> {
        let value = |name: &str| match self.table.column(name) {
            Ok(column) => column.cell(row).text().map_or("(missing)".to_string(), |text| text.into_owned()),
            Err(_) => String::new(),
        };
        self.explainer.columns().map(value).collect()
    }

    fn heading(&self, row: usize) -> String {
        let why = &self.why[row];
        let said = best(&self.said[row], &self.about.task, 1);
        let of = match (
            why.class.and_then(|class| self.explainer.classes().get(class)),
            self.explainer.target(),
        ) {
            (Some(class), "") => format!("{} of {class}", self.explainer.scale()),
            (Some(class), target) => format!("{} of {target}={class}", self.explainer.scale()),
            (None, _) => self.explainer.scale().to_string(),
        };
        format!("row {}: {said}  [{of}]", row + 1)
    }

    fn print(&self, rows: usize, top: usize) -> Result<()> {
        let mut text = String::new();
        for row in 0..self.why.len().min(rows) {
            let why = &self.why[row];
            writeln!(text, "{}", self.heading(row))?;
            let movers = Movers {
                names: self.explainer.columns().collect(),
                values: &self.values(row),
                moved: &why.moved,
                errors: &why.errors,
            };
            text += &movers.lines(top);
            writeln!(text, "{}", shown::sum(self.explainer, why))?;
            if let (Some(options), Some(turned)) = (self.change, self.turned.get(row)) {
                text += &turned.lines(options);
            }
            if let Some(near) = self.near.get(row) {
                let names: Vec<&str> = self.explainer.columns().collect();
                let strongest: Vec<&str> =
                    why.strongest().into_iter().take(NAMED).map(|at| names[at]).collect();
                text += &near::lines(self.about, near, &strongest)?;
            }
            text.push('\n');
        }
        if self.why.len() > 1 {
            writeln!(
                text,
                "over {}, either way and in the mean, columns move it by",
                counted(self.why.len(), "row")
            )?;
            text += &shown::means(self.explainer, self.why, top);
        }
        writeln!(text, "{}", self.how())?;
        out::text(text)
    }

    /// What the numbers are.
    fn how(&self) -> String {
        let all = "what all columns move adds up to the output less the baseline";
        match self.explainer.method() {
            ExplainMethod::Exact => format!(
                "exact Shapley values; {all}, which is the mean of what is said of rows like the training's"
            ),
            ExplainMethod::Gradients => {
                format!("integrated gradients; {all}, which is what is said of the mean row of the training")
            }
            ExplainMethod::Sampled => {
                let errors = self.why.iter().flat_map(|why| &why.errors);
                let (sum, count) = errors.fold((0.0, 0usize), |(sum, count), error| (sum + error, count + 1));
                format!(
                    "sampled Shapley values, off by ± {} in the mean (a standard error; --orders N for less); {all}",
                    shown::number(sum / count.max(1) as f64, false)
                )
            }
        }
    }

    fn objects(&self) -> Result<()> {
        let mut out = out::RowWriter::new();
        for (row, why) in self.why.iter().enumerate() {
            let mut line = object(None, &self.said[row], &self.about.task, row);
            if let Value::Object(fields) = &mut line {
                fields.extend(shown::object(self.explainer, why, &self.values(row)));
                if let Some(turned) = self.turned.get(row) {
                    fields.insert("change".to_string(), turned.json());
                }
                if let Some(near) = self.near.get(row) {
                    fields.insert("neighbours".to_string(), near::json(self.about, near)?);
                }
            }
            std::io::Write::write_fmt(&mut out, format_args!("{line}\n"))?;
        }
        Ok(std::io::Write::flush(&mut out)?)
    }

    /// A row for each: what was said, and what each column moves.
    fn csv(&self) -> Result<String> {
        let moved = self.explainer.columns().map(|name| quoted(&format!("moved by {name}")).into_owned());
        let names = ["row", "prediction", "class", "output", "baseline", "rest"].map(str::to_string);
        let mut text = names.into_iter().chain(moved).collect::<Vec<_>>().join(",") + "\n";
        for (row, why) in self.why.iter().enumerate() {
            let said = best(&self.said[row], &self.about.task, 1);
            let class =
                why.class.and_then(|class| self.explainer.classes().get(class)).map_or("", String::as_str);
            write!(
                text,
                "{},{},{},{},{},{:e}",
                row + 1,
                quoted(&said),
                quoted(class),
                why.output,
                why.baseline,
                why.rest()
            )?;
            why.moved.iter().try_for_each(|moved| write!(text, ",{moved}"))?;
            text.push('\n');
        }
        Ok(text)
    }
}
