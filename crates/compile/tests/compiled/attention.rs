//! Attention that others composed of products and a softmax is found, and only that.

use kiln_compile::program::Work;
use kiln_compile::{Target, compile};
use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use kiln_ir::{DType, Data, Expr, Graph, Shape};
use kiln_testkit::{Problem, Tolerance, close};

fn numbers(shape: &Shape, seed: usize) -> Data {
    Data::F32((0..shape.elements()).map(|at| ((at * 7 + seed * 3) % 11) as f32 / 5.0 - 1.0).collect())
}

/// A softmax along the last axis, which divides, or multiplies by a reciprocal.
fn softmax(x: &Expr, divides: bool) -> Expr {
    let last = [x.rank() - 1];
    let powers = (x - x.reduce(ReduceOp::Max, &last)).unary(UnaryOp::Exp);
    let sum = powers.sum(&last);
    if divides { powers / sum } else { &powers * &sum.unary(UnaryOp::Recip) }
}

/// How many kernels of attention these outputs of `[q, k, v, more]` come to, when they are what they mean.
fn kernels(shapes: [Shape; 4], build: impl Fn(&[Expr]) -> Vec<Expr>) -> usize {
    let inputs: Vec<(Shape, Data)> =
        shapes.into_iter().enumerate().map(|(at, shape)| (shape.clone(), numbers(&shape, at))).collect();
    let operands: Vec<Expr> = inputs
        .iter()
        .enumerate()
        .map(|(at, (shape, _))| Expr::input(at, shape.clone(), DType::F32))
        .collect();
    let problem = Problem::trace("composed", &inputs, &build(&operands)).unwrap();
    let graph: &Graph = &problem.graph;
    let program = compile(graph, &Target::plain("test")).unwrap();
    let data: Vec<&Data> = problem.inputs.iter().collect();
    let (found, _) = kiln_reference::run(&program, &data, &[]).unwrap();
    for (found, expected) in found.iter().zip(&problem.oracle().unwrap().outputs) {
        close::compare(found, expected, Tolerance::of(DType::F32).times(16.0)).unwrap();
    }
    program.kernels.iter().filter(|kernel| matches!(kernel.work, Work::Attention(_))).count()
}

fn four_axes() -> [Shape; 4] {
    [[2, 2, 3, 4].into(), [2, 2, 5, 4].into(), [2, 2, 5, 3].into(), [2, 2, 3, 5].into()]
}

#[test]
fn composed_attention_becomes_one_kernel() {
    for divides in [false, true] {
        let plain = kernels(four_axes(), |x| {
            let scores = x[0].matmul(&x[1].transpose());
            vec![softmax(&scores, divides).matmul(&x[2]) + 1.0]
        });
        assert_eq!(plain, 1);
        let scaled = kernels(four_axes(), |x| {
            let scores = x[0].matmul(&x[1].transpose()) * 0.3 + &x[3];
            vec![softmax(&scores, divides).matmul(&x[2])]
        });
        assert_eq!(scaled, 1);
        let masked_for_all = kernels([[3, 4].into(), [5, 4].into(), [5, 3].into(), [1, 5].into()], |x| {
            let scores = &x[3] + &(x[0].matmul(&x[1].transpose()) / 2.5);
            vec![softmax(&scores, divides).matmul(&x[2])]
        });
        assert_eq!(masked_for_all, 1);
        let of_three_axes =
            kernels([[2, 3, 4].into(), [2, 4, 5].into(), [2, 5, 3].into(), [1, 1, 1].into()], |x| {
                vec![
                    softmax(&(x[0].matmul(&x[1]) * &x[3].broadcast_to(&[2, 3, 5].into())), divides)
                        .matmul(&x[2]),
                ]
            });
        assert_eq!(of_three_axes, 0, "scores that aren't multiplied by one number");
    }
}

#[test]
fn what_is_asked_for_or_is_another_function_stays_composed() {
    let weights_asked_for = kernels(four_axes(), |x| {
        let weights = softmax(&x[0].matmul(&x[1].transpose()), false);
        vec![weights.matmul(&x[2]), weights]
    });
    assert_eq!(weights_asked_for, 0);
    let scores_asked_for = kernels(four_axes(), |x| {
        let scores = x[0].matmul(&x[1].transpose());
        vec![softmax(&scores, false).matmul(&x[2]), scores * 2.0]
    });
    assert_eq!(scores_asked_for, 0);
    let along_queries = kernels(four_axes(), |x| {
        let scores = x[0].matmul(&x[1].transpose());
        let powers = (&scores - scores.reduce(ReduceOp::Max, &[2])).unary(UnaryOp::Exp);
        vec![(&powers / &powers.sum(&[2])).matmul(&x[2])]
    });
    assert_eq!(along_queries, 0);
    let without_product = kernels(four_axes(), |x| {
        vec![softmax(&x[3].binary(BinaryOp::Max, &x[3].full_like(0.1)), true).matmul(&x[2])]
    });
    assert_eq!(without_product, 0);
}
