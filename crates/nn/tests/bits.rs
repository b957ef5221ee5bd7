//! The same bits whatever a row is computed with and on: alone or among many, at every instruction set that the machine has, by any number of
//! threads, with other machines' caches.

#![cfg(feature = "cpu")]

use kiln_cpu::simd::Level;
use kiln_device::DeviceSettings;
use kiln_ir::Data;
use kiln_ir::random::uniform;
use kiln_nn::sequential::{Takes, words};
use kiln_nn::{
    AdamW, Clip, Context, DType, Function, Input, Layer, Module, Sequential, Step, StepOptions, Tensor,
};
use kiln_testkit::bits;

/// How many rows a row is among.
const BATCHES: [usize; 3] = [2, 7, 256];

/// Well-known kinds of networks, and what a row of theirs is.
const MODELS: [(&str, &[usize]); 6] = [
    ("dense 96, relu, dense 40, gelu, dropout 0.1, dense 5", &[50]),
    (
        "conv 16 3 padding 1, batch-norm, relu, conv 32 3 padding 1, batch-norm, relu, pool 2, conv 32 3 stride 2, relu, \
         flatten, dense 24, relu, dense 5",
        &[3, 14, 14],
    ),
    // Rows that are wide, alone in a tile and among others there.
    ("dense 300, layer-norm, gelu, dense 300, rms-norm, softmax, dense 5", &[50]),
    ("lstm 24, last, dense 5", &[9, 6]),
    ("gru 24, mean-over-time, layer-norm, dense 5", &[9, 6]),
    ("dense 16, sinusoidal-positions, transformer 2, layer-norm, mean-over-time, dense 5", &[10, 6]),
];

/// Numbers between −2 and 2, and classes.
fn batch(seed: i64, rows: usize, width: usize) -> (Vec<f32>, Vec<i64>) {
    let x = (0..(rows * width) as i64).map(|at| 4.0 * uniform(seed, at) - 2.0).collect();
    (x, (0..rows).map(|row| ((row * 31 + seed as usize) % 5) as i64).collect())
}

fn sizes(rows: usize, row: &[usize]) -> Vec<usize> {
    std::iter::once(rows).chain(row.iter().copied()).collect()
}

/// The losses of some steps and the parameters that they lead to.
fn trained(text: &str, row: &[usize]) -> (Sequential, Vec<Data>) {
    let model = text.parse::<Sequential>().unwrap().seed(1);
    let options = StepOptions::new().clip(Clip::GlobalNorm(1.0)).ema(0.9).seed(3);
    let mut step = Step::train_with(&model, AdamW::new(1e-2), options, |model, cx, [x, y]| {
        vec![model.forward(&x, cx).cross_entropy(&y)]
    });
    let losses = (0..5)
        .map(|turn| {
            let rows = if turn == 3 { 7 } else { 32 };
            let (x, y) = batch(turn, rows, row.iter().product());
            step.run([Input::new(&x, &sizes(rows, row)), Input::new(&y, &[rows])]).unwrap()
        })
        .collect();
    let parameters = model.parameters().into_iter().map(|(_, parameter)| parameter.value().unwrap());
    let results = std::iter::once(Data::F32(losses)).chain(parameters).collect();
    drop(step);
    (model, results)
}

/// What a model makes of so many of some rows.
fn outputs(model: &Sequential, dtype: DType, x: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut function = Function::new(|[x]: [Tensor; 1]| {
        vec![model.forward(&x.cast(dtype), &Context::inference()).cast(DType::F32)]
    });
    let results = function.run([Input::new(x, shape)]).unwrap();
    results[0].as_slice::<f32>().unwrap().to_vec()
}

/// The rows of a batch of 256, of which each must be what it is alone and among fewer.
fn in_any_batch(
    name: &str,
    model: &Sequential,
    dtype: DType,
    row: &[usize],
    x: &[f32],
    wrong: &mut Vec<String>,
) -> Data {
    let of = |rows: usize| outputs(model, dtype, &x[..rows * x.len() / 256], &sizes(rows, row));
    let alone = of(1);
    let mut largest = Vec::new();
    for rows in BATCHES {
        largest = of(rows);
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        let first = &largest[..largest.len() / rows];
        if bits(first) != bits(&alone) {
            let count = first.iter().zip(&alone).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            wrong.push(format!("{name} among {rows} ({count} of {} numbers)", alone.len()));
        }
    }
    Data::F32(largest)
}

