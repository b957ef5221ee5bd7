//! Functions of each element by itself: elementary functions, rounding, comparisons, choosing and casting.

use std::f64::consts::{LN_2, LN_10};

use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Scalar};

use super::Tensor;
use super::arguments::Operand;
use super::operators::{join, pair};

macro_rules! float_functions {
    ($($(#[$doc:meta])* $name:ident $function:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor { Tensor(self.float().0.unary(UnaryOp::$function)) }
        )*}
    };
}

float_functions! {
    /// `e^x`.
    exp Exp;
    /// `e^x - 1`, precise near zero.
    exp_m1 ExpM1;
    /// The natural logarithm; of 0 it is −∞, of negatives `NaN`.
    ln Ln;
    /// `ln(1 + x)`, precise near zero.
    ln_1p Ln1p;
    /// The square root; of negatives `NaN`.
    sqrt Sqrt;
    /// `1 / sqrt(x)`.
    rsqrt Rsqrt;
    /// `1 / x`.
    recip Recip;
    /// The sine, of radians.
    sin Sin;
    /// The cosine, of radians.
    cos Cos;
    /// The hyperbolic tangent.
    tanh Tanh;
    /// `1 / (1 + e^-x)`, without overflow at either end.
    sigmoid Sigmoid;
    /// The error function.
    erf Erf;
}

macro_rules! joining {
    ($($(#[$doc:meta])* $name:ident $function:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, other: impl Into<Operand>) -> Tensor { join(BinaryOp::$function, self, other) }
        )*}
    };
}

joining! {
    /// The larger of the two; `NaN` if either is. Equal operands share the gradient.
    maximum Max;
    /// The smaller of the two; `NaN` if either is. Equal operands share the gradient.
    minimum Min;
    /// Where this is less than `other`.
    lt Lt;
    /// Where this is at most `other`.
    le Le;
    /// Where the two are equal (`NaN` equals nothing).
    eq Eq;
    /// Where the two differ.
    ne Ne;
}

impl Tensor {
    /// The same numbers as elements of another dtype. Floats are truncated towards zero to become integers;
    /// anything but zero becomes `true`.
    #[track_caller]
    pub fn cast(&self, dtype: DType) -> Tensor {
        Tensor(self.0.cast(dtype))
    }

    /// As floats: integers and booleans become `f32`.
    #[track_caller]
    pub(crate) fn float(&self) -> Tensor {
        self.cast(self.dtype().to_float())
    }

    /// As floats in which many numbers may be summed: 16-bit floats become `f32` too.
    #[track_caller]
    pub(crate) fn wide(&self) -> Tensor {
        match self.dtype() {
            DType::F64 => self.clone(),
            _ => self.cast(DType::F32),
        }
    }

    /// `-x`; the operator `-` is the same.
    #[allow(clippy::should_implement_trait)]
    #[track_caller]
    pub fn neg(&self) -> Tensor {
        -self
    }

    /// The absolute value.
    #[track_caller]
    pub fn abs(&self) -> Tensor {
        Tensor(self.0.unary(UnaryOp::Abs))
    }

    /// −1, 0 or 1; of `NaN` it is `NaN`.
    #[track_caller]
    pub fn sign(&self) -> Tensor {
        Tensor(self.0.unary(UnaryOp::Sign))
    }

