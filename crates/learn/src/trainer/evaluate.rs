//! A model's loss and metrics on a set, batch by batch, with the same meaning however the batches are cut.

use std::sync::Arc;

use kiln_data::{Batching, Cursor, Dataset, Form, Prefetch, Values};
use kiln_nn::loss::{Loss, total};
use kiln_nn::metrics::{Metric, Seen, Targets};
use kiln_nn::{Context, DType, Data, Function, Layer, Tensor};

use crate::Result;
use crate::inputs::{all, meant};

/// Evaluates a model on sets of one form. Programs are kept from one time to the next.
pub(super) trait Evaluate {
    /// The mean loss; metrics take what they see.
    fn run(&mut self, set: &dyn Dataset, metrics: &mut [Metric]) -> Result<f64>;
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
    evaluator(model, Arc::new(loss), set, batch_size).run(set, &mut [])
}

/// For sets with weights, or without.
pub(super) fn evaluator<'a>(
    model: &'a dyn Layer,
    loss: Arc<dyn Loss + 'a>,
    set: &dyn Dataset,
    batch_size: usize,
) -> Box<dyn Evaluate + 'a> {
    match set.is_weighted() {
        true => Box::new(Evaluator::<3>::new(model, loss, set, batch_size)),
        false => Box::new(Evaluator::<2>::new(model, loss, set, batch_size)),
    }
}

struct Evaluator<'a, const N: usize> {
    function: Function<'a, N>,
    truth: Truth,
    batch_size: usize,
}

impl<'a, const N: usize> Evaluator<'a, N> {
    fn new(model: &'a dyn Layer, loss: Arc<dyn Loss + 'a>, set: &dyn Dataset, batch_size: usize) -> Self {
        let (x_form, y_form) = (set.x(), set.y());
        let truth = Truth::new(&y_form);
        let function = Function::new(move |inputs: [Tensor; N]| {
            let prediction = model.forward(&meant(&inputs[0], &x_form), &Context::inference());
            let target = target(&inputs[1], &y_form, &prediction);
            let rows = inputs[0].shape()[0];
            let [sum, count] = total(&loss.each(&prediction, &target), inputs.get(2), rows);
            vec![sum, count, prediction.cast(DType::F32)]
        });
        Evaluator { function, truth, batch_size }
    }
}

impl<const N: usize> Evaluate for Evaluator<'_, N> {
    fn run(&mut self, set: &dyn Dataset, metrics: &mut [Metric]) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        each_batch(set, self.batch_size, |batch| {
            let out = self.function.run(all::<N>(batch))?;
            let number = |at: usize| out[at].get(0).map_or(f64::NAN, |number| number.as_f64());
            sum += number(0);
            count += number(1);
            self.truth.take(&batch.y);
            self.truth.show(&out[2], batch.rows(), metrics)
        })?;
        Ok(sum / count)
    }
}

/// Calls `f` with every batch of a set in turn, each prepared while the one before it is computed with.
pub(super) fn each_batch(
    set: &dyn Dataset,
    batch_size: usize,
    mut f: impl FnMut(&kiln_data::Batch) -> Result<()>,
) -> Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    std::thread::scope(|scope| {
        let (start, end) = (Cursor::default(), Cursor { epoch: 1, batch: 0 });
        let mut batches = Prefetch::start(scope, set, Batching::new(batch_size), start, end)?;
        while let Some(batch) = batches.next()? {
            f(batch)?;
        }
        Ok(())
    })
}

/// A batch's targets as the loss takes them: one number beside each prediction where the model has one output.
pub(super) fn target(y: &Tensor, form: &Form, prediction: &Tensor) -> Tensor {
    let y = meant(y, form);
    let (shape, given) = (prediction.shape(), y.shape());
    let column = shape.rank() == given.rank() + 1 && shape.iter().next_back() == Some(&1);
    if column && prediction.error().is_none() { y.cast(DType::F32).unsqueeze(-1) } else { y }
}

/// The targets of a batch as metrics see them, in room that is kept.
pub(super) struct Truth {
    scale: f32,
    classes: Vec<i64>,
    numbers: Vec<f32>,
    codes: bool,
}

impl Truth {
    pub(super) fn new(form: &Form) -> Truth {
        let scale = match form.meaning {
            kiln_data::Meaning::Numbers { scale } => scale,
            kiln_data::Meaning::Codes { .. } => 1.0,
        };
        Truth { scale, classes: Vec::new(), numbers: Vec::new(), codes: form.codes().is_some() }
    }

    /// The targets of this batch.
    pub(super) fn take(&mut self, y: &Values) {
        self.classes.clear();
        self.numbers.clear();
        let numbers = (0..y.len()).filter_map(|at| y.get(at)).map(|number| number * f64::from(self.scale));
        if self.codes {
            self.classes.extend(numbers.clone().map(|number| number as i64));
        } else if numbers.clone().all(|number| number.fract() == 0.0) {
            // 0 and 1 as numbers are classes too, for a metric that asks for them.
            self.classes.extend(numbers.clone().map(|number| number as i64));
        }
        self.numbers.extend(numbers.map(|number| number as f32));
    }

    /// Shows a batch's outputs to metrics.
    pub(super) fn show(&self, outputs: &Data, rows: usize, metrics: &mut [Metric]) -> Result<()> {
        let outputs = outputs.as_slice::<f32>().unwrap_or_default();
        for metric in metrics {
            let (targets, count) = match metric.is_of_classes() && !self.classes.is_empty() {
                true => (Targets::Classes(&self.classes), self.classes.len()),
                false => (Targets::Numbers(&self.numbers), rows),
            };
            metric.update(&Seen { outputs, width: outputs.len() / count.max(1), targets })?;
        }
        Ok(())
    }
}
