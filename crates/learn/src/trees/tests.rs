//! What trees learn, and that nothing but data, options and seed decides what they are.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_data::{Form, Rng, Set};
use kiln_nn::{Context, Layer, Module, Tensor};

use super::*;
use crate::model::NamedTask;

const WIDTH: usize = 4;

/// Rows of four columns, the first of which is a third of the time not there, and numbers that jump with three of them.
fn rough(rows: usize, noise: f64, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(seed);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let row: Vec<f64> = (0..WIDTH).map(|_| rng.normal()).collect();
        let is_missing = rng.below(3) == 0;
        let first = if is_missing { 2.0 } else { f64::from(u8::from(row[0].abs() < 0.6)) * 3.0 };
        let jump = (row[1] * 1.5).floor() + if row[2] > 0.0 && row[1] < 0.3 { 2.0 } else { 0.0 };
        y.push((first + jump + noise * rng.normal()) as f32);
        x.push(if is_missing { f32::NAN } else { row[0] as f32 });
        x.extend(row[1..].iter().map(|number| *number as f32));
    }
    (x, y)
}

fn numbers(x: &[f32], width: usize, y: Vec<f32>) -> Set {
    Set::new(x.to_vec(), Form::numbers(&[width]), y, Form::numbers(&[])).unwrap()
}

fn classes(x: &[f32], width: usize, y: Vec<i64>, count: usize) -> Set {
    Set::new(x.to_vec(), Form::numbers(&[width]), y, Form::class(count)).unwrap()
}

fn outputs(forest: &FittedTrees, x: &[f32], width: usize) -> Vec<f32> {
    let x = Tensor::new(x.to_vec(), [x.len() / width, width]);
    forest.layers.forward(&x, &Context::inference()).to_vec().unwrap()
}

fn of_seed<'o>(seed: u64) -> TreeOptions<'o> {
    TreeOptions { seed, ..TreeOptions::default() }
}

fn error(a: &[f32], b: &[f32]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// Everything that a forest is.
fn bits(forest: &FittedTrees) -> Vec<Vec<u8>> {
    forest.layers.states().iter().map(|(_, state)| state.read().unwrap().to_le_bytes()).collect()
}

#[test]
fn a_target_that_jumps_is_found_where_a_line_finds_little() {
    let ((x, y), (new, truth)) = (rough(3000, 0.3, 1), rough(1000, 0.0, 2));
    let set = numbers(&x, WIDTH, y.clone());
    let forest = fit(&set, &Task::of(&set), &of_seed(1)).unwrap();
    let off = error(&outputs(&forest, &new, WIDTH), &truth);
    let mean = truth.iter().sum::<f32>() / truth.len() as f32;
    let spread = error(&vec![mean; truth.len()], &truth);
    // The best line through column 1, which is all that a line can use.
    let column: Vec<f32> = new.chunks(WIDTH).map(|row| row[1]).collect();
    let slope = column.iter().zip(&truth).map(|(x, y)| x * (y - mean)).sum::<f32>()
        / column.iter().map(|x| x * x).sum::<f32>();
    let line: Vec<f32> = column.iter().map(|x| mean + slope * x).collect();
    assert!(off < 0.25 * spread && off < 0.3 * error(&line, &truth), "{off} of {spread}");
    // Column 3 is noise.
    assert!(
        forest.gains[3] < 0.05 && (forest.gains.iter().sum::<f64>() - 1.0).abs() < 1e-6,
        "{:?}",
        forest.gains
    );
    let held = forest.history.series("val_loss").unwrap();
    assert!(held[held.len() - 1] < 0.5 * held[0]);
}

#[test]
fn the_same_bits_come_of_any_number_of_threads_and_of_what_was_chosen() {
    let (x, y) = rough(400, 0.5, 3);
    let (large, target) = rough(1_500, 0.5, 4);
    for (x, y) in [(x, y), (large, target)] {
        let kind: Vec<i64> = y.iter().map(|y| i64::from(*y > 1.0) + i64::from(*y > 3.0)).collect();
        for set in [numbers(&x, WIDTH, y), classes(&x, WIDTH, kind, 3)] {
            let task = Task::of(&set);
            let mut all = Vec::new();
            let options = TreeOptions { chosen: None, ..of_seed(5) };
            for threads in [1, 3] {
                kiln_nn::set_threads(threads).unwrap();
                all.push(fit(&set, &task, &options).unwrap());
            }
            let chosen = Some(all[0].chosen.clone());
            all.push(
                fit(&set, &task, &TreeOptions { chosen, ends: Some(Instant::now()), ..options }).unwrap(),
            );
            assert!(all[1..].iter().all(|other| bits(other) == bits(&all[0])));
            assert_ne!(bits(&all[0]), bits(&fit(&set, &task, &of_seed(6)).unwrap()));
        }
    }
}

#[test]
fn what_a_row_says_depends_on_no_other() {
    let (x, y) = rough(500, 0.3, 7);
    let set = numbers(&x, WIDTH, y);
    let forest = fit(&set, &Task::of(&set), &of_seed(1)).unwrap();
    let all = outputs(&forest, &x, WIDTH);
    for (row, said) in x.chunks(WIDTH).zip(&all).take(40) {
        assert_eq!(outputs(&forest, row, WIDTH), [*said]);
    }
}

#[test]
fn scores_rise_where_they_must() {
    let (x, y) = rough(1500, 0.5, 8);
    let kind: Vec<i64> = y.iter().map(|y| i64::from(*y > 1.0)).collect();
    for set in [numbers(&x, WIDTH, y), classes(&x, WIDTH, kind, 2)] {
        let task = Task::of(&set);
        for way in [1i8, -1] {
            let options = TreeOptions { monotone: vec![way, 0, 0, 0], ..of_seed(1) };
            let forest = fit(&set, &task, &options).unwrap();
            for row in x.chunks(WIDTH).take(50) {
                let along: Vec<f32> =
                    (-20..20).flat_map(|at| [at as f32 / 5.0, row[1], row[2], row[3]]).collect();
                let said = outputs(&forest, &along, WIDTH);
                let last: Vec<f32> = said.chunks(task.outputs()).map(|row| row[task.outputs() - 1]).collect();
                let is_so = |pair: &[f32]| f32::from(way) * (pair[1] - pair[0]) >= -1e-5;
                assert!(last.windows(2).all(is_so), "{way}: {last:?}");
            }
        }
    }
}

#[test]
fn codes_are_known_by_what_stands_with_them() {
    let mut rng = Rng::new(9);
    let effects: Vec<f64> = (0..60).map(|_| 3.0 * rng.normal()).collect();
    let mut sample = |rows: usize| {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let code = rng.below(60);
            x.extend([rng.normal() as f32, code as f32]);
            y.push((effects[code] + 0.3 * rng.normal()) as f32);
        }
        (x, y)
    };
    let ((x, y), (new, truth)) = (sample(3000), sample(600));
    let set = numbers(&x, 2, y);
    let off = |codes: Vec<usize>| {
        let forest = fit(&set, &Task::of(&set), &TreeOptions { codes, ..of_seed(1) }).unwrap();
        let off = error(&outputs(&forest, &new, 2), &truth);
        (off, forest.layers.to_text().unwrap(), forest.gains)
    };
    let (known, text, gains) = off(vec![60]);
    assert!(text.starts_with("embed-columns 60:1, trees 1 "), "{text}");
    assert!(known < 0.45 && gains[1] > 0.95 && gains.len() == 2, "{known} {gains:?}");
    let wrong = fit(&set, &Task::of(&set), &TreeOptions { codes: vec![50], ..of_seed(1) }).err().unwrap();
    assert!(wrong.to_string().contains("none of 50 codes"), "{wrong}");
}

