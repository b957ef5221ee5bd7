//! Gathers and scatters: operators that read or write at indices. Where a shape follows from values (`NonZero`, `Unique`), those
//! have to be known beforehand.

use kiln_ir::op::ScatterMode;
use kiln_ir::{DType, Data, Shape};
use kiln_nn::Tensor;

use super::host::OnHost;
use super::movement::moved;
use crate::call::{Call, Operator};
use crate::error::Result;
use crate::value::{Value, whole};

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Gather" => gather,
        "GatherElements" => |call| {
            let shape = call.value(0)?.shape();
            let axis = call.axis(call.int("axis", 0), shape.len())?;
            let index = places(call, 1, shape[axis])?;
            Ok(vec![moved(call, 0, &|x| Ok(x.gather(axis as isize, &index)))?])
        },
        "GatherND" => gather_nd,
        "Scatter" | "ScatterElements" => scatter_elements,
        "ScatterND" => scatter_nd,
        "TensorScatter" => tensor_scatter,
        "OneHot" => one_hot,
        "Hardmax" => hardmax,
        "TopK" => top_k,
        _ => return None,
    })
}

/// An input's indices along an axis of `size`, counted from its start. Known ones are checked here, others where they are used.
pub(super) fn places(call: &Call, position: usize, size: usize) -> Result<Tensor> {
    let index = call.tensor(position)?;
    if !index.dtype().is_int() {
        return Err(call.fault(format!("indices are whole numbers, not {}", index.dtype())));
    }
    let Some(known) = call.now(call.value(position)?)? else {
        let index = index.cast(DType::I64);
        return Ok(index.lt(0).select(&index + size, &index));
    };
    let size = size as i64;
    let place = |at: i64| match at {
        at if at < -size || at >= size => Err(call.fault(format!("index {at} on an axis of {size}"))),
        at => Ok(if at < 0 { at + size } else { at }),
    };
    let known = whole(&known);
    let found = known.iter().map(|&at| place(at)).collect::<Result<Vec<_>>>()?;
    // As it came where it can stay: a count along the batch is no constant when the network is written again.
    Ok(if found == known { index.cast(DType::I64) } else { Tensor::new(found, index.shape()) })
}

fn gather(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let axis = call.axis(call.int("axis", 0), shape.len())?;
    let index = places(call, 1, shape[axis])?;
    let sizes = [&shape[..axis], &index.shape()[..], &shape[axis + 1..]].concat();
    call.room(&sizes)?;
    // One known index is a part of the whole, and nothing is copied.
    let known = match index.rank() {
        0 => call.now(&Value::of(index.clone()))?.map(|data| whole(&data)),
        _ => None,
    };
    let rows = |x: &Tensor| match known.as_deref() {
        Some(&[at]) => x.narrow(axis as isize, at as isize, 1),
        _ => x.index_select(axis as isize, &index.reshape(-1)),
    };
    let index_is_empty = index.elements() == 0;
    Ok(vec![moved(call, 0, &|x| {
        let rows = match index_is_empty {
            true => x.narrow(axis as isize, 0, 0),
            false => rows(x),
        };
        Ok(Tensor::from(rows.expr().reshape(sizes.clone())))
    })?])
}

/// Indices of several axes at once, the last axis of input `position`, as indices into the axes flattened. Axes before those are
/// `batch` ones, in which an index stays where it is.
fn flat_places(call: &Call, position: usize, sizes: &[usize], batch: usize) -> Result<Tensor> {
    let index = call.tensor(position)?.cast(DType::I64);
    let shape = index.shape();
    let last = shape.rank().checked_sub(1).ok_or_else(|| call.fault("the indices are no lists"))?;
    let count = shape[last];
    if batch > last || batch + count > sizes.len() || shape[..batch] != sizes[..batch] {
        return Err(call.fault(format!("indices {shape} don't fit {sizes:?} with {batch} axes of a batch")));
    }
    let lists = Shape::from(&shape[..last]);
    let mut flat = Tensor::full(lists.clone(), 0);
    let mut inside = Tensor::full(lists.clone(), true);
    for axis in 0..batch {
        flat = flat * sizes[axis] + Tensor::index_along(lists.clone(), axis);
    }
    for at in 0..count {
        let size = sizes[batch + at];
        let place = index.narrow(-1, at as isize, 1).squeeze(-1);
        let place = place.lt(0).select(&place + size, &place);
        inside = inside.logical_and(&place.ge(0).logical_and(&place.lt(size)));
        flat = flat * size + place;
    }
    // An index beyond its axis mustn't be one of the next row.
    Ok(inside.select(flat, -1))
}

