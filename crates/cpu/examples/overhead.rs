//! What the walk over a program costs by itself: the time of a run with no kernels, and of each kernel that does
//! next to nothing.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::time::Instant;

use kiln_compile::program::{Operation, Work};
use kiln_device::{Argument, Memory, Output};
use kiln_ir::DType;
use kit::{Build, full, indexed, memory, pointwise};

/// Nanoseconds of a run: the best of many rounds.
fn run(build: &Build, variables: usize) -> f64 {
    let mut executable = build.load().expect("a program by hand");
    let variables: Vec<std::sync::Arc<dyn Memory>> = (0..variables).map(|_| memory(&[1.0; 16])).collect();
    let (index, mut out) = ([3i64], [0f32; 1]);
    let mut best = f64::MAX;
    for _ in 0..300 {
        let start = Instant::now();
        for _ in 0..100 {
            executable.run(&[Argument::new(&index)], &variables, &mut [Output::new(&mut out)]).expect("fits");
        }
        best = best.min(start.elapsed().as_nanos() as f64 / 100.0);
    }
    best
}

fn program(gathers: usize, fused: usize, variables: usize) -> Build {
    let mut build = Build::new();
    let (index, out) = (build.input(&[1], DType::I64), build.output(&[1], DType::F32));
    let table = build.arena(DType::F32, 64);
    for i in 0..variables {
        build.variable(&format!("v{i}"), &[16], DType::F32, i % 2 == 0);
    }
    for _ in 0..gathers {
        let work =
            indexed(&[1], 0, 10, build.view(table, &[1]), build.view(index, &[1]), build.view(out, &[1]));
        build.kernel("gather", Work::Gather(work));
    }
    for _ in 0..fused {
        let body = vec![full(Operation::Load(0), DType::F32)];
        let work = pointwise(&[1], vec![build.view(table, &[1])], body, vec![(0, build.view(out, &[1]))]);
        build.kernel("copy", Work::Fused(work));
    }
    build
}

fn main() {
    let empty = run(&program(0, 0, 0), 0);
    println!("a run with nothing in it        {empty:8.1} ns");
    println!("each variable                   {:8.1} ns", (run(&program(0, 0, 100), 100) - empty) / 100.0);
    println!("each gather of one element      {:8.1} ns", (run(&program(1000, 0, 0), 0) - empty) / 1000.0);
    println!("each fused copy of one element  {:8.1} ns", (run(&program(0, 1000, 0), 0) - empty) / 1000.0);
}
