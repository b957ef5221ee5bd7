//! Layers without parameters: activations, pooling, dropout, changes of shape. In a model of one's own the tensor's
//! methods do the same; as layers they stand in a [`Sequential`](crate::Sequential).

use std::fmt;
use std::sync::Arc;

use kiln_ir::{DType, Result};

use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{Context, Lengths, Module, TimeAxis, Visitor, unpadded};
use crate::tensor::Tensor;
use crate::tensor::pool::PoolOptions;
use crate::tensor::window::PerAxis;
use crate::variable::Param;

/// A layer that keeps nothing.
macro_rules! keeps_nothing {
    ($($layer:ty)*) => {$(
        impl Module for $layer {
            fn visit(&self, _: &mut Visitor) {}
        }
    )*};
}

keeps_nothing!(Activation Pool OverTime Dropout Flatten Reshape Transpose Upsample Lambda);

/// A function of each element (the softmaxes: of each row).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// Between 0 and 6.
    Relu6,
    /// With this slope below zero; PyTorch's is 0.01.
    LeakyRelu(f64),
    /// `alpha · (e^x − 1)` below zero.
    Elu(f64),
    /// An ELU that is smooth for every alpha.
    Celu(f64),
    /// The self-normalising ELU.
    Selu,
    /// `x · Φ(x)`.
    Gelu,
    /// Its approximation by a hyperbolic tangent.
    GeluTanh,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x · tanh(softplus(x))`.
    Mish,
    /// A sigmoid of straight lines.
    HardSigmoid,
    /// `x` times that.
    HardSwish,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// The logarithm of that.
    LogSigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// Probabilities along the last axis. Cross-entropy wants what comes before.
    Softmax,
    /// Their logarithms.
    LogSoftmax,
}

impl Layer for Activation {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        match *self {
            Activation::Relu => x.relu(),
            Activation::Relu6 => x.relu6(),
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Elu(alpha) => x.elu(alpha),
            Activation::Celu(alpha) => x.celu(alpha),
            Activation::Selu => x.selu(),
            Activation::Gelu => x.gelu(),
            Activation::GeluTanh => x.gelu_tanh(),
            Activation::Silu => x.silu(),
            Activation::Softplus => x.softplus(),
            Activation::Softsign => x.softsign(),
            Activation::Mish => x.mish(),
            Activation::HardSigmoid => x.hard_sigmoid(),
            Activation::HardSwish => x.hard_swish(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::LogSigmoid => x.log_sigmoid(),
            Activation::Tanh => x.tanh(),
            Activation::Softmax => x.softmax(-1),
            Activation::LogSoftmax => x.log_softmax(-1),
        }
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        match self {
            Activation::Softmax | Activation::LogSoftmax => only_back::<Self>(time.before_last(1)),
            _ => Ok(time),
        }
    }
}

/// A rectifier whose slope below zero is learnt.
#[derive(Clone, Debug)]
pub struct PRelu {
    /// One slope, or one for each channel (axis 1).
    pub weight: Param,
}

crate::parameters!(PRelu { weight });

impl PRelu {
    /// `count` slopes of 0.25, as PyTorch's: 1 for all, or one for each channel.
    #[track_caller]
    pub fn new(count: usize) -> PRelu {
        let fan = Fan { inputs: 1, outputs: 1 };
        PRelu { weight: Param::new(&Init::Constant(0.25).fill([count], fan, &crate::random::Key::new(0))) }
    }
}

impl Layer for PRelu {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let mut sizes = vec![1isize; x.rank().saturating_sub(1).max(1)];
        sizes[0] = -1;
        x.prelu(&self.weight.tensor().reshape(&sizes[..]))
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>((time.axis > 1 || self.weight.shape().elements() == 1).then_some(time))
    }
}

/// Pooling over the spatial axes, as many as the image has.
#[derive(Clone, Debug, PartialEq)]
pub enum Pool {
    /// The largest of each window.
    Max(PoolOptions),
    /// The mean of each window.
    Average(PoolOptions),
    /// The largest of windows that give a result of this size.
    AdaptiveMax(PerAxis),
    /// The mean of windows that give a result of this size.
    AdaptiveAverage(PerAxis),
    /// The largest of each channel, `[batch, channels]`.
    GlobalMax,
    /// The mean of each channel, `[batch, channels]`.
    GlobalAverage,
}

impl Layer for Pool {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let axes = x.rank().saturating_sub(2);
        if let (Some(lengths), 1) = (context.lengths(), axes) {
            match self {
                Pool::GlobalMax => return check!(over_steps(&OverTime::Max, x, 2, &lengths)),
                Pool::GlobalAverage => return check!(over_steps(&OverTime::Mean, x, 2, &lengths)),
                Pool::Max(_) | Pool::Average(_) | Pool::AdaptiveMax(_) | Pool::AdaptiveAverage(_) => {}
            }
        }
        match self {
            Pool::Max(options) => match axes {
                1 => x.max_pool1d(options),
                3 => x.max_pool3d(options),
                _ => x.max_pool2d(options),
            },
            Pool::Average(options) => match axes {
                1 => x.avg_pool1d(options),
                3 => x.avg_pool3d(options),
                _ => x.avg_pool2d(options),
            },
            Pool::AdaptiveMax(size) => match check!(size.for_axes("adaptive_max_pool", "the size", axes))[..]
            {
                [a] => x.adaptive_max_pool1d([a]),
                [a, b] => x.adaptive_max_pool2d([a, b]),
                [a, b, c] => x.adaptive_max_pool3d([a, b, c]),
                _ => no_image("adaptive_max_pool", x),
            },
            Pool::AdaptiveAverage(size) => {
                match check!(size.for_axes("adaptive_avg_pool", "the size", axes))[..] {
                    [a] => x.adaptive_avg_pool1d([a]),
                    [a, b] => x.adaptive_avg_pool2d([a, b]),
                    [a, b, c] => x.adaptive_avg_pool3d([a, b, c]),
                    _ => no_image("adaptive_avg_pool", x),
                }
            }
            Pool::GlobalMax => x.global_max_pool().flatten(1..),
            Pool::GlobalAverage => x.global_avg_pool().flatten(1..),
        }
    }

    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        let global = matches!(self, Pool::GlobalMax | Pool::GlobalAverage);
        let message = "pooling in windows doesn't know where sequences end";
        time.at(2, 3).filter(|_| global).map(|_| None).ok_or_else(|| unpadded(message.to_string()))
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        // Of each channel by itself, which may be the steps.
        let rank = if matches!(self, Pool::GlobalMax | Pool::GlobalAverage) { 2 } else { time.rank };
        only_back::<Self>((time.axis == 1).then_some(TimeAxis { rank, ..time }))
    }
}

#[track_caller]
fn no_image(operation: &str, x: &Tensor) -> Tensor {
    let message =
        format!("the image {} should have one to three spatial axes behind batch and channels", x.shape());
    kiln_ir::Error::new(kiln_ir::ErrorKind::Shape, operation, message).into()
}

/// What becomes of all steps of a sequence: `[batch, time, …]` to `[batch, …]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverTime {
    /// The last step. Of a row that also walks backwards that one has seen nothing else; take the mean there.
    Last,
    /// The mean of all steps.
    Mean,
    /// The largest of all steps.
    Max,
}

