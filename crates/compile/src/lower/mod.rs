//! From clusters to kernels: decides where every value lives, in which physical layout, and writes the program.
//!
//! Layout is strides: shapes keep their meaning (images are NCHW), while a convolution stores its result channels-last
//! and what follows stores in the order in which it reads. A value is copied only where a kernel can't read it as it
//! lies.

mod attention;
mod concat;
mod contract;
mod fuse;
mod opaque;
mod scan;
mod unpack;

use std::collections::{HashMap, HashSet};

use kiln_ir::graph::{Graph, NodeId};
use kiln_ir::op::{Op, Shared, VariableHandle};
use kiln_ir::{DType, Shape};

use crate::bodies::StepBody;
use crate::cluster::{ClusterId, Clustering};
use crate::concat::{ConcatPart, parts};
use crate::kind::{Generator, Leaf, OpKind, Opaque, Pointwise, root};
use crate::layout::StridedBuffer;
use crate::program::{
    Buffer, BufferId, BufferPlace, Fused, Instruction, Kernel, Operation, Program, Store, View, Work,
};
use crate::schedule::KernelSchedule;
use crate::simplify_loops;
use crate::target::Target;

/// The program while it is written.
pub struct Lowering<'a> {
    pub(crate) graph: &'a Graph,
    clusters: &'a Clustering,
    pub(crate) program: Program,
    /// Where values are: leaves from the start, others once their kernel is written.
    home: HashMap<NodeId, StridedBuffer>,
    /// Values read by a cluster other than their own.
    shared: HashSet<NodeId>,
    /// For each variable's address, its position in the program.
    variable_position: HashMap<usize, usize>,
    /// The buffer of each variable.
    variable_buffer: Vec<BufferId>,
    /// The position of each value that is handed back among the outputs, the first where it is several times there.
    output: HashMap<NodeId, usize>,
    /// The position of each variable's new value among the updates, likewise.
    update: HashMap<NodeId, usize>,
    /// New values that may only reach their variable when everything else is done, in the order in which they came.
    late: Vec<(NodeId, BufferId)>,
    is_late: HashSet<NodeId>,
    in_place: &'a [bool],
    /// Values that are stored as parts of concatenations, and where those are of which a part is stored already.
    parts: HashMap<NodeId, ConcatPart>,
    wholes: HashMap<NodeId, StridedBuffer>,
    pub(crate) target: &'a Target,
}

/// Writes the kernels of all clusters, in order.
///
/// Every temporary has a place of its own until memory is planned.
pub fn lower(
    graph: &Graph,
    (clusters, bodies): (&Clustering, &HashMap<ClusterId, StepBody>),
    schedule: &KernelSchedule,
    target: &Target,
) -> Program {
    let mut lowering = Lowering::new(graph, clusters, schedule, target);
    for &cluster in &schedule.order {
        match bodies.get(&cluster) {
            Some(body) => lowering.scan(&clusters.clusters[cluster].members, body),
            None => lowering.cluster(cluster),
        }
        if clusters.clusters[cluster].hoisted {
            lowering.program.hoisted = lowering.program.kernels.len();
        }
    }
    for (id, buffer) in std::mem::take(&mut lowering.late) {
        let shape = graph.nodes[id].shape.clone();
        let from = lowering.locate(id);
        lowering.copy(&from, &StridedBuffer::row_major(buffer, &shape), &shape, id, "store");
    }
    lowering.program
}

