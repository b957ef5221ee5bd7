//! The words that layers begin with in a text: one table, from which the text form reads, and over which tests of models go.

use kiln_ir::Result;

use super::spec::Cell;
use super::text::Settings;
use super::{Join, Spec, sequence};
use crate::layers::{Activation, Dropout, OverTime, Pool, Upsample};

/// A word that layers begin with.
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// Layers that it begins, each with what such a layer takes. Every setting, and every way to be made, is in one of them.
    pub examples: &'static [(Takes, &'static str)],
    pub(super) reads: Reads,
}

/// What goes into a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Takes {
    /// `[batch, features]`.
    Rows,
    /// `[batch, features]`, the last two of which are codes below 4.
    Columns,
    /// `[batch, time, features]`, or `[batch, channels, length]`: of at least 4 each, and an even number.
    Sequences,
    /// `[batch, channels, height, width]`, as large.
    Images,
    /// `[batch, channels, depth, height, width]`, as large.
    Volumes,
    /// `[batch, time]`, of codes below 4.
    Codes,
}

/// How what follows a word is read.
#[derive(Clone, Copy)]
pub(super) enum Reads {
    /// Nothing follows.
    Activation(Activation),
    /// Numbers and settings.
    Layer(fn(&mut Settings) -> Result<Spec>),
    /// One row of layers in brackets.
    Residual,
    /// Rows of layers in brackets.
    Parallel(Join),
}

const fn word(
    word: &'static str,
    examples: &'static [(Takes, &'static str)],
    reads: fn(&mut Settings) -> Result<Spec>,
) -> Word {
    Word { word, examples, reads: Reads::Layer(reads) }
}

macro_rules! activations {
    ($($word:literal $activation:ident),* $(,)?) => {
        &[$(Word {
            word: $word,
            examples: &[(Rows, $word)],
            reads: Reads::Activation(Activation::$activation),
        }),*]
    };
}

use Takes::{Codes, Columns, Images, Rows, Sequences, Volumes};

const ACTIVATIONS: &[Word] = activations![
    "relu" Relu,
    "relu6" Relu6,
    "selu" Selu,
    "gelu" Gelu,
    "gelu-tanh" GeluTanh,
    "silu" Silu,
    "softplus" Softplus,
    "softsign" Softsign,
    "mish" Mish,
    "hard-sigmoid" HardSigmoid,
    "hard-swish" HardSwish,
    "sigmoid" Sigmoid,
    "log-sigmoid" LogSigmoid,
    "tanh" Tanh,
    "softmax" Softmax,
    "log-softmax" LogSoftmax,
];

