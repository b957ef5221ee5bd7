//! The layers that can be described without knowing what comes in: a closed set, with a text form.

use kiln_ir::{DType, Error, ErrorKind, Result, Shape};

use crate::init::Init;
use crate::layers::{
    Activation, BatchNorm, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Dense,
    Dropout, EmbedColumns, Embedding, Flatten, GroupNorm, Gru, InstanceNorm, Layer, LayerNorm, Lstm,
    MultiHeadAttention, OverTime, PRelu, Pool, PositionalEmbedding, RecurrentOptions, Reshape, RmsNorm, Rnn,
    TransformerBlock, TransformerOptions, Transpose, Upsample,
};
use crate::random::Key;
use crate::runtime::room;
use crate::tensor::conv::ConvOptions;
use crate::tensor::window::PerAxis;

/// A layer that is yet to be made.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// A dense layer.
    Dense {
        /// Features that come out; `None`: somebody will say ([`Sequential::outputs`](crate::Sequential::outputs)).
        outputs: Option<usize>,
        /// Whether something is added.
        bias: bool,
    },
    /// A convolution over as many spatial axes as there are.
    Conv {
        /// Channels that come out.
        outputs: usize,
        /// Sizes of the window.
        window: PerAxis,
        /// Stride, padding, dilation, groups.
        options: ConvOptions,
        /// Whether something is added.
        bias: bool,
    },
    /// A convolution of each channel by itself.
    Depthwise {
        /// Sizes of the window.
        window: PerAxis,
        /// Stride, padding, dilation; the groups are the channels.
        options: ConvOptions,
    },
    /// A transposed convolution.
    ConvTranspose {
        /// Channels that come out.
        outputs: usize,
        /// Sizes of the window.
        window: PerAxis,
        /// Stride, padding, dilation, groups, output padding.
        options: ConvOptions,
    },
    /// A table of so many vectors of this size.
    Embedding(usize, usize),
    /// A table of vectors for each of the last columns: how many and how long.
    EmbedColumns(Vec<(usize, usize)>),
    /// Normalisation over the batch.
    BatchNorm,
    /// Normalisation over the last axis.
    LayerNorm,
    /// Division by the root mean square over the last axis.
    RmsNorm,
    /// Normalisation over so many groups of channels.
    GroupNorm(usize),
    /// Normalisation of each channel of each image.
    InstanceNorm,
    /// A rectifier with a learnt slope for each channel.
    PRelu,
    /// An activation.
    Activation(Activation),
    /// Pooling.
    Pool(Pool),
    /// Dropout.
    Dropout(Dropout),
    /// All axes but the batch become one.
    Flatten,
    /// The last two axes change places.
    Transpose,
    /// Each example takes these sizes.
    Reshape(Vec<isize>),
    /// Images grow.
    Upsample(Upsample),
    /// Recurrent layers.
    Recurrent {
        /// What goes on at each step.
        cell: Cell,
        /// Numbers in the state.
        hidden: usize,
        /// How many layers, and in which directions.
        options: RecurrentOptions,
    },
    /// Attention of a sequence to itself.
    Attention {
        /// Among how many heads the features are divided.
        heads: usize,
        /// Whether a step attends only to those up to its own.
        causal: bool,
        /// What share of the attention is dropped.
        dropout: f64,
    },
    /// A transformer's block.
    Transformer {
        /// Among how many heads the features are divided.
        heads: usize,
        /// What else it is.
        options: TransformerOptions,
    },
    /// Learnt vectors for up to so many places.
    Positions(usize),
    /// Sines and cosines for each place.
    SinusoidalPositions,
    /// All steps of a sequence become one.
    OverTime(OverTime),
}

/// What goes on at each step of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A hyperbolic tangent.
    Rnn,
    /// A rectifier.
    RnnRelu,
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent units.
    Gru,
}

/// Layers on each other; more is nobody's model.
const MOST_LAYERS: usize = 64;

