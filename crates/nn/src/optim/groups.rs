//! Parameters that are trained by rules of their own.

use std::collections::BTreeMap;

use kiln_ir::{Error, ErrorKind, Result};

use super::{Optimizer, ParameterSlots, Slots, Trained};
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
    /// How many steps go by before it begins.
    wait: u64,
    rule: Option<Box<dyn Optimizer>>,
}

impl Groups {
    /// A rule for all parameters that no pattern matches.
    pub fn new(base: impl Optimizer + 'static) -> Groups {
        Groups { base: Box::new(base), groups: Vec::new(), vectors: None }
    }

    /// Parameters whose paths match get the base rule at `factor` times the learning rate.
    pub fn slower(self, pattern: &str, factor: f64) -> Groups {
        self.later(pattern, factor, 0)
    }

    /// Parameters whose paths match stay as they are for so many steps (that change weights), and then get the base rule at `factor` times the learning
    /// rate: layers that thaw one after the other.
    pub fn later(mut self, pattern: &str, factor: f64, steps: u64) -> Groups {
        self.groups.push(Group { pattern: pattern.to_string(), factor, wait: steps, rule: None });
        self
    }

    /// Parameters whose paths match get another rule. Its rate is kept in proportion to the base rule's. A rule that looks at all
    /// parameters together ([`Lbfgs`](super::Lbfgs)) looks at those of its group.
    pub fn group(mut self, pattern: &str, rule: impl Optimizer + 'static) -> Groups {
        let factor = match self.base.rate() {
            0.0 => 1.0,
            rate => rule.rate() / rate,
        };
        self.groups.push(Group { pattern: pattern.to_string(), factor, wait: 0, rule: Some(Box::new(rule)) });
        self
    }

    /// Biases and the scales and shifts of norms (all that has one axis) aren't decayed.
    pub fn no_decay_on_biases_and_norms(mut self) -> Groups {
        self.vectors = self.base.without_decay();
        self
    }

    /// Which of the groups a path is in.
    fn group_of(&self, path: &str) -> Option<usize> {
        self.groups.iter().position(|group| matches(&group.pattern, path))
    }

    /// Which rule is for a parameter: by its group, and whether it is the one for those of one axis.
    fn rule_of(&self, trained: &Trained) -> (Option<usize>, bool) {
        let group = self.group_of(&trained.path);
        let own = group.is_some_and(|group| self.groups[group].rule.is_some());
        (group, !own && self.vectors.is_some() && trained.parameter.rank() <= 1)
    }
}

impl Optimizer for Groups {
    fn rate(&self) -> f64 {
        self.base.rate()
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        self.base.update(slots, parameter, gradient)
    }

    /// Each rule gets all parameters that it is for together.
    fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
        for Group { pattern, .. } in &self.groups {
            if !all.iter().any(|trained| matches(pattern, &trained.path)) {
                let near = nearest(pattern, all.iter().map(|trained| trained.path.as_str()));
                let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let message = format!("no trained parameter's path matches {pattern}{meant}");
                return Err(Error::new(ErrorKind::Value, "groups", message).nowhere());
            }
        }
        let mut parts: BTreeMap<(Option<usize>, bool), Vec<usize>> = BTreeMap::new();
        for (position, trained) in all.iter().enumerate() {
            parts.entry(self.rule_of(trained)).or_default().push(position);
        }
        let mut values: Vec<Option<Tensor>> = vec![None; all.len()];
        for ((group, vector), positions) in parts {
            let group = group.map(|group| &self.groups[group]);
            let base = self.vectors.as_ref().filter(|_| vector).unwrap_or(&self.base);
            let rule = group.and_then(|group| group.rule.as_ref()).unwrap_or(base);
            let (factor, wait) = group.map_or((1.0, 0), |group| (group.factor, group.wait));
            let mut name = group.map_or(String::new(), |group| group.pattern.clone());
            if vector {
                name.push_str(" of one axis");
            }
            let own: Vec<Trained> = positions.iter().map(|&position| all[position].clone()).collect();
            let new = slots.grouped(&name, (factor, wait), |slots| rule.update_all(slots, &own))?;
            for (position, value) in positions.into_iter().zip(new) {
                values[position] = Some(value);
            }
        }
        // A rule that gives too few values is its caller's to notice.
        Ok(values.into_iter().flatten().collect())
    }
}
