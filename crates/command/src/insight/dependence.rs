//! What a model says in the mean where a column is as some row has it (partial dependence, Friedman 2001), and how much two columns say together
//! that neither says alone (the H statistic, Friedman and Popescu 2008).

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::data::{Dataset, Encoding, Feature, Form, Set, TablePreparation};
use kiln_learn::model::{PartMeaning, Task, number_of};
use serde::Serialize;

/// What the model says by a column.
#[derive(Serialize)]
pub struct Dependence {
    /// The column.
    pub column: String,
    /// What is said: the probability of a class, or a number.
    pub of: Vec<String>,
    /// Where the column is, in its own unit or words,
    pub at: Vec<DependencePlace>,
    /// and what is said there in the mean, of each thing that is said.
    pub says: Vec<Vec<f64>>,
}

/// A value of a column.
#[derive(Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DependencePlace {
    Amount(f64),
    Word(String),
}

/// How much two columns say together.
#[derive(Serialize)]
pub struct Interaction {
    /// The columns.
    pub columns: [String; 2],
    /// The share of what both say in the mean that isn't the sum of what each says: 0 where they only add up.
    pub share: f64,
}

/// So many columns are looked at, at so many places, on so many rows; of two at once at fewer.
const COLUMNS: usize = 3;
const PLACES: usize = 12;
const PLACES_OF_TWO: usize = 5;
const ROWS: usize = 200;

/// More classes than this are too many for a picture.
const CLASSES: usize = 4;

/// Rows whose inputs at some places are those of a row.
struct DependenceRows<'m> {
    model: &'m Model,
    task: &'m Task,
    width: usize,
    /// `[rows, width]`
    rows: Vec<f32>,
}

impl DependenceRows<'_> {
    /// What is said in the mean where the inputs at these places are these.
    fn mean(&self, replaced: &[(&Range<usize>, &[f32])]) -> Result<Vec<f64>> {
        let mut x = self.rows.clone();
        for row in x.chunks_exact_mut(self.width.max(1)) {
            for (places, values) in replaced {
                if let Some(own) = row.get_mut((*places).clone()) {
                    own.copy_from_slice(values);
                }
            }
        }
        let rows = x.len() / self.width.max(1);
        let set = Set::numbers(x, Form::numbers(&[self.width]), vec![0.0; rows], 1)?;
        let given = self.model.predict(&set)?;
        let mut sums: Vec<f64> = Vec::new();
        for outputs in given.outputs().chunks(given.width().max(1)) {
            let own = said(self.task, outputs);
            sums.resize(own.len(), 0.0);
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own / rows.max(1) as f64);
        }
        Ok(sums)
    }
}

/// What there is to say of a row, by name.
fn names(task: &Task) -> Vec<String> {
    match task {
        Task::Classes { names } if names.len() == 2 => vec![names[1].clone()],
        Task::Classes { names } => names.iter().take(CLASSES).cloned().collect(),
        Task::Numbers { names, .. } => names.iter().take(CLASSES).cloned().collect(),
        Task::Several { .. } | Task::Text { .. } | Task::Tags { .. } => Vec::new(),
    }
}

/// The probabilities or numbers of a row, in their order.
fn said(task: &Task, outputs: &[f32]) -> Vec<f64> {
    match task {
        Task::Classes { names } => {
            let one = [0.0, outputs.first().copied().unwrap_or(0.0)];
            let logits = if outputs.len() == 1 { &one[..] } else { outputs };
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let parts: Vec<f64> = logits.iter().map(|logit| libm::exp(f64::from(logit - most))).collect();
            let sum: f64 = parts.iter().sum();
            match names.len() {
                2 => parts.get(1).map(|part| part / sum).into_iter().collect(),
                _ => parts.iter().take(CLASSES).map(|part| part / sum).collect(),
            }
        }
        Task::Numbers { .. } => {
            let parts = task.parts().into_iter().take(CLASSES);
            let number = |part: kiln_learn::model::TaskPart| match part.meaning {
                PartMeaning::Number { unit, .. } => {
                    number_of(outputs.get(part.outputs.clone()).unwrap_or_default(), &unit).0
                }
                PartMeaning::Classes(_) => f64::NAN,
            };
            parts.map(number).collect()
        }
        Task::Several { .. } | Task::Text { .. } | Task::Tags { .. } => Vec::new(),
    }
}

/// The values that a column is set to: where it is, and its inputs there.
type Grid = Vec<(DependencePlace, Vec<f32>)>;

