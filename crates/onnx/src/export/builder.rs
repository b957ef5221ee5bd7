//! A graph of ONNX that is being written: nodes, constants and names.

use std::collections::{BTreeMap, HashMap, HashSet};

use kiln_ir::{DType, Data};

use crate::element::OnnxDType;
use crate::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
};

/// An attribute of a node.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

/// The size of an axis of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    /// Known.
    Fixed(usize),
    /// Free, under this name.
    Named(String),
    /// Free.
    Free,
}

/// A graph that is being written.
#[derive(Debug)]
pub struct Builder {
    opset: i64,
    graph: GraphProto,
    names: HashSet<String>,
    constants: HashMap<(Vec<i64>, String), String>,
    /// Other operator sets than the standard one, with their versions.
    pub(crate) domains: BTreeMap<String, i64>,
    /// The layer whose nodes are being written: the start of their names.
    pub(crate) layer: String,
    half: bool,
}

/// The domain of operators for tables.
pub const ML: &str = "ai.onnx.ml";

impl Builder {
    /// An empty graph for a version of the operators. With `half`, weights are stored as `f16` and computed with as `f32`.
    pub fn new(name: &str, opset: i64, half: bool) -> Builder {
        Builder {
            opset,
            graph: GraphProto { name: Some(name.to_string()), ..GraphProto::default() },
            names: HashSet::new(),
            constants: HashMap::new(),
            domains: BTreeMap::new(),
            layer: String::new(),
            half,
        }
    }

    /// The version of the operators.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// A name that nothing has yet, as near to this one as can be.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }

    /// An input of the graph.
    pub fn input(&mut self, name: &str, element: OnnxDType, sizes: &[Size]) -> String {
        let name = self.fresh(name);
        self.graph.input.push(value_info(&name, element, sizes));
        name
    }

    /// Says that a value is an output of the graph, under this name.
    pub fn output(&mut self, value: &str, name: &str, element: OnnxDType, sizes: &[Size]) {
        let taken = self.graph.input.iter().any(|input| input.name() == value)
            || self.graph.initializer.iter().any(|tensor| tensor.name() == value)
            || self.graph.output.iter().any(|output| output.name() == value);
        let name = self.fresh(name);
        if taken {
            let layer = std::mem::take(&mut self.layer);
            self.push("Identity", "", &[value], Vec::new(), vec![name.clone()]);
            self.layer = layer;
        } else {
            // The value takes the output's name wherever it stands.
            for node in &mut self.graph.node {
                for other in node.output.iter_mut().chain(&mut node.input).filter(|other| *other == value) {
                    other.clone_from(&name);
                }
            }
        }
        self.graph.output.push(value_info(&name, element, sizes));
    }

    /// Says what a value is, for readers that can't tell by its operator.
    pub fn describe(&mut self, value: &str, element: OnnxDType, sizes: &[Size]) {
        self.graph.value_info.push(value_info(value, element, sizes));
    }

    /// A node with one output, whose name is given back.
    pub fn node(&mut self, operator: &str, inputs: &[&str], attributes: Vec<(&str, Attribute)>) -> String {
        self.node_of("", operator, inputs, attributes, 1).remove(0)
    }

    /// A node of any domain with any number of outputs.
    pub fn node_of(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
        outputs: usize,
    ) -> Vec<String> {
        let start = if self.layer.is_empty() { String::new() } else { format!("{}/", self.layer) };
        let outputs: Vec<String> = (0..outputs).map(|_| self.fresh(&format!("{start}{operator}"))).collect();
        self.push(operator, domain, inputs, attributes, outputs.clone());
        outputs
    }

    fn push(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
        outputs: Vec<String>,
    ) {
        if domain == ML {
            self.domains.insert(ML.to_string(), 3);
        }
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            name: outputs.first().cloned(),
            output: outputs,
            op_type: Some(operator.to_string()),
            domain: (!domain.is_empty()).then(|| domain.to_string()),
            attribute: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
            ..NodeProto::default()
        });
    }

    /// A constant that is a weight: with a name of its own, and as `f16` where that is asked for.
    pub fn weight(&mut self, name: &str, shape: &[usize], data: &Data) -> String {
        let halved = self.half && data.dtype() == DType::F32 && data.len() > 1;
        if !halved {
            return self.constant(name, shape, data);
        }
        let stored = self.constant(name, shape, &data.cast(DType::F16));
        self.node("Cast", &[&stored], vec![("to", Attribute::Int(OnnxDType::F32.number().into()))])
    }

    /// A constant with a name.
    pub fn constant(&mut self, name: &str, shape: &[usize], data: &Data) -> String {
        let name = self.fresh(name);
        self.graph.initializer.push(tensor(&name, shape, data));
        name
    }

    /// A vector of whole numbers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.cached(values.to_vec(), &[values.len()], &Data::I64(values.to_vec()))
    }

    /// One number without axes.
    pub fn scalar(&mut self, data: &Data) -> String {
        let bits = data.to_le_bytes().into_iter().map(i64::from).collect();
        self.cached(bits, &[], data)
    }

    /// A small constant, which is written once however often it is asked for.
    fn cached(&mut self, key: Vec<i64>, shape: &[usize], data: &Data) -> String {
        let key = (key, format!("{}{shape:?}", data.dtype()));
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.constant("constant", shape, data);
        self.constants.insert(key, name.clone());
        name
    }

    pub(crate) fn finish(self) -> GraphProto {
        self.graph
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut attribute = AttributeProto { name: Some(name.to_string()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(value) => {
            attribute.i = Some(value);
            AttributeType::Int
        }
        Attribute::Float(value) => {
            attribute.f = Some(value);
            AttributeType::Float
        }
        Attribute::Text(value) => {
            attribute.s = Some(value.into_bytes().into());
            AttributeType::String
        }
        Attribute::Ints(values) => {
            attribute.ints = values;
            AttributeType::Ints
        }
        Attribute::Floats(values) => {
            attribute.floats = values;
            AttributeType::Floats
        }
        Attribute::Texts(values) => {
            attribute.strings = values.into_iter().map(|value| value.into_bytes().into()).collect();
            AttributeType::Strings
        }
    };
    attribute.r#type = Some(kind as i32);
    attribute
}

/// Numbers as a tensor of ONNX.
pub fn tensor(name: &str, shape: &[usize], data: &Data) -> TensorProto {
    TensorProto {
        name: Some(name.to_string()),
        dims: shape.iter().map(|&size| size as i64).collect(),
        data_type: Some(OnnxDType::from_dtype(data.dtype()).number()),
        raw_data: Some(data.to_le_bytes().into()),
        ..TensorProto::default()
    }
}

fn value_info(name: &str, element: OnnxDType, sizes: &[Size]) -> ValueInfoProto {
    let dim = |size: &Size| Dimension {
        value: match size {
            Size::Fixed(size) => Some(dimension::Value::DimValue(*size as i64)),
            Size::Named(name) => Some(dimension::Value::DimParam(name.clone())),
            Size::Free => None,
        },
        ..Dimension::default()
    };
    let shape = TensorShapeProto { dim: sizes.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(element.number()), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_string()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
