//! Which products read their columns packed.

use kiln_ir::graph::{Graph, NodeId};
use kiln_ir::op::{BlockFormat, Op};

use crate::kind::{Movement, OpKind, root};
use crate::layout::StridedBuffer;

/// The bytes whose rows are the columns of a product's right operand, the same for its whole batch; nothing where they aren't, or are
/// seen in another way.
pub(crate) fn packed_columns(graph: &Graph, right: NodeId) -> Option<(NodeId, BlockFormat)> {
    let unpacked = root(graph, right);
    let Op::Unpack(format) = graph.nodes[unpacked].op else { return None };
    let [columns, k] = graph.nodes[unpacked].shape[..] else { return None };
    let seen = moved(graph, right, unpacked)?;
    let shape = &graph.nodes[right].shape;
    let [batch @ .., depth, width] = &shape[..] else { return None };
    let [batch_strides @ .., row, column] = &seen.strides[..] else { return None };
    let still = batch.iter().zip(batch_strides).all(|(&size, &stride)| size == 1 || stride == 0);
    let fits = |size: usize, stride: isize, wanted: usize| size == 1 || stride == wanted as isize;
    let whole = seen.offset == 0 && (*depth, *width) == (k, columns);
    (still && whole && fits(*depth, *row, 1) && fits(*width, *column, k))
        .then(|| (graph.nodes[unpacked].inputs[0], format))
}

/// Where the elements of `id` would be if those of `from`, of which it is another view, lay row-major.
fn moved(graph: &Graph, id: NodeId, from: NodeId) -> Option<StridedBuffer> {
    let mut path: Vec<(NodeId, Movement)> = Vec::new();
    let mut at = id;
    while at != from {
        let OpKind::Movement(movement) = graph.nodes[at].kind() else { return None };
        path.push((at, movement));
        at = graph.nodes[at].inputs[0];
    }
    let start = StridedBuffer::row_major(0, &graph.nodes[from].shape);
    path.into_iter().rev().try_fold(start, |seen, (id, movement)| {
        seen.moved(movement, &graph.nodes[graph.nodes[id].inputs[0]].shape, &graph.nodes[id].shape)
    })
}
