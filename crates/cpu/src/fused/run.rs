//! Walks the tiles of a planned kernel.

use std::ops::Range;

use kiln_compile::program::{Fused, Operation};

use super::convert;
use super::ops::LaneType;
use super::plan::{Along, Class, Fold, Pass, Plan, Shape, Step, Target, Walk, is_crossed};
use super::transfer;
use crate::bases::Bases;
use crate::scratch::{self, Purpose};
use crate::shared::Shared;
use crate::simd::Level;
use crate::threads::parallel;

/// Weighted points that are worth a task of their own.
const GRAIN: usize = 64 * 1024;
/// The most parts a fold is cut into.
const MOST_BLOCKS: usize = 32;

/// A fused kernel made ready.
#[derive(Debug)]
pub(crate) struct Interpreter {
    plan: Plan,
    plain: Option<Plain>,
}

/// A tail that only stores: the contraction may write there itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// The buffer, the element at row and column zero, and the distance between rows; columns are contiguous.
    pub(crate) buffer: usize,
    pub(crate) offset: isize,
    pub(crate) row_stride: isize,
}

/// A contraction's block that a tail reads.
#[derive(Clone, Copy)]
struct Source {
    sums: *const u8,
    stride: usize,
    first_row: usize,
    first_column: usize,
}

impl Interpreter {
    /// Plans a kernel for a level of the processor.
    pub(crate) fn new(fused: &Fused, level: Level) -> Interpreter {
        let plain = plain(fused);
        Interpreter { plan: Plan::new(&convert::stores(fused), level), plain }
    }

    /// Where the accumulator goes, if this is a tail that does nothing but store it in its own dtype.
    pub(crate) fn plain(&self) -> Option<Plain> {
        self.plain
    }

    /// Runs the kernel.
    ///
    /// # Safety
    /// The program was checked; `bases` are its buffers, which nothing else uses meanwhile.
    pub(crate) unsafe fn run(&self, bases: &Bases) {
        let plan = &self.plan;
        // SAFETY: the caller's promise.
        unsafe {
            match plan.shape {
                Shape::Rows => run_rows(plan, bases),
                Shape::Folds => run_folds(plan, bases),
            }
        }
    }

    /// Runs the kernel as the tail of a block of `rows` and `columns`, `stride` lanes from row to row.
    ///
    /// # Safety
    /// As [`Interpreter::run`]; `sums` holds the block, in lanes of the accumulator's dtype.
    pub(crate) unsafe fn run_block(
        &self,
        bases: &Bases,
        sums: *const u8,
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let source = Source { sums, stride, first_row: rows.start, first_column: columns.start };
        with_frame(&self.plan, bases, None, |frame| {
            frame.source = Some(source);
            // SAFETY: the caller's promise.
            unsafe { frame.tiles(&self.plan.passes[0], rows, columns) };
        });
    }
}

fn plain(fused: &Fused) -> Option<Plain> {
    let ([instruction], [store]) = (fused.body.as_slice(), fused.stores.as_slice()) else { return None };
    let view = &store.view;
    let last = *view.strides.last()?;
    let same = instruction.operation == Operation::Accumulator && instruction.dtype == view.dtype;
    if !same || !transfer::is_lane(view.dtype) || (last != 1 && fused.loops.last() != Some(&1)) {
        return None;
    }
    let outer = fused.loops.len() - 1;
    let row_stride = view.strides[..outer].last().copied().unwrap_or(0);
    let nested = (1..outer).all(|d| view.strides[d - 1] == view.strides[d] * fused.loops[d] as isize);
    nested.then_some(Plain { buffer: view.buffer, offset: view.offset, row_stride })
}

