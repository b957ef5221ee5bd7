//! Sequences of differing lengths in one tensor: which of their steps are there. What stands behind a sequence's end changes no bit of what a
//! model says of it.

use kiln_ir::{DType, Error, ErrorKind, Result};

use super::{Context, TimeAxis};
use crate::tensor::Tensor;

/// How many of its steps each sequence of a batch has; the others are padding, behind them.
#[derive(Clone, Debug)]
pub struct Lengths {
    /// `i64[rows]`.
    lengths: Tensor,
    /// As many steps the tensors have.
    steps: usize,
    /// Where steps lie in what goes into the next layer.
    time: TimeAxis,
}

impl Lengths {
    /// Of codes `[rows, steps]`, of which those below 0 are padding. Vectors of them have their steps in axis 1.
    #[track_caller]
    pub(crate) fn of_codes(codes: &Tensor) -> Lengths {
        let lengths = codes.ge(0).cast(DType::I64).sum(1);
        Lengths { lengths, steps: codes.size(1), time: TimeAxis { axis: 1, rank: 3 } }
    }

    /// The same where steps lie elsewhere.
    pub(crate) fn moved(&self, time: TimeAxis) -> Lengths {
        Lengths { time, ..self.clone() }
    }

    /// Whether they can be those of `x`: not where codes come, with which sequences begin anew, or where another row of layers left them.
    pub(crate) fn are_of(&self, x: &Tensor) -> bool {
        x.dtype().is_float() && x.rank() == self.time.rank
    }

    /// Where steps lie.
    pub(crate) fn time(&self) -> TimeAxis {
        self.time
    }

    /// `i64[rows]`, at least 1.
    pub(crate) fn counts(&self) -> Tensor {
        self.lengths.ge(1).select(&self.lengths, 1i64)
    }

    /// Which steps are there: `[rows, 1, …, steps, …, 1]` with the steps in this axis of so many.
    #[track_caller]
    pub(crate) fn mask(&self, time: TimeAxis) -> Tensor {
        let mut sizes = vec![1isize; time.rank];
        (sizes[0], sizes[time.axis]) = (-1, self.steps as isize);
        self.here().reshape(sizes)
    }

    /// `bool[rows, steps]`.
    fn here(&self) -> Tensor {
        Tensor::index_along([self.lengths.size(0), self.steps], 1).lt(self.lengths.unsqueeze(1))
    }

    /// What has as many steps in this axis, with a number in place of what is padding.
    #[track_caller]
    pub(crate) fn filled(&self, x: &Tensor, axis: usize, with: f64) -> Result<Tensor> {
        self.fits(x, axis)?;
        Ok(self.mask(TimeAxis { axis, rank: x.rank() }).select(x, with))
    }

    /// What has steps in axis 1 with each sequence turned round in its place; twice is nothing.
    #[track_caller]
    pub(crate) fn turned(&self, x: &Tensor) -> Result<Tensor> {
        self.fits(x, 1)?;
        let places = Tensor::index_along([self.lengths.size(0), self.steps], 1);
        let turned = self.lengths.unsqueeze(1) - 1i64 - &places;
        let places = self.here().select(turned, places);
        let mut sizes = vec![1isize; x.rank()];
        (sizes[0], sizes[1]) = (-1, self.steps as isize);
        Ok(x.gather(1, &places.reshape(sizes).broadcast_to(x.shape())))
    }

    /// An error where something has another number of steps there.
    #[track_caller]
    pub(crate) fn fits(&self, x: &Tensor, axis: usize) -> Result<()> {
        let shape = x.sound()?.shape();
        match shape.get(axis) == Some(&self.steps) {
            true => Ok(()),
            false => Err(unpadded(format!("{shape} hasn't {} steps in axis {axis}", self.steps))),
        }
    }
}

impl Context {
    /// The lengths of the sequences that go through, where they differ.
    pub(crate) fn lengths(&self) -> Option<Lengths> {
        self.lengths.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// From now on sequences that go through have these lengths; none where there are no steps any more.
    pub(crate) fn set_lengths(&self, lengths: Option<Lengths>) {
        *self.lengths.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = lengths;
    }
}

/// That something can't be done to sequences of differing lengths.
#[track_caller]
pub(crate) fn unpadded(message: String) -> Error {
    Error::new(
        ErrorKind::Value,
        "padded",
        format!(
            "{message}; sequences behind `embedding … padded` differ in length, and a step may depend on no padding"
        ),
    )
}
