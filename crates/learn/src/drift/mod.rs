//! Whether new rows are like those that a model was trained on: column by column, and in what the model says.
//!
//! A training keeps how its columns are spread ([`DataProfile`]); new rows, in as many parts as they come in, are counted into the same parts
//! ([`NewRows`]) and held against it ([`NewRows::compared`]). What differs by more than chance is named, so that the chance of naming anything
//! where nothing differs is at most the rate that was asked (Holm's correction over all columns and outputs).

mod spread;
mod statistics;

use std::collections::BTreeMap;

use kiln_data::{Cell, Encoding, Feature, Table, TablePreparation};
use serde::Serialize;

use crate::model::{ColumnProfile, DataProfile, InputProfile, Model};
use crate::{Error, Result};
use spread::{SeenValue, columns, said, values_of};
use statistics::{
    beyond_probability, chi_square_probability, fisher_probability, holm, ks_distance, ks_probability,
    stability, total_variation, unseen_probability,
};

/// How far beyond the training's range a value may be before it counts as such, as a share of the range: rounding decides nothing.
const SLACK: f32 = 1e-3;

/// New rows, counted into the parts of a training's.
pub struct NewRows<'m> {
    model: &'m Model,
    plan: &'m TablePreparation,
    profile: &'m DataProfile,
    columns: Vec<Counted>,
    outputs: Vec<Counted>,
    rows: u64,
}

/// What new rows have in a column.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// Of each input, how many rows are in each of its parts.
    counts: Vec<Vec<u64>>,
    missing: u64,
    /// How many amounts are below and above all of the training's.
    beyond: [u64; 2],
    /// The least and the largest amount.
    range: Option<[f32; 2]>,
    /// Words that the training didn't have, and how often they come.
    unseen: BTreeMap<String, u64>,
}

impl Counted {
    fn of(profile: &ColumnProfile) -> Counted {
        let counts = profile.inputs.iter().map(|input| vec![0; input.counts().len()]).collect();
        Counted { counts, ..Counted::default() }
    }

    fn add(&mut self, profile: &ColumnProfile, values: &[SeenValue]) {
        for ((input, counts), value) in profile.inputs.iter().zip(&mut self.counts).zip(values) {
            let Some(value) = value.filter(|value| !value.is_nan()) else { continue };
            if let Some(count) = counts.get_mut(input.place(value)) {
                *count += 1;
            }
        }
        // Amounts alone have ends; of dates each part has some of its own.
        let ([InputProfile::Amounts { range, .. }], [Some(value)]) = (profile.inputs.as_slice(), values)
        else {
            return;
        };
        let slack = SLACK * (range[1] - range[0]);
        self.beyond[0] += u64::from(*value < range[0] - slack);
        self.beyond[1] += u64::from(*value > range[1] + slack);
        let own = self.range.unwrap_or([*value; 2]);
        self.range = Some([own[0].min(*value), own[1].max(*value)]);
    }
}

/// More words than this aren't kept.
const UNSEEN: usize = 1000;

