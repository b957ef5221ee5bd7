//! Predictions of numbers that are learned by their logarithms, lifted to the right mean.

use kiln_data::{Curve, Dataset, TargetColumn};

use super::{About, Model, PartMeaning, Task, TaskPart, number_of};
use crate::Result;
use crate::preparation::Preparation;

/// Fewer rows than this don't tell what the mean is.
const LEAST: usize = 20;

/// A factor beyond these says more of single rows than of a model.
const FACTORS: [f64; 2] = [0.5, 2.0];

impl Task {
    /// What the predictions of each target that is learned by its logarithm are to be multiplied by, so that their mean over these rows is right:
    /// the exponential of a mean logarithm is the middle of what may come, below its mean. 1 for all others.
    ///
    /// # Errors
    /// Where the model doesn't take the rows.
    pub fn levels(&self, model: &Model, rows: &dyn Dataset) -> Result<Vec<f64>> {
        let (targets, mut truths, mut said) = (rows.y().width(), Vec::new(), Vec::new());
        if self.parts().iter().any(is_log) {
            model.predict_each(rows, |batch, outputs| {
                truths.extend((0..batch.rows() * targets).map(|at| batch.y.get(at).unwrap_or(0.0)));
                said.extend_from_slice(outputs);
                Ok(())
            })?;
        }
        Ok(self.levels_of(&said, &truths))
    }

    /// As [`Task::levels`], of what was said of rows, `[rows, outputs]`, and what was right, `[rows, targets]`.
    pub fn levels_of(&self, outputs: &[f32], truths: &[f64]) -> Vec<f64> {
        let parts = self.parts();
        let rows = truths.len() / parts.len().max(1);
        let width = outputs.len() / rows.max(1);
        let factor = |(at, part): (usize, &TaskPart)| {
            let Some(unit) = part.meaning.unit().filter(|_| is_log(part) && rows >= LEAST) else {
                return 1.0;
            };
            let truth: f64 =
                truths.iter().skip(at).step_by(parts.len()).map(|truth| unit.truth(*truth)).sum();
            let own = outputs.chunks(width.max(1)).filter_map(|row| row.get(part.outputs.clone()));
            let said: f64 = own.map(|outputs| number_of(outputs, &unit).0).sum();
            let is_known = truth > 0.0 && said > 0.0 && said.is_finite();
            if is_known { (truth / said).clamp(FACTORS[0], FACTORS[1]) } else { 1.0 }
        };
        parts.iter().enumerate().map(factor).collect()
    }

    /// The same with the predictions of each target multiplied by as much.
    fn levelled(self, factors: &[f64]) -> Task {
        match self {
            Task::Numbers { names, scale, offset, mut curves, interval } => {
                curves.iter_mut().zip(factors).for_each(|(curve, factor)| lift(curve, *factor));
                Task::Numbers { names, scale, offset, curves, interval }
            }
            Task::Several { mut targets } => {
                for (target, factor) in targets.iter_mut().zip(factors) {
                    let plain = Task::Text { pieces: 0 };
                    target.task = std::mem::replace(&mut target.task, plain).levelled(&[*factor]);
                }
                Task::Several { targets }
            }
            Task::Classes { .. } | Task::Tags { .. } | Task::Text { .. } => self,
        }
    }
}

impl About {
    /// The same with the predictions of each target multiplied by as much; see [`Task::levels`].
    pub fn levelled(mut self, factors: &[f64]) -> About {
        self.task = self.task.levelled(factors);
        if let Preparation::Table(plan) = &mut self.preparation
            && let Some(target) = plan.target().cloned()
        {
            **plan = plan.as_ref().clone().with_target(target_levelled(target, factors));
        }
        self
    }
}

/// Whether a number is learned by its logarithm, and its mean predicted.
fn is_log(part: &TaskPart) -> bool {
    match part.meaning {
        PartMeaning::Number { unit, interval: None } => matches!(unit.curve, Curve::Log { .. }),
        PartMeaning::Number { interval: Some(_), .. } | PartMeaning::Classes(_) => false,
    }
}

fn lift(curve: &mut Curve, by: f64) {
    if let Curve::Log { factor, .. } = curve {
        *factor *= by;
    }
}

/// As [`Task::levelled`], of a prepared table's target.
fn target_levelled(target: TargetColumn, factors: &[f64]) -> TargetColumn {
    let first = factors.first().copied().unwrap_or(1.0);
    match target {
        TargetColumn::Number { column, mean, deviation, mut curve, interval } => {
            lift(&mut curve, first);
            TargetColumn::Number { column, mean, deviation, curve, interval }
        }
        TargetColumn::Numbers { mut columns } => {
            columns.iter_mut().zip(factors).for_each(|(column, factor)| lift(&mut column.curve, *factor));
            TargetColumn::Numbers { columns }
        }
        TargetColumn::Several { mut columns } => {
            for (one, factor) in columns.iter_mut().zip(factors) {
                one.target = target_levelled(one.target.clone(), &[*factor]);
            }
            TargetColumn::Several { columns }
        }
        TargetColumn::Classes { .. } | TargetColumn::Labels { .. } => target,
    }
}
