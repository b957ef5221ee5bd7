//! Losses of numbers: each prediction has a target of its own.

use super::misfit::{Last, last};
use super::{Loss, Losses, Reduction, reduced, same_shape};
use crate::tensor::Tensor;

/// A loss that takes each number by itself: its options, and its formula over `x` (predictions) and `t` (targets).
macro_rules! by_number {
    ($($(#[$meta:meta])* $name:ident $title:literal { $($(#[$option_meta:meta])* $option:ident: $type:ty = $default:expr),* $(,)? }
        |$own:ident, $x:ident, $t:ident| $formula:expr, |$p:ident, $y:ident| $misfit:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name {
            $($(#[$option_meta])* pub $option: $type,)*
            reduction: Reduction,
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $($option: $default,)* reduction: Reduction::Mean }
            }
        }

        impl $name {
            /// With the options as they usually are.
            pub fn new() -> $name {
                $name::default()
            }

            $($(#[$option_meta])*
            pub fn $option(mut self, $option: $type) -> $name {
                self.$option = $option;
                self
            })*
        }

        reduced!($name);

        impl Loss for $name {
            #[track_caller]
            fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
                if let Some(poisoned) = same_shape($title, prediction, target) {
                    return poisoned;
                }
                let ($own, $x, $t) = (self, prediction.wide(), target.wide());
                Losses::from($formula)
            }

            fn reduction(&self) -> Reduction {
                self.reduction
            }

            fn misfit(&self, $p: &Tensor, $y: &Tensor) -> Option<String> {
                $misfit
            }
        }
    )*};
}

by_number! {
    /// The squared error.
    Mse "mse" {} |_own, x, t| (x - t).square(), |p, y| no_classes("mse", p, y);

    /// The absolute error.
    Mae "mae" {} |_own, x, t| (x - t).abs(), |p, y| no_classes("mae", p, y);

    /// Half the squared error up to `delta`, linear beyond.
    Huber "huber" {
        /// Where it becomes linear; 1 unless told otherwise.
        delta: f64 = 1.0,
    } |own, x, t| {
        let error = (x - t).abs();
        let (near, far) = (error.square() * 0.5, (&error - 0.5 * own.delta) * own.delta);
        error.lt(own.delta).select(near, far)
    }, |p, y| no_classes("huber", p, y);

    /// The absolute error, smooth within `beta` of zero.
    SmoothL1 "smooth_l1" {
        /// Where it becomes linear; 1 unless told otherwise. 0 is the absolute error.
        beta: f64 = 1.0,
    } |own, x, t| {
        let error = (x - t).abs();
        match own.beta > 0.0 {
            true => error.lt(own.beta).select(error.square() * (0.5 / own.beta), &error - 0.5 * own.beta),
            false => error,
        }
    }, |p, y| no_classes("smooth_l1", p, y);

    /// `ln cosh` of the error: squared near zero, absolute far away, smooth all over.
    LogCosh "log_cosh" {} |_own, x, t| {
        let error = (x - t).abs();
        &error + (&error * -2.0).exp().ln_1p() - std::f64::consts::LN_2
    }, |p, y| no_classes("log_cosh", p, y);

    /// The pinball loss, whose least value is at a quantile of the targets.
    Quantile "quantile" {
        /// Which quantile, between 0 and 1; the median unless told otherwise.
        quantile: f64 = 0.5,
    } |own, x, t| {
        let error = t - x;
        (&error * own.quantile).maximum(error * (own.quantile - 1.0))
    }, |p, y| no_classes("quantile", p, y);

    /// `relu(1 − x · t)` for targets −1 and 1.
    Hinge "hinge" {} |_own, x, t| (1.0 - x * t).relu(), |p, _y| match last(p) {
        Last::Other => None,
        squashed => Some(format!("hinge: the scores went through a {} and can't leave the margin; leave it out", squashed.name())),
    };

    /// The negative log-likelihood of counts under a Poisson distribution whose rate is predicted.
    PoissonNll "poisson_nll" {
        /// Whether the logarithm of the rate is predicted; it is unless told otherwise.
        log_input: bool = true,
        /// Whether the term of the targets alone is added (Stirling's approximation).
        full: bool = false,
    } |own, x, t| {
        let loss = match own.log_input {
            true => x.exp() - &t * &x,
            false => &x - &t * (&x + 1e-8).ln(),
        };
        match own.full {
            true => {
                let large = t.gt(1.0);
                let safe = large.select(&t, 1.0);
                let rest = &safe * safe.ln() - &safe + (&safe * std::f64::consts::TAU).ln() * 0.5;
                loss + large.select(rest, 0.0)
            }
            false => loss,
        }
    }, |_p, _y| None;
}

/// What to say of class numbers where a number is wanted.
fn no_classes(name: &str, prediction: &Tensor, target: &Tensor) -> Option<String> {
    let (x, t) = (prediction.shape(), target.shape());
    let classes = !target.dtype().is_float() && x.rank() == t.rank() + 1 && x[..t.rank()] == *t;
    classes.then(|| {
        let (dtype, classes) = (target.dtype(), x.last().copied().unwrap_or(0));
        format!("{name}: the targets {dtype}{t} are class numbers for {classes} scores; use a cross-entropy, or one_hot them")
    })
}

/// The binary cross-entropy of logits, against targets from 0 to 1.
#[derive(Clone, Debug, Default)]
pub struct BinaryCrossEntropy {
    /// How many times positive targets count; broadcast over the examples.
    pub positive_weight: Option<Tensor>,
    accept_any_output: bool,
    reduction: Reduction,
}

reduced!(BinaryCrossEntropy);

impl BinaryCrossEntropy {
    /// All targets alike.
    pub fn new() -> BinaryCrossEntropy {
        BinaryCrossEntropy::default()
    }

    /// How many times positive targets count: one number, or one for each output.
    pub fn positive_weight(mut self, weight: &Tensor) -> BinaryCrossEntropy {
        self.positive_weight = Some(weight.clone());
        self
    }

    /// Takes predictions that went through a sigmoid or softmax as logits all the same.
    pub fn accept_any_output(mut self) -> BinaryCrossEntropy {
        self.accept_any_output = true;
        self
    }
}

impl Loss for BinaryCrossEntropy {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        if let Some(poisoned) = same_shape("bce_with_logits", prediction, target) {
            return poisoned;
        }
        let (logits, target) = (prediction.wide(), target.wide());
        Losses::from(match &self.positive_weight {
            None => logits.softplus() - logits * target,
            Some(weight) => {
                let positive = &target * weight.wide() * (-&logits).softplus();
                positive + (1.0 - target) * logits.softplus()
            }
        })
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn misfit(&self, prediction: &Tensor, _: &Tensor) -> Option<String> {
        let last = last(prediction);
        (last != Last::Other && !self.accept_any_output).then(|| {
            let name = last.name();
            format!("binary cross-entropy: the outputs went through a {name} already; leave it out, this loss takes logits")
        })
    }
}

/// How far predicted distributions are from the targets', over the last axis. The mean is over the examples (PyTorch's
/// `batchmean`; its `mean` divides by the number of classes too).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KlDivergence {
    /// Whether the targets are logarithms of probabilities, as the predictions are.
    pub log_target: bool,
    reduction: Reduction,
}

reduced!(KlDivergence);

impl KlDivergence {
    /// Predictions are logarithms of probabilities, targets probabilities.
    pub fn new() -> KlDivergence {
        KlDivergence::default()
    }

    /// Whether the targets are logarithms of probabilities too.
    pub fn log_target(mut self, log_target: bool) -> KlDivergence {
        self.log_target = log_target;
        self
    }
}

impl Loss for KlDivergence {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        if let Some(poisoned) = same_shape("kl_divergence", prediction, target) {
            return poisoned;
        }
        let (x, t) = (prediction.wide(), target.wide());
        let each = match self.log_target {
            true => t.exp() * (t - x),
            false => {
                // p · ln p is 0 where p is 0.
                let impossible = t.eq(0.0);
                impossible.select(0.0, &t * impossible.select(1.0, &t).ln()) - t * x
            }
        };
        Losses::from(each.sum(-1))
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn misfit(&self, prediction: &Tensor, _: &Tensor) -> Option<String> {
        matches!(last(prediction), Last::Softmax | Last::Sigmoid).then(|| {
            "KL divergence: the predictions are probabilities; it takes their logarithms: use log_softmax"
                .to_string()
        })
    }
}
