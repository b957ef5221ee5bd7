//! Boosted trees, grown from a set and made a row of layers (`trees`): a model like any other from then on.
//!
//! They are kiln's own: histograms over columns in 255 bins, leaf by leaf, second-order gains. Sums of gradients are whole numbers, so that the same set
//! and seed give the same bits on any number of threads. How many rounds are enough is seen on rows that a tree isn't grown on; where there are few rows
//! each is held out once, and the forest is the mean of those of all folds. docs/tables.md has what was measured.

mod bins;
mod boost;
mod forest;
mod grow;
mod loss;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::thread;
use std::time::Instant;

use kiln_data::{Curve, Dataset, Joined, folds};
use kiln_map::counted;
use kiln_nn::Sequential;
use kiln_nn::metrics::History;
use serde::{Deserialize, Serialize};

use self::boost::{Boosted, Boosting, Lesson, Stops, boost};
use self::forest::GrownForest;
use self::grow::Growth;
use self::loss::TreeLoss;
use self::rows::BinnedSet;
use crate::model::{PartMeaning, Task, TaskPart, quantiles};
use crate::{Error, Result};

/// How trees are grown, where it isn't as usual.
#[derive(Clone, Default)]
pub struct TreeOptions<'o> {
    /// Where randomness starts.
    pub seed: u64,
    /// When the last round begins at the latest.
    pub ends: Option<Instant>,
    /// Whether somebody asks for the end; asked between rounds.
    pub interrupt: Option<&'o (dyn Fn() -> bool + Sync)>,
    /// Rows that say how many rounds are enough; without them each row is held out once, or some are.
    pub valid: Option<&'o dyn Dataset>,
    /// Which fold each row is held out in, from 0, where rows belong together; otherwise chance says it.
    pub fold_of: Vec<u8>,
    /// How many codes each of the last columns has, where those are codes.
    pub codes: Vec<usize>,
    /// For each column 1 where what is predicted (of classes: the second of two) may only rise with it, −1 where only fall, 0 where neither; or nothing.
    pub monotone: Vec<i8>,
    /// Classes weigh the same, however many rows they have.
    pub balanced: bool,
    /// What was chosen before: the same trees come of it, whatever the clock says.
    pub chosen: Option<Vec<TreeChoice>>,
}

/// What was found to suit one target; of an interval each of its bounds and its middle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeChoice {
    /// Which of the ways to grow trees.
    pub growth: usize,
    /// How many rounds, of each fold.
    pub rounds: Vec<usize>,
}

/// A forest, and how it came about.
pub struct FittedTrees {
    /// The layers.
    pub layers: Sequential,
    /// What was chosen, target by target; with it the same trees come again.
    pub chosen: Vec<TreeChoice>,
    /// The mean loss of rows grown on and of those held out, round by round.
    pub history: History,
    /// The share of all gains that is each input's.
    pub gains: Vec<f64>,
    /// How many trees there are.
    pub trees: usize,
    /// How many nodes they have.
    pub nodes: usize,
    /// Whether time or somebody ended it.
    pub was_stopped: bool,
}

/// What is tried on few rows, the best of it is taken: leaves of a tree, rows of a leaf at least, and what pulls leaves to zero. On many rows it is the
/// second.
const WAYS: [(usize, f64, f64); 3] = [(15, 15.0, 1.0), (31, 5.0, 1.0), (127, 1.0, 0.3)];
const USUAL: usize = 1;

/// Up to so many rows all ways are tried; up to so many each row is held out once.
const FEW: usize = 20_000;
const SOME: usize = 100_000;

/// Parts of few rows, each of which is held out once; of many rows one such part is held out.
const FOLDS: usize = 5;
const HELD: usize = 8;

/// Rounds, at most, and how many may make nothing better.
const ROUNDS: usize = 5000;
const PATIENCE: usize = 50;

/// What of each leaf is added, where rows are few or many.
const RATE: f64 = 0.05;
const FAST: f64 = 0.1;

/// The shares of rows and columns that each tree is grown on.
const ROWS: f64 = 0.8;
const COLUMNS: f64 = 0.8;

/// With more classes than this a round takes longer than it is worth.
const MOST_CLASSES: usize = 200;

/// Numbers of a set, above which threads share a fold instead of folds.
const SHARED: usize = 1 << 22;

