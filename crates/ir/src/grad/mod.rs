//! Reverse-mode differentiation. The table at the end says, for each operation, which expression carries a gradient
//! from the result to an operand. It is written with the same operations, so gradients can be differentiated again,
//! fused and exported like anything else.
//!
//! In the table `x` is an operand, `y` the result and `g` the gradient arriving at it. Where a rule can use `y`, it
//! does, so that a compiled step needn't keep the operand.

mod attention;
mod scan;

use std::collections::{HashMap, HashSet};
use std::f64::consts::FRAC_2_SQRT_PI;
use std::panic::Location;
use std::sync::Arc;

use crate::accumulate::together;
use crate::dtype::DType;
use crate::error::{Error, ErrorKind};
use crate::expr::Expr;
use crate::line;
use crate::node::{Node, topological_since};
use crate::op::{BinaryOp, Op, ReduceOp, ScatterMode, SliceRange, UnaryOp};
use crate::shape::Shape;

/// The gradient of `value` in each of `wanted`, weighted by `upstream`, which only a `value` of one element can do
/// without. Zeros where `value` doesn't depend on it.
///
/// A wanted value is found by its node, so it may be an intermediate one; a wanted variable, or one whose axes are
/// permuted, is found wherever the variable is used.
///
/// ```
/// use kiln_ir::{DType, Expr, grad::gradients};
/// let x = Expr::full((), 3.0, DType::F64);
/// let slope = &gradients(&(&x * &x), &[x], None)[0]; // the expression 1·x + 1·x
/// assert!(slope.error().is_none());
/// ```
#[track_caller]
pub fn gradients(value: &Expr, wanted: &[Expr], upstream: Option<&Expr>) -> Vec<Expr> {
    let (node, seed) = match seed(value, upstream) {
        Ok(start) => start,
        Err(poison) => return vec![poison; wanted.len()],
    };
    pullback(vec![(node, seed)], wanted)
}

/// The gradients of several values in `wanted`, added up, where these arrive at the values.
fn pullback(seeds: Vec<(Arc<Node>, Expr)>, wanted: &[Expr]) -> Vec<Expr> {
    let targets: HashSet<GradientSlot> = wanted.iter().filter_map(slot_of).map(|(slot, _)| slot).collect();
    // No wanted node is reached through an older one; a variable is read by nodes of any age.
    let age = |slot: &GradientSlot| match slot {
        GradientSlot::Node(id) => *id,
        GradientSlot::VariableHandle(_) => 0,
    };
    let oldest = targets.iter().map(age).min().unwrap_or(0);
    let roots: Vec<Arc<Node>> = seeds.iter().map(|(node, _)| node.clone()).collect();
    let order = topological_since(&roots, oldest);

    // Only nodes through which a wanted one is reached take part.
    let mut active: HashSet<u64> = HashSet::new();
    for node in &order {
        let reaches = targets.contains(&slot(node)) || node.inputs.iter().any(|x| active.contains(&x.id));
        if reaches && node.dtype.is_float() {
            active.insert(node.id);
        }
    }

    let mut gradient_of: HashMap<GradientSlot, Vec<Expr>> = HashMap::new();
    for (node, seed) in seeds {
        gradient_of.entry(slot(&node)).or_default().push(seed);
    }
    let mut walked: HashSet<u64> = HashSet::new();
    for (position, node) in order.iter().enumerate().rev().filter(|(_, node)| active.contains(&node.id)) {
        if let Op::Scan(walk, _) = &node.op {
            // All results of a walk at once: they were built together, so those that use them are behind all of them.
            let others = order[..=position].iter().rev().take_while(|other| scan::is_same_walk(node, other));
            let others = others.filter(|other| walked.insert(other.id));
            let mut arrive = |result: &Arc<Node>| gradient_of.remove(&slot(result)).map(together);
            let arrived: Vec<(&Arc<Node>, Expr)> =
                others.filter_map(|result| Some((result, arrive(result)?))).collect();
            for (result, g) in arrived.iter().filter(|(result, _)| targets.contains(&slot(result))) {
                gradient_of.insert(slot(result), vec![g.clone()]);
            }
            if arrived.is_empty() {
                continue;
            }
            let flows: Vec<bool> = node.inputs.iter().map(|x| active.contains(&x.id)).collect();
            let given = line::on_behalf_of(node.at, || scan::adjoint(walk, &node.inputs, &arrived, &flows));
            for (x, more) in node.inputs.iter().zip(given) {
                if let Some(more) = more {
                    gradient_of.entry(slot(x)).or_default().push(more);
                }
            }
            continue;
        }
        let Some(parts) = gradient_of.remove(&slot(node)) else {
            continue;
        };
        let y = Expr::from(node.clone());
        // A gradient belongs to the line of what it is the gradient of.
        line::on_behalf_of(node.at, || {
            let g = together(parts);
            if targets.contains(&slot(node)) {
                gradient_of.insert(slot(node), vec![g.clone()]);
            }
            let by_rule = by_user_rule(node, &y, &g);
            let starts = starts(node);
            for (position, x) in node.inputs.iter().enumerate() {
                if !active.contains(&x.id) {
                    continue;
                }
                if let Some(more) = adjoint(node, position, &y, &g, (&by_rule, &starts)) {
                    gradient_of.entry(slot(x)).or_default().push(more);
                }
            }
        });
    }
    let zeros = |x: &Expr| x.full_like(0.0);
    let gradient = |x: &Expr| {
        let (slot, axes) = slot_of(x)?;
        let gradient = together(gradient_of.get(&slot).cloned()?);
        Some(axes.map_or(gradient.clone(), |axes| gradient.permute(&axes)))
    };
    wanted.iter().map(|x| gradient(x).unwrap_or_else(|| zeros(x))).collect()
}

