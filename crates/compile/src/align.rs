//! How the axes of the values in one kernel lie on its loops.
//!
//! A kernel runs over loops. Each axis of a value is covered by a list of them, outermost first: an axis of size one by
//! none, a plain axis by one, and the axis `[batch·time]` of a reshaped value by two. Walking from a value to
//! its operand through permutes, reshapes and expands only rearranges these lists, which is how a chain of pointwise
//! work that is reshaped or transposed half-way is still one loop nest.

use kiln_ir::graph::{Graph, NodeId};

use crate::kind::{Movement, OpKind};

/// A loop of the kernel that is being put together.
pub type LoopId = usize;

/// For each axis of a value, the loops that cover it, outermost first.
pub type Align = Vec<Vec<LoopId>>;

/// The loops made so far. A loop may be split in two when a reshape cuts through it; the halves then stand for it.
#[derive(Clone, Debug, Default)]
pub struct Loops {
    sizes: Vec<usize>,
    halves: Vec<Option<(LoopId, LoopId)>>,
}

impl Loops {
    /// New loops over a shape, one for each axis that is longer than one.
    pub fn over(&mut self, shape: &[usize]) -> Align {
        shape.iter().map(|&size| if size == 1 { vec![] } else { vec![self.add(size)] }).collect()
    }

    /// How many loops were ever made.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// How often a loop runs.
    pub fn size(&self, id: LoopId) -> usize {
        self.sizes[id]
    }

    /// The alignment with every split loop replaced by its halves.
    pub fn resolve(&self, align: &Align) -> Align {
        align.iter().map(|list| self.resolve_list(list)).collect()
    }

    /// The list with every split loop replaced by its halves.
    pub fn resolve_list(&self, list: &[LoopId]) -> Vec<LoopId> {
        let mut resolved = Vec::with_capacity(list.len());
        let mut stack: Vec<LoopId> = list.iter().rev().copied().collect();
        while let Some(id) = stack.pop() {
            match self.halves[id] {
                Some((outer, inner)) => stack.extend([inner, outer]),
                None => resolved.push(id),
            }
        }
        resolved
    }

    fn add(&mut self, size: usize) -> LoopId {
        self.sizes.push(size);
        self.halves.push(None);
        self.sizes.len() - 1
    }

    /// Deals out `list` (in order) to axes of these sizes, splitting loops where an axis ends inside of one.
    ///
    /// `[6, 4]` dealt to `[2, 12]` → the 6 is split in 2 and 3: `[[2], [3, 4]]`.
    pub fn deal(&mut self, list: &[LoopId], sizes: &[usize]) -> Option<Align> {
        let mut rest: Vec<LoopId> = self.resolve_list(list);
        rest.reverse();
        let mut align = Vec::with_capacity(sizes.len());
        for &size in sizes {
            let (mut covered, mut taken) = (1, Vec::new());
            while covered < size {
                let id = rest.pop()?;
                let length = self.sizes[id];
                if !size.is_multiple_of(covered) {
                    return None;
                }
                let missing = size / covered;
                if length <= missing {
                    covered *= length;
                    taken.push(id);
                } else {
                    if !length.is_multiple_of(missing) {
                        return None;
                    }
                    let (outer, inner) = (self.add(missing), self.add(length / missing));
                    self.halves[id] = Some((outer, inner));
                    rest.push(inner);
                    taken.push(outer);
                    covered *= missing;
                }
            }
            if covered != size {
                return None;
            }
            align.push(taken);
        }
        rest.is_empty().then_some(align)
    }

    /// From the alignment of a movement's result to that of its operand. `None`: it can't be expressed by loops (a
    /// slice, or a reshape whose sizes don't divide).
    pub fn back(&mut self, graph: &Graph, movement: NodeId, align: &Align) -> Option<Align> {
        let node = &graph.nodes[movement];
        let from = &graph.nodes[*node.inputs.first()?].shape;
        let OpKind::Movement(movement) = node.kind() else { return None };
        match movement {
            Movement::Permute(axes) => {
                let mut operand = vec![Vec::new(); axes.len()];
                for (result_axis, &axis) in axes.iter().enumerate() {
                    operand[axis] = align[result_axis].clone();
                }
                Some(operand)
            }
            Movement::Expand => Some(
                from.iter()
                    .zip(align)
                    .map(|(&size, list)| if size == 1 { vec![] } else { list.clone() })
                    .collect(),
            ),
            // What is missing from the result's alignment (loops a value doesn't move along) can't be dealt out.
            Movement::Reshape if self.covers(align, &node.shape) => self.deal(&align.concat(), from),
            Movement::Reshape => self.regroup(&node.shape, align, from),
            Movement::Slice(_) => None,
        }
    }

    /// From the alignment of a movement's operand to that of its result, where the operand alone decides it.
    pub fn forth(&mut self, graph: &Graph, movement: NodeId, align: &Align) -> Option<Align> {
        let node = &graph.nodes[movement];
        let from = &graph.nodes[*node.inputs.first()?].shape;
        let OpKind::Movement(movement) = node.kind() else { return None };
        match movement {
            Movement::Permute(axes) => Some(axes.iter().map(|&axis| align[axis].clone()).collect()),
            Movement::Reshape if self.covers(align, from) => self.deal(&align.concat(), &node.shape),
            Movement::Reshape => self.regroup(from, align, &node.shape),
            Movement::Expand | Movement::Slice(_) => None,
        }
    }

    /// Whether the lists multiply up to the axes' sizes.
    fn covers(&self, align: &Align, shape: &[usize]) -> bool {
        let length = |list: &[LoopId]| list.iter().map(|&id| self.sizes[id]).product::<usize>();
        align.iter().zip(shape).all(|(list, &size)| length(list) == size)
    }

    /// A reshape that only adds or drops axes of size one keeps every other axis' list, even a list that is empty because
    /// the value is repeated along it.
    fn regroup(&self, from: &[usize], align: &Align, to: &[usize]) -> Option<Align> {
        let mut lists = from.iter().zip(align).filter(|(size, _)| **size != 1);
        let mut result = Vec::with_capacity(to.len());
        for &size in to {
            if size == 1 {
                result.push(vec![]);
            } else {
                let (&other, list) = lists.next()?;
                if other != size {
                    return None;
                }
                result.push(list.clone());
            }
        }
        lists.next().is_none().then_some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealing_splits_loops_where_axes_end() {
        let mut loops = Loops::default();
        let align = loops.over(&[6, 1, 4]);
        let dealt = loops.deal(&align.concat(), &[2, 12]).unwrap();
        let sizes: Vec<Vec<usize>> =
            dealt.iter().map(|list| list.iter().map(|&id| loops.size(id)).collect()).collect();
        assert_eq!(sizes, [vec![2], vec![3, 4]]);
        assert_eq!(loops.resolve(&align)[0].len(), 2);
        assert_eq!(loops.deal(&align.concat(), &[5, 5]), None);
        assert_eq!(loops.deal(&align.concat(), &[4, 6]), None);
    }
}
