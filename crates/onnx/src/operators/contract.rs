//! Matrix products.

use kiln_nn::Tensor;
use kiln_nn::composite::{Composite, note};

use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "MatMul" => |call| {
            let (a, b) = (call.tensor(0)?, call.tensor(1)?);
            call.like(0, wide(&a).matmul(&wide(&b)).cast(a.dtype()))
        },
        "Gemm" => gemm,
        "Einsum" => |call| {
            let operands: Vec<Tensor> = (0..call.count()).map(|at| call.tensor(at)).collect::<Result<_>>()?;
            let operands: Vec<&Tensor> = operands.iter().collect();
            let equation: String = call.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
            call.like(0, Tensor::einsum(&equation, &operands))
        },
        _ => return None,
    })
}

/// `alpha · a · b + beta · c`.
pub(super) fn gemm(call: &Call) -> Result<Vec<Value>> {
    let side = |position: usize, name: &str| -> Result<Tensor> {
        let x = wide(&call.tensor(position)?);
        Ok(if call.int(name, 0) != 0 { x.t() } else { x })
    };
    let (a, b) = (side(0, "transA")?, side(1, "transB")?);
    let mut y = a.matmul(&b);
    let scaled = |x: Tensor, factor: f64| match factor == 1.0 {
        true => x,
        false => {
            let dtype = x.dtype();
            (x * factor).cast(dtype)
        }
    };
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    y = scaled(y, alpha);
    if let Some(c) = call.optional(2)?.map(|c| wide(&c)) {
        let plain = alpha == 1.0 && beta == 1.0 && c.rank() == 1;
        y += scaled(c.clone(), beta);
        if plain {
            y = note(y, || (Composite::Dense, [&a, &b, &c]));
        }
    }
    call.like(0, y.cast(call.tensor(0)?.dtype()))
}
