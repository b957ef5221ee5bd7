//! What flows between the nodes of a network: numbers of one of ONNX's types, texts, or a list of such.

use std::collections::HashSet;
use std::sync::Arc;

use kiln_ir::node::topological;
use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Data, Expr, Op, Shape};
use kiln_map::{Budget, Exceeded};
use kiln_nn::Tensor;

use crate::element::OnnxDType;

/// The steps that it takes to make a program of a node and to run it.
const NODE: u64 = 10_000;

/// What takes no more steps is computed wherever it is asked for, also twice.
const LITTLE: u64 = 2_000_000;

/// A value of a network.
#[derive(Clone, Debug)]
pub enum Value {
    /// Numbers, held in the type of kiln's that [`OnnxDType::dtype`] says.
    Numbers(Tensor, OnnxDType),
    /// Texts, row-major.
    Texts(Arc<Vec<String>>, Vec<usize>),
    /// A sequence, whose length is always known.
    List(Arc<Vec<Value>>),
    /// Texts that follow from numbers which are known only when it runs, with what to say to whoever asks for them.
    Later(Arc<str>),
    /// Nothing: an output that wasn't asked for, or an optional input that isn't there.
    Nothing,
}

impl Value {
    /// Numbers from the host, in the type that holds `element`.
    pub fn new(data: Data, shape: &[usize], element: OnnxDType) -> Value {
        // A number alone is written into the program, where kernels can do without reading it.
        let tensor = match data.get(0) {
            Some(number) if data.len() == 1 && shape.iter().all(|&size| size == 1) => {
                Expr::full(shape, number, data.dtype()).into()
            }
            _ => Tensor::from_data(data, shape),
        };
        Value::Numbers(tensor, element)
    }

    /// Texts.
    pub fn texts(texts: Vec<String>, shape: &[usize]) -> Value {
        Value::Texts(Arc::new(texts), shape.to_vec())
    }

    /// A tensor of kiln's.
    pub fn of(tensor: Tensor) -> Value {
        let element = OnnxDType::from_dtype(tensor.dtype());
        Value::Numbers(tensor, element)
    }

    /// The result of arithmetic on a type, brought back to its range.
    pub fn wrapped(tensor: Tensor, element: OnnxDType) -> Value {
        let Some((lowest, bits)) = element.narrow() else { return Value::Numbers(tensor, element) };
        let mask = Tensor::full([], (1i64 << bits) - 1).cast(tensor.dtype());
        let lowest = Tensor::full([], lowest).cast(tensor.dtype());
        let inside = |x: &Tensor| Tensor::from(x.expr().binary(BinaryOp::And, mask.expr()));
        Value::Numbers(inside(&(tensor - &lowest)) + lowest, element)
    }

    /// The element type.
    pub fn element(&self) -> OnnxDType {
        match self {
            Value::Numbers(_, element) => *element,
            Value::Texts(..) | Value::Later(_) | Value::Nothing => OnnxDType::Text,
            Value::List(values) => values.first().map_or(OnnxDType::F32, Value::element),
        }
    }

    /// The sizes of the axes.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Value::Numbers(tensor, _) => tensor.shape().to_vec(),
            Value::Texts(_, shape) => shape.clone(),
            Value::List(_) | Value::Later(_) | Value::Nothing => Vec::new(),
        }
    }

    /// Whether these are its texts, and no copy of them.
    pub fn shares(&self, texts: &Arc<Vec<String>>) -> bool {
        matches!(self, Value::Texts(own, _) if Arc::ptr_eq(own, texts))
    }

    /// The numbers, where they can be known now: nothing of what is put into the network is in them.
    pub fn constant(&self) -> Option<Data> {
        self.known(&Budget::default()).ok().flatten()
    }

    /// Whether much has to be computed before its numbers are known.
    pub(crate) fn is_pending(&self) -> bool {
        let Value::Numbers(tensor, _) = self else { return false };
        let held = |node: &kiln_ir::Node| matches!(node.op, Op::Const(_));
        !tensor.expr().node().is_ok_and(|node| held(node))
            && cost(tensor.expr()).is_some_and(|cost| cost.steps > LITTLE)
    }

    /// The same, for as much as is left.
    ///
    /// # Errors
    /// Where they could be known, but it takes more.
    pub fn known(&self, budget: &Budget) -> Result<Option<Data>, Exceeded> {
        let Value::Numbers(tensor, _) = self else { return Ok(None) };
        let Some(Cost { steps, bytes }) = cost(tensor.expr()) else { return Ok(None) };
        budget.steps(steps)?;
        // It is held while it is computed, and little of it afterwards.
        budget.bytes(bytes)?;
        let data = tensor.to_data().ok();
        budget.free(bytes);
        Ok(data)
    }
}

