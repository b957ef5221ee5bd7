//! From a fused kernel to lists of steps over tiles: how its loops are cut, and what is known of the whole.
//!
//! A tile is some rows times a run of the innermost loop. Relative to it a value has a class: it moves along rows,
//! along columns, both, or neither; only what moves is computed. Without reductions, or with one over a short innermost
//! loop alone, rows are the other loops and one list of steps does all ([`WalkOrder::Rows`]). Otherwise rows are reduced loops:
//! for each group of kept ones the tiles are walked once for each level of reductions ([`WalkOrder::Folds`]).

use std::collections::HashMap;

use kiln_compile::program::{Fused, Operation, View};
use kiln_ir::op::{BinaryOp, UnaryOp};

use super::folds::FOLD_LANES;
use super::lower::{PlanBuilder, uses};
use super::ops::LaneType;
use super::registers::{self, RegisterBytes};
use super::steps::{RegisterValue, StridedWalk, TileExtent, TileFold, TilePass, is_crossed};
use crate::caches::caches;
use crate::simd::Level;

/// Lanes of a register, unless a whole row must fit.
const TILE: usize = 1024;
/// Rows up to this long are reduced in registers.
const LONGEST_ROW: usize = 8192;
/// Rows shorter than this share a tile.
const SHORT_ROW: usize = 1024;
/// Rows of at least so many columns are gone through one by one where an operand has one value for each; in shorter ones that is repeated.
const WIDE_ROW: usize = 256;

/// Lanes that a tile keeps where it is made lower for its registers to stay in the first cache.
const SHORTEST_TILE: usize = 256;

/// Rows and columns of a tile that is read across.
const SQUARE: usize = 32;

/// How the loops are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkOrder {
    Rows,
    Folds,
}

/// A kernel made ready.
#[derive(Debug)]
pub(super) struct FusedPlan {
    pub(super) shape: WalkOrder,
    pub(super) groups: Vec<usize>,
    pub(super) rows: Vec<usize>,
    pub(super) columns: usize,
    /// Whether the columns are folded too.
    pub(super) columns_fold: bool,
    pub(super) loads: Vec<StridedWalk>,
    pub(super) values: Vec<RegisterValue>,
    pub(super) literals: Vec<(usize, [u8; 8])>,
    pub(super) passes: Vec<TilePass>,
    pub(super) folds: Vec<TileFold>,
    /// Rows of a full tile, and its columns.
    pub(super) tile_rows: usize,
    pub(super) tile_columns: usize,
    /// Bytes of the registers, and of the kept values behind them.
    pub(super) registers: usize,
    pub(super) kept: usize,
    /// A guess at the cost of a point, for sharing out work.
    pub(super) weight: usize,
    classes: Vec<TileExtent>,
}

impl FusedPlan {
    pub(super) fn new(fused: &Fused, level: Level) -> FusedPlan {
        let count = fused.loops.len();
        let columns = fused.loops[count - 1];
        let folds = fused.reduced.contains(&true);
        let columns_fold = fused.reduced[count - 1];
        let others_fold = fused.reduced[..count - 1].contains(&true);
        let in_rows = !folds || (columns_fold && !others_fold && columns <= LONGEST_ROW);
        let shape = if in_rows { WalkOrder::Rows } else { WalkOrder::Folds };
        let is_row = |d: usize| in_rows || fused.reduced[d];
        let row_loops: Vec<usize> = (0..count - 1).filter(|&d| is_row(d)).collect();
        let group_loops: Vec<usize> = (0..count - 1).filter(|&d| !is_row(d)).collect();
        let sizes = |loops: &[usize]| loops.iter().map(|&d| fused.loops[d]).collect::<Vec<_>>();
        let rows = sizes(&row_loops);
        let row_count: usize = rows.iter().product();
        let whole_rows = in_rows && folds;
        let several = columns < SHORT_ROW && row_count > 1;
        // A load whose columns lie further apart than its rows is read in squares, so that what the cache brings along
        // is used.
        let crossed = !folds
            && columns > SQUARE
            && row_count > 1
            && fused
                .loads
                .iter()
                .any(|load| is_crossed(load.strides[count - 1], row_loops.last().map(|&d| load.strides[d])));
        let several = several || crossed;
        let (tile_rows, tile_columns) = match (crossed, whole_rows) {
            (true, _) => (SQUARE.min(row_count), SQUARE),
            (false, true) if several => ((TILE / columns).clamp(1, row_count), columns),
            (false, true) => (1, columns),
            (false, false) if several => ((TILE / columns).clamp(1, row_count), columns.min(TILE)),
            (false, false) => (1, columns.min(TILE)),
        };
        let walk = |view: &View| {
            let pick = |loops: &[usize]| loops.iter().map(|&d| view.strides[d]).collect::<Vec<_>>();
            let row_strides = pick(&row_loops);
            let mut expected = view.strides[count - 1] * columns as isize;
            let mut dense = view.strides[count - 1] == 1;
            for (&stride, &size) in row_strides.iter().zip(&rows).rev() {
                dense &= stride == expected;
                expected *= size as isize;
            }
            StridedWalk {
                buffer: view.buffer,
                dtype: view.dtype,
                offset: view.offset,
                groups: pick(&group_loops),
                fixed: row_strides.iter().all(|&stride| stride == 0),
                rows: row_strides,
                column: view.strides[count - 1],
                dense,
                copied: false,
            }
        };
        let mut builder = PlanBuilder {
            fused,
            level,
            in_rows,
            several,
            row_by_row: several && whole_rows && columns >= WIDE_ROW,
            columns_fold,
            row_loops: &row_loops,
            group_loops: &group_loops,
            loads: fused.loads.iter().map(walk).collect(),
            values: fused
                .body
                .iter()
                .map(|i| RegisterValue { lane: LaneType::of(i.dtype), register: 0, kept: false })
                .collect(),
            classes: vec![TileExtent::ONE; fused.body.len()],
            levels: fused.levels(),
            literals: Vec::new(),
            folds: Vec::new(),
            spread: HashMap::new(),
            uses: uses(fused),
        };
        builder.classify();
        let passes = builder.passes(walk);
        let PlanBuilder { loads, mut values, classes, literals, folds, .. } = builder;
        let mut place = |rows: usize| {
            registers::place(&mut values, &loads, &literals, &passes, (rows * tile_columns).max(1))
        };
        let mut tile_rows = tile_rows;
        let mut bytes = place(tile_rows);
        // Many registers stay in the first cache, beside what is loaded and stored, when tiles are lower.
        while !in_rows
            && bytes.registers > caches().first / 4 * 3
            && tile_rows * tile_columns >= 2 * SHORTEST_TILE
            && tile_rows > 1
        {
            tile_rows /= 2;
            bytes = place(tile_rows);
        }
        let RegisterBytes { registers, kept } = bytes;
        FusedPlan {
            shape,
            groups: sizes(&group_loops),
            rows,
            columns,
            columns_fold,
            loads,
            values,
            literals,
            passes,
            folds,
            tile_rows,
            tile_columns,
            registers,
            kept,
            weight: weight(fused),
            classes,
        }
    }