/// The derivative of `value` when each of `wanted` moves along its tangent: forward mode, made of reverse mode
/// differentiated in its upstream, in which it is linear.
#[track_caller]
pub fn jvp(value: &Expr, wanted: &[Expr], tangents: &[Expr]) -> Expr {
    let upstream = value.full_like(0.0);
    let slopes = gradients(value, wanted, Some(&upstream));
    gradients(&inner_product(&slopes, tangents), &[upstream], None).remove(0)
}

/// The Hessian of a scalar `value` in `wanted`, times `vectors`, without ever building the Hessian.
#[track_caller]
pub fn hessian_vector(value: &Expr, wanted: &[Expr], vectors: &[Expr]) -> Vec<Expr> {
    let slopes = gradients(value, wanted, None);
    gradients(&inner_product(&slopes, vectors), wanted, None)
}

#[track_caller]
fn inner_product(a: &[Expr], b: &[Expr]) -> Expr {
    if a.len() != b.len() {
        let message = format!("{} values with {} vectors", a.len(), b.len());
        return Expr::poisoned(Error::new(ErrorKind::Value, "gradient", message));
    }
    let zero = Expr::full((), 0.0, a.first().map_or(DType::F32, Expr::dtype));
    a.iter().zip(b).fold(zero, |sum, (a, b)| {
        let product = a * b;
        let axes: Vec<usize> = (0..product.rank()).collect();
        sum + product.sum(&axes).reshape(())
    })
}

