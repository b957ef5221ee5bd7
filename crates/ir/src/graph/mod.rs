//! A graph cut out of the lazy one for compiling or evaluating: a flat list of nodes, inputs before users, with what
//! is wanted of it. Equal work makes an equal graph, so compiled programs can be looked up by it.

pub(crate) mod scan;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::Arc;

use crate::data::Data;
use crate::dtype::DType;
use crate::error::{Error, ErrorKind};
use crate::expr::Expr;
use crate::graph::scan::{Scan, ScanGradient};
use crate::kind::OpKind;
use crate::node::{Node, topological};
use crate::op::{Op, Shared, VariableHandle};
use crate::shape::Shape;

/// The position of a node in its graph.
pub type NodeId = usize;

/// One operation in a [`Graph`].
#[derive(Clone, Debug)]
pub struct GraphNode {
    /// What is computed.
    pub op: Op,
    /// From which nodes, all earlier in the list.
    pub inputs: Vec<NodeId>,
    /// The value's shape.
    pub shape: Shape,
    /// The value's dtype.
    pub dtype: DType,
    /// The user's line that built it; not part of the graph's identity.
    pub at: Option<&'static Location<'static>>,
}

impl GraphNode {
    /// The part it plays.
    pub fn kind(&self) -> OpKind<'_> {
        self.op.kind()
    }

    /// The operands whose values it computes with; what a barrier merely waits for isn't among them.
    pub fn operands(&self) -> &[NodeId] {
        self.op.operands().values(&self.inputs)
    }
}

impl PartialEq for GraphNode {
    fn eq(&self, other: &GraphNode) -> bool {
        self.op == other.op
            && self.inputs == other.inputs
            && self.shape == other.shape
            && self.dtype == other.dtype
    }
}

impl Eq for GraphNode {}

impl Hash for GraphNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.op.hash(state);
        self.inputs.hash(state);
        self.shape.hash(state);
        self.dtype.hash(state);
    }
}

/// What to compute: outputs to hand back and variables to update, with all that they need.
///
/// `Const` leaves of the lazy graph become `Input`s behind the declared ones, so that the same work on other numbers
/// is the same graph. `StopGradient` and `Rule` are gone: they matter only to gradients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Graph {
    /// Inputs before users.
    pub nodes: Vec<GraphNode>,
    /// The values handed back, in order.
    pub outputs: Vec<NodeId>,
    /// Variables and their new values.
    pub updates: Vec<(Shared<dyn VariableHandle>, NodeId)>,
    /// Shape and dtype of every argument: first the declared ones, then the captured constants.
    pub inputs: Vec<(Shape, DType)>,
}

impl Graph {
    /// Cuts out what `outputs` and `updates` need, and gives the numbers captured as constants, which are the
    /// arguments behind the `declared` ones. Fails with the first error a value carries.
    pub fn trace(
        declared: &[(Shape, DType)],
        outputs: &[Expr],
        updates: &[(Arc<dyn VariableHandle>, Expr)],
    ) -> Result<(Graph, Vec<Arc<Data>>), Error> {
        let node_of = |expr: &Expr| expr.node().cloned().map_err(|error| error.as_ref().clone());
        let output_nodes = outputs.iter().map(node_of).collect::<Result<Vec<_>, _>>()?;
        let update_nodes = updates.iter().map(|(_, expr)| node_of(expr)).collect::<Result<Vec<_>, _>>()?;
        let roots: Vec<Arc<Node>> = output_nodes.iter().chain(&update_nodes).cloned().collect();

        let mut graph = Graph { inputs: declared.to_vec(), ..Graph::default() };
        let mut captured: Vec<Arc<Data>> = Vec::new();
        let mut position_of_constant: HashMap<(usize, Shape), usize> = HashMap::new();
        let mut barriers = 0;
        let mut scans = PlainScans::default();
        let mut id_of: HashMap<u64, NodeId> = HashMap::new();
        for node in topological(&roots) {
            let inputs = || node.inputs.iter().map(|input| id_of[&input.id]).collect();
            if let Op::StopGradient | Op::Rule(_) = node.op {
                id_of.insert(node.id, id_of[&node.inputs[0].id]);
                continue;
            }
            if let Op::Input(position) = node.op
                && declared.get(position) != Some(&(node.shape.clone(), node.dtype))
            {
                let message = format!(
                    "argument {position} ({}{}) isn't among the {} declared here; it has a value only inside its step",
                    node.dtype,
                    node.shape,
                    declared.len()
                );
                return Err(Error::new(ErrorKind::Value, "input", message).at(node.at));
            }
            let op = if let Op::Const(data) = &node.op {
                let key = (data.address(), node.shape.clone());
                Op::Input(*position_of_constant.entry(key).or_insert_with(|| {
                    captured.push(data.0.clone());
                    graph.inputs.push((node.shape.clone(), node.dtype));
                    graph.inputs.len() - 1
                }))
            } else if let Op::Barrier(_) = node.op {
                barriers += 1;
                Op::Barrier(barriers)
            } else if let Op::Scan(scan, result) = &node.op {
                Op::Scan(scans.of(scan), *result)
            } else {
                node.op.clone()
            };
            let inputs = inputs();
            id_of.insert(node.id, graph.nodes.len());
            graph.nodes.push(GraphNode {
                op,
                inputs,
                shape: node.shape.clone(),
                dtype: node.dtype,
                at: Some(node.at),
            });
        }
        graph.outputs = output_nodes.iter().map(|node| id_of[&node.id]).collect();
        graph.updates = updates
            .iter()
            .zip(&update_nodes)
            .map(|((var, _), node)| (Shared(var.clone()), id_of[&node.id]))
            .collect();
        Ok((graph, captured))
    }

    /// For each node, the nodes that use it (with repetition); outputs and updates don't count.
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                users[input].push(id);
            }
        }
        users
    }
}

/// Scans without what matters only to gradients: operands stand where `StopGradient` and `Rule` were. Each is rewritten once,
/// so that its results keep sharing it.
#[derive(Default)]
struct PlainScans(HashMap<*const Scan, Arc<Scan>>);

impl PlainScans {
    fn of(&mut self, scan: &Arc<Scan>) -> Arc<Scan> {
        if let Some(plain) = self.0.get(&Arc::as_ptr(scan)) {
            return plain.clone();
        }
        let mut plain = Scan { gradient: ScanGradient::default(), ..(**scan).clone() };
        for node in &mut plain.body.nodes {
            if let Op::StopGradient | Op::Rule(_) = node.op {
                node.op = Op::Reshape;
                node.inputs.truncate(1);
            } else if let Op::Scan(inner, _) = &mut node.op {
                *inner = self.of(inner);
            }
        }
        let plain = Arc::new(plain);
        self.0.insert(Arc::as_ptr(scan), plain.clone());
        plain
    }
}