const LAYERS: &[Word] = &[
    word("dense", &[(Rows, "dense 5"), (Rows, "dense 5 no-bias as head"), (Sequences, "dense 5")], |s| {
        Ok(Spec::Dense { bias: !s.flag("no-bias"), outputs: s.optional("the outputs")? })
    }),
    word(
        "conv",
        &[
            (Images, "conv 4 3"),
            (Images, "conv 4 3x2 stride 2x1 padding 1 dilation 1x2 groups 2 no-bias"),
            (Images, "conv 4 3 padding 0:1x2:1"),
            (Sequences, "conv 4 3 padding same"),
            (Sequences, "conv 4 3 padding 2:0 no-bias"),
            (Volumes, "conv 4 2"),
        ],
        |s| {
            let (options, bias) = (s.moves()?, !s.flag("no-bias"));
            Ok(Spec::Conv {
                outputs: s.number("the channels")?,
                window: s.sizes("the window")?,
                options,
                bias,
            })
        },
    ),
    word(
        "depthwise",
        &[(Images, "depthwise 3 padding 1"), (Sequences, "depthwise 3"), (Volumes, "depthwise 2 stride 2")],
        |s| {
            let options = s.moves()?;
            Ok(Spec::Depthwise { window: s.sizes("the window")?, options })
        },
    ),
    word(
        "conv-transpose",
        &[
            (Images, "conv-transpose 4 3"),
            (Images, "conv-transpose 4 3 stride 2 padding 1 output-padding 1 groups 2"),
            (Sequences, "conv-transpose 4 2 stride 2"),
            (Volumes, "conv-transpose 2 2"),
        ],
        |s| {
            let options = s.moves()?;
            let outputs = s.number("the channels")?;
            Ok(Spec::ConvTranspose { outputs, window: s.sizes("the window")?, options })
        },
    ),
    word("embedding", &[(Codes, "embedding 4 3")], |s| {
        Ok(Spec::Embedding(s.number("the count")?, s.number("the size")?))
    }),
    word("embed-columns", &[(Columns, "embed-columns 4:3 4:2")], |s| {
        Ok(Spec::EmbedColumns(s.pairs("count:size")?))
    }),
    word("batch-norm", NORMS_OF_CHANNELS, |_| Ok(Spec::BatchNorm)),
    word("norm", &[(Rows, "norm")], |_| Ok(Spec::BatchNorm)),
    word("layer-norm", &[(Rows, "layer-norm"), (Sequences, "layer-norm"), (Images, "layer-norm")], |_| {
        Ok(Spec::LayerNorm)
    }),
    word("rms-norm", &[(Rows, "rms-norm"), (Sequences, "rms-norm"), (Images, "rms-norm")], |_| {
        Ok(Spec::RmsNorm)
    }),
    word(
        "group-norm",
        &[(Rows, "group-norm 2"), (Sequences, "group-norm 2"), (Images, "group-norm 2")],
        |s| Ok(Spec::GroupNorm(s.number("the groups")?)),
    ),
    word(
        "instance-norm",
        &[(Sequences, "instance-norm"), (Images, "instance-norm"), (Volumes, "instance-norm")],
        |_| Ok(Spec::InstanceNorm),
    ),
    word("prelu", &[(Rows, "prelu"), (Sequences, "prelu"), (Images, "prelu")], |_| Ok(Spec::PRelu)),
    word("leaky-relu", &[(Rows, "leaky-relu"), (Rows, "leaky-relu 0.2")], |s| {
        Ok(Spec::Activation(Activation::LeakyRelu(s.optional("the slope")?.unwrap_or(0.01))))
    }),
    word("elu", &[(Rows, "elu"), (Rows, "elu 0.5")], |s| {
        Ok(Spec::Activation(Activation::Elu(s.optional("alpha")?.unwrap_or(1.0))))
    }),
    word("celu", &[(Rows, "celu"), (Rows, "celu 0.5")], |s| {
        Ok(Spec::Activation(Activation::Celu(s.optional("alpha")?.unwrap_or(1.0))))
    }),
    word(
        "pool",
        &[
            (Images, "pool 2"),
            (Images, "pool 3x2 stride 2 padding 1 dilation 1 ceil"),
            (Sequences, "pool 2 dilation 2"),
            (Volumes, "pool 2"),
        ],
        |s| Ok(Spec::Pool(Pool::Max(s.pooling()?))),
    ),
    word("max-pool", &[(Images, "max-pool 2")], |s| Ok(Spec::Pool(Pool::Max(s.pooling()?)))),
    word(
        "avg-pool",
        &[
            (Images, "avg-pool 2"),
            (Images, "avg-pool 3 stride 2 padding 1 ceil without-padding"),
            (Sequences, "avg-pool 2 padding 1"),
            (Volumes, "avg-pool 2"),
        ],
        |s| Ok(Spec::Pool(Pool::Average(s.pooling()?))),
    ),
    word(
        "adaptive-pool",
        &[(Images, "adaptive-pool 2"), (Images, "adaptive-pool 2x3"), (Sequences, "adaptive-pool 3")],
        |s| Ok(Spec::Pool(Pool::AdaptiveMax(s.list("the size")?))),
    ),
    word(
        "adaptive-avg-pool",
        &[
            (Images, "adaptive-avg-pool 2"),
            (Images, "adaptive-avg-pool 2x3"),
            (Sequences, "adaptive-avg-pool 3"),
        ],
        |s| Ok(Spec::Pool(Pool::AdaptiveAverage(s.list("the size")?))),
    ),
    word(
        "global-pool",
        &[(Images, "global-pool"), (Sequences, "global-pool"), (Volumes, "global-pool")],
        |_| Ok(Spec::Pool(Pool::GlobalMax)),
    ),
    word(
        "global-avg-pool",
        &[(Images, "global-avg-pool"), (Sequences, "global-avg-pool"), (Volumes, "global-avg-pool")],
        |_| Ok(Spec::Pool(Pool::GlobalAverage)),
    ),
    word("dropout", &[(Rows, "dropout 0.2"), (Images, "dropout 0.2")], |s| {
        Ok(Spec::Dropout(Dropout::Elements(s.probability()?)))
    }),
    word("spatial-dropout", &[(Images, "spatial-dropout 0.2"), (Sequences, "spatial-dropout 0.2")], |s| {
        Ok(Spec::Dropout(Dropout::Channels(s.probability()?)))
    }),
    word("alpha-dropout", &[(Rows, "alpha-dropout 0.2"), (Rows, "alpha-dropout 0")], |s| {
        Ok(Spec::Dropout(Dropout::Alpha(s.probability()?)))
    }),
    word("flatten", &[(Rows, "flatten"), (Images, "flatten")], |_| Ok(Spec::Flatten)),
    word("transpose", &[(Sequences, "transpose"), (Images, "transpose")], |_| Ok(Spec::Transpose)),
    word("reshape", &[(Rows, "reshape 2 -1"), (Images, "reshape -1")], |s| {
        let mut to = vec![s.number("a size")?];
        while let Some(size) = s.optional("a size")? {
            to.push(size);
        }
        Ok(Spec::Reshape(to))
    }),
    word("upsample", &[(Images, "upsample 2"), (Sequences, "upsample 2"), (Volumes, "upsample 2")], |s| {
        Ok(Spec::Upsample(Upsample::Nearest(s.number("the factor")?)))
    }),
    word(
        "upsample-linear",
        &[(Images, "upsample-linear 2"), (Sequences, "upsample-linear 2"), (Volumes, "upsample-linear 2")],
        |s| Ok(Spec::Upsample(Upsample::Linear(s.number("the factor")?))),
    ),
    word(
        "lstm",
        &[
            (Sequences, "lstm 3"),
            (Sequences, "lstm 3 layers 2 bidirectional dropout 0.1 no-bias"),
            (Sequences, "lstm 3 layers 2"),
        ],
        |s| sequence::recurrent(s, Cell::Lstm),
    ),
    word(
        "gru",
        &[(Sequences, "gru 3"), (Sequences, "gru 3 layers 2 bidirectional dropout 0.1 no-bias")],
        |s| sequence::recurrent(s, Cell::Gru),
    ),
    word(
        "rnn",
        &[
            (Sequences, "rnn 3"),
            (Sequences, "rnn 3 relu"),
            (Sequences, "rnn 3 layers 2 bidirectional dropout 0.1 no-bias"),
        ],
        |s| {
            let cell = if s.flag("relu") { Cell::RnnRelu } else { Cell::Rnn };
            sequence::recurrent(s, cell)
        },
    ),
    word("attention", &[(Sequences, "attention 2"), (Sequences, "attention 2 causal dropout 0.1")], |s| {
        let (causal, dropout) = (s.flag("causal"), s.named_probability("dropout")?);
        Ok(Spec::Attention { heads: s.number("the heads")?, causal, dropout })
    }),
    word(
        "transformer",
        &[
            (Sequences, "transformer 2"),
            (Sequences, "transformer 2 feedforward 5 causal post-norm relu dropout 0.1"),
        ],
        sequence::transformer,
    ),
    word("positions", &[(Sequences, "positions 8")], |s| Ok(Spec::Positions(s.number("the steps")?))),
    word("sinusoidal-positions", &[(Sequences, "sinusoidal-positions")], |_| Ok(Spec::SinusoidalPositions)),
    word("last", &[(Sequences, "last")], |_| Ok(Spec::OverTime(OverTime::Last))),
    word("mean-over-time", &[(Sequences, "mean-over-time")], |_| Ok(Spec::OverTime(OverTime::Mean))),
    word("max-over-time", &[(Sequences, "max-over-time")], |_| Ok(Spec::OverTime(OverTime::Max))),
];

