//! Every index kernel against its naive form: all dtypes, sizes with zeros and ones, views that are transposed, padded,
//! reversed and repeated, one thread and two.

use kiln_compile::program::{View, Work};
use kiln_ir::op::{ArgOp, ScatterMode};
use kiln_ir::{DType, Data, Element, ErrorKind, Scalar, each_dtype};

use super::naive;
use crate::kit::{Build, along, indexed, set_threads};
use crate::threads::tests::turn;

/// A small generator: tests are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit.max(1) as u64) as usize
    }

    /// Numbers of few values, so that some are equal; sums of them are exact in every dtype, or wrap.
    fn data(&mut self, dtype: DType, len: usize, nan: bool) -> Data {
        let scalars = (0..len).map(|_| match self.below(if nan { 11 } else { 10 }) {
            10 => Scalar::Float(f64::NAN),
            9 => Scalar::Float(-0.0),
            n => Scalar::Float((n as f64 - 3.0) * 0.5),
        });
        let scalars: Vec<Scalar> = scalars
            .map(|s| if dtype.is_float() { s } else { Scalar::Int((s.as_f64() * 2.0) as i64) })
            .collect();
        each_dtype!(dtype, T => T::wrap(scalars.into_iter().map(T::from_scalar).collect()))
    }

    /// A view of these sizes with its axes in any order, gaps, and some axes reversed or (for reads) standing still,
    /// and how many elements it needs.
    fn view(&mut self, dtype: DType, sizes: &[usize], repeats: bool, still: &[usize]) -> (View, usize) {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        if self.below(2) == 0 {
            for i in (1..order.len()).rev() {
                order.swap(i, self.below(i + 1));
            }
        }
        let (mut strides, mut offset, mut span) = (vec![0isize; sizes.len()], 0isize, 1usize);
        for &axis in order.iter().rev() {
            if still.contains(&axis) || (repeats && self.below(6) == 0) {
                continue;
            }
            strides[axis] = span as isize;
            span = span * sizes[axis].max(1) + if self.below(4) == 0 { 2 } else { 0 };
            if self.below(4) == 0 {
                offset += strides[axis] * (sizes[axis].max(1) as isize - 1);
                strides[axis] = -strides[axis];
            }
        }
        (View { buffer: 0, dtype, offset, strides }, span)
    }

    fn sizes(&mut self) -> Vec<usize> {
        let of = [0, 1, 1, 2, 3, 5, 7, 16, 17];
        let rank = 1 + self.below(4);
        (0..rank).map(|_| of[if self.below(8) == 0 { 0 } else { 1 + self.below(8) }]).collect()
    }
}

/// Runs a work over data with one thread and two, and compares both with what is expected, bit by bit.
fn check(make: impl Fn(&mut Build) -> Work, inputs: &[&Data], expected: &[Scalar], what: &str) {
    let mut build = Build::new();
    let work = make(&mut build);
    build.kernel("test", work);
    for threads in [1, 2] {
        set_threads(threads);
        let out = build.run(inputs).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = out[0].scalars();
        let same = |(a, b): (&Scalar, &Scalar)| a == b || (a.as_f64().is_nan() && b.as_f64().is_nan());
        assert!(found.iter().zip(expected).all(same), "{what}: {found:?} instead of {expected:?}");
    }
}

fn zeros(dtype: DType, len: usize) -> Vec<Scalar> {
    vec![Scalar::Int(0).cast(dtype); len]
}

fn on(buffer: usize, view: &View) -> View {
    View { buffer, ..view.clone() }
}

