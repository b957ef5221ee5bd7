//! The same bits whatever a row is computed with and on: alone or among many, at every instruction set that the machine has, by any number of
//! threads.

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
const MODELS: [(&str, &[usize]); 5] = [
    ("dense 96, relu, dense 40, gelu, dropout 0.1, dense 5", &[50]),
    (
        "conv 8 3 padding 1, batch-norm, relu, pool 2, conv 16 3 padding 1, batch-norm, relu, conv 16 3 stride 2, relu, \
         flatten, dense 24, relu, dense 5",
        &[3, 12, 12],
    ),
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

/// Every example of the table of layers that keeps rows apart, by itself.
fn layers() -> Vec<(String, Sequential, DType, Vec<usize>, Vec<f32>)> {
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