const NORMS_OF_CHANNELS: &[(Takes, &str)] =
    &[(Rows, "batch-norm"), (Sequences, "batch-norm"), (Images, "batch-norm"), (Volumes, "batch-norm")];

const ROWS: &[Word] = &[
    Word {
        word: "residual",
        examples: &[
            (Rows, "residual(dense 5)"),
            (Rows, "residual(dense 4, residual(relu))"),
            (Sequences, "residual(conv 6 3 stride 2 padding 1)"),
            (Images, "residual(conv 6 3 stride 2 padding 1 no-bias, batch-norm, relu) as block"),
            (Images, "residual(conv 4 3 padding 1)"),
            (Volumes, "residual(conv 6 1)"),
        ],
        reads: Reads::Residual,
    },
    Word {
        word: "parallel",
        examples: &[
            (Rows, "parallel(dense 3; dense 2 no-bias, relu)"),
            (Images, "parallel(conv 3 1; conv 2 3 padding 1, batch-norm) as both"),
        ],
        reads: Reads::Parallel(Join::Concat),
    },
    Word {
        word: "sum",
        examples: &[(Rows, "sum(dense 3; dense 3, relu)"), (Images, "sum(conv 3 1; conv 3 3 padding 1)")],
        reads: Reads::Parallel(Join::Sum),
    },
];

/// Every word, in the order in which messages list them.
pub fn words() -> impl Iterator<Item = &'static Word> + Clone {
    [LAYERS, ROWS, ACTIVATIONS].into_iter().flatten()
}
