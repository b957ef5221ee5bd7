//! The tensor: a cheap handle to a node of the lazy graph, or to the error that kept it from being built.
//!
//! Building never fails and never panics: a wrong shape, dtype, axis or index makes a *poisoned* tensor, which
//! carries its error (with the user's own line) through the rest of the arithmetic and hands it out where the
//! value is asked for. Only [`Tensor::to_vec`] and its neighbours here, and printing, compute anything.

#[macro_use]
mod check;

pub mod activation;
pub mod arguments;
pub mod attention;
pub mod contract;
pub mod conv;
pub mod custom;
pub mod draw;
pub mod einsum;
pub mod grad;
pub mod index;
pub mod make;
#[cfg(feature = "ndarray")]
mod ndarray;
pub mod norm;
pub mod operators;
pub mod pointwise;
pub mod pool;
pub mod print;
pub mod rearrange;
pub mod recurrent;
pub mod reduce;
pub mod resize;
pub mod scan;
pub mod shape;
pub mod slice;
pub mod window;

use kiln_ir::{DType, Data, Element, Error, ErrorKind, Expr, Op, Result, Shape};

use crate::runtime;

/// A multi-dimensional array of numbers that aren't computed yet.
///
/// Cloning is cheap and shares. Arithmetic reads as arithmetic: there is no `?` in it, and no lifetime or generic
/// for rank, dtype or device. Shape and dtype are known at once, numbers when they are asked for.
///
/// ```
/// use kiln_nn::Tensor;
///
/// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
/// let y = (&x * 2.0 + 1.0).sum(0);
/// assert_eq!(y.to_vec::<f64>()?, [10.0, 14.0]);
///
/// // Mistakes come out where the value is asked for, and name the line they were made in.
/// let wrong = &x + Tensor::from([1.0, 2.0, 3.0]);
/// assert!(wrong.to_vec::<f64>().unwrap_err().to_string().contains("[2, 2] and [3]"));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(pub(crate) Expr);

impl Tensor {
    /// The size of each axis, outermost first. A poisoned tensor has the shape of a scalar.
    pub fn shape(&self) -> Shape {
        self.0.shape()
    }

    /// The type of the elements. A poisoned tensor says `F32`.
    pub fn dtype(&self) -> DType {
        self.0.dtype()
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.0.rank()
    }

    /// How many elements there are.
    pub fn elements(&self) -> usize {
        self.shape().elements()
    }

    /// The size of one axis, counted from the end where `axis` is negative; 1 where there is no such axis, as in
    /// broadcasting.
    pub fn size(&self, axis: isize) -> usize {
        let shape = self.shape();
        shape.axis(axis).map_or(1, |axis| shape[axis])
    }

    /// The mistake that poisoned this tensor, if one did.
    pub fn error(&self) -> Option<Error> {
        self.0.error().cloned()
    }

    /// The handle to the graph below.
    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// Computes this tensor and gives one that holds its numbers, detached from what they were computed from.
    ///
    /// # Errors
    /// Where the tensor is poisoned or the computation fails.
    pub fn eval(&self) -> Result<Tensor> {
        let node = self.0.node().map_err(|error| error.as_ref().clone())?;
        if matches!(node.op, Op::Const(_)) {
            return Ok(self.clone());
        }
        Ok(Tensor(Expr::constant(self.to_data()?, self.shape())))
    }

    /// Computes this tensor and gives its elements, row-major.
    ///
    /// # Errors
    /// Where the tensor is poisoned or the computation fails.
    pub fn to_data(&self) -> Result<Data> {
        let node = self.0.node().map_err(|error| error.as_ref().clone())?;
        if let Op::Const(data) = &node.op {
            return Ok(Data::clone(data));
        }
        let mut values = runtime::evaluate(std::slice::from_ref(&self.0))?;
        let missing = || Error::new(ErrorKind::Device, "to_data", "the runtime gave no value");
        values.pop().ok_or_else(missing)
    }

