//! What doesn't fit is an error that says so: arguments at a run, and programs when they are loaded.

mod kit;

use std::sync::Arc;

use kiln_compile::program::{BufferPlace, Instruction, Operation, Store, View, Work};
use kiln_device::{Argument, Memory, Output};
use kiln_ir::op::{BinaryOp, ReduceOp, ScatterMode, UnaryOp};
use kiln_ir::{DType, Data, ErrorKind, Scalar};
use kit::{Build, along, cpu, full, indexed, kept, memory, numbers, pointwise, run};

/// `out = x + w`, eight numbers each.
fn adding(written: bool) -> Build {
    let mut build = Build::new();
    let (x, w) = (build.input(&[8], DType::F32), build.variable("w", &[8], DType::F32, written));
    let out = if written { w } else { build.output(&[8], DType::F32) };
    let work = sum(&build, 8, [x, w, out], [0; 3]);
    build.kernel("add", work);
    build
}

fn sum(build: &Build, len: usize, [a, b, out]: [usize; 3], offsets: [isize; 3]) -> Work {
    let view = |i: usize, buffer: usize| build.view_at(buffer, offsets[i], &[1]);
    let body = vec![
        full(Operation::Load(0), DType::F32),
        full(Operation::Load(1), DType::F32),
        full(Operation::Binary(BinaryOp::Add, 0, 1), DType::F32),
    ];
    Work::Fused(pointwise(&[len], vec![view(0, a), view(1, b)], body, vec![(2, view(2, out))]))
}

#[test]
fn wrong_arguments_are_named() {
    let build = adding(false);
    let mut executable = build.load().unwrap();
    let w: Vec<Arc<dyn Memory>> = vec![memory(&[1.0; 8])];
    let (right, mut out) = ([2f32; 8], [0f32; 8]);
    let mut refused = |inputs: &[Argument], variables: &[Arc<dyn Memory>], outputs: &mut [Output]| {
        executable.run(inputs, variables, outputs).unwrap_err()
    };
    let error = refused(&[], &w, &mut [Output::new(&mut out)]);
    assert_eq!(error.to_string(), "run: the program takes 1 arguments, and was given 0");
    let error = refused(&[Argument::new(&right[1..])], &w, &mut [Output::new(&mut out)]);
    assert_eq!(error.to_string(), "run: argument 0 has 7 elements of f32, and the program takes 8 of f32");
    let error = refused(&[Argument::new(&[2i32; 8])], &w, &mut [Output::new(&mut out)]);
    assert_eq!(error.kind, ErrorKind::DType);
    let error = refused(&[Argument::new(&right)], &w, &mut [Output::new(&mut out[..3])]);
    assert_eq!(error.to_string(), "run: output 0 has 3 elements of f32, and the program takes 8 of f32");
    let error = refused(&[Argument::new(&right)], &[], &mut [Output::new(&mut out)]);
    assert_eq!(error.to_string(), "run: the program takes 1 variables, and was given 0");
    let error = refused(&[Argument::new(&right)], &[memory(&[1.0; 7])], &mut [Output::new(&mut out)]);
    assert_eq!(error.to_string(), "run: variable 0 (w) has 28 bytes, not 8 elements of f32");
    executable.run(&[Argument::new(&right)], &w, &mut [Output::new(&mut out)]).unwrap();
    assert_eq!(out, [3.0; 8]);
}

#[test]
fn memory_of_another_device_is_refused() {
    #[derive(Debug)]
    struct Elsewhere;
    impl Memory for Elsewhere {
        fn bytes(&self) -> usize {
            32
        }
        fn read(&self, _: &mut [u8]) -> kiln_ir::Result<()> {
            Ok(())
        }
        fn write(&self, _: &[u8]) -> kiln_ir::Result<()> {
            Ok(())
        }
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }
    let build = adding(false);
    let x = Data::F32(vec![0.0; 8]);
    let error = run(&mut *build.load().unwrap(), &build.0, &[&x], &[Arc::new(Elsewhere)]).unwrap_err();
    assert_eq!(error.to_string(), "run: variable 0 is memory of another device than the cpu");
}

