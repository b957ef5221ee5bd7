//! Which columns a model looks at: how much its first figure falls where a column's values are shuffled among the rows. Each shuffle is an
//! evaluation, so that thousands of columns are bounded by time, those first on which the outputs depend the most.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::data::{Batch, Dataset, Form, Rng, Set, Subset, TablePreparation};
use kiln_learn::model::Task;
use kiln_learn::prelude::{Context, Layer, Tensor};
use serde_json::{Value, json};

use super::measure::Measured;
use super::out::counted;

/// How much a figure falls without each column.
pub struct Importances {
    /// What falls, or rises where it is a loss.
    pub figure: String,
    /// Whether less of it is better.
    pub is_loss: bool,
    /// Columns and how much it falls (a loss: rises), the most first.
    pub drops: Vec<ColumnDrop>,
    /// How many columns there are, of which some may not have been measured for lack of time.
    pub columns: usize,
    /// How often each was shuffled, and among how many rows.
    pub shuffles: usize,
    pub rows: usize,
}

/// How much a figure falls without a column.
pub struct ColumnDrop {
    pub column: String,
    /// In the mean of the shuffles,
    pub drop: f64,
    /// and the standard error of that; nothing of a single shuffle.
    pub error: Option<f64>,
}

/// A column and the places of its inputs.
type ColumnPlaces = (String, Range<usize>);

/// More shuffles than this tell nothing more.
const SHUFFLES: usize = 5;

/// More rows than this tell nothing more.
const ROWS: usize = 10_000;

/// So many rows show how long an evaluation takes, and so many evaluations of the rows that are taken fit into the time.
const TRIED: usize = 256;
const EVALUATIONS: f64 = 20.0;

/// How often is said how far it is.
const SAID: Duration = Duration::from_secs(10);

impl Importances {
    /// Of a model's columns on the rows of a part, in at most so long; `say` is told how far it is where that takes long.
    pub fn measure(
        task: &Task,
        model: &Model,
        plan: &TablePreparation,
        part: &dyn Dataset,
        limit: Duration,
        say: impl Fn(&str),
    ) -> Result<Importances> {
        let began = Instant::now();
        // As many rows as leave time for many evaluations of them.
        let few = Subset::new(part, (0..part.len().min(TRIED)).collect());
        // The first compiles the programs.
        Measured::new(task, model, &few)?;
        let once = Instant::now();
        Measured::new(task, model, &few)?;
        let row = once.elapsed().as_secs_f64() / few.len().max(1) as f64;
        let fit = (limit.as_secs_f64() / EVALUATIONS / row.max(1e-12)) as usize;
        let rows = part.len().min(fit.clamp(TRIED, ROWS));
        let batch = part.gather(&(0..rows).collect::<Vec<_>>())?;
        let (rows, x, y) = (batch.rows(), &amounts(&batch)[..], part.y());
        let width = x.len() / rows.max(1);
        let figures = |values: Vec<f32>| -> Result<(String, f64)> {
            let set = Set::new(values, Form::numbers(&[width]), batch.y.clone(), y.clone())?;
            let first = Measured::new(task, model, &set)?.numbers.into_iter().next();
            Ok(first.unwrap_or_default())
        };
        let (figure, before) = figures(x.to_vec())?;
        let is_loss = figure == "loss";
        let once = Instant::now();
        figures(x.to_vec())?;
        let once = once.elapsed().as_secs_f64().max(1e-9);
        let mut groups = plan.groups();
        let columns = groups.len();
        let afford = limit.saturating_sub(began.elapsed()).as_secs_f64() / once;
        let shuffles = ((afford / columns.max(1) as f64) as usize).clamp(1, SHUFFLES);
        if afford < columns as f64 {
            steepest_first(&mut groups, model, &batch, width);
        }
        let (mut drops, mut said) = (Vec::new(), Instant::now());
        for (name, places) in groups {
            if began.elapsed() >= limit {
                break;
            }
            let mut falls = Vec::with_capacity(shuffles);
            for shuffle in 0..shuffles {
                falls.push(before - figures(shuffled(x, width, &places, shuffle as u64))?.1);
            }
            let fall = falls.iter().sum::<f64>() / shuffles as f64;
            let squares: f64 = falls.iter().map(|own| (own - fall) * (own - fall)).sum();
            let error = (shuffles > 1).then(|| (squares / (shuffles - 1) as f64 / shuffles as f64).sqrt());
            drops.push(ColumnDrop { column: name, drop: if is_loss { -fall } else { fall }, error });
            if said.elapsed() >= SAID {
                said = Instant::now();
                say(&format!("importances of {} of {}", drops.len(), counted(columns, "column")));
            }
        }
        if drops.len() < columns {
            let measured = drops.len();
            say(&format!(
                "importances of {measured} of {} were measured: more would take too long",
                counted(columns, "column")
            ));
        }
        drops.sort_by(|a, b| b.drop.total_cmp(&a.drop));
        Ok(Importances { figure, is_loss, drops, columns, shuffles, rows })
    }

