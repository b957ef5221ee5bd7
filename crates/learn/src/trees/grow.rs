//! One tree, leaf by leaf: the leaf whose best split gains the most is split next. Sums of gradients are whole numbers, so that they are the same in
//! any order and the histogram of one half is exactly what the other leaves of the whole.

use std::thread;

use super::bins::{Binned, MISSING};

/// Gradient and curvature of a row, or their sums.
pub(super) type Pull = [i64; 2];

/// How a tree grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growth {
    pub leaves: usize,
    pub depth: usize,
    /// What pulls leaves to zero.
    pub l2: f64,
    /// Rows of a leaf, at least.
    pub rows: f64,
    /// Curvature of a leaf, at least.
    pub curvature: f64,
    pub threads: usize,
}

/// What a tree is grown from.
pub(super) struct TreeSource<'d> {
    pub binned: &'d Binned,
    /// Columns that may be asked of.
    pub columns: &'d [usize],
    /// Gradient and curvature by row.
    pub pulls: &'d [[i32; 2]],
    /// What they were multiplied by.
    pub scales: [f64; 2],
    /// For each column 1 where scores may only rise with it, −1 where only fall; empty where neither.
    pub monotone: &'d [i8],
}

/// A node: a leaf, unless it has children.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GrownNode {
    pub column: usize,
    /// Up to this bin to the first child.
    pub bin: u8,
    /// Whether what is missing goes to the first child.
    pub missing_first: bool,
    /// The two children; 0 of a leaf.
    pub children: [usize; 2],
    pub value: f64,
    pub gain: f64,
    /// The rows of a leaf: where in [`Grown::rows`].
    pub range: (usize, usize),
}

/// A tree, its root first, and its rows leaf by leaf.
pub(super) struct Grown {
    pub nodes: Vec<GrownNode>,
    pub rows: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct TreeSplit {
    gain: f64,
    column: usize,
    bin: u8,
    missing_first: bool,
    values: [f64; 2],
}

/// A leaf that may be split.
struct OpenLeaf {
    node: usize,
    depth: usize,
    sums: Pull,
    bounds: [f64; 2],
    histogram: Vec<Pull>,
    split: Option<TreeSplit>,
}

/// Work below this isn't divided.
const ALONE: usize = 1 << 17;

/// Grows a tree on these rows.
pub(super) fn grow(soil: &TreeSource, growth: &Growth, rows: Vec<u32>) -> Grown {
    let mut grower = Grower { soil, growth, rows, scratch: Vec::new(), nodes: vec![GrownNode::default()] };
    grower.run();
    Grown { nodes: grower.nodes, rows: grower.rows }
}

struct Grower<'d> {
    soil: &'d TreeSource<'d>,
    growth: &'d Growth,
    rows: Vec<u32>,
    scratch: Vec<u32>,
    nodes: Vec<GrownNode>,
}

