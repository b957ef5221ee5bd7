//! Normalisation: over a batch, a layer's features, groups of channels, single images.

use kiln_ir::{Result, Shape};

use crate::composite::{Composite, note};
use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{Context, Module, TimeAxis, Visitor, unpadded};
use crate::tensor::Tensor;
use crate::variable::{Param, Variable};

/// A scale or shift that is the same everywhere at first.
#[track_caller]
fn constant(init: Init, shape: &Shape) -> Param {
    let fan = Fan { inputs: 1, outputs: 1 };
    Param::new(&init.fill(shape.clone(), fan, &crate::random::Key::new(0)))
}

/// A scale of ones and a shift of zeros.
#[track_caller]
fn affine(shape: impl Into<Shape>) -> (Param, Param) {
    let shape = shape.into();
    (constant(Init::Ones, &shape), constant(Init::Zeros, &shape))
}

/// Scaled and shifted by channel, which is axis 1.
#[track_caller]
fn by_channel(x: Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let rank = x.rank().max(2);
    x * along_channels(weight, rank) + along_channels(bias, rank)
}

/// One number a channel, as it meets `[batch, channels, …]`.
#[track_caller]
fn along_channels(tensor: &Tensor, rank: usize) -> Tensor {
    let mut sizes = vec![1isize; rank];
    sizes[1] = -1;
    tensor.reshape(&sizes[..])
}

/// Batch normalisation over all axes but the channels (axis 1), for any number of spatial axes.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// Scale by channel.
    pub weight: Param,
    /// Shift by channel.
    pub bias: Param,
    /// Mean by channel, for inference.
    pub running_mean: Variable,
    /// Variance by channel, for inference.
    pub running_var: Variable,
    /// How far a batch moves the running statistics.
    pub momentum: f64,
    /// What is added to the variance.
    pub epsilon: f64,
}

impl Module for BatchNorm {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.parameter("weight", &self.weight);
        visitor.parameter("bias", &self.bias);
        visitor.state("running_mean", &self.running_mean);
        visitor.state("running_var", &self.running_var);
    }
}

impl BatchNorm {
    /// A norm over `channels` that starts as the identity; epsilon 1e-5 and momentum 0.1, as PyTorch's.
    #[track_caller]
    pub fn new(channels: usize) -> BatchNorm {
        let (weight, bias) = affine([channels]);
        // Where a weight was refused its layer gives an error, and takes no memory for what it would remember.
        let kept = if weight.error().is_none() { channels } else { 0 };
        BatchNorm {
            weight,
            bias,
            running_mean: Variable::filled("", 0f32, [kept]),
            running_var: Variable::filled("", 1f32, [kept]),
            momentum: 0.1,
            epsilon: 1e-5,
        }
    }
}

impl Layer for BatchNorm {
    /// Normalises with the batch's statistics when training (and keeps their running means), else with the running ones; also where both
    /// its parameters are frozen, for then all of it is to stay as it is.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let (mean, var) = (context.value(&self.running_mean), context.value(&self.running_var));
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        let trains = context.is_training() && !(self.weight.is_frozen() && self.bias.is_frozen());
        if trains {
            let rank = x.rank().max(2);
            let [scale, shift] = [&weight, &bias].map(|tensor| along_channels(tensor, rank));
            let settings = [self.momentum, self.epsilon];
            let (y, mean, var) = x.batch_norm_scaled(&mean, &var, settings, Some([&scale, &shift]));
            context.update(&self.running_mean, mean);
            context.update(&self.running_var, var);
            return y;
        }
        let y = by_channel(x.batch_norm(&mean, &var, self.epsilon), &weight, &bias);
        note(y, || (Composite::BatchNorm(self.epsilon), [x, &weight, &bias, &mean, &var]))
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>((time.axis > 1).then_some(time))
    }

    fn padded_axis(&self, _: TimeAxis) -> Result<Option<TimeAxis>> {
        // In training padding would count.
        Err(unpadded(
            "normalisation over the batch doesn't know where sequences end; `layer-norm` needs not to"
                .to_string(),
        ))
    }
}

/// Normalisation of each example over its last axes.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Scale, of the shape that is normalised.
    pub weight: Param,
    /// Shift, of the same shape, unless there is none.
    pub bias: Option<Param>,
    /// What is added to the variance.
    pub epsilon: f64,
}