    /// What a value moves along.
    pub(super) fn class(&self, value: usize) -> TileExtent {
        self.classes[value]
    }

    /// Bytes of the running sums of one block.
    pub(super) fn sums(&self) -> usize {
        self.folds.len() * self.sum_size()
    }

    fn sum_size(&self) -> usize {
        let columns = if self.columns_fold { 1 } else { self.tile_columns };
        (FOLD_LANES * columns * 8).next_multiple_of(64)
    }

    pub(super) fn sum_offset(&self, fold: usize) -> usize {
        fold * self.sum_size()
    }
}

/// A guess at the cost of a point: transcendental functions count for many additions.
fn weight(fused: &Fused) -> usize {
    let of = |operation: &Operation| match operation {
        Operation::Unary(op, _) => match op {
            UnaryOp::Exp
            | UnaryOp::ExpM1
            | UnaryOp::Ln
            | UnaryOp::Ln1p
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid => 10,
            UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Erf => 20,
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Relu
            | UnaryOp::Sqrt
            | UnaryOp::Rsqrt
            | UnaryOp::Recip
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Not => 1,
        },
        Operation::Binary(op, ..) => match op {
            BinaryOp::Pow | BinaryOp::Rem => 40,
            BinaryOp::Random => 6,
            BinaryOp::Div => 3,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Max
            | BinaryOp::Min
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => 1,
        },
        Operation::Load(_)
        | Operation::Accumulator
        | Operation::Literal(_)
        | Operation::Index(_)
        | Operation::Cast(_)
        | Operation::Select(..)
        | Operation::Reduce(..) => 1,
    };
    fused.body.iter().map(|instruction| of(&instruction.operation)).sum::<usize>().max(1)
}

#[cfg(test)]
mod tests {
    use kiln_ir::{DType, Scalar};

    use super::*;
    use crate::kit::{full, pointwise};

    #[test]
    fn results_in_their_operands_places_are_made_there_unless_those_are_read_again() {
        let view = |buffer| View { buffer, dtype: DType::F32, offset: 0, strides: vec![1] };
        let direct = |last: Operation| {
            // A mean, a weight and a gradient: the mean moves, and the weight by what comes last.
            let operations = [
                Operation::Load(0),
                Operation::Literal(Scalar::Float(0.5)),
                Operation::Binary(BinaryOp::Mul, 0, 1),
                Operation::Load(2),
                Operation::Binary(BinaryOp::Add, 2, 3),
                Operation::Load(1),
                last,
            ];
            let body = operations.map(|operation| full(operation, DType::F32)).to_vec();
            let loads = vec![view(0), view(1), view(2)];
            let fused = pointwise(&[5000], loads, body, vec![(4, view(0)), (6, view(1))]);
            let plan = FusedPlan::new(&fused, Level::best());
            plan.passes[0].stores.iter().map(|store| store.direct).collect::<Vec<_>>()
        };
        assert_eq!(direct(Operation::Binary(BinaryOp::Sub, 5, 4)), [true, true]);
        // The mean as it was.
        assert_eq!(direct(Operation::Binary(BinaryOp::Sub, 5, 0)), [false, true]);
        // The weight is read after the mean, and is nowhere near it.
        assert_eq!(direct(Operation::Binary(BinaryOp::Mul, 5, 5)), [true, true]);
    }
}
