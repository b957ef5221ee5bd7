//! Exact Shapley values of trees against a background, with columns as the players: what each column moves when it goes from a background row's
//! value to the row's own, averaged over all orders and all background rows (Lundberg's interventional TreeSHAP, with whole columns).
//!
//! A leaf is reached by a mixture of both rows where each column on its path leads there by whichever row it is taken from. So all that a leaf adds
//! follows from two sets of bits: the columns whose own value leads there, and those whose background value does. Few such sets occur, and each is
//! counted once.

use std::collections::HashMap;
use std::thread;

use kiln_nn::{Data, Module, Sequential};

use crate::{Error, Result};

/// The lists of a layer of trees.
pub(super) struct ForestParts {
    roots: Vec<i32>,
    columns: Vec<i32>,
    thresholds: Vec<f32>,
    children: Vec<i32>,
    values: Vec<f32>,
    targets: Vec<i32>,
}

/// Rows that go down a tree together.
const TOGETHER: usize = 512;

/// Columns on a path, at most.
const PLAYERS: usize = 63;

/// Up to so many columns of a path what a set of bits comes to stands in a list.
const LISTED: usize = 10;

impl ForestParts {
    /// Of the layer at this path of a row.
    pub(super) fn of(row: &Sequential, path: &str) -> Result<ForestParts> {
        let states = row.states();
        let read = |name: &str| {
            let own = states.iter().find(|(other, _)| *other == format!("{path}.{name}"));
            let (_, state) = own.ok_or_else(|| Error::Preparation(format!("the forest has no {name}")))?;
            Ok::<Data, Error>(state.read()?)
        };
        let whole = |name: &str| Ok::<_, Error>(read(name)?.as_slice::<i32>().unwrap_or_default().to_vec());
        let single = |name: &str| Ok::<_, Error>(read(name)?.as_slice::<f32>().unwrap_or_default().to_vec());
        let parts = ForestParts {
            roots: whole("roots")?,
            columns: whole("columns")?,
            thresholds: single("thresholds")?,
            children: whole("children")?,
            values: single("values")?,
            targets: whole("targets")?,
        };
        let outputs = parts.targets.iter().map(|target| *target as usize + 1).max().unwrap_or(0);
        kiln_nn::layers::check_trees(&parts.roots, &parts.children, &parts.targets, outputs)?;
        let nodes = parts.columns.len();
        let fits = nodes == parts.thresholds.len()
            && nodes == parts.values.len()
            && nodes * 4 == parts.children.len();
        match fits {
            true => Ok(parts),
            false => Err(Error::Preparation("the lists of the forest are of different lengths".to_string())),
        }
    }
}

/// Rows and what they are compared with, as trees see them.
pub(super) struct TreeGame<'g> {
    /// `[rows, features]`.
    pub(super) x: &'g [f32],
    /// `[background rows, features]`.
    pub(super) background: &'g [f32],
    /// How many features a row has.
    pub(super) width: usize,
    /// Which player each feature is of.
    pub(super) player: &'g [usize],
    /// How many players there are.
    pub(super) players: usize,
    /// What each output of each row counts, `[rows, outputs]`.
    pub(super) weights: &'g [f64],
    pub(super) outputs: usize,
}

/// Adds what each player of each row moves to `sums`, `[rows, players]`.
pub(super) fn shapley(forest: &ForestParts, game: &TreeGame, sums: &mut [f64]) -> Result<()> {
    let rows = game.x.len() / game.width.max(1);
    if rows == 0 || game.players == 0 {
        return Ok(());
    }
    if let Some(column) = forest.columns.iter().find(|column| **column as usize >= game.width) {
        return Err(Error::Preparation(format!("a tree asks of input {column} of {}", game.width)));
    }
    let threads = kiln_nn::threads().max(1);
    let together = rows.div_ceil(threads).clamp(1, TOGETHER);
    let orders = Orders::new();
    let work: Vec<(usize, &mut [f64])> = sums.chunks_mut(together * game.players).enumerate().collect();
    let run = |(at, sums): (usize, &mut [f64])| {
        let first = at * together;
        let count = sums.len() / game.players;
        TreeDescent::new(forest, game, first, count, &orders).run(sums)
    };
    let mut shares: Vec<Vec<(usize, &mut [f64])>> = (0..threads).map(|_| Vec::new()).collect();
    work.into_iter().enumerate().for_each(|(at, one)| shares[at % threads].push(one));
    let run = &run;
    thread::scope(|scope| {
        let all: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().try_for_each(run)))
            .collect();
        let ended = |handle: thread::ScopedJoinHandle<'_, Result<()>>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        all.into_iter().map(ended).collect::<Vec<_>>().into_iter().collect()
    })
}

