//! Programs for a target that lacks nearly everything give what their graphs mean, or say why they can't.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kiln_compile::{Channels, Target, compile, verify};
use kiln_ir::op::{BinaryOp, CustomOp, Op, UnaryOp, VariableHandle};
use kiln_ir::{DType, Data, Error, ErrorKind, Expr, Graph, Shape};
use kiln_testkit::problem::{HeldVariable, held};
use kiln_testkit::{Problem, Tolerance, close};

/// A GPU of an earlier day: 32-bit words alone, few bindings, nobody to help.
fn poor() -> Target {
    Target {
        stores: vec![DType::I32, DType::F32],
        computes: vec![DType::Bool, DType::I32, DType::F32],
        most_bindings: 4,
        host: false,
        channels: Channels::Last,
        alignment: 256,
        ..Target::plain("poor")
    }
}

/// Integers that the target has room for, as its users must keep to.
fn with_small_counts(mut problem: Problem) -> Problem {
    for input in &mut problem.inputs {
        if let Data::I64(values) = input {
            values.iter_mut().for_each(|value| *value = (*value).clamp(-1000, 1000));
        }
    }
    problem
}

/// What follows from a step (a floor, a comparison, a place) of a value that is rounded to half a float where the target has such: it keeps what is
/// cut off, and a step may fall to the other side.
fn jumping(graph: &Graph) -> HashSet<usize> {
    let (mut rounded, mut jumping) = (HashSet::new(), HashSet::new());
    for (id, node) in graph.nodes.iter().enumerate() {
        let follows = |set: &HashSet<usize>| node.inputs.iter().any(|input| set.contains(input));
        let narrows = matches!(node.dtype, DType::F16 | DType::Bf16);
        let steps = match &node.op {
            Op::Unary(function) => {
                matches!(function, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Sign)
            }
            Op::Binary(BinaryOp::Rem)
            | Op::ArgReduce(..)
            | Op::ArgSort { .. }
            | Op::WindowPick(_)
            | Op::WindowSpread(_) => true,
            _ => !node.dtype.is_float(),
        };
        if follows(&jumping) || (steps && follows(&rounded)) {
            jumping.insert(id);
        }
        if narrows || follows(&rounded) {
            rounded.insert(id);
        }
    }
    jumping
}

fn check(problem: &Problem) -> Result<(), Error> {
    let graph: &Graph = &problem.graph;
    let program = compile(graph, &poor())?;
    verify::program(&program, &poor()).unwrap_or_else(|error| panic!("{}: {error}\n{program}", problem.name));
    let expected = problem.oracle().unwrap();
    let inputs: Vec<&Data> = problem.inputs.iter().collect();
    let variables: Vec<Data> = program.variables.iter().map(|v| held(&**v).unwrap()).collect();
    let (outputs, updated) = kiln_reference::run(&program, &inputs, &variables).unwrap();
    let floats = graph.nodes.iter().map(|node| node.dtype).filter(|dtype| dtype.is_float());
    let coarsest = floats.map(Tolerance::of).max_by(|a, b| a.relative.total_cmp(&b.relative));
    let tolerance = coarsest.unwrap_or(Tolerance::of(DType::F32)).times(4.0);
    let place = |address: usize| program.variables.iter().position(|v| v.address() == address);
    let updated = graph.updates.iter().map(|(variable, _)| &updated[place(variable.address()).unwrap()]);
    let wanted = expected.outputs.iter().chain(&expected.updates);
    let nodes = graph.outputs.iter().chain(graph.updates.iter().map(|(_, node)| node));
    let jumps = jumping(graph);
    for ((found, expected), node) in outputs.iter().chain(updated).zip(wanted).zip(nodes) {
        if jumps.contains(node) {
            continue;
        }
        // Of large integers the lower half.
        let low = |data: &Data| if data.dtype() == DType::I64 { data.cast(DType::I32) } else { data.clone() };
        close::compare(&low(found), &low(expected), tolerance)
            .unwrap_or_else(|message| panic!("{}: {message}\n{graph}\n{program}", problem.name));
    }
    Ok(())
}