/// The node to start from and the gradient there.
#[track_caller]
fn seed(value: &Expr, upstream: Option<&Expr>) -> Result<(Arc<Node>, Expr), Expr> {
    let node = value.node().map_err(|_| value.clone())?.clone();
    let at = line::of(Location::caller());
    let refuse = |kind, message| Err(Expr::poisoned(Error::new(kind, "gradient", message).at(at)));
    if !node.dtype.is_float() {
        return refuse(ErrorKind::DType, format!("{} values have no gradient", node.dtype));
    }
    let seed = match upstream {
        None if node.shape.elements() == 1 => value.full_like(1.0),
        None => {
            let message = format!("a non-scalar {} needs an upstream gradient, or sum() it", node.shape);
            return refuse(ErrorKind::Shape, message);
        }
        Some(upstream) if upstream.error().is_some() => return Err(upstream.clone()),
        Some(upstream) if upstream.shape() != node.shape => {
            let message = format!("upstream {} doesn't fit the value {}", upstream.shape(), node.shape);
            return refuse(ErrorKind::Shape, message);
        }
        Some(upstream) => upstream.cast(node.dtype),
    };
    Ok((node, seed))
}

/// Where a gradient is gathered: the node, or the variable however many nodes read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum GradientSlot {
    Node(u64),
    VariableHandle(usize),
}

fn slot(node: &Node) -> GradientSlot {
    if let Op::Var(variable) = &node.op {
        GradientSlot::VariableHandle(variable.address())
    } else {
        GradientSlot::Node(node.id)
    }
}

/// Where the gradient of a wanted value is gathered, and how its axes are to be permuted.
fn slot_of(x: &Expr) -> Option<(GradientSlot, Option<Vec<usize>>)> {
    let node = x.node().ok()?;
    if let (Op::Permute(axes), Some(variable)) = (&node.op, node.inputs.first())
        && matches!(variable.op, Op::Var(_))
    {
        return Some((slot(variable), Some(axes.clone())));
    }
    Some((slot(node), None))
}

/// What the user's own rule gives for each operand; nothing for kiln's operations.
fn by_user_rule(node: &Node, y: &Expr, g: &Expr) -> Vec<Option<Expr>> {
    let operands: Vec<Expr> = node.inputs.iter().cloned().map(Expr::from).collect();
    let (given, name) = if let Op::Rule(rule) = &node.op {
        (rule.gradient(&operands[1..], y, g), "gradient rule")
    } else if let Op::Custom(custom) = &node.op {
        (custom.gradient(&operands, y, g), custom.name())
    } else {
        return Vec::new();
    };
    // The value of a rule is only its forward half.
    let skipped = usize::from(matches!(node.op, Op::Rule(_)));
    let refuse = |kind, message| Some(Expr::poisoned(Error::new(kind, name, message).at(node.at)));
    if given.len() + skipped != operands.len() {
        let message = format!("{} gradients for {} operands", given.len(), operands.len() - skipped);
        return vec![refuse(ErrorKind::Value, message); operands.len()];
    }
    let checked = given.into_iter().zip(&operands[skipped..]).map(|(gradient, x)| {
        let gradient = gradient?;
        if gradient.error().is_none() && gradient.shape() != x.shape() {
            let message = format!("a gradient {} for an operand {}", gradient.shape(), x.shape());
            return refuse(ErrorKind::Shape, message);
        }
        Some(gradient.cast(x.dtype()))
    });
    std::iter::repeat_n(None, skipped).chain(checked).collect()
}

/// Where each part of a concatenation begins; nothing for other operations.
fn starts(node: &Node) -> Vec<usize> {
    let Op::Concat(axis) = node.op else { return Vec::new() };
    let next = |end: &mut usize, part: &Arc<Node>| {
        let start = *end;
        *end += part.shape[axis];
        Some(start)
    };
    node.inputs.iter().scan(0, next).collect()
}

