//! What a target lacks becomes what it has, or an error that says where it is needed and how to do without.
//!
//! Numbers of a dtype that the target doesn't compute in are computed in a wider one, which gives the same bits for what fits
//! into it: `u8` and `u16` wrap as before, positions and counts (`i64`) must stay below 2³¹, and half types keep more digits
//! than they would have. Nothing is computed in a narrower one: without `f64` there are no sums in `f64`.
//! What goes through memory is held in a dtype that the target stores ([`storage`]).

pub mod storage;

use std::collections::HashMap;

use kiln_ir::graph::{Graph, GraphNode, NodeId};
use kiln_ir::op::{BinaryOp, Op, ReduceOp, Scan, ScatterMode, UnaryOp};
use kiln_ir::rewrite::{Nodes, rewrite};
use kiln_ir::{DType, Error, ErrorKind, Result, Scalar};

use crate::kind::{Contraction, Generator, Leaf, OpKind, Opaque, Pointwise};
use crate::program::WindowKind;
use crate::target::Target;

/// The most operands and results of one operation of kiln's own: a choice between two.
pub const FEWEST_BINDINGS: usize = 4;

/// Rewrites a graph into one that computes only what the target can.
///
/// `add(a: u8, b: u8)` without `u8` → `and(add(a: i32, b: i32), 255)`
///
/// # Errors
/// The first operation that can't run there, with its line.
pub fn legalise(graph: &mut Graph, target: &Target) -> Result<usize> {
    for node in &graph.nodes {
        possible(graph, node, target)?;
    }
    if graph.nodes.iter().all(|node| target.computed(node.dtype) == Some(node.dtype)) {
        return Ok(0);
    }
    let outputs: Vec<DType> = graph.outputs.iter().map(|&id| graph.nodes[id].dtype).collect();
    let mut handed = HashMap::new();
    let changes = rewrite(graph, |nodes, node| {
        let node =
            if let Op::Scan(scan, _) = &node.op { as_handed(nodes, &node, scan, &mut handed) } else { node };
        Some(place(nodes, node, target))
    });
    // What is handed over is in the dtype that was asked for.
    let updates = graph.updates.iter_mut().map(|(variable, id)| (id, variable.dtype()));
    for (id, dtype) in graph.outputs.iter_mut().zip(outputs).chain(updates) {
        let node = graph.nodes[*id].clone();
        if node.dtype != dtype {
            graph.nodes.push(GraphNode { op: Op::Cast(dtype), inputs: vec![*id], dtype, ..node });
            *id = graph.nodes.len() - 1;
        }
    }
    Ok(changes)
}

/// Says why a node can't run on the target, if it can't.
fn possible(graph: &Graph, node: &GraphNode, target: &Target) -> Result<()> {
    let refuse = |lacks: String, mend: &str| {
        let message = format!("{} {lacks}; {mend}", target.name);
        let error = Error::new(ErrorKind::Device, node.op.name(), message);
        Err(match node.at {
            Some(at) => error.at(at),
            None => error.nowhere(),
        })
    };
    let elsewhere = "or run this on another device";
    let Some(dtype) = target.computed(node.dtype) else {
        let mend = format!("cast to a dtype that it has, {elsewhere}");
        return refuse(format!("doesn't compute in {}", node.dtype), &mend);
    };
    if target.stored(dtype).is_none() {
        return refuse(format!("doesn't store {}", node.dtype), &format!("cast it, {elsewhere}"));
    }
    if target.most_bindings < FEWEST_BINDINGS {
        let lacks =
            format!("lets a kernel touch {} buffers, and some need {FEWEST_BINDINGS}", target.most_bindings);
        return refuse(lacks, "another device is needed");
    }
    let counts = |dtype: DType| dtype == DType::I64 && target.computed(dtype) == Some(DType::I32);
    if counts(node.dtype) && node.shape.iter().any(|&size| i32::try_from(size).is_err()) {
        return refuse(
            format!("counts in i32, which {} is too large for", node.shape),
            &format!("cut it into smaller parts, {elsewhere}"),
        );
    }
    match node.kind() {
        OpKind::Leaf(Leaf::Const(_)) => refuse(
            "takes programs, and this graph holds numbers of the host".to_string(),
            "trace it, so that they become arguments",
        ),
        OpKind::Generator(Generator::Fill(value))
            if counts(node.dtype) && i32::try_from(value.as_i64()).is_err() =>
        {
            refuse(
                format!("computes integers in i32, which {value} is too large for"),
                &format!("use a smaller number, {elsewhere}"),
            )
        }
        OpKind::Pointwise(Pointwise::Binary(BinaryOp::Random)) if counts(DType::I64) => refuse(
            "has no i64, from which random numbers are made".to_string(),
            &format!("hand them in as an argument, {elsewhere}"),
        ),
        OpKind::Opaque(Opaque::Custom(_)) => {
            let buffers = node.inputs.len() + 1;
            let mut dtypes = node.inputs.iter().map(|&id| graph.nodes[id].dtype).chain([node.dtype]);
            let odd = dtypes
                .find(|&dtype| target.computed(dtype) != Some(dtype) || target.stored(dtype) != Some(dtype));
            if !target.host {
                refuse(
                    "can't have the host do work in the middle of a program".to_string(),
                    &format!("compose it of kiln's own operations, {elsewhere}"),
                )
            } else if let Some(dtype) = odd {
                refuse(
                    format!("doesn't hold {dtype}, which goes in or out"),
                    &format!("cast it, {elsewhere}"),
                )
            } else if buffers > target.most_bindings {
                refuse(
                    format!("lets a kernel touch {} buffers, and this needs {buffers}", target.most_bindings),
                    &format!("join some of the operands, {elsewhere}"),
                )
            } else {
                Ok(())
            }
        }
        OpKind::Opaque(Opaque::Unpack(_)) if target.stored(DType::U8) != Some(DType::U8) => refuse(
            "holds no bytes (u8), in which packed weights lie".to_string(),
            &format!("unpack them before, {elsewhere}"),
        ),
        OpKind::Opaque(Opaque::Unpack(_)) => Ok(()),
        OpKind::Leaf(Leaf::Input(_) | Leaf::Var(_))
        | OpKind::Generator(_)
        | OpKind::Pointwise(_)
        | OpKind::Reduce(..)
        | OpKind::Movement(_)
        | OpKind::Contraction(_)
        | OpKind::Opaque(
            Opaque::Pad { .. }
            | Opaque::Concat(_)
            | Opaque::ArgReduce(..)
            | Opaque::CumSum(_)
            | Opaque::ArgSort { .. }
            | Opaque::Window(..)
            | Opaque::Attention(..)
            | Opaque::Gather(_)
            | Opaque::Scatter(..)
            | Opaque::Scan(..),
        ) => Ok(()),
    }
}

