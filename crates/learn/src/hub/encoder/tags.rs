//! Tags that an encoder gives pieces, as those of words.

use kiln_data::Tokenizer;
use kiln_nn::models::EncoderHead;

use super::EncoderModel;
use crate::hub::texts::pieces;
use crate::predictions::{all_probabilities_of, class_of};
use crate::predictor::{Predictor, TaggedWord};
use crate::text_rows::CodedText;
use crate::{Error, Result};

/// Which of a word's pieces say what its tag is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PieceAggregation {
    /// The first, as most models learned it.
    #[default]
    First,
    /// All: by the means of their probabilities.
    Mean,
    /// The one that is surest of its tag.
    Max,
}

/// The words of a sentence, each with what stands in front of it.
struct SpacedWord {
    word: String,
    spaced: String,
}

/// Words that go through together: as codes, and where each word's pieces are among them.
struct CodedWords {
    text: CodedText,
    places: Vec<std::ops::Range<usize>>,
}

impl EncoderModel {
    /// A tag for each word of each text; [`Predictor::words`] says what a word is. Of a text longer than the model can see, parts are tagged by
    /// themselves.
    ///
    /// ```no_run
    /// let model = kiln::hub::EncoderModel::open("ner-bert")?;
    /// let words = &model.predict_tags(["Ada lives in London."], Default::default())?[0];
    /// assert_eq!((words[3].word.as_str(), words[3].tag.as_str()), ("London", "B-LOC"));
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model gives pieces no tags, or the folder has no `tokenizer.json`.
    pub fn predict_tags<'t>(
        &self,
        texts: impl IntoIterator<Item = &'t str>,
        by: PieceAggregation,
    ) -> Result<Vec<Vec<TaggedWord>>> {
        let spaced = |text: &str| {
            let mut from = 0;
            let words = Predictor::words(text).into_iter().map(|word| {
                let end = word.as_ptr().addr() - text.as_ptr().addr() + word.len();
                let spaced = text.get(from..end).unwrap_or(word).to_string();
                from = end;
                SpacedWord { word: word.to_string(), spaced }
            });
            words.collect()
        };
        self.tagged(texts.into_iter().map(spaced).collect(), by)
    }

    /// The same of sentences that are words already; a space is thought between each two.
    ///
    /// # Errors
    /// As [`EncoderModel::predict_tags`].
    pub fn predict_tags_of_words<W: AsRef<str>>(
        &self,
        sentences: &[Vec<W>],
        by: PieceAggregation,
    ) -> Result<Vec<Vec<TaggedWord>>> {
        let spaced = |sentence: &Vec<W>| {
            let words = sentence.iter().map(AsRef::as_ref).enumerate().map(|(at, word)| SpacedWord {
                word: word.to_string(),
                spaced: if at > 0 { format!(" {word}") } else { word.to_string() },
            });
            words.collect()
        };
        self.tagged(sentences.iter().map(spaced).collect(), by)
    }

    fn tagged(&self, sentences: Vec<Vec<SpacedWord>>, by: PieceAggregation) -> Result<Vec<Vec<TaggedWord>>> {
        let EncoderHead::StepClasses(tags) = self.config().head else {
            return Err(Error::Preparation("the model gives the words of a text no tags".to_string()));
        };
        let tokenizer = pieces(self.tokenizer.as_ref())?;
        let (mut parts, mut owners) = (Vec::new(), Vec::new());
        for (sentence, words) in sentences.iter().enumerate() {
            for part in coded_parts(tokenizer, words, self.config().window())? {
                parts.push(part);
                owners.push(sentence);
            }
        }
        let texts: Vec<CodedText> = parts.iter().map(|part| part.text.clone()).collect();
        let mut found: Vec<Vec<(usize, f32)>> = vec![Vec::new(); parts.len()];
        self.each("answers", &texts, |at, scores| {
            let of_piece = |piece: usize| all_probabilities_of(&scores[piece * tags..(piece + 1) * tags]);
            let words = parts[at].places.iter();
            found[at] = words.map(|pieces| best(pieces.clone().map(of_piece).collect(), by)).collect();
        })?;
        let mut each: Vec<std::vec::IntoIter<SpacedWord>> =
            sentences.into_iter().map(Vec::into_iter).collect();
        let mut tagged: Vec<Vec<TaggedWord>> = each.iter().map(|_| Vec::new()).collect();
        for (sentence, found) in owners.into_iter().zip(found) {
            let words =
                each[sentence].by_ref().zip(found).map(|(SpacedWord { word, .. }, (tag, probability))| {
                    TaggedWord { word, tag: self.labels.get(tag).cloned().unwrap_or_default(), probability }
                });
            tagged[sentence].extend(words);
        }
        // Behind the last word that the model could read.
        for (tagged, words) in tagged.iter_mut().zip(each) {
            let (tag, probability) = best(Vec::new(), by);
            tagged.extend(words.map(|SpacedWord { word, .. }| TaggedWord {
                word,
                tag: self.labels.get(tag).cloned().unwrap_or_default(),
                probability,
            }));
        }
        Ok(tagged)
    }
}

