//! Layers that go on with texts, and the pieces these are cut in: what generation needs of a model.

use kiln_data::Tokens;
use kiln_nn::{DType, Function, Input, Layer};

use crate::Result;

/// What texts are cut in.
pub(crate) trait Pieces {
    /// A text as codes.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// Codes as a text.
    fn decode(&self, codes: &[u32]) -> String;

    /// The code that stands for what has none, which is never said.
    fn unknown(&self) -> Option<u32>;
}

impl Pieces for Tokens {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(Tokens::encode(self, text))
    }

    fn decode(&self, codes: &[u32]) -> String {
        Tokens::decode(self, codes)
    }

    fn unknown(&self) -> Option<u32> {
        Tokens::unknown(self)
    }
}

/// What goes on with texts.
#[derive(Clone, Copy)]
pub(crate) struct Speaker<'p> {
    /// Codes `[rows, steps]` to logits.
    pub layers: &'p dyn Layer,
    /// In which axis of the logits the pieces are, 1 or 2; steps are in the other.
    pub pieces_axis: usize,
    pub pieces: &'p dyn Pieces,
    /// As many pieces the layers learned to see.
    pub window: usize,
    /// Codes that end a text.
    pub ends: &'p [u32],
}

/// The layers of a speaker as a function of a whole window, for those that can't go on step by step, and for scores of all places.
pub(super) struct WholeWindow<'p> {
    function: Function<'p, 1>,
    window: usize,
    pieces_axis: usize,
}

impl<'p> WholeWindow<'p> {
    pub(super) fn new(speaker: &Speaker<'p>) -> WholeWindow<'p> {
        let function = Function::inference(speaker.layers, |layers, context, [x]| {
            layers.forward(&x, context).cast(DType::F32)
        });
        WholeWindow { function, window: speaker.window, pieces_axis: speaker.pieces_axis }
    }

    /// The logits after each of these codes, which are no more than a window, one after the other.
    pub(super) fn after_each(&mut self, codes: &[u32]) -> Result<Vec<Vec<f64>>> {
        let mut input: Vec<i64> = codes.iter().map(|&code| i64::from(code)).collect();
        input.resize(self.window, 0);
        let said = self.function.run([Input::new(&input, &[1, self.window])])?;
        let said = said.first().and_then(|said| said.as_slice::<f32>()).unwrap_or_default();
        Ok((0..codes.len()).map(|step| logits(said, self.window, step, self.pieces_axis)).collect())
    }
}

/// Of the logits of a sequence those at one step.
pub(super) fn logits(sequence: &[f32], steps: usize, step: usize, pieces_axis: usize) -> Vec<f64> {
    let pieces = sequence.len() / steps.max(1);
    let number = |&logit: &f32| f64::from(logit);
    match pieces_axis {
        1 => sequence.iter().skip(step).step_by(steps.max(1)).map(number).collect(),
        _ => sequence[step * pieces..(step + 1) * pieces].iter().map(number).collect(),
    }
}