impl Grower<'_> {
    fn run(&mut self) {
        let mut sums = [0; 2];
        for &row in &self.rows {
            let pull = self.soil.pulls[row as usize];
            sums = [sums[0] + i64::from(pull[0]), sums[1] + i64::from(pull[1])];
        }
        let count = self.rows.len();
        self.nodes[0].range = (0, count);
        let bounds = [f64::NEG_INFINITY, f64::INFINITY];
        self.nodes[0].value = self.value(sums, bounds);
        let mut root = OpenLeaf { node: 0, depth: 0, sums, bounds, histogram: Vec::new(), split: None };
        self.search(&mut [&mut root], None);
        let mut open = vec![root];
        let mut leaves = 1;
        while leaves < self.growth.leaves {
            let gain = |open: &OpenLeaf| open.split.map_or(0.0, |split| split.gain);
            // The first of equal ones, which is the older one.
            let best = (0..open.len()).reduce(|a, b| if gain(&open[b]) > gain(&open[a]) { b } else { a });
            let Some(at) = best.filter(|&at| gain(&open[at]) > 0.0) else { return };
            let parent = open.remove(at);
            let Some(split) = parent.split else { return };
            open.extend(self.divide(parent, split));
            leaves += 1;
        }
    }

    /// A leaf becomes two.
    fn divide(&mut self, parent: OpenLeaf, split: TreeSplit) -> [OpenLeaf; 2] {
        let (start, end) = self.nodes[parent.node].range;
        let middle = self.part(start, end, &split);
        let first = self.nodes.len();
        let ranges = [(start, middle), (middle, end)];
        for (range, value) in ranges.into_iter().zip(split.values) {
            self.nodes.push(GrownNode { range, value, ..GrownNode::default() });
        }
        let node = &mut self.nodes[parent.node];
        (node.column, node.bin, node.missing_first) = (split.column, split.bin, split.missing_first);
        (node.children, node.gain) = ([first, first + 1], split.gain);
        let [low, high] = parent.bounds;
        let middle_value = (split.values[0] + split.values[1]) / 2.0;
        let bounds = match self.soil.monotone.get(split.column) {
            Some(way) if *way > 0 => [[low, middle_value], [middle_value, high]],
            Some(way) if *way < 0 => [[middle_value, high], [low, middle_value]],
            _ => [parent.bounds; 2],
        };
        let child = |side: usize| OpenLeaf {
            node: first + side,
            depth: parent.depth + 1,
            sums: [0; 2],
            bounds: bounds[side],
            histogram: Vec::new(),
            split: None,
        };
        let [mut one, mut two] = [child(0), child(1)];
        for (open, (start, end)) in [&mut one, &mut two].into_iter().zip(ranges) {
            for &row in &self.rows[start..end] {
                let pull = self.soil.pulls[row as usize];
                open.sums = [open.sums[0] + i64::from(pull[0]), open.sums[1] + i64::from(pull[1])];
            }
        }
        let smaller_first = middle - start <= end - middle;
        let mut both = if smaller_first { [&mut one, &mut two] } else { [&mut two, &mut one] };
        self.search(&mut both, Some(parent.histogram));
        [one, two]
    }

    /// Puts the rows of the first child before those of the second, each in their order, and says where those begin.
    fn part(&mut self, start: usize, end: usize, split: &TreeSplit) -> usize {
        let bins = &self.soil.binned.columns[split.column].bins;
        self.scratch.clear();
        let mut middle = start;
        for at in start..end {
            let row = self.rows[at];
            let bin = bins[row as usize];
            let is_first = if bin == MISSING { split.missing_first } else { bin <= split.bin };
            if is_first {
                self.rows[middle] = row;
                middle += 1;
            } else {
                self.scratch.push(row);
            }
        }
        self.rows[middle..end].copy_from_slice(&self.scratch);
        middle
    }

    fn value(&self, sums: Pull, bounds: [f64; 2]) -> f64 {
        let [g, h] = self.real(sums);
        let value = -g / (h + self.growth.l2);
        if value.is_nan() { 0.0 } else { value.clamp(bounds[0], bounds[1]) }
    }

    fn real(&self, sums: Pull) -> [f64; 2] {
        [sums[0] as f64 / self.soil.scales[0], sums[1] as f64 / self.soil.scales[1]]
    }

    /// Finds histogram and best split of the root, or of two halves: the first, with fewer rows, is counted; the second is what it leaves of the
    /// whole's.
    fn search(&self, leaves: &mut [&mut OpenLeaf], whole: Option<Vec<Pull>>) {
        let is_done = |open: &OpenLeaf| {
            let (start, end) = self.nodes[open.node].range;
            open.depth >= self.growth.depth
                || ((end - start) as f64) < 2.0 * self.growth.rows
                || end - start < 2
        };
        if leaves.iter().all(|open| is_done(open)) {
            return;
        }
        let columns = self.soil.columns;
        let sizes: Vec<usize> =
            columns.iter().map(|&column| self.soil.binned.columns[column].cuts.len() + 2).collect();
        let mut counted = vec![[0i64; 2]; sizes.iter().sum()];
        let mut rest = whole;
        let first = LeafPlace::of(leaves[0], &self.nodes);
        let second = leaves.get(1).map(|open| LeafPlace::of(open, &self.nodes));
        let rows = &self.rows[first.range.0..first.range.1];
        let mut work = Vec::with_capacity(columns.len());
        let mut counted_left = counted.as_mut_slice();
        let mut rest_left = rest.as_deref_mut().unwrap_or_default();
        for (&column, &size) in columns.iter().zip(&sizes) {
            let (own, left) = counted_left.split_at_mut(size);
            let (other, left_rest) = rest_left.split_at_mut(if second.is_some() { size } else { 0 });
            (counted_left, rest_left) = (left, left_rest);
            work.push((column, own, other, [None; 2]));
        }
        let one =
            |(column, own, other, found): &mut (usize, &mut [Pull], &mut [Pull], [Option<TreeSplit>; 2])| {
                self.count(*column, rows, own);
                found[0] = self.best(*column, own, &first);
                if let Some(second) = &second {
                    other.iter_mut().zip(own.iter()).for_each(|(whole, part)| {
                        *whole = [whole[0] - part[0], whole[1] - part[1]];
                    });
                    found[1] = self.best(*column, other, second);
                }
            };
        let threads = if rows.len() * columns.len() < ALONE { 1 } else { self.growth.threads.max(1) };
        let each = work.len().div_ceil(threads).max(1);
        match threads {
            1 => work.iter_mut().for_each(one),
            _ => thread::scope(|scope| {
                for part in work.chunks_mut(each) {
                    scope.spawn(|| part.iter_mut().for_each(&one));
                }
            }),
        }
        let better = |best: Option<TreeSplit>, next: Option<TreeSplit>| match (best, next) {
            (Some(a), Some(b)) if b.gain > a.gain => Some(b),
            (None, next) => next,
            (best, _) => best,
        };
        let found = work
            .iter()
            .fold([None; 2], |best, (.., found)| [better(best[0], found[0]), better(best[1], found[1])]);
        drop(work);
        let mut histograms = [Some(counted), rest];
        for (side, open) in leaves.iter_mut().enumerate() {
            open.split = found[side].filter(|_| !is_done(open));
            // What won't be split is counted no more.
            let own = histograms[side].take().filter(|_| open.split.is_some());
            open.histogram = own.unwrap_or_default();
        }
    }

    /// Sums by bin; the last is of what is missing.
    fn count(&self, column: usize, rows: &[u32], histogram: &mut [Pull]) {
        let bins = &self.soil.binned.columns[column].bins;
        let mut sums = [[0i64; 2]; 256];
        for &row in rows {
            let (bin, pull) = (bins[row as usize], self.soil.pulls[row as usize]);
            let sum = &mut sums[usize::from(bin)];
            sum[0] += i64::from(pull[0]);
            sum[1] += i64::from(pull[1]);
        }
        let last = histogram.len() - 1;
        histogram[..last].copy_from_slice(&sums[..last]);
        histogram[last] = sums[usize::from(MISSING)];
    }

    /// The best split of a leaf by a column.
    fn best(&self, column: usize, histogram: &[Pull], leaf: &LeafPlace) -> Option<TreeSplit> {
        let (missing, known) = histogram.split_last()?;
        let whole = self.real(leaf.sums);
        let own = self.score(whole, self.value(leaf.sums, leaf.bounds));
        let per_row = (leaf.range.1 - leaf.range.0) as f64 / whole[1].max(f64::MIN_POSITIVE);
        let way = self.soil.monotone.get(column).copied().unwrap_or(0);
        let mut best: Option<TreeSplit> = None;
        let ways: &[bool] = if *missing == [0; 2] { &[false] } else { &[false, true] };
        for &missing_first in ways {
            let mut left = if missing_first { *missing } else { [0; 2] };
            // A cut above all that is known parts it from what is missing.
            let last = if *missing == [0; 2] || missing_first { known.len() - 1 } else { known.len() };
            for (bin, sums) in known[..last].iter().enumerate() {
                if *sums == [0; 2] {
                    continue;
                }
                left = [left[0] + sums[0], left[1] + sums[1]];
                let right = [leaf.sums[0] - left[0], leaf.sums[1] - left[1]];
                let (l, r) = (self.real(left), self.real(right));
                let least = l[1].min(r[1]);
                if least < self.growth.curvature || least * per_row < self.growth.rows - 0.5 {
                    continue;
                }
                let values = [self.value(left, leaf.bounds), self.value(right, leaf.bounds)];
                if (way > 0 && values[0] > values[1]) || (way < 0 && values[0] < values[1]) {
                    continue;
                }
                let gain = self.score(l, values[0]) + self.score(r, values[1]) - own;
                if gain > best.map_or(GAIN, |best| best.gain) {
                    // What was never missing here goes where most go.
                    let missing_first = if *missing == [0; 2] { l[1] >= r[1] } else { missing_first };
                    best = Some(TreeSplit { gain, column, bin: bin as u8, missing_first, values });
                }
            }
        }
        best
    }

    /// Twice what a leaf with this value takes off the loss.
    fn score(&self, [g, h]: [f64; 2], value: f64) -> f64 {
        -(2.0 * g * value + (h + self.growth.l2) * value * value)
    }
}

