//! What a planned kernel is made of: values, the steps that make them from one tile to the next, and where they go.

use kiln_ir::DType;

use super::loops::{Loop, ScaledLoop};
use super::ops::LaneType;

/// Along what a value moves within a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileExtent {
    pub(super) rows: bool,
    pub(super) columns: bool,
}

impl TileExtent {
    pub(super) const ONE: TileExtent = TileExtent { rows: false, columns: false };
    /// One value for each row.
    pub(super) const COLUMN: TileExtent = TileExtent { rows: true, columns: false };

    pub(super) fn or(self, other: TileExtent) -> TileExtent {
        TileExtent { rows: self.rows || other.rows, columns: self.columns || other.columns }
    }

    /// How many lanes it moves by from row to row of a tile.
    #[inline]
    pub(super) fn row_step(self, columns: usize) -> usize {
        match (self.rows, self.columns) {
            (true, true) => columns,
            (true, false) => 1,
            (false, _) => 0,
        }
    }

    /// How many lanes it has in a tile.
    #[inline]
    pub(super) fn lanes(self, rows: usize, columns: usize) -> usize {
        (if self.rows { rows } else { 1 }) * (if self.columns { columns } else { 1 })
    }
}

/// A view cut into the parts that are walked differently.
#[derive(Clone, Debug)]
pub(super) struct StridedWalk {
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
pub(super) enum TileStep {
    Load {
        load: usize,
        value: usize,
        class: TileExtent,
    },
    Accumulator {
        value: usize,
    },
    Index {
        value: usize,
        along: IndexLoop,
        class: TileExtent,
        dtype: DType,
    },
    /// A value that moves along rows or columns only, repeated for a tile of several rows.
    Spread {
        value: usize,
        from: usize,
        class: TileExtent,
    },
    /// One loop, or one for each row where an operand moves along rows or columns only and isn't repeated.
    Run {
        run: Loop,
        value: usize,
        operands: [usize; 3],
        class: TileExtent,
        kind: RunKind,
        row_by_row: bool,
    },
    /// One loop of four operands, or one for each row: `a · by · b + c`.
    Scale {
        run: ScaledLoop,
        value: usize,
        operands: [usize; 4],
        class: TileExtent,
        row_by_row: bool,
    },
    /// Each row folded to one lane; where there is a second operand, its products with that.
    FoldRows {
        line: Loop,
        neutral: [u8; 8],
        value: usize,
        from: [usize; 2],
    },
    /// A function of each row and one value, and in the same loop a sum of what it gives.
    MakeRows {
        run: Loop,
        value: usize,
        sum: usize,
        operands: [usize; 2],
    },
    /// Folded into the sums of reduction number `fold`.
    Accumulate {
        fold: usize,
        from: usize,
    },
    /// The products of two values added to the sums of reduction number `fold`, lane by lane or in whole chunks.
    AccumulateProducts {
        fold: usize,
        from: [usize; 2],
        add: Loop,
        chunks: Loop,
    },
}

/// What a loop does with its first two operands, where one that does more may take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunKind {
    Sum,
    Difference,
    ExpOfDifference,
    /// `a · b · c`.
    ProductOfThree,
    /// What its instruction says, and nothing beside.
    Plain,
    Other,
}

impl RunKind {
    /// Whether it does what its instruction says, and nothing beside.
    pub(super) fn is_plain(self) -> bool {
        match self {
            RunKind::Sum | RunKind::Difference | RunKind::Plain => true,
            RunKind::ExpOfDifference | RunKind::ProductOfThree | RunKind::Other => false,
        }
    }
}

/// Which loop an index counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum IndexLoop {
    Group(usize),
    Row(usize),
    Column,
}

/// A store and the value it writes.
#[derive(Clone, Debug)]
pub(super) struct TileStore {
    pub(super) walk: StridedWalk,
    pub(super) value: usize,
    pub(super) class: TileExtent,
    /// The value may be computed right where it is stored.
    pub(super) direct: bool,
    /// How lanes go past the caches, where there are more of them than those hold.
    pub(super) stream: Option<Loop>,
}

/// One walk over the tiles.
#[derive(Clone, Debug, Default)]
pub(super) struct TilePass {
    /// Done once before the tiles, on kept values.
    pub(super) kept: Vec<TileStep>,
    pub(super) tiles: Vec<TileStep>,
    pub(super) stores: Vec<TileStore>,
    /// Stores of kept values, done once after `kept`.
    pub(super) kept_stores: Vec<TileStore>,
    /// The folds that this pass completes.
    pub(super) folds: Vec<usize>,
}

/// A reduction over tiles.
#[derive(Clone, Debug)]
pub(super) struct TileFold {
    pub(super) into: Loop,
    pub(super) chunks: Loop,
    pub(super) lane: LaneType,
    pub(super) neutral: [u8; 8],
    pub(super) value: usize,
}

/// A value's lane type and register.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegisterValue {
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

impl StridedWalk {
    /// Whether both may go through the same memory: stores overlap loads exactly or not at all, and what lies in the
    /// place of another buffer is walked as that was.
    pub(super) fn may_be(&self, other: &StridedWalk) -> bool {
        self.offset == other.offset
            && self.groups == other.groups
            && self.rows == other.rows
            && self.column == other.column
    }
}

impl TileStep {
    pub(super) fn operands(&self) -> Vec<usize> {
        match self {
            TileStep::Load { .. } | TileStep::Accumulator { .. } | TileStep::Index { .. } => vec![],
            TileStep::Spread { from, .. } | TileStep::Accumulate { from, .. } => vec![*from],
            TileStep::FoldRows { from, .. } | TileStep::AccumulateProducts { from, .. } => from.to_vec(),
            TileStep::MakeRows { operands, .. } => operands.to_vec(),
            TileStep::Run { operands, .. } => operands.to_vec(),
            TileStep::Scale { operands, .. } => operands.to_vec(),
        }
    }

    /// The values it makes.
    pub(super) fn results(&self) -> Vec<usize> {
        match self {
            TileStep::Load { value, .. }
            | TileStep::Accumulator { value }
            | TileStep::Index { value, .. }
            | TileStep::Spread { value, .. }
            | TileStep::Run { value, .. }
            | TileStep::Scale { value, .. }
            | TileStep::FoldRows { value, .. } => vec![*value],
            TileStep::MakeRows { value, sum, .. } => vec![*value, *sum],
            TileStep::Accumulate { .. } | TileStep::AccumulateProducts { .. } => vec![],
        }
    }
}