#[test]
fn quantiles_have_as_much_below_them_as_they_say() {
    let mut rng = Rng::new(10);
    let mut sample = |rows: usize| {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let at = rng.normal();
            x.push(at as f32);
            y.push((at.abs() * 2.0 + (0.3 + at.abs()) * rng.normal()) as f32);
        }
        (x, y)
    };
    let ((x, y), (new, truth)) = (sample(3000), sample(2000));
    let set = numbers(&x, 1, y);
    let Task::Numbers { names, scale, offset, curves, .. } = Task::of(&set) else { panic!("no numbers") };
    let task = Task::Numbers { names, scale, offset, curves, interval: Some(0.8) };
    let forest = fit(&set, &task, &of_seed(1)).unwrap();
    assert_eq!(forest.chosen.len(), 3);
    let all = outputs(&forest, &new, 1);
    for (at, share) in [0.1, 0.5, 0.9].into_iter().enumerate() {
        let said = all.iter().skip(at).step_by(3);
        let below = said.zip(&truth).filter(|(said, truth)| truth <= said).count() as f64 / 2000.0;
        assert!((below - share).abs() < 0.04, "{share}: {below}");
    }
}

#[test]
fn counts_are_foreseen_by_their_logarithms() {
    let mut rng = Rng::new(11);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let at = rng.below(3);
        let mean: f64 = [0.2, 2.0, 9.0][at];
        // A sum of many rare ones.
        let count = (0..200).filter(|_| f64::from(rng.below(1_000_000) as u32) < mean / 200.0 * 1e6).count();
        x.push(at as f32);
        y.push(count as f32);
    }
    let set = numbers(&x, 1, y);
    let Task::Numbers { names, scale, offset, interval, .. } = Task::of(&set) else { panic!("no numbers") };
    let task = Task::Numbers { names, scale, offset, curves: vec![Curve::Count], interval };
    let forest = fit(&set, &task, &of_seed(1)).unwrap();
    let said = outputs(&forest, &[0.0, 1.0, 2.0], 1);
    for (said, mean) in said.iter().zip([0.2f64, 2.0, 9.0]) {
        assert!((f64::from(*said).exp() / mean - 1.0).abs() < 0.15, "{said} {mean}");
    }
}

