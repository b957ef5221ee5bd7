//! Blocks of attention whose scores depend on how far steps are apart, in buckets (T5's): alone, or with attention to another sequence.

use kiln_ir::DType;

use super::decoder::dense;
use super::encoder_block::{dropped, keys_seen};
use super::encoder_decoder_config::EncoderDecoderConfig;
use crate::init::{Fan, Init};
use crate::layers::{Activation, Dense, Layer, RmsNorm};
use crate::module::{Context, KeptKind};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::attention::AttentionOptions;
use crate::variable::Param;

/// The bucket of each distance from 0 to `most`: the first half of them one each, the others wider and wider.
fn buckets(count: usize, most: usize) -> Vec<usize> {
    let exact = count / 2;
    let last = count.saturating_sub(1);
    let wide = |distance: usize| {
        // In single precision, as where such models were trained: at the edges of buckets it counts.
        let times = libm::logf(distance as f32 / exact.max(1) as f32);
        let of = libm::log(most as f64 / exact.max(1) as f64) as f32;
        (exact + (times / of * (count - exact) as f32) as usize).min(last)
    };
    (0..=most).map(|distance| if distance < exact { distance } else { wide(distance) }).collect()
}

/// What is added to the scores of heads, by the bucket of how far a key is from a query.
#[derive(Clone, Debug)]
pub(super) struct RelativeBias {
    /// `[buckets, heads]`.
    weight: Param,
    /// The farthest that is told apart.
    most: usize,
    /// Whether keys behind a query have buckets of their own, or there are none.
    both_ways: bool,
}

crate::parameters!(RelativeBias { weight });

impl RelativeBias {
    #[track_caller]
    fn new(config: &EncoderDecoderConfig, both_ways: bool, key: &Key) -> RelativeBias {
        let fan = Fan { inputs: config.buckets, outputs: config.heads };
        let deviation = (config.width as f64).sqrt().recip();
        let weight = Init::Normal(0.0, deviation).fill([config.buckets, config.heads], fan, key);
        RelativeBias { weight: Param::new(&weight), most: config.max_distance, both_ways }
    }

    /// `[1 or rows, heads, queries, keys]`, for queries at these places (`[queries]`, or `[rows, queries]`) and keys from 0 on.
    #[track_caller]
    fn of(&self, places: &Tensor, keys: usize) -> Tensor {
        let (most, count) = (self.most, self.weight.shape().first().copied().unwrap_or(1));
        let keys = Tensor::index_along([keys], 0);
        let behind = keys - places.unsqueeze(-1);
        // The bucket of each distance, from the farthest key in front to the farthest behind.
        let (table, distance) = match self.both_ways {
            true => {
                let own = buckets(count / 2, most);
                let front = own.iter().rev().copied();
                let back = own.iter().skip(1).map(|bucket| bucket + count / 2);
                (
                    front.chain(back).collect::<Vec<_>>(),
                    behind.clamp(-(most as i64), most as i64) + most as i64,
                )
            }
            false => (buckets(count, most), behind.neg().clamp(0i64, most as i64)),
        };
        let table: Vec<i64> = table.into_iter().map(|bucket| bucket as i64).collect();
        let by_distance = self.weight.tensor().embedding(&Tensor::new(table.clone(), [table.len()]));
        // [.., queries, keys, heads]
        let bias = by_distance.embedding(&distance.cast(DType::I64));
        let bias = if bias.rank() == 3 { bias.unsqueeze(0) } else { bias };
        bias.permute([0, 3, 1, 2])
    }
}

/// Products to and from heads.
#[derive(Clone, Debug)]
pub(super) struct HeadProducts {
    query: Dense,
    key: Dense,
    value: Dense,
    out: Dense,
    heads: usize,
}

crate::parameters!(HeadProducts { query, key, value, out });

impl HeadProducts {
    #[track_caller]
    fn new(config: &EncoderDecoderConfig, key: &Key) -> HeadProducts {
        let [k0, k1, k2, k3] = key.split();
        let (width, inner) = (config.width, config.heads.saturating_mul(config.head_width));
        let deviation = |inputs: usize| (inputs.max(1) as f64).sqrt().recip();
        // Scores aren't divided by the root of a head's width, so queries start the smaller.
        let less = deviation(width.saturating_mul(config.head_width));
        HeadProducts {
            query: dense(width, inner, false, less, k0),
            key: dense(width, inner, false, deviation(width), k1),
            value: dense(width, inner, false, deviation(width), k2),
            out: dense(inner, width, false, deviation(inner), k3),
            heads: config.heads,
        }
    }

