//! The naive evaluator: every operation computed index by index, as its meaning in [`crate::op`] reads. It is the
//! oracle that compiled programs, gradients and simplifications are held against, so it prefers being obviously
//! right to being fast.
//!
//! Floats are computed in `f64` and rounded to the node's dtype once a node, which for `F32` gives the nearest
//! result there is; half types are rounded by way of `f32`, as devices do. Sums are gathered in `f64` whatever the
//! dtype. Integers wrap.

mod attention;
mod contract;
mod fold;
mod index;
mod movement;
mod pointwise;
mod scan;
mod values;
mod window;

use crate::data::Data;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Graph, GraphNode};
use crate::infer::InferenceError;
use crate::kind::Pointwise;
use crate::op::{Op, VariableHandle};
use crate::shape::Shape;
use values::EvalValues;

/// What a graph gives.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedGraph {
    /// The values handed back, in the graph's order.
    pub outputs: Vec<Data>,
    /// The new values of the variables, in the graph's order.
    pub updates: Vec<Data>,
}

/// Computes a graph for these arguments (the declared ones, then the captured ones), with `variable` giving the
/// current value of each variable.
///
/// ```
/// use kiln_ir::{Data, Expr, Graph, eval::evaluate};
/// let x = Expr::constant(Data::F32(vec![1.0, 2.0]), [2]);
/// let (graph, captured) = Graph::trace(&[], &[&x * &x], &[])?;
/// let outcome = evaluate(&graph, &[&captured[0]], &|_| unreachable!("there is no variable"))?;
/// assert_eq!(outcome.outputs, [Data::F32(vec![1.0, 4.0])]);
/// # Ok::<(), kiln_ir::Error>(())
/// ```
pub fn evaluate(
    graph: &Graph,
    inputs: &[&Data],
    variable: &dyn Fn(&dyn VariableHandle) -> Result<Data>,
) -> Result<EvaluatedGraph> {
    if inputs.len() != graph.inputs.len() {
        let message = format!("{} arguments for {} inputs", inputs.len(), graph.inputs.len());
        return Err(Error::new(ErrorKind::Value, "evaluate", message).nowhere());
    }
    let mut uses: Vec<usize> = vec![0; graph.nodes.len()];
    let updated = graph.updates.iter().map(|(_, id)| id);
    for &id in graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs).chain(updated) {
        uses[id] += 1;
    }
    let mut values: Vec<EvalValues> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let operands: Vec<OperandValue> = node
            .inputs
            .iter()
            .map(|&id| OperandValue { values: &values[id], node: &graph.nodes[id] })
            .collect();
        let value = if let Op::Input(position) = node.op {
            take(inputs[position], node, "input")?
        } else if let Op::Var(var) = &node.op {
            take(&variable(&*var.0)?, node, "var")?
        } else {
            compute(node, &operands).map_err(|(kind, message)| located(node, kind, message))?
        };
        values.push(value.rounded(node.dtype));
        for &id in &node.inputs {
            uses[id] -= 1;
            if uses[id] == 0 {
                values[id] = EvalValues::Int(Vec::new());
            }
        }
    }
    let data = |&id: &usize| values[id].to_data(graph.nodes[id].dtype);
    Ok(EvaluatedGraph {
        outputs: graph.outputs.iter().map(data).collect(),
        updates: graph.updates.iter().map(|(_, id)| data(id)).collect(),
    })
}

/// One element of a pointwise operation, for operands that are the same everywhere.
pub fn pointwise_constant(
    pointwise: Pointwise,
    operands: &[(Scalar, DType)],
    dtype: DType,
) -> Option<Scalar> {
    let x: Vec<EvalValues> =
        operands.iter().map(|&(value, dtype)| EvalValues::filled(dtype, 1, value)).collect();
    let value = match pointwise {
        Pointwise::Unary(function) => pointwise::unary(function, &x[0]),
        Pointwise::Binary(function) => pointwise::binary(function, &x[0], &x[1]),
        Pointwise::Select => pointwise::select(&x[0], &x[1], &x[2]),
        Pointwise::Cast(to) => x[0].cast(to),
        Pointwise::Identity => x[0].clone(),
    };
    value.rounded(dtype).to_data(dtype).get(0)
}

/// The value of one operand, with its node for shape and dtype.
#[derive(Clone, Copy)]
struct OperandValue<'a> {
    values: &'a EvalValues,
    node: &'a GraphNode,
}

