//! The table of operations against itself: it is complete, gradients are what differences show, and a simplified
//! graph gives what the graph gave.

use std::collections::HashSet;

use kiln_ir::simplify::simplify;
use kiln_ir::{DType, Op, check::check};
use kiln_testkit::gradcheck::derivative_of;
use kiln_testkit::table::{BINARY, KINDS, REDUCE, UNARY, kind};
use kiln_testkit::{Case, Tolerance, assert_close, cases, gradcheck};

fn differentiable_in_f64() -> impl Iterator<Item = Case> {
    let in_f64 = |case: &Case| case.inputs.iter().any(|(_, data)| data.dtype() == DType::F64);
    cases().into_iter().filter(move |case| case.differentiable && in_f64(case))
}

#[test]
fn every_operation_is_in_the_table() {
    let mut kinds: HashSet<&str> = HashSet::new();
    let (mut unary, mut binary, mut reduce) = (HashSet::new(), HashSet::new(), HashSet::new());
    for case in cases() {
        let value = (case.build)(&case.operands());
        let root = value.node().unwrap_or_else(|error| panic!("{}: {error}", case.name)).clone();
        for node in kiln_ir::node::topological(&[root]) {
            kinds.insert(kind(&node.op));
            match &node.op {
                Op::Unary(function) => drop(unary.insert(*function)),
                Op::Binary(function) => drop(binary.insert(*function)),
                Op::Reduce(function, _) => drop(reduce.insert(*function)),
                _ => {}
            }
        }
    }
    assert_eq!(KINDS.iter().filter(|kind| !kinds.contains(*kind)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!((unary.len(), binary.len(), reduce.len()), (UNARY.len(), BINARY.len(), REDUCE.len()));
}

#[test]
fn names_of_cases_are_unique() {
    let mut seen = HashSet::new();
    for case in cases() {
        assert!(seen.insert(case.name.clone()), "{}", case.name);
    }
}

#[test]
fn a_simplified_case_gives_the_same() {
    for case in cases() {
        let problem = case.problem().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        check(&problem.graph).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
        let before = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let simple = problem.with_graph(simplify(&problem.graph));
        let after = simple.oracle().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_close(&case.name, &after.outputs[0], &before.outputs[0], Tolerance::EXACT);
    }
}

#[test]
fn gradients_are_what_differences_show() {
    differentiable_in_f64().for_each(|case| gradcheck(&case));
}

#[test]
fn second_derivatives_are_what_differences_of_the_first_show() {
    differentiable_in_f64().map(derivative_of).for_each(|case| gradcheck(&case));
}

#[test]
fn gradients_build_and_evaluate_in_every_float_dtype() {
    for case in cases().into_iter().filter(|case| case.differentiable) {
        let slope = derivative_of(case);
        let problem = slope.problem().unwrap_or_else(|error| panic!("{}: {error}", slope.name));
        problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", slope.name));
    }
}
