//! What answers are compared with: rows drawn column by column from what training had. Each column's values stand for its own distribution, and no
//! row of the training is kept: what one person's row was can't be read out of a model's file.

use std::ops::Range;

use kiln_data::{Dataset, Encoding, Rng, TablePreparation};
use kiln_map::counted;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The distribution of each column of prepared rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// How many rows are drawn.
    rows: usize,
    /// In the order of [`TablePreparation::groups`].
    columns: Vec<ColumnSpread>,
}

/// What a column's inputs are in the rows that are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ColumnSpread {
    /// Quantiles, in order, each as often as the counts say; once where they say nothing.
    Values {
        inputs: Vec<f64>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        counts: Vec<usize>,
    },
    /// For each word of a text the share of texts that have it.
    Words { shares: Vec<f64> },
}

/// Rows that are drawn at most and at least, and about so many numbers in all.
const ROWS: Range<usize> = 16..100;
const NUMBERS: usize = 50_000;

/// Rows of the training that a distribution is found on at most.
const SEEN: usize = 10_000;

/// More rows than this no file draws.
const MOST: usize = 1_000;

/// Where the order of each column's values starts, so that columns know nothing of each other.
const SEED: u64 = 0x6b69_6c6e;

/// A column and the places of its inputs.
pub(crate) type ColumnSlots = (String, Range<usize>);

impl Background {
    /// Of the rows of a set that a preparation made.
    ///
    /// # Errors
    /// Where a row can't be read, or there is none.
    pub fn fit(set: &dyn Dataset, plan: &TablePreparation) -> Result<Background> {
        let width = plan.width();
        let seen: Vec<usize> = (0..set.len()).step_by(set.len().div_ceil(SEEN).max(1)).collect();
        if seen.is_empty() {
            return Err(Error::Preparation("there are no rows to compare with".to_string()));
        }
        let batch = set.gather(&seen)?;
        let x: Vec<f32> = (0..batch.x.len()).map(|at| batch.x.get(at).unwrap_or_default() as f32).collect();
        if x.len() != seen.len() * width {
            return Err(Error::Preparation(format!("the rows aren't of {}", counted(width, "number"))));
        }
        Ok(Background::of(&x, width, plan))
    }

    /// Of rows `[rows, width]`, of which there are some.
    pub(crate) fn of(x: &[f32], width: usize, plan: &TablePreparation) -> Background {
        let rows = (NUMBERS / width.max(1)).clamp(ROWS.start, ROWS.end).min(x.len() / width.max(1));
        let is_text = |column: &str| {
            let mut features = plan.features().iter();
            features
                .any(|feature| feature.column == column && matches!(feature.encoding, Encoding::Text { .. }))
        };
        let column = |(name, places): ColumnSlots| match is_text(&name) {
            true => ColumnSpread::words(x, width, places),
            false => ColumnSpread::values(x, width, places, rows),
        };
        Background { rows, columns: plan.groups().into_iter().map(column).collect() }
    }

    /// How many rows are drawn.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it is of the columns of a preparation.
    ///
    /// # Errors
    /// Where it isn't, with the column.
    pub fn check(&self, plan: &TablePreparation) -> Result<()> {
        let groups = plan.groups();
        let fault = |what: String| Err(Error::Preparation(format!("the model's background {what}")));
        if self.rows == 0 || self.rows > MOST || groups.len() != self.columns.len() {
            return fault(format!(
                "is of {} and {}, and the preparation has {}",
                counted(self.rows, "row"),
                counted(self.columns.len(), "column"),
                counted(groups.len(), "column")
            ));
        }
        let sound = |spread: &ColumnSpread, width: usize| match spread {
            ColumnSpread::Words { shares } => {
                shares.len() == width && shares.iter().all(|share| (0.0..=1.0).contains(share))
            }
            ColumnSpread::Values { inputs, counts } => {
                let distinct = inputs.len() / width.max(1);
                let all = if counts.is_empty() {
                    distinct
                } else {
                    counts.iter().fold(0usize, |all, count| all.saturating_add(*count))
                };
                distinct * width == inputs.len()
                    && all == self.rows
                    && (counts.is_empty() || counts.len() == distinct)
                    && inputs.iter().all(|input| input.is_finite())
            }
        };
        match groups.iter().zip(&self.columns).find(|((_, places), spread)| !sound(spread, places.len())) {
            Some(((name, _), _)) => fault(format!("makes no sense of column {name}")),
            None => Ok(()),
        }
    }

