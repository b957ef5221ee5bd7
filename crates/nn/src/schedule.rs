//! How the learning rate changes from step to step: pure functions of the step, so that a resumed run goes on where it was.
//! The factors are PyTorch's, counted in steps where PyTorch's are often counted in epochs.

use std::f64::consts::PI;

/// A rule for the learning rate. Threads may share it.
///
/// ```
/// use kiln_nn::schedule::{Cosine, Schedule, Warmup};
///
/// let schedule = Warmup::new(100, Cosine::new(1000));
/// let rate = |step| 1e-3 * schedule.factor(step);
/// assert!(rate(0) < rate(99) && rate(100) > rate(900));
/// ```
pub trait Schedule: Send + Sync {
    /// What the base rate is multiplied by in a step, counted from 0.
    fn factor(&self, step: u64) -> f64;
}

impl<F: Fn(u64) -> f64 + Send + Sync> Schedule for F {
    fn factor(&self, step: u64) -> f64 {
        self(step)
    }
}

impl Schedule for Box<dyn Schedule + '_> {
    fn factor(&self, step: u64) -> f64 {
        (**self).factor(step)
    }
}

/// Always the same rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant;

impl Schedule for Constant {
    fn factor(&self, _: u64) -> f64 {
        1.0
    }
}

/// Times `gamma` every `every` steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDecay {
    every: u64,
    gamma: f64,
}

impl StepDecay {
    /// Times `gamma` (PyTorch's default is 0.1) every `every` steps.
    pub fn new(every: u64, gamma: f64) -> StepDecay {
        StepDecay { every: every.max(1), gamma }
    }
}

impl Schedule for StepDecay {
    fn factor(&self, step: u64) -> f64 {
        libm::pow(self.gamma, (step / self.every) as f64)
    }
}

/// Times `gamma` at each of some steps.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStep {
    milestones: Vec<u64>,
    gamma: f64,
}

impl MultiStep {
    /// Times `gamma` at each milestone.
    pub fn new(milestones: &[u64], gamma: f64) -> MultiStep {
        MultiStep { milestones: milestones.to_vec(), gamma }
    }
}

impl Schedule for MultiStep {
    fn factor(&self, step: u64) -> f64 {
        libm::pow(self.gamma, self.milestones.iter().filter(|&&milestone| milestone <= step).count() as f64)
    }
}

/// Times `gamma` each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    gamma: f64,
}

impl Exponential {
    /// Times `gamma` each step.
    pub fn new(gamma: f64) -> Exponential {
        Exponential { gamma }
    }
}

impl Schedule for Exponential {
    fn factor(&self, step: u64) -> f64 {
        libm::pow(self.gamma, step as f64)
    }
}

/// Down to nothing in `total` steps, as a power of what is left; with power 1 a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    total: u64,
    power: f64,
}

impl Polynomial {
    /// Down to nothing in `total` steps.
    pub fn new(total: u64, power: f64) -> Polynomial {
        Polynomial { total: total.max(1), power }
    }
}

impl Schedule for Polynomial {
    fn factor(&self, step: u64) -> f64 {
        libm::pow(1.0 - step.min(self.total) as f64 / self.total as f64, self.power)
    }
}

/// A straight line from one factor to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    total: u64,
    start: f64,
    end: f64,
}

impl Linear {
    /// From `start` to `end` in `total` steps (PyTorch's defaults are 1/3 and 1).
    pub fn new(total: u64, start: f64, end: f64) -> Linear {
        Linear { total: total.max(1), start, end }
    }
}

impl Schedule for Linear {
    fn factor(&self, step: u64) -> f64 {
        self.start + (self.end - self.start) * step.min(self.total) as f64 / self.total as f64
    }
}

/// Half a cosine from 1 down to a floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    total: u64,
    floor: f64,
}

impl Cosine {
    /// Down to nothing in `total` steps, where it stays (PyTorch's would rise again).
    pub fn new(total: u64) -> Cosine {
        Cosine { total: total.max(1), floor: 0.0 }
    }

    /// Down to this share of the rate.
    pub fn floor(self, floor: f64) -> Cosine {
        Cosine { floor, ..self }
    }
}

impl Schedule for Cosine {
    fn factor(&self, step: u64) -> f64 {
        half_cosine(1.0, self.floor, step.min(self.total) as f64 / self.total as f64)
    }
}

/// The rate for half of the steps, and half a cosine down to nothing in the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlatCosine {
    total: u64,
}

impl FlatCosine {
    /// Down to nothing in `total` steps.
    pub fn new(total: u64) -> FlatCosine {
        FlatCosine { total: total.max(1) }
    }
}

