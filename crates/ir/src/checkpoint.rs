//! Recomputing instead of keeping: a stretch of the graph whose intermediate values are computed again when its
//! gradient is, so that they needn't stay in memory in between.

use std::collections::HashMap;
use std::sync::Arc;

use crate::expr::Expr;
use crate::grad::gradients;
use crate::node::{Node, next_id};
use crate::op::{GradientRule, Op};

/// What `f` builds, of which a gradient keeps only what came in from outside: older nodes and variables.
///
/// ```
/// use kiln_ir::{DType, Expr, checkpoint::checkpoint, grad::gradients, op::UnaryOp};
/// let x = Expr::full((), 0.5, DType::F32);
/// let y = checkpoint(|| x.unary(UnaryOp::Sin).unary(UnaryOp::Exp));
/// let slope = &gradients(&y, &[x], None)[0]; // has a sine and an exponential of its own
/// assert!(slope.error().is_none());
/// ```
#[track_caller]
pub fn checkpoint(f: impl FnOnce() -> Expr) -> Expr {
    let since = next_id();
    let value = f();
    let Ok(node) = value.node() else { return value };
    let is_boundary = |node: &Node| node.id < since || matches!(node.op, Op::Var(_) | Op::Input(_));
    let (_, boundary) = stretch(node, is_boundary);
    if is_boundary(node) || boundary.is_empty() {
        return value;
    }
    let boundary: Vec<Expr> = boundary.into_iter().map(Expr::from).collect();
    value.with_rule(&boundary.iter().collect::<Vec<_>>(), Arc::new(Recompute))
}

/// The nodes from `end` back to the boundary, inputs before users, and the boundary itself.
fn stretch(end: &Arc<Node>, is_boundary: impl Fn(&Node) -> bool) -> (Vec<Arc<Node>>, Vec<Arc<Node>>) {
    let mut seen = HashMap::new();
    let mut stack = vec![end.clone()];
    while let Some(node) = stack.pop() {
        if seen.contains_key(&node.id) {
            continue;
        }
        if !is_boundary(&node) {
            stack.extend(node.inputs.iter().cloned());
        }
        seen.insert(node.id, node);
    }
    let mut nodes: Vec<Arc<Node>> = seen.into_values().collect();
    nodes.sort_unstable_by_key(|node| node.id);
    nodes.into_iter().partition(|node| !is_boundary(node))
}

/// The rule of a checkpoint; its arguments are the boundary, so it needs to know nothing else.
#[derive(Debug)]
struct Recompute;

impl GradientRule for Recompute {
    fn gradient(&self, arguments: &[Expr], value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        // Waiting for the upstream gradient is what keeps the copy from being merged with the original.
        let anew: Vec<Expr> = arguments.iter().map(|argument| argument.barrier(&[upstream])).collect();
        let mut copy_of: HashMap<u64, Expr> = HashMap::new();
        for (argument, copy) in arguments.iter().zip(&anew) {
            if let Ok(node) = argument.node() {
                copy_of.insert(node.id, copy.clone());
            }
        }
        // `value` is the rule's own node; the stretch ends at what it wraps.
        let Some(end) = value.node().ok().and_then(|node| node.inputs.first()) else {
            return vec![Some(value.clone()); arguments.len()];
        };
        for node in stretch(end, |node| copy_of.contains_key(&node.id)).0 {
            let copy = if node.inputs.is_empty() {
                Expr::from(node.clone())
            } else {
                let operands: Vec<&Expr> = node.inputs.iter().map(|input| &copy_of[&input.id]).collect();
                Expr::apply(node.op.clone(), &operands, Some((&node.shape, node.dtype)))
            };
            copy_of.insert(node.id, copy);
        }
        let is_float = |x: &Expr| x.dtype().is_float();
        gradients(&copy_of[&end.id], &anew, Some(upstream))
            .into_iter()
            .zip(arguments)
            .map(|(gradient, argument)| is_float(argument).then_some(gradient))
            .collect()
    }
}
