//! A tag for each word of sentences.

use crate::predictions::{all_probabilities_of, class_of};
use crate::preparation::TagPreparation;
use crate::{Error, Predictor, Preparation, Result};

/// A word with the tag that a model gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedWord {
    /// The word.
    pub word: String,
    /// The likeliest tag.
    pub tag: String,
    /// Its probability.
    pub probability: f32,
}

impl Predictor {
    /// A tag for each word of a sentence.
    ///
    /// ```no_run
    /// let predictor = kiln::Predictor::load("ner.kiln")?;
    /// for word in predictor.predict_tags(&["Ada", "lives", "in", "London"])? {
    ///     println!("{}\t{}", word.word, word.tag);
    /// }
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model doesn't tag words.
    pub fn predict_tags<W: AsRef<str>>(&self, words: &[W]) -> Result<Vec<TaggedWord>> {
        let own = self.tags()?;
        let (mut tagged, mut rest) = (Vec::with_capacity(words.len()), words.iter());
        for part in own.parts(words) {
            let (form, codes) = own.row(&part);
            let outputs = self.outputs_of(&form, &codes)?;
            for (&place, word) in part.places.iter().zip(&mut rest) {
                tagged.push(self.tagged(word.as_ref(), &outputs, codes.len(), place));
            }
        }
        Ok(tagged)
    }

    /// A tag for each word of several sentences, each as it would be alone.
    ///
    /// # Errors
    /// As [`Predictor::predict_tags`].
    pub fn predict_tags_of_many<W: AsRef<str>>(&self, sentences: &[Vec<W>]) -> Result<Vec<Vec<TaggedWord>>> {
        let own = self.tags()?;
        let mut parts = Vec::new();
        let mut of = Vec::new();
        for (sentence, words) in sentences.iter().enumerate() {
            for part in own.parts(words) {
                of.push(sentence);
                parts.push(part);
            }
        }
        let mut tagged: Vec<Vec<TaggedWord>> = sentences.iter().map(|_| Vec::new()).collect();
        let mut row = 0;
        self.model().predict_each(&own.rows(&parts)?, |batch, outputs| {
            let steps = batch.x_shape().get(1).copied().unwrap_or(1);
            let each = outputs.len() / batch.rows().max(1);
            for outputs in outputs.chunks(each.max(1)) {
                let (part, into) = (&parts[row], &mut tagged[of[row]]);
                for &place in &part.places {
                    let word = sentences[of[row]].get(into.len()).map_or("", AsRef::as_ref);
                    into.push(self.tagged(word, outputs, steps, place));
                }
                row += 1;
            }
            Ok(())
        })?;
        Ok(tagged)
    }

    /// The words of a text: letters and digits that stand together, and every other sign by itself.
    ///
    /// ```
    /// assert_eq!(kiln::Predictor::words("Ada's cat, 2.5 kg!"), ["Ada", "'s", "cat", ",", "2.5", "kg", "!"]);
    /// ```
    pub fn words(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for chunk in text.split_whitespace() {
            let mut from = 0;
            let signs: Vec<(usize, char)> = chunk.char_indices().collect();
            for (at, &(place, sign)) in signs.iter().enumerate() {
                let inner = |other: Option<&(usize, char)>| other.is_some_and(|(_, c)| c.is_alphanumeric());
                let within = at > 0 && inner(signs.get(at - 1)) && inner(signs.get(at + 1));
                let clitic = matches!(sign, '\'' | '’') && inner(signs.get(at + 1));
                if sign.is_alphanumeric() || (within && !clitic) {
                    continue;
                }
                if from < place {
                    words.push(&chunk[from..place]);
                }
                // What is left of a word stays with its sign: 's, 'll.
                from = place;
                if !clitic {
                    from = place + sign.len_utf8();
                    words.push(&chunk[place..from]);
                }
            }
            if from < chunk.len() {
                words.push(&chunk[from..]);
            }
        }
        words
    }

    fn tags(&self) -> Result<&TagPreparation> {
        match &self.model().about().preparation {
            Preparation::Tags(tags) => Ok(tags),
            Preparation::Unsaid
            | Preparation::Table(_)
            | Preparation::Images(_)
            | Preparation::Text(_)
            | Preparation::Pairs(_)
            | Preparation::Forecast(_) => {
                Err(Error::Preparation("the model doesn't give words tags".to_string()))
            }
        }
    }

    /// What is said at a place of outputs `[classes, steps]`.
    fn tagged(&self, word: &str, outputs: &[f32], steps: usize, place: usize) -> TaggedWord {
        let logits: Vec<f32> = outputs.iter().skip(place).step_by(steps.max(1)).copied().collect();
        let class = class_of(&logits);
        let tag = self.0.meanings.names().get(class).cloned().unwrap_or_default();
        let probability = all_probabilities_of(&logits).get(class).copied().unwrap_or(f32::NAN);
        TaggedWord { word: word.to_string(), tag, probability }
    }
}
