//! Scans: recurrences, bodies that a walk can be spared, and states that go round in circles.

use kiln_ir::expr::{ScanBody, ScanOptions, Scanned};
use kiln_ir::op::{BinaryOp, ConvSpec, Op, UnaryOp};
use kiln_ir::{DType, Expr};

use super::{FLOATS, SMALL, Table};
use crate::rng::Range;

/// What a step makes of states, its part of the sequences, and what is outside: the next states, and what is stacked.
type Walked = fn(&[Expr], &[Expr], &[Expr]) -> (Vec<Expr>, Vec<Expr>);

/// A body with what it is called, the shapes of what it starts from, of its sequences and of what it reads from outside.
struct WalkCase {
    name: &'static str,
    shapes: [&'static [&'static [usize]]; 3],
    body: Walked,
}

const STEPS: usize = 5;

const WALKS: [WalkCase; 13] = [
    WalkCase {
        name: "sums",
        shapes: [&[&[2]], &[&[STEPS, 2]], &[]],
        body: |s, x, _| {
            let sum = &s[0] + &x[0];
            (vec![sum.clone()], vec![sum])
        },
    },
    WalkCase {
        name: "a plain cell with a product behind it",
        shapes: [&[&[2, 3]], &[&[STEPS, 2, 4]], &[&[4, 3], &[3, 3], &[3], &[3, 2]]],
        body: |s, x, c| {
            let z = x[0].matmul(&c[0]).binary(BinaryOp::Add, &c[2]) + s[0].matmul(&c[1]);
            let h = z.unary(UnaryOp::Tanh);
            (vec![h.clone()], vec![h.matmul(&c[3])])
        },
    },
    WalkCase {
        name: "gates",
        shapes: [&[&[2, 3], &[2, 3]], &[&[STEPS, 2, 4]], &[&[4, 12], &[3, 12]]],
        body: |s, x, c| {
            let z = x[0].matmul(&c[0]) + s[0].matmul(&c[1]);
            let gate = |at: usize| z.narrow(1, 3 * at, 3);
            let [i, f, o] = [0, 1, 2].map(|at| gate(at).unary(UnaryOp::Sigmoid));
            let cell = f * &s[1] + i * gate(3).unary(UnaryOp::Tanh);
            let h = o * cell.unary(UnaryOp::Tanh);
            (vec![h.clone(), cell], vec![h])
        },
    },
    WalkCase {
        name: "nothing goes on",
        shapes: [&[], &[&[STEPS, 2, 3]], &[&[3, 4]]],
        body: |_, x, c| (vec![], vec![x[0].matmul(&c[0]).unary(UnaryOp::Sin), x[0].sum(&[0])]),
    },
    WalkCase {
        name: "states that swap",
        shapes: [&[&[3], &[3]], &[&[STEPS, 3]], &[]],
        body: |s, x, _| (vec![s[1].clone(), &s[0] * &x[0]], vec![&s[0] - &s[1]]),
    },
    WalkCase {
        name: "a state that stays",
        shapes: [&[&[3], &[3]], &[&[STEPS, 3]], &[]],
        body: |s, x, _| (vec![s[0].clone(), &s[0] * &x[0] + &s[1]], vec![s[0].clone()]),
    },
    WalkCase {
        name: "what comes out isn't a state",
        shapes: [&[&[2, 3]], &[&[STEPS, 2, 3], &[STEPS, 3]], &[&[3, 3]]],
        body: |s, x, c| {
            let sum = s[0].matmul(&c[0]).unary(UnaryOp::Tanh) * 0.5;
            let out = x[1].reshape([1, 3]).matmul(&s[0].transpose());
            (vec![sum + &x[0]], vec![out.unary(UnaryOp::Exp), s[0].clone()])
        },
    },
    WalkCase {
        name: "a weight divides",
        shapes: [&[&[2, 3]], &[&[STEPS, 2, 3]], &[&[3]]],
        body: |s, x, c| {
            let scale = c[0].unary(UnaryOp::Exp).reshape([1, 3]).broadcast_to(&[2, 3].into());
            let next = (&s[0] / &scale + &x[0]).binary(BinaryOp::Max, &(&x[0] * &scale));
            (vec![next.clone()], vec![next])
        },
    },
    WalkCase {
        name: "convolutions",
        shapes: [&[&[2, 2, 4]], &[&[STEPS, 2, 1, 4]], &[&[2, 1, 3], &[2, 2, 3]]],
        body: |s, x, c| {
            let spec = ConvSpec { stride: vec![1], pad: vec![(1, 1)], dilation: vec![1], groups: 1 };
            let h = (x[0].conv(&c[0], &spec) + s[0].conv(&c[1], &spec)).unary(UnaryOp::Tanh);
            (vec![h.clone()], vec![h.sum(&[2])])
        },
    },
    WalkCase {
        name: "attends to all of a memory",
        shapes: [&[&[2, 1, 3]], &[&[STEPS, 2, 1, 3]], &[&[2, 4, 3]]],
        body: |s, x, c| {
            let scores = s[0].matmul(&c[0].transpose()).unary(UnaryOp::Exp);
            let weights = &scores / &scores.sum(&[2]).broadcast_to(&scores.shape());
            let read = weights.matmul(&c[0]);
            ((vec![&read + &x[0]]), vec![weights])
        },
    },
    WalkCase {
        name: "a walk in each step",
        shapes: [&[&[3]], &[&[STEPS, 4, 3]], &[&[3]]],
        body: |s, x, c| {
            let inner = Expr::scan(&[s[0].clone()], &[x[0].clone()], ScanOptions::default(), &|s, x| {
                let h = (&s[0] * &c[0] + &x[0]).unary(UnaryOp::Tanh);
                (vec![h.clone()], vec![h])
            });
            let Scanned { last, stacked } = inner.unwrap();
            (last, stacked)
        },
    },
    WalkCase {
        name: "a rule and a copy",
        shapes: [&[&[3]], &[&[STEPS, 3]], &[]],
        body: |s, x, _| {
            let next = (&s[0] * &x[0]).stop_gradient() * 0.0 + &s[0] * &x[0];
            (vec![next.barrier(&[&x[0]])], vec![x[0].unary(UnaryOp::Exp)])
        },
    },
    WalkCase {
        name: "pads and picks",
        shapes: [&[&[2, 3]], &[&[STEPS, 2, 3]], &[&[4, 3]]],
        body: |s, x, c| {
            let pick = Expr::full([2, 3], 1i64, DType::I64);
            let long = Expr::concat(&[&s[0], &x[0], &c[0]], 0).pad(&[1, 0], &[0, 0], 0.0);
            let next = (long.narrow(0, 2, 2) * long.gather(&pick, 0)).unary(UnaryOp::Tanh);
            (vec![next], vec![x[0].cumsum(1)])
        },
    },
];