impl Schedule for FlatCosine {
    fn factor(&self, step: u64) -> f64 {
        let share = step.min(self.total) as f64 / self.total as f64;
        half_cosine(1.0, 0.0, (2.0 * share - 1.0).max(0.0))
    }
}

/// From `start` to `end` along half a cosine; `share` of the way.
fn half_cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) * (1.0 + libm::cos(PI * share)) / 2.0
}

/// Half cosines from 1 down to a floor, again and again, each `grow` times as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineRestarts {
    first: u64,
    grow: u64,
    floor: f64,
}

impl CosineRestarts {
    /// The first lasts `first` steps, each other `grow` times as long as the one before (PyTorch's default is 1).
    pub fn new(first: u64, grow: u64) -> CosineRestarts {
        CosineRestarts { first: first.max(1), grow: grow.max(1), floor: 0.0 }
    }

    /// Down to this share of the rate.
    pub fn floor(self, floor: f64) -> CosineRestarts {
        CosineRestarts { floor, ..self }
    }
}

impl Schedule for CosineRestarts {
    fn factor(&self, step: u64) -> f64 {
        let (mut length, mut since) = (self.first, step);
        if self.grow == 1 {
            since %= length;
        }
        while since >= length {
            since -= length;
            length = length.saturating_mul(self.grow);
        }
        half_cosine(1.0, self.floor, since as f64 / length as f64)
    }
}

/// Up to the rate and down to nearly nothing, both along half cosines or straight lines. The rate is the highest one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    total: u64,
    rise: f64,
    start: f64,
    end: f64,
    straight: bool,
}

impl OneCycle {
    /// A cycle of `total` steps: three tenths up from a 25th of the rate, the rest down to a ten thousandth of where it started.
    pub fn new(total: u64) -> OneCycle {
        OneCycle { total: total.max(2), rise: 0.3, start: 1.0 / 25.0, end: 1.0 / 25.0 / 1e4, straight: false }
    }

    /// The share of the steps in which it rises.
    pub fn rise(self, share: f64) -> OneCycle {
        OneCycle { rise: share, ..self }
    }

    /// It starts at the rate over `start`, and ends at that over `end`.
    pub fn divide(self, start: f64, end: f64) -> OneCycle {
        OneCycle { start: 1.0 / start, end: 1.0 / start / end, ..self }
    }

    /// Along straight lines.
    pub fn straight(self) -> OneCycle {
        OneCycle { straight: true, ..self }
    }
}

impl Schedule for OneCycle {
    fn factor(&self, step: u64) -> f64 {
        let top = self.rise * self.total as f64 - 1.0;
        let last = self.total as f64 - 1.0;
        let step = (step as f64).min(last);
        let between = |start: f64, end: f64, share: f64| match self.straight {
            true => start + (end - start) * share,
            false => half_cosine(start, end, share),
        };
        match step <= top {
            true => between(self.start, 1.0, step / top.max(f64::MIN_POSITIVE)),
            false => between(1.0, self.end, (step - top) / (last - top).max(f64::MIN_POSITIVE)),
        }
    }
}

/// A straight line up to the rate, and then another schedule, which counts from there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup<S> {
    steps: u64,
    then: S,
}

impl<S: Schedule> Warmup<S> {
    /// `steps` steps in front of another schedule; the first has one part of the rate, the last all of it.
    pub fn new(steps: u64, then: S) -> Warmup<S> {
        Warmup { steps, then }
    }
}

impl<S: Schedule> Schedule for Warmup<S> {
    fn factor(&self, step: u64) -> f64 {
        match step.checked_sub(self.steps) {
            None => (step + 1) as f64 / self.steps as f64,
            Some(step) => self.then.factor(step),
        }
    }
}

/// Lowers the rate when a number that is watched stops getting better. It has a memory: its state is part of a checkpoint.
///
/// ```
/// use kiln_nn::schedule::ReduceOnPlateau;
///
/// let mut plateau = ReduceOnPlateau::new(0.5, 1);
/// let factors: Vec<f64> = [1.0, 0.9, 0.95, 0.96, 0.97].iter().map(|&loss| plateau.observe(loss)).collect();
/// assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReduceOnPlateau {
    reduction: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    least: f64,
    larger_is_better: bool,
    state: PlateauState,
}

/// What [`ReduceOnPlateau`] remembers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlateauState {
    /// The best number so far.
    pub best: f64,
    /// How many numbers since weren't better.
    pub waited: u64,
    /// How many numbers don't count yet after a reduction.
    pub cooling: u64,
    /// What the base rate is multiplied by now.
    pub factor: f64,
}

