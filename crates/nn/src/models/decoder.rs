//! Decoders: what comes next in a sequence of codes, by blocks of attention that look back (GPT, Llama and their kin).

use std::panic::Location;

use kiln_ir::{Error, ErrorKind, Result, line};

use super::positions::{Rotary, alibi};
use crate::init::{Fan, Init};
use crate::layers::{
    Activation, Dense, Dropout, Embedding, Layer, LayerNorm, PositionalEmbedding, RmsNorm, only_back,
};
use crate::module::{Context, KeptKind, Module, TimeAxis, Visitor};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::attention::AttentionOptions;
use crate::variable::Param;

/// What a decoder is. Start from [`DecoderConfig::gpt`] or [`DecoderConfig::llama`] and change what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// How many codes there are.
    pub vocabulary: usize,
    /// Features of a step.
    pub width: usize,
    /// How many blocks stand on each other.
    pub blocks: usize,
    /// What each of them is.
    pub block: BlockOptions,
    /// What is added to the codes' vectors to say where they stand.
    pub positions: Positions,
    /// Whether codes are scored by the vectors that they came in with, instead of others.
    pub tied: bool,
    /// What the codes' vectors are multiplied by.
    pub embedding_scale: f64,
}

/// What says where a code stands, besides what a block does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Nothing here: blocks turn queries and keys, or let scores fall with distance.
    InBlocks,
    /// Learnt vectors for up to so many places.
    Learnt(usize),
}

/// What a decoder's block is.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockOptions {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, among which those of queries divide.
    pub kv_heads: usize,
    /// Features of a head.
    pub head_width: usize,
    /// Features in the middle of the second half.
    pub feedforward: usize,
    /// The norms in front of either half.
    pub norm: DecoderNorm,
    /// What is added to the variance or the mean square.
    pub epsilon: f64,
    /// Whether each head's queries and keys are normalised too.
    pub head_norms: bool,
    /// What is in the middle of the second half.
    pub activation: Activation,
    /// Whether a second product goes into the middle, which the activation of the first is multiplied with (SwiGLU and its kin).
    pub gated: bool,
    /// Biases of queries, keys and values; of what brings heads together; of the second half.
    pub biases: [bool; 3],
    /// How queries and keys are turned by their place.
    pub rotary: Option<Rotary>,
    /// Whether scores fall with distance.
    pub alibi: bool,
    /// How many steps each attends to at most, its own among them.
    pub window: Option<usize>,
    /// What share is dropped in training: of the attention, and of what either half adds.
    pub dropout: f64,
}

/// The norms of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderNorm {
    /// Less the mean, by the deviation; with scale and shift.
    Layer,
    /// The same without a shift.
    LayerWithoutBias,
    /// By the root mean square, with a scale.
    Rms,
    /// The same with a scale that is added to 1 (Gemma's).
    RmsFromOne,
}

impl DecoderConfig {
    /// As GPT-2: learnt places, layer norms, a GELU, biases everywhere, codes scored by their own vectors.
    pub fn gpt(vocabulary: usize, width: usize, blocks: usize, heads: usize, steps: usize) -> DecoderConfig {
        let block = BlockOptions {
            norm: DecoderNorm::Layer,
            epsilon: 1e-5,
            activation: Activation::GeluTanh,
            gated: false,
            biases: [true; 3],
            rotary: None,
            feedforward: 4 * width,
            ..BlockOptions::new(width, heads)
        };
        let positions = Positions::Learnt(steps);
        DecoderConfig { vocabulary, width, blocks, block, positions, tied: true, embedding_scale: 1.0 }
    }

    /// As Llama: rotary positions, RMS norms, SwiGLU, no biases.
    pub fn llama(vocabulary: usize, width: usize, blocks: usize, heads: usize) -> DecoderConfig {
        let block = BlockOptions::new(width, heads);
        DecoderConfig {
            vocabulary,
            width,
            blocks,
            block,
            positions: Positions::InBlocks,
            tied: false,
            embedding_scale: 1.0,
        }
    }
}