pub(super) fn add(table: &mut Table) {
    for WalkCase { name, shapes, body } in WALKS {
        for (way, options) in ways() {
            let dtypes = if way.is_empty() { &FLOATS[..] } else { &[DType::F64] };
            for &dtype in dtypes {
                add_walk(table, format!("scan {dtype} {name}{way}"), shapes, dtype, options, body);
            }
        }
    }
    let steps = [(&[7, 3][..], DType::F64, SMALL), (&[3], DType::I64, Range::Below(8))];
    table.smooth("scan f64 of examples of several lengths".to_string(), &steps, |x| {
        let number = Expr::iota([7], 0, DType::I64);
        let zeros = Expr::full([3], 0.0, DType::F64);
        let walk = |s: &[Expr], step: &[Expr]| {
            let within = step[1].binary(BinaryOp::Lt, &x[1]);
            let next = (&s[0] * 0.5 + &step[0]).unary(UnaryOp::Sin);
            let count = s[1].binary(BinaryOp::Add, &within.cast(DType::I64));
            (vec![within.select(&next, &s[0]), count.clone()], vec![count.cast(DType::F64) * &next])
        };
        let start = [zeros, Expr::full([3], 0i64, DType::I64)];
        whole(&start, &[x[0].clone(), number], ScanOptions::default(), &walk)
    });
    for options in [ScanOptions::default(), ScanOptions { length: Some(0), ..ScanOptions::default() }] {
        let name = format!("scan f32 of no steps {}", options.length.is_some());
        table.smooth(name, &[(&[2], DType::F32, SMALL), (&[0, 2], DType::F32, SMALL)], move |x| {
            let sequences = if options.length.is_some() { vec![] } else { vec![x[1].clone()] };
            whole(&[x[0].clone()], &sequences, options, &|s, _| (vec![&s[0] * 2.0], vec![s[0].clone()]))
        });
    }
}

fn ways() -> [(&'static str, ScanOptions); 4] {
    let plain = ScanOptions::default();
    [
        ("", plain),
        (" backwards", ScanOptions { reverse: true, ..plain }),
        (" with checkpoints", ScanOptions { checkpoint: Some(2), ..plain }),
        (" backwards with checkpoints", ScanOptions { reverse: true, checkpoint: Some(3), ..plain }),
    ]
}

fn add_walk(
    table: &mut Table,
    name: String,
    shapes: [&[&'static [usize]]; 3],
    dtype: DType,
    options: ScanOptions,
    body: Walked,
) {
    let operands: Vec<_> = shapes.iter().flat_map(|list| *list).map(|&shape| (shape, dtype, SMALL)).collect();
    let [states, sequences, _] = shapes.map(<[_]>::len);
    table.smooth(name, &operands, move |x| {
        let (start, rest) = x.split_at(states);
        let (slices, constants) = rest.split_at(sequences);
        whole(start, slices, options, &|s, x| body(s, x, constants))
    });
    table.loosened(8.0);
}

/// All that a walk gives, one after the other.
fn whole(start: &[Expr], sequences: &[Expr], options: ScanOptions, body: ScanBody) -> Expr {
    let Scanned { last, stacked } = match Expr::scan(start, sequences, options, body) {
        Ok(scanned) => scanned,
        Err(error) => return Expr::poisoned(error),
    };
    let dtype = start.iter().chain(sequences).map(Expr::dtype).find(|dtype| dtype.is_float());
    let flat = |x: &Expr| x.reshape([x.shape().elements()]).cast(dtype.unwrap_or(DType::F32));
    let all: Vec<Expr> = last.iter().chain(&stacked).map(flat).collect();
    Expr::concat(&all.iter().collect::<Vec<_>>(), 0)
}

/// The same value with every scan in it written out, step by step.
pub fn without_scans(value: &Expr) -> Expr {
    let Ok(root) = value.node() else { return value.clone() };
    let mut plain: std::collections::HashMap<u64, Expr> = std::collections::HashMap::new();
    for node in kiln_ir::node::topological(std::slice::from_ref(root)) {
        let operands: Vec<Expr> = node.inputs.iter().map(|x| plain[&x.id].clone()).collect();
        let written = if node.inputs.is_empty() {
            Expr::from(node.clone())
        } else if let Op::Scan(scan, result) = &node.op {
            without_scans(&kiln_ir::expr::unrolled(scan, &operands, *result))
        } else {
            let wanted = Some((&node.shape, node.dtype));
            Expr::apply(node.op.clone(), &operands.iter().collect::<Vec<_>>(), wanted)
        };
        plain.insert(node.id, written);
    }
    plain[&root.id].clone()
}
