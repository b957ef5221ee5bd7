//! The closed set of operations. Every pass matches it without a wildcard, so the compiler names what a new
//! operation still needs. Meaning is written here, at the variant: operands, broadcasting, NaN, overflow, order.
//!
//! Operands are strict: pointwise operations take operands of one shape and one dtype. Broadcasting (`Expand`)
//! and promotion (`Cast`) are explicit nodes, put in by the builders of [`crate::expr::Expr`].
//! Whatever can be composed of these (softmax, norms, GELU, every loss) is composed, in the tensor's methods.

pub use crate::attention::{AttentionOperand, AttentionSpec, AttentionValue};
use std::sync::Arc;

use crate::data::Data;
use crate::dtype::{DType, Scalar};
pub use crate::expr::custom::{CustomOp, GradientRule};
pub use crate::graph::scan::{Scan, ScanGradient, ScanResult};
pub use crate::handles::{Identity, Shared, VariableHandle};
pub use crate::packed::BlockFormat;

/// What a node computes from its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    // Leaves: no inputs; the node says shape and dtype.
    /// Numbers from the host, row-major.
    Const(Shared<Data>),
    /// One value everywhere, already rounded to the node's dtype.
    Fill(Scalar),
    /// The index along an axis: 0, 1, 2 … (`I64` or `I32`).
    Iota(usize),
    /// The current value of a variable on the device.
    Var(Shared<dyn VariableHandle>),
    /// The argument of a compiled step with this position.
    Input(usize),

    // Pointwise: all operands of one shape; the result has it too.
    /// A function of one operand; same dtype out.
    Unary(UnaryOp),
    /// A function of two operands of the same dtype; comparisons give `Bool`.
    Binary(BinaryOp),
    /// `[condition: Bool, a, b]` → `a` where the condition holds, else `b`. The operand that isn't chosen has no
    /// influence, `NaN` or not.
    Select,
    /// To another dtype. Float to integer truncates and saturates (`NaN` → 0) and then wraps to narrower ones as
    /// Rust's `as` from `i64`; anything to `Bool` is "not zero"; to a narrower float rounds to nearest even.
    Cast(DType),

    // Movement: no arithmetic.
    /// The same elements in row-major order under another shape of equal size (the node's shape).
    Reshape,
    /// Axis `i` of the result is axis `axes[i]` of the operand.
    Permute(Vec<usize>),
    /// Axes of size one repeat to the node's shape; same rank.
    Expand,
    /// A range of every axis.
    Slice(Vec<SliceRange>),
    /// `value` around the operand: `before[axis]` and `after[axis]` elements.
    Pad {
        /// Elements put in front of each axis.
        before: Vec<usize>,
        /// Elements put behind each axis.
        after: Vec<usize>,
        /// What they hold.
        value: Scalar,
    },
    /// All operands one after the other along an axis; the other axes agree.
    Concat(usize),

    // Reductions and scans.
    /// Folds the axes (sorted, distinct), which stay with size one. An empty axis gives the fold's neutral value.
    Reduce(ReduceOp, Vec<usize>),
    /// The position (`I64`) of the first largest or smallest element along an axis, which stays with size one.
    /// `NaN` counts as the largest for `Max` and as the smallest for `Min`. The axis mustn't be empty.
    ArgReduce(ArgOp, usize),
    /// Running sum along an axis, the element itself included. Sequential along the axis; half types accumulate
    /// in `f32`, `u8` and the like wrap.
    CumSum(usize),
    /// The permutation (`I64`) that sorts along an axis; equal elements keep their order, `NaN` sorts as largest.
    ArgSort {
        /// The axis sorted along.
        axis: usize,
        /// Largest first.
        descending: bool,
    },

    // Contractions. Half types accumulate in f32. The order of the sum is a device's choice, but doesn't depend on
    // the number of threads.
    /// `[batch…, m, k] × [batch…, k, n]` → `[batch…, m, n]`, equal batch axes, rank at least 2.
    Matmul,
    /// Convolution (cross-correlation): image `[batch, in, spatial…]`, weight `[out, in/groups, window…]`
    /// → `[batch, out, spatial…]`; 1 to 3 spatial axes.
    Conv(ConvSpec),
    /// The adjoint of `Conv` in its image, which is a transposed convolution: `[gradient, weight]` → an image with
    /// these spatial sizes.
    ConvGradInput(ConvSpec, Vec<usize>),
    /// The adjoint of `Conv` in its weight: `[image, gradient]` → a weight with these window sizes.
    ConvGradWeight(ConvSpec, Vec<usize>),

    /// Scaled dot-product attention, or what belongs to it: `softmax(scale · query·keyᵀ + mask)·value` over the keys that a query sees
    /// ([`AttentionSpec`]), some of whose weights may be dropped. A query that sees no key, or only keys whose mask is −∞, gets zeros, and −∞ as the logarithm of its sum.
    /// Half types are computed in `f32` throughout. A row's sums run over blocks of keys of one size, counted from the first key.
    Attention(AttentionSpec, AttentionValue),

    // Windows over the trailing spatial axes of `[batch, channel, spatial…]`; 1 to 3 of them.
    /// `[x, values]` (both image-shaped): for each window the element of `values` at the first maximum of `x`.
    /// `NaN` counts as largest, padding is never picked. Max pooling is `WindowPick(x, x)`.
    WindowPick(WindowSpec),
    /// The adjoint of `WindowPick` in its values: `[x, gradient]` → image-shaped, each gradient added at the position
    /// its window picked in `x`. Ties: the first alone receives it.
    WindowSpread(WindowSpec),
    /// The sum over each window; padding counts as zero.
    WindowSum(WindowSpec),
    /// The adjoint of `WindowSum`: a gradient spread over an image with these spatial sizes.
    WindowSumGrad(WindowSpec, Vec<usize>),

    // Indexing. Indices are I64; where one is out of range the run fails with an error that names it.
    /// `[x, index]` → the shape of `index`, which equals `x`'s but for `axis`: `out[…, i, …] = x[…, index[…, i, …], …]`.
    /// An index expanded over the other axes selects whole rows (an embedding look-up).
    Gather(usize),
    /// `[base, index, source]` → `base` with each element of `source` put (or added) at its index along the axis.
    /// `source` has the shape of `index`; the other axes agree with `base`'s. Where indices repeat, `Set` keeps the last
    /// and `Add` adds in order.
    Scatter(usize, ScatterMode),

    // Packed weights.
    /// `[…, bytes]` of `U8` → `[…, numbers]` of `F32`: whole blocks along the last axis, each number rounded as its format's formula
    /// says ([`BlockFormat`]). No gradient flows through it. A product whose columns are rows of it unpacks a part at a time.
    Unpack(BlockFormat),

    // Recurrence.
    /// A body run for each step along sequences: `[states…, sequences…, constants…]` → one value of the walk. Nodes of the same scan
    /// on the same operands are one walk, whichever of its values they are. Each step's values are what the body's operations
    /// mean; the steps follow each other.
    Scan(Arc<Scan>, ScanResult),

    // Structure.
    /// The operand itself, through which no gradient flows.
    StopGradient,
    /// `[x, after…]` → `x`, computed when all of `after` are. Never merged with an equal node: what hangs on it is
    /// computed anew.
    Barrier(u64),
    /// `[value, arguments…]` → `value`; its gradient goes to the arguments by a rule of the user's.
    Rule(Shared<dyn GradientRule>),
    /// A user's own function of host data, with its own gradient rule.
    Custom(Shared<dyn CustomOp>),
}

