//! The ladder from the obvious matrix product to the one kiln uses: GFLOP/s of each step for shapes that training
//! meets, each step checked against the first.
//!
//! `cargo run --release -p kiln-cpu --example gemm_ladder [part of a shape's name]`

use kiln_cpu::gemm::{Gemm, Mat, ResultBlock, ResultSink, gemm, gemm_at};
use kiln_cpu::simd::{Level, level};
use kiln_cpu::threads::{FlushDenormals, with_threads};
use std::time::{Duration, Instant};

/// A product: its sizes, and whether A and B are stored transposed.
struct Case {
    name: &'static str,
    m: usize,
    k: usize,
    n: usize,
    a_transposed: bool,
    b_transposed: bool,
}

const fn case(name: &'static str, m: usize, k: usize, n: usize, order: &[u8; 2]) -> Case {
    Case { name, m, k, n, a_transposed: order[0] == b't', b_transposed: order[1] == b't' }
}

const CASES: &[Case] = &[
    case("mlp forward", 128, 784, 256, b"nn"),
    case("mlp weights", 784, 128, 256, b"tn"),
    case("mlp inputs", 128, 256, 784, b"nt"),
    case("hidden forward", 128, 256, 128, b"nn"),
    case("hidden weights", 256, 128, 128, b"tn"),
    case("hidden inputs", 128, 128, 256, b"nt"),
    case("narrow forward", 128, 128, 10, b"nn"),
    case("narrow weights", 128, 128, 10, b"tn"),
    case("narrow inputs", 128, 10, 128, b"nt"),
    case("one row", 1, 784, 256, b"nn"),
    case("one row hidden", 1, 256, 128, b"nn"),
    case("one row narrow", 1, 128, 10, b"nn"),
    case("one row, B transposed", 1, 784, 256, b"nt"),
    case("one row wide", 1, 1024, 4096, b"nn"),
    case("one column", 256, 784, 1, b"nn"),
    case("four rows", 4, 784, 256, b"nn"),
    case("four rows, B transposed", 4, 784, 256, b"nt"),
    case("square 256", 256, 256, 256, b"nn"),
    case("square 512", 512, 512, 512, b"nn"),
    case("square 1024", 1024, 1024, 1024, b"nn"),
    case("square 2048", 2048, 2048, 2048, b"nn"),
    case("attention", 768, 128, 512, b"nn"),
    case("attention inputs", 128, 768, 512, b"nt"),
    case("attention weights", 512, 768, 128, b"tn"),
    case("gpt", 2048, 384, 1536, b"nn"),
    case("gpt weights", 384, 2048, 1536, b"tn"),
    case("gpt weights back", 1536, 2048, 384, b"tn"),
    case("lstm", 32, 256, 1024, b"nn"),
    case("lstm inputs", 32, 1024, 256, b"nt"),
    case("lstm weights", 256, 2048, 1024, b"tn"),
    case("lstm weights of inputs", 128, 2048, 1024, b"tn"),
];

/// Numbers without a pattern, from -1 to 1.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The best time of one call, over a tenth of a second.
fn best(mut run: impl FnMut()) -> Duration {
    run();
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    while begin.elapsed() < Duration::from_millis(100) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best
}

/// Step 1: as the formula says.
fn naive(case: &Case, a: &[f32], b: &[f32], c: &mut [f32]) {
    let (a_row, a_col) = if case.a_transposed { (1, case.m) } else { (case.k, 1) };
    let (b_row, b_col) = if case.b_transposed { (1, case.k) } else { (case.n, 1) };
    for row in 0..case.m {
        for column in 0..case.n {
            c[row * case.n + column] =
                (0..case.k).map(|k| a[row * a_row + k * a_col] * b[k * b_row + column * b_col]).sum();
        }
    }
}

