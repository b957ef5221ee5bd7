//! Packed weights: a product whose columns are packed rows unpacks a part of them at a time, so that they are nowhere as a whole;
//! whatever else asks for them gets them unpacked.

use kiln_ir::graph::NodeId;
use kiln_ir::op::{BlockFormat, Op};

use crate::kind::{OpKind, root};
use crate::layout::StridedBuffer;
use crate::packed::packed_columns;
use crate::program::{Matmul, Unpack, View, Work};

use super::Lowering;

impl Lowering<'_> {
    /// Whether somebody asks for unpacked numbers who isn't a product that unpacks them itself.
    fn is_asked_for(&self, id: NodeId) -> bool {
        let graph = self.graph;
        self.output.contains_key(&id)
            || self.update.contains_key(&id)
            || graph.nodes.iter().any(|node| {
                // Movements only show it; whoever reads them counts.
                !matches!(node.kind(), OpKind::Movement(_))
                    && node.operands().iter().enumerate().any(|(position, &operand)| {
                        let multiplies = position == 1 && node.op == Op::Matmul;
                        root(graph, operand) == id
                            && !(multiplies && packed_columns(graph, operand).is_some())
                    })
            })
    }

    /// Writes the kernel that unpacks, if anybody needs it.
    pub(super) fn unpack(&mut self, id: NodeId, format: BlockFormat) {
        if !self.is_asked_for(id) {
            return;
        }
        let graph = self.graph;
        let node = &graph.nodes[id];
        let located = self.locate_row_major(node.inputs[0]);
        let order: Vec<usize> = (0..node.shape.rank()).collect();
        let out = self.temporary(id, &order);
        let numbers = node.shape.last().copied().unwrap_or(1);
        let rows = node.shape.elements() / numbers.max(1);
        let bytes = format.row_bytes(numbers).unwrap_or(0);
        let unpack = Unpack {
            format,
            rows,
            numbers,
            blocks: self.view(&located, vec![bytes as isize, 1]),
            out: self.view(&out, vec![numbers as isize, 1]),
        };
        self.push(Work::Unpack(unpack), "unpack".to_string(), id, node.shape.elements() as u64);
        self.settle(id, out);
    }

    /// Writes a product that unpacks its columns itself. Any batch is more rows.
    pub(super) fn packed_matmul(
        &mut self,
        id: NodeId,
        members: &[NodeId],
        left: NodeId,
        blocks: NodeId,
        format: BlockFormat,
    ) -> bool {
        let graph = self.graph;
        let a = self.locate_row_major(left);
        let b = self.locate_row_major(blocks);
        let shape = &graph.nodes[left].shape;
        let (k, n) = (shape[shape.rank() - 1], graph.nodes[id].shape[shape.rank() - 1]);
        let m = shape.elements() / k.max(1);
        let bytes = format.row_bytes(k).unwrap_or(0);
        let view = |located: &StridedBuffer, strides: [isize; 3]| View {
            buffer: located.buffer,
            dtype: self.program.buffers[located.buffer].dtype,
            offset: located.offset,
            strides: strides.to_vec(),
        };
        let (a_view, b_view) = (view(&a, [0, k as isize, 1]), view(&b, [0, 1, bytes as isize]));
        let rank = shape.rank();
        let rows: Vec<usize> = (0..rank - 1).collect();
        let Some(epilogue) = self.epilogue(id, members, &rows, rank - 1, &[a, b]) else {
            return false;
        };
        let operations = 2 * (m * n * k) as u64 + self.count(members);
        let packed = Some(format);
        let work = Work::Matmul(Matmul { batch: 1, m, n, k, a: a_view, b: b_view, packed, epilogue });
        self.push(work, self.label(members), id, operations);
        true
    }
}
