//! What is to be predicted: one of some classes, a number, or several of either.

use std::collections::HashMap;

use kiln_map::counted;
use serde::{Deserialize, Serialize};

use super::Table;
use super::cell;
use super::choices::{Choices, TargetKind};
use super::column::{Cell, Column, ColumnKind};
use super::format::CellFormat;
use super::reading::Reading;
use super::summary::{ColumnSummary, SummarisedColumn};
use super::unit::{Curve, Unit};
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
            TargetColumn::Classes { column, .. } | TargetColumn::Number { column, .. } => vec![column],
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
            TargetColumn::Number { .. } | TargetColumn::Numbers { .. } | TargetColumn::Several { .. } => &[],
        }
    }

    /// The columns that are classes, with these.
    pub fn class_columns(&self) -> Vec<(&str, &[String])> {
        match self {
            TargetColumn::Classes { column, names } => vec![(column, names)],
            TargetColumn::Number { .. } | TargetColumn::Numbers { .. } => Vec::new(),
            TargetColumn::Several { columns } => {
                columns.iter().flat_map(|one| one.target.class_columns()).collect()
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
            (TargetColumn::Classes { .. }, TargetColumn::Classes { .. }) => other.clone(),
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
            TargetColumn::Classes { .. } | TargetColumn::Number { .. } => Vec::new(),
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
            TargetColumn::Classes { .. } | TargetColumn::Number { .. } => {}
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
            TargetColumn::Classes { .. } | TargetColumn::Numbers { .. } | TargetColumn::Several { .. } => {
                None
            }
        };
        match columns.iter().map(number).collect() {
            Some(columns) => TargetColumn::Numbers { columns },
            None => TargetColumn::Several { columns },
        }
    }

    /// What is chosen to be predicted among columns, and how its cells are written where it is a single one.
    pub(super) fn chosen(
        columns: &[SummarisedColumn],
        choices: &Choices,
    ) -> Result<(Option<TargetColumn>, CellFormat)> {
        let names = &choices.targets;
        let twice =
            names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|other| other == *name));
        if let Some((_, name)) = twice {
            return Err(Error::new("the target is named twice").in_column(name));
        }
        let of_name = |name: &String| columns.iter().find(|column| column.name == *name);
        let targets: Vec<&SummarisedColumn> = names.iter().filter_map(of_name).collect();
        let kinds = choices.target_kinds.len();
        if kinds > 1 && kinds != targets.len() {
            let of = counted(targets.len(), "target");
            return Err(Error::new(format!(
                "{} are told of {of}; tell one for each",
                counted(kinds, "kind")
            )));
        }
        let fitted = |column: &SummarisedColumn, kind| {
            let fitted = TargetColumn::fit(&column.name, column.kind, &column.summary, kind)?;
            fitted.told(&column.summary, choices).map_err(|error| error.in_column(&column.name))
        };
        let chosen = match targets.as_slice() {
            [] => (None, CellFormat::PLAIN),
            [column] => (Some(fitted(column, choices.kind_of(0))?), column.format.clone()),
            several => {
                let one = |(at, column): (usize, &&SummarisedColumn)| {
                    let number = (column.kind == ColumnKind::Number).then_some(TargetKind::Number);
                    let target = fitted(column, choices.kind_of(at).or(number))?;
                    Ok(OneTarget { target, format: column.format.clone() })
                };
                let each = several.iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
                (Some(TargetColumn::several(each)), CellFormat::PLAIN)
            }
        };
        let has_numbers = chosen.0.as_ref().is_none_or(|target| !target.units().is_empty());
        if !has_numbers && (choices.interval.is_some() || !choices.logs.is_empty()) {
            return Err(Error::new(format!(
                "intervals and logarithms are of numbers, and {} is predicted by its classes; tell that it is a number, if it is one",
                names.join(", ")
            )));
        }
        Ok(chosen)
    }

    fn fit(
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
            return TargetColumn::number(name, summary, told).map_err(fault);
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

    /// A number as it is told to be learned; else what is wrong with it.
    fn number(
        name: &str,
        summary: &ColumnSummary,
        told: Option<TargetKind>,
    ) -> std::result::Result<TargetColumn, String> {
        let (mean, deviation, least) = (summary.numbers.mean, summary.numbers.deviation(), summary.least);
        if least == summary.most {
            return Err(format!("the target is {least} in all training rows; there is nothing to learn"));
        }
        if !mean.is_finite() || !deviation.is_finite() || deviation == 0.0 {
            return Err("the target's numbers are too large or too close to be standardised".to_string());
        }
        let (mean, deviation, curve) = match told {
            Some(TargetKind::RawNumber) => (0.0, 1.0, Curve::Straight),
            Some(TargetKind::Count) if least < 0.0 || !summary.whole => {
                return Err(format!(
                    "the target isn't a count: counts are whole numbers from 0 on, and the least of these is {least}; --task number takes any"
                ));
            }
            Some(TargetKind::Count) => (0.0, mean, Curve::Count),
            Some(TargetKind::Number | TargetKind::Classes) | None => (mean, deviation, Curve::Straight),
        };
        Ok(TargetColumn::Number { column: name.to_string(), mean, deviation, curve, interval: None })
    }

    /// The same with the interval and the logarithm that are chosen.
    fn told(self, summary: &ColumnSummary, choices: &Choices) -> Result<TargetColumn> {
        let TargetColumn::Number { column, mean, deviation, curve, .. } = self else { return Ok(self) };
        let interval = choices.interval;
        if let Some(share) = interval.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            return Err(Error::new(format!(
                "an interval holds a share of all between 0 and 1, such as 0.9, not {share}"
            )));
        }
        if interval.is_some() && curve == Curve::Count {
            return Err(Error::new(
                "a count is predicted by its mean, which has no interval; --task number has one",
            ));
        }
        if !choices.logs.contains(&column) {
            return Ok(TargetColumn::Number { column, mean, deviation, curve, interval });
        }
        if curve != Curve::Straight || (mean, deviation) == (0.0, 1.0) {
            return Err(Error::new("only a number that is standardised is learned by its logarithm"));
        }
        if summary.least < 0.0 {
            let least = summary.least;
            return Err(Error::new(format!(
                "only numbers from 0 on are learned by their logarithm, and the least is {least}"
            )));
        }
        let curve = Curve::Log { unit: summary.small(), factor: 1.0 };
        let bent = summary.moments(|number| curve.bend(number));
        let (mean, deviation) = (bent.mean, bent.deviation());
        Ok(TargetColumn::Number { column, mean, deviation, curve, interval })
    }

    /// The targets of some rows, `[rows, columns]`.
    pub(super) fn values(&self, table: &Table, rows: &[usize]) -> Result<Values> {
        let columns =
            self.columns().into_iter().map(|name| table.column(name)).collect::<Result<Vec<_>>>()?;
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
