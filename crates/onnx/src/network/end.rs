//! A network with another end than its file has: one of its outputs alone, what probabilities are made of, or other classes.

use std::collections::{HashMap, HashSet};

use kiln_nn::init::{Fan, Init};
use kiln_nn::random::Key;
use kiln_nn::{DType, Data, Param};

use super::order::names_taken;
use super::port::declared;
use super::{Network, Scope, Weight};
use crate::call::title;
use crate::element::OnnxDType;
use crate::error::{Error, Result};
use crate::proto::attribute_proto::AttributeType;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};
use crate::value::Value;

impl Network {
    /// Leaves out all outputs but these, and what only the others needed.
    ///
    /// # Errors
    /// Where no output has such a name.
    pub fn keep(&mut self, outputs: &[&str]) -> Result<()> {
        let graph = self.model.graph.get_or_insert_default();
        let there = |name: &str| graph.output.iter().any(|port| port.name() == name);
        if let Some(unknown) = outputs.iter().find(|name| !there(name)) {
            let names: Vec<&str> = graph.output.iter().map(|port| port.name()).collect();
            let names = names.join(", ");
            return Err(Error::network(format!("no output is called {unknown}; there are {names}")));
        }
        graph.output.retain(|port| outputs.contains(&port.name()));
        self.tidy();
        Ok(())
    }

    /// Takes a softmax over the last axis off the single output, so that it gives logits, as losses and kiln's own models have them.
    /// Says whether there was one.
    pub fn without_softmax(&mut self) -> bool {
        let graph = self.graph();
        let [port] = graph.output.as_slice() else { return false };
        let makers = makers(graph);
        let Some(node) = maker(&makers, port.name()) else { return false };
        let rank = declared(port).sizes.len() as i64;
        let version =
            Scope::new(&self.model.opset_import, &kiln_map::Budget::default()).version(node.domain());
        let axis = integer(node, "axis").unwrap_or(if version >= 13 { -1 } else { 1 });
        let fits = ["Softmax", "LogSoftmax"].contains(&node.op_type()) && (axis == -1 || axis == rank - 1);
        let logits = node.input.first().cloned();
        fits && self.end_at(logits, None)
    }

    /// Takes a sigmoid off a single output of one number, or of that and what it lacks to 1 beside each other, so that it gives the
    /// number. Says whether there was one.
    pub fn without_sigmoid(&mut self) -> bool {
        let graph = self.graph();
        let [port] = graph.output.as_slice() else { return false };
        let makers = makers(graph);
        let sigmoid = |name: &str| maker(&makers, name).filter(|node| node.op_type() == "Sigmoid");
        let width = declared(port).sizes.last().copied().flatten();
        let mut node = sigmoid(port.name()).filter(|_| width == Some(1));
        if let Some(both) = maker(&makers, port.name()).filter(|node| node.op_type() == "Concat")
            && let [rest, second] = both.input.as_slice()
            && let Some(rest) = maker(&makers, rest).filter(|node| node.op_type() == "Sub")
            && rest.input.get(1) == Some(second)
        {
            node = sigmoid(second);
        }
        let number = node.and_then(|node| node.input.first().cloned());
        self.end_at(number, Some(1))
    }

    /// Makes logits of a single output of probabilities that no softmax gives, as those of trees: their logarithms.
    pub fn with_logarithm(&mut self) {
        let graph = self.model.graph.get_or_insert_default();
        let Some(port) = graph.output.first_mut() else { return };
        let own = |part: &str| format!("{} {part}", port.name());
        let (least, above, log) = (own("least"), own("above 0"), own("logarithm"));
        let node =
            |kind: &str, inputs: Vec<String>, output: &String, attribute: Vec<AttributeProto>| NodeProto {
                op_type: Some(kind.to_string()),
                input: inputs,
                output: vec![output.clone()],
                attribute,
                ..NodeProto::default()
            };
        // What was never seen is as good as impossible, and no infinity.
        let value = AttributeProto {
            name: Some("value_float".to_string()),
            f: Some(1e-12),
            r#type: Some(AttributeType::Float as i32),
            ..AttributeProto::default()
        };
        let nodes = [
            node("Constant", Vec::new(), &least, vec![value]),
            node("Add", vec![port.name().to_string(), least.clone()], &above, Vec::new()),
            node("Log", vec![above.clone()], &log, Vec::new()),
        ];
        port.name = Some(log);
        if let Some((element, sizes)) = as_numbers(port) {
            port.r#type = Some(declared_type(element, &sizes));
        }
        graph.node.extend(nodes);
    }

