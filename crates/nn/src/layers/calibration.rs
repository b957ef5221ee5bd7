//! The end of a model whose outputs were put right after its training, on rows that it hadn't learned from. Training leaves it as it is.

use kiln_ir::{DType, Data, Error, ErrorKind, Result, Shape};

use crate::budget::spend;
use crate::layers::{Layer, only_back};
use crate::module::{Context, Module, TimeAxis, Visitor};
use crate::runtime::room;
use crate::tensor::Tensor;
use crate::variable::Variable;

/// Each number times a factor of its own, plus a shift: temperatures of logits, and how far the bounds of intervals are moved.
#[derive(Clone, Debug)]
pub struct Calibrate {
    /// `[features]`, at first 1.
    pub factor: Variable,
    /// `[features]`, at first 0.
    pub shift: Variable,
}

impl Module for Calibrate {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.state("factor", &self.factor);
        visitor.state("shift", &self.shift);
    }
}

/// Takes two states of a shape from what a file's layers may hold.
fn both_afforded(shape: &Shape) -> Result<()> {
    for _ in 0..2 {
        room(shape, DType::F32)?;
        spend(shape);
    }
    Ok(())
}

impl Calibrate {
    /// Of so many features, at first as they are.
    ///
    /// # Errors
    /// Where there are more than a file or the memory has room for.
    pub fn new(features: usize) -> Result<Calibrate> {
        let shape = Shape::from([features]);
        both_afforded(&shape)?;
        Ok(Calibrate {
            factor: Variable::filled("", 1f32, shape.clone()),
            shift: Variable::filled("", 0f32, shape),
        })
    }
}

impl Layer for Calibrate {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x * self.factor.tensor() + self.shift.tensor()
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}

/// How far each number is above the first (a single one: as it is), bent by a line that rises from corner to corner and is level outside of
/// them: isotonic calibration of logits.
#[derive(Clone, Debug)]
pub struct Isotonic {
    /// `[features, corners]`, ascending: where the corners are,
    pub corners: Variable,
    /// `[features, corners]`: and how high.
    pub heights: Variable,
}

impl Module for Isotonic {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.state("corners", &self.corners);
        visitor.state("heights", &self.heights);
    }
}

/// More corners than this say nothing more.
const MOST: usize = 4096;

impl Isotonic {
    /// A line of so many corners for each feature, which at first changes nothing between −10 and 10.
    ///
    /// # Errors
    /// Where there are fewer than two corners, or more than anybody has rows for.
    #[track_caller]
    pub fn new(features: usize, corners: usize) -> Result<Isotonic> {
        if !(2..=MOST).contains(&corners) {
            let message = format!("{corners} corners; there are 2 to {MOST}");
            return Err(Error::new(ErrorKind::Value, "isotonic", message));
        }
        let shape = Shape::from([features, corners]);
        both_afforded(&shape)?;
        let line = (0..corners).map(|at| 20.0 * at as f32 / (corners - 1) as f32 - 10.0);
        let line = line.collect::<Vec<f32>>().repeat(features);
        Ok(Isotonic {
            corners: Variable::new("", Data::F32(line.clone()), shape.clone())?,
            heights: Variable::new("", Data::F32(line), shape)?,
        })
    }
}

impl Layer for Isotonic {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (corners, heights) = (self.corners.tensor(), self.heights.tensor());
        let between = corners.size(-1) - 1;
        let above = if x.size(-1) == 1 { x.clone() } else { x - x.narrow(-1, 0, 1) };
        let (low, high) = (corners.narrow(-1, 0, between), corners.narrow(-1, 1, between));
        let rise = (heights.narrow(-1, 1, between) - heights.narrow(-1, 0, between)) / (&high - &low);
        let come = above.unsqueeze(-1).maximum(&low).minimum(&high) - low;
        (come * rise).sum(-1) + heights.narrow(-1, 0, 1).squeeze(-1)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}