/// A layer's name, the layer, what dtype it takes, a row's shape, and 256 rows.
type Example = (String, Sequential, DType, Vec<usize>, Vec<f32>);

/// Every example of the table of layers, by itself.
fn layers() -> Vec<Example> {
    let mut layers = Vec::new();
    for &(takes, example) in words().flat_map(|word| word.examples) {
        let (row, dtype): (&[usize], _) = match takes {
            Takes::Rows => (&[24], DType::F32),
            Takes::Columns => (&[6], DType::F32),
            Takes::Sequences => (&[6, 16], DType::F32),
            Takes::Images => (&[4, 8, 8], DType::F32),
            Takes::Volumes => (&[4, 4, 4, 4], DType::F32),
            Takes::Codes => (&[4], DType::I64),
        };
        let width: usize = row.iter().product();
        let (x, _) = batch(9, 256, width);
        let code = |at: usize| takes == Takes::Codes || takes == Takes::Columns && at % width >= width - 2;
        let x: Vec<f32> = x
            .iter()
            .enumerate()
            .map(|(at, &x)| if code(at) { (x + 2.0).floor().min(3.0) } else { x })
            .collect();
        let model = example.parse::<Sequential>().unwrap().seed(2);
        layers.push((format!("{example} of {takes:?}"), model, dtype, row.to_vec(), x));
    }
    layers
}

/// Work on a tensor whose axis of this number is the batch's.
struct Work {
    name: &'static str,
    shape: &'static [usize],
    batch: usize,
    /// Gives the batch as the first axis.
    of: fn(&Tensor) -> Tensor,
}

/// A weight of many numbers.
fn weight(shape: &[usize]) -> Tensor {
    Tensor::new(batch(77, 1, shape.iter().product()).0, shape)
}

/// Sums of every form, and products with what is stored the other way round.
const WORK: [Work; 18] = [
    Work { name: "softmax of long rows", shape: &[0, 20_000], batch: 0, of: |x| x.softmax(-1) },
    Work { name: "sum of very long rows", shape: &[0, 100_003], batch: 0, of: |x| x.square().sum(-1) },
    Work { name: "sums of columns", shape: &[0, 300, 5], batch: 0, of: |x| x.exp().sum(1) },
    Work { name: "means of channels", shape: &[0, 3, 40, 50], batch: 0, of: |x| x.mean([2, 3]) },
    Work { name: "sums over the first axis", shape: &[700, 0, 5], batch: 1, of: |x| x.sum(0) },
    Work {
        name: "sums of columns that are rows",
        shape: &[700, 0],
        batch: 1,
        of: |x| (x * 3.0 + 1.0).sum(0),
    },
    Work { name: "means around the batch", shape: &[30, 0, 40], batch: 1, of: |x| x.mean([0, 2]) },
    Work { name: "sums of many columns", shape: &[500, 0, 900], batch: 1, of: |x| x.tanh().sum(0) },
    Work { name: "sums with the batch last", shape: &[30, 40, 0], batch: 2, of: |x| x.sum([0, 1]) },
    Work {
        name: "sums beside a weight that lies across",
        shape: &[0, 60, 70],
        batch: 0,
        of: |x| (weight(&[70, 60]).t() * x).sum([1, 2]),
    },
    Work {
        name: "products and sums beside each other",
        shape: &[0, 300],
        batch: 0,
        of: |x| x * weight(&[300]) * weight(&[1]) + x * weight(&[300]),
    },
    Work {
        name: "products with a transposed weight",
        shape: &[0, 300],
        batch: 0,
        of: |x| x.matmul(&weight(&[65, 300]).t()),
    },
    Work {
        name: "products with a transposed weight in f64",
        shape: &[0, 130],
        batch: 0,
        of: |x| x.cast(DType::F64).matmul(&weight(&[33, 130]).cast(DType::F64).t()).cast(DType::F32),
    },
    Work {
        name: "scores of one query",
        shape: &[0, 4, 1, 32],
        batch: 0,
        of: |x| x.matmul(&weight(&[4, 50, 32]).transpose(-1, -2)).softmax(-1),
    },
    Work { name: "softmax of short rows", shape: &[0, 3, 65], batch: 0, of: |x| x.softmax(-1) },
    Work { name: "softmax of long rows", shape: &[0, 1100], batch: 0, of: |x| x.softmax(-1) },
    Work { name: "softmax of the longest rows", shape: &[0, 9000], batch: 0, of: |x| x.softmax(-1) },
    Work {
        name: "normalised rows and the squares of them",
        shape: &[0, 1500],
        batch: 0,
        of: |x| x.layer_norm(-1, 1e-5) * x.rms_norm(-1, 1e-5) + (x * x.sigmoid()).sum_keepdim(-1),
    },
];

