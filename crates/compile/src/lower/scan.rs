//! A scan as kernels that repeat: those of its body, on slices of what they walk along.

use std::collections::HashMap;
use std::ops::Range;

use kiln_ir::Shape;
use kiln_ir::graph::NodeId;
use kiln_ir::op::{Op, Scan, ScanResult};

use crate::bodies::{StatePlace, StepBody, row_of};
use crate::layout::StridedBuffer;
use crate::program::{Buffer, BufferId, BufferPlace, Program, Repeat};

use super::Lowering;

/// A row of values, one for each step or one more, of which a step reads or writes one.
#[derive(Clone, Copy)]
struct StepRow {
    buffer: BufferId,
    /// The first one's first element.
    offset: isize,
    /// From one to the next.
    stride: isize,
}

impl StepRow {
    /// The one that is touched in the first step, and how far it moves in each.
    fn walk(self, scan: &Scan, more: usize) -> (usize, isize) {
        let first = scan.slice_of(0) + more;
        let start = self.offset + first as isize * self.stride;
        (usize::try_from(start).unwrap_or(0), if scan.reverse { -self.stride } else { self.stride })
    }
}

impl Lowering<'_> {
    /// Writes the kernels of a scan, of which these nodes are the values that are asked for.
    pub(super) fn scan(&mut self, members: &[NodeId], body: &StepBody) {
        let graph = self.graph;
        let StepBody { scan, program, states, stacked, .. } = body;
        let inputs = &graph.nodes[members[0]].inputs;
        let label = members[0];
        let mut of: HashMap<BufferPlace, BodyBuffer> = HashMap::new();

        // The states stand at the start of their rows, or in their places.
        let mut rows: Vec<StepRow> = Vec::with_capacity(states.len());
        for (state, place) in states.iter().enumerate() {
            let (shape, dtype) = scan.body.inputs[state].clone();
            let size = shape.elements() as isize;
            let slots = if matches!(place, StatePlace::Row(_)) { scan.steps + 1 } else { 1 };
            let buffer = self.in_arena(dtype, &[&[slots], &shape[..]].concat().into());
            let row = StepRow { buffer, offset: 0, stride: size };
            let first = if scan.reverse { slots as isize - 1 } else { 0 };
            let start = StridedBuffer { offset: first * size, ..StridedBuffer::row_major(buffer, &shape) };
            let from = self.locate(inputs[state]);
            self.copy(&from, &start, &shape, label, "copy");
            match *place {
                StatePlace::Row(output) => {
                    let (before, behind) = if scan.reverse { (1, 0) } else { (0, 1) };
                    of.insert(BufferPlace::Input(state), BodyBuffer::Moves(row, before));
                    of.insert(BufferPlace::Output(output), BodyBuffer::Moves(row, behind));
                }
                StatePlace::Alone(variable) => {
                    let address = body.graph.updates[variable].0.address();
                    let known = program.variables.iter().position(|other| other.address() == address);
                    if let Some(position) = known {
                        of.insert(
                            BufferPlace::Variable(position),
                            BodyBuffer::Whole(StridedBuffer::row_major(buffer, &shape)),
                        );
                    }
                }
            }
            rows.push(row);
        }
        for (position, &input) in inputs.iter().enumerate().skip(scan.states) {
            let shape = &scan.body.inputs[position].0;
            let part = if position < scan.states + scan.sequences {
                let order: Vec<usize> = (0..=shape.rank()).collect();
                // The slices lie dense; how far they are apart doesn't matter.
                let all = self.locate_as(input, &order, |located, sizes| {
                    let inner = StridedBuffer { strides: located.strides[1..].to_vec(), ..located.clone() };
                    inner.is_row_major(&Shape::from(&sizes[1..]))
                });
                BodyBuffer::Moves(
                    StepRow { buffer: all.buffer, offset: all.offset, stride: all.strides[0] },
                    0,
                )
            } else {
                BodyBuffer::Whole(self.locate_row_major(input))
            };
            of.insert(BufferPlace::Input(position), part);
        }
        let first = states.iter().filter(|place| matches!(place, StatePlace::Row(_))).count();
        let mut stacks: HashMap<NodeId, StridedBuffer> = HashMap::new();
        for (number, &id) in stacked.iter().enumerate() {
            let node = &scan.body.nodes[id];
            let shape = scan.stacked(&node.shape);
            let buffer = self.in_arena(node.dtype, &shape);
            let row = StepRow { buffer, offset: 0, stride: node.shape.elements() as isize };
            of.insert(BufferPlace::Output(first + number), BodyBuffer::Moves(row, 0));
            stacks.insert(id, StridedBuffer::row_major(buffer, &shape));
        }
        self.embed(program, scan, &of);

        for &id in members {
            let (Op::Scan(_, result), shape) = (&graph.nodes[id].op, graph.nodes[id].shape.clone()) else {
                continue;
            };
            let located = match *result {
                ScanResult::Last(state) => {
                    let row = rows[state];
                    let in_row = matches!(states[state], StatePlace::Row(_));
                    let offset = if in_row && !scan.reverse { scan.steps as isize * row.stride } else { 0 };
                    StridedBuffer { offset, ..StridedBuffer::row_major(row.buffer, &shape) }
                }
                ScanResult::Stacked(value) => match row_of(scan, value) {
                    Some((state, found)) => {
                        let row = rows[state];
                        let offset = if found == scan.reverse { row.stride } else { 0 };
                        StridedBuffer { offset, ..StridedBuffer::row_major(row.buffer, &shape) }
                    }
                    None => stacks[&value].clone(),
                },
            };
            self.settle(id, located);
        }
    }

    /// Writes the kernels of a body to be repeated. `of` says what its arguments, outputs and variables are here.
    fn embed(&mut self, body: &Program, scan: &Scan, of: &HashMap<BufferPlace, BodyBuffer>) {
        if body.kernels.is_empty() {
            return;
        }
        let (first, own) = (self.program.kernels.len(), self.program.repeats.len());
        let shifted = |kernels: &Range<usize>| first + kernels.start..first + kernels.end;
        let kernels = first..first + body.kernels.len();
        self.program.repeats.push(Repeat { kernels, steps: scan.steps, slices: Vec::new() });
        // Where each of its buffers is: in which one here, and from which element on.
        let mut now: Vec<(BufferId, isize)> = Vec::with_capacity(body.buffers.len());
        for Buffer { place, dtype, elements } in &body.buffers {
            let shape = Shape::from([*elements]);
            now.push(match *place {
                BufferPlace::Arena(_) => (self.in_arena(*dtype, &shape), 0),
                BufferPlace::Slice { of, start, step } => {
                    let (of, offset) = now[of];
                    let start = start + usize::try_from(offset).unwrap_or(0);
                    (self.buffer(BufferPlace::Slice { of, start, step }, *dtype, &shape), 0)
                }
                BufferPlace::Input(_) | BufferPlace::Output(_) | BufferPlace::Variable(_) => {
                    match &of[place] {
                        BodyBuffer::Whole(located) => (located.buffer, located.offset),
                        BodyBuffer::Moves(row, more) => {
                            let (start, step) = row.walk(scan, *more);
                            let slice = BufferPlace::Slice { of: row.buffer, start, step };
                            let slice = self.buffer(slice, *dtype, &shape);
                            self.program.repeats[own].slices.push(slice);
                            (slice, 0)
                        }
                    }
                }
            });
        }
        for Repeat { kernels, steps, slices } in &body.repeats {
            let slices = slices.iter().map(|&slice| now[slice].0).collect();
            self.program.repeats.push(Repeat { kernels: shifted(kernels), steps: *steps, slices });
        }
        for kernel in &body.kernels {
            let mut kernel = kernel.clone();
            kernel.work.each_view(|view| {
                let (buffer, offset) = now[view.buffer];
                (view.buffer, view.offset) = (buffer, view.offset + offset);
            });
            kernel.operations *= scan.steps as u64;
            kernel.bytes *= scan.steps as u64;
            self.program.kernels.push(kernel);
        }
    }
}

/// What a buffer of a body is in the program around it.
enum BodyBuffer {
    /// A place of its own.
    Whole(StridedBuffer),
    /// One of a row, so many behind that of the step.
    Moves(StepRow, usize),
}
