//! Which loops an operation is, on lanes of a type.

use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};

use super::folds::{chunk_fold_of, line_fold_of, made_fold_of, product_fold};
use super::functions::*;
use super::loops::{Loop, of_one, of_three, of_two};
use crate::simd::Level;

/// The lane types, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneType {
    /// `F32` and the half types.
    Single,
    /// `F64`.
    Double,
    /// `I32`, `U16`, `U8` and `Bool` (0 or 1).
    Int,
    /// `I64`.
    Long,
}

impl LaneType {
    /// The lanes that a dtype is computed in.
    pub(super) fn of(dtype: kiln_ir::DType) -> LaneType {
        use kiln_ir::DType;
        match dtype {
            DType::F32 | DType::F16 | DType::Bf16 => LaneType::Single,
            DType::F64 => LaneType::Double,
            DType::I32 | DType::U16 | DType::U8 | DType::Bool => LaneType::Int,
            DType::I64 => LaneType::Long,
        }
    }

    /// Bytes of a lane.
    pub(super) fn size(self) -> usize {
        match self {
            LaneType::Single | LaneType::Int => 4,
            LaneType::Double | LaneType::Long => 8,
        }
    }
}

/// One generic function for every lane type.
macro_rules! for_lane {
    ($lane:expr, $choose:ident, $function:ident, $level:expr $(, $one:expr)?) => {
        match $lane {
            LaneType::Single => $choose::<$function<f32>>($level $(, $one)?),
            LaneType::Double => $choose::<$function<f64>>($level $(, $one)?),
            LaneType::Int => $choose::<$function<i32>>($level $(, $one)?),
            LaneType::Long => $choose::<$function<i64>>($level $(, $one)?),
        }
    };
}

/// The loop of a unary operation on lanes of a type.
pub(super) fn unary(op: UnaryOp, lane: LaneType, level: Level) -> Loop {
    macro_rules! float {
        ($single:ident, $double:ident) => {
            if lane == LaneType::Double { of_one::<$double>(level) } else { of_one::<$single>(level) }
        };
    }
    match op {
        UnaryOp::Neg => for_lane!(lane, of_one, Neg, level),
        UnaryOp::Abs => for_lane!(lane, of_one, Abs, level),
        UnaryOp::Sign => for_lane!(lane, of_one, Sign, level),
        UnaryOp::Relu => for_lane!(lane, of_one, Relu, level),
        UnaryOp::Exp => float!(Exp, ExpDouble),
        UnaryOp::ExpM1 => float!(ExpM1, ExpM1Double),
        UnaryOp::Ln => float!(Ln, LnDouble),
        UnaryOp::Ln1p => float!(Ln1p, Ln1pDouble),
        UnaryOp::Sqrt => float!(Sqrt, SqrtDouble),
        UnaryOp::Rsqrt => float!(Rsqrt, RsqrtDouble),
        UnaryOp::Recip => float!(Recip, RecipDouble),
        UnaryOp::Sin => float!(Sin, SinDouble),
        UnaryOp::Cos => float!(Cos, CosDouble),
        UnaryOp::Tanh => float!(Tanh, TanhDouble),
        UnaryOp::Sigmoid => float!(Sigmoid, SigmoidDouble),
        UnaryOp::Erf => float!(Erf, ErfDouble),
        UnaryOp::Floor => float!(Floor, FloorDouble),
        UnaryOp::Ceil => float!(Ceil, CeilDouble),
        UnaryOp::Round => float!(Round, RoundDouble),
        UnaryOp::Not => of_one::<Not>(level),
    }
}