    /// `[batch, steps, width]` → `[batch, heads, steps, width of a head]`.
    #[track_caller]
    fn split(&self, layer: &Dense, x: &Tensor, context: &Context) -> Tensor {
        let x = layer.forward(x, context);
        let width = x.size(-1) / self.heads.max(1);
        x.unflatten(-1, [self.heads, width]).permute([0, 2, 1, 3])
    }

    /// Keys and values of what is attended to.
    #[track_caller]
    pub(super) fn keys_and_values(&self, x: &Tensor, context: &Context) -> [Tensor; 2] {
        [&self.key, &self.value].map(|layer| self.split(layer, x, context))
    }

    #[track_caller]
    fn found(
        &self,
        x: &Tensor,
        [key, value]: [&Tensor; 2],
        how: AttentionOptions,
        drop: f64,
        context: &Context,
    ) -> Tensor {
        let mut how = how.scale(1.0);
        if context.is_training() && drop > 0.0 {
            how = how.dropout(drop, &context.key());
        }
        let found = self.split(&self.query, x, context).attention(key, value, &how);
        self.out.forward(&found.permute([0, 2, 1, 3]).flatten(2..), context)
    }
}

/// A block: attention among steps, to another sequence where there is one, and a dense half; each behind a norm and added to what came in.
#[derive(Clone, Debug)]
pub(super) struct RelativeBlock {
    attention_norm: RmsNorm,
    attention: HeadProducts,
    cross_norm: Option<RmsNorm>,
    pub(super) cross: Option<HeadProducts>,
    feedforward_norm: RmsNorm,
    gate: Option<Dense>,
    up: Dense,
    down: Dense,
    activation: Activation,
    dropout: f64,
}

crate::parameters!(RelativeBlock {
    attention_norm,
    attention,
    cross_norm,
    cross,
    feedforward_norm,
    gate,
    up,
    down
});

impl RelativeBlock {
    #[track_caller]
    fn new(config: &EncoderDecoderConfig, crosses: bool, key: &Key) -> RelativeBlock {
        let [k0, k1, k2, k3, k4] = key.split();
        let (width, middle) = (config.width, config.feedforward);
        let norm = || RmsNorm { epsilon: config.epsilon, ..RmsNorm::new(width) };
        let deviation = |inputs: usize| (inputs.max(1) as f64).sqrt().recip();
        RelativeBlock {
            attention_norm: norm(),
            attention: HeadProducts::new(config, &k0),
            cross_norm: crosses.then(norm),
            cross: crosses.then(|| HeadProducts::new(config, &k1)),
            feedforward_norm: norm(),
            gate: config.gated.then(|| dense(width, middle, false, deviation(width), k2)),
            up: dense(width, middle, false, deviation(width), k3),
            down: dense(middle, width, false, deviation(middle), k4),
            activation: config.activation,
            dropout: config.dropout,
        }
    }

    /// `[batch, steps, width]` to the same; of the other sequence it has keys and values, and which of them are no padding.
    #[track_caller]
    fn forward(
        &self,
        x: &Tensor,
        seen: &StepsSeen,
        cross: Option<(&[Tensor; 2], Option<&Tensor>)>,
        context: &Context,
    ) -> Tensor {
        let drop = |x: Tensor| dropped(x, self.dropout, context);
        let own = self.attention_norm.forward(x, context);
        let [mut key, mut value] = self.attention.keys_and_values(&own, context);
        let mut how = AttentionOptions::new();
        if let Some(pass) = context.cache() {
            (key, value) = (
                check!(pass.extended(context, KeptKind::Key, &key)),
                check!(pass.extended(context, KeptKind::Value, &value)),
            );
            how = how.places(&pass.lengths());
        }
        how = match seen {
            StepsSeen::Behind(bias) => how.causal().mask(bias),
            StepsSeen::All(bias) => how.mask(bias),
        };
        let mut x = x + drop(self.attention.found(&own, [&key, &value], how, self.dropout, context));
        if let (Some(norm), Some(products), Some(([key, value], mask))) =
            (&self.cross_norm, &self.cross, cross)
        {
            let how = AttentionOptions { mask: mask.map(keys_seen), ..AttentionOptions::new() };
            let own = norm.forward(&x, context);
            x += drop(products.found(&own, [key, value], how, self.dropout, context));
        }
        let own = self.feedforward_norm.forward(&x, context);
        let up = self.up.forward(&own, context);
        let middle = match &self.gate {
            Some(gate) => self.activation.forward(&gate.forward(&own, context), context) * up,
            None => self.activation.forward(&up, context),
        };
        &x + drop(self.down.forward(&drop(middle), context))
    }
}

