//! Scans: a body built once from stand-ins for its arguments, and run for every step of sequences.

pub(crate) mod body;
mod lift;
pub(crate) mod over_steps;
mod unroll;

use crate::dtype::DType;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::Expr;
use crate::node::next_id;
use crate::op::{Scan, ScanGradient};
use crate::shape::Shape;
use body::BodyCut;
use over_steps::{WantedValue, values};
pub use unroll::unrolled;

/// How a scan walks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// How many steps, where no sequence says so.
    pub length: Option<usize>,
    /// From the last slice to the first.
    pub reverse: bool,
    /// The most steps that a gradient walks back: after every so many steps the states are cut off from what was before.
    pub truncate: Option<usize>,
    /// For the gradient, the states are kept every so many steps and all else is computed again.
    pub checkpoint: Option<usize>,
}

impl ScanOptions {
    /// Forwards, as many steps as the sequences have, with whole gradients.
    pub fn new() -> ScanOptions {
        ScanOptions::default()
    }

    /// So many steps, where there is no sequence.
    pub fn length(self, steps: usize) -> ScanOptions {
        ScanOptions { length: Some(steps), ..self }
    }

    /// From the last slice to the first.
    pub fn reverse(self) -> ScanOptions {
        ScanOptions { reverse: true, ..self }
    }

    /// Gradients walk back so many steps at most.
    pub fn truncate(self, steps: usize) -> ScanOptions {
        ScanOptions { truncate: Some(steps), ..self }
    }

    /// For the gradient the states are kept every so many steps, and all else is computed again.
    pub fn checkpoint(self, steps: usize) -> ScanOptions {
        ScanOptions { checkpoint: Some(steps), ..self }
    }
}

/// What a scan gives.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// The states after the last step.
    pub last: Vec<Expr>,
    /// What each step gave, along a new first axis.
    pub stacked: Vec<Expr>,
}

/// What a body makes of its states and slices: the next states, and what is stacked.
pub type ScanBody<'a> = &'a dyn Fn(&[Expr], &[Expr]) -> (Vec<Expr>, Vec<Expr>);

impl Expr {
    /// Runs `body` for each slice of the sequences' first axes. What it gives as states it gets in the next step. Whatever it
    /// uses from outside stays the same in every step; what follows from slices alone is computed for all steps at once where
    /// that saves work.
    ///
    /// ```
    /// use kiln_ir::expr::{Expr, ScanOptions};
    /// use kiln_ir::DType;
    /// let x = Expr::full([5, 2], 1.0, DType::F32);
    /// let zero = Expr::full([2], 0.0, DType::F32);
    /// let sums = Expr::scan(&[zero], &[x], ScanOptions::default(), &|s, x| {
    ///     let sum = &s[0] + &x[0];
    ///     (vec![sum.clone()], vec![sum])
    /// })?;
    /// assert_eq!((sums.last[0].shape().to_vec(), sums.stacked[0].shape().to_vec()), (vec![2], vec![5, 2]));
    /// # Ok::<(), kiln_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where operands are poisoned or don't fit, or the body changes the shape, dtype or number of its states.
    #[track_caller]
    pub fn scan(start: &[Expr], sequences: &[Expr], options: ScanOptions, body: ScanBody) -> Result<Scanned> {
        let refuse = |kind, message: String| Err(Error::new(kind, "scan", message));
        for operand in start.iter().chain(sequences) {
            operand.node().map_err(|error| error.as_ref().clone())?;
        }
        let mut steps = options.length;
        for (position, sequence) in sequences.iter().enumerate() {
            let shape = sequence.shape();
            match (shape.first(), steps) {
                (None, _) => return refuse(ErrorKind::Shape, format!("sequence {position} is one number")),
                (Some(&own), Some(steps)) if own != steps => {
                    return refuse(
                        ErrorKind::Shape,
                        format!("sequence {position} is {shape}, and there are {steps} steps"),
                    );
                }
                (Some(&own), _) => steps = Some(own),
            }
        }
        let Some(steps) = steps else {
            return refuse(ErrorKind::Value, "without a sequence it needs a length".to_string());
        };
        if options.truncate == Some(0) || options.checkpoint == Some(0) {
            return refuse(ErrorKind::Value, "0 steps to truncate after, or between checkpoints".to_string());
        }
        // A gradient that is cut off is so at the end of a segment too.
        let segment = |every: usize| options.truncate.map_or(every, |cut| every.next_multiple_of(cut));
        match options.checkpoint.map(segment) {
            Some(every) if every < steps => in_segments(start, sequences, steps, every, options, body),
            _ => plain(start, sequences, steps, options, false, body),
        }
    }
}