/// Checks all that can run, and that of the others each names the target and has a reason of those that there are. Gives how
/// many of each there were.
fn check_all(problems: impl Iterator<Item = Problem>) -> BTreeMap<&'static str, usize> {
    let reasons = ["f64", "host", "random numbers", "too large", "packed weights"];
    let mut counts = BTreeMap::new();
    for problem in problems {
        let problem = with_small_counts(problem);
        let reason = match check(&problem) {
            Ok(()) => "none",
            Err(error) => {
                let text = error.to_string();
                let reason = reasons.into_iter().find(|reason| text.contains(reason));
                assert!(text.contains("poor") && error.kind == ErrorKind::Device, "{}: {text}", problem.name);
                reason.unwrap_or_else(|| panic!("{}: {text}", problem.name))
            }
        };
        *counts.entry(reason).or_default() += 1;
    }
    counts
}

#[test]
fn every_case_of_the_op_table_runs_or_says_why_not() {
    let counts = check_all(kiln_testkit::table::cases().iter().map(|case| case.problem().unwrap()));
    assert!(counts["none"] > 5 * counts["f64"], "{counts:?}");
}

#[test]
fn random_graphs_run_or_say_why_not() {
    let counts = check_all(
        (0..1500).map(kiln_testkit::random_graph).filter(|problem| !jumps_by_halves(&problem.graph)),
    );
    assert!(counts["none"] > 500, "{counts:?}");
}

/// Whether what jumps follows from a half type, of which this target keeps more digits than there are.
fn jumps_by_halves(graph: &Graph) -> bool {
    let mut follows = Vec::with_capacity(graph.nodes.len());
    graph.nodes.iter().any(|node| {
        let of_halves = node.inputs.iter().any(|&input| follows[input]);
        let rounds = [UnaryOp::Floor, UnaryOp::Ceil, UnaryOp::Round, UnaryOp::Sign];
        let jumps = rounds.iter().any(|&function| node.op == Op::Unary(function));
        follows.push(of_halves || matches!(node.dtype, DType::F16 | DType::Bf16));
        of_halves && (jumps || !node.dtype.is_float())
    })
}

fn traced(declared: &[(&[usize], DType)], build: impl Fn(&[Expr]) -> Expr) -> Graph {
    let declared: Vec<(Shape, DType)> =
        declared.iter().map(|(shape, dtype)| ((*shape).into(), *dtype)).collect();
    let inputs = declared.iter().enumerate();
    let inputs: Vec<Expr> = inputs.map(|(i, (shape, dtype))| Expr::input(i, shape.clone(), *dtype)).collect();
    Graph::trace(&declared, &[build(&inputs)], &[]).unwrap().0
}

#[derive(Debug)]
struct Double;

impl CustomOp for Double {
    fn name(&self) -> &str {
        "double"
    }
    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
        Ok((operands[0].0.clone(), operands[0].1))
    }
    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error> {
        Ok(operands[0].1.clone())
    }
}

