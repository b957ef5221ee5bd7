//! A thread's registers, and how steps run over a tile in them.

mod moves;

use std::ops::Range;

use super::folds::FOLD_LANES;
use super::loops::Loop;
use super::ops::LaneType;
use super::plan::FusedPlan;
use super::steps::{StridedWalk, TileFold, TilePass, TileStep};
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
    /// The running sums of folds, and the lane of them that the next tile begins with.
    pub(super) sums: *mut u8,
    fold_lane: usize,
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
            fold_lane: 0,
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

    /// A range of the points of a fold, folded into sums, of which there is one for each of the columns that are kept. Points are numbered
    /// along the loops that are folded, whatever tiles they come in.
    ///
    /// # Safety
    /// As [`RegisterFrame::tiles`].
    pub(super) unsafe fn block(&mut self, pass: &TilePass, points: Range<usize>, columns: Range<usize>) {
        let plan = self.plan;
        let kept = if plan.columns_fold { 1 } else { columns.len() };
        for &fold in &pass.folds {
            let TileFold { lane, neutral, .. } = &plan.folds[fold];
            let sum = self.sums.wrapping_add(plan.sum_offset(fold));
            // SAFETY: each fold has room for its lanes.
            unsafe { transfer::repeat(*lane, neutral.as_ptr(), sum, FOLD_LANES * kept) };
        }
        let mut at = points.start;
        while at < points.end {
            let rest = points.end - at;
            let area = match plan.columns_fold {
                false => Area {
                    row: at,
                    height: plan.tile_rows.min(rest),
                    left: columns.start,
                    width: columns.len(),
                },
                true => {
                    let (row, left) = (at / plan.columns, at % plan.columns);
                    match left == 0 && plan.columns <= plan.tile_columns.min(rest) {
                        true => Area {
                            row,
                            height: plan.tile_rows.min(rest / plan.columns),
                            left,
                            width: plan.columns,
                        },
                        false => Area {
                            row,
                            height: 1,
                            left,
                            width: plan.tile_columns.min(plan.columns - left).min(rest),
                        },
                    }
                }
            };
            self.fold_lane = (at - points.start) % FOLD_LANES;
            // SAFETY: the caller's promise.
            unsafe { self.tile(pass, area) };
            at += area.height * if plan.columns_fold { area.width } else { 1 };
        }
        for &fold in &pass.folds {
            let TileFold { into, lane, .. } = &plan.folds[fold];
            let sum = self.sums.wrapping_add(plan.sum_offset(fold));
            let mut width = FOLD_LANES / 2;
            while width > 0 {
                let upper = sum.wrapping_add(width * kept * lane.size());
                // SAFETY: all lanes were filled above.
                unsafe { into(sum, sum, upper, sum, width * kept) };
                width /= 2;
            }
        }
    }

    /// Folds a tile of values (or of the products of two) into the lanes of the sums, from the one on that this tile begins with: whole chunks by
    /// `chunks`, others by `into`.
    ///
    /// # Safety
    /// As [`RegisterFrame::step`].
    #[inline]
    unsafe fn accumulate(
        &mut self,
        fold: usize,
        from: [*mut u8; 2],
        Area { height, width, .. }: Area,
        chunks: Loop,
        into: impl Fn(*mut u8, [*mut u8; 2], usize),
    ) {
        let plan = self.plan;
        let (points, kept) = if plan.columns_fold { (height * width, 1) } else { (height, width) };
        let sums = self.sums.wrapping_add(plan.sum_offset(fold));
        let size = kept * plan.folds[fold].lane.size();
        let (mut at, mut lane) = (0, self.fold_lane);
        while at < points {
            let from = from.map(|from| from.wrapping_add(at * size));
            let whole = (points - at) / FOLD_LANES * FOLD_LANES;
            if lane == 0 && plan.columns_fold && whole > 0 {
                // SAFETY: the caller's promise; the sums have all these lanes.
                unsafe { chunks(sums, from[0], from[1], from[0], whole) };
                at += whole;
            } else {
                let count = (FOLD_LANES - lane).min(points - at);
                into(sums.wrapping_add(lane * size), from, count * kept);
                (at, lane) = (at + count, (lane + count) % FOLD_LANES);
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

    /// Where a row of each of these values is.
    #[inline]
    fn row<const N: usize>(&self, values: [usize; N], row: usize, width: usize) -> [*mut u8; N] {
        values.map(|value| {
            let lanes = row * self.plan.class(value).row_step(width);
            self.pointers[value].wrapping_add(lanes * self.plan.values[value].lane.size())
        })
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
                TileStep::Run { run, value, operands, row_by_row: true, .. } => {
                    let [a, b, c] = *operands;
                    for row in 0..height {
                        let [out, a, b, c] = self.row([*value, a, b, c], row, width);
                        run(out, a, b, c, width);
                    }
                }
                TileStep::Scale { run, value, operands: [a, by, b, c], class, row_by_row } => {
                    let (calls, lanes) =
                        if *row_by_row { (height, width) } else { (1, class.lanes(height, width)) };
                    for row in 0..calls {
                        let [out, a, by, b, c] = self.row([*value, *a, *by, *b, *c], row, width);
                        run(out, a, by, b, c, lanes);
                    }
                }
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
                    // Between passes a kept value stays as it is.
                    let key = match self.plan.values[*from].kept {
                        true => [self.group, area.left, width, 0],
                        false => self.keys[*from],
                    };
                    let whole = [key[0], key[1], key[2], height];
                    if key != NEVER && self.keys[*value] == whole {
                        return;
                    }
                    self.spread(*value, *from, *class, height, width);
                    self.keys[*value] = if key == NEVER { NEVER } else { whole };
                }
                TileStep::FoldRows { line, neutral, value, from: [a, b] } => {
                    let size = self.plan.values[*a].lane.size();
                    let (out, a, b) = (self.pointers[*value], self.pointers[*a], self.pointers[*b]);
                    for row in 0..height {
                        let start = row * width * size;
                        let (a, b) = (a.wrapping_add(start), b.wrapping_add(start));
                        line(out.wrapping_add(row * size), a, neutral.as_ptr(), b, width);
                    }
                }
                TileStep::MakeRows { run, value, sum, operands: [a, b] } => {
                    let size = self.plan.values[*value].lane.size();
                    let step = if self.plan.class(*b).rows { size } else { 0 };
                    let [out, sum, a, b] = [*value, *sum, *a, *b].map(|value| self.pointers[value]);
                    for row in 0..height {
                        let start = row * width * size;
                        let (out, a) = (out.wrapping_add(start), a.wrapping_add(start));
                        run(out, a, b.wrapping_add(row * step), sum.wrapping_add(row * size), width);
                    }
                }
                TileStep::Accumulate { fold, from } => {
                    let TileFold { into, chunks, .. } = &self.plan.folds[*fold];
                    let from = self.pointers[*from];
                    self.accumulate(*fold, [from; 2], area, *chunks, |sums, [from, _], lanes| {
                        into(sums, sums, from, sums, lanes);
                    });
                }
                TileStep::AccumulateProducts { fold, from, add, chunks } => {
                    let from = from.map(|value| self.pointers[value]);
                    self.accumulate(*fold, from, area, *chunks, |sums, [a, b], lanes| {
                        add(sums, a, b, sums, lanes);
                    });
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
