//! What becomes of attention on its way to a kernel: what is composed of products and a softmax is found again, and what a target has no
//! kernel for is written out.

use std::collections::HashMap;

use kiln_ir::attention::{AttentionSpec, AttentionValue};
use kiln_ir::graph::{Graph, GraphNode, NodeId};
use kiln_ir::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use kiln_ir::rewrite::{Nodes, rewrite};
use kiln_ir::write_out;
use kiln_ir::{DType, Scalar, Shape};

use crate::target::Target;

/// The most buffers that a kernel of attention touches: nine operands, four gradients.
const MOST_BUFFERS: usize = 13;

/// Writes attention out in other operations for a target that has no kernel for it, or none for its dtypes.
///
/// `attention(q, k, v)` → `matmul(softmax(matmul(scale * q, kᵀ)), v)`
pub fn without_kernel(graph: &mut Graph, target: &Target) -> usize {
    let able = has_kernel(target);
    let all_here = |graph: &Graph, node: &GraphNode| {
        let dtypes = node.inputs.iter().map(|&input| graph.nodes[input].dtype);
        dtypes.chain([node.dtype]).all(|dtype| is_native(target, dtype))
    };
    write_out::attention(graph, |graph, node| !able || !all_here(graph, node))
}

fn has_kernel(target: &Target) -> bool {
    target.attention && target.most_bindings >= MOST_BUFFERS
}

fn is_native(target: &Target, dtype: DType) -> bool {
    target.computed(dtype) == Some(dtype) && target.stored(dtype) == Some(dtype)
}

/// Finds attention in what others composed, where nobody asks for the scores or weights. A row whose scores are all −∞ then gives zeros, where
/// its softmax alone would be no number.
///
/// `matmul(softmax(matmul(q, kᵀ) * s + m), v)` → `attention(q, k, v, m)` with the scale `s`
pub fn found(graph: &mut Graph, target: &Target) -> usize {
    if !has_kernel(target) {
        return 0;
    }
    let composed = AttentionSearch::new(graph).all(target);
    if composed.is_empty() {
        return 0;
    }
    let mut position = 0;
    rewrite(graph, |nodes, node| {
        position += 1;
        Some(match composed.get(&(position - 1)) {
            Some(found) => found.place(nodes, node),
            None => nodes.push(node),
        })
    })
}

/// Attention as it is composed.
struct ComposedAttention {
    query: NodeId,
    /// Keys with their positions last.
    keys: NodeId,
    values: NodeId,
    scale: Scalar,
    mask: Option<NodeId>,
}

impl ComposedAttention {
    /// Puts the operation in the place of the last product.
    fn place(&self, nodes: &mut Nodes, node: GraphNode) -> NodeId {
        nodes.changes += 1;
        let four = |nodes: &mut Nodes, old: NodeId| {
            let id = nodes.now(old);
            let shape = with_four_axes(nodes.shape(id));
            let value = GraphNode { at: node.at, ..nodes.node(id).clone() };
            match shape == value.shape {
                true => id,
                false => nodes.push(GraphNode { op: Op::Reshape, inputs: vec![id], shape, ..value }),
            }
        };
        let (query, keys, values) =
            (four(nodes, self.query), four(nodes, self.keys), four(nodes, self.values));
        let turned = nodes.node(keys).clone();
        let sizes = &turned.shape;
        let shape = Shape::from([sizes[0], sizes[1], sizes[3], sizes[2]]);
        let op = Op::Permute(vec![0, 1, 3, 2]);
        let keys = nodes.push(GraphNode { op, inputs: vec![keys], shape, at: node.at, ..turned });
        let mut inputs = vec![query, keys, values];
        inputs.extend(self.mask.map(|mask| four(nodes, mask)));
        let spec =
            AttentionSpec { scale: self.scale, masked: self.mask.is_some(), ..AttentionSpec::new(1.0) };
        let shape = with_four_axes(&node.shape);
        let op = Op::Attention(spec, AttentionValue::Result);
        let found = nodes.push(GraphNode { op, inputs, shape: shape.clone(), ..node.clone() });
        match shape == node.shape {
            true => found,
            false => nodes.push(GraphNode { op: Op::Reshape, inputs: vec![found], ..node }),
        }
    }
}

/// The sizes of matrices as `[batch, heads, rows, columns]`.
fn with_four_axes(shape: &Shape) -> Shape {
    match shape[..] {
        [rows, columns] => [1, 1, rows, columns].into(),
        [batch, rows, columns] => [batch, 1, rows, columns].into(),
        _ => shape.clone(),
    }
}

/// A graph in which attention is looked for.
struct AttentionSearch<'a> {
    graph: &'a Graph,
    /// How often each value is used, or asked for.
    uses: Vec<usize>,
}

