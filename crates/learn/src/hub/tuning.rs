//! A language model that goes on learning: as layers whose pieces' scores a loss of classes takes, with adapters where its weights stay.

use kiln_nn::models::Decoder;
use kiln_nn::{Context, Key, Layer, Module, Tensor, Visitor};

use super::LanguageModel;
use crate::generate::TextSamples;
use crate::weights::load_adapters;
use crate::{Error, Result};

/// The layers of a [`LanguageModel`] as training takes them: codes `[batch, steps]` to scores `[batch, codes, steps]`. Its parameters go by
/// the decoder's paths.
#[derive(Clone, Copy, Debug)]
pub struct TrainedDecoder<'m>(&'m Decoder);

impl Module for TrainedDecoder<'_> {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.visit(visitor);
    }
}

impl Layer for TrainedDecoder<'_> {
    #[track_caller]
    fn forward(&self, codes: &Tensor, context: &Context) -> Tensor {
        self.0.forward(codes, context).permute([0, 2, 1])
    }
}

impl LanguageModel {
    /// Its layers for a training on [`Windows`](kiln_data::Windows) of a text, which changes them in place.
    ///
    /// ```no_run
    /// use kiln::data::Windows;
    /// use kiln::hub::LanguageModel;
    /// use kiln::prelude::*;
    ///
    /// let model = LanguageModel::open("llama-1b")?;
    /// let codes = model.encode(&std::fs::read_to_string("novel.txt")?)?;
    /// let windows = Windows::new(codes, model.config().vocabulary, 256)?;
    /// model.adapt_dense(8, 16.0, Key::new(7))?;              // or all weights, without it
    /// Trainer::new(model.trained(), CrossEntropy::new(), AdamW::new(1e-3)).epochs(1).batch_size(4).fit(&windows)?;
    /// kiln::weights::save_adapters(model.decoder(), "novel.safetensors")?;
    /// model.merge_adapters()?;
    /// model.save("llama-novel")?;
    /// # Ok::<(), kiln::Error>(())
    /// ```
    pub fn trained(&self) -> TrainedDecoder<'_> {
        TrainedDecoder(&self.decoder)
    }

    /// What it says as it learns: a callback of its training.
    ///
    /// # Errors
    /// Where it has no pieces.
    pub fn samples(&self) -> Result<TextSamples<'_>> {
        Ok(TextSamples::by(self.speaker()?))
    }

    /// A text's codes, without what the tokenizer puts around texts.
    ///
    /// # Errors
    /// Where the model has no pieces, or none for a character.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let tokenizer = self.tokenizer.as_ref();
        let tokenizer = tokenizer
            .ok_or_else(|| Error::Preparation(format!("{}, so it takes no texts", self.no_pieces)))?;
        let codes = tokenizer.encode_plain(text)?.codes;
        match codes.iter().find(|&&code| code as usize >= self.config.vocabulary) {
            None => Ok(codes),
            Some(code) => Err(Error::Preparation(format!(
                "the tokenizer gives the code {code}, and the model knows {}",
                self.config.vocabulary
            ))),
        }
    }

    /// Gives every dense layer of its blocks low-rank adapters (LoRA) of this rank and scale `alpha / rank`, and freezes all else; see
    /// [`Module::adapt`]. Says how many there are.
    ///
    /// # Errors
    /// Where the rank is more than a layer has.
    pub fn adapt_dense(&self, rank: usize, alpha: f64, key: Key) -> Result<usize> {
        let is_dense = |(path, param): &(String, kiln_nn::Param)| {
            path.starts_with("blocks.") && param.shape().rank() == 2
        };
        let paths: Vec<String> =
            self.decoder.parameters().into_iter().filter(is_dense).map(|(path, _)| path).collect();
        for (place, path) in paths.iter().enumerate() {
            self.decoder.adapt(path, rank, alpha, key.derive(place))?;
        }
        Ok(paths.len())
    }

    /// Gives it the adapters of a file that [`save_adapters`](crate::weights::save_adapters) wrote; see [`load_adapters`].
    ///
    /// # Errors
    /// As there.
    pub fn load_adapters(&self, path: impl AsRef<std::path::Path>) -> Result<usize> {
        load_adapters(&self.decoder, path)
    }

    /// Makes its adapters part of its weights; see [`Module::merge_adapters`].
    ///
    /// # Errors
    /// Where its weights are packed.
    pub fn merge_adapters(&self) -> Result<usize> {
        Ok(self.decoder.merge_adapters()?)
    }
}
