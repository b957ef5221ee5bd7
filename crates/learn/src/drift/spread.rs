//! How the rows of a training are spread, as the model's file keeps it, and the values of a row that are counted.

use std::ops::Range;

use kiln_data::{Dataset, Encoding, Feature, Subset, TablePreparation};

use crate::Result;
use crate::model::{ColumnProfile, DataProfile, InputProfile, Model, PartMeaning, Task, TaskPart};
use crate::predictions::{all_probabilities_of, class_of};

/// More numbers than this say nothing more of how columns are spread.
const NUMBERS: usize = 4 << 20;

/// In so many parts amounts are counted; of tables of many columns in fewer.
const PARTS: usize = 32;
const MANY: usize = 500;
const FEW_PARTS: usize = 10;

/// A value of an input.
pub(super) type SeenValue = Option<f32>;

/// What the values of a column's inputs are, of a row that was prepared; nothing where an amount is missing.
pub(super) fn values_of(feature: &Feature, own: &[f32], is_missing: bool) -> Vec<SeenValue> {
    let or_kind =
        |other: usize| move |value: f32| if value == 0.0 || value == 1.0 { value } else { other as f32 };
    match &feature.encoding {
        Encoding::Number { .. } => vec![own.first().copied().filter(|_| !is_missing)],
        Encoding::Pair { .. } => vec![own.first().copied().map(or_kind(2))],
        Encoding::OneHot { vocabulary } => {
            let none = vocabulary.size();
            vec![Some(own.iter().position(|value| *value == 1.0).unwrap_or(none) as f32)]
        }
        Encoding::Codes { .. } => vec![own.first().copied()],
        Encoding::Text { .. } => own.iter().map(|value| Some(*value)).collect(),
        Encoding::Date { flag, .. } => {
            let values = own.len() - usize::from(*flag).min(own.len());
            own.iter().take(values).map(|value| Some(*value).filter(|_| !is_missing)).collect()
        }
    }
}

/// Of how many kinds each input of a column is; nothing where it is an amount.
fn kinds_of(feature: &Feature, width: usize) -> Vec<Option<usize>> {
    match &feature.encoding {
        Encoding::Number { .. } => vec![None],
        Encoding::Pair { .. } => vec![Some(3)],
        Encoding::OneHot { vocabulary } => vec![Some(vocabulary.size() + 1)],
        Encoding::Codes { vocabulary } => vec![Some(vocabulary.size())],
        Encoding::Text { words } => vec![Some(2); words.len()],
        Encoding::Date { flag, .. } => vec![None; width - usize::from(*flag).min(width)],
    }
}

/// Whether a column's last input says that it was missing.
fn flag_of(feature: &Feature) -> bool {
    match &feature.encoding {
        Encoding::Number { flag, .. } | Encoding::Pair { flag, .. } | Encoding::Date { flag, .. } => *flag,
        Encoding::OneHot { .. } | Encoding::Codes { .. } | Encoding::Text { .. } => false,
    }
}

/// The code of missing cells, where there is one.
fn missing_code(feature: &Feature) -> Option<f32> {
    match &feature.encoding {
        Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } if vocabulary.missing => {
            Some((vocabulary.size() - 1) as f32)
        }
        _ => None,
    }
}

/// The columns of a preparation and their inputs.
pub(super) fn columns(plan: &TablePreparation) -> Vec<(&Feature, Range<usize>)> {
    let groups = plan.groups();
    let place = |feature: &Feature| groups.iter().find(|(name, _)| *name == feature.column);
    plan.features().iter().filter_map(|feature| Some((feature, place(feature)?.1.clone()))).collect()
}

/// What a model says of a row, as values with names.
pub(super) fn said(task: &Task, outputs: &[f32]) -> Vec<(String, Option<usize>, f32)> {
    let parts = task.parts();
    let one = |part: &TaskPart| {
        let own =
            if parts.len() == 1 { outputs } else { outputs.get(part.outputs.clone()).unwrap_or_default() };
        let called = |what: &str| match part.name {
            "" => what.to_string(),
            name => format!("{what} of {name}"),
        };
        match part.meaning {
            PartMeaning::Classes(names) => {
                let all = all_probabilities_of(own);
                match names {
                    [_, second] => {
                        let second = called(&format!("probability of {second}"));
                        vec![(second, None, all.get(1).copied().unwrap_or(0.0))]
                    }
                    names => {
                        let most = all.iter().copied().fold(0.0, f32::max);
                        let class = class_of(own) as f32;
                        vec![
                            (called("predicted class"), Some(names.len()), class),
                            (called("probability of the likeliest class"), None, most),
                        ]
                    }
                }
            }
            PartMeaning::Number { interval, .. } => {
                let at = usize::from(interval.is_some());
                vec![(format!("predicted {}", part.name), None, own.get(at).copied().unwrap_or(f32::NAN))]
            }
        }
    };
    parts.iter().flat_map(one).collect()
}