impl AttentionSearch<'_> {
    fn new(graph: &Graph) -> AttentionSearch<'_> {
        let mut uses = vec![0; graph.nodes.len()];
        let asked = graph.outputs.iter().chain(graph.updates.iter().map(|(_, id)| id));
        for &id in graph.nodes.iter().flat_map(|node| &node.inputs).chain(asked) {
            uses[id] += 1;
        }
        AttentionSearch { graph, uses }
    }

    fn all(&self, target: &Target) -> HashMap<NodeId, ComposedAttention> {
        let products = self.graph.nodes.iter().enumerate().filter(|(_, node)| {
            let float = matches!(node.dtype, DType::F32 | DType::F64) && is_native(target, node.dtype);
            node.op == Op::Matmul && float && (2..=4).contains(&node.shape.rank())
        });
        products.filter_map(|(id, _)| Some((id, self.ending_in(id)?))).collect()
    }

    /// The attention that ends in this product.
    fn ending_in(&self, product: NodeId) -> Option<ComposedAttention> {
        let [weights, values] = self.graph.nodes[product].inputs[..] else { return None };
        let mut scores = self.softmax_of(weights)?;
        let mut mask = None;
        let is_product = |id: NodeId| {
            let scaled = self.scaled(id).map_or(id, |(inner, _)| inner);
            self.graph.nodes[scaled].op == Op::Matmul && self.uses[scaled] == 1
        };
        // The largest score and what is taken from it use the scores, nobody else.
        let mut uses = 2;
        if let Some([a, b]) = self.binary(scores, BinaryOp::Add).filter(|_| self.uses[scores] == uses) {
            let (inner, added) = if is_product(a) { (a, b) } else { (b, a) };
            (scores, mask, uses) = (inner, Some(added), 1);
        }
        let mut scale = Scalar::Float(1.0);
        if let Some((inner, by)) = self.scaled(scores).filter(|_| self.uses[scores] == uses) {
            (scores, scale, uses) = (inner, by, 1);
        }
        let node = &self.graph.nodes[scores];
        let [query, keys] = node.inputs[..] else { return None };
        let widths = [query, values].map(|id| self.graph.nodes[id].shape.last().copied().unwrap_or(0));
        let fits = node.op == Op::Matmul && self.uses[scores] == uses && !widths.contains(&0);
        fits.then_some(ComposedAttention { query, keys, values, scale, mask })
    }

    /// What a value is the softmax of, along its last axis.
    fn softmax_of(&self, weights: NodeId) -> Option<NodeId> {
        let once = |id: NodeId| (self.uses[id] == 1).then_some(id);
        let (powers, sum) = match self.binary(once(weights)?, BinaryOp::Div) {
            Some([powers, sum]) => (powers, self.repeated(sum)?),
            None => {
                let [a, b] = self.binary(weights, BinaryOp::Mul)?;
                let (powers, share) = if self.unary(a, UnaryOp::Exp).is_some() { (a, b) } else { (b, a) };
                (powers, self.unary(once(self.repeated(share)?)?, UnaryOp::Recip)?)
            }
        };
        let shifted = self.unary(powers, UnaryOp::Exp).filter(|_| self.uses[powers] == 2)?;
        let same = self.folded(once(sum)?, ReduceOp::Sum)? == powers;
        let [scores, most] = self.binary(once(shifted)?, BinaryOp::Sub).filter(|_| same)?;
        let most = once(self.repeated(most)?)?;
        (self.folded(most, ReduceOp::Max)? == scores).then_some(scores)
    }

    fn unary(&self, id: NodeId, function: UnaryOp) -> Option<NodeId> {
        let node = &self.graph.nodes[id];
        (node.op == Op::Unary(function)).then(|| node.inputs[0])
    }

    fn binary(&self, id: NodeId, function: BinaryOp) -> Option<[NodeId; 2]> {
        let node = &self.graph.nodes[id];
        (node.op == Op::Binary(function)).then(|| [node.inputs[0], node.inputs[1]])
    }

    /// What is repeated along the last axis, by this value alone.
    fn repeated(&self, id: NodeId) -> Option<NodeId> {
        let node = &self.graph.nodes[id];
        match node.op == Op::Expand {
            true => (self.uses[id] == 1).then(|| node.inputs[0]),
            // One key needn't be repeated.
            false => (node.shape.last() == Some(&1)).then_some(id),
        }
    }

    /// What is folded along its last axis.
    fn folded(&self, id: NodeId, function: ReduceOp) -> Option<NodeId> {
        let node = &self.graph.nodes[id];
        let last = node.shape.rank().checked_sub(1)?;
        (node.op == Op::Reduce(function, vec![last])).then(|| node.inputs[0])
    }

    /// What is multiplied by one number, or divided by it, and the factor.
    fn scaled(&self, id: NodeId) -> Option<(NodeId, Scalar)> {
        let number = |id: NodeId| {
            if let Op::Fill(value) = self.graph.nodes[id].op { Some(value) } else { None }
        };
        if let Some([a, b]) = self.binary(id, BinaryOp::Div) {
            return Some((a, Scalar::Float(1.0 / number(b)?.as_f64())));
        }
        let [a, b] = self.binary(id, BinaryOp::Mul)?;
        number(b).map(|by| (a, by)).or_else(|| Some((b, number(a)?)))
    }
}
