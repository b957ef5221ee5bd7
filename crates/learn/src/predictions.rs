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

/// What a model says of a row whose class is known, in as little room for many classes as for two.
///
/// ```
/// use kiln::trainer::Judged;
///
/// let judged = Judged::new(&[0.0, 2.0, 1.0], 2);
/// assert_eq!((judged.class, judged.ahead, judged.is_right()), (1, 1, false));
/// assert!(judged.sure > judged.truth);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The class it is of.
    pub label: u32,
    /// The likeliest class.
    pub class: u32,
    /// How many classes are likelier than its own; of equal ones the earlier counts as such.
    pub ahead: u32,
    /// The probability of the likeliest class.
    pub sure: f32,
    /// The probability of its own.
    pub truth: f32,
    /// The probability of the second class: where there are two, what tells them apart.
    pub second: f32,
}

impl Judged {
    /// By a row's logits, of which a single one tells two classes apart. A class that there isn't has no probability.
    pub fn new(outputs: &[f32], label: i64) -> Judged {
        let two: [f32; 2];
        let logits = match outputs {
            [second] => {
                two = [0.0, *second];
                &two
            }
            all => all,
        };
        let class = class_of(outputs);
        let label = usize::try_from(label).unwrap_or(usize::MAX);
        let own = logits.get(label).copied().unwrap_or(f32::NEG_INFINITY);
        let is_ahead = |(class, logit): &(usize, &f32)| **logit > own || (**logit == own && *class < label);
        let of = match outputs {
            [logit] => {
                let second = 1.0 / (1.0 + libm::expf(-logit));
                [class, label, 1].map(|at| [1.0 - second, second].get(at).copied().unwrap_or(0.0))
            }
            all => {
                let most = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = all.iter().map(|logit| libm::expf(logit - most)).sum();
                let part = |at: usize| all.get(at).map_or(0.0, |logit| libm::expf(logit - most) / sum);
                [class, label, 1].map(part)
            }
        };
        let [sure, truth, second] = of;
        let ahead = logits.iter().enumerate().filter(is_ahead).count() as u32;
        let label = u32::try_from(label).unwrap_or(u32::MAX);
        Judged { label, class: class as u32, ahead, sure, truth, second }
    }

    /// The same row where the second of two classes is said above another probability than a half. `sure` is then that of the class that is
    /// said.
    pub fn decided(self, threshold: f64) -> Judged {
        let is_second = is_above(self.second, threshold);
        let sure = if is_second { self.second } else { 1.0 - self.second };
        let ahead = u32::from(is_second != (self.label == 1));
        Judged { class: is_second.into(), sure, ahead, ..self }
    }

    /// Whether its own class is the likeliest.
    pub fn is_right(&self) -> bool {
        self.label == self.class
    }
}

/// Whether the probability of the second of two classes is above a threshold, computed as an exported graph does.
pub(crate) fn is_above(second: f32, threshold: f64) -> bool {
    let threshold = threshold as f32;
    second * (1.0 - threshold) > (1.0 - second) * threshold
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

/// The logarithm of the probability that logits give a class.
pub(crate) fn log_probability_of(logits: &[f64], class: usize) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = logits.get(class).map_or(f64::NEG_INFINITY, |logit| logit - most);
    own - libm::log(logits.iter().map(|logit| libm::exp(logit - most)).sum())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judged_row_says_what_all_probabilities_say() {
        for outputs in [&[0.3f32][..], &[-2.0], &[0.5, 0.25], &[1.0, 3.0, 3.0, -1.0], &[f32::NAN, 1.0]] {
            let all = all_probabilities_of(outputs);
            for label in 0..all.len() {
                let judged = Judged::new(outputs, label as i64);
                let class = class_of(outputs);
                let bits = [judged.sure, judged.truth, judged.second].map(f32::to_bits);
                assert_eq!(bits, [all[class], all[label], all[1]].map(f32::to_bits), "{outputs:?}, {label}");
                let ahead =
                    (0..all.len()).filter(|&at| all[at] > all[label] || all[at] == all[label] && at < label);
                assert_eq!(judged.ahead as usize, ahead.count(), "{outputs:?}, {label}");
            }
        }
        assert_eq!(Judged::new(&[1.0, 2.0], 7).truth, 0.0);
    }
}
