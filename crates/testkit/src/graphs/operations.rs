//! What is made of the values that a random graph has so far.

use kiln_ir::grad::gradients;
use kiln_ir::node::topological;
use kiln_ir::op::{ArgOp, BinaryOp, ConvSpec, ReduceOp, ScatterMode, SliceRange, UnaryOp, WindowSpec};
use kiln_ir::{DType, Expr, Shape};

use super::{MOST, Made, Maker, SIZES};
use crate::rng::Range;
use crate::table::{BINARY, REDUCE};

impl Maker {
    pub(super) fn smooth_unary(&mut self) -> Made {
        let inexact = |x: Expr, bound| Made { x, bound, exact: false };
        match self.rng.below(12) {
            0 => {
                let squashed = self.any().x.unary(UnaryOp::Tanh);
                let function = *self.rng.pick(&[UnaryOp::Exp, UnaryOp::ExpM1]);
                inexact(squashed.unary(function), 3.0)
            }
            1 => {
                let x = self.positive();
                let functions = [UnaryOp::Ln, UnaryOp::Ln1p, UnaryOp::Sqrt, UnaryOp::Rsqrt, UnaryOp::Recip];
                inexact(x.unary(*self.rng.pick(&functions)), 2.0)
            }
            2..=5 => {
                let made = self.any();
                let function = *self.rng.pick(&[UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Relu]);
                Made { x: made.x.unary(function), ..made }
            }
            6 => {
                // Through a half type, which rounds the same everywhere only if it comes from the same bits.
                let made = self.any_exact();
                let half = *self.rng.pick(&[DType::F16, DType::Bf16]);
                Made { x: made.x.cast(half).cast(DType::F32), ..made }
            }
            7 => {
                let made = self.any();
                Made { x: (made.x.cast(DType::F64) * 0.5).cast(DType::F32), exact: false, ..made }
            }
            8 => {
                let made = self.any();
                let after = self.leaf();
                Made { x: made.x.barrier(&[&after.x]), ..made }
            }
            _ => {
                let x = self.any().x;
                let functions = [UnaryOp::Sin, UnaryOp::Cos, UnaryOp::Tanh, UnaryOp::Sigmoid, UnaryOp::Erf];
                inexact(x.unary(*self.rng.pick(&functions)), 1.0)
            }
        }
    }

    pub(super) fn arithmetic(&mut self) -> Made {
        let a = self.any();
        let b = self.beside(&a.x.shape());
        let functions = [
            BinaryOp::Add,
            BinaryOp::Add,
            BinaryOp::Sub,
            BinaryOp::Mul,
            BinaryOp::Mul,
            BinaryOp::Max,
            BinaryOp::Min,
        ];
        let function = *self.rng.pick(&functions);
        let (bound, chooses) = match function {
            BinaryOp::Mul => (a.bound * b.bound, false),
            BinaryOp::Max | BinaryOp::Min => (a.bound.max(b.bound), true),
            _ => (a.bound + b.bound, false),
        };
        let (a, b, exact) =
            if self.rng.chance(0.5) { (&a, &b, a.exact && b.exact) } else { (&b, &a, a.exact && b.exact) };
        Made { x: a.x.binary(function, &b.x), bound, exact: exact && chooses }
    }

    pub(super) fn division(&mut self) -> Made {
        let base = self.positive();
        if self.rng.chance(0.4) {
            let exponent = *self.rng.pick(&[0.0, 1.0, 2.0, 3.0, 0.5, -1.0, 1.7]);
            return Made { x: base.binary_scalar(BinaryOp::Pow, exponent), bound: 4.0, exact: false };
        }
        let a = self.any();
        let literal = *self.rng.pick(&[4.0, 0.5, 3.0, -2.0]);
        match a.x.shape().broadcast(&base.shape()) {
            Some(shape) if shape.elements() <= MOST => {
                Made { x: &a.x / &base, bound: a.bound * 2.0, exact: false }
            }
            _ => Made { x: &a.x / literal, bound: a.bound * 2.0, exact: false },
        }
    }

    /// What jumps: rounding, comparing, the remainder.
    pub(super) fn jump(&mut self) -> Made {
        let a = self.any_exact();
        let functions = [UnaryOp::Floor, UnaryOp::Ceil, UnaryOp::Round, UnaryOp::Sign];
        match self.rng.below(3) {
            0 => Made { x: a.x.unary(*self.rng.pick(&functions)), bound: a.bound + 1.0, exact: true },
            1 => Made { x: a.x.binary_scalar(BinaryOp::Rem, 0.75), bound: 0.75, exact: true },
            _ => Made { x: self.condition(&a).cast(DType::F32), bound: 1.0, exact: true },
        }
    }

