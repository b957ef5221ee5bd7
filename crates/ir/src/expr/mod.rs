//! A handle to a node, or the error that kept it from being built. Building never fails: an error flows through the
//! rest of the arithmetic, the first one winning, and comes out where a value is asked for.
//!
//! These are the primitive operations with broadcasting and promotion put in; gradient rules are written with them,
//! and the user-facing tensor wraps them.

pub mod attention;
pub(crate) mod custom;
mod movement;
mod operators;
pub(crate) mod scan;

use std::panic::Location;
use std::sync::Arc;

use crate::data::Data;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::infer::infer;
use crate::line;
use crate::node::{Node, next_id};
use crate::op::{
    ArgOp, BinaryOp, ConvSpec, Op, ReduceOp, ScatterMode, Shared, UnaryOp, VariableHandle, WindowSpec,
};
use crate::packed::BlockFormat;
use crate::shape::Shape;
pub use custom::{CustomOp, GradientRule};
pub use scan::{ScanBody, ScanOptions, Scanned, unrolled};

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
    pub fn variable(variable: Arc<dyn VariableHandle>) -> Expr {
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

    /// The numbers of these bytes, whose last axis is whole blocks.
    #[track_caller]
    pub fn unpack(&self, format: BlockFormat) -> Expr {
        Expr::apply(Op::Unpack(format), &[self], None)
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
