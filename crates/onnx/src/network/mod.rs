//! A network from a file: a module whose weights are parameters, computed node by node with kiln's tensors.

mod batch;
mod end;
mod order;
mod parts;
mod port;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::Bytes;
use kiln_ir::node::next_id;
use kiln_map::{Budget, ExternalFiles};
use kiln_nn::{Context, DType, Data, Layer, Module, Param, Tensor, Variable, Visitor};

use self::order::{inputs_of, sort};
pub use self::port::Port;
use self::port::declared;
use crate::call::{Call, title};
use crate::element::OnnxDType;
use crate::error::{Error, Result};
use crate::operators;
use crate::proto::{
    FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, type_proto,
};
use crate::read::{self, Origin};
use crate::settle::Demand;
use crate::value::{Value, built};

/// A network of a file.
///
/// Its floating weights are parameters, by their names in the file, and train like any layer's. The statistics of norms over a batch
/// are states, and stay as they are. What shapes follow from is a constant.
#[derive(Clone)]
pub struct Network {
    model: ModelProto,
    beside: ExternalFiles,
    weights: BTreeMap<String, Weight>,
    /// What the file said of weights, in its order; the numbers of those that are trained are elsewhere.
    declared: Vec<TensorProto>,
    functions: HashMap<(String, String), FunctionProto>,
}

#[derive(Clone)]
enum Weight {
    Trained(Param, OnnxDType),
    State(Variable, OnnxDType),
    Constant(Value),
}

/// The values in scope where a node stands: of its own graph, and of those around it.
struct Scope<'a> {
    own: HashMap<&'a str, Value>,
    around: Option<&'a Scope<'a>>,
    /// The versions of the operators here.
    versions: &'a [OperatorSetIdProto],
    /// What is left for the whole of it.
    budget: &'a Budget,
    depth: usize,
    /// Where nodes may ask for numbers, as parts run one by one.
    host: Option<&'a Demand>,
}

impl<'a> Scope<'a> {
    fn new(versions: &'a [OperatorSetIdProto], budget: &'a Budget) -> Scope<'a> {
        Scope { own: HashMap::new(), around: None, versions, budget, depth: 0, host: None }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let around = || self.around.and_then(|scope| scope.find(name));
        self.own.get(name).or_else(around)
    }

    /// The version of an operator set.
    fn version(&self, domain: &str) -> i64 {
        let plain = |name: &'a str| if name == "ai.onnx" { "" } else { name };
        let domain = if domain == "ai.onnx" { "" } else { domain };
        self.versions.iter().find(|set| plain(set.domain()) == domain).map_or(1, |set| set.version())
    }
}

/// Weights that stand apart from a network's structure, by name: shape and numbers.
pub type WeightSource<'a> = dyn Fn(&str) -> Option<(Vec<usize>, Data)> + 'a;

/// Functions may call functions; a file that goes deeper is no model.
const DEEPEST: usize = 32;

/// Reads a network from a file.
///
/// # Errors
/// Where there is none, it is damaged, or it has operators that aren't known here: all of them at once, with counts.
pub fn load(path: impl AsRef<Path>) -> Result<Network> {
    let path = path.as_ref();
    let budget = Budget::default();
    let model = read::model(path, &budget)?;
    let beside = ExternalFiles::file(path).map_err(Error::file(path))?;
    Network::new(model, beside, &budget, &|_| None)
}

/// Reads a network from the bytes of a file that has no others beside it.
///
/// # Errors
/// As [`load`].
pub fn parse(bytes: impl Into<Bytes>) -> Result<Network> {
    let budget = Budget::default();
    let model = read::message(Path::new("the bytes"), bytes.into(), &budget)?;
    Network::new(model, ExternalFiles::nothing(), &budget, &|_| None)
}

impl Network {
    /// A network whose structure [`Network::structure`] gave, with the weights that stood apart from it.
    ///
    /// # Errors
    /// As [`load`], and where a weight is missing or of another shape.
    pub fn from_structure(bytes: impl Into<Bytes>, weights: &WeightSource) -> Result<Network> {
        let budget = Budget::default();
        let model = read::message(Path::new("the structure"), bytes.into(), &budget)?;
        Network::new(model, ExternalFiles::nothing(), &budget, weights)
    }

