//! From batches on the host to inputs of a step: the numbers stay where they are, in the type they have.

use kiln_data::{Batch, Batching, Cursor, Dataset, Form, Meaning, Order, Prefetch, ValueKind, Values};
use kiln_nn::{DType, Input, Tensor};
use smallvec::SmallVec;

use crate::Result;

/// A batch as the inputs of a step.
pub trait Inputs {
    /// Inputs and targets, borrowed.
    fn inputs(&self) -> [Input<'_>; 2];
}

impl Inputs for Batch {
    fn inputs(&self) -> [Input<'_>; 2] {
        [input(&self.x, self.x_shape()), input(&self.y, self.y_shape())]
    }
}

/// Everything that a batch has as the inputs of a step: x, y, what is further there, and the weights of rows where they have some.
/// A few lie where they are, so that a step allocates nothing.
pub(crate) fn all(batch: &Batch) -> SmallVec<[Input<'_>; 4]> {
    let further =
        batch.further.iter().zip(batch.further_shapes()).map(|(values, shape)| input(values, shape));
    let weights = (!batch.weights.is_empty()).then(|| Input::new(&batch.weights, &[batch.rows()]));
    batch.inputs().into_iter().chain(further).chain(weights).collect()
}

pub(crate) fn input<'a>(values: &'a Values, shape: &[usize]) -> Input<'a> {
    kiln_data::each_values!(values, values => Input::new(values, shape))
}

/// A batch's numbers as a model takes them: amounts as scaled `f32`, codes as they are.
pub(crate) fn meant(x: &Tensor, form: &Form) -> Tensor {
    match form.meaning {
        Meaning::Codes { .. } => x.clone(),
        Meaning::Numbers { scale: 1.0 } => x.cast(DType::F32),
        Meaning::Numbers { scale } => x.cast(DType::F32) * scale,
    }
}

/// The type a model takes inputs of this form in: amounts as `f32`, codes as whole numbers.
pub fn dtype(form: &Form) -> DType {
    if form.codes().is_some() { DType::I64 } else { DType::F32 }
}

/// The type in which a form's numbers come, before they mean anything: bytes of pixels are bytes.
pub fn stored_dtype(form: &Form) -> DType {
    match form.kind {
        ValueKind::U8 => DType::U8,
        ValueKind::U16 => DType::U16,
        ValueKind::I64 => DType::I64,
        ValueKind::F16 => DType::F16,
        ValueKind::F32 => DType::F32,
    }
}

/// Inputs of zeros, as a model takes inputs of this form.
pub(crate) fn blank_of(form: &Form, shape: Vec<usize>) -> Tensor {
    Tensor::zeros(shape).cast(dtype(form))
}

/// Inputs of zeros of so many rows, as a model takes a set's.
pub(crate) fn blank(set: &(impl Dataset + ?Sized), rows: usize) -> Tensor {
    let form = set.x();
    let shape = std::iter::once(rows).chain(form.shape.iter().copied()).collect();
    blank_of(&form, shape)
}

/// Calls `f` with every batch of a set in turn, each prepared while the one before it is computed with.
pub(crate) fn each_batch(
    set: &dyn Dataset,
    batch_size: usize,
    f: impl FnMut(&Batch) -> Result<()>,
) -> Result<()> {
    each_of(set, Batching::new(batch_size), f)
}

/// The same in any order: sequences of like lengths come together.
pub(crate) fn each_in_any_order(
    set: &dyn Dataset,
    batch_size: usize,
    f: impl FnMut(&Batch) -> Result<()>,
) -> Result<()> {
    let order = if set.has_lengths() { Order::Shuffled } else { Order::InTurn };
    each_of(set, Batching { order, ..Batching::new(batch_size) }, f)
}

fn each_of(set: &dyn Dataset, batching: Batching, mut f: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
    if set.is_empty() {
        return Ok(());
    }
    std::thread::scope(|scope| {
        let (start, end) = (Cursor::default(), Cursor { epoch: 1, batch: 0 });
        let mut batches = Prefetch::start(scope, set, batching, start, end)?;
        while let Some(batch) = batches.next()? {
            f(batch)?;
        }
        Ok(())
    })
}
