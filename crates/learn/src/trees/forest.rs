//! Trees of all folds and targets as the states of a layer.

use std::ops::Range;

use kiln_nn::{Data, Module, Sequential};

use super::bins::Binned;
use super::boost::Boosted;
use super::grow::Node;
use crate::{Error, Result};

/// Trees, one behind the other.
pub(super) struct Forest {
    roots: Vec<i32>,
    columns: Vec<i32>,
    thresholds: Vec<f32>,
    children: Vec<i32>,
    values: Vec<f32>,
    targets: Vec<i32>,
    base: Vec<f64>,
    /// What each column gained.
    gains: Vec<f64>,
}

impl Forest {
    pub fn new(outputs: usize, columns: usize) -> Forest {
        Forest {
            roots: Vec::new(),
            columns: Vec::new(),
            thresholds: Vec::new(),
            children: Vec::new(),
            values: Vec::new(),
            targets: Vec::new(),
            base: vec![0.0; outputs],
            gains: vec![0.0; columns],
        }
    }

    /// Adds the mean of some forests for these outputs; of two, whose score is one, it is the second's.
    pub fn add(&mut self, binned: &Binned, outputs: Range<usize>, forests: &[Boosted]) {
        let share = 1.0 / forests.len().max(1) as f64;
        for forest in forests {
            let first = outputs.end - forest.start.len();
            for (score, start) in forest.start.iter().enumerate() {
                self.base[first + score] += f64::from(*start) * share;
            }
            for trees in &forest.rounds {
                for (score, nodes) in trees.iter().enumerate() {
                    match nodes.as_slice() {
                        [leaf] => self.base[first + score] += leaf.value * share,
                        nodes => self.tree(binned, nodes, first + score, share),
                    }
                }
            }
        }
    }

    fn tree(&mut self, binned: &Binned, nodes: &[Node], output: usize, share: f64) {
        let root = self.columns.len();
        self.roots.push(root as i32);
        self.targets.push(output as i32);
        for (at, node) in nodes.iter().enumerate() {
            let is_leaf = node.children == [0; 2];
            let [first, second] = node.children.map(|child| (root + child) as i32);
            let missing = if node.missing_first { first } else { second };
            let own = (root + at) as i32;
            self.children.extend(if is_leaf { [own; 4] } else { [first, first, second, missing] });
            self.columns.push(node.column as i32);
            // Above the last cut there is nothing but what is missing.
            let cut = binned.columns[node.column].cuts.get(usize::from(node.bin)).copied();
            self.thresholds.push(if is_leaf { 0.0 } else { cut.unwrap_or(f32::MAX) });
            self.values.push(if is_leaf { (node.value * share) as f32 } else { 0.0 });
            self.gains[node.column] += node.gain * share;
        }
    }

    /// How many trees there are, and how many nodes.
    pub fn size(&self) -> (usize, usize) {
        (self.roots.len(), self.columns.len())
    }

    /// The share of all gains that is each input's: of codes that of all that stands for them.
    pub fn gains(&self, width: usize, codes: &[Vec<Vec<f32>>]) -> Vec<f64> {
        let amounts = width - codes.len();
        let all = self.gains.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut gains: Vec<f64> = self.gains[..amounts].to_vec();
        let mut rest = &self.gains[amounts..];
        for table in codes {
            let (own, left) = rest.split_at(table.first().map_or(0, Vec::len).min(rest.len()));
            gains.push(own.iter().sum());
            rest = left;
        }
        gains.into_iter().map(|gain| gain / all).collect()
    }

    /// The layers: what stands for codes, if there are some, and the trees.
    pub fn layers(mut self, width: usize, codes: &[Vec<Vec<f32>>]) -> Result<Sequential> {
        if self.roots.is_empty() {
            // A forest has a tree, be it one that says nothing.
            self.tree(&Binned { columns: vec![Default::default()], rows: 0 }, &[Node::default()], 0, 1.0);
        }
        let (trees, nodes) = self.size();
        let size = |table: &Vec<Vec<f32>>| table.first().map_or(0, Vec::len);
        let tables: Vec<(usize, usize)> = codes.iter().map(|table| (table.len(), size(table))).collect();
        let front =
            if tables.is_empty() { Sequential::new() } else { Sequential::new().embed_columns(tables) };
        let layers = front.trees(self.base.len(), trees, nodes);
        layers.build([1, width])?;
        for ((_, param), table) in layers.parameters().iter().zip(codes) {
            let numbers: Vec<f32> = table.iter().flatten().copied().collect();
            param.set(&kiln_nn::Tensor::new(numbers, param.shape().clone()))?;
        }
        let base = self.base.iter().map(|number| *number as f32).collect();
        let states = [
            ("roots", Data::I32(self.roots)),
            ("columns", Data::I32(self.columns)),
            ("thresholds", Data::F32(self.thresholds)),
            ("children", Data::I32(self.children)),
            ("values", Data::F32(self.values)),
            ("targets", Data::I32(self.targets)),
            ("base", Data::F32(base)),
        ];
        for (path, state) in layers.states() {
            let own = states.iter().find(|(name, _)| path.ends_with(&format!(".{name}")));
            let (_, data) = own.ok_or_else(|| Error::Training(format!("a forest has no {path}")))?;
            state.write(data)?;
        }
        Ok(layers)
    }
}