/// The loop of a binary operation on lanes of a type.
pub(super) fn binary(op: BinaryOp, lane: LaneType, level: Level, one: [bool; 2]) -> Loop {
    macro_rules! bits {
        ($int:ident, $long:ident) => {
            if lane == LaneType::Long { of_two::<$long>(level, one) } else { of_two::<$int>(level, one) }
        };
    }
    match op {
        BinaryOp::Add => for_lane!(lane, of_two, Add, level, one),
        BinaryOp::Sub => for_lane!(lane, of_two, Sub, level, one),
        BinaryOp::Mul => for_lane!(lane, of_two, Mul, level, one),
        BinaryOp::Div => for_lane!(lane, of_two, Div, level, one),
        BinaryOp::Rem => for_lane!(lane, of_two, Rem, level, one),
        BinaryOp::Pow => for_lane!(lane, of_two, Pow, level, one),
        BinaryOp::Max => for_lane!(lane, of_two, Larger, level, one),
        BinaryOp::Min => for_lane!(lane, of_two, Smaller, level, one),
        BinaryOp::Lt => for_lane!(lane, of_two, Less, level, one),
        BinaryOp::Le => for_lane!(lane, of_two, LessOrEqual, level, one),
        BinaryOp::Eq => for_lane!(lane, of_two, Equal, level, one),
        BinaryOp::Ne => for_lane!(lane, of_two, Unequal, level, one),
        BinaryOp::And => bits!(And32, And64),
        BinaryOp::Or => bits!(Or32, Or64),
        BinaryOp::Xor => bits!(Xor32, Xor64),
        BinaryOp::Random => of_two::<Random>(level, one),
    }
}

/// The loop that folds one run of lanes into another, lane by lane.
pub(super) fn fold(op: ReduceOp, lane: LaneType, level: Level) -> Loop {
    binary(op.function(), lane, level, [false, false])
}

/// One generic fold for every operation and lane type.
macro_rules! for_fold {
    ($op:expr, $lane:expr, $choose:ident, $level:expr) => {
        match $op {
            ReduceOp::Sum => for_fold!(@lane $lane, $choose, Add, $level),
            ReduceOp::Prod => for_fold!(@lane $lane, $choose, Mul, $level),
            ReduceOp::Max => for_fold!(@lane $lane, $choose, Larger, $level),
            ReduceOp::Min => for_fold!(@lane $lane, $choose, Smaller, $level),
        }
    };
    (@lane $lane:expr, $choose:ident, $function:ident, $level:expr) => {
        match $lane {
            LaneType::Single => $choose::<f32, $function<f32>>($level),
            LaneType::Double => $choose::<f64, $function<f64>>($level),
            LaneType::Int => $choose::<i32, $function<i32>>($level),
            LaneType::Long => $choose::<i64, $function<i64>>($level),
        }
    };
}

/// The loop that folds a run of lanes to one; its second operand is what a fold starts from.
pub(super) fn fold_line(op: ReduceOp, lane: LaneType, level: Level) -> Loop {
    for_fold!(op, lane, line_fold_of, level)
}

/// The loop that folds whole chunks of lanes into one.
pub(super) fn fold_chunks(op: ReduceOp, lane: LaneType, level: Level) -> Loop {
    for_fold!(op, lane, chunk_fold_of, level)
}

/// The loop of a choice.
pub(super) fn select(lane: LaneType, level: Level, one: [bool; 3]) -> Loop {
    for_lane!(lane, of_three, Select, level, one)
}

/// Two operations in one loop, each of which rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairedLoop {
    /// `a · b + c`
    MulAdd,
    /// `a · b - c`
    MulSub,
    /// `c - a · b`
    SubMul,
    /// `a · b · c`
    MulMul,
    /// `c - a / b`
    SubDiv,
    /// `√a · b + c`
    SqrtMulAdd,
}

/// The loop of a pair in `f32`.
pub(super) fn pair(pair: PairedLoop, level: Level, one: [bool; 3]) -> Loop {
    match pair {
        PairedLoop::MulAdd => of_three::<MulAdd>(level, one),
        PairedLoop::MulSub => of_three::<MulSub>(level, one),
        PairedLoop::SubMul => of_three::<SubMul>(level, one),
        PairedLoop::MulMul => of_three::<MulMul>(level, one),
        PairedLoop::SubDiv => of_three::<SubDiv>(level, one),
        PairedLoop::SqrtMulAdd => of_three::<SqrtMulAdd>(level, one),
    }
}

