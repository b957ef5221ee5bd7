//! Scores of classes: linear models, and what all models of `ai.onnx.ml` do with scores at the end.

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, Operator, one, vector};
use crate::error::Result;
use crate::value::{Value, whole};

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "LinearRegressor" => |call| {
            let targets = call.sizes(&[call.int("targets", 1)])?[0];
            one(Transform::of(call)?.on(&linear(call, targets)?))
        },
        "LinearClassifier" => classify,
        // A map for each row would be the same numbers with their names; the numbers stay together here.
        "ZipMap" => |call| Ok(vec![call.value(0)?.clone()]),
        _ => return None,
    })
}

/// The transform of scores after the sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Transform {
    Nothing,
    Logistic,
    Softmax,
    /// Softmax of which scores of zero stay out.
    SoftmaxZero,
    Probit,
}

impl Transform {
    /// The one that a node names.
    pub fn of(call: &Call) -> Result<Transform> {
        Ok(match call.text("post_transform", "NONE").as_str() {
            "NONE" => Transform::Nothing,
            "LOGISTIC" => Transform::Logistic,
            "SOFTMAX" => Transform::Softmax,
            "SOFTMAX_ZERO" => Transform::SoftmaxZero,
            "PROBIT" => Transform::Probit,
            other => return Err(call.fault(format!("post_transform {other}"))),
        })
    }

    /// The one that a node of the newest version gives the number of.
    pub fn numbered(call: &Call) -> Result<Transform> {
        Ok(match call.int("post_transform", 0) {
            0 => Transform::Nothing,
            1 => Transform::Softmax,
            2 => Transform::Logistic,
            3 => Transform::SoftmaxZero,
            4 => Transform::Probit,
            other => return Err(call.fault(format!("post_transform {other}"))),
        })
    }

    /// Scores `[rows, classes]` transformed.
    pub fn on(self, x: &Tensor) -> Tensor {
        match self {
            Transform::Nothing => x.clone(),
            Transform::Logistic => x.sigmoid(),
            Transform::Softmax => x.softmax(-1),
            Transform::SoftmaxZero => {
                let most = x.max_keepdim(-1);
                let empty = x.abs().le(1e-7);
                let parts = empty.select(x * (-&most).exp(), (x - &most).exp());
                &parts / parts.sum_keepdim(-1)
            }
            // The inverse of the normal distribution's integral, by Winitzki's formula.
            Transform::Probit => {
                let y = x * 2.0 - 1.0;
                let log = (-y.square() + 1.0).ln();
                let half = &log * 0.5 + 2.0 / (std::f64::consts::PI * 0.147);
                let root = (half.square() - log / 0.147).sqrt() - half;
                y.sign() * root.sqrt() * std::f64::consts::SQRT_2
            }
        }
    }
}

/// The names or numbers of classes.
pub(super) fn labels(call: &Call, numbers: &str, texts: &str) -> Result<Value> {
    if let Some(texts) = call.texts(texts).filter(|texts| !texts.is_empty()) {
        let count = texts.len();
        return Ok(Value::texts(texts, &[count]));
    }
    let numbers = call.ints(numbers).filter(|numbers| !numbers.is_empty());
    numbers.map(vector).ok_or_else(|| call.fault("it doesn't say which classes there are"))
}

/// The label of each row's class.
pub(super) fn chosen(call: &Call, labels: &Value, class: &Tensor) -> Result<Value> {
    match labels {
        Value::Numbers(labels, element) => Ok(Value::Numbers(labels.index_select(0, class), *element)),
        Value::Texts(labels, _) => {
            let Some(class) = call.needed(&Value::of(class.clone()))? else {
                let title = crate::call::title(call.node);
                return Ok(Value::Later(
                    format!("{title} gives texts, known only when it runs; take the scores").into(),
                ));
            };
            let class = whole(&class);
            let texts = || class.iter().filter_map(|&at| labels.get(usize::try_from(at).ok()?));
            call.spelled(texts())?;
            let texts: Vec<String> = texts().cloned().collect();
            let count = texts.len();
            Ok(Value::texts(texts, &[count]))
        }
        _ => Err(call.fault("it has no classes")),
    }
}

/// A row's numbers times the coefficients of each target: `[rows, targets]`.
fn linear(call: &Call, targets: usize) -> Result<Tensor> {
    let x = call.tensor(0)?.cast(DType::F32);
    let x = if x.rank() == 1 { x.unsqueeze(0) } else { x };
    let [_, columns] = x.shape()[..] else { return Err(call.fault(format!("{} isn't a table", x.shape()))) };
    let weights = call.floats("coefficients").unwrap_or_default();
    if Some(weights.len()) != targets.checked_mul(columns) {
        return Err(call.fault(format!("{} coefficients for {targets} × {columns}", weights.len())));
    }
    let y = x.matmul(&Tensor::new(weights, [targets, columns]).t());
    match call.floats("intercepts").unwrap_or_default() {
        shift if shift.is_empty() => Ok(y),
        shift if shift.len() == targets => Ok(y + Tensor::from(shift)),
        shift => Err(call.fault(format!("{} intercepts for {targets} targets", shift.len()))),
    }
}

fn classify(call: &Call) -> Result<Vec<Value>> {
    let labels = labels(call, "classlabels_ints", "classlabels_strings")?;
    let count = labels.shape().iter().product::<usize>();
    let columns = call.value(0)?.shape().last().copied().unwrap_or(1).max(1);
    let targets = call.floats("coefficients").unwrap_or_default().len() / columns;
    let scores = linear(call, targets)?;
    let transform = Transform::of(call)?;
    if targets == count {
        return Ok(vec![chosen(call, &labels, &scores.argmax(-1))?, Value::of(transform.on(&scores))]);
    }
    if targets != 1 || count != 2 {
        return Err(call.fault(format!("scores of {targets} for {count} classes")));
    }
    let class = scores.gt(0.0).cast(DType::I64).squeeze(-1);
    let both = match transform {
        Transform::Logistic => Tensor::concat(&[(-&scores).sigmoid(), scores.sigmoid()], -1),
        _ => transform.on(&Tensor::concat(&[-&scores, scores], -1)),
    };
    Ok(vec![chosen(call, &labels, &class)?, Value::of(both)])
}