/// Which steps each attends to, and what is added to their scores.
enum StepsSeen {
    All(Tensor),
    Behind(Tensor),
}

/// Blocks on each other, which share what is added to their scores, and a norm.
#[derive(Clone, Debug)]
pub(super) struct RelativeStack {
    bias: RelativeBias,
    pub(super) blocks: Vec<RelativeBlock>,
    norm: RmsNorm,
    dropout: f64,
}

crate::parameters!(RelativeStack { bias, blocks, norm });

impl RelativeStack {
    /// So many blocks. More of them than there is room for: the last is the first that couldn't be made.
    #[track_caller]
    pub(super) fn new(
        config: &EncoderDecoderConfig,
        count: usize,
        crosses: bool,
        key: &Key,
    ) -> RelativeStack {
        let mut blocks: Vec<RelativeBlock> = Vec::new();
        for place in 0..count {
            blocks.push(RelativeBlock::new(config, crosses, &key.derive(place)));
            if blocks.last().is_some_and(|block| block.down.weight.error().is_some()) {
                break;
            }
        }
        RelativeStack {
            bias: RelativeBias::new(config, !crosses, &key.derive(count)),
            blocks,
            norm: RmsNorm { epsilon: config.epsilon, ..RmsNorm::new(config.width) },
            dropout: config.dropout,
        }
    }

    /// All steps attend to all, but to padding, where a mask `[batch, steps]` says what isn't.
    #[track_caller]
    pub(super) fn both_ways(&self, x: &Tensor, mask: Option<&Tensor>, context: &Context) -> Tensor {
        let steps = x.size(1);
        let mut bias = self.bias.of(&Tensor::index_along([steps], 0), steps);
        if let Some(mask) = mask {
            // Low enough that nothing is left of it, and finite.
            bias = keys_seen(mask).select(&bias, -1e30);
        }
        let seen = StepsSeen::All(bias);
        self.through(x, &seen, &[], None, context)
    }

    /// Each step attends to those up to its own and to another sequence, by the keys and values that each block has of it.
    #[track_caller]
    pub(super) fn behind(
        &self,
        x: &Tensor,
        cross: &[[Tensor; 2]],
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        let steps = x.size(1);
        let (places, keys) = match context.cache() {
            // One place more than a sequence may have is for what nobody reads.
            Some(pass) => (pass.positions(steps), pass.capacity() + 1),
            None => (Tensor::index_along([steps], 0), steps),
        };
        let seen = StepsSeen::Behind(self.bias.of(&places, keys));
        self.through(x, &seen, cross, mask, context)
    }

    #[track_caller]
    fn through(
        &self,
        x: &Tensor,
        seen: &StepsSeen,
        cross: &[[Tensor; 2]],
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        let mut x = dropped(x.clone(), self.dropout, context);
        for (place, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, seen, cross.get(place).map(|both| (both, mask)), context);
        }
        dropped(self.norm.forward(&x, context), self.dropout, context)
    }
}

#[cfg(test)]
mod tests {
    use super::buckets;

    #[test]
    fn distances_have_the_buckets_that_such_models_were_trained_with() {
        // The first distance of each bucket, as transformers computes them.
        let first = |count: usize, most: usize| {
            let all = buckets(count, most);
            (0..count).map(|bucket| all.iter().position(|&own| own == bucket).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(first(16, 128), FIRST_OF_16);
        assert_eq!(first(32, 128), FIRST_OF_32);
    }

    const FIRST_OF_16: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
    const FIRST_OF_32: [usize; 32] = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67,
        77, 87, 99, 113,
    ];
}
