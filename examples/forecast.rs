//! Series that are forecast by a network of one's own: a table of two shops, windows of the past as rows, a training, and what comes next with the
//! numbers of the table. The last steps are held out, and the network must beat the seasonal naive forecast there.

use std::sync::Arc;

use kiln::data::{Rng, Table};
use kiln::forecast::{Backtest, CalendarPart, ForecastPreparation, ForecastWindows, Frequency, NaiveScale};
use kiln::model::{About, Task};
use kiln::prelude::*;
use kiln::{Model, Predictor};

/// Steps that are forecast.
const HORIZON: usize = 14;

/// Two shops for three hundred days: a week's rhythm, a trend, noise.
fn sales() -> Result<Table> {
    let (mut rng, frequency) = (Rng::new(7), "daily".parse::<Frequency>()?);
    let mut text = "day,shop,sold\n".to_string();
    for day in 0..300 {
        for (shop, size) in [("north", 20.0), ("south", 300.0)] {
            let week = [1.0, 0.9, 0.9, 1.0, 1.3, 1.6, 0.4][day % 7];
            let sold = size * (week + 0.002 * day as f64 + 0.1 * rng.normal());
            text += &format!("{},{shop},{sold:.1}\n", frequency.text(frequency.begin(19_000 + day as i64)));
        }
    }
    Ok(Table::read(text.as_bytes())?)
}

fn main() -> Result<()> {
    let table = sales()?;
    let plan = Arc::new(ForecastPreparation {
        periods: vec![7],
        window: 28,
        calendar: vec![CalendarPart::Week],
        keys: vec!["shop".to_string()],
        ..ForecastPreparation::new("sold", "day", "daily".parse()?, HORIZON)
    });
    let (_, series) = plan.series(&table)?;
    let split = Backtest::new(&series, &plan, 10_000)?;
    let series = Arc::new(series);
    let windows = |rows: Vec<(usize, usize)>| ForecastWindows::new(plan.clone(), series.clone(), rows);
    let (train, test) = (windows(split.rows.clone()), windows(split.test.clone()));

    let model = Sequential::new().dense(64).relu().dense(HORIZON);
    let run =
        Trainer::new(model, Mae::new(), Adam::new(1e-3)).epochs(40).batch_size(32).quiet().fit(&train)?;
    let outputs = run.predict(&test)?;

    // How far off both are, beside what the naive forecast is off by from week to week.
    let (mut own, mut naive) = (0.0, 0.0);
    for (row, outputs) in outputs.outputs().chunks(HORIZON).enumerate() {
        let (window, origin) = (test.row(row), test.place(row).1);
        let unit = NaiveScale::of(&window.series().values[..origin], 7).map_or(1.0, |unit| unit.distance);
        for (step, output) in outputs.iter().enumerate() {
            own += (window.number(step, f64::from(*output)) - window.truth(step)).abs() / unit;
            naive += (window.number(step, 0.0) - window.truth(step)).abs() / unit;
        }
    }
    let steps = (test.len() * HORIZON) as f64;
    println!("MASE {:.3}, of the seasonal naive forecast {:.3}", own / steps, naive / steps);
    assert!(own < naive, "the network learned nothing");

    // The file says how a table becomes rows: `kiln predict` takes it too.
    let mut about = About::new(run.model(), &plan.form(), Task::of_series(&plan))?;
    about.preparation = (*plan).clone().into();
    let predictor = Predictor::new(Model::new(run.into_model(), about))?;
    for next in predictor.forecast(&table)? {
        println!(
            "{:5}  {} {:.1}  {} {:.1}",
            next.key[0], next.steps[0], next.numbers[0], next.steps[1], next.numbers[1]
        );
    }
    Ok(())
}