/// One walk over all steps.
#[track_caller]
fn plain(
    start: &[Expr],
    sequences: &[Expr],
    steps: usize,
    options: ScanOptions,
    recompute: bool,
    build: ScanBody,
) -> Result<Scanned> {
    let since = next_id();
    let like = |x: &Expr| stand_in(x.shape(), x.dtype());
    let slice = |x: &Expr| stand_in(x.shape()[1..].to_vec().into(), x.dtype());
    let states: Vec<Expr> = start.iter().map(like).collect();
    let slices: Vec<Expr> = sequences.iter().map(slice).collect();
    let (next, given) = build(&states, &slices);
    for value in next.iter().chain(&given) {
        value.node().map_err(|error| error.as_ref().clone())?;
    }
    if next.len() != states.len() {
        let message = format!("{} states go in, and {} come out", states.len(), next.len());
        return Err(Error::new(ErrorKind::Value, "scan", message));
    }
    let mut body = BodyCut::new(since);
    for (state, start) in states.iter().zip(start) {
        body.state(state, start.clone());
    }
    for (slice, sequence) in slices.iter().zip(sequences) {
        body.sequence(slice, sequence.clone());
    }
    let gradient = ScanGradient { truncate: options.truncate, recompute };
    let (graph, places, operands) = body.cut(&next, &given);
    let count = states.len();
    let walk = Scan {
        body: graph,
        steps,
        states: count,
        sequences: slices.len(),
        reverse: options.reverse,
        gradient,
    };
    if let Some(fault) = walk.fault() {
        return Err(Error::new(ErrorKind::Shape, "scan", fault));
    }
    if steps == 0 {
        let nothing = |x: &Expr| Expr::full(walk.stacked(&x.shape()), 0.0, x.dtype());
        return Ok(Scanned { last: start.to_vec(), stacked: given.iter().map(nothing).collect() });
    }
    let wanted: Vec<WantedValue> =
        (0..count).map(WantedValue::Last).chain(places.into_iter().map(WantedValue::Stacked)).collect();
    let mut results = values(walk, operands, &wanted);
    let stacked = results.split_off(count);
    Ok(Scanned { last: results, stacked })
}

/// A walk over segments of `every` steps, each of which keeps for its gradient what it started from alone; the steps that are
/// left over are a walk of their own.
#[track_caller]
fn in_segments(
    start: &[Expr],
    sequences: &[Expr],
    steps: usize,
    every: usize,
    options: ScanOptions,
    body: ScanBody,
) -> Result<Scanned> {
    let (segments, rest) = (steps / every, steps % every);
    let inner = ScanOptions { length: Some(every), checkpoint: None, ..options };
    // The steps that are left over come last, at whichever end that is.
    let (first, left) = if options.reverse { (rest, 0) } else { (0, steps - rest) };
    let cut = |x: &Expr| {
        let sizes = [&[segments, every], &x.shape()[1..]].concat();
        x.narrow(0, first, segments * every).reshape(sizes)
    };
    let whole: Vec<Expr> = sequences.iter().map(cut).collect();
    let segment = |states: &[Expr], slices: &[Expr]| match plain(states, slices, every, inner, false, body) {
        Ok(Scanned { last, stacked }) => (last, stacked),
        Err(error) => (vec![Expr::poisoned(error); states.len()], Vec::new()),
    };
    let outer = ScanOptions { length: Some(segments), truncate: options.truncate.map(|_| 1), ..options };
    let mut walked = plain(start, &whole, segments, outer, true, &segment)?;
    for all in &mut walked.stacked {
        *all = all.reshape([&[segments * every], &all.shape()[2..]].concat());
    }
    if rest == 0 {
        return Ok(walked);
    }
    let part: Vec<Expr> = sequences.iter().map(|x| x.narrow(0, left, rest)).collect();
    let between = |x: &Expr| if options.truncate.is_some() { x.stop_gradient() } else { x.clone() };
    let start: Vec<Expr> = walked.last.iter().map(between).collect();
    let ended = plain(&start, &part, rest, ScanOptions { length: Some(rest), ..inner }, false, body)?;
    let join = |(walked, ended): (&Expr, &Expr)| {
        Expr::concat(&if options.reverse { [ended, walked] } else { [walked, ended] }, 0)
    };
    let stacked = walked.stacked.iter().zip(&ended.stacked).map(join).collect();
    Ok(Scanned { last: ended.last, stacked })
}

/// A value that stands for an argument of a body: an argument that no step declares.
pub(crate) fn stand_in(shape: Shape, dtype: DType) -> Expr {
    Expr::input((1 << 40) + next_id() as usize, shape, dtype)
}
