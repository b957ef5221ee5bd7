//! The row written as a chain of calls.

use std::sync::OnceLock;

use super::{Cell, Join, Kind, Sequential, Spec};
use crate::layers::{
    Activation, Dropout, Lambda, Layer, OverTime, Pool, RecurrentOptions, TransformerOptions, Upsample,
};
use crate::tensor::Tensor;
use crate::tensor::conv::ConvOptions;
use crate::tensor::pool::PoolOptions;
use crate::tensor::window::PerAxis;

macro_rules! convolutions {
    ($($conv:ident $with:ident $depthwise:ident $transposed:ident $max:ident $average:ident)*) => {$(
        /// A convolution to `outputs` channels: stride 1, no padding.
        pub fn $conv(self, outputs: usize, window: impl Into<PerAxis>) -> Sequential {
            self.$with(outputs, window, ConvOptions::new())
        }

        /// A convolution with stride, padding, dilation, groups.
        pub fn $with(self, outputs: usize, window: impl Into<PerAxis>, options: ConvOptions) -> Sequential {
            self.push(Spec::Conv { outputs, window: window.into(), options, bias: true })
        }

        /// A convolution of each channel by itself.
        pub fn $depthwise(self, window: impl Into<PerAxis>, options: ConvOptions) -> Sequential {
            self.push(Spec::Depthwise { window: window.into(), options })
        }

        /// A transposed convolution to `outputs` channels.
        pub fn $transposed(self, outputs: usize, window: impl Into<PerAxis>, options: ConvOptions) -> Sequential {
            self.push(Spec::ConvTranspose { outputs, window: window.into(), options })
        }

        /// The largest of each window.
        pub fn $max(self, options: impl Into<PoolOptions>) -> Sequential {
            self.push(Spec::Pool(Pool::Max(options.into())))
        }

        /// The mean of each window.
        pub fn $average(self, options: impl Into<PoolOptions>) -> Sequential {
            self.push(Spec::Pool(Pool::Average(options.into())))
        }
    )*};
}

