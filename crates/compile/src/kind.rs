//! What a node of a graph is to the compiler, and where an operand really comes from.

use kiln_ir::graph::{Graph, Id};
pub use kiln_ir::kind::{Contraction, Generator, Kind, Leaf, Movement, Opaque, Pointwise};

/// Whether a node computes something that is stored or fused: neither memory, generator nor view.
pub fn computes(graph: &Graph, id: Id) -> bool {
    match graph.nodes[id].kind() {
        Kind::Leaf(_) | Kind::Generator(_) | Kind::Movement(_) => false,
        Kind::Pointwise(_) | Kind::Reduce(..) | Kind::Contraction(_) | Kind::Opaque(_) => true,
    }
}

/// Whether a node is another way to look at its operand.
pub fn moves(graph: &Graph, id: Id) -> bool {
    matches!(graph.nodes[id].kind(), Kind::Movement(_))
}

/// Whether a node folds axes.
pub fn reduces(graph: &Graph, id: Id) -> bool {
    matches!(graph.nodes[id].kind(), Kind::Reduce(..))
}

/// The node whose elements an operand shows: up through all movements.
pub fn root(graph: &Graph, mut id: Id) -> Id {
    while moves(graph, id) {
        id = graph.nodes[id].inputs[0];
    }
    id
}
