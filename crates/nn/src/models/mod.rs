//! Ready models of sequences and pictures, each a plain struct of layers made from a small configuration.

mod decoder;
mod encoder;
mod encoder_block;
mod encoder_decoder;
mod encoder_decoder_config;
mod positions;
mod relative;
mod vision;

pub use decoder::{BlockOptions, Decoder, DecoderBlock, DecoderConfig, DecoderNorm, Positions};
pub use encoder::{Encoder, EncoderConfig, EncoderHead};
pub use encoder_block::{EncoderBlock, EncoderBlockOptions};
pub use encoder_decoder::{EncoderDecoder, ReadSource};
pub use encoder_decoder_config::EncoderDecoderConfig;
pub use positions::{Rotary, RotaryScaling, alibi};
pub use vision::{VisionConfig, VisionHead, VisionTransformer};
