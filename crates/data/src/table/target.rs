//! What is to be predicted: one of some classes, or a number.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Table;
use super::cell;
use super::choices::TargetKind;
use super::column::{Cell, Column, ColumnKind};
use super::summary::ColumnSummary;
use crate::error::{Error, Result};
use crate::values::{Form, Values};

/// Up to how many different whole numbers are taken for classes.
const FEW: usize = 10;

/// The target of a preparation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetColumn {
    /// One of these classes, in order.
    Classes {
        /// The column.
        column: String,
        /// The classes' names.
        names: Vec<String>,
    },
    /// A number, less the mean and by the deviation of the training rows.
    Number {
        /// The column.
        column: String,
        /// What is taken off.
        mean: f64,
        /// What it is divided by.
        deviation: f64,
    },
}

impl TargetColumn {
    /// The column it is in.
    pub fn column(&self) -> &str {
        match self {
            TargetColumn::Classes { column, .. } | TargetColumn::Number { column, .. } => column,
        }
    }

    /// What a row's target is.
    pub fn form(&self) -> Form {
        match self {
            TargetColumn::Classes { names, .. } => Form::class(names.len()),
            TargetColumn::Number { .. } => Form::numbers(&[1]),
        }
    }

    /// What a prediction means in the column's own unit; a class is its number.
    pub fn restore(&self, prediction: f64) -> f64 {
        match self {
            TargetColumn::Classes { .. } => prediction,
            TargetColumn::Number { mean, deviation, .. } => prediction * deviation + mean,
        }
    }

    pub(super) fn fit(
        name: &str,
        kind: ColumnKind,
        summary: &ColumnSummary,
        told: Option<TargetKind>,
    ) -> Result<TargetColumn> {
        let fault = |message: String| Error::new(message).in_column(name);
        if kind == ColumnKind::Date {
            return Err(fault("a date can't be the target; make it a number".to_string()));
        }
        if summary.present() == 0 {
            return Err(fault("the target has no value in the training rows".to_string()));
        }
        let few = summary.whole && summary.distinct().is_some_and(|distinct| distinct <= FEW);
        let classes = match told {
            Some(told) => told == TargetKind::Classes,
            None => kind != ColumnKind::Number || few,
        };
        if !classes {
            if kind != ColumnKind::Number {
                return Err(fault(format!("the target is a column of kind {kind}, not of numbers")));
            }
            let (mean, deviation) = (summary.numbers.mean, summary.numbers.deviation());
            if summary.least == summary.most {
                let always = summary.least;
                return Err(fault(format!(
                    "the target is {always} in all training rows; there is nothing to learn"
                )));
            }
            if !mean.is_finite() || !deviation.is_finite() || deviation == 0.0 {
                return Err(fault(
                    "the target's numbers are too large or too close to be standardised".to_string(),
                ));
            }
            let (mean, deviation) =
                if told == Some(TargetKind::RawNumber) { (0.0, 1.0) } else { (mean, deviation) };
            return Ok(TargetColumn::Number { column: name.to_string(), mean, deviation });
        }
        let counts = summary.counts();
        let names: Vec<String> = counts.unwrap_or_default().into_iter().map(|(word, _)| word).collect();
        let (count, present) = (names.len(), summary.present());
        match names.as_slice() {
            [only] => Err(fault(format!(
                "the target is \"{only}\" in all training rows; there is nothing to learn"
            ))),
            names if names.is_empty() || count > FEW && 2 * count as u64 > present => Err(fault(format!(
                "the target has too many different values for classes in {present} training rows; is it the right column?"
            ))),
            _ => Ok(TargetColumn::Classes { column: name.to_string(), names }),
        }
    }

    /// The targets of some rows.
    pub(super) fn values(&self, table: &Table, column: &Column, rows: &[usize]) -> Result<Values> {
        let fault = |row: usize, message: String| {
            Err(table.place(Some(row), Error::new(message).in_column(self.column())))
        };
        let missing = "the target is missing; leave such rows out (Table::rows_with)";
        match self {
            TargetColumn::Classes { names, .. } => {
                let codes: HashMap<&str, i64> = names.iter().map(String::as_str).zip(0..).collect();
                let mut classes = Vec::with_capacity(rows.len());
                for &row in rows {
                    let Some(word) = column.cell(row).text() else { return fault(row, missing.to_string()) };
                    let same = || cell::same_truth(names, &word).map(|class| class as i64);
                    let Some(code) = codes.get(word.as_ref()).copied().or_else(same) else {
                        let some: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
                        return fault(
                            row,
                            format!(
                                "\"{word}\" is no class that was in training, which were: {}",
                                some.join(", ")
                            ),
                        );
                    };
                    classes.push(code);
                }
                Ok(Values::I64(classes))
            }
            TargetColumn::Number { mean, deviation, .. } => {
                let mut numbers = Vec::with_capacity(rows.len());
                for &row in rows {
                    match column.cell(row) {
                        Cell::Missing => return fault(row, missing.to_string()),
                        cell => match cell.number() {
                            Some(value) => numbers.push(((value - mean) / deviation) as f32),
                            None => {
                                let shown = cell.text().unwrap_or_default();
                                return fault(row, format!("the target \"{shown}\" is no number"));
                            }
                        },
                    }
                }
                Ok(Values::F32(numbers))
            }
        }
    }
}
