//! Calibration held to made answers whose right probabilities, sets and bounds are known.

use kiln_nn::{Context, Layer, Sequential, Tensor};

use super::*;
use crate::model::About;
use kiln_data::{Form, Rng};

fn classes(count: usize) -> Task {
    Task::Classes { names: (0..count).map(|class| class.to_string()).collect() }
}

fn interval(share: f64) -> Task {
    Task::Numbers {
        names: vec!["y".to_string()],
        scale: vec![1.0],
        offset: vec![0.0],
        curves: Vec::new(),
        interval: Some(share),
    }
}

/// Rows whose logits are as sure as is true, times a factor; `[rows, classes]`.
fn drawn(rows: usize, count: usize, factor: f64, seed: u64) -> HeldAnswers {
    let mut rng = Rng::new(seed);
    let mut held = HeldAnswers::default();
    for _ in 0..rows {
        let logits: Vec<f64> = (0..count).map(|_| 1.5 * rng.normal()).collect();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let (mut left, mut label) = (rng.uniform(), 0);
        for (class, logit) in logits.iter().enumerate() {
            label = class;
            left -= logit.exp() / sum;
            if left < 0.0 {
                break;
            }
        }
        held.truths.push(label as f64);
        held.outputs.extend(logits.iter().map(|logit| (logit * factor) as f32));
    }
    held
}

fn options(method: CalibrationMethod, sets: Option<(f64, SetKind)>) -> CalibrationOptions {
    CalibrationOptions { method, bounds: method != CalibrationMethod::None, sets }
}

fn fitted(task: &Task, method: CalibrationMethod, held: &HeldAnswers) -> Calibration {
    Calibration::fit(task, &options(method, None), held).unwrap()
}

#[test]
fn temperatures_undo_what_logits_were_multiplied_by_and_change_nothing_that_is_right() {
    for count in [2, 3, 7] {
        let sure = fitted(&classes(count), CalibrationMethod::Auto, &drawn(4000, count, 3.0, 1));
        let temperature = sure.found[0].temperature.unwrap();
        assert!((temperature - 3.0).abs() < 0.3, "{count}: {temperature}");
        let right = fitted(&classes(count), CalibrationMethod::Auto, &drawn(4000, count, 1.0, 2));
        assert!(right.changes_nothing(), "{count}: {:?}", right.found);
        assert_eq!(right.found[0].method, "none");
    }
    // None is better, but for what goes to other classes.
    let held = drawn(500, 3, 2.0, 3);
    let logits: Vec<f64> = held.outputs.iter().map(|&logit| logit.into()).collect();
    let labels: Vec<usize> = held.truths.iter().map(|&label| label as usize).collect();
    let best = temperature::fit(&logits, 3, &labels);
    let loss = |temperature: f64| -> f64 {
        logits
            .chunks(3)
            .zip(&labels)
            .map(|(row, &label)| temperature::loss(row, label, 1.0 / temperature))
            .sum()
    };
    assert!(loss(best) <= loss(best * 1.03) && loss(best) <= loss(best * 0.97));
}

#[test]
fn rows_all_of_which_are_right_make_no_model_certain() {
    let outputs = (0..200).flat_map(|row| if row % 2 == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    let held = HeldAnswers { outputs, truths: (0..200).map(|row| f64::from(row % 2)).collect() };
    let found = fitted(&classes(2), CalibrationMethod::Temperature, &held);
    // The logarithm of 201 to 1.
    let slope = 1.0 / found.found[0].temperature.unwrap();
    assert!((slope - 201f64.ln()).abs() < 1e-6, "{slope}");
}

#[test]
fn isotonic_lines_rise_and_are_taken_where_no_temperature_suits() {
    let mut rng = Rng::new(5);
    let mut held = HeldAnswers::default();
    for _ in 0..4000 {
        // Sure on one side alone: more than a temperature can put right.
        let p: f64 = rng.uniform();
        let logit = (p / (1.0 - p)).ln();
        held.truths.push(f64::from(rng.uniform() < p));
        held.outputs.push(if logit > 0.0 { 4.0 * logit } else { 0.3 * logit + 2.0 } as f32);
    }
    let found = fitted(&classes(2), CalibrationMethod::Auto, &held);
    assert_eq!(found.found[0].method, "isotonic");
    assert!(found.line.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] <= pair[1][1]));
    let mut outputs = held.outputs.clone();
    found.apply(&mut outputs);
    let off = |outputs: &[f32]| {
        let rows = outputs.iter().zip(&held.truths).filter(|(output, _)| **output > 1.0);
        let (mut said, mut is, mut count) = (0.0, 0.0, 0.0);
        rows.for_each(|(output, truth)| {
            (said, is, count) = (said + 1.0 / (1.0 + f64::from(-output).exp()), is + truth, count + 1.0)
        });
        f64::abs(said - is) / count
    };
    assert!(off(&outputs) < 0.03 && off(&held.outputs) > 0.05, "{} {}", off(&outputs), off(&held.outputs));
}