/// Grows trees that predict what a task asks for.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::model::Task;
/// use kiln::trees::{TreeOptions, fit};
///
/// let (train, test) = data::moons(400, 0.2, 1).split(0.75);
/// let forest = fit(&train, &Task::of(&train), &TreeOptions { seed: 7, ..TreeOptions::default() })?;
/// let x = Tensor::new(test.all()?.x.as_f32().unwrap_or_default().to_vec(), [test.len(), 2]);
/// let guess = forest.layers.forward(&x, &Context::inference()).argmax(-1).to_vec::<i64>()?;
/// let right = guess.iter().zip(test.labels()?).filter(|(guess, truth)| **guess == *truth).count();
/// assert!(right as f64 > 0.9 * test.len() as f64, "{right} of {}", test.len());
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where rows aren't numbers in columns or can't be read, targets aren't what the task says, or options don't suit them.
pub fn fit(train: &dyn Dataset, task: &Task, options: &TreeOptions) -> Result<FittedTrees> {
    let joined = options.valid.filter(|valid| !valid.is_empty()).map(|valid| Joined::new(train, valid));
    let joined = joined.transpose()?;
    let set = joined.as_ref().map_or(train, |joined| joined as &dyn Dataset);
    let soil = rows::read(set, train.len(), task, options)?;
    check(&soil, task, options)?;
    let parts = task.parts();
    let width = train.x().width();
    let mut forest = GrownForest::new(task.outputs(), soil.binned.columns.len());
    let (mut chosen, mut curves) = (Vec::new(), Vec::new());
    let mut was_stopped = false;
    let held = joined.as_ref().map(|_| train.len());
    let targets: Vec<LearnedTarget> = parts
        .iter()
        .enumerate()
        .flat_map(|(at, part)| losses(part).into_iter().map(move |of| (at, part, of)))
        .map(|(at, part, (outputs, loss))| LearnedTarget {
            soil: &soil,
            part,
            outputs,
            loss,
            numbers: &soil.targets[at],
            options,
            held,
        })
        .collect();
    for (at, target) in targets.iter().enumerate() {
        let ends = share(options.ends, targets.len() - at);
        let known = options.chosen.as_ref().and_then(|chosen| chosen.get(at));
        let (choice, boosted) = target.fit(known, ends)?;
        was_stopped |= boosted.iter().any(|boosted| boosted.was_stopped);
        curves.push(boosted.iter().map(|boosted| boosted.curves.clone()).collect());
        forest.add(&soil.binned, target.outputs.clone(), &boosted);
        chosen.push(choice);
    }
    let (trees, nodes) = forest.size();
    Ok(FittedTrees {
        chosen,
        history: history(&curves),
        gains: forest.gains(width, &soil.codes),
        trees,
        nodes,
        was_stopped,
        layers: forest.layers(width, &soil.codes)?,
    })
}

/// Refuses options that say nothing of these data.
fn check(soil: &BinnedSet, task: &Task, options: &TreeOptions) -> Result<()> {
    let refuse = |message: String| Err(Error::Training(message));
    let columns = soil.binned.columns.len();
    if !options.fold_of.is_empty() && options.valid.is_none() && options.fold_of.len() != soil.binned.rows {
        return refuse(format!(
            "a fold is said for {}, and there are {}",
            counted(options.fold_of.len(), "row"),
            soil.binned.rows
        ));
    }
    if options.monotone.len() > columns {
        return refuse(format!(
            "{} said to be monotone, of {columns}",
            counted(options.monotone.len(), "column")
        ));
    }
    let is_number = |part: &TaskPart| matches!(part.meaning, PartMeaning::Number { .. });
    let parts = task.parts();
    if options.monotone.iter().any(|way| *way != 0)
        && !parts.iter().all(|part| is_number(part) || part.outputs.len() == 2)
    {
        return refuse(
            "what rises with a column is a number or the second of two classes; there are more".to_string(),
        );
    }
    let has_bounds = |part: &TaskPart| matches!(part.meaning, PartMeaning::Number { interval: Some(_), .. });
    if options.monotone.iter().any(|way| *way != 0) && parts.iter().any(has_bounds) {
        return refuse(
            "trees keep no bounds of an interval to rise or fall with a column; leave one of both out"
                .to_string(),
        );
    }
    if let Some(part) = parts.iter().find(|part| !is_number(part) && part.outputs.len() > MOST_CLASSES) {
        return refuse(format!(
            "each round of trees has one for each class, and there may be {MOST_CLASSES}; of {} there are too many: networks tell them apart (--preset mlp)",
            part.outputs.len()
        ));
    }
    if options.balanced && parts.iter().any(is_number) {
        return refuse("only classes can weigh the same".to_string());
    }
    Ok(())
}

