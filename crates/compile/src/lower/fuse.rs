//! Fused work: from a cluster's members to the loops, loads, instructions and stores of one kernel.

use std::collections::HashMap;

use kiln_ir::graph::NodeId;
use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Scalar};

use crate::align::{Align, LoopId, Loops};
use crate::cluster::{LoopNest, nest};
use crate::kind::{Generator, OpKind, Pointwise, moves};
use crate::layout::StridedBuffer;
use crate::program::{Fused, Instruction, Operation, Store, View, Work, accumulator};
use crate::simplify_loops::{collapse, collapse_range, drop_unused, keep_overwritten};

use super::Lowering;

/// A cluster's body before its loops are in order: loads and indices still speak of loop ids.
struct UnorderedBody {
    nest: LoopNest,
    body: Vec<Instruction>,
    loads: Vec<(NodeId, Align)>,
    /// Loop ids that `Operation::Index` positions stand for.
    indices: Vec<LoopId>,
    value_of: HashMap<NodeId, usize>,
}

impl Lowering<'_> {
    /// Writes pointwise and reduce members as one kernel.
    pub(crate) fn fused(&mut self, members: &[NodeId]) {
        // What is left of values without elements is outputs and operands of custom operations: places, but no work.
        if members.iter().any(|&id| self.graph.nodes[id].shape.elements() == 0) {
            for &id in members {
                let order: Vec<usize> = (0..self.graph.nodes[id].shape.rank()).collect();
                let located = self.temporary(id, &order);
                self.settle(id, located);
            }
            return;
        }
        // Members were clustered because they nest; without the product of a broken epilogue the rest still does, or is
        // written one by one.
        let Some(nest) = nest(self.graph, members, None) else {
            self.store_all(members);
            for &id in members {
                self.fused(&[id]);
            }
            return;
        };
        let last = members.last().copied().unwrap_or(0);
        let draft = self.draft(nest, members, None);
        let Some(fused) = self.assemble(draft, members, None, &[]) else {
            return;
        };
        let (label, operations) = (self.label(members), self.count(members));
        self.push(Work::Fused(fused), label, last, operations);
    }

    /// Writes what follows a product as its epilogue, with the loops of the product's rows and, last, its columns.
    /// `columns` is the axis of the columns, `rows` the axes of the rows in order. `None`: the epilogue needs other loops.
    pub(crate) fn epilogue(
        &mut self,
        contraction: NodeId,
        members: &[NodeId],
        rows: &[usize],
        columns: usize,
        read: &[StridedBuffer],
    ) -> Option<Fused> {
        let nest = nest(self.graph, members, Some(contraction))?;
        let draft = self.draft(nest, members, Some(contraction));
        let align = draft.nest.loops.resolve(&draft.nest.align[&contraction]);
        let mut order: Vec<LoopId> = rows.iter().flat_map(|&axis| align[axis].clone()).collect();
        let row_loops = order.len();
        order.extend(&align[columns]);
        let mut fused = self.assemble(draft, members, Some(order), read)?;
        if fused.loops.len() == row_loops {
            // One column: a loop of its own all the same.
            fused.loops.push(1);
            fused.reduced.push(false);
            for view in fused.loads.iter_mut().chain(fused.stores.iter_mut().map(|store| &mut store.view)) {
                view.strides.push(1);
            }
        }
        collapse_range(&mut fused, row_loops, usize::MAX);
        if fused.loops.len() != row_loops + 1 {
            return None;
        }
        collapse_range(&mut fused, 0, row_loops);
        Some(fused)
    }

    fn draft(
        &mut self,
        mut nest: LoopNest,
        members: &[NodeId],
        contraction: Option<NodeId>,
    ) -> UnorderedBody {
        loop {
            let loops = nest.loops.count();
            let mut draft = UnorderedBody {
                nest,
                body: Vec::new(),
                loads: Vec::new(),
                indices: Vec::new(),
                value_of: HashMap::new(),
            };
            for &id in members {
                let value = if Some(id) == contraction {
                    self.accumulator(&mut draft, id)
                } else {
                    self.instruction(&mut draft, id)
                };
                draft.value_of.insert(id, value);
            }
            // An operand may have split a loop that an index spoke of; the second time all splits are known.
            if draft.nest.loops.count() == loops {
                return draft;
            }
            nest = draft.nest;
        }
    }

    /// The product, rounded to its own dtype where it was summed in a wider one.
    fn accumulator(&self, draft: &mut UnorderedBody, id: NodeId) -> usize {
        let dtype = self.graph.nodes[id].dtype;
        let wide = accumulator(dtype).unwrap_or(dtype);
        let value = emit(draft, Operation::Accumulator, wide, true);
        if wide == dtype { value } else { emit(draft, Operation::Cast(value), dtype, true) }
    }

    fn instruction(&mut self, draft: &mut UnorderedBody, id: NodeId) -> usize {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let align = draft.nest.align[&id].clone();
        match node.kind() {
            OpKind::Pointwise(pointwise) => {
                let operands = node.operands().iter();
                let x: Vec<usize> =
                    operands.map(|&operand| self.operand(draft, operand, align.clone())).collect();
                let full = x.iter().any(|&value| draft.body[value].full);
                let operation = match pointwise {
                    Pointwise::Unary(function) => Operation::Unary(function, x[0]),
                    Pointwise::Binary(function) => Operation::Binary(function, x[0], x[1]),
                    Pointwise::Select => Operation::Select(x[0], x[1], x[2]),
                    Pointwise::Cast(_) => Operation::Cast(x[0]),
                    Pointwise::Identity => return x[0],
                };
                emit(draft, operation, node.dtype, full)
            }
            OpKind::Reduce(function, axes) => {
                let mut wanted = align;
                let shape = &graph.nodes[node.inputs[0]].shape;
                let sizes: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
                let reduced = draft.nest.reduced.clone();
                // `nest` has dealt the same loops before.
                let folded = draft.nest.loops.deal(&reduced, &sizes).unwrap_or_default();
                for (list, &axis) in folded.into_iter().zip(axes) {
                    wanted[axis] = list;
                }
                let value = self.operand(draft, node.inputs[0], wanted);
                // A fold wants a value for each point.
                let value = match draft.body[value].full {
                    true => value,
                    false => emit(draft, Operation::Cast(value), node.dtype, true),
                };
                emit(draft, Operation::Reduce(function, value), node.dtype, false)
            }
            // Whatever isn't computed here is read.
            OpKind::Leaf(_)
            | OpKind::Generator(_)
            | OpKind::Movement(_)
            | OpKind::Contraction(_)
            | OpKind::Opaque(_) => self.operand(draft, id, align),
        }
    }

    /// The value of an operand that lies so on the loops.
    fn operand(&mut self, draft: &mut UnorderedBody, id: NodeId, align: Align) -> usize {
        let graph = self.graph;
        let (mut at, mut align) = (id, align);
        while moves(graph, at) && !self.is_settled(at) {
            match draft.nest.loops.back(graph, at, &align) {
                Some(operand) => align = operand,
                None => break,
            }
            at = graph.nodes[at].inputs[0];
        }
        if let Some(&value) = draft.value_of.get(&at) {
            return value;
        }
        let node = &graph.nodes[at];
        if let OpKind::Generator(generator) = node.kind() {
            return match generator {
                Generator::Fill(value) => {
                    emit(draft, Operation::Literal(value), node.dtype, draft.nest.reduced.is_empty())
                }
                Generator::Iota(axis) => self.index(draft, &align[axis], node.dtype),
            };
        }
        let align = draft.nest.loops.resolve(&align);
        let known =
            draft.loads.iter().position(|(id, lies)| *id == at && draft.nest.loops.resolve(lies) == align);
        let position = known.unwrap_or_else(|| {
            draft.loads.push((at, align.clone()));
            draft.loads.len() - 1
        });
        let full = draft.nest.reduced.is_empty()
            || align
                .concat()
                .iter()
                .any(|id| draft.nest.loops.resolve_list(&draft.nest.reduced).contains(id));
        emit(draft, Operation::Load(position), node.dtype, full)
    }

    /// The index along an axis that several loops cover: `outer · size + inner`.
    fn index(&mut self, draft: &mut UnorderedBody, list: &[LoopId], dtype: DType) -> usize {
        let list = draft.nest.loops.resolve_list(list);
        let reduced = draft.nest.loops.resolve_list(&draft.nest.reduced);
        let always = reduced.is_empty();
        let mut value = None;
        for id in list {
            draft.indices.push(id);
            let full = always || reduced.contains(&id);
            let index = emit(draft, Operation::Index(draft.indices.len() - 1), dtype, full);
            value = Some(match value {
                None => index,
                Some(outer) => {
                    let size = Scalar::Int(draft.nest.loops.size(id) as i64);
                    let size = emit(draft, Operation::Literal(size), dtype, always);
                    let full = |value: usize, draft: &UnorderedBody| draft.body[value].full;
                    let product_full = full(outer, draft);
                    let product =
                        emit(draft, Operation::Binary(BinaryOp::Mul, outer, size), dtype, product_full);
                    let sum_full = product_full || full(index, draft);
                    emit(draft, Operation::Binary(BinaryOp::Add, product, index), dtype, sum_full)
                }
            });
        }
        value.unwrap_or_else(|| emit(draft, Operation::Literal(Scalar::Int(0)), dtype, always))
    }

    /// Locates loads and stores, puts the loops in order and names everything by position. `None`: nothing is stored.
    fn assemble(
        &mut self,
        draft: UnorderedBody,
        members: &[NodeId],
        order: Option<Vec<LoopId>>,
        read: &[StridedBuffer],
    ) -> Option<Fused> {
        let UnorderedBody { nest, mut body, loads, indices, mut value_of } = draft;
        let loops = &nest.loops;
        let all = loops.resolve_list(&nest.all);
        let reduced = loops.resolve_list(&nest.reduced);
        let loads: Vec<(StridedBuffer, Align, DType)> = loads
            .into_iter()
            .map(|(id, align)| (self.locate(id), loops.resolve(&align), self.graph.nodes[id].dtype))
            .collect();
        let stride =
            |located: &StridedBuffer, align: &Align, id: LoopId| stride_along(loops, located, align, id);

        // Where results go that have a place of their own.
        let stored: Vec<NodeId> = members.iter().copied().filter(|&id| self.is_stored(id)).collect();
        for id in &stored {
            // A value for each point that is computed from kept ones alone is repeated to be stored.
            let moves = loops.resolve(&nest.align[id]).concat().iter().any(|id| reduced.contains(id));
            if moves && !body[value_of[id]].full {
                let dtype = self.graph.nodes[*id].dtype;
                body.push(Instruction { operation: Operation::Cast(value_of[id]), dtype, full: true });
                value_of.insert(*id, body.len() - 1);
            }
        }
        let mut destinations: Vec<(NodeId, Option<StridedBuffer>)> = Vec::new();
        for &id in &stored {
            let align = loops.resolve(&nest.align[&id]);
            let shape = self.graph.nodes[id].shape.clone();
            let full = body[value_of[&id]].full && !reduced.is_empty();
            let twin = |buffer| {
                let target = StridedBuffer::row_major(buffer, &shape);
                !full
                    && read.iter().all(|operand| operand.buffer != buffer)
                    && loads.iter().filter(|(located, ..)| located.buffer == buffer).all(
                        |(located, lies, _)| {
                            let moves_alone = all
                                .iter()
                                .all(|&id| stride(located, lies, id) == stride(&target, &align, id));
                            let once = reduced.is_empty()
                                || all
                                    .iter()
                                    .filter(|id| reduced.contains(id))
                                    .all(|&id| stride(located, lies, id) == 0);
                            located.offset == 0 && moves_alone && once
                        },
                    )
            };
            destinations.push((id, self.destination(id, twin)));
        }

        let order = order.unwrap_or_else(|| {
            let fixed = destinations.iter().filter_map(|(id, located)| {
                located.as_ref().map(|located| (located.clone(), loops.resolve(&nest.align[id])))
            });
            let read = loads.iter().map(|(located, align, _)| (located.clone(), align.clone()));
            loop_order(&all, fixed.chain(read), |located, align, id| {
                (stride_along(loops, located, align, id), loops.size(id))
            })
        });
        let position = |id: LoopId| order.iter().position(|&other| other == id).unwrap_or(usize::MAX);

        let mut stores = Vec::new();
        for (id, destination) in destinations {
            let align = loops.resolve(&nest.align[&id]);
            let located = destination.unwrap_or_else(|| {
                let mut axes: Vec<usize> = (0..align.len()).collect();
                axes.sort_by_key(|&axis| align[axis].first().map_or(0, |&id| position(id) + 1));
                self.as_part(id, &axes).unwrap_or_else(|| self.temporary(id, &axes))
            });
            let view = View {
                buffer: located.buffer,
                dtype: self.graph.nodes[id].dtype,
                offset: located.offset,
                strides: order.iter().map(|&id| stride_along(loops, &located, &align, id)).collect(),
            };
            stores.push(Store { value: value_of[&id], view });
            self.settle(id, located);
        }
        if stores.is_empty() {
            return None;
        }
        let loads = loads
            .iter()
            .map(|(located, align, dtype)| View {
                buffer: located.buffer,
                dtype: *dtype,
                offset: located.offset,
                strides: order.iter().map(|&id| stride_along(loops, located, align, id)).collect(),
            })
            .collect();
        for instruction in &mut body {
            if let Operation::Index(index) = &mut instruction.operation {
                let halves = loops.resolve_list(&[indices[*index]]);
                debug_assert_eq!(halves.len(), 1, "an indexed loop was split afterwards");
                *index = position(halves[0]);
            }
        }
        let mut fused = Fused {
            loops: order.iter().map(|&id| loops.size(id)).collect(),
            reduced: order.iter().map(|id| reduced.contains(id)).collect(),
            loads,
            body,
            stores,
        };
        drop_unused(&mut fused);
        keep_overwritten(&mut fused);
        let contraction = fused.body.iter().any(|i| i.operation == Operation::Accumulator);
        if !contraction {
            collapse(&mut fused, usize::MAX);
        }
        Some(fused)
    }
}