    fn new(
        mut model: ModelProto,
        beside: ExternalFiles,
        budget: &Budget,
        apart: &WeightSource,
    ) -> Result<Network> {
        let functions: HashMap<(String, String), FunctionProto> = std::mem::take(&mut model.functions)
            .into_iter()
            .map(|function| ((function.domain().to_string(), function.name().to_string()), function))
            .collect();
        let mut network =
            Network { model, beside, weights: BTreeMap::new(), declared: Vec::new(), functions };
        let mut graph =
            network.model.graph.take().ok_or_else(|| Error::network("the file holds no graph"))?;
        network.check_operators(&graph)?;
        sort(&mut graph)?;
        let statistics = inputs_of(&graph, "BatchNormalization", 3..5);
        let windows = inputs_of(&graph, "Conv", 1..2);
        for mut tensor in std::mem::take(&mut graph.initializer) {
            let name = tensor.name().to_string();
            let value = match apart(&name) {
                Some((shape, data)) => read::given(&tensor, &shape, data)?,
                None => read::tensor(&tensor, network.origin(budget))?,
            };
            let weight = match &value {
                Value::Numbers(numbers, element) if element.is_float() && numbers.elements() > 1 => {
                    read::without_numbers(&mut tensor);
                    if statistics.contains(&name) {
                        Weight::State(Variable::new("", numbers.to_data()?, numbers.shape())?, *element)
                    } else if windows.contains(&name) {
                        // Window first, as the kernels of convolutions read it.
                        let order: Vec<usize> = (2..numbers.rank()).chain([1, 0]).collect();
                        Weight::Trained(Param::stored(numbers, &order), *element)
                    } else {
                        Weight::Trained(Param::new(numbers), *element)
                    }
                }
                _ => {
                    read::with_numbers(&mut tensor, &network.beside)?;
                    Weight::Constant(value)
                }
            };
            network.weights.insert(name, weight);
            network.declared.push(tensor);
        }
        graph.input.retain(|input| !network.weights.contains_key(input.name()));
        network.model.graph = Some(graph);
        Ok(network)
    }

    fn origin<'a>(&'a self, budget: &'a Budget) -> Origin<'a> {
        Origin { beside: &self.beside, budget }
    }

    fn graph(&self) -> &GraphProto {
        static NONE: std::sync::LazyLock<GraphProto> = std::sync::LazyLock::new(GraphProto::default);
        self.model.graph.as_ref().unwrap_or(&NONE)
    }

    /// The network as a file without the numbers that are parameters and states; those are kept apart. It needs no other file.
    pub fn structure(&self) -> Vec<u8> {
        let mut model = self.model.clone();
        model.functions = self.functions.values().cloned().collect();
        model.functions.sort_by(|a, b| (a.domain(), a.name()).cmp(&(b.domain(), b.name())));
        if let Some(graph) = &mut model.graph {
            graph.initializer = self.declared.clone();
        }
        model.encode_to_vec()
    }

    /// What the file says about itself, by name.
    pub fn words(&self) -> Vec<(String, String)> {
        let own = |entry: &crate::proto::StringStringEntryProto| {
            (entry.key().to_string(), entry.value().to_string())
        };
        self.model.metadata_props.iter().map(own).collect()
    }

    /// What it takes, without weights.
    pub fn inputs(&self) -> Vec<Port> {
        self.graph().input.iter().map(declared).collect()
    }

    /// What it gives.
    pub fn outputs(&self) -> Vec<Port> {
        self.graph().output.iter().map(declared).collect()
    }

