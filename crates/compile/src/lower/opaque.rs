//! Operations that are kernels of their own: padding, pooling, indexing, sorting, scans and the user's own.

use kiln_ir::Shape;
use kiln_ir::graph::{Graph, NodeId};
use kiln_ir::op::{ScatterMode, WindowSpec};

use crate::kind::{Generator, Movement, OpKind, Opaque, root};
use crate::layout::StridedBuffer;
use crate::program::{
    AlongAxis, Custom, Fused, Indexed, Instruction, Operation, Store, View, Window, WindowKind, Work,
};
use crate::simplify_loops;

use super::Lowering;
use super::contract::lift;

impl Lowering<'_> {
    /// Writes the kernels of a single operation.
    pub(crate) fn opaque(&mut self, id: NodeId, opaque: Opaque) {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let input = |position: usize| node.inputs[position];
        match opaque {
            Opaque::Pad { before, value } => {
                let out = self.like(id, input(0));
                self.fill(&out, id, value);
                self.place(&out, id, input(0), |axis| before[axis]);
                self.settle(id, out);
            }
            Opaque::Concat(axis) => self.concat(id, axis),
            Opaque::ArgReduce(function, axis) => {
                let along = self.along(id, input(0), axis);
                self.push(Work::ArgReduce(function, along), node.op.name().to_string(), id, 0);
            }
            Opaque::CumSum(axis) => {
                let along = self.along(id, input(0), axis);
                self.push(Work::CumSum(along), "cumsum".to_string(), id, node.shape.elements() as u64);
            }
            Opaque::ArgSort { axis, descending } => {
                let along = self.along(id, input(0), axis);
                self.push(Work::ArgSort(descending, along), "argsort".to_string(), id, 0);
            }
            Opaque::Window(kind, spec) => self.window(id, kind, spec),
            Opaque::Gather(axis) => {
                let x = self.locate(input(0));
                let index = self.locate(input(1));
                let out = self.row_major(id);
                let indexed = self.indexed(&graph.nodes[input(1)].shape, axis, input(0), [&x, &index, &out]);
                self.push(Work::Gather(indexed), "gather".to_string(), id, 0);
                self.settle(id, out);
            }
            Opaque::Scatter(axis, mode) => {
                let base = self.locate(input(0));
                let read = [1, 2].map(|operand| self.buffer_of(root(graph, input(operand))));
                let apart = |buffer| !read.contains(&Some(buffer));
                let out = self.destination(id, apart).unwrap_or_else(|| self.row_major(id));
                if base != out {
                    self.copy(&base, &out, &node.shape, id, "copy");
                }
                let index = self.locate(input(1));
                let source = self.locate(input(2));
                let indexed = self.indexed(&graph.nodes[input(1)].shape, axis, id, [&source, &index, &out]);
                self.push(Work::Scatter(indexed, mode), node.op.name().to_string(), id, 0);
                self.settle(id, out);
            }
            Opaque::Unpack(format) => self.unpack(id, format),
            Opaque::Attention(spec, _) => self.attention(&[id], spec),
            // Its kernels are those of its body.
            Opaque::Scan(..) => {}
            Opaque::Custom(op) => {
                let mut operands = Vec::new();
                for &operand in &node.inputs {
                    let located = self.locate_row_major(operand);
                    operands.push((
                        graph.nodes[operand].shape.clone(),
                        self.view(&located, located.strides.clone()),
                    ));
                }
                let out = self.row_major(id);
                let view = self.view(&out, out.strides.clone());
                let custom = Custom { op: op.clone(), operands, out: (node.shape.clone(), view) };
                self.push(Work::Custom(custom), node.op.name().to_string(), id, 0);
                self.settle(id, out);
            }
        }
    }

    /// Whether the result of a scatter depends on the order in which its elements are put.
    pub(crate) fn depends_on_order(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id];
        let OpKind::Opaque(Opaque::Scatter(axis, mode)) = node.kind() else { return false };
        let commutes = mode == ScatterMode::Add && !node.dtype.is_float();
        !commutes && !distinct(self.graph, node.inputs[1], axis)
    }

    pub(super) fn view(&self, located: &StridedBuffer, strides: Vec<isize>) -> View {
        let dtype = self.program.buffers[located.buffer].dtype;
        View { buffer: located.buffer, dtype, offset: located.offset, strides }
    }

    fn row_major(&mut self, id: NodeId) -> StridedBuffer {
        let order: Vec<usize> = (0..self.graph.nodes[id].shape.rank()).collect();
        self.temporary(id, &order)
    }

    /// A temporary for `id` with its axes in the order in which those of `model` lie.
    fn like(&mut self, id: NodeId, model: NodeId) -> StridedBuffer {
        let order = self.locate(model).axis_order();
        self.temporary(id, &order)
    }

    fn fill(&mut self, out: &StridedBuffer, id: NodeId, value: kiln_ir::Scalar) {
        let node = &self.graph.nodes[id];
        let mut fused = Fused {
            loops: node.shape.to_vec(),
            reduced: vec![false; node.shape.rank()],
            loads: vec![],
            body: vec![Instruction { operation: Operation::Literal(value), dtype: node.dtype, full: true }],
            stores: vec![Store { value: 0, view: self.view(out, out.strides.clone()) }],
        };
        simplify_loops::reorder(&mut fused, &out.axis_order());
        simplify_loops::collapse(&mut fused, usize::MAX);
        self.push(Work::Fused(fused), "fill".to_string(), id, 0);
    }

    /// Copies `part` into `out`, from index `start(axis)` on.
    fn place(&mut self, out: &StridedBuffer, id: NodeId, part: NodeId, start: impl Fn(usize) -> usize) {
        let from = self.locate(part);
        let shape = self.graph.nodes[part].shape.clone();
        let mut to = out.clone();
        to.offset += (0..shape.rank()).map(|axis| start(axis) as isize * out.strides[axis]).sum::<isize>();
        let label = self.graph.nodes[id].op.name().to_string();
        self.copy(&from, &to, &shape, id, &label);
    }

    fn along(&mut self, id: NodeId, x: NodeId, axis: usize) -> AlongAxis {
        let from = self.locate(x);
        let out = self.row_major(id);
        let shape = &self.graph.nodes[x].shape;
        let mut order: Vec<usize> = (0..shape.rank()).filter(|&other| other != axis).collect();
        order.push(axis);
        let pick = |strides: &[isize]| order.iter().map(|&axis| strides[axis]).collect();
        let along = AlongAxis {
            loops: order.iter().map(|&axis| shape[axis]).collect(),
            x: self.view(&from, pick(&from.strides)),
            out: self.view(&out, pick(&out.strides)),
        };
        self.settle(id, out);
        along
    }

    /// `views` are what is read, the index and what is written; `sized` has the indexed axis.
    fn indexed(&self, loops: &Shape, axis: usize, sized: NodeId, views: [&StridedBuffer; 3]) -> Indexed {
        let [x, index, out] = views.map(|located| self.view(located, located.strides.clone()));
        Indexed { loops: loops.to_vec(), axis, size: self.graph.nodes[sized].shape[axis], x, index, out }
    }

    fn window(&mut self, id: NodeId, kind: WindowKind, spec: &WindowSpec) {
        let graph = self.graph;
        let inputs = graph.nodes[id].inputs.clone();
        let (image, result) = match kind {
            WindowKind::Pick | WindowKind::Sum => (inputs[0], id),
            WindowKind::Spread => (inputs[0], inputs[1]),
            WindowKind::SumGrad => (id, inputs[0]),
        };
        let order = self.locate(inputs[0]).axis_order();
        // The kernels walk all operands in one order; what lies otherwise is put in order first.
        let located: Vec<StridedBuffer> = inputs
            .iter()
            .map(|&input| {
                self.locate_as(input, &order, |located, shape| {
                    let inner = order.iter().rev().find(|&&axis| shape[axis] > 1);
                    inner.is_none_or(|&axis| located.strides[axis].abs() <= 1)
                })
            })
            .collect();
        let out = self.temporary(id, &order);
        let view = |located: &StridedBuffer| {
            self.view(located, [&located.strides[..2], &lift(&located.strides[2..], 0)].concat())
        };
        let shape = |id: NodeId| &graph.nodes[id].shape;
        let window = Window {
            kind,
            batch: shape(image)[0],
            channels: shape(image)[1],
            input: lift(&shape(image)[2..], 1),
            output: lift(&shape(result)[2..], 1),
            window: lift(&spec.window, 1),
            stride: lift(&spec.stride, 1),
            pad: lift(&spec.pad.iter().map(|pad| pad.0).collect::<Vec<_>>(), 0),
            dilation: lift(&spec.dilation, 1),
            operands: located.iter().map(view).collect(),
            out: view(&out),
        };
        let operations = (shape(result).elements() * spec.window.iter().product::<usize>()) as u64;
        self.push(Work::Window(window), graph.nodes[id].op.name().to_string(), id, operations);
        self.settle(id, out);
    }
}

/// Whether no number comes twice along an axis, as far as can be seen: positions that were counted or sorted, looked at in
/// another way.
fn distinct(graph: &Graph, mut id: NodeId, mut axis: usize) -> bool {
    loop {
        let node = &graph.nodes[id];
        if node.shape[axis] < 2 {
            return true;
        }
        let OpKind::Movement(movement) = node.kind() else { break };
        let from = &graph.nodes[node.inputs[0]].shape;
        axis = match movement {
            Movement::Permute(axes) => axes[axis],
            Movement::Slice(_) => axis,
            Movement::Expand if from[axis] == node.shape[axis] => axis,
            Movement::Expand => return false,
            Movement::Reshape => {
                let before = |sizes: &[usize], axis: usize| sizes[..axis].iter().product::<usize>();
                let same = |&other: &usize| {
                    from[other] == node.shape[axis] && before(from, other) == before(&node.shape, axis)
                };
                let Some(other) = (0..from.rank()).find(same) else { return false };
                other
            }
        };
        id = node.inputs[0];
    }
    matches!(
        graph.nodes[id].kind(),
        OpKind::Generator(Generator::Iota(along)) | OpKind::Opaque(Opaque::ArgSort { axis: along, .. }) if along == axis
    )
}