    pub(super) fn condition(&mut self, a: &Made) -> Expr {
        let x = match self.rng.below(3) {
            0 => a.x.clone() * 1.0, // something for the simplifier
            _ => a.x.clone(),
        };
        let compare = *self.rng.pick(&[BinaryOp::Lt, BinaryOp::Le, BinaryOp::Eq, BinaryOp::Ne]);
        let one = x.binary_scalar(compare, *self.rng.pick(&[0.0, 0.5, -1.0]));
        let join = *self.rng.pick(&[BinaryOp::And, BinaryOp::Or, BinaryOp::Xor]);
        match self.rng.below(4) {
            0 => one.unary(UnaryOp::Not),
            1 => one.binary(join, &x.binary_scalar(BinaryOp::Le, 0.25)),
            _ => one,
        }
    }

    pub(super) fn choice(&mut self) -> Made {
        let exact = self.any_exact();
        let condition = self.condition(&exact);
        let a = self.beside(&condition.shape());
        let b = self.float(condition.shape());
        match a.x.shape().broadcast(&condition.shape()) {
            Some(_) => Made {
                x: condition.select(&a.x, &b.x),
                bound: a.bound.max(b.bound),
                exact: a.exact && b.exact,
            },
            None => Made { x: condition.cast(DType::F32), bound: 1.0, exact: true },
        }
    }

    /// Integer arithmetic, counting and random numbers, cast to a float in the end.
    pub(super) fn integers(&mut self) -> Made {
        let shape = self.shape();
        let dtype = *self.rng.pick(&[DType::U8, DType::U16, DType::I32, DType::I64]);
        let a = self.argument(shape.clone(), dtype, Range::Between(-5.0, 9.0));
        let b = self.argument(shape.clone(), dtype, Range::Odd);
        let whole = |x: Expr| (x.cast(DType::I64).binary_scalar(BinaryOp::Rem, 17i64)).cast(DType::F32);
        if self.rng.chance(0.3) {
            let counter = match shape.rank() {
                0 => self.index(shape, 1000),
                rank => Expr::iota(shape, self.rng.below(rank), DType::I64),
            };
            let key = counter.full_like(self.rng.below(99) as i64);
            return Made { x: key.binary(BinaryOp::Random, &counter), bound: 1.0, exact: true };
        }
        let functions: Vec<BinaryOp> = BINARY
            .into_iter()
            .filter(|f| f.takes(dtype) && *f != BinaryOp::Random && *f != BinaryOp::Pow)
            .collect();
        let c = a.binary(*self.rng.pick(&functions), &b).cast(dtype);
        let c = c.binary(*self.rng.pick(&functions), &a);
        Made { x: whole(c), bound: 17.0, exact: true }
    }

    pub(super) fn reshape(&mut self) -> Made {
        let made = self.any();
        let sizes = made.x.shape().to_vec();
        let sizes = match self.rng.below(4) {
            0 => vec![sizes.iter().product()],
            1 if sizes.len() > 1 => [&[sizes[0] * sizes[1]], &sizes[2..]].concat(),
            2 if sizes.last().is_some_and(|size| size % 2 == 0) => {
                let (last, front) = sizes.split_last().unwrap_or((&0, &[]));
                [front, &[2, last / 2]].concat()
            }
            _ if sizes.len() < 4 => [&sizes[..], &[1]].concat(),
            _ => sizes,
        };
        Made { x: made.x.reshape(sizes), ..made }
    }

    pub(super) fn permute(&mut self) -> Made {
        let made = self.any();
        let mut axes: Vec<usize> = (0..made.x.rank()).collect();
        for i in (1..axes.len()).rev() {
            axes.swap(i, self.rng.below(i + 1));
        }
        Made { x: made.x.permute(&axes), ..made }
    }

    pub(super) fn expand(&mut self) -> Made {
        let made = self.any();
        let mut sizes: Vec<usize> = made
            .x
            .shape()
            .iter()
            .map(|&size| if size == 1 { *self.rng.pick(&SIZES) } else { size })
            .collect();
        if sizes.len() < 3 {
            sizes.insert(0, 2);
        }
        match sizes.iter().product::<usize>() <= MOST {
            true => Made { x: made.x.broadcast_to(&sizes.into()), ..made },
            false => made,
        }
    }

    pub(super) fn slice(&mut self) -> Made {
        let made = self.any();
        let ranges: Vec<SliceRange> = made.x.shape().iter().map(|&size| self.range(size)).collect();
        Made { x: made.x.slice(&ranges), ..made }
    }