/// The table: the gradient for operand `i`, or `None` where none flows. What is known of all operands of a node comes along:
/// the gradients by the user's own rule, and [`starts`].
fn adjoint(
    node: &Node,
    i: usize,
    y: &Expr,
    g: &Expr,
    (by_rule, starts): (&[Option<Expr>], &[usize]),
) -> Option<Expr> {
    let x = |position: usize| Expr::from(node.inputs[position].clone());
    let shape = &node.inputs[i].shape;
    Some(match &node.op {
        Op::Const(_) | Op::Fill(_) | Op::Iota(_) | Op::Var(_) | Op::Input(_) => return None,

        Op::Unary(function) => return unary(*function, &x(0), y, g),
        Op::Binary(function) => return binary(*function, i, &x(0), &x(1), y, g),
        Op::Select if i == 1 => zero_unless(&x(0), g),
        Op::Select => zero_where(&x(0), g),
        Op::Cast(_) => g.cast(node.inputs[0].dtype),

        Op::Reshape => g.reshape(shape),
        Op::Permute(axes) => g.permute(&inverse(axes)),
        Op::Expand => g.sum_to(shape),
        Op::Slice(ranges) => place(g, ranges, shape),
        Op::Pad { before, .. } => {
            let range = |(&start, &len)| SliceRange { start, len, step: 1 };
            g.slice(&before.iter().zip(shape.iter()).map(range).collect::<Vec<_>>())
        }
        Op::Concat(axis) => g.narrow(*axis, starts[i], shape[*axis]),

        Op::Reduce(ReduceOp::Sum, _) => g.broadcast_to(shape),
        Op::Reduce(ReduceOp::Prod, axes) => g.broadcast_to(shape) * product_of_others(&x(0), axes),
        Op::Reduce(ReduceOp::Max | ReduceOp::Min, axes) => {
            let chosen = x(0).binary(BinaryOp::Eq, y);
            let ties = chosen.cast(node.dtype).sum(axes);
            zero_unless(&chosen, &(g / ties).broadcast_to(shape))
        }
        Op::ArgReduce(..) | Op::ArgSort { .. } => return None,
        Op::CumSum(axis) => g.flip(&[*axis]).cumsum(*axis).flip(&[*axis]),

        Op::Matmul if i == 0 => g.matmul(&x(1).transpose()),
        Op::Matmul => x(0).transpose().matmul(g),
        // Each of the three is linear in both operands, and their adjoints are among the three.
        Op::Conv(spec) if i == 0 => g.conv_grad_input(&x(1), spec, &shape[2..]),
        Op::Conv(spec) => x(0).conv_grad_weight(g, spec, &shape[2..]),
        Op::ConvGradInput(spec, _) if i == 0 => g.conv(&x(1), spec),
        Op::ConvGradInput(spec, _) => g.conv_grad_weight(&x(0), spec, &shape[2..]),
        Op::ConvGradWeight(spec, _) if i == 0 => x(1).conv_grad_input(g, spec, &shape[2..]),
        Op::ConvGradWeight(spec, _) => x(0).conv(g, spec),

        Op::Attention(spec, value) => {
            let operands: Vec<Expr> = node.inputs.iter().cloned().map(Expr::from).collect();
            return attention::adjoint((spec, *value), &operands, i, (y, g));
        }

        // What is picked follows `x`, but no gradient does.
        Op::WindowPick(_) | Op::WindowSpread(_) if i == 0 => return None,
        Op::WindowPick(spec) => x(0).window_spread(g, spec),
        Op::WindowSpread(spec) => x(0).window_pick(g, spec),
        Op::WindowSum(spec) => g.window_sum_grad(spec, &shape[2..]),
        Op::WindowSumGrad(spec, _) => g.window_sum(spec),

        Op::Gather(axis) => x(0).full_like(0.0).scatter(&x(1), g, *axis, ScatterMode::Add),
        Op::Scatter(_, ScatterMode::Add) if i == 0 => g.clone(),
        Op::Scatter(axis, ScatterMode::Add) => g.gather(&x(1), *axis),
        Op::Scatter(axis, ScatterMode::Set) if i == 0 => {
            g.scatter(&x(1), &x(2).full_like(0.0), *axis, ScatterMode::Set)
        }
        Op::Scatter(axis, ScatterMode::Set) => {
            zero_unless(&survives(&x(1), &node.shape, *axis), &g.gather(&x(1), *axis))
        }

        // Its results are taken together.
        Op::Scan(..) => return None,

        Op::StopGradient | Op::Unpack(_) => return None,
        Op::Barrier(_) if i == 0 => g.clone(),
        Op::Barrier(_) => return None,
        Op::Rule(_) | Op::Custom(_) => return by_rule[i].clone(),
    })
}