impl BlockOptions {
    /// A block as Llama has it, with as many heads of keys as of queries.
    pub fn new(width: usize, heads: usize) -> BlockOptions {
        let head_width = width / heads.max(1);
        BlockOptions {
            heads,
            kv_heads: heads,
            head_width,
            // Two thirds of four times the width, which with its gate is as much as four times without one; a multiple of 32.
            feedforward: (8 * width).div_ceil(96) * 32,
            norm: DecoderNorm::Rms,
            epsilon: 1e-6,
            head_norms: false,
            activation: Activation::Silu,
            gated: true,
            biases: [false; 3],
            // A last feature without a partner stays as it is.
            rotary: (head_width > 1).then(|| Rotary::new(head_width / 2 * 2)),
            alibi: false,
            window: None,
            dropout: 0.0,
        }
    }

    /// So many heads of keys and values, each shared by several of queries.
    pub fn kv_heads(self, heads: usize) -> BlockOptions {
        BlockOptions { kv_heads: heads, ..self }
    }
}

/// A norm of one of the kinds.
#[derive(Clone, Debug)]
enum Norm {
    Layer(LayerNorm),
    Rms { norm: RmsNorm, from_one: bool },
}

impl Norm {
    #[track_caller]
    fn new(kind: DecoderNorm, width: usize, epsilon: f64) -> Norm {
        let rms = |from_one: bool| {
            let start = if from_one { Tensor::zeros([width]) } else { Tensor::ones([width]) };
            Norm::Rms { norm: RmsNorm { weight: Param::new(&start), epsilon }, from_one }
        };
        let layer = |bias: bool| Norm::Layer(LayerNorm { epsilon, ..LayerNorm::with_bias([width], bias) });
        match kind {
            DecoderNorm::Layer => layer(true),
            DecoderNorm::LayerWithoutBias => layer(false),
            DecoderNorm::Rms => rms(false),
            DecoderNorm::RmsFromOne => rms(true),
        }
    }

    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        match self {
            Norm::Layer(norm) => norm.forward(x, context),
            Norm::Rms { norm, from_one: false } => norm.forward(x, context),
            Norm::Rms { norm, from_one: true } => x.rms_norm(-1, norm.epsilon) * (norm.weight.tensor() + 1.0),
        }
    }
}

impl Module for Norm {
    fn visit(&self, visitor: &mut Visitor) {
        match self {
            Norm::Layer(norm) => norm.visit(visitor),
            Norm::Rms { norm, .. } => norm.visit(visitor),
        }
    }
}

/// The deviation that weights start with.
pub(super) const DEVIATION: f64 = 0.02;

/// A dense layer whose weight starts normal with this deviation, and its bias as zeros.
#[track_caller]
pub(super) fn dense(inputs: usize, outputs: usize, bias: bool, deviation: f64, key: Key) -> Dense {
    let fan = Fan { inputs, outputs };
    Dense {
        weight: Param::new(&Init::Normal(0.0, deviation).fill([inputs, outputs], fan, &key)),
        bias: bias.then(|| Param::new(&Tensor::zeros([outputs]))),
    }
}

/// A block: attention that looks back, and a dense half, each behind a norm and added to what came in.
///
/// ```
/// use kiln_nn::models::{BlockOptions, DecoderBlock};
/// use kiln_nn::{Context, Key, Layer, Tensor};
///
/// let block = DecoderBlock::new(16, &BlockOptions::new(16, 4).kv_heads(2), Key::new(1));
/// let y = block.forward(&Tensor::ones([2, 10, 16]), &Context::inference());
/// assert_eq!(y.shape().sizes(), [2, 10, 16]);
/// ```
#[derive(Clone, Debug)]
pub struct DecoderBlock {
    attention_norm: Norm,
    query: Dense,
    key: Dense,
    value: Dense,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    out: Dense,
    feedforward_norm: Norm,
    gate: Option<Dense>,
    up: Dense,
    down: Dense,
    options: BlockOptions,
}

crate::parameters!(DecoderBlock {
    attention_norm,
    query,
    key,
    value,
    query_norm,
    key_norm,
    out,
    feedforward_norm,
    gate,
    up,
    down
});

impl DecoderBlock {
    /// A block for so many features.
    #[track_caller]
    pub fn new(width: usize, options: &BlockOptions, key: Key) -> DecoderBlock {
        DecoderBlock::among(1, width, options, key)
    }

