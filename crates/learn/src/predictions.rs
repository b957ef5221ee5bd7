//! What a model gives for rows, and what that means as classes and probabilities.

/// A model's outputs for rows: logits, or predicted numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    outputs: Vec<f32>,
    width: usize,
}

impl Predictions {
    /// The outputs of so many rows.
    pub(crate) fn new(outputs: Vec<f32>, rows: usize) -> Predictions {
        let width = outputs.len() / rows.max(1);
        Predictions { outputs, width }
    }

    /// The outputs, `[rows, width]`.
    pub fn outputs(&self) -> &[f32] {
        &self.outputs
    }

    /// How many outputs a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.outputs.len() / self.width.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// The class with the highest output, of each row; of one output, whether it is above zero.
    pub fn classes(&self) -> Vec<i64> {
        self.outputs.chunks(self.width.max(1)).map(|row| class_of(row) as i64).collect()
    }

    /// The probabilities of all classes, `[rows, classes]`, also of a single output, which tells two apart.
    pub fn all_probabilities(&self) -> Vec<f32> {
        self.outputs.chunks(self.width.max(1)).flat_map(all_probabilities_of).collect()
    }

    /// Outputs that are logits as probabilities, `[rows, width]`; one output becomes that of the second class.
    pub fn probabilities(&self) -> Vec<f32> {
        self.outputs.chunks(self.width.max(1)).flat_map(probabilities_of).collect()
    }
}

/// A row's logits as the probabilities of all classes; a single output tells two apart.
pub(crate) fn all_probabilities_of(outputs: &[f32]) -> Vec<f32> {
    match probabilities_of(outputs).as_slice() {
        [second] => vec![1.0 - second, *second],
        all => all.to_vec(),
    }
}

/// The class of a row with the highest output; of one output, whether it is above zero.
pub(crate) fn class_of(outputs: &[f32]) -> usize {
    match outputs {
        [logit] => usize::from(*logit > 0.0),
        all => (1..all.len()).fold(0, |best, class| if all[class] > all[best] { class } else { best }),
    }
}

/// A row's logits as probabilities; one becomes that of the second class.
pub(crate) fn probabilities_of(outputs: &[f32]) -> Vec<f32> {
    if let [logit] = outputs {
        return vec![1.0 / (1.0 + libm::expf(-logit))];
    }
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut parts: Vec<f32> = outputs.iter().map(|logit| libm::expf(logit - most)).collect();
    let sum: f32 = parts.iter().sum();
    parts.iter_mut().for_each(|part| *part /= sum);
    parts
}
