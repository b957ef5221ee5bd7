//! Operations that a target or a file doesn't know, in terms of others.

use crate::dtype::DType;
use crate::expr::Expr;
use crate::expr::attention::expanded;
use crate::graph::{Graph, GraphNode, NodeId};
use crate::op::Op;
use crate::rewrite::rewrite;
use crate::shape::Shape;

/// Writes attention out where `chosen` says so; gives how often.
pub fn attention(graph: &mut Graph, chosen: impl Fn(&Graph, &GraphNode) -> bool) -> usize {
    let attends = |node: &GraphNode| matches!(node.op, Op::Attention(..));
    let here: Vec<bool> = graph.nodes.iter().map(|node| attends(node) && chosen(graph, node)).collect();
    if !here.contains(&true) {
        return 0;
    }
    let mut position = 0;
    rewrite(graph, |nodes, node| {
        position += 1;
        let Op::Attention(spec, value) = &node.op else { return Some(nodes.push(node)) };
        let types: Vec<(Shape, DType)> =
            node.inputs.iter().map(|&input| (nodes.shape(input).clone(), nodes.dtype(input))).collect();
        let inputs = types.iter().enumerate();
        let operands: Vec<Expr> =
            inputs.map(|(i, (shape, dtype))| Expr::input(i, shape.clone(), *dtype)).collect();
        let traced = Graph::trace(&types, &[expanded(spec, *value, &operands)], &[]);
        let Some((written, _)) = traced.ok().filter(|_| here[position - 1]) else {
            return Some(nodes.push(node));
        };
        nodes.changes += 1;
        let mut place: Vec<NodeId> = Vec::with_capacity(written.nodes.len());
        for mut each in written.nodes {
            if let Op::Input(operand) = each.op {
                place.push(node.inputs[operand]);
                continue;
            }
            each.inputs.iter_mut().for_each(|input| *input = place[*input]);
            place.push(nodes.push(GraphNode { at: node.at, ..each }));
        }
        Some(place[written.outputs[0]])
    })
}
