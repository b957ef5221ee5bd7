//! What is looked at before a training begins: outputs for all classes, a weight for each.

use kiln_data::Dataset;
use kiln_map::counted;
use kiln_nn::Tensor;

use super::settings::ClassWeights;
use crate::{Error, Result};

/// A class beyond the outputs would have no place in the loss.
pub(super) fn check_outputs(sizes: &[usize], train: &dyn Dataset) -> Result<()> {
    let form = train.y();
    match (form.codes(), sizes) {
        // A single output tells two classes apart.
        (Some(classes), &[_, outputs]) if form.shape.is_empty() && outputs.max(2) < classes => {
            Err(Error::Training(format!(
                "the model has {} for {}; its last layer needs one for each",
                counted(outputs, "output"),
                counted(classes, "class")
            )))
        }
        (Some(pieces), &[_, outputs, ..]) if !form.shape.is_empty() && outputs < pieces => {
            Err(Error::Training(format!(
                "the model has {} on axis 1, where the loss looks for {}; its last layer needs one for each",
                counted(outputs, "output"),
                counted(pieces, "class")
            )))
        }
        _ => Ok(()),
    }
}

/// A weight for each class.
pub(super) fn weigh(weights: &ClassWeights, train: &dyn Dataset) -> Result<Tensor> {
    let Some(classes) = train.y().codes() else {
        return Err(Error::Training("class weights need classes as targets".to_string()));
    };
    let weights = match weights {
        ClassWeights::Given(weights) if weights.len() == classes => weights.clone(),
        ClassWeights::Given(weights) => {
            let count = weights.len();
            return Err(Error::Training(format!(
                "{} for {}",
                counted(count, "class weight"),
                counted(classes, "class")
            )));
        }
        ClassWeights::Balanced => {
            let labels = train.labels()?;
            let mut counts = vec![0usize; classes];
            for label in &labels {
                if let Some(count) = usize::try_from(*label).ok().and_then(|class| counts.get_mut(class)) {
                    *count += 1;
                }
            }
            // A class that never occurs weighs nothing in no row.
            let seen = counts.iter().filter(|count| **count > 0).count();
            counts.iter().map(|&count| labels.len() as f32 / (seen * count.max(1)) as f32).collect()
        }
    };
    Ok(Tensor::new(weights, [classes]))
}
