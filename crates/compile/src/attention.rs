//! What becomes of attention on its way to a kernel.

use kiln_ir::attention::write_out;
use kiln_ir::graph::{Graph, GraphNode};

use crate::target::Target;

/// The most buffers that a kernel of attention touches: eight operands, four gradients.
const MOST_BUFFERS: usize = 12;

/// Writes attention out in other operations for a target that has no kernel for it, or none for its dtypes.
///
/// `attention(q, k, v)` → `matmul(softmax(matmul(scale * q, kᵀ)), v)`
pub fn without_kernel(graph: &mut Graph, target: &Target) -> usize {
    let has = |dtype| target.computed(dtype) == Some(dtype) && target.stored(dtype) == Some(dtype);
    let able = target.attention && target.most_bindings >= MOST_BUFFERS;
    let all_here = |graph: &Graph, node: &GraphNode| {
        has(node.dtype) && node.inputs.iter().all(|&input| has(graph.nodes[input].dtype))
    };
    write_out(graph, |graph, node| !able || !all_here(graph, node))
}
