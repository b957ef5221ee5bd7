//! A body between expressions and its graph: cut out of what was built on stand-ins, and built again from other arguments.

use std::collections::HashMap;
use std::sync::Arc;

use crate::expr::Expr;
use crate::graph::{Graph, GraphNode, NodeId};
use crate::kind::{Movement, OpKind};
use crate::line;
use crate::node::Node;
use crate::op::Op;
use crate::shape::Shape;

/// A body that is being cut out: what stands for which operand.
pub(crate) struct BodyCut {
    /// Nodes from this number on may follow from stand-ins.
    since: u64,
    states: Vec<(u64, Expr)>,
    sequences: Vec<(u64, Expr)>,
    constants: HashMap<u64, Expr>,
}

impl BodyCut {
    /// Of nodes that are built from now on.
    pub(crate) fn new(since: u64) -> BodyCut {
        BodyCut { since, states: Vec::new(), sequences: Vec::new(), constants: HashMap::new() }
    }

    /// Lets a node stand for a state that starts so.
    pub(crate) fn state(&mut self, stand_in: &Expr, start: Expr) {
        self.states.extend(id(stand_in).map(|id| (id, start)));
    }

    /// Lets a node stand for a slice of a sequence.
    pub(crate) fn sequence(&mut self, stand_in: &Expr, sequence: Expr) {
        self.sequences.extend(id(stand_in).map(|id| (id, sequence)));
    }

    /// Lets a node stand for a value that stays the same.
    pub(crate) fn constant(&mut self, stand_in: &Expr, value: Expr) {
        self.constants.extend(id(stand_in).map(|id| (id, value)));
    }

    /// Whether a node is an argument already.
    pub(crate) fn knows(&self, node: u64) -> bool {
        let among = |list: &[(u64, Expr)]| list.iter().any(|(id, _)| *id == node);
        among(&self.states) || among(&self.sequences) || self.constants.contains_key(&node)
    }

    /// The graph that gives the `next` states, the places of the `others` in it, and the operands of the scan. What the body
    /// doesn't change is an operand where it has to be computed, and done in the body where it only looks at one in another way.
    pub(crate) fn cut(mut self, next: &[Expr], others: &[Expr]) -> (Graph, Vec<NodeId>, Vec<Expr>) {
        let roots: Vec<Arc<Node>> =
            next.iter().chain(others).filter_map(|x| x.node().ok().cloned()).collect();
        let nodes = self.reached(&roots);
        // What changes from step to step.
        let mut varies: HashMap<u64, bool> = HashMap::new();
        for node in &nodes {
            let moves = self.states.iter().chain(&self.sequences).any(|(id, _)| *id == node.id);
            let follows = || node.inputs.iter().any(|x| varies.get(&x.id) == Some(&true));
            let does = moves || (!self.knows(node.id) && follows());
            varies.insert(node.id, does);
        }
        let fixed = self.outside(&nodes, &varies);
        let mut graph = Graph::default();
        let mut operands = Vec::new();
        let mut place: HashMap<u64, NodeId> = HashMap::new();
        let leaves = std::mem::take(&mut self.states).into_iter().chain(std::mem::take(&mut self.sequences));
        for (position, (stand_in, operand)) in leaves.enumerate() {
            let sequence = position >= next.len();
            let shape = operand.shape();
            let shape = if sequence { Shape::from(&shape[1..]) } else { shape };
            place.insert(stand_in, argument(&mut graph, shape, &operand));
            operands.push(operand);
        }
        // Each value is placed before those that need it; what stays the same, only where something needs it.
        let mut barriers = 0;
        let inside = |node: &Arc<Node>| varies.get(&node.id) == Some(&true);
        let mut ahead: Vec<(Arc<Node>, bool)> = Vec::new();
        for node in nodes.iter().filter(|node| inside(node)).chain(&roots) {
            ahead.push((node.clone(), false));
            while let Some((node, ready)) = ahead.pop() {
                if place.contains_key(&node.id) {
                    continue;
                }
                let constant = self.constants.contains_key(&node.id);
                if constant || !(inside(&node) || is_view(&node)) {
                    let value = fixed.get(&node.id).cloned().unwrap_or_else(|| Expr::from(node.clone()));
                    place.insert(node.id, argument(&mut graph, node.shape.clone(), &value));
                    operands.push(value);
                    continue;
                }
                if !ready {
                    ahead.push((node.clone(), true));
                    ahead.extend(node.inputs.iter().map(|input| (input.clone(), false)));
                    continue;
                }
                let op = if let Op::Barrier(_) = node.op {
                    barriers += 1;
                    Op::Barrier(barriers)
                } else {
                    node.op.clone()
                };
                place.insert(node.id, graph.nodes.len());
                graph.nodes.push(GraphNode {
                    op,
                    inputs: node.inputs.iter().map(|input| place[&input.id]).collect(),
                    shape: node.shape.clone(),
                    dtype: node.dtype,
                    at: Some(node.at),
                });
            }
        }
        let mut places = roots.iter().map(|node| place[&node.id]);
        graph.outputs = places.by_ref().take(next.len()).collect();
        (graph, places.collect(), operands)
    }

