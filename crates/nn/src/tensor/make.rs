//! Making tensors: from Rust values, whose type decides the dtype, and from a rule (zeros, ranges, one-hot rows).
//!
//! Data keep their type: `Tensor::from(2.0)` is `f64` because a Rust `2.0` is, and `from(2.0f32)` is `f32`. Numbers
//! that only describe a tensor (`full`, `arange`, `linspace`) make the default types: `f32`, `i64` or `bool`.

use std::ops::Range;

use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Data, Element, Expr, Scalar, Shape};

use super::Tensor;
use super::arguments::Operand;

impl Tensor {
    /// `data`, row-major, in `shape`. Compact types (`u8` pixels, `u16` tokens) stay as they are until arithmetic
    /// needs another.
    ///
    /// ```
    /// # use kiln_nn::{DType, Tensor};
    /// let pixels = Tensor::new(vec![0u8, 128, 255, 7], [2, 2]);
    /// assert_eq!(pixels.dtype(), DType::U8);
    /// assert_eq!((pixels / 255.0).dtype(), DType::F32);
    /// ```
    #[track_caller]
    pub fn new<T: Element>(data: impl Into<Vec<T>>, shape: impl Into<Shape>) -> Tensor {
        Tensor::from_data(T::wrap(data.into()), shape)
    }

    /// Numbers of a dtype known only at run time, row-major, in `shape`.
    #[track_caller]
    pub fn from_data(data: Data, shape: impl Into<Shape>) -> Tensor {
        Tensor(Expr::constant(data, shape))
    }

    /// Zeros, `f32`.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Tensor {
        Tensor(Expr::full(shape, 0.0, DType::F32))
    }

    /// Ones, `f32`.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>) -> Tensor {
        Tensor(Expr::full(shape, 1.0, DType::F32))
    }

    /// `value` everywhere: `f32` for a float, `i64` for an integer.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: impl Into<Scalar>) -> Tensor {
        let value = value.into();
        Tensor(Expr::full(shape, value, natural_dtype(value)))
    }

    /// Zeros in the shape and dtype of this tensor.
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        Tensor(self.0.full_like(0.0))
    }

    /// Ones in the shape and dtype of this tensor.
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        Tensor(self.0.full_like(1.0))
    }

    /// `value` in the shape and dtype of this tensor.
    #[track_caller]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Tensor {
        Tensor(self.0.full_like(value))
    }

    /// A literal by itself, in its natural dtype.
    #[track_caller]
    pub(crate) fn literal(value: Scalar) -> Tensor {
        Tensor(Expr::full((), value, natural_dtype(value)))
    }

    /// The numbers of a half-open range in steps of one: `i64` for integers, `f32` for floats.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// assert_eq!(Tensor::arange(2..5).to_vec::<i64>()?, [2, 3, 4]);
    /// assert_eq!(Tensor::arange(0.5..3.0).to_vec::<f32>()?, [0.5, 1.5, 2.5]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn arange<T: Into<Operand>>(range: Range<T>) -> Tensor {
        Tensor::arange_step(range.start, range.end, 1)
    }

    /// The numbers from `start` to before `end` in steps of `step`, which may be negative.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// assert_eq!(Tensor::arange_step(5, 0, -2).to_vec::<i64>()?, [5, 3, 1]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn arange_step<T: Into<Operand>>(start: T, end: T, step: impl Into<Operand>) -> Tensor {
        let (start, end, step) = (start.into(), end.into(), step.into());
        let (Operand::Scalar(start), Operand::Scalar(end), Operand::Scalar(step)) = (start, end, step) else {
            poison!(Value, "arange", "the ends of a range must be numbers, since they decide the shape");
        };
        ensure!(step.as_f64() != 0.0, Value, "arange", "a step of 0");
        let integers = [start, end, step].iter().all(|value| matches!(value, Scalar::Int(_)));
        let count = if integers {
            let distance = i128::from(end.as_i64()) - i128::from(start.as_i64());
            let step = i128::from(step.as_i64());
            usize::try_from((distance + step - step.signum()) / step).unwrap_or(0)
        } else {
            // Saturates: a negative count is 0, a huge one is refused when the node is built.
            ((end.as_f64() - start.as_f64()) / step.as_f64()).ceil() as usize
        };
        let index = Tensor(Expr::iota([count], 0, DType::I64));
        if integers {
            return index * step + start;
        }
        (index.cast(DType::F64) * step + start).cast(DType::F32)
    }

    /// `count` numbers from `start` to `end`, both included, `f32`.
    #[track_caller]
    pub fn linspace(start: f64, end: f64, count: usize) -> Tensor {
        let index = Tensor(Expr::iota([count], 0, DType::I64)).cast(DType::F64);
        let step = (end - start) / count.saturating_sub(1).max(1) as f64;
        (index * step + start).cast(DType::F32)
    }

    /// The identity matrix, `f32`.
    #[track_caller]
    pub fn eye(size: usize) -> Tensor {
        Tensor::index_along([size, size], 0).eq(Tensor::index_along([size, size], 1)).cast(DType::F32)
    }

    /// The index along `axis` in a tensor of `shape`, `i64`: `index_along([2, 3], 1)` is `[[0, 1, 2], [0, 1, 2]]`.
    #[track_caller]
    pub fn index_along(shape: impl Into<Shape>, axis: usize) -> Tensor {
        Tensor(Expr::iota(shape, axis, DType::I64))
    }

    /// For each class index a row with a one at its place, `f32`; a new last axis of size `classes`. An index that
    /// is no class gives zeros.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let rows = Tensor::from([2u8, 0]).one_hot(3);
    /// assert_eq!(rows.to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        let shape = self.shape();
        ensure!(
            self.0.error().is_some() || self.dtype().is_int(),
            DType,
            "one_hot",
            "class indices are integers, not {}",
            self.dtype()
        );
        let mut sizes = vec![1; shape.rank()];
        sizes.push(classes);
        let class = Tensor::index_along(sizes, shape.rank());
        self.cast(DType::I64).unsqueeze(-1).eq(class).cast(DType::F32)
    }
}

