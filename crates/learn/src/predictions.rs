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
        let class = |row: &[f32]| match row {
            [logit] => i64::from(*logit > 0.0),
            _ => {
                (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as i64
            }
        };
        self.outputs.chunks(self.width.max(1)).map(class).collect()
    }

    /// Outputs that are logits as probabilities, `[rows, width]`; one output becomes that of the second class.
    pub fn probabilities(&self) -> Vec<f32> {
        let softmax = |row: &[f32]| -> Vec<f32> {
            if let [logit] = row {
                return vec![1.0 / (1.0 + (-logit).exp())];
            }
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let parts: Vec<f32> = row.iter().map(|logit| (logit - most).exp()).collect();
            let sum: f32 = parts.iter().sum();
            parts.into_iter().map(|part| part / sum).collect()
        };
        self.outputs.chunks(self.width.max(1)).flat_map(softmax).collect()
    }
}