/// What it takes to compute a value.
struct Cost {
    steps: u64,
    bytes: u64,
}

/// The cost of a value, if nothing that a step is given is in it.
fn cost(expr: &Expr) -> Option<Cost> {
    let node = expr.node().ok()?;
    let mut all = Cost { steps: 0, bytes: 0 };
    for node in topological(std::slice::from_ref(node)) {
        let elements = |shape: &Shape| shape.elements() as u64;
        let read = node.inputs.iter().map(|input| elements(&input.shape)).fold(0, u64::saturating_add);
        let own = elements(&node.shape);
        let operands: Vec<&Shape> = node.inputs.iter().map(|input| &input.shape).collect();
        let work = work(&node.op, &node.shape, &operands);
        let steps = work.saturating_add(read).saturating_add(NODE);
        all.steps = all.steps.saturating_add(steps);
        // Constants are there already.
        if !matches!(node.op, Op::Const(_)) {
            all.bytes = all.bytes.saturating_add(own.saturating_mul(node.dtype.size() as u64));
        }
    }
    Some(all)
}

/// How many terms are added up for a result of this shape.
fn work(op: &Op, shape: &Shape, operands: &[&Shape]) -> u64 {
    let Op::Scan(scan, _) = op else {
        return (shape.elements() as u64).saturating_mul(terms(op, operands));
    };
    let nodes = &scan.body.nodes;
    let each = nodes.iter().map(|node| {
        let operands: Vec<&Shape> = node.inputs.iter().map(|&input| &nodes[input].shape).collect();
        work(&node.op, &node.shape, &operands)
    });
    each.fold(0, u64::saturating_add).saturating_mul(scan.steps as u64)
}

/// How many terms are added up for each element of a result.
fn terms(op: &Op, operands: &[&Shape]) -> u64 {
    // What an operand has for each index of one of its axes.
    let each = |operand: usize, axis: usize| {
        let shape = operands.get(operand);
        shape.map_or(1, |shape| shape.elements() / shape.get(axis).map_or(1, |&size| size.max(1))) as u64
    };
    if let Op::Matmul = op {
        operands.first().and_then(|a| a.last().copied()).unwrap_or(1) as u64
    } else if let Op::Conv(_) = op {
        each(1, 0)
    } else if let Op::ConvGradInput(..) | Op::ConvGradWeight(..) = op {
        each(1, 1)
    } else if let Op::WindowPick(spec)
    | Op::WindowSpread(spec)
    | Op::WindowSum(spec)
    | Op::WindowSumGrad(spec, _) = op
    {
        spec.window.iter().map(|&size| size as u64).fold(1, u64::saturating_mul)
    } else {
        1
    }
}

/// How many nodes values are made of that were built since one got this number.
pub fn built(values: &[Value], since: u64) -> u64 {
    let mut lists: Vec<&[Value]> = vec![values];
    let (mut seen, mut waiting) = (HashSet::new(), Vec::new());
    while let Some(values) = lists.pop() {
        for value in values {
            match value {
                Value::Numbers(tensor, _) => waiting.extend(tensor.expr().node().ok()),
                Value::List(values) => lists.push(values),
                Value::Texts(..) | Value::Later(_) | Value::Nothing => {}
            }
        }
    }
    while let Some(node) = waiting.pop() {
        if node.id >= since && seen.insert(node.id) {
            waiting.extend(&node.inputs);
        }
    }
    seen.len() as u64
}

/// Whole numbers, as most operators want them.
pub fn whole(data: &Data) -> Vec<i64> {
    match data.cast(DType::I64) {
        Data::I64(numbers) => numbers,
        _ => Vec::new(),
    }
}
