//! Attention of values that a random graph has so far.

use kiln_ir::op::{AttentionSpec, AttentionValue, UnaryOp};
use kiln_ir::{DType, Expr, Scalar, Shape};

use super::{MOST, Made, Maker, SIZES};
use crate::rng::Range;

impl Maker {
    pub(super) fn attention(&mut self) -> Made {
        let made = self.of_rank(2);
        let shape = made.x.shape();
        let (rank, width) = (shape.rank(), shape[shape.rank() - 1]);
        let (queries, keys) = (shape[rank - 2], *self.rng.pick(&SIZES));
        let rest = shape[..rank - 2].iter().product::<usize>();
        let [heads, shared] = *self.rng.pick(&[[1, 1], [2, 2], [2, 1]]);
        let batch = rest / heads;
        let scores = [batch, heads, queries, keys];
        let fits = width > 0 && batch > 0 && rest.is_multiple_of(heads);
        if !fits || scores.iter().product::<usize>() > MOST || batch * shared * keys * width > MOST {
            return made;
        }
        // Exponentials of large scores would tell devices apart.
        let q = made.x.unary(UnaryOp::Tanh).reshape([batch, heads, queries, width]);
        let k = self.float([batch, shared, keys, width].into()).x;
        let v = self.float([batch, shared, keys, width].into());
        let mut operands = vec![q, k, v.x];
        let side = |maker: &mut Maker| maker.rng.chance(0.5).then(|| maker.rng.below(keys + 1));
        let mut spec = AttentionSpec {
            left: side(self),
            right: side(self),
            offset: self.rng.below(keys + 2) as i64 - 1,
            ..AttentionSpec::new(0.5)
        };
        if self.rng.chance(0.4) {
            spec.masked = true;
            let narrow: Shape = [batch, 1, *self.rng.pick(&[1, queries]), keys].into();
            let mask = match self.rng.chance(0.5) {
                true => self.argument(narrow, DType::Bool, Range::Whole(0, 1)),
                false => self.float(narrow).x,
            };
            operands.push(mask.broadcast_to(&scores.into()));
        }
        if self.rng.chance(0.3) {
            spec.placed = true;
            operands.push(self.argument([batch].into(), DType::I64, Range::Whole(-2, keys as i64)));
        }
        if self.rng.chance(0.3) {
            spec.dropout = Some(Scalar::Float(0.25));
            operands.push(self.argument([1].into(), DType::I64, Range::Whole(-99, 99)));
        }
        let x = Expr::attention_value(&spec, AttentionValue::Result, &operands);
        Made { x, bound: v.bound, exact: false }
    }
}