macro_rules! simple {
    ($($(#[$meta:meta])* $name:ident($($argument:ident: $type:ty),*) = $spec:expr;)*) => {$(
        $(#[$meta])*
        pub fn $name(self $(, $argument: $type)*) -> Sequential {
            self.push($spec)
        }
    )*};
}

impl Sequential {
    /// A described layer.
    pub fn push(self, spec: Spec) -> Sequential {
        self.add(Kind::Described(spec, OnceLock::new()))
    }

    /// A layer of one's own, or one that is already made.
    pub fn layer(self, layer: impl Layer + 'static) -> Sequential {
        self.add(Kind::Own(Box::new(layer)))
    }

    /// Any function, with a name for summaries.
    pub fn lambda(self, name: &str, f: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Sequential {
        self.add(Kind::Lambda(Lambda::new(name, f)))
    }

    /// A row whose input is added to its result: as it is, or (where the sizes differ) through a 1×1 convolution or a dense layer.
    pub fn residual(self, body: Sequential) -> Sequential {
        self.add(Kind::Residual(body, OnceLock::new()))
    }

    /// Several rows from the same input, and how their results are joined.
    pub fn parallel(self, rows: impl IntoIterator<Item = Sequential>, join: Join) -> Sequential {
        self.add(Kind::Parallel(rows.into_iter().collect(), join))
    }

    /// Names the last layer: its parameters' paths then begin with that instead of its position.
    pub fn named(mut self, name: &str) -> Sequential {
        if let Some(part) = self.parts.last_mut() {
            part.name = Some(name.to_string());
        }
        self
    }

    convolutions! {
        conv1d conv1d_with depthwise_conv1d conv_transpose1d max_pool1d avg_pool1d
        conv2d conv2d_with depthwise_conv2d conv_transpose2d max_pool2d avg_pool2d
        conv3d conv3d_with depthwise_conv3d conv_transpose3d max_pool3d avg_pool3d
    }

    simple! {
        /// A dense layer to `outputs` features.
        dense(outputs: usize) = Spec::Dense { outputs: Some(outputs), bias: true };
        /// A table of `count` vectors of `size` numbers.
        embedding(count: usize, size: usize) = Spec::Embedding(count, size);
        /// Normalisation over the batch, by channel.
        batch_norm() = Spec::BatchNorm;
        /// Normalisation over the last axis.
        layer_norm() = Spec::LayerNorm;
        /// Division by the root mean square over the last axis.
        rms_norm() = Spec::RmsNorm;
        /// Normalisation over groups of channels.
        group_norm(groups: usize) = Spec::GroupNorm(groups);
        /// Normalisation of each channel of each image.
        instance_norm() = Spec::InstanceNorm;
        /// Elements become zero with this probability.
        dropout(probability: f64) = Spec::Dropout(Dropout::Elements(probability));
        /// Channels become zero with this probability.
        spatial_dropout(probability: f64) = Spec::Dropout(Dropout::Channels(probability));
        /// Dropout that keeps mean and variance behind SELUs.
        alpha_dropout(probability: f64) = Spec::Dropout(Dropout::Alpha(probability));
        /// All axes but the batch become one.
        flatten() = Spec::Flatten;
        /// The last two axes change places: `[batch, time, size]` to `[batch, size, time]`.
        transpose() = Spec::Transpose;
        /// Vectors for the codes in the last columns of rows: how many codes each has, and how long their vectors are.
        embed_columns(columns: Vec<(usize, usize)>) = Spec::EmbedColumns(columns);
        /// An LSTM over `[batch, time, features]` with a state of so many numbers.
        lstm(hidden: usize) = recurrent(Cell::Lstm, hidden, RecurrentOptions::new());
        /// LSTMs: several layers, both directions, dropout between.
        lstm_with(hidden: usize, options: RecurrentOptions) = recurrent(Cell::Lstm, hidden, options);
        /// Gated recurrent units over `[batch, time, features]` with a state of so many numbers.
        gru(hidden: usize) = recurrent(Cell::Gru, hidden, RecurrentOptions::new());
        /// Gated recurrent units: several layers, both directions, dropout between.
        gru_with(hidden: usize, options: RecurrentOptions) = recurrent(Cell::Gru, hidden, options);
        /// The plain recurrent layer over `[batch, time, features]` with a state of so many numbers.
        rnn(hidden: usize) = recurrent(Cell::Rnn, hidden, RecurrentOptions::new());
        /// Plain recurrent layers: several, both directions, dropout between.
        rnn_with(hidden: usize, options: RecurrentOptions) = recurrent(Cell::Rnn, hidden, options);
        /// Attention by so many heads, of a sequence to itself.
        attention(heads: usize) = Spec::Attention { heads, causal: false, dropout: 0.0 };
        /// The same, of each step only to those up to its own.
        causal_attention(heads: usize) = Spec::Attention { heads, causal: true, dropout: 0.0 };
        /// A transformer's block of so many heads.
        transformer(heads: usize, options: TransformerOptions) = Spec::Transformer { heads, options };
        /// Learnt vectors for up to so many places of a sequence, added to what stands there.
        positions(steps: usize) = Spec::Positions(steps);
        /// Sines and cosines for the places of a sequence, added to what stands there.
        sinusoidal_positions() = Spec::SinusoidalPositions;
        /// The last step of `[batch, time, features]`.
        last() = Spec::OverTime(OverTime::Last);
        /// The mean of all steps.
        mean_over_time() = Spec::OverTime(OverTime::Mean);
        /// The largest of all steps.
        max_over_time() = Spec::OverTime(OverTime::Max);
        /// Each pixel is repeated along each axis.
        upsample(factor: usize) = Spec::Upsample(Upsample::Nearest(factor));
        /// The mean of each channel.
        global_avg_pool() = Spec::Pool(Pool::GlobalAverage);
        /// The largest of each channel.
        global_max_pool() = Spec::Pool(Pool::GlobalMax);
        /// A rectifier with a learnt slope for each channel.
        prelu() = Spec::PRelu;
        /// `max(x, 0)`.
        relu() = Spec::Activation(Activation::Relu);
        /// With this slope below zero.
        leaky_relu(slope: f64) = Spec::Activation(Activation::LeakyRelu(slope));
        /// `alpha · (e^x − 1)` below zero.
        elu(alpha: f64) = Spec::Activation(Activation::Elu(alpha));
        /// The self-normalising ELU.
        selu() = Spec::Activation(Activation::Selu);
        /// `x · Φ(x)`.
        gelu() = Spec::Activation(Activation::Gelu);
        /// `x · sigmoid(x)`.
        silu() = Spec::Activation(Activation::Silu);
        /// `x · tanh(softplus(x))`.
        mish() = Spec::Activation(Activation::Mish);
        /// `1 / (1 + e^−x)`.
        sigmoid() = Spec::Activation(Activation::Sigmoid);
        /// The hyperbolic tangent.
        tanh() = Spec::Activation(Activation::Tanh);
        /// Probabilities along the last axis.
        softmax() = Spec::Activation(Activation::Softmax);
    }

    /// Another activation.
    pub fn activation(self, activation: Activation) -> Sequential {
        self.push(Spec::Activation(activation))
    }

    /// Windows that give a mean of this size, one number for each spatial axis.
    pub fn adaptive_avg_pool(self, sizes: &[usize]) -> Sequential {
        self.push(Spec::Pool(Pool::AdaptiveAverage(sizes.to_vec())))
    }

    /// Windows that give a largest element for each place of this size.
    pub fn adaptive_max_pool(self, sizes: &[usize]) -> Sequential {
        self.push(Spec::Pool(Pool::AdaptiveMax(sizes.to_vec())))
    }

    /// Each example takes these sizes, one of which may be −1.
    pub fn reshape(self, sizes: &[isize]) -> Sequential {
        self.push(Spec::Reshape(sizes.to_vec()))
    }
}

fn recurrent(cell: Cell, hidden: usize, options: RecurrentOptions) -> Spec {
    Spec::Recurrent { cell, hidden, options }
}
