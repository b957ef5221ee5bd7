//! Parameters that are trained by rules of their own.

use kiln_ir::{Error, ErrorKind, Result};

use super::{Optimizer, Slot, Slots, Trained};
use crate::module::matches;
use crate::tensor::Tensor;
use kiln_map::nearest;

/// A rule for most parameters, and others for those whose paths match patterns (a star is any text; the first that matches
/// counts). A factor scales the learning rate, so that one schedule serves all.
///
/// ```
/// use kiln_nn::optim::{AdamW, Groups};
///
/// let optimizer = Groups::new(AdamW::new(1e-3))
///     .no_decay_on_biases_and_norms()
///     .slower("encoder.*", 0.1);
/// # let _ = optimizer;
/// ```
pub struct Groups {
    base: Box<dyn Optimizer>,
    groups: Vec<Group>,
    /// For parameters of one axis.
    vectors: Option<Box<dyn Optimizer>>,
}

struct Group {
    pattern: String,
    factor: f64,
    rule: Option<Box<dyn Optimizer>>,
}

impl Groups {
    /// A rule for all parameters that no pattern matches.
    pub fn new(base: impl Optimizer + 'static) -> Groups {
        Groups { base: Box::new(base), groups: Vec::new(), vectors: None }
    }

    /// Parameters whose paths match get the base rule at `factor` times the learning rate.
    pub fn slower(mut self, pattern: &str, factor: f64) -> Groups {
        self.groups.push(Group { pattern: pattern.to_string(), factor, rule: None });
        self
    }

    /// Parameters whose paths match get another rule. Its rate is kept in proportion to the base rule's.
    pub fn group(mut self, pattern: &str, rule: impl Optimizer + 'static) -> Groups {
        let factor = match self.base.rate() {
            0.0 => 1.0,
            rate => rule.rate() / rate,
        };
        self.groups.push(Group { pattern: pattern.to_string(), factor, rule: Some(Box::new(rule)) });
        self
    }

    /// Biases and the scales and shifts of norms (all that has one axis) aren't decayed.
    pub fn no_decay_on_biases_and_norms(mut self) -> Groups {
        self.vectors = self.base.without_decay();
        self
    }

    fn group_of(&self, path: &str) -> Option<&Group> {
        self.groups.iter().find(|group| matches(&group.pattern, path))
    }
}

impl Optimizer for Groups {
    fn rate(&self) -> f64 {
        self.base.rate()
    }

    fn update(&self, slot: &mut Slot, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        self.base.update(slot, parameter, gradient)
    }

    fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
        for Group { pattern, .. } in &self.groups {
            if !all.iter().any(|trained| matches(pattern, &trained.path)) {
                let near = nearest(pattern, all.iter().map(|trained| trained.path.as_str()));
                let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let message = format!("no trained parameter's path matches {pattern}{meant}");
                return Err(Error::new(ErrorKind::Value, "groups", message).nowhere());
            }
        }
        let update = |trained: &Trained| {
            let base = match &self.vectors {
                Some(vectors) if trained.parameter.rank() <= 1 => vectors,
                _ => &self.base,
            };
            match self.group_of(&trained.path) {
                Some(group) => slots.one(group.rule.as_ref().unwrap_or(base), trained, group.factor),
                None => slots.one(base, trained, 1.0),
            }
        };
        all.iter().map(update).collect()
    }
}
