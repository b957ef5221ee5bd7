//! A model's loss and metrics on a set, batch by batch, with the same meaning however the batches are cut.

use kiln_map::counted;
use std::fmt;
use std::sync::Arc;

use kiln_data::Dataset;
use kiln_nn::loss::Loss;
use kiln_nn::metrics::{Figure, Metric};
use kiln_nn::module::named;
use kiln_nn::{Context, Function, Layer, Module};

use super::method::{Goal, number, plain_goal};
use super::metrics::{Asked, Metrics};
use super::objective::Shown;
use super::rows::RowLayout;
use crate::inputs::{all, each_batch, each_in_any_order};
use crate::predictions::Predictions;
use crate::{Error, Result};

/// The loss and metrics on a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    numbers: Vec<(String, f64)>,
    rows: usize,
}

impl Evaluation {
    pub(super) fn new(numbers: Vec<(String, f64)>, rows: usize) -> Evaluation {
        Evaluation { numbers, rows }
    }

    /// A number by its name: `loss`, or a metric's.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }

    /// All of them, the loss first.
    pub fn numbers(&self) -> &[(String, f64)] {
        &self.numbers
    }

    /// How many rows were looked at.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> =
            self.numbers.iter().map(|(name, number)| format!("{name} {number:.4}")).collect();
        write!(f, "{} ({})", numbers.join("  "), counted(self.rows, "row"))
    }
}

/// Evaluates a model on sets of one form. Programs are kept from one time to the next.
pub(super) struct Evaluator<'s> {
    function: Function<'s>,
    shown: Shown,
    metrics: Metrics,
    batch_size: usize,
}

/// A model's mean loss on a set.
///
/// # Errors
/// Where the set doesn't fit the model, or a row can't be read.
pub fn mean_loss<'a>(
    model: &'a dyn Layer,
    loss: impl Loss + 'a,
    set: &dyn Dataset,
    batch_size: usize,
) -> Result<f64> {
    let goal = plain_goal(Arc::new(loss));
    let numbers = Evaluator::new(&model, goal, set, batch_size, &[])?.run(set)?;
    Ok(numbers.first().map_or(f64::NAN, |(_, loss)| *loss))
}

/// A model's loss on a set, and metrics by name.
pub(crate) fn evaluate<'n>(
    model: &dyn Layer,
    loss: impl Loss,
    set: &dyn Dataset,
    metrics: impl IntoIterator<Item = &'n str>,
) -> Result<Evaluation> {
    let asked = metrics.into_iter().map(|name| {
        let metric: Box<dyn Metric> = Box::new(name.parse::<Figure>()?);
        Ok(Asked { output: None, metric })
    });
    let asked = asked.collect::<Result<Vec<_>>>()?;
    let goal = plain_goal(Arc::new(loss));
    let numbers = Evaluator::new(&model, goal, set, 256, &asked)?.run(set)?;
    Ok(Evaluation::new(numbers, set.len()))
}

impl<'s> Evaluator<'s> {
    pub(super) fn new<'a: 's, M: Module>(
        model: &'s M,
        goal: Arc<Goal<'a, M>>,
        set: &dyn Dataset,
        batch_size: usize,
        asked: &[Asked],
    ) -> Result<Evaluator<'s>> {
        let layout = RowLayout::of(set);
        let shown = goal(model, &Context::inference(), &layout.blank()).shown(&layout)?;
        let metrics = Metrics::new(asked, &shown, &layout, &loss_names(&shown))?;
        let (known, outputs) = (shown.clone(), metrics.outputs.clone());
        let function = Function::many(move |inputs| {
            let rows = layout.rows(inputs, None);
            let objective = named(model, || goal(model, &Context::inference(), &rows));
            if let Err(error) = objective.shown(&layout).and_then(|shown| shown.same_as(&known)) {
                return vec![error.into()];
            }
            let mut results = objective.totals(&rows);
            results.extend(objective.outputs(&outputs));
            results
        });
        Ok(Evaluator { function, shown, metrics, batch_size })
    }

    /// The loss, single losses where there are several, and metrics.
    pub(super) fn run(&mut self, set: &dyn Dataset) -> Result<Vec<(String, f64)>> {
        let Evaluator { function, shown, metrics, batch_size } = self;
        metrics.reset();
        let mut totals = vec![(0.0, 0.0); shown.losses.len()];
        each_in_any_order(set, *batch_size, |batch| {
            let out = function.run(all(batch).as_slice())?;
            let (sums, outputs) = out.split_at(2 * totals.len());
            for ((sum, count), one) in totals.iter_mut().zip(sums.chunks(2)) {
                *sum += number(&one[0]);
                *count += number(&one[1]);
            }
            metrics.update(batch, outputs)
        })?;
        let means: Vec<f64> = totals.iter().map(|(sum, count)| sum / count).collect();
        let weighed = means.iter().zip(&shown.losses).map(|(mean, (_, weight))| match weight {
            1.0 => *mean,
            weight => mean * weight,
        });
        let loss = weighed.reduce(|sum, loss| sum + loss).unwrap_or(f64::NAN);
        let mut numbers = vec![("loss".to_string(), loss)];
        numbers.extend(loss_names(shown).into_iter().zip(means));
        numbers.extend(metrics.numbers());
        Ok(numbers)
    }
}

/// What the numbers of single losses are called, where there are several.
pub(super) fn loss_names(shown: &Shown) -> Vec<String> {
    let several = shown.losses.len() > 1;
    shown.losses.iter().filter(|_| several).map(|(name, _)| format!("{name}.loss")).collect()
}

/// Every output of an objective for every row of a set, by name.
pub(super) fn outputs<M: Module>(
    model: &M,
    goal: &Goal<M>,
    set: &dyn Dataset,
    batch_size: usize,
) -> Result<Vec<(String, Predictions)>> {
    let layout = RowLayout::of(set);
    let shown = goal(model, &Context::inference(), &layout.blank()).shown(&layout)?;
    if shown.outputs.is_empty() {
        let message = "the objective names no output; Objective::output does";
        return Err(Error::Training(message.to_string()));
    }
    let wanted: Vec<usize> = (0..shown.outputs.len()).collect();
    let mut function = Function::many(|inputs| {
        let rows = layout.rows(inputs, None);
        named(model, || goal(model, &Context::inference(), &rows)).outputs(&wanted)
    });
    let mut numbers = vec![Vec::new(); wanted.len()];
    each_batch(set, batch_size, |batch| {
        let out = function.run(all(batch).as_slice())?;
        for (numbers, out) in numbers.iter_mut().zip(out) {
            numbers.extend_from_slice(out.as_slice::<f32>().unwrap_or_default());
        }
        Ok(())
    })?;
    drop(function);
    let named = shown.outputs.into_iter().zip(numbers);
    Ok(named.map(|(output, numbers)| (output.name, Predictions::new(numbers, set.len()))).collect())
}
