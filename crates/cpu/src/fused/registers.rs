//! Which register each value has.

use super::steps::{RegisterValue, StridedWalk, TilePass, TileStep};

/// Bytes of all registers, and of the kept values.
pub(super) struct RegisterBytes {
    pub(super) registers: usize,
    pub(super) kept: usize,
}

/// Gives every value its register, with room for so many lanes. Within a pass a register is used again once its value is no
/// longer needed; loads that don't move with rows, literals and kept values stay.
pub(super) fn place(
    values: &mut [RegisterValue],
    loads: &[StridedWalk],
    literals: &[(usize, [u8; 8])],
    passes: &[TilePass],
    lanes: usize,
) -> RegisterBytes {
    let mut kept = 0;
    for value in values.iter_mut() {
        if value.kept {
            value.register = kept;
            kept += (lanes * value.lane.size()).next_multiple_of(64);
        }
    }
    let mut stays = vec![false; values.len()];
    for &(value, _) in literals {
        stays[value] = true;
    }
    for step in passes.iter().flat_map(|pass| &pass.tiles) {
        match step {
            TileStep::Load { value, load, .. } if loads[*load].fixed => {
                stays[*value] = true;
            }
            TileStep::Spread { value, from, .. } if stays[*from] => stays[*value] = true,
            _ => {}
        }
    }
    // A value that several passes make has one register in all of them.
    if passes.iter().filter(|pass| !pass.tiles.is_empty()).count() > 1 {
        stays.fill(true);
    }
    // Between passes nothing is short-lived.
    for step in passes.iter().flat_map(|pass| &pass.kept) {
        if let Some(value) = step.result() {
            stays[value] |= !values[value].kept;
        }
    }
    let mut next = 0;
    // Room for either lane size, so that any value may follow in a register.
    let size = (lanes * 8).next_multiple_of(64);
    for (value, stays) in values.iter_mut().zip(&stays) {
        if *stays && !value.kept {
            value.register = next;
            next += size;
        }
    }
    for pass in passes {
        let mut last = vec![0; values.len()];
        for (position, step) in pass.tiles.iter().enumerate() {
            for operand in step.operands() {
                last[operand] = position;
            }
        }
        for target in &pass.stores {
            last[target.value] = usize::MAX;
        }
        let mut free: Vec<usize> = Vec::new();
        for (position, step) in pass.tiles.iter().enumerate() {
            if let Some(value) = step.result()
                && !stays[value]
                && !values[value].kept
            {
                values[value].register = free.pop().unwrap_or_else(|| {
                    next += size;
                    next - size
                });
                if last[value] == 0 {
                    // Nobody reads it.
                    last[value] = position;
                }
            }
            let mut done: Vec<usize> = step.operands();
            done.extend(step.result());
            done.sort_unstable();
            done.dedup();
            for operand in done {
                if last[operand] == position && !stays[operand] && !values[operand].kept {
                    free.push(values[operand].register);
                }
            }
        }
    }
    RegisterBytes { registers: next, kept }
}
