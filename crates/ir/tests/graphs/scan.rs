//! Scans against their steps written out: values, gradients that are whole or cut off, what is refused, and how they read.

use std::slice::from_ref;

use kiln_ir::expr::{ScanOptions, Scanned};
use kiln_ir::grad::gradients;
use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Data, Expr, Op, Shape, check::check};
use kiln_testkit::gradcheck::weighted_sum;
use kiln_testkit::table::without_scans;
use kiln_testkit::{Problem, Tolerance, assert_close, cases};

#[test]
fn a_scan_and_its_gradient_are_what_its_steps_written_out_are() {
    let mut count = 0;
    for case in cases().into_iter().filter(|case| case.name.starts_with("scan f64")) {
        let operands = case.operands();
        let value = (case.build)(&operands);
        let plain = without_scans(&value);
        let mut outputs = vec![value.clone(), plain.clone()];
        let floats: Vec<Expr> = operands.iter().filter(|x| x.dtype().is_float()).cloned().collect();
        for value in [value, plain] {
            outputs.extend(gradients(&weighted_sum(&value, 3), &floats, None));
        }
        let problem = Problem::trace(&case.name, &case.inputs, &outputs).unwrap();
        check(&problem.graph).unwrap();
        let found = problem.oracle().unwrap().outputs;
        let tolerance = Tolerance { absolute: 1e-9, relative: 1e-9 };
        assert_close(&case.name, &found[0], &found[1], tolerance);
        for (number, pair) in (2..2 + floats.len()).zip(2 + floats.len()..) {
            let what = format!("{}, gradient of input {}", case.name, number - 2);
            assert_close(&what, &found[number], &found[pair], tolerance);
        }
        count += 1;
    }
    assert!(count > 40, "{count} scans");
}

/// `h ← tanh(0.7·h + x)` over so many steps, and what each gives.
fn cell(x: &Expr, options: ScanOptions) -> Scanned {
    let start = Expr::full([2], 0.3, DType::F64);
    let step = |s: &[Expr], x: &[Expr]| {
        let h = (&s[0] * 0.7 + &x[0]).unary(UnaryOp::Tanh);
        (vec![h.clone()], vec![h])
    };
    Expr::scan(&[start], std::slice::from_ref(x), options, &step).unwrap()
}

/// The same, written out, with the state cut off after every so many steps.
fn truncated(x: &Expr, every: usize, reverse: bool) -> Expr {
    let steps = x.shape()[0];
    let mut h = Expr::full([1, 2], 0.3, DType::F64);
    let mut all = vec![h.clone(); steps];
    for step in 0..steps {
        if step > 0 && step % every == 0 {
            h = h.stop_gradient();
        }
        let at = if reverse { steps - 1 - step } else { step };
        h = (&h * 0.7 + x.narrow(0, at, 1)).unary(UnaryOp::Tanh);
        all[at] = h.clone();
    }
    Expr::concat(&all.iter().collect::<Vec<_>>(), 0)
}

#[test]
fn a_truncated_gradient_is_that_of_states_cut_off() {
    let inputs = [(Shape::from([7, 2]), Data::F64((0..14).map(|i| f64::from(i) * 0.1 - 0.6).collect()))];
    let x = Expr::input(0, [7, 2], DType::F64);
    for every in [1, 2, 3, 7, 9] {
        for reverse in [false, true] {
            for checkpoint in [None, Some(2), Some(3)] {
                let options = ScanOptions { reverse, checkpoint, ..ScanOptions::new().truncate(every) };
                let found = cell(&x, options).stacked.remove(0);
                let expected = truncated(&x, every, reverse);
                let slope =
                    |y: &Expr| gradients(&weighted_sum(y, 5), std::slice::from_ref(&x), None).remove(0);
                let outputs = [found.clone(), expected.clone(), slope(&found), slope(&expected)];
                let problem = Problem::trace("truncated", &inputs, &outputs).unwrap();
                let values = problem.oracle().unwrap().outputs;
                let name = format!("{options:?}");
                let tolerance = Tolerance { absolute: 1e-12, relative: 1e-12 };
                assert_close(&name, &values[0], &values[1], tolerance);
                assert_close(&format!("gradient, {name}"), &values[2], &values[3], tolerance);
            }
        }
    }
}