#[test]
fn gather_agrees_with_its_naive_form() {
    let _turn = turn();
    let mut numbers = Numbers(1);
    for round in 0..1500 {
        let dtype = DType::ALL[round % DType::ALL.len()];
        let loops = numbers.sizes();
        let (axis, size) = (numbers.below(loops.len()), 1 + numbers.below(9));
        let mut table = loops.clone();
        table[axis] = size;
        let still: Vec<usize> = (0..loops.len()).filter(|&a| a != axis && numbers.below(2) == 0).collect();
        let (x, x_len) = numbers.view(dtype, &table, true, &[]);
        let (index, index_len) = numbers.view(DType::I64, &loops, false, &still);
        let (out, out_len) = numbers.view(dtype, &loops, false, &[]);
        let x_data = numbers.data(dtype, x_len, true);
        let index_data = Data::I64((0..index_len).map(|_| numbers.below(size) as i64).collect());
        let mut expected = zeros(dtype, out_len);
        let work = indexed(&loops, axis, size, x.clone(), index.clone(), out.clone());
        naive::gather(&work, &x_data.scalars(), &index_data.scalars(), &mut expected);
        let make = |build: &mut Build| {
            let (a, b) = (build.input(&[x_len], dtype), build.input(&[index_len], DType::I64));
            let c = build.output(&[out_len], dtype);
            Work::Gather(indexed(&loops, axis, size, on(a, &x), on(b, &index), on(c, &out)))
        };
        check(make, &[&x_data, &index_data], &expected, &format!("round {round}: {work:?}"));
    }
}

#[test]
fn scatter_agrees_with_its_naive_form() {
    let _turn = turn();
    let mut numbers = Numbers(2);
    for round in 0..1500 {
        let dtype = DType::ALL[round % DType::ALL.len()];
        let adds = dtype != DType::Bool && numbers.below(2) == 0;
        let mode = if adds { ScatterMode::Add } else { ScatterMode::Set };
        let mut loops = numbers.sizes();
        let axis = numbers.below(loops.len());
        if round % 50 < 5 {
            // Large enough to be split.
            loops = vec![[900, 300, 11_000, 4000, 5][round % 50], [40, 200, 2, 8, 9000][round % 50]];
        }
        let axis = if round % 50 < 5 { (round / 50) % 2 } else { axis };
        let size = 1 + numbers.below(9);
        let mut whole = loops.clone();
        whole[axis] = size;
        let still: Vec<usize> = (0..loops.len()).filter(|&a| a != axis && numbers.below(2) == 0).collect();
        let (x, x_len) = numbers.view(dtype, &loops, true, &[]);
        let (index, index_len) = numbers.view(DType::I64, &loops, false, &still);
        let (out, out_len) = numbers.view(dtype, &whole, false, &[]);
        let x_data = numbers.data(dtype, x_len, false);
        let index_data = Data::I64((0..index_len).map(|_| numbers.below(size) as i64).collect());
        let mut expected = zeros(dtype, out_len);
        let work = indexed(&loops, axis, size, x.clone(), index.clone(), out.clone());
        naive::scatter(&work, mode, &x_data.scalars(), &index_data.scalars(), &mut expected);
        let make = |build: &mut Build| {
            let (a, b) = (build.input(&[x_len], dtype), build.input(&[index_len], DType::I64));
            let c = build.output(&[out_len], dtype);
            Work::Scatter(indexed(&loops, axis, size, on(a, &x), on(b, &index), on(c, &out)), mode)
        };
        check(make, &[&x_data, &index_data], &expected, &format!("round {round}: {mode:?} {work:?}"));
    }
}

/// Which kernels along an axis there are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Arg(ArgOp),
    Sum,
    Sort(bool),
}

