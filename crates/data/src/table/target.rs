//! What is to be predicted: one of some classes, a number, or several of either.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Table;
use super::cell;
use super::column::{Cell, Column, ColumnKind};
use super::format::CellFormat;
use super::reading::Reading;
use super::unit::{Curve, Unit};
use crate::error::{Error, Result};
use crate::values::{Form, Values};

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
        /// Whether they go from little to much.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ordered: bool,
    },
    /// Which of these labels a row has, any number of them: each by itself is a class, no or yes.
    Labels {
        /// The column, whose cells are lists.
        column: String,
        /// The labels' names.
        names: Vec<String>,
        /// What stands between the labels of a cell.
        separator: char,
    },
    /// A number, less the mean and by the deviation of the training rows.
    Number {
        /// The column.
        column: String,
        /// What is taken off.
        mean: f64,
        /// What it is divided by.
        deviation: f64,
        /// How it is bent before.
        #[serde(default, skip_serializing_if = "Curve::is_straight")]
        curve: Curve,
        /// The share of rows whose number lies between the lower and the upper of three that are predicted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<f64>,
    },
    /// Several numbers, each less its mean and by its deviation.
    Numbers {
        /// The columns, in the order of the outputs.
        columns: Vec<NumberTarget>,
    },
    /// Several columns, some of which are classes.
    Several {
        /// The columns, in the order of the outputs.
        columns: Vec<OneTarget>,
    },
}

/// One of several columns that are predicted, classes or a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneTarget {
    /// What is predicted of it.
    pub target: TargetColumn,
    /// How its cells are written.
    #[serde(default, skip_serializing_if = "CellFormat::is_plain")]
    pub format: CellFormat,
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
    /// How it is bent before.
    #[serde(default, skip_serializing_if = "Curve::is_straight")]
    pub curve: Curve,
    /// The share of rows whose number lies between the lower and the upper of three that are predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// How its cells are written.
    #[serde(default, skip_serializing_if = "CellFormat::is_plain")]
    pub format: CellFormat,
}

impl NumberTarget {
    /// What it is learned as.
    pub fn unit(&self) -> Unit {
        Unit { scale: self.deviation, offset: self.mean, curve: self.curve }
    }
}

