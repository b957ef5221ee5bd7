//! How long it takes until a network of many layers is ready to be trained, stage by stage, for growing numbers of layers:
//! each stage should take twice as long for twice as many.
//!
//! `cargo run --release --example bench_compile -- "dense 6" 250 500 1000 2000`

use std::error::Error;
use std::time::Instant;

use kiln::prelude::*;
use kiln::{Sequential, Summary};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let layer = arguments.next().unwrap_or("dense 6".to_string());
    let mut counts = arguments.map(|count| count.parse()).collect::<Result<Vec<usize>, _>>()?;
    if counts.is_empty() {
        counts = vec![250, 500, 1000, 2000];
    }
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  ms",
        "layers", "build", "summary", "trace", "compile", "run"
    );
    for count in counts {
        let mut start = Instant::now();
        let mut times = Vec::new();
        let mut lap =
            || times.push(std::mem::replace(&mut start, Instant::now()).elapsed().as_secs_f64() * 1e3);

        let model: Sequential = format!("{}, dense 6", vec![layer.as_str(); count].join(", ")).parse()?;
        model.build([4, 6])?;
        lap();
        Summary::of(&model, [4, 6])?;
        lap();
        let mut step = Step::train(&model, Adam::new(1e-3), |model: &Sequential, cx, [x, y]| {
            model.forward(&x, cx).mse(&y)
        });
        let (x, y) = ([0.5f32; 24], [0.25f32; 24]);
        let inputs = || [Input::new(&x, &[4, 6]), Input::new(&y, &[4, 6])];
        step.function().graph(inputs())?;
        lap();
        // Traces once more.
        step.function().program(inputs())?;
        lap();
        step.run(inputs())?;
        lap();
        let times: Vec<String> = times.iter().map(|time| format!("{time:8.1}")).collect();
        println!("{count:>8} {}", times.join(" "));
    }
    Ok(())
}