/// `exp(a - b)` in `f32`.
pub(super) fn sub_exp(level: Level, one: [bool; 2]) -> Loop {
    of_two::<SubExp>(level, one)
}

/// The loops that sum products in `f32`: of a run of lanes to one, of whole chunks into one, lane by lane.
pub(super) fn sum_of_products(level: Level) -> [Loop; 3] {
    let [line, chunks] = product_fold(level);
    [line, chunks, of_three::<MulAdd>(level, [false; 3])]
}

/// What is written of a row and one value and summed in the same loop, in `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MadeSum {
    /// `exp(a - b)`, and the sum of that.
    SubExp,
    /// `a - b`, and the sum of its squares.
    SubSquares,
}

/// The loop of that.
pub(super) fn made_sum(made: MadeSum, level: Level) -> Loop {
    match made {
        MadeSum::SubExp => made_fold_of::<SubExp, Itself>(level),
        MadeSum::SubSquares => made_fold_of::<Sub<f32>, Square>(level),
    }
}

/// `relu(a + b)` in `f32`.
pub(super) fn add_relu(level: Level, one: [bool; 2]) -> Loop {
    of_two::<AddRelu>(level, one)
}

/// The loop that repeats one value, or copies.
pub(super) fn copy(lane: LaneType, level: Level) -> Loop {
    for_lane!(lane, of_one, Copy_, level)
}

/// The loops of a cast: between lanes, and then to what the narrower dtype can hold.
pub(super) fn cast(from: kiln_ir::DType, to: kiln_ir::DType, level: Level) -> Vec<Loop> {
    use LaneType::{Double, Int, Long, Single};
    use kiln_ir::DType;
    let mut loops = Vec::new();
    let (a, b) = (LaneType::of(from), LaneType::of(to));
    let boolean = to == DType::Bool;
    match (a, b) {
        (Single, Int) if boolean => loops.push(of_one::<SingleToBool>(level)),
        (Double, Int) if boolean => loops.push(of_one::<DoubleToBool>(level)),
        (Long, Int) if boolean => loops.push(of_one::<LongToBool>(level)),
        (Int, Int) if boolean && from != DType::Bool => loops.push(of_one::<IntToBool>(level)),
        (Single, Double) => loops.push(of_one::<SingleToDouble>(level)),
        (Single, Int) => loops.push(of_one::<SingleToInt>(level)),
        (Single, Long) => loops.push(of_one::<SingleToLong>(level)),
        (Double, Single) => loops.push(of_one::<DoubleToSingle>(level)),
        (Double, Int) => loops.push(of_one::<DoubleToInt>(level)),
        (Double, Long) => loops.push(of_one::<DoubleToLong>(level)),
        (Long, Single) => loops.push(of_one::<LongToSingle>(level)),
        (Long, Double) => loops.push(of_one::<LongToDouble>(level)),
        (Long, Int) => loops.push(of_one::<LongToInt>(level)),
        (Int, Single) => loops.push(of_one::<IntToSingle>(level)),
        (Int, Double) => loops.push(of_one::<IntToDouble>(level)),
        (Int, Long) => loops.push(of_one::<IntToLong>(level)),
        (Single, Single) | (Double, Double) | (Int, Int) | (Long, Long) => {}
    }
    loops.extend(narrow(to, level));
    if loops.is_empty() {
        loops.push(copy(b, level));
    }
    loops
}

/// The loop that brings lanes to what a dtype narrower than its lane can hold, where there is such.
pub(super) fn narrow(dtype: kiln_ir::DType, level: Level) -> Option<Loop> {
    use kiln_ir::DType;
    match dtype {
        DType::U8 => Some(of_one::<WrapU8>(level)),
        DType::U16 => Some(of_one::<WrapU16>(level)),
        DType::F16 => Some(of_one::<HalfRound>(level)),
        DType::Bf16 => Some(of_one::<BrainRound>(level)),
        DType::Bool | DType::I32 | DType::I64 | DType::F32 | DType::F64 => None,
    }
}
