//! Losses of classes.

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "NegativeLogLikelihoodLoss" => |call| {
            let x = call.tensor(0)?;
            call.like(0, loss(call, &wide(&x))?.cast(x.dtype()))
        },
        "SoftmaxCrossEntropyLoss" => |call| {
            let x = call.tensor(0)?;
            let wide = wide(&x);
            if wide.rank() < 2 {
                return Err(call.fault(format!("{} has no classes", wide.shape())));
            }
            let logs = &wide - wide.logsumexp_keepdim(1);
            let element = call.element(0)?;
            let loss = Value::Numbers(loss(call, &logs)?.cast(x.dtype()), element);
            Ok(vec![loss, Value::Numbers(logs.cast(x.dtype()), element)])
        },
        _ => return None,
    })
}

/// The negative log-likelihood of log-probabilities `[batch, classes, …]` beside classes `[batch, …]`, each with the weight of its class.
fn loss(call: &Call, logs: &Tensor) -> Result<Tensor> {
    let (shape, classes) = (logs.shape(), call.tensor(1)?.cast(DType::I64));
    if shape.rank() < 2 || classes.shape()[..] != [&shape[..1], &shape[2..]].concat() {
        return Err(call.fault(format!("classes {} for {shape}", classes.shape())));
    }
    let ignored = call.is_set("ignore_index").then(|| classes.eq(call.int("ignore_index", 0)));
    // What is ignored may be no class at all.
    let classes = match &ignored {
        Some(ignored) => ignored.select(0, &classes),
        None => classes,
    };
    let own = -logs.gather(1, &classes.unsqueeze(1)).squeeze(1);
    let mut weight = match call.optional(2)? {
        Some(weights) if *weights.shape() == [shape[1]] => {
            let weights = weights.cast(logs.dtype()).index_select(0, &classes.reshape(-1));
            weights.reshape(classes.shape())
        }
        Some(weights) => return Err(call.fault(format!("weights {} for {shape}", weights.shape()))),
        None => own.ones_like(),
    };
    if let Some(ignored) = ignored {
        weight = ignored.select(0.0, weight);
    }
    let losses = weight.eq(0.0).select(0.0, own * &weight);
    Ok(match call.text("reduction", "mean").as_str() {
        "none" => losses,
        "sum" => losses.sum(..),
        "mean" => losses.sum(..) / weight.sum(..),
        other => return Err(call.unknown(format!("the reduction {other}"))),
    })
}