    /// One of so many blocks: what either half adds starts the smaller, the more there are.
    #[track_caller]
    fn among(blocks: usize, width: usize, options: &BlockOptions, key: Key) -> DecoderBlock {
        let less = DEVIATION / (2.0 * blocks.max(1) as f64).sqrt();
        let keys: [Key; 7] = key.split();
        let [query, kv] =
            [options.heads, options.kv_heads].map(|heads| heads.saturating_mul(options.head_width));
        let [in_bias, out_bias, dense_bias] = options.biases;
        let norm = |width: usize| Norm::new(options.norm, width, options.epsilon);
        let head_norm = || options.head_norms.then(|| norm(options.head_width));
        let [k0, k1, k2, k3, k4, k5, k6] = keys;
        DecoderBlock {
            attention_norm: norm(width),
            query: dense(width, query, in_bias, DEVIATION, k0),
            key: dense(width, kv, in_bias, DEVIATION, k1),
            value: dense(width, kv, in_bias, DEVIATION, k2),
            query_norm: head_norm(),
            key_norm: head_norm(),
            out: dense(query, width, out_bias, less, k3),
            feedforward_norm: norm(width),
            gate: options.gated.then(|| dense(width, options.feedforward, dense_bias, DEVIATION, k4)),
            up: dense(width, options.feedforward, dense_bias, DEVIATION, k5),
            down: dense(options.feedforward, width, dense_bias, less, k6),
            options: options.clone(),
        }
    }

    /// What is wrong with heads that don't fit each other.
    fn unfit(&self) -> Option<Error> {
        let BlockOptions { heads, kv_heads, head_width, .. } = self.options;
        let fits = heads > 0 && kv_heads > 0 && heads.is_multiple_of(kv_heads) && head_width > 0;
        (!fits).then(|| {
            let message = format!(
                "{heads} heads of queries and {kv_heads} of keys, of {head_width} features, don't fit"
            );
            Error::new(ErrorKind::Shape, "decoder", message)
        })
    }

    #[track_caller]
    fn attention(&self, x: &Tensor, context: &Context) -> Tensor {
        let options = &self.options;
        // [batch, steps, width] → [batch, heads, steps, width of a head].
        let heads = |layer: &Dense, heads: usize| {
            layer.forward(x, context).unflatten(-1, [heads, options.head_width]).permute([0, 2, 1, 3])
        };
        let normed = |x: Tensor, norm: &Option<Norm>| match norm {
            Some(norm) => norm.forward(&x, context),
            None => x,
        };
        let mut query = normed(heads(&self.query, options.heads), &self.query_norm);
        let mut key = normed(heads(&self.key, options.kv_heads), &self.key_norm);
        let mut value = heads(&self.value, options.kv_heads);
        let steps = x.size(1);
        if let Some(rotary) = &options.rotary {
            let places =
                context.cache().map_or_else(|| Tensor::index_along([steps], 0), |pass| pass.positions(steps));
            (query, key) = (rotary.turn(&query, &places), rotary.turn(&key, &places));
        }
        let mut how = AttentionOptions::new().causal();
        how.grouped = options.kv_heads != options.heads;
        how.window = options.window.map(|window| window.saturating_sub(1));
        if let Some(pass) = context.cache() {
            (key, value) = (
                check!(pass.extended(context, KeptKind::Key, &key)),
                check!(pass.extended(context, KeptKind::Value, &value)),
            );
            how = how.places(&pass.lengths());
        }
        if options.alibi {
            how = how.mask(&alibi(options.heads, key.size(2)));
        }
        if context.is_training() && options.dropout > 0.0 {
            how = how.dropout(options.dropout, &context.key());
        }
        let found = query.attention(&key, &value, &how);
        self.out.forward(&found.permute([0, 2, 1, 3]).flatten(2..), context)
    }

    #[track_caller]
    fn feedforward(&self, x: &Tensor, context: &Context) -> Tensor {
        let up = self.up.forward(x, context);
        let middle = match &self.gate {
            Some(gate) => self.options.activation.forward(&gate.forward(x, context), context) * up,
            None => self.options.activation.forward(&up, context),
        };
        self.down.forward(&middle, context)
    }
}

impl Layer for DecoderBlock {
    /// `[batch, steps, width]` to the same.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            if let Some(error) = x.error().or_else(|| self.unfit()) {
                return error.into();
            }
            let drop = |x: Tensor| match self.options.dropout > 0.0 {
                true => Dropout::new(self.options.dropout).forward(&x, context),
                false => x,
            };
            let x = x + drop(self.attention(&self.attention_norm.forward(x, context), context));
            &x + drop(self.feedforward(&self.feedforward_norm.forward(&x, context), context))
        })
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.at(1, 3))
    }
}