crate::parameters!(LayerNorm { weight, bias });

impl LayerNorm {
    /// A norm over the last axes, which have these sizes; epsilon 1e-5, as PyTorch's.
    #[track_caller]
    pub fn new(shape: impl Into<Shape>) -> LayerNorm {
        LayerNorm::with_bias(shape, true)
    }

    /// As [`LayerNorm::new`], with a shift or none.
    #[track_caller]
    pub(crate) fn with_bias(shape: impl Into<Shape>, bias: bool) -> LayerNorm {
        let shape = shape.into();
        let bias = bias.then(|| constant(Init::Zeros, &shape));
        LayerNorm { weight: constant(Init::Ones, &shape), bias, epsilon: 1e-5 }
    }

    /// The same norm without its shift.
    pub fn without_bias(self) -> LayerNorm {
        LayerNorm { bias: None, ..self }
    }
}

impl Layer for LayerNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let axes: Vec<isize> = (1..=self.weight.shape().rank() as isize).map(|axis| -axis).collect();
        let weight = self.weight.tensor();
        let first = x.rank().saturating_sub(axes.len());
        let y = x.layer_norm(axes, self.epsilon) * &weight;
        let Some(bias) = &self.bias else { return y };
        let bias = bias.tensor();
        note(y + &bias, || (Composite::LayerNorm(first, self.epsilon), [x, &weight, &bias]))
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(self.weight.shape().rank()))
    }
}

/// Division by the root mean square over the last axis.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// Scale, of the last axis' size.
    pub weight: Param,
    /// What is added to the mean square.
    pub epsilon: f64,
}

crate::parameters!(RmsNorm { weight });

impl RmsNorm {
    /// A norm over a last axis of `size`; epsilon 1e-6 (PyTorch's default is the smallest step of the dtype).
    #[track_caller]
    pub fn new(size: usize) -> RmsNorm {
        RmsNorm { weight: constant(Init::Ones, &[size].into()), epsilon: 1e-6 }
    }
}

impl Layer for RmsNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let weight = self.weight.tensor();
        let last = x.rank().saturating_sub(1);
        note(x.rms_norm(-1, self.epsilon) * &weight, || {
            (Composite::RmsNorm(last, self.epsilon), [x, &weight])
        })
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}

/// Normalisation of each image over groups of its channels.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// Scale by channel.
    pub weight: Param,
    /// Shift by channel.
    pub bias: Param,
    /// How many groups.
    pub groups: usize,
    /// What is added to the variance.
    pub epsilon: f64,
}

crate::parameters!(GroupNorm { weight, bias });

impl GroupNorm {
    /// A norm over each of `groups` groups of `channels` channels; epsilon 1e-5, as PyTorch's.
    #[track_caller]
    pub fn new(groups: usize, channels: usize) -> GroupNorm {
        let (weight, bias) = affine([channels]);
        GroupNorm { weight, bias, groups, epsilon: 1e-5 }
    }
}

impl Layer for GroupNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        let y = by_channel(x.group_norm(self.groups, self.epsilon), &weight, &bias);
        note(y, || (Composite::GroupNorm(self.groups, self.epsilon), [x, &weight, &bias]))
    }
}

/// Normalisation of each channel of each image. It has scale and shift, which PyTorch's has only if asked.
#[derive(Clone, Debug)]
pub struct InstanceNorm {
    /// Scale by channel.
    pub weight: Param,
    /// Shift by channel.
    pub bias: Param,
    /// What is added to the variance.
    pub epsilon: f64,
}

crate::parameters!(InstanceNorm { weight, bias });

impl InstanceNorm {
    /// A norm over `channels` channels; epsilon 1e-5, as PyTorch's.
    #[track_caller]
    pub fn new(channels: usize) -> InstanceNorm {
        let (weight, bias) = affine([channels]);
        InstanceNorm { weight, bias, epsilon: 1e-5 }
    }
}

impl Layer for InstanceNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        let y = by_channel(x.instance_norm(self.epsilon), &weight, &bias);
        note(y, || (Composite::InstanceNorm(self.epsilon), [x, &weight, &bias]))
    }
}
