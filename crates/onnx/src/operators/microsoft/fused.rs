//! Fused operators: products, convolutions and norms with what stands before and behind them in one node.

use kiln_nn::Tensor;

use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::operators::windows::{biased, conv};
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "FusedConv" => |call| {
            let mut y = biased(conv(call, &call.tensor(0)?, &call.tensor(1)?)?, call.optional(2)?);
            if let Some(other) = call.optional(3)? {
                y += other;
            }
            call.like(0, activated(call, &y)?)
        },
        "FusedGemm" => |call| {
            let Some(Value::Numbers(y, element)) = crate::operators::contract::gemm(call)?.into_iter().next()
            else {
                return Err(call.fault("there is no product"));
            };
            Ok(vec![Value::Numbers(activated(call, &y)?, element)])
        },
        "FusedMatMul" | "TransposeMatMul" => |call| {
            let side = |position: usize, name: &str, batches: &str| -> Result<Tensor> {
                let mut x = call.tensor(position)?;
                let rank = x.rank() as isize;
                // The batch stands between the axes of a matrix: its first axis goes behind the others but the last.
                if call.int(batches, 0) != 0 && rank > 2 {
                    x = x.move_axis(0, rank - 2);
                }
                Ok(if call.int(name, 0) != 0 && rank > 1 { x.t() } else { x })
            };
            let y = side(0, "transA", "transBatchA")?.matmul(&side(1, "transB", "transBatchB")?);
            let alpha = call.float("alpha", 1.0);
            call.like(0, if alpha == 1.0 { y } else { y * alpha })
        },
        "BiasGelu" => |call| float(call, &|x, call| Ok((x + &bias(call)?).gelu())),
        "FastGelu" => |call| {
            float(call, &|x, call| {
                Ok(if call.has(1) { (x + &bias(call)?).gelu_tanh() } else { x.gelu_tanh() })
            })
        },
        "QuickGelu" => |call| float(call, &|x, call| Ok(x * (x * call.float("alpha", 1.702)).sigmoid())),
        "SimplifiedLayerNormalization" => |call| {
            let first = call.axis(call.int("axis", -1), call.tensor(0)?.rank())? as isize;
            float(call, &|x, call| {
                let axes: Vec<isize> = (first..x.rank() as isize).collect();
                Ok(x.rms_norm(axes, call.float("epsilon", 1e-5)) * wide(&call.tensor(1)?))
            })
        },
        "SkipLayerNormalization" => |call| {
            skip(call, 4, &|x, call| {
                let y = x.layer_norm(-1, call.float("epsilon", 1e-12)) * wide(&call.tensor(2)?);
                Ok(match call.optional(3)? {
                    Some(beta) => y + wide(&beta),
                    None => y,
                })
            })
        },
        "SkipSimplifiedLayerNormalization" => {
            |call| {
                skip(call, 3, &|x, call| {
                    Ok(x.rms_norm(-1, call.float("epsilon", 1e-12)) * wide(&call.tensor(2)?))
                })
            }
        }
        _ => return None,
    })
}

fn bias(call: &Call) -> Result<Tensor> {
    Ok(wide(&call.tensor(1)?))
}

fn float(call: &Call, f: &dyn Fn(&Tensor, &Call) -> Result<Tensor>) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    call.like(0, f(&wide(&x), call)?.cast(x.dtype()))
}

/// A norm of a sum: of both first inputs and of what may stand at `place`. The sum is the fourth result.
fn skip(call: &Call, place: usize, norm: &dyn Fn(&Tensor, &Call) -> Result<Tensor>) -> Result<Vec<Value>> {
    let (x, element) = (call.tensor(0)?, call.element(0)?);
    let mut sum = wide(&x) + wide(&call.tensor(1)?);
    if let Some(bias) = call.optional(place)? {
        sum += wide(&bias);
    }
    let y = norm(&sum, call)?.cast(x.dtype());
    let sum = Value::Numbers(sum.cast(x.dtype()), element);
    Ok(vec![Value::Numbers(y, element), Value::Nothing, Value::Nothing, sum])
}

/// The activation at the end of a node.
fn activated(call: &Call, y: &Tensor) -> Result<Tensor> {
    // A product names its numbers, a convolution lists them.
    let listed = call.floats("activation_params").unwrap_or_default();
    let number = |at: usize, name: &str, default: f32| match listed.get(at) {
        Some(&number) => f64::from(number),
        None => call.float(name, default),
    };
    Ok(match call.text("activation", "").as_str() {
        "" => y.clone(),
        "Relu" => y.relu(),
        "Sigmoid" => y.sigmoid(),
        "Tanh" => y.tanh(),
        "Softplus" => y.softplus(),
        "Softsign" => y.softsign(),
        "LeakyRelu" => y.leaky_relu(number(0, "activation_alpha", 0.01)),
        "Elu" => y.elu(number(0, "activation_alpha", 1.0)),
        "ThresholdedRelu" => y.gt(number(0, "activation_alpha", 1.0)).select(y, 0.0),
        "HardSigmoid" => {
            (y * number(0, "activation_alpha", 0.2) + number(1, "activation_beta", 0.5)).clamp(0.0, 1.0)
        }
        "Clip" => y.clamp(number(0, "activation_alpha", f32::MIN), number(1, "activation_beta", f32::MAX)),
        other => return Err(call.unknown(format!("the activation {other}"))),
    })
}
