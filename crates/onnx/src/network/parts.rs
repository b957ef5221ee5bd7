//! A network on values that are there, part by part: where shapes or the way through it follow from numbers, the part before is computed
//! first, in one program, and the walk goes on with what came out. Programs are found again by their structure, so that the parts of a
//! second run, and of a loop's next round, aren't compiled again.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use kiln_ir::{ErrorKind, Op, Shape};
use kiln_map::Budget;
use kiln_nn::{Context, DType, Data, HostOp, Tensor, eval_all};

use super::order::names_taken;
use super::{Network, Scope};
use crate::error::{Error, Result};
use crate::proto::NodeProto;
use crate::value::Value;

/// Whether a node asked for numbers that aren't computed yet.
#[derive(Default)]
pub struct Demand(Cell<bool>);

impl Demand {
    pub(crate) fn ask(&self) {
        self.0.set(true);
    }

    /// Whether it was asked since the last time.
    fn take(&self) -> bool {
        self.0.take()
    }
}

impl Network {
    /// What it gives for values that are there, computed: also where shapes, or how often a part runs, follow from numbers.
    ///
    /// # Errors
    /// As [`Network::run`].
    pub fn compute(&self, inputs: Vec<Value>) -> Result<Vec<Value>> {
        let demand = Demand::default();
        let outputs = self.walk_all(inputs, &Context::inference(), Some(&demand))?;
        settled(outputs, &Budget::default(), "the outputs")
    }

    /// Computes nodes in order, what comes out going into the scope; `later` is what is looked for behind them.
    pub(super) fn follow<'a>(
        &'a self,
        nodes: &[&'a NodeProto],
        later: &HashSet<&str>,
        scope: &mut Scope<'a>,
        context: &Context,
    ) -> Result<()> {
        for (at, node) in nodes.iter().enumerate() {
            // Rounds go on from values that are there, and each finds the programs of the one before.
            if scope.host.is_some() && ["Loop", "SequenceMap"].contains(&node.op_type()) {
                self.settle(&nodes[at..], later, scope)?;
            }
            let mut outputs = self.call(node, scope, context);
            if outputs.is_err() && scope.host.is_some_and(Demand::take) {
                self.settle(&nodes[at..], later, scope)?;
                // What is still asked for is the node's own arithmetic, and computed where it stands.
                let host = scope.host.take();
                outputs = self.call(node, scope, context);
                scope.host = host;
            }
            for (name, value) in node.output.iter().zip(outputs?) {
                scope.own.insert(name, value);
            }
        }
        Ok(())
    }

    /// Computes all values of a scope that are used from here on.
    fn settle(&self, nodes: &[&NodeProto], later: &HashSet<&str>, scope: &mut Scope) -> Result<()> {
        let mut used: HashSet<&str> =
            nodes.iter().flat_map(|node| names_taken(node)).map(String::as_str).collect();
        used.extend(later);
        let names: Vec<&str> = scope.own.keys().copied().filter(|name| used.contains(name)).collect();
        let values = names.iter().filter_map(|name| scope.own.get(name).cloned()).collect();
        let place = nodes.first().map_or(String::new(), |node| crate::call::title(node));
        for (name, value) in names.into_iter().zip(settled(values, scope.budget, &place)?) {
            scope.own.insert(name, value);
        }
        Ok(())
    }
}

impl Network {
    /// The network as one operation of a program, on the host, where it can't be a program itself: what it gives must have the sizes
    /// that it gives for zeros.
    pub(super) fn in_parts(&self, x: &Tensor, context: &Context, why: &Error) -> Tensor {
        let zeros = match x.error() {
            None => Tensor::zeros(x.shape()).cast(x.dtype()),
            Some(error) => return error.into(),
        };
        let Ok(Some(Value::Numbers(y, _))) = self.first(&zeros) else { return refused(why) };
        if context.is_training() {
            return refused(format!("a network that runs part by part isn't trained: {why}"));
        }
        Tensor::custom(PartByPart { network: self.clone(), shape: y.shape(), dtype: y.dtype() }, &[x])
    }

    /// The first output for one input that is there.
    fn first(&self, x: &Tensor) -> Result<Option<Value>> {
        Ok(self.compute(vec![Value::of(x.clone())])?.into_iter().next())
    }
}

/// A tensor that says what is wrong.
pub(super) fn refused(message: impl ToString) -> Tensor {
    kiln_ir::Error::new(ErrorKind::Value, "network", message.to_string()).nowhere().into()
}

/// A network on the host.
struct PartByPart {
    network: Network,
    shape: Shape,
    dtype: DType,
}

impl HostOp for PartByPart {
    fn name(&self) -> &str {
        "network"
    }

    fn infer(&self, _: &[(&Shape, DType)]) -> std::result::Result<(Shape, DType), String> {
        Ok((self.shape.clone(), self.dtype))
    }

    fn compute(&self, operands: &[(&Shape, &Data)]) -> std::result::Result<Data, kiln_ir::Error> {
        let fault = |what: String| kiln_ir::Error::new(ErrorKind::Value, "network", what).nowhere();
        let (shape, data) = operands[0];
        let given = self.network.first(&Tensor::from_data(data.clone(), shape.clone()));
        match given.map_err(|error| fault(error.to_string()))? {
            Some(Value::Numbers(y, _)) if y.shape() == self.shape => y.cast(self.dtype).to_data(),
            other => Err(fault(format!(
                "it gives {:?} here and {} for zeros: its sizes follow from numbers, and it isn't used as a model of rows",
                other.map(|value| value.shape()),
                self.shape
            ))),
        }
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(refused("no gradient goes through a network that runs part by part"))]
    }
}

/// Values whose numbers are there, computed in one program.
pub fn settled(values: Vec<Value>, budget: &Budget, place: &str) -> Result<Vec<Value>> {
    let mut open = Vec::new();
    values.iter().for_each(|value| find_open(value, &mut open));
    if open.is_empty() {
        return Ok(values);
    }
    let bytes = open.iter().map(|tensor| (tensor.elements() * tensor.dtype().size()) as u64).sum();
    budget.bytes(bytes).map_err(Error::limit(place))?;
    let computed = eval_all(&open)?;
    budget.free(bytes);
    let mut computed = computed.into_iter();
    Ok(values.iter().map(|value| filled(value, &mut computed)).collect())
}

/// Whether a tensor is still to be computed: it is no number from the host and no weight.
fn is_open(tensor: &Tensor) -> bool {
    let node = tensor.expr().node();
    node.is_ok_and(|node| !matches!(node.op, Op::Const(_) | Op::Var(_) | Op::Fill(_)))
}

fn find_open<'a>(value: &'a Value, open: &mut Vec<&'a Tensor>) {
    match value {
        Value::Numbers(tensor, _) if is_open(tensor) => open.push(tensor),
        Value::List(values) => values.iter().for_each(|value| find_open(value, open)),
        Value::Numbers(..) | Value::Texts(..) | Value::Later(_) | Value::Nothing => {}
    }
}

/// A value with what was computed in the places that were open.
fn filled(value: &Value, computed: &mut impl Iterator<Item = Tensor>) -> Value {
    match value {
        Value::Numbers(tensor, element) if is_open(tensor) => {
            Value::Numbers(computed.next().unwrap_or_else(|| tensor.clone()), *element)
        }
        Value::List(values) => {
            Value::List(Arc::new(values.iter().map(|value| filled(value, computed)).collect()))
        }
        Value::Numbers(..) | Value::Texts(..) | Value::Later(_) | Value::Nothing => value.clone(),
    }
}
