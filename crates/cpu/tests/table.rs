//! Compiled programs on the CPU against the oracle: the op table, its derivatives and random graphs, with one thread and
//! with two, whose results must be the same bits.

mod kit;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use kiln_device::{Argument, Output};
use kiln_ir::{DType, Data, Scalar};
use kiln_testkit::{Problem, Tolerance, close};
use kit::{cpu, set_threads};

/// The number of threads belongs to the process.
static THREADS: Mutex<()> = Mutex::new(());

fn run(problem: &Problem, threads: usize) -> Vec<Data> {
    set_threads(threads);
    let program = Arc::new(kiln_compile::compile(&problem.graph, cpu().target()).unwrap());
    let mut executable = cpu().load(program.clone()).unwrap();
    let mut outputs: Vec<Data> = program
        .outputs
        .iter()
        .map(|(shape, dtype)| Data::filled(*dtype, shape.elements(), Scalar::Int(1)))
        .collect();
    let inputs: Vec<Argument> = problem.inputs.iter().map(Argument::of).collect();
    // The second run meets what the first left behind.
    for _ in 0..2 {
        let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
        executable.run(&inputs, &[], &mut targets).unwrap();
    }
    outputs
}

fn bits(data: &Data) -> String {
    format!("{:?}", data.scalars().iter().map(|x| x.as_f64().to_bits()).collect::<Vec<_>>())
}

/// A problem with how near its results should come where nothing else is said: by the coarsest dtype on the way.
fn with_tolerance(problem: Problem) -> (Problem, Tolerance) {
    let floats = problem.graph.nodes.iter().map(|node| node.dtype).filter(|dtype| dtype.is_float());
    let coarsest = floats.map(Tolerance::of).max_by(|a, b| a.relative.total_cmp(&b.relative));
    let tolerance = coarsest.unwrap_or(Tolerance::of(DType::F64)).times(8.0);
    (problem, tolerance)
}

fn check(problem: &Problem, tolerance: Tolerance) {
    if kiln_compile::compile(&problem.graph, cpu().target()).unwrap().variables.is_empty() {
        let expected = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        let one = run(problem, 1);
        let two = run(problem, 2);
        for (position, (found, expected)) in one.iter().zip(&expected.outputs).enumerate() {
            if let Err(message) = close::compare(found, expected, tolerance) {
                panic!(
                    "{} output {position}: {message}\n{}",
                    problem.name,
                    kiln_compile::compile(&problem.graph, cpu().target()).unwrap()
                );
            }
            assert_eq!(bits(found), bits(&two[position]), "{}: threads change the result", problem.name);
        }
    }
}

/// Checks every problem and tells of all that fail, the first in full.
fn check_all(problems: impl Iterator<Item = (Problem, Tolerance)>) {
    let _guard = THREADS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut count, mut failures) = (0, Vec::new());
    for (problem, tolerance) in problems {
        count += 1;
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| check(&problem, tolerance))) {
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
fn every_case_of_the_op_table_runs_to_what_it_means() {
    check_all(kiln_testkit::cases().iter().map(|case| (case.problem().unwrap(), case.tolerance)));
}

#[test]
fn derivatives_run_to_what_they_mean() {
    let cases = kiln_testkit::cases().into_iter().filter(|case| case.differentiable);
    let problems = cases.map(|case| kiln_testkit::gradcheck::derivative_of(case).problem().unwrap());
    check_all(problems.map(with_tolerance));
}

#[test]
fn random_graphs_run_to_what_they_mean() {
    let problems = (0..3000).map(kiln_testkit::random_graph);
    check_all(problems.map(with_tolerance));
}
