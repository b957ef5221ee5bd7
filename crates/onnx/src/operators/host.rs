//! What kiln has no operation for, computed on the host in the middle of a program: a function of known shape.

use kiln_ir::{DType, Data, Error, ErrorKind, Shape};
use kiln_nn::{HostOp, Tensor};

use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "BitCast" => bit_cast,
        "Det" => determinant,
        _ => return None,
    })
}

/// A function of operands' numbers. No gradient goes through it: asking for one is an error.
pub(super) struct OnHost<F> {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub compute: F,
}

impl<F> OnHost<F>
where
    F: Fn(&[(&Shape, &Data)]) -> Result<Data, String> + Send + Sync + 'static,
{
    /// What it gives for these operands.
    pub(super) fn of(self, operands: &[&Tensor]) -> Tensor {
        Tensor::custom(self, operands)
    }
}

impl<F> HostOp for OnHost<F>
where
    F: Fn(&[(&Shape, &Data)]) -> Result<Data, String> + Send + Sync,
{
    fn name(&self) -> &str {
        self.name
    }

    fn infer(&self, _: &[(&Shape, DType)]) -> std::result::Result<(Shape, DType), String> {
        Ok((Shape::from(self.shape.clone()), self.dtype))
    }

    fn compute(&self, operands: &[(&Shape, &Data)]) -> std::result::Result<Data, Error> {
        (self.compute)(operands).map_err(|what| Error::new(ErrorKind::Value, self.name, what))
    }

    fn gradient(&self, operands: &[Tensor], _: &Tensor, _: &Tensor) -> Vec<Option<Tensor>> {
        let refused = |operand: &Tensor| {
            let message = "it is computed on the host, and no gradient through it is known";
            operand.dtype().is_float().then(|| Error::new(ErrorKind::Value, self.name, message).into())
        };
        operands.iter().map(refused).collect()
    }
}

/// The floats of an operand.
pub(super) fn floats(data: &Data) -> Vec<f32> {
    match data.cast(DType::F32) {
        Data::F32(numbers) => numbers,
        _ => Vec::new(),
    }
}

/// The same bits as another type of that many.
fn bit_cast(call: &Call) -> Result<Vec<Value>> {
    let (x, from) = (call.tensor(0)?, call.element(0)?);
    let to = call.element_of(call.int("to", 0))?;
    let Some(dtype) = to.dtype().filter(|_| from.bits() == to.bits() && from.bits().unwrap_or(0) >= 8) else {
        return Err(call.unknown(format!("the bits of {} as {}", from.name(), to.name())));
    };
    let count = x.elements();
    let compute = move |operands: &[(&Shape, &Data)]| {
        let bytes = from.write(operands[0].1).ok_or_else(|| format!("the bits of {}", from.name()))?;
        to.read(&bytes, count).ok_or_else(|| "a number above 2⁶³".to_string())
    };
    let y = OnHost { name: "BitCast", shape: x.shape().to_vec(), dtype, compute };
    Ok(vec![Value::Numbers(y.of(&[&x]), to)])
}

/// The determinant of each matrix, by elimination with the largest pivots.
fn determinant(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let shape = x.shape();
    let Some((batch, &[size, columns])) = shape.split_last_chunk::<2>() else {
        return Err(call.fault(format!("{shape} isn't made of matrices")));
    };
    if size != columns {
        return Err(call.fault(format!("matrices of {size} × {columns}")));
    }
    let count = batch.iter().product();
    call.worked(&[count, size, size, size])?;
    let compute = move |operands: &[(&Shape, &Data)]| {
        let Data::F64(numbers) = operands[0].1.cast(DType::F64) else { return Err("no numbers".to_string()) };
        let one = |matrix: &[f64]| {
            let mut rows: Vec<Vec<f64>> = matrix.chunks(size).map(<[f64]>::to_vec).collect();
            let mut product = 1.0;
            for at in 0..size {
                let largest = |a: &usize, b: &usize| rows[*a][at].abs().total_cmp(&rows[*b][at].abs());
                let pivot = (at..size).max_by(largest).unwrap_or(at);
                if pivot != at {
                    rows.swap(pivot, at);
                    product = -product;
                }
                product *= rows[at][at];
                if product == 0.0 {
                    break;
                }
                let top = rows[at].clone();
                for row in &mut rows[at + 1..] {
                    let factor = row[at] / top[at];
                    row.iter_mut().zip(&top).for_each(|(number, top)| *number -= factor * top);
                }
            }
            product
        };
        Ok(Data::F64(match size {
            0 => vec![1.0; count],
            _ => numbers.chunks(size * size).map(one).collect(),
        }))
    };
    let y = OnHost { name: "Det", shape: batch.to_vec(), dtype: DType::F64, compute };
    call.like(0, y.of(&[&wide(&x)]).cast(x.dtype()))
}
