//! Programs on the reference device against the graph's own evaluator: the op table, derivatives and random graphs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use kiln_device::{Argument, Device, Host, Memory, Output};
use kiln_ir::{DType, Data, Scalar};
use kiln_reference::ReferenceDevice;
use kiln_testkit::problem::held;
use kiln_testkit::{Problem, Tolerance, close};

/// Runs a problem on a device; its outputs.
fn run(device: &dyn Device, problem: &Problem) -> Vec<Data> {
    let program = Arc::new(kiln_compile::compile(&problem.graph, device.target()).unwrap());
    let mut executable = device.load(program.clone()).unwrap();
    let variables: Vec<Arc<dyn Memory>> = program
        .variables
        .iter()
        .map(|variable| {
            let data = held(&**variable).unwrap();
            let memory = device.allocate(Host::of(&data).bytes().len()).unwrap();
            memory.write(Host::of(&data).bytes()).unwrap();
            memory
        })
        .collect();
    let empty =
        |(shape, dtype): &(kiln_ir::Shape, DType)| Data::filled(*dtype, shape.elements(), Scalar::Int(1));
    let mut outputs: Vec<Data> = program.outputs.iter().map(empty).collect();
    let inputs: Vec<Argument> = problem.inputs.iter().map(Argument::of).collect();
    let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
    executable.run(&inputs, &variables, &mut targets).unwrap();
    drop(targets);
    outputs
}

fn check(device: &dyn Device, problem: &Problem) {
    let expected = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
    let found = run(device, problem);
    // A fused chain rounds less often than the oracle, in whatever dtypes it passes through.
    let floats = problem.graph.nodes.iter().map(|node| node.dtype).filter(|dtype| dtype.is_float());
    let coarsest = floats.map(Tolerance::of).max_by(|a, b| a.relative.total_cmp(&b.relative));
    let tolerance = coarsest.unwrap_or(Tolerance::of(DType::F64)).times(4.0);
    for (position, (found, expected)) in found.iter().zip(&expected.outputs).enumerate() {
        if let Err(message) = close::compare(found, expected, tolerance) {
            panic!("{} output {position}: {message}", problem.name);
        }
    }
}

/// Checks every problem and tells of all that fail, the first in full.
fn check_all(device: &dyn Device, problems: impl Iterator<Item = Problem>) {
    let (mut count, mut failures) = (0, Vec::new());
    for problem in problems {
        count += 1;
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| check(device, &problem))) {
            let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failures.push((problem.name.clone(), message));
        }
    }
    if let Some((_, first)) = failures.first() {
        let names: Vec<&str> = failures.iter().map(|(name, _)| name.as_str()).collect();
        panic!("{} of {count} fail: {}\n{first}", failures.len(), names.join(", "));
    }
}

#[test]
fn every_case_of_the_op_table() {
    let cases = kiln_testkit::table::cases();
    check_all(&ReferenceDevice::new(), cases.iter().map(|case| case.problem().unwrap()));
}

#[test]
fn derivatives_of_the_op_table() {
    let cases = kiln_testkit::table::cases().into_iter().filter(|case| case.differentiable);
    let problems = cases.map(|case| kiln_testkit::gradcheck::derivative_of(case).problem().unwrap());
    check_all(&ReferenceDevice::new(), problems);
}

#[test]
fn random_graphs() {
    check_all(&ReferenceDevice::new(), (0..1000).map(kiln_testkit::random_graph));
}

#[test]
fn random_graphs_completed_late() {
    check_all(&ReferenceDevice::late(), (1000..1200).map(kiln_testkit::random_graph));
}
