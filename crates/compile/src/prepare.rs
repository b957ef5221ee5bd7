//! Makes a graph easy to cut into kernels: nothing is empty, and everything handed back or stored is computed.

use std::collections::HashSet;

use kiln_ir::graph::{Graph, GraphNode, Id};
use kiln_ir::op::{Op, ReduceOp};
use kiln_ir::{DType, Scalar};

use crate::kind::{Kind, kind};

/// Copies a graph node by node while it rewrites it.
struct Rewriter {
    graph: Graph,
    /// Where each old node went.
    new_id: Vec<Id>,
    identities: u64,
}

impl Rewriter {
    fn push(&mut self, node: GraphNode) -> Id {
        self.graph.nodes.push(node);
        self.graph.nodes.len() - 1
    }

    /// A node that computes the same value as `id`.
    fn identity(&mut self, id: Id) -> Id {
        self.identities += 1;
        let GraphNode { shape, dtype, at, .. } = self.graph.nodes[id].clone();
        // Traced barriers are numbered from 1 up; these count down from the top.
        self.push(GraphNode {
            op: Op::Barrier(u64::MAX - self.identities),
            inputs: vec![id],
            shape,
            dtype,
            at,
        })
    }

    fn cast(&mut self, id: Id, dtype: DType) -> Id {
        let node = self.graph.nodes[id].clone();
        self.push(GraphNode { op: Op::Cast(dtype), inputs: vec![id], dtype, ..node })
    }

    fn wide_product(&mut self, node: GraphNode) -> Id {
        let inputs = node.inputs.iter().map(|&input| self.cast(input, DType::I32)).collect();
        let narrow = node.dtype;
        let product = self.push(GraphNode { inputs, dtype: DType::I32, ..node });
        self.cast(product, narrow)
    }
}

/// Values without elements and folds over none become fills, so that no kernel has to think of them.
///
/// `matmul([2, 0], [0, 3])` → `fill(0): [2, 3]`; `sum([0, 4], axis 0)` → `fill(0): [1, 4]`.
pub fn without_empties(graph: &Graph) -> Graph {
    if graph.nodes.iter().all(|node| node.shape.elements() > 0) {
        return graph.clone();
    }
    let mut r = rewriter(graph);
    for node in &graph.nodes {
        let is_empty = |id: Id| graph.nodes[id].shape.elements() == 0;
        let mut node = node.clone();
        let some_empty = node.inputs.iter().any(|&id| is_empty(id));
        let value = match &node.op {
            Op::Input(_) | Op::Var(_) | Op::Const(_) => None,
            _ if node.shape.elements() == 0 => Some(Scalar::Int(0)),
            Op::Reduce(function, _) if some_empty => Some(neutral(*function, node.dtype)),
            Op::Matmul | Op::Conv(_) | Op::ConvGradInput(..) | Op::ConvGradWeight(..) if some_empty => {
                Some(Scalar::Int(0))
            }
            Op::WindowSumGrad(..) | Op::WindowSpread(_) if some_empty => Some(Scalar::Int(0)),
            Op::Pad { value, .. } if some_empty => Some(*value),
            Op::Concat(_) if some_empty => {
                node.inputs.retain(|&id| !is_empty(id));
                None
            }
            Op::Scatter(..) if some_empty => {
                r.new_id.push(r.new_id[node.inputs[0]]);
                continue;
            }
            _ => None,
        };
        if let Some(value) = value {
            node.op = Op::Fill(value.cast(node.dtype));
            node.inputs.clear();
        }
        for input in &mut node.inputs {
            *input = r.new_id[*input];
        }
        let id = r.push(node);
        r.new_id.push(id);
    }
    finish(r, graph)
}

/// What a fold over nothing gives.
fn neutral(function: ReduceOp, dtype: DType) -> Scalar {
    let (lowest, highest) = match dtype {
        DType::Bool => (Scalar::Bool(false), Scalar::Bool(true)),
        DType::U8 => (Scalar::Int(0), Scalar::Int(i64::from(u8::MAX))),
        DType::U16 => (Scalar::Int(0), Scalar::Int(i64::from(u16::MAX))),
        DType::I32 => (Scalar::Int(i64::from(i32::MIN)), Scalar::Int(i64::from(i32::MAX))),
        DType::I64 => (Scalar::Int(i64::MIN), Scalar::Int(i64::MAX)),
        _ => (Scalar::Float(f64::NEG_INFINITY), Scalar::Float(f64::INFINITY)),
    };
    match function {
        ReduceOp::Sum => Scalar::Int(0),
        ReduceOp::Prod => Scalar::Int(1),
        ReduceOp::Max => lowest,
        ReduceOp::Min => highest,
    }
}

/// Puts an identity behind an output or update that no kernel of its own would write.
///
/// `output(permute(x))` → `output(identity(permute(x)))`. Products of small integers are done in `I32`, which wraps to the
/// same result.
pub fn with_values_computed(graph: &Graph) -> Graph {
    let mut r = rewriter(graph);
    for node in &graph.nodes {
        let mut node = node.clone();
        for input in &mut node.inputs {
            *input = r.new_id[*input];
        }
        let small = matches!(node.dtype, DType::U8 | DType::U16);
        let id = if small && node.op == Op::Matmul { r.wide_product(node) } else { r.push(node) };
        r.new_id.push(id);
    }
    let mut taken = HashSet::new();
    let mut outputs = Vec::with_capacity(graph.outputs.len());
    for &id in &graph.outputs {
        let id = r.new_id[id];
        outputs.push(owned(&mut r, id, &mut taken));
    }
    let mut updates = Vec::with_capacity(graph.updates.len());
    for (variable, id) in graph.updates.iter().filter(|(variable, _)| variable.shape().elements() > 0) {
        let id = r.new_id[*id];
        updates.push((variable.clone(), owned(&mut r, id, &mut taken)));
    }
    Graph { outputs, updates, ..r.graph }
}

/// `id`, or an identity of it where it isn't the result of fused work or somebody else's already.
fn owned(r: &mut Rewriter, id: Id, taken: &mut HashSet<Id>) -> Id {
    let fused = matches!(kind(&r.graph.nodes[id].op), Kind::Pointwise | Kind::Reduce | Kind::Contraction);
    let id = if fused && !taken.contains(&id) { id } else { r.identity(id) };
    taken.insert(id);
    id
}

fn rewriter(graph: &Graph) -> Rewriter {
    let empty = Graph { inputs: graph.inputs.clone(), ..Graph::default() };
    Rewriter { graph: empty, new_id: Vec::with_capacity(graph.nodes.len()), identities: 0 }
}

fn finish(r: Rewriter, old: &Graph) -> Graph {
    let outputs = old.outputs.iter().map(|&id| r.new_id[id]).collect();
    let updates = old.updates.iter().map(|(variable, id)| (variable.clone(), r.new_id[*id])).collect();
    Graph { outputs, updates, ..r.graph }
}