impl<'m> NewRows<'m> {
    /// None yet, for a model that knows what it was trained on.
    ///
    /// # Errors
    /// Where it doesn't: it takes no table, or was trained by a kiln that kept nothing of it.
    pub fn of(model: &'m Model) -> Result<NewRows<'m>> {
        let about = model.about();
        let Some(plan) = about.preparation.table() else {
            return Err(Error::Preparation(
                "new rows are held against those of a training where these are of a table, and the model takes something else".to_string(),
            ));
        };
        let Some(profile) = &about.profile else {
            return Err(Error::Preparation(
                "the model's file doesn't say how the columns of its training were spread; train it again with this kiln".to_string(),
            ));
        };
        let known = columns(plan);
        let fits = |column: &ColumnProfile| known.iter().any(|(feature, _)| feature.column == column.name);
        if !profile.columns.iter().all(fits) {
            return Err(Error::Preparation(
                "the model's columns aren't those that its training kept".to_string(),
            ));
        }
        let counted = |columns: &[ColumnProfile]| columns.iter().map(Counted::of).collect();
        let (columns, outputs) = (counted(&profile.columns), counted(&profile.outputs));
        Ok(NewRows { model, plan, profile, columns, outputs, rows: 0 })
    }

    /// Takes rows of a table.
    ///
    /// # Errors
    /// Where it lacks a column, or a cell is of another kind than in training.
    pub fn add(&mut self, table: &Table) -> Result<()> {
        let inputs = self.plan.apply_inputs(table)?;
        self.rows += inputs.rows as u64;
        for (feature, at) in columns(self.plan) {
            let pair = self.profile.columns.iter().zip(&mut self.columns);
            let Some((profile, counted)) =
                pair.into_iter().find(|(profile, _)| profile.name == feature.column)
            else {
                continue;
            };
            let column = table.column(&feature.column)?;
            let unseen = unseen_kind(feature, profile);
            for (row, values) in inputs.values.chunks_exact(inputs.width.max(1)).enumerate() {
                let cell = column.cell(row);
                let is_missing = cell == Cell::Missing;
                counted.missing += u64::from(is_missing);
                let own = values.get(at.clone()).unwrap_or_default();
                let seen = values_of(feature, own, is_missing);
                if let ([Some(kind)], Some(unseen)) = (seen.as_slice(), unseen)
                    && *kind == unseen as f32
                    && let Some(word) = cell.text()
                    && (counted.unseen.len() < UNSEEN || counted.unseen.contains_key(word.as_ref()))
                {
                    *counted.unseen.entry(word.into_owned()).or_default() += 1;
                }
                counted.add(profile, &seen);
            }
        }
        if self.outputs.is_empty() {
            return Ok(());
        }
        let rows = self.model.about().of_table(table)?.rows;
        let given = self.model.predict(&rows)?;
        for row in given.outputs().chunks(given.width().max(1)) {
            let values = said(&self.model.about().task, row);
            let pairs = self.outputs.iter_mut().zip(&self.profile.outputs);
            pairs
                .zip(values)
                .for_each(|((counted, profile), (_, _, value))| counted.add(profile, &[Some(value)]));
        }
        Ok(())
    }

    /// What differs from the training by more than chance: the chance of finding anything where nothing does is `rate` at most.
    pub fn compared(&self, rate: f64) -> Drift {
        let of = |profiles: &[ColumnProfile], counted: &[Counted], are_outputs: bool| -> Vec<ColumnDrift> {
            let one = |(profile, counted)| column_drift(self.plan, profile, counted, self.rows, are_outputs);
            profiles.iter().zip(counted).map(one).collect()
        };
        let mut columns = of(&self.profile.columns, &self.columns, false);
        let mut outputs = of(&self.profile.outputs, &self.outputs, true);
        let probabilities: Vec<f64> =
            columns.iter().chain(&outputs).map(|column| column.probability).collect();
        for (column, adjusted) in columns.iter_mut().chain(&mut outputs).zip(holm(&probabilities)) {
            (column.adjusted, column.drifted) = (adjusted, adjusted < rate);
        }
        let order = |a: &ColumnDrift, b: &ColumnDrift| {
            let probability = a.adjusted.total_cmp(&b.adjusted);
            b.drifted.cmp(&a.drifted).then(b.effect.total_cmp(&a.effect)).then(probability)
        };
        columns.sort_by(order);
        outputs.sort_by(order);
        let drifted = columns.iter().chain(&outputs).any(|column| column.drifted);
        Drift { rows: self.rows, rate, drifted, columns, outputs }
    }
}

/// The kind of words that a training didn't have, where no word that it had is of that kind.
fn unseen_kind(feature: &Feature, profile: &ColumnProfile) -> Option<usize> {
    let (kind, missing) = match &feature.encoding {
        Encoding::Pair { .. } => (2, profile.missing),
        Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } if vocabulary.other => {
            (vocabulary.words.len(), 0)
        }
        Encoding::OneHot { vocabulary } => (vocabulary.size(), 0),
        _ => return None,
    };
    let counts = profile.inputs.first()?.counts();
    counts.get(kind).is_some_and(|count| *count == missing).then_some(kind)
}

