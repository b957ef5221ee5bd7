//! Rows of series: that they know nothing of what comes, say the same of series of another size, and go back to the numbers they came from.

use std::sync::Arc;

use kiln_data::{Dataset, Rng, Table};

use super::*;
use crate::model::{About, Task};
use crate::{Model, Predictor};

/// Two shops, one of which sells a hundred times as much; a price that is known.
fn text(steps: usize, change: impl Fn(usize, f64) -> f64) -> String {
    let mut rng = Rng::new(5);
    let mut text = "day,shop,price,sold\n".to_string();
    for step in 0..steps {
        let time = Frequency::time("2024-01-01").unwrap() + 86_400.0 * step as f64;
        let day = "daily".parse::<Frequency>().unwrap().text(time);
        let (price, noise) = (1.0 + rng.below(3) as f64, rng.uniform());
        let sold = 20.0 + 5.0 * (step % 7) as f64 - 3.0 * price + noise;
        for (shop, size) in [("small", 1.0), ("large", 100.0)] {
            text += &format!("{day},{shop},{price},{}\n", change(step, sold * size));
        }
    }
    text
}

fn plan(table: &Table, log: bool) -> ForecastPreparation {
    let plan = ForecastPreparation {
        keys: vec!["shop".to_string()],
        window: 21,
        periods: vec![7, 3],
        log,
        calendar: vec![CalendarPart::Week, CalendarPart::Month],
        ..ForecastPreparation::new("sold", "day", "daily".parse().unwrap(), 9)
    };
    plan.with_known(table, &["price".to_string()], &(0..table.len()).collect::<Vec<_>>()).unwrap()
}

fn table(text: &str) -> Table {
    Table::read(text.as_bytes()).unwrap()
}

/// The inputs of a row.
fn inputs(plan: &ForecastPreparation, series: &[PreparedSeries], at: usize, origin: usize) -> Vec<f32> {
    let mut own = Vec::new();
    plan.row(&series[at], origin).write(&mut own);
    own
}

#[test]
fn what_comes_after_an_origin_changes_no_input() {
    const ORIGIN: usize = 40;
    let before = table(&text(70, |_, sold| sold));
    // Everything from the origin on is something else; the price, whose future is known, stays.
    let after = table(&text(70, |step, sold| if step < ORIGIN { sold } else { 1e6 - sold * step as f64 }));
    for log in [false, true] {
        let plan = plan(&before, log);
        let after = if log {
            table(&text(70, |step, sold| if step < ORIGIN { sold } else { 1.0 + sold * step as f64 }))
        } else {
            after.clone()
        };
        let (_, one) = plan.series(&before).unwrap();
        let (_, other) = plan.series(&after).unwrap();
        for at in 0..2 {
            for origin in [ORIGIN - 9, ORIGIN] {
                assert_eq!(inputs(&plan, &one, at, origin), inputs(&plan, &other, at, origin));
                assert_eq!(inputs(&plan, &one, at, origin).len(), plan.width());
            }
            assert_ne!(inputs(&plan, &one, at, ORIGIN + 1), inputs(&plan, &other, at, ORIGIN + 1));
        }
        // Nor does it matter whether what comes is there at all.
        let cut = table(&text(ORIGIN, |_, sold| sold));
        let (_, short) = plan.series(&cut).unwrap();
        let known = plan.straight_places().collect::<Vec<_>>().len();
        assert!(known < plan.width());
        assert_eq!(
            inputs(&plan, &one, 0, ORIGIN)[..plan.past_width()],
            inputs(&plan, &short, 0, ORIGIN)[..plan.past_width()]
        );
    }
}

