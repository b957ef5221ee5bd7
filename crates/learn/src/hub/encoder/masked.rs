//! What an encoder puts in the place of masked pieces.

use kiln_data::Tokenizer;
use kiln_nn::models::EncoderHead;

use super::EncoderModel;
use crate::hub::folder::HubFolder;
use crate::hub::texts::TextPair;
use crate::predictions::all_probabilities_of;
use crate::{Error, Result};

/// What stands for a masked piece where no file of the folder says otherwise.
const USUAL: [&str; 2] = ["[MASK]", "<mask>"];

/// The files that may say it.
const SAID_IN: [&str; 2] = ["special_tokens_map.json", "tokenizer_config.json"];

/// A piece that may stand in the place of a masked one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MaskedPiece {
    /// Its text; `##` in front of it says that it goes on with a word.
    pub piece: String,
    /// Its probability.
    pub probability: f32,
}

/// What stands for a masked piece in texts, with its code.
pub(super) fn mask(folder: &HubFolder, tokenizer: Option<&Tokenizer>) -> Result<Option<(String, u32)>> {
    let Some(tokenizer) = tokenizer else { return Ok(None) };
    for name in SAID_IN {
        let said = folder.object(name)?.and_then(|object| object.get("mask_token").cloned());
        let said = said.as_ref().and_then(|said| said.as_str().or_else(|| said["content"].as_str()));
        if let Some(word) = said {
            return Ok(tokenizer.code(word).map(|code| (word.to_string(), code)));
        }
    }
    Ok(USUAL.into_iter().find_map(|word| Some((word.to_string(), tokenizer.code(word)?))))
}

impl EncoderModel {
    /// What stands for a masked piece in texts, `[MASK]` or `<mask>` mostly; nothing where the model says nothing of masked pieces.
    pub fn mask(&self) -> Option<&str> {
        let fills = matches!(self.config().head, EncoderHead::Pieces { .. });
        self.mask.as_ref().filter(|_| fills).map(|(word, _)| word.as_str())
    }

    /// The likeliest pieces, `most` at most, in the place of each masked one of each text.
    ///
    /// ```no_run
    /// let model = kiln::hub::EncoderModel::open("bert-base")?;
    /// let said = model.fill(["Paris is the [MASK] of France."], 3)?;
    /// assert_eq!(said[0][0][0].piece, "capital");
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model says nothing of masked pieces, or no piece of a text that it can see is masked.
    pub fn fill<'t>(
        &self,
        texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>,
        most: usize,
    ) -> Result<Vec<Vec<Vec<MaskedPiece>>>> {
        let (EncoderHead::Pieces { .. }, Some((word, mask))) = (&self.config().head, &self.mask) else {
            return Err(Error::Preparation("the model says nothing of masked pieces".to_string()));
        };
        let texts: Vec<TextPair> = texts.into_iter().map(Into::into).collect();
        let coded = self.coded(texts.iter().copied())?;
        let mut all = Vec::with_capacity(coded.len());
        for (text, coded) in texts.iter().zip(coded) {
            let places: Vec<usize> = (0..coded.codes.len()).filter(|&at| coded.codes[at] == *mask).collect();
            if places.is_empty() {
                let seen = kiln_map::counted(self.config().window(), "piece");
                return Err(Error::Preparation(format!(
                    "{:?} has no {word} among what the model sees of it ({seen} at most): write {word} where one is to be found",
                    text.first
                )));
            }
            // One at a time: the scores of all pieces at all places of many texts would take gigabytes.
            let mut found = Vec::new();
            let width = self.config().vocabulary;
            self.each("answers", &[coded], |_, scores| {
                found.extend(places.iter().map(|&at| {
                    let scores = scores.get(at * width..(at + 1) * width).unwrap_or_default();
                    self.likeliest(scores, most)
                }));
            })?;
            all.push(found);
        }
        Ok(all)
    }

    fn likeliest(&self, scores: &[f32], most: usize) -> Vec<MaskedPiece> {
        let probabilities = all_probabilities_of(scores);
        let mut codes: Vec<u32> = (0..scores.len() as u32).collect();
        codes.sort_by(|&a, &b| probabilities[b as usize].total_cmp(&probabilities[a as usize]));
        codes.truncate(most);
        let text = |code: u32| {
            let said = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.decode(&[code], false).ok());
            said.unwrap_or_default().trim().to_string()
        };
        let piece = |code| MaskedPiece { piece: text(code), probability: probabilities[code as usize] };
        codes.into_iter().map(piece).collect()
    }
}