fn emit(draft: &mut UnorderedBody, operation: Operation, dtype: DType, full: bool) -> usize {
    let instruction = Instruction { operation, dtype, full };
    if let Some(known) = draft.body.iter().position(|other| *other == instruction) {
        return known;
    }
    draft.body.push(instruction);
    draft.body.len() - 1
}

/// How far one step of a loop moves in memory.
fn stride_along(loops: &Loops, located: &StridedBuffer, align: &Align, id: LoopId) -> isize {
    let mut total = 0;
    for (axis, list) in align.iter().enumerate() {
        let mut stride = located.strides[axis];
        for &other in list.iter().rev() {
            if other == id {
                total += stride;
            }
            stride *= loops.size(other) as isize;
        }
    }
    total
}

/// The loops from the largest stride to the smallest in the view that moves through most elements: memory is walked in
/// the order in which it lies.
fn loop_order(
    all: &[LoopId],
    views: impl Iterator<Item = (StridedBuffer, Align)>,
    stride: impl Fn(&StridedBuffer, &Align, LoopId) -> (isize, usize),
) -> Vec<LoopId> {
    let mut best: Option<((usize, usize), Vec<isize>)> = None;
    for (located, align) in views {
        let strides: Vec<(isize, usize)> = all.iter().map(|&id| stride(&located, &align, id)).collect();
        let moved: usize = strides.iter().filter(|(stride, _)| *stride != 0).map(|(_, size)| size).product();
        // Of equal ones that with most axes, so that the order is the same where the axis it has more is of one element.
        let size = (moved, align.len());
        if best.as_ref().is_none_or(|(most, _)| size > *most) {
            best = Some((size, strides.into_iter().map(|(stride, _)| stride).collect()));
        }
    }
    // A view that doesn't move along some loop says nothing about where that loop belongs.
    let Some((_, strides)) = best.filter(|(_, strides)| !strides.contains(&0)) else {
        return all.to_vec();
    };
    let mut positions: Vec<usize> = (0..all.len()).collect();
    positions.sort_by_key(|&position| std::cmp::Reverse(strides[position].unsigned_abs()));
    positions.into_iter().map(|position| all[position]).collect()
}
