//! What every pass must preserve, as code. It runs after each pass in debug builds and in tests.

use crate::dtype::DType;
use crate::graph::{Graph, NodeId};
use crate::infer::{OperandType, infer};
use crate::op::Op;

/// Says what is malformed in `graph`, naming the node, or that nothing is.
///
/// Inputs stand before their users; the number of operands is what the operation takes; shape and dtype are those
/// that [`infer`] gives; leaves agree with what they stand for; every id and argument exists.
pub fn check(graph: &Graph) -> Result<(), String> {
    for (id, node) in graph.nodes.iter().enumerate() {
        let fault = |message: String| Err(format!("%{id} {}: {message}", node.op.name()));
        if let Some(later) = node.inputs.iter().find(|&&input| input >= id) {
            return fault(format!("its operand %{later} doesn't stand before it"));
        }
        if let Op::Input(position) = node.op
            && graph.inputs.get(position) != Some(&(node.shape.clone(), node.dtype))
        {
            let promised = graph.inputs.get(position);
            return fault(format!("{}{} stands for argument {promised:?}", node.dtype, node.shape));
        }
        let operands: Vec<OperandType> = node.inputs.iter().map(|&input| operand(graph, input)).collect();
        match infer(&node.op, &operands, Some((&node.shape, node.dtype))) {
            Err((_, message)) => return fault(message),
            Ok((shape, dtype)) if shape != node.shape || dtype != node.dtype => {
                return fault(format!("is {}{}, should be {dtype}{shape}", node.dtype, node.shape));
            }
            Ok(_) => {}
        }
    }
    let count = graph.nodes.len();
    if let Some(id) = graph.outputs.iter().find(|&&id| id >= count) {
        return Err(format!("the output %{id} doesn't exist"));
    }
    for (variable, id) in &graph.updates {
        let given = graph.nodes.get(*id).map(|node| (&node.shape, node.dtype));
        if given != Some((variable.shape(), variable.dtype())) {
            return Err(format!("the update of {:?} is %{id}, {given:?}", variable.name()));
        }
    }
    Ok(())
}

fn operand(graph: &Graph, id: NodeId) -> (&crate::shape::Shape, DType) {
    (&graph.nodes[id].shape, graph.nodes[id].dtype)
}
