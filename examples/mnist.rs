//! Handwritten digits, from the four files of MNIST: `cargo run --release --example mnist -- DIR [mlp|cnn] [EPOCHS]`.
//!
//! `mlp` is 784-256-128-10 and passes 98 % of the test set within 10 epochs; `cnn` has two convolutions and passes 99.2 % within 5.

use std::process::ExitCode;

use kiln::prelude::*;
use kiln::schedule::OneCycle;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn train() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("say where MNIST is: cargo run --release --example mnist -- DIR [mlp|cnn] [EPOCHS]")?;
    let kind = arguments.next().unwrap_or_else(|| "mlp".to_string());
    let (model, rate, batch, epochs) = match kind.as_str() {
        "mlp" => ("flatten, dense 256, relu, dropout 0.2, dense 128, relu, dense 10", 2e-3, 128, 10),
        "cnn" => (
            "conv 32 3, relu, pool 2, conv 64 3, relu, pool 2, flatten, dropout 0.25, dense 128, relu, dropout 0.4, dense 10",
            2e-3,
            64,
            5,
        ),
        _ => return Err(format!("the model is mlp or cnn, not {kind}").into()),
    };
    let epochs = match arguments.next() {
        Some(text) => text.parse().map_err(|_| format!("EPOCHS must be a whole number, not `{text}`"))?,
        None => epochs,
    };
    let (train, test) = data::mnist(&folder)?;
    let run = Trainer::new(model.parse::<Sequential>()?, CrossEntropy::new(), Adam::new(rate))
        .epochs(epochs)
        .batch_size(batch)
        .seed(1)
        .schedule_over(OneCycle::new)
        .metrics(["accuracy"])
        .validate(&test)
        .fit(&train)?;
    println!("{}", run.summary());
    println!("test: {}", run.evaluate(&test)?);
    println!("{}", run.report(&test)?);
    Ok(())
}
