//! The table of operations: each operation on the dtypes it takes and on awkward shapes (empty, of size one, prime,
//! larger than a tile) and layouts (transposed, sliced, expanded, padded operands), with data from a fixed seed.

mod attention;
mod contract;
mod fold;
mod index;
mod movement;
mod pointwise;
mod scan;
mod speed;
mod structure;
mod window;

pub use scan::without_scans;
pub use speed::{Speed, speed_cases};

use kiln_ir::op::{ArgOp, BinaryOp, Op, ReduceOp, ScatterMode, SliceRange, UnaryOp};
use kiln_ir::{DType, Data, Expr, Result, Shape};

use crate::close::Tolerance;
use crate::problem::Problem;
use crate::rng::{Range, Rng};

/// What a case computes from its operands.
pub type Build = Box<dyn Fn(&[Expr]) -> Expr + Send + Sync>;

/// One operation on operands of certain shapes and dtypes.
pub struct Case {
    /// The operation, the dtype and what is special: `max f32 [2, 3, 5] axes [1]`.
    pub name: String,
    /// Shapes and numbers of the operands.
    pub inputs: Vec<(Shape, Data)>,
    /// Makes the value.
    pub build: Build,
    /// Whether its value is a smooth function of its float operands around these numbers.
    pub differentiable: bool,
    /// How near to the oracle a device should come.
    pub tolerance: Tolerance,
}

impl Case {
    /// The operands as declared arguments of a step.
    pub fn operands(&self) -> Vec<Expr> {
        let inputs = self.inputs.iter().enumerate();
        inputs.map(|(i, (shape, data))| Expr::input(i, shape.clone(), data.dtype())).collect()
    }

    /// The case as a graph with arguments.
    pub fn problem(&self) -> Result<Problem> {
        Problem::trace(&self.name, &self.inputs, &[(self.build)(&self.operands())])
    }
}

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut table = Table { cases: Vec::new(), rng: Rng::new(2026) };
    pointwise::add(&mut table);
    movement::add(&mut table);
    fold::add(&mut table);
    contract::add(&mut table);
    attention::add(&mut table);
    window::add(&mut table);
    index::add(&mut table);
    scan::add(&mut table);
    structure::add(&mut table);
    attention::add_dropped(&mut table);
    table.cases
}

/// The table while it is written.
struct Table {
    cases: Vec<Case>,
    rng: Rng,
}

/// An operand to make up numbers for.
type Operand<'a> = (&'a [usize], DType, Range);

const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::Bf16];
/// One dtype for each element size, for operations that only move bytes.
const SIZES: [DType; 4] = [DType::F64, DType::F32, DType::U16, DType::Bool];
const NUMBERS: [DType; 8] =
    [DType::F64, DType::F32, DType::F16, DType::Bf16, DType::I64, DType::I32, DType::U16, DType::U8];
/// Numbers around zero.
const SMALL: Range = Range::Between(-2.0, 2.0);
/// Numbers well away from zero.
const POSITIVE: Range = Range::Between(0.4, 2.5);
/// Few different numbers, so that there are ties and zeros.
const TIES: Range = Range::Whole(0, 2);

impl Table {
    /// Adds a case that can be differentiated, if it is one of floats.
    fn smooth(
        &mut self,
        name: String,
        operands: &[Operand],
        build: impl Fn(&[Expr]) -> Expr + Send + Sync + 'static,
    ) {
        self.push(name, operands, true, build);
    }

    /// Adds a case that has no derivative, or none that central differences find.
    fn rough(
        &mut self,
        name: String,
        operands: &[Operand],
        build: impl Fn(&[Expr]) -> Expr + Send + Sync + 'static,
    ) {
        self.push(name, operands, false, build);
    }