fn unary(function: UnaryOp, x: &Expr, y: &Expr, g: &Expr) -> Option<Expr> {
    Some(match function {
        UnaryOp::Neg => -g,
        UnaryOp::Abs => g * x.unary(UnaryOp::Sign),
        UnaryOp::Exp => g * y,
        UnaryOp::ExpM1 => g * (y + 1.0),
        UnaryOp::Ln => g / x,
        UnaryOp::Ln1p => g / (x + 1.0),
        UnaryOp::Sqrt => g * 0.5 / y,
        UnaryOp::Rsqrt => g * -0.5 * (y * y * y),
        UnaryOp::Recip => -(g * (y * y)),
        UnaryOp::Sin => g * x.unary(UnaryOp::Cos),
        UnaryOp::Cos => -(g * x.unary(UnaryOp::Sin)),
        UnaryOp::Tanh => g * (y.full_like(1.0) - y * y),
        UnaryOp::Sigmoid => g * (y * (y.full_like(1.0) - y)),
        UnaryOp::Erf => g * ((-(x * x)).unary(UnaryOp::Exp) * FRAC_2_SQRT_PI),
        UnaryOp::Relu => zero_unless(&y.full_like(0.0).binary(BinaryOp::Lt, y), g),
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Not => return None,
    })
}

fn binary(function: BinaryOp, i: usize, a: &Expr, b: &Expr, y: &Expr, g: &Expr) -> Option<Expr> {
    let is_zero = |x: &Expr| x.binary(BinaryOp::Eq, &x.full_like(0.0));
    let one_where_zero = |x: &Expr| is_zero(x).select(&x.full_like(1.0), x);
    Some(match (function, i) {
        (BinaryOp::Add, _) | (BinaryOp::Sub | BinaryOp::Rem, 0) => g.clone(),
        (BinaryOp::Sub, _) => -g,
        (BinaryOp::Mul, 0) => g * b,
        (BinaryOp::Mul, _) => g * a,
        (BinaryOp::Div, 0) => g / b,
        (BinaryOp::Div, _) => -(g / b * y),
        (BinaryOp::Rem, _) => -(g * ((a - y) / b).unary(UnaryOp::Round)),
        // b·aᵇ⁻¹, and 0 where b is 0. The mask is on the exponent, so that no derivative of this meets 0·∞.
        (BinaryOp::Pow, 0) => g * (b * a.binary(BinaryOp::Pow, &(one_where_zero(b) - 1.0))),
        // y·ln a, and 0 where a is 0, masked inside for the same reason.
        (BinaryOp::Pow, _) => g * (zero_where(&is_zero(a), y) * one_where_zero(a).unary(UnaryOp::Ln)),
        // Equal operands share the gradient.
        (BinaryOp::Max | BinaryOp::Min, _) => {
            let chosen = if i == 0 { a } else { b }.binary(BinaryOp::Eq, y);
            let tied = a.binary(BinaryOp::Eq, b);
            zero_unless(&chosen, &tied.select(&(g * 0.5), g))
        }
        (BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne, _)
        | (BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Random, _) => return None,
    })
}

fn zero_unless(condition: &Expr, g: &Expr) -> Expr {
    condition.select(g, &g.full_like(0.0))
}

fn zero_where(condition: &Expr, g: &Expr) -> Expr {
    condition.select(&g.full_like(0.0), g)
}

fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; axes.len()];
    for (position, &axis) in axes.iter().enumerate() {
        inverse[axis] = position;
    }
    inverse
}