    /// `x * x`.
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self * self
    }

    /// `2^x`.
    #[track_caller]
    pub fn exp2(&self) -> Tensor {
        (self.float() * LN_2).exp()
    }

    /// Between this (`weight` 0) and `end` (`weight` 1), on a straight line.
    #[track_caller]
    pub fn lerp(&self, end: &Tensor, weight: impl Into<Operand>) -> Tensor {
        self + (end - self) * weight
    }

    /// The logarithm to base 2.
    #[track_caller]
    pub fn log2(&self) -> Tensor {
        self.ln() * (1.0 / LN_2)
    }

    /// The logarithm to base 10.
    #[track_caller]
    pub fn log10(&self) -> Tensor {
        self.ln() * (1.0 / LN_10)
    }

    /// The tangent, of radians.
    #[track_caller]
    pub fn tan(&self) -> Tensor {
        self.sin() / self.cos()
    }

    /// This to the power of `exponent`. Integers stay integers unless the exponent is a float.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([1.0, 2.0, 3.0]);
    /// assert_eq!(x.pow(3).to_vec::<f64>()?, [1.0, 8.0, 27.0]);
    /// assert_eq!(x.pow(&x).to_vec::<f64>()?, [1.0, 4.0, 27.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn pow(&self, exponent: impl Into<Operand>) -> Tensor {
        let exponent = exponent.into();
        let Operand::Scalar(value) = exponent else {
            return join(BinaryOp::Pow, self, exponent);
        };
        let x = self.cast(value.join(self.dtype()));
        // The usual exponents, exactly and without a call to `pow`.
        match value.as_f64() {
            1.0 => x,
            2.0 => x.square(),
            3.0 => x.square() * &x,
            0.5 if x.dtype().is_float() => x.sqrt(),
            -0.5 if x.dtype().is_float() => x.rsqrt(),
            -1.0 if x.dtype().is_float() => x.recip(),
            _ => join(BinaryOp::Pow, x, value),
        }
    }

    /// Division of integers, truncated towards zero (0 where the divisor is 0); of floats, the truncated quotient.
    #[track_caller]
    pub fn div_trunc(&self, divisor: impl Into<Operand>) -> Tensor {
        join(BinaryOp::Div, self, divisor).trunc()
    }

    /// Downwards to a whole number; integers stay.
    #[track_caller]
    pub fn floor(&self) -> Tensor {
        self.rounded(UnaryOp::Floor)
    }

    /// Upwards to a whole number; integers stay.
    #[track_caller]
    pub fn ceil(&self) -> Tensor {
        self.rounded(UnaryOp::Ceil)
    }

    /// To the nearest whole number, halves to even; integers stay.
    #[track_caller]
    pub fn round(&self) -> Tensor {
        self.rounded(UnaryOp::Round)
    }

    /// Towards zero to a whole number; integers stay.
    #[track_caller]
    pub fn trunc(&self) -> Tensor {
        if !self.dtype().is_float() {
            return self.clone();
        }
        self.lt(0.0).select(self.ceil(), self.floor())
    }

    #[track_caller]
    fn rounded(&self, function: UnaryOp) -> Tensor {
        match self.dtype().is_float() {
            true => Tensor(self.0.unary(function)),
            false => self.clone(),
        }
    }

    /// Kept between `min` and `max`; `NaN` stays. The gradient is 1 inside and 0 from the ends on.
    #[track_caller]
    pub fn clamp(&self, min: impl Into<Operand>, max: impl Into<Operand>) -> Tensor {
        let (min, max) = (min.into(), max.into());
        if let (Operand::Scalar(min), Operand::Scalar(max)) = (&min, &max) {
            ensure!(
                min.as_f64() <= max.as_f64(),
                Value,
                "clamp",
                "the minimum {min} is above the maximum {max}"
            );
        }
        let (x, min) = pair(self.into(), min);
        let (x, max) = pair(x.into(), max);
        x.ge(&max).select(max, x.le(&min).select(min, &x))
    }

    /// Where this is greater than `other`.
    #[track_caller]
    pub fn gt(&self, other: impl Into<Operand>) -> Tensor {
        join(BinaryOp::Lt, other, self)
    }

    /// Where this is at least `other`.
    #[track_caller]
    pub fn ge(&self, other: impl Into<Operand>) -> Tensor {
        join(BinaryOp::Le, other, self)
    }

    /// Where both are true (not zero).
    #[track_caller]
    pub fn logical_and(&self, other: &Tensor) -> Tensor {
        self.cast(DType::Bool) & other.cast(DType::Bool)
    }

    /// Where one of them or both are true (not zero).
    #[track_caller]
    pub fn logical_or(&self, other: &Tensor) -> Tensor {
        self.cast(DType::Bool) | other.cast(DType::Bool)
    }

    /// Where exactly one of them is true (not zero).
    #[track_caller]
    pub fn logical_xor(&self, other: &Tensor) -> Tensor {
        self.cast(DType::Bool) ^ other.cast(DType::Bool)
    }

    /// Where this is false (zero).
    #[track_caller]
    pub fn logical_not(&self) -> Tensor {
        !self.cast(DType::Bool)
    }

    /// Where this is `NaN`.
    #[track_caller]
    pub fn is_nan(&self) -> Tensor {
        self.ne(self)
    }

    /// Where this is neither `NaN` nor infinite.
    #[track_caller]
    pub fn is_finite(&self) -> Tensor {
        match self.dtype().is_float() {
            true => self.abs().lt(f64::INFINITY),
            false => self.eq(self),
        }
    }

    /// As a condition: `a` where this holds, else `b`, broadcast together (NumPy's `where`). What isn't chosen has
    /// no influence, on the gradient neither, unless computing it gave `NaN` on the way.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([-1.0, 2.0]);
    /// let roots = x.gt(0.0).select(x.sqrt(), 0.0);
    /// assert_eq!(roots.to_vec::<f64>()?, [0.0, 2f64.sqrt()]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn select(&self, a: impl Into<Operand>, b: impl Into<Operand>) -> Tensor {
        let (a, b) = pair(a.into(), b.into());
        Tensor(self.cast(DType::Bool).0.select(&a.0, &b.0))
    }

    /// `value` where `mask` holds, this elsewhere; the dtype stays.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<Scalar>) -> Tensor {
        let value = value.into();
        mask.select(Tensor(kiln_ir::Expr::full((), value, self.dtype())), self)
    }
}
