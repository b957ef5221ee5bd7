//! A program that runs again and again allocates nothing.

mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_compile::program::{Matmul, Operation, Work};
use kiln_device::{Argument, Memory, Output};
use kiln_ir::DType;
use kiln_ir::op::{ArgOp, BinaryOp, ScatterMode, UnaryOp};
use kit::{Build, along, full, indexed, memory, plain, pointwise, row_major, set_threads};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ROWS: usize = 64;
const WIDTH: usize = 96;

/// A step with most kinds of kernel: rows are looked up, multiplied, and what comes of them is added to where they were.
fn program(contracts: bool) -> Build {
    let f32 = DType::F32;
    let (rows, across) = ([ROWS, WIDTH], [WIDTH as isize, 1]);
    let mut build = Build::new();
    let index = build.input(&[ROWS], DType::I64);
    let table = build.variable("table", &[100, WIDTH], f32, true);
    let weight = build.variable("weight", &[WIDTH, WIDTH], f32, false);
    let found = build.arena(f32, ROWS * WIDTH);
    let hidden = build.arena(f32, ROWS * WIDTH);
    let (sums, best) = (build.output(&rows, f32), build.output(&[ROWS], DType::I64));
    let order = build.output(&rows, DType::I64);
    let i = build.view(index, &[1, 0]);
    let gather = indexed(&rows, 0, 100, build.view(table, &across), i.clone(), build.view(found, &across));
    build.kernel("gather", Work::Gather(gather));
    let weight = build.view(weight, &row_major(&[1, WIDTH, WIDTH]));
    let a = build.view(found, &[0, across[0], 1]);
    let epilogue = plain(&rows, f32, build.view(hidden, &across));
    let matmul = Matmul { batch: 1, m: ROWS, n: WIDTH, k: WIDTH, a, b: weight, packed: None, epilogue };
    let body = vec![
        full(Operation::Load(0), f32),
        full(Operation::Load(1), f32),
        full(Operation::Unary(UnaryOp::Tanh, 0), f32),
        full(Operation::Binary(BinaryOp::Sub, 2, 1), f32),
    ];
    let loads = vec![build.view(hidden, &across), build.view(found, &across)];
    let stores = vec![(3, build.view(hidden, &across))];
    if contracts {
        build.kernel("matmul", Work::Matmul(matmul));
        build.kernel("tanh+sub", Work::Fused(pointwise(&rows, loads, body, stores)));
    }
    let scatter = indexed(&rows, 0, 100, build.view(hidden, &across), i, build.view(table, &across));
    build.kernel("scatter", Work::Scatter(scatter, ScatterMode::Add));
    let nest = |build: &Build, to: usize, strides: &[isize]| {
        along(&rows, build.view(hidden, &across), build.view(to, strides))
    };
    let work = Work::CumSum(nest(&build, sums, &across));
    build.kernel("cumsum", work);
    let work = Work::ArgReduce(ArgOp::Max, nest(&build, best, &[1, 0]));
    build.kernel("argmax", work);
    let work = Work::ArgSort(true, nest(&build, order, &across));
    build.kernel("argsort", work);
    build
}

#[test]
fn a_warm_step_allocates_nothing() {
    // Without the contraction first: which of the two fails says more.
    steps(false);
    steps(true);
}

fn steps(contracts: bool) {
    let build = program(contracts);
    let mut executable = build.load().unwrap();
    let variables: Vec<Arc<dyn Memory>> = vec![memory(&[0.01; 100 * WIDTH]), memory(&[0.02; WIDTH * WIDTH])];
    let index: Vec<i64> = (0..ROWS as i64).map(|i| i * 7 % 100).collect();
    let (mut sums, mut best, mut order) =
        (vec![0f32; ROWS * WIDTH], vec![0i64; ROWS], vec![0i64; ROWS * WIDTH]);
    for (threads, profiling) in [(1, false), (2, false), (2, true)] {
        set_threads(threads);
        executable.profile(profiling);
        let mut step = || {
            let mut outputs = [Output::new(&mut sums), Output::new(&mut best), Output::new(&mut order)];
            executable.run(&[Argument::new(&index)], &variables, &mut outputs).unwrap();
        };
        // A worker makes its scratch when it first gets a chunk, which may take some steps.
        (0..if threads == 1 { 2 } else { 1000 }).for_each(|_| step());
        // A thread that was started allocates as it comes up.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..3000).for_each(|_| step());
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{threads} threads, {contracts}");
    }
    assert_eq!(executable.times().len(), build.0.kernels.len());
}
