//! Parts of concatenations: values that are stored right where they belong in one.
//!
//! `concat(a·b, tanh(c))` → the product and the hyperbolic tangent each write their columns, and nothing is copied.

use std::collections::HashMap;

use kiln_ir::Op;
use kiln_ir::graph::{Graph, NodeId};

use crate::cluster::ClusterId;
use crate::kind::OpKind;

/// Where a value stands in a concatenation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConcatPart {
    /// The concatenation.
    pub whole: NodeId,
    /// Along which axis,
    pub axis: usize,
    /// and from which index on.
    pub start: usize,
}

/// The values that stand in one concatenation once, that no other kernel reads, and that are stored by one which can put them
/// anywhere.
pub(crate) fn parts(graph: &Graph, cluster_of: &HashMap<NodeId, ClusterId>) -> HashMap<NodeId, ConcatPart> {
    let users = graph.users();
    let mut found: HashMap<NodeId, Vec<ConcatPart>> = HashMap::new();
    for (whole, node) in graph.nodes.iter().enumerate() {
        let Op::Concat(axis) = node.op else { continue };
        let mut start = 0;
        for &part in &node.inputs {
            found.entry(part).or_default().push(ConcatPart { whole, axis, start });
            start += graph.nodes[part].shape[axis];
        }
    }
    let kept: Vec<NodeId> =
        graph.outputs.iter().copied().chain(graph.updates.iter().map(|(_, id)| *id)).collect();
    let movable = |id: NodeId| {
        let kind = graph.nodes[id].kind();
        matches!(kind, OpKind::Pointwise(_) | OpKind::Reduce(..) | OpKind::Contraction(_))
            && !kept.contains(&id)
    };
    let alone = |id: NodeId, whole: NodeId| {
        let own = cluster_of.get(&id);
        users[id].iter().all(|user| *user == whole || (own.is_some() && cluster_of.get(user) == own))
    };
    let once = |(id, parts): (NodeId, Vec<ConcatPart>)| match parts[..] {
        [part] if movable(id) && alone(id, part.whole) => Some((id, part)),
        _ => None,
    };
    found.into_iter().filter_map(once).collect()
}
