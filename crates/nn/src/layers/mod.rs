//! The first layers: dense, two-dimensional convolution, batch norm. Their weights start as PyTorch's do.

use kiln_ir::Data;

use crate::module::{Context, Module, Visitor};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::conv::ConvOptions;
use crate::variable::{Param, Variable};

/// `x · weight + bias`, with the weight stored `[inputs, outputs]`.
#[derive(Clone, Debug)]
pub struct Dense {
    /// `[inputs, outputs]`.
    pub weight: Param,
    /// `[outputs]`.
    pub bias: Param,
}

crate::parameters!(Dense { weight, bias });

impl Dense {
    /// A layer from `inputs` to `outputs` features; uniform within ±1/√inputs, as PyTorch's `Linear`.
    pub fn new(inputs: usize, outputs: usize, key: Key) -> Dense {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        Dense {
            weight: Param::new(&key.derive(0).uniform([inputs, outputs], -bound, bound)),
            bias: Param::new(&key.derive(1).uniform([outputs], -bound, bound)),
        }
    }

    /// Applies the layer to the last axis.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.matmul(&self.weight.tensor()) + self.bias.tensor()
    }
}

/// A two-dimensional convolution over `[batch, channel, height, width]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[out, in / groups, height, width]`; stored window-first, as its kernels read it.
    pub weight: Param,
    /// `[out]`, unless a norm that follows makes it pointless.
    pub bias: Option<Param>,
    /// Stride, padding, dilation, groups.
    pub options: ConvOptions,
}

crate::parameters!(Conv2d { weight, bias });

impl Conv2d {
    /// A square window of `size` from `inputs` to `outputs` channels; uniform within ±1/√(inputs·size²), as PyTorch's.
    pub fn new(inputs: usize, outputs: usize, size: usize, options: ConvOptions, key: Key) -> Conv2d {
        let fan_in = inputs / options.groups.max(1) * size * size;
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        let shape = [outputs, inputs / options.groups.max(1), size, size];
        Conv2d {
            weight: Param::stored(&key.derive(0).uniform(shape, -bound, bound), &[2, 3, 1, 0]),
            bias: Some(Param::new(&key.derive(1).uniform([outputs], -bound, bound))),
            options,
        }
    }

    /// The same layer without its bias.
    pub fn without_bias(self) -> Conv2d {
        Conv2d { bias: None, ..self }
    }

    /// Applies the convolution.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = x.conv2d(&self.weight.tensor(), &self.options);
        match &self.bias {
            Some(bias) => y + bias.tensor().reshape([1, -1, 1, 1]),
            None => y,
        }
    }
}

/// Batch normalisation over all axes but the channels (axis 1).
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
    pub fn new(channels: usize) -> BatchNorm {
        let constant = |value: f32| Data::F32(vec![value; channels]);
        let state = |value: f32| Variable::filled("", value, [channels]);
        BatchNorm {
            weight: Param::new(&Tensor::from_data(constant(1.0), [channels])),
            bias: Param::new(&Tensor::from_data(constant(0.0), [channels])),
            running_mean: state(0.0),
            running_var: state(1.0),
        }
    }

    /// Normalises with the batch's statistics when training (and keeps their running means), else with the running ones.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let (mean, var) = (self.running_mean.tensor(), self.running_var.tensor());
        let normal = if context.is_training() {
            let (normal, mean, var) = x.batch_norm_train(&mean, &var, 0.1, 1e-5);
            context.update(&self.running_mean, mean);
            context.update(&self.running_var, var);
            normal
        } else {
            x.batch_norm(&mean, &var, 1e-5)
        };
        let mut sizes = vec![1i64; x.rank().max(2)];
        sizes[1] = -1;
        normal * self.weight.tensor().reshape(&sizes[..]) + self.bias.tensor().reshape(&sizes[..])
    }
}
