//! The fast product against the obvious one: shapes, strides, types, levels, threads, and the memory around C.

use super::*;
use crate::threads::{self, with_threads};
use half::{bf16, f16};

/// Small whole numbers, whose sums are exact in any order and any of the types.
fn whole<S>(count: usize, seed: usize, from: impl Fn(i8) -> S) -> Vec<S> {
    (0..count).map(|at| from(((at * 31 + seed * 17 + at / 7) % 9) as i8 - 4)).collect()
}

/// A batch of matrices in memory of their own, as transposed, reversed, spread or repeated as asked.
struct Laid<S> {
    memory: Vec<S>,
    start: usize,
    row: isize,
    col: isize,
    batch: isize,
}

/// How a matrix lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    Plain,
    Transposed,
    Reversed,
    Sliced,
    Spread,
    SameRow,
    SameColumn,
}

const LIES: [Lie; 7] =
    [Lie::Plain, Lie::Transposed, Lie::Reversed, Lie::Sliced, Lie::Spread, Lie::SameRow, Lie::SameColumn];

fn lay<S>(
    lie: Lie,
    shared: bool,
    shape: (usize, usize, usize),
    seed: usize,
    from: impl Fn(i8) -> S,
) -> Laid<S> {
    let (batch, rows, columns) = shape;
    let (row, col) = match lie {
        Lie::Plain | Lie::Reversed => (columns as isize, 1),
        Lie::Transposed => (1, rows as isize),
        Lie::Sliced => (columns as isize + 5, 1),
        Lie::Spread => (3 * columns as isize + 1, 3),
        Lie::SameRow => (0, 1),
        Lie::SameColumn => (1, 0),
    };
    let last = |size: usize, stride: isize| size.saturating_sub(1) * stride.unsigned_abs();
    let matrix = last(rows, row) + last(columns, col) + 1;
    let (row, col) = if lie == Lie::Reversed { (-row, -col) } else { (row, col) };
    let start = if lie == Lie::Reversed { matrix - 1 } else { 0 };
    let batch_stride = if shared { 0 } else { matrix };
    let count = if rows * columns * batch == 0 { 0 } else { matrix + last(batch, batch_stride as isize) };
    Laid { memory: whole(count, seed, from), start, row, col, batch: batch_stride as isize }
}

impl<S> Laid<S> {
    fn mat(&self) -> Mat<S> {
        Mat {
            ptr: self.memory.as_ptr().wrapping_add(self.start),
            row: self.row,
            col: self.col,
            batch: self.batch,
        }
    }
}

/// Runs a product into memory with a border, and says what it holds and whether the border is whole.
fn stored<S: GemmElement>(
    level: Level,
    shape: Gemm,
    a: &Laid<S>,
    b: &Laid<S>,
    canary: S::Sum,
) -> Vec<S::Sum> {
    const BORDER: usize = 40;
    let row_stride = shape.n + 3;
    let mut memory = vec![canary; shape.batch * shape.m * row_stride + 2 * BORDER];
    // SAFETY: within the memory.
    let start = unsafe { memory.as_mut_ptr().add(BORDER) };
    let out = ResultSink::Store { start, stride: row_stride as isize };
    // SAFETY: `lay` has made memory for all elements, and C has room.
    unsafe { gemm_at(level, shape, a.mat(), b.mat(), &out) };
    let (border, rest) = memory.split_at(BORDER);
    let (rows, end) = rest.split_at(rest.len() - BORDER);
    assert!(border.iter().chain(end).all(|value| *value == canary), "{shape:?} wrote outside C");
    if row_stride == 0 {
        return Vec::new();
    }
    let rows = rows.chunks_exact(row_stride);
    assert!(
        rows.clone().all(|row| row[shape.n..].iter().all(|value| *value == canary)),
        "{shape:?} wrote between rows"
    );
    rows.flat_map(|row| row[..shape.n].to_vec()).collect()
}

/// Runs a product with an epilogue that gathers its blocks, and checks that they cover everything once.
fn with_epilogue<S: GemmElement>(level: Level, shape: Gemm, a: &Laid<S>, b: &Laid<S>) -> Vec<S::Sum> {
    let size = shape.batch * shape.m * shape.n;
    let gathered = std::sync::Mutex::new((vec![S::Sum::default(); size], vec![0u8; size]));
    let epilogue = |block: ResultBlock<S::Sum>| {
        let mut gathered = gathered.lock().unwrap();
        for (at, row) in block.rows.enumerate() {
            for (across, column) in block.columns.clone().enumerate() {
                let to = row * shape.n + column;
                // SAFETY: the block has this element.
                gathered.0[to] = unsafe { block.sums.add(at * block.stride + across).read() };
                gathered.1[to] += 1;
            }
        }
    };
    // SAFETY: `lay` has made memory for all elements.
    unsafe { gemm_at(level, shape, a.mat(), b.mat(), &ResultSink::Interpreted(&epilogue)) };
    let (values, times) = gathered.into_inner().unwrap();
    assert!(times.iter().all(|&times| times == 1), "{shape:?} is not covered once");
    values
}