/// # Safety
/// As [`Interpreter::run`].
unsafe fn run_rows(plan: &Plan, bases: &Bases) {
    let rows: usize = plan.rows.iter().product();
    let total = rows * plan.columns;
    let grain = (GRAIN / plan.weight).max(total / 64).max(1);
    // Long rows without folds are cut too.
    let cut = plan.columns > 2 * grain && plan.tile_columns < plan.columns;
    let width = if cut { grain.next_multiple_of(plan.tile_columns) } else { plan.columns };
    let pieces = plan.columns.div_ceil(width);
    let height = if cut { 1 } else { (grain / plan.columns.max(1)).max(1).next_multiple_of(plan.tile_rows) };
    parallel(rows.div_ceil(height) * pieces, &|task| {
        let (first, left) = (task / pieces * height, task % pieces * width);
        with_frame(plan, bases, None, |frame| {
            // SAFETY: tasks have rows and columns of their own.
            unsafe {
                let columns = left..(left + width).min(plan.columns);
                frame.tiles(&plan.passes[0], first..(first + height).min(rows), columns);
            }
        });
    });
}

/// # Safety
/// As [`Interpreter::run`].
unsafe fn run_folds(plan: &Plan, bases: &Bases) {
    let rows: usize = plan.rows.iter().product();
    let groups: usize = plan.groups.iter().product();
    let strips = if plan.columns_fold { 1 } else { plan.columns.div_ceil(plan.tile_columns) };
    let strip = |number: usize| {
        let left = number * plan.tile_columns;
        if plan.columns_fold { 0..plan.columns } else { left..(left + plan.tile_columns).min(plan.columns) }
    };
    let units = groups * strips;
    let width = if plan.columns_fold { plan.columns } else { plan.tile_columns };
    let work = rows * width * plan.weight;
    // Tiles of one unit, row tiles outermost.
    let across = if plan.columns_fold { plan.columns.div_ceil(plan.tile_columns) } else { 1 };
    let tiles = rows.div_ceil(plan.tile_rows) * across;
    let blocks = if units >= 4 { 1 } else { (work / GRAIN).clamp(1, MOST_BLOCKS).min(tiles) };
    let stride = plan.sums();
    let unit = |number: usize, blocks_in_parallel: bool| {
        let (group, columns) = (number / strips, strip(number % strips));
        scratch::with(Purpose::Folds, (blocks + 1) * stride + plan.kept, |memory: *mut u8| {
            let kept = memory.wrapping_add(blocks * stride);
            for pass in &plan.passes {
                // Values between the passes.
                with_frame(plan, bases, Some(kept), |frame| {
                    frame.enter(group);
                    // SAFETY: this unit's kept values and stores are nobody else's.
                    unsafe { frame.kept(pass, columns.clone()) };
                });
                if pass.tiles.is_empty() && pass.stores.is_empty() {
                    continue;
                }
                let (memory, kept) = (Shared(memory), Shared(kept));
                let block = |block: usize| {
                    with_frame(plan, bases, Some(kept.get()), |frame| {
                        frame.enter(group);
                        frame.sums = memory.get().wrapping_add(block * stride);
                        let range = tiles * block / blocks..tiles * (block + 1) / blocks;
                        // SAFETY: the block's sums and tiles are nobody else's.
                        unsafe { frame.block(pass, range, across, rows, columns.clone()) };
                    });
                };
                match blocks_in_parallel {
                    true => parallel(blocks, &block),
                    false => (0..blocks).for_each(block),
                }
                for (&fold, offset) in
                    pass.folds.iter().zip(pass.folds.iter().map(|&fold| plan.sum_offset(fold)))
                {
                    let Fold { into, lane, value, .. } = &plan.folds[fold];
                    let lanes = if plan.columns_fold { 1 } else { columns.len() };
                    let target = kept.get().wrapping_add(plan.values[*value].register);
                    for block in 0..blocks {
                        let part = memory.get().wrapping_add(block * stride + offset);
                        // SAFETY: the kept value and the block's sums are memory of this unit.
                        unsafe {
                            match block {
                                0 => std::ptr::copy_nonoverlapping(part, target, lanes * lane.size()),
                                _ => into(target, target, part, target, lanes),
                            }
                        }
                    }
                }
            }
        });
    };
    if units >= 4 {
        parallel_if(units, work * units, &|number| unit(number, false));
    } else {
        (0..units).for_each(|number| unit(number, true));
    }
}

/// Shares out only what is worth it.
fn parallel_if(tasks: usize, work: usize, body: &(dyn Fn(usize) + Sync)) {
    if work < GRAIN { (0..tasks).for_each(body) } else { parallel(tasks, body) }
}

