//! A network on values that are there, part by part: where shapes or the way through it follow from numbers, the part before is computed
//! first, in one program, and the walk goes on with what came out. Programs are found again by their structure, so that the parts of a
//! second run, and of a loop's next round, aren't compiled again.

use std::collections::HashSet;

use kiln_ir::{ErrorKind, Shape};
use kiln_map::Budget;
use kiln_nn::{Context, DType, Data, HostOp, Tensor};

use super::order::names_taken;
use super::{Network, Scope};
use crate::error::{Error, Result};
use crate::proto::NodeProto;
use crate::settle::{Demand, settled};
use crate::value::Value;

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
                // The parts of a graph in the node may ask for themselves.
                outputs = self.call(node, scope, context);
                if outputs.is_err() && scope.host.is_some_and(Demand::take) {
                    // What is still asked for is the node's own arithmetic, and computed where it stands.
                    let host = scope.host.take();
                    outputs = self.call(node, scope, context);
                    scope.host = host;
                }
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
        if context.is_training() {
            return refused(format!("a network that runs part by part isn't trained: {why}"));
        }
        let Ok(Some(Value::Numbers(y, _))) = self.first(&zeros) else { return refused(why) };
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

#[cfg(test)]
mod tests {
    use kiln_nn::{Function, Input, Key, Layer};

    use super::*;
    use crate::element::OnnxDType;
    use crate::network::parse;
    use crate::proto::{
        AttributeProto, GraphProto, Message, ModelProto, OperatorSetIdProto, TypeProto, ValueInfoProto,
        type_proto,
    };

    fn node(kind: &str, inputs: &[&str], outputs: &[&str], graphs: &[(&str, GraphProto)]) -> NodeProto {
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect();
        let graph = |(name, graph): &(&str, GraphProto)| AttributeProto {
            name: Some(name.to_string()),
            g: Some(graph.clone()),
            ..AttributeProto::default()
        };
        NodeProto {
            op_type: Some(kind.to_string()),
            input: texts(inputs),
            output: texts(outputs),
            attribute: graphs.iter().map(graph).collect(),
            ..NodeProto::default()
        }
    }

    fn number(value: f32, output: &str) -> NodeProto {
        let value = AttributeProto {
            name: Some("value_float".to_string()),
            f: Some(value),
            ..AttributeProto::default()
        };
        NodeProto { attribute: vec![value], ..node("Constant", &[], &[output], &[]) }
    }

    fn graph(nodes: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]) -> GraphProto {
        let port = |name: &&str| ValueInfoProto {
            name: Some(name.to_string()),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: Some(OnnxDType::F32.number()),
                    shape: None,
                })),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        };
        GraphProto {
            node: nodes,
            input: inputs.iter().map(port).collect(),
            output: outputs.iter().map(port).collect(),
            ..GraphProto::default()
        }
    }

    fn network(nodes: Vec<NodeProto>) -> Network {
        let set = OperatorSetIdProto { version: Some(17), ..OperatorSetIdProto::default() };
        let model = ModelProto {
            graph: Some(graph(nodes, &["x"], &["y"])),
            opset_import: vec![set],
            ..ModelProto::default()
        };
        parse(model.encode_to_vec()).unwrap()
    }

    /// Squares where the sum is positive, else the negatives.
    fn chosen() -> Network {
        let then = graph(vec![node("Mul", &["x", "x"], &["a"], &[])], &[], &["a"]);
        let other = graph(vec![node("Neg", &["x"], &["b"], &[])], &[], &["b"]);
        let ways = [("then_branch", then), ("else_branch", other)];
        network(vec![
            number(0.0, "zero"),
            node("ReduceSum", &["x"], &["sum"], &[]),
            node("Greater", &["sum", "zero"], &["is"], &[]),
            node("If", &["is"], &["y"], &ways),
        ])
    }

    /// Doubled until the sum is above a hundred, at most twenty times.
    fn grown() -> Network {
        let body = graph(
            vec![
                node("Add", &["h", "h"], &["twice"], &[]),
                node("ReduceSum", &["twice"], &["sum"], &[]),
                number(100.0, "most"),
                node("Less", &["sum", "most"], &["on"], &[]),
            ],
            &["round", "going", "h"],
            &["on", "twice"],
        );
        let most =
            AttributeProto { name: Some("value_int".to_string()), i: Some(20), ..AttributeProto::default() };
        let most = NodeProto { attribute: vec![most], ..node("Constant", &[], &["rounds"], &[]) };
        network(vec![most, node("Loop", &["rounds", "", "x"], &["y"], &[("body", body)])])
    }

    /// Those not above zero.
    fn found() -> Network {
        network(vec![
            number(0.0, "zero"),
            node("LessOrEqual", &["x", "zero"], &["is"], &[]),
            node("Compress", &["x", "is"], &["y"], &[]),
        ])
    }

    fn given(network: &Network, x: &[f32]) -> Vec<f32> {
        let inputs = vec![Value::of(Tensor::new(x.to_vec(), [x.len()]))];
        match network.compute(inputs).unwrap().remove(0) {
            Value::Numbers(y, _) => y.to_vec().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ways_rounds_and_shapes_follow_from_numbers() {
        assert_eq!(given(&chosen(), &[1.0, 2.0]), [1.0, 4.0]);
        assert_eq!(given(&chosen(), &[1.0, -2.0]), [-1.0, 2.0]);
        assert_eq!(given(&grown(), &[1.0, 2.0]), [64.0, 128.0]);
        assert_eq!(given(&grown(), &[60.0, 2.0]), [120.0, 4.0]);
        assert_eq!(given(&found(), &[1.0, -2.0, 3.0]), [-2.0]);
    }

    #[test]
    fn such_a_network_predicts_as_a_layer_and_is_not_trained() {
        for (network, x, expected) in
            [(chosen(), [1.0f32, -2.0], [-1.0f32, 2.0]), (grown(), [60.0, 2.0], [120.0, 4.0])]
        {
            let traced = network.run(
                vec![Value::of(Tensor::from(kiln_ir::Expr::input(0, [2], DType::F32)))],
                &Context::inference(),
            );
            assert!(traced.unwrap_err().to_string().contains("known only when it runs"));
            let mut function = Function::inference(&network, |network, cx, [x]| network.forward(&x, cx));
            for _ in 0..2 {
                let y = function.run([Input::new(&x, &[2])]).unwrap();
                assert_eq!(y[0].as_slice::<f32>(), Some(&expected[..]));
            }
            let mut step = Function::new(|[x]| vec![network.forward(&x, &Context::training(Key::new(1)))]);
            let error = step.run([Input::new(&x, &[2])]).unwrap_err().to_string();
            assert!(error.contains("isn't trained"), "{error}");
        }
        // What gives other sizes for other numbers is no model of rows.
        let network = found();
        let mut function = Function::inference(&network, |network, cx, [x]| network.forward(&x, cx));
        let error = function.run([Input::new(&[1f32, 2.0], &[2])]).unwrap_err().to_string();
        assert!(error.contains("sizes follow from numbers"), "{error}");
    }
}
