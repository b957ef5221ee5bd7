//! Encoders of texts in a hub's folder: what they say of texts, and what texts mean to them.

pub(super) mod config;
mod masked;
mod tags;

use std::path::Path;
use std::sync::Arc;

use kiln_data::Tokenizer;
use kiln_nn::models::{Encoder, EncoderConfig, EncoderHead};
use kiln_nn::{Compiled, DType, Function, Input, Key};
use serde_json::{Map, Value};

use self::config::{ClassMeaning, ReadEncoder};
use super::folder::{self, HubFolder};
use super::names::Naming;
use super::texts::{TextPair, coded, pieces};
use super::{classes, layout};
use crate::embeddings::{Embeddings, mean_of_steps};
use crate::predictor::Prediction;
use crate::text_rows::{CodedText, TextPrograms, TextRows, each_text};
use crate::{Error, Result};
pub use masked::MaskedPiece;
pub use tags::PieceAggregation;

/// An encoder of a hub's folder with its pieces. Kinds: BERT, DistilBERT, RoBERTa; bare, with classes of texts or of pieces, or with scores
/// of masked pieces.
///
/// ```no_run
/// use kiln::hub::EncoderModel;
///
/// let model = EncoderModel::open("reviews-bert")?;
/// let said = model.predict(["a fine film", "a waste of time"])?;
/// assert_eq!(said[0].class(), Some("positive"));
/// // What each means: the mean over its pieces, of length 1.
/// let meanings = model.embed(["a fine film", "a good movie"])?.normalized();
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Debug)]
pub struct EncoderModel {
    naming: Naming,
    is_bare: bool,
    encoder: Encoder,
    tokenizer: Option<Tokenizer>,
    padding: i64,
    /// What stands for a masked piece, with its code.
    mask: Option<(String, u32)>,
    labels: Arc<[String]>,
    meaning: ClassMeaning,
    programs: TextPrograms,
    /// What `config.json` holds, to write back.
    described: Map<String, Value>,
}

impl EncoderModel {
    /// Of a folder. Without `tokenizer.json` it takes codes alone.
    ///
    /// # Errors
    /// Where a file is missing or damaged, the model is of a kind that isn't known, or tensors don't fit what `config.json` says; it names them.
    pub fn open(folder: impl AsRef<Path>) -> Result<EncoderModel> {
        let folder = HubFolder::open(folder)?;
        let weights = folder.weights();
        let has_pooler = weights
            .as_ref()
            .is_ok_and(|weights| weights.iter().any(|weight| weight.name().ends_with("pooler.dense.weight")));
        let ReadEncoder { naming, config, padding, labels, meaning } =
            config::read(&folder.described, has_pooler).map_err(|message| folder.fault(message))?;
        let weights = weights?;
        let encoder = folder.within(&weights, || Encoder::new(&config, Key::new(0)))?;
        layout::load(&encoder, naming, &weights)?;
        let tokenizer = folder.tokenizer()?;
        Ok(EncoderModel {
            naming,
            is_bare: folder::is_bare(&weights, naming),
            encoder,
            mask: masked::mask(&folder, tokenizer.as_ref())?,
            tokenizer,
            padding,
            labels: labels.into(),
            meaning,
            programs: TextPrograms::default(),
            described: folder.described,
        })
    }

    /// Writes the folder that [`EncoderModel::open`] and other systems read.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let store = layout::store(&self.encoder, self.naming)?;
        let store = if self.is_bare { folder::bare(store, self.naming) } else { store };
        folder::save(folder.as_ref(), &store, &self.described, self.tokenizer.as_ref())
    }

    /// What it is.
    pub fn config(&self) -> &EncoderConfig {
        self.encoder.config()
    }

    /// Its layers, with their weights.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Its pieces, where the folder has them.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// The names of the classes that it tells apart, if it does.
    pub fn labels(&self) -> &[String] {
        match self.config().head {
            EncoderHead::Classes(..) | EncoderHead::StepClasses(_) => &self.labels,
            EncoderHead::Steps | EncoderHead::Pooler | EncoderHead::Pieces { .. } => &[],
        }
    }

    /// What it says of texts, or of pairs of them, each as it would alone: of which class each is, or its numbers. Longer ones than it
    /// can see are cut.
    ///
    /// # Errors
    /// Where it tells no classes of texts apart, or the folder has no `tokenizer.json`.
    pub fn predict<'t>(
        &self,
        texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>,
    ) -> Result<Vec<Prediction>> {
        let EncoderHead::Classes(..) = self.config().head else {
            let does = match self.config().head {
                EncoderHead::Pieces { .. } => "it says which pieces are masked (EncoderModel::fill)",
                EncoderHead::StepClasses(_) => "it gives words tags (EncoderModel::predict_tags)",
                EncoderHead::Steps | EncoderHead::Pooler | EncoderHead::Classes(..) => {
                    "it embeds them (--embed, EncoderModel::embed)"
                }
            };
            return Err(Error::Preparation(format!("the model tells no classes of texts apart; {does}")));
        };
        let texts = self.coded(texts)?;
        let mut said = vec![None; texts.len()];
        self.each("answers", &texts, |text, logits| {
            said[text] = Some(classes::said(logits, &self.labels, self.meaning));
        })?;
        Ok(said.into_iter().flatten().collect())
    }

    /// What texts, or pairs of them, mean: the mean over the pieces of each of what the last block gives, special pieces among them and
    /// padding not. Longer ones than it can see are cut.
    ///
    /// # Errors
    /// Where the folder has no `tokenizer.json`.
    pub fn embed<'t>(&self, texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>) -> Result<Embeddings> {
        let (texts, width) = (self.coded(texts)?, self.config().width);
        let mut all = vec![0.0; texts.len() * width];
        self.each("steps", &texts, |text, steps| {
            let mean = mean_of_steps(steps, width, texts[text].codes.len());
            all[text * width..(text + 1) * width].copy_from_slice(&mean);
        })?;
        Ok(Embeddings::new(all, width))
    }

    fn coded<'t>(&self, texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>) -> Result<Vec<CodedText>> {
        coded(pieces(self.tokenizer.as_ref())?, self.config().window(), texts)
    }

    fn each(&self, what: &'static str, texts: &[CodedText], see: impl FnMut(usize, &[f32])) -> Result<()> {
        let run = |rows: &TextRows| {
            let program = self.programs.get(what, rows, || self.compile(what, rows))?;
            let shape = [rows.rows, rows.steps];
            let inputs = [&rows.codes, &rows.types, &rows.mask].map(|numbers| Input::new(numbers, &shape));
            let found = program.run(&inputs)?;
            Ok(found.first().and_then(|found| found.as_slice::<f32>()).unwrap_or_default().to_vec())
        };
        each_text(texts, self.config().window(), self.padding, run, see)
    }

    fn compile(&self, what: &str, rows: &TextRows) -> Result<Compiled> {
        let answers = what == "answers";
        let mut function = Function::inference(&self.encoder, |encoder, cx, [codes, types, mask]| {
            let found = match answers {
                true => encoder.answers(&codes, Some(&types), Some(&mask), cx),
                false => encoder.steps(&codes, Some(&types), Some(&mask), cx),
            };
            found.cast(DType::F32)
        });
        let input = || ([rows.rows, rows.steps].into(), DType::I64);
        Ok(function.compile(&[input(), input(), input()])?)
    }
}
