//! Rows of a set as trees want them: columns in bins, codes as what is known of the target where they stand, targets and weights.

use kiln_data::{Batch, Dataset, folds};
use kiln_map::counted;

use super::TreeOptions;
use super::bins::{Binned, BinnedColumn, SAMPLED, bin, cuts};
use crate::model::{PartMeaning, Task};
use crate::{Error, Result};

/// Rows that are read at once.
const READ: usize = 4096;

/// Numbers that are kept to choose bins by, at most.
const KEPT: usize = 1 << 26;

/// So many rows of the mean are mixed to those of a code.
const PRIOR: f64 = 10.0;

/// Numbers that stand for a code, at most.
const WIDEST: usize = 8;

/// The parts in which what stands for a code is found without its own row's target.
const APART: usize = 5;

/// A set that is read.
pub(super) struct BinnedSet {
    pub binned: Binned,
    /// The numbers of each target, row by row.
    pub targets: Vec<Vec<f32>>,
    /// Empty where all rows count the same.
    pub weights: Vec<f32>,
    /// For each column of codes what stands for each code.
    pub codes: Vec<Vec<Vec<f32>>>,
}

/// Reads the rows of a set, the last columns of which are so many codes each. The first so many rows are learned from: targets of those behind say
/// nothing of codes.
pub(super) fn read(
    set: &dyn Dataset,
    learned: usize,
    task: &Task,
    options: &TreeOptions,
) -> Result<BinnedSet> {
    let codes = &options.codes;
    let form = set.x();
    let &[width] = form.shape.as_slice() else {
        let message = format!("trees are grown on rows of numbers, and these are {:?}", form.shape);
        return Err(Error::Training(message));
    };
    if form.codes().is_some() || codes.len() > width {
        return Err(Error::Training("trees are grown on rows of numbers, not on codes of texts".to_string()));
    }
    let (rows, amounts) = (set.len(), width - codes.len());
    if rows == 0 {
        return Err(Error::Training("there are no rows to grow trees on".to_string()));
    }
    let parts = task.parts().len();
    if parts == 0 || set.y().width() != parts {
        let found = counted(set.y().width(), "number");
        return Err(Error::Training(format!("the targets are {found} a row, and the task asks for {parts}")));
    }
    let mut read = RowsRead {
        samples: vec![Vec::new(); amounts],
        codes: vec![Vec::with_capacity(rows); codes.len()],
        targets: vec![Vec::with_capacity(rows); parts],
        weights: Vec::new(),
    };
    let every = rows.div_ceil((KEPT / amounts.max(1)).clamp(1000, SAMPLED));
    each_batch(set, |first, batch| read.take(first, batch, width, every))?;
    read.check(task)?;
    let cuts: Vec<Vec<f32>> = read.samples.iter_mut().map(cuts).collect();
    drop(read.samples);
    let mut columns: Vec<BinnedColumn> =
        cuts.into_iter().map(|cuts| BinnedColumn { bins: Vec::with_capacity(rows), cuts }).collect();
    each_batch(set, |_, batch| {
        for row in 0..batch.rows() {
            for (column, binned) in columns.iter_mut().enumerate() {
                let number = batch.x.get(row * width + column).unwrap_or(f64::NAN) as f32;
                binned.bins.push(bin(&binned.cuts, number));
            }
        }
        Ok(())
    })?;
    let mut tables = Vec::with_capacity(codes.len());
    let signals = signals(task, &read.targets);
    for (own, &count) in read.codes.iter().zip(codes) {
        let (table, known) = encoded((own, count), learned, &signals, &read.weights, options)?;
        tables.push(table);
        for mut numbers in known {
            let cuts = cuts_of(&numbers);
            let bins = numbers.drain(..).map(|number| bin(&cuts, number)).collect();
            columns.push(BinnedColumn { bins, cuts });
        }
    }
    Ok(BinnedSet {
        binned: Binned { columns, rows },
        targets: read.targets,
        weights: read.weights,
        codes: tables,
    })
}

fn cuts_of(numbers: &[f32]) -> Vec<f32> {
    cuts(&mut numbers.iter().copied().step_by(numbers.len().div_ceil(SAMPLED).max(1)).collect())
}

fn each_batch(set: &dyn Dataset, mut f: impl FnMut(usize, &Batch) -> Result<()>) -> Result<()> {
    let mut batch = Batch::of(set);
    for first in (0..set.len()).step_by(READ) {
        let rows: Vec<usize> = (first..(first + READ).min(set.len())).collect();
        batch.fill(set, &rows, |_| 0)?;
        f(first, &batch)?;
    }
    Ok(())
}

struct RowsRead {
    /// Of each amount some numbers.
    samples: Vec<Vec<f32>>,
    codes: Vec<Vec<u32>>,
    targets: Vec<Vec<f32>>,
    weights: Vec<f32>,
}

