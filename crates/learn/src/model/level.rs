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
        let parts = self.parts();
        let mut sums = vec![[0.0; 2]; parts.len()];
        let is_log = |meaning: &PartMeaning| match meaning {
            PartMeaning::Number { unit, interval: None } => matches!(unit.curve, Curve::Log { .. }),
            PartMeaning::Number { interval: Some(_), .. } | PartMeaning::Classes(_) => false,
        };
        let is_any = parts.iter().any(|part| is_log(&part.meaning));
        if is_any && rows.len() >= LEAST {
            model.predict_each(rows, |batch, outputs| {
                let width = outputs.len() / batch.rows().max(1);
                for (row, outputs) in outputs.chunks(width.max(1)).enumerate() {
                    for (at, (part, sums)) in parts.iter().zip(&mut sums).enumerate() {
                        let Some(unit) = part.meaning.unit() else { continue };
                        let truth = batch.y.get(row * parts.len() + at).unwrap_or(0.0);
                        let own = outputs.get(part.outputs.clone()).unwrap_or_default();
                        *sums = [sums[0] + unit.truth(truth), sums[1] + number_of(own, &unit).0];
                    }
                }
                Ok(())
            })?;
        }
        let factor = |(part, [truth, said]): (&TaskPart, &[f64; 2])| match is_log(&part.meaning)
            && *truth > 0.0
            && *said > 0.0
        {
            true => (truth / said).clamp(FACTORS[0], FACTORS[1]),
            false => 1.0,
        };
        Ok(parts.iter().zip(&sums).map(factor).collect())
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
