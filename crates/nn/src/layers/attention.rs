//! Attention among the steps of a sequence: heads, the transformer's block, and what says where a step stands.

use std::panic::Location;

use kiln_ir::{DType, Error, ErrorKind, Result, line};

use crate::init::{Fan, Init};
use crate::layers::{Dense, Dropout, Layer, LayerNorm, only_back};
use crate::module::{Context, KeptKind, Module, TimeAxis, Visitor, refusal, unpadded};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::attention::AttentionOptions;
use crate::variable::Param;

/// Attention by several heads, each over its share of the features. Parameters have PyTorch's names and start as
/// PyTorch's; `out_proj` is a [`Dense`], so its weight is `[in, out]`.
///
/// ```
/// use kiln_nn::{Context, Key, Layer, MultiHeadAttention, Tensor};
///
/// let attention = MultiHeadAttention::new(16, 4, Key::new(1)).causal();
/// let y = attention.forward(&Tensor::ones([2, 10, 16]), &Context::inference());
/// assert_eq!(y.shape().sizes(), [2, 10, 16]);
/// ```
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    /// `[3 · width, width]`: queries, keys, values.
    pub in_proj_weight: Param,
    /// `[3 · width]`.
    pub in_proj_bias: Param,
    /// What brings the heads' results together.
    pub out_proj: Dense,
    /// How many heads.
    pub heads: usize,
    /// Whether a step attends only to those up to its own.
    pub causal: bool,
    /// What share of the attention is dropped in training.
    pub dropout: f64,
}

crate::parameters!(MultiHeadAttention { in_proj_weight, in_proj_bias, out_proj });

impl MultiHeadAttention {
    /// `heads` heads, among which the `width` features divide.
    #[track_caller]
    pub fn new(width: usize, heads: usize, key: Key) -> MultiHeadAttention {
        let [first, second] = key.split();
        let rows = width.saturating_mul(3);
        let fan = Fan { inputs: width, outputs: rows };
        let weight = Init::XavierUniform { gain: 1.0 }.fill([rows, width], fan, &first);
        MultiHeadAttention {
            in_proj_weight: Param::stored(&weight, &[1, 0]),
            in_proj_bias: Param::new(&Init::Zeros.fill([rows], fan, &second)),
            out_proj: Dense::with_bias(width, width, Some(Init::Zeros), second),
            heads,
            causal: false,
            dropout: 0.0,
        }
    }

    /// A step attends only to those up to its own.
    pub fn causal(self) -> MultiHeadAttention {
        MultiHeadAttention { causal: true, ..self }
    }

    /// Drops a share of the attention in training.
    pub fn dropout(self, probability: f64) -> MultiHeadAttention {
        MultiHeadAttention { dropout: probability, ..self }
    }

    /// What `query` `[batch, steps, width]` finds in `key` and `value`, which share their steps. A mask broadcasts to
    /// `[batch, heads, steps, steps of the key]`; as in [`Tensor::attention`], it holds where is attended to, or is added.
    #[track_caller]
    pub fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        let at = line::of(Location::caller());
        line::on_behalf_of(at, || self.found(query, key, value, mask, context))
    }

    fn found(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        let width = self.in_proj_weight.shape().last().copied().unwrap_or(1);
        for x in [query, key, value] {
            if let Some(error) = self.unfit(x, width) {
                return error.into();
            }
        }
        let (weight, bias) = (self.in_proj_weight.tensor().t(), self.in_proj_bias.tensor());
        let same = |a: &Tensor, b: &Tensor| match (a.0.node(), b.0.node()) {
            (Ok(a), Ok(b)) => a.id == b.id,
            _ => false,
        };
        let [q, k, v] = if same(query, key) && same(key, value) {
            (query.matmul(&weight) + bias).chunk(-1)
        } else {
            let (weights, biases): ([Tensor; 3], [Tensor; 3]) = (weight.chunk(-1), bias.chunk(-1));
            let inputs = [query, key, value];
            std::array::from_fn(|part| inputs[part].matmul(&weights[part]) + &biases[part])
        };
        // [batch, steps, width] → [batch, heads, steps, width of a head].
        let heads =
            |x: &Tensor| x.unflatten(-1, [self.heads, width / self.heads.max(1)]).permute([0, 2, 1, 3]);
        let (q, mut k, mut v) = (heads(&q), heads(&k), heads(&v));
        let mut options = AttentionOptions { causal: self.causal, mask: mask.cloned(), ..Default::default() };
        if let (Some(lengths), false) = (context.lengths(), self.causal) {
            check!(lengths.fits(key, 1));
            let here = lengths.mask(TimeAxis { axis: 3, rank: 4 });
            options.mask = Some(match options.mask {
                None => here,
                Some(mask) if mask.dtype() == DType::Bool => mask & here,
                Some(_) => {
                    return unpadded(
                        "attention with a mask that is added doesn't know where sequences end".to_string(),
                    )
                    .into();
                }
            });
        }
        if let Some(pass) = context.cache() {
            if !self.causal || mask.is_some() {
                return refusal(
                    "attention goes on step by step where it is causal and has no mask".to_string(),
                )
                .into();
            }
            (k, v) = match (
                pass.extended(context, KeptKind::Key, &k),
                pass.extended(context, KeptKind::Value, &v),
            ) {
                (Ok(k), Ok(v)) => (k, v),
                (Err(error), _) | (_, Err(error)) => return error.into(),
            };
            options = options.places(&pass.lengths());
        }
        if context.is_training() && self.dropout > 0.0 {
            options = options.dropout(self.dropout, &context.key());
        }
        let found = q.attention(&k, &v, &options);
        self.out_proj.forward(&found.permute([0, 2, 1, 3]).flatten(2..), context)
    }

    fn unfit(&self, x: &Tensor, width: usize) -> Option<Error> {
        let refuse = |message: String| Some(Error::new(ErrorKind::Shape, "attention", message));
        match x.error() {
            Some(error) => Some(error),
            None if x.rank() != 3 || x.size(-1) != width => {
                refuse(format!("needs [batch, steps, {width}], not {}", x.shape()))
            }
            None if self.heads == 0 || !width.is_multiple_of(self.heads) => {
                refuse(format!("{width} features don't divide among {} heads", self.heads))
            }
            None => None,
        }
    }
}