/// Some of the values that rows have: of amounts by their quantiles, of words the most frequent.
fn grid(feature: &Feature, places: &Range<usize>, x: &[f32], width: usize, most: usize) -> Grid {
    let mut own: Vec<Vec<f32>> =
        x.chunks_exact(width.max(1)).filter_map(|row| row.get(places.clone())).map(<[f32]>::to_vec).collect();
    let place = |values: &[f32]| match &feature.encoding {
        Encoding::Number { scale, .. } => {
            values.first().map(|value| DependencePlace::Amount(scale.back(*value)))
        }
        Encoding::Pair { words, .. } => match values.first() {
            Some(0.0) => Some(DependencePlace::Word(words[0].clone())),
            Some(1.0) => Some(DependencePlace::Word(words[1].clone())),
            _ => None,
        },
        Encoding::OneHot { vocabulary } => {
            let code = values.iter().position(|value| *value == 1.0);
            code.and_then(|code| vocabulary.names().nth(code))
                .map(|word| DependencePlace::Word(word.to_string()))
        }
        Encoding::Codes { vocabulary } => {
            let code = values.first().map(|code| *code as usize);
            code.and_then(|code| vocabulary.names().nth(code))
                .map(|word| DependencePlace::Word(word.to_string()))
        }
        Encoding::Text { .. } | Encoding::Date { .. } => None,
    };
    let is_amount = matches!(feature.encoding, Encoding::Number { .. });
    own.sort_by(|a, b| {
        a.iter().zip(b).fold(std::cmp::Ordering::Equal, |order, (a, b)| order.then(a.total_cmp(b)))
    });
    let mut runs: Vec<(usize, Vec<f32>)> = Vec::new();
    for values in own.iter().cloned() {
        match runs.last_mut() {
            Some((count, last)) if *last == values => *count += 1,
            _ => runs.push((1, values)),
        }
    }
    if is_amount && runs.len() > most {
        runs = (0..most).map(|at| (1, own[at * (own.len() - 1) / (most - 1)].clone())).collect();
        runs.dedup_by(|a, b| a.1 == b.1);
    } else if !is_amount {
        runs.sort_by_key(|run| std::cmp::Reverse(run.0));
        runs.truncate(most);
    }
    let mut grid: Grid = Vec::new();
    for (_, values) in runs {
        if let Some(place) = place(&values)
            && grid.last().is_none_or(|(last, _)| *last != place)
        {
            grid.push((place, values));
        }
    }
    grid
}

/// What a model says by its first columns, those in `first` before all others, for as long as there is time.
pub(super) fn measure(
    (model, task): (&Model, &Task),
    plan: &TablePreparation,
    test: &dyn Dataset,
    first: &[&str],
    (began, limit): (Instant, Duration),
) -> Result<(Vec<Dependence>, Vec<Interaction>)> {
    let of = names(task);
    let (mut dependences, mut interactions) = (Vec::new(), Vec::new());
    if of.is_empty() {
        return Ok((dependences, interactions));
    }
    let rows = test.len().min(ROWS);
    let batch = test.gather(&(0..rows).map(|at| at * test.len() / rows.max(1)).collect::<Vec<_>>())?;
    let x: Vec<f32> = (0..batch.x.len()).filter_map(|at| batch.x.get(at)).map(|value| value as f32).collect();
    let width = plan.width();
    let asked = DependenceRows { model, task, width, rows: x };
    let groups = plan.groups();
    let rank = |name: &str| first.iter().position(|own| *own == name).unwrap_or(usize::MAX);
    let mut columns: Vec<(&Feature, Range<usize>)> = plan
        .features()
        .iter()
        .filter_map(|feature| {
            let (_, places) = groups.iter().find(|(name, _)| *name == feature.column)?;
            Some((feature, places.clone()))
        })
        .collect();
    columns.sort_by_key(|(feature, _)| rank(&feature.column));
    columns.retain(|(feature, places)| grid(feature, places, &asked.rows, width, PLACES).len() > 1);
    columns.truncate(COLUMNS);
    for (feature, places) in &columns {
        let grid = grid(feature, places, &asked.rows, width, PLACES);
        let (mut at, mut says) = (Vec::new(), vec![Vec::new(); of.len()]);
        for (place, values) in grid {
            if began.elapsed() >= limit {
                return Ok((dependences, interactions));
            }
            let means = asked.mean(&[(places, &values)])?;
            at.push(place);
            says.iter_mut().zip(means).for_each(|(all, mean)| all.push(mean));
        }
        dependences.push(Dependence { column: feature.column.clone(), of: of.clone(), at, says });
    }
    for a in 0..columns.len() {
        for b in a + 1..columns.len() {
            if began.elapsed() >= limit {
                return Ok((dependences, interactions));
            }
            if let Some(share) = interaction(&asked, &columns[a], &columns[b])? {
                let columns = [a, b].map(|at| columns[at].0.column.clone());
                interactions.push(Interaction { columns, share });
            }
        }
    }
    interactions.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ok((dependences, interactions))
}

/// The share of what two columns say together that neither says alone, of the first thing that is said; nothing where they say nothing.
fn interaction(
    asked: &DependenceRows,
    (first, first_places): &(&Feature, Range<usize>),
    (second, second_places): &(&Feature, Range<usize>),
) -> Result<Option<f64>> {
    let grid_of = |feature, places| grid(feature, places, &asked.rows, asked.width, PLACES_OF_TWO);
    let (rows, columns) = (grid_of(first, first_places), grid_of(second, second_places));
    let mut said = Vec::new();
    for (_, a) in &rows {
        for (_, b) in &columns {
            let mean = asked.mean(&[(first_places, a), (second_places, b)])?;
            said.push(mean.first().copied().unwrap_or(0.0));
        }
    }
    let (m, n) = (rows.len(), columns.len());
    let mean = said.iter().sum::<f64>() / said.len().max(1) as f64;
    let of_row = |a: usize| (0..n).map(|b| said[a * n + b]).sum::<f64>() / n as f64 - mean;
    let of_column = |b: usize| (0..m).map(|a| said[a * n + b]).sum::<f64>() / m as f64 - mean;
    let (mut together, mut whole) = (0.0, 0.0);
    for a in 0..m {
        for b in 0..n {
            let own = said[a * n + b] - mean;
            let left = own - of_row(a) - of_column(b);
            (together, whole) = (together + left * left, whole + own * own);
        }
    }
    Ok((whole > 1e-12).then(|| together / whole))
}