#[test]
fn one_memory_for_two_variables_is_refused_where_it_is_written() {
    for written in [false, true] {
        let mut build = Build::new();
        let (a, b) =
            (build.variable("a", &[8], DType::F32, false), build.variable("b", &[8], DType::F32, written));
        let out = if written { b } else { build.output(&[8], DType::F32) };
        let work = sum(&build, 8, [a, b, out], [0; 3]);
        build.kernel("add", work);
        let both = memory(&[1.5; 8]);
        let result = run(&mut *build.load().unwrap(), &build.0, &[], &[both.clone(), both.clone()]);
        if written {
            let message = "run: variables 0 and 1 are the same memory, and it is written";
            assert_eq!(result.unwrap_err().to_string(), message);
            assert_eq!(numbers(&both), [1.5; 8]);
        } else {
            assert_eq!(result.unwrap()[0], Data::F32(vec![3.0; 8]));
        }
    }
}

#[test]
fn programs_on_several_threads_share_their_variables() {
    let build = adding(true);
    let w: Vec<Arc<dyn Memory>> = vec![memory(&[0.0; 8])];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut executable = build.load().unwrap();
                for _ in 0..500 {
                    run(&mut *executable, &build.0, &[&Data::F32(vec![1.0; 8])], &w).unwrap();
                    let seen = numbers(&w[0]);
                    assert!(seen.iter().all(|v| *v == seen[0]), "{seen:?} is half of a run");
                }
            });
        }
    });
    assert_eq!(numbers(&w[0]), [2000.0; 8]);
}

fn refused(build: &Build) -> String {
    match build.load() {
        Ok(_) => panic!("the program was taken"),
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Device);
            error.to_string()
        }
    }
}

/// A program that would be right but for what `change` does to it.
fn changed(change: impl FnOnce(&mut Build)) -> String {
    let mut build = adding(false);
    change(&mut build);
    refused(&build)
}

fn load(build: &mut Build, view: impl FnOnce(&mut View)) {
    let Work::Fused(fused) = &mut build.0.kernels[0].work else {
        return;
    };
    view(&mut fused.loads[0]);
}

#[test]
fn views_that_leave_their_buffers_are_refused() {
    let past = changed(|b| load(b, |view| view.offset = 1));
    assert_eq!(past, "load: kernel 0 (add): load: it reaches from element 1 to 8 of a buffer of 8");
    assert!(changed(|b| load(b, |view| view.offset = -1)).contains("from element -1 to 6"));
    assert!(changed(|b| load(b, |view| view.strides = vec![-1])).contains("from element -7 to 0"));
    assert!(changed(|b| load(b, |view| view.strides = vec![isize::MAX])).contains("it reaches"));
    assert!(changed(|b| load(b, |view| view.strides = vec![1, 1])).contains("2 strides for 1 loops"));
    assert!(changed(|b| load(b, |view| view.buffer = 9)).contains("there is no buffer 9"));
    assert!(changed(|b| load(b, |view| view.dtype = DType::I32)).contains("i32"));
}

#[test]
fn buffers_that_arent_where_they_say_are_refused() {
    assert!(
        changed(|b| b.0.buffers[0].elements = 9)
            .starts_with("load: buffer 0: 9 elements of f32, but input 0 has 8")
    );
    assert!(changed(|b| b.0.buffers[0].place = BufferPlace::Input(1)).ends_with("there is no input 1"));
    assert!(changed(|b| b.0.buffers[1].place = BufferPlace::Variable(1)).ends_with("there is no variable 1"));
    assert!(changed(|b| b.0.buffers[2].place = BufferPlace::Output(1)).ends_with("there is no output 1"));
    assert!(
        changed(|b| b.0.buffers[2].place = BufferPlace::Arena(0))
            .ends_with("32 bytes from 0 leave the arena of 0")
    );
    let crooked = changed(|b| (b.0.buffers[2].place, b.0.arena) = (BufferPlace::Arena(4), 64));
    assert!(crooked.ends_with("its offset 4 isn't a multiple of 64"));
    assert!(changed(|b| b.0.buffers[0].elements = usize::MAX).ends_with("too large"));
    assert!(changed(|b| b.0.written.clear()).contains("differ in length"));
}