/// Step 2: rows of B added up, so that the compiler has contiguous loops; B is turned first where it lies transposed.
fn row_by_row(case: &Case, a: &[f32], b: &[f32], c: &mut [f32]) {
    let (a_row, a_col) = if case.a_transposed { (1, case.m) } else { (case.k, 1) };
    let turned: Vec<f32>;
    let b = if case.b_transposed {
        turned = (0..case.k * case.n).map(|at| b[at % case.n * case.k + at / case.n]).collect();
        &turned
    } else {
        b
    };
    c.fill(0.0);
    for (row, sums) in c.chunks_exact_mut(case.n).enumerate() {
        for (k, values) in b.chunks_exact(case.n).enumerate() {
            let factor = a[row * a_row + k * a_col];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += factor * value;
            }
        }
    }
}

/// Steps 3 and on: kiln's product.
fn ours(at: Level, case: &Case, a: &[f32], b: &[f32], out: &ResultSink<f32>) {
    let (a_row, a_col) = if case.a_transposed { (1, case.m) } else { (case.k, 1) };
    let (b_row, b_col) = if case.b_transposed { (1, case.k) } else { (case.n, 1) };
    let a = Mat { ptr: a.as_ptr(), row: a_row as isize, col: a_col as isize, batch: 0 };
    let b = Mat { ptr: b.as_ptr(), row: b_row as isize, col: b_col as isize, batch: 0 };
    let shape = Gemm { batch: 1, m: case.m, n: case.n, k: case.k };
    // SAFETY: the slices hold the elements that the shape and the strides name; C is apart from A and B.
    unsafe { if at == level() { gemm(shape, a, b, out) } else { gemm_at(at, shape, a, b, out) } }
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let _flush = FlushDenormals::new();
    println!(
        "{:20}{:>16}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>11}",
        "GFLOP/s",
        "m x k x n",
        "naive",
        "rows",
        "portable",
        "avx2",
        "ours, 1",
        "ours, 2",
        "epilogue, 2",
        "us, 2"
    );
    for case in CASES.iter().filter(|case| case.name.contains(&filter)) {
        let (m, k, n) = (case.m, case.k, case.n);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let mut expected = vec![0.0; m * n];
        naive(case, &a, &b, &mut expected);
        let work = 2e-9 * (m * n * k) as f64;
        let small = m * n * k < 1 << 26;
        print!("{:20}{:>16}", case.name, format!("{m}x{k}x{n}"));
        let mut c = vec![0.0; m * n];
        let mut show = |skip: bool, run: &mut dyn FnMut(&mut Vec<f32>)| {
            if skip {
                print!("{:>9}", "");
                return Duration::ZERO;
            }
            c.fill(f32::NAN);
            let time = best(|| run(&mut c));
            for (ours, exact) in c.iter().zip(&expected) {
                assert!((ours - exact).abs() <= 1e-5 * (k as f32), "{}: {ours} is not {exact}", case.name);
            }
            print!("{:>9.1}", work / time.as_secs_f64());
            time
        };
        let store = |c: &mut Vec<f32>| ResultSink::Store { start: c.as_mut_ptr(), stride: n as isize };
        let _threads = with_threads(1);
        show(!small, &mut |c| naive(case, &a, &b, c));
        show(!small, &mut |c| row_by_row(case, &a, &b, c));
        show(!small, &mut |c| ours(Level::Portable, case, &a, &b, &store(c)));
        show(!Level::Avx2.is_here(), &mut |c| ours(Level::Avx2, case, &a, &b, &store(c)));
        show(false, &mut |c| ours(level(), case, &a, &b, &store(c)));
        let _threads = with_threads(2);
        let time = show(false, &mut |c| ours(level(), case, &a, &b, &store(c)));
        show(false, &mut |c| {
            let to = c.as_mut_ptr() as usize;
            let epilogue = |block: ResultBlock<f32>| {
                for (at, row) in block.rows.enumerate() {
                    // SAFETY: the block's row, and its place in C, which only this block writes.
                    unsafe {
                        let to = (to as *mut f32).add(row * n + block.columns.start);
                        std::ptr::copy_nonoverlapping(
                            block.sums.add(at * block.stride),
                            to,
                            block.columns.len(),
                        );
                    }
                }
            };
            ours(level(), case, &a, &b, &ResultSink::Interpreted(&epilogue));
        });
        println!("{:>11.2}", time.as_secs_f64() * 1e6);
    }
}