/// Functions of one operand. Floats unless said otherwise; `NaN` in gives `NaN` out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-x`; integers wrap.
    Neg,
    /// `|x|`; integers wrap.
    Abs,
    /// −1, 0 or 1; of `NaN` it is `NaN`.
    Sign,
    /// `e^x`.
    Exp,
    /// `e^x - 1`, precise near zero.
    ExpM1,
    /// Natural logarithm; of 0 is −∞, of negatives `NaN`.
    Ln,
    /// `ln(1 + x)`, precise near zero.
    Ln1p,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `1 / x`.
    Recip,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`, without overflow at either end.
    Sigmoid,
    /// The error function.
    Erf,
    /// `x` where positive, else 0 (`NaN` stays). An operation of its own so that its gradient needs only its result.
    Relu,
    /// Downwards to a whole number.
    Floor,
    /// Upwards to a whole number.
    Ceil,
    /// To the nearest whole number, halves to even.
    Round,
    /// Logical not of `Bool`.
    Not,
}

/// Functions of two operands of one dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b`; integers wrap, `Bool` isn't taken.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`; integers truncate towards zero and give 0 where `b` is 0.
    Div,
    /// The remainder of the truncated division, with the sign of `a`, as Rust's `%`; 0 where an integer `b` is 0.
    Rem,
    /// `a` to the power `b`; floats as C's `pow`; integers wrap and give 0 for negative exponents.
    Pow,
    /// The larger; `NaN` if either is.
    Max,
    /// The smaller; `NaN` if either is.
    Min,
    /// `a < b` → `Bool`; false with `NaN`.
    Lt,
    /// `a <= b` → `Bool`; false with `NaN`.
    Le,
    /// `a == b` → `Bool`; false with `NaN`.
    Eq,
    /// `a != b` → `Bool`; true with `NaN`.
    Ne,
    /// Logical and of `Bool`, bitwise of integers.
    And,
    /// Logical or of `Bool`, bitwise of integers.
    Or,
    /// Exclusive or of `Bool`, bitwise of integers.
    Xor,
    /// `[key: I64, counter: I64]` → `F32` uniform in `[0, 1)` with 24 random bits: [`crate::random::uniform`].
    /// The same numbers on every device and thread count.
    Random,
}

