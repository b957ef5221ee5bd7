//! The smallest change that would turn an answer.

use anyhow::Result;
use clap::Args;
use kiln_learn::Predictor;
use kiln_learn::data::{RawCell, Table};
use kiln_learn::explain::{ChangeGoal, ChangeOptions, Explainer, RowChange};
use serde_json::{Value, json};

use crate::out::counted;
use crate::predict::lines::best;

/// What is asked of the smallest change.
#[derive(Args)]
pub(super) struct ChangeFlags {
    /// Say which smallest change of a row would turn its class into another, within what training had and verified by the model
    #[arg(long, help_heading = "Changes", conflicts_with_all = ["change_to", "above", "below"])]
    change: bool,

    /// The same, into this class
    #[arg(long, help_heading = "Changes", value_name = "CLASS", conflicts_with_all = ["above", "below"])]
    change_to: Option<String>,

    /// The same, so that the number comes above this
    #[arg(
        long,
        help_heading = "Changes",
        value_name = "VALUE",
        allow_negative_numbers = true,
        conflicts_with = "below"
    )]
    above: Option<f64>,

    /// The same, so that the number comes below this
    #[arg(long, help_heading = "Changes", value_name = "VALUE", allow_negative_numbers = true)]
    below: Option<f64>,

    /// Columns that stay as they are, with commas between them
    #[arg(long, help_heading = "Changes", value_name = "COLUMNS", value_delimiter = ',')]
    fixed: Vec<String>,

    /// How many columns may change at most
    #[arg(long, help_heading = "Changes", value_name = "N", default_value_t = 3)]
    change_most: usize,
}

/// What a change came to.
pub(super) struct Turned {
    change: Option<RowChange>,
    /// What the model says of the changed row.
    said: String,
}

impl ChangeFlags {
    /// What is asked for, if anything is.
    pub(super) fn options(&self) -> Result<Option<ChangeOptions>> {
        let goal = match (self.change, &self.change_to, self.above, self.below) {
            (true, ..) => ChangeGoal::AnotherClass,
            (_, Some(class), ..) => ChangeGoal::Class(class.clone()),
            (_, _, Some(bound), _) => ChangeGoal::Above(bound),
            (_, _, _, Some(bound)) => ChangeGoal::Below(bound),
            (false, None, None, None) if !self.fixed.is_empty() => {
                anyhow::bail!("--fixed is for a change; say which: --change, --change-to, --above or --below")
            }
            (false, None, None, None) => return Ok(None),
        };
        let fixed = self.fixed.iter().map(|name| name.trim().to_string()).collect();
        Ok(Some(ChangeOptions { goal, fixed, most: self.change_most }))
    }
}

/// The smallest change of a row of a table, and what the model says of the row when it is changed so.
pub(super) fn of_row(
    (explainer, predictor): (&Explainer, &Predictor),
    table: &Table,
    row: usize,
    options: &ChangeOptions,
) -> Result<Turned> {
    let needed = explainer.needed()?;
    let texts = texts(table, &needed, row)?;
    let cells: Vec<RawCell> = texts.iter().map(GivenCell::raw).collect();
    let change = explainer.change(&cells, options)?;
    let said = match &change {
        None => String::new(),
        Some(change) => {
            let value = |(name, cell): (&String, &RawCell)| {
                let own = change.columns.iter().find(|(changed, ..)| changed == name);
                own.map_or_else(|| cell.text().into_owned(), |(_, _, to)| to.clone())
            };
            let values: Vec<String> = needed.iter().zip(&cells).map(value).collect();
            // What is said of the cells as a person would write them.
            let answer = predictor.predict_row(needed.iter().zip(values.iter().map(String::as_str)))?;
            best(&answer, &predictor.model().about().task, 1)
        }
    };
    Ok(Turned { change, said })
}

/// A cell of a table that a person gave.
pub(super) enum GivenCell {
    Number(f64),
    Text(String),
    Missing,
}

impl GivenCell {
    pub(super) fn raw(&self) -> RawCell<'_> {
        match self {
            GivenCell::Number(number) => RawCell::Number(*number),
            GivenCell::Text(text) => RawCell::Text(text),
            GivenCell::Missing => RawCell::Missing,
        }
    }
}

/// The cells of a row in these columns.
pub(super) fn texts(table: &Table, columns: &[String], row: usize) -> Result<Vec<GivenCell>> {
    let one = |name: &String| {
        let cell = table.column(name)?.cell(row);
        Ok(match (cell, cell.text()) {
            (kiln_learn::data::Cell::Number(number), _) => GivenCell::Number(number),
            (_, Some(text)) => GivenCell::Text(text.into_owned()),
            (_, None) => GivenCell::Missing,
        })
    };
    columns.iter().map(one).collect()
}

impl Turned {
    /// As lines.
    pub(super) fn lines(&self, options: &ChangeOptions) -> String {
        let goal = match &options.goal {
            ChangeGoal::AnotherClass => "to turn it".to_string(),
            ChangeGoal::Class(class) => format!("to make it {class}"),
            ChangeGoal::Above(bound) => format!("to come above {bound}"),
            ChangeGoal::Below(bound) => format!("to come below {bound}"),
        };
        match &self.change {
            None => format!(
                "  {goal}: no change of {} at most was found, within what training had\n",
                counted(options.most, "column")
            ),
            Some(change) if change.columns.is_empty() => format!("  {goal}: nothing needs to change\n"),
            Some(change) => {
                let each =
                    change.columns.iter().map(|(name, from, to)| format!("{name} from {from} to {to}"));
                format!("  {goal}: {}; then {}\n", each.collect::<Vec<_>>().join(", "), self.said)
            }
        }
    }

    /// As an object; null where there is none.
    pub(super) fn json(&self) -> Value {
        match &self.change {
            None => Value::Null,
            Some(change) => {
                let each = change
                    .columns
                    .iter()
                    .map(|(name, from, to)| json!({ "column": name, "from": from, "to": to }));
                json!({ "columns": each.collect::<Vec<_>>(), "then": self.said })
            }
        }
    }
}
