//! How deep in a model its parameters lie, which its names don't say: a file lists weights in any order.

use std::collections::HashMap;

use kiln_ir::node::topological;
use kiln_ir::{Op, Result};

use crate::layers::Layer;
use crate::module::Context;
use crate::tensor::Tensor;
use crate::variable::Param;

/// A model's parameters from the input to the output, with their paths: in the order in which a pass over `x` first computes with them. Those that
/// it doesn't compute with come first.
///
/// ```
/// use kiln_nn::{Sequential, Tensor, depth};
///
/// let model: Sequential = "dense 4, relu, dense 2".parse()?;
/// let ordered = depth::ordered(&model, &Tensor::zeros([1, 3]))?;
/// let paths: Vec<&str> = ordered.iter().map(|(path, _)| path.as_str()).collect();
/// assert_eq!(paths, ["0.weight", "0.bias", "2.weight", "2.bias"]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// Where the model doesn't take `x`.
pub fn ordered<L: Layer + ?Sized>(model: &L, x: &Tensor) -> Result<Vec<(String, Param)>> {
    let output = model.forward(x, &Context::inference());
    let root = output.expr().node().map_err(|error| error.as_ref().clone())?.clone();
    // Of each variable the first node that computes with it; nodes are numbered as they are built.
    let mut used: HashMap<usize, u64> = HashMap::new();
    for node in topological(&[root]) {
        for operand in &node.inputs {
            if let Op::Var(variable) = &operand.op {
                used.entry(variable.address()).or_insert(node.id);
            }
        }
    }
    let mut placed = Vec::new();
    for (path, param) in model.parameters() {
        let variable = param.variable()?.tensor();
        let node = variable.expr().node().map_err(|error| error.as_ref().clone())?;
        let place =
            if let Op::Var(variable) = &node.op { used.get(&variable.address()).copied() } else { None };
        placed.push((place, path, param));
    }
    placed.sort_by_key(|(place, ..)| *place);
    Ok(placed.into_iter().map(|(_, path, param)| (path, param)).collect())
}
