//! Rounds of trees, each grown on what those before leave wrong, until held out rows say that it is enough.

use std::thread;
use std::time::Instant;

use super::bins::Binned;
use super::grow::{GrownNode, Growth, TreeSource, grow, leaf};
use super::loss::{TreeLoss, quantile};

/// How trees are added to one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Boosting {
    pub loss: TreeLoss,
    pub growth: Growth,
    /// What of each leaf is added.
    pub rate: f64,
    /// The share of rows that each tree is grown on.
    pub rows: f64,
    /// The share of columns.
    pub columns: f64,
    pub rounds: usize,
    /// Ends where so many rounds made nothing better.
    pub patience: usize,
    pub seed: u64,
}

/// One target of rows that are binned.
pub(super) struct Lesson<'d> {
    pub binned: &'d Binned,
    pub y: &'d [f32],
    /// How much rows count; empty where all count the same.
    pub weights: &'d [f32],
    pub monotone: &'d [i8],
}

/// What ends a boosting before its time.
pub(super) struct Stops<'s> {
    pub ends: Option<Instant>,
    pub asked: &'s (dyn Fn() -> bool + Sync),
}

impl Stops<'_> {
    fn is_over(&self) -> bool {
        (self.asked)() || self.ends.is_some_and(|end| Instant::now() >= end)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Boosted {
    pub start: Vec<f32>,
    /// Round by round a tree for each score.
    pub rounds: Vec<Vec<Vec<GrownNode>>>,
    /// The mean loss of rows that are trained on, and of those held out, after each round that was made.
    pub curves: [Vec<f64>; 2],
    /// Whether time or somebody ended it.
    pub was_stopped: bool,
}

impl Boosted {
    /// The least loss of rows held out; of those grown on where none are.
    pub fn best(&self) -> f64 {
        let curve = if self.curves[1].is_empty() { &self.curves[0] } else { &self.curves[1] };
        curve.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Boosts on some rows and holds others out; with none held out for as many rounds as are said.
pub(super) fn boost(lesson: &Lesson, plan: &Boosting, train: &[u32], held: &[u32], stops: &Stops) -> Boosted {
    let count = plan.loss.scores();
    let start = plan.loss.start(train, lesson.y, lesson.weights);
    let mut booster = Booster {
        lesson,
        plan,
        train,
        scores: start.iter().copied().cycle().take(lesson.binned.rows * count).collect(),
        derived: vec![[0.0; 2]; train.len() * count],
        pulls: vec![[0; 2]; lesson.binned.rows],
    };
    let mut boosted =
        Boosted { start, rounds: Vec::new(), curves: [Vec::new(), Vec::new()], was_stopped: false };
    let mut best = (0, booster.loss(held));
    for round in 0..plan.rounds {
        let Some(trees) = booster.round(round, held, stops) else {
            boosted.was_stopped = true;
            break;
        };
        let is_over = trees.iter().all(|tree| tree.len() == 1);
        boosted.rounds.push(trees);
        boosted.curves[0].push(booster.loss(train));
        if held.is_empty() {
            best.0 = round + 1;
        } else {
            let loss = booster.loss(held);
            boosted.curves[1].push(loss);
            if loss < best.1 {
                best = (round + 1, loss);
            }
            if round + 1 - best.0 >= plan.patience {
                break;
            }
        }
        if is_over {
            break;
        }
    }
    boosted.rounds.truncate(best.0);
    boosted
}

struct Booster<'d> {
    lesson: &'d Lesson<'d>,
    plan: &'d Boosting,
    train: &'d [u32],
    /// Row by row.
    scores: Vec<f32>,
    /// Score by score, of rows that are trained on.
    derived: Vec<[f32; 2]>,
    pulls: Vec<[i32; 2]>,
}

/// The largest gradient, as a whole number.
const LARGEST: f64 = (1u32 << 30) as f64;

impl Booster<'_> {
    fn weight(&self, row: u32) -> f32 {
        self.lesson.weights.get(row as usize).copied().unwrap_or(1.0)
    }

    /// The weighted mean of the loss over some rows; infinite over none.
    fn loss(&self, rows: &[u32]) -> f64 {
        if rows.is_empty() {
            return f64::INFINITY;
        }
        let count = self.plan.loss.scores();
        let of = |row: &u32| {
            let at = *row as usize;
            let weight = f64::from(self.weight(*row));
            (weight * self.plan.loss.of(self.lesson.y[at], &self.scores[at * count..][..count]), weight)
        };
        // Pieces of one size, whoever adds them up.
        let pieces: Vec<&[u32]> = rows.chunks(PIECE).collect();
        let sum = |piece: &&[u32]| piece.iter().map(of).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        let sums = self.each(&pieces, sum);
        let (loss, weight) = sums.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        loss / weight.max(f64::MIN_POSITIVE)
    }

    /// `f` of each piece of work, by as many threads as there may be.
    fn each<W: Sync, R: Send>(&self, work: &[W], f: impl Fn(&W) -> R + Sync) -> Vec<R> {
        let threads = self.plan.growth.threads.max(1).min(work.len());
        if threads <= 1 {
            return work.iter().map(f).collect();
        }
        let f = &f;
        thread::scope(|scope| {
            let parts = work.chunks(work.len().div_ceil(threads));
            let all: Vec<_> =
                parts.map(|part| scope.spawn(move || part.iter().map(f).collect::<Vec<R>>())).collect();
            let ended = |handle: thread::ScopedJoinHandle<'_, Vec<R>>| {
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            all.into_iter().flat_map(ended).collect()
        })
    }

    /// A tree for each score; nothing where it has to end before.
    fn round(&mut self, round: usize, held: &[u32], stops: &Stops) -> Option<Vec<Vec<GrownNode>>> {
        let count = self.plan.loss.scores();
        if stops.is_over() {
            return None;
        }
        self.derive();
        let mut trees = Vec::with_capacity(count);
        for score in 0..count {
            if score > 0 && stops.is_over() {
                return None;
            }
            let key = mixed(self.plan.seed ^ mixed((round * count + score) as u64));
            trees.push(self.tree(score, key, held));
        }
        Some(trees)
    }

    fn derive(&mut self) {
        let (loss, count, rows) = (self.plan.loss, self.plan.loss.scores(), self.train.len());
        let mut own = vec![[0.0; 2]; count];
        for (at, &row) in self.train.iter().enumerate() {
            let scores = &self.scores[row as usize * count..][..count];
            loss.derive(self.lesson.y[row as usize], scores, &mut own);
            let weight = self.weight(row);
            for (score, [g, h]) in own.iter().enumerate() {
                self.derived[score * rows + at] = [g * weight, h * weight];
            }
        }
    }

    fn tree(&mut self, score: usize, key: u64, held: &[u32]) -> Vec<GrownNode> {
        let derived = &self.derived[score * self.train.len()..][..self.train.len()];
        let most =
            derived.iter().fold([0f32; 2], |most, pull| [most[0].max(pull[0].abs()), most[1].max(pull[1])]);
        let scales = most.map(|most| if most > 0.0 { LARGEST / f64::from(most) } else { 1.0 });
        let share = (self.plan.rows * (1u64 << 32) as f64) as u64;
        let mut drawn = Vec::with_capacity(self.train.len());
        let mut others = held.to_vec();
        for (&row, pull) in self.train.iter().zip(derived) {
            if mixed(key ^ u64::from(row)) >> 32 < share {
                drawn.push(row);
                let whole = |at: usize| (f64::from(pull[at]) * scales[at]) as i32;
                self.pulls[row as usize] = [whole(0), whole(1)];
            } else {
                others.push(row);
            }
        }
        let columns = self.columns(key);
        let Lesson { binned, monotone, .. } = *self.lesson;
        let soil = TreeSource { binned, columns: &columns, pulls: &self.pulls, scales, monotone };
        let grown = grow(&soil, &self.plan.growth, drawn);
        let mut nodes = grown.nodes;
        let count = self.plan.loss.scores();
        if let TreeLoss::Quantile(share) = self.plan.loss {
            self.quantiles(&mut nodes, &grown.rows, share);
        }
        let rate = self.plan.rate;
        for node in nodes.iter_mut() {
            node.value *= rate;
        }
        for node in nodes.iter().filter(|node| node.children == [0; 2]) {
            for &row in &grown.rows[node.range.0..node.range.1] {
                self.scores[row as usize * count + score] += node.value as f32;
            }
        }
        let pieces: Vec<&[u32]> = others.chunks(PIECE).collect();
        let found = self.each(&pieces, |piece| {
            piece
                .iter()
                .map(|row| nodes[leaf(&nodes, binned, *row as usize)].value as f32)
                .collect::<Vec<_>>()
        });
        for (&row, value) in others.iter().zip(found.into_iter().flatten()) {
            self.scores[row as usize * count + score] += value;
        }
        nodes
    }

    /// Leaves say the quantile of what is left of their rows.
    fn quantiles(&self, nodes: &mut [GrownNode], rows: &[u32], share: f64) {
        for node in nodes.iter_mut().filter(|node| node.children == [0; 2]) {
            let left = |&row: &u32| {
                let at = row as usize;
                (self.lesson.y[at] - self.scores[at], f64::from(self.weight(row)))
            };
            node.value =
                f64::from(quantile(rows[node.range.0..node.range.1].iter().map(left).collect(), share));
        }
    }

    /// Columns that a tree may ask of, in their order.
    fn columns(&self, key: u64) -> Vec<usize> {
        let useful = |column: &usize| !self.lesson.binned.columns[*column].cuts.is_empty();
        let mut columns: Vec<usize> = (0..self.lesson.binned.columns.len()).filter(useful).collect();
        let wanted = ((columns.len() as f64 * self.plan.columns).ceil() as usize).max(1);
        if wanted < columns.len() {
            columns.sort_by_key(|column| mixed(key ^ 0x5bd1_e995 ^ mixed(*column as u64)));
            columns.truncate(wanted);
            columns.sort_unstable();
        }
        columns
    }
}

/// Rows of a piece of work.
const PIECE: usize = 1 << 14;

/// Bits that look random, of any number (splitmix64).
pub(super) fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
