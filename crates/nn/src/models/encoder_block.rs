//! A block of attention that looks both ways, which encoders of texts and of pictures stand of.

use std::panic::Location;

use kiln_ir::{DType, line};

use super::decoder::{DEVIATION, dense};
use crate::layers::{Activation, Dense, Dropout, Layer, LayerNorm};
use crate::module::Context;
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::attention::AttentionOptions;

/// What an encoder's block is.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderBlockOptions {
    /// Heads, among which the features divide.
    pub heads: usize,
    /// Features in the middle of the second half.
    pub feedforward: usize,
    /// What is in the middle.
    pub activation: Activation,
    /// Whether the norms stand in front of either half, and not behind the sums.
    pub pre_norm: bool,
    /// What norms add to the variance.
    pub epsilon: f64,
    /// Whether queries, keys and values have biases.
    pub bias: bool,
    /// What share of what either half adds is dropped in training.
    pub dropout: f64,
    /// What share of the attention is.
    pub attention_dropout: f64,
}

impl EncoderBlockOptions {
    /// Norms behind the sums, a GELU, four times the width in the middle, nothing dropped.
    pub fn new(width: usize, heads: usize) -> EncoderBlockOptions {
        EncoderBlockOptions {
            heads,
            feedforward: width.saturating_mul(4),
            activation: Activation::Gelu,
            pre_norm: false,
            epsilon: 1e-5,
            bias: true,
            dropout: 0.0,
            attention_dropout: 0.0,
        }
    }
}

/// A block: attention among all steps, and a dense half, each added to what came in.
///
/// ```
/// use kiln_nn::models::{EncoderBlock, EncoderBlockOptions};
/// use kiln_nn::{Context, Key, Layer, Tensor};
///
/// let block = EncoderBlock::new(16, &EncoderBlockOptions::new(16, 4), Key::new(1));
/// let y = block.forward(&Tensor::ones([2, 10, 16]), &Context::inference());
/// assert_eq!(y.shape().sizes(), [2, 10, 16]);
/// ```
#[derive(Clone, Debug)]
pub struct EncoderBlock {
    query: Dense,
    key: Dense,
    value: Dense,
    out: Dense,
    attention_norm: LayerNorm,
    up: Dense,
    down: Dense,
    feedforward_norm: LayerNorm,
    options: EncoderBlockOptions,
}

crate::parameters!(EncoderBlock { query, key, value, out, attention_norm, up, down, feedforward_norm });

impl EncoderBlock {
    /// A block for so many features.
    #[track_caller]
    pub fn new(width: usize, options: &EncoderBlockOptions, key: Key) -> EncoderBlock {
        let [k0, k1, k2, k3, k4, k5] = key.split();
        let square = |bias: bool, key: Key| dense(width, width, bias, DEVIATION, key);
        let norm = || LayerNorm { epsilon: options.epsilon, ..LayerNorm::new([width]) };
        EncoderBlock {
            query: square(options.bias, k0),
            key: square(options.bias, k1),
            value: square(options.bias, k2),
            out: square(true, k3),
            attention_norm: norm(),
            up: dense(width, options.feedforward, true, DEVIATION, k4),
            down: dense(options.feedforward, width, true, DEVIATION, k5),
            feedforward_norm: norm(),
            options: options.clone(),
        }
    }

    /// So many blocks. More of them than there is room for: the last is the first that couldn't be made.
    #[track_caller]
    pub(super) fn row(
        count: usize,
        width: usize,
        options: &EncoderBlockOptions,
        key: Key,
    ) -> Vec<EncoderBlock> {
        let mut blocks: Vec<EncoderBlock> = Vec::new();
        for place in 0..count {
            blocks.push(EncoderBlock::new(width, options, key.derive(place)));
            if blocks.last().is_some_and(|block| block.down.weight.error().is_some()) {
                break;
            }
        }
        blocks
    }

    /// As [`Layer::forward`], where a mask `[batch, steps]` holds, or isn't 0, for steps that are attended to.
    #[track_caller]
    pub fn masked(&self, x: &Tensor, mask: Option<&Tensor>, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            let (shape, heads) = (check!(x.sound()).shape(), self.options.heads);
            ensure!(shape.rank() == 3, Shape, "encoder", "needs [batch, steps, width], not {shape}");
            ensure!(
                heads > 0 && shape[2].is_multiple_of(heads),
                Shape,
                "encoder",
                "{} features don't divide among {heads} heads",
                shape[2]
            );
            let drop = |x: Tensor| dropped(x, self.options.dropout, context);
            let attention = |x: &Tensor| drop(self.attention(x, mask, context));
            let dense = |x: &Tensor| {
                let middle = self.options.activation.forward(&self.up.forward(x, context), context);
                drop(self.down.forward(&middle, context))
            };
            let [first, second] = [&self.attention_norm, &self.feedforward_norm];
            if self.options.pre_norm {
                let x = x + attention(&first.forward(x, context));
                &x + dense(&second.forward(&x, context))
            } else {
                let x = first.forward(&(x + attention(x)), context);
                second.forward(&(&x + dense(&x)), context)
            }
        })
    }

    #[track_caller]
    fn attention(&self, x: &Tensor, mask: Option<&Tensor>, context: &Context) -> Tensor {
        let heads = self.options.heads;
        // [batch, steps, width] → [batch, heads, steps, width of a head].
        let split = |layer: &Dense| {
            layer.forward(x, context).unflatten(-1, [heads, x.size(2) / heads]).permute([0, 2, 1, 3])
        };
        let mut how = AttentionOptions { mask: mask.map(keys_seen), ..AttentionOptions::new() };
        if context.is_training() && self.options.attention_dropout > 0.0 {
            how = how.dropout(self.options.attention_dropout, &context.key());
        }
        let found = split(&self.query).attention(&split(&self.key), &split(&self.value), &how);
        self.out.forward(&found.permute([0, 2, 1, 3]).flatten(2..), context)
    }
}

/// With a share dropped, in training.
#[track_caller]
pub(super) fn dropped(x: Tensor, share: f64, context: &Context) -> Tensor {
    match share > 0.0 {
        true => Dropout::new(share).forward(&x, context),
        false => x,
    }
}

/// A mask of steps `[batch, steps]` as one of the keys that are attended to, `[batch, 1, 1, keys]`.
#[track_caller]
pub(super) fn keys_seen(mask: &Tensor) -> Tensor {
    let shape = check!(mask.sound()).shape();
    ensure!(shape.rank() == 2, Shape, "encoder", "a mask is [batch, steps], not {shape}");
    let seen = if mask.dtype() == DType::Bool { mask.clone() } else { mask.cast(DType::I64).gt(0) };
    seen.unsqueeze(1).unsqueeze(1)
}

impl Layer for EncoderBlock {
    /// `[batch, steps, width]` to the same.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        self.masked(x, None, context)
    }
}
