//! `kiln bench`: what this machine does with a few standard steps.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use kiln_learn::prelude::*;
use serde_json::json;

use super::out;

/// Measure this machine on a few standard steps
///
/// Each is run for about a second after it is warm; the median counts. Close other programs first. How kiln compares with other systems
/// is measured by `bench/run.py` of its source.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln bench
  kiln bench --threads 1
  kiln bench --json")]
pub struct Flags {
    /// How many threads may work [default: every core, or KILN_THREADS]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print a JSON object for each step
    #[arg(long)]
    json: bool,
}

/// Something that is measured.
struct Work {
    name: &'static str,
    /// What it does so much of in one go, and the unit.
    amount: f64,
    unit: &'static str,
    run: Box<dyn FnMut() -> Result<()>>,
}

pub fn run(flags: Flags) -> Result<()> {
    if let Some(threads) = flags.threads {
        kiln_learn::set_threads(threads.into())?;
    }
    if !flags.json {
        out::line(format_args!("{} threads of {}", kiln_learn::threads(), std::env::consts::ARCH))?;
    }
    for mut work in all()? {
        let seconds = median(&mut work.run)?;
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

fn all() -> Result<Vec<Work>> {
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
        Work {
            name: "matrix product of 1024 × 1024",
            amount: 2.0 * (SIDE * SIDE * SIDE) as f64,
            unit: "FLOP/s",
            run: Box::new(move || product.run([]).map(drop).map_err(Into::into)),
        },
        Work {
            name: "sum of 16 million scaled numbers",
            amount: 4.0 * long.len() as f64,
            unit: "B/s",
            run: Box::new(move || sum.run([Input::new(&long, &[long.len()])]).map(drop).map_err(Into::into)),
        },
    ])
}

/// A training step on images of noise.
fn training(name: &'static str, layers: &str, rows: usize) -> Result<Work> {
    // The step borrows its model for as long as the program runs.
    let model: &'static Sequential = Box::leak(Box::new(layers.parse()?));
    let images = data::digits(rows, 1).all()?;
    let mut step = Step::train(model, Adam::new(1e-3), |model, cx, [x, y]| {
        model.forward(&(x.cast(DType::F32) / 255.0), cx).cross_entropy(&y.cast(DType::I64))
    });
    let run = Box::new(move || step.run(images.inputs()).map(drop).map_err(Into::into));
    Ok(Work { name, amount: rows as f64, unit: "rows/s", run })
}

/// The median time of one go, over about a second.
fn median(run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
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
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// `1.2 G`
fn amount(number: f64) -> String {
    match number {
        n if n >= 1e12 => format!("{:.2} T", n / 1e12),
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n => format!("{:.1} k", n / 1e3),
    }
}