/// The losses that the outputs of a target are learned by.
fn losses(part: &TaskPart) -> Vec<(Range<usize>, TreeLoss)> {
    let outputs = part.outputs.clone();
    match part.meaning {
        PartMeaning::Classes(names) if names.len() == 2 => vec![(outputs, TreeLoss::Logistic)],
        PartMeaning::Classes(names) => vec![(outputs, TreeLoss::Softmax(names.len()))],
        PartMeaning::Number { interval: Some(share), .. } => {
            let each = outputs.zip(quantiles(share));
            each.map(|(output, share)| (output..output + 1, TreeLoss::Quantile(share))).collect()
        }
        PartMeaning::Number { unit, interval: None } => match unit.curve {
            Curve::Count => vec![(outputs, TreeLoss::Poisson)],
            Curve::Straight | Curve::Log { .. } => vec![(outputs, TreeLoss::Squared)],
        },
    }
}

/// The first of so many equal shares of the time that is left.
fn share(ends: Option<Instant>, count: usize) -> Option<Instant> {
    let now = Instant::now();
    ends.map(|end| now + end.saturating_duration_since(now) / u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}

/// Outputs that are learned together: those of a target, or of an interval one.
struct LearnedTarget<'t> {
    soil: &'t BinnedSet,
    part: &'t TaskPart<'t>,
    outputs: Range<usize>,
    loss: TreeLoss,
    numbers: &'t [f32],
    options: &'t TreeOptions<'t>,
    /// Where rows begin that were given to hold out.
    held: Option<usize>,
}

