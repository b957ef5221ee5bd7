//! What is to be predicted: one of some classes, a number, or several.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Table;
use super::cell;
use super::choices::TargetKind;
use super::column::{Cell, Column, ColumnKind};
use super::format::CellFormat;
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
    /// Several numbers, each less its mean and by its deviation.
    Numbers {
        /// The columns, in the order of the outputs.
        columns: Vec<NumberTarget>,
    },
}

/// One of several numbers that are predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberTarget {
    /// The column.
    pub column: String,
    /// What is taken off.
    pub mean: f64,
    /// What it is divided by.
    pub deviation: f64,
    /// How its cells are written.
    #[serde(default, skip_serializing_if = "CellFormat::is_plain")]
    pub format: CellFormat,
}

impl TargetColumn {
    /// The columns it is in, in the order of the outputs.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            TargetColumn::Classes { column, .. } | TargetColumn::Number { column, .. } => vec![column],
            TargetColumn::Numbers { columns } => {
                columns.iter().map(|target| target.column.as_str()).collect()
            }
        }
    }

    /// The classes' names, where it is one of some.
    pub fn classes(&self) -> &[String] {
        match self {
            TargetColumn::Classes { names, .. } => names,
            TargetColumn::Number { .. } | TargetColumn::Numbers { .. } => &[],
        }
    }

    /// The mean and the deviation of each number.
    pub fn units(&self) -> Vec<(f64, f64)> {
        match self {
            TargetColumn::Classes { .. } => Vec::new(),
            TargetColumn::Number { mean, deviation, .. } => vec![(*mean, *deviation)],
            TargetColumn::Numbers { columns } => {
                columns.iter().map(|target| (target.mean, target.deviation)).collect()
            }
        }
    }

    /// What a row's target is.
    pub fn form(&self) -> Form {
        match self {
            TargetColumn::Classes { names, .. } => Form::class(names.len()),
            TargetColumn::Number { .. } => Form::numbers(&[1]),
            TargetColumn::Numbers { columns } => Form::numbers(&[columns.len()]),
        }
    }

    /// What a row's predictions mean in the columns' own units; a class is its number.
    pub fn restore(&self, predictions: &[f64]) -> Vec<f64> {
        let units = self.units().into_iter().chain(std::iter::repeat((0.0, 1.0)));
        predictions
            .iter()
            .zip(units)
            .map(|(prediction, (mean, deviation))| prediction * deviation + mean)
            .collect()
    }

    /// Several columns of numbers, each of which would be one alone.
    pub(super) fn several(columns: Vec<(TargetColumn, CellFormat)>) -> Result<TargetColumn> {
        let number = |(target, format)| match target {
            TargetColumn::Number { column, mean, deviation } => {
                Ok(NumberTarget { column, mean, deviation, format })
            }
            other => {
                let message = "several targets are numbers, and this one is words; a model tells the classes of one column apart, so train one for each";
                Err(Error::new(message).in_column(other.columns().concat()))
            }
        };
        Ok(TargetColumn::Numbers { columns: columns.into_iter().map(number).collect::<Result<_>>()? })
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

    /// The targets of some rows, `[rows, outputs]`.
    pub(super) fn values(&self, table: &Table, rows: &[usize]) -> Result<Values> {
        let columns =
            self.columns().into_iter().map(|name| table.column(name)).collect::<Result<Vec<_>>>()?;
        let fault = |column: &Column, row: usize, message: String| {
            Err(table.place(Some(row), Error::new(message).in_column(column.name())))
        };
        let missing = "the target is missing; leave such rows out (Table::rows_with)";
        if let (TargetColumn::Classes { names, .. }, [column]) = (self, columns.as_slice()) {
            let codes: HashMap<&str, i64> = names.iter().map(String::as_str).zip(0..).collect();
            let mut classes = Vec::with_capacity(rows.len());
            for &row in rows {
                let Some(word) = column.cell(row).text() else {
                    return fault(column, row, missing.to_string());
                };
                let same = || cell::same_truth(names, &word).map(|class| class as i64);
                let Some(code) = codes.get(word.as_ref()).copied().or_else(same) else {
                    let some: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
                    return fault(
                        column,
                        row,
                        format!(
                            "\"{word}\" is no class that was in training, which were: {}",
                            some.join(", ")
                        ),
                    );
                };
                classes.push(code);
            }
            return Ok(Values::I64(classes));
        }
        let units = self.units();
        let mut numbers = Vec::with_capacity(rows.len() * units.len());
        for &row in rows {
            for (column, (mean, deviation)) in columns.iter().zip(&units) {
                match column.cell(row) {
                    Cell::Missing => return fault(column, row, missing.to_string()),
                    cell => match cell.number() {
                        Some(value) => numbers.push(((value - mean) / deviation) as f32),
                        None => {
                            let shown = cell.text().unwrap_or_default();
                            return fault(column, row, format!("the target \"{shown}\" is no number"));
                        }
                    },
                }
            }
        }
        Ok(Values::F32(numbers))
    }
}
