//! The table's operations at sizes whose time says something: memory well out of the cache for what streams, a layer of
//! a usual network for what computes. A case's numbers are made when it is asked for.

use kiln_ir::op::{ArgOp, BinaryOp, ConvSpec, ReduceOp, ScatterMode, UnaryOp, WindowSpec};
use kiln_ir::{DType, Expr};

use super::{BINARY, Case, Operand, POSITIVE, REDUCE, SMALL, Table, UNARY, range};
use crate::rng::{Range, Rng};

/// A case for measuring.
pub struct Speed {
    /// The operation, the dtype and the size.
    pub name: String,
    /// Elements of the largest operand.
    pub elements: usize,
    make: Box<dyn Fn(&str) -> Case + Send + Sync>,
}

impl Speed {
    /// Makes its numbers.
    pub fn case(&self) -> Case {
        (self.make)(&self.name)
    }
}

/// A million elements.
const LONG: &[usize] = &[1024, 1024];

/// Every case for measuring, by name.
pub fn speed_cases() -> Vec<Speed> {
    let mut list = List(Vec::new());
    pointwise(&mut list);
    folds(&mut list);
    movement(&mut list);
    contractions(&mut list);
    windows(&mut list);
    indexing(&mut list);
    list.0
}

struct List(Vec<Speed>);

impl List {
    fn add(
        &mut self,
        name: impl Into<String>,
        operands: &[Operand<'static>],
        build: impl Fn(&[Expr]) -> Expr + Clone + Send + Sync + 'static,
    ) {
        let operands = operands.to_vec();
        let elements = operands.iter().map(|operand| operand.0.iter().product::<usize>()).max();
        let make = move |name: &str| {
            let mut table = Table { cases: Vec::new(), rng: Rng::new(7) };
            table.rough(name.to_string(), &operands, build.clone());
            table.cases.remove(0)
        };
        self.0.push(Speed { name: name.into(), elements: elements.unwrap_or(0), make: Box::new(make) });
    }
}

fn pointwise(list: &mut List) {
    for function in UNARY {
        let dtypes: &[DType] = match function {
            UnaryOp::Not => &[DType::Bool],
            UnaryOp::Exp | UnaryOp::Relu => &[DType::F32, DType::F64, DType::F16, DType::Bf16],
            _ => &[DType::F32],
        };
        for &dtype in dtypes {
            list.add(format!("{function:?} {dtype}").to_lowercase(), &[(LONG, dtype, POSITIVE)], move |x| {
                x[0].unary(function)
            });
        }
    }
    for function in BINARY {
        let name = |dtype: DType| format!("{function:?} {dtype}").to_lowercase();
        let of = |dtype| (LONG, dtype, POSITIVE);
        match function {
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => {
                let bools = [of(DType::Bool), of(DType::Bool)];
                list.add(name(DType::Bool), &bools, move |x| x[0].binary(function, &x[1]));
            }
            // Drawn by key and counter.
            BinaryOp::Random => {
                let key = (&[1, 1][..], DType::I64, Range::Below(1000));
                list.add("random f32", &[key, (LONG, DType::I64, Range::Below(1 << 20))], |x| {
                    x[0].broadcast_to(&x[1].shape()).binary(BinaryOp::Random, &x[1])
                });
            }
            _ => list.add(name(DType::F32), &[of(DType::F32), of(DType::F32)], move |x| {
                x[0].binary(function, &x[1])
            }),
        }
    }
    let (choice, value) = ((LONG, DType::Bool, Range::Whole(0, 1)), (LONG, DType::F32, SMALL));
    list.add("select f32", &[choice, value, value], |x| x[0].select(&x[1], &x[2]));
    for dtype in [DType::U8, DType::F16, DType::Bf16, DType::I64] {
        list.add(format!("cast {dtype} to f32"), &[(LONG, dtype, POSITIVE)], |x| x[0].cast(DType::F32));
    }
}

fn folds(list: &mut List) {
    for function in REDUCE {
        for (what, axes) in [("rows", &[1][..]), ("columns", &[0]), ("all", &[0, 1])] {
            let name = format!("{function:?} f32 of {what}").to_lowercase();
            list.add(name, &[(LONG, DType::F32, SMALL)], move |x| x[0].reduce(function, axes));
        }
    }
    for axis in [0, 1] {
        let operand = (LONG, DType::F32, SMALL);
        list.add(format!("argmax f32 axis {axis}"), &[operand], move |x| x[0].arg_reduce(ArgOp::Max, axis));
        list.add(format!("cumsum f32 axis {axis}"), &[operand], move |x| x[0].cumsum(axis));
    }
    list.add("argsort f32", &[(LONG, DType::F32, SMALL)], |x| x[0].argsort(1, false));
    list.add("softmax f32", &[(LONG, DType::F32, SMALL)], |x| {
        let spread = |fold: &Expr| fold.reshape([1024, 1]).broadcast_to(&x[0].shape());
        let shifted = x[0].binary(BinaryOp::Sub, &spread(&x[0].reduce(ReduceOp::Max, &[1])));
        let exp = shifted.unary(UnaryOp::Exp);
        exp.binary(BinaryOp::Div, &spread(&exp.reduce(ReduceOp::Sum, &[1])))
    });
}

fn movement(list: &mut List) {
    let x = (LONG, DType::F32, SMALL);
    list.add("transpose f32", &[x], |x| x[0].permute(&[1, 0]));
    list.add("reverse f32", &[x], |x| x[0].slice(&[range(0, 1024, 1), range(1023, 1024, -1)]));
    list.add("pad f32", &[x], |x| x[0].pad(&[1, 1], &[1, 1], 0.0));
    list.add("concat f32", &[x, x], |x| Expr::concat(&[&x[0], &x[1]], 1));
    list.add("expand f32", &[(&[1024, 1], DType::F32, SMALL)], |x| x[0].broadcast_to(&LONG.into()));
}

fn contractions(list: &mut List) {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::I32] {
        let square = (&[256, 256][..], dtype, SMALL);
        list.add(format!("matmul {dtype} 256"), &[square, square], |x| x[0].matmul(&x[1]));
    }
    let (left, right) = ((&[300, 700][..], DType::F32, SMALL), (&[700, 1500][..], DType::F32, SMALL));
    list.add("matmul f32 300 × 700 × 1500 and tanh", &[left, right], |x| {
        x[0].matmul(&x[1]).unary(UnaryOp::Tanh)
    });
    let (row, matrix) = ((&[1, 1024][..], DType::F32, SMALL), (LONG, DType::F32, SMALL));
    list.add("matmul f32 of one row", &[row, matrix], |x| x[0].matmul(&x[1]));
    let heads = (&[8, 12, 64, 64][..], DType::F32, SMALL);
    list.add("matmul f32 96 × 64", &[heads, heads], |x| x[0].matmul(&x[1].permute(&[0, 1, 3, 2])));
    for (name, image, weight, size, stride, groups) in [
        ("3×3", &[8, 64, 16, 16][..], &[64, 64, 3, 3][..], 16, 1, 1),
        ("3×3 of one image", &[1, 64, 16, 16], &[64, 64, 3, 3], 16, 1, 1),
        ("3×3 stride 2", &[8, 64, 16, 16], &[64, 64, 3, 3], 8, 2, 1),
        ("3×3 depthwise", &[8, 64, 16, 16], &[64, 1, 3, 3], 16, 1, 64),
        ("1×1", &[8, 64, 16, 16], &[64, 64, 1, 1], 16, 1, 1),
        ("7×7 stride 2", &[2, 3, 64, 64], &[64, 3, 7, 7], 32, 2, 1),
    ] {
        let pad = weight[2] / 2;
        let spec =
            ConvSpec { stride: vec![stride; 2], pad: vec![(pad, pad); 2], dilation: vec![1; 2], groups };
        let result: &'static [usize] = Box::leak(Box::new([image[0], weight[0], size, size]));
        let operand = |shape: &'static [usize]| (shape, DType::F32, SMALL);
        let s = spec.clone();
        list.add(format!("conv {name}"), &[operand(image), operand(weight)], move |x| x[0].conv(&x[1], &s));
        let s = spec.clone();
        list.add(format!("conv_grad_input {name}"), &[operand(result), operand(weight)], move |x| {
            x[0].conv_grad_input(&x[1], &s, &image[2..])
        });
        list.add(format!("conv_grad_weight {name}"), &[operand(image), operand(result)], move |x| {
            x[0].conv_grad_weight(&x[1], &spec, &weight[2..])
        });
    }
}

