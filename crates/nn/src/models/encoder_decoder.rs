//! Encoder-decoders: a sequence of codes that follows from another one (T5 and its kin).

use std::panic::Location;

use kiln_ir::{DType, Result, line};

use super::decoder::dense;
use super::encoder_decoder_config::EncoderDecoderConfig;
use super::relative::RelativeStack;
use crate::init::{Fan, Init};
use crate::layers::{Dense, Embedding, Layer, only_back};
use crate::module::{Context, Module, TimeAxis, Visitor};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::{Param, Variable};

/// An encoder-decoder: codes in, and the logits of what comes next at each step of a second sequence out.
///
/// ```
/// use kiln_nn::models::{EncoderDecoder, EncoderDecoderConfig};
/// use kiln_nn::{Context, Key, Tensor};
///
/// let model = EncoderDecoder::new(&EncoderDecoderConfig::t5_gated(50, 16, 2, 4), Key::new(1));
/// let (source, target) = (Tensor::from([[3, 1, 4, 1, 5]]), Tensor::from([[0, 9, 2]]));
/// let logits = model.answers(&source, None, &target, &Context::inference());
/// assert_eq!(logits.shape().sizes(), [1, 3, 50]);
/// ```
#[derive(Clone, Debug)]
pub struct EncoderDecoder {
    shared: Embedding,
    encoder: RelativeStack,
    decoder: RelativeStack,
    head: Option<Dense>,
    config: EncoderDecoderConfig,
}

crate::parameters!(EncoderDecoder { shared, encoder, decoder, head });

impl EncoderDecoder {
    /// An encoder-decoder that starts as T5 does.
    #[track_caller]
    pub fn new(config: &EncoderDecoderConfig, key: Key) -> EncoderDecoder {
        let [shared, encoder, decoder, head] = key.split();
        let fan = Fan { inputs: config.vocabulary, outputs: config.width };
        let vectors = Init::Normal(0.0, 1.0).fill([config.vocabulary, config.width], fan, &shared);
        EncoderDecoder {
            shared: Embedding { weight: Param::new(&vectors), padded: false },
            encoder: RelativeStack::new(config, config.encoder_blocks, false, &encoder),
            decoder: RelativeStack::new(config, config.decoder_blocks, true, &decoder),
            head: (!config.tied).then(|| dense(config.width, config.vocabulary, false, 1.0, head)),
            config: config.clone(),
        }
    }

    /// What it is.
    pub fn config(&self) -> &EncoderDecoderConfig {
        &self.config
    }

    #[track_caller]
    fn embedded(&self, codes: &Tensor, context: &Context) -> Tensor {
        let shape = check!(codes.sound()).shape();
        ensure!(shape.rank() == 2, Shape, "encoder-decoder", "takes codes [batch, steps], not {shape}");
        self.shared.forward(codes, context)
    }

    /// What each step of a sequence means: `[batch, steps, width]` of codes `[batch, steps]` and a mask that holds, or isn't 0, where there
    /// is a code and no padding.
    #[track_caller]
    pub fn encode(&self, codes: &Tensor, mask: Option<&Tensor>, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            self.encoder.both_ways(&self.embedded(codes, context), mask, context)
        })
    }

    /// The keys and values that each block of the decoder has of an encoded sequence, which are the same at all its steps:
    /// `[2 · blocks, batch, heads, steps, width of a head]`.
    #[track_caller]
    pub fn cross(&self, encoded: &Tensor, context: &Context) -> Tensor {
        let all = self.both(encoded, context);
        let each: Vec<Tensor> = all.into_iter().flatten().map(|x| x.unsqueeze(0)).collect();
        Tensor::concat(&each.iter().collect::<Vec<_>>(), 0)
    }

    #[track_caller]
    fn both(&self, encoded: &Tensor, context: &Context) -> Vec<[Tensor; 2]> {
        let products = self.decoder.blocks.iter().filter_map(|block| block.cross.as_ref());
        products.map(|products| products.keys_and_values(encoded, context)).collect()
    }

    /// The logits of what comes next at each step of `codes`, by [`EncoderDecoder::cross`] and the mask of the other sequence.
    #[track_caller]
    pub fn decode(&self, codes: &Tensor, cross: &Tensor, mask: Option<&Tensor>, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            let part = |at: usize| cross.narrow(0, at as isize, 1).squeeze(0);
            let both: Vec<[Tensor; 2]> =
                (0..self.decoder.blocks.len()).map(|at| [part(2 * at), part(2 * at + 1)]).collect();
            self.scores(codes, &both, mask, context)
        })
    }

    #[track_caller]
    fn scores(
        &self,
        codes: &Tensor,
        cross: &[[Tensor; 2]],
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        let mut x = self.decoder.behind(&self.embedded(codes, context), cross, mask, context);
        if self.config.scaled {
            x *= (self.config.width.max(1) as f64).sqrt().recip();
        }
        match &self.head {
            Some(head) => head.forward(&x, context),
            None => x.matmul(&self.shared.weight.tensor().t()),
        }
    }

    /// The logits of what comes next at each step of `target`, where `source` with this mask is what it follows from. In training the target
    /// is what is to be said, moved by one step: the code that begins all of them in front, and the last left out.
    #[track_caller]
    pub fn answers(
        &self,
        source: &Tensor,
        mask: Option<&Tensor>,
        target: &Tensor,
        context: &Context,
    ) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            let encoded = self.encode(source, mask, context);
            self.scores(target, &self.both(&encoded, context), mask, context)
        })
    }
}

/// An encoder-decoder that has read: a layer from codes to the logits of what comes next, which goes on step by step with a
/// [`Cache`](crate::Cache) as decoders do. What was read is kept as keys and values, which are computed once.
#[derive(Clone, Debug)]
pub struct ReadSource {
    model: EncoderDecoder,
    cross: Variable,
    mask: Variable,
}

impl ReadSource {
    /// A model, with [`EncoderDecoder::cross`] of what it read and the mask of that, `i64[batch, steps]`.
    pub fn new(model: &EncoderDecoder, cross: Variable, mask: Variable) -> ReadSource {
        ReadSource { model: model.clone(), cross, mask }
    }
}

impl Module for ReadSource {
    fn visit(&self, visitor: &mut Visitor) {
        self.model.visit(visitor);
    }
}

impl Layer for ReadSource {
    /// Codes `[batch, steps]` to logits `[batch, steps, codes]`.
    #[track_caller]
    fn forward(&self, codes: &Tensor, context: &Context) -> Tensor {
        let mask = self.mask.tensor().cast(DType::I64);
        self.model.decode(codes, &self.cross.tensor(), Some(&mask), context)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.at(1, 2)).map(|time| TimeAxis { rank: 3, ..time })
    }
}
