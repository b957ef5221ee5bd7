//! Fine-tuning by depth: layers near the input, which know what any image or text is made of, change less than those near the output, or later.

use anyhow::Result;
use kiln_learn::Tensor;
use kiln_learn::depth::ordered;
use kiln_learn::model::dtype;
use kiln_learn::optim::{Groups, Optimizer};
use kiln_learn::prelude::*;

use crate::out::counted;
use crate::settings::Settings;

/// How layers further from the output are trained.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ByDepth {
    /// A layer's rate as a share of that of the layer behind it.
    pub(super) decay: Option<f64>,
    /// After how many changes of the weights the layer in front of those that are trained joins them.
    pub(super) thaws_every: Option<u64>,
}

/// The layer that a parameter is of: its path up to the first number, or all of it but its own name.
fn layer_of(path: &str) -> &str {
    let mut end = 0;
    for part in path.split('.') {
        end += part.len();
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            return &path[..end];
        }
        end += 1;
    }
    path.rsplit_once('.').map_or(path, |(layer, _)| layer)
}

/// A row of zeros as a model takes a set's.
fn blank(set: &dyn Dataset) -> Tensor {
    let form = set.x();
    let shape: Vec<usize> = std::iter::once(1).chain(form.shape.iter().copied()).collect();
    Tensor::zeros(shape).cast(dtype(&form))
}

/// How long the beginning is that all paths have in common, in whole parts: a network of a file is itself a layer of a row.
fn common(paths: &[String]) -> usize {
    let Some(first) = paths.first() else { return 0 };
    let ends = first.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at + 1);
    let is_of_all = |end: &usize| paths.iter().all(|path| path.get(..*end) == first.get(..*end));
    ends.take_while(is_of_all).last().unwrap_or(0)
}

/// The trained parameters of a model by layers, from the input to the output.
fn layers(model: &dyn Layer, x: &Tensor) -> Result<Vec<Vec<String>>> {
    let trained = ordered(model, x)?.into_iter().filter(|(_, param)| !param.is_frozen());
    let paths: Vec<String> = trained.map(|(path, _)| path).collect();
    let start = common(&paths);
    let mut layers: Vec<(String, Vec<String>)> = Vec::new();
    for path in paths {
        let layer = layer_of(&path[start..]).to_string();
        match layers.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, paths)) => paths.push(path),
            None => layers.push((layer, vec![path])),
        }
    }
    Ok(layers.into_iter().map(|(_, paths)| paths).collect())
}

impl ByDepth {
    /// As the settings say, of a training on this set in batches of so many rows.
    pub(super) fn of(settings: &Settings, train: &dyn Dataset, batch_size: usize) -> ByDepth {
        let batches = train.len().div_ceil(batch_size.max(1)) as u64;
        let updates = batches.div_ceil(settings.accumulate.map_or(1, |batches| batches.0.max(1) as u64));
        ByDepth {
            decay: settings.layer_decay.map(|share| share.0),
            thaws_every: settings.unfreeze_every.map(|epochs| (epochs.0 as u64).saturating_mul(updates)),
        }
    }

    /// Whether all layers are trained alike.
    pub(super) fn is_even(&self) -> bool {
        self.decay.is_none() && self.thaws_every.is_none()
    }

    /// What it comes to, for people.
    pub(super) fn said(&self, model: &dyn Layer, train: &dyn Dataset) -> Result<String> {
        let count = layers(model, &blank(train))?.len();
        let furthest = count.saturating_sub(1);
        let mut said = counted(count, "layer");
        if let Some(decay) = self.decay {
            let least = libm::pow(decay, furthest as f64);
            said += &format!(", whose rates fall to {least:.3} of the last one's");
        }
        if let Some(every) = self.thaws_every {
            said += &format!(", of which the first is trained from step {} on", furthest as u64 * every + 1);
        }
        Ok(said)
    }

    /// The rule with each layer's rate and beginning.
    pub(super) fn rule(
        &self,
        rule: Box<dyn Optimizer>,
        model: &dyn Layer,
        train: &dyn Dataset,
    ) -> Result<Box<dyn Optimizer>> {
        if self.is_even() {
            return Ok(rule);
        }
        let mut groups = Groups::new(rule);
        for (behind, paths) in layers(model, &blank(train))?.into_iter().rev().enumerate() {
            let factor = self.decay.map_or(1.0, |decay| libm::pow(decay, behind as f64));
            let wait = self.thaws_every.map_or(0, |every| every.saturating_mul(behind as u64));
            for path in paths {
                groups = groups.later(&path, factor, wait);
            }
        }
        Ok(Box::new(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_the_path_up_to_its_first_number() {
        let cases = [
            ("0.weight", "0"),
            ("layer4.1.conv2.weight", "layer4.1"),
            ("conv1.weight", "conv1"),
            ("encoder.layer.11.attention.self.query.bias", "encoder.layer.11"),
            ("onnx::Conv_193", "onnx::Conv_193"),
        ];
        for (path, layer) in cases {
            assert_eq!(layer_of(path), layer);
        }
        let paths = ["0.conv1.weight", "0.conv1.bias", "0.fc.weight"].map(String::from);
        assert_eq!((common(&paths), common(&paths[..1]), common(&[])), (2, 8, 0));
    }
}
