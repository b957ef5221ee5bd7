//! What a node means to the compiler, and where an operand really comes from.

use kiln_ir::Op;
use kiln_ir::graph::{Graph, Id};

/// The part a node plays in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory that is there: an argument or a variable.
    Leaf,
    /// Computed from the loop indices wherever it is used: never stored for pointwise work.
    Generator,
    /// One result for each point from the operands' elements at that point.
    Pointwise,
    /// A fold, which joins pointwise work on either side.
    Reduce,
    /// Another way to look at the operand's memory.
    Movement,
    /// A product with a tail of pointwise work.
    Contraction,
    /// A kernel of its own.
    Other,
}

/// The kind of an operation.
pub fn kind(op: &Op) -> Kind {
    match op {
        Op::Input(_) | Op::Var(_) | Op::Const(_) => Kind::Leaf,
        Op::Fill(_) | Op::Iota(_) => Kind::Generator,
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast(_) => Kind::Pointwise,
        Op::StopGradient | Op::Barrier(_) | Op::Rule(_) => Kind::Pointwise,
        Op::Reduce(..) => Kind::Reduce,
        Op::Reshape | Op::Permute(_) | Op::Expand | Op::Slice(_) => Kind::Movement,
        Op::Matmul | Op::Conv(_) | Op::ConvGradInput(..) | Op::ConvGradWeight(..) => Kind::Contraction,
        Op::Pad { .. }
        | Op::Concat(_)
        | Op::ArgReduce(..)
        | Op::CumSum(_)
        | Op::ArgSort { .. }
        | Op::WindowPick(_)
        | Op::WindowSpread(_)
        | Op::WindowSum(_)
        | Op::WindowSumGrad(..)
        | Op::Gather(_)
        | Op::Scatter(..)
        | Op::Custom(_) => Kind::Other,
    }
}

/// Whether a node computes something that is stored or fused: neither memory, generator nor view.
pub fn computes(graph: &Graph, id: Id) -> bool {
    !matches!(kind(&graph.nodes[id].op), Kind::Leaf | Kind::Generator | Kind::Movement)
}

/// The node whose elements an operand shows: up through all movements.
pub fn root(graph: &Graph, mut id: Id) -> Id {
    while kind(&graph.nodes[id].op) == Kind::Movement {
        id = graph.nodes[id].inputs[0];
    }
    id
}

/// The operands whose values a node computes with; what a barrier merely waits for isn't among them.
pub fn operands(graph: &Graph, id: Id) -> &[Id] {
    let node = &graph.nodes[id];
    match node.op {
        Op::Barrier(_) | Op::Rule(_) => &node.inputs[..1],
        _ => &node.inputs,
    }
}
