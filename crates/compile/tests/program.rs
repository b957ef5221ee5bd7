//! Compiled programs, run the obvious way, give what their graphs mean.

mod naive;

use kiln_ir::{Data, Graph};
use kiln_testkit::{Problem, Tolerance, assert_close};

fn check(problem: &Problem) {
    let graph: &Graph = &problem.graph;
    let expected = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
    let program = kiln_compile::compile(graph);
    let inputs: Vec<&Data> = problem.inputs.iter().collect();
    let found = std::panic::catch_unwind(|| naive::run(&program, &inputs, &[]))
        .unwrap_or_else(|_| panic!("{}\n{}\n{program}", problem.name, kiln_ir::print::text(graph)));
    for (position, (found, expected)) in found.0.iter().zip(&expected.outputs).enumerate() {
        let tolerance = Tolerance::of(expected.dtype()).times(4.0);
        if let Err(message) = kiln_testkit::compare(found, expected, tolerance) {
            panic!("{} output {position}: {message}\n{program}", problem.name);
        }
    }
}

#[test]
fn every_case_of_the_op_table_compiles_to_what_it_means() {
    for case in kiln_testkit::table::cases() {
        check(&case.problem().unwrap());
    }
}

#[test]
fn random_graphs_compile_to_what_they_mean() {
    for seed in 0..300 {
        check(&kiln_testkit::graphs::random(seed));
    }
}