#[test]
fn layers_behind_a_model_do_what_was_found_and_come_back_from_its_file() {
    let words = [("dense 3", 3), ("dense 2", 2), ("dense 1", 1)];
    for (layers, width) in words {
        let count = width.max(2);
        let layers: Sequential = layers.parse().unwrap();
        let model = Model::new(
            layers,
            About::new(&format!("dense {width}").parse().unwrap(), &Form::numbers(&[4]), classes(count))
                .unwrap(),
        );
        let x: Vec<f32> = (0..80).map(|at| ((at * 7) % 11) as f32 - 5.0).collect();
        let x = Tensor::new(x, [20, 4]);
        let before = model.layers().forward(&x, &Context::inference()).to_vec::<f32>().unwrap();
        for method in [CalibrationMethod::Temperature, CalibrationMethod::Isotonic] {
            if method == CalibrationMethod::Isotonic && count > 2 {
                let refused = Calibration::fit(&classes(3), &options(method, None), &drawn(50, 3, 1.0, 0));
                assert!(refused.err().unwrap().to_string().contains("two classes"));
                continue;
            }
            let mut held = drawn(400, count, 3.0, 9);
            if width == 1 {
                held.outputs = held.outputs.chunks(2).map(|row| row[1] - row[0]).collect();
            }
            let sets = Some((0.9, SetKind::Lac));
            let found = Calibration::fit(&classes(count), &options(method, sets), &held).unwrap();
            let calibrated = found.behind(&model).unwrap();
            let path = std::env::temp_dir().join(format!("kiln-calibrated-{width}-{method:?}.kiln"));
            calibrated.save(&path).unwrap();
            let read = Model::load(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(read.about(), calibrated.about());
            let given = read.layers().forward(&x, &Context::inference()).to_vec::<f32>().unwrap();
            let mut expected = before.clone();
            found.apply(&mut expected);
            given
                .iter()
                .zip(&expected)
                .for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{method:?}: {a} {b}"));
            let plain = read.uncalibrated().unwrap();
            let given = plain.layers().forward(&x, &Context::inference()).to_vec::<f32>().unwrap();
            assert_eq!((given, plain.about().sets.len()), (before.clone(), 0));
        }
    }
}

/// How many of so many rows to come are held, in the mean and in the deviation, by what was found on others (Vovk, 2012: beta-binomial).
fn band(coverage: f64, found: usize, rows: usize) -> [f64; 2] {
    let alpha = ((found as f64 + 1.0) * coverage).ceil().min(found as f64);
    let beta = found as f64 + 1.0 - alpha;
    let (n, sum) = (rows as f64, alpha + beta);
    let variance = n * alpha * beta * (sum + n) / (sum * sum * (sum + 1.0));
    [alpha / sum, variance.sqrt() / n]
}

#[test]
fn sets_hold_the_class_of_as_many_rows_as_was_asked_also_of_each_class() {
    for (count, coverage, seed) in [(2, 0.9, 1), (3, 0.8, 2), (5, 0.95, 3)] {
        for kind in [SetKind::Lac, SetKind::Aps, SetKind::PerClass] {
            let (held, new) = (drawn(1000, count, 2.0, seed), drawn(4000, count, 2.0, seed + 100));
            let asked = Some((coverage, kind));
            let found =
                Calibration::fit(&classes(count), &options(CalibrationMethod::Auto, asked), &held).unwrap();
            let sets = found.sets[0].clone().unwrap();
            let mut outputs = new.outputs.clone();
            found.apply(&mut outputs);
            let holds = outputs.chunks(count).zip(&new.truths).map(|(row, &label)| {
                (label as usize, sets.of(&crate::predictions::all_probabilities_of(row))[label as usize])
            });
            let holds: Vec<(usize, bool)> = holds.collect();
            let share = |of: &dyn Fn(usize) -> bool| {
                let own: Vec<bool> =
                    holds.iter().filter(|(label, _)| of(*label)).map(|(_, held)| *held).collect();
                (own.iter().filter(|held| **held).count() as f64 / own.len() as f64, own.len())
            };
            let is_within = |(share, rows): (f64, usize), found: usize| {
                let [mean, deviation] = band(coverage, found, rows);
                // The likeliest class is always in.
                share > mean - 4.0 * deviation && (kind == SetKind::Aps || share < mean + 4.0 * deviation)
            };
            if kind != SetKind::PerClass {
                assert!(is_within(share(&|_| true), 1000), "{kind:?} of {count}: {:?}", share(&|_| true));
                continue;
            }
            for class in 0..count {
                let found = held.truths.iter().filter(|label| **label == class as f64).count();
                let own = share(&|label| label == class);
                assert!(is_within(own, found), "class {class} of {count}: {own:?}");
            }
        }
    }
    let asked = options(CalibrationMethod::Auto, Some((0.99, SetKind::Lac)));
    let few = Calibration::fit(&classes(2), &asked, &drawn(30, 2, 1.0, 0));
    assert!(few.err().unwrap().to_string().contains("too few"));
}

#[test]
fn sets_hold_as_many_rows_as_was_asked_also_where_few_rows_found_both_them_and_a_line() {
    for kind in [SetKind::Lac, SetKind::PerClass] {
        let mut shares = Vec::new();
        for seed in 0..200 {
            let (held, new) = (drawn(80, 2, 2.0, seed), drawn(500, 2, 2.0, seed + 1000));
            let asked = options(CalibrationMethod::Isotonic, Some((0.8, kind)));
            let found = Calibration::fit(&classes(2), &asked, &held).unwrap();
            let sets = found.sets[0].clone().unwrap();
            let mut outputs = new.outputs.clone();
            found.apply(&mut outputs);
            let holds = outputs.chunks(2).zip(&new.truths).filter(|(row, label)| {
                sets.of(&crate::predictions::all_probabilities_of(row))[**label as usize]
            });
            shares.push(holds.count() as f64 / 500.0);
        }
        // 65 of 81, with a deviation of 0.004.
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!(mean > 0.79, "{kind:?}: {mean}");
    }
}

#[test]
fn moved_bounds_hold_as_many_rows_as_was_asked_however_wrong_they_were() {
    for (share, width) in [(0.9, 0.3), (0.9, 4.0), (0.5, 1.0), (0.8, 0.0)] {
        let drawn = |rows: usize, seed: u64| {
            let mut rng = Rng::new(seed);
            let mut held = HeldAnswers::default();
            for _ in 0..rows {
                let middle = rng.uniform();
                held.outputs.extend([middle - width, middle, middle + width].map(|bound| bound as f32));
                held.truths.push(middle + rng.normal());
            }
            held
        };
        let found = fitted(&interval(share), CalibrationMethod::Auto, &drawn(1000, 1));
        let new = drawn(4000, 2);
        let mut outputs = new.outputs.clone();
        found.apply(&mut outputs);
        let holds = |(row, truth): &(&[f32], &f64)| {
            let [low, middle, high] = [row[0], row[1], row[2]].map(f64::from);
            low.min(middle) <= **truth && **truth <= high.max(middle)
        };
        let held = outputs.chunks(3).zip(&new.truths).filter(holds).count() as f64 / 4000.0;
        let [mean, deviation] = band(share, 1000, 4000);
        assert!((held - mean).abs() < 4.0 * deviation, "{share}, {width}: {held}");
        assert!(fitted(&interval(share), CalibrationMethod::None, &drawn(100, 1)).changes_nothing());
    }
}
