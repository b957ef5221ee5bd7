//! Activation functions, composed so that neither they nor their gradients overflow at either end.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use kiln_ir::op::UnaryOp;

use super::Tensor;
use crate::composite::{Composite, note};

impl Tensor {
    /// `x` where positive, else 0; `NaN` stays.
    #[track_caller]
    pub fn relu(&self) -> Tensor {
        Tensor(self.0.unary(UnaryOp::Relu))
    }

    /// Between 0 and 6.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        let x = self.relu();
        note(x.ge(6).select(6, x), || (Composite::Relu6, [self]))
    }

    /// `x` where positive, else `slope * x`.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        let x = self.float();
        note(x.gt(0.0).select(&x, &x * slope), || (Composite::LeakyRelu(slope), [self]))
    }

    /// `x` where positive, else `weight * x` with a learnt `weight` that broadcasts (one, or `[channels, 1, 1]`).
    #[track_caller]
    pub fn prelu(&self, weight: &Tensor) -> Tensor {
        note(self.gt(0.0).select(self, self * weight), || (Composite::PRelu, [self, weight]))
    }

    /// `x` where positive, else `alpha * (e^x - 1)`.
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Tensor {
        let x = self.float();
        let positive = x.gt(0.0);
        // Zero goes into the exponential where it isn't wanted: an overflow there would make the gradient NaN.
        let negative = positive.select(0.0, &x).exp_m1() * alpha;
        note(positive.select(x, negative), || (Composite::Elu(alpha), [self]))
    }

    /// `x` where positive, else `alpha * (e^(x / alpha) - 1)`: an ELU that is smooth at 0 for every `alpha`.
    #[track_caller]
    pub fn celu(&self, alpha: f64) -> Tensor {
        let x = self.float();
        let positive = x.gt(0.0);
        let negative = (positive.select(0.0, &x) * (1.0 / alpha)).exp_m1() * alpha;
        note(positive.select(x, negative), || (Composite::Celu(alpha), [self]))
    }

    /// The self-normalising ELU: `scale * elu(alpha)` with the paper's constants.
    #[track_caller]
    pub fn selu(&self) -> Tensor {
        let y = self.elu(1.673_263_242_354_377_2) * 1.050_700_987_355_480_5;
        note(y, || (Composite::Selu, [self]))
    }

    /// The Gaussian error linear unit, exactly: `x * Φ(x)`.
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        let x = self.float();
        note(&x * 0.5 * ((&x * FRAC_1_SQRT_2).erf() + 1.0), || (Composite::Gelu(false), [self]))
    }

    /// GELU by its usual approximation with `tanh`.
    #[track_caller]
    pub fn gelu_tanh(&self) -> Tensor {
        let x = self.float();
        let inner = (&x + x.pow(3) * 0.044715) * (2.0 / PI).sqrt();
        note(x * 0.5 * (inner.tanh() + 1.0), || (Composite::Gelu(true), [self]))
    }

    /// `x * sigmoid(x)`, also known as swish.
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        self.sigmoid() * self
    }

    /// `ln(1 + e^x)`, without overflow.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        let x = self.float();
        let value = x.relu() + (-x.abs()).exp().ln_1p();
        // The rule is exact at 0, where the pieces have kinks.
        let value = value
            .with_gradient(&[&x], |arguments, _, upstream| vec![Some(upstream * arguments[0].sigmoid())]);
        note(value, || (Composite::Softplus, [self]))
    }

    /// `ln(sigmoid(x))`, without overflow.
    #[track_caller]
    pub fn log_sigmoid(&self) -> Tensor {
        -(-self).softplus()
    }

    /// `x * tanh(softplus(x))`.
    #[track_caller]
    pub fn mish(&self) -> Tensor {
        note(self.softplus().tanh() * self, || (Composite::Mish, [self]))
    }

    /// A sigmoid of three straight pieces: `relu6(x + 3) / 6`.
    #[track_caller]
    pub fn hard_sigmoid(&self) -> Tensor {
        note((self.float() + 3.0).relu6() * (1.0 / 6.0), || (Composite::HardSigmoid, [self]))
    }

    /// `x * hard_sigmoid(x)`.
    #[track_caller]
    pub fn hard_swish(&self) -> Tensor {
        note(self.hard_sigmoid() * self, || (Composite::HardSwish, [self]))
    }

    /// The first half of an axis, gated by the sigmoid of the second: the gated linear unit.
    #[track_caller]
    pub fn glu(&self, axis: isize) -> Tensor {
        let [value, gate] = self.chunk(axis);
        value * gate.sigmoid()
    }

    /// `x / (1 + |x|)`.
    #[track_caller]
    pub fn softsign(&self) -> Tensor {
        note(self / (self.abs() + 1.0), || (Composite::Softsign, [self]))
    }
}
