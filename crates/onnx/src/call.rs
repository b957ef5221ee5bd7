//! One node at work: its attributes, its inputs, and how it says what is wrong.

use kiln_ir::{DType, Data};
use kiln_map::{Budget, Exceeded, Resource};
use kiln_nn::{Context, Tensor};

use crate::element::OnnxDType;
use crate::error::{Error, Result};
use crate::proto::{AttributeProto, GraphProto, NodeProto};
use crate::read::{self, Origin};
use crate::settle::{Demand, settled};
use crate::value::{Value, whole};

/// A node with the values that come in.
pub struct Call<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) inputs: Vec<Value>,
    /// The version of the node's operator set.
    pub(crate) version: i64,
    pub(crate) context: &'a Context,
    pub(crate) origin: Origin<'a>,
    pub(crate) run_subgraph: &'a RunSubgraph<'a>,
    pub(crate) host: Option<&'a Demand>,
}

/// Runs a subgraph of a node on inputs.
pub type RunSubgraph<'a> = dyn Fn(&GraphProto, Vec<Value>) -> Result<Vec<Value>> + 'a;

/// The most axes of anything whose sizes a file's numbers say.
const MOST_AXES: usize = 64;

/// What an operator computes.
pub type Operator = fn(&Call) -> Result<Vec<Value>>;