/// The share of all orders in which so many of one side come before so many of the other and one of the first is the last of them:
/// `(own − 1)! · other! / (own + other)!`.
struct Orders(Vec<f64>);

impl Orders {
    fn new() -> Orders {
        let mut factorials = vec![1.0f64; PLAYERS + 2];
        (1..factorials.len()).for_each(|at| factorials[at] = factorials[at - 1] * at as f64);
        let share = |own: usize, other: usize| match (own, own + other <= PLAYERS) {
            (0, _) | (_, false) => 0.0,
            _ => factorials[own - 1] / factorials[own + other] * factorials[other],
        };
        Orders(
            (0..=PLAYERS)
                .flat_map(|own| (0..=PLAYERS).map(move |other| (own, other)))
                .map(|(own, other)| share(own, other))
                .collect(),
        )
    }

    fn of(&self, own: u32, other: u32) -> f64 {
        self.0[own as usize * (PLAYERS + 1) + other as usize]
    }
}

/// Some rows on their way down all trees.
struct TreeDescent<'w> {
    forest: &'w ForestParts,
    game: &'w TreeGame<'w>,
    orders: &'w Orders,
    /// The first of the rows, and how many.
    first: usize,
    count: usize,
    /// What each set of bits came to at the leaf in hand.
    known: KnownSets,
}

/// A node with the bits of all rows, own ones first: set where all of a player's nodes on the path lead here.
struct ReachedNode {
    node: usize,
    players: Vec<usize>,
    bits: Vec<u64>,
}

#[derive(Default)]
struct KnownSets {
    stamp: u32,
    stamps: Vec<u32>,
    values: Vec<f64>,
    rare: HashMap<u64, Vec<f64>>,
}