impl<'a> Lowering<'a> {
    fn new(
        graph: &'a Graph,
        clusters: &'a Clustering,
        schedule: &'a KernelSchedule,
        target: &'a Target,
    ) -> Lowering<'a> {
        let program = Program {
            inputs: graph.inputs.clone(),
            outputs: graph
                .outputs
                .iter()
                .map(|&id| (graph.nodes[id].shape.clone(), graph.nodes[id].dtype))
                .collect(),
            ..Program::default()
        };
        let mut lowering = Lowering {
            graph,
            clusters,
            program,
            home: HashMap::new(),
            shared: HashSet::new(),
            variable_position: HashMap::new(),
            variable_buffer: Vec::new(),
            output: first_positions(graph.outputs.iter().copied()),
            update: first_positions(graph.updates.iter().map(|(_, id)| *id)),
            late: Vec::new(),
            is_late: HashSet::new(),
            in_place: &schedule.in_place,
            parts: parts(graph, &clusters.cluster_of),
            wholes: HashMap::new(),
            target,
        };
        let mut input_buffer: Vec<Option<BufferId>> = vec![None; graph.inputs.len()];
        for (id, node) in graph.nodes.iter().enumerate() {
            let OpKind::Leaf(leaf) = node.kind() else { continue };
            let buffer = match leaf {
                Leaf::Input(position) => *input_buffer[position].get_or_insert_with(|| {
                    lowering.buffer(BufferPlace::Input(position), node.dtype, &node.shape)
                }),
                Leaf::Var(variable) => lowering.variable(variable),
                // Tracing makes arguments of them.
                Leaf::Const(_) => continue,
            };
            lowering.home.insert(id, StridedBuffer::row_major(buffer, &node.shape));
        }
        for (variable, _) in &graph.updates {
            lowering.variable(variable);
            let position = lowering.variable_position[&variable.address()];
            lowering.program.written[position] = true;
        }
        for (id, cluster) in &clusters.cluster_of {
            for &operand in graph.nodes[*id].operands() {
                let origin = root(graph, operand);
                if clusters.cluster_of.get(&origin).is_some_and(|other| other != cluster) {
                    lowering.shared.insert(origin);
                }
            }
        }
        lowering
    }

    /// The buffer of a variable, which joins the program's list at first sight.
    fn variable(&mut self, variable: &Shared<dyn VariableHandle>) -> BufferId {
        if let Some(&position) = self.variable_position.get(&variable.address()) {
            return self.variable_buffer[position];
        }
        let position = self.program.variables.len();
        let buffer = self.buffer(BufferPlace::Variable(position), variable.dtype(), variable.shape());
        self.program.variables.push(variable.clone());
        self.program.written.push(false);
        self.variable_position.insert(variable.address(), position);
        self.variable_buffer.push(buffer);
        buffer
    }

    pub(crate) fn buffer(&mut self, place: BufferPlace, dtype: DType, shape: &Shape) -> BufferId {
        self.program.buffers.push(Buffer { place, dtype, elements: shape.elements() });
        self.program.buffers.len() - 1
    }

    fn in_arena(&mut self, dtype: DType, shape: &Shape) -> BufferId {
        let place = BufferPlace::Arena(self.program.arena);
        self.program.arena += (shape.elements() * dtype.size()).next_multiple_of(self.target.alignment);
        self.buffer(place, dtype, shape)
    }

    /// A new temporary for a value, row-major over the axes as `order` lists them.
    pub(crate) fn temporary(&mut self, id: NodeId, order: &[usize]) -> StridedBuffer {
        let node = &self.graph.nodes[id];
        let buffer = self.in_arena(node.dtype, &node.shape);
        StridedBuffer::ordered(buffer, &node.shape, order)
    }

    pub(crate) fn settle(&mut self, id: NodeId, located: StridedBuffer) {
        self.home.insert(id, located);
    }

    pub(crate) fn push(&mut self, work: Work, label: String, id: NodeId, operations: u64) {
        let bytes = work.traffic(&self.program.buffers);
        let blocks = self.target.split.blocks(&work);
        let ordered = matches!(work, Work::Scatter(..)) && self.depends_on_order(id);
        let at = self.graph.nodes[id].at;
        self.program.kernels.push(Kernel { work, label, at, operations, bytes, blocks, ordered });
    }

    fn cluster(&mut self, cluster: ClusterId) {
        let members = &self.clusters.clusters[cluster].members;
        match self.clusters.clusters[cluster].contraction {
            Some(contraction) => {
                if !self.contraction(contraction, members) {
                    // The epilogue doesn't run along the product's rows: the product alone, then the rest from memory.
                    self.shared.insert(contraction);
                    self.contraction(contraction, &[contraction]);
                    let rest: Vec<NodeId> = members.iter().copied().filter(|&id| id != contraction).collect();
                    self.fused(&rest);
                }
            }
            None => match self.graph.nodes[members[0]].kind() {
                OpKind::Opaque(Opaque::Attention(spec, _)) => self.attention(members, spec),
                OpKind::Opaque(opaque) => self.opaque(members[0], opaque),
                OpKind::Leaf(_)
                | OpKind::Generator(_)
                | OpKind::Pointwise(_)
                | OpKind::Reduce(..)
                | OpKind::Movement(_)
                | OpKind::Contraction(_) => self.fused(members),
            },
        }
    }

    /// Whether memory must hold the value: others read it, or it is handed back or kept.
    pub(crate) fn is_stored(&self, id: NodeId) -> bool {
        self.shared.contains(&id) || self.output.contains_key(&id) || self.update.contains_key(&id)
    }

    /// From now on memory must hold these values.
    pub(crate) fn store_all(&mut self, ids: &[NodeId]) {
        self.shared.extend(ids);
    }

    /// The buffer that a value is in already, if it is.
    pub(crate) fn buffer_of(&self, id: NodeId) -> Option<BufferId> {
        self.home.get(&id).map(|located| located.buffer)
    }

    /// Whether the value is in memory already.
    pub(crate) fn is_settled(&self, id: NodeId) -> bool {
        self.home.contains_key(&id)
    }

    /// Where the value has to go, if that isn't the compiler's choice: an output's buffer or a variable's. A variable
    /// is only written directly where `safe` says that this kernel doesn't read it otherwise.
    pub(crate) fn destination(
        &mut self,
        id: NodeId,
        safe: impl Fn(BufferId) -> bool,
    ) -> Option<StridedBuffer> {
        let (shape, dtype) = (self.graph.nodes[id].shape.clone(), self.graph.nodes[id].dtype);
        if let Some(&position) = self.output.get(&id) {
            let buffer = self.buffer(BufferPlace::Output(position), dtype, &shape);
            return Some(StridedBuffer::row_major(buffer, &shape));
        }
        let update = *self.update.get(&id)?;
        let address = self.graph.updates[update].0.address();
        let buffer = self.variable_buffer[self.variable_position[&address]];
        if self.in_place[update] && safe(buffer) {
            return Some(StridedBuffer::row_major(buffer, &shape));
        }
        if self.is_late.insert(id) {
            self.late.push((id, buffer));
        }
        None
    }

    /// Where a node's value is, through any movements; copies where a reshape can't be seen through.
    pub(crate) fn locate(&mut self, id: NodeId) -> StridedBuffer {
        let mut path = Vec::new();
        let mut at = id;
        while !self.home.contains_key(&at) {
            match self.graph.nodes[at].kind() {
                OpKind::Generator(generator) => self.generate(at, generator),
                OpKind::Movement(movement) => {
                    path.push((at, movement));
                    at = self.graph.nodes[at].inputs[0];
                }
                // What computes has its place before it is read.
                OpKind::Leaf(_)
                | OpKind::Pointwise(_)
                | OpKind::Reduce(..)
                | OpKind::Contraction(_)
                | OpKind::Opaque(_) => break,
            }
        }
        let mut located = self.home[&at].clone();
        for (id, movement) in path.into_iter().rev() {
            let graph = self.graph;
            let node = &graph.nodes[id];
            let input = node.inputs[0];
            let from = &graph.nodes[input].shape;
            located = match located.moved(movement, from, &node.shape) {
                Some(moved) => moved,
                None => {
                    let target = self.temporary(input, &(0..from.rank()).collect::<Vec<_>>());
                    self.copy(&located, &target, from, id, "copy");
                    let dense = StridedBuffer::row_major(target.buffer, &node.shape);
                    self.home.insert(id, dense.clone());
                    dense
                }
            };
        }
        located
    }

    /// Stores a generator's values, for a kernel that reads memory: one element of a fill, every index of an iota.
    fn generate(&mut self, id: NodeId, generator: Generator) {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let rank = node.shape.rank();
        let (operation, loops, located) = match generator {
            Generator::Iota(axis) => {
                let order: Vec<usize> = (0..rank).collect();
                (Operation::Index(axis), node.shape.to_vec(), self.temporary(id, &order))
            }
            Generator::Fill(value) => {
                let buffer = self.in_arena(node.dtype, &Shape::scalar());
                (
                    Operation::Literal(value),
                    vec![1; rank],
                    StridedBuffer { buffer, offset: 0, strides: vec![0; rank] },
                )
            }
        };
        let view =
            View { buffer: located.buffer, dtype: node.dtype, offset: 0, strides: located.strides.clone() };
        let mut fused = Fused {
            reduced: vec![false; rank],
            loops,
            loads: vec![],
            body: vec![Instruction { operation, dtype: node.dtype, full: true }],
            stores: vec![Store { value: 0, view }],
        };
        simplify_loops::collapse(&mut fused, usize::MAX);
        self.push(Work::Fused(fused), node.op.name().to_string(), id, 0);
        self.settle(id, located);
    }

    /// The value as `fits` wants it, copied to row-major order of `order` if it isn't so.
    pub(crate) fn locate_as(
        &mut self,
        id: NodeId,
        order: &[usize],
        fits: impl Fn(&StridedBuffer, &Shape) -> bool,
    ) -> StridedBuffer {
        let located = self.locate(id);
        let shape = self.graph.nodes[id].shape.clone();
        if fits(&located, &shape) {
            return located;
        }
        let target = self.temporary(id, order);
        self.copy(&located, &target, &shape, id, "copy");
        target
    }

    /// The value in row-major order.
    pub(crate) fn locate_row_major(&mut self, id: NodeId) -> StridedBuffer {
        let order: Vec<usize> = (0..self.graph.nodes[id].shape.rank()).collect();
        self.locate_as(id, &order, |located, shape| located.is_row_major(shape))
    }

    /// A kernel that moves elements from one place to another of the same dtype.
    pub(crate) fn copy(
        &mut self,
        from: &StridedBuffer,
        to: &StridedBuffer,
        shape: &Shape,
        id: NodeId,
        label: &str,
    ) {
        let dtype = self.program.buffers[to.buffer].dtype;
        let load = View {
            buffer: from.buffer,
            dtype: self.program.buffers[from.buffer].dtype,
            offset: from.offset,
            strides: from.strides.clone(),
        };
        let mut fused = Fused {
            loops: shape.to_vec(),
            reduced: vec![false; shape.rank()],
            loads: vec![load],
            body: vec![Instruction { operation: Operation::Load(0), dtype, full: true }],
            stores: vec![Store {
                value: 0,
                view: View { buffer: to.buffer, dtype, offset: to.offset, strides: to.strides.clone() },
            }],
        };
        // Write in order: scattered reads cost less than scattered writes.
        let order = to.axis_order();
        simplify_loops::reorder(&mut fused, &order);
        simplify_loops::collapse(&mut fused, usize::MAX);
        self.push(Work::Fused(fused), label.to_string(), id, 0);
    }

    /// The names of the members, for people.
    pub(crate) fn label(&self, members: &[NodeId]) -> String {
        let mut names: Vec<&str> = Vec::new();
        let plain = |op: &Op| matches!(op, Op::Barrier(_) | Op::Cast(_));
        for &id in members.iter().filter(|&&id| members.len() == 1 || !plain(&self.graph.nodes[id].op)) {
            let op = &self.graph.nodes[id].op;
            names.push(if matches!(op, Op::Barrier(_)) { "copy" } else { op.name() });
        }
        if names.len() > 8 {
            let more = names.len() - 7;
            names.truncate(7);
            return format!("{}+{more} more", names.join("+"));
        }
        names.join("+")
    }

    /// Arithmetic operations of pointwise and reduce members.
    pub(crate) fn count(&self, members: &[NodeId]) -> u64 {
        let of = |&id: &NodeId| -> u64 {
            let node = &self.graph.nodes[id];
            match node.kind() {
                OpKind::Pointwise(Pointwise::Identity) => 0,
                OpKind::Pointwise(
                    Pointwise::Unary(_) | Pointwise::Binary(_) | Pointwise::Select | Pointwise::Cast(_),
                ) => node.shape.elements() as u64,
                OpKind::Reduce(..) => self.graph.nodes[node.inputs[0]].shape.elements() as u64,
                // Their kernels say how much they do.
                OpKind::Contraction(_) | OpKind::Opaque(_) => 0,
                OpKind::Leaf(_) | OpKind::Generator(_) | OpKind::Movement(_) => 0,
            }
        };
        members.iter().map(of).sum()
    }
}

fn first_positions(ids: impl Iterator<Item = NodeId>) -> HashMap<NodeId, usize> {
    let mut positions = HashMap::new();
    ids.enumerate().for_each(|(position, id)| {
        positions.entry(id).or_insert(position);
    });
    positions
}
