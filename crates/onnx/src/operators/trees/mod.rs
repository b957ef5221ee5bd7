//! Tree ensembles, as what learns from tables writes them.

mod forest;
mod read;

use kiln_nn::Tensor;

use self::forest::Together;
use super::scores::{Transform, chosen};
use crate::call::{Call, Operator, one};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "TreeEnsembleClassifier" => classify,
        "TreeEnsembleRegressor" => |call| {
            let targets = call.sizes(&[call.int("n_targets", 1)])?[0];
            let forest = read::nodes(call, "target")?;
            let sums = forest.walk(call, &call.tensor(0)?, targets, together(call)?)?;
            let sums = match read::numbers(call, "base_values")? {
                base if base.is_empty() => sums,
                base if base.len() == targets => &sums + Tensor::from(base).cast(sums.dtype()),
                base => return Err(call.fault(format!("{} base values for {targets} targets", base.len()))),
            };
            one(Transform::of(call)?.on(&sums))
        },
        "TreeEnsemble" => |call| {
            let targets = call.sizes(&[call.int("n_targets", 1)])?[0];
            let together = match call.int("aggregate_function", 1) {
                0 => Together::Average,
                1 => Together::Sum,
                2 => Together::Least,
                3 => Together::Most,
                other => return Err(call.fault(format!("aggregate_function {other}"))),
            };
            let x = call.tensor(0)?;
            let sums = read::leaves(call)?.walk(call, &x, targets, together)?;
            call.like(0, Transform::numbered(call)?.on(&sums).cast(x.dtype()))
        },
        _ => return None,
    })
}

/// How the trees' leaves are aggregated.
fn together(call: &Call) -> Result<Together> {
    Ok(match call.text("aggregate_function", "SUM").as_str() {
        "SUM" => Together::Sum,
        "AVERAGE" => Together::Average,
        "MIN" => Together::Least,
        "MAX" => Together::Most,
        other => return Err(call.fault(format!("aggregate_function {other}"))),
    })
}

/// A class for each row, and scores of all. What two classes mean where the trees know only one of them follows ONNX Runtime, for ONNX
/// doesn't say.
fn classify(call: &Call) -> Result<Vec<Value>> {
    let transform = Transform::of(call)?;
    let forest = read::nodes(call, "class")?;
    let labels = super::scores::labels(call, "classlabels_int64s", "classlabels_strings")?;
    let count = labels.shape().iter().product::<usize>();
    let ids = call.ints("class_ids").unwrap_or_default();
    let base = read::numbers(call, "base_values")?;
    let alone = count == 2 && ids.windows(2).all(|pair| pair[0] == pair[1]);
    let sums = forest.walk(call, &call.tensor(0)?, count, Together::Sum)?;
    if !alone {
        let sums = match base.len() {
            0 => sums,
            found if found == count => &sums + Tensor::from(base).cast(sums.dtype()),
            found => return Err(call.fault(format!("{found} base values for {count} classes"))),
        };
        return Ok(vec![chosen(call, &labels, &sums.argmax(-1))?, Value::of(transform.on(&sums))]);
    }
    let second = ids.first().is_some_and(|&id| id != 0);
    let shift = |at: usize| base.get(at).copied().unwrap_or(0.0);
    let score = sums.narrow(-1, isize::from(second), 1) + shift(base.len().saturating_sub(1));
    let positive = forest.is_positive();
    let class = score.gt(if positive { 0.5 } else { 0.0 }).cast(kiln_ir::DType::I64).squeeze(-1);
    let scores = match transform {
        _ if second => transform.on(&Tensor::concat(&[score.full_like(shift(0)), score], -1)),
        _ if base.len() == 2 => transform.on(&Tensor::concat(&[-&score, score], -1)),
        _ if positive => Tensor::concat(&[-&score + 1.0, score], -1),
        Transform::Logistic => Tensor::concat(&[(-&score).sigmoid(), score.sigmoid()], -1),
        _ => Tensor::concat(&[-&score, score], -1),
    };
    let scores = Value::Numbers(scores.cast(kiln_ir::DType::F32), OnnxDType::F32);
    Ok(vec![chosen(call, &labels, &class)?, scores])
}