impl TargetColumn {
    /// The columns it is in, in the order of the outputs.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            TargetColumn::Classes { column, .. }
            | TargetColumn::Labels { column, .. }
            | TargetColumn::Number { column, .. } => vec![column],
            TargetColumn::Numbers { columns } => {
                columns.iter().map(|target| target.column.as_str()).collect()
            }
            TargetColumn::Several { columns } => {
                columns.iter().flat_map(|one| one.target.columns()).collect()
            }
        }
    }

    /// The classes' names, where it is one of some.
    pub fn classes(&self) -> &[String] {
        match self {
            TargetColumn::Classes { names, .. } => names,
            TargetColumn::Labels { .. }
            | TargetColumn::Number { .. }
            | TargetColumn::Numbers { .. }
            | TargetColumn::Several { .. } => &[],
        }
    }

    /// The columns that are classes, with these.
    pub fn class_columns(&self) -> Vec<(&str, &[String])> {
        match self {
            TargetColumn::Classes { column, names, .. } => vec![(column, names)],
            TargetColumn::Labels { .. } | TargetColumn::Number { .. } | TargetColumn::Numbers { .. } => {
                Vec::new()
            }
            TargetColumn::Several { columns } => {
                columns.iter().flat_map(|one| one.target.class_columns()).collect()
            }
        }
    }

    /// Of each column, whether it is classes that go from little to much.
    pub fn are_ordered(&self) -> Vec<bool> {
        match self {
            TargetColumn::Classes { ordered, .. } => vec![*ordered],
            TargetColumn::Labels { names, .. } => vec![false; names.len()],
            TargetColumn::Number { .. } => vec![false],
            TargetColumn::Numbers { columns } => vec![false; columns.len()],
            TargetColumn::Several { columns } => {
                columns.iter().flat_map(|one| one.target.are_ordered()).collect()
            }
        }
    }

    /// What each number is learned as; classes, of which there may be some among several columns, have no unit.
    pub fn units(&self) -> Vec<Unit> {
        self.readers().iter().filter_map(TargetReader::unit).collect()
    }

    /// How each of its columns is read, in their order.
    fn readers(&self) -> Vec<TargetReader<'_>> {
        match self {
            TargetColumn::Classes { names, .. } => vec![TargetReader::Classes(names)],
            TargetColumn::Labels { names, .. } => names.iter().map(|_| TargetReader::Classes(&[])).collect(),
            TargetColumn::Number { mean, deviation, curve, .. } => {
                vec![TargetReader::Number(Unit { scale: *deviation, offset: *mean, curve: *curve })]
            }
            TargetColumn::Numbers { columns } => {
                columns.iter().map(|target| TargetReader::Number(target.unit())).collect()
            }
            TargetColumn::Several { columns } => {
                columns.iter().flat_map(|one| one.target.readers()).collect()
            }
        }
    }

    /// What a row's target is. Of several columns each class stands there by its number.
    pub fn form(&self) -> Form {
        match self {
            TargetColumn::Classes { names, .. } => Form::class(names.len()),
            TargetColumn::Labels { names, .. } => Form::numbers(&[names.len()]),
            TargetColumn::Number { .. } => Form::numbers(&[1]),
            TargetColumn::Numbers { columns } => Form::numbers(&[columns.len()]),
            TargetColumn::Several { columns } => Form::numbers(&[columns.len()]),
        }
    }

    /// What a row's values, one for each column, mean in the columns' own units; a class is its number.
    pub fn restore(&self, values: &[f64]) -> Vec<f64> {
        let each = self.readers().into_iter();
        let units = each.map(|reader| reader.unit().unwrap_or(Unit::PLAIN));
        values.iter().zip(units).map(|(value, unit)| unit.truth(*value)).collect()
    }

    /// The same with the classes of another of the same columns, that of more rows: numbers keep their own units.
    pub fn with_classes_of(self, other: &TargetColumn) -> TargetColumn {
        match (self, other) {
            (TargetColumn::Classes { .. }, TargetColumn::Classes { .. })
            | (TargetColumn::Labels { .. }, TargetColumn::Labels { .. }) => other.clone(),
            (TargetColumn::Several { columns }, TargetColumn::Several { columns: others }) => {
                let each = columns.into_iter().zip(others);
                let with = each.map(|(OneTarget { target, format }, other)| OneTarget {
                    target: target.with_classes_of(&other.target),
                    format,
                });
                TargetColumn::Several { columns: with.collect() }
            }
            (own, _) => own,
        }
    }

    /// How the cells of its columns are written, where it knows: the format of a single one is kept beside it.
    pub(super) fn formats(&self) -> Vec<(String, CellFormat)> {
        match self {
            TargetColumn::Classes { .. } | TargetColumn::Labels { .. } | TargetColumn::Number { .. } => {
                Vec::new()
            }
            TargetColumn::Numbers { columns } => {
                columns.iter().map(|target| (target.column.clone(), target.format.clone())).collect()
            }
            TargetColumn::Several { columns } => {
                let named = |one: &OneTarget| (one.target.columns().concat(), one.format.clone());
                columns.iter().map(named).collect()
            }
        }
    }

    /// The same of files that are written otherwise, where it is of several columns.
    pub(super) fn read_as(&mut self, told: &Reading) {
        match self {
            TargetColumn::Classes { .. } | TargetColumn::Labels { .. } | TargetColumn::Number { .. } => {}
            TargetColumn::Numbers { columns } => {
                columns.iter_mut().for_each(|one| one.format = told.retold(ColumnKind::Number, &one.format))
            }
            TargetColumn::Several { columns } => {
                for OneTarget { target, format } in columns {
                    let is_classes = target.class_columns().len() == 1;
                    let kind = if is_classes { ColumnKind::Category } else { ColumnKind::Number };
                    *format = told.retold(kind, format);
                }
            }
        }
    }

    /// Several columns, each of which would be one alone.
    pub(super) fn several(columns: Vec<OneTarget>) -> TargetColumn {
        let number = |one: &OneTarget| match &one.target {
            TargetColumn::Number { column, mean, deviation, curve, interval } => Some(NumberTarget {
                column: column.clone(),
                mean: *mean,
                deviation: *deviation,
                curve: *curve,
                interval: *interval,
                format: one.format.clone(),
            }),
            TargetColumn::Classes { .. }
            | TargetColumn::Labels { .. }
            | TargetColumn::Numbers { .. }
            | TargetColumn::Several { .. } => None,
        };
        match columns.iter().map(number).collect() {
            Some(columns) => TargetColumn::Numbers { columns },
            None => TargetColumn::Several { columns },
        }
    }

    /// The targets of some rows, `[rows, columns]`.
    pub(super) fn values(&self, table: &Table, rows: &[usize]) -> Result<Values> {
        let columns =
            self.columns().into_iter().map(|name| table.column(name)).collect::<Result<Vec<_>>>()?;
        if let (TargetColumn::Labels { names, separator, .. }, [column]) = (self, columns.as_slice()) {
            return labels(table, column, names, *separator, rows);
        }
        let readers = self.readers();
        let codes: Vec<HashMap<&str, i64>> = readers.iter().map(TargetReader::codes).collect();
        let each = || columns.iter().zip(&readers).zip(&codes);
        if let (TargetColumn::Classes { .. }, Some(((column, reader), codes))) = (self, each().next()) {
            let class = |&row: &usize| reader.class(table, column, codes, row);
            return Ok(Values::I64(rows.iter().map(class).collect::<Result<_>>()?));
        }
        let mut numbers = Vec::with_capacity(rows.len() * readers.len());
        for &row in rows {
            for ((column, reader), codes) in each() {
                numbers.push(match reader {
                    TargetReader::Classes(_) => reader.class(table, column, codes, row)? as f32,
                    TargetReader::Number(unit) => {
                        let number = number(table, column, row)?;
                        if unit.curve == Curve::Count && number < 0.0 {
                            let message = format!("{number} is no count: the target's are from 0 on");
                            return Err(fault(table, column, row, message));
                        }
                        unit.learned(number) as f32
                    }
                });
            }
        }
        Ok(Values::F32(numbers))
    }
}