    /// So many rows `[rows, width]`, or all of them where that is fewer; always the same.
    pub(crate) fn drawn(&self, groups: &[ColumnSlots], rows: usize) -> Vec<f32> {
        let rows = rows.min(self.rows).max(1);
        let width = groups.last().map_or(0, |(_, places)| places.end);
        let mut drawn = vec![0.0; rows * width];
        for (at, ((_, places), spread)) in groups.iter().zip(&self.columns).enumerate() {
            let rng = Rng::new(SEED).derive(at as u64);
            match spread {
                ColumnSpread::Values { .. } => {
                    let mut values = spread.spread_over(places.len(), self.rows, rows);
                    rng.derive(0).shuffle(&mut values);
                    for (row, value) in drawn.chunks_mut(width).zip(values) {
                        row[places.clone()].copy_from_slice(&value);
                    }
                }
                ColumnSpread::Words { shares } => {
                    for (word, share) in shares.iter().enumerate() {
                        let mut has: Vec<bool> =
                            (0..rows).map(|row| ((row as f64) + 0.5) < share * rows as f64).collect();
                        rng.derive(word as u64).shuffle(&mut has);
                        for (row, _) in has.iter().enumerate().filter(|(_, has)| **has) {
                            drawn[row * width + places.start + word] = 1.0;
                        }
                    }
                }
            }
        }
        drawn
    }
}

impl ColumnSpread {
    /// As many quantiles of a column's inputs as rows are drawn.
    fn values(x: &[f32], width: usize, places: Range<usize>, rows: usize) -> ColumnSpread {
        let mut all: Vec<&[f32]> = x.chunks(width).map(|row| &row[places.clone()]).collect();
        let before = |a: &&[f32], b: &&[f32]| {
            a.iter()
                .zip(b.iter())
                .map(|(a, b)| a.total_cmp(b))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        };
        all.sort_by(before);
        let (mut inputs, mut counts): (Vec<f64>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut last: Option<&[f32]> = None;
        for row in 0..rows {
            let value = all[(2 * row + 1) * all.len() / (2 * rows)];
            match counts.last_mut() {
                Some(count) if last == Some(value) => *count += 1,
                _ => {
                    inputs.extend(value.iter().map(|input| short(*input)));
                    counts.push(1);
                }
            }
            last = Some(value);
        }
        if counts.iter().all(|count| *count == 1) {
            counts.clear();
        }
        ColumnSpread::Values { inputs, counts }
    }

    fn words(x: &[f32], width: usize, places: Range<usize>) -> ColumnSpread {
        let rows = (x.len() / width).max(1) as f64;
        let has = |place: usize| x.chunks(width).filter(|row| row[place] > 0.5).count() as f64;
        ColumnSpread::Words { shares: places.map(|place| short((has(place) / rows) as f32)).collect() }
    }

    /// `rows` of the column's `all` values, as evenly among them as can be.
    fn spread_over(&self, width: usize, all: usize, rows: usize) -> Vec<Vec<f32>> {
        let ColumnSpread::Values { inputs, counts } = self else { return Vec::new() };
        let distinct = inputs.len() / width.max(1);
        let each = |at: usize| std::iter::repeat_n(at, counts.get(at).copied().unwrap_or(1));
        let order: Vec<usize> = (0..distinct).flat_map(each).collect();
        let value = |row: usize| {
            let at = order.get((2 * row + 1) * all / (2 * rows)).copied().unwrap_or(0);
            inputs[at * width..(at + 1) * width].iter().map(|input| *input as f32).collect()
        };
        (0..rows).map(value).collect()
    }
}

/// A number with six digits, which is what a quantile is worth.
fn short(number: f32) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use kiln_data::{Choices, Table};

    use super::*;

    #[test]
    fn each_column_keeps_its_distribution_and_no_row_is_kept() {
        let row = |at: usize| format!("{},{}\n", at, if at.is_multiple_of(4) { "red" } else { "blue" });
        let text = (0..400).fold("size,colour\n".to_string(), |text, at| text + &row(at));
        let table = Table::read(text.as_bytes()).unwrap();
        let all: Vec<usize> = (0..400).collect();
        let plan = TablePreparation::fit(&table, &all, &Choices::new().target("colour")).unwrap();
        let set = plan.apply(&table, &all).unwrap();
        let background = Background::fit(&set, &plan).unwrap();
        background.check(&plan).unwrap();
        let drawn = background.drawn(&plan.groups(), 1000);
        assert_eq!(drawn.len(), 100);
        let mean = drawn.iter().sum::<f32>() / 100.0;
        assert!(mean.abs() < 0.02, "{mean}");
        assert_eq!(background.drawn(&plan.groups(), 20).len(), 20);
        let again: Background = serde_json::from_str(&serde_json::to_string(&background).unwrap()).unwrap();
        assert_eq!(again, background);
        assert_eq!(again.drawn(&plan.groups(), 100), drawn);
    }

    #[test]
    fn shares_of_words_and_of_a_columns_values_come_back() {
        let x: Vec<f32> = (0..200)
            .flat_map(|at| [f32::from(u8::from(at % 10 == 0)), f32::from(u8::from(at % 2 == 0))])
            .collect();
        let words = ColumnSpread::words(&x, 2, 0..2);
        assert_eq!(words, ColumnSpread::Words { shares: vec![0.1, 0.5] });
        let values = ColumnSpread::values(&x, 2, 1..2, 100);
        assert_eq!(values, ColumnSpread::Values { inputs: vec![0.0, 1.0], counts: vec![50, 50] });
        let few = values.spread_over(1, 100, 4);
        assert_eq!(few.concat(), [0.0, 0.0, 1.0, 1.0]);
    }
}
