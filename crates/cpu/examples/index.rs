//! How fast the index kernels are, beside what memory allows: gigabytes moved a second on one thread and two.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::time::Instant;

use kiln_compile::program::Work;

use kiln_device::{Argument, Output};
use kiln_ir::op::{ArgOp, ScatterMode};
use kiln_ir::{DType, Data, Scalar};
use kit::{Build, along, indexed, set_threads};

/// Prints the best time of a program's run on one thread and two.
fn measure(what: &str, bytes: usize, build: &Build, inputs: &[&Data]) {
    let mut executable = build.load().expect("a program by hand");
    let filled =
        |(shape, dtype): &(kiln_ir::Shape, DType)| Data::filled(*dtype, shape.elements(), Scalar::Int(0));
    let mut outputs: Vec<Data> = build.0.outputs.iter().map(filled).collect();
    print!("{what:44}");
    for threads in [1, 2] {
        set_threads(threads);
        let mut best = f64::MAX;
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < 0.6 {
            let inputs: Vec<Argument> = inputs.iter().map(|data| Argument::of(data)).collect();
            let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
            let start = Instant::now();
            executable.run(&inputs, &[], &mut targets).expect("fits");
            best = best.min(start.elapsed().as_secs_f64());
        }
        print!("{:10.1} µs {:6.1} GB/s", best * 1e6, bytes as f64 / best / 1e9);
    }
    println!();
}

fn scattered(len: usize, below: usize) -> Data {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % below as u64) as i64
    };
    Data::I64((0..len).map(next).collect())
}

fn rows(what: &str, dtype: DType, [table, len, width]: [usize; 3], add: bool) {
    let mut build = Build::new();
    let across = [width as isize, 1];
    let (from, to) = if add { (len, table) } else { (table, len) };
    let (x, i) = (build.input(&[from, width], dtype), build.input(&[len], DType::I64));
    let out = build.output(&[to, width], dtype);
    let (x, i, out) = (build.view(x, &across), build.view(i, &[1, 0]), build.view(out, &across));
    let work = indexed(&[len, width], 0, table, x, i, out);
    build.kernel("rows", if add { Work::Scatter(work, ScatterMode::Add) } else { Work::Gather(work) });
    let x = Data::filled(dtype, from * width, Scalar::Int(1));
    measure(
        what,
        len * width * dtype.size() * if add { 3 } else { 2 },
        &build,
        &[&x, &scattered(len, table)],
    );
}

fn axis(
    what: &str,
    sizes: [usize; 2],
    strides: [isize; 2],
    make: impl Fn(kiln_compile::program::AlongAxis) -> Work,
) {
    let mut build = Build::new();
    let elements = sizes[0] * sizes[1];
    let x = build.input(&[elements], DType::F32);
    let kind = make(along(&sizes, build.view(x, &strides), build.view(x, &strides)));
    let one = matches!(kind, Work::ArgReduce(..));
    let dtype = if matches!(kind, Work::CumSum(_)) { DType::F32 } else { DType::I64 };
    let out = build.output(&[if one { sizes[0] } else { elements }], dtype);
    let to = if one { [1, 0] } else { strides };
    let work = make(along(&sizes, build.view(x, &strides), build.view(out, &to)));
    build.kernel("along", work);
    let Data::I64(values) = scattered(elements, 1 << 20) else {
        return;
    };
    measure(what, elements * 4, &build, &[&Data::F32(values.iter().map(|&v| v as f32).collect())]);
}

fn main() {
    rows("gather 128 of 60,000 rows of 784 u8", DType::U8, [60_000, 128, 784], false);
    rows("gather 4,096 of 50,000 rows of 256 f32", DType::F32, [50_000, 4096, 256], false);
    rows("gather 1 M of 1,000 single f32", DType::F32, [1000, 1 << 20, 1], false);
    rows("scatter-add 4,096 to 50,000 rows of 256 f32", DType::F32, [50_000, 4096, 256], true);
    rows("scatter-add 4,096 to 50,000 rows of 256 bf16", DType::Bf16, [50_000, 4096, 256], true);
    rows("scatter-add 1 M to 1,000 single f32", DType::F32, [1000, 1 << 20, 1], true);
    axis("argmax of 256 rows of 1,000", [256, 1000], [1000, 1], |work| Work::ArgReduce(ArgOp::Max, work));
    axis("argmax of 4 rows of 1 M", [4, 1 << 20], [1 << 20, 1], |work| Work::ArgReduce(ArgOp::Max, work));
    axis("argmax down 1,000 columns of 256", [1000, 256], [1, 1000], |work| {
        Work::ArgReduce(ArgOp::Max, work)
    });
    axis("running sums of 1,000 rows of 1,000", [1000, 1000], [1000, 1], Work::CumSum);
    axis("running sums down 1,000 columns of 1,000", [1000, 1000], [1, 1000], Work::CumSum);
    axis("sort 1,000 rows of 1,000", [1000, 1000], [1000, 1], |work| Work::ArgSort(false, work));
    axis("sort 1 row of 1 M", [1, 1 << 20], [1 << 20, 1], |work| Work::ArgSort(true, work));
}