impl Layer for MultiHeadAttention {
    /// Each step attends to the steps of its own sequence.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        self.attend(x, x, x, None, context)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.at(1, 3).filter(|_| self.causal))
    }

    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        only_back::<Self>(time.at(1, 3)).map(Some)
    }
}

/// What a transformer's block is besides its heads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransformerOptions {
    /// The features in the middle of its second half; four times its width unless told otherwise.
    pub feedforward: Option<usize>,
    /// Whether a step attends only to those up to its own.
    pub causal: bool,
    /// Whether the norms stand behind the sums, as they first did, and not in front of either half.
    pub post_norm: bool,
    /// Whether the middle has a rectifier instead of a GELU.
    pub relu: bool,
    /// What share is dropped in training: of the attention, of the middle, and of what either half adds.
    pub dropout: f64,
}

impl TransformerOptions {
    /// Norms in front, a GELU, four times the width in the middle, nothing dropped.
    pub fn new() -> TransformerOptions {
        TransformerOptions::default()
    }

    /// So many features in the middle.
    pub fn feedforward(self, features: usize) -> TransformerOptions {
        TransformerOptions { feedforward: Some(features), ..self }
    }

    /// A step attends only to those up to its own.
    pub fn causal(self) -> TransformerOptions {
        TransformerOptions { causal: true, ..self }
    }

    /// Norms behind the sums.
    pub fn post_norm(self) -> TransformerOptions {
        TransformerOptions { post_norm: true, ..self }
    }

    /// A rectifier in the middle.
    pub fn relu(self) -> TransformerOptions {
        TransformerOptions { relu: true, ..self }
    }

    /// Drops a share in training.
    pub fn dropout(self, probability: f64) -> TransformerOptions {
        TransformerOptions { dropout: probability, ..self }
    }
}

/// Attention, and two dense layers at each step, each added to what came in. Parameters have the names of PyTorch's
/// `TransformerEncoderLayer`, which differs in its defaults: norms behind the sums, a rectifier, dropout of 0.1.
#[derive(Clone, Debug)]
pub struct TransformerBlock {
    /// The first half.
    pub self_attn: MultiHeadAttention,
    /// To the middle of the second half.
    pub linear1: Dense,
    /// And back.
    pub linear2: Dense,
    /// Around the attention.
    pub norm1: LayerNorm,
    /// Around the dense layers.
    pub norm2: LayerNorm,
    /// All else.
    pub options: TransformerOptions,
}

crate::parameters!(TransformerBlock { self_attn, linear1, linear2, norm1, norm2 });

