//! `kiln bench`: what this machine does with a few standard steps, or with one model.

mod network;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use kiln_learn::prelude::*;
use serde_json::json;

use crate::out;

/// Measure this machine on a few standard steps, or on one model
///
/// Each is run for about a second after it is warm; the median counts. Close other programs first. How kiln compares with other systems
/// is measured by `bench/run.py` of its source.
///
/// A model's or ONNX file's answers are timed for made-up rows, for each size of batch, with the kernels that took longest in a
/// single run. An ONNX file may take any number of inputs; the first size of each is the batch, where the file leaves it free.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln bench
  kiln bench --threads 1 --json
  kiln bench digits.kiln
  kiln bench resnet50.onnx --batch 1,8,32 --threads 2
  kiln bench bert.onnx --shape 'input_ids=*,128' --shape 'attention_mask=*,128'")]
pub struct BenchFlags {
    /// A model, or an ONNX file
    model: Option<PathBuf>,

    /// How many rows go through the model at once
    #[arg(long, value_name = "SIZES", value_delimiter = ',', default_value = "1,32", requires = "model",
        value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch: Vec<u32>,

    /// All sizes of an ONNX file's input, where the file leaves more than the batch free; a star stands for the batch
    #[arg(long, value_name = "NAME=SIZES", requires = "model", value_parser = network::named_sizes)]
    shape: Vec<(String, Vec<Option<usize>>)>,

    /// How many of the slowest kernels to show
    #[arg(long, value_name = "N", default_value_t = 8, requires = "model")]
    kernels: usize,

    /// How many threads may work [default: every core, or KILN_THREADS]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print a JSON object for each step, or for each size of batch
    #[arg(long)]
    json: bool,
}

/// Something that is measured.
struct Workload {
    name: &'static str,
    /// What it does so much of in one go, and the unit.
    amount: f64,
    unit: &'static str,
    run: Box<dyn FnMut() -> Result<()>>,
}

pub fn run(flags: BenchFlags) -> Result<()> {
    if let Some(threads) = flags.threads {
        kiln_learn::set_threads(threads.into())?;
    }
    if let Some(path) = &flags.model {
        return network::run(path, &flags);
    }
    if !flags.json {
        out::line(machine())?;
    }
    for mut work in all()? {
        let seconds = median(&mut times(&mut work.run)?);
        let rate = work.amount / seconds;
        if flags.json {
            out::line(json!({ "name": work.name, "seconds": seconds, "rate": rate, "unit": work.unit }))?;
        } else {
            let (milliseconds, rate) = (seconds * 1e3, amount(rate));
            out::line(format_args!("{:<48}  {milliseconds:>9.3} ms  {rate:>9} {}", work.name, work.unit))?;
        }
    }
    Ok(())
}

fn all() -> Result<Vec<Workload>> {
    const SIDE: usize = 1024;
    let matrix = || Key::new(1).normal([SIDE, SIDE], 0.0, 1.0).eval();
    let (a, b) = (matrix()?, matrix()?);
    let mut product = Function::new(move |[]: [Tensor; 0]| vec![a.matmul(&b).sum(..)]);
    let long = vec![0.5f32; 1 << 24];
    let mut sum = Function::new(|[x]| vec![(x * 2.0 + 1.0).sum(..)]);
    Ok(vec![
        training(
            "dense 784-256-128-10, Adam, batch of 128",
            "flatten, dense 256, relu, dense 128, relu, dense 10",
            128,
        )?,
        training(
            "two convolutions on 28 × 28, Adam, batch of 64",
            "conv 32 3, relu, pool 2, conv 64 3, relu, pool 2, flatten, dense 128, relu, dense 10",
            64,
        )?,
        Workload {
            name: "matrix product of 1024 × 1024",
            amount: 2.0 * (SIDE * SIDE * SIDE) as f64,
            unit: "FLOP/s",
            run: Box::new(move || product.run([]).map(drop).map_err(Into::into)),
        },
        Workload {
            name: "sum of 16 million scaled numbers",
            amount: 4.0 * long.len() as f64,
            unit: "B/s",
            run: Box::new(move || sum.run([Input::new(&long, &[long.len()])]).map(drop).map_err(Into::into)),
        },
    ])
}

/// A training step on images of noise.
fn training(name: &'static str, layers: &str, rows: usize) -> Result<Workload> {
    // The step borrows its model for as long as the program runs.
    let model: &'static Sequential = Box::leak(Box::new(layers.parse()?));
    let images = data::digits(rows, 1).all()?;
    let mut step = Step::train(model, Adam::new(1e-3), |model, cx, [x, y]| {
        model.forward(&(x.cast(DType::F32) / 255.0), cx).cross_entropy(&y.cast(DType::I64))
    });
    let run = Box::new(move || step.run(images.inputs()).map(drop).map_err(Into::into));
    Ok(Workload { name, amount: rows as f64, unit: "rows/s", run })
}

/// `2 threads of x86_64`
fn machine() -> String {
    let threads = kiln_learn::threads();
    format!("{threads} thread{} of {}", if threads == 1 { "" } else { "s" }, std::env::consts::ARCH)
}

/// The seconds that one go takes, again and again, for about a second.
fn times(run: &mut dyn FnMut() -> Result<()>) -> Result<Vec<f64>> {
    const LEAST: usize = 5;
    for _ in 0..3 {
        run()?;
    }
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.len() < LEAST || began.elapsed().as_secs_f64() < 1.0 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `1.2 G`
fn amount(number: f64) -> String {
    match number {
        n if n >= 1e12 => format!("{:.2} T", n / 1e12),
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.1} "),
    }
}