impl ReduceOnPlateau {
    /// Times `reduction` (PyTorch's default is 0.1) after more than `patience` (10) numbers that aren't better than the best.
    pub fn new(reduction: f64, patience: u64) -> ReduceOnPlateau {
        let state = PlateauState { best: f64::INFINITY, waited: 0, cooling: 0, factor: 1.0 };
        ReduceOnPlateau {
            reduction,
            patience,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            larger_is_better: false,
            state,
        }
    }

    /// By which share a number must be better to count; 1e-4 unless told otherwise.
    pub fn threshold(self, threshold: f64) -> ReduceOnPlateau {
        ReduceOnPlateau { threshold, ..self }
    }

    /// How many numbers don't count after a reduction.
    pub fn cooldown(self, cooldown: u64) -> ReduceOnPlateau {
        ReduceOnPlateau { cooldown, ..self }
    }

    /// The rate stays above this share of what it was.
    pub fn least(self, least: f64) -> ReduceOnPlateau {
        ReduceOnPlateau { least, ..self }
    }

    /// The number is an accuracy or the like: larger is better.
    pub fn larger_is_better(mut self) -> ReduceOnPlateau {
        self.larger_is_better = true;
        self.state.best = f64::NEG_INFINITY;
        self
    }

    /// Takes the next number and gives the factor from now on.
    pub fn observe(&mut self, number: f64) -> f64 {
        let state = &mut self.state;
        let better = match self.larger_is_better {
            true => number > state.best * (1.0 + self.threshold) || state.best == f64::NEG_INFINITY,
            false => number < state.best * (1.0 - self.threshold),
        };
        match better {
            true => (state.best, state.waited) = (number, 0),
            false => state.waited += 1,
        }
        if state.cooling > 0 {
            (state.cooling, state.waited) = (state.cooling - 1, 0);
        }
        if state.waited > self.patience {
            state.factor = (state.factor * self.reduction).max(self.least);
            (state.cooling, state.waited) = (self.cooldown, 0);
        }
        state.factor
    }

    /// What it remembers.
    pub fn state(&self) -> PlateauState {
        self.state
    }

    /// Goes on from what another remembered.
    pub fn restore(&mut self, state: PlateauState) {
        self.state = state;
    }
}

/// A sweep over learning rates, each a little larger than the one before, to find a good one.
///
/// Give each step the rate of [`RateFinder::rate`] and its loss to [`RateFinder::observe`], on a copy of the model (or restore its
/// weights afterwards).
#[derive(Clone, Debug, PartialEq)]
pub struct RateFinder {
    lowest: f64,
    highest: f64,
    steps: usize,
    average: f64,
    smooth: Vec<f64>,
}

impl RateFinder {
    /// From `lowest` to `highest` in `steps` steps; 1e-7, 10 and 100 are usual.
    pub fn new(lowest: f64, highest: f64, steps: usize) -> RateFinder {
        RateFinder { lowest, highest, steps: steps.max(2), average: 0.0, smooth: Vec::new() }
    }

    /// The rate for the next step; none when the sweep is over.
    pub fn rate(&self) -> Option<f64> {
        (self.smooth.len() < self.steps && !self.burst()).then(|| self.rate_of(self.smooth.len()))
    }

    fn rate_of(&self, step: usize) -> f64 {
        self.lowest * libm::pow(self.highest / self.lowest, step as f64 / (self.steps - 1) as f64)
    }

    /// Takes the loss of a step.
    pub fn observe(&mut self, loss: f64) {
        const KEEP: f64 = 0.95;
        self.average = KEEP * self.average + (1.0 - KEEP) * loss;
        self.smooth.push(self.average / (1.0 - libm::pow(KEEP, self.smooth.len() as f64 + 1.0)));
    }

    /// The loss is no number any more, or four times the least one.
    fn burst(&self) -> bool {
        let least = self.smooth.iter().copied().fold(f64::INFINITY, f64::min);
        self.smooth
            .last()
            .is_some_and(|&loss| !loss.is_finite() || (self.smooth.len() > 5 && loss > 4.0 * least.abs()))
    }

    /// Rates and their smoothed losses so far.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        self.smooth.iter().enumerate().map(|(step, &loss)| (self.rate_of(step), loss)).collect()
    }

    /// The rate at which the loss fell fastest, before its least value; none where it never fell.
    pub fn suggestion(&self) -> Option<f64> {
        let finite = self.smooth.iter().take_while(|loss| loss.is_finite()).count();
        let least = (0..finite).min_by(|&a, &b| self.smooth[a].total_cmp(&self.smooth[b]))?;
        let slope = |step: usize| self.smooth[step + 1] - self.smooth[step];
        let steepest = (0..least).min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
        (slope(steepest) < 0.0).then(|| self.rate_of(steepest))
    }
}
