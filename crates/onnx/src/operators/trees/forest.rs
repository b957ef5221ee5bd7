//! Trees as tables, and rows that walk down all of them at once: a level in each step, as many steps as the deepest tree has.

use kiln_ir::{DType, Data};
use kiln_nn::Tensor;

use crate::call::Call;
use crate::error::Result;

/// A tree that is deeper was no tree.
const DEEPEST: usize = 1 << 12;

/// What a node asks of the number in its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Question {
    AtMost,
    Less,
    AtLeast,
    More,
    Equal,
    Unequal,
}

impl Question {
    /// Where it is answered with yes: for a number that is less, equal, more, and for none at all.
    fn yes(self) -> [bool; 4] {
        match self {
            Question::AtMost => [true, true, false, false],
            Question::Less => [true, false, false, false],
            Question::AtLeast => [false, true, true, false],
            Question::More => [false, false, true, false],
            Question::Equal => [false, true, false, false],
            Question::Unequal => [true, false, true, true],
        }
    }
}

/// How what the trees say is aggregated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Together {
    Sum,
    Average,
    Least,
    Most,
}

/// Trees, their nodes in one list.
#[derive(Default)]
pub struct Forest {
    roots: Vec<usize>,
    columns: Vec<i64>,
    thresholds: Vec<f64>,
    /// Where to go from a node for a number that is less, equal, more, or none; a leaf leads to itself.
    next: Vec<[usize; 4]>,
    /// Weights of leaves: node, target, weight.
    weights: Vec<(usize, usize, f64)>,
}

impl Forest {
    /// A new node that is a leaf until it is made a branch.
    pub fn node(&mut self) -> usize {
        let at = self.next.len();
        self.columns.push(0);
        self.thresholds.push(0.0);
        self.next.push([at; 4]);
        at
    }

    /// Makes a node a branch, to one node where the answer is yes and to another where it is no. `missing` is the way of no number, if
    /// the file says it.
    pub fn branch(
        &mut self,
        node: usize,
        column: i64,
        question: Question,
        threshold: f64,
        [yes, no]: [usize; 2],
        missing: bool,
    ) {
        self.columns[node] = column;
        self.thresholds[node] = threshold;
        self.next[node] = question.yes().map(|known| if known { yes } else { no });
        if missing {
            self.next[node][3] = yes;
        }
    }

    pub fn root(&mut self, node: usize) {
        self.roots.push(node);
    }

    pub fn weight(&mut self, node: usize, target: usize, weight: f64) {
        self.weights.push((node, target, weight));
    }

    pub fn count(&self) -> usize {
        self.next.len()
    }

    /// Whether no weight takes anything away.
    pub fn is_positive(&self) -> bool {
        self.weights.iter().all(|&(.., weight)| weight >= 0.0)
    }

    /// Steps from the roots to the farthest leaf.
    fn depth(&self, call: &Call) -> Result<usize> {
        let mut level = self.roots.clone();
        for depth in 0..DEEPEST {
            let mut below: Vec<usize> = level
                .iter()
                .flat_map(|&node| self.next[node].into_iter().filter(move |&next| next != node))
                .collect();
            below.sort_unstable();
            below.dedup();
            if below.is_empty() {
                return Ok(depth);
            }
            level = below;
        }
        Err(call.fault(format!("a tree of more than {DEEPEST} levels; its nodes lead in a circle")))
    }

    /// What all trees together give for each row of `x`: `[rows, targets]`.
    pub fn walk(&self, call: &Call, x: &Tensor, targets: usize, together: Together) -> Result<Tensor> {
        let x = match x.rank() {
            1 => x.unsqueeze(0),
            _ => x.clone(),
        };
        let [rows, columns] = x.shape()[..] else {
            return Err(call.fault(format!("{} isn't a table", x.shape())));
        };
        if let Some(column) =
            self.columns.iter().find(|&&column| column < 0 || column >= columns.max(1) as i64)
        {
            return Err(call.fault(format!("column {column} of {columns}")));
        }
        let trees = self.roots.len();
        if trees == 0 || columns == 0 {
            return Err(call.fault("there are no trees, or no columns"));
        }
        call.room(&[self.count(), targets])?;
        call.room(&[rows, trees, targets])?;
        // Thresholds are numbers of the inputs' type; in another one equal numbers wouldn't be.
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let x = x.cast(dtype);
        let list = |data: Data| {
            let count = data.len();
            Tensor::from_data(data, [count])
        };
        let features = list(Data::I64(self.columns.clone()));
        let thresholds = list(Data::F64(self.thresholds.clone()).cast(dtype));
        let next = list(Data::I64(self.next.iter().flatten().map(|&node| node as i64).collect()));
        let roots = Tensor::from(self.roots.iter().map(|&node| node as i64).collect::<Vec<_>>());
        let mut at = roots.reshape([1, trees]).broadcast_to([rows, trees]).reshape([rows * trees]);
        for _ in 0..self.depth(call)? {
            call.unrolled(1)?;
            let column = features.index_select(0, &at).reshape([rows, trees]);
            let number = x.gather(1, &column).reshape([rows * trees]);
            let threshold = thresholds.index_select(0, &at);
            let answer = number
                .lt(&threshold)
                .select(0, number.eq(&threshold).select(1, number.gt(&threshold).select(2, 3)));
            at = next.index_select(0, &(&at * 4 + answer.cast(DType::I64)));
        }
        let mut table = call.filled(0.0, self.count().saturating_mul(targets))?;
        for &(node, target, weight) in &self.weights {
            match table.get_mut(node * targets + target) {
                Some(place) if target < targets => *place += weight,
                _ => return Err(call.fault(format!("a weight for target {target} of {targets}"))),
            }
        }
        let table = Tensor::from_data(Data::F64(table).cast(dtype), [self.count(), targets]);
        let found = table.index_select(0, &at).reshape([rows, trees, targets]);
        Ok(match together {
            Together::Sum => found.sum(1),
            Together::Average => found.sum(1) / trees as f64,
            Together::Least => found.min(1),
            Together::Most => found.max(1),
        })
    }
}