#[test]
fn a_refusal_names_the_operation_its_line_the_target_and_the_mend() {
    let refused = |graph: &Graph, target: &Target| compile(graph, target).unwrap_err();
    let wide = traced(&[(&[2], DType::F32)], |x| x[0].cast(DType::F64));
    let error = refused(&wide, &poor());
    assert_eq!(error.operation, "cast");
    assert!(error.message.contains("poor doesn't compute in f64; cast to a dtype that it has"), "{error}");
    assert!(error.at.is_some_and(|at| at.file().ends_with("legalise.rs")), "{error}");

    let custom = traced(&[(&[2], DType::F32)], |x| Expr::custom(Arc::new(Double), &[&x[0]]));
    let error = refused(&custom, &poor());
    assert!(error.operation == "double" && error.message.contains("compose it of kiln's own"), "{error}");
    let helped = Target { host: true, ..poor() };
    assert!(compile(&custom, &helped).unwrap().kernels.iter().any(|kernel| kernel.work.on_host()));
    let bytes = traced(&[(&[2], DType::U8)], |x| Expr::custom(Arc::new(Double), &[&x[0]]));
    assert!(refused(&bytes, &helped).message.contains("doesn't hold u8"));
    let many = |x: &[Expr]| Expr::custom(Arc::new(Double), &x.iter().collect::<Vec<_>>());
    let many = traced(&[(&[2][..], DType::F32); 4], many);
    assert!(refused(&many, &helped).message.contains("join some of the operands"));

    let draw = traced(&[(&[2], DType::I64)], |x| x[0].binary(BinaryOp::Random, &x[0]));
    assert!(refused(&draw, &poor()).message.contains("hand them in as an argument"));
    let far = traced(&[(&[2], DType::I64)], |x| &x[0] + &x[0].full_like(1i64 << 40));
    assert!(refused(&far, &poor()).message.contains("1099511627776 is too large for"));
    let sum = traced(&[(&[2], DType::F32)], |x| &x[0] + &x[0]);
    let bare = Target { most_bindings: 1, ..poor() };
    assert!(refused(&sum, &bare).message.contains("lets a kernel touch 1 buffers"));
    let flat = Target { most_loops: 1, ..poor() };
    let turned = traced(&[(&[2, 3, 4], DType::F32)], |x| x[0].permute(&[2, 1, 0]));
    assert!(refused(&turned, &flat).message.contains("reshape some of its axes into one"));
}

#[test]
fn many_operands_are_spread_over_kernels() {
    let eight =
        traced(&[(&[4][..], DType::F32); 8], |x| x.iter().skip(1).fold(x[0].clone(), |sum, x| sum + x));
    assert_eq!(compile(&eight, &Target::plain("rich")).unwrap().kernels.len(), 1);
    let program = compile(&eight, &poor()).unwrap();
    assert!(program.kernels.len() >= 3, "{program}");
    assert!(program.kernels.iter().all(|kernel| kernel.work.buffers().len() <= 4), "{program}");
}

#[test]
fn small_integers_wrap_in_wide_ones_as_in_their_own() {
    let graph = traced(&[(&[3], DType::U8), (&[3], DType::U8)], |x| {
        let sum = (&x[0] + &x[1]).binary(BinaryOp::Max, &(&x[0] * &x[1]));
        &sum - &x[1].unary(UnaryOp::Neg)
    });
    assert!(graph.nodes.iter().any(|node| node.op == Op::Binary(BinaryOp::Mul)));
    let (a, b) = (Data::U8(vec![200, 3, 255]), Data::U8(vec![100, 250, 255]));
    let expected = kiln_ir::eval::evaluate(&graph, &[&a, &b], &|_| unreachable!()).unwrap().outputs;
    let program = compile(&graph, &poor()).unwrap();
    assert_eq!(kiln_reference::run(&program, &[&a, &b], &[]).unwrap().0, expected);
}

#[test]
fn variables_of_what_it_does_not_store_are_updated_all_the_same() {
    let (count, counted) = HeldVariable::new("count", [2], Data::I64(vec![7, -1]));
    let (mask, masked) = HeldVariable::new("mask", [2], Data::Bool(vec![true, false]));
    let (bytes, small) = HeldVariable::new("bytes", [2], Data::U8(vec![255, 3]));
    let updates: Vec<(Arc<dyn VariableHandle>, Expr)> = vec![
        (count, &counted + &counted.full_like(1i64)),
        (mask, masked.unary(UnaryOp::Not)),
        (bytes, &small + &small.full_like(1i64)),
    ];
    let graph = Graph::trace(&[], &[masked.select(&counted, &small.cast(DType::I64))], &updates).unwrap().0;
    let problem = Problem { name: "variables".to_string(), graph, inputs: Vec::new() };
    check(&problem).unwrap();
}