/// The tag of a word, by the probabilities of its pieces, and its own; the first for one that has no pieces.
fn best(pieces: Vec<Vec<f32>>, by: PieceAggregation) -> (usize, f32) {
    let of = |probabilities: &[f32]| {
        let tag = class_of(probabilities);
        (tag, probabilities.get(tag).copied().unwrap_or(0.0))
    };
    match by {
        _ if pieces.is_empty() => (0, 0.0),
        PieceAggregation::First => pieces.first().map_or((0, 0.0), |first| of(first)),
        PieceAggregation::Mean => {
            let mut mean = vec![0.0; pieces.first().map_or(0, Vec::len)];
            for piece in &pieces {
                mean.iter_mut().zip(piece).for_each(|(mean, p)| *mean += p / pieces.len() as f32);
            }
            of(&mean)
        }
        PieceAggregation::Max => {
            let surest = pieces.iter().map(|piece| of(piece));
            surest.reduce(|best, own| if own.1 > best.1 { own } else { best }).unwrap_or((0, 0.0))
        }
    }
}

/// Words as codes, in as many parts as the model must see them in; without those behind the last that has pieces.
fn coded_parts(tokenizer: &Tokenizer, words: &[SpacedWord], window: usize) -> Result<Vec<CodedWords>> {
    let mut coded = Vec::with_capacity(words.len());
    for SpacedWord { spaced, .. } in words {
        coded.push(tokenizer.encode_plain(spaced)?.codes);
    }
    while coded.pop_if(|codes| codes.is_empty()).is_some() {}
    let read = coded.iter().zip(words).filter(|(codes, _)| !codes.is_empty());
    let Some((shortest, word)) = read.min_by_key(|(codes, _)| codes.len()) else { return Ok(Vec::new()) };
    // What the file puts around a text is what stands around a word.
    let whole = tokenizer.encode(&word.spaced)?.codes;
    let at = whole.windows(shortest.len()).position(|part| part == shortest).unwrap_or(0);
    let around = [&whole[..at], &whole[(at + shortest.len()).min(whole.len())..]];
    let room = window.saturating_sub(around[0].len() + around[1].len()).max(1);
    // No word is longer than a part.
    coded.iter_mut().for_each(|codes| codes.truncate(room));
    let mut parts = Vec::new();
    let mut left = coded.as_slice();
    while !left.is_empty() {
        let mut pieces = 0;
        let fit = left.iter().take_while(|codes| {
            pieces += codes.len();
            pieces <= room
        });
        let (own, rest) = left.split_at(fit.count().max(1));
        left = rest;
        let mut codes = around[0].to_vec();
        let mut places = Vec::with_capacity(own.len());
        for word in own {
            let from = codes.len();
            codes.extend(word);
            places.push(from..codes.len());
        }
        codes.extend(around[1]);
        parts.push(CodedWords { text: CodedText { types: vec![0; codes.len()], codes }, places });
    }
    Ok(parts)
}