    /// The types of what it takes, and of what it gives.
    pub(crate) fn types(&self) -> [Vec<Option<&type_proto::Value>>; 2] {
        let graph = self.graph();
        [&graph.input, &graph.output]
            .map(|ports| ports.iter().map(|port| port.r#type.as_ref()?.value.as_ref()).collect())
    }

    /// What it gives for these values.
    ///
    /// # Errors
    /// Where they don't fit, with the node.
    pub fn run(&self, inputs: Vec<Value>, context: &Context) -> Result<Vec<Value>> {
        self.walk_all(inputs, context, None)
    }

    fn walk_all(&self, inputs: Vec<Value>, context: &Context, host: Option<&Demand>) -> Result<Vec<Value>> {
        let graph = self.graph();
        if inputs.len() != graph.input.len() {
            return Err(Error::network(format!("{} values for {} inputs", inputs.len(), graph.input.len())));
        }
        let budget = Budget::default();
        let mut scope = Scope::new(&self.model.opset_import, &budget);
        scope.host = host;
        for (name, weight) in &self.weights {
            let value = match weight {
                Weight::Trained(param, element) => Value::Numbers(param.tensor(), *element),
                Weight::State(variable, element) => Value::Numbers(variable.tensor(), *element),
                Weight::Constant(value) => value.clone(),
            };
            scope.own.insert(name, value);
        }
        for (port, value) in graph.input.iter().zip(inputs) {
            scope.own.insert(port.name(), value);
        }
        self.walk(graph, scope, context)
    }

    /// Computes a graph from what is known.
    fn walk<'a>(
        &'a self,
        graph: &'a GraphProto,
        mut scope: Scope<'a>,
        context: &Context,
    ) -> Result<Vec<Value>> {
        for tensor in &graph.initializer {
            scope.own.insert(tensor.name(), read::tensor(tensor, self.origin(scope.budget))?);
        }
        let nodes: Vec<&NodeProto> = graph.node.iter().collect();
        let later = graph.output.iter().map(|port| port.name()).collect();
        self.follow(&nodes, &later, &mut scope, context)?;
        let result = |port: &ValueInfoProto| {
            let missing = || Error::network(format!("no node gives the output {}", port.name()));
            scope.find(port.name()).cloned().ok_or_else(missing)
        };
        graph.output.iter().map(result).collect()
    }

    fn call(&self, node: &NodeProto, scope: &Scope, context: &Context) -> Result<Vec<Value>> {
        if scope.depth > DEEPEST {
            return Err(Error::network(format!("{}: graphs within graphs, too many", title(node))));
        }
        scope.budget.nodes(1).map_err(|exceeded| Error::limit(title(node))(exceeded))?;
        let input = |name: &String| match name.as_str() {
            "" => Ok(Value::Nothing),
            name => scope
                .find(name)
                .cloned()
                .ok_or_else(|| Error::network(format!("{}: nothing gives its input {name}", title(node)))),
        };
        let inputs = node.input.iter().map(input).collect::<Result<Vec<_>>>()?;
        if let Some(function) = self.functions.get(&(node.domain().to_string(), node.op_type().to_string())) {
            return self.function(function, node, inputs, context, scope);
        }
        let operator = operators::find(node.domain(), node.op_type())
            .ok_or_else(|| Error::Unsupported(format!("{}: this operator isn't known here", title(node))))?;
        // A subgraph sees all that is known around it.
        let run_subgraph = |graph: &GraphProto, inputs: Vec<Value>| {
            let own = graph.input.iter().map(|port| port.name()).zip(inputs).collect();
            let (versions, budget, depth) = (scope.versions, scope.budget, scope.depth + 1);
            let inside = Scope { own, around: Some(scope), versions, budget, depth, host: scope.host };
            self.walk(graph, inside, context)
        };
        let version = scope.version(node.domain());
        let origin = self.origin(scope.budget);
        let call =
            Call { node, inputs, version, context, origin, run_subgraph: &run_subgraph, host: scope.host };
        for input in &call.inputs {
            // Products of some of the sizes are taken everywhere, also of those beside an empty axis.
            let shape = input.shape();
            if shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size.max(1))).is_none() {
                return Err(call.fault(format!("an input of {shape:?}")));
            }
        }
        let since = next_id();
        let outputs = operator(&call)?;
        for output in &outputs {
            match output {
                Value::Numbers(tensor, _) => match tensor.error() {
                    // The node is the place; a line of kiln's own says nothing.
                    Some(error) => return Err(call.fault(error.nowhere())),
                    None => call.room_of(tensor.shape().sizes(), tensor.dtype().size())?,
                },
                // What was made of texts is held here, and not when it runs.
                Value::Texts(texts, _) if !call.inputs.iter().any(|input| input.shares(texts)) => {
                    call.spelled(texts.iter())?;
                }
                Value::Texts(..) | Value::List(_) | Value::Later(_) | Value::Nothing => {}
            }
        }
        // Subgraphs of the node have taken their own.
        if !node.attribute.iter().any(|attribute| attribute.g.is_some()) {
            call.unrolled(built(&outputs, since) as usize)?;
        }
        Ok(outputs)
    }

    /// A function of the file's own: its nodes, with the caller's attributes where they name them.
    fn function(
        &self,
        function: &FunctionProto,
        node: &NodeProto,
        inputs: Vec<Value>,
        context: &Context,
        around: &Scope,
    ) -> Result<Vec<Value>> {
        let body: Vec<Cow<NodeProto>> =
            function.node.iter().map(|own| settled(own, node, function)).collect();
        let versions = match function.opset_import.as_slice() {
            [] => &self.model.opset_import[..],
            own => own,
        };
        let given = inputs.into_iter().chain(std::iter::repeat(Value::Nothing));
        let own = function.input.iter().map(String::as_str).zip(given).collect();
        let (budget, depth) = (around.budget, around.depth + 1);
        let mut scope = Scope { own, around: None, versions, budget, depth, host: around.host };
        let nodes: Vec<&NodeProto> = body.iter().map(Cow::as_ref).collect();
        let later = function.output.iter().map(String::as_str).collect();
        self.follow(&nodes, &later, &mut scope, context)?;
        let result = |name: &String| scope.find(name).cloned().unwrap_or(Value::Nothing);
        Ok(function.output.iter().map(result).collect())
    }

    /// All operators that aren't known, with counts and the first node of each.
    fn check_operators(&self, graph: &GraphProto) -> Result<()> {
        let mut unknown: BTreeMap<String, (usize, String)> = BTreeMap::new();
        let mut waiting: Vec<&NodeProto> = graph.node.iter().collect();
        waiting.extend(self.functions.values().flat_map(|function| &function.node));
        while let Some(node) = waiting.pop() {
            let (domain, operator) = (node.domain(), node.op_type());
            let own = self.functions.contains_key(&(domain.to_string(), operator.to_string()));
            if !own && operators::find(domain, operator).is_none() {
                let name =
                    if domain.is_empty() { operator.to_string() } else { format!("{domain}.{operator}") };
                unknown.entry(name).or_insert_with(|| (0, title(node))).0 += 1;
            }
            let within = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
            waiting.extend(within.flat_map(|graph| &graph.node));
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let lines =
            unknown.iter().map(|(name, (count, first))| format!("  {name} × {count}, first as {first}"));
        Err(Error::Unsupported(format!(
            "operators that aren't known here:\n{}\nwrite the model with others (a simplifier or an older version of the operators often does), or replace these parts",
            lines.collect::<Vec<_>>().join("\n")
        )))
    }
}