/// Folds over axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum; empty gives 0. Half types accumulate in `f32`, integers wrap.
    Sum,
    /// Product; empty gives 1.
    Prod,
    /// Largest; `NaN` if any is; empty gives −∞ or the smallest integer. On `Bool`: any.
    Max,
    /// Smallest; `NaN` if any is; empty gives ∞ or the largest integer. On `Bool`: all.
    Min,
}

/// Which position is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgOp {
    /// Of the largest.
    Max,
    /// Of the smallest.
    Min,
}

/// What a scatter does with the element that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScatterMode {
    /// Replaces it.
    Set,
    /// Adds to it.
    Add,
}

/// `len` elements from `start` in steps of `step`, which may be negative; always within the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceRange {
    /// The first element's index.
    pub start: usize,
    /// How many elements.
    pub len: usize,
    /// The distance from one to the next; not 0.
    pub step: isize,
}

/// How a convolution's window moves. One entry for each spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Distance between windows.
    pub stride: Vec<usize>,
    /// Zeros before and behind each axis.
    pub pad: Vec<(usize, usize)>,
    /// Distance between the elements of a window.
    pub dilation: Vec<usize>,
    /// Channels are cut into this many independent groups.
    pub groups: usize,
}

/// The windows of a pooling operation. One entry for each spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowSpec {
    /// Sizes of a window.
    pub window: Vec<usize>,
    /// Distance between windows.
    pub stride: Vec<usize>,
    /// Padding before and behind each axis; with ceil mode, what hangs over the end is counted here too.
    pub pad: Vec<(usize, usize)>,
    /// Distance between the elements of a window.
    pub dilation: Vec<usize>,
}

/// How many windows of `window` (dilated) fit into `size` with its padding, or `None` if not even one does.
pub fn windows(
    size: usize,
    pad: (usize, usize),
    window: usize,
    dilation: usize,
    stride: usize,
) -> Option<usize> {
    let extent = window.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let room = size.checked_add(pad.0)?.checked_add(pad.1)?.checked_sub(extent)?;
    Some(room.checked_div(stride)? + 1)
}

impl Op {
    /// The operation's name in errors and printed graphs.
    pub fn name(&self) -> &str {
        match self {
            Op::Const(_) => "const",
            Op::Fill(_) => "fill",
            Op::Iota(_) => "iota",
            Op::Var(_) => "var",
            Op::Input(_) => "input",
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Select => "select",
            Op::Cast(_) => "cast",
            Op::Reshape => "reshape",
            Op::Permute(_) => "permute",
            Op::Expand => "expand",
            Op::Slice(_) => "slice",
            Op::Pad { .. } => "pad",
            Op::Concat(_) => "concat",
            Op::Reduce(ReduceOp::Sum, _) => "sum",
            Op::Reduce(ReduceOp::Prod, _) => "prod",
            Op::Reduce(ReduceOp::Max, _) => "max",
            Op::Reduce(ReduceOp::Min, _) => "min",
            Op::ArgReduce(ArgOp::Max, _) => "argmax",
            Op::ArgReduce(ArgOp::Min, _) => "argmin",
            Op::CumSum(_) => "cumsum",
            Op::ArgSort { .. } => "argsort",
            Op::Matmul => "matmul",
            Op::Conv(_) => "conv",
            Op::ConvGradInput(..) => "conv_grad_input",
            Op::ConvGradWeight(..) => "conv_grad_weight",
            Op::Attention(_, value) => value.name(),
            Op::WindowPick(_) => "window_pick",
            Op::WindowSpread(_) => "window_spread",
            Op::WindowSum(_) => "window_sum",
            Op::WindowSumGrad(..) => "window_sum_grad",
            Op::Gather(_) => "gather",
            Op::Scatter(_, ScatterMode::Set) => "scatter",
            Op::Scatter(_, ScatterMode::Add) => "scatter_add",
            Op::Unpack(_) => "unpack",
            Op::Scan(..) => "scan",
            Op::StopGradient => "stop_gradient",
            Op::Barrier(_) => "barrier",
            Op::Rule(_) => "rule",
            Op::Custom(op) => op.name(),
        }
    }
}