/// What work gives for the first so many rows of 256.
fn worked(work: &Work, rows: usize) -> Vec<f32> {
    let inner: usize = work.shape[work.batch + 1..].iter().product();
    let outer: usize = work.shape[..work.batch].iter().product();
    let x: Vec<f32> = (0..outer * rows * inner)
        .map(|at| {
            let (before, row, behind) = (at / (rows * inner), at / inner % rows, at % inner);
            4.0 * uniform(5, ((before * 256 + row) * inner + behind) as i64) - 2.0
        })
        .collect();
    let shape: Vec<usize> = work.shape.iter().map(|&size| if size == 0 { rows } else { size }).collect();
    let mut function = Function::new(|[x]: [Tensor; 1]| vec![(work.of)(&x)]);
    function.run([Input::new(&x, &shape)]).unwrap()[0].as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn sums_and_products_of_a_row_give_the_same_bits_alone_and_among_others() {
    let mut wrong = Vec::new();
    for work in &WORK {
        let alone = worked(work, 1);
        for rows in [2, 7, 60] {
            let among = worked(work, rows);
            let count = among.iter().zip(&alone).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            if count > 0 {
                wrong.push(format!("{} among {rows} ({count} of {} numbers)", work.name, alone.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn results_that_no_cache_holds_have_the_bits_of_their_parts() {
    const WIDTH: usize = 1021;
    let works: [fn(&Tensor) -> Tensor; 4] =
        [Tensor::clone, |x| x * 2.0 + 1.0, |x| x.softmax(-1), |x| x.transpose(0, 1).transpose(0, 1) * 3.0];
    let (rows, part) = (9_000, 3_000);
    let x: Vec<f32> = (0..rows * WIDTH).map(|at| 4.0 * uniform(5, at as i64) - 2.0).collect();
    for (number, work) in works.iter().enumerate() {
        let mut function = Function::new(|[x]: [Tensor; 1]| vec![work(&x)]);
        let mut of = |x: &[f32]| {
            let shape = [x.len() / WIDTH, WIDTH];
            function.run([Input::new(x, &shape)]).unwrap()[0].as_slice::<f32>().unwrap().to_vec()
        };
        let whole = of(&x);
        for (at, x) in x.chunks(part * WIDTH).enumerate() {
            let (alone, among) = (of(x), &whole[at * part * WIDTH..]);
            let same = alone.iter().zip(among).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "work {number}, part {at}");
        }
    }
}

#[test]
fn a_row_gives_the_same_bits_alone_and_among_others() {
    let mut wrong = Vec::new();
    for (name, model, dtype, row, x) in layers() {
        in_any_batch(&name, &model, dtype, &row, &x, &mut wrong);
    }
    for (text, row) in MODELS {
        let (x, _) = batch(8, 256, row.iter().product());
        in_any_batch(text, &trained(text, row).0, DType::F32, row, &x, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Prints the hash of each layer's outputs and of each training where it is asked to, at the level that `KILN_SIMD` names.
#[test]
fn hashes() {
    if !bits::asked() {
        return;
    }
    for (name, model, dtype, row, x) in layers() {
        bits::print(&name, &[Data::F32(outputs(&model, dtype, &x[..7 * x.len() / 256], &sizes(7, &row)))]);
    }
    for work in &WORK {
        bits::print(work.name, &[Data::F32(worked(work, 7))]);
    }
    let cpu = kiln_nn::device("cpu").unwrap();
    for (text, row) in MODELS {
        let on = |threads: usize| {
            cpu.configure(DeviceSettings { threads, ..cpu.settings() }).unwrap();
            trained(text, row).1
        };
        let of_one = on(1);
        for threads in [2, 3, 8] {
            assert_eq!(bits::hash(&of_one), bits::hash(&on(threads)), "{text} with {threads} threads");
        }
        bits::print(text, &of_one);
    }
}

#[test]
fn layers_and_trainings_give_the_same_bits_at_every_level() {
    let levels: Vec<&str> = Level::all_here().map(Level::name).collect();
    bits::agree("hashes", "KILN_SIMD", &levels);
}

#[test]
fn layers_and_trainings_give_the_same_bits_with_every_machine_s_caches() {
    bits::agree("hashes", "KILN_CACHES", &bits::CACHES);
}
