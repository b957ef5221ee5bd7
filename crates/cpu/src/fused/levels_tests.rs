//! Every loop gives the same bits at every level, for numbers of every size and for those that are none.

use std::hash::Hasher;

use kiln_ir::op::ReduceOp;
use kiln_ir::random::bits;
use kiln_testkit::table::{BINARY, UNARY};

use super::loops::Loop;
use super::ops::{self, LaneType, PairedLoop};
use crate::simd::Level;
use crate::threads::FlushDenormals;

/// How many lanes a loop is given at a time.
const RUN: usize = 1021;

/// Numbers where functions change: zeros, subnormals, ties, the ends of ranges, and none at all.
const ODD: [f64; 34] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    0.625,
    8_388_607.5,
    4_194_304.5,
    1e-40,
    -1e-40,
    1e-45,
    1.2e-38,
    -1.2e-38,
    3.5e38,
    -3.5e38,
    87.0,
    88.7,
    89.5,
    -87.5,
    -103.9,
    -104.5,
    1e8,
    1.1e8,
    -1e30,
    65_504.0,
    65_520.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e-310,
];

/// Lanes of a kind as bytes.
#[derive(Clone)]
struct Lanes(LaneType, Vec<u64>);

impl Lanes {
    /// Every `step`th pattern of bits there is, or as many of the wider types, and the odd ones.
    fn dense(lane: LaneType, step: u64) -> Lanes {
        let step = if lane.size() == 4 { step } else { step << 32 };
        let all = if lane.size() == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let odd = ODD.iter().map(|&number| match lane {
            LaneType::Single => u64::from((number as f32).to_bits()),
            LaneType::Double => number.to_bits(),
            LaneType::Int => u64::from(number as i32 as u32),
            LaneType::Long => number as i64 as u64,
        });
        let spread = (0..all / step).map(|at| at * step + at % 4096);
        Lanes(lane, odd.chain(spread).collect())
    }

    /// The same lanes in an order of their own, so that pairs are of all kinds.
    fn shuffled(&self, key: i64) -> Lanes {
        let mut lanes = self.1.clone();
        for last in (1..lanes.len()).rev() {
            lanes.swap(last, (bits(key, last as i64) % (last as u64 + 1)) as usize);
        }
        Lanes(self.0, lanes)
    }

    fn len(&self) -> usize {
        self.1.len()
    }

    fn bytes(&self) -> Vec<u8> {
        match self.0.size() {
            4 => self.1.iter().flat_map(|&bits| (bits as u32).to_ne_bytes()).collect(),
            _ => self.1.iter().flat_map(|&bits| bits.to_ne_bytes()).collect(),
        }
    }
}

/// What a loop makes of the operands at a level, all that is no number being one.
fn results(run: Loop, operands: &[&[u8]; 3], sizes: [usize; 2], lanes: usize, out: LaneType) -> Vec<u64> {
    let mut result = vec![0u8; lanes * out.size()];
    let _flushing = FlushDenormals::new();
    for at in (0..lanes).step_by(RUN) {
        let count = RUN.min(lanes - at);
        let [a, b, c] = [0, 1, 2].map(|number| {
            let size = if number == 0 { sizes[0] } else { sizes[1] };
            operands[number][at * size..].as_ptr()
        });
        // SAFETY: so many lanes are there, and the level is one that this machine has.
        unsafe { run(result[at * out.size()..].as_mut_ptr(), a, b, c, count) };
    }
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let same_nan = |bits: u64| match out {
        LaneType::Single if f32::from_bits(bits as u32).is_nan() => u64::MAX,
        LaneType::Double if f64::from_bits(bits).is_nan() => u64::MAX,
        _ => bits,
    };
    result.chunks(out.size()).map(|bytes| same_nan(word(bytes))).collect()
}

/// All pairs of operations that share a loop.
const PAIRS: [PairedLoop; 6] = [
    PairedLoop::MulAdd,
    PairedLoop::MulSub,
    PairedLoop::SubMul,
    PairedLoop::MulMul,
    PairedLoop::SubDiv,
    PairedLoop::SqrtMulAdd,
];

#[test]
fn a_pair_of_operations_gives_what_each_by_itself_gives() {
    use kiln_ir::op::{BinaryOp, UnaryOp};
    let lane = LaneType::Single;
    let [a, b, c] = [1, 2, 3].map(|key| Lanes::dense(lane, 8209).shuffled(key).bytes());
    let count = a.len() / lane.size();
    let bytes =
        |words: Vec<u64>| -> Vec<u8> { words.iter().flat_map(|&bits| (bits as u32).to_ne_bytes()).collect() };
    for level in Level::all_here() {
        let binary = |op: BinaryOp, x: &[u8], y: &[u8]| {
            bytes(results(ops::binary(op, lane, level, [false; 2]), &[x, y, x], [4; 2], count, lane))
        };
        let product = binary(BinaryOp::Mul, &a, &b);
        for pair in PAIRS {
            let expected = match pair {
                PairedLoop::MulAdd => binary(BinaryOp::Add, &product, &c),
                PairedLoop::MulSub => binary(BinaryOp::Sub, &product, &c),
                PairedLoop::SubMul => binary(BinaryOp::Sub, &c, &product),
                PairedLoop::MulMul => binary(BinaryOp::Mul, &product, &c),
                PairedLoop::SubDiv => binary(BinaryOp::Sub, &c, &binary(BinaryOp::Div, &a, &b)),
                PairedLoop::SqrtMulAdd => {
                    let root = ops::unary(UnaryOp::Sqrt, lane, level);
                    let root = bytes(results(root, &[&a; 3], [4; 2], count, lane));
                    binary(BinaryOp::Add, &binary(BinaryOp::Mul, &root, &b), &c)
                }
            };
            let found = ops::pair(pair, level, [false; 3]);
            let found = bytes(results(found, &[&a, &b, &c], [4; 2], count, lane));
            assert!(found == expected, "{pair:?} at {}", level.name());
        }
    }
}