/// The adjoint of a slice: `g` placed where `ranges` took it from, in zeros of `shape`.
///
/// `[a b c]` in steps of −2 from 5, of 6 → flip `[c b a]` → a zero behind each `[c 0 b 0 a 0]` → cut `[c 0 b 0 a]`
/// → pad `[0 c 0 b 0 a]`.
fn place(g: &Expr, ranges: &[SliceRange], shape: &Shape) -> Expr {
    let backwards = |&axis: &usize| ranges[axis].step < 0 && ranges[axis].len > 1;
    let flipped: Vec<usize> = (0..ranges.len()).filter(backwards).collect();
    let g = if flipped.is_empty() { g.clone() } else { g.flip(&flipped) };

    let step = |range: &SliceRange| {
        if range.len > 1 { range.step.unsigned_abs() } else { 1 }
    };
    let extent = |range: &SliceRange| range.len.saturating_sub(1) * step(range) + range.len.min(1);
    let g = if ranges.iter().any(|range| step(range) > 1) {
        let split: Vec<usize> = ranges.iter().flat_map(|range| [range.len, 1]).collect();
        let zeros: Vec<usize> = ranges.iter().flat_map(|range| [0, step(range) - 1]).collect();
        let merged: Vec<usize> = ranges.iter().map(|range| range.len * step(range)).collect();
        let cut = |range| SliceRange { start: 0, len: extent(range), step: 1 };
        g.reshape(split)
            .pad(&vec![0; zeros.len()], &zeros, 0.0)
            .reshape(merged)
            .slice(&ranges.iter().map(cut).collect::<Vec<_>>())
    } else {
        g
    };

    let first = |range: &SliceRange| match range.len {
        0 => 0,
        len if range.step < 0 => range.start - (len - 1) * step(range),
        _ => range.start,
    };
    let before: Vec<usize> = ranges.iter().map(first).collect();
    let behind = |(axis, range): (usize, &SliceRange)| shape[axis] - before[axis] - extent(range);
    let after: Vec<usize> = ranges.iter().enumerate().map(behind).collect();
    g.pad(&before, &after, 0.0)
}

/// For each element the product of all others along `axes`, without dividing, so that zeros do no harm here or in
/// any further derivative: pairs are multiplied up to the root of a tree, and on the way back each child receives
/// its parent's result times its sibling.
fn product_of_others(x: &Expr, axes: &[usize]) -> Expr {
    let (shape, rank) = (x.shape(), x.rank());
    let mut order: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let kept: usize = order.iter().map(|&axis| shape[axis]).product();
    let folded: usize = axes.iter().map(|&axis| shape[axis]).product();
    order.extend(axes);
    let moved = x.permute(&order);
    others(&moved.reshape([kept, folded])).reshape(moved.shape()).permute(&inverse(&order))
}

fn others(x: &Expr) -> Expr {
    let shape = x.shape();
    let (rows, count) = (shape[0], shape[1]);
    if count < 2 {
        return x.full_like(1.0);
    }
    let pairs = count.div_ceil(2);
    let even = if count % 2 == 1 { x.pad(&[0, 0], &[0, 1], 1.0) } else { x.clone() };
    let even = even.reshape([rows, pairs, 2]);
    let (left, right) = (even.narrow(2, 0, 1), even.narrow(2, 1, 1));
    let above = others(&(&left * &right).reshape([rows, pairs])).reshape([rows, pairs, 1]);
    let both = Expr::concat(&[&(&above * &right), &(&above * &left)], 2);
    both.reshape([rows, pairs * 2]).narrow(1, 0, count)
}

/// Which elements of a `Set` scatter's source weren't overwritten by a later one: those that find their own number
/// where they were put.
fn survives(index: &Expr, base: &Shape, axis: usize) -> Expr {
    let number = Expr::iota(index.shape(), axis, DType::I64);
    let put = Expr::full(base.clone(), -1i64, DType::I64).scatter(index, &number, axis, ScatterMode::Set);
    put.gather(index, axis).binary(BinaryOp::Eq, &number)
}