/// Checks a product at all levels, stored and with an epilogue.
fn check<S: GemmElement>(shape: Gemm, lies: (Lie, Lie), shared: bool, from: impl Fn(i8) -> S + Copy) {
    let a = lay(lies.0, false, (shape.batch, shape.m, shape.k), 1, from);
    let b = lay(lies.1, shared, (shape.batch, shape.k, shape.n), 2, from);
    // SAFETY: `lay` has made memory for all elements.
    let expected = unsafe { reference::gemm(shape, a.mat(), b.mat()) };
    for level in Level::all_here() {
        let what = || format!("{shape:?} {lies:?} {} {}", std::any::type_name::<S>(), level.name());
        assert!(stored(level, shape, &a, &b, from(99).number()) == expected, "stored {}", what());
        assert!(with_epilogue(level, shape, &a, &b) == expected, "epilogue {}", what());
    }
}

fn shape(batch: usize, m: usize, n: usize, k: usize) -> Gemm {
    Gemm { batch, m, n, k }
}

#[test]
fn awkward_sizes_agree_with_the_reference() {
    for m in [0, 1, 2, 3, 5, 6, 7, 13, 14, 15, 29] {
        for n in [0, 1, 2, 4, 10, 15, 16, 17, 31, 32, 33, 47, 97] {
            for k in [0, 1, 2, 7, 16, 33] {
                check(shape(1, m, n, k), (Lie::Plain, Lie::Plain), false, f32::from);
                check(shape(1, m, n, k), (Lie::Transposed, Lie::Plain), false, f32::from);
                check(shape(1, m, n, k), (Lie::Plain, Lie::Transposed), false, f32::from);
                check(shape(1, m, n, k), (Lie::Plain, Lie::Transposed), false, f64::from);
            }
        }
    }
}

#[test]
fn every_pair_of_layouts_agrees_with_the_reference() {
    for a in LIES {
        for b in LIES {
            for (m, n, k) in [(1, 37, 65), (4, 19, 34), (30, 21, 19), (45, 70, 300)] {
                check(shape(2, m, n, k), (a, b), false, f32::from);
            }
            check(shape(3, 31, 20, 18), (a, b), true, f64::from);
        }
    }
}

#[test]
fn every_type_agrees_with_the_reference() {
    for (m, n, k) in [(1, 40, 33), (3, 1, 70), (17, 33, 40), (64, 90, 270)] {
        for lies in [
            (Lie::Plain, Lie::Plain),
            (Lie::Transposed, Lie::Plain),
            (Lie::Plain, Lie::Transposed),
            (Lie::Spread, Lie::Reversed),
        ] {
            check(shape(2, m, n, k), lies, false, f32::from);
            check(shape(2, m, n, k), lies, false, f64::from);
            check(shape(2, m, n, k), lies, false, i32::from);
            check(shape(2, m, n, k), lies, false, i64::from);
            check(shape(2, m, n, k), lies, false, |value| f16::from_f32(f32::from(value)));
            check(shape(2, m, n, k), lies, false, |value| bf16::from_f32(f32::from(value)));
        }
    }
}

#[test]
fn large_products_agree_with_the_reference() {
    for (m, n, k) in [(128, 256, 784), (257, 130, 513), (60, 2100, 70), (2, 3000, 300), (500, 1, 300)] {
        check(shape(1, m, n, k), (Lie::Plain, Lie::Plain), false, f32::from);
        check(shape(1, m, n, k), (Lie::Transposed, Lie::Transposed), false, f32::from);
    }
    check(shape(40, 33, 35, 37), (Lie::Plain, Lie::Transposed), false, f32::from);
    check(shape(300, 3, 5, 7), (Lie::Plain, Lie::Plain), true, f32::from);
}

#[test]
fn results_are_bit_identical_for_any_number_of_threads() {
    let random = |count: usize, seed: u32| {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect::<Vec<f32>>()
    };
    let _turn = threads::tests::turn();
    for (m, n, k) in
        [(1, 256, 784), (3, 500, 400), (128, 256, 784), (128, 10, 128), (300, 1100, 65), (700, 1, 800)]
    {
        for lies in [(Lie::Plain, Lie::Plain), (Lie::Transposed, Lie::Plain), (Lie::Plain, Lie::Transposed)] {
            let mut a = lay(lies.0, false, (1, m, k), 1, f32::from);
            let mut b = lay(lies.1, false, (1, k, n), 1, f32::from);
            (a.memory, b.memory) = (random(a.memory.len(), 3), random(b.memory.len(), 4));
            for level in Level::all_here() {
                let mut results = [1, 2, 3, 8].map(|threads| {
                    let _threads = with_threads(threads);
                    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                    let stored = bits(stored(level, shape(1, m, n, k), &a, &b, f32::INFINITY));
                    assert!(
                        stored == bits(with_epilogue(level, shape(1, m, n, k), &a, &b)),
                        "epilogue {m} {n} {k}"
                    );
                    stored
                });
                let first = std::mem::take(&mut results[0]);
                assert!(results[1..].iter().all(|result| *result == first), "{m} {n} {k} {}", level.name());
            }
        }
    }
}
