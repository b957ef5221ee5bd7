//! Products of matrices.

use kiln_nn::Tensor;

use crate::call::{Call, Operator};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "MatMul" => |call| call.like(0, call.tensor(0)?.matmul(&call.tensor(1)?)),
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
fn gemm(call: &Call) -> Result<Vec<Value>> {
    let side = |position: usize, name: &str| -> Result<Tensor> {
        let x = call.tensor(position)?;
        Ok(if call.int(name, 0) != 0 { x.t() } else { x })
    };
    let mut y = side(0, "transA")?.matmul(&side(1, "transB")?);
    let scaled = |x: Tensor, factor: f64| match factor == 1.0 {
        true => x,
        false => {
            let dtype = x.dtype();
            (x * factor).cast(dtype)
        }
    };
    y = scaled(y, call.float("alpha", 1.0));
    if let Some(c) = call.optional(2)? {
        y += scaled(c, call.float("beta", 1.0));
    }
    call.like(0, y)
}
