//! Graph → graph, node by node: the one way in which passes rewrite.

use crate::dtype::{DType, Scalar};
use crate::graph::{Graph, GraphNode, NodeId};
use crate::op::Op;
use crate::shape::Shape;

/// Copies a graph node by node. `place` receives each with its operands already translated, and says where its value
/// is now, or `None` where nobody will ask. Gives the new graph and how many changes `place` counted.
pub fn copy(graph: Graph, mut place: impl FnMut(&mut Nodes, GraphNode) -> Option<NodeId>) -> (Graph, usize) {
    let mut nodes = Nodes { new_id: Vec::with_capacity(graph.nodes.len()), ..Nodes::default() };
    for mut node in graph.nodes {
        node.inputs.iter_mut().for_each(|input| *input = nodes.new_id[*input]);
        let id = place(&mut nodes, node).unwrap_or(NodeId::MAX);
        nodes.new_id.push(id);
    }
    let after = Graph {
        outputs: graph.outputs.iter().map(|&id| nodes.now(id)).collect(),
        updates: graph.updates.into_iter().map(|(variable, id)| (variable, nodes.now(id))).collect(),
        nodes: nodes.list,
        inputs: graph.inputs,
    };
    (after, nodes.changes)
}

/// The same in place; gives the changes.
pub fn rewrite(graph: &mut Graph, place: impl FnMut(&mut Nodes, GraphNode) -> Option<NodeId>) -> usize {
    let (after, changes) = copy(std::mem::take(graph), place);
    *graph = after;
    changes
}

/// The nodes of the graph that is being written.
#[derive(Debug, Default)]
pub struct Nodes {
    pub(crate) list: Vec<GraphNode>,
    /// How much was changed so far.
    pub changes: usize,
    /// Where each node of the old graph went.
    new_id: Vec<NodeId>,
}

impl Nodes {
    /// Adds a node.
    pub fn push(&mut self, node: GraphNode) -> NodeId {
        self.list.push(node);
        self.list.len() - 1
    }

    /// Adds a node that is like another but for its operation and operands.
    pub fn push_like(&mut self, node: &GraphNode, op: Op, inputs: &[NodeId]) -> NodeId {
        self.push(GraphNode { op, inputs: inputs.to_vec(), ..node.clone() })
    }

    /// Adds a constant of a node's shape and dtype.
    pub fn push_fill(&mut self, node: &GraphNode, value: impl Into<Scalar>) -> NodeId {
        self.push_like(node, Op::Fill(value.into().cast(node.dtype)), &[])
    }

    /// Adds a cast, unless the value has the dtype.
    pub fn push_cast(&mut self, id: NodeId, dtype: DType) -> NodeId {
        let node = self.list[id].clone();
        if node.dtype == dtype {
            return id;
        }
        self.push(GraphNode { op: Op::Cast(dtype), inputs: vec![id], dtype, ..node })
    }

    /// Where a node of the old graph, already placed, is now.
    pub fn now(&self, old: NodeId) -> NodeId {
        self.new_id[old]
    }

    /// How many nodes there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &GraphNode {
        &self.list[id]
    }

    /// A node's operation.
    pub fn op(&self, id: NodeId) -> &Op {
        &self.list[id].op
    }

    /// A node's shape.
    pub fn shape(&self, id: NodeId) -> &Shape {
        &self.list[id].shape
    }

    /// A node's dtype.
    pub fn dtype(&self, id: NodeId) -> DType {
        self.list[id].dtype
    }

    /// The first operand of a node that has some.
    pub fn inner(&self, id: NodeId) -> NodeId {
        self.list[id].inputs[0]
    }

    /// The one value a node has everywhere, if it is constant.
    pub fn constant(&self, id: NodeId) -> Option<Scalar> {
        if let Op::Fill(value) = self.op(id) { Some(*value) } else { None }
    }

    /// Whether a node is constant and equal to this number (−0 equals 0).
    pub fn is(&self, id: NodeId, number: f64) -> bool {
        self.constant(id).is_some_and(|value| value.as_f64() == number)
    }
}
