//! Rows as a linear model sees them: amounts as they are, and a feature of 0 or 1 for each code.

use std::ops::Range;

use kiln_data::{Batch, Dataset, Rng};

use super::solve::{add_scaled_f32, dot_f32};
use crate::Result;

/// How many rows are read at a time.
const READ: usize = 512;

/// What a row's inputs are: amounts, then the codes of columns of so many words.
#[derive(Clone, Debug)]
pub(super) struct Design {
    pub amounts: usize,
    pub codes: Vec<usize>,
}

impl Design {
    /// How many inputs a row has.
    pub fn width(&self) -> usize {
        self.amounts + self.codes.len()
    }

    /// How many weights there are.
    pub fn features(&self) -> usize {
        self.amounts + self.codes.iter().sum::<usize>()
    }

    /// The features of a row's codes that are 1.
    fn places<'r>(&'r self, row: &'r [f32]) -> impl Iterator<Item = usize> + 'r {
        let mut first = self.amounts;
        let codes = row.get(self.amounts..).unwrap_or_default();
        self.codes.iter().zip(codes).map(move |(&size, &code)| {
            let place = first + (code.max(0.0) as usize).min(size.saturating_sub(1));
            first += size;
            place
        })
    }

    /// Writes all of a row's features.
    pub fn expand(&self, row: &[f32], into: &mut [f64]) {
        into.fill(0.0);
        into.iter_mut().zip(row.iter().take(self.amounts)).for_each(|(to, &from)| *to = from.into());
        for place in self.places(row) {
            if let Some(feature) = into.get_mut(place) {
                *feature = 1.0;
            }
        }
    }

    /// The weighted sum of a row's features.
    pub fn score(&self, row: &[f32], weights: &[f64]) -> f64 {
        let (amounts, _) = row.split_at(self.amounts.min(row.len()));
        let codes = self.places(row).filter_map(|place| weights.get(place)).sum::<f64>();
        dot_f32(amounts, weights) + codes
    }

    /// Adds a row's features, times a factor.
    pub fn add(&self, row: &[f32], factor: f64, sums: &mut [f64]) {
        let (amounts, _) = row.split_at(self.amounts.min(row.len()));
        add_scaled_f32(sums, factor, amounts);
        for place in self.places(row) {
            if let Some(sum) = sums.get_mut(place) {
                *sum += factor;
            }
        }
    }
}

/// Looks at a row: its place, its inputs, its number or class, and how much it counts.
pub(super) type SeeRow<'s> = dyn FnMut(usize, &[f32], f64, f64) + 's;

/// Rows with one target: each has inputs, a number or the number of its class, and how much it counts.
pub(super) trait TargetRows: Sync {
    fn len(&self) -> usize;

    /// Shows rows in their order, each with its place.
    fn each(&self, rows: Range<usize>, see: &mut SeeRow) -> Result<()>;
}

/// One target of a set's rows.
pub(super) struct SetRows<'s> {
    pub set: &'s dyn Dataset,
    /// Its place among a row's targets.
    pub target: usize,
    /// What rows of each class count, besides their own weight.
    pub class_weights: Option<Vec<f64>>,
}

impl TargetRows for SetRows<'_> {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn each(&self, rows: Range<usize>, see: &mut SeeRow) -> Result<()> {
        let (width, targets) = (self.set.x().width(), self.set.y().width().max(1));
        let mut batch = Batch::of(&self.set);
        let mut converted = Vec::new();
        for start in rows.clone().step_by(READ) {
            let places: Vec<usize> = (start..(start + READ).min(rows.end)).collect();
            batch.fill(&self.set, &places, |_| 0)?;
            let inputs = match batch.x.as_f32() {
                Some(inputs) => inputs,
                None => {
                    converted.clear();
                    converted.extend((0..batch.x.len()).map(|at| batch.x.get(at).unwrap_or(0.0) as f32));
                    &converted
                }
            };
            for ((at, &row), input) in places.iter().enumerate().zip(inputs.chunks(width.max(1))) {
                let target = batch.y.get(at * targets + self.target).unwrap_or(0.0);
                let own = batch.weights.get(at).map_or(1.0, |&weight| f64::from(weight));
                let of_class = self.class_weights.as_ref().and_then(|all| all.get(target as usize));
                see(row, input, target, own * of_class.copied().unwrap_or(1.0));
            }
        }
        Ok(())
    }
}

/// Rows that are held in memory.
pub(super) struct HeldRows {
    inputs: Vec<f32>,
    width: usize,
    targets: Vec<f64>,
    weights: Vec<f64>,
}

