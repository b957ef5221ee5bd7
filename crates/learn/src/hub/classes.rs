//! What logits of classes say.

use std::sync::Arc;

use super::encoder::config::ClassMeaning;
use crate::predictions::{all_probabilities_of, class_of};
use crate::predictor::Prediction;

/// What a row's logits say.
pub(super) fn said(logits: &[f32], names: &Arc<[String]>, meaning: ClassMeaning) -> Prediction {
    let names = names.clone();
    let classes = |probabilities: Vec<f32>| Prediction::Classes {
        class: class_of(&probabilities),
        set: None,
        names: names.clone(),
        probabilities,
    };
    match meaning {
        // A single logit of several would be a softmax of one.
        ClassMeaning::One if logits.len() > 1 => classes(all_probabilities_of(logits)),
        ClassMeaning::Each => classes(logits.iter().map(|logit| 1.0 / (1.0 + libm::expf(-logit))).collect()),
        ClassMeaning::One | ClassMeaning::Numbers => {
            let numbers = logits.iter().map(|&number| f64::from(number)).collect();
            Prediction::Numbers { numbers, names, bounds: Vec::new() }
        }
    }
}