/// A decoder: codes in, the logits of what comes next at each step out.
///
/// ```
/// use kiln_nn::models::{BlockOptions, Decoder, DecoderConfig};
/// use kiln_nn::{Context, Key, Layer, Module, Tensor};
///
/// let config = DecoderConfig { block: BlockOptions::new(16, 4).kv_heads(2), ..DecoderConfig::llama(50, 16, 2, 4) };
/// let model = Decoder::new(&config, Key::new(1));
/// let logits = model.forward(&Tensor::from([[3, 1, 4, 1, 5]]), &Context::inference());
/// assert_eq!(logits.shape().sizes(), [1, 5, 50]);
/// assert!(model.parameters().iter().any(|(path, _)| path == "blocks.1.gate.weight"));
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    embedding: Embedding,
    positions: Option<PositionalEmbedding>,
    blocks: Vec<DecoderBlock>,
    norm: Norm,
    head: Option<Dense>,
    embedding_scale: f64,
    dropout: f64,
}

crate::parameters!(Decoder { embedding, positions, blocks, norm, head });

impl Decoder {
    /// A decoder that starts as GPT-2 does: normal with a deviation of 0.02, and what either half of a block adds less by the number
    /// of blocks.
    #[track_caller]
    pub fn new(config: &DecoderConfig, key: Key) -> Decoder {
        let [first, second, third, fourth] = key.split();
        let fan = Fan { inputs: config.vocabulary, outputs: config.width };
        let vectors = Init::Normal(0.0, DEVIATION).fill([config.vocabulary, config.width], fan, &first);
        let embedding = Embedding { weight: Param::new(&vectors), padded: false };
        let mut blocks = Vec::new();
        for place in 0..config.blocks {
            blocks.push(DecoderBlock::among(config.blocks, config.width, &config.block, third.derive(place)));
            // More of them than there is room for: the first that couldn't be made says so.
            if blocks.last().is_some_and(|block: &DecoderBlock| block.down.weight.error().is_some()) {
                break;
            }
        }
        Decoder {
            positions: match config.positions {
                Positions::InBlocks => None,
                Positions::Learnt(steps) => Some(PositionalEmbedding::new(steps, config.width, second)),
            },
            blocks,
            norm: Norm::new(config.block.norm, config.width, config.block.epsilon),
            head: (!config.tied).then(|| dense(config.width, config.vocabulary, false, DEVIATION, fourth)),
            embedding,
            embedding_scale: config.embedding_scale,
            dropout: config.block.dropout,
        }
    }

    /// What goes into the first block.
    #[track_caller]
    fn embedded(&self, codes: &Tensor, context: &Context) -> Tensor {
        let mut x = self.embedding.forward(codes, context);
        if self.embedding_scale != 1.0 {
            x *= self.embedding_scale;
        }
        if let Some(positions) = &self.positions {
            x = positions.forward(&x, context);
        }
        if self.dropout > 0.0 {
            x = Dropout::new(self.dropout).forward(&x, context);
        }
        x
    }

    /// What the last block makes of each step, behind the last norm: `[batch, steps, width]`.
    #[track_caller]
    pub fn features(&self, codes: &Tensor, context: &Context) -> Tensor {
        let x = self.embedded(codes, context);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, context));
        self.norm.forward(&x, context)
    }

    /// The logits of all pieces at each step.
    #[track_caller]
    fn scores(&self, x: &Tensor, context: &Context) -> Tensor {
        match &self.head {
            Some(head) => head.forward(x, context),
            None => x.matmul(&self.embedding.weight.tensor().t()),
        }
    }
}

impl Layer for Decoder {
    /// Codes `[batch, steps]` to logits `[batch, steps, codes]`.
    #[track_caller]
    fn forward(&self, codes: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            self.scores(&self.features(codes, context), context)
        })
    }

    fn stages(&self, codes: &Tensor) -> Vec<(String, String, Tensor)> {
        let context = Context::inference();
        let mut x = self.embedded(codes, &context);
        let mut stages = vec![("embedding".to_string(), "embedding".to_string(), x.clone())];
        for (place, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &context);
            stages.push((format!("blocks.{place}"), "decoder block".to_string(), x.clone()));
        }
        x = self.norm.forward(&x, &context);
        stages.push(("norm".to_string(), "norm".to_string(), x.clone()));
        stages.push(("head".to_string(), "scores of pieces".to_string(), self.scores(&x, &context)));
        stages
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.at(1, 2)).map(|time| TimeAxis { rank: 3, ..time })
    }
}
