//! The hunt for the first number that isn't finite. It is switched for the whole process, so it has a file of its own.

mod kit;

use kiln_compile::program::{Operation, Work};
use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Data, ErrorKind, Scalar};
use kit::{Build, alone, check_finite, full, memory, pointwise, run};

/// `w = ln(x) + w`, by way of a temporary; `mask` adds −∞ where the kernel says so.
fn program(infinite_literal: bool) -> Build {
    let f32 = DType::F32;
    let mut build = Build::new();
    let (x, w) = (build.input(&[2, 3], f32), build.variable("fc1.weight", &[2, 3], f32, true));
    let temp = build.arena(f32, 6);
    let mut body = vec![full(Operation::Load(0), f32), full(Operation::Unary(UnaryOp::Ln, 0), f32)];
    if infinite_literal {
        body.push(full(Operation::Literal(Scalar::Float(f64::NEG_INFINITY)), f32));
    }
    let first = pointwise(&[6], vec![build.view(x, &[1])], body, vec![(1, build.view(temp, &[1]))]);
    build.kernel("ln", Work::Fused(first));
    let body = vec![
        full(Operation::Load(0), f32),
        full(Operation::Load(1), f32),
        full(Operation::Binary(BinaryOp::Add, 0, 1), f32),
    ];
    let loads = vec![build.view(temp, &[1]), build.view(w, &[1])];
    let second = pointwise(&[6], loads, body, vec![(2, build.view(w, &[1]))]);
    build.kernel("add", Work::Fused(second));
    build
}

fn found(build: &Build, x: [f32; 6], w: [f32; 6]) -> Option<String> {
    let result = run(&mut *build.load().unwrap(), &build.0, &[&Data::F32(x.to_vec())], &[memory(&w)]);
    result.err().map(|error| {
        assert_eq!(error.kind, ErrorKind::NonFinite);
        error.to_string()
    })
}

#[test]
fn the_first_kernel_is_named() {
    let _alone = alone();
    check_finite(true);
    let build = program(false);
    let ones = [1.0f32; 6];
    assert_eq!(found(&build, ones, ones), None);
    let error = found(&build, [1.0, 2.0, -1.0, 0.0, 1.0, 1.0], ones).unwrap();
    let start = "ln: its store put NaN into element 2 of temporary t2, the first that isn't finite at ";
    assert!(error.starts_with(start), "{error}");
    assert!(error.contains("finite.rs:"), "{error}");
    let error = found(&build, [1.0, 0.0, 1.0, 1.0, 1.0, 1.0], ones).unwrap();
    assert!(error.starts_with("ln: its store put -inf into element 1 of temporary t2"), "{error}");
    let mut large = ones;
    large[5] = f32::MAX;
    let error = found(&build, [f32::MAX; 6], large);
    assert_eq!(error, None, "a large number is a number");
    check_finite(false);
    assert_eq!(found(&build, [-1.0; 6], ones), None);
}

#[test]
fn a_variable_is_named_and_what_was_there_before_is_told_apart() {
    let _alone = alone();
    check_finite(true);
    let build = program(false);
    let ones = [1.0f32; 6];
    let mut bad = ones;
    bad[4] = f32::NAN;
    assert_eq!(
        found(&build, ones, bad).unwrap(),
        "run: variable 0 (fc1.weight) holds a NaN before the run: element 4"
    );
    assert_eq!(found(&build, bad, ones).unwrap(), "run: argument 0 holds a NaN before the run: element 4");
    // An infinity that is there before is meant, and so is what it does; a NaN that it makes isn't.
    bad[4] = f32::INFINITY;
    assert_eq!(found(&build, ones, bad), None);
    let mut zero = ones;
    zero[4] = 0.0;
    let build = program(true);
    assert_eq!(found(&build, zero, ones), None, "a mask's infinity passes");
    let error = found(&build, zero, bad).unwrap();
    let start =
        "add: its store put NaN into element 4 of variable 0 (fc1.weight), the first that isn't finite";
    assert!(error.starts_with(start), "{error}");
    check_finite(false);
}
