//! Evaluation by the naive oracle, until programs can run.

use kiln_ir::{Data, Error, ErrorKind, Expr, Graph, Result, eval};

/// Computes the values.
pub(crate) fn evaluate(values: &[Expr]) -> Result<Vec<Data>> {
    let (graph, captured) = Graph::trace(&[], values, &[])?;
    let inputs: Vec<&Data> = captured.iter().map(|data| data.as_ref()).collect();
    let outcome = eval::evaluate(&graph, &inputs, &|variable| {
        let message = format!("{} has no value here", variable.name());
        Err(Error::new(ErrorKind::Device, "evaluate", message))
    })?;
    Ok(outcome.outputs)
}