impl UnaryOp {
    /// The function's name.
    pub fn name(self) -> &'static str {
        match self {
            UnaryOp::Neg => "neg",
            UnaryOp::Abs => "abs",
            UnaryOp::Sign => "sign",
            UnaryOp::Exp => "exp",
            UnaryOp::ExpM1 => "exp_m1",
            UnaryOp::Ln => "ln",
            UnaryOp::Ln1p => "ln_1p",
            UnaryOp::Sqrt => "sqrt",
            UnaryOp::Rsqrt => "rsqrt",
            UnaryOp::Recip => "recip",
            UnaryOp::Sin => "sin",
            UnaryOp::Cos => "cos",
            UnaryOp::Tanh => "tanh",
            UnaryOp::Sigmoid => "sigmoid",
            UnaryOp::Erf => "erf",
            UnaryOp::Relu => "relu",
            UnaryOp::Floor => "floor",
            UnaryOp::Ceil => "ceil",
            UnaryOp::Round => "round",
            UnaryOp::Not => "not",
        }
    }

    /// Whether the function is defined on elements of `dtype`.
    pub fn takes(self, dtype: DType) -> bool {
        match self {
            UnaryOp::Not => dtype == DType::Bool,
            UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Relu => dtype != DType::Bool,
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
            | UnaryOp::Erf
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round => dtype.is_float(),
        }
    }
}

impl ReduceOp {
    /// What folding nothing gives.
    pub fn neutral(self, dtype: DType) -> Scalar {
        use Scalar::{Float, Int};
        let (lowest, highest) = match dtype {
            DType::Bool => (Int(0), Int(1)),
            DType::U8 => (Int(0), Int(u8::MAX.into())),
            DType::U16 => (Int(0), Int(u16::MAX.into())),
            DType::I32 => (Int(i32::MIN.into()), Int(i32::MAX.into())),
            DType::I64 => (Int(i64::MIN), Int(i64::MAX)),
            DType::F16 | DType::Bf16 | DType::F32 | DType::F64 => {
                (Float(f64::NEG_INFINITY), Float(f64::INFINITY))
            }
        };
        match self {
            ReduceOp::Sum => Int(0),
            ReduceOp::Prod => Int(1),
            ReduceOp::Max => lowest,
            ReduceOp::Min => highest,
        }
    }

    /// The function of two that is folded with.
    pub fn function(self) -> BinaryOp {
        match self {
            ReduceOp::Sum => BinaryOp::Add,
            ReduceOp::Prod => BinaryOp::Mul,
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
        }
    }
}

impl BinaryOp {
    /// The function's name.
    pub fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "add",
            BinaryOp::Sub => "sub",
            BinaryOp::Mul => "mul",
            BinaryOp::Div => "div",
            BinaryOp::Rem => "rem",
            BinaryOp::Pow => "pow",
            BinaryOp::Max => "max",
            BinaryOp::Min => "min",
            BinaryOp::Lt => "lt",
            BinaryOp::Le => "le",
            BinaryOp::Eq => "eq",
            BinaryOp::Ne => "ne",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Xor => "xor",
            BinaryOp::Random => "random",
        }
    }

    /// Whether the function is defined on operands of `dtype`.
    pub fn takes(self, dtype: DType) -> bool {
        match self {
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Pow => {
                dtype != DType::Bool
            }
            BinaryOp::Max | BinaryOp::Min | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne => true,
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !dtype.is_float(),
            BinaryOp::Random => dtype == DType::I64,
        }
    }

    /// The result's dtype for operands of `dtype`.
    pub fn result(self, dtype: DType) -> DType {
        match self {
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne => DType::Bool,
            BinaryOp::Random => DType::F32,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Pow
            | BinaryOp::Max
            | BinaryOp::Min
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => dtype,
        }
    }
}