    /// The columns, those that matter the most first.
    pub fn names(&self) -> Vec<&str> {
        self.drops.iter().map(|drop| drop.column.as_str()).collect()
    }

    /// As JSON: those that matter the most first.
    pub fn json(&self) -> Value {
        let change = if self.is_loss { "rise" } else { "drop" };
        let each = |ColumnDrop { column, drop, error }: &ColumnDrop| json!({ "column": column, change: drop, "error": error });
        json!({
            "figure": self.figure, "rows": self.rows, "shuffles": self.shuffles,
            "columns": self.columns, "measured": self.drops.iter().map(each).collect::<Vec<_>>(),
        })
    }
}

/// A batch's inputs, also where they are stored as half floats.
fn amounts(batch: &Batch) -> Vec<f32> {
    (0..batch.x.len()).filter_map(|at| batch.x.get(at)).map(|value| value as f32).collect()
}

/// Rows whose inputs at some places are another's.
fn shuffled(x: &[f32], width: usize, places: &Range<usize>, seed: u64) -> Vec<f32> {
    let mut order: Vec<usize> = (0..x.len() / width.max(1)).collect();
    Rng::new(seed).shuffle(&mut order);
    let mut shuffled = x.to_vec();
    for (row, from) in shuffled.chunks_mut(width.max(1)).zip(order) {
        row[places.clone()].copy_from_slice(&x[from * width..][places.clone()]);
    }
    shuffled
}

/// Columns in the order of how much the outputs change with them: the mean slope times how much the column itself differs, which one pass
/// forwards and backwards says of all. Codes have no slope, and come first.
fn steepest_first(groups: &mut [ColumnPlaces], model: &Model, batch: &Batch, width: usize) {
    const MOST: usize = 256;
    let x = amounts(batch);
    let rows = batch.rows().min(MOST);
    let seen = &x[..rows * width];
    let inputs = Tensor::new(seen.to_vec(), [rows, width]);
    let outputs = model.layers().forward(&inputs, &Context::inference());
    let slopes = outputs.square().sum(..).grad(&[&inputs]);
    let Some(Ok(slopes)) = slopes.first().map(|slopes| slopes.abs().sum(0).to_vec::<f32>()) else { return };
    let spread = |at: usize| {
        let column = || seen.iter().skip(at).step_by(width).map(|&value| f64::from(value));
        let mean = column().sum::<f64>() / rows.max(1) as f64;
        column().map(|value| (value - mean).abs()).sum::<f64>()
    };
    let mut keyed: Vec<(f64, ColumnPlaces)> = groups
        .iter()
        .map(|group| {
            let slope = group.1.clone().map(|at| f64::from(slopes[at]) * spread(at)).sum::<f64>();
            (if slope > 0.0 { slope } else { f64::INFINITY }, group.clone())
        })
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
    groups.iter_mut().zip(keyed).for_each(|(group, (_, own))| *group = own);
}