#[test]
fn writes_that_meet_what_they_shouldnt_are_refused() {
    let store = |b: &mut Build, change: &dyn Fn(&mut View)| {
        let Work::Fused(fused) = &mut b.0.kernels[0].work else {
            return;
        };
        change(&mut fused.stores[0].view);
    };
    assert!(changed(|b| store(b, &|view| view.buffer = 0)).ends_with("store: input 0 is read only"));
    assert!(changed(|b| store(b, &|view| view.buffer = 1)).contains("variable 0 isn't listed as written"));
    assert!(
        changed(|b| store(b, &|view| view.strides = vec![0]))
            .contains("two points of its loops write one element")
    );
    let mut build = Build::new();
    let (x, temp) = (build.input(&[8], DType::F32), build.arena(DType::F32, 16));
    let work = sum(&build, 8, [x, temp, temp], [0, 0, 4]);
    build.kernel("shift", work);
    assert!(refused(&build).ends_with("what it writes as its store overlaps its load"));
    // The same elements, or others, are fine; so are elements in the gaps of what is read.
    for (offset, stride) in [(0, 1), (8, 1)] {
        let mut build = Build::new();
        let (x, temp) = (build.input(&[8], DType::F32), build.arena(DType::F32, 16));
        let work = sum(&build, 8, [x, temp, temp], [0, 0, offset]);
        build.kernel("add", work);
        assert!(build.load().is_ok(), "{offset} {stride}");
    }
    let mut build = Build::new();
    let temp = build.arena(DType::F32, 16);
    let (even, odd) = (build.view(temp, &[2]), build.view_at(temp, 1, &[2]));
    let body = vec![full(Operation::Load(0), DType::F32)];
    build.kernel("copy", Work::Fused(pointwise(&[8], vec![even], body, vec![(0, odd)])));
    assert!(build.load().is_ok());
}

#[test]
fn a_fold_that_overwrites_what_is_read_again_is_refused() {
    let f32 = DType::F32;
    // `y = x·w·Σ(x·w)` and `w = Σ(x·w)`: the second walk must see the `w` of the first.
    let program = |keeps: bool| {
        let mut build = Build::new();
        let (x, w) = (build.input(&[8, 4], f32), build.variable("w", &[4], f32, true));
        let out = build.output(&[8, 4], f32);
        let views =
            [(x, [4, 1]), (w, [0, 1]), (out, [4, 1])].map(|(buffer, strides)| build.view(buffer, &strides));
        let [x, w, out] = views;
        let factor = if keeps { 2 } else { 1 };
        let body = vec![
            full(Operation::Load(0), f32),
            kept(Operation::Load(1), f32),
            kept(Operation::Cast(1), f32),
            full(Operation::Binary(BinaryOp::Mul, 0, factor), f32),
            kept(Operation::Reduce(ReduceOp::Sum, 3), f32),
            full(Operation::Binary(BinaryOp::Mul, 3, 4), f32),
        ];
        let mut fused = pointwise(&[8, 4], vec![x, w.clone()], body, vec![(4, w), (5, out)]);
        fused.reduced = vec![true, false];
        build.kernel("fold", Work::Fused(fused));
        build
    };
    assert!(refused(&program(false)).ends_with("the loads [1] are overwritten while they are used"));
    assert!(program(true).load().is_ok());
}

