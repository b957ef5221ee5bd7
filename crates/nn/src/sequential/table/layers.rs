//! Long: the table of layers is one table.
//!
//! An entry has, in this order:
//!
//! - a line that says what the layer does, for the documentation, the help and the guide;
//! - its name as a [`Spec`], its word, and other words for the same;
//! - its arguments in the order in which they are written: a field, what it is where it isn't said, and how it stands in a text (`arguments.rs`);
//! - examples, with what they take: every argument is in one of them, and the tests take each through the life of a model;
//! - the methods of a row of layers, the first called as the word; `ranked methods` are those for one, two and three spatial axes;
//! - how the layer is made for what comes in (`incoming.rs`).

use kiln_ir::{DType, Result, Shape};

use super::Takes::{Codes, Columns, Images, Rows, Sequences, Volumes};
use super::incoming::Incoming;
use super::{ArgumentVisitor, Begins, Mistake, Word, arguments};
use crate::init::Init;
use crate::layers::{
    Activation, BatchNorm, Calibrate, Dense, Dropout, EmbedColumns, Embedding, Flatten, GroupNorm, Gru,
    InstanceNorm, Isotonic, Layer, LayerNorm, LearnedScale, Lstm, MemberScales, MembersDense,
    MultiHeadAttention, OverTime, PRelu, Places, Pool, PositionalEmbedding, RecurrentOptions, Reshape,
    RmsNorm, Rnn, RowSteps, Take, TransformerBlock, TransformerOptions, Transpose, Trees, Upsample, Waves,
    convolution, transposed_convolution,
};
use crate::models::{BlockOptions, DecoderBlock};
use crate::runtime::room;
use crate::sequential::Sequential;
use crate::tensor::conv::ConvOptions;
use crate::tensor::pool::PoolOptions;
use crate::tensor::window::{PerAxis, SpatialRank};