impl RowsRead {
    fn take(&mut self, first: usize, batch: &Batch, width: usize, every: usize) -> Result<()> {
        let (amounts, parts) = (self.samples.len(), self.targets.len());
        for row in 0..batch.rows() {
            if (first + row).is_multiple_of(every) {
                for (column, sample) in self.samples.iter_mut().enumerate() {
                    sample.push(batch.x.get(row * width + column).unwrap_or(f64::NAN) as f32);
                }
            }
            for (column, codes) in self.codes.iter_mut().enumerate() {
                let code = batch.x.get(row * width + amounts + column).unwrap_or(f64::NAN);
                if !(code >= 0.0 && code <= f64::from(u32::MAX)) {
                    return Err(Error::Training(format!("row {}: {code} is no code", first + row + 1)));
                }
                codes.push(code as u32);
            }
            for (part, targets) in self.targets.iter_mut().enumerate() {
                targets.push(batch.y.get(row * parts + part).unwrap_or(f64::NAN) as f32);
            }
        }
        self.weights.extend(&batch.weights);
        Ok(())
    }

    /// Refuses targets that are none.
    fn check(&self, task: &Task) -> Result<()> {
        for (part, targets) in task.parts().iter().zip(&self.targets) {
            let classes = match part.meaning {
                PartMeaning::Classes(names) => Some(names.len()),
                PartMeaning::Number { .. } => None,
            };
            let is_one = |target: &f32| match classes {
                Some(count) => *target >= 0.0 && (*target as usize) < count,
                None => target.is_finite(),
            };
            if let Some(row) = targets.iter().position(|target| !is_one(target)) {
                let what = classes
                    .map_or("no number".to_string(), |count| format!("none of {}", counted(count, "class")));
                return Err(Error::Training(format!(
                    "row {}: the target {} is {what}",
                    row + 1,
                    targets[row]
                )));
            }
        }
        Ok(())
    }
}

/// What a code may tell of the targets: numbers, and for classes whether it is each; the first few.
fn signals(task: &Task, targets: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut signals = Vec::new();
    for (part, targets) in task.parts().iter().zip(targets) {
        match part.meaning {
            PartMeaning::Number { .. } => signals.push(targets.clone()),
            PartMeaning::Classes(names) => {
                // Of two classes the second says all.
                let first = usize::from(names.len() == 2);
                for class in (first..names.len()).take(WIDEST - signals.len().min(WIDEST)) {
                    let is = |target: &f32| f32::from(u8::from(*target as usize == class));
                    signals.push(targets.iter().map(is).collect());
                }
            }
        }
    }
    signals.truncate(WIDEST);
    signals
}

/// For each signal a number for each code.
type CodeTable = Vec<Vec<f32>>;

/// What stands for each code in new rows, and for the code of each row: the mean of the targets of other rows with it, near that of all where they are
/// few. Rows behind the first so many are new ones.
fn encoded(
    (codes, count): (&[u32], usize),
    learned: usize,
    signals: &[Vec<f32>],
    weights: &[f32],
    options: &TreeOptions,
) -> Result<(CodeTable, Vec<Vec<f32>>)> {
    if let Some(row) = codes.iter().position(|code| *code as usize >= count) {
        return Err(Error::Training(format!("row {}: {} is none of {count} codes", row + 1, codes[row])));
    }
    let weight = |row: usize| weights.get(row).map_or(1.0, |weight| f64::from(*weight));
    let mut part_of = vec![0usize; learned];
    match options.fold_of.len() == learned {
        // Rows that belong together learn nothing of their codes from each other.
        true => part_of.iter_mut().zip(&options.fold_of).for_each(|(part, own)| *part = usize::from(*own)),
        false => {
            let parts = folds(learned, None, APART.min(learned).max(2), options.seed);
            for (part, (_, held)) in parts.unwrap_or_default().iter().enumerate() {
                held.iter().for_each(|row| part_of[*row] = part);
            }
        }
    }
    let parts = part_of.iter().max().map_or(1, |last| last + 1);
    let mut table = vec![Vec::with_capacity(signals.len()); count];
    let mut known = Vec::with_capacity(signals.len());
    for signal in signals {
        // Weighted sums and weights, of all rows and of those of each part.
        let mut sums = vec![[0.0; 2]; count];
        let mut apart = vec![vec![[0.0; 2]; count]; parts];
        for (row, &code) in codes.iter().enumerate().take(learned) {
            let own = [weight(row) * f64::from(signal[row]), weight(row)];
            for sum in [&mut sums[code as usize], &mut apart[part_of[row]][code as usize]] {
                *sum = [sum[0] + own[0], sum[1] + own[1]];
            }
        }
        let all = sums.iter().fold([0.0; 2], |all, sum| [all[0] + sum[0], all[1] + sum[1]]);
        let mean = all[0] / f64::max(all[1], f64::MIN_POSITIVE);
        let near = |[sum, weight]: [f64; 2]| ((sum + PRIOR * mean) / (weight + PRIOR)) as f32;
        table.iter_mut().zip(&sums).for_each(|(row, sum)| row.push(near(*sum)));
        let others = |(row, &code): (usize, &u32)| {
            let own = part_of.get(row).map_or([0.0; 2], |part| apart[*part][code as usize]);
            let all = sums[code as usize];
            near([all[0] - own[0], all[1] - own[1]])
        };
        known.push(codes.iter().enumerate().map(others).collect());
    }
    Ok((table, known))
}