fn gather_nd(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let batch = usize::try_from(call.int("batch_dims", 0)).unwrap_or(usize::MAX);
    let index = call.value(1)?.shape();
    let flat = flat_places(call, 1, &shape, batch)?;
    let taken = batch + index.last().copied().unwrap_or(0);
    let sizes = [&flat.shape()[..], &shape[taken..]].concat();
    call.room(&sizes)?;
    let table = [shape[..taken].iter().product(), shape[taken..].iter().product::<usize>()];
    let rows = flat.reshape([flat.elements()]);
    Ok(vec![moved(call, 0, &|x| Ok(x.reshape(table).index_select(0, &rows).reshape(sizes.clone())))?])
}

fn scatter_elements(call: &Call) -> Result<Vec<Value>> {
    let (x, source) = (call.tensor(0)?, call.tensor(2)?);
    let shape = x.shape();
    let axis = call.axis(call.int("axis", 0), shape.rank())?;
    let index = places(call, 1, shape[axis])?;
    let fits = index.rank() == shape.rank()
        && index.shape() == source.shape()
        && (0..shape.rank()).all(|other| other == axis || index.shape()[other] <= shape[other]);
    if !fits {
        return Err(call.fault(format!("{} at {} in {shape}", source.shape(), index.shape())));
    }
    let mut flat = index.zeros_like();
    for other in 0..shape.rank() {
        let along = if other == axis { index.clone() } else { Tensor::index_along(index.shape(), other) };
        flat = flat * shape[other] + along;
    }
    // An index beyond its axis mustn't be one of the next row.
    let flat = index.ge(0).logical_and(&index.lt(shape[axis])).select(flat, -1);
    let count = source.elements();
    let table = x.reshape([x.elements(), 1]);
    let y = put(call, &table, &flat.reshape([count]), &source.reshape([count, 1]))?;
    call.like(0, y.reshape(shape))
}

fn scatter_nd(call: &Call) -> Result<Vec<Value>> {
    let (x, source) = (call.tensor(0)?, call.tensor(2)?);
    let shape = x.shape();
    let flat = flat_places(call, 1, &shape, 0)?;
    let taken = call.value(1)?.shape().last().copied().unwrap_or(0);
    if source.shape()[..] != [&flat.shape()[..], &shape[taken..]].concat() {
        return Err(call.fault(format!("{} doesn't fit its indices", source.shape())));
    }
    let (rows, width) = (shape[..taken].iter().product::<usize>(), shape[taken..].iter().product::<usize>());
    let count = flat.elements();
    let y = put(call, &x.reshape([rows, width]), &flat.reshape([count]), &source.reshape([count, width]))?;
    call.like(0, y.reshape(shape))
}

/// A table `[rows, width]` with each row of `source` put at its index, or joined with what is there.
fn put(call: &Call, table: &Tensor, rows: &Tensor, source: &Tensor) -> Result<Tensor> {
    let scattered = |table: &Tensor, rows: &Tensor, source: &Tensor, mode: ScatterMode| {
        let index = rows.unsqueeze(1).broadcast_to(source.shape());
        Tensor::from(table.expr().scatter(index.expr(), source.expr(), 0, mode))
    };
    let (name, join): (&str, fn(&Tensor, &Tensor) -> Tensor) = match call.text("reduction", "none").as_str() {
        "none" => return Ok(scattered(table, rows, source, ScatterMode::Set)),
        "add" => return Ok(scattered(table, rows, source, ScatterMode::Add)),
        "mul" => ("mul", |a, b| a * b),
        "max" => ("max", |a, b| a.maximum(b)),
        "min" => ("min", |a, b| a.minimum(b)),
        other => return Err(call.unknown(format!("the reduction {other}"))),
    };
    let Some(known) = call.now(&Value::of(rows.clone()))? else {
        return Ok(joined_on_host(table, rows, source, name));
    };
    let mut y = table.clone();
    for (rows, from) in passes(&whole(&known)) {
        call.unrolled(4)?;
        let (rows, from) = (Tensor::from(rows), Tensor::from(from));
        let joined = join(&y.index_select(0, &rows), &source.index_select(0, &from));
        y = scattered(&y, &rows, &joined, ScatterMode::Set);
    }
    Ok(y)
}

