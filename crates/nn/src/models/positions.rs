//! Where a step stands, said to attention alone: queries and keys that are turned by their place, and scores that fall with distance.

use kiln_ir::DType;

use crate::tensor::Tensor;

/// Rotary positions: pairs of features of queries and keys are turned by an angle that grows with the step's place, so that their product
/// depends on how far they are apart. Feature `i` of the first half and of the second are a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// How many features of a head are turned, the first ones; an even number.
    pub width: usize,
    /// The slowest pair turns once in 2π times about so many steps.
    pub base: f64,
    /// How angles are changed for sequences longer than those that were trained on.
    pub scaling: RotaryScaling,
}

/// How angles are changed for longer sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    Plain,
    /// All turn slower by this factor.
    Linear(f64),
    /// Pairs that turn slowly turn slower by a factor, fast ones as before, with a passage between: Llama 3's.
    Llama3 {
        /// By what the slow ones turn slower.
        factor: f64,
        /// Pairs that turn fewer than so many times in the original length are slow.
        low: f64,
        /// Pairs that turn more than so many times in it are fast.
        high: f64,
        /// The length that was trained on.
        original: usize,
    },
}

impl Rotary {
    /// Of so many features of each head, at base 10 000, unscaled.
    pub fn new(width: usize) -> Rotary {
        Rotary { width, base: 10_000.0, scaling: RotaryScaling::Plain }
    }

    /// The angle by which each pair turns from one step to the next.
    ///
    /// ```
    /// use kiln_nn::models::Rotary;
    ///
    /// assert_eq!(Rotary::new(4).angles(), [1.0, 0.01]);
    /// ```
    pub fn angles(&self) -> Vec<f64> {
        let pair = |pair: usize| libm::pow(self.base, -2.0 * pair as f64 / self.width.max(1) as f64);
        (0..self.width / 2).map(pair).map(|angle| self.scaling.scaled(angle)).collect()
    }

    /// Queries or keys `[batch, heads, steps, width]`, turned by their places: `[steps]`, or `[batch, steps]`.
    #[track_caller]
    pub fn turn(&self, x: &Tensor, places: &Tensor) -> Tensor {
        let (half, width) = (self.width / 2, x.size(-1));
        ensure!(
            x.rank() == 4 && self.width == 2 * half && self.width <= width && half > 0,
            Shape,
            "rotary",
            "can't turn {} of the last features of {}; it takes [batch, heads, steps, width] and an even number up to the width",
            self.width,
            x.shape()
        );
        let angles: Vec<f32> = self.angles().into_iter().map(|angle| angle as f32).collect();
        let angles = places.cast(DType::F32).unsqueeze(-1) * Tensor::new(angles, [half]);
        // [steps, half], or [batch, 1, steps, half].
        let angles = if angles.rank() == 3 { angles.unsqueeze(1) } else { angles };
        let (cos, sin) = (angles.cos().cast(x.dtype()), angles.sin().cast(x.dtype()));
        let part = |from: usize, count: usize| x.narrow(-1, from as isize, count);
        let (a, b) = (part(0, half), part(half, half));
        let mut parts = vec![&a * &cos - &b * &sin, &b * &cos + &a * &sin];
        if self.width < width {
            parts.push(part(self.width, width - self.width));
        }
        Tensor::concat(&parts.iter().collect::<Vec<_>>(), -1)
    }
}

impl RotaryScaling {
    fn scaled(self, angle: f64) -> f64 {
        match self {
            RotaryScaling::Plain => angle,
            RotaryScaling::Linear(factor) => angle / factor,
            RotaryScaling::Llama3 { factor, low, high, original } => {
                let turns = original as f64 * angle / std::f64::consts::TAU;
                let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                angle * (share + (1.0 - share) / factor)
            }
        }
    }
}

/// What is added to scores so that they fall with distance, `[heads, 1, keys]`: each head's slope times the place of the key. Of a query's
/// scores only differences count, so this is the distance. With 8 heads the slopes are 1/2 to 1/256.
///
/// ```
/// use kiln_nn::models::alibi;
///
/// assert_eq!(alibi(2, 3).to_vec::<f32>()?, [0.0, 0.0625, 0.125, 0.0, 0.00390625, 0.0078125]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[track_caller]
pub fn alibi(heads: usize, keys: usize) -> Tensor {
    let slopes: Vec<f32> = slopes(heads).into_iter().map(|slope| slope as f32).collect();
    let places = Tensor::index_along([1, 1, keys], 2).cast(DType::F32);
    Tensor::new(slopes, [heads, 1, 1]) * places
}

/// Powers of one ratio for a power of two of heads; for others the rest comes from between.
fn slopes(heads: usize) -> Vec<f64> {
    let of = |count: usize| (1..=count).map(move |head| libm::pow(2.0, -8.0 * head as f64 / count as f64));
    let power = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    of(power).chain(of(2 * power).step_by(2)).take(heads).collect()
}