impl OperandValue<'_> {
    fn shape(&self) -> &Shape {
        &self.node.shape
    }
}

fn located(node: &GraphNode, kind: ErrorKind, message: String) -> Error {
    let error = Error::new(kind, node.op.name(), message);
    match node.at {
        Some(at) => error.at(at),
        None => error.nowhere(),
    }
}

/// Data from outside, if it is what the node promises.
fn take(data: &Data, node: &GraphNode, what: &str) -> Result<EvalValues> {
    if data.dtype() == node.dtype && data.len() == node.shape.elements() {
        return Ok(EvalValues::from_data(data));
    }
    let (len, dtype) = (data.len(), data.dtype());
    let message = format!("{len} values of {dtype} for the {what} {}{}", node.dtype, node.shape);
    Err(located(node, ErrorKind::Value, message))
}

fn compute(node: &GraphNode, x: &[OperandValue]) -> Result<EvalValues, InferenceError> {
    let shape = &node.shape;
    Ok(match &node.op {
        Op::Const(data) => EvalValues::from_data(data),
        Op::Fill(value) => EvalValues::filled(node.dtype, shape.elements(), *value),
        Op::Iota(axis) => {
            EvalValues::Int(movement::indices(shape).map(|index| index[*axis] as i64).collect())
        }
        Op::Var(_) | Op::Input(_) => unreachable!("taken from outside"),

        Op::Unary(function) => pointwise::unary(*function, x[0].values),
        Op::Binary(function) => pointwise::binary(*function, x[0].values, x[1].values),
        Op::Select => pointwise::select(x[0].values, x[1].values, x[2].values),
        Op::Cast(dtype) => x[0].values.cast(*dtype),

        Op::Reshape | Op::StopGradient | Op::Barrier(_) | Op::Rule(_) => x[0].values.clone(),
        Op::Permute(axes) => movement::permute(x[0], shape, axes),
        Op::Expand => movement::expand(x[0], shape),
        Op::Slice(ranges) => movement::slice(x[0], shape, ranges),
        Op::Pad { before, value, .. } => movement::pad(x[0], shape, before, *value),
        Op::Concat(axis) => movement::concat(x, shape, *axis),

        Op::Reduce(function, axes) => fold::reduce(*function, x[0], shape, axes),
        Op::ArgReduce(function, axis) => fold::arg_reduce(*function, x[0], *axis),
        Op::CumSum(axis) => fold::cumsum(x[0], *axis),
        Op::ArgSort { axis, descending } => fold::argsort(x[0], *axis, *descending),

        Op::Matmul => contract::matmul(x[0], x[1], shape),
        Op::Conv(spec) => contract::conv(spec, x[0], x[1], shape),
        Op::ConvGradInput(spec, _) => contract::conv_grad_input(spec, x[0], x[1], shape),
        Op::ConvGradWeight(spec, _) => contract::conv_grad_weight(spec, x[0], x[1], shape),

        Op::Attention(spec, value) => attention::attention(spec, *value, x),

        Op::WindowPick(spec) => window::pick(spec, x[0], x[1], shape),
        Op::WindowSpread(spec) => window::spread(spec, x[0], x[1], shape),
        Op::WindowSum(spec) => window::sum(spec, x[0], shape),
        Op::WindowSumGrad(spec, _) => window::sum_grad(spec, x[0], shape),

        Op::Gather(axis) => index::gather(x[0], x[1], *axis)?,
        Op::Scatter(axis, mode) => index::scatter(x[0], x[1], x[2], *axis, *mode)?,

        Op::Unpack(format) => index::unpack(x[0], *format, shape),

        Op::Scan(walk, result) => scan::scan(walk, *result, x)?,

        Op::Custom(custom) => {
            let data: Vec<Data> = x.iter().map(|x| x.values.to_data(x.node.dtype)).collect();
            let operands: Vec<(&Shape, &Data)> = x.iter().map(OperandValue::shape).zip(&data).collect();
            let result = custom.compute(&operands).map_err(|error| (error.kind, error.message))?;
            if result.dtype() != node.dtype || result.len() != shape.elements() {
                let (len, dtype) = (result.len(), result.dtype());
                let message = format!("gave {len} values of {dtype} for {}{shape}", node.dtype);
                return Err((ErrorKind::Value, message));
            }
            EvalValues::from_data(&result)
        }
    })
}