impl Call<'_> {
    /// A fault in this node.
    pub fn fault(&self, what: impl std::fmt::Display) -> Error {
        Error::network(format!("{}: {what}", title(self.node)))
    }

    /// What this operator can do, but not here.
    pub fn unknown(&self, what: impl std::fmt::Display) -> Error {
        Error::Unsupported(format!("{}: {what}", title(self.node)))
    }

    /// More than the file may have.
    pub fn limit(&self, exceeded: Exceeded) -> Error {
        Error::limit(title(self.node))(exceeded)
    }

    /// What the file may still ask for.
    pub fn budget(&self) -> &Budget {
        self.origin.budget
    }

    // Inputs.

    /// How many inputs there are, named or not.
    pub fn count(&self) -> usize {
        self.inputs.len()
    }

    /// Whether an input is there.
    pub fn has(&self, position: usize) -> bool {
        !matches!(self.inputs.get(position), None | Some(Value::Nothing))
    }

    /// An input that must be there.
    pub fn value(&self, position: usize) -> Result<&Value> {
        match self.inputs.get(position) {
            Some(value) if !matches!(value, Value::Nothing) => Ok(value),
            _ => Err(self.fault(format!("input {position} is missing"))),
        }
    }

    /// An input's numbers.
    pub fn tensor(&self, position: usize) -> Result<Tensor> {
        match self.value(position)? {
            Value::Numbers(tensor, _) => Ok(tensor.clone()),
            Value::Later(why) => Err(self.fault(why)),
            Value::List(_) => {
                Err(self.fault(format!("input {position} is a sequence, and a tensor is needed")))
            }
            _ => Err(self.fault(format!("input {position} holds texts, and numbers are needed"))),
        }
    }

    /// An input's numbers, if it is there.
    pub fn optional(&self, position: usize) -> Result<Option<Tensor>> {
        if self.has(position) { self.tensor(position).map(Some) } else { Ok(None) }
    }

    /// The type of an input's elements.
    pub fn element(&self, position: usize) -> Result<OnnxDType> {
        Ok(self.value(position)?.element())
    }

    /// The numbers of an input that has to be known before anything is computed, because shapes follow from it.
    pub fn known(&self, position: usize) -> Result<Data> {
        self.needed(self.value(position)?)?.ok_or_else(|| {
            let name = self.node.input.get(position).map_or("", String::as_str);
            self.fault(format!(
                "shapes follow from the numbers of {name}, which are known only when it runs: such a network predicts, part by part, and \
                 isn't trained; fix these numbers in the file"
            ))
        })
    }

    /// The numbers of a value without which there is no going on, where they can be known. Where parts of a network run one by one, the
    /// part that it ends is computed first.
    pub fn needed(&self, value: &Value) -> Result<Option<Data>> {
        if let Some(host) = self.host
            && value.is_pending()
        {
            host.ask();
            return Err(self.fault("its numbers aren't computed yet"));
        }
        self.numbers(value)
    }

    /// The numbers of a value, where they can be known now and cheaply.
    pub fn now(&self, value: &Value) -> Result<Option<Data>> {
        match self.host.is_some() && value.is_pending() {
            true => Ok(None),
            false => self.numbers(value),
        }
    }

    /// Values that are carried on, computed where parts of a network run one by one.
    pub fn settled(&self, values: Vec<Value>) -> Result<Vec<Value>> {
        match self.host {
            Some(_) => settled(values, self.budget(), &title(self.node)),
            None => Ok(values),
        }
    }

    fn numbers(&self, value: &Value) -> Result<Option<Data>> {
        value.known(self.budget()).map_err(|exceeded| self.limit(exceeded))
    }

    /// The same as whole numbers.
    pub fn known_ints(&self, position: usize) -> Result<Vec<i64>> {
        Ok(whole(&self.known(position)?))
    }

    /// The same, if the input is there.
    pub fn optional_ints(&self, position: usize) -> Result<Option<Vec<i64>>> {
        if self.has(position) { self.known_ints(position).map(Some) } else { Ok(None) }
    }

    /// An input of one number that has to be known beforehand.
    pub fn known_number(&self, position: usize) -> Result<f64> {
        let data = self.known(position)?;
        data.get(0)
            .map(|number| number.as_f64())
            .ok_or_else(|| self.fault(format!("input {position} is empty")))
    }

    // Attributes.

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// Whether something is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// A whole number, or what it is unless set.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    /// A number, or what it is unless set.
    pub fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default))
    }

    /// A word, or what it is unless set.
    pub fn text(&self, name: &str, default: &str) -> String {
        let text = self.attribute(name).and_then(|attribute| attribute.s.as_ref());
        text.map_or_else(|| default.to_string(), |text| String::from_utf8_lossy(text).into_owned())
    }

    /// Whole numbers, if they are set.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|attribute| attribute.ints.clone())
    }

    /// Numbers, if they are set.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.attribute(name).map(|attribute| attribute.floats.clone())
    }

    /// Words, if they are set.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let text = |text: &bytes::Bytes| String::from_utf8_lossy(text).into_owned();
        self.attribute(name).map(|attribute| attribute.strings.iter().map(text).collect())
    }

    /// A tensor, if it is set.
    pub fn constant(&self, name: &str) -> Result<Option<Value>> {
        let tensor = self.attribute(name).and_then(|attribute| attribute.t.as_ref());
        tensor.map(|tensor| read::tensor(tensor, self.origin)).transpose()
    }

    /// A subgraph of the node.
    pub fn graph(&self, name: &str) -> Result<&GraphProto> {
        let graph = self.attribute(name).and_then(|attribute| attribute.g.as_ref());
        graph.ok_or_else(|| self.fault(format!("{name} isn't set")))
    }

    /// What a subgraph of the node gives for these inputs.
    pub fn run(&self, graph: &GraphProto, inputs: Vec<Value>) -> Result<Vec<Value>> {
        (self.run_subgraph)(graph, inputs)
    }

    /// An element type by its number.
    pub fn element_of(&self, number: i64) -> Result<OnnxDType> {
        let element = i32::try_from(number).ok().and_then(OnnxDType::of);
        element.ok_or_else(|| self.unknown(format!("elements of ONNX's type {number} aren't known here")))
    }

    // Axes.

    /// An axis of so many, counted from the end where it is negative.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let place = if axis < 0 { axis + rank as i64 } else { axis };
        match usize::try_from(place) {
            Ok(place) if place < rank => Ok(place),
            _ => Err(self.fault(format!("there is no axis {axis} among {rank}"))),
        }
    }

    /// Several axes.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        axes.iter().map(|&axis| self.axis(axis, rank)).collect()
    }

    /// Axes that are an attribute in older versions, and an input in newer ones.
    pub fn axes_input(&self, position: usize) -> Result<Option<Vec<i64>>> {
        match self.ints("axes") {
            Some(axes) => Ok(Some(axes)),
            None => self.optional_ints(position),
        }
    }

    // Sizes.

    /// Sizes that a file's numbers say, if there is room for something of them.
    pub fn sizes(&self, sizes: &[i64]) -> Result<Vec<usize>> {
        let size = |size: &i64| usize::try_from(*size).map_err(|_| self.fault(format!("a size of {size}")));
        let sizes = sizes.iter().map(size).collect::<Result<Vec<_>>>()?;
        self.room(&sizes)?;
        Ok(sizes)
    }

    /// Refuses what has more elements than there may be bytes. Nothing is taken: a value is there when it is computed.
    pub fn room(&self, sizes: &[usize]) -> Result<()> {
        self.room_of(sizes, 1)
    }

    /// The same of elements of so many bytes.
    pub fn room_of(&self, sizes: &[usize], bytes: usize) -> Result<()> {
        if sizes.len() > MOST_AXES {
            return Err(
                self.fault(format!("a result of {} axes; at most {MOST_AXES} are known", sizes.len()))
            );
        }
        // An empty axis beside a huge one must not overflow later.
        let size = sizes.iter().try_fold(bytes, |count, &size| count.checked_mul(size.max(1)));
        let (size, limit) = (size.map_or(u64::MAX, |size| size as u64), self.budget().limits().bytes);
        match size <= limit {
            true => Ok(()),
            false => Err(self.limit(Exceeded::Limit { resource: Resource::Bytes, limit })),
        }
    }

    /// Takes the memory of a list of so many indices, weights or terms that is made here, and the work to make it.
    pub fn listed(&self, count: usize) -> Result<()> {
        let count = count as u64;
        let taken = self.budget().bytes(count.saturating_mul(16));
        taken
            .and_then(|_| self.budget().steps(count.saturating_mul(16)))
            .map_err(|exceeded| self.limit(exceeded))
    }

    /// Takes the memory of texts that are made here.
    pub fn spelled<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<()> {
        let bytes = texts.map(|text| (text.len() + size_of::<String>()) as u64).fold(0, u64::saturating_add);
        self.budget().bytes(bytes).map_err(|exceeded| self.limit(exceeded))
    }

    /// Takes the work of something that is done for each of so many of so many.
    pub fn worked(&self, counts: &[usize]) -> Result<()> {
        let steps = counts.iter().fold(1u64, |steps, &count| steps.saturating_mul(count as u64));
        self.budget().steps(steps).map_err(|exceeded| self.limit(exceeded))
    }

    /// A list of so many of a number.
    pub fn filled<T: Clone>(&self, value: T, count: usize) -> Result<Vec<T>> {
        self.budget().filled(value, count).map_err(|exceeded| self.limit(exceeded))
    }

    /// Takes so many nodes that are made here for one of the file's.
    pub fn unrolled(&self, count: usize) -> Result<()> {
        self.budget().nodes(count as u64).map_err(|exceeded| self.limit(exceeded))
    }

    // Results.

    /// A tensor that no mistake is in: one with a mistake has no axes to look at.
    pub fn sound(&self, tensor: Tensor) -> Result<Tensor> {
        match tensor.error() {
            None => Ok(tensor),
            Some(error) => Err(self.fault(error)),
        }
    }

    /// A tensor of the type of an input, brought back to its range.
    pub fn like(&self, position: usize, tensor: Tensor) -> Result<Vec<Value>> {
        Ok(vec![Value::wrapped(tensor, self.element(position)?)])
    }
}

/// A tensor as the result of a node, of the type that it is held in.
pub fn one(tensor: Tensor) -> Result<Vec<Value>> {
    Ok(vec![Value::of(tensor)])
}

/// Whole numbers as a vector.
pub fn vector(numbers: Vec<i64>) -> Value {
    let count = numbers.len();
    Value::new(Data::I64(numbers), &[count], OnnxDType::I64)
}

/// A tensor in a type that is computed with in floats.
pub fn wide(x: &Tensor) -> Tensor {
    if matches!(x.dtype(), DType::F16 | DType::Bf16) { x.cast(DType::F32) } else { x.clone() }
}

/// What a node is called in messages.
pub fn title(node: &NodeProto) -> String {
    let name = match (node.name(), node.output.first()) {
        ("", Some(output)) => output,
        (name, _) => name,
    };
    format!("{} ({name})", node.op_type())
}
