//! A handle to a node, or the error that kept it from being built. Building never fails: an error flows through the
//! rest of the arithmetic, the first one winning, and comes out where a value is asked for.
//!
//! These are the primitive operations with broadcasting and promotion put in; gradient rules are written with them,
//! and the user-facing tensor wraps them.

use std::ops;
use std::panic::Location;
use std::sync::Arc;

use crate::data::Data;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::infer::infer;
use crate::line;
use crate::node::{Node, next_id};
use crate::op::{
    ArgOp, BinaryOp, ConvSpec, CustomOp, GradientRule, Op, ReduceOp, ScatterMode, Shared, SliceRange,
    UnaryOp, Variable, WindowSpec,
};
use crate::shape::Shape;

/// A value in the lazy graph, or the error that poisons it.
#[derive(Clone, Debug)]
pub struct Expr(Result<Arc<Node>, Arc<Error>>);

impl Expr {
    /// The node, or the first error on the way to it.
    pub fn node(&self) -> Result<&Arc<Node>, &Arc<Error>> {
        self.0.as_ref()
    }

    /// A value that carries `error`.
    pub fn poisoned(error: Error) -> Expr {
        Expr(Err(Arc::new(error)))
    }

    /// The error this value carries, if it does.
    pub fn error(&self) -> Option<&Error> {
        self.0.as_ref().err().map(|error| error.as_ref())
    }

    /// The shape; of a poisoned value a scalar's.
    pub fn shape(&self) -> Shape {
        self.0.as_ref().map_or_else(|_| Shape::scalar(), |node| node.shape.clone())
    }

