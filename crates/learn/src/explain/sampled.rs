//! Sampled Shapley values of anything that answers: columns go one after the other from a background row's values to the row's own, in random orders,
//! each of which is walked both ways. How far the two ways' means of different orders lie apart says how exact it is.

use kiln_data::Rng;

use super::asked::WantedScore;
use crate::Result;
use crate::background::ColumnSlots;

/// Rows that are asked of at once.
const TOGETHER: usize = 8192;

/// What each column moves, and how far that may be off (a standard error).
pub(super) struct SampledParts {
    pub(super) moved: Vec<f64>,
    pub(super) errors: Vec<f64>,
    /// What is said of the background rows that were used, in the mean.
    pub(super) baseline: f64,
}

/// Whoever answers rows: the outputs of each.
pub(super) type Answering<'a> = dyn Fn(&[f32], usize) -> Result<Vec<f32>> + 'a;

/// Orders and background rows, the same for all rows.
pub(super) struct SampledGame<'g> {
    pub(super) ask: &'g Answering<'g>,
    pub(super) groups: &'g [ColumnSlots],
    pub(super) width: usize,
    /// `[orders, width]`: each order has its own.
    background: Vec<f32>,
    /// The outputs of these.
    known: Vec<f32>,
    orders: Vec<Vec<usize>>,
}

impl<'g> SampledGame<'g> {
    /// With an order for each background row.
    pub(super) fn new(
        ask: &'g Answering<'g>,
        groups: &'g [ColumnSlots],
        background: Vec<f32>,
        seed: u64,
    ) -> Result<SampledGame<'g>> {
        let width = groups.last().map_or(0, |(_, places)| places.end);
        let count = background.len() / width.max(1);
        let rng = Rng::new(seed);
        let order = |at: usize| {
            let mut order: Vec<usize> = (0..groups.len()).collect();
            rng.derive(at as u64).shuffle(&mut order);
            order
        };
        let known = ask(&background, count)?;
        Ok(SampledGame { ask, groups, width, background, known, orders: (0..count).map(order).collect() })
    }

    /// What each column of a row moves.
    pub(super) fn of(&self, x: &[f32], own: &[f32], wanted: &WantedScore) -> Result<SampledParts> {
        let (columns, count) = (self.groups.len(), self.orders.len());
        let outputs = self.known.len() / count.max(1);
        let start: Vec<f64> = self.known.chunks(outputs.max(1)).map(|outputs| wanted.of(outputs)).collect();
        let end = wanted.of(own);
        // The mean of both ways, order by order.
        let mut means = vec![vec![0.0; columns]; count];
        let each = (2 * columns.max(1)).max(1);
        for first in (0..count).step_by((TOGETHER / each).max(1)) {
            let some = first..(first + (TOGETHER / each).max(1)).min(count);
            let (mut rows, mut steps) = (Vec::new(), Vec::new());
            for at in some {
                let order = &self.orders[at];
                let forwards: Vec<usize> = order.clone();
                let backwards: Vec<usize> = order.iter().rev().copied().collect();
                for order in [forwards, backwards] {
                    self.walk(at, &order, x, &mut rows, &mut steps);
                }
            }
            let answers = (self.ask)(&rows, rows.len() / self.width.max(1))?;
            let mut answers = answers.chunks(outputs.max(1)).map(|outputs| wanted.of(outputs));
            let mut before = 0.0;
            for WalkedColumn { at, column, kind, is_first } in steps {
                if is_first {
                    before = start[at];
                }
                let after = match kind {
                    StepKind::Same => before,
                    StepKind::Asked => answers.next().unwrap_or(f64::NAN),
                    StepKind::Last => end,
                };
                means[at][column] += 0.5 * (after - before);
                before = after;
            }
        }
        Ok(parts(&means, &start))
    }

    /// The steps of one way, and the rows that must be asked for it.
    fn walk(
        &self,
        at: usize,
        order: &[usize],
        x: &[f32],
        rows: &mut Vec<f32>,
        steps: &mut Vec<WalkedColumn>,
    ) {
        let mut mixed = self.background[at * self.width..][..self.width].to_vec();
        let differs = |column: &usize| {
            let (_, places) = &self.groups[*column];
            x[places.clone()] != self.background[at * self.width..][places.clone()]
        };
        let last = order.iter().rposition(differs);
        for (step, column) in order.iter().enumerate() {
            let (_, places) = &self.groups[*column];
            let kind = match (differs(column), Some(step) == last) {
                (false, _) => StepKind::Same,
                (true, true) => StepKind::Last,
                (true, false) => {
                    mixed[places.clone()].copy_from_slice(&x[places.clone()]);
                    rows.extend_from_slice(&mixed);
                    StepKind::Asked
                }
            };
            steps.push(WalkedColumn { at, column: *column, kind, is_first: step == 0 });
        }
    }
}

/// One column's going over.
struct WalkedColumn {
    at: usize,
    column: usize,
    kind: StepKind,
    is_first: bool,
}

enum StepKind {
    /// Both rows say the same of the column.
    Same,
    /// The model is asked.
    Asked,
    /// The row itself is reached, whose answer is known.
    Last,
}

/// The means over orders, and their standard errors.
fn parts(means: &[Vec<f64>], start: &[f64]) -> SampledParts {
    let count = means.len().max(1) as f64;
    let columns = means.first().map_or(0, Vec::len);
    let mean = |column: usize| means.iter().map(|order| order[column]).sum::<f64>() / count;
    let moved: Vec<f64> = (0..columns).map(mean).collect();
    let error = |column: usize| {
        let squares: f64 =
            means.iter().map(|order| (order[column] - moved[column]) * (order[column] - moved[column])).sum();
        (squares / (count - 1.0).max(1.0) / count).sqrt()
    };
    let errors = (0..columns).map(error).collect();
    SampledParts { errors, baseline: start.iter().sum::<f64>() / count, moved }
}
