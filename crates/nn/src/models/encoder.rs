//! Encoders: what each step of a sequence of codes means, by blocks of attention that look both ways (BERT and its kin), and heads on them.

use std::panic::Location;

use kiln_ir::line;

use super::decoder::{DEVIATION, dense};
use super::encoder_block::{EncoderBlock, EncoderBlockOptions, dropped};
use crate::init::{Fan, Init};
use crate::layers::{Activation, Dense, Embedding, Layer, LayerNorm};
use crate::module::Context;
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::Param;

/// What an encoder is. Start from [`EncoderConfig::bert`] and change what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// How many codes there are.
    pub vocabulary: usize,
    /// Features of a step.
    pub width: usize,
    /// How many blocks stand on each other.
    pub blocks: usize,
    /// What each of them is.
    pub block: EncoderBlockOptions,
    /// How many learnt positions there are.
    pub positions: usize,
    /// Which of them the first step has: 0, or (RoBERTa) the one behind that of padding.
    pub first_position: usize,
    /// How many kinds of texts are told apart in a row, such as the first and the second of two; 0 where none are.
    pub token_types: usize,
    /// What is made of the last block's steps.
    pub head: EncoderHead,
}

/// What an encoder makes of the last block's steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EncoderHead {
    /// Nothing more.
    Steps,
    /// Nothing more; a dense layer with a tanh over the first step is there for those who ask ([`Encoder::pooled`]).
    Pooler,
    /// Logits of classes of the whole text, by a dense layer with this activation over the first step.
    Classes(usize, Activation),
    /// Logits of classes of each step.
    StepClasses(usize),
    /// Logits of what stands at each step, where pieces were masked; scored by the vectors that codes come in with, or by others.
    Pieces {
        /// Whether those of the codes serve.
        tied: bool,
    },
}

impl EncoderConfig {
    /// As BERT: learnt positions, two token types, norms behind the sums, a GELU, and nothing on top.
    pub fn bert(
        vocabulary: usize,
        width: usize,
        blocks: usize,
        heads: usize,
        positions: usize,
    ) -> EncoderConfig {
        EncoderConfig {
            vocabulary,
            width,
            blocks,
            block: EncoderBlockOptions { epsilon: 1e-12, ..EncoderBlockOptions::new(width, heads) },
            positions,
            first_position: 0,
            token_types: 2,
            head: EncoderHead::Steps,
        }
    }

    /// How many steps it can see.
    pub fn window(&self) -> usize {
        self.positions.saturating_sub(self.first_position)
    }
}

/// An encoder: codes in, what each step means or what its head makes of that out.
///
/// ```
/// use kiln_nn::models::{Encoder, EncoderConfig, EncoderHead};
/// use kiln_nn::{Activation, Context, Key, Layer, Tensor};
///
/// let head = EncoderHead::Classes(3, Activation::Tanh);
/// let model = Encoder::new(&EncoderConfig { head, ..EncoderConfig::bert(50, 16, 2, 4, 32) }, Key::new(1));
/// // Two texts, the second of three pieces; padding is masked, so each gets what it would alone.
/// let codes = Tensor::from([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]);
/// let mask = Tensor::from([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]);
/// let logits = model.answers(&codes, None, Some(&mask), &Context::inference());
/// assert_eq!(logits.shape().sizes(), [2, 3]);
/// # assert_eq!(model.forward(&codes, &Context::inference()).shape().sizes(), [2, 3]);
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    words: Embedding,
    positions: Embedding,
    types: Option<Embedding>,
    norm: LayerNorm,
    blocks: Vec<EncoderBlock>,
    pooler: Option<Dense>,
    classes: Option<Dense>,
    transform: Option<Dense>,
    transform_norm: Option<LayerNorm>,
    pieces: Option<Dense>,
    pieces_bias: Option<Param>,
    config: EncoderConfig,
}

crate::parameters!(Encoder {
    words,
    positions,
    types,
    norm,
    blocks,
    pooler,
    classes,
    transform,
    transform_norm,
    pieces,
    pieces_bias
});

/// Vectors that start normal with the usual deviation.
#[track_caller]
fn vectors(count: usize, width: usize, key: Key) -> Embedding {
    let fan = Fan { inputs: count, outputs: width };
    Embedding {
        weight: Param::new(&Init::Normal(0.0, DEVIATION).fill([count, width], fan, &key)),
        padded: false,
    }
}

impl Encoder {
    /// An encoder that starts as BERT does: normal with a deviation of 0.02, biases as zeros.
    #[track_caller]
    pub fn new(config: &EncoderConfig, key: Key) -> Encoder {
        let width = config.width;
        let [words, positions, types, blocks, pooler, classes, transform, pieces] = key.split();
        let norm = || LayerNorm { epsilon: config.block.epsilon, ..LayerNorm::new([width]) };
        let dense = |outputs: usize, bias: bool, key: Key| dense(width, outputs, bias, DEVIATION, key);
        let has_pooler = matches!(config.head, EncoderHead::Pooler | EncoderHead::Classes(..));
        let has_pieces = matches!(config.head, EncoderHead::Pieces { .. });
        let count = match config.head {
            EncoderHead::Classes(count, _) | EncoderHead::StepClasses(count) => Some(count),
            EncoderHead::Steps | EncoderHead::Pooler | EncoderHead::Pieces { .. } => None,
        };
        Encoder {
            words: vectors(config.vocabulary, width, words),
            positions: vectors(config.positions, width, positions),
            types: (config.token_types > 0).then(|| vectors(config.token_types, width, types)),
            norm: norm(),
            blocks: EncoderBlock::row(config.blocks, width, &config.block, blocks),
            pooler: has_pooler.then(|| dense(width, true, pooler)),
            classes: count.map(|count| dense(count, true, classes)),
            transform: has_pieces.then(|| dense(width, true, transform)),
            transform_norm: has_pieces.then(norm),
            pieces: (config.head == EncoderHead::Pieces { tied: false })
                .then(|| dense(config.vocabulary, false, pieces)),
            pieces_bias: has_pieces.then(|| Param::new(&Tensor::zeros([config.vocabulary]))),
            config: config.clone(),
        }
    }