    /// The dtype; of a poisoned value `F32`.
    pub fn dtype(&self) -> DType {
        self.0.as_ref().map_or(DType::F32, |node| node.dtype)
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |node| node.shape.rank())
    }

    /// Applies any operation: infers shape and dtype, or poisons with the operation, the operands and the line.
    /// `wanted` is as in [`infer`].
    #[track_caller]
    pub fn apply(op: Op, operands: &[&Expr], wanted: Option<(&Shape, DType)>) -> Expr {
        let at = line::of(Location::caller());
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            match &operand.0 {
                Ok(node) => nodes.push(node.clone()),
                Err(error) => return Expr(Err(error.clone())),
            }
        }
        let views: Vec<_> = nodes.iter().map(|node| (&node.shape, node.dtype)).collect();
        match infer(&op, &views, wanted) {
            Ok((shape, dtype)) => Expr(Ok(Node::new(op, nodes, shape, dtype, at))),
            Err((kind, message)) => {
                let names: Vec<String> = nodes.iter().filter_map(|node| node.variable_name()).collect();
                let suffix =
                    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
                Expr::poisoned(Error::new(kind, op.name(), message + &suffix).at(at))
            }
        }
    }

    // Leaves.

    /// Numbers from the host, row-major.
    #[track_caller]
    pub fn constant(data: Data, shape: impl Into<Shape>) -> Expr {
        let (shape, dtype) = (shape.into(), data.dtype());
        Expr::apply(Op::Const(Shared(Arc::new(data))), &[], Some((&shape, dtype)))
    }

    /// `value`, rounded to `dtype`, everywhere.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: impl Into<Scalar>, dtype: DType) -> Expr {
        Expr::apply(Op::Fill(value.into().cast(dtype)), &[], Some((&shape.into(), dtype)))
    }

    /// `value` in the shape and dtype of `self`.
    #[track_caller]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Expr {
        match &self.0 {
            Ok(node) => Expr::full(node.shape.clone(), value, node.dtype),
            Err(_) => self.clone(),
        }
    }

    /// The index along `axis`.
    #[track_caller]
    pub fn iota(shape: impl Into<Shape>, axis: usize, dtype: DType) -> Expr {
        Expr::apply(Op::Iota(axis), &[], Some((&shape.into(), dtype)))
    }

    /// The current value of a variable.
    #[track_caller]
    pub fn variable(variable: Arc<dyn Variable>) -> Expr {
        Expr::apply(Op::Var(Shared(variable)), &[], None)
    }

    /// The argument of a step with this position.
    #[track_caller]
    pub fn input(position: usize, shape: impl Into<Shape>, dtype: DType) -> Expr {
        Expr::apply(Op::Input(position), &[], Some((&shape.into(), dtype)))
    }

    // Pointwise.

    /// A function of this value.
    #[track_caller]
    pub fn unary(&self, function: UnaryOp) -> Expr {
        Expr::apply(Op::Unary(function), &[self], None)
    }

    /// A function of two values, after promotion and broadcasting.
    #[track_caller]
    pub fn binary(&self, function: BinaryOp, other: &Expr) -> Expr {
        let (Ok(a), Ok(b)) = (&self.0, &other.0) else {
            return if self.0.is_err() { self.clone() } else { other.clone() };
        };
        let dtype = a.dtype.promote(b.dtype);
        let Some(shape) = a.shape.broadcast(&b.shape) else {
            let names: Vec<String> = [a, b].iter().filter_map(|node| node.variable_name()).collect();
            let suffix = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            let message = format!(
                "shapes don't broadcast, {} and {}{suffix}; sizes must be equal or one, aligned at the last axis",
                a.shape, b.shape
            );
            return Expr::poisoned(Error::new(ErrorKind::Shape, function.name(), message));
        };
        let a = self.cast(dtype).broadcast_to(&shape);
        let b = other.cast(dtype).broadcast_to(&shape);
        Expr::apply(Op::Binary(function), &[&a, &b], None)
    }

    /// A function of this value and a literal, which takes this value's dtype where it can ([`Scalar::join`]).
    #[track_caller]
    pub fn binary_scalar(&self, function: BinaryOp, value: impl Into<Scalar>) -> Expr {
        let value = value.into();
        let x = self.cast(value.join(self.dtype()));
        let literal = x.full_like(value);
        x.binary(function, &literal)
    }

    /// `self` where it holds chooses `a`, else `b`; all broadcast together, and `a` and `b` are promoted.
    #[track_caller]
    pub fn select(&self, a: &Expr, b: &Expr) -> Expr {
        for operand in [self, a, b] {
            if operand.0.is_err() {
                return operand.clone();
            }
        }
        let dtype = a.dtype().promote(b.dtype());
        let shape = self.shape().broadcast(&a.shape()).and_then(|shape| shape.broadcast(&b.shape()));
        let Some(shape) = shape else {
            let message =
                format!("shapes don't broadcast, {}, {} and {}", self.shape(), a.shape(), b.shape());
            return Expr::poisoned(Error::new(ErrorKind::Shape, "select", message));
        };
        let condition = self.broadcast_to(&shape);
        let a = a.cast(dtype).broadcast_to(&shape);
        let b = b.cast(dtype).broadcast_to(&shape);
        Expr::apply(Op::Select, &[&condition, &a, &b], None)
    }

    /// To another dtype; itself where it has it already.
    #[track_caller]
    pub fn cast(&self, dtype: DType) -> Expr {
        if self.0.is_err() || self.dtype() == dtype {
            return self.clone();
        }
        Expr::apply(Op::Cast(dtype), &[self], None)
    }

    // Movement.

    /// The same elements under another shape; itself where it has it already.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Expr {
        let shape = shape.into();
        if self.0.as_ref().is_ok_and(|node| node.shape == shape) {
            return self.clone();
        }
        Expr::apply(Op::Reshape, &[self], Some((&shape, self.dtype())))
    }

    /// Axis `i` of the result is axis `axes[i]` of this value.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Expr {
        if self.0.is_ok() && axes.len() == self.rank() && axes.iter().enumerate().all(|(i, &axis)| i == axis)
        {
            return self.clone();
        }
        Expr::apply(Op::Permute(axes.to_vec()), &[self], None)
    }

    /// The last two axes exchanged.
    #[track_caller]
    pub fn transpose(&self) -> Expr {
        let rank = self.rank();
        if rank < 2 {
            return self.clone();
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(&axes)
    }

    /// Repeated to `shape` as NumPy broadcasts: missing leading axes are added, sizes of one repeat.
    #[track_caller]
    pub fn broadcast_to(&self, shape: &Shape) -> Expr {
        let Ok(node) = &self.0 else { return self.clone() };
        if node.shape == *shape {
            return self.clone();
        }
        let mut sizes = vec![1; shape.rank().saturating_sub(node.shape.rank())];
        sizes.extend_from_slice(&node.shape);
        Expr::apply(Op::Expand, &[&self.reshape(sizes)], Some((shape, node.dtype)))
    }

    /// Summed down to `shape`, the adjoint of [`Expr::broadcast_to`].
    #[track_caller]
    pub fn sum_to(&self, shape: &Shape) -> Expr {
        let Ok(node) = &self.0 else { return self.clone() };
        let missing = node.shape.rank().saturating_sub(shape.rank());
        let axes: Vec<usize> = (0..node.shape.rank())
            .filter(|&axis| axis < missing || (shape[axis - missing] == 1 && node.shape[axis] != 1))
            .collect();
        self.reduce(ReduceOp::Sum, &axes).reshape(shape.clone())
    }

    /// A range of every axis.
    #[track_caller]
    pub fn slice(&self, ranges: &[SliceRange]) -> Expr {
        Expr::apply(Op::Slice(ranges.to_vec()), &[self], None)
    }

    #[track_caller]
    fn no_axis(operation: &str, axis: usize, shape: &Shape) -> Expr {
        Expr::poisoned(Error::new(ErrorKind::Shape, operation, format!("there is no axis {axis} in {shape}")))
    }

    /// `len` elements of one axis from `start`.
    #[track_caller]
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Expr {
        let shape = self.shape();
        if self.error().is_none() && axis >= shape.rank() {
            return Expr::no_axis("narrow", axis, &shape);
        }
        let ranges: Vec<SliceRange> = (0..shape.rank())
            .map(|a| {
                if a == axis {
                    SliceRange { start, len, step: 1 }
                } else {
                    SliceRange { start: 0, len: shape[a], step: 1 }
                }
            })
            .collect();
        self.slice(&ranges)
    }

    /// The elements of the axes in reverse order.
    #[track_caller]
    pub fn flip(&self, axes: &[usize]) -> Expr {
        let shape = self.shape();
        if let (None, Some(&axis)) = (self.error(), axes.iter().find(|&&axis| axis >= shape.rank())) {
            return Expr::no_axis("flip", axis, &shape);
        }
        let ranges: Vec<SliceRange> = (0..shape.rank())
            .map(|axis| {
                let len = shape[axis];
                match axes.contains(&axis) && len > 0 {
                    true => SliceRange { start: len - 1, len, step: -1 },
                    false => SliceRange { start: 0, len, step: 1 },
                }
            })
            .collect();
        self.slice(&ranges)
    }

    /// `value` around this one.
    #[track_caller]
    pub fn pad(&self, before: &[usize], after: &[usize], value: impl Into<Scalar>) -> Expr {
        let value = value.into().cast(self.dtype());
        Expr::apply(Op::Pad { before: before.to_vec(), after: after.to_vec(), value }, &[self], None)
    }

    /// All parts one after the other along an axis.
    #[track_caller]
    pub fn concat(parts: &[&Expr], axis: usize) -> Expr {
        Expr::apply(Op::Concat(axis), parts, None)
    }

    // Reductions and scans.

    /// Folds the axes (in any order), which stay with size one; itself where there are none.
    #[track_caller]
    pub fn reduce(&self, function: ReduceOp, axes: &[usize]) -> Expr {
        if axes.is_empty() {
            return self.clone();
        }
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        Expr::apply(Op::Reduce(function, axes), &[self], None)
    }

    /// The sum over the axes, which stay with size one.
    #[track_caller]
    pub fn sum(&self, axes: &[usize]) -> Expr {
        self.reduce(ReduceOp::Sum, axes)
    }

    /// The position of the first extreme along an axis, which stays with size one.
    #[track_caller]
    pub fn arg_reduce(&self, function: ArgOp, axis: usize) -> Expr {
        Expr::apply(Op::ArgReduce(function, axis), &[self], None)
    }

    /// The running sum along an axis.
    #[track_caller]
    pub fn cumsum(&self, axis: usize) -> Expr {
        Expr::apply(Op::CumSum(axis), &[self], None)
    }

    /// The permutation that sorts along an axis.
    #[track_caller]
    pub fn argsort(&self, axis: usize, descending: bool) -> Expr {
        Expr::apply(Op::ArgSort { axis, descending }, &[self], None)
    }

    // Contractions.

    /// The matrix product of the last two axes; batch axes must be equal.
    #[track_caller]
    pub fn matmul(&self, other: &Expr) -> Expr {
        Expr::apply(Op::Matmul, &[self, other], None)
    }

    /// The convolution with `weight`.
    #[track_caller]
    pub fn conv(&self, weight: &Expr, spec: &ConvSpec) -> Expr {
        Expr::apply(Op::Conv(spec.clone()), &[self, weight], None)
    }

    /// The transposed convolution of this gradient, giving an image of spatial `sizes`.
    #[track_caller]
    pub fn conv_grad_input(&self, weight: &Expr, spec: &ConvSpec, sizes: &[usize]) -> Expr {
        Expr::apply(Op::ConvGradInput(spec.clone(), sizes.to_vec()), &[self, weight], None)
    }

    /// The gradient of a convolution of this image in its weight of `window` sizes.
    #[track_caller]
    pub fn conv_grad_weight(&self, gradient: &Expr, spec: &ConvSpec, window: &[usize]) -> Expr {
        Expr::apply(Op::ConvGradWeight(spec.clone(), window.to_vec()), &[self, gradient], None)
    }

    // Windows.

    /// For each window the element of `values` at the first maximum of this value.
    #[track_caller]
    pub fn window_pick(&self, values: &Expr, spec: &WindowSpec) -> Expr {
        Expr::apply(Op::WindowPick(spec.clone()), &[self, values], None)
    }

    /// Each gradient added at the position that its window picks in this value.
    #[track_caller]
    pub fn window_spread(&self, gradient: &Expr, spec: &WindowSpec) -> Expr {
        Expr::apply(Op::WindowSpread(spec.clone()), &[self, gradient], None)
    }

    /// The sum over each window.
    #[track_caller]
    pub fn window_sum(&self, spec: &WindowSpec) -> Expr {
        Expr::apply(Op::WindowSum(spec.clone()), &[self], None)
    }

    /// This gradient of a window sum spread over an image of spatial `sizes`.
    #[track_caller]
    pub fn window_sum_grad(&self, spec: &WindowSpec, sizes: &[usize]) -> Expr {
        Expr::apply(Op::WindowSumGrad(spec.clone(), sizes.to_vec()), &[self], None)
    }

    // Indexing.

    /// The elements at `index` along an axis.
    #[track_caller]
    pub fn gather(&self, index: &Expr, axis: usize) -> Expr {
        Expr::apply(Op::Gather(axis), &[self, index], None)
    }

    /// This value with `source` put at `index` along an axis.
    #[track_caller]
    pub fn scatter(&self, index: &Expr, source: &Expr, axis: usize, mode: ScatterMode) -> Expr {
        Expr::apply(Op::Scatter(axis, mode), &[self, index, source], None)
    }

    // Structure.

    /// This value, through which no gradient flows.
    #[track_caller]
    pub fn stop_gradient(&self) -> Expr {
        Expr::apply(Op::StopGradient, &[self], None)
    }

    /// This value, computed anew once all of `after` are there.
    #[track_caller]
    pub fn barrier(&self, after: &[&Expr]) -> Expr {
        let mut operands = vec![self];
        operands.extend(after);
        Expr::apply(Op::Barrier(next_id()), &operands, None)
    }

    /// This value with a gradient rule of the user's, in terms of `arguments`.
    #[track_caller]
    pub fn with_rule(&self, arguments: &[&Expr], rule: Arc<dyn GradientRule>) -> Expr {
        let mut operands = vec![self];
        operands.extend(arguments);
        Expr::apply(Op::Rule(Shared(rule)), &operands, None)
    }

    /// A user's own operation.
    #[track_caller]
    pub fn custom(custom: Arc<dyn CustomOp>, operands: &[&Expr]) -> Expr {
        Expr::apply(Op::Custom(Shared(custom)), operands, None)
    }
}

