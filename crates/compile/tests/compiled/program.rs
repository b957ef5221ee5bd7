//! Compiled programs, run the obvious way, give what their graphs mean.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use kiln_ir::op::{ScatterMode, VariableHandle};
use kiln_ir::{DType, Data, Expr, Graph, Shape};
use kiln_testkit::problem::{HeldVariable, held};
use kiln_testkit::{Problem, Tolerance, close};

fn check(problem: &Problem) {
    let graph: &Graph = &problem.graph;
    let expected = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
    let program = kiln_compile::compile(graph, &kiln_compile::Target::plain("test")).unwrap();
    let inputs: Vec<&Data> = problem.inputs.iter().collect();
    let variables: Vec<Data> = program.variables.iter().map(|v| held(&**v).unwrap()).collect();
    let found = kiln_reference::run(&program, &inputs, &variables)
        .unwrap_or_else(|error| panic!("{}: {error}\n{graph}\n{program}", problem.name));
    // A fused chain rounds less often than the oracle, in whatever dtypes it passes through.
    let floats = graph.nodes.iter().map(|node| node.dtype).filter(|dtype| dtype.is_float());
    let coarsest = floats.map(Tolerance::of).max_by(|a, b| a.relative.total_cmp(&b.relative));
    let coarsest = coarsest.unwrap_or(Tolerance::of(kiln_ir::DType::F64));
    for (position, (found, expected)) in found.0.iter().zip(&expected.outputs).enumerate() {
        let tolerance = coarsest.times(4.0);
        if let Err(message) = close::compare(found, expected, tolerance) {
            panic!("{} output {position}: {message}\n{program}", problem.name);
        }
    }
}

/// Checks every problem and tells of all that fail, the first in full.
fn check_all(problems: impl Iterator<Item = Problem>) {
    let (mut count, mut failures) = (0, Vec::new());
    for problem in problems {
        count += 1;
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| check(&problem))) {
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
fn every_case_of_the_op_table_compiles_to_what_it_means() {
    check_all(kiln_testkit::table::cases().iter().map(|case| case.problem().unwrap()));
}

#[test]
fn random_graphs_compile_to_what_they_mean() {
    check_all((0..3000).map(kiln_testkit::random_graph));
}

#[test]
fn derivatives_compile_to_what_they_mean() {
    let cases = kiln_testkit::table::cases().into_iter().filter(|case| case.differentiable);
    check_all(cases.map(|case| kiln_testkit::gradcheck::derivative_of(case).problem().unwrap()));
}

#[test]
fn compiling_again_gives_the_same_program_to_the_byte() {
    let target = kiln_compile::Target::plain("test");
    let cases = kiln_testkit::table::cases().into_iter().map(|case| case.problem().unwrap());
    for problem in cases.chain((0..300).map(kiln_testkit::random_graph)) {
        let [first, second] =
            [(), ()].map(|()| format!("{:?}", kiln_compile::compile(&problem.graph, &target).unwrap()));
        assert_eq!(first, second, "{}", problem.name);
    }
}

#[test]
fn what_is_put_into_a_variable_goes_right_there_after_whoever_reads_what_it_was() {
    let shape = Shape::from([5, 3]);
    let (kept, was) =
        HeldVariable::new("kept", shape.clone(), Data::F32((0..15).map(|i| i as f32).collect()));
    let (index, more) = (Expr::input(0, [2, 3], DType::I64), Expr::input(1, [2, 3], DType::F32));
    let inputs = vec![Data::I64(vec![4, 4, 4, 1, 1, 1]), Data::F32(vec![9.0, 8.0, 7.0, -1.0, -2.0, -3.0])];
    let declared = [(Shape::from([2, 3]), DType::I64), (Shape::from([2, 3]), DType::F32)];
    let is = was.scatter(&index, &more, 0, ScatterMode::Set);
    let problem = |name: &str, outputs: &[Expr]| {
        let updates: Vec<(Arc<dyn VariableHandle>, Expr)> = vec![(kept.clone(), is.clone())];
        let graph = Graph::trace(&declared, outputs, &updates).unwrap().0;
        Problem { name: name.to_string(), graph, inputs: inputs.clone() }
    };
    let after = problem("what it is", &[is.sum(&[0, 1])]);
    let program = kiln_compile::compile(&after.graph, &kiln_compile::Target::plain("test")).unwrap();
    assert!(program.kernels.len() == 2 && program.arena == 0, "{program}");
    // Also where the old value is asked for, which then comes first, and where both are.
    for problem in
        [after, problem("what it was", &[was.sum(&[0, 1])]), problem("both", &[&was * &is, is.clone()])]
    {
        let graph = &problem.graph;
        let expected = problem.oracle().unwrap();
        let program = kiln_compile::compile(graph, &kiln_compile::Target::plain("test")).unwrap();
        let variables: Vec<Data> = program.variables.iter().map(|v| held(&**v).unwrap()).collect();
        let inputs: Vec<&Data> = problem.inputs.iter().collect();
        let (outputs, updated) = kiln_reference::run(&program, &inputs, &variables).unwrap();
        assert_eq!((outputs, updated), (expected.outputs, expected.updates), "{}\n{program}", problem.name);
    }
}