fn along_agrees(kind: Kind, seed: u64, rounds: usize) {
    let mut numbers = Numbers(seed);
    for round in 0..rounds {
        let dtype = DType::ALL[round % DType::ALL.len()];
        if matches!((kind, dtype), (Kind::Sum, DType::Bool)) {
            continue;
        }
        let mut loops = numbers.sizes();
        if round % 40 < 4 {
            loops = vec![[3, 700, 2, 130][round % 40], [2000, 70, 33_000, 129][round % 40]];
        }
        let last = loops.len() - 1;
        let out_dtype = if matches!(kind, Kind::Sum) { dtype } else { DType::I64 };
        let mut out_loops = loops.clone();
        if matches!(kind, Kind::Arg(_)) {
            loops[last] = loops[last].max(1);
            out_loops[last] = 1;
        }
        let (x, x_len) = numbers.view(dtype, &loops, true, &[]);
        let (out, out_len) = numbers.view(out_dtype, &out_loops, false, &[]);
        let x_data = numbers.data(dtype, x_len, !matches!(kind, Kind::Sum) || round % 3 == 0);
        let mut expected = zeros(out_dtype, out_len);
        let work = along(&loops, x.clone(), out.clone());
        let scalars = x_data.scalars();
        match kind {
            Kind::Arg(op) => naive::arg_reduce(&work, op, &scalars, &mut expected),
            Kind::Sum => naive::cum_sum(&work, &scalars, &mut expected),
            Kind::Sort(descending) => naive::arg_sort(&work, descending, &scalars, &mut expected),
        }
        let make = |build: &mut Build| {
            let (a, b) = (build.input(&[x_len], dtype), build.output(&[out_len], out_dtype));
            let work = along(&loops, on(a, &x), on(b, &out));
            match kind {
                Kind::Arg(op) => Work::ArgReduce(op, work),
                Kind::Sum => Work::CumSum(work),
                Kind::Sort(descending) => Work::ArgSort(descending, work),
            }
        };
        check(make, &[&x_data], &expected, &format!("round {round}: {kind:?} {work:?}"));
    }
}

#[test]
fn positions_of_extremes_agree_with_their_naive_form() {
    let _turn = turn();
    along_agrees(Kind::Arg(ArgOp::Max), 3, 800);
    along_agrees(Kind::Arg(ArgOp::Min), 4, 800);
}

#[test]
fn running_sums_agree_with_their_naive_form() {
    let _turn = turn();
    along_agrees(Kind::Sum, 5, 800);
}

#[test]
fn sorting_agrees_with_its_naive_form() {
    let _turn = turn();
    along_agrees(Kind::Sort(false), 6, 500);
    along_agrees(Kind::Sort(true), 7, 500);
}

#[test]
fn an_index_out_of_range_names_itself() {
    let _turn = turn();
    for (bad, row, threads) in
        [(12, 3, 1), (-1, 20_000, 2), (10, 39_999, 2), (i64::MIN, 0, 2), (i64::MAX, 7, 1)]
    {
        set_threads(threads);
        let (rows, width) = (40_000, 4);
        let mut index = vec![3i64; rows];
        index[row] = bad;
        let index = Data::I64(index);
        let mut build = Build::new();
        let (x, i) = (build.input(&[10, width], DType::F32), build.input(&[rows], DType::I64));
        let out = build.output(&[rows, width], DType::F32);
        let (x, i) = (build.view(x, &[4, 1]), build.view(i, &[1, 0]));
        let work = indexed(&[rows, width], 0, 10, x, i, build.view(out, &[4, 1]));
        build.kernel("gather", Work::Gather(work));
        let error = build.run(&[&Data::F32(vec![1.0; 40]), &index]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Index);
        let start = format!("gather: index {bad} is out of range for an axis of 10 at ");
        assert!(error.to_string().starts_with(&start), "{error}");

        let mut build = Build::new();
        let (x, i) = (build.input(&[rows, width], DType::F32), build.input(&[rows], DType::I64));
        let out = build.output(&[10, width], DType::F32);
        let (x, i) = (build.view(x, &[4, 1]), build.view(i, &[1, 0]));
        let work = indexed(&[rows, width], 0, 10, x, i, build.view(out, &[4, 1]));
        build.kernel("scatter", Work::Scatter(work, ScatterMode::Add));
        let error = build.run(&[&Data::F32(vec![1.0; rows * width]), &index]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("scatter: index {bad} is out")), "{error}");
    }
}