/// How many rows of a training and new ones are of each kind, each word that the training didn't have a kind of its own: a word that is only in
/// the new rows is then told apart as one is that is only in the training.
fn told_apart(trained: &[u64], new: &Counted, counts: &[u64], unseen: Option<usize>) -> [Vec<u64>; 2] {
    let mut both = [trained.to_vec(), counts.to_vec()];
    if let Some(kind) = unseen {
        let words: u64 = new.unseen.values().sum();
        both[1][kind] = both[1][kind].saturating_sub(words);
        both[1].extend(new.unseen.values());
        both[0].resize(both[1].len(), 0);
    }
    both
}

/// How many rows of a training and new ones are of each kind. Where words were left out for how seldom they came, those that weren't by little came
/// more often than they will again: they count with the others, up to words that come far more often.
fn with_others(feature: Option<&Feature>, trained: &[u64], new: &[u64]) -> [Vec<u64>; 2] {
    let mut both = [trained.to_vec(), new.to_vec()];
    let words = match feature.map(|feature| &feature.encoding) {
        Some(Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary }) if vocabulary.other => {
            vocabulary.words.len()
        }
        _ => return both,
    };
    let Some(others) = trained.get(words).copied().filter(|others| *others > 0) else { return both };
    let mut order: Vec<usize> = (0..words).collect();
    order.sort_by_key(|&at| trained[at]);
    // None of the others came more often.
    let mut level = others;
    for at in order {
        if trained[at] as f64 > level as f64 + 3.0 + 4.0 * (level as f64).sqrt() {
            break;
        }
        level = trained[at];
        both.iter_mut().for_each(|counts| counts[words] += std::mem::take(&mut counts[at]));
    }
    both
}

/// How new rows differ from those of a training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// How many new rows there are.
    pub rows: u64,
    /// How likely it may be that something is named where nothing differs.
    pub rate: f64,
    /// Whether anything differs by more than chance.
    pub drifted: bool,
    /// The columns, those that differ first, the most first.
    pub columns: Vec<ColumnDrift>,
    /// What the model says.
    pub outputs: Vec<ColumnDrift>,
}

/// How a column differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// Its name.
    pub column: String,
    /// Whether by more than chance.
    pub drifted: bool,
    /// How likely as much is by chance, of this column alone,
    pub probability: f64,
    /// and with all others that were looked at.
    pub adjusted: f64,
    /// What differs the most: `spread`, `missing`, `range` or `unseen`.
    pub what: &'static str,
    /// How much, from 0 to 1: of amounts the distance of Kolmogorov and Smirnov, of kinds half of what all shares differ by.
    pub effect: f64,
    /// The population stability index of what differs the most.
    pub stability: f64,
    /// The shares of rows in which it is missing: of the training, and new.
    pub missing: [f64; 2],
    /// Of amounts, the middle one of the training, and new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<[f64; 2]>,
    /// Of amounts, the least and the largest of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_range: Option<[f64; 2]>,
    /// Of amounts, the least and the largest new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// How many rows are below and above all of the training's.
    pub beyond: [u64; 2],
    /// Words that the training didn't have, and how often they come, the most frequent first.
    pub unseen: Vec<(String, u64)>,
}

