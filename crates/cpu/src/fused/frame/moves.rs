//! Between a tile's place in memory and its registers: loads, a contraction's sums, indices, repetition and stores.

use super::super::ops::LaneType;
use super::super::steps::{IndexLoop, TileExtent, TileStore, is_crossed};
use super::super::transfer;
use super::{Area, RegisterFrame, offset_of};

impl RegisterFrame<'_> {
    /// # Safety
    /// As [`RegisterFrame::step`].
    #[inline]
    pub(super) unsafe fn load(&mut self, load: usize, value: usize, class: TileExtent, area: Area) {
        let Area { row, height, left, width } = area;
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
    /// As [`RegisterFrame::step`].
    pub(super) unsafe fn accumulator(&mut self, value: usize, area: Area) {
        let Area { row, height, left, width } = area;
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
    /// As [`RegisterFrame::step`].
    pub(super) unsafe fn index(
        &mut self,
        value: usize,
        along: IndexLoop,
        class: TileExtent,
        lane: LaneType,
        area: Area,
    ) {
        let Area { row, height, left, width } = area;
        let to = self.pointers[value];
        // SAFETY: the register has room for a tile.
        let put = |position: usize, index: usize| unsafe {
            match lane {
                LaneType::Long => to.cast::<i64>().add(position).write(index as i64),
                _ => to.cast::<i32>().add(position).write(index as i32),
            }
        };
        match along {
            IndexLoop::Group(loop_number) => put(0, self.index[loop_number]),
            IndexLoop::Column => (0..width).for_each(|column| put(column, left + column)),
            IndexLoop::Row(loop_number) => {
                let inner: usize = self.plan.rows[loop_number + 1..].iter().product();
                let size = self.plan.rows[loop_number];
                let rows = if class.rows { height } else { 1 };
                (0..rows).for_each(|r| put(r, (row + r) / inner % size));
            }
        }
    }

    /// # Safety
    /// As [`RegisterFrame::step`].
    pub(super) unsafe fn spread(
        &mut self,
        value: usize,
        from: usize,
        class: TileExtent,
        height: usize,
        width: usize,
    ) {
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
    /// As [`RegisterFrame::tiles`].
    pub(super) unsafe fn store(&mut self, target: &TileStore, area: Area) {
        let Area { row, height, left, width } = area;
        let TileStore { walk, value, class, stream, .. } = target;
        let size = self.plan.values[*value].lane.size();
        let from = self.pointers[*value];
        if let Some(copy) = stream {
            let together = walk.dense && width == self.plan.columns;
            let (rows, bytes) = if together { (1, height * width * size) } else { (height, width * size) };
            for r in 0..rows {
                let from = from.wrapping_add(r * bytes);
                // SAFETY: the program was checked: the elements exist, and are this task's.
                unsafe { copy(self.element(walk, row + r, left), from, from, from, bytes) };
            }
            return;
        }
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
