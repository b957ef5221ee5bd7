//! The same bits at every instruction set that the machine has, for any number of threads and for other machines' caches: the op table, its
//! derivatives and random graphs.

mod kit;

use std::sync::Arc;

use kiln_cpu::simd::Level;
use kiln_device::{Argument, Output};
use kiln_ir::{Data, Scalar};
use kiln_testkit::{Problem, bits};
use kit::{cpu, set_threads};

/// How many random graphs are looked at.
const GRAPHS: u64 = 1200;

/// The results with one thread, which those with more must equal.
fn results(problem: &Problem) -> Option<Vec<Data>> {
    let program = Arc::new(kiln_compile::compile(&problem.graph, cpu().target()).unwrap());
    if !program.variables.is_empty() {
        return None;
    }
    let mut executable = cpu().load(program.clone()).unwrap();
    let inputs: Vec<Argument> = problem.inputs.iter().map(Argument::of).collect();
    let mut of_one = None;
    for threads in [1, 2, 3, 8] {
        set_threads(threads);
        let filled =
            |(shape, dtype): &(kiln_ir::Shape, _)| Data::filled(*dtype, shape.elements(), Scalar::Int(1));
        let mut outputs: Vec<Data> = program.outputs.iter().map(filled).collect();
        let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
        executable.run(&inputs, &[], &mut targets).unwrap();
        let expected = of_one.get_or_insert_with(|| outputs.clone());
        let same = bits::hash(expected) == bits::hash(&outputs);
        assert!(same, "{}: {threads} threads change the result", problem.name);
    }
    of_one
}

fn problems() -> impl Iterator<Item = Problem> {
    let cases = kiln_testkit::cases();
    let table: Vec<Problem> = cases.iter().map(|case| case.problem().unwrap()).collect();
    let smooth = cases.into_iter().filter(|case| case.differentiable);
    let derivatives = smooth.map(|case| kiln_testkit::gradcheck::derivative_of(case).problem().unwrap());
    let derivatives: Vec<Problem> = derivatives.collect();
    table.into_iter().chain(derivatives).chain((0..GRAPHS).map(kiln_testkit::random_graph))
}

/// What is large enough that plans follow the caches: products, convolutions, their gradients, sums.
fn large() -> impl Iterator<Item = Problem> {
    let words = ["matmul", "conv", "sum", "softmax"];
    let cases = kiln_testkit::speed_cases().into_iter();
    cases
        .filter(move |case| words.iter().any(|word| case.name.starts_with(word)))
        .map(|case| case.case().problem().unwrap())
}

/// Prints the hash of each case where it is asked to, at the level that `KILN_SIMD` names.
#[test]
fn hashes() {
    if !bits::asked() {
        return;
    }
    for problem in problems() {
        if let Some(results) = results(&problem) {
            bits::print(&problem.name, &results);
        }
    }
}

/// The same of large ones.
#[test]
fn hashes_of_large_ones() {
    if !bits::asked() {
        return;
    }
    for problem in large() {
        if let Some(results) = results(&problem) {
            bits::print(&problem.name, &results);
        }
    }
}

#[test]
fn every_machine_s_caches_give_the_same_bits() {
    bits::agree("hashes", "KILN_CACHES", &bits::CACHES);
    bits::agree("hashes_of_large_ones", "KILN_CACHES", &bits::CACHES);
}

#[test]
fn every_level_gives_the_same_bits() {
    let levels: Vec<&str> = Level::all_here().map(Level::name).collect();
    bits::agree("hashes", "KILN_SIMD", &levels);
}
