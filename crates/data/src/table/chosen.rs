//! What is predicted of the columns that are chosen for it, by what training rows show and what is told.

use std::collections::BTreeSet;

use kiln_map::counted;

use super::choices::{Choices, TargetKind};
use super::column::ColumnKind;
use super::format::CellFormat;
use super::summary::{ColumnSummary, SummarisedColumn};
use super::target::{OneTarget, TargetColumn, labels_of};
use super::unit::Curve;
use crate::error::{Error, Result};

/// Up to how many different whole numbers are taken for classes.
const FEW: usize = 10;

impl TargetColumn {
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
                    if let TargetColumn::Labels { column, .. } = &target {
                        return Err(Error::new("a column of labels is predicted alone").in_column(column));
                    }
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
            Some(told) => matches!(told, TargetKind::Classes | TargetKind::Ordinal),
            None => kind != ColumnKind::Number || few,
        };
        if !classes && told != Some(TargetKind::Labels) {
            if kind != ColumnKind::Number {
                return Err(fault(format!("the target is a column of kind {kind}, not of numbers")));
            }
            return TargetColumn::number(name, summary, told).map_err(fault);
        }
        if told == Some(TargetKind::Labels) {
            return labels(name, summary).map_err(fault);
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
            _ => {
                let (column, ordered) = (name.to_string(), told == Some(TargetKind::Ordinal));
                Ok(TargetColumn::Classes { column, names, ordered })
            }
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
            Some(TargetKind::Number | TargetKind::Classes | TargetKind::Ordinal | TargetKind::Labels)
            | None => (mean, deviation, Curve::Straight),
        };
        Ok(TargetColumn::Number { column: name.to_string(), mean, deviation, curve, interval: None })
    }

    /// The same with the interval and the logarithm that are chosen.
    fn told(self, summary: &ColumnSummary, choices: &Choices) -> Result<TargetColumn> {
        let (column, mean, deviation, curve) = match self {
            TargetColumn::Number { column, mean, deviation, curve, .. } => (column, mean, deviation, curve),
            TargetColumn::Classes { column, names, ordered: true } => {
                let is_of_words = summary.numbers.count == 0;
                let names = in_order(names, is_of_words, &choices.order)?;
                return Ok(TargetColumn::Classes { column, names, ordered: true });
            }
            other => return Ok(other),
        };
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
}

/// Classes from little to much: as they are told, or as numbers are.
fn in_order(names: Vec<String>, are_words: bool, told: &[String]) -> Result<Vec<String>> {
    let all = names.join(", ");
    if told.is_empty() {
        return match are_words {
            false => Ok(names),
            true => Err(Error::new(format!(
                "which of the classes {all} are less and which are more isn't known; tell their order, from little to much"
            ))),
        };
    }
    match names.iter().find(|name| !told.contains(name)) {
        Some(name) => {
            Err(Error::new(format!("the order doesn't say where \"{name}\" stands; there are {all}")))
        }
        // A class that stands in other rows may not stand in these.
        None => Ok(told.iter().filter(|one| names.contains(one)).cloned().collect()),
    }
}

/// More labels than this are no labels.
const LABELS: usize = 1000;

/// The labels of lists, in order; what stands between them is the first of `;`, `|` and `,` that a cell has.
fn labels(name: &str, summary: &ColumnSummary) -> std::result::Result<TargetColumn, String> {
    let has = |sign: &char| summary.words.keys().any(|cell| cell.contains(*sign));
    let Some(separator) = [';', '|', ','].into_iter().find(has) else {
        return Err("no cell of the target has several labels, with ; or | or , between them; --task classes tells one of several".to_string());
    };
    let names: BTreeSet<&str> = summary.words.keys().flat_map(|cell| labels_of(cell, separator)).collect();
    if names.len() > LABELS {
        return Err(format!(
            "the target has {} labels, more than {LABELS}; is it the right column?",
            names.len()
        ));
    }
    let names = names.into_iter().map(str::to_string).collect();
    Ok(TargetColumn::Labels { column: name.to_string(), names, separator })
}