/// What becomes of all steps in this axis of sequences of differing lengths; zeros where there are none.
#[track_caller]
fn over_steps(how: &OverTime, x: &Tensor, axis: usize, lengths: &Lengths) -> Result<Tensor> {
    let along = axis as isize;
    let each = |numbers: Tensor, rank: usize| {
        let mut sizes = vec![1isize; rank];
        sizes[0] = -1;
        numbers.reshape(sizes)
    };
    let lowest = if x.dtype() == DType::F16 { -65504.0 } else { -3.3895e38 };
    let there = lengths.mask(TimeAxis { axis, rank: x.rank() }).any(along);
    let y = match how {
        OverTime::Mean => {
            lengths.filled(x, axis, 0.0)?.sum(along) / each(lengths.counts().cast(x.dtype()), x.rank() - 1)
        }
        OverTime::Max => lengths.filled(x, axis, lowest)?.max(along),
        OverTime::Last => {
            lengths.fits(x, axis)?;
            let mut sizes = x.shape().to_vec();
            sizes[axis] = 1;
            let places = each(lengths.counts() - 1i64, x.rank()).broadcast_to(sizes);
            x.gather(along, &places).squeeze(along)
        }
    };
    Ok(there.select(y, 0.0))
}

impl Layer for OverTime {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let Some(lengths) = context.lengths() else {
            return match self {
                OverTime::Last => x.narrow(1, -1, 1).squeeze(1),
                OverTime::Mean => x.mean(1),
                OverTime::Max => x.max(1),
            };
        };
        check!(over_steps(self, x, 1, &lengths))
    }

    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        only_back::<Self>(time.at(1, 3)).map(|_| None)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        // What is in axis 1 goes, and may be something else than the steps.
        only_back::<Self>((time.axis > 1).then(|| TimeAxis { axis: time.axis - 1, rank: time.rank - 1 }))
    }
}