impl Plan {
    /// Bytes of the running sums of one block.
    fn sums(&self) -> usize {
        self.folds.len() * self.sum_size()
    }

    fn sum_size(&self) -> usize {
        (self.tile_rows * self.tile_columns * 8).next_multiple_of(64)
    }

    fn sum_offset(&self, fold: usize) -> usize {
        fold * self.sum_size()
    }
}

/// A thread's registers for one task.
struct Frame<'a> {
    plan: &'a Plan,
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
    sums: *mut u8,
    source: Option<Source>,
    group: usize,
}

/// No tile has this key.
const NEVER: [usize; 4] = [usize::MAX; 4];

fn with_frame(plan: &Plan, bases: &Bases, kept: Option<*mut u8>, body: impl FnOnce(&mut Frame)) {
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
        body(&mut Frame {
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

impl Frame<'_> {
    /// Moves every load to a group.
    fn enter(&mut self, group: usize) {
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
    unsafe fn tiles(&mut self, pass: &Pass, rows: Range<usize>, columns: Range<usize>) {
        let mut row = rows.start;
        while row < rows.end {
            let height = self.plan.tile_rows.min(rows.end - row);
            let mut left = columns.start;
            while left < columns.end {
                let width = self.plan.tile_columns.min(columns.end - left);
                // SAFETY: the caller's promise.
                unsafe { self.tile(pass, row, height, left, width) };
                left += width;
            }
            row += height;
        }
    }

    /// A range of the tiles of a unit, folded into sums.
    ///
    /// # Safety
    /// As [`Frame::tiles`].
    unsafe fn block(
        &mut self,
        pass: &Pass,
        tiles: Range<usize>,
        across: usize,
        rows: usize,
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
            let row = tile / across * plan.tile_rows;
            let left = columns.start + tile % across * plan.tile_columns;
            let (height, width) = (plan.tile_rows.min(rows - row), plan.tile_columns.min(columns.end - left));
            // SAFETY: the caller's promise.
            unsafe { self.tile(pass, row, height, left, width) };
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
    /// As [`Frame::tiles`].
    unsafe fn kept(&mut self, pass: &Pass, columns: Range<usize>) {
        // SAFETY: the caller's promise; a kept value has one row.
        unsafe {
            for step in &pass.kept {
                self.step(step, 0, 1, columns.start, columns.len());
            }
            for target in &pass.kept_stores {
                self.store(target, 0, 1, columns.start, columns.len());
            }
        }
    }

    /// # Safety
    /// As [`Frame::tiles`].
    #[inline]
    unsafe fn tile(&mut self, pass: &Pass, row: usize, height: usize, left: usize, width: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            for target in &pass.stores {
                if target.direct {
                    let home = self.plan.values[target.value];
                    let place = self.place(&target.walk, row, left, height, width);
                    self.pointers[target.value] = place.unwrap_or(self.registers.wrapping_add(home.register));
                }
            }
            for step in &pass.tiles {
                self.step(step, row, height, left, width);
            }
            for target in &pass.stores {
                if !target.direct || self.place(&target.walk, row, left, height, width).is_none() {
                    self.store(target, row, height, left, width);
                }
            }
        }
    }

    /// The first element of a tile in memory, where the tile lies there as in a register.
    #[inline]
    fn place(&self, walk: &Walk, row: usize, left: usize, height: usize, width: usize) -> Option<*mut u8> {
        let whole = height == 1 || (walk.dense && width == self.plan.columns);
        (walk.column == 1 && whole).then(|| self.element(walk, row, left))
    }

    /// The address of an element of a store in this group.
    #[inline]
    fn element(&self, walk: &Walk, row: usize, column: usize) -> *mut u8 {
        let group = if self.group == 0 { 0 } else { offset_of(self.group, &self.plan.groups, &walk.groups) };
        let offset =
            walk.offset + group + offset_of(row, &self.plan.rows, &walk.rows) + column as isize * walk.column;
        self.bases.start(walk.buffer).wrapping_offset(offset * walk.dtype.size() as isize)
    }

    /// # Safety
    /// As [`Frame::tiles`].
    #[inline]
    unsafe fn step(&mut self, step: &Step, row: usize, height: usize, left: usize, width: usize) {
        // SAFETY: the caller's promise, and the plan's: registers have room for a tile, operands come first.
        unsafe {
            match step {
                Step::Run { run, value, operands: [a, b, c], class, .. } => {
                    let pointers = &self.pointers;
                    run(
                        pointers[*value],
                        pointers[*a],
                        pointers[*b],
                        pointers[*c],
                        class.lanes(height, width),
                    );
                }
                Step::Load { load, value, class } => {
                    self.load(*load, *value, *class, row, height, left, width)
                }
                Step::Accumulator { value } => self.accumulator(*value, row, height, left, width),
                Step::Index { value, along, class, dtype } => {
                    self.index(*value, *along, *class, LaneType::of(*dtype), row, height, left, width);
                }
                Step::Spread { value, from, class } => {
                    let key = self.keys[*from];
                    let whole = [key[0], key[1], key[2], height];
                    if key != NEVER && self.keys[*value] == whole {
                        return;
                    }
                    self.spread(*value, *from, *class, height, width);
                    self.keys[*value] = if key == NEVER { NEVER } else { whole };
                }
                Step::FoldRows { line, value, from } => {
                    let size = self.plan.values[*from].lane.size();
                    let (out, from) = (self.pointers[*value], self.pointers[*from]);
                    for row in 0..height {
                        let line_start = from.wrapping_add(row * width * size);
                        line(out.wrapping_add(row * size), line_start, line_start, line_start, width);
                    }
                }
                Step::Accumulate { fold, from } => {
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

    /// # Safety
    /// As [`Frame::step`].
    #[inline]
    #[allow(clippy::too_many_arguments)]
    unsafe fn load(
        &mut self,
        load: usize,
        value: usize,
        class: Class,
        row: usize,
        height: usize,
        left: usize,
        width: usize,
    ) {
        let plan = self.plan;
        let walk = &plan.loads[load];
        let key = [self.group, left, width, 0];
        if walk.fixed {
            if self.keys[value] == key {
                return;
            }
            self.keys[value] = key;
        }
        let size = walk.dtype.size() as isize;
        let start = walk.offset + self.offsets[load] + left as isize * walk.column;
        let base = self.bases.start(walk.buffer);
        let at = |row: usize| base.wrapping_offset((start + offset_of(row, &plan.rows, &walk.rows)) * size);
        let lane = transfer::is_lane(walk.dtype) && !walk.copied;
        let home = plan.values[value].register;
        let register = self.registers.wrapping_add(home);
        let step = plan.values[value].lane.size();
        // SAFETY: the program was checked: the elements exist; the register has room for a tile.
        unsafe {
            match (class.rows && height > 1, class.columns) {
                (false, false) => transfer::load(walk.dtype, at(row), 0, register, 1),
                (false, true) if lane && walk.column == 1 => {
                    self.pointers[value] = at(row);
                    return;
                }
                (false, true) => transfer::load(walk.dtype, at(row), walk.column, register, width),
                (true, true) if walk.dense && width == plan.columns => {
                    if lane {
                        self.pointers[value] = at(row);
                        return;
                    }
                    transfer::load(walk.dtype, at(row), 1, register, height * width);
                }
                (true, true)
                    if is_crossed(walk.column, walk.rows.last().copied())
                        && plan.rows.last().is_some_and(|size| row % size + height <= *size) =>
                {
                    let row_stride = walk.rows[walk.rows.len() - 1];
                    transfer::load_crossed(
                        walk.dtype,
                        at(row),
                        [row_stride, walk.column],
                        register,
                        [height, width],
                    );
                }
                (true, columns) => {
                    let width = if columns { width } else { 1 };
                    if !columns && plan.rows.len() == 1 {
                        transfer::load(walk.dtype, at(row), walk.rows[0], register, height);
                    } else {
                        for r in 0..height {
                            let to = register.wrapping_add(r * width * step);
                            transfer::load(walk.dtype, at(row + r), walk.column, to, width);
                        }
                    }
                }
            }
        }
        self.pointers[value] = register;
    }

    /// # Safety
    /// As [`Frame::step`].
    unsafe fn accumulator(&mut self, value: usize, row: usize, height: usize, left: usize, width: usize) {
        let Some(source) = self.source else { return };
        let size = self.plan.values[value].lane.size();
        let start = source
            .sums
            .wrapping_add(((row - source.first_row) * source.stride + left - source.first_column) * size);
        if height == 1 || source.stride == width {
            self.pointers[value] = start.cast_mut();
            return;
        }
        let home = self.plan.values[value].register;
        let register = self.registers.wrapping_add(home);
        for r in 0..height {
            // SAFETY: the block has these rows, the register room for them.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    start.wrapping_add(r * source.stride * size),
                    register.wrapping_add(r * width * size),
                    width * size,
                );
            }
        }
        self.pointers[value] = register;
    }

    /// # Safety
    /// As [`Frame::step`].
    #[allow(clippy::too_many_arguments)]
    unsafe fn index(
        &mut self,
        value: usize,
        along: Along,
        class: Class,
        lane: LaneType,
        row: usize,
        height: usize,
        left: usize,
        width: usize,
    ) {
        let to = self.pointers[value];
        // SAFETY: the register has room for a tile.
        let put = |position: usize, index: usize| unsafe {
            match lane {
                LaneType::Long => to.cast::<i64>().add(position).write(index as i64),
                _ => to.cast::<i32>().add(position).write(index as i32),
            }
        };
        match along {
            Along::Group(loop_number) => put(0, self.index[loop_number]),
            Along::Column => (0..width).for_each(|column| put(column, left + column)),
            Along::Row(loop_number) => {
                let inner: usize = self.plan.rows[loop_number + 1..].iter().product();
                let size = self.plan.rows[loop_number];
                let rows = if class.rows { height } else { 1 };
                (0..rows).for_each(|r| put(r, (row + r) / inner % size));
            }
        }
    }

    /// # Safety
    /// As [`Frame::step`].
    unsafe fn spread(&mut self, value: usize, from: usize, class: Class, height: usize, width: usize) {
        let lane = self.plan.values[from].lane;
        let size = lane.size();
        let (to, source) = (self.pointers[value], self.pointers[from]);
        let lanes = class.lanes(height, width);
        let own = self.plan.class(from);
        // SAFETY: the register has room for a tile; the operand has the lanes of its class.
        unsafe {
            match (own.rows, own.columns) {
                (true, false) => {
                    for r in 0..height {
                        transfer::repeat(
                            lane,
                            source.wrapping_add(r * size),
                            to.wrapping_add(r * width * size),
                            width,
                        );
                    }
                }
                (false, true) => {
                    for r in 0..if class.rows { height } else { 1 } {
                        std::ptr::copy_nonoverlapping(
                            source,
                            to.wrapping_add(r * width * size),
                            width * size,
                        );
                    }
                }
                _ => transfer::repeat(lane, source, to, lanes),
            }
        }
    }

    /// # Safety
    /// As [`Frame::tiles`].
    unsafe fn store(&mut self, target: &Target, row: usize, height: usize, left: usize, width: usize) {
        let Target { walk, value, class, .. } = target;
        let size = self.plan.values[*value].lane.size();
        let from = self.pointers[*value];
        let step = isize::from(class.columns);
        // What a fold gives is stored once.
        let width = if walk.column == 0 { 1 } else { width };
        // SAFETY: the program was checked: the elements exist, and are this task's.
        unsafe {
            if class.rows && class.columns && walk.dense && width == self.plan.columns {
                transfer::store(walk.dtype, from, 1, self.element(walk, row, left), 1, height * width);
                return;
            }
            for r in 0..height {
                let lane = if class.rows { r * if class.columns { width } else { 1 } } else { 0 };
                let from = from.wrapping_add(lane * size);
                transfer::store(
                    walk.dtype,
                    from,
                    step,
                    self.element(walk, row + r, left),
                    walk.column,
                    width,
                );
            }
        }
    }
}
