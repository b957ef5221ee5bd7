//! Leaves, and operations that steer gradients or evaluation.

use std::sync::Arc;

use kiln_ir::checkpoint::checkpoint;
use kiln_ir::error::ErrorKind;
use kiln_ir::op::{CustomOp, GradientRule, UnaryOp};
use kiln_ir::{DType, Data, Error, Expr, Shape};

use super::{FLOATS, SMALL, Table};
use crate::problem::HeldVariable;
use crate::rng::Range;

pub(super) fn add(table: &mut Table) {
    for dtype in DType::ALL {
        table.rough(format!("fill {dtype}"), &[], move |_| Expr::full([2, 3], 2.7, dtype));
    }
    for dtype in [DType::I64, DType::I32] {
        for (shape, axis) in [(&[7][..], 0), (&[2, 3, 5], 1), (&[3, 0], 1)] {
            table.rough(format!("iota {dtype} {shape:?} axis {axis}"), &[], move |_| {
                Expr::iota(shape, axis, dtype)
            });
        }
    }
    table.rough("const f32".to_string(), &[], |_| Expr::constant(Data::F32(vec![1.0, 2.0, 3.0]), [3]));
    table.rough("var f32".to_string(), &[], |_| {
        HeldVariable::new("weight", [2], Data::F32(vec![1.0, -2.0])).1
    });
    let key_and_counter =
        [(&[3, 41][..], DType::I64, Range::Odd), (&[3, 41][..], DType::I64, Range::Below(1 << 40))];
    table.rough("random from odd keys".to_string(), &key_and_counter, |x| {
        x[0].binary(kiln_ir::op::BinaryOp::Random, &x[1])
    });
    for dtype in FLOATS {
        let x = (&[2, 5][..], dtype, SMALL);
        table.rough(format!("stop_gradient {dtype}"), &[x], |x| x[0].stop_gradient() * &x[0]);
        table.smooth(format!("barrier {dtype}"), &[x, x], |x| x[0].barrier(&[&x[1]]) * &x[1]);
        table
            .smooth(format!("rule {dtype}"), &[x], |x| (&x[0] * &x[0]).with_rule(&[&x[0]], Arc::new(Square)));
        table.smooth(format!("checkpoint {dtype}"), &[x, x], |x| {
            let inside = checkpoint(|| (&x[0] * &x[1]).unary(UnaryOp::Tanh).unary(UnaryOp::Exp));
            inside.unary(UnaryOp::Sin)
        });
    }
    for dtype in [DType::F64, DType::F32] {
        table.smooth(format!("custom {dtype}"), &[(&[2, 5], dtype, SMALL)], |x| {
            Expr::custom(Arc::new(Cube), &[&x[0]])
        });
    }
}

/// The gradient of `x · x`, given by hand.
#[derive(Debug)]
struct Square;

impl GradientRule for Square {
    fn gradient(&self, arguments: &[Expr], _value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        vec![Some(upstream * &arguments[0] * 2.0)]
    }
}

/// `x³` on the host.
#[derive(Debug)]
pub struct Cube;

impl CustomOp for Cube {
    fn name(&self) -> &str {
        "cube"
    }
    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
        match operands {
            [(shape, dtype)] => Ok(((*shape).clone(), *dtype)),
            _ => Err(format!("takes one operand, not {}", operands.len())),
        }
    }
    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error> {
        match operands[0].1 {
            Data::F32(values) => Ok(Data::F32(values.iter().map(|x| x * x * x).collect())),
            Data::F64(values) => Ok(Data::F64(values.iter().map(|x| x * x * x).collect())),
            other => Err(Error::new(ErrorKind::DType, "cube", format!("isn't defined on {}", other.dtype()))),
        }
    }
    fn gradient(&self, operands: &[Expr], _value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        vec![Some(upstream * &operands[0] * &operands[0] * 3.0)]
    }
}
