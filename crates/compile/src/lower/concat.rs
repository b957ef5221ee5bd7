//! Concatenations, whose parts are stored where they belong, so that nothing is left to do for most.

use kiln_ir::graph::NodeId;

use crate::layout::StridedBuffer;

use super::Lowering;

impl Lowering<'_> {
    /// The place of a value in the concatenation that it is part of, whose axes lie in this order if nothing is said of it yet.
    pub(super) fn as_part(&mut self, id: NodeId, order: &[usize]) -> Option<StridedBuffer> {
        let part = *self.parts.get(&id)?;
        // What is hoisted stands alone: the rest is written at every run.
        let hoisted = |id: NodeId| self.clusters.clusters[self.clusters.cluster_of[&id]].hoisted;
        if hoisted(id) != hoisted(part.whole) {
            return None;
        }
        let whole = match self.wholes.get(&part.whole) {
            Some(whole) => whole.clone(),
            None => {
                let whole = self.whole(part.whole, order);
                self.wholes.insert(part.whole, whole.clone());
                whole
            }
        };
        Some(within(&whole, part.axis, part.start))
    }

    fn whole(&mut self, id: NodeId, order: &[usize]) -> StridedBuffer {
        self.destination(id, |_| false).unwrap_or_else(|| self.temporary(id, order))
    }

    /// Writes a concatenation: what isn't in its place yet is copied there.
    pub(super) fn concat(&mut self, id: NodeId, axis: usize) {
        let graph = self.graph;
        let parts = &graph.nodes[id].inputs;
        let whole = match self.wholes.get(&id) {
            Some(whole) => whole.clone(),
            None => {
                let order = self.locate(parts[0]).axis_order();
                self.whole(id, &order)
            }
        };
        let mut start = 0;
        for &part in parts {
            let place = within(&whole, axis, start);
            let from = self.locate(part);
            if from != place {
                let shape = graph.nodes[part].shape.clone();
                self.copy(&from, &place, &shape, id, graph.nodes[id].op.name());
            }
            start += graph.nodes[part].shape[axis];
        }
        self.settle(id, whole);
    }
}

/// The elements from this index of an axis on.
fn within(whole: &StridedBuffer, axis: usize, start: usize) -> StridedBuffer {
    let offset = whole.offset + start as isize * whole.strides[axis];
    StridedBuffer { offset, ..whole.clone() }
}