impl TransformerBlock {
    /// A block of `heads` heads for `width` features.
    #[track_caller]
    pub fn new(width: usize, heads: usize, options: TransformerOptions, key: Key) -> TransformerBlock {
        let [first, second, third] = key.split();
        let middle = options.feedforward.unwrap_or(width.saturating_mul(4));
        let attention = MultiHeadAttention::new(width, heads, first).dropout(options.dropout);
        TransformerBlock {
            self_attn: MultiHeadAttention { causal: options.causal, ..attention },
            linear1: Dense::new(width, middle, second),
            linear2: Dense::new(middle, width, third),
            norm1: LayerNorm::new([width]),
            norm2: LayerNorm::new([width]),
            options,
        }
    }
}

impl Layer for TransformerBlock {
    /// `[batch, steps, width]` to the same.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || self.both(x, context))
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        self.self_attn.time_axis(time)
    }

    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        self.self_attn.padded_axis(time)
    }
}

impl TransformerBlock {
    /// Both halves.
    fn both(&self, x: &Tensor, context: &Context) -> Tensor {
        let drop = |x: &Tensor| match self.options.dropout > 0.0 {
            true => Dropout::new(self.options.dropout).forward(x, context),
            false => x.clone(),
        };
        let attention = |x: &Tensor| drop(&self.self_attn.forward(x, context));
        let dense = |x: &Tensor| {
            let middle = self.linear1.forward(x, context);
            let middle = if self.options.relu { middle.relu() } else { middle.gelu() };
            drop(&self.linear2.forward(&drop(&middle), context))
        };
        if self.options.post_norm {
            let x = self.norm1.forward(&(x + attention(x)), context);
            self.norm2.forward(&(&x + dense(&x)), context)
        } else {
            let x = x + attention(&self.norm1.forward(x, context));
            &x + dense(&self.norm2.forward(&x, context))
        }
    }
}

/// A vector for each place in a sequence, added to what stands there.
#[derive(Clone, Debug)]
pub enum PositionalEmbedding {
    /// Learnt, for sequences of up to as many steps as there are rows: `weight` `[steps, width]`.
    Learnt(Param),
    /// Sines and cosines of all lengths, from one step to 10 000.
    Sinusoidal,
}

impl Module for PositionalEmbedding {
    fn visit(&self, visitor: &mut Visitor) {
        if let PositionalEmbedding::Learnt(weight) = self {
            visitor.parameter("weight", weight);
        }
    }
}

impl PositionalEmbedding {
    /// Learnt vectors for up to `steps` places, which start normal with a deviation of 0.02.
    #[track_caller]
    pub fn new(steps: usize, width: usize, key: Key) -> PositionalEmbedding {
        let fan = Fan { inputs: steps, outputs: width };
        PositionalEmbedding::Learnt(Param::new(&Init::Normal(0.0, 0.02).fill([steps, width], fan, &key)))
    }
}

impl Layer for PositionalEmbedding {
    /// `[batch, steps, width]` to the same.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        if x.error().is_some() {
            return x.clone();
        }
        let shape = x.shape();
        let at = line::of(Location::caller());
        let refuse = |message: String| Error::new(ErrorKind::Shape, "positions", message).at(at).into();
        if shape.rank() < 2 {
            return refuse(format!("needs [batch, steps, width], not {shape}"));
        }
        let (steps, width) = (shape[shape.rank() - 2], shape[shape.rank() - 1]);
        // [steps], or [rows, steps] where sequences go on.
        let places = context.cache().map(|pass| pass.positions(steps));
        match self {
            PositionalEmbedding::Learnt(weight) => {
                let known = weight.shape();
                let wanted = context.cache().map_or(steps, |pass| pass.capacity());
                if known.last() != Some(&width) || known.first().is_some_and(|&known| known < wanted) {
                    return refuse(format!("{known} doesn't cover {wanted} steps of {width} features"));
                }
                x + match &places {
                    Some(places) => weight.tensor().embedding(places),
                    None => weight.tensor().narrow(0, 0, steps),
                }
            }
            PositionalEmbedding::Sinusoidal => {
                let places = places.unwrap_or_else(|| Tensor::index_along([steps], 0));
                x + sinusoids(&places, width).cast(x.dtype())
            }
        }
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>((time.axis + 2 == time.rank).then_some(time))
    }
}

/// Column `2i` is the sine, column `2i + 1` the cosine of `place / 10000^(2i / width)`.
#[track_caller]
fn sinusoids(places: &Tensor, width: usize) -> Tensor {
    let column = Tensor::index_along([width], 0).cast(DType::F32);
    let width = width.max(1) as f64;
    let pair = (&column / 2.0).floor();
    let odd = &column - &pair * 2.0;
    let angle = places.cast(DType::F32).unsqueeze(-1) * (pair * (-2.0 / width * libm::log(10_000.0))).exp();
    odd.gt(0.0).select(angle.cos(), angle.sin())
}
