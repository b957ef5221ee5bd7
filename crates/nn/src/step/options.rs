//! What a step does besides lowering a loss.

/// What a step does besides.
///
/// ```
/// use kiln_nn::{Clip, StepOptions};
///
/// let options = StepOptions::new().seed(7).clip(Clip::GlobalNorm(1.0)).accumulate(4).ema(0.999);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct StepOptions {
    pub(super) seed: u64,
    pub(super) clip: Option<Clip>,
    pub(super) accumulate: usize,
    pub(super) average: Option<WeightAverage>,
    pub(super) l1: f64,
    pub(super) l2: f64,
}

/// How gradients are kept small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Each number within plus and minus this.
    Value(f64),
    /// Each parameter's gradient scaled down to this norm.
    Norm(f64),
    /// All gradients scaled down together, to this norm of all of them.
    GlobalNorm(f64),
}

/// A second set of weights, averaged over steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WeightAverage {
    /// Decays by this a step.
    Exponential(f64),
    /// The mean of the weights after step `start` and every `every` steps from then on.
    Stochastic { start: u64, every: u64 },
}

impl StepOptions {
    /// Seed 0, and nothing besides.
    pub fn new() -> StepOptions {
        StepOptions::default()
    }

    /// Where the randomness of dropout and the like starts from.
    pub fn seed(self, seed: u64) -> StepOptions {
        StepOptions { seed, ..self }
    }

    /// Keeps gradients small before they reach the optimizer.
    pub fn clip(self, clip: Clip) -> StepOptions {
        StepOptions { clip: Some(clip), ..self }
    }

    /// Changes the parameters after every so many runs only, by the mean of their gradients: batches as large as memory
    /// doesn't allow.
    pub fn accumulate(self, runs: usize) -> StepOptions {
        StepOptions { accumulate: runs, ..self }
    }

    /// Keeps an exponential moving average of the weights; see [`Step::swap_averages`](super::Step::swap_averages).
    pub fn ema(self, decay: f64) -> StepOptions {
        StepOptions { average: Some(WeightAverage::Exponential(decay)), ..self }
    }

    /// Keeps the mean of the weights after step `start` and every `every` steps from then on; see [`Step::swap_averages`](super::Step::swap_averages).
    pub fn swa(self, start: u64, every: u64) -> StepOptions {
        StepOptions { average: Some(WeightAverage::Stochastic { start, every: every.max(1) }), ..self }
    }

    /// Adds this times the sum of all parameters' sizes to the loss that is lowered (not to the one that is shown).
    pub fn l1(self, penalty: f64) -> StepOptions {
        StepOptions { l1: penalty, ..self }
    }

    /// Adds this times the sum of all parameters' squares to the loss that is lowered (not to the one that is shown).
    pub fn l2(self, penalty: f64) -> StepOptions {
        StepOptions { l2: penalty, ..self }
    }
}
