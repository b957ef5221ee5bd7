//! Kernels that repeat: they find their slices in every step, keep packed what stays the same, and programs whose repeats make no
//! sense are refused.

mod kit;

use kiln_compile::program::{BufferPlace, Matmul, Operation, Repeat, Work};
use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Data};
use kit::{Build, full, plain, pointwise};

const STEPS: usize = 5;

/// `row[i + 1] = row[i] + x[i]` for each of five pairs, from `row[0] = x[0]`; out comes the row.
fn sums() -> (Build, [usize; 3]) {
    let mut build = Build::new();
    let x = build.input(&[STEPS, 2], DType::F32);
    let row = build.output(&[STEPS + 1, 2], DType::F32);
    let first = vec![full(Operation::Load(0), DType::F32)];
    let copy = pointwise(&[2], vec![build.view(x, &[1])], first, vec![(0, build.view(row, &[1]))]);
    build.kernel("copy", Work::Fused(copy));
    let slice = |build: &mut Build, of: usize, start: usize| {
        let place = BufferPlace::Slice { of, start, step: 2 };
        build.0.buffers.push(kiln_compile::program::Buffer { place, dtype: DType::F32, elements: 2 });
        build.0.buffers.len() - 1
    };
    let [before, now, added] = [(row, 0), (row, 2), (x, 0)].map(|(of, start)| slice(&mut build, of, start));
    let body = vec![
        full(Operation::Load(0), DType::F32),
        full(Operation::Load(1), DType::F32),
        full(Operation::Binary(BinaryOp::Add, 0, 1), DType::F32),
    ];
    let loads = vec![build.view(before, &[1]), build.view(added, &[1])];
    let add = pointwise(&[2], loads, body, vec![(2, build.view(now, &[1]))]);
    build.kernel("add", Work::Fused(add));
    let slices = vec![before, now, added];
    build.0.repeats.push(Repeat { kernels: 1..2, steps: STEPS, slices });
    (build, [before, now, added])
}

fn numbers(count: usize) -> Data {
    Data::F32((0..count).map(|i| i as f32).collect())
}

#[test]
fn each_step_finds_its_slices() {
    let out = sums().0.run(&[&numbers(2 * STEPS)]).unwrap();
    let expected = [0.0, 1.0, 0.0, 2.0, 2.0, 5.0, 6.0, 10.0, 12.0, 17.0, 20.0, 26.0];
    assert_eq!(out[0], Data::F32(expected.to_vec()));
}

#[test]
fn a_weight_is_packed_anew_for_each_run() {
    // `out[i] = x[i] · w` for each step, with another w in the second run.
    let (m, k, n) = (3, 40, 70);
    let mut build = Build::new();
    let (x, w) = (build.input(&[STEPS, m, k], DType::F32), build.input(&[k, n], DType::F32));
    let out = build.output(&[STEPS, m, n], DType::F32);
    let mut slices = Vec::new();
    for (of, elements) in [(x, m * k), (out, m * n)] {
        let place = BufferPlace::Slice { of, start: (STEPS - 1) * elements, step: -(elements as isize) };
        build.0.buffers.push(kiln_compile::program::Buffer { place, dtype: DType::F32, elements });
        slices.push(build.0.buffers.len() - 1);
    }
    let epilogue = plain(&[m, n], DType::F32, build.view(slices[1], &[n as isize, 1]));
    let a = build.view(slices[0], &[0, k as isize, 1]);
    let b = build.view(w, &[0, n as isize, 1]);
    build.kernel("product", Work::Matmul(Matmul { batch: 1, m, n, k, a, b, packed: None, epilogue }));
    build.0.repeats.push(Repeat { kernels: 0..1, steps: STEPS, slices });

    let data = |count: usize, of: f32| Data::F32((0..count).map(|i| (i as f32 * of).sin()).collect());
    let mut executable = build.load().unwrap();
    for of in [0.3, 0.7] {
        let (x, w) = (data(STEPS * m * k, 0.1), data(k * n, of));
        let found = kit::run(&mut *executable, &build.0, &[&x, &w], &[]).unwrap();
        let (Data::F32(x), Data::F32(w), Data::F32(found)) = (&x, &w, &found[0]) else { panic!() };
        for (place, &found) in found.iter().enumerate() {
            let (row, column) = (place / n, place % n);
            let terms = (0..k).map(|i| f64::from(x[row * k + i]) * f64::from(w[i * n + column]));
            let expected: f64 = terms.sum();
            assert!((f64::from(found) - expected).abs() < 1e-4, "{of}, {place}: {found} and {expected}");
        }
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Build, [usize; 3])) -> String {
    let (mut build, slices) = sums();
    change(&mut build, slices);
    build.load().err().unwrap().to_string()
}

#[test]
fn repeats_that_make_no_sense_are_refused() {
    let moved = |step: isize, start: usize| {
        refused(|build, [before, ..]| {
            let BufferPlace::Slice { of, .. } = build.0.buffers[before].place else { panic!() };
            build.0.buffers[before].place = BufferPlace::Slice { of, start, step };
        })
    };
    assert!(moved(4, 0).ends_with("it moves from element 0 to 18 of a buffer of 12"));
    assert!(moved(-2, 4).ends_with("it moves from element -4 to 6 of a buffer of 12"));
    assert!(moved(2, 1).contains("overlaps"), "a step would read what it writes: {}", moved(2, 1));
    assert!(moved(0, 4).contains("move through each other"), "{}", moved(0, 4));
    let change = |change: &dyn Fn(&mut Repeat)| refused(|build, _| change(&mut build.0.repeats[0]));
    assert!(change(&|repeat| repeat.steps = 0).ends_with("repeat 0 has no steps"));
    assert!(change(&|repeat| repeat.steps = 6).contains("of a buffer of"));
    assert!(change(&|repeat| repeat.kernels = 1..3).contains("isn't of kernels that run in each run"));
    assert!(change(&|repeat| repeat.kernels = 0..1).contains("which kernels outside of it touch"));
    assert!(change(&|repeat| repeat.slices.truncate(2)).contains("no repeat moves it"));
    let twice = refused(|build, _| {
        let again = build.0.repeats[0].clone();
        build.0.repeats.push(again);
    });
    assert!(twice.contains("which another one moves"), "{twice}");
    let around = refused(|build, _| {
        build.0.repeats.push(Repeat { kernels: 0..2, steps: 2, slices: Vec::new() });
    });
    assert!(around.contains("around an earlier one"), "{around}");
    let read_only = refused(|build, [_, now, added]| {
        let place = build.0.buffers[added].place;
        build.0.buffers[now].place = place;
    });
    assert!(read_only.contains("input 0 is read only") || read_only.contains("overlaps"), "{read_only}");
    let another = refused(|build, [before, ..]| build.0.buffers[before].dtype = DType::I32);
    assert!(another.contains("a part of i32 of a buffer of f32"), "{another}");
}