    fn push(
        &mut self,
        name: String,
        operands: &[Operand],
        smooth: bool,
        build: impl Fn(&[Expr]) -> Expr + Send + Sync + 'static,
    ) {
        let inputs: Vec<(Shape, Data)> = operands
            .iter()
            .map(|&(shape, dtype, range)| (shape.into(), self.rng.data(&shape.into(), dtype, range)))
            .collect();
        let floats = operands.iter().map(|x| x.1).filter(|dtype| dtype.is_float());
        let coarsest =
            floats.clone().max_by(|a, b| Tolerance::of(*a).relative.total_cmp(&Tolerance::of(*b).relative));
        self.cases.push(Case {
            differentiable: smooth && coarsest.is_some(),
            tolerance: coarsest.map_or(Tolerance::EXACT, Tolerance::of),
            name,
            inputs,
            build: Box::new(build),
        });
    }

    /// How much further apart the last case may be, for long sums.
    fn loosened(&mut self, factor: f64) {
        if let Some(case) = self.cases.last_mut() {
            case.tolerance = case.tolerance.times(factor);
        }
    }
}

/// Every function of one operand.
pub const UNARY: [UnaryOp; 20] = [
    UnaryOp::Neg,
    UnaryOp::Abs,
    UnaryOp::Sign,
    UnaryOp::Exp,
    UnaryOp::ExpM1,
    UnaryOp::Ln,
    UnaryOp::Ln1p,
    UnaryOp::Sqrt,
    UnaryOp::Rsqrt,
    UnaryOp::Recip,
    UnaryOp::Sin,
    UnaryOp::Cos,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::Erf,
    UnaryOp::Relu,
    UnaryOp::Floor,
    UnaryOp::Ceil,
    UnaryOp::Round,
    UnaryOp::Not,
];

/// Every function of two operands.
pub const BINARY: [BinaryOp; 16] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Rem,
    BinaryOp::Pow,
    BinaryOp::Max,
    BinaryOp::Min,
    BinaryOp::Lt,
    BinaryOp::Le,
    BinaryOp::Eq,
    BinaryOp::Ne,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Xor,
    BinaryOp::Random,
];

/// Every fold.
pub const REDUCE: [ReduceOp; 4] = [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min];

/// The name of every kind of operation, as [`kind`] gives it.
pub const KINDS: &[&str] = &[
    "const",
    "fill",
    "iota",
    "var",
    "input",
    "unary",
    "binary",
    "select",
    "cast",
    "reshape",
    "permute",
    "expand",
    "slice",
    "pad",
    "concat",
    "reduce",
    "arg_reduce",
    "cumsum",
    "argsort",
    "matmul",
    "conv",
    "conv_grad_input",
    "conv_grad_weight",
    "attention",
    "attention_log_sum",
    "attention_grad",
    "window_pick",
    "window_spread",
    "window_sum",
    "window_sum_grad",
    "gather",
    "scatter_set",
    "scatter_add",
    "unpack",
    "scan",
    "stop_gradient",
    "barrier",
    "rule",
    "custom",
];

/// Which of [`KINDS`] an operation is. A new operation makes this fail to compile: add it here, there, and to the table.
pub fn kind(op: &Op) -> &'static str {
    match op {
        Op::Const(_) => "const",
        Op::Fill(_) => "fill",
        Op::Iota(_) => "iota",
        Op::Var(_) => "var",
        Op::Input(_) => "input",
        Op::Unary(_) => "unary",
        Op::Binary(_) => "binary",
        Op::Select => "select",
        Op::Cast(_) => "cast",
        Op::Reshape => "reshape",
        Op::Permute(_) => "permute",
        Op::Expand => "expand",
        Op::Slice(_) => "slice",
        Op::Pad { .. } => "pad",
        Op::Concat(_) => "concat",
        Op::Reduce(ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min, _) => "reduce",
        Op::ArgReduce(ArgOp::Max | ArgOp::Min, _) => "arg_reduce",
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
        Op::Scatter(_, ScatterMode::Set) => "scatter_set",
        Op::Scatter(_, ScatterMode::Add) => "scatter_add",
        Op::Unpack(_) => "unpack",
        Op::Scan(..) => "scan",
        Op::StopGradient => "stop_gradient",
        Op::Barrier(_) => "barrier",
        Op::Rule(_) => "rule",
        Op::Custom(_) => "custom",
    }
}

/// `len` from `start` in steps of `step`.
fn range(start: usize, len: usize, step: isize) -> SliceRange {
    SliceRange { start, len, step }
}
