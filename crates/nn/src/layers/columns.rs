//! Layers that look at rows in parts: at some of their numbers, and at a row as a sequence of steps.

use kiln_ir::{Error, ErrorKind, Result};

use super::Places;
use crate::layers::{Layer, only_back};
use crate::module::{Context, Module, TimeAxis, Visitor};
use crate::tensor::Tensor;

/// The numbers in some places of each row, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take(pub Places);

impl Module for Take {
    fn visit(&self, _: &mut Visitor) {}
}

impl Layer for Take {
    /// `[…, features]` to `[…, places]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        self.0.of_rows(x)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}

/// Rows as sequences: the last numbers of a row are those of its steps, `size` for each, and what stands before them is told to every step, behind
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSteps {
    /// How many steps there are.
    pub count: usize,
    /// How many numbers each has of its own.
    pub size: usize,
}

impl Module for RowSteps {
    fn visit(&self, _: &mut Visitor) {}
}

impl Layer for RowSteps {
    /// `[batch, shared + count · size]` to `[batch, count, size + shared]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        if x.error().is_some() {
            return x.clone();
        }
        let (width, own) = (x.size(-1), self.count * self.size);
        let Some(shared) = width.checked_sub(own).filter(|_| x.rank() == 2) else {
            let message = format!("{} steps of {} don't stand in {}", self.count, self.size, x.shape());
            return Error::new(ErrorKind::Shape, "steps", message).into();
        };
        let rows = x.size(0) as isize;
        let (count, size) = (self.count as isize, self.size as isize);
        let each = x.narrow(1, shared as isize, own).reshape([rows, count, size]);
        if shared == 0 {
            return each;
        }
        let told = x.narrow(1, 0, shared).unsqueeze(1).broadcast_to([x.size(0), self.count, shared]);
        Tensor::concat(&[each, told], -1)
    }
}