impl<'w> TreeDescent<'w> {
    fn new(
        forest: &'w ForestParts,
        game: &'w TreeGame<'w>,
        first: usize,
        count: usize,
        orders: &'w Orders,
    ) -> TreeDescent<'w> {
        TreeDescent { forest, game, orders, first, count, known: KnownSets::default() }
    }

    fn run(&mut self, sums: &mut [f64]) -> Result<()> {
        let all = self.count + self.game.background.len() / self.game.width;
        for (tree, root) in self.forest.roots.iter().enumerate() {
            let target = self.forest.targets[tree] as usize;
            let counts = (self.first..self.first + self.count).any(|row| {
                self.game.weights.get(row * self.game.outputs + target).is_some_and(|weight| *weight != 0.0)
            });
            if !counts {
                continue;
            }
            let mut open =
                vec![ReachedNode { node: *root as usize, players: Vec::new(), bits: vec![u64::MAX; all] }];
            while let Some(reached) = open.pop() {
                let children = &self.forest.children[reached.node * 4..][..4];
                match children.iter().all(|child| *child as usize == reached.node) {
                    true => self.leaf(&reached, target, sums),
                    false => self.split(reached, &mut open)?,
                }
            }
        }
        Ok(())
    }

    /// The children of a node, each with the bits of those rows that go there.
    fn split(&self, reached: ReachedNode, open: &mut Vec<ReachedNode>) -> Result<()> {
        let ReachedNode { node, mut players, bits } = reached;
        let (column, threshold) = (self.forest.columns[node] as usize, self.forest.thresholds[node]);
        let player = self.game.player[column];
        let place = players.iter().position(|own| *own == player).unwrap_or_else(|| {
            players.push(player);
            players.len() - 1
        });
        if place >= PLAYERS {
            return Err(Error::Preparation(format!(
                "a path of a tree asks of more columns than {PLAYERS}; explain by samples (--method sampled)"
            )));
        }
        let way = |number: f32| number.partial_cmp(&threshold).map_or(3, |order| (order as i8 + 1) as usize);
        let own = &self.game.x[self.first * self.game.width..][..self.count * self.game.width];
        let numbers = own
            .chunks(self.game.width)
            .chain(self.game.background.chunks(self.game.width))
            .map(|row| row[column]);
        let children = &self.forest.children[node * 4..][..4];
        let taken: Vec<i32> = numbers.map(|number| children[way(number)]).collect();
        let (bit, full) = (1u64 << place, set_of(players.len()));
        for (at, child) in children.iter().enumerate() {
            if children[..at].contains(child) {
                continue;
            }
            let led = |(bits, taken): (&u64, &i32)| if taken == child { *bits } else { bits & !bit };
            let bits: Vec<u64> = bits.iter().zip(&taken).map(led).collect();
            let (own, others) = bits.split_at(self.count);
            // Where no mixture comes, nothing behind it counts.
            let any = |bits: &[u64]| bits.iter().fold(0, |any, bits| any | bits);
            if (any(own) | any(others)) & full == full {
                open.push(ReachedNode { node: *child as usize, players: players.clone(), bits });
            }
        }
        Ok(())
    }

    /// Adds what a leaf moves.
    fn leaf(&mut self, reached: &ReachedNode, target: usize, sums: &mut [f64]) {
        let players = &reached.players;
        if players.is_empty() {
            return;
        }
        let full = set_of(players.len());
        let (own, others) = reached.bits.split_at(self.count);
        let mut background: Vec<(u64, f64)> = Vec::new();
        let share = f64::from(self.forest.values[reached.node]) / others.len().max(1) as f64;
        for bits in others.iter().map(|bits| bits & full) {
            match background.iter_mut().find(|(known, _)| *known == bits) {
                Some((_, count)) => *count += share,
                None => background.push((bits, share)),
            }
        }
        self.known.begin(players.len());
        for (row, bits) in own.iter().map(|bits| bits & full).enumerate() {
            let weight = self.game.weights[(self.first + row) * self.game.outputs + target];
            if weight == 0.0 {
                continue;
            }
            let orders = self.orders;
            let moved =
                self.known.of(bits, players.len(), |moved| movements(bits, &background, full, orders, moved));
            let sums = &mut sums[row * self.game.players..][..self.game.players];
            for (player, moved) in players.iter().zip(moved) {
                sums[*player] += weight * moved;
            }
        }
    }
}

/// What each player moves at a leaf where the row's own values lead by `own` and those of background rows by theirs.
fn movements(own: u64, background: &[(u64, f64)], full: u64, orders: &Orders, moved: &mut [f64]) {
    for (theirs, value) in background {
        if (own | theirs) & full != full {
            continue;
        }
        let (only_own, only_theirs) = (own & !theirs, theirs & !own);
        let (here, there) = (only_own.count_ones(), only_theirs.count_ones());
        let gained = value * orders.of(here, there);
        let lost = value * orders.of(there, here);
        for (place, moved) in moved.iter_mut().enumerate() {
            if only_own >> place & 1 == 1 {
                *moved += gained;
            } else if only_theirs >> place & 1 == 1 {
                *moved -= lost;
            }
        }
    }
}

/// So many bits.
fn set_of(count: usize) -> u64 {
    (1u64 << count) - 1
}

impl KnownSets {
    /// A leaf whose path has so many players.
    fn begin(&mut self, players: usize) {
        self.rare.clear();
        self.stamp = self.stamp.wrapping_add(1);
        if players <= LISTED && self.stamps.len() < 1 << players || self.stamp == 0 {
            self.stamps = vec![0; 1 << players.min(LISTED)];
            self.stamp = 1;
        }
        if players <= LISTED && self.values.len() < players << players {
            self.values = vec![0.0; players << players];
        }
    }

    /// What a set of bits comes to, found by `find` where it is new.
    fn of(&mut self, bits: u64, players: usize, find: impl FnOnce(&mut [f64])) -> &[f64] {
        if players > LISTED {
            return self.rare.entry(bits).or_insert_with(|| {
                let mut moved = vec![0.0; players];
                find(&mut moved);
                moved
            });
        }
        let at = bits as usize;
        let moved = &mut self.values[at * players..][..players];
        if self.stamps[at] != self.stamp {
            self.stamps[at] = self.stamp;
            moved.fill(0.0);
            find(moved);
        }
        moved
    }
}