impl Module for Network {
    fn visit(&self, visitor: &mut Visitor) {
        for (name, weight) in &self.weights {
            match weight {
                Weight::Trained(param, _) => visitor.parameter(name, param),
                Weight::State(variable, _) => visitor.state(name, variable),
                Weight::Constant(_) => {}
            }
        }
    }
}

impl Layer for Network {
    /// The first output for one input, which a network used as a layer has.
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let wanted = self.inputs().first().and_then(|input| input.element?.dtype());
        let x = x.cast(wanted.unwrap_or(DType::F32));
        match self.run(vec![Value::of(x.clone())], context) {
            Ok(outputs) => match outputs.into_iter().next() {
                Some(Value::Numbers(tensor, _)) => tensor,
                _ => parts::refused("the network gives no numbers"),
            },
            Err(error) => self.in_parts(&x, context, &error),
        }
    }
}

/// A node of a function with the caller's attributes where it names them.
fn settled<'a>(own: &'a NodeProto, caller: &NodeProto, function: &FunctionProto) -> Cow<'a, NodeProto> {
    if own.attribute.iter().all(|attribute| attribute.ref_attr_name().is_empty()) {
        return Cow::Borrowed(own);
    }
    let mut own = own.clone();
    own.attribute.retain_mut(|attribute| {
        if attribute.ref_attr_name().is_empty() {
            return true;
        }
        let wanted = attribute.ref_attr_name().to_string();
        let found = caller.attribute.iter().chain(&function.attribute_proto);
        let Some(found) = found.into_iter().find(|found| found.name() == wanted) else {
            return false;
        };
        let name = attribute.name.clone();
        *attribute = found.clone();
        attribute.name = name;
        true
    });
    Cow::Owned(own)
}