#[test]
fn what_is_known_of_the_future_is_told() {
    let plan = plan(&table(&text(60, |_, sold| sold)), false);
    let (_, series) = plan.series(&table(&text(60, |_, sold| sold))).unwrap();
    // Rows without a value behind the last one tell the price.
    let all = text(60, |_, sold| sold);
    let lines: Vec<&str> = all.lines().collect();
    let cut = |line: &str| line.rsplit_once(',').map(|(told, _)| format!("{told},")).unwrap();
    let told: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| if at > 2 * 50 { cut(line) } else { line.to_string() })
        .collect();
    let (_, foretold) = plan.series(&table(&(told.join("\n") + "\n"))).unwrap();
    assert_eq!((foretold[0].values.len(), foretold[0].foretold), (50, 9));
    assert_eq!(inputs(&plan, &foretold, 0, 50), inputs(&plan, &series, 0, 50));
}

#[test]
fn series_of_another_size_are_the_same_rows() {
    let read = table(&text(60, |_, sold| sold));
    let plan = plan(&read, false);
    let (_, series) = plan.series(&read).unwrap();
    let (small, large) = (inputs(&plan, &series, 0, 45), inputs(&plan, &series, 1, 45));
    assert!(small.iter().zip(&large).all(|(small, large)| (small - large).abs() < 1e-4));
    for step in 0..9 {
        let own = series.iter().map(|series| plan.row(series, 45).target(step)).collect::<Vec<_>>();
        assert!((own[0] - own[1]).abs() < 1e-4);
    }
}

#[test]
fn outputs_go_back_to_the_numbers_they_came_from() {
    let read = table(&text(60, |_, sold| sold));
    for log in [false, true] {
        let plan = plan(&read, log);
        let (_, series) = plan.series(&read).unwrap();
        for origin in [3, 21, 45] {
            let row = plan.row(&series[1], origin);
            for step in 0..9 {
                let (truth, output) = (row.truth(step), row.output(step, row.truth(step)));
                assert!((row.number(step, output) - truth).abs() < 1e-9 * truth);
                // An output of 0 is the value a season before.
                let before = series[1].values.get((origin + step % 7).wrapping_sub(7)).copied();
                assert!(before.is_none_or(|before| (row.number(step, 0.0) - before).abs() < 1e-9 * before));
            }
        }
    }
}

#[test]
fn a_forecast_of_nothing_learned_is_the_season_before_with_its_bounds() {
    let read = table(&text(60, |_, sold| sold));
    let mut plan = plan(&read, false);
    plan.bands = Some(StepBands { interval: 0.8, offsets: vec![[-1.0, 2.0]; 9] });
    let layers: crate::Sequential = format!("take 1-{}, dense 9", plan.width()).parse().unwrap();
    layers.build([1, plan.width()]).unwrap();
    for (_, parameter) in crate::Module::parameters(&layers) {
        parameter.set(&crate::Tensor::zeros(parameter.shape())).unwrap();
    }
    let mut about = About::new(&layers, &plan.form(), Task::of_series(&plan)).unwrap();
    about.preparation = plan.clone().into();
    let predictor = Predictor::new(Model::new(layers, about)).unwrap();
    let forecast = predictor.forecast(&read).unwrap();
    let (set, series) = plan.series(&read).unwrap();
    for (forecast, series) in forecast.iter().zip(&series) {
        assert_eq!(forecast.steps[0], "2024-03-01");
        assert_eq!(forecast.times[8], set.frequency.begin(series.first + 68));
        let row = plan.row(series, 60);
        for step in 0..9 {
            assert!(
                (forecast.numbers[step] - series.values[53 + step % 7]).abs() < 1e-9 * forecast.numbers[step]
            );
            assert_eq!(forecast.bounds[step], [row.number(step, -1.0), row.number(step, 2.0)]);
        }
        assert_eq!(forecast.notes.len(), 1, "the price isn't known");
    }
    let fault = predictor.predict_table(&read).unwrap_err().to_string();
    assert!(fault.contains("Predictor::forecast"), "{fault}");
}