    /// What a classifier of `ai.onnx.ml` calls its classes.
    pub fn class_labels(&self) -> Option<Vec<String>> {
        let nodes = self.graph().node.iter().rev().filter(|node| node.domain() == crate::export::ML);
        nodes.flat_map(|node| &node.attribute).find_map(|own| match own.name() {
            "classlabels_strings" if !own.strings.is_empty() => {
                let text = |text: &bytes::Bytes| String::from_utf8_lossy(text).into_owned();
                Some(own.strings.iter().map(text).collect())
            }
            "classlabels_int64s" | "classlabels_ints" if !own.ints.is_empty() => {
                Some(own.ints.iter().map(i64::to_string).collect())
            }
            _ => None,
        })
    }

    /// Makes another value the single output.
    fn end_at(&mut self, name: Option<String>, width: Option<usize>) -> bool {
        let graph = self.model.graph.get_or_insert_default();
        let (Some(port), Some(name)) = (graph.output.first_mut(), name) else { return false };
        port.name = Some(name);
        if let Some(width) = width {
            set_last_size(port, width);
        }
        self.tidy();
        true
    }

    /// Replaces the weights of the last matrix product by new ones for so many outputs; they start as a dense layer's. Says the names of
    /// what is new.
    ///
    /// # Errors
    /// Where the network doesn't end in a product with weights of its own.
    pub fn new_head(&mut self, outputs: usize, key: &Key) -> Result<Vec<String>> {
        let head = self.head()?;
        let inputs = head.inputs;
        let fan = Fan { inputs, outputs };
        let shape = if head.transposed { vec![outputs, inputs] } else { vec![inputs, outputs] };
        let mut names = vec![head.weight.clone()];
        self.replace(&head.weight, &shape, &Init::PYTORCH.fill(&shape[..], fan, &key.derive(0)))?;
        if let Some(bias) = head.bias {
            self.replace(&bias, &[outputs], &Init::PYTORCH.fill([outputs], fan, &key.derive(1)))?;
            names.push(bias);
        }
        let graph = self.model.graph.get_or_insert_default();
        // What the file says of shapes on the way is of the old head.
        graph.value_info.clear();
        graph.output.iter_mut().for_each(|port| set_last_size(port, outputs));
        Ok(names)
    }

    /// The product that gives the single output.
    fn head(&self) -> Result<OutputLayer> {
        let graph = self.graph();
        let makers = makers(graph);
        let nothing = || Error::network("the network has no single output that a node makes");
        let [port] = graph.output.as_slice() else { return Err(nothing()) };
        let last = maker(&makers, port.name()).ok_or_else(nothing)?;
        let refuse = || {
            Error::network(format!(
                "the network ends in {}, and only a Gemm or MatMul with weights of its own can be given another number of outputs",
                title(last)
            ))
        };
        // A weight that others use too can't change its shape.
        let uses = |name: &str| graph.node.iter().flat_map(names_taken).filter(|used| *used == name).count();
        let own = |name: Option<&String>| {
            let name = name?;
            let shape = match self.weights.get(name)? {
                Weight::Trained(param, _) => param.shape().sizes().to_vec(),
                Weight::Constant(Value::Numbers(numbers, element)) if element.is_float() => {
                    numbers.shape().sizes().to_vec()
                }
                _ => return None,
            };
            (uses(name) == 1).then(|| (name.clone(), shape))
        };
        let of = |product: &NodeProto, transposed: bool, bias: Option<String>| {
            let (weight, shape) = own(product.input.get(1)).ok_or_else(refuse)?;
            let &[first, second] = shape.as_slice() else { return Err(refuse()) };
            let inputs = if transposed { second } else { first };
            Ok(OutputLayer { weight, inputs, transposed, bias })
        };
        match last.op_type() {
            "Gemm" => {
                let bias = last.input.get(2).filter(|name| !name.is_empty());
                let own_bias = own(bias).map(|(name, _)| name);
                if bias.is_some() && own_bias.is_none() {
                    return Err(refuse());
                }
                of(last, integer(last, "transB") == Some(1), own_bias)
            }
            "MatMul" => of(last, false, None),
            "Add" => {
                let product =
                    |name: Option<&String>| maker(&makers, name?).filter(|node| node.op_type() == "MatMul");
                let (first, second) = (last.input.first(), last.input.get(1));
                let (product, bias) = match (product(first), product(second)) {
                    (Some(node), _) => (node, second),
                    (None, Some(node)) => (node, first),
                    (None, None) => return Err(refuse()),
                };
                let (bias, shape) = own(bias).ok_or_else(refuse)?;
                if shape.len() != 1 {
                    return Err(refuse());
                }
                of(product, false, Some(bias))
            }
            _ => Err(refuse()),
        }
    }

