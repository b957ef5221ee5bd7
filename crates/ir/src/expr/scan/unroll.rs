//! A scan written out, step by step.

use crate::expr::Expr;
use crate::expr::scan::body::instantiate;
use crate::op::{Scan, ScanResult};

/// The value of a scan, every step of which is operations of its own: for whoever doesn't know scans, and to hold them to.
pub fn unrolled(scan: &Scan, operands: &[Expr], result: ScanResult) -> Expr {
    let (states, others) = operands.split_at(scan.states);
    let (sequences, constants) = others.split_at(scan.sequences);
    let mut states = states.to_vec();
    let mut given = Vec::new();
    for step in 0..scan.steps {
        let place = scan.slice_of(step);
        let slice = |x: &Expr| x.narrow(0, place, 1).reshape(x.shape()[1..].to_vec());
        let arguments: Vec<Expr> = states
            .iter()
            .cloned()
            .chain(sequences.iter().map(slice))
            .chain(constants.iter().cloned())
            .collect();
        let values = instantiate(&scan.body, &arguments);
        states = scan.body.outputs.iter().map(|&id| values[id].clone()).collect();
        if let ScanResult::Stacked(id) = result {
            let sizes = [&[1], &values[id].shape()[..]].concat();
            given.push(values[id].reshape(sizes));
        }
    }
    match result {
        ScanResult::Last(state) => states[state].clone(),
        ScanResult::Stacked(id) if given.is_empty() => {
            let node = &scan.body.nodes[id];
            Expr::full(scan.stacked(&node.shape), 0.0, node.dtype)
        }
        ScanResult::Stacked(_) => {
            if scan.reverse {
                given.reverse();
            }
            Expr::concat(&given.iter().collect::<Vec<_>>(), 0)
        }
    }
}
