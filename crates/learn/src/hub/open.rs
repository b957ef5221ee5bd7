//! Which of the models a folder holds, by its `config.json`.

use std::path::Path;

use super::fields::Fields;
use super::folder::HubFolder;
use super::{
    CONFIG, EncoderModel, LanguageModel, Seq2SeqModel, VisionModel, config, encoder, gguf, seq2seq, vision,
};
use crate::Result;

/// A model of a hub's folder.
#[derive(Debug)]
pub enum HubModel {
    /// Goes on with texts.
    Language(Box<LanguageModel>),
    /// Says of what class texts are, or what they mean.
    Encoder(Box<EncoderModel>),
    /// Says what follows from texts.
    Seq2Seq(Box<Seq2SeqModel>),
    /// Says of what class pictures are.
    Vision(Box<VisionModel>),
}

/// Whether a path is a folder of a hub's: one with a `config.json`.
pub fn is_folder(path: impl AsRef<Path>) -> bool {
    path.as_ref().join(CONFIG).is_file()
}

/// Whether a path is such a folder, or a GGUF file.
pub fn is_model(path: impl AsRef<Path>) -> bool {
    is_folder(&path) || gguf::is_gguf(path)
}

/// The model of a folder (or of a GGUF file, a language model), of whichever kind it is.
///
/// ```no_run
/// use kiln::hub::{self, HubModel};
///
/// if let HubModel::Encoder(model) = hub::open("reviews-bert")? {
///     println!("{:?}", model.labels());
/// }
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where the kind isn't known; else as the model's own `open`.
pub fn open(folder: impl AsRef<Path>) -> Result<HubModel> {
    let path = folder.as_ref();
    if gguf::is_gguf(path) {
        return Ok(HubModel::Language(Box::new(LanguageModel::open(path)?)));
    }
    let folder = HubFolder::open(path)?;
    let fields = Fields(&folder.described);
    let kind = fields.text_or("model_type", "").map_err(|message| folder.fault(message))?;
    if encoder::config::KINDS.contains(&kind) {
        return Ok(HubModel::Encoder(Box::new(EncoderModel::open(path)?)));
    }
    if seq2seq::KINDS.contains(&kind) {
        return Ok(HubModel::Seq2Seq(Box::new(Seq2SeqModel::open(path)?)));
    }
    if config::KINDS.contains(&kind) {
        return Ok(HubModel::Language(Box::new(LanguageModel::open(path)?)));
    }
    if vision::KINDS.contains(&kind) {
        return Ok(HubModel::Vision(Box::new(VisionModel::open(path)?)));
    }
    let all = [&config::KINDS[..], &encoder::config::KINDS[..], &seq2seq::KINDS[..], &vision::KINDS[..]];
    Err(folder.fault(match kind {
        "" => "it doesn't say which \"model_type\" the model is of".to_string(),
        _ => format!("its \"model_type\" is \"{kind}\"; kiln reads {}", all.concat().join(", ")),
    }))
}
