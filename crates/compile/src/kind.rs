//! What a node of a graph is to the compiler, and where an operand really comes from.

use kiln_ir::graph::{Graph, NodeId};
pub use kiln_ir::kind::{Contraction, Generator, Leaf, Movement, OpKind, Opaque, Pointwise};

/// Whether a node computes something that is stored or fused: neither memory, generator nor view.
pub fn computes(graph: &Graph, id: NodeId) -> bool {
    match graph.nodes[id].kind() {
        OpKind::Leaf(_) | OpKind::Generator(_) | OpKind::Movement(_) => false,
        OpKind::Pointwise(_) | OpKind::Reduce(..) | OpKind::Contraction(_) | OpKind::Opaque(_) => true,
    }
}

/// Whether a node is another way to look at its operand.
pub fn moves(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.nodes[id].kind(), OpKind::Movement(_))
}

/// Whether a node folds axes.
pub fn reduces(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.nodes[id].kind(), OpKind::Reduce(..))
}

/// The node whose elements an operand shows: up through all movements.
pub fn root(graph: &Graph, mut id: NodeId) -> NodeId {
    while moves(graph, id) {
        id = graph.nodes[id].inputs[0];
    }
    id
}
