//! A table of patients, healthy or not: `cargo run --release --example heart -- heart.csv [SEEDS]`.
//!
//! 1,190 rows, of which 60 % are trained on, 20 % validated and 20 % tested with, cut anew for each seed with each class in its share.
//! What the columns are scaled by comes from the training rows alone. Rows that stand in the table twice are counted: a test with rows
//! that were trained on looks better than it is.

use kiln::data::{Choices, Table, TablePreparation, stratified};
use kiln::prelude::*;
use kiln::schedule::Cosine;
use kiln::trainer::EarlyStopping;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path =
        arguments.next().ok_or("say where the table is: cargo run --release --example heart -- heart.csv")?;
    let seeds: u64 = arguments.next().map_or(Ok(10), |seeds| seeds.parse())?;
    let table = Table::open(path)?;
    let choices = Choices::new().target("target");
    let labels: Vec<i64> = (0..table.len())
        .map(|row| Ok(table.column("target")?.cell(row).number().unwrap_or(-1.0) as i64))
        .collect::<Result<_>>()?;
    let (mut sum, mut unseen_sum) = (0.0, 0.0);
    for seed in 0..seeds {
        let parts = stratified(&labels, &[0.6, 0.2, 0.2], seed)?;
        let preparation = TablePreparation::fit(&table, &parts[0], &choices)?;
        let part = |rows: &[usize]| preparation.apply(&table, rows);
        let (train, valid, test) = (part(&parts[0])?, part(&parts[1])?, part(&parts[2])?);
        let model = Sequential::new()
            .seed(seed)
            .dense(256)
            .relu()
            .dropout(0.5)
            .dense(256)
            .relu()
            .dropout(0.5)
            .dense(2);
        let run = Trainer::new(model, CrossEntropy::new(), AdamW::new(3e-3).weight_decay(0.01))
            .epochs(200)
            .batch_size(32)
            .schedule_over(Cosine::new)
            .seed(seed)
            .validate(&valid)
            .metrics(["accuracy", "roc-auc"])
            .callback(EarlyStopping::on("val_accuracy").patience(100))
            .quiet()
            .fit(&train)?;
        let known = table.repeated(&parts[2], &[&parts[0][..], &parts[1]].concat());
        let new: Vec<usize> = parts[2].iter().copied().filter(|row| !known.contains(row)).collect();
        let (all, unseen) = (run.evaluate(&test)?, run.evaluate(&part(&new)?)?);
        let accuracy =
            |evaluation: &kiln::trainer::Evaluation| evaluation.number("accuracy").unwrap_or(f64::NAN);
        println!("seed {seed}: {all}; without {} rows known before: {:.4}", known.len(), accuracy(&unseen));
        sum += accuracy(&all);
        unseen_sum += accuracy(&unseen);
    }
    println!("mean of {seeds} seeds: {:.2} %", 100.0 * sum / seeds as f64);
    println!("without rows known before: {:.2} %", 100.0 * unseen_sum / seeds as f64);
    Ok(())
}
