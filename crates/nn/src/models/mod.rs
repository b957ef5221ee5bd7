//! Ready models of sequences, each a plain struct of layers made from a small configuration.

mod decoder;
mod encoder;
mod encoder_block;
mod encoder_decoder;
mod positions;
mod relative;

pub use decoder::{BlockOptions, Decoder, DecoderBlock, DecoderConfig, DecoderNorm, Positions};
pub use encoder::{Encoder, EncoderConfig, EncoderHead};
pub use encoder_block::{EncoderBlock, EncoderBlockOptions};
pub use encoder_decoder::{EncoderDecoder, EncoderDecoderConfig, ReadSource};
pub use positions::{Rotary, RotaryScaling, alibi};
