//! The sum of several gradients that arrive at one value, written so that what is used hundreds of times (a recurrent
//! layer's weight, the steps of a sequence) doesn't cost hundreds of passes over its gradient.

use crate::dtype::DType;
use crate::expr::Expr;
use crate::op::Op;

/// The sum of all gradients that arrive at a value, in the order in which they came but for what is joined first.
pub(crate) fn together(parts: Vec<Expr>) -> Expr {
    let parts = if parts.len() > 1 { one_product(side_by_side(parts)) } else { parts };
    let sum = parts.into_iter().reduce(|sum, more| sum + more);
    sum.unwrap_or_else(|| Expr::full((), 0.0, DType::F32))
}

/// A part that is padded with zeros along one axis.
struct Piece {
    axis: usize,
    start: usize,
    value: Expr,
}

impl Piece {
    fn of(part: &Expr) -> Option<Piece> {
        let node = part.node().ok()?;
        let Op::Pad { before, after, value } = &node.op else { return None };
        let mut axes = (0..before.len()).filter(|&axis| before[axis] + after[axis] > 0);
        let axis = axes.next()?;
        let alone = axes.next().is_none() && value.as_f64() == 0.0;
        alone.then(|| Piece { axis, start: before[axis], value: node.inputs[0].clone().into() })
    }

    fn end(&self) -> usize {
        self.start + self.value.shape()[self.axis]
    }
}

/// What a cut into parts hands back, put side by side: `pad(a, 0 before, 2 after) + pad(b, 1 before, 0 after)` of axes of
/// 1 and 2 → `concat(a, b)`, with zeros where a part is missing. Equal parts are added up first; where others overlap, all
/// stay as they are.
fn side_by_side(parts: Vec<Expr>) -> Vec<Expr> {
    let Some(Piece { axis, .. }) = parts.iter().find_map(Piece::of) else { return parts };
    let (mut pieces, mut rest) = (Vec::with_capacity(parts.len()), Vec::new());
    let mut whole = None;
    for part in &parts {
        match Piece::of(part) {
            Some(piece) if piece.axis == axis => {
                pieces.push(piece);
                whole = Some(part.shape());
            }
            _ => rest.push(part.clone()),
        }
    }
    pieces.sort_by_key(|piece| piece.start);
    pieces.dedup_by(|more, sum| {
        let same = more.start == sum.start && more.end() == sum.end();
        if same {
            sum.value = &sum.value + &more.value;
        }
        same
    });
    let overlap = pieces.windows(2).any(|two| two[0].end() > two[1].start);
    let (Some(whole), false, 2..) = (whole, overlap, pieces.len()) else { return parts };
    let zeros = |from: usize, to: usize| {
        let mut sizes = whole.to_vec();
        sizes[axis] = to - from;
        Expr::full(sizes, 0.0, pieces[0].value.dtype())
    };
    let mut row = Vec::with_capacity(pieces.len());
    let mut end = 0;
    for piece in &pieces {
        if piece.start > end {
            row.push(zeros(end, piece.start));
        }
        row.push(piece.value.clone());
        end = piece.end();
    }
    if end < whole[axis] {
        row.push(zeros(end, whole[axis]));
    }
    rest.push(Expr::concat(&row.iter().collect::<Vec<_>>(), axis));
    rest
}

/// `a·b + c·d` → `[a c]·[b; d]`, where that moves less: passing over the result again may cost more than joining operands.
fn one_product(parts: Vec<Expr>) -> Vec<Expr> {
    let operands = |part: &Expr| {
        let node = part.node().ok()?;
        let matrices = node.op == Op::Matmul && node.shape.rank() == 2;
        matrices.then(|| [Expr::from(node.inputs[0].clone()), Expr::from(node.inputs[1].clone())])
    };
    let (products, mut rest): (Vec<Expr>, Vec<Expr>) =
        parts.iter().cloned().partition(|part| operands(part).is_some());
    let [left, right]: [Vec<Expr>; 2] =
        [0, 1].map(|side| products.iter().filter_map(operands).map(|both| both[side].clone()).collect());
    let joined: usize = left.iter().chain(&right).map(|operand| operand.shape().elements()).sum();
    let passed: usize = products.iter().skip(1).map(|product| product.shape().elements()).sum();
    if products.len() < 2 || joined > passed {
        return parts;
    }
    let join = |side: &[Expr], axis: usize| Expr::concat(&side.iter().collect::<Vec<_>>(), axis);
    rest.push(join(&left, 1).matmul(&join(&right, 0)));
    rest
}