#[test]
fn several_targets_are_learned_beside_each_other() {
    let (x, y) = rough(1200, 0.2, 12);
    let both: Vec<f32> = y.iter().flat_map(|y| [f32::from(u8::from(*y > 1.0)), *y / 2.0]).collect();
    let set = Set::new(x.clone(), Form::numbers(&[WIDTH]), both, Form::numbers(&[2])).unwrap();
    let named = |name: &str, task: Task| NamedTask { name: name.to_string(), task };
    let kind = Task::Classes { names: ["low", "high"].map(String::from).to_vec() };
    let size = Task::plain_numbers(vec!["size".to_string()]);
    let task = Task::Several { targets: vec![named("kind", kind), named("size", size)] };
    let forest = fit(&set, &task, &of_seed(1)).unwrap();
    assert_eq!(forest.chosen.len(), 2);
    let said = outputs(&forest, &x, WIDTH);
    let right = said.chunks(3).zip(&y).filter(|(said, y)| (said[1] > said[0]) == (**y > 1.0)).count();
    let sizes: Vec<f32> = said.chunks(3).map(|said| said[2] * 2.0).collect();
    assert!(right > 1100 && error(&sizes, &y) < 0.4, "{right} {}", error(&sizes, &y));
}

#[test]
fn rare_classes_weigh_the_same_where_that_is_asked_for() {
    let (x, y) = rough(2000, 2.0, 13);
    let kind: Vec<i64> = y.iter().map(|y| i64::from(*y > 4.5)).collect();
    let set = classes(&x, WIDTH, kind.clone(), 2);
    let found = |balanced: bool| {
        let forest = fit(&set, &Task::of(&set), &TreeOptions { balanced, ..of_seed(1) }).unwrap();
        outputs(&forest, &x, WIDTH).chunks(2).filter(|said| said[1] > said[0]).count()
    };
    assert!(found(true) > 2 * found(false), "{} {}", found(true), found(false));
}

#[test]
fn rows_held_out_by_hand_say_when_it_is_enough_and_whoever_asks_ends_it() {
    let ((x, y), (other, held)) = (rough(600, 0.5, 14), rough(200, 0.5, 15));
    let (set, valid) = (numbers(&x, WIDTH, y), numbers(&other, WIDTH, held));
    let options = TreeOptions { valid: Some(&valid), ..of_seed(1) };
    let forest = fit(&set, &Task::of(&set), &options).unwrap();
    assert_eq!(forest.chosen[0].rounds.len(), 1);
    let calls = AtomicUsize::new(0);
    let ask = || calls.fetch_add(1, Ordering::Relaxed) >= 12;
    let options = TreeOptions { interrupt: Some(&ask), ..options };
    let cut = fit(&set, &Task::of(&set), &options).unwrap();
    assert!(cut.was_stopped && cut.trees <= 12 && cut.trees > 0, "{}", cut.trees);
    let ended = TreeOptions { ends: Some(Instant::now()), ..of_seed(1) };
    let none = fit(&set, &Task::of(&set), &ended).unwrap();
    assert!(none.was_stopped);
    assert_eq!(outputs(&none, &x[..WIDTH], WIDTH).len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (x, y) = rough(50, 0.5, 16);
    let set = numbers(&x, WIDTH, y.clone());
    let kinds = classes(&x, WIDTH, vec![1; 50], 3);
    let says =
        |set: &Set, options: TreeOptions| fit(set, &Task::of(set), &options).err().unwrap().to_string();
    let usual = TreeOptions::default;
    assert!(
        says(&set, TreeOptions { monotone: vec![1; 5], ..usual() })
            .contains("5 columns said to be monotone, of 4")
    );
    assert!(says(&kinds, TreeOptions { monotone: vec![1], ..usual() }).contains("second of two classes"));
    assert!(says(&set, TreeOptions { balanced: true, ..usual() }).contains("only classes"));
    let chosen = Some(vec![TreeChoice { growth: 9, rounds: vec![1] }]);
    assert!(says(&set, TreeOptions { chosen, ..usual() }).contains("other rows"));
    let images =
        Set::new(vec![0f32; 8], Form::numbers(&[1, 2, 2]), vec![0f32; 2], Form::numbers(&[])).unwrap();
    assert!(says(&images, usual()).contains("rows of numbers"));
    let holes = numbers(&x, WIDTH, vec![f32::NAN; 50]);
    assert!(says(&holes, usual()).contains("row 1: the target NaN is no number"));
    // A class that never comes, one row, and a column that is always the same.
    for rows in [1, 2, 7, 50] {
        let few = classes(&x[..rows * WIDTH], WIDTH, vec![1; rows], 3);
        let forest = fit(&few, &Task::of(&few), &usual()).unwrap();
        let said = outputs(&forest, &x[..WIDTH], WIDTH);
        assert!(said[1] > said[0] && said[1] > said[2], "{said:?}");
    }
}