    /// What doesn't vary and follows from constants, of what these stand for.
    fn outside(&self, nodes: &[Arc<Node>], varies: &HashMap<u64, bool>) -> HashMap<u64, Expr> {
        let mut fixed = self.constants.clone();
        for node in nodes.iter().filter(|node| varies.get(&node.id) == Some(&false)) {
            if fixed.contains_key(&node.id) || !node.inputs.iter().any(|x| fixed.contains_key(&x.id)) {
                continue;
            }
            let value = |x: &Arc<Node>| fixed.get(&x.id).cloned().unwrap_or_else(|| Expr::from(x.clone()));
            let operands: Vec<Expr> = node.inputs.iter().map(value).collect();
            let operands: Vec<&Expr> = operands.iter().collect();
            let build = || Expr::apply(node.op.clone(), &operands, Some((&node.shape, node.dtype)));
            fixed.insert(node.id, line::on_behalf_of(node.at, build));
        }
        fixed
    }

    /// The nodes from the roots back to arguments and to what was built before the body, inputs before users.
    fn reached(&self, roots: &[Arc<Node>]) -> Vec<Arc<Node>> {
        let mut seen: HashMap<u64, Arc<Node>> = HashMap::new();
        let mut ahead: Vec<Arc<Node>> = roots.to_vec();
        while let Some(node) = ahead.pop() {
            if seen.contains_key(&node.id) {
                continue;
            }
            if !self.knows(node.id) && node.id >= self.since {
                ahead.extend(node.inputs.iter().cloned());
            }
            seen.insert(node.id, node);
        }
        let mut nodes: Vec<Arc<Node>> = seen.into_values().collect();
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }
}

fn id(x: &Expr) -> Option<u64> {
    x.node().ok().map(|node| node.id)
}

/// A new argument of a body, of the operand's dtype.
fn argument(graph: &mut Graph, shape: Shape, operand: &Expr) -> NodeId {
    let (dtype, at) = (operand.dtype(), operand.node().ok().map(|node| node.at));
    let op = Op::Input(graph.inputs.len());
    graph.inputs.push((shape.clone(), dtype));
    graph.nodes.push(GraphNode { op, inputs: Vec::new(), shape, dtype, at });
    graph.nodes.len() - 1
}

/// Whether a value that stays the same is made of nothing, or is another look at an operand that costs nothing in any step.
fn is_view(node: &Node) -> bool {
    let long = |shape: &Shape| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    match node.op.kind() {
        OpKind::Generator(_) => true,
        OpKind::Movement(Movement::Permute(_) | Movement::Expand | Movement::Slice(_)) => true,
        OpKind::Movement(Movement::Reshape) => long(&node.shape) == long(&node.inputs[0].shape),
        OpKind::Leaf(_)
        | OpKind::Pointwise(_)
        | OpKind::Reduce(..)
        | OpKind::Contraction(_)
        | OpKind::Opaque(_) => false,
    }
}

/// The values of a body for these arguments, by its nodes.
pub(crate) fn instantiate(body: &Graph, arguments: &[Expr]) -> Vec<Expr> {
    let mut values: Vec<Expr> = Vec::with_capacity(body.nodes.len());
    for node in &body.nodes {
        let value = if let Op::Input(position) = node.op {
            arguments[position].clone()
        } else {
            let operands: Vec<&Expr> = node.inputs.iter().map(|&id| &values[id]).collect();
            let build = || Expr::apply(node.op.clone(), &operands, Some((&node.shape, node.dtype)));
            match node.at {
                Some(at) => line::on_behalf_of(at, build),
                None => build(),
            }
        };
        values.push(value);
    }
    values
}
