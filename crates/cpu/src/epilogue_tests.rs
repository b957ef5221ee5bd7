//! An epilogue that is understood beside the interpreted one.

use kiln_compile::program::{Instruction, Store};

use super::*;
use crate::fused::Interpreter;

fn view(buffer: usize, strides: [isize; 2]) -> View {
    View { buffer, dtype: DType::F32, offset: 0, strides: strides.to_vec() }
}

/// An epilogue over 3 rows of 21 columns: buffer 0 the result, 1 for each column, 2 for each element.
fn epilogue(operations: &[Operation]) -> Fused {
    let full =
        |operation: &Operation| Instruction { operation: operation.clone(), dtype: DType::F32, full: true };
    Fused {
        loops: vec![3, 21],
        reduced: vec![false, false],
        loads: vec![view(1, [0, 1]), view(2, [21, 1])],
        body: operations.iter().map(full).collect(),
        stores: vec![Store { value: operations.len() - 1, view: view(0, [21, 1]) }],
    }
}

/// Ways to go on from a value.
const STEPS: usize = 10;

fn step(number: usize, body: &mut Vec<Operation>) {
    let value = body.len() - 1;
    let literal = |x: f64| Operation::Literal(Scalar::Float(x));
    let (operand, op, first) = match number {
        0 => (Operation::Load(0), BinaryOp::Mul, true),
        1 => (Operation::Load(0), BinaryOp::Add, false),
        2 => (Operation::Load(1), BinaryOp::Add, true),
        3 => return body.push(Operation::Unary(UnaryOp::Relu, value)),
        9 => {
            body.push(Operation::Unary(UnaryOp::Sigmoid, value));
            return body.push(Operation::Binary(BinaryOp::Mul, value, value + 1));
        }
        4 => (literal(0.0), BinaryOp::Max, true),
        5 => (literal(0.0), BinaryOp::Max, false),
        6 => (literal(0.5), BinaryOp::Min, true),
        7 => (literal(0.0), BinaryOp::Min, true),
        _ => (literal(-0.25), BinaryOp::Max, false),
    };
    body.push(operand);
    let (x, y) = if first { (value, value + 1) } else { (value + 1, value) };
    body.push(Operation::Binary(op, x, y));
}

#[test]
fn an_epilogue_that_is_understood_gives_the_bits_of_the_interpreted_one() {
    let mut sums: Vec<f32> = (0..63).map(|i| (i * 7 % 13) as f32 / 6.0 - 1.0).collect();
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e-30, 3.0f32.sqrt()];
    sums[30..30 + special.len()].copy_from_slice(&special);
    let columns: Vec<f32> = (0..21).map(|i| (i as f32 - 9.0) * 0.1).collect();
    let mut elements: Vec<f32> = (0..63).map(|i| (i % 5) as f32 * 0.3 - 0.6).collect();
    elements[33] = -0.0;
    let (mut understood, mut out) = (0, vec![9f32; 63]);
    let mut bases = Bases::new(3);
    bases.set(0, out.as_mut_ptr().cast());
    bases.set(1, columns.as_ptr().cast_mut().cast());
    bases.set(2, elements.as_ptr().cast_mut().cast());
    for choice in 0..STEPS.pow(4) {
        let mut body = vec![Operation::Accumulator];
        (0..4).for_each(|place| step(choice / STEPS.pow(place) % STEPS, &mut body));
        let fused = epilogue(&body);
        let Some(pattern) = EpiloguePattern::of(&fused) else { continue };
        understood += 1;
        for level in Level::all_here() {
            // Of a product of two that are no numbers the sign isn't defined.
            let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
            let bits = |out: &[f32]| out.iter().copied().map(bits).collect::<Vec<_>>();
            // SAFETY: everything has the rows and columns of the epilogue, and the machine has the level.
            unsafe { pattern.at(&bases, level).apply(sums.as_ptr(), 21, 0..3, 0..21) };
            let found = bits(&out);
            let interpreter = Interpreter::new(&fused, level);
            // SAFETY: as above.
            unsafe { interpreter.run_block(&bases, sums.as_ptr().cast(), 21, 0..3, 0..21) };
            assert_eq!(found, bits(&out), "{body:?} at {}", level.name());
        }
    }
    assert!(understood > 500, "{understood}");
}

#[test]
fn what_comes_behind_a_clamp_is_not_moved_before_it() {
    let relu = Operation::Unary(UnaryOp::Relu, 0);
    let add = Operation::Binary(BinaryOp::Add, 1, 2);
    assert!(
        EpiloguePattern::of(&epilogue(&[Operation::Accumulator, relu, Operation::Load(0), add])).is_none()
    );
    let scaled_late = [
        Operation::Accumulator,
        Operation::Load(0),
        Operation::Binary(BinaryOp::Add, 0, 1),
        Operation::Binary(BinaryOp::Mul, 2, 1),
    ];
    assert!(EpiloguePattern::of(&epilogue(&scaled_late)).is_none());
}
