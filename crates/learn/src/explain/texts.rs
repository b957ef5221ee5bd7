//! Why a text is taken for what it is: by its pieces, through integrated gradients of their vectors; of a model that is only asked, by its words, through
//! sampled Shapley values of leaving them out.

use kiln_nn::sequential::PartView;
use kiln_nn::{Context, Function, Input, Sequential, Spec};

use super::asked::{AskedTarget, WantedScore};
use super::exact::{behind, in_context};
use super::gradients::{Slopes, StraightPath, integrated};
use super::sampled::SampledGame;
use crate::model::{Model, Task};
use crate::{Error, Prediction, Predictor, Result};

/// What each piece of a text moves.
#[derive(Clone, Debug, PartialEq)]
pub struct TextExplanation {
    /// The class whose score it is.
    pub class: String,
    /// The score of the text: of two classes log-odds, of more a logit less the mean of all classes'.
    pub output: f64,
    /// That of a text with nothing in it.
    pub baseline: f64,
    /// The pieces in their order, and what each moves.
    pub pieces: Vec<(String, f64)>,
    /// How far each may be off, where they are sampled.
    pub errors: Vec<f64>,
}

impl TextExplanation {
    /// What is left of the output less the baseline and all that is moved.
    pub fn rest(&self) -> f64 {
        self.output - self.baseline - self.pieces.iter().map(|(_, moved)| moved).sum::<f64>()
    }
}

/// Explains what a model that tells texts apart says of one, piece by piece: integrated gradients from what fills texts up.
///
/// # Errors
/// Where the model tells no texts apart, or its first layer makes no vectors of their pieces.
pub fn explain_text(model: &Model, text: &str, class: Option<&str>) -> Result<TextExplanation> {
    let about = model.about();
    let own = about.texts()?;
    if own.columns.is_none() {
        let message = "the model goes on with texts, and texts that are told apart are explained";
        return Err(Error::Preparation(message.to_string()));
    }
    let asked = AskedTarget::new(&about.task, about.threshold, None, class)?;
    let layers = model.layers();
    let padded = match layers.part(0) {
        Some((_, PartView::Described(Spec::Embedding { padded, .. }))) => *padded,
        _ => {
            return Err(Error::Preparation(
                "texts are explained by the vectors of their pieces, and the model's first layer makes none"
                    .to_string(),
            ));
        }
    };
    let codes = own.codes(text);
    let to = vectors(layers, &codes)?;
    let size = to.len() / codes.len().max(1);
    // What stands where there is no text: nothing behind a sequence's end, and else the piece that fills rows up.
    let from = match padded {
        true => vec![0.0; to.len()],
        false => vectors(layers, &vec![0; codes.len()])?,
    };
    let shape = [codes.len(), size];
    let (output, there) =
        (behind(layers, 1, &to, &shape, Some(&codes))?, behind(layers, 1, &from, &shape, Some(&codes))?);
    let wanted = asked.wanted(&output)?;
    let way = StraightPath {
        from: &from,
        to: &to,
        weights: &wanted.weights,
        difference: wanted.of(&output) - wanted.of(&there),
    };
    let mut slopes = Slopes::new(layers, 1, &shape, output.len(), |x, codes, context| {
        in_context(layers, x, codes, context)
    });
    slopes.beside(&codes);
    let found = integrated(&mut slopes, &[way])?.pop().unwrap_or_default();
    let known = own.tokens.encode(text);
    let piece = |at: usize| known.get(at).map_or(String::new(), |code| own.tokens.decode(&[*code]));
    let moved = found.chunks(size.max(1)).map(|vector| vector.iter().sum::<f64>());
    let mut pieces: Vec<(String, f64)> = moved.enumerate().map(|(at, moved)| (piece(at), moved)).collect();
    // What fills up behind the text moves nothing, or what is the same for all texts of its length.
    let behind: f64 = pieces.drain(known.len().min(codes.len())..).map(|(_, moved)| moved).sum();
    if behind != 0.0 {
        pieces.push((String::new(), behind));
    }
    Ok(TextExplanation {
        class: named(&asked, &wanted),
        output: wanted.of(&output),
        baseline: wanted.of(&there),
        pieces,
        errors: Vec::new(),
    })
}

fn named(asked: &AskedTarget, wanted: &WantedScore) -> String {
    wanted.class.and_then(|class| asked.classes().get(class)).cloned().unwrap_or_default()
}

/// The vectors of codes.
fn vectors(layers: &Sequential, codes: &[i64]) -> Result<Vec<f32>> {
    let mut function = Function::inference(layers, |layers: &Sequential, context: &Context, [x]| {
        layers.span(0..1, &x, context)
    });
    let out = function.run([Input::new(codes, &[1, codes.len()])])?;
    Ok(out.first().and_then(|out| out.as_slice::<f32>()).unwrap_or_default().to_vec())
}

/// Words of a text, each with the space before it.
fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    let mut start = 0;
    for word in Predictor::words(text) {
        let end = word.as_ptr().addr() - text.as_ptr().addr() + word.len();
        words.push(text.get(start..end).unwrap_or(word));
        start = end;
    }
    words
}

/// More words than this are taken together, neighbours each time.
const MOST: usize = 48;

/// Explains what anybody says of a text by its words: sampled Shapley values of leaving them out, from the text without any.
///
/// # Errors
/// Where no classes are told apart, or what `ask` says.
pub fn explain_words(
    ask: &dyn Fn(&[String]) -> Result<Vec<Prediction>>,
    text: &str,
    class: Option<&str>,
    orders: usize,
) -> Result<TextExplanation> {
    let single = words(text);
    let together = single.len().div_ceil(MOST).max(1);
    let players: Vec<String> = single.chunks(together).map(|words| words.concat()).collect();
    if players.is_empty() {
        return Err(Error::Preparation("the text has no words".to_string()));
    }
    let first = ask(&[text.to_string()])?;
    let names = match first.first() {
        Some(Prediction::Classes { names, .. }) => names.to_vec(),
        _ => {
            return Err(Error::Preparation(
                "words are explained of models that tell texts apart".to_string(),
            ));
        }
    };
    let asked = AskedTarget::new(&Task::Classes { names }, None, None, class)?;
    // Logarithms of probabilities are logits.
    let logits = |said: &Prediction| -> Vec<f32> {
        said.probabilities().map(|(_, probability)| libm::logf(probability.max(f32::MIN_POSITIVE))).collect()
    };
    let own: Vec<f32> = first.iter().flat_map(logits).collect();
    let wanted = asked.wanted(&own)?;
    let width = players.len();
    let answer = |rows: &[f32], _: usize| -> Result<Vec<f32>> {
        let text = |row: &[f32]| -> String {
            players
                .iter()
                .zip(row)
                .filter(|(_, is_there)| **is_there > 0.5)
                .map(|(word, _)| word.as_str())
                .collect()
        };
        let texts: Vec<String> = rows.chunks(width).map(text).collect();
        Ok(ask(&texts)?.iter().flat_map(logits).collect())
    };
    let groups: Vec<(String, std::ops::Range<usize>)> =
        players.iter().enumerate().map(|(at, word)| (word.clone(), at..at + 1)).collect();
    let game = SampledGame::new(&answer, &groups, vec![0.0; width * orders.max(2)], 0)?;
    let parts = game.of(&vec![1.0; width], &own, &wanted)?;
    Ok(TextExplanation {
        class: named(&asked, &wanted),
        output: wanted.of(&own),
        baseline: parts.baseline,
        pieces: players.iter().cloned().zip(parts.moved).collect(),
        errors: parts.errors,
    })
}
