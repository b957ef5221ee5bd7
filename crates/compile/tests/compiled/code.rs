//! What a code generator and its tuner ask of a program.

use kiln_compile::program::{Kernel, Program, Work};
use kiln_compile::{Target, compile};
use kiln_ir::op::{ReduceOp, ScatterMode, UnaryOp};
use kiln_ir::{DType, Expr, Graph, Shape};

fn program(declared: &[(&[usize], DType)], build: impl Fn(&[Expr]) -> Expr) -> Program {
    let declared: Vec<(Shape, DType)> =
        declared.iter().map(|(shape, dtype)| ((*shape).into(), *dtype)).collect();
    let inputs = declared.iter().enumerate();
    let inputs: Vec<Expr> = inputs.map(|(i, (shape, dtype))| Expr::input(i, shape.clone(), *dtype)).collect();
    let graph = Graph::trace(&declared, &[build(&inputs)], &[]).unwrap().0;
    compile(&graph, &Target::plain("test")).unwrap()
}

fn softmax(x: &Expr) -> Expr {
    let shape = x.shape();
    let largest = x.reduce(ReduceOp::Max, &[1]).broadcast_to(&shape);
    let exp = (x - &largest).unary(UnaryOp::Exp);
    let sum = exp.sum(&[1]).broadcast_to(&shape);
    exp / sum
}

fn last(program: &Program) -> &Kernel {
    program.kernels.last().unwrap()
}

#[test]
fn a_fingerprint_is_that_of_the_work_alone() {
    let of = |program: &Program| program.fingerprint(last(program));
    let plain = program(&[(&[8, 100], DType::F32)], |x| softmax(&x[0]));
    assert_eq!(of(&plain), of(&program(&[(&[8, 100], DType::F32)], |x| softmax(&x[0]))));
    // The same kernel behind others, on other buffers.
    let behind = program(&[(&[3, 100], DType::F32), (&[5, 100], DType::F32)], |x| {
        softmax(&Expr::concat(&[&x[0], &x[1]], 0))
    });
    assert!(behind.kernels.len() > 1);
    assert_eq!(of(&plain), of(&behind));
    let others = [
        program(&[(&[8, 101], DType::F32)], |x| softmax(&x[0])),
        program(&[(&[8, 100], DType::F64)], |x| softmax(&x[0])),
        program(&[(&[100, 8], DType::F32)], |x| softmax(&x[0].transpose())),
        program(&[(&[8, 100], DType::F32)], |x| softmax(&(&x[0] + 1.0))),
    ];
    for (number, other) in others.iter().enumerate() {
        assert_ne!(of(&plain), of(other), "{number}");
    }
}

#[test]
fn fingerprints_stay_the_same_from_run_to_run() {
    let sum = program(&[(&[8], DType::F32), (&[8], DType::F32)], |x| &x[0] + &x[1]);
    assert_eq!(
        sum.fingerprint(last(&sum)),
        0x7c25_383a_18cf_3361,
        "a kernel's description changed: tuners start anew"
    );
}

#[test]
fn levels_count_the_reductions_a_value_waits_for() {
    let program = program(&[(&[8, 100], DType::F32)], |x| softmax(&x[0]));
    let Work::Fused(fused) = &program.kernels[0].work else { panic!("{program}") };
    let stored = fused.levels()[fused.stores[0].value];
    assert_eq!((stored, fused.folded()), (2, 100), "{fused}");
}

#[test]
fn long_folds_are_cut_by_sizes_alone() {
    let sum = |shape: &[usize], axes: &[usize]| program(&[(shape, DType::F32)], |x| x[0].sum(axes));
    assert_eq!(last(&sum(&[1 << 20], &[0])).blocks, 256);
    assert_eq!(last(&sum(&[2048, 512], &[1])).blocks, 1);
    assert_eq!(last(&sum(&[100], &[0])).blocks, 1);
}

#[test]
fn the_order_of_a_scatter_matters_where_an_index_may_come_twice() {
    let scatter = |dtype: DType, mode: ScatterMode, index: &dyn Fn(&Expr) -> Expr| {
        let shape = [6, 4];
        let declared: [(&[usize], DType); 3] = [(&shape, dtype), (&shape, DType::I64), (&shape, dtype)];
        let program = program(&declared, |x| x[0].scatter(&index(&x[1]), &x[2], 0, mode));
        program.kernels.iter().any(|kernel| kernel.ordered)
    };
    let given = |index: &Expr| index.clone();
    let sorted = |index: &Expr| index.argsort(0, false);
    let counted =
        |_: &Expr| Expr::iota([6], 0, DType::I64).reshape([6, 1]).broadcast_to(&[6, 4].into()).flip(&[0]);
    let across = |_: &Expr| Expr::iota([4], 0, DType::I64).broadcast_to(&[6, 4].into());
    assert!(scatter(DType::F32, ScatterMode::Add, &given));
    assert!(scatter(DType::I32, ScatterMode::Set, &given));
    assert!(!scatter(DType::I32, ScatterMode::Add, &given));
    assert!(!scatter(DType::F32, ScatterMode::Add, &sorted));
    assert!(!scatter(DType::F32, ScatterMode::Set, &counted));
    assert!(scatter(DType::F32, ScatterMode::Add, &across));
}
