//! How many buffers a kernel would touch, for targets that allow few.

use std::collections::HashSet;

use kiln_ir::graph::{Graph, NodeId};

use crate::invariant::live_out;
use crate::kind::{OpKind, root};

/// What is known of a graph's values for that.
#[derive(Debug)]
pub struct Bindings {
    most: usize,
    users: Vec<Vec<NodeId>>,
    live_out: HashSet<NodeId>,
}

impl Bindings {
    /// Of a graph whose kernels may touch so many buffers; nothing where that is no limit.
    pub fn new(graph: &Graph, most: usize) -> Option<Bindings> {
        (most < usize::MAX).then(|| Bindings { most, users: graph.users(), live_out: live_out(graph) })
    }

    /// Whether a kernel of these members (in order) touches few enough, whoever else becomes a member later: its operands
    /// from outside, each counted anew where it is seen in another way, and what others read of its results.
    pub fn fit(&self, graph: &Graph, members: &[NodeId]) -> bool {
        let inside = |id: &NodeId| members.binary_search(id).is_ok();
        let mut read = HashSet::new();
        let mut count = 0;
        for &member in members {
            let node = &graph.nodes[member];
            let contracts = matches!(node.kind(), OpKind::Contraction(_));
            for &operand in node.operands() {
                let made = matches!(graph.nodes[operand].kind(), OpKind::Generator(_));
                if contracts {
                    // As its kernel needs them, perhaps in a copy.
                    count += 1;
                } else if !made && !inside(&root(graph, operand)) && read.insert(operand) {
                    count += 1;
                }
            }
            let asked_for = self.live_out.contains(&member) || {
                let mut users = self.users[member].iter();
                users.any(|user| !inside(user))
            };
            count += usize::from(asked_for);
        }
        count <= self.most
    }
}