/// A scan takes and gives what its body says, which is legalised by itself. What is cast for one of its results is cast for all.
fn as_handed(
    nodes: &mut Nodes,
    node: &GraphNode,
    scan: &Scan,
    handed: &mut HashMap<(NodeId, DType), NodeId>,
) -> GraphNode {
    let mut node = node.clone();
    for (input, (_, dtype)) in node.inputs.iter_mut().zip(&scan.body.inputs) {
        *input = *handed.entry((*input, *dtype)).or_insert_with(|| nodes.push_cast(*input, *dtype));
    }
    node
}

/// Places a node in the dtype that the target computes in.
fn place(nodes: &mut Nodes, node: GraphNode, target: &Target) -> NodeId {
    let meant = node.dtype;
    let dtype = target.computed(meant).unwrap_or(meant);
    if matches!(node.kind(), OpKind::Leaf(_) | OpKind::Opaque(Opaque::Scan(..))) {
        let leaf = nodes.push(node);
        return nodes.push_cast(leaf, dtype);
    }
    if meant == dtype {
        return nodes.push(node);
    }
    nodes.changes += 1;
    let wraps = match meant {
        DType::U8 => Some(i64::from(u8::MAX)),
        DType::U16 => Some(i64::from(u16::MAX)),
        DType::Bool | DType::I32 | DType::I64 | DType::F16 | DType::Bf16 | DType::F32 | DType::F64 => None,
    };
    let wraps = wraps.filter(|_| leaves_range(node.kind()));
    let id = if matches!(node.op, Op::Cast(_)) {
        nodes.push_cast(node.inputs[0], dtype)
    } else {
        nodes.push(GraphNode { dtype, ..node.clone() })
    };
    let Some(mask) = wraps else { return id };
    let node = GraphNode { dtype, ..node };
    let mask = nodes.push_fill(&node, Scalar::Int(mask));
    nodes.push_like(&node, Op::Binary(BinaryOp::And), &[id, mask])
}

/// Whether a result of small integers may be one that they can't hold.
fn leaves_range(kind: OpKind) -> bool {
    match kind {
        OpKind::Pointwise(pointwise) => match pointwise {
            Pointwise::Unary(function) => match function {
                UnaryOp::Neg => true,
                UnaryOp::Abs
                | UnaryOp::Sign
                | UnaryOp::Relu
                | UnaryOp::Not
                | UnaryOp::Exp
                | UnaryOp::ExpM1
                | UnaryOp::Ln
                | UnaryOp::Ln1p
                | UnaryOp::Sqrt
                | UnaryOp::Rsqrt
                | UnaryOp::Recip
                | UnaryOp::Sin
                | UnaryOp::Cos
                | UnaryOp::Tanh
                | UnaryOp::Sigmoid
                | UnaryOp::Erf
                | UnaryOp::Floor
                | UnaryOp::Ceil
                | UnaryOp::Round => false,
            },
            Pointwise::Binary(function) => match function {
                BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Pow => true,
                BinaryOp::Div
                | BinaryOp::Rem
                | BinaryOp::Max
                | BinaryOp::Min
                | BinaryOp::Lt
                | BinaryOp::Le
                | BinaryOp::Eq
                | BinaryOp::Ne
                | BinaryOp::And
                | BinaryOp::Or
                | BinaryOp::Xor
                | BinaryOp::Random => false,
            },
            Pointwise::Cast(_) => true,
            Pointwise::Select | Pointwise::Identity => false,
        },
        OpKind::Reduce(ReduceOp::Sum | ReduceOp::Prod, _) => true,
        OpKind::Reduce(ReduceOp::Max | ReduceOp::Min, _) => false,
        OpKind::Contraction(Contraction::Matmul | Contraction::Conv(..)) => true,
        OpKind::Opaque(opaque) => match opaque {
            Opaque::CumSum(_) | Opaque::Scatter(_, ScatterMode::Add) => true,
            Opaque::Window(WindowKind::Sum | WindowKind::SumGrad | WindowKind::Spread, _) => true,
            Opaque::Window(WindowKind::Pick, _)
            | Opaque::Pad { .. }
            | Opaque::Concat(_)
            | Opaque::ArgReduce(..)
            | Opaque::ArgSort { .. }
            | Opaque::Attention(..)
            | Opaque::Gather(_)
            | Opaque::Scatter(_, ScatterMode::Set)
            | Opaque::Unpack(_)
            | Opaque::Scan(..)
            | Opaque::Custom(_) => false,
        },
        OpKind::Leaf(_) | OpKind::Generator(_) | OpKind::Movement(_) => false,
    }
}
