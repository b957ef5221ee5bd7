//! The nodes of the lazy graph: immutable, shared, numbered in the order they were built.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dtype::DType;
use crate::kind::{Leaf, Movement, OpKind, Pointwise};
use crate::op::Op;
use crate::shape::Shape;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// One operation applied to the values of other nodes.
pub struct Node {
    /// Larger than the ids of all inputs, and never used twice in a process.
    pub id: u64,
    /// What is computed.
    pub op: Op,
    /// From which values.
    pub inputs: Vec<Arc<Node>>,
    /// The value's shape.
    pub shape: Shape,
    /// The value's dtype.
    pub dtype: DType,
    /// The user's line that built it.
    pub at: &'static Location<'static>,
}

impl Node {
    /// A node with the next id. Shape and dtype must be what [`crate::infer::infer`] gives.
    pub(crate) fn new(
        op: Op,
        inputs: Vec<Arc<Node>>,
        shape: Shape,
        dtype: DType,
        at: &'static Location<'static>,
    ) -> Arc<Node> {
        Arc::new(Node { id: next_id(), op, inputs, shape, dtype, at })
    }

    /// The name users know the value by, where it is a named variable.
    pub fn variable_name(&self) -> Option<String> {
        let named = |op: &Op| match op.kind() {
            OpKind::Leaf(Leaf::Var(variable)) => Some(variable.name()).filter(|name| !name.is_empty()),
            OpKind::Leaf(Leaf::Const(_) | Leaf::Input(_))
            | OpKind::Generator(_)
            | OpKind::Pointwise(_)
            | OpKind::Reduce(..)
            | OpKind::Movement(_)
            | OpKind::Contraction(_)
            | OpKind::Opaque(_) => None,
        };
        // A view of a parameter is still that parameter to its user.
        let shown = match self.op.kind() {
            OpKind::Pointwise(Pointwise::Cast(_))
            | OpKind::Movement(Movement::Permute(_) | Movement::Reshape | Movement::Expand) => {
                self.inputs.first()
            }
            OpKind::Movement(Movement::Slice(_))
            | OpKind::Pointwise(
                Pointwise::Unary(_) | Pointwise::Binary(_) | Pointwise::Select | Pointwise::Identity,
            )
            | OpKind::Leaf(_)
            | OpKind::Generator(_)
            | OpKind::Reduce(..)
            | OpKind::Contraction(_)
            | OpKind::Opaque(_) => None,
        };
        named(&self.op).or_else(|| named(&shown?.op))
    }
}

/// A number that no node has yet; every node built later has a larger one.
pub fn next_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The nodes that `roots` reach, each once, inputs before users. Iterative, so that a long chain can't overflow
/// the stack.
pub fn topological(roots: &[Arc<Node>]) -> Vec<Arc<Node>> {
    topological_since(roots, 0)
}

/// As [`topological`], without what was built before the node with this id.
pub(crate) fn topological_since(roots: &[Arc<Node>], oldest: u64) -> Vec<Arc<Node>> {
    // Ids grow from inputs to users, so sorting what is reached by id is a topological order.
    let mut seen = std::collections::HashSet::new();
    let mut stack: Vec<Arc<Node>> = roots.to_vec();
    let mut order = Vec::new();
    while let Some(node) = stack.pop() {
        if !seen.insert(node.id) {
            continue;
        }
        let unseen = |input: &&Arc<Node>| input.id >= oldest && !seen.contains(&input.id);
        stack.extend(node.inputs.iter().filter(unseen).cloned());
        order.push(node);
    }
    order.sort_unstable_by_key(|node| node.id);
    order
}

impl Drop for Node {
    /// Takes a long chain apart in a loop; the derived drop would recurse once a node.
    fn drop(&mut self) {
        let mut orphans = std::mem::take(&mut self.inputs);
        while let Some(node) = orphans.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                orphans.append(&mut node.inputs);
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{} = {}(", self.id, self.op.name())?;
        for (position, input) in self.inputs.iter().enumerate() {
            write!(f, "{}%{}", if position > 0 { ", " } else { "" }, input.id)?;
        }
        write!(f, "): {}{}", self.dtype, self.shape)
    }
}