impl Spec {
    /// The layer for inputs of this shape.
    ///
    /// # Errors
    /// Where no such layer fits the shape.
    #[track_caller]
    pub fn build(&self, input: &Shape, key: &Key) -> Result<Box<dyn Layer>> {
        let key = key.clone();
        let refuse = |message: String| Error::new(ErrorKind::Shape, self.to_string(), message);
        let needs = |rank: usize| match input.rank() >= rank {
            true => Ok(()),
            false => Err(refuse(format!("needs an input of {rank} axes or more, not {input}"))),
        };
        // The features of a sequence.
        let steps = |input: &Shape| match input.rank() {
            3 => Ok(input[2]),
            _ => Err(refuse(format!("needs [batch, time, features], not {input}"))),
        };
        let divided = |input: &Shape, heads: usize| match steps(input)? {
            width if heads > 0 && width % heads == 0 => Ok(width),
            width => Err(refuse(format!("{width} features don't divide among {heads} heads"))),
        };
        macro_rules! by_axes {
            ($one:ident $two:ident $three:ident, $inputs:expr, $outputs:expr, $window:expr, $options:expr, $bias:expr) => {
                match input.rank() {
                    3 => Box::new($one::with_bias($inputs, $outputs, $window, $options, $bias, key)),
                    4 => Box::new($two::with_bias($inputs, $outputs, $window, $options, $bias, key)),
                    5 => Box::new($three::with_bias($inputs, $outputs, $window, $options, $bias, key)),
                    _ => return Err(refuse(format!("needs [batch, channels, spatial…], not {input}"))),
                }
            };
        }
        Ok(match self {
            Spec::Dense { outputs, bias } => {
                needs(1)?;
                let inputs = input[input.rank() - 1];
                let Some(outputs) = *outputs else {
                    return Err(refuse(
                        "how many outputs? write `dense 10`, or let `outputs` say".to_string(),
                    ));
                };
                Box::new(Dense::with_bias(inputs, outputs, bias.then_some(Init::PYTORCH), key))
            }
            Spec::Conv { outputs, window, options, bias } => {
                needs(3)?;
                let (inputs, groups) = (input[1], options.groups);
                if groups == 0 || inputs % groups != 0 || outputs % groups != 0 {
                    return Err(refuse(format!(
                        "{inputs} channels in and {outputs} out don't go into {groups} groups"
                    )));
                }
                let (window, options) = (window.clone(), options.clone());
                by_axes!(Conv1d Conv2d Conv3d, inputs, *outputs, window, options, *bias)
            }
            Spec::Depthwise { window, options } => {
                needs(3)?;
                let (window, options) = (window.clone(), options.clone().groups(input[1]));
                by_axes!(Conv1d Conv2d Conv3d, input[1], input[1], window, options, true)
            }
            Spec::ConvTranspose { outputs, window, options } => {
                needs(3)?;
                let (window, options) = (window.clone(), options.clone());
                by_axes!(ConvTranspose1d ConvTranspose2d ConvTranspose3d, input[1], *outputs, window, options, true)
            }
            Spec::Embedding(count, size) => Box::new(Embedding::new(*count, *size, key)),
            Spec::EmbedColumns(columns) => {
                needs(2)?;
                let width = input[input.rank() - 1];
                if columns.len() > width {
                    return Err(refuse(format!("{} columns of codes in rows of {width}", columns.len())));
                }
                Box::new(EmbedColumns::new(columns, key))
            }
            Spec::BatchNorm => {
                needs(2)?;
                room(&Shape::from([input[1]]), DType::F32)?;
                Box::new(BatchNorm::new(input[1]))
            }
            Spec::LayerNorm => {
                needs(1)?;
                Box::new(LayerNorm::new([input[input.rank() - 1]]))
            }
            Spec::RmsNorm => {
                needs(1)?;
                Box::new(RmsNorm::new(input[input.rank() - 1]))
            }
            Spec::GroupNorm(groups) => {
                needs(2)?;
                Box::new(GroupNorm::new(*groups, input[1]))
            }
            Spec::InstanceNorm => {
                needs(3)?;
                Box::new(InstanceNorm::new(input[1]))
            }
            Spec::PRelu => {
                needs(2)?;
                Box::new(PRelu::new(input[1]))
            }
            Spec::Activation(activation) => Box::new(*activation),
            Spec::Pool(pool) => Box::new(pool.clone()),
            Spec::Dropout(dropout) => Box::new(*dropout),
            Spec::Flatten => Box::new(Flatten),
            Spec::Transpose => {
                needs(3)?;
                Box::new(Transpose)
            }
            Spec::Reshape(sizes) => Box::new(Reshape(sizes.clone())),
            Spec::Upsample(upsample) => Box::new(*upsample),
            Spec::Recurrent { cell, hidden, options } => {
                let inputs = steps(input)?;
                if !(1..=MOST_LAYERS).contains(&options.layers) {
                    return Err(refuse(format!("{} layers; there are 1 to {MOST_LAYERS}", options.layers)));
                }
                let options = options.clone();
                match cell {
                    Cell::Rnn => Box::new(Rnn::new(inputs, *hidden, options, key)),
                    Cell::RnnRelu => Box::new(Rnn::new(inputs, *hidden, options, key).relu()),
                    Cell::Lstm => Box::new(Lstm::new(inputs, *hidden, options, key)),
                    Cell::Gru => Box::new(Gru::new(inputs, *hidden, options, key)),
                }
            }
            Spec::Attention { heads, causal, dropout } => {
                let attention =
                    MultiHeadAttention::new(divided(input, *heads)?, *heads, key).dropout(*dropout);
                Box::new(if *causal { attention.causal() } else { attention })
            }
            Spec::Transformer { heads, options } => {
                Box::new(TransformerBlock::new(divided(input, *heads)?, *heads, options.clone(), key))
            }
            Spec::Positions(count) => Box::new(PositionalEmbedding::new(*count, steps(input)?, key)),
            Spec::SinusoidalPositions => {
                steps(input)?;
                Box::new(PositionalEmbedding::Sinusoidal)
            }
            Spec::OverTime(over) => {
                needs(2)?;
                Box::new(*over)
            }
        })
    }
}
