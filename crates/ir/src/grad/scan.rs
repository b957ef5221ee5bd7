//! The gradient of a scan: a scan in the other direction, whose body is the gradient of the body.
//!
//! What it needs of the steps it walks back through is stacked by the scan itself (more results of the same walk) or computed
//! again, whichever is less. What adds up over the steps (a weight's gradient) isn't carried along but is one product behind it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::pullback;
use crate::dtype::DType;
use crate::expr::Expr;
use crate::expr::scan::body::{BodyCut, instantiate};
use crate::expr::scan::over_steps::{WantedValue, values};
use crate::expr::scan::stand_in;
use crate::kind::{OpKind, Pointwise};
use crate::node::{Node, next_id};
use crate::op::{BinaryOp, Op, Scan, ScanGradient, ScanResult, UnaryOp};

/// Whether two nodes are values of one walk.
pub(super) fn is_same_walk(a: &Node, b: &Node) -> bool {
    let (Op::Scan(walk, _), Op::Scan(other, _)) = (&a.op, &b.op) else { return false };
    Arc::ptr_eq(walk, other)
        && a.inputs.len() == b.inputs.len()
        && a.inputs.iter().zip(&b.inputs).all(|(x, y)| x.id == y.id)
}

/// The gradient for each operand that one `flows` to, from those that `arrived` at results of the walk.
pub(super) fn adjoint(
    scan: &Arc<Scan>,
    operands: &[Arc<Node>],
    arrived: &[(&Arc<Node>, Expr)],
    flows: &[bool],
) -> Vec<Option<Expr>> {
    let operands: Vec<Expr> = operands.iter().cloned().map(Expr::from).collect();
    let since = next_id();
    let arguments: Vec<Expr> =
        scan.body.inputs.iter().map(|(shape, dtype)| stand_in(shape.clone(), *dtype)).collect();
    let forward = instantiate(&scan.body, &arguments);
    let ahead = next_id();

    let carried: Vec<usize> = (0..scan.states).filter(|&state| arguments[state].dtype().is_float()).collect();
    let mut body = BodyCut::new(since);
    let (mut seeds, mut tangents) = (Vec::new(), Vec::new());
    let truncated = scan.gradient.truncate.filter(|&every| every < scan.steps);
    let cut = truncated.map(|every| {
        let flag = stand_in(().into(), DType::Bool);
        (flag, cuts(scan, every))
    });
    let mut seed = |value: &Expr, gradient: Expr| {
        if let Ok(node) = value.node() {
            seeds.push((node.clone(), gradient));
        }
    };
    for &state in &carried {
        let own = arguments[state].clone();
        let gradient = stand_in(own.shape(), own.dtype());
        let at_the_end = arrived.iter().find_map(|(node, g)| {
            matches!(node.op, Op::Scan(_, ScanResult::Last(of)) if of == state).then(|| g.clone())
        });
        body.state(&gradient, at_the_end.unwrap_or_else(|| own.full_like(0.0)));
        let reaching = match &cut {
            Some((flag, _)) => flag.select(&gradient.full_like(0.0), &gradient),
            None => gradient,
        };
        seed(&forward[scan.body.outputs[state]], reaching);
    }
    for (node, g) in arrived {
        if let Op::Scan(_, ScanResult::Stacked(id)) = node.op {
            let slice = stand_in(forward[id].shape(), g.dtype());
            seed(&forward[id], slice.clone());
            tangents.push((slice, g.clone()));
        }
    }
    let active = |position: usize| {
        let walks_on = position < scan.states && arguments[position].dtype().is_float();
        walks_on || (flows[position] && arguments[position].dtype().is_float())
    };
    let wanted: Vec<usize> = (0..arguments.len()).filter(|&position| active(position)).collect();
    let slopes =
        pullback(seeds, &wanted.iter().map(|&position| arguments[position].clone()).collect::<Vec<_>>());
    let (next, others) = slopes.split_at(carried.len());

    let slices = scan.states..scan.states + scan.sequences;
    let (mut sequences, mut constants) = (tangents, Vec::new());
    sequences.extend(cut);
    for (position, argument) in arguments.iter().enumerate().skip(scan.states) {
        match slices.contains(&position) {
            true => sequences.push((argument.clone(), operands[position].clone())),
            false => constants.push((argument.clone(), operands[position].clone())),
        }
    }
    let kept = KeptValues { scan, forward: &forward, arguments: &arguments, built: since..ahead }.of(&slopes);
    let walk: Vec<&Expr> = operands.iter().collect();
    for id in kept {
        let value = Expr::apply(Op::Scan(scan.clone(), ScanResult::Stacked(id)), &walk, None);
        sequences.push((forward[id].clone(), value));
    }
    let sequences_of = sequences.len();
    sequences.into_iter().for_each(|(slice, all)| body.sequence(&slice, all));
    constants.into_iter().for_each(|(argument, value)| body.constant(&argument, value));
    let (graph, places, operands_of) = body.cut(next, others);
    let back = Scan {
        body: graph,
        steps: scan.steps,
        states: carried.len(),
        sequences: sequences_of,
        reverse: !scan.reverse,
        gradient: ScanGradient { truncate: None, ..scan.gradient },
    };
    let mut results: Vec<WantedValue> = Vec::new();
    let mut to: Vec<usize> = Vec::new();
    for (number, &position) in wanted.iter().enumerate() {
        let result = match number.checked_sub(carried.len()) {
            None => WantedValue::Last(number),
            Some(other) if slices.contains(&position) => WantedValue::Stacked(places[other]),
            Some(other) => WantedValue::Sum(places[other]),
        };
        if flows[position] {
            results.push(result);
            to.push(position);
        }
    }
    let mut given = vec![None; arguments.len()];
    for (position, value) in to.into_iter().zip(values(back, operands_of, &results)) {
        given[position] = Some(value);
    }
    given
}