#[test]
fn bodies_that_make_no_sense_are_refused() {
    let body = |change: &dyn Fn(&mut Vec<kiln_compile::program::Instruction>)| {
        changed(|b| {
            let Work::Fused(fused) = &mut b.0.kernels[0].work else {
                return;
            };
            change(&mut fused.body);
        })
    };
    assert!(body(&|body| body[0].operation = Operation::Load(7)).contains("a load that isn't there"));
    let late = body(&|body| body[2].operation = Operation::Binary(BinaryOp::Add, 0, 2));
    assert!(late.contains("value 2 isn't there yet"), "{late}");
    assert!(body(&|body| body[2].dtype = DType::F64).contains("f64 where f32 is needed"));
    assert!(body(&|body| body[0].operation = Operation::Accumulator).contains("without a contraction"));
    assert!(body(&|body| body.truncate(2)).contains("a store of a value that isn't there"));
    assert!(body(&|body| body[2].full = false).contains("a kept value made of full ones"));
}

#[test]
fn index_work_that_makes_no_sense_is_refused() {
    let mut build = Build::new();
    let (x, i, out) =
        (build.input(&[4], DType::F32), build.input(&[4], DType::I32), build.output(&[4], DType::F32));
    let work = indexed(&[4], 0, 4, build.view(x, &[1]), build.view(i, &[1]), build.view(out, &[1]));
    build.kernel("gather", Work::Gather(work));
    assert!(refused(&build).ends_with("an index of i32"));

    let mut build = Build::new();
    let (x, i, out) =
        (build.input(&[4], DType::Bool), build.input(&[4], DType::I64), build.output(&[4], DType::Bool));
    let work = indexed(&[4], 0, 4, build.view(x, &[1]), build.view(i, &[1]), build.view(out, &[1]));
    build.kernel("scatter", Work::Scatter(work, ScatterMode::Add));
    assert!(refused(&build).ends_with("bools can't be added"));

    let mut build = Build::new();
    let (x, out) = (build.input(&[4], DType::F32), build.output(&[4], DType::F32));
    let work = along(&[], build.view(x, &[]), build.view(out, &[]));
    build.kernel("cumsum", Work::CumSum(work));
    assert!(refused(&build).ends_with("it has no loop"));
}

#[test]
fn any_byte_in_a_bools_memory_comes_out_as_a_bool() {
    let mut build = Build::new();
    let (w, out) = (build.variable("mask", &[4], DType::Bool, false), build.output(&[4], DType::Bool));
    let body = vec![full(Operation::Load(0), DType::Bool)];
    let work = pointwise(&[4], vec![build.view(w, &[1])], body, vec![(0, build.view(out, &[1]))]);
    build.kernel("copy", Work::Fused(work));
    let memory = cpu().allocate(4).unwrap();
    memory.write(&[0, 1, 2, 255]).unwrap();
    let out = run(&mut *build.load().unwrap(), &build.0, &[], &[memory]).unwrap();
    assert_eq!(out[0], Data::Bool(vec![false, true, true, true]));
}

#[test]
fn any_function_of_any_dtype_runs_or_is_refused() {
    let unary = [
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
    let binary = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Rem,
        BinaryOp::Pow,
        BinaryOp::Max,
        BinaryOp::Min,
        BinaryOp::And,
        BinaryOp::Or,
        BinaryOp::Xor,
    ];
    let folds = [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min];
    for dtype in DType::ALL {
        let operations = unary.iter().map(|&op| Operation::Unary(op, 0));
        let operations = operations.chain(binary.iter().map(|&op| Operation::Binary(op, 0, 0)));
        for operation in operations.chain(folds.iter().map(|&op| Operation::Reduce(op, 0))) {
            let folds = matches!(operation, Operation::Reduce(..));
            let mut build = Build::new();
            let (x, out) = (build.input(&[6], dtype), build.output(&[1], dtype));
            let body = vec![full(Operation::Load(0), dtype), Instruction { operation, dtype, full: !folds }];
            let mut work = pointwise(&[6], vec![build.view(x, &[1])], body, vec![]);
            if folds {
                work.reduced = vec![true];
                work.stores = vec![Store { value: 1, view: build.view(out, &[0]) }];
            }
            build.kernel("function", Work::Fused(work));
            let x = Data::filled(dtype, 6, Scalar::Int(3));
            if build.load().is_ok() {
                build.run(&[&x]).unwrap();
            }
        }
    }
}
