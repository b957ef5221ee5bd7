//! Whether what runs several times is one stretch of kernels that finds its memory in every step.

use crate::program::{BufferId, Program, Repeat};

use super::Violation;

/// Checks where repeats are, and that their slices are touched inside of them alone.
pub(super) fn check(program: &Program) -> Result<(), Violation> {
    let fail = |position: usize, what: &str| Err(format!("repeat {position} {what}"));
    for (position, Repeat { kernels, steps, slices }) in program.repeats.iter().enumerate() {
        if kernels.start < program.hoisted || kernels.end > program.kernels.len() || kernels.is_empty() {
            return fail(position, "isn't of kernels that run in each run");
        }
        if *steps == 0 {
            return fail(position, "has no steps");
        }
        for earlier in &program.repeats[..position] {
            let apart = earlier.kernels.end <= kernels.start || kernels.end <= earlier.kernels.start;
            let inside = earlier.kernels.start <= kernels.start && kernels.end <= earlier.kernels.end;
            if !apart && !inside {
                return fail(position, "is partly in another one, or around an earlier one");
            }
        }
        for &slice in slices {
            let touches = |kernel: usize| program.kernels[kernel].work.buffers().contains(&slice);
            let outside = (0..program.kernels.len()).filter(|kernel| !kernels.contains(kernel));
            if program.mover(slice) != Some(position) {
                return fail(position, &format!("moves buffer {slice}, which another one moves"));
            }
            if outside.into_iter().any(touches) {
                return fail(position, &format!("moves buffer {slice}, which kernels outside of it touch"));
            }
        }
    }
    Ok(())
}

/// Checks that a slice is inside of its buffer in every step. Its buffer is an earlier one, so this ends.
pub(super) fn slice(
    program: &Program,
    id: BufferId,
    of: BufferId,
    (start, step): (usize, isize),
) -> Result<(), Violation> {
    let own = &program.buffers[id];
    let whole = program.buffers.get(of).filter(|_| of < id).ok_or("it is part of no earlier buffer")?;
    let mover = program.mover(id).ok_or("no repeat moves it")?;
    if own.dtype != whole.dtype {
        return Err(format!("a part of {} of a buffer of {}", own.dtype, whole.dtype));
    }
    if let Some(around) = program.mover(of) {
        let (inner, outer) = (&program.repeats[mover].kernels, &program.repeats[around].kernels);
        if mover == around || inner.start < outer.start || inner.end > outer.end {
            return Err(format!("it is part of buffer {of}, which moves with repeat {around}"));
        }
    }
    let last = start as i128 + (program.repeats[mover].steps as i128 - 1) * step as i128;
    let (low, high) = (last.min(start as i128), last.max(start as i128) + own.elements as i128);
    if low < 0 || high > whole.elements as i128 {
        return Err(format!("it moves from element {low} to {high} of a buffer of {}", whole.elements));
    }
    Ok(())
}
