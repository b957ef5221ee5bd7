//! A thread's registers, and how steps run over a tile in them.

mod moves;

use std::ops::Range;

use super::ops::LaneType;
use super::plan::FusedPlan;
use super::steps::{StridedWalk, TilePass, TileStep};
use super::transfer;
use crate::bases::Bases;
use crate::scratch::{self, Purpose};

/// A contraction's block that an epilogue reads.
#[derive(Clone, Copy)]
pub(super) struct EpilogueInput {
    pub(super) sums: *const u8,
    pub(super) stride: usize,
    pub(super) first_row: usize,
    pub(super) first_column: usize,
}

/// A tile's rows and columns.
#[derive(Clone, Copy)]
struct Area {
    row: usize,
    height: usize,
    left: usize,
    width: usize,
}

/// A thread's registers for one task.
pub(super) struct RegisterFrame<'a> {
    plan: &'a FusedPlan,
    bases: &'a Bases,
    registers: *mut u8,
    /// Where each value is now.
    pointers: &'a mut [*mut u8],
    /// Which tile each value was made for, where it may serve another.
    keys: &'a mut [[usize; 4]],
    /// How far the group moves each load.
    offsets: &'a mut [isize],
    /// The group, along each of its loops.
    index: &'a mut [usize],
    /// The running sums of folds.
    pub(super) sums: *mut u8,
    /// What an epilogue follows.
    pub(super) source: Option<EpilogueInput>,
    group: usize,
}

/// No tile has this key.
const NEVER: [usize; 4] = [usize::MAX; 4];

/// Lends this thread's registers, with nothing in them but literals.
pub(super) fn with_frame(
    plan: &FusedPlan,
    bases: &Bases,
    kept: Option<*mut u8>,
    body: impl FnOnce(&mut RegisterFrame),
) {
    let (values, loads, groups) = (plan.values.len(), plan.loads.len(), plan.groups.len());
    let tables = (5 * values + loads + groups) * size_of::<usize>();
    scratch::with(Purpose::Tiles, plan.registers + tables, |registers: *mut u8| {
        let kept = kept.unwrap_or(registers);
        // SAFETY: the tables lie behind the registers, which are whole lines of the cache, in memory that was asked for;
        // each is an array of words.
        let (pointers, keys, offsets, index) = unsafe {
            let pointers = registers.add(plan.registers).cast::<*mut u8>();
            let keys = pointers.add(values).cast::<[usize; 4]>();
            let offsets = keys.add(values).cast::<isize>();
            let index = offsets.add(loads).cast::<usize>();
            (
                std::slice::from_raw_parts_mut(pointers, values),
                std::slice::from_raw_parts_mut(keys, values),
                std::slice::from_raw_parts_mut(offsets, loads),
                std::slice::from_raw_parts_mut(index, groups),
            )
        };
        for (pointer, value) in pointers.iter_mut().zip(&plan.values) {
            *pointer = if value.kept { kept } else { registers }.wrapping_add(value.register);
        }
        for &(value, bytes) in &plan.literals {
            // SAFETY: every register has room for a lane.
            unsafe { pointers[value].cast::<[u8; 8]>().write_unaligned(bytes) };
        }
        keys.fill(NEVER);
        offsets.fill(0);
        index.fill(0);
        let sums = registers;
        body(&mut RegisterFrame {
            plan,
            bases,
            registers,
            pointers,
            keys,
            offsets,
            index,
            sums,
            source: None,
            group: 0,
        });
    });
}