/// How amounts are spread, in so many parts at most.
fn amounts(mut values: Vec<f32>, parts: usize) -> InputProfile {
    values.retain(|value| value.is_finite());
    values.sort_by(f32::total_cmp);
    let mut edges: Vec<f32> = Vec::new();
    for at in 1..parts {
        let place = values.len() * at / parts;
        let Some(low) = place.checked_sub(1).and_then(|before| values.get(before)).copied() else { continue };
        // Half-way to the next value, so that rounding decides nothing.
        let Some(high) = values.get(values.partition_point(|value| *value <= low)) else { continue };
        let edge = 0.5 * low + 0.5 * high;
        if edges.last().is_none_or(|last| *last < edge) {
            edges.push(edge);
        }
    }
    let range = [values.first(), values.last()].map(|value| value.copied().unwrap_or(0.0));
    let mut profile = InputProfile::Amounts { counts: vec![0; edges.len() + 1], edges, range };
    let places: Vec<usize> = values.iter().map(|value| profile.place(*value)).collect();
    if let InputProfile::Amounts { counts, .. } = &mut profile {
        places.into_iter().for_each(|place| counts[place] += 1);
    }
    profile
}

/// How an input is spread.
fn spread(values: Vec<SeenValue>, kinds: Option<usize>, parts: usize) -> InputProfile {
    match kinds {
        None => amounts(values.into_iter().flatten().collect(), parts),
        Some(kinds) => {
            let mut profile = InputProfile::Kinds { counts: vec![0; kinds] };
            let places: Vec<usize> = values.into_iter().flatten().map(|value| profile.place(value)).collect();
            if let InputProfile::Kinds { counts } = &mut profile {
                places.into_iter().for_each(|place| counts[place] += 1);
            }
            profile
        }
    }
}

impl DataProfile {
    /// What rows that were trained on are like, and what a model says of others.
    ///
    /// # Errors
    /// Where rows can't be read, or the model doesn't take them.
    pub fn of(
        model: &Model,
        plan: &TablePreparation,
        train: &dyn Dataset,
        held: &dyn Dataset,
    ) -> Result<DataProfile> {
        let width = plan.width();
        let rows = train.len().min(NUMBERS / width.max(1));
        // Evenly spread over all.
        let places: Vec<usize> = (0..rows).map(|at| at * train.len() / rows.max(1)).collect();
        let batch = train.gather(&places)?;
        let x: Vec<f32> =
            (0..batch.x.len()).filter_map(|at| batch.x.get(at)).map(|value| value as f32).collect();
        let parts = if width > MANY { FEW_PARTS } else { PARTS };
        let column = |(feature, at): (&Feature, Range<usize>)| {
            let kinds = kinds_of(feature, at.len());
            let (flagged, code) = (flag_of(feature), missing_code(feature));
            let (mut values, mut missing) = (vec![Vec::with_capacity(rows); kinds.len()], 0);
            for row in x.chunks_exact(width.max(1)) {
                let own = row.get(at.clone()).unwrap_or_default();
                let is_missing = flagged && own.last() == Some(&1.0);
                let seen = values_of(feature, own, is_missing);
                missing += u64::from(is_missing || code.is_some() && seen.first() == Some(&code));
                values.iter_mut().zip(seen).for_each(|(all, value)| all.push(value));
            }
            let inputs = values.into_iter().zip(kinds).map(|(values, kinds)| spread(values, kinds, parts));
            ColumnProfile {
                name: feature.column.clone(),
                rows: rows as u64,
                missing,
                inputs: inputs.collect(),
            }
        };
        let columns = columns(plan).into_iter().map(column).collect();
        Ok(DataProfile { columns, outputs: outputs(model, held)? })
    }
}

/// What a model says of rows that it didn't learn from.
fn outputs(model: &Model, held: &dyn Dataset) -> Result<Vec<ColumnProfile>> {
    let task = &model.about().task;
    let rows = held.len().min(NUMBERS / task.outputs().max(1));
    let mut all: Vec<(String, Option<usize>, Vec<SeenValue>)> = Vec::new();
    model.predict_each(&Subset::new(held, (0..rows).collect()), |batch, outputs| {
        let width = outputs.len() / batch.rows().max(1);
        for row in outputs.chunks(width.max(1)) {
            for (at, (name, kinds, value)) in said(task, row).into_iter().enumerate() {
                match all.get_mut(at) {
                    Some((_, _, values)) => values.push(Some(value)),
                    None => all.push((name, kinds, vec![Some(value)])),
                }
            }
        }
        Ok(())
    })?;
    let one = |(name, kinds, values): (String, Option<usize>, Vec<SeenValue>)| ColumnProfile {
        name,
        rows: rows as u64,
        missing: 0,
        inputs: vec![spread(values, kinds, PARTS)],
    };
    Ok(all.into_iter().map(one).collect())
}
