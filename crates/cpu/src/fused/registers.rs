//! Which register each value has.

use super::steps::{RegisterValue, StridedWalk, TilePass, TileStep};

/// Bytes of all registers, and of the kept values.
pub(super) struct RegisterBytes {
    pub(super) registers: usize,
    pub(super) kept: usize,
}

/// When a value is in its register: from its step in a pass to the last that reads it.
#[derive(Clone, Copy)]
struct Lifetime {
    pass: usize,
    made: usize,
    last: usize,
    /// It may be written where an operand was read for the last time.
    over: bool,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        let (first, second) = if self.made <= other.made { (self, other) } else { (other, self) };
        let follows = first.last < second.made || first.last == second.made && second.over;
        self.pass == other.pass && !(first.made < second.made && follows)
    }
}

/// Gives every value its register, with room for so many lanes. Values that aren't needed at the same time in any pass share one, so that a
/// tile's registers stay in the first cache; loads that don't move with rows, literals and kept values stay.
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
    for step in passes.iter().flat_map(|pass| &pass.tiles) {
        match step {
            TileStep::Load { value, load, .. } if loads[*load].fixed => {
                stays[*value] = true;
            }
            TileStep::Spread { value, from, .. } if stays[*from] => stays[*value] = true,
            _ => {}
        }
    }
    // Between passes nothing is short-lived.
    for value in passes.iter().flat_map(|pass| &pass.kept).flat_map(TileStep::results) {
        stays[value] |= !values[value].kept;
    }
    // Room for any value's lanes, and a line more, so that the same lanes of two registers aren't in the same set of the cache.
    let widest = values.iter().map(|value| value.lane.size()).max().unwrap_or(0);
    let size = (lanes * widest).next_multiple_of(64) + 64;
    let mut lifetimes: Vec<Vec<Lifetime>> = vec![Vec::new(); values.len()];
    let mut order = Vec::new();
    for (number, pass) in passes.iter().enumerate() {
        for (made, step) in pass.tiles.iter().enumerate() {
            for value in step.results() {
                match lifetimes[value].last_mut() {
                    // Made of itself, as by the second of two casts.
                    Some(lifetime) if lifetime.pass == number => lifetime.last = made,
                    _ => {
                        order.extend(lifetimes[value].is_empty().then_some(value));
                        let size = |value: usize| values[value].lane.size();
                        let repeats_kept =
                            matches!(step, TileStep::Spread { from, .. } if values[*from].kept);
                        let over = match step {
                            TileStep::Run { operands, row_by_row: false, .. } => {
                                operands.iter().all(|&operand| size(operand) == size(value))
                            }
                            TileStep::Scale { row_by_row, .. } => !row_by_row,
                            _ => false,
                        };
                        lifetimes[value].push(match repeats_kept {
                            // All tiles of the pass read it.
                            true => Lifetime { pass: number, made: 0, last: usize::MAX, over },
                            false => Lifetime { pass: number, made, last: made, over },
                        });
                    }
                }
            }
            let mut read = |value: usize, last: usize| {
                if let Some(lifetime) = lifetimes[value].last_mut().filter(|lifetime| lifetime.pass == number)
                {
                    lifetime.last = lifetime.last.max(last);
                }
            };
            step.operands().into_iter().for_each(|operand| read(operand, made));
            pass.stores.iter().for_each(|target| read(target.value, usize::MAX));
        }
    }
    // Who is in each register, and when.
    let mut taken: Vec<Vec<Lifetime>> = Vec::new();
    order.extend((0..values.len()).filter(|&value| lifetimes[value].is_empty()));
    order.retain(|&value| !values[value].kept && literals.iter().all(|&(literal, _)| literal != value));
    for value in order {
        let free = |there: &Vec<Lifetime>| {
            !stays[value] && there.iter().all(|other| lifetimes[value].iter().all(|own| !own.meets(other)))
        };
        let unused = lifetimes[value].is_empty() && !stays[value];
        let register = taken.iter().position(free).unwrap_or(taken.len());
        if register == taken.len() {
            taken.push(Vec::new());
        }
        if stays[value] {
            let always = |pass| Lifetime { pass, made: 0, last: usize::MAX, over: false };
            taken[register].extend((0..passes.len()).map(always));
        } else if !unused {
            taken[register].extend(&lifetimes[value]);
        }
        values[value].register = register * size;
    }
    // A literal is one lane.
    for (number, &(literal, _)) in literals.iter().enumerate() {
        values[literal].register = taken.len() * size + number * 64;
    }
    RegisterBytes { registers: taken.len() * size + literals.len() * 64, kept }
}