/// What a number that only describes a tensor makes.
fn natural_dtype(value: Scalar) -> DType {
    match value {
        Scalar::Bool(_) => DType::Bool,
        Scalar::Int(_) => DType::I64,
        Scalar::Float(_) => DType::F32,
    }
}

/// Nested arrays whose innermost elements make up a tensor, with the shape their type says.
trait Nested<T> {
    fn collect_into(&self, elements: &mut Vec<T>);
}

macro_rules! nested {
    ($($type:ty)*) => {$(
        impl From<$type> for Tensor {
            #[track_caller]
            fn from(value: $type) -> Tensor { Tensor::new(vec![value], ()) }
        }
        impl From<Vec<$type>> for Tensor {
            #[track_caller]
            fn from(values: Vec<$type>) -> Tensor {
                let count = values.len();
                Tensor::new(values, [count])
            }
        }
        impl From<&[$type]> for Tensor {
            #[track_caller]
            fn from(values: &[$type]) -> Tensor { Tensor::new(values, [values.len()]) }
        }
        impl Nested<$type> for $type {
            fn collect_into(&self, elements: &mut Vec<$type>) { elements.push(*self); }
        }
        impl<const A: usize> From<[$type; A]> for Tensor {
            #[track_caller]
            fn from(values: [$type; A]) -> Tensor { from_nested::<$type, _>(&values, vec![A]) }
        }
        impl<const A: usize, const B: usize> From<[[$type; B]; A]> for Tensor {
            #[track_caller]
            fn from(values: [[$type; B]; A]) -> Tensor { from_nested::<$type, _>(&values, vec![A, B]) }
        }
        impl<const A: usize, const B: usize, const C: usize> From<[[[$type; C]; B]; A]> for Tensor {
            #[track_caller]
            fn from(values: [[[$type; C]; B]; A]) -> Tensor { from_nested::<$type, _>(&values, vec![A, B, C]) }
        }
        impl<const A: usize, const B: usize, const C: usize, const D: usize> From<[[[[$type; D]; C]; B]; A]>
            for Tensor
        {
            #[track_caller]
            fn from(values: [[[[$type; D]; C]; B]; A]) -> Tensor {
                from_nested::<$type, _>(&values, vec![A, B, C, D])
            }
        }
    )*};
}

impl<T, N: Nested<T>, const A: usize> Nested<T> for [N; A] {
    fn collect_into(&self, elements: &mut Vec<T>) {
        for part in self {
            part.collect_into(elements);
        }
    }
}

#[track_caller]
fn from_nested<T: Element, N: Nested<T>>(values: &N, shape: Vec<usize>) -> Tensor {
    let mut elements = Vec::new();
    values.collect_into(&mut elements);
    Tensor::new(elements, shape)
}

nested!(bool u8 u16 i32 i64 f16 bf16 f32 f64);