#[test]
fn windows_are_the_rows_of_a_training() {
    let read = table(&text(60, |_, sold| sold));
    let plan = Arc::new(plan(&read, false));
    let (_, series) = plan.series(&read).unwrap();
    let split = Backtest::new(&series, &plan, 1000).unwrap();
    let windows = ForecastWindows::new(plan.clone(), Arc::new(series), split.rows.clone());
    let batch = windows.gather(&[0, 5]).unwrap();
    assert_eq!((batch.x.len(), batch.y.len()), (2 * plan.width(), 2 * 9));
    // Steps as rows of their own are what the layer `steps` makes of a window.
    let [window, past, steps, each] = plan.sizes();
    let from = window - 4;
    let rows = StepRows { plan: &plan, from, most: usize::MAX }.of(&windows).unwrap();
    let layer: crate::Sequential =
        format!("take {}-{}, steps {steps} {each}", from + 1, plan.width()).parse().unwrap();
    let x = crate::Tensor::new(batch.x.as_f32().unwrap().to_vec(), [2, plan.width()]);
    let seen = crate::Layer::forward(&layer, &x, &crate::Context::inference()).to_vec::<f32>().unwrap();
    let own = rows.gather(&(0..9).chain(45..54).collect::<Vec<_>>()).unwrap();
    assert_eq!(seen, own.x.as_f32().unwrap());
    assert_eq!(batch.y, own.y);
    assert_eq!(rows.x().width(), each + past - from);
}

#[test]
fn a_preparation_that_no_training_makes_is_refused() {
    let read = table(&text(60, |_, sold| sold));
    let plan = plan(&read, false);
    let layers: crate::Sequential = "dense 9".parse().unwrap();
    let input = About::new(&layers, &plan.form(), Task::of_series(&plan)).unwrap().input;
    plan.check(&input).unwrap();
    let months = |every| Frequency::Months { every, phase: 0, day: 1, second: 0 };
    let frequencies = [
        months(0),
        months(-1),
        Frequency::Seconds { every: 0, phase: 0 },
        Frequency::Seconds { every: 1, phase: i64::MAX },
        Frequency::Numbers { every: 0.0, phase: 0.0 },
        Frequency::Numbers { every: f64::NAN, phase: 0.0 },
        Frequency::Numbers { every: 1.0, phase: f64::INFINITY },
    ];
    for frequency in frequencies {
        let fault = ForecastPreparation { frequency, ..plan.clone() }.check(&input).unwrap_err().to_string();
        assert!(fault.contains("frequency"), "{fault}");
    }
    for (window, horizon) in [(1_000_000_000_000, 9), (21, usize::MAX)] {
        let fault = ForecastPreparation { window, horizon, ..plan.clone() }.check(&input).unwrap_err();
        assert!(fault.to_string().contains("numbers"), "{fault}");
    }
    assert!(months(0).aligned(&[0.0, 1e7]).number(1e7) > 0);
}

#[test]
fn a_baseline_that_has_no_logarithm_stays_near_what_can_be_learned() {
    let read = table(&text(60, |step, sold| if step < 50 { sold } else { sold * 0.1 }));
    let plan = Arc::new(plan(&read, true));
    let (_, series) = plan.series(&read).unwrap();
    let windows = ForecastWindows::new(plan, Arc::new(series), [(0, 60)]);
    let row = windows.row(0);
    assert!(row.output(0, -5.0) < -100.0);
    let said = windows.outputs_of(Baseline::Drift, &[0]);
    assert!(said.iter().all(|output| output.abs() <= 20.0), "{said:?}");
}

#[test]
fn a_series_that_has_no_logarithms_is_forecast_all_the_same_and_told() {
    let learned = table(&text(60, |_, sold| sold));
    let plan = plan(&learned, true);
    let none = table(&text(60, |step, sold| if sold < 100.0 { -f64::from(step % 2 == 0) } else { sold }));
    let (_, series) = plan.series(&none).unwrap();
    assert_eq!((series[0].raised, series[1].raised), (60, 0));
    let row = plan.row(&series[0], 60);
    assert!((0..9).all(|step| row.number(step, 0.0).abs() < 1e-300));
    let (_, before) = plan.series(&learned).unwrap();
    assert_eq!(inputs(&plan, &series, 1, 60), inputs(&plan, &before, 1, 60));
}
