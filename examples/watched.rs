//! A training with everything that can watch it: `cargo run --release --example watched -- DIR`.
//!
//! Writes checkpoints, logs and TensorBoard's events to DIR. End it with Ctrl-C and run it again: it goes on where it was, and ends
//! with the same weights as if nothing had happened.

use std::path::PathBuf;

use kiln::prelude::*;
use kiln::schedule::{Cosine, Warmup};
use kiln::trainer::{Checkpoints, CsvLog, EarlyStopping, JsonlLog, TensorBoard};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "watched".to_string()));
    let (train, valid) = data::spirals(3000, 3, 0.2, 7).split(0.8);
    let model = Sequential::new().dense(64).relu().dropout(0.1).dense(64).relu().dense(3);
    let run = Trainer::new(model, CrossEntropy::new(), AdamW::new(0.01))
        .epochs(30)
        .batch_size(64)
        .seed(7)
        .validate(&valid)
        .metrics(["accuracy", "f1 macro"])
        .schedule_over(|steps| Warmup::new(50, Cosine::new(steps)))
        .callback(EarlyStopping::on("val_loss").patience(10))
        .callback(CsvLog::new(folder.join("log.csv")))
        .callback(JsonlLog::new(folder.join("log.jsonl")))
        .callback(TensorBoard::new(folder.join("events")))
        .checkpoints(Checkpoints::new(&folder).every_steps(20).keep(2).best("val_loss"))
        .resume_if_there(Checkpoints::last(&folder))
        .fit(&train)?;
    println!("{run}");
    println!("{}", run.report(&valid)?);
    Ok(())
}