fn windows(list: &mut List) {
    let image = (&[16, 64, 28, 28][..], DType::F32, SMALL);
    let result = (&[16, 64, 14, 14][..], DType::F32, SMALL);
    let spec = || WindowSpec {
        window: vec![2, 2],
        stride: vec![2, 2],
        pad: vec![(0, 0), (0, 0)],
        dilation: vec![1, 1],
    };
    list.add("max pool", &[image], move |x| x[0].window_pick(&x[0], &spec()));
    list.add("max pool gradient", &[image, result], move |x| x[0].window_spread(&x[1], &spec()));
    list.add("average pool", &[image], move |x| x[0].window_sum(&spec()));
    list.add("average pool gradient", &[result], move |x| x[0].window_sum_grad(&spec(), &[28, 28]));
}

fn indexing(list: &mut List) {
    let (table, rows) = ((&[8192, 256][..], DType::F32, SMALL), (&[4096, 256][..], DType::F32, SMALL));
    let index = (&[4096, 256][..], DType::I64, Range::Below(8192));
    list.add("gather f32", &[table, index], |x| x[0].gather(&x[1], 0));
    for mode in [ScatterMode::Set, ScatterMode::Add] {
        let name = format!("scatter_{mode:?} f32").to_lowercase();
        list.add(name, &[table, index, rows], move |x| x[0].scatter(&x[1], &x[2], 0, mode));
    }
}
