//! Products and convolutions: operands as their kernels read them, and the epilogue that follows.

use kiln_ir::Shape;
use kiln_ir::graph::NodeId;
use kiln_ir::op::ConvSpec;

use crate::kind::{Contraction, OpKind};
use crate::layout::{StridedBuffer, reshaped};
use crate::packed::packed_columns;
use crate::program::{Conv, ConvKind, Matmul, View, Work};
use crate::target::Channels;

use super::Lowering;

impl Lowering<'_> {
    /// Writes a contraction with `members` (itself among them) as its epilogue, unless they need other loops.
    pub(crate) fn contraction(&mut self, id: NodeId, members: &[NodeId]) -> bool {
        let graph = self.graph;
        let OpKind::Contraction(contraction) = graph.nodes[id].kind() else { return false };
        match contraction {
            Contraction::Matmul => self.matmul(id, members),
            Contraction::Conv(kind, spec) => self.conv(id, members, kind, spec),
        }
    }

    fn matmul(&mut self, id: NodeId, members: &[NodeId]) -> bool {
        let graph = self.graph;
        let [left, right] = [graph.nodes[id].inputs[0], graph.nodes[id].inputs[1]];
        if let Some((blocks, format)) = packed_columns(graph, right) {
            return self.packed_matmul(id, members, left, blocks, format);
        }
        let one_batch = |located: &StridedBuffer, shape: &Shape| {
            let rank = shape.rank();
            reshaped(&shape[..rank - 2], &located.strides[..rank - 2], &[shape[..rank - 2].iter().product()])
                .is_some()
        };
        let order: Vec<usize> = (0..graph.nodes[id].shape.rank()).collect();
        let a = self.locate_as(left, &order, one_batch);
        let b = self.locate_as(right, &order, one_batch);

        let (a_shape, b_shape) = (&graph.nodes[left].shape, &graph.nodes[right].shape);
        let rank = a_shape.rank();
        let mut batch: usize = a_shape[..rank - 2].iter().product();
        let (mut m, k, n) = (a_shape[rank - 2], a_shape[rank - 1], b_shape[rank - 1]);
        let folded = |located: &StridedBuffer, shape: &Shape| {
            reshaped(&shape[..rank - 2], &located.strides[..rank - 2], &[batch])
                .map_or(0, |strides| strides[0])
        };
        let (mut a_batch, mut a_row, b_batch) =
            (folded(&a, a_shape), a.strides[rank - 2], folded(&b, b_shape));
        // One right operand for the whole batch: the batch is more rows.
        if batch > 1
            && b_batch == 0
            && let Some(strides) = reshaped(&[batch, m], &[a_batch, a_row], &[batch * m])
        {
            (m, a_row, a_batch) = (batch * m, strides[0], 0);
            batch = 1;
        }
        let dtype = graph.nodes[left].dtype;
        let view = |located: &StridedBuffer, strides: [isize; 3]| View {
            buffer: located.buffer,
            dtype,
            offset: located.offset,
            strides: strides.to_vec(),
        };
        let (a_view, b_view) = (
            view(&a, [a_batch, a_row, a.strides[rank - 1]]),
            view(&b, [b_batch, b.strides[rank - 2], b.strides[rank - 1]]),
        );
        let rows: Vec<usize> = (0..rank - 1).collect();
        let Some(epilogue) = self.epilogue(id, members, &rows, rank - 1, &[a, b]) else {
            return false;
        };
        let operations = 2 * (batch * m * n * k) as u64 + self.count(members);
        let work = Work::Matmul(Matmul { batch, m, n, k, a: a_view, b: b_view, packed: None, epilogue });
        self.push(work, self.label(members), id, operations);
        true
    }

    fn conv(&mut self, id: NodeId, members: &[NodeId], kind: ConvKind, spec: &ConvSpec) -> bool {
        let graph = self.graph;
        let [first, second] = [graph.nodes[id].inputs[0], graph.nodes[id].inputs[1]];
        // Which of result, first and second operand are the image, the weight and the convolution's result.
        let (image, weight, result) = match kind {
            ConvKind::Forward => (first, second, id),
            ConvKind::GradInput => (id, second, first),
            ConvKind::GradWeight => (first, id, second),
        };
        let shape = |id: NodeId| graph.nodes[id].shape.clone();
        let (image, weight, result) = (shape(image), shape(weight), shape(result));
        let rank = image.rank();
        let mut channels_last: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
        channels_last.push(1);

        let images = |this: &mut Self, id: NodeId| match this.target.channels {
            Channels::Anywhere => this.locate(id),
            Channels::Last => {
                let mut located = this
                    .locate_as(id, &channels_last, |located, shape| shape[1] == 1 || located.strides[1] == 1);
                located.strides[1] = 1;
                located
            }
        };
        let a = images(self, first);
        let b = match kind {
            ConvKind::GradWeight => images(self, second),
            ConvKind::Forward | ConvKind::GradInput => self.locate(second),
        };
        let view = |located: &StridedBuffer, id: NodeId| View {
            buffer: located.buffer,
            dtype: graph.nodes[id].dtype,
            offset: located.offset,
            strides: [&located.strides[..2], &lift(&located.strides[2..], 0)].concat(),
        };
        let (a_view, b_view) = (view(&a, first), view(&b, second));
        let (rows, columns): (Vec<usize>, usize) = match kind {
            ConvKind::Forward | ConvKind::GradInput => ((0..rank).filter(|&axis| axis != 1).collect(), 1),
            ConvKind::GradWeight => ((2..rank).chain([1]).collect(), 0),
        };
        let Some(epilogue) = self.epilogue(id, members, &rows, columns, &[a, b]) else {
            return false;
        };
        let multiplications = result.elements() * weight[1..].iter().product::<usize>();
        let work = Work::Conv(Conv {
            kind,
            batch: image[0],
            input: lift(&image[2..], 1),
            in_channels: image[1],
            output: lift(&result[2..], 1),
            out_channels: result[1],
            window: lift(&weight[2..], 1),
            stride: lift(&spec.stride, 1),
            pad: lift(&spec.pad.iter().map(|pad| pad.0).collect::<Vec<_>>(), 0),
            dilation: lift(&spec.dilation, 1),
            groups: spec.groups,
            a: a_view,
            b: b_view,
            epilogue,
        });
        let operations = 2 * multiplications as u64 + self.count(members);
        self.push(work, self.label(members), id, operations);
        true
    }
}

/// One to three spatial values as depth, height and width.
pub(crate) fn lift<T: Copy>(values: &[T], missing: T) -> [T; 3] {
    let mut lifted = [missing; 3];
    let skip = 3usize.saturating_sub(values.len());
    for (slot, &value) in lifted[skip..].iter_mut().zip(values) {
        *slot = value;
    }
    lifted
}
