//! Operators that make values out of attributes and sizes.

use kiln_ir::{DType, Expr};
use kiln_nn::Tensor;

use crate::call::{Call, Operator, one, vector};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Constant" => constant,
        "ConstantOfShape" => |call| {
            let sizes = call.sizes(&call.known_ints(0)?)?;
            let (value, element) = match call.constant("value")? {
                Some(value) => (call.now(&value)?.and_then(|data| data.get(0)), value.element()),
                None => (Some(0.0.into()), OnnxDType::F32),
            };
            match (value, element.dtype()) {
                (Some(value), Some(dtype)) => {
                    Ok(vec![Value::Numbers(Tensor::from(Expr::full(sizes, value, dtype)), element)])
                }
                _ => Err(call.fault("the value isn't one number")),
            }
        },
        "Range" => range,
        "EyeLike" => |call| {
            let shape = call.value(0)?.shape();
            let [rows, columns] = shape[..] else {
                return Err(call.fault(format!("{shape:?} isn't a matrix's shape")));
            };
            let element = match call.is_set("dtype") {
                true => call.element_of(call.int("dtype", 1))?,
                false => call.element(0)?,
            };
            let along = |axis: usize| Tensor::index_along([rows, columns], axis);
            let eye = along(1).eq(along(0) + call.int("k", 0));
            let dtype = element.dtype().ok_or_else(|| call.fault("texts aren't made"))?;
            Ok(vec![Value::Numbers(eye.cast(dtype), element)])
        },
        "Trilu" => |call| {
            let x = call.tensor(0)?;
            let offset = match call.optional(1)? {
                Some(offset) => offset.reshape(()),
                None => Tensor::from(0i64),
            };
            let shape = x.shape();
            let rank = shape.rank();
            if rank < 2 {
                return Err(call.fault(format!("{shape} isn't made of matrices")));
            }
            // An offset beyond the matrix is as good as one at its edge.
            let most = shape[rank - 2].max(shape[rank - 1]) as i64 + 1;
            let diagonal = Tensor::index_along(shape.clone(), rank - 2) + offset.clamp(-most, most);
            let column = Tensor::index_along(shape, rank - 1);
            let kept = if call.int("upper", 1) != 0 { diagonal.le(column) } else { column.le(diagonal) };
            call.like(0, kept.select(&x, x.zeros_like()))
        },
        _ => return None,
    })
}

fn constant(call: &Call) -> Result<Vec<Value>> {
    if let Some(value) = call.constant("value")? {
        return Ok(vec![value]);
    }
    let texts = |texts: Vec<String>, shape: &[usize]| Ok(vec![Value::texts(texts, shape)]);
    let forms = ["value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"];
    match forms.into_iter().find(|form| call.is_set(form)) {
        Some("value_float") => one(Tensor::full([], call.float("value_float", 0.0))),
        Some("value_floats") => one(Tensor::from(call.floats("value_floats").unwrap_or_default())),
        Some("value_int") => one(Tensor::from(call.int("value_int", 0))),
        Some("value_ints") => Ok(vec![vector(call.ints("value_ints").unwrap_or_default())]),
        Some("value_string") => texts(vec![call.text("value_string", "")], &[]),
        Some("value_strings") => {
            let all = call.texts("value_strings").unwrap_or_default();
            let count = all.len();
            texts(all, &[count])
        }
        _ => Err(call.unknown("constants of this form (sparse ones among them) aren't known here")),
    }
}

fn range(call: &Call) -> Result<Vec<Value>> {
    let element = call.element(0)?;
    let dtype = element.dtype().ok_or_else(|| call.fault("a range of texts"))?;
    let (start, limit, step) = (call.known(0)?, call.known(1)?, call.known(2)?);
    let (Some(start), Some(limit), Some(step)) = (start.get(0), limit.get(0), step.get(0)) else {
        return Err(call.fault("an end is empty"));
    };
    if step.as_f64() == 0.0 {
        return Err(call.fault("a step of 0"));
    }
    let count = if element.is_float() {
        let count = ((limit.as_f64() - start.as_f64()) / step.as_f64()).ceil();
        if count.is_nan() {
            return Err(call.fault("an end isn't a number"));
        }
        count.max(0.0) as i64
    } else {
        let (distance, step) =
            (i128::from(limit.as_i64()) - i128::from(start.as_i64()), i128::from(step.as_i64()));
        i64::try_from((distance + step - step.signum()) / step).unwrap_or(i64::MAX).max(0)
    };
    let count = call.sizes(&[count])?[0];
    let index = Tensor::index_along([count], 0);
    let range = if element.is_float() {
        index.cast(DType::F64) * step.as_f64() + start.as_f64()
    } else {
        index * step.as_i64() + start.as_i64()
    };
    Ok(vec![Value::Numbers(range.cast(dtype), element)])
}