impl LearnedTarget<'_> {
    /// How much rows count, classes among them.
    fn weights(&self) -> Vec<f32> {
        let PartMeaning::Classes(names) = self.part.meaning else { return self.soil.weights.clone() };
        if !self.options.balanced {
            return self.soil.weights.clone();
        }
        let mut counts = vec![0usize; names.len()];
        let learned = &self.numbers[..self.held.unwrap_or(self.numbers.len())];
        learned.iter().for_each(|class| counts[*class as usize] += 1);
        let seen = counts.iter().filter(|count| **count > 0).count();
        let of = |(row, class): (usize, &f32)| {
            let own = learned.len() as f32 / (seen * counts[*class as usize].max(1)) as f32;
            own * self.soil.weights.get(row).copied().unwrap_or(1.0)
        };
        self.numbers.iter().enumerate().map(of).collect()
    }

    /// Rows to grow on and rows to hold out, of each fold.
    fn folds(&self) -> Result<Vec<(Vec<u32>, Vec<u32>)>> {
        let rows = self.soil.binned.rows;
        let whole = |rows: std::ops::Range<usize>| rows.map(|row| row as u32).collect::<Vec<u32>>();
        if let Some(held) = self.held {
            return Ok(vec![(whole(0..held), whole(held..rows))]);
        }
        if rows < 2 * FOLDS {
            return Ok(vec![(whole(0..rows), Vec::new())]);
        }
        let fold_of = &self.options.fold_of;
        if let Some(last) = fold_of.iter().max() {
            let fold = |at: u8| {
                (0..rows as u32).partition(|&row| fold_of.get(row as usize).is_none_or(|own| *own != at))
            };
            let all: Vec<(Vec<u32>, Vec<u32>)> = (0..=*last).map(fold).collect();
            let all: Vec<_> =
                all.into_iter().filter(|(train, held)| !train.is_empty() && !held.is_empty()).collect();
            if !all.is_empty() {
                return Ok(all);
            }
        }
        let labels: Option<Vec<i64>> = match self.part.meaning {
            PartMeaning::Classes(_) => Some(self.numbers.iter().map(|class| *class as i64).collect()),
            PartMeaning::Number { .. } => None,
        };
        let (count, taken) = if rows <= SOME { (FOLDS, FOLDS) } else { (HELD, 1) };
        let mut all = folds(rows, labels.as_deref(), count, self.options.seed)?;
        all.truncate(taken);
        let narrow = |list: Vec<usize>| {
            let mut list: Vec<u32> = list.into_iter().map(|row| row as u32).collect();
            list.sort_unstable();
            list
        };
        Ok(all.into_iter().map(|(train, held)| (narrow(train), narrow(held))).collect())
    }

    /// The way that rows held out like best, and the forests of its folds.
    fn fit(&self, known: Option<&TreeChoice>, ends: Option<Instant>) -> Result<(TreeChoice, Vec<Boosted>)> {
        let folds = self.folds()?;
        let ways: Vec<usize> = match known {
            Some(choice) if choice.growth < WAYS.len() && choice.rounds.len() == folds.len() => {
                vec![choice.growth]
            }
            Some(_) => return Err(Error::Training("what was chosen for trees is of other rows".to_string())),
            None if self.soil.binned.rows <= FEW && !folds[0].1.is_empty() => vec![USUAL, 0, 2],
            None => vec![USUAL],
        };
        let mut best: Option<(f64, TreeChoice, Vec<Boosted>)> = None;
        for (at, &growth) in ways.iter().enumerate() {
            let ends = if known.is_some() { None } else { share(ends, ways.len() - at) };
            let rounds = known.map(|choice| choice.rounds.as_slice());
            let boosted = self.boost(growth, &folds, rounds, ends);
            let is_cut = boosted.iter().any(|boosted| boosted.was_stopped);
            let loss = boosted.iter().map(Boosted::best).sum::<f64>();
            let is_better = best.as_ref().is_none_or(|(least, ..)| loss < *least);
            if is_better {
                let rounds = boosted.iter().map(|boosted| boosted.rounds.len()).collect();
                best = Some((loss, TreeChoice { growth, rounds }, boosted));
            }
            // Whoever asked for the end means all of it.
            if is_cut && self.options.interrupt.is_some_and(|asked| asked()) {
                break;
            }
        }
        let (_, choice, boosted) = best.ok_or_else(|| Error::Training("no trees were grown".to_string()))?;
        Ok((choice, boosted))
    }

    /// The forests of all folds, grown one way.
    fn boost(
        &self,
        growth: usize,
        folds: &[(Vec<u32>, Vec<u32>)],
        rounds: Option<&[usize]>,
        ends: Option<Instant>,
    ) -> Vec<Boosted> {
        let (leaves, rows, l2) = WAYS[growth];
        let threads = kiln_nn::threads().max(1);
        let is_large = self.soil.binned.rows * self.soil.binned.columns.len().max(1) >= SHARED;
        let own = if is_large || folds.len() == 1 { threads } else { 1 };
        let weights = self.weights();
        let lesson = Lesson {
            binned: &self.soil.binned,
            y: self.numbers,
            weights: &weights,
            monotone: &self.options.monotone,
        };
        let never = || false;
        let asked = self.options.interrupt.unwrap_or(&never);
        let fold = |at: usize, ends: Option<Instant>| {
            let plan = Boosting {
                loss: self.loss,
                growth: Growth { leaves, depth: 64, l2, rows, curvature: 1e-3, threads: own },
                rate: if self.soil.binned.rows <= SOME { RATE } else { FAST },
                rows: ROWS,
                columns: COLUMNS,
                rounds: rounds.map_or(if folds[at].1.is_empty() { 100 } else { ROUNDS }, |rounds| rounds[at]),
                patience: PATIENCE,
                seed: self.options.seed ^ boost::mixed(at as u64),
            };
            boost(&lesson, &plan, &folds[at].0, &folds[at].1, &Stops { ends, asked })
        };
        let together = if own == 1 { threads.min(folds.len()) } else { 1 };
        let mut all = Vec::with_capacity(folds.len());
        for first in (0..folds.len()).step_by(together) {
            let last = (first + together).min(folds.len());
            let ends = share(ends, (folds.len() - first).div_ceil(together));
            if together == 1 {
                all.push(fold(first, ends));
                continue;
            }
            all.extend(thread::scope(|scope| {
                let fold = &fold;
                let some: Vec<_> = (first..last).map(|at| scope.spawn(move || fold(at, ends))).collect();
                let ended = |handle: thread::ScopedJoinHandle<'_, Boosted>| {
                    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                some.into_iter().map(ended).collect::<Vec<_>>()
            }));
        }
        all
    }
}

/// The mean over folds and the sum over targets of what was lost, round by round.
fn history(targets: &[Vec<[Vec<f64>; 2]>]) -> History {
    let mut series: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for folds in targets {
        for (which, sum) in series.iter_mut().enumerate() {
            let rounds = folds.iter().map(|fold| fold[which].len()).min().unwrap_or(0);
            let mean =
                |round: usize| folds.iter().map(|fold| fold[which][round]).sum::<f64>() / folds.len() as f64;
            let own: Vec<f64> = (0..rounds).map(mean).collect();
            let before = std::mem::take(sum);
            let at = |list: &[f64], round: usize| list.get(round).or(list.last()).copied().unwrap_or(0.0);
            *sum =
                (0..own.len().max(before.len())).map(|round| at(&own, round) + at(&before, round)).collect();
        }
    }
    let mut history = History::default();
    for round in 0..series[0].len() {
        let mut numbers = vec![("loss", series[0][round])];
        numbers.extend(series[1].get(round).map(|loss| ("val_loss", *loss)));
        history.record(&numbers);
    }
    history
}