    /// Computes this tensor and gives its elements, row-major. Widening that loses nothing (`f32` read as `f64`)
    /// is done; for other conversions [`cast`](Tensor::cast) first.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.to_vec::<i32>()?, [1, 2, 3, 4]);
    /// assert_eq!(x.t().to_vec::<i64>()?, [1, 3, 2, 4]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the tensor is poisoned, the computation fails, or `T` can't hold every value of its dtype.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let (from, to) = (self.dtype(), T::DTYPE);
        if let (None, false) = (self.0.error(), widens(from, to)) {
            refuse!(DType, "to_vec", "the elements are {from}; ask for them as {from} or cast to {to} first");
        }
        let data = self.to_data()?.cast(to);
        let values = data.as_slice::<T>().map(<[T]>::to_vec);
        values.ok_or_else(|| Error::new(ErrorKind::DType, "to_vec", "the runtime gave another dtype"))
    }

    /// Computes this tensor of one element and gives it, as [`to_vec`](Tensor::to_vec) does.
    ///
    /// # Errors
    /// As `to_vec`, and where there isn't exactly one element.
    #[track_caller]
    pub fn to_scalar<T: Element>(&self) -> Result<T> {
        self.one_element("to_scalar")?;
        let values = self.to_vec::<T>()?;
        let missing = || Error::new(ErrorKind::Shape, "to_scalar", "the runtime gave no value");
        values.first().copied().ok_or_else(missing)
    }

    /// Computes this tensor of one element and gives it as `f64`, whatever its dtype.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// assert_eq!(Tensor::ones([2, 3]).sum(..).item()?, 6.0);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the tensor is poisoned, the computation fails, or there isn't exactly one element.
    #[track_caller]
    pub fn item(&self) -> Result<f64> {
        self.one_element("item")?;
        let missing = || Error::new(ErrorKind::Shape, "item", "the runtime gave no value");
        Ok(self.to_data()?.get(0).ok_or_else(missing)?.as_f64())
    }

    #[track_caller]
    fn one_element(&self, operation: &str) -> Result<()> {
        match self.0.error() {
            None if self.elements() != 1 => {
                let shape = self.shape();
                refuse!(
                    Shape,
                    operation,
                    "needs exactly one element, the shape is {shape}; reduce it first (`.sum(..)`) or use to_vec"
                )
            }
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// Computes several tensors at once, sharing what they have in common.
///
/// # Errors
/// Where one of them is poisoned or the computation fails.
pub fn eval_all(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    let exprs: Vec<Expr> = tensors.iter().map(|tensor| tensor.0.clone()).collect();
    let values = runtime::evaluate(&exprs)?;
    let realise = |(data, tensor): (Data, &&Tensor)| Tensor(Expr::constant(data, tensor.shape()));
    Ok(values.into_iter().zip(tensors).map(realise).collect())
}

/// Whether every value of `from` is a value of `to`.
fn widens(from: DType, to: DType) -> bool {
    from == to
        || match from {
            DType::Bool => true,
            DType::U8 => to != DType::Bool,
            DType::U16 => matches!(to, DType::I32 | DType::I64 | DType::F32 | DType::F64),
            DType::I32 => matches!(to, DType::I64 | DType::F64),
            DType::F16 | DType::Bf16 => matches!(to, DType::F32 | DType::F64),
            DType::F32 => to == DType::F64,
            DType::I64 | DType::F64 => false,
        }
}

impl From<Expr> for Tensor {
    fn from(expr: Expr) -> Tensor {
        Tensor(expr)
    }
}

impl From<&Tensor> for Tensor {
    fn from(tensor: &Tensor) -> Tensor {
        tensor.clone()
    }
}

impl From<Error> for Tensor {
    fn from(error: Error) -> Tensor {
        Tensor(Expr::poisoned(error))
    }
}

impl AsRef<Tensor> for Tensor {
    fn as_ref(&self) -> &Tensor {
        self
    }
}