impl From<Arc<Node>> for Expr {
    fn from(node: Arc<Node>) -> Expr {
        Expr(Ok(node))
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $function:ident;)*) => {$(
        impl ops::$trait<&Expr> for &Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: &Expr) -> Expr { self.binary(BinaryOp::$function, other) }
        }
        impl ops::$trait<Expr> for Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: Expr) -> Expr { self.binary(BinaryOp::$function, &other) }
        }
        impl ops::$trait<&Expr> for Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: &Expr) -> Expr { self.binary(BinaryOp::$function, other) }
        }
        impl ops::$trait<Expr> for &Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: Expr) -> Expr { self.binary(BinaryOp::$function, &other) }
        }
        impl ops::$trait<f64> for &Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: f64) -> Expr { self.binary_scalar(BinaryOp::$function, other) }
        }
        impl ops::$trait<f64> for Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: f64) -> Expr { self.binary_scalar(BinaryOp::$function, other) }
        }
    )*};
}

operator! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
}

impl ops::Neg for &Expr {
    type Output = Expr;
    #[track_caller]
    fn neg(self) -> Expr {
        self.unary(UnaryOp::Neg)
    }
}

impl ops::Neg for Expr {
    type Output = Expr;
    #[track_caller]
    fn neg(self) -> Expr {
        self.unary(UnaryOp::Neg)
    }
}
