//! Recurrences in random graphs: bodies of a few operations, with what is there as sequences, states and what stays the same.

use kiln_ir::Expr;
use kiln_ir::expr::ScanOptions;
use kiln_ir::op::{BinaryOp, UnaryOp};

use super::{Made, Maker};

impl Maker {
    /// A walk along the first axis of a value.
    pub(super) fn walk(&mut self) -> Made {
        let x = self.of_rank(1);
        let shape = x.x.shape();
        let (steps, row) = (shape[0], shape[1..].to_vec());
        let [state, fixed] = [0, 1].map(|_| self.float(row.clone().into()).x);
        let options = ScanOptions {
            reverse: self.rng.chance(0.4),
            checkpoint: self.rng.chance(0.3).then(|| 1 + self.rng.below(4)),
            ..ScanOptions::new()
        };
        let [kind, given] = [self.rng.below(4), self.rng.below(4)];
        let body = |s: &[Expr], x: &[Expr]| {
            let scaled = &s[0] * 0.5;
            let sum = match kind {
                0 => scaled + &x[0],
                1 => scaled * &fixed + &x[0],
                2 => scaled + x[0].unary(UnaryOp::Sin) * &fixed,
                _ => scaled.binary(BinaryOp::Max, &x[0]),
            };
            let next = sum.unary(UnaryOp::Tanh);
            let out = match given {
                0 => next.clone(),
                1 => &next * &s[0],
                2 => x[0].unary(UnaryOp::Tanh) + &fixed,
                _ => s[0].clone(),
            };
            (vec![next], vec![out])
        };
        let start = std::slice::from_ref(&state);
        let made = match Expr::scan(start, std::slice::from_ref(&x.x), options, &body) {
            Ok(walked) if self.rng.chance(0.3) && steps > 0 => walked.last[0].clone(),
            Ok(walked) => walked.stacked[0].clone(),
            Err(error) => Expr::poisoned(error),
        };
        Made { x: made, bound: 4.0, exact: false }
    }
}
