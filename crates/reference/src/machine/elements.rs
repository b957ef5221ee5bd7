//! Where the elements of views are, and how they lie in memory.

use kiln_compile::program::View;
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Result, Scalar, each_dtype};

/// Every combination of loop indices, the last fastest.
pub(super) fn points(loops: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::with_capacity(loops.iter().product());
    let mut point = vec![0; loops.len()];
    if loops.contains(&0) {
        return all;
    }
    loop {
        all.push(point.clone());
        let Some(axis) = (0..loops.len()).rev().find(|&axis| point[axis] + 1 < loops[axis]) else {
            return all;
        };
        point[axis] += 1;
        point[axis + 1..].fill(0);
    }
}

/// The position of each element of a view over loops.
pub(super) fn places(view: &View, loops: &[usize]) -> Result<Vec<usize>> {
    points(loops).iter().map(|point| address(view, point)).collect()
}

pub(super) fn address(view: &View, point: &[usize]) -> Result<usize> {
    if view.strides.len() != point.len() {
        return Err(broken("a view with a stride for each loop"));
    }
    let moved: isize = point.iter().zip(&view.strides).map(|(&i, &s)| i as isize * s).sum();
    usize::try_from(view.offset + moved).map_err(|_| broken("a view that stays in its buffer"))
}

pub(super) fn of_scalars(dtype: DType, values: Vec<Scalar>) -> Data {
    each_dtype!(dtype, T => <T as Element>::wrap(values.into_iter().map(<T as Element>::from_scalar).collect()))
}

pub(super) fn infinite(data: &Data) -> bool {
    data.scalars().iter().any(|value| value.as_f64().is_infinite())
}

/// The elements that lie in memory.
pub(crate) fn from_bytes(wanted: DType, dtype: DType, bytes: &[u8]) -> Result<Data> {
    if wanted != dtype {
        return Err(broken("a view of another dtype than its buffer"));
    }
    if cfg!(target_endian = "little") {
        return Ok(Data::from_le_bytes(dtype, bytes));
    }
    let mut turned = bytes.to_vec();
    turned.chunks_mut(dtype.size()).for_each(<[u8]>::reverse);
    Ok(Data::from_le_bytes(dtype, &turned))
}

/// The elements as they lie in memory.
pub(crate) fn native_bytes(data: &Data) -> Vec<u8> {
    let mut bytes = data.to_le_bytes();
    if cfg!(target_endian = "big") {
        bytes.chunks_mut(data.dtype().size()).for_each(<[u8]>::reverse);
    }
    bytes
}

pub(super) fn broken(wanted: &str) -> Error {
    Error::new(ErrorKind::Device, "reference", format!("the program should have {wanted}, and hasn't"))
        .nowhere()
}