    /// What it is.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// What goes into the first block.
    #[track_caller]
    fn embedded(&self, codes: &Tensor, types: Option<&Tensor>, context: &Context) -> Tensor {
        let shape = check!(codes.sound()).shape();
        ensure!(shape.rank() == 2, Shape, "encoder", "takes codes [batch, steps], not {shape}");
        let steps = shape[1];
        ensure!(
            steps <= self.config.window(),
            Shape,
            "encoder",
            "{steps} steps, and it knows {} places",
            self.config.window()
        );
        let places = self.positions.weight.tensor();
        let mut x =
            self.words.forward(codes, context) + places.narrow(0, self.config.first_position as isize, steps);
        if let Some(own) = &self.types {
            x += match types {
                Some(types) => own.forward(types, context),
                None => own.weight.tensor().narrow(0, 0, 1),
            };
        }
        dropped(self.norm.forward(&x, context), self.config.block.dropout, context)
    }

    /// What each step means: `[batch, steps, width]` of codes `[batch, steps]`, of which text of two each is (the first, unless said), and a
    /// mask that holds, or isn't 0, where there is a code and no padding.
    #[track_caller]
    pub fn steps(
        &self,
        codes: &Tensor,
        types: Option<&Tensor>,
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            let x = self.embedded(codes, types, context);
            self.blocks.iter().fold(x, |x, block| block.masked(&x, mask, context))
        })
    }

    /// What the pooler makes of what each step means, by the first: `[batch, width]`; an error without one.
    #[track_caller]
    pub fn pooled(&self, steps: &Tensor, context: &Context) -> Tensor {
        let activation = match self.config.head {
            EncoderHead::Classes(_, activation) => activation,
            EncoderHead::Steps
            | EncoderHead::Pooler
            | EncoderHead::StepClasses(_)
            | EncoderHead::Pieces { .. } => Activation::Tanh,
        };
        let pooler = self.pooler.as_ref();
        ensure!(pooler.is_some(), Value, "encoder", "has no pooler: its head is {:?}", self.config.head);
        let first = steps.narrow(1, 0, 1).squeeze(1);
        pooler.map_or(first.clone(), |pooler| activation.forward(&pooler.forward(&first, context), context))
    }

    /// What the head makes of codes; see [`Encoder::steps`]. Logits of classes `[batch, classes]`, of classes or pieces at each step
    /// `[batch, steps, classes]`, or what each step means.
    #[track_caller]
    pub fn answers(
        &self,
        codes: &Tensor,
        types: Option<&Tensor>,
        mask: Option<&Tensor>,
        context: &Context,
    ) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            self.head(&self.steps(codes, types, mask, context), context)
        })
    }

    #[track_caller]
    fn head(&self, steps: &Tensor, context: &Context) -> Tensor {
        let scored = |x: Tensor| match &self.classes {
            Some(classes) => classes.forward(&dropped(x, self.config.block.dropout, context), context),
            None => x,
        };
        match (&self.config.head, &self.transform, &self.transform_norm) {
            (EncoderHead::Classes(..), ..) => scored(self.pooled(steps, context)),
            (EncoderHead::StepClasses(_), ..) => scored(steps.clone()),
            (EncoderHead::Pieces { .. }, Some(transform), Some(norm)) => {
                let x = self.config.block.activation.forward(&transform.forward(steps, context), context);
                let x = norm.forward(&x, context);
                let logits = match &self.pieces {
                    Some(pieces) => pieces.forward(&x, context),
                    None => x.matmul(&self.words.weight.tensor().t()),
                };
                match &self.pieces_bias {
                    Some(bias) => logits + bias.tensor(),
                    None => logits,
                }
            }
            (EncoderHead::Steps | EncoderHead::Pooler | EncoderHead::Pieces { .. }, ..) => steps.clone(),
        }
    }
}

impl Layer for Encoder {
    /// [`Encoder::answers`] to codes without padding.
    #[track_caller]
    fn forward(&self, codes: &Tensor, context: &Context) -> Tensor {
        self.answers(codes, None, None, context)
    }

    fn stages(&self, codes: &Tensor) -> Vec<(String, String, Tensor)> {
        let context = Context::inference();
        let mut x = self.embedded(codes, None, &context);
        let mut stages = vec![("words".to_string(), "embedding".to_string(), x.clone())];
        for (place, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &context);
            stages.push((format!("blocks.{place}"), "encoder block".to_string(), x.clone()));
        }
        let head = |name: &str, what: &str, x: Tensor| (name.to_string(), what.to_string(), x);
        match self.config.head {
            EncoderHead::Steps => {}
            EncoderHead::Pooler => {
                stages.push(head("pooler", "dense over the first step", self.pooled(&x, &context)));
            }
            EncoderHead::Classes(..) => {
                stages.push(head("classes", "scores of classes", self.head(&x, &context)));
            }
            EncoderHead::StepClasses(_) => {
                stages.push(head("classes", "scores of classes, each step", self.head(&x, &context)));
            }
            EncoderHead::Pieces { .. } => {
                stages.push(head("pieces", "scores of pieces", self.head(&x, &context)));
            }
        }
        stages
    }
}
