//! Steps that one loop does together: a function of a sum, a sum of products, a sum of what is written on the way.

use kiln_compile::program::Operation;
use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};

use super::folds::FOLD_LANES;
use super::loops::scaled;
use super::lower::PlanBuilder;
use super::ops::{self, LaneType, MadeSum, PairedLoop};
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
        Some(self.run(run, value, [x, y, x], class, kind))
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
        let TileStep::Run { operands: [x, y, _], kind, .. } = steps[at] else { return None };
        if !kind.is_plain() || [from, x, y].iter().any(|&value| self.classes[value] != self.full()) {
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
            _ if self.is_one(y, full) => y,
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

    /// Takes back the step of an operand that only this one uses, for one loop to do both.
    pub(super) fn pair(
        &self,
        op: BinaryOp,
        lane: LaneType,
        [x, y]: [usize; 2],
        class: TileExtent,
        steps: &mut Vec<TileStep>,
    ) -> Option<(PairedLoop, [usize; 3])> {
        if lane != LaneType::Single {
            return None;
        }
        let of = |value: usize, inner: BinaryOp, steps: &[TileStep]| {
            let is = |operation: &Operation| matches!(operation, Operation::Binary(op, ..) if *op == inner);
            self.alone(value, is, class, steps)
        };
        let mul = |value: usize, steps: &[TileStep]| of(value, BinaryOp::Mul, steps);
        let (pair, (at, [a, b]), other) = if matches!(op, BinaryOp::Add | BinaryOp::Mul) {
            let pair = if op == BinaryOp::Add { PairedLoop::MulAdd } else { PairedLoop::MulMul };
            match mul(x, steps) {
                Some(factors) => (pair, factors, y),
                None => (pair, mul(y, steps)?, x),
            }
        } else if op == BinaryOp::Sub {
            match (mul(x, steps), mul(y, steps)) {
                (Some(factors), _) => (PairedLoop::MulSub, factors, y),
                (None, Some(factors)) => (PairedLoop::SubMul, factors, x),
                (None, None) => (PairedLoop::SubDiv, of(y, BinaryOp::Div, steps)?, x),
            }
        } else {
            return None;
        };
        let swapped = pair != PairedLoop::SubDiv && self.is_one(a, class);
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        if self.is_one(a, class) {
            return None;
        }
        steps.remove(at);
        let root = |operation: &Operation| matches!(operation, Operation::Unary(UnaryOp::Sqrt, _));
        if pair == PairedLoop::MulAdd
            && let Some((at, [a, _])) = self.alone(a, root, class, steps)
        {
            steps.remove(at);
            return Some((PairedLoop::SqrtMulAdd, [a, b, other]));
        }
        Some((pair, [a, b, other]))
    }

    /// Takes back the step of a product of three that only this sum reads, for one loop to do all three operations.
    pub(super) fn scaled(
        &self,
        op: BinaryOp,
        value: usize,
        [x, y]: [usize; 2],
        class: TileExtent,
        steps: &mut Vec<TileStep>,
    ) -> Option<TileStep> {
        if op != BinaryOp::Add {
            return None;
        }
        let product = |value: usize, c: usize| {
            if self.uses.get(value) != Some(&1) || self.classes[value] != class || self.is_one(c, class) {
                return None;
            }
            let at = steps.iter().rposition(|step| step.results().contains(&value))?;
            match steps[at] {
                TileStep::Run { operands: [a, by, b], kind: RunKind::ProductOfThree, .. } => {
                    (!self.is_one(b, class)).then_some((at, [a, by, b, c]))
                }
                _ => None,
            }
        };
        let (at, operands) = product(x, y).or_else(|| product(y, x))?;
        let run = scaled(self.level, self.is_one(operands[1], class));
        let row_by_row = self.is_row_by_row(&operands, class);
        steps.remove(at);
        Some(TileStep::Scale { run, value, operands, class, row_by_row })
    }

    /// Where the plain step of a value is and what it reads, if the value is of such an operation and used once.
    fn alone(
        &self,
        value: usize,
        is: impl Fn(&Operation) -> bool,
        class: TileExtent,
        steps: &[TileStep],
    ) -> Option<(usize, [usize; 2])> {
        let body = self.fused.body.get(value)?;
        if !is(&body.operation) || self.uses[value] != 1 || self.classes[value] != class {
            return None;
        }
        let at = steps.iter().rposition(|step| step.results().contains(&value))?;
        match steps[at] {
            TileStep::Run { operands: [a, b, _], kind, .. } if kind.is_plain() => Some((at, [a, b])),
            _ => None,
        }
    }
}