impl RegisterFrame<'_> {
    /// Moves every load to a group.
    pub(super) fn enter(&mut self, group: usize) {
        self.group = group;
        let mut rest = group;
        for (slot, &size) in self.index.iter_mut().zip(&self.plan.groups).rev() {
            *slot = rest % size;
            rest /= size;
        }
        for (offset, walk) in self.offsets.iter_mut().zip(&self.plan.loads) {
            *offset = offset_of(group, &self.plan.groups, &walk.groups);
        }
    }

    /// All tiles of some rows and columns.
    ///
    /// # Safety
    /// As [`Interpreter::run`]; nobody else writes there.
    pub(super) unsafe fn tiles(&mut self, pass: &TilePass, rows: Range<usize>, columns: Range<usize>) {
        let mut row = rows.start;
        while row < rows.end {
            let height = self.plan.tile_rows.min(rows.end - row);
            let mut left = columns.start;
            while left < columns.end {
                let width = self.plan.tile_columns.min(columns.end - left);
                // SAFETY: the caller's promise.
                unsafe { self.tile(pass, Area { row, height, left, width }) };
                left += width;
            }
            row += height;
        }
    }

    /// Some tiles of these rows and columns, counted row by row with `across` in each, folded into sums.
    ///
    /// # Safety
    /// As [`RegisterFrame::tiles`].
    pub(super) unsafe fn block(
        &mut self,
        pass: &TilePass,
        tiles: Range<usize>,
        across: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let plan = self.plan;
        for &fold in &pass.folds {
            let lane = plan.folds[fold].lane;
            let sum = self.sums.wrapping_add(plan.sum_offset(fold));
            // SAFETY: each fold has room for a tile of lanes.
            unsafe {
                let neutral = &plan.folds[fold].neutral;
                transfer::repeat(lane, neutral.as_ptr(), sum, plan.tile_rows * plan.tile_columns);
            }
        }
        for tile in tiles {
            let row = rows.start + tile / across * plan.tile_rows;
            let left = columns.start + tile % across * plan.tile_columns;
            let (height, width) =
                (plan.tile_rows.min(rows.end - row), plan.tile_columns.min(columns.end - left));
            // SAFETY: the caller's promise.
            unsafe { self.tile(pass, Area { row, height, left, width }) };
        }
        if plan.columns_fold {
            for &fold in &pass.folds {
                let sum = self.sums.wrapping_add(plan.sum_offset(fold));
                // SAFETY: the whole tile was filled above.
                unsafe {
                    (plan.folds[fold].line)(sum, sum, sum, sum, plan.tile_rows * plan.tile_columns);
                }
            }
        }
    }

    /// What is done with kept values before a pass.
    ///
    /// # Safety
    /// As [`RegisterFrame::tiles`].
    pub(super) unsafe fn kept(&mut self, pass: &TilePass, columns: Range<usize>) {
        // SAFETY: the caller's promise; a kept value has one row.
        unsafe {
            let area = Area { row: 0, height: 1, left: columns.start, width: columns.len() };
            for step in &pass.kept {
                self.step(step, area);
            }
            for target in &pass.kept_stores {
                self.store(target, area);
            }
        }
    }

    /// # Safety
    /// As [`RegisterFrame::tiles`].
    #[inline]
    unsafe fn tile(&mut self, pass: &TilePass, area: Area) {
        // SAFETY: the caller's promise.
        unsafe {
            for target in &pass.stores {
                if target.direct {
                    let home = self.plan.values[target.value];
                    let place = self.place(&target.walk, area);
                    self.pointers[target.value] = place.unwrap_or(self.registers.wrapping_add(home.register));
                }
            }
            for step in &pass.tiles {
                self.step(step, area);
            }
            for target in &pass.stores {
                if !target.direct || self.place(&target.walk, area).is_none() {
                    self.store(target, area);
                }
            }
        }
    }

    /// The first element of a tile in memory, where the tile lies there as in a register.
    #[inline]
    fn place(&self, walk: &StridedWalk, area: Area) -> Option<*mut u8> {
        let whole = area.height == 1 || (walk.dense && area.width == self.plan.columns);
        (walk.column == 1 && whole).then(|| self.element(walk, area.row, area.left))
    }

    /// The address of an element of a store in this group.
    #[inline]
    fn element(&self, walk: &StridedWalk, row: usize, column: usize) -> *mut u8 {
        let group = if self.group == 0 { 0 } else { offset_of(self.group, &self.plan.groups, &walk.groups) };
        let offset =
            walk.offset + group + offset_of(row, &self.plan.rows, &walk.rows) + column as isize * walk.column;
        self.bases.start(walk.buffer).wrapping_offset(offset * walk.dtype.size() as isize)
    }

    /// # Safety
    /// As [`RegisterFrame::tiles`].
    #[inline]
    unsafe fn step(&mut self, step: &TileStep, area: Area) {
        let Area { height, width, .. } = area;
        // SAFETY: the caller's promise, and the plan's: registers have room for a tile, operands come first.
        unsafe {
            match step {
                TileStep::Run { run, value, operands: [a, b, c], class, .. } => {
                    let pointers = &self.pointers;
                    run(
                        pointers[*value],
                        pointers[*a],
                        pointers[*b],
                        pointers[*c],
                        class.lanes(height, width),
                    );
                }
                TileStep::Load { load, value, class } => self.load(*load, *value, *class, area),
                TileStep::Accumulator { value } => self.accumulator(*value, area),
                TileStep::Index { value, along, class, dtype } => {
                    self.index(*value, *along, *class, LaneType::of(*dtype), area);
                }
                TileStep::Spread { value, from, class } => {
                    let key = self.keys[*from];
                    let whole = [key[0], key[1], key[2], height];
                    if key != NEVER && self.keys[*value] == whole {
                        return;
                    }
                    self.spread(*value, *from, *class, height, width);
                    self.keys[*value] = if key == NEVER { NEVER } else { whole };
                }
                TileStep::FoldRows { line, value, from } => {
                    let size = self.plan.values[*from].lane.size();
                    let (out, from) = (self.pointers[*value], self.pointers[*from]);
                    for row in 0..height {
                        let line_start = from.wrapping_add(row * width * size);
                        line(out.wrapping_add(row * size), line_start, line_start, line_start, width);
                    }
                }
                TileStep::Accumulate { fold, from } => {
                    let sum = self.sums.wrapping_add(self.plan.sum_offset(*fold));
                    let into = self.plan.folds[*fold].into;
                    let from = self.pointers[*from];
                    if self.plan.columns_fold {
                        into(sum, sum, from, sum, height * width);
                    } else {
                        let size = self.plan.folds[*fold].lane.size();
                        for row in 0..height {
                            into(sum, sum, from.wrapping_add(row * width * size), sum, width);
                        }
                    }
                }
            }
        }
    }
}

/// The index that `number` has in row-major order, and how far a view moves to it.
#[inline]
fn offset_of(mut number: usize, sizes: &[usize], strides: &[isize]) -> isize {
    match sizes {
        [] => 0,
        [_] => number as isize * strides[0],
        _ => {
            let mut offset = 0;
            for (&size, &stride) in sizes.iter().zip(strides).rev() {
                offset += (number % size) as isize * stride;
                number /= size;
            }
            offset
        }
    }
}