    pub(super) fn range(&mut self, size: usize) -> SliceRange {
        if size == 0 || self.rng.chance(0.3) {
            return SliceRange { start: 0, len: size, step: 1 };
        }
        let step = *self.rng.pick(&[1, 1, 2, 3]);
        let most = size.div_ceil(step);
        let len = if self.rng.chance(0.03) { 0 } else { 1 + self.rng.below(most) };
        let span = len.saturating_sub(1) * step;
        let start = self.rng.below(size - span);
        match self.rng.chance(0.3) {
            true => SliceRange { start: start + span, len, step: -(step as isize) },
            false => SliceRange { start, len, step: step as isize },
        }
    }

    pub(super) fn pad_or_concat(&mut self) -> Made {
        let made = self.of_rank(1);
        let shape = made.x.shape();
        let axis = self.axis(&made.x);
        if shape.elements() > MOST / 2 {
            return made;
        }
        if self.rng.chance(0.5) {
            let other = self.float(shape.with(axis, shape[axis].min(3)));
            let x = Expr::concat(&[&made.x, &other.x, &made.x.narrow(axis, 0, shape[axis] / 2)], axis);
            return Made { x, bound: made.bound.max(other.bound), ..made };
        }
        let mut amounts = [vec![0; shape.rank()], vec![0; shape.rank()]];
        amounts[self.rng.below(2)][axis] = self.rng.below(3);
        let x = made.x.pad(&amounts[0], &amounts[1], *self.rng.pick(&[0.0, 0.0, 1.0]));
        Made { x, bound: made.bound.max(1.0), ..made }
    }

    pub(super) fn reduction(&mut self) -> Made {
        let made = self.of_rank(1);
        let mut axes: Vec<usize> = (0..made.x.rank()).filter(|_| self.rng.chance(0.5)).collect();
        if axes.is_empty() {
            axes.push(made.x.rank() - 1);
        }
        let count = axes.iter().map(|&axis| made.x.shape()[axis]).product::<usize>();
        let function = *self.rng.pick(&REDUCE);
        let (x, bound) = match function {
            ReduceOp::Sum => (made.x.reduce(function, &axes), made.bound * count as f64),
            // Numbers around one, so that a product stays in sight.
            ReduceOp::Prod if count <= 8 => {
                ((made.x.unary(UnaryOp::Tanh) * 0.25 + 1.0).reduce(function, &axes), 6.0)
            }
            ReduceOp::Max | ReduceOp::Min if count > 0 => (made.x.reduce(function, &axes), made.bound),
            // Infinities of empty extremes would spread.
            ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => return made,
        };
        let chooses = matches!(function, ReduceOp::Max | ReduceOp::Min);
        Made { x, bound, exact: made.exact && chooses }
    }

    pub(super) fn scan_or_sort(&mut self) -> Made {
        let exact = self.any_exact();
        if exact.x.rank() == 0 {
            return exact;
        }
        let axis = self.axis(&exact.x);
        let size = exact.x.shape()[axis];
        let descending = self.rng.chance(0.5);
        match self.rng.below(3) {
            0 => Made { x: exact.x.cumsum(axis), bound: exact.bound * size as f64, exact: false },
            1 if size > 0 => {
                let function = *self.rng.pick(&[ArgOp::Max, ArgOp::Min]);
                let x = exact.x.arg_reduce(function, axis).cast(DType::F32) * 0.1;
                Made { x, bound: size as f64, exact: false }
            }
            _ => {
                let order = exact.x.argsort(axis, descending);
                Made { x: exact.x.gather(&order, axis), ..exact }
            }
        }
    }

    pub(super) fn matmul(&mut self) -> Made {
        let a = self.of_rank(2);
        let shape = a.x.shape();
        let (rank, inner) = (shape.rank(), shape[shape.rank() - 1]);
        let columns = *self.rng.pick(&SIZES);
        let other = Shape::from([&shape[..rank - 2], &[inner, columns]].concat());
        if shape.with(rank - 1, columns).elements() > MOST || other.elements() > MOST {
            return a;
        }
        let b = self.float(other.clone());
        let bound = a.bound * b.bound * inner as f64;
        let x = match self.rng.chance(0.3) {
            // A transposed operand, as gradients and attention have.
            true => {
                let stored = other.with(rank - 2, columns).with(rank - 1, inner);
                a.x.matmul(&self.float(stored).x.transpose())
            }
            false => a.x.matmul(&b.x),
        };
        Made { x, bound, exact: false }
    }

    /// An image made of whatever there is.
    pub(super) fn image(&mut self) -> Made {
        let shape = [
            1 + self.rng.below(2),
            2 * (1 + self.rng.below(2)),
            4 + self.rng.below(4),
            3 + self.rng.below(4),
        ];
        let shape = Shape::from(shape);
        let images: Vec<Made> = self
            .pool
            .iter()
            .filter(|made| is_image(&made.x.shape()) && made.bound <= 30.0)
            .cloned()
            .collect();
        if !images.is_empty() && self.rng.chance(0.5) {
            self.rng.pick(&images).clone()
        } else {
            self.float(shape)
        }
    }

