//! Operators of `ai.onnx.ml` that look values up, or bring columns of a table to numbers that networks take.

use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Data};
use kiln_nn::Tensor;

use super::index::places;
use super::pointwise::arithmetic;
use crate::call::{Call, Operator, one};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::{Value, whole};

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "LabelEncoder" => |call| {
            let (keys, values) = (list(call, "keys")?, list(call, "values")?);
            let (Some(keys), Some(values)) = (keys, values) else { return classes(call) };
            let default = default(call, &values)?;
            look_up(call, &keys, &values, default)
        },
        "CategoryMapper" => |call| {
            let texts = call.texts("cats_strings").unwrap_or_default();
            let numbers = call.ints("cats_int64s").unwrap_or_default();
            let (texts, numbers) =
                (Value::texts(texts.clone(), &[texts.len()]), crate::call::vector(numbers));
            match call.value(0)? {
                Value::Texts(..) => look_up(call, &texts, &numbers, default(call, &numbers)?),
                _ => look_up(call, &numbers, &texts, default(call, &texts)?),
            }
        },
        "ArrayFeatureExtractor" => |call| {
            let shape = call.value(0)?.shape();
            let size = shape.last().copied().ok_or_else(|| call.fault("there is no axis to take from"))?;
            let index = places(call, 1, size)?.reshape(-1);
            let taken = super::movement::moved(call, 0, &|x| {
                let x = if x.rank() == 1 { x.unsqueeze(0) } else { x.clone() };
                Ok(x.index_select(-1, &index))
            })?;
            Ok(vec![taken])
        },
        "Binarizer" => |call| {
            let x = call.tensor(0)?;
            call.like(0, x.gt(call.float("threshold", 0.0)).cast(x.dtype()))
        },
        "Scaler" => |call| {
            let x = call.tensor(0)?.cast(DType::F32);
            let list = |name: &str, default: f32| {
                let list = call.floats(name).filter(|list| !list.is_empty()).unwrap_or_else(|| vec![default]);
                row(call, list, &x)
            };
            one((&x - list("offset", 0.0)?) * list("scale", 1.0)?)
        },
        "Imputer" => imputer,
        "Normalizer" => normalizer,
        "OneHotEncoder" => one_hot,
        "FeatureVectorizer" => |call| {
            let widths = call.ints("inputdimensions").unwrap_or_default();
            if widths.len() != call.count() {
                return Err(call.fault(format!("{} widths for {} inputs", widths.len(), call.count())));
            }
            let mut parts = Vec::new();
            for (position, width) in call.sizes(&widths)?.into_iter().enumerate() {
                let x = call.tensor(position)?.cast(DType::F32);
                let x = if x.rank() == 1 { x.unsqueeze(0) } else { x };
                parts.push(match x.shape()[..] {
                    [_, size] if size >= width => x.narrow(1, 0, width),
                    [_, size] => x.pad([(0, width - size)], 0.0),
                    _ => return Err(call.fault(format!("{} isn't a table", x.shape()))),
                });
            }
            one(Tensor::concat(&parts, 1))
        },
        _ => return None,
    })
}

/// A list of attributes, whatever the type of its elements: `keys_strings`, `keys_int64s`, `keys_floats` or `keys_tensor`.
fn list(call: &Call, name: &str) -> Result<Option<Value>> {
    let named = |kind: &str| format!("{name}_{kind}");
    if let Some(texts) = call.texts(&named("strings")).filter(|texts| !texts.is_empty()) {
        let count = texts.len();
        return Ok(Some(Value::texts(texts, &[count])));
    }
    if let Some(numbers) = call.ints(&named("int64s")).filter(|numbers| !numbers.is_empty()) {
        return Ok(Some(crate::call::vector(numbers)));
    }
    if let Some(numbers) = call.floats(&named("floats")).filter(|numbers| !numbers.is_empty()) {
        return Ok(Some(Value::of(Tensor::from(numbers))));
    }
    call.constant(&named("tensor"))
}

/// In the first version: texts to their number in a list, and numbers to their text.
fn classes(call: &Call) -> Result<Vec<Value>> {
    let texts = call.texts("classes_strings").ok_or_else(|| call.fault("there are no keys"))?;
    let count = texts.len();
    let (texts, numbers) = (Value::texts(texts, &[count]), crate::call::vector((0..count as i64).collect()));
    match call.value(0)? {
        Value::Texts(..) => look_up(call, &texts, &numbers, default(call, &numbers)?),
        _ => look_up(call, &numbers, &texts, default(call, &texts)?),
    }
}

/// What stands for a key that isn't there.
fn default(call: &Call, values: &Value) -> Result<Value> {
    if let Some(value) = call.constant("default_tensor")? {
        return Ok(value);
    }
    Ok(match values.element() {
        OnnxDType::Text => Value::texts(vec![call.text("default_string", "_Unused")], &[]),
        OnnxDType::F32 => Value::of(Tensor::from(call.float("default_float", -0.0) as f32)),
        element => {
            let number = Tensor::from(call.int("default_int64", -1));
            Value::Numbers(number.cast(element.dtype().unwrap_or(DType::I64)), element)
        }
    })
}