#[test]
fn products_of_slices_and_weight_gradients_are_one_product_each() {
    let [x, w, u] = [(0, vec![9, 2, 4]), (1, vec![4, 3]), (2, vec![3, 3])]
        .map(|(at, shape)| Expr::input(at, shape, DType::F32));
    let start = Expr::full([2, 3], 0.0, DType::F32);
    let step = |s: &[Expr], x: &[Expr]| {
        let h = (x[0].matmul(&w) + s[0].matmul(&u)).unary(UnaryOp::Tanh);
        (vec![h.clone()], vec![h])
    };
    let y = Expr::scan(&[start], from_ref(&x), ScanOptions::new(), &step).unwrap().stacked.remove(0);
    let slopes = gradients(&weighted_sum(&y, 1).cast(DType::F32), &[x.clone(), w.clone(), u.clone()], None);
    let declared = [&x, &w, &u].map(|x| (x.shape(), x.dtype()));
    let graph = kiln_ir::Graph::trace(&declared, &slopes, &[]).unwrap().0;
    let products = |graph: &kiln_ir::Graph| graph.nodes.iter().filter(|node| node.op == Op::Matmul).count();
    // Outside: x·w, the gradients of x, w and u. In each body the product with the state alone.
    assert_eq!(products(&graph), 4, "{graph}");
    for node in &graph.nodes {
        if let Op::Scan(scan, _) = &node.op {
            assert_eq!(products(&scan.body), 1, "{graph}");
        }
    }
}

#[test]
fn what_makes_no_scan_is_refused() {
    let x = Expr::input(0, [3, 2], DType::F32);
    let long = Expr::input(1, [4, 2], DType::F32);
    let start = Expr::full([2], 0.0, DType::F32);
    let same = |s: &[Expr], x: &[Expr]| (s.to_vec(), x.to_vec());
    let refused = |start: &[Expr], sequences: &[Expr], options, body: kiln_ir::expr::ScanBody| {
        Expr::scan(start, sequences, options, body).unwrap_err().message
    };
    let plain = ScanOptions::new();
    let wider = |s: &[Expr], _: &[Expr]| (vec![Expr::concat(&[&s[0], &s[0]], 0)], vec![]);
    assert_eq!(
        refused(from_ref(&start), from_ref(&x), plain, &wider),
        "state 0 goes in as f32[2] and comes out as f32[4]; a state keeps its shape and dtype in every step"
    );
    let other = |s: &[Expr], _: &[Expr]| (vec![s[0].cast(DType::F64)], vec![]);
    assert!(
        refused(from_ref(&start), from_ref(&x), plain, &other).contains("f32[2] and comes out as f64[2]")
    );
    let none = |_: &[Expr], x: &[Expr]| (vec![], x.to_vec());
    assert_eq!(refused(from_ref(&start), from_ref(&x), plain, &none), "1 states go in, and 0 come out");
    assert_eq!(refused(&[], &[x.clone(), long], plain, &same), "sequence 1 is [4, 2], and there are 3 steps");
    assert_eq!(refused(&[], &[Expr::full((), 1.0, DType::F32)], plain, &same), "sequence 0 is one number");
    assert_eq!(refused(from_ref(&start), &[], plain, &same), "without a sequence it needs a length");
    assert!(refused(from_ref(&start), from_ref(&x), plain.truncate(0), &same).starts_with("0 steps"));
    assert!(refused(from_ref(&start), from_ref(&x), plain.checkpoint(0), &same).starts_with("0 steps"));
    let wrong = |s: &[Expr], x: &[Expr]| (vec![s[0].matmul(&x[0])], vec![]);
    assert!(refused(&[start], &[x], plain, &wrong).contains("ranks don't fit"));
}

#[test]
fn a_stand_in_that_gets_out_is_refused() {
    let kept = std::cell::RefCell::new(None);
    let x = Expr::full([3, 2], 1.0, DType::F32);
    let body = |_: &[Expr], x: &[Expr]| {
        kept.replace(Some(&x[0] * 2.0));
        (vec![], vec![x[0].clone()])
    };
    Expr::scan(&[], &[x], ScanOptions::new(), &body).unwrap();
    let error = kiln_ir::Graph::trace(&[], &[kept.take().unwrap()], &[]).unwrap_err();
    assert!(error.message.contains("it has a value only inside its step"), "{error}");
}

#[test]
fn a_scan_reads_with_its_body() {
    let x = Expr::input(0, [3, 2], DType::F32);
    let start = Expr::full([2], 0.0, DType::F32);
    let step = |s: &[Expr], x: &[Expr]| {
        let sum = s[0].binary(BinaryOp::Add, &x[0]);
        (vec![sum.clone()], vec![sum])
    };
    let Scanned { last, stacked } =
        Expr::scan(&[start], from_ref(&x), ScanOptions::new().reverse(), &step).unwrap();
    let outputs = [last[0].clone(), stacked[0].clone()];
    let (graph, _) = kiln_ir::Graph::trace(&[(x.shape(), x.dtype())], &outputs, &[]).unwrap();
    let text = graph.to_string();
    assert!(text.contains(", 3 steps backwards, state 0 at the end)"), "{text}");
    assert!(text.contains(", 3 steps backwards, its %2 stacked)"), "{text}");
    assert_eq!(text.matches("\n    %2 f32[2] = add(%0, %1)").count(), 1, "one body: {text}");
}