/// For each slice, whether the gradient that comes back to its step is cut off: behind every so many steps, but not at the end.
fn cuts(scan: &Scan, every: usize) -> Expr {
    let number = Expr::iota([scan.steps], 0, DType::I64);
    let number = if scan.reverse { number.flip(&[0]) } else { number };
    let behind = number.binary_scalar(BinaryOp::Add, 1i64).binary_scalar(BinaryOp::Rem, every as i64);
    let is = |x: &Expr, y: i64, function| x.binary(function, &x.full_like(y));
    let ends = is(&behind, 0, BinaryOp::Eq);
    ends.binary(BinaryOp::And, &is(&number, scan.steps as i64 - 1, BinaryOp::Ne))
}

/// Which values of the steps a gradient finds stacked.
struct KeptValues<'a> {
    scan: &'a Scan,
    forward: &'a [Expr],
    arguments: &'a [Expr],
    /// The numbers of the nodes of the body.
    built: std::ops::Range<u64>,
}

impl KeptValues<'_> {
    /// For these values: where the body's values are used, those that took work, or of which two would have to be kept in place of
    /// one. Others are computed again.
    fn of(&self, slopes: &[Expr]) -> Vec<usize> {
        let mut place: HashMap<u64, usize> = HashMap::new();
        for (id, value) in self.forward.iter().enumerate() {
            if let Ok(node) = value.node() {
                place.entry(node.id).or_insert(id);
            }
        }
        let is_state =
            |id: usize| matches!(self.scan.body.nodes[id].op, Op::Input(of) if of < self.scan.states);
        // What is there anyway: slices, what stays the same, and the states, which are kept together.
        let mut free: Vec<bool> = Vec::with_capacity(self.forward.len());
        let mut varies: Vec<bool> = Vec::with_capacity(self.forward.len());
        for node in &self.scan.body.nodes {
            let input = |limit: usize| matches!(node.op, Op::Input(position) if position < limit);
            varies.push(
                input(self.scan.states + self.scan.sequences) || node.inputs.iter().any(|&id| varies[id]),
            );
            let again = self.scan.gradient.recompute || is_cheap(&node.op, node.dtype);
            free.push(matches!(node.op, Op::Input(_)) || (again && node.inputs.iter().all(|&id| free[id])));
        }
        let next = |id: usize| !self.scan.gradient.recompute && self.scan.body.outputs.contains(&id);
        let (mut kept, mut seen) = (HashSet::new(), HashSet::new());
        let mut ahead: Vec<Arc<Node>> = slopes.iter().filter_map(|x| x.node().ok().cloned()).collect();
        while let Some(node) = ahead.pop() {
            if node.id < self.built.start || !seen.insert(node.id) {
                continue;
            }
            let Some(&id) = place.get(&node.id) else {
                ahead.extend(node.inputs.iter().cloned());
                continue;
            };
            let argument = self.arguments.iter().any(|x| x.node().is_ok_and(|x| x.id == node.id));
            if argument {
                if is_state(id) {
                    kept.insert(id);
                }
                continue;
            }
            let alone = || self.scan.body.nodes[id].inputs.iter().filter(|&&id| varies[id]).count() < 2;
            let again = !varies[id] || free[id] || (is_cheap(&node.op, node.dtype) && alone());
            if again && !next(id) || self.scan.gradient.recompute {
                ahead.extend(node.inputs.iter().cloned());
            } else {
                kept.insert(id);
            }
        }
        let mut kept: Vec<usize> = kept.into_iter().collect();
        kept.sort_unstable();
        kept
    }
}

/// Whether computing it again takes less than to read it, and gives the same bits: what is stored of half types is rounded, and
/// what is computed in between isn't.
fn is_cheap(op: &Op, dtype: DType) -> bool {
    match op.kind() {
        OpKind::Leaf(_) | OpKind::Generator(_) | OpKind::Movement(_) => true,
        OpKind::Pointwise(_) if matches!(dtype, DType::F16 | DType::Bf16) => false,
        OpKind::Pointwise(pointwise) => match pointwise {
            Pointwise::Unary(function) => match function {
                UnaryOp::Neg
                | UnaryOp::Abs
                | UnaryOp::Sign
                | UnaryOp::Relu
                | UnaryOp::Floor
                | UnaryOp::Ceil
                | UnaryOp::Round
                | UnaryOp::Not => true,
                UnaryOp::Exp
                | UnaryOp::ExpM1
                | UnaryOp::Ln
                | UnaryOp::Ln1p
                | UnaryOp::Sqrt
                | UnaryOp::Rsqrt
                | UnaryOp::Recip
                | UnaryOp::Sin
                | UnaryOp::Cos
                | UnaryOp::Tanh
                | UnaryOp::Sigmoid
                | UnaryOp::Erf => false,
            },
            Pointwise::Binary(function) => function != BinaryOp::Pow && function != BinaryOp::Random,
            Pointwise::Select | Pointwise::Cast(_) | Pointwise::Identity => true,
        },
        OpKind::Reduce(..) | OpKind::Contraction(_) | OpKind::Opaque(_) => false,
    }
}
