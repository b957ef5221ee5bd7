//! Ready models of sequences, each a plain struct of layers made from a small configuration.

mod decoder;
mod positions;

pub use decoder::{BlockOptions, Decoder, DecoderBlock, DecoderConfig, DecoderNorm, Positions};
pub use positions::{Rotary, RotaryScaling, alibi};
