//! A graph with its arguments: something to compute, with an answer to compare with.

use std::any::Any;
use std::sync::Arc;

use kiln_ir::error::ErrorKind;
use kiln_ir::eval::{EvaluatedGraph, evaluate};
use kiln_ir::op::{Op, Shared, VariableHandle};
use kiln_ir::{DType, Data, Error, Expr, Graph, Result, Shape};

/// A graph and all of its arguments.
#[derive(Clone, Debug)]
pub struct Problem {
    /// For messages.
    pub name: String,
    /// What to compute.
    pub graph: Graph,
    /// From which arguments: the declared ones, then the captured ones.
    pub inputs: Vec<Data>,
}

impl Problem {
    /// Traces `outputs`, whose declared arguments are `inputs`.
    pub fn trace(name: impl Into<String>, inputs: &[(Shape, Data)], outputs: &[Expr]) -> Result<Problem> {
        let declared: Vec<_> = inputs.iter().map(|(shape, data)| (shape.clone(), data.dtype())).collect();
        let (graph, captured) = Graph::trace(&declared, outputs, &[])?;
        let captured = captured.iter().map(|data| data.as_ref().clone());
        let inputs = inputs.iter().map(|(_, data)| data.clone()).chain(captured).collect();
        Ok(Problem { name: name.into(), graph, inputs })
    }

    /// The oracle's answer.
    pub fn oracle(&self) -> Result<EvaluatedGraph> {
        evaluate(&self.graph, &self.inputs.iter().collect::<Vec<_>>(), &held)
    }

    /// The same problem with some of its arguments, by position, as variables, `value 0`, `value 1`, … by that position.
    pub fn with_variables(&self, is_variable: impl Fn(usize) -> bool) -> Problem {
        let mut graph = self.graph.clone();
        for node in &mut graph.nodes {
            if let Op::Input(position) = node.op
                && is_variable(position)
            {
                let name = format!("value {position}");
                let data = self.inputs[position].clone();
                let held = HeldVariable { name, shape: node.shape.clone(), data };
                node.op = Op::Var(Shared(Arc::new(held)));
            }
        }
        self.with_graph(graph)
    }

    /// The same problem with another graph, as a pass makes it.
    pub fn with_graph(&self, graph: Graph) -> Problem {
        Problem { graph, ..self.clone() }
    }
}

/// A variable that holds its value on the host.
#[derive(Debug)]
pub struct HeldVariable {
    /// The path it is known by.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Its value.
    pub data: Data,
}

impl HeldVariable {
    /// A new variable and an expression that reads it.
    pub fn new(name: &str, shape: impl Into<Shape>, data: Data) -> (Arc<HeldVariable>, Expr) {
        let variable = Arc::new(HeldVariable { name: name.to_string(), shape: shape.into(), data });
        (variable.clone(), Expr::variable(variable))
    }
}

impl VariableHandle for HeldVariable {
    fn name(&self) -> String {
        self.name.clone()
    }
    fn shape(&self) -> &Shape {
        &self.shape
    }
    fn dtype(&self) -> DType {
        self.data.dtype()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The value of a [`HeldVariable`].
pub fn held(variable: &dyn VariableHandle) -> Result<Data> {
    let held = variable.as_any().downcast_ref::<HeldVariable>();
    held.map(|held| held.data.clone())
        .ok_or_else(|| Error::new(ErrorKind::Value, "var", "isn't a HeldVariable"))
}
