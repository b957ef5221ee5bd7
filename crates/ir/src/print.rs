//! Graphs for reading: as text, one node a line, and as Graphviz drawings.

use std::collections::HashMap;
use std::fmt::{self, Write};

use crate::dtype::DType;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{Graph, NodeId};
use crate::node::{Node, topological};
use crate::op::{AttentionSpec, AttentionValue, ConvSpec, Op, Scan, ScanResult, SliceRange, WindowSpec};
use crate::shape::Shape;

/// ```text
/// %0 f32[2, 3] = input(0)                       src/main.rs:10
/// %1 f32[3, 2] = permute(%0, [1, 0])            src/main.rs:12
/// %2 f32[2, 2] = matmul(%0, %1)                 src/main.rs:12
/// return %2
/// ```
///
/// The body of a scan stands behind the first of its values.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown: Vec<(&Scan, &[NodeId])> = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let arguments = node.inputs.iter().map(|id| format!("%{id}"));
            let arguments: Vec<String> = arguments.chain(settings(&node.op)).collect();
            let (dtype, shape, name) = (node.dtype, &node.shape, node.op.name());
            let line = format!("%{id} {dtype}{shape} = {name}({})", arguments.join(", "));
            match node.at {
                Some(at) => writeln!(f, "{line:<45} {}:{}", at.file(), at.line())?,
                None => writeln!(f, "{line}")?,
            }
            if let Op::Scan(scan, _) = &node.op
                && !shown.contains(&(scan, &node.inputs))
            {
                shown.push((scan, &node.inputs));
                for line in scan.body.to_string().lines() {
                    writeln!(f, "    {line}")?;
                }
            }
        }
        for (variable, id) in &self.updates {
            writeln!(f, "{} := %{id}", variable_name(&variable.name()))?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|id| format!("%{id}")).collect();
        writeln!(f, "return {}", outputs.join(", "))
    }
}

/// A graph in Graphviz's language: `dot -Tsvg`.
pub fn dot(graph: &Graph) -> String {
    let nodes = graph.nodes.iter().enumerate().map(|(id, node)| Drawn {
        id,
        label: label(&node.op, &node.shape, node.dtype),
        leaf: node.inputs.is_empty(),
        inputs: node.inputs.clone(),
    });
    let updates = graph.updates.iter().zip(graph.nodes.len()..).map(|((variable, id), drawn)| Drawn {
        id: drawn,
        label: format!("{} :=", variable_name(&variable.name())),
        leaf: true,
        inputs: vec![*id],
    });
    draw(nodes.chain(updates))
}

/// What `values` are computed from, in Graphviz's language. `note` may add a line to any node: a name of the
/// user's, its value, its gradient. Fails with the first error a value carries.
pub fn dot_of(values: &[Expr], note: &dyn Fn(&Node) -> Option<String>) -> Result<String> {
    let node_of = |value: &Expr| value.node().cloned().map_err(|error| error.as_ref().clone());
    let roots = values.iter().map(node_of).collect::<Result<Vec<_>>>()?;
    let nodes = topological(&roots);
    let position: HashMap<u64, usize> = nodes.iter().enumerate().map(|(i, node)| (node.id, i)).collect();
    Ok(draw(nodes.iter().enumerate().map(|(id, node)| {
        let label = label(&node.op, &node.shape, node.dtype);
        Drawn {
            id,
            label: note(node).map_or(label.clone(), |note| format!("{note}\n{label}")),
            leaf: node.inputs.is_empty(),
            inputs: node.inputs.iter().map(|input| position[&input.id]).collect(),
        }
    })))
}

struct Drawn {
    id: usize,
    label: String,
    leaf: bool,
    inputs: Vec<usize>,
}

fn draw(nodes: impl Iterator<Item = Drawn>) -> String {
    let mut text = String::from("digraph {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    for Drawn { id, label, leaf, inputs } in nodes {
        let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let style = if leaf { ", style=filled" } else { "" };
        let _ = writeln!(text, "  n{id} [label=\"{label}\"{style}];"); // writing to a string can't fail
        for input in inputs {
            let _ = writeln!(text, "  n{input} -> n{id};");
        }
    }
    text + "}\n"
}