fn column_drift(
    plan: &TablePreparation,
    profile: &ColumnProfile,
    new: &Counted,
    rows: u64,
    is_output: bool,
) -> ColumnDrift {
    let feature = plan.features().iter().find(|feature| feature.column == profile.name && !is_output);
    // How likely, how much, and what.
    let mut tests: Vec<(f64, f64, &'static str)> = Vec::new();
    let mut spreads = (0.0, 0.0);
    let unseen = feature.and_then(|feature| unseen_kind(feature, profile));
    for (input, counts) in profile.inputs.iter().zip(&new.counts) {
        let [trained, counts] = with_others(feature, input.counts(), counts);
        let sums = [&trained, &counts].map(|counts| counts.iter().sum::<u64>());
        let (probability, effect) = match input {
            _ if sums.contains(&0) => (1.0, 0.0),
            InputProfile::Amounts { .. } => {
                let distance = ks_distance(&trained, &counts);
                (ks_probability(distance, sums), distance)
            }
            InputProfile::Kinds { .. } => {
                let [trained, counts] = told_apart(&trained, new, &counts, unseen);
                if let Some(most) = new.unseen.values().max() {
                    let probability = unseen_probability([&trained, &counts], *most, [profile.rows, rows]);
                    let share = new.unseen.values().sum::<u64>() as f64 / rows as f64;
                    tests.push((probability, share, "unseen"));
                }
                (chi_square_probability(&trained, &counts), total_variation(&trained, &counts))
            }
        };
        spreads = (f64::max(spreads.0, effect), f64::max(spreads.1, stability(&trained, &counts)));
        tests.push((probability, effect, "spread"));
    }
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let missing = [share(profile.missing, profile.rows), share(new.missing, rows)];
    let are_kinds = profile.inputs.iter().all(|input| matches!(input, InputProfile::Kinds { .. }));
    if !is_output && !are_kinds {
        let probability = fisher_probability([new.missing, rows], [profile.missing, profile.rows]);
        tests.push((probability, (missing[0] - missing[1]).abs(), "missing"));
        if profile.inputs.len() == 1 {
            let trained = profile.rows - profile.missing;
            for beyond in new.beyond {
                let probability = beyond_probability(beyond, rows - new.missing, trained);
                tests.push((probability, share(beyond, rows), "range"));
            }
        }
    }
    let least = tests.iter().min_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let (probability, effect, what) = least.copied().unwrap_or((1.0, 0.0, "spread"));
    let mut words: Vec<(String, u64)> =
        new.unseen.iter().map(|(word, count)| (word.clone(), *count)).collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let raw = |value: f32| match feature.map(|feature| &feature.encoding) {
        Some(Encoding::Number { scale, .. }) => scale.back(value),
        _ => f64::from(value),
    };
    let (median, trained_range) = match profile.inputs.as_slice() {
        [InputProfile::Amounts { edges, counts, range }] => {
            let medians = [counts, &new.counts[0]].map(|counts| raw(middle(edges, counts, range)));
            (Some(medians), Some(range.map(raw)))
        }
        _ => (None, None),
    };
    ColumnDrift {
        column: profile.name.clone(),
        drifted: false,
        probability: (probability * tests.len() as f64).min(1.0),
        adjusted: 1.0,
        what,
        effect: if what == "spread" { spreads.0 } else { effect },
        stability: spreads.1,
        missing,
        median,
        trained_range,
        range: new.range.map(|range| range.map(raw)).filter(|_| median.is_some()),
        beyond: new.beyond,
        unseen: words,
    }
}

/// About the middle of amounts that are counted in parts.
fn middle(edges: &[f32], counts: &[u64], range: &[f32; 2]) -> f32 {
    let half = counts.iter().sum::<u64>() as f64 / 2.0;
    let mut before = 0.0;
    for (at, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if before + count >= half && count > 0.0 {
            let low = at.checked_sub(1).and_then(|before| edges.get(before)).copied().unwrap_or(range[0]);
            let high = edges.get(at).copied().unwrap_or(range[1]);
            return low + (high - low) * ((half - before) / count) as f32;
        }
        before += count;
    }
    range[1]
}

#[cfg(test)]
mod tests;