layers! {
    /// Every output is a weighted sum of the features, which are the last axis.
    Dense "dense" {
        /// Features that come out; none: somebody will say ([`Sequential::outputs`]).
        outputs: Option<usize> = None => optional "outputs",
        /// Whether something is added.
        bias: bool = true => unless "no-bias",
    }
    examples &[(Rows, "dense 5"), (Rows, "dense 5 no-bias as head"), (Sequences, "dense 5")],
    methods { dense(outputs: usize) = Spec::Dense { outputs: Some(outputs), bias: true }; }
    make |x| {
        let Some(outputs) = *outputs else {
            return Err(x.refuse("how many outputs? write `dense 10`, or let `outputs` say".to_string()));
        };
        Box::new(Dense::with_bias(x.features()?, outputs, bias.then_some(Init::PYTORCH), x.key))
    };

    /// Convolution: every output channel is a weighted sum of a window over all input channels.
    Conv "conv" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// Channels that come out.
        outputs: usize = 0 => required "channels",
        /// Sizes of the window.
        window: PerAxis = PerAxis::Same(1) => required "window",
        /// Stride, padding, dilation, groups.
        options: ConvOptions = ConvOptions::new() => convolution,
        /// Whether something is added.
        bias: bool = true => unless "no-bias",
    }
    examples &[
        (Images, "conv 4 3"),
        (Images, "conv2d 4 3x2 stride 2x1 padding 1 dilation 1x2 groups 2 no-bias"),
        (Images, "conv 4 3 padding 0:1x2:1"),
        (Sequences, "conv 4 3 padding same"),
        (Sequences, "conv1d 4 3 padding 2:0 no-bias"),
        (Volumes, "conv3d 4 2"),
    ],
    ranked methods |rank| {
        [conv1d conv2d conv3d](outputs: usize, window: impl Into<PerAxis>) =
            Spec::Conv { rank, outputs, window: window.into(), options: ConvOptions::new(), bias: true };
        [conv1d_with conv2d_with conv3d_with](outputs: usize, window: impl Into<PerAxis>, options: ConvOptions) =
            Spec::Conv { rank, outputs, window: window.into(), options, bias: true };
    }
    make |x| {
        let inputs = x.grouped(options.groups, *outputs)?;
        convolution(x.rank(*rank)?, [inputs, *outputs], window.clone(), options.clone(), *bias, x.key)
    };

    /// Convolution of each channel by itself.
    DepthwiseConv "depthwise-conv" or "depthwise" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// Sizes of the window.
        window: PerAxis = PerAxis::Same(1) => required "window",
        /// Stride, padding, dilation; the groups are the channels.
        options: ConvOptions = ConvOptions::new() => depthwise,
    }
    examples &[
        (Images, "depthwise-conv 3 padding 1"),
        (Sequences, "depthwise-conv1d 3 dilation 2"),
        (Volumes, "depthwise-conv 2 stride 2"),
    ],
    ranked methods |rank| {
        [depthwise_conv1d depthwise_conv2d depthwise_conv3d](window: impl Into<PerAxis>, options: ConvOptions) =
            Spec::DepthwiseConv { rank, window: window.into(), options };
    }
    make |x| {
        let channels = x.channels()?;
        let options = options.clone().groups(channels);
        convolution(x.rank(*rank)?, [channels; 2], window.clone(), options, true, x.key)
    };

    /// Transposed convolution, which makes images larger.
    ConvTranspose "conv-transpose" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// Channels that come out.
        outputs: usize = 0 => required "channels",
        /// Sizes of the window.
        window: PerAxis = PerAxis::Same(1) => required "window",
        /// Stride, padding, dilation, groups, output padding.
        options: ConvOptions = ConvOptions::new() => transposed,
    }
    examples &[
        (Images, "conv-transpose 4 3"),
        (Images, "conv-transpose2d 4 3 stride 2 padding 1 output-padding 1 groups 2"),
        (Sequences, "conv-transpose 4 2 stride 2 dilation 2"),
        (Volumes, "conv-transpose 2 2"),
    ],
    ranked methods |rank| {
        [conv_transpose1d conv_transpose2d conv_transpose3d]
            (outputs: usize, window: impl Into<PerAxis>, options: ConvOptions) =
            Spec::ConvTranspose { rank, outputs, window: window.into(), options };
    }
    make |x| {
        let sizes = [x.channels()?, *outputs];
        transposed_convolution(x.rank(*rank)?, sizes, window.clone(), options.clone(), x.key)
    };

    /// A vector for each code, from a table that is learnt.
    Embedding "embedding" {
        /// How many codes there are.
        count: usize = 0 => required "count",
        /// Numbers of a vector.
        size: usize = 0 => required "size",
        /// Whether codes of −1 are padding behind sequences, which the layers behind leave out.
        padded: bool = false => flag "padded",
    }
    examples &[(Codes, "embedding 4 3"), (Codes, "embedding 4 3 padded")],
    methods { embedding(count: usize, size: usize) = Spec::Embedding { count, size, padded: false }; }
    make |x| Box::new(Embedding { padded: *padded, ..Embedding::new(*count, *size, x.key) });

    /// Vectors for the codes in the last columns of rows: how many codes each column has, and how long their vectors are.
    EmbedColumns "embed-columns" {
        /// How many codes and how many numbers for each, by column.
        columns: Vec<(usize, usize)> = Vec::new() => rest "count:size",
    }
    examples &[(Columns, "embed-columns 4:3 4:2")],
    methods { embed_columns(columns: Vec<(usize, usize)>) = Spec::EmbedColumns { columns }; }
    make |x| {
        x.needs(2)?;
        let width = x.features()?;
        if columns.len() > width {
            return Err(x.refuse(format!("{} columns of codes in rows of {width}", columns.len())));
        }
        Box::new(EmbedColumns::new(columns, x.key))
    };

    /// A learnt factor for each number of an example, at first 1.
    Scale "scale" {
        /// How many times as fast they learn as weights do.
        rate: f64 = 1.0 => named "rate",
    }
    examples &[(Rows, "scale"), (Rows, "scale rate 6"), (Sequences, "scale")],
    methods { scale(rate: f64) = Spec::Scale { rate }; }
    make |x| {
        x.needs(2)?;
        let shape = Shape::from(&x.shape[1..]);
        room(&shape, DType::F32)?;
        Box::new(LearnedScale::new(shape, *rate))
    };

    /// A few learnt sums of cosines of each number (or of those in some places, counted from 1), in front of what came in.
    Waves "waves" {
        /// How many sums.
        size: usize = 3 => optional "size",
        /// How many cosines each is of.
        count: usize = 16 => named "count",
        /// The deviation of frequencies at first, in turns for each unit.
        deviation: f64 = 0.1 => named "deviation",
        /// Of which numbers; all, unless it is said.
        places: Places = Places(Vec::new()) => named "of",
    }
    examples &[(Rows, "waves"), (Rows, "waves 2 count 4 deviation 0.5 of 1-2+4"), (Sequences, "waves 1")],
    methods { waves(size: usize) = Spec::Waves { size, count: 16, deviation: 0.1, places: Places(Vec::new()) }; }
    make |x| {
        let features = x.features()?;
        if let Some(span) = places.0.iter().find(|span| span.end > features) {
            return Err(x.refuse(format!("there is no number {} in rows of {features}", span.end)));
        }
        if *count == 0 {
            return Err(x.refuse("sums of no cosines say nothing".to_string()));
        }
        Box::new(Waves::new(features, *size, *count, *deviation, places.clone(), x.key))
    };

    /// So many members of an ensemble, each of which sees the features by learnt scales of its own; the layers behind are shared.
    Members "members" {
        /// How many.
        members: usize = 1 => required "members",
    }
    examples &[(Rows, "members 3")],
    methods { members(members: usize) = Spec::Members { members }; }
    make |x| {
        x.needs(2)?;
        Box::new(MemberScales::new(*members, x.features()?, x.key))
    };

    /// The end of an ensemble: a dense layer of each member's own, and the mean of them; in training each member's loss counts.
    MembersDense "members-dense" {
        /// Features that come out; none: somebody will say ([`Sequential::outputs`]).
        outputs: Option<usize> = None => optional "outputs",
    }
    examples &[(Sequences, "members-dense 5")],
    methods { members_dense(outputs: usize) = Spec::MembersDense { outputs: Some(outputs) }; }
    make |x| {
        let Some(outputs) = *outputs else {
            return Err(x.refuse("how many outputs? write `members-dense 10`, or let `outputs` say".to_string()));
        };
        if x.shape.rank() != 3 {
            return Err(x.refuse(format!("needs [batch, members, features], not {}; `members` makes it", x.shape)));
        }
        Box::new(MembersDense::new(x.channels()?, x.features()?, outputs, x.key))
    };

    /// A forest that was grown from data (`--preset trees`); training by descent leaves it as it is.
    Trees "trees" {
        /// How many numbers come out.
        outputs: usize = 0 => required "outputs",
        /// How many trees there are.
        trees: usize = 0 => required "trees",
        /// How many nodes all of them have.
        nodes: usize = 0 => required "nodes",
    }
    examples &[(Rows, "trees 3 2 8"), (Sequences, "trees 3 2 8")],
    methods { trees(outputs: usize, trees: usize, nodes: usize) = Spec::Trees { outputs, trees, nodes }; }
    make |x| {
        x.needs(2)?;
        Box::new(Trees::new(*outputs, *trees, *nodes)?)
    };

    /// Each number times a factor plus a shift that were found after training (`--calibrate`, `--interval`) and that no optimizer changes.
    Calibrate "calibrate"
    examples &[(Rows, "calibrate"), (Sequences, "calibrate")],
    methods { calibrate() = Spec::Calibrate; }
    make |x| {
        x.needs(2)?;
        Box::new(Calibrate::new(x.features()?)?)
    };

    /// How far each number is above the first (a single one: as it is), bent by a rising line that was found after training (`--calibrate isotonic`).
    Isotonic "isotonic" {
        /// How many corners the line has.
        corners: usize = 2 => required "corners",
    }
    examples &[(Rows, "isotonic 4"), (Sequences, "isotonic 3")],
    methods { isotonic(corners: usize) = Spec::Isotonic { corners }; }
    make |x| {
        x.needs(2)?;
        Box::new(Isotonic::new(x.features()?, *corners)?)
    };

    /// Normalisation over the batch, by channel.
    BatchNorm "batch-norm" or "norm"
    examples &[(Rows, "batch-norm"), (Sequences, "batch-norm"), (Images, "batch-norm"), (Volumes, "batch-norm")],
    methods { batch_norm() = Spec::BatchNorm; }
    make |x| {
        let channels = x.channels()?;
        room(&Shape::from([channels]), DType::F32)?;
        Box::new(BatchNorm::new(channels))
    };

    /// Normalisation over the last axis.
    LayerNorm "layer-norm" {
        /// Whether something is added.
        bias: bool = true => unless "no-bias",
    }
    examples &[
        (Rows, "layer-norm"),
        (Sequences, "layer-norm"),
        (Images, "layer-norm"),
        (Sequences, "layer-norm no-bias"),
    ],
    methods { layer_norm() = Spec::LayerNorm { bias: true }; }
    make |x| {
        Box::new(LayerNorm::with_bias([x.features()?], *bias))
    };

    /// Division by the root mean square over the last axis.
    RmsNorm "rms-norm"
    examples &[(Rows, "rms-norm"), (Sequences, "rms-norm"), (Images, "rms-norm")],
    methods { rms_norm() = Spec::RmsNorm; }
    make |x| Box::new(RmsNorm::new(x.features()?));

    /// Normalisation over so many groups of channels.
    GroupNorm "group-norm" {
        /// How many groups.
        groups: usize = 1 => required "groups",
    }
    examples &[(Rows, "group-norm 2"), (Sequences, "group-norm 2"), (Images, "group-norm 2")],
    methods { group_norm(groups: usize) = Spec::GroupNorm { groups }; }
    make |x| Box::new(GroupNorm::new(*groups, x.channels()?));

    /// Normalisation of each channel of each image.
    InstanceNorm "instance-norm"
    examples &[(Sequences, "instance-norm"), (Images, "instance-norm"), (Volumes, "instance-norm")],
    methods { instance_norm() = Spec::InstanceNorm; }
    make |x| {
        x.needs(3)?;
        Box::new(InstanceNorm::new(x.channels()?))
    };

    /// The largest of each window.
    MaxPool "max-pool" or "pool" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// The windows and how they move, by their own size unless a stride is said.
        options: PoolOptions = PoolOptions::new(1) => largest,
    }
    examples &[
        (Images, "max-pool 2"),
        (Images, "max-pool2d 3x2 stride 2 padding 1 dilation 1 ceil"),
        (Sequences, "max-pool 2 dilation 2"),
        (Volumes, "max-pool3d 2"),
    ],
    ranked methods |rank| {
        [max_pool1d max_pool2d max_pool3d](options: impl Into<PoolOptions>) =
            Spec::MaxPool { rank, options: options.into() };
    }
    make |_| Box::new(Pool::Max(options.clone()));

    /// The mean of each window.
    AvgPool "avg-pool" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// The windows and how they move, by their own size unless a stride is said.
        options: PoolOptions = PoolOptions::new(1) => averaging,
    }
    examples &[
        (Images, "avg-pool 2"),
        (Images, "avg-pool2d 3 stride 2 padding 1 dilation 1 ceil without-padding"),
        (Sequences, "avg-pool 2 padding 1"),
        (Volumes, "avg-pool 2"),
    ],
    ranked methods |rank| {
        [avg_pool1d avg_pool2d avg_pool3d](options: impl Into<PoolOptions>) =
            Spec::AvgPool { rank, options: options.into() };
    }
    make |_| Box::new(Pool::Average(options.clone()));

    /// The largest of each of so many even parts of every spatial axis.
    AdaptiveMaxPool "adaptive-max-pool" or "adaptive-pool" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// The size of what comes out.
        size: PerAxis = PerAxis::Same(1) => required "size",
    }
    examples &[
        (Images, "adaptive-max-pool 2"),
        (Images, "adaptive-max-pool2d 2x3"),
        (Sequences, "adaptive-max-pool 3"),
        (Volumes, "adaptive-max-pool 2x1x2"),
    ],
    ranked methods |rank| {
        [adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d](size: impl Into<PerAxis>) =
            Spec::AdaptiveMaxPool { rank, size: size.into() };
    }
    make |_| Box::new(Pool::AdaptiveMax(size.clone()));

    /// The mean of each of so many even parts of every spatial axis.
    AdaptiveAvgPool "adaptive-avg-pool" {
        /// Over how many spatial axes.
        rank: Option<SpatialRank> = None => rank,
        /// The size of what comes out.
        size: PerAxis = PerAxis::Same(1) => required "size",
    }
    examples &[
        (Images, "adaptive-avg-pool 2"),
        (Images, "adaptive-avg-pool2d 2x3"),
        (Sequences, "adaptive-avg-pool 3"),
        (Volumes, "adaptive-avg-pool 2"),
    ],
    ranked methods |rank| {
        [adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d](size: impl Into<PerAxis>) =
            Spec::AdaptiveAvgPool { rank, size: size.into() };
    }
    make |_| Box::new(Pool::AdaptiveAverage(size.clone()));

    /// The largest of each channel.
    GlobalMaxPool "global-max-pool" or "global-pool"
    examples &[(Images, "global-max-pool"), (Sequences, "global-max-pool"), (Volumes, "global-max-pool")],
    methods { global_max_pool() = Spec::GlobalMaxPool; }
    make |_| Box::new(Pool::GlobalMax);

    /// The mean of each channel.
    GlobalAvgPool "global-avg-pool"
    examples &[(Images, "global-avg-pool"), (Sequences, "global-avg-pool"), (Volumes, "global-avg-pool")],
    methods { global_avg_pool() = Spec::GlobalAvgPool; }
    make |_| Box::new(Pool::GlobalAverage);

    /// Elements become zero with this probability while training.
    Dropout "dropout" {
        /// With what probability.
        probability: f64 = 0.5 => probability "probability",
    }
    examples &[(Rows, "dropout 0.2"), (Images, "dropout 0.2")],
    methods { dropout(probability: f64) = Spec::Dropout { probability }; }
    make |_| Box::new(Dropout::Elements(*probability));

    /// Channels become zero with this probability while training.
    SpatialDropout "spatial-dropout" {
        /// With what probability.
        probability: f64 = 0.5 => probability "probability",
    }
    examples &[(Images, "spatial-dropout 0.2"), (Sequences, "spatial-dropout 0.2")],
    methods { spatial_dropout(probability: f64) = Spec::SpatialDropout { probability }; }
    make |_| Box::new(Dropout::Channels(*probability));

    /// Dropout that keeps mean and variance behind SELUs.
    AlphaDropout "alpha-dropout" {
        /// With what probability.
        probability: f64 = 0.5 => probability "probability",
    }
    examples &[(Rows, "alpha-dropout 0.2"), (Rows, "alpha-dropout 0")],
    methods { alpha_dropout(probability: f64) = Spec::AlphaDropout { probability }; }
    make |_| Box::new(Dropout::Alpha(*probability));

    /// All axes but the batch become one.
    Flatten "flatten"
    examples &[(Rows, "flatten"), (Images, "flatten")],
    methods { flatten() = Spec::Flatten; }
    make |_| Box::new(Flatten);

    /// The last two axes change places: `[batch, time, size]` to `[batch, size, time]`.
    Transpose "transpose"
    examples &[(Sequences, "transpose"), (Images, "transpose")],
    methods { transpose() = Spec::Transpose; }
    make |x| {
        x.needs(3)?;
        Box::new(Transpose)
    };

    /// Each example takes these sizes, one of which may be −1: what is left.
    Reshape "reshape" {
        /// The sizes behind the batch.
        sizes: Vec<isize> = Vec::new() => rest "size",
    }
    examples &[(Rows, "reshape 2 -1"), (Images, "reshape -1")],
    methods { reshape(sizes: &[isize]) = Spec::Reshape { sizes: sizes.to_vec() }; }
    make |_| Box::new(Reshape(sizes.clone()));

    /// The numbers of rows in these places, counted from 1, and no others.
    Take "take" {
        /// Which places.
        places: Places = Places(Vec::new()) => required "places",
    }
    examples &[(Rows, "take 1-2+4"), (Sequences, "take 2-3")],
    methods { take(places: Places) = Spec::Take { places }; }
    make |x| {
        let features = x.features()?;
        if let Some(span) = places.0.iter().find(|span| span.end > features) {
            return Err(x.refuse(format!("there is no number {} in rows of {features}", span.end)));
        }
        Box::new(Take(places.clone()))
    };

    /// Rows as sequences: the last numbers of a row are so many for each of its steps, and every step is told what stands before them, behind its own.
    Steps "steps" {
        /// How many steps there are.
        count: usize = 0 => required "count",
        /// How many numbers each has of its own.
        size: usize = 0 => required "size",
    }
    examples &[(Rows, "steps 2 1"), (Rows, "steps 2 2")],
    methods { steps(count: usize, size: usize) = Spec::Steps { count, size }; }
    make |x| {
        let width = x.features()?;
        // What is told to all of them is there as often.
        let is_large = count.checked_mul(width).is_none_or(|all| all > 1 << 28);
        let own = count.saturating_mul(*size);
        if x.shape.rank() != 2 || own == 0 || own > width || is_large {
            return Err(x.refuse(format!("{count} steps of {size} don't stand in {}", x.shape)));
        }
        Box::new(RowSteps { count: *count, size: *size })
    };

    /// Each pixel is repeated so often along each spatial axis.
    Upsample "upsample" {
        /// How often.
        factor: usize = 1 => required "factor",
    }
    examples &[(Images, "upsample 2"), (Sequences, "upsample 2"), (Volumes, "upsample 2")],
    methods { upsample(factor: usize) = Spec::Upsample { factor }; }
    make |_| Box::new(Upsample::Nearest(*factor));

    /// Images grow by a factor, with straight lines between their pixels.
    UpsampleLinear "upsample-linear" {
        /// By what.
        factor: usize = 1 => required "factor",
    }
    examples &[(Images, "upsample-linear 2"), (Sequences, "upsample-linear 2"), (Volumes, "upsample-linear 2")],
    methods { upsample_linear(factor: usize) = Spec::UpsampleLinear { factor }; }
    make |_| Box::new(Upsample::Linear(*factor));

    /// An LSTM over `[batch, time, features]` with a hidden state of so many numbers.
    Lstm "lstm" {
        /// Numbers of the hidden state.
        hidden: usize = 0 => required "hidden-size",
        /// How many layers, and in which directions.
        options: RecurrentOptions = RecurrentOptions::new() => recurrent,
    }
    examples &[
        (Sequences, "lstm 3"),
        (Sequences, "lstm 3 layers 2 bidirectional dropout 0.1 no-bias"),
        (Sequences, "lstm 3 layers 2"),
        (Sequences, "lstm 3 truncate 2 checkpoint 3"),
    ],
    methods {
        lstm(hidden: usize) = Spec::Lstm { hidden, options: RecurrentOptions::new() };
        lstm_with(hidden: usize, options: RecurrentOptions) = Spec::Lstm { hidden, options };
    }
    make |x| Box::new(Lstm::new(x.stacked(options)?, *hidden, options.clone(), x.key));

    /// Gated recurrent units over `[batch, time, features]` with a hidden state of so many numbers.
    Gru "gru" {
        /// Numbers of the hidden state.
        hidden: usize = 0 => required "hidden-size",
        /// How many layers, and in which directions.
        options: RecurrentOptions = RecurrentOptions::new() => recurrent,
    }
    examples &[(Sequences, "gru 3"), (Sequences, "gru 3 layers 2 bidirectional dropout 0.1 no-bias truncate 2 checkpoint 3")],
    methods {
        gru(hidden: usize) = Spec::Gru { hidden, options: RecurrentOptions::new() };
        gru_with(hidden: usize, options: RecurrentOptions) = Spec::Gru { hidden, options };
    }
    make |x| Box::new(Gru::new(x.stacked(options)?, *hidden, options.clone(), x.key));

    /// The plain recurrent layer over `[batch, time, features]` with a hidden state of so many numbers.
    Rnn "rnn" {
        /// Numbers of the hidden state.
        hidden: usize = 0 => required "hidden-size",
        /// Whether each step is a rectifier instead of a hyperbolic tangent.
        relu: bool = false => flag "relu",
        /// How many layers, and in which directions.
        options: RecurrentOptions = RecurrentOptions::new() => recurrent,
    }
    examples &[
        (Sequences, "rnn 3"),
        (Sequences, "rnn 3 relu"),
        (Sequences, "rnn 3 layers 2 bidirectional dropout 0.1 no-bias truncate 3 checkpoint 2"),
    ],
    methods {
        rnn(hidden: usize) = Spec::Rnn { hidden, relu: false, options: RecurrentOptions::new() };
        rnn_with(hidden: usize, options: RecurrentOptions) = Spec::Rnn { hidden, relu: false, options };
    }
    make |x| {
        let rnn = Rnn::new(x.stacked(options)?, *hidden, options.clone(), x.key);
        Box::new(if *relu { rnn.relu() } else { rnn })
    };

    /// Attention by so many heads, of a sequence to itself; causal: of each step only to those up to its own.
    Attention "attention" {
        /// Among how many heads the features are divided.
        heads: usize = 1 => required "heads",
        /// Whether a step attends only to those up to its own.
        causal: bool = false => flag "causal",
        /// What share of the attention is dropped.
        dropout: f64 = 0.0 => named_probability "dropout",
    }
    examples &[(Sequences, "attention 2"), (Sequences, "attention 2 causal dropout 0.1")],
    methods {
        attention(heads: usize) = Spec::Attention { heads, causal: false, dropout: 0.0 };
        causal_attention(heads: usize) = Spec::Attention { heads, causal: true, dropout: 0.0 };
    }
    make |x| {
        let attention = MultiHeadAttention::new(x.divided(*heads)?, *heads, x.key).dropout(*dropout);
        Box::new(if *causal { attention.causal() } else { attention })
    };

    /// A transformer's block of so many heads: attention and a dense half, each with a norm and added to what came in.
    Transformer "transformer" {
        /// Among how many heads the features are divided.
        heads: usize = 1 => required "heads",
        /// What else it is.
        options: TransformerOptions = TransformerOptions::new() => transformer,
    }
    examples &[
        (Sequences, "transformer 2"),
        (Sequences, "transformer 2 feedforward 5 causal post-norm relu dropout 0.1"),
    ],
    methods {
        transformer(heads: usize, options: TransformerOptions) = Spec::Transformer { heads, options };
    }
    make |x| Box::new(TransformerBlock::new(x.divided(*heads)?, *heads, options.clone(), x.key));

    /// A block as Llama's, of so many heads: causal attention with rotary positions, RMS norms, SwiGLU, no biases.
    DecoderBlock "decoder" {
        /// Among how many heads the features are divided.
        heads: usize = 1 => required "heads",
        /// How many heads of keys and values there are; as many, unless it is said.
        kv_heads: Option<usize> = None => named "kv-heads",
        /// What share is dropped.
        dropout: f64 = 0.0 => named_probability "dropout",
    }
    examples &[(Sequences, "decoder 2"), (Sequences, "decoder 2 kv-heads 1 dropout 0.1")],
    methods { decoder(heads: usize) = Spec::DecoderBlock { heads, kv_heads: None, dropout: 0.0 }; }
    make |x| {
        let width = x.divided(*heads)?;
        let kv_heads = kv_heads.unwrap_or(*heads);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(x.refuse(format!("{heads} heads don't divide among {kv_heads} of keys and values")));
        }
        let options = BlockOptions { kv_heads, dropout: *dropout, ..BlockOptions::new(width, *heads) };
        Box::new(DecoderBlock::new(width, &options, x.key))
    };

    /// Learnt vectors for up to so many places of a sequence, added to what stands there.
    Positions "positions" {
        /// For how many places.
        steps: usize = 0 => required "steps",
    }
    examples &[(Sequences, "positions 8")],
    methods { positions(steps: usize) = Spec::Positions { steps }; }
    make |x| Box::new(PositionalEmbedding::new(*steps, x.steps()?, x.key));

    /// Sines and cosines for the places of a sequence, added to what stands there.
    SinusoidalPositions "sinusoidal-positions"
    examples &[(Sequences, "sinusoidal-positions")],
    methods { sinusoidal_positions() = Spec::SinusoidalPositions; }
    make |x| {
        x.steps()?;
        Box::new(PositionalEmbedding::Sinusoidal)
    };

    /// The last step of `[batch, time, features]`.
    Last "last"
    examples &[(Sequences, "last")],
    methods { last() = Spec::Last; }
    make |x| { x.needs(2)?; Box::new(OverTime::Last) };

    /// The mean of all steps.
    MeanOverTime "mean-over-time"
    examples &[(Sequences, "mean-over-time")],
    methods { mean_over_time() = Spec::MeanOverTime; }
    make |x| { x.needs(2)?; Box::new(OverTime::Mean) };

    /// The largest of all steps.
    MaxOverTime "max-over-time"
    examples &[(Sequences, "max-over-time")],
    methods { max_over_time() = Spec::MaxOverTime; }
    make |x| { x.needs(2)?; Box::new(OverTime::Max) };

    /// A rectifier with a learnt slope for each channel.
    PRelu "prelu"
    examples &[(Rows, "prelu"), (Sequences, "prelu"), (Images, "prelu")],
    methods { prelu() = Spec::PRelu; }
    make |x| Box::new(PRelu::new(x.channels()?));

    /// `max(x, 0)`, and this slope below zero.
    LeakyRelu "leaky-relu" {
        /// The slope.
        slope: f64 = 0.01 => optional "slope",
    }
    examples &[(Rows, "leaky-relu"), (Rows, "leaky-relu 0.2")],
    methods { leaky_relu(slope: f64) = Spec::LeakyRelu { slope }; }
    make |_| Box::new(Activation::LeakyRelu(*slope));

    /// `alpha · (e^x − 1)` below zero.
    Elu "elu" {
        /// How far it goes below zero.
        alpha: f64 = 1.0 => optional "alpha",
    }
    examples &[(Rows, "elu"), (Rows, "elu 0.5")],
    methods { elu(alpha: f64) = Spec::Elu { alpha }; }
    make |_| Box::new(Activation::Elu(*alpha));

    /// An ELU that is smooth for every alpha.
    Celu "celu" {
        /// How far it goes below zero.
        alpha: f64 = 1.0 => optional "alpha",
    }
    examples &[(Rows, "celu"), (Rows, "celu 0.5")],
    methods { celu(alpha: f64) = Spec::Celu { alpha }; }
    make |_| Box::new(Activation::Celu(*alpha));

    /// `max(x, 0)`.
    Relu "relu" examples &[(Rows, "relu")], methods { relu() = Spec::Relu; }
    make |_| Box::new(Activation::Relu);

    /// Between 0 and 6.
    Relu6 "relu6" examples &[(Rows, "relu6")], methods { relu6() = Spec::Relu6; }
    make |_| Box::new(Activation::Relu6);

    /// The self-normalising ELU.
    Selu "selu" examples &[(Rows, "selu")], methods { selu() = Spec::Selu; }
    make |_| Box::new(Activation::Selu);

    /// `x · Φ(x)`.
    Gelu "gelu" examples &[(Rows, "gelu")], methods { gelu() = Spec::Gelu; }
    make |_| Box::new(Activation::Gelu);

    /// GELU's approximation by a hyperbolic tangent.
    GeluTanh "gelu-tanh" examples &[(Rows, "gelu-tanh")], methods { gelu_tanh() = Spec::GeluTanh; }
    make |_| Box::new(Activation::GeluTanh);

    /// `x · sigmoid(x)`, also called swish.
    Silu "silu" examples &[(Rows, "silu")], methods { silu() = Spec::Silu; }
    make |_| Box::new(Activation::Silu);

    /// `ln(1 + e^x)`.
    Softplus "softplus" examples &[(Rows, "softplus")], methods { softplus() = Spec::Softplus; }
    make |_| Box::new(Activation::Softplus);

    /// `x / (1 + |x|)`.
    Softsign "softsign" examples &[(Rows, "softsign")], methods { softsign() = Spec::Softsign; }
    make |_| Box::new(Activation::Softsign);

    /// `x · tanh(softplus(x))`.
    Mish "mish" examples &[(Rows, "mish")], methods { mish() = Spec::Mish; }
    make |_| Box::new(Activation::Mish);

    /// A sigmoid of straight lines.
    HardSigmoid "hard-sigmoid" examples &[(Rows, "hard-sigmoid")], methods { hard_sigmoid() = Spec::HardSigmoid; }
    make |_| Box::new(Activation::HardSigmoid);

    /// `x` times a sigmoid of straight lines.
    HardSwish "hard-swish" examples &[(Rows, "hard-swish")], methods { hard_swish() = Spec::HardSwish; }
    make |_| Box::new(Activation::HardSwish);

    /// `1 / (1 + e^−x)`.
    Sigmoid "sigmoid" examples &[(Rows, "sigmoid")], methods { sigmoid() = Spec::Sigmoid; }
    make |_| Box::new(Activation::Sigmoid);

    /// The logarithm of the sigmoid.
    LogSigmoid "log-sigmoid" examples &[(Rows, "log-sigmoid")], methods { log_sigmoid() = Spec::LogSigmoid; }
    make |_| Box::new(Activation::LogSigmoid);

    /// The hyperbolic tangent.
    Tanh "tanh" examples &[(Rows, "tanh")], methods { tanh() = Spec::Tanh; }
    make |_| Box::new(Activation::Tanh);

    /// Probabilities along the last axis. Cross-entropy wants what comes before.
    Softmax "softmax" examples &[(Rows, "softmax")], methods { softmax() = Spec::Softmax; }
    make |_| Box::new(Activation::Softmax);

    /// The logarithms of probabilities along the last axis.
    LogSoftmax "log-softmax" examples &[(Rows, "log-softmax")], methods { log_softmax() = Spec::LogSoftmax; }
    make |_| Box::new(Activation::LogSoftmax);
}