/// Less is no gain.
const GAIN: f64 = 1e-9;

/// A leaf, for a search.
struct LeafPlace {
    range: (usize, usize),
    sums: Pull,
    bounds: [f64; 2],
}

impl LeafPlace {
    fn of(open: &OpenLeaf, nodes: &[GrownNode]) -> LeafPlace {
        LeafPlace { range: nodes[open.node].range, sums: open.sums, bounds: open.bounds }
    }
}

/// The leaf that a row comes to.
pub(super) fn leaf(nodes: &[GrownNode], binned: &Binned, row: usize) -> usize {
    let mut at = 0;
    while nodes[at].children != [0; 2] {
        let node = &nodes[at];
        let bin = binned.columns[node.column].bins[row];
        let is_first = if bin == MISSING { node.missing_first } else { bin <= node.bin };
        at = node.children[usize::from(!is_first)];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::bins::{BinnedColumn, bin, cuts};
    use super::super::boost::mixed;
    use super::*;

    /// A tree of so many rows that threads share them.
    #[test]
    fn a_tree_is_the_same_on_any_number_of_threads_and_its_rows_are_in_their_leaves() {
        const ROWS: usize = 30_000;
        let number = |row: usize, column: usize| (mixed((row * 5 + column) as u64) % 4096) as f32;
        let column = |column: usize| {
            let numbers: Vec<f32> = (0..ROWS).map(|row| number(row, column)).collect();
            let cuts = cuts(&mut numbers.clone());
            BinnedColumn { bins: numbers.iter().map(|number| bin(&cuts, *number)).collect(), cuts }
        };
        let binned = Binned { columns: (0..5).map(column).collect(), rows: ROWS };
        let pull =
            |row: usize| [(number(row, 0) as i32 - 2000) * (1 + number(row, 1) as i32 / 1000), 1 << 20];
        let pulls: Vec<[i32; 2]> = (0..ROWS).map(pull).collect();
        let soil = TreeSource {
            binned: &binned,
            columns: &[0, 1, 2, 3, 4],
            pulls: &pulls,
            scales: [1e6, f64::from(1 << 20)],
            monotone: &[],
        };
        let grown = |threads: usize| {
            let growth = Growth { leaves: 31, depth: 9, l2: 1.0, rows: 20.0, curvature: 1e-3, threads };
            grow(&soil, &growth, (0..ROWS as u32).collect())
        };
        let (one, three) = (grown(1), grown(3));
        assert!(one.nodes == three.nodes && one.rows == three.rows && one.nodes.len() == 61);
        for (at, node) in one.nodes.iter().enumerate().filter(|(_, node)| node.children == [0; 2]) {
            let rows = &one.rows[node.range.0..node.range.1];
            assert!(
                rows.len() >= 20 && rows.iter().all(|row| leaf(&one.nodes, &binned, *row as usize) == at)
            );
            let gradients: i64 = rows.iter().map(|row| i64::from(pulls[*row as usize][0])).sum();
            let best = -(gradients as f64 / 1e6) / (rows.len() as f64 + 1.0);
            assert!((node.value - best).abs() < 1e-9, "{} {best}", node.value);
        }
    }
}
