//! The bodies of scans as graphs to compile: what a step reads as arguments, what it leaves as outputs, and states that no one
//! asks for afterwards as variables, which are updated in place.
//!
//! `scan(h₀, x; h ← tanh(h·u + x))` whose h is asked for in every step → a body of arguments h, x and u with the output h;
//! one whose last h alone is asked for → a body that updates a variable h.

use std::any::Any;
use std::sync::Arc;

use kiln_ir::graph::{Graph, NodeId};
use kiln_ir::op::{Op, Scan, ScanResult, Shared, VariableHandle};
use kiln_ir::{DType, Shape};

use crate::cluster::{ClusterId, Clustering};
use crate::program::Program;

/// A scan as its kernels see it.
#[derive(Clone, Debug)]
pub struct StepBody {
    /// The scan.
    pub scan: Arc<Scan>,
    /// A step, until it is compiled.
    pub graph: Graph,
    /// Its kernels, without places in memory.
    pub program: Program,
    /// Where the states are.
    pub states: Vec<StatePlace>,
    /// The values that are stacked, in the order of the outputs behind those of states.
    pub stacked: Vec<NodeId>,
}

/// Where a state is while a scan walks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatePlace {
    /// All that it ever is stands in one row, from which each step reads and to which it adds; its output is this one.
    Row(usize),
    /// In one place.
    Alone(usize),
}

/// A state that is updated in place, by its number.
#[derive(Debug)]
struct StateVariable {
    shape: Shape,
    dtype: DType,
}

impl VariableHandle for StateVariable {
    fn name(&self) -> String {
        "state".to_string()
    }
    fn shape(&self) -> &Shape {
        &self.shape
    }
    fn dtype(&self) -> DType {
        self.dtype
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The scan that a cluster is, if it is one, and which of its values are its members.
pub fn scan_of(graph: &Graph, members: &[NodeId]) -> Option<(Arc<Scan>, Vec<ScanResult>)> {
    let result =
        |&id: &NodeId| if let Op::Scan(_, result) = graph.nodes[id].op { Some(result) } else { None };
    let Op::Scan(scan, _) = &graph.nodes[*members.first()?].op else { return None };
    Some((scan.clone(), members.iter().filter_map(result).collect()))
}

/// The body of each cluster that is a scan.
pub fn bodies(graph: &Graph, clusters: &Clustering) -> Vec<(ClusterId, StepBody)> {
    let scans = clusters.clusters.iter().enumerate();
    scans.filter_map(|(id, cluster)| Some((id, body(scan_of(graph, &cluster.members)?)))).collect()
}

fn body((scan, results): (Arc<Scan>, Vec<ScanResult>)) -> StepBody {
    let mut graph = scan.body.clone();
    let argument = |state: usize| graph.nodes.iter().position(|node| node.op == Op::Input(state));
    let asked = |id: NodeId| results.contains(&ScanResult::Stacked(id));
    let in_row: Vec<bool> = (0..scan.states)
        .map(|state| asked(scan.body.outputs[state]) || argument(state).is_some_and(asked))
        .collect();
    let mut variables = Vec::new();
    let mut outputs = Vec::new();
    let mut states = Vec::with_capacity(scan.states);
    for state in 0..scan.states {
        let next = scan.body.outputs[state];
        if in_row[state] {
            states.push(StatePlace::Row(outputs.len()));
            outputs.push(next);
            continue;
        }
        let (shape, dtype) = scan.body.inputs[state].clone();
        let variable: Arc<dyn VariableHandle> = Arc::new(StateVariable { shape, dtype });
        states.push(StatePlace::Alone(variables.len()));
        variables.push((Shared(variable), state, next));
    }
    for (variable, state, next) in variables {
        for node in &mut graph.nodes {
            if node.op == Op::Input(state) {
                node.op = Op::Var(variable.clone());
            }
        }
        graph.updates.push((variable, next));
    }
    let mut stacked = Vec::new();
    for result in &results {
        let ScanResult::Stacked(id) = *result else { continue };
        if row_of(&scan, id).is_none() && !stacked.contains(&id) {
            stacked.push(id);
            outputs.push(id);
        }
    }
    graph.outputs = outputs;
    StepBody { scan, graph, program: Program::default(), states, stacked }
}

/// The state in whose row a stacked value is, and whether it is the state that a step finds, not the one that it leaves.
pub fn row_of(scan: &Scan, id: NodeId) -> Option<(usize, bool)> {
    if let Op::Input(position) = scan.body.nodes[id].op {
        return (position < scan.states).then_some((position, true));
    }
    Some((scan.body.outputs.iter().position(|&next| next == id)?, false))
}
