//! What flows between the nodes of a network: numbers of one of ONNX's types, texts, or a list of such.

use std::sync::Arc;

use kiln_ir::node::topological;
use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Data, Expr, Op};
use kiln_nn::Tensor;

use crate::element::Element;

/// More numbers than this aren't computed beforehand.
const MOST_KNOWN: usize = 1 << 27;

/// A value of a network.
#[derive(Clone, Debug)]
pub enum Value {
    /// Numbers, held in the type of kiln's that [`Element::dtype`] says.
    Numbers(Tensor, Element),
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
    pub fn new(data: Data, shape: &[usize], element: Element) -> Value {
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
        let element = Element::from_dtype(tensor.dtype());
        Value::Numbers(tensor, element)
    }

    /// The result of arithmetic on a type, brought back to its range.
    pub fn wrapped(tensor: Tensor, element: Element) -> Value {
        let Some((lowest, bits)) = element.narrow() else { return Value::Numbers(tensor, element) };
        let mask = Tensor::full([], (1i64 << bits) - 1).cast(tensor.dtype());
        let lowest = Tensor::full([], lowest).cast(tensor.dtype());
        let inside = |x: &Tensor| Tensor::from(x.expr().binary(BinaryOp::And, mask.expr()));
        Value::Numbers(inside(&(tensor - &lowest)) + lowest, element)
    }

    /// The element type.
    pub fn element(&self) -> Element {
        match self {
            Value::Numbers(_, element) => *element,
            Value::Texts(..) | Value::Later(_) | Value::Nothing => Element::Text,
            Value::List(values) => values.first().map_or(Element::F32, Value::element),
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

    /// The numbers, where they can be known now: nothing of what is put into the network is in them.
    pub fn constant(&self) -> Option<Data> {
        let Value::Numbers(tensor, _) = self else { return None };
        if tensor.elements() > MOST_KNOWN {
            return None;
        }
        is_known(tensor.expr()).then(|| tensor.to_data().ok()).flatten()
    }
}

/// Whether nothing that a step is given is in a value.
pub fn is_known(expr: &Expr) -> bool {
    let Ok(node) = expr.node() else { return false };
    matches!(node.op, Op::Const(_) | Op::Fill(_))
        || topological(std::slice::from_ref(node)).iter().all(|node| !matches!(node.op, Op::Input(_)))
}

/// Whole numbers, as most operators want them.
pub fn whole(data: &Data) -> Vec<i64> {
    match data.cast(DType::I64) {
        Data::I64(numbers) => numbers,
        _ => Vec::new(),
    }
}
