//! Steps that one loop does together: a function of a sum, a sum of products, a sum of what is written on the way.

use kiln_compile::program::Operation;
use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};

use super::folds::FOLD_LANES;
use super::lower::PlanBuilder;
use super::ops::{self, LaneType, MadeSum, ProductSum};
use super::steps::{RunKind, TileExtent, TileStep};

/// Below this many columns the rest of a row counts.
const SHORT: usize = 512;

impl PlanBuilder<'_> {
    /// One loop for a function and for the sum or difference that only it uses, whose step is the last.
    pub(super) fn function_of_two(
        &self,
        op: UnaryOp,
        lane: LaneType,
        value: usize,
        a: usize,
        steps: &[TileStep],
    ) -> Option<TileStep> {
        let Some(&TileStep::Run { operands: [x, y, _], value: last, class, kind, .. }) = steps.last() else {
            return None;
        };
        if last != a || self.uses[a] != 1 || lane != LaneType::Single {
            return None;
        }
        let one = [self.is_one(x, class), self.is_one(y, class)];
        let (run, kind) = if op == UnaryOp::Relu && kind == RunKind::Sum {
            (ops::add_relu(self.level, one), RunKind::Other)
        } else if op == UnaryOp::Exp && kind == RunKind::Difference {
            (ops::sub_exp(self.level, one), RunKind::ExpOfDifference)
        } else {
            return None;
        };
        Some(TileStep::Run { run, value, operands: [x, y, x], class, kind })
    }

    /// Takes back the step of a product that only this sum is made of, for one loop to do both.
    pub(super) fn factors(&self, op: ReduceOp, from: usize, steps: &mut Vec<TileStep>) -> Option<[usize; 2]> {
        let body = self.fused.body.get(from)?;
        let product = matches!(body.operation, Operation::Binary(BinaryOp::Mul, ..));
        let single = LaneType::of(body.dtype) == LaneType::Single;
        if op != ReduceOp::Sum || !product || !single || self.uses[from] != 1 {
            return None;
        }
        let at = steps.iter().rposition(|step| step.results().contains(&from))?;
        let TileStep::Run { operands: [x, y, _], .. } = steps[at] else { return None };
        if [from, x, y].iter().any(|&value| self.classes[value] != self.full()) {
            return None;
        }
        steps.remove(at);
        Some([x, y])
    }

    /// One loop for a sum over rows and for what it is of (or is of the squares of), whose step is the last and takes one value a row.
    pub(super) fn made_with_sum(
        &mut self,
        a: usize,
        from: [usize; 2],
        sum: usize,
        steps: &mut Vec<TileStep>,
    ) -> Option<TileStep> {
        let &TileStep::Run { operands: [x, y, _], value, kind, .. } = steps.last()? else { return None };
        // Rows that share a tile are better made together where each would end in a part of a chunk.
        let columns = self.fused.loops.last().copied().unwrap_or(1);
        if columns < SHORT && !columns.is_multiple_of(FOLD_LANES) {
            return None;
        }
        let made = match kind {
            RunKind::ExpOfDifference if from == [value; 2] && a == value => MadeSum::SubExp,
            RunKind::Difference if from == [value; 2] && a != value => MadeSum::SubSquares,
            _ => return None,
        };
        let (full, before) = (self.full(), steps.len().checked_sub(2));
        let y = match before.map(|before| &steps[before]) {
            _ if self.classes[y] == TileExtent::ONE => y,
            // Repeated for this step alone.
            Some(&TileStep::Spread { value: spread, from, .. })
                if spread == y && !self.classes[from].columns =>
            {
                self.spread.remove(&from);
                steps.remove(steps.len() - 2);
                from
            }
            _ => return None,
        };
        if self.classes[x] != full || self.classes[value] != full || x == y {
            return None;
        }
        steps.pop();
        Some(TileStep::MakeRows { run: ops::made_sum(made, self.level), value, sum, operands: [x, y] })
    }

    /// Takes back the step of a product that only this sum or difference uses, for one loop to do both.
    pub(super) fn product(
        &self,
        op: BinaryOp,
        lane: LaneType,
        [x, y]: [usize; 2],
        class: TileExtent,
        steps: &mut Vec<TileStep>,
    ) -> Option<(ProductSum, [usize; 3])> {
        if lane != LaneType::Single || !matches!(op, BinaryOp::Add | BinaryOp::Sub) {
            return None;
        }
        let takes = |value: usize, steps: &[TileStep]| -> Option<(usize, [usize; 2])> {
            let body = self.fused.body.get(value)?;
            let Operation::Binary(BinaryOp::Mul, ..) = body.operation else { return None };
            if self.uses[value] != 1 || self.classes[value] != class {
                return None;
            }
            let at = steps.iter().rposition(|step| step.results().contains(&value))?;
            match steps[at] {
                TileStep::Run { operands: [a, b, _], .. } => Some((at, [a, b])),
                _ => None,
            }
        };
        let (kind, at, [a, b], other) = if let Some((at, factors)) = takes(x, steps) {
            (if op == BinaryOp::Add { ProductSum::Plus } else { ProductSum::Minus }, at, factors, y)
        } else {
            let (at, factors) = takes(y, steps)?;
            (if op == BinaryOp::Add { ProductSum::Plus } else { ProductSum::From }, at, factors, x)
        };
        let (a, b) = if self.is_one(a, class) { (b, a) } else { (a, b) };
        if self.is_one(a, class) {
            return None;
        }
        steps.remove(at);
        Some((kind, [a, b, other]))
    }
}