/// The same where indices are known only when it runs, one row after the other.
fn joined_on_host(table: &Tensor, rows: &Tensor, source: &Tensor, join: &'static str) -> Tensor {
    let (dtype, shape) = (table.dtype(), table.shape());
    let (count, width) = (shape[0], shape[1]);
    let compute = move |operands: &[(&Shape, &Data)]| {
        let place = |&at: &i64| {
            let place = usize::try_from(at).ok().filter(|&place| place < count);
            place.ok_or_else(|| format!("index {at} of {count} rows"))
        };
        let places = whole(operands[1].1).iter().map(place).collect::<Result<Vec<_>, _>>()?;
        // Each type by its own arithmetic, as where it is compiled.
        macro_rules! joined {
            ($($kind:ident $mul:expr),*) => {
                match (operands[0].1, operands[2].1) {
                    $((Data::$kind(table), Data::$kind(source)) => {
                        let mut table = table.clone();
                        for (&place, source) in places.iter().zip(source.chunks_exact(width.max(1))) {
                            for (own, new) in table[place * width..][..width].iter_mut().zip(source) {
                                *own = match join {
                                    "mul" => $mul(*own, *new),
                                    _ => chosen(*own, *new, join == "max"),
                                };
                            }
                        }
                        Ok(Data::$kind(table))
                    })*
                    (table, source) => Err(format!("{} joined with {}", table.dtype(), source.dtype())),
                }
            };
        }
        joined!(
            Bool |a, b| a & b,
            U8 u8::wrapping_mul,
            U16 u16::wrapping_mul,
            I32 i32::wrapping_mul,
            I64 i64::wrapping_mul,
            F16 |a, b| a * b,
            Bf16 |a, b| a * b,
            F32 |a, b| a * b,
            F64 |a, b| a * b
        )
    };
    OnHost { name: "scatter", shape: shape.to_vec(), dtype, compute }.of(&[table, rows, source])
}

/// The larger of two numbers or the smaller; what is no number stays.
fn chosen<T: PartialOrd>(own: T, new: T, larger: bool) -> T {
    let is_number = |x: &T| x.partial_cmp(x).is_some();
    let replaces = if larger { new > own } else { new < own };
    if replaces || (is_number(&own) && !is_number(&new)) { new } else { own }
}

/// Rows in passes in which none comes twice, each with the positions it had: `[3, 5, 3]` → `([3, 5], [0, 1])`, `([3], [2])`.
fn passes(rows: &[i64]) -> Vec<(Vec<i64>, Vec<i64>)> {
    let mut seen = std::collections::HashMap::new();
    let mut passes: Vec<(Vec<i64>, Vec<i64>)> = Vec::new();
    for (at, &row) in rows.iter().enumerate() {
        let pass: &mut usize = seen.entry(row).or_insert(0);
        if *pass == passes.len() {
            passes.push(Default::default());
        }
        passes[*pass].0.push(row);
        passes[*pass].1.push(at as i64);
        *pass += 1;
    }
    passes
}

/// New keys or values written into a cache, in each sequence from its own position on.
fn tensor_scatter(call: &Call) -> Result<Vec<Value>> {
    let (cache, update) = (call.tensor(0)?, call.tensor(1)?);
    let shape = cache.shape();
    let axis = call.axis(call.int("axis", -2), shape.rank())?;
    let fits = axis > 0
        && update.rank() == shape.rank()
        && update.shape().with(axis, 0) == shape.with(axis, 0)
        && update.shape()[axis] <= shape[axis];
    if !fits {
        return Err(call.fault(format!("{} into {shape} along axis {axis}", update.shape())));
    }
    let mut index = Tensor::index_along(update.shape(), axis);
    if let Some(first) = call.optional(2)? {
        let mut sizes = vec![1; shape.rank()];
        sizes[0] = shape[0];
        index += first.cast(DType::I64).reshape(sizes);
    }
    if call.text("mode", "linear") == "circular" {
        index = index % shape[axis];
    }
    call.like(0, cache.scatter(axis as isize, &index, &update))
}