/// The value of each element's key.
fn look_up(call: &Call, keys: &Value, values: &Value, default: Value) -> Result<Vec<Value>> {
    let count: usize = keys.shape().iter().product();
    if count == 0 || values.shape().iter().product::<usize>() != count {
        return Err(call.fault(format!("{count} keys, and values {:?}", values.shape())));
    }
    let shape = call.value(0)?.shape();
    // For each element the index of its key; one behind the last where there is none.
    let found = match (call.value(0)?, keys) {
        (Value::Texts(texts, _), Value::Texts(keys, _)) => {
            let mut table = std::collections::HashMap::new();
            for (at, key) in keys.iter().enumerate().rev() {
                table.insert(key, at as i64);
            }
            let place = |text: &String| table.get(text).copied().unwrap_or(count as i64);
            Tensor::new(texts.iter().map(place).collect::<Vec<_>>(), shape.clone())
        }
        (Value::Numbers(x, _), Value::Numbers(keys, _)) => {
            let sizes = [&shape[..], &[count]].concat();
            call.room(&sizes)?;
            let (x, keys) = (x.unsqueeze(-1), keys.reshape([count]));
            let mut equal = arithmetic(BinaryOp::Eq, &x, &keys);
            if x.dtype().is_float() && keys.dtype().is_float() {
                equal = equal.logical_or(&x.is_nan().logical_and(&keys.is_nan()));
            }
            let place = equal.cast(DType::U8).argmax(-1);
            equal.any(-1).select(place, count as i64)
        }
        _ => return Err(call.fault("the keys are of another type than the elements")),
    };
    match (values, &default) {
        (Value::Texts(values, _), Value::Texts(default, _)) => {
            let found = call.needed(&Value::of(found))?;
            let found =
                found.ok_or_else(|| call.unknown("texts for numbers that are known only when it runs"))?;
            let found = whole(&found);
            let found = || found.iter().filter_map(|&at| values.get(at as usize).or(default.first()));
            call.spelled(found())?;
            Ok(vec![Value::texts(found().cloned().collect(), &shape)])
        }
        (Value::Numbers(values, element), Value::Numbers(default, _)) => {
            let all =
                Tensor::concat(&[values.reshape([count]), default.cast(values.dtype()).reshape([1])], 0);
            let y = all.index_select(0, &found.reshape([found.elements()])).reshape(shape);
            Ok(vec![Value::Numbers(y, *element)])
        }
        _ => Err(call.fault("the default is of another type than the values")),
    }
}

/// A number for each column, or one for all.
fn row(call: &Call, list: Vec<f32>, x: &Tensor) -> Result<Tensor> {
    let columns = x.shape().last().copied().unwrap_or(1);
    match list.len() {
        1 => Ok(Tensor::from(list).reshape(())),
        count if count == columns => Ok(Tensor::from(list)),
        count => Err(call.fault(format!("{count} numbers for {columns} columns"))),
    }
}

/// Missing values imputed.
fn imputer(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    if x.dtype().is_float() {
        let values = row(call, call.floats("imputed_value_floats").unwrap_or_default(), &x)?;
        let missing = call.float("replaced_value_float", 0.0);
        let missing = if missing.is_nan() { x.is_nan() } else { x.eq(missing) };
        return call.like(0, missing.select(values.cast(x.dtype()), &x));
    }
    let values = call.ints("imputed_value_int64s").unwrap_or_default();
    let columns = x.shape().last().copied().unwrap_or(1);
    if values.len() != 1 && values.len() != columns {
        return Err(call.fault(format!("{} numbers for {columns} columns", values.len())));
    }
    let values = Tensor::from(values).cast(x.dtype());
    call.like(0, x.eq(call.int("replaced_value_int64", 0)).select(values, &x))
}

/// Each row divided by its norm.
fn normalizer(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?.cast(DType::F32);
    let size = match call.text("norm", "MAX").as_str() {
        "MAX" => x.abs().max_keepdim(-1),
        "L1" => x.abs().sum_keepdim(-1),
        "L2" => x.square().sum_keepdim(-1).sqrt(),
        other => return Err(call.unknown(format!("the norm {other}"))),
    };
    let empty = size.eq(0.0);
    one(empty.select(&x, &x / empty.select(1.0, size)))
}

/// An element's class one-hot, a new last axis.
fn one_hot(call: &Call) -> Result<Vec<Value>> {
    let (texts, numbers) = (call.texts("cats_strings").unwrap_or_default(), call.ints("cats_int64s"));
    let (keys, count) = match numbers.filter(|numbers| !numbers.is_empty()) {
        Some(numbers) => (crate::call::vector(numbers.clone()), numbers.len()),
        None => (Value::texts(texts.clone(), &[texts.len()]), texts.len()),
    };
    let places = crate::call::vector((0..count as i64).collect());
    let missing = Value::new(Data::I64(vec![count as i64]), &[], OnnxDType::I64);
    let found = look_up(call, &keys, &places, missing)?.remove(0);
    let Value::Numbers(found, _) = found else { return Err(call.fault("no indices")) };
    if call.int("zeros", 1) == 0 && found.ge(count).any(..).item().unwrap_or(1.0) != 0.0 {
        return Err(call.fault("an element of no class"));
    }
    call.room(&[found.elements(), count])?;
    one(found.unsqueeze(-1).eq(Tensor::index_along([count], 0)).cast(DType::F32))
}
