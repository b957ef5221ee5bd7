//! A graph that is run again and again along sequences: what [`Op::Scan`](crate::Op::Scan) carries.

use std::hash::{Hash, Hasher};

use super::{Graph, NodeId};
use crate::dtype::DType;
use crate::shape::Shape;

/// A body that is run once for each step. Its arguments are the states as the step before left them, a slice of each sequence
/// (without the first axis) and values that every step reads unchanged, in this order. Its outputs are the states for the next
/// step, of the same shapes and dtypes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// What a step computes. It has neither variables nor constants of its own: they are handed in.
    pub body: Graph,
    /// How many steps there are: the first axis of every sequence.
    pub steps: usize,
    /// How many states go from step to step.
    pub states: usize,
    /// How many sequences there are.
    pub sequences: usize,
    /// Whether it walks from the last slice to the first. What is stacked stands where its slice stands all the same.
    pub reverse: bool,
    /// What becomes of its gradient; a graph that is cut out for compiling has the default.
    pub gradient: ScanGradient,
}

/// How a gradient walks back through a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanGradient {
    /// After so many steps no gradient flows into the states that they started from.
    pub truncate: Option<usize>,
    /// Whether only the states are kept for it, and everything else is computed again.
    pub recompute: bool,
}

/// Which value of a scan a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanResult {
    /// A state after the last step.
    Last(usize),
    /// A value of the body in every step, along a new first axis.
    Stacked(NodeId),
}

impl Scan {
    /// The shape and dtype of the operand that the body's argument at this position is cut from.
    pub fn operand(&self, position: usize) -> (Shape, DType) {
        let (shape, dtype) = self.body.inputs[position].clone();
        match (self.states..self.states + self.sequences).contains(&position) {
            true => (self.stacked(&shape), dtype),
            false => (shape, dtype),
        }
    }

    /// The shape of a value of this shape in every step.
    pub fn stacked(&self, shape: &Shape) -> Shape {
        [&[self.steps], &shape[..]].concat().into()
    }

    /// The slice that a step reads and writes, where steps are counted as they are walked.
    pub fn slice_of(&self, step: usize) -> usize {
        if self.reverse { self.steps - 1 - step } else { step }
    }

    /// Says what is malformed in it, or that nothing is.
    pub fn fault(&self) -> Option<String> {
        let Scan { body, states, sequences, .. } = self;
        if body.inputs.len() < states + sequences || body.outputs.len() != *states {
            let (inputs, outputs) = (body.inputs.len(), body.outputs.len());
            return Some(format!(
                "a body of {inputs} arguments and {outputs} outputs for {states} states and {sequences} sequences"
            ));
        }
        if !body.updates.is_empty() {
            return Some("a body that writes variables".to_string());
        }
        (0..*states).find_map(|state| {
            let (shape, dtype) = &body.inputs[state];
            let Some(next) = body.nodes.get(body.outputs[state]) else {
                return Some(format!("state {state} is a value that its body doesn't have"));
            };
            let same = next.shape == *shape && next.dtype == *dtype;
            (!same).then(|| {
                format!(
                    "state {state} goes in as {dtype}{shape} and comes out as {}{}; a state keeps its shape and dtype \
                     in every step",
                    next.dtype, next.shape
                )
            })
        })
    }
}

/// Few scans are as large as each other; those that are get compared.
impl Hash for Scan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Scan { body, steps, states, sequences, reverse, .. } = self;
        (body.nodes.len(), &body.outputs, steps, states, sequences, reverse).hash(state);
    }
}