/// Checks that a function's loops agree, and says where they don't.
fn agree(
    name: &str,
    of: impl Fn(Level) -> Loop,
    operands: [&Lanes; 3],
    out: LaneType,
    wrong: &mut Vec<String>,
) {
    let bytes = operands.map(Lanes::bytes);
    let bytes = [&bytes[0][..], &bytes[1][..], &bytes[2][..]];
    let sizes = [operands[0].0.size(), operands[1].0.size()];
    let at = |level: Level| results(of(level), &bytes, sizes, operands[0].len(), out);
    let best = at(Level::best());
    for level in Level::all_here().filter(|level| *level != Level::best()) {
        let found = at(level);
        if let Some(lane) = (0..found.len()).find(|&lane| found[lane] != best[lane]) {
            let [a, b, c] = operands.map(|lanes| lanes.1[lane]);
            let count = (0..found.len()).filter(|&lane| found[lane] != best[lane]).count();
            wrong.push(format!(
                "{name} of {a:#x}, {b:#x}, {c:#x} is {:#x} at {} and {:#x} at {} ({count} differ)",
                found[lane],
                level.name(),
                best[lane],
                Level::best().name()
            ));
        }
    }
}

const LANES: [LaneType; 4] = [LaneType::Single, LaneType::Double, LaneType::Int, LaneType::Long];

/// A dtype that is computed in these lanes.
fn dtype(lane: LaneType) -> kiln_ir::DType {
    match lane {
        LaneType::Single => kiln_ir::DType::F32,
        LaneType::Double => kiln_ir::DType::F64,
        LaneType::Int => kiln_ir::DType::I32,
        LaneType::Long => kiln_ir::DType::I64,
    }
}

#[test]
fn functions_give_the_same_bits_at_every_level() {
    let mut wrong = Vec::new();
    for lane in LANES {
        let every = if lane == LaneType::Single { 4099 } else { 65_537 };
        let dense = Lanes::dense(lane, every);
        for op in UNARY.into_iter().filter(|op| op.takes(dtype(lane))) {
            let name = format!("{} {lane:?}", op.name());
            agree(&name, |level| ops::unary(op, lane, level), [&dense; 3], lane, &mut wrong);
        }
        let lanes = Lanes::dense(lane, 32_771);
        let [others, thirds] = [1, 2].map(|key| lanes.shuffled(key));
        for op in BINARY.into_iter().filter(|op| op.takes(dtype(lane))) {
            let name = format!("{} {lane:?}", op.name());
            let result = LaneType::of(op.result(dtype(lane)));
            for one in [[false, false], [true, false], [false, true]] {
                let of = |level| ops::binary(op, lane, level, one);
                agree(&name, of, [&lanes, &others, &others], result, &mut wrong);
            }
        }
        let conditions = Lanes(LaneType::Int, lanes.1.iter().map(|bits| bits >> 3 & 1).collect());
        let of = |level| ops::select(lane, level, [false; 3]);
        agree("select", of, [&conditions, &others, &thirds], lane, &mut wrong);
        if lane == LaneType::Single {
            for pair in PAIRS {
                for one in [[false; 3], [false, true, false], [false, false, true], [false, true, true]] {
                    let of = |level| ops::pair(pair, level, one);
                    agree(&format!("{pair:?}"), of, [&lanes, &others, &thirds], lane, &mut wrong);
                }
            }
            let of = |level| ops::add_relu(level, [false; 2]);
            agree("add and relu", of, [&lanes, &others, &others], lane, &mut wrong);
        }
        for to in kiln_ir::DType::ALL {
            for part in 0..ops::cast(dtype(lane), to, Level::best()).len() {
                let from = if part == 0 { lane } else { LaneType::of(to) };
                let lanes = if part == 0 { lanes.clone() } else { Lanes::dense(from, 32_771) };
                let of = |level| ops::cast(dtype(lane), to, level)[part];
                agree(&format!("cast {lane:?} to {to}"), of, [&lanes; 3], LaneType::of(to), &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn folds_give_the_same_bits_at_every_level() {
    for lane in LANES {
        let bytes = Lanes::dense(lane, 4099).shuffled(3).bytes();
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
            let at = |level| {
                let _flushing = FlushDenormals::new();
                let mut hasher = std::hash::DefaultHasher::new();
                for start in 0..300 {
                    for count in [1, 2, 15, 31, 32, 63, 100, 257, 1000] {
                        let mut out = [0u8; 8];
                        let from = bytes[start * 1013 * lane.size()..].as_ptr();
                        let line = ops::fold_line(op, lane, level);
                        // SAFETY: so many lanes are there, and the level is one that this machine has.
                        unsafe { line(out.as_mut_ptr(), from, from, from, count) };
                        let nan = match lane {
                            LaneType::Single => f32::from_ne_bytes([out[0], out[1], out[2], out[3]]).is_nan(),
                            LaneType::Double => f64::from_ne_bytes(out).is_nan(),
                            LaneType::Int | LaneType::Long => false,
                        };
                        hasher.write(if nan { b"NaN" } else { &out });
                    }
                }
                hasher.finish()
            };
            for level in Level::all_here() {
                assert_eq!(at(level), at(Level::best()), "{op:?} {lane:?} at {}", level.name());
            }
        }
    }
}
