//! The loops that the members of a cluster have in common.

use std::collections::HashMap;

use kiln_ir::Op;
use kiln_ir::graph::{Graph, NodeId};

use crate::align::{Align, LoopId, Loops};
use crate::kind::{moves, reduces, root};

/// The loops of a cluster and how its members lie on them.
#[derive(Clone, Debug)]
pub struct LoopNest {
    /// The loops made on the way.
    pub loops: Loops,
    /// All loops, in the order of the seed's axes.
    pub all: Vec<LoopId>,
    /// Those that are reduced.
    pub reduced: Vec<LoopId>,
    /// How each member lies on the loops.
    pub align: HashMap<NodeId, Align>,
}

/// Lays the members on common loops, or finds that they don't fit.
pub fn nest(graph: &Graph, members: &[NodeId], contraction: Option<NodeId>) -> Option<LoopNest> {
    Aligner { graph, members, loops: Loops::default(), reduced: Vec::new(), align: HashMap::new() }
        .lay(contraction)
}

/// The state of laying a cluster's members on loops.
struct Aligner<'a> {
    graph: &'a Graph,
    members: &'a [NodeId],
    loops: Loops,
    reduced: Vec<LoopId>,
    align: HashMap<NodeId, Align>,
}

impl Aligner<'_> {
    fn lay(mut self, contraction: Option<NodeId>) -> Option<LoopNest> {
        let reduce = self.members.iter().copied().find(|&id| reduces(self.graph, id));
        let (full_shape, full) = match (contraction, reduce) {
            (None, Some(id)) => {
                let Op::Reduce(_, axes) = &self.graph.nodes[id].op else {
                    return None;
                };
                let operand = self.graph.nodes[id].inputs[0];
                let shape = self.graph.nodes[operand].shape.clone();
                let full = self.loops.over(&shape);
                self.reduced = axes.iter().flat_map(|&axis| full[axis].clone()).collect();
                self.set(id, kept(&full, axes));
                self.push_up(operand, full.clone());
                (shape, full)
            }
            (Some(id), _) => {
                let shape = self.graph.nodes[id].shape.clone();
                let full = self.loops.over(&shape);
                self.set(id, full.clone());
                (shape, full)
            }
            (None, None) => {
                let id = self
                    .members
                    .iter()
                    .copied()
                    .max_by_key(|&id| (self.graph.nodes[id].shape.elements(), id))?;
                let shape = self.graph.nodes[id].shape.clone();
                let full = self.loops.over(&shape);
                self.set(id, full.clone());
                (shape, full)
            }
        };
        self.spread();
        // Siblings that only share what they read: of equal shape, so on the same loops.
        for &id in self.members.iter().rev() {
            if !self.align.contains_key(&id) && self.graph.nodes[id].shape == full_shape {
                self.set(id, full.clone());
                self.spread();
            }
            if let Op::Reduce(_, axes) = &self.graph.nodes[id].op
                && !self.align.contains_key(&id)
                && self.graph.nodes[self.graph.nodes[id].inputs[0]].shape == full_shape
            {
                self.set(id, kept(&full, axes));
                self.spread();
            }
        }
        self.verify(&full)
    }

    fn set(&mut self, id: NodeId, align: Align) {
        self.align.insert(id, align);
    }

    /// Passes an operand's alignment up through movements to the member it shows, if it is one.
    fn push_up(&mut self, mut id: NodeId, mut align: Align) -> bool {
        while moves(self.graph, id) {
            match self.loops.back(self.graph, id, &align) {
                Some(operand) => align = operand,
                None => return false,
            }
            id = self.graph.nodes[id].inputs[0];
        }
        let new = self.members.binary_search(&id).is_ok() && !self.align.contains_key(&id);
        if new {
            self.set(id, align);
        }
        new
    }

    /// Passes alignments on between members, users to operands and back, until nothing new is learned.
    fn spread(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for &id in self.members.iter().rev() {
                if let Some(align) = self.align.get(&id).cloned() {
                    for &operand in self.graph.nodes[id].operands() {
                        if let Some(align) = self.operand_align(id, &align) {
                            changed |= self.push_up(operand, align);
                        }
                    }
                }
            }
            for &id in self.members {
                if !self.align.contains_key(&id) {
                    let found =
                        self.graph.nodes[id].operands().iter().find_map(|&operand| self.pull_down(operand));
                    if let Some(align) = found {
                        let align = if let Op::Reduce(_, axes) = &self.graph.nodes[id].op {
                            kept(&align, axes)
                        } else {
                            align
                        };
                        self.set(id, align);
                        changed = true;
                    }
                }
            }
        }
    }

    /// The alignment of an operand, from that of the member it shows.
    fn pull_down(&mut self, operand: NodeId) -> Option<Align> {
        let mut path = Vec::new();
        let mut id = operand;
        while moves(self.graph, id) {
            path.push(id);
            id = self.graph.nodes[id].inputs[0];
        }
        let mut align = self.align.get(&id)?.clone();
        for movement in path.into_iter().rev() {
            align = self.loops.forth(self.graph, movement, &align)?;
        }
        Some(align)
    }

    /// How a member's operands lie: like the member, but for a reduction's folded axes.
    fn operand_align(&mut self, id: NodeId, align: &Align) -> Option<Align> {
        let Op::Reduce(_, axes) = &self.graph.nodes[id].op else {
            return Some(align.clone());
        };
        let shape = &self.graph.nodes[self.graph.nodes[id].inputs[0]].shape;
        let sizes: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        let folded = self.loops.deal(&self.reduced.clone(), &sizes)?;
        let mut align = align.clone();
        for (list, &axis) in folded.into_iter().zip(axes) {
            align[axis] = list;
        }
        Some(align)
    }

    /// Every member must lie on all loops or on all that aren't reduced, each once, and every operand inside of the
    /// cluster must lie as its user needs it.
    fn verify(mut self, full: &Align) -> Option<LoopNest> {
        for &id in self.members {
            let align = self.align.get(&id)?.clone();
            let wanted = self.operand_align(id, &align)?;
            for &operand in self.graph.nodes[id].operands() {
                let (mut at, mut align) = (operand, wanted.clone());
                if self.members.binary_search(&root(self.graph, operand)).is_err() {
                    continue;
                }
                while moves(self.graph, at) {
                    align = self.loops.back(self.graph, at, &align)?;
                    at = self.graph.nodes[at].inputs[0];
                }
                let own = self.align.get(&at)?;
                if self.loops.resolve(own) != self.loops.resolve(&align) {
                    return None;
                }
            }
        }
        let all = self.loops.resolve_list(&full.concat());
        let reduced: Vec<LoopId> = self.loops.resolve_list(&self.reduced);
        for &id in self.members {
            let align = self.loops.resolve(&self.align[&id]);
            let mut on: Vec<LoopId> = align.concat();
            let count = on.len();
            on.sort_unstable();
            on.dedup();
            let whole = count == on.len() && (count == all.len() || count == all.len() - reduced.len());
            let folded = on.iter().any(|id| reduced.contains(id));
            let lengths = align
                .iter()
                .zip(self.graph.nodes[id].shape.iter())
                .all(|(list, &size)| list.iter().map(|&id| self.loops.size(id)).product::<usize>() == size);
            if !whole || !lengths || (folded && count != all.len()) {
                return None;
            }
            self.align.insert(id, align);
        }
        Some(LoopNest { loops: self.loops, all, reduced, align: self.align })
    }
}

/// The alignment of a reduction's result: nothing along the folded axes.
fn kept(align: &Align, axes: &[usize]) -> Align {
    let mut align = align.clone();
    for &axis in axes {
        align[axis] = Vec::new();
    }
    align
}
