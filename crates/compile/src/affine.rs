//! Scales and shifts that stay the same from run to run become one of each.
//!
//! `((x − m)·g)·r + b` → `x·(g·r) + (b − m·g·r)`, where `m`, `g`, `r` and `b` are parameters or follow from them: batch norm after a
//! convolution costs one multiplication with an addition, and what is in brackets is computed once. Where `m` is much larger than
//! what `x` differs from it by, digits are lost that the first form keeps; PyTorch's batch norm has the second form too.

use kiln_ir::graph::{Graph, GraphNode, NodeId};
use kiln_ir::op::{BinaryOp, Op};
use kiln_ir::rewrite::{Nodes, copy};
use kiln_ir::{DType, Shape};

use crate::Target;
use crate::invariant::{invariant, live_out};

/// Rewrites every such chain that is long enough to be worth it, and says how many there were.
pub fn affine(graph: &mut Graph, target: &Target) -> usize {
    let chains = chains(graph, target.fusion.worth_joining);
    let count = chains.iter().flatten().count();
    if count > 0 {
        *graph = rewritten(std::mem::take(graph), chains);
    }
    count
}

/// A chain's first operand and its links.
type Chain = (NodeId, Vec<Link>);

/// For each node, the chain that it is the last of.
fn chains(graph: &Graph, worth: usize) -> Vec<Option<Chain>> {
    let invariant = invariant(graph);
    let users = graph.users();
    let live_out = live_out(graph);
    let alone = |id: NodeId| match users[id].as_slice() {
        [user] if !live_out.contains(&id) => Some(*user),
        _ => None,
    };
    let mut chains: Vec<Option<Chain>> = vec![None; graph.nodes.len()];
    let mut within = vec![false; graph.nodes.len()];
    for id in 0..graph.nodes.len() {
        let Some((start, first)) = link(graph, &invariant, id) else { continue };
        if within[id] {
            continue;
        }
        let (mut end, mut links) = (id, vec![first]);
        within[id] = true;
        while let Some(next) = alone(end)
            && let Some((from, link)) = link(graph, &invariant, next)
            && from == end
        {
            links.push(link);
            within[next] = true;
            end = next;
        }
        if links.len() >= worth && links.iter().any(|link| matches!(link.op, BinaryOp::Mul | BinaryOp::Div)) {
            chains[end] = Some((start, links));
        }
    }
    chains
}

/// One operation of a chain: the value on its left, and on its right something that stays the same.
#[derive(Clone)]
struct Link {
    op: BinaryOp,
    /// What stays the same before it was repeated, of the chain's rank.
    with: NodeId,
}

/// The value a node scales or shifts, and by what that stays the same.
fn link(graph: &Graph, invariant: &[bool], id: NodeId) -> Option<(NodeId, Link)> {
    let node = &graph.nodes[id];
    let Op::Binary(op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div)) = node.op else {
        return None;
    };
    if !matches!(node.dtype, DType::F32 | DType::F64) {
        return None;
    }
    // As it was before it was repeated. One row is treated like many, so that they come out the same.
    let same = |id: NodeId| {
        let node = &graph.nodes[id];
        let from = if matches!(node.op, Op::Expand) { node.inputs[0] } else { id };
        (invariant[from] && graph.nodes[from].shape.elements() > 1).then_some(from)
    };
    let [left, right] = [node.inputs[0], node.inputs[1]];
    let commutes = matches!(op, BinaryOp::Add | BinaryOp::Mul);
    match (same(left), same(right)) {
        (None, Some(with)) if !invariant[left] => Some((left, Link { op, with })),
        (Some(with), None) if commutes && !invariant[right] => Some((right, Link { op, with })),
        _ => None,
    }
}

/// The nodes within the chains are nobody's afterwards, and simplifying sweeps them away.
fn rewritten(graph: Graph, chains: Vec<Option<Chain>>) -> Graph {
    let mut chains = chains.into_iter();
    let place = |nodes: &mut Nodes, node: GraphNode| {
        let Some(Some((start, links))) = chains.next() else { return Some(nodes.push(node)) };
        let links: Vec<Link> =
            links.iter().map(|link| Link { op: link.op, with: nodes.now(link.with) }).collect();
        let start = nodes.now(start);
        Some(joined(nodes, &node, start, &links))
    };
    copy(graph, place).0
}

/// The end of a chain as one scale and one shift; `node` is the last of its nodes.
fn joined(nodes: &mut Nodes, node: &GraphNode, start: NodeId, links: &[Link]) -> NodeId {
    let (mut scale, mut shift): (Option<NodeId>, Option<NodeId>) = (None, None);
    for &Link { op, with } in links {
        let factor = matches!(op, BinaryOp::Mul | BinaryOp::Div);
        let so_far = if factor { &mut scale } else { &mut shift };
        *so_far = Some(match *so_far {
            Some(so_far) => between(nodes, node, op, so_far, with),
            None if matches!(op, BinaryOp::Mul | BinaryOp::Add) => with,
            None => {
                let neutral = constant(nodes, node, with, if factor { 1.0 } else { 0.0 });
                between(nodes, node, op, neutral, with)
            }
        });
        if factor {
            shift = shift.map(|shift| between(nodes, node, op, shift, with));
        }
    }
    let mut value = start;
    for (op, with) in [(BinaryOp::Mul, scale), (BinaryOp::Add, shift)] {
        if let Some(with) = with {
            let with = expanded(nodes, node, with, &node.shape);
            value = nodes.push_like(node, Op::Binary(op), &[value, with]);
        }
    }
    value
}

/// An operation on two values that stay the same, repeated to a common shape.
fn between(nodes: &mut Nodes, like: &GraphNode, op: BinaryOp, left: NodeId, right: NodeId) -> NodeId {
    let sizes = std::iter::zip(&nodes.shape(left)[..], &nodes.shape(right)[..]);
    let shape: Shape = sizes.map(|(&a, &b)| a.max(b)).collect::<Vec<_>>().into();
    let inputs = vec![expanded(nodes, like, left, &shape), expanded(nodes, like, right, &shape)];
    nodes.push(GraphNode { op: Op::Binary(op), inputs, shape, ..like.clone() })
}

fn constant(nodes: &mut Nodes, like: &GraphNode, of: NodeId, value: f64) -> NodeId {
    let shape = nodes.shape(of).clone();
    nodes.push_fill(&GraphNode { shape, ..like.clone() }, value)
}

fn expanded(nodes: &mut Nodes, like: &GraphNode, id: NodeId, shape: &Shape) -> NodeId {
    if nodes.shape(id) == shape {
        return id;
    }
    nodes.push(GraphNode { op: Op::Expand, inputs: vec![id], shape: shape.clone(), ..like.clone() })
}