    /// Another weight under a name.
    fn replace(&mut self, name: &str, shape: &[usize], numbers: &kiln_nn::Tensor) -> Result<()> {
        let element = match self.weights.get(name) {
            Some(Weight::Trained(_, element) | Weight::Constant(Value::Numbers(_, element))) => *element,
            _ => OnnxDType::F32,
        };
        let numbers = numbers.cast(element.dtype().unwrap_or(DType::F32));
        let dims = shape.iter().map(|&size| size as i64).collect();
        let mut tensor = TensorProto {
            dims,
            data_type: Some(element.number()),
            name: Some(name.to_string()),
            ..TensorProto::default()
        };
        // As in a file: a single number is no weight that is trained.
        let weight = match shape.iter().product::<usize>() {
            1 => {
                let data = Data::filled(numbers.dtype(), 1, 0.0f32.into());
                tensor.raw_data = Some(data.to_le_bytes().into());
                Weight::Constant(Value::new(data, shape, element))
            }
            _ => Weight::Trained(Param::new(&numbers), element),
        };
        self.weights.insert(name.to_string(), weight);
        match self.declared.iter_mut().find(|declared| declared.name() == name) {
            Some(declared) => *declared = tensor,
            None => self.declared.push(tensor),
        }
        Ok(())
    }

    /// Dead-node elimination: drops the nodes, weights and inputs that no output needs.
    pub(super) fn tidy(&mut self) {
        let graph = self.model.graph.get_or_insert_default();
        let mut needed: HashSet<String> = graph.output.iter().map(|port| port.name().to_string()).collect();
        let mut kept = Vec::with_capacity(graph.node.len());
        // Nodes are in topological order.
        for node in std::mem::take(&mut graph.node).into_iter().rev() {
            if node.output.iter().any(|output| needed.contains(output)) {
                needed.extend(names_taken(&node).cloned());
                kept.push(node);
            }
        }
        kept.reverse();
        graph.node = kept;
        graph.input.retain(|port| needed.contains(port.name()));
        self.weights.retain(|name, _| needed.contains(name));
        self.declared.retain(|tensor| needed.contains(tensor.name()));
    }
}

/// The last product of a network.
struct OutputLayer {
    weight: String,
    inputs: usize,
    /// Whether its weight is stored `[outputs, inputs]`.
    transposed: bool,
    bias: Option<String>,
}

/// The node that makes each value.
fn makers(graph: &GraphProto) -> HashMap<&str, &NodeProto> {
    graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect()
}

/// The node that makes a value, behind those that only pass it on.
fn maker<'a>(makers: &HashMap<&'a str, &'a NodeProto>, name: &str) -> Option<&'a NodeProto> {
    let mut node = *makers.get(name)?;
    while ["Identity", "Dropout"].contains(&node.op_type()) {
        node = *makers.get(node.input.first()?.as_str())?;
    }
    Some(node)
}

fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|attribute| attribute.name() == name).and_then(|attribute| attribute.i)
}

/// A port that holds maps from classes to numbers, as the numbers it holds here.
fn as_numbers(port: &ValueInfoProto) -> Option<(OnnxDType, Vec<Option<usize>>)> {
    let is_tensor = matches!(port.r#type.as_ref()?.value.as_ref()?, type_proto::Value::TensorType(_));
    let port = declared(port);
    if is_tensor { None } else { Some((port.element?, port.sizes)) }
}

fn declared_type(element: OnnxDType, sizes: &[Option<usize>]) -> TypeProto {
    let dim = |size: &Option<usize>| Dimension {
        value: size.map(|size| dimension::Value::DimValue(size as i64)),
        ..Dimension::default()
    };
    let shape = TensorShapeProto { dim: sizes.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(element.number()), shape: Some(shape) };
    TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }
}

fn set_last_size(port: &mut crate::proto::ValueInfoProto, size: usize) {
    let kind = port.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = kind
        && let Some(last) = tensor.shape.as_mut().and_then(|shape| shape.dim.last_mut())
    {
        last.value = Some(dimension::Value::DimValue(size as i64));
    }
}