fn one_hot(call: &Call) -> Result<Vec<Value>> {
    let index = call.tensor(0)?.cast(DType::I64);
    let depth = call.known_number(1)?;
    let depth = call.sizes(&[depth as i64])?[0];
    let values = call.tensor(2)?;
    if *values.shape() != [2] {
        return Err(call.fault(format!("two values are needed, not {}", values.shape())));
    }
    let rank = index.rank();
    let axis = call.axis(call.int("axis", -1), rank + 1)?;
    let mut sizes = index.shape().to_vec();
    sizes.insert(axis, depth);
    call.room(&sizes)?;
    let index = index.lt(0).select(&index + depth, &index).unsqueeze(axis as isize);
    let hot = index.eq(Tensor::index_along(sizes, axis));
    let value = |at: isize| values.narrow(0, at, 1).squeeze(0);
    call.like(2, hot.select(value(1), value(0)))
}

/// A one at the first largest, zeros elsewhere.
fn hardmax(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let shape = x.shape();
    let whole = call.version >= 13;
    let axis = call.axis(call.int("axis", if whole { -1 } else { 1 }), shape.rank())?;
    // Before, all axes from this one on were one.
    let (x, axis) = match whole {
        true => (x, axis),
        false => {
            let count = |sizes: &[usize]| sizes.iter().product::<usize>();
            (x.reshape([count(&shape[..axis]), count(&shape[axis..])]), 1)
        }
    };
    let first = x.argmax(axis as isize).unsqueeze(axis as isize);
    let hot = Tensor::index_along(x.shape(), axis).eq(first);
    call.like(0, hot.cast(x.dtype()).reshape(shape))
}

fn top_k(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let axis = call.axis(call.int("axis", -1), x.rank())?;
    let count = if call.is_set("k") { call.int("k", 1) } else { call.known_number(1)? as i64 };
    let count = call.sizes(&[count])?[0];
    if count > x.shape()[axis] {
        return Err(call.fault(format!("{count} of an axis of {}", x.shape()[axis])));
    }
    let order = x.argsort(axis as isize, call.int("largest", 1) != 0).narrow(axis as isize, 0, count);
    let values = Value::Numbers(x.gather(axis as isize, &order), call.element(0)?);
    Ok(vec![values, Value::of(order)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_known_late_are_joined_as_those_known_before() {
        let rows = Tensor::from([1i64, 1, 0]);
        let joined = |table: [[f32; 2]; 2], source: [[f32; 2]; 3], join, dtype| {
            let (table, source) = (Tensor::from(table).cast(dtype), Tensor::from(source).cast(dtype));
            joined_on_host(&table, &rows, &source, join).cast(DType::F32).to_vec::<f32>().unwrap()
        };
        let nan = f32::NAN;
        for join in ["max", "min"] {
            let y = joined([[1.0, nan], [0.0, 2.0]], [[nan, 2.0], [7.0, 2.0], [1.0, 5.0]], join, DType::F32);
            assert!(y[1].is_nan() && y[2].is_nan() && y[0] == 1.0 && y[3] == 2.0, "{join}: {y:?}");
        }
        // Each product is rounded: at 2²⁰ a half float is infinite, and stays so.
        let (large, small) = ([[1.0; 2], [2f32.powi(10); 2]], 2f32.powi(-10));
        let source = [[2f32.powi(10); 2], [small; 2], [3.0; 2]];
        let y = joined(large, source, "mul", DType::F16);
        assert_eq!(y, [3.0, 3.0, f32::INFINITY, f32::INFINITY]);
        let y = joined(large, source, "mul", DType::I32);
        assert_eq!(y, [3.0, 3.0, 0.0, 0.0]);
    }
}
