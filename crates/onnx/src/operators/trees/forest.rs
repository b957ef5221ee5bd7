//! Trees of a file, in the order in which rows can walk down them: one behind the other, a node before those it leads to.

use std::collections::HashMap;

use kiln_ir::{DType, Data};
use kiln_nn::Tensor;
use kiln_nn::layers::TreeNodes;

use crate::call::Call;
use crate::error::Result;

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

    /// The nodes of each tree, its root first and each before those it leads to, one tree behind the other; and where each tree starts. What two trees
    /// share comes twice.
    fn in_order(&self, call: &Call) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut order, mut starts) = (Vec::new(), Vec::new());
        for &root in &self.roots {
            let start = order.len();
            // A node is left behind those it leads to; whoever is entered and not left yet leads to what is entered now.
            let mut is_left: HashMap<usize, bool> = HashMap::new();
            let mut stack = vec![(root, false)];
            while let Some((node, is_through)) = stack.pop() {
                if is_through {
                    is_left.insert(node, true);
                    call.room(&[order.len() + 1, 1])?;
                    order.push(node);
                    continue;
                }
                match is_left.get(&node) {
                    Some(true) => continue,
                    Some(false) => {
                        return Err(
                            call.fault(format!("node {node} leads back to itself; nodes lead in a circle"))
                        );
                    }
                    None => {}
                }
                is_left.insert(node, false);
                stack.push((node, true));
                stack.extend(self.next[node].iter().filter(|next| **next != node).map(|next| (*next, false)));
            }
            call.listed(order.len() - start)?;
            order[start..].reverse();
            starts.push(start);
        }
        Ok((order, starts))
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
        let (order, starts) = self.in_order(call)?;
        call.room(&[order.len(), targets])?;
        call.room(&[rows, trees, targets])?;
        let mut said = call.filled(0.0, self.count().saturating_mul(targets))?;
        for &(node, target, weight) in &self.weights {
            match said.get_mut(node * targets + target) {
                Some(place) if target < targets => *place += weight,
                _ => return Err(call.fault(format!("a weight for target {target} of {targets}"))),
            }
        }
        // Thresholds are numbers of the inputs' type; in another one equal numbers wouldn't be.
        let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let thresholds = order.iter().map(|&node| self.thresholds[node]).collect();
        let table =
            order.iter().flat_map(|&node| said[node * targets..][..targets].iter().copied()).collect();
        let nodes = TreeNodes {
            roots: Tensor::from(starts.iter().map(|&start| start as i32).collect::<Vec<_>>()),
            columns: Tensor::from(order.iter().map(|&node| self.columns[node] as i32).collect::<Vec<_>>()),
            thresholds: Tensor::from_data(Data::F64(thresholds).cast(dtype), [order.len()]),
            children: Tensor::new(self.children(&order, &starts), [order.len(), 4]),
        };
        let at = nodes.leaves(&x.cast(dtype)).reshape([rows * trees]);
        let table = Tensor::from_data(Data::F64(table).cast(dtype), [order.len(), targets]);
        let found = table.index_select(0, &at).reshape([rows, trees, targets]);
        Ok(match together {
            Together::Sum => found.sum(1),
            Together::Average => found.sum(1) / trees as f64,
            Together::Least => found.min(1),
            Together::Most => found.max(1),
        })
    }

    /// Where nodes lead, by their places in the order.
    fn children(&self, order: &[usize], starts: &[usize]) -> Vec<i32> {
        let mut children = Vec::with_capacity(order.len() * 4);
        for (tree, &start) in starts.iter().enumerate() {
            let end = starts.get(tree + 1).copied().unwrap_or(order.len());
            let places: HashMap<usize, usize> = (start..end).map(|place| (order[place], place)).collect();
            for &node in &order[start..end] {
                children
                    .extend(self.next[node].iter().map(|next| places.get(next).map_or(-1, |&at| at as i32)));
            }
        }
        children
    }
}