impl HeldRows {
    /// Those that are wanted.
    pub fn of(rows: &dyn TargetRows, width: usize, is_wanted: impl Fn(usize) -> bool) -> Result<HeldRows> {
        let mut held = HeldRows { inputs: Vec::new(), width, targets: Vec::new(), weights: Vec::new() };
        rows.each(0..rows.len(), &mut |row, inputs, target, weight| {
            if is_wanted(row) {
                held.inputs.extend_from_slice(inputs);
                held.targets.push(target);
                held.weights.push(weight);
            }
        })?;
        Ok(held)
    }

    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// The rows with more amounts: how far each of the first so many is above its own quantiles, 0 below.
    pub fn bent(self, amounts: usize, quantiles: &[f64]) -> HeldRows {
        let rows = self.targets.len();
        let mut bends = Vec::with_capacity(amounts * quantiles.len());
        for amount in 0..amounts {
            let mut sorted: Vec<f32> = self.inputs.iter().skip(amount).step_by(self.width).copied().collect();
            sorted.sort_by(f32::total_cmp);
            let at = |share: &f64| sorted.get((share * rows as f64) as usize).copied().unwrap_or(0.0);
            bends.extend(quantiles.iter().map(at));
        }
        let width = self.width + bends.len();
        let mut inputs = Vec::with_capacity(rows * width);
        for row in self.inputs.chunks(self.width.max(1)) {
            let (own, codes) = row.split_at(amounts.min(row.len()));
            inputs.extend_from_slice(own);
            let each = own.iter().flat_map(|value| quantiles.iter().map(move |_| value));
            inputs.extend(each.zip(&bends).map(|(value, bend)| (value - bend).max(0.0)));
            inputs.extend_from_slice(codes);
        }
        HeldRows { inputs, width, ..self }
    }

    /// Gives the rows other targets, as many.
    pub fn retarget(&mut self, targets: Vec<f64>) {
        self.targets = targets;
    }
}

impl TargetRows for HeldRows {
    fn len(&self) -> usize {
        self.targets.len()
    }

    fn each(&self, rows: Range<usize>, see: &mut SeeRow) -> Result<()> {
        for row in rows {
            let inputs = self.inputs.get(row * self.width..(row + 1) * self.width).unwrap_or_default();
            see(row, inputs, self.targets[row], self.weights[row]);
        }
        Ok(())
    }
}

/// The fold of each row, dealt out at random.
pub(super) fn dealt(rows: usize, folds: usize, seed: u64) -> Vec<u8> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    Rng::new(seed).shuffle(&mut order);
    let mut fold = vec![0; rows];
    order.iter().enumerate().for_each(|(at, &row)| fold[row as usize] = (at % folds.max(1)) as u8);
    fold
}

/// The fold of each row, each class dealt out by itself.
pub(super) fn dealt_by_class(classes: &[f64], folds: usize, seed: u64) -> Vec<u8> {
    let mut order: Vec<u32> = (0..classes.len() as u32).collect();
    Rng::new(seed).shuffle(&mut order);
    order.sort_by(|&a, &b| classes[a as usize].total_cmp(&classes[b as usize]));
    let mut fold = vec![0; classes.len()];
    order.iter().enumerate().for_each(|(at, &row)| fold[row as usize] = (at % folds.max(1)) as u8);
    fold
}

/// Some of so many rows, at random; all where there are no more.
pub(super) fn sample(rows: usize, most: usize, seed: u64) -> Vec<bool> {
    if rows <= most {
        return vec![true; rows];
    }
    let mut order: Vec<u32> = (0..rows as u32).collect();
    Rng::new(seed).derive(1).shuffle(&mut order);
    let mut taken = vec![false; rows];
    order.iter().take(most).for_each(|&row| taken[row as usize] = true);
    taken
}

/// The work of each of some parts, done by as many threads as may work; what comes of it stands in the order of the parts.
pub(super) fn by_threads<T: Send>(parts: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let threads = kiln_nn::threads().clamp(1, parts.max(1));
    if threads == 1 {
        return (0..parts).map(work).collect();
    }
    let work = &work;
    let each = std::thread::scope(|scope| {
        let one = |thread: usize| {
            scope.spawn(move || (thread..parts).step_by(threads).map(|part| (part, work(part))).collect())
        };
        let started: Vec<_> = (0..threads).map(one).collect();
        let joined = started.into_iter().map(|thread| thread.join());
        joined.collect::<Result<Vec<Vec<(usize, Result<T>)>>, _>>()
    });
    let mut all: Vec<(usize, Result<T>)> = match each {
        Ok(each) => each.into_iter().flatten().collect(),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    all.sort_by_key(|(part, _)| *part);
    all.into_iter().map(|(_, result)| result).collect()
}