    pub(super) fn conv(&mut self) -> Made {
        let image = self.image();
        let shape = image.x.shape();
        let groups = if shape[1].is_multiple_of(2) && self.rng.chance(0.4) { 2 } else { 1 };
        let window = [1 + self.rng.below(3), 1 + self.rng.below(3)];
        let spec = ConvSpec {
            stride: vec![1 + self.rng.below(2), 1 + self.rng.below(2)],
            pad: vec![(self.rng.below(2), self.rng.below(2)), (self.rng.below(2), 0)],
            dilation: vec![1, 1],
            groups,
        };
        let out = 2 * (1 + self.rng.below(2));
        let weight = self.float(Shape::from([out, shape[1] / groups, window[0], window[1]]));
        let bound = image.bound * weight.bound * (shape[1] * 9 * out) as f64;
        let forward = image.x.conv(&weight.x, &spec);
        let x = match self.rng.below(4) {
            0 => forward.unary(UnaryOp::Tanh).conv_grad_input(&weight.x, &spec, &shape[2..]),
            1 => image.x.conv_grad_weight(&forward.unary(UnaryOp::Tanh), &spec, &window) * 0.1,
            _ => forward,
        };
        Made { x, bound, exact: false }
    }

    pub(super) fn window(&mut self) -> Made {
        let image = self.image();
        let spec = WindowSpec {
            window: vec![2, 2 + self.rng.below(2)],
            stride: vec![1 + self.rng.below(2), 1 + self.rng.below(2)],
            pad: vec![(self.rng.below(2), 0), (0, self.rng.below(2))],
            dilation: vec![1, 1],
        };
        let shape = image.x.shape();
        let sum = image.x.window_sum(&spec);
        match self.rng.below(5) {
            0 => Made { x: sum, bound: image.bound * 6.0, exact: false },
            1 => {
                let x = sum.window_sum_grad(&spec, &shape[2..]);
                Made { x, bound: image.bound * 36.0, exact: false }
            }
            2 => {
                // Where it is picked must be the same everywhere.
                let x = self.float(shape).x.window_spread(&sum, &spec);
                Made { x, bound: image.bound * 36.0, exact: false }
            }
            _ => Made { x: image.x.window_pick(&image.x, &spec), ..image },
        }
    }

    pub(super) fn indexing(&mut self) -> Made {
        let made = self.of_rank(1);
        let shape = made.x.shape();
        let axis = self.axis(&made.x);
        let count = if shape[axis] == 0 { 0 } else { 1 + self.rng.below(7) };
        let indexed = shape.with(axis, count);
        if indexed.elements() > MOST {
            return made;
        }
        let mut row = Shape::from(vec![1; shape.rank()]).with(axis, count);
        let rows = self.rng.chance(0.5);
        if !rows {
            row = indexed.clone();
        }
        let index = self.index(row, shape[axis]).broadcast_to(&indexed);
        match self.rng.below(3) {
            0 => {
                let source = self.float(indexed);
                let x = made.x.scatter(&index, &source.x, axis, ScatterMode::Set);
                Made { x, bound: made.bound.max(source.bound), exact: made.exact && source.exact }
            }
            1 => {
                let source = self.float(indexed);
                let x = made.x.scatter(&index, &source.x, axis, ScatterMode::Add);
                Made { x, bound: made.bound + source.bound * count as f64, exact: false }
            }
            _ => Made { x: made.x.gather(&index, axis), ..made },
        }
    }

    /// The gradient of something that was made in something it was made of.
    pub(super) fn gradient(&mut self) -> Made {
        let value = self.any().x.unary(UnaryOp::Tanh);
        let axes: Vec<usize> = (0..value.rank()).collect();
        let objective = value.sum(&axes).reshape(());
        let below = objective.node().map(|node| topological(std::slice::from_ref(node))).unwrap_or_default();
        let floats: Vec<_> = below.into_iter().filter(|node| node.dtype == DType::F32).collect();
        let wanted = Expr::from(self.rng.pick(&floats).clone());
        let slope = gradients(&objective, &[wanted], None).remove(0);
        // Its size isn't known, so it is squashed.
        Made { x: (slope * 0.1).unary(UnaryOp::Tanh), bound: 1.0, exact: false }
    }
}

fn is_image(shape: &Shape) -> bool {
    shape.rank() == 4
        && shape[0] > 0
        && shape[1] > 0
        && shape[1] <= 8
        && (4..=9).contains(&shape[2])
        && (3..=9).contains(&shape[3])
}
