//! What an encoder-decoder is, said apart from its layers, whose blocks need it too.

use crate::layers::Activation;

/// What an encoder-decoder is. Start from [`EncoderDecoderConfig::t5`] and change what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderDecoderConfig {
    /// How many codes there are.
    pub vocabulary: usize,
    /// Features of a step.
    pub width: usize,
    /// Heads.
    pub heads: usize,
    /// Features of a head.
    pub head_width: usize,
    /// Features in the middle of the second half of blocks.
    pub feedforward: usize,
    /// How many blocks read.
    pub encoder_blocks: usize,
    /// How many blocks write.
    pub decoder_blocks: usize,
    /// How many distances between steps are told apart, in buckets.
    pub buckets: usize,
    /// From which distance on all are alike.
    pub max_distance: usize,
    /// What is in the middle of the second half.
    pub activation: Activation,
    /// Whether a second product goes into the middle, which the activation of the first is multiplied with.
    pub gated: bool,
    /// What norms add to the mean square.
    pub epsilon: f64,
    /// Whether codes are scored by the vectors that they came in with, instead of others.
    pub tied: bool,
    /// Whether what is scored is divided by the root of the width first.
    pub scaled: bool,
    /// What share is dropped in training.
    pub dropout: f64,
}

impl EncoderDecoderConfig {
    /// As T5: ReLU, codes scored by their own vectors.
    pub fn t5(vocabulary: usize, width: usize, blocks: usize, heads: usize) -> EncoderDecoderConfig {
        EncoderDecoderConfig {
            vocabulary,
            width,
            heads,
            head_width: width / heads.max(1),
            feedforward: width.saturating_mul(4),
            encoder_blocks: blocks,
            decoder_blocks: blocks,
            buckets: 32,
            max_distance: 128,
            activation: Activation::Relu,
            gated: false,
            epsilon: 1e-6,
            tied: true,
            scaled: true,
            dropout: 0.0,
        }
    }

    /// As T5 1.1 and what came of it (Flan): a gated GELU, codes scored by other vectors.
    pub fn t5_gated(vocabulary: usize, width: usize, blocks: usize, heads: usize) -> EncoderDecoderConfig {
        EncoderDecoderConfig {
            activation: Activation::GeluTanh,
            gated: true,
            tied: false,
            scaled: false,
            // Two thirds of four times the width, which with its gate is as much as four times without one; a multiple of 32.
            feedforward: (8 * width).div_ceil(96) * 32,
            ..EncoderDecoderConfig::t5(vocabulary, width, blocks, heads)
        }
    }
}