/// `sum axes [0]`, and below it `f32[1, 10]`.
fn label(op: &Op, shape: &Shape, dtype: DType) -> String {
    let setting = settings(op).map_or(String::new(), |setting| format!(" {setting}"));
    format!("{}{setting}\n{dtype}{shape}", op.name())
}

fn variable_name(name: &str) -> &str {
    if name.is_empty() { "(unnamed)" } else { name }
}

/// What an operation says beside its operands.
fn settings(op: &Op) -> Option<String> {
    Some(match op {
        Op::Const(data) => format!("{} values", data.len()),
        Op::Fill(value) => value.to_string(),
        Op::Var(variable) => variable_name(&variable.name()).to_string(),
        Op::Input(position) => position.to_string(),
        Op::Cast(dtype) => dtype.to_string(),
        Op::Permute(axes) => format!("{axes:?}"),
        Op::Slice(ranges) => ranges.iter().map(range).collect::<Vec<_>>().join(", "),
        Op::Pad { before, after, value } => format!("{before:?} {after:?} of {value}"),
        Op::Reduce(_, axes) => format!("axes {axes:?}"),
        Op::Iota(axis) | Op::Concat(axis) | Op::ArgReduce(_, axis) | Op::CumSum(axis) => {
            format!("axis {axis}")
        }
        Op::Unpack(format) => format.to_string(),
        Op::Gather(axis) | Op::Scatter(axis, _) => format!("axis {axis}"),
        Op::ArgSort { axis, descending } => {
            format!("axis {axis}{}", if *descending { " descending" } else { "" })
        }
        Op::Conv(spec) | Op::ConvGradInput(spec, _) | Op::ConvGradWeight(spec, _) => conv(spec),
        Op::WindowPick(spec) | Op::WindowSpread(spec) | Op::WindowSum(spec) | Op::WindowSumGrad(spec, _) => {
            window(spec)
        }
        Op::Attention(spec, value) => attention(spec, *value),
        Op::Scan(scan, result) => {
            let (steps, way) = (scan.steps, if scan.reverse { " backwards" } else { "" });
            match result {
                ScanResult::Last(state) => format!("{steps} steps{way}, state {state} at the end"),
                ScanResult::Stacked(id) => format!("{steps} steps{way}, its %{id} stacked"),
            }
        }
        Op::Barrier(number) => format!("#{number}"),
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Reshape | Op::Expand | Op::Matmul => return None,
        Op::StopGradient | Op::Rule(_) | Op::Custom(_) => return None,
    })
}

/// `2..5`, `9..0 by -3`: from the first element up to behind the last.
fn range(&SliceRange { start, len, step }: &SliceRange) -> String {
    match step {
        1 => format!("{start}..{}", start + len),
        _ => format!("{len} from {start} by {step}"),
    }
}

fn conv(spec: &ConvSpec) -> String {
    let ConvSpec { stride, pad, dilation, groups } = spec;
    format!("stride {stride:?} pad {pad:?} dilation {dilation:?} groups {groups}")
}

fn attention(spec: &AttentionSpec, value: AttentionValue) -> String {
    let AttentionSpec { scale, left, right, offset, masked, placed, dropout } = spec;
    let side = |name: &str, keys: Option<usize>| keys.map(|keys| format!("{name} {keys}"));
    let of = if let AttentionValue::Gradient(operand) = value { Some(format!("{operand:?}")) } else { None };
    let words = [
        of.map(|of| of.to_lowercase()),
        Some(format!("scale {scale}")),
        side("left", *left),
        side("right", *right),
        (*offset != 0).then(|| format!("offset {offset}")),
        masked.then(|| "masked".to_string()),
        placed.then(|| "placed".to_string()),
        dropout.map(|share| format!("dropout {share}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn window(spec: &WindowSpec) -> String {
    let WindowSpec { window, stride, pad, dilation } = spec;
    format!("window {window:?} stride {stride:?} pad {pad:?} dilation {dilation:?}")
}