/// Some of what comes in becomes zero while training; nothing happens in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dropout {
    /// Single elements; the others are scaled up.
    Elements(f64),
    /// Whole channels (axis 1) of images.
    Channels(f64),
    /// Single elements, which become SELU's lowest value, with mean and variance kept.
    Alpha(f64),
}

impl Dropout {
    /// Elements with this probability.
    pub fn new(probability: f64) -> Dropout {
        Dropout::Elements(probability)
    }
}

impl Layer for Dropout {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        if !context.is_training() {
            return x.clone();
        }
        match *self {
            Dropout::Elements(probability) => x.dropout(probability, &context.key()),
            Dropout::Channels(probability) => {
                let mut sizes = x.shape().to_vec();
                sizes.iter_mut().skip(2).for_each(|size| *size = 1);
                x * Tensor::ones(sizes).dropout(probability, &context.key()).cast(x.dtype())
            }
            Dropout::Alpha(probability) => {
                if probability == 0.0 {
                    return x.clone();
                }
                // SELU's value far below zero: −scale · alpha.
                const LOWEST: f64 = -1.758_099_340_847_376_6;
                let kept = Tensor::ones(x.shape()).dropout(probability, &context.key()).ne(0.0);
                let keep = 1.0 - probability;
                let scale = (keep * (1.0 + probability * LOWEST * LOWEST)).sqrt().recip();
                let shift = -scale * probability * LOWEST;
                kept.select(x, LOWEST) * scale + shift
            }
        }
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        Ok(time)
    }
}

/// All axes but the first become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flatten;

impl Layer for Flatten {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.flatten(1..)
    }
}

/// The last two axes change places: `[batch, time, size]` to `[batch, size, time]`, as convolutions take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transpose;

impl Layer for Transpose {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.transpose(-1, -2)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        let axis = match time.rank.saturating_sub(time.axis) {
            1 => time.axis.saturating_sub(1),
            2 => time.axis + 1,
            _ => time.axis,
        };
        only_back::<Self>((axis > 0).then_some(TimeAxis { axis, ..time }))
    }
}

/// Each example takes these sizes, one of which may be −1; the batch stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape(pub Vec<isize>);

impl Layer for Reshape {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let batch = x.shape().first().map_or(1, |&size| size as isize);
        let sizes: Vec<isize> = std::iter::once(batch).chain(self.0.iter().copied()).collect();
        x.reshape(sizes)
    }
}

/// Images grow by a whole factor along each spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsample {
    /// Each pixel is repeated.
    Nearest(usize),
    /// Straight lines between the pixels' centres.
    Linear(usize),
}

impl Layer for Upsample {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let grown = |factor: usize| -> Vec<usize> {
            x.shape().iter().skip(2).map(|size| size.saturating_mul(factor)).collect()
        };
        match *self {
            Upsample::Nearest(factor) => x.resize_nearest(grown(factor)),
            Upsample::Linear(factor) => x.resize_linear(grown(factor), false),
        }
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>((time.axis == 1).then_some(time))
    }
}

/// Any function of a tensor, as a layer.
///
/// ```
/// use kiln_nn::{Context, Lambda, Layer, Tensor};
///
/// let squared = Lambda::new("squared", |x| x.square());
/// let y = squared.forward(&Tensor::from([3.0]), &Context::inference());
/// assert_eq!(y.to_vec::<f64>()?, [9.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Lambda {
    name: String,
    function: Arc<dyn Fn(&Tensor) -> Tensor + Send + Sync>,
}

impl Lambda {
    /// A function and what it is called in summaries.
    pub fn new(name: &str, function: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Lambda {
        Lambda { name: name.to_string(), function: Arc::new(function) }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lambda({})", self.name)
    }
}

impl Layer for Lambda {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        (self.function)(x)
    }
}
