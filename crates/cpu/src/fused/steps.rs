//! What a planned kernel is made of: values, the steps that make them from one tile to the next, and where they go.

use kiln_ir::DType;

use super::loops::Loop;
use super::ops::LaneType;

/// Along what a value moves within a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) rows: bool,
    pub(super) columns: bool,
}

impl Class {
    pub(super) const ONE: Class = Class { rows: false, columns: false };

    pub(super) fn or(self, other: Class) -> Class {
        Class { rows: self.rows || other.rows, columns: self.columns || other.columns }
    }

    /// How many lanes it has in a tile.
    #[inline]
    pub(super) fn lanes(self, rows: usize, columns: usize) -> usize {
        (if self.rows { rows } else { 1 }) * (if self.columns { columns } else { 1 })
    }
}

/// A view cut into the parts that are walked differently.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) buffer: usize,
    pub(super) dtype: DType,
    pub(super) offset: isize,
    pub(super) groups: Vec<isize>,
    pub(super) rows: Vec<isize>,
    pub(super) column: isize,
    /// The rows follow each other like one long row, where columns are taken whole.
    pub(super) dense: bool,
    /// No row moves it.
    pub(super) fixed: bool,
    /// A load that is stored elsewhere while its own place may be written: it is copied before that.
    pub(super) copied: bool,
}

/// One thing done to a tile. Values are register numbers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Load {
        load: usize,
        value: usize,
        class: Class,
    },
    Accumulator {
        value: usize,
    },
    Index {
        value: usize,
        along: Along,
        class: Class,
        dtype: DType,
    },
    /// A value that moves along rows or columns only, repeated for a tile of several rows.
    Spread {
        value: usize,
        from: usize,
        class: Class,
    },
    /// One loop. `sum`: it is a plain addition of its first two operands.
    Run {
        run: Loop,
        value: usize,
        operands: [usize; 3],
        class: Class,
        sum: bool,
    },
    /// Each row folded to one lane.
    FoldRows {
        line: Loop,
        value: usize,
        from: usize,
    },
    /// Folded into the sums of reduction number `fold`.
    Accumulate {
        fold: usize,
        from: usize,
    },
}

/// Which loop an index counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Along {
    Group(usize),
    Row(usize),
    Column,
}

/// A store and the value it writes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) walk: Walk,
    pub(super) value: usize,
    pub(super) class: Class,
    /// The value may be computed right where it is stored.
    pub(super) direct: bool,
}

/// One walk over the tiles.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Done once before the tiles, on kept values.
    pub(super) kept: Vec<Step>,
    pub(super) tiles: Vec<Step>,
    pub(super) stores: Vec<Target>,
    /// Stores of kept values, done once after `kept`.
    pub(super) kept_stores: Vec<Target>,
    /// The folds that this pass completes.
    pub(super) folds: Vec<usize>,
}

/// A reduction over tiles.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) into: Loop,
    pub(super) line: Loop,
    pub(super) lane: LaneType,
    pub(super) neutral: [u8; 8],
    pub(super) value: usize,
}

/// A value's lane type and register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) lane: LaneType,
    /// Bytes from the start of the registers; each has room for a tile.
    pub(super) register: usize,
    /// Kept values live outside of tiles.
    pub(super) kept: bool,
}

/// Whether elements along the columns lie further apart than those along the innermost rows.
pub(super) fn is_crossed(column: isize, row: Option<isize>) -> bool {
    let row = row.unwrap_or(0).unsigned_abs();
    row > 0 && row < column.unsigned_abs()
}

impl Walk {
    /// Whether both may go through the same memory: stores overlap loads exactly or not at all, and what lies in the
    /// place of another buffer is walked as that was.
    pub(super) fn may_be(&self, other: &Walk) -> bool {
        self.offset == other.offset
            && self.groups == other.groups
            && self.rows == other.rows
            && self.column == other.column
    }
}

impl Step {
    pub(super) fn operands(&self) -> Vec<usize> {
        match self {
            Step::Load { .. } | Step::Accumulator { .. } | Step::Index { .. } => vec![],
            Step::Spread { from, .. } | Step::FoldRows { from, .. } | Step::Accumulate { from, .. } => {
                vec![*from]
            }
            Step::Run { operands, .. } => operands.to_vec(),
        }
    }

    pub(super) fn result(&self) -> Option<usize> {
        match self {
            Step::Load { value, .. }
            | Step::Accumulator { value }
            | Step::Index { value, .. }
            | Step::Spread { value, .. }
            | Step::Run { value, .. }
            | Step::FoldRows { value, .. } => Some(*value),
            Step::Accumulate { .. } => None,
        }
    }
}