/// The labels of a cell.
pub(super) fn labels_of(cell: &str, separator: char) -> impl Iterator<Item = &str> {
    cell.split(separator).map(str::trim).filter(|label| !label.is_empty())
}

/// Which of some labels rows have, `[rows, labels]`.
fn labels(
    table: &Table,
    column: &Column,
    names: &[String],
    separator: char,
    rows: &[usize],
) -> Result<Values> {
    let places: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
    let mut values = vec![0.0; rows.len() * names.len()];
    for (&row, values) in rows.iter().zip(values.chunks_exact_mut(names.len().max(1))) {
        let Some(cell) = column.cell(row).text() else { return Err(missing(table, column, row)) };
        for label in labels_of(&cell, separator) {
            let Some(value) = places.get(label).and_then(|&place| values.get_mut(place)) else {
                let message =
                    format!("\"{label}\" is no label that was in training, which were: {}", names.join(", "));
                return Err(fault(table, column, row, message));
            };
            *value = 1.0;
        }
    }
    Ok(Values::F32(values))
}

/// How cells of one target become values.
enum TargetReader<'a> {
    Classes(&'a [String]),
    Number(Unit),
}

impl TargetReader<'_> {
    fn unit(&self) -> Option<Unit> {
        match self {
            TargetReader::Classes(_) => None,
            TargetReader::Number(unit) => Some(*unit),
        }
    }

    fn codes(&self) -> HashMap<&str, i64> {
        match self {
            TargetReader::Classes(names) => names.iter().map(String::as_str).zip(0..).collect(),
            TargetReader::Number(..) => HashMap::new(),
        }
    }

    /// The class of a row.
    fn class(&self, table: &Table, column: &Column, codes: &HashMap<&str, i64>, row: usize) -> Result<i64> {
        let Some(word) = column.cell(row).text() else { return Err(missing(table, column, row)) };
        let TargetReader::Classes(names) = self else { return Ok(0) };
        let same = || cell::same_truth(names, &word).map(|class| class as i64);
        codes.get(word.as_ref()).copied().or_else(same).ok_or_else(|| {
            let some: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
            let some = some.join(", ");
            let message = format!("\"{word}\" is no class that was in training, which were: {some}");
            fault(table, column, row, message)
        })
    }
}

/// The number of a row.
fn number(table: &Table, column: &Column, row: usize) -> Result<f64> {
    match column.cell(row) {
        Cell::Missing => Err(missing(table, column, row)),
        cell => cell.number().ok_or_else(|| {
            let shown = cell.text().unwrap_or_default();
            fault(table, column, row, format!("the target \"{shown}\" is no number"))
        }),
    }
}

fn missing(table: &Table, column: &Column, row: usize) -> Error {
    let message = "the target is missing; leave such rows out (Table::rows_with)";
    fault(table, column, row, message.to_string())
}

fn fault(table: &Table, column: &Column, row: usize, message: String) -> Error {
    table.place(Some(row), Error::new(message).in_column(column.name()))
}
