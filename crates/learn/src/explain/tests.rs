//! Explanations held to what is obviously right: Shapley's formula over all subsets of columns, with every mixture asked of the model itself.

use kiln_data::{Choices, Dataset, Rng, Set, Table, TablePreparation, TargetKind};
use kiln_nn::loss::{CrossEntropy, Loss};
use kiln_nn::sequential::Blended;
use kiln_nn::{AdamW, Module, Sequential};

use super::*;
use crate::linear::{self, LinearOptions};
use crate::model::{About, Task, TaskLoss};
use crate::trainer::Trainer;
use crate::trees::TreeOptions;

/// What is predicted of the made tables.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Predicted {
    Number,
    Skewed,
    Two,
    Three,
}

const ALL: [Predicted; 4] = [Predicted::Number, Predicted::Skewed, Predicted::Two, Predicted::Three];

/// A prepared table whose target follows from `size` and `town`, and not from `noise`; `town` becomes a code.
struct Made {
    plan: TablePreparation,
    set: Set,
    task: Task,
}

fn made(predicted: Predicted, codes: bool) -> Made {
    let mut rng = Rng::new(5);
    let mut text = "size,colour,town,noise,y\n".to_string();
    for row in 0..240 {
        let (size, town, noise) = (rng.uniform() * 10.0, rng.below(4), rng.normal());
        let value = 3.0 * size + [0.0, 12.0, -9.0, 4.0][town] + if row % 3 == 0 { 5.0 } else { 0.0 };
        let y = match predicted {
            Predicted::Number => format!("{value:.3}"),
            Predicted::Skewed => format!("{:.3}", libm::exp(value / 10.0) * 100.0),
            Predicted::Two => ["few", "many"][usize::from(value > 16.0)].to_string(),
            Predicted::Three => {
                ["few", "many", "most"][usize::from(value > 10.0) + usize::from(value > 22.0)].to_string()
            }
        };
        let size = if row % 17 == 0 { String::new() } else { format!("{size:.3}") };
        text += &format!("{size},{},t{town},{noise:.3},{y}\n", ["red", "blue", "green"][row % 3]);
    }
    let table = Table::read(text.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..table.len()).collect();
    let mut choices = Choices::new().target("y");
    if predicted == Predicted::Skewed {
        choices = choices.log_target("y");
    }
    if predicted == Predicted::Number {
        choices = choices.target_kind(TargetKind::Number);
    }
    if codes {
        choices = choices.codes_above(3);
    }
    let plan = TablePreparation::fit(&table, &rows, &choices).unwrap();
    let task = Task::of_target(plan.target().unwrap());
    Made { set: plan.apply(&table, &rows).unwrap(), task, plan }
}

fn codes(plan: &TablePreparation) -> Vec<usize> {
    plan.vocabularies().iter().map(|(_, words)| words.size()).collect()
}

fn linear(made: &Made) -> Sequential {
    linear::fit(&made.set, &made.task, &LinearOptions::new().codes(codes(&made.plan))).unwrap()
}

fn trees(made: &Made) -> Sequential {
    let options = TreeOptions { seed: 3, codes: codes(&made.plan), ..TreeOptions::default() };
    crate::trees::fit(&made.set, &made.task, &options).unwrap().layers
}

fn network(made: &Made) -> Sequential {
    let mut row = Sequential::new().seed(2);
    if !codes(&made.plan).is_empty() {
        row = row.embed_columns(codes(&made.plan).into_iter().map(|count| (count, 3)).collect::<Vec<_>>());
    }
    let row = row.dense(16).relu().dense(8).mish().dense(made.task.outputs());
    match &made.task {
        Task::Classes { .. } => trained(row, CrossEntropy::new(), &made.set),
        _ => trained(row, TaskLoss::new(&made.task), &made.set),
    }
}

fn trained(row: Sequential, loss: impl Loss + 'static, set: &Set) -> Sequential {
    Trainer::new(row, loss, AdamW::new(0.01)).epochs(10).batch_size(32).quiet().fit(set).unwrap().into_model()
}

fn model(made: &Made, layers: Sequential) -> Model {
    let form = made.set.x();
    let about = About::new(&layers, &form, made.task.clone()).unwrap();
    let mut model = Model::new(layers, about).with_preparation(made.plan.clone()).unwrap();
    model.about_mut().background = Some(Background::fit(&made.set, &made.plan).unwrap());
    model
}

/// Shapley values of one row by all subsets, against these rows.
fn by_subsets(explainer: &Explainer, x: &[f32], background: &[f32], class: Option<usize>) -> Vec<f64> {
    let (width, groups) = (explainer.width(), &explainer.groups);
    let count = groups.len();
    let mut worth = vec![0.0; 1 << count];
    for (set, worth) in worth.iter_mut().enumerate() {
        let mut mixed = background.to_vec();
        for row in mixed.chunks_mut(width) {
            for (_, (_, places)) in groups.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1) {
                row[places.clone()].copy_from_slice(&x[places.clone()]);
            }
        }
        let rows = mixed.len() / width;
        let outputs = explainer.ask(&mixed, rows).unwrap();
        let each = outputs.len() / rows;
        for outputs in outputs.chunks(each) {
            let wanted = match class {
                Some(class) => explainer.asked.of_class(class, each),
                None => explainer.asked.wanted(outputs).unwrap(),
            };
            *worth += wanted.of(outputs) / rows as f64;
        }
    }
    let factorial = |n: usize| (1..=n).map(|n| n as f64).product::<f64>();
    let of = |player: usize| {
        let without = (0..1usize << count).filter(|set| set >> player & 1 == 0);
        without
            .map(|set| {
                let size = set.count_ones() as usize;
                let share = factorial(size) * factorial(count - size - 1) / factorial(count);
                share * (worth[set | 1 << player] - worth[set])
            })
            .sum()
    };
    (0..count).map(of).collect()
}

fn rows_of(made: &Made, rows: &[usize]) -> Vec<f32> {
    made.set.gather(rows).unwrap().x.as_f32().unwrap().to_vec()
}

fn close(a: &[f64], b: &[f64], within: f64, what: &str) {
    let scale = b.iter().map(|value| value.abs()).fold(1e-3, f64::max);
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= within * scale, "{what}: {a} is not {b} ({scale})");
    }
}

#[test]
fn trees_and_linear_layers_and_their_blends_have_the_values_of_all_subsets() {
    for predicted in ALL {
        for coded in [false, true] {
            let made = made(predicted, coded);
            let mut kinds = vec![("linear", linear(&made)), ("trees", trees(&made))];
            if matches!(predicted, Predicted::Number | Predicted::Skewed) {
                let both =
                    Sequential::new().blend([linear(&made), trees(&made)], &[1.0, 3.0], Blended::Numbers);
                kinds.push(("blend", both));
            }
            // What is calibrated is explained as it comes out.
            let calibrated = |row: Sequential| {
                let row: Sequential = format!("{}, calibrate", row.to_text().unwrap()).parse().unwrap();
                row
            };
            let (own, right) = (trees(&made), calibrated(trees(&made)));
            right.build([1, made.plan.width()]).unwrap();
            let stored: Vec<_> = own.states();
            for (path, state) in right.states() {
                match stored.iter().find(|(name, _)| *name == path) {
                    Some((_, own)) => state.write(&own.read().unwrap()).unwrap(),
                    None => state.write(&kiln_nn::Data::F32(vec![0.6; made.task.outputs()])).unwrap(),
                }
            }
            for ((_, own), (_, right)) in own.parameters().iter().zip(right.parameters()) {
                right.set(&own.tensor()).unwrap();
            }
            kinds.push(("calibrated trees", right));
            for (kind, layers) in kinds {
                let what = format!("{kind} of {predicted:?}, codes {coded}");
                let model = model(&made, layers);
                let explainer = Explainer::new(&model, &[], &ExplainOptions::default()).unwrap();
                assert_eq!(explainer.method(), ExplainMethod::Exact, "{what}");
                let rows = rows_of(&made, &[0, 17, 100]);
                let why = explainer.explain(&rows).unwrap();
                let background = explainer.compared(usize::MAX);
                for (x, why) in rows.chunks(made.plan.width()).zip(&why) {
                    close(&why.moved, &by_subsets(&explainer, x, &background, why.class), 1e-5, &what);
                    close(&[why.rest()], &[0.0], 1e-2 * why.output.abs().max(1.0), &what);
                    assert!(why.rest().abs() < 1e-5 * (1.0 + why.output.abs()), "{what}: {}", why.rest());
                }
            }
        }
    }
}

#[test]
fn planted_columns_are_found_by_every_method() {
    for predicted in ALL {
        let made = made(predicted, true);
        for method in [ExplainMethod::Exact, ExplainMethod::Gradients, ExplainMethod::Sampled] {
            let layers = if method == ExplainMethod::Exact { trees(&made) } else { network(&made) };
            let model = model(&made, layers);
            let options = ExplainOptions { method: Some(method), ..ExplainOptions::default() };
            let explainer = Explainer::new(&model, &[], &options).unwrap();
            let rows = rows_of(&made, &(0..60).collect::<Vec<_>>());
            let mut all = vec![0.0; explainer.columns().count()];
            for why in explainer.explain(&rows).unwrap() {
                all.iter_mut().zip(&why.moved).for_each(|(all, moved)| *all += moved.abs());
            }
            let of = |name: &str| all[explainer.columns().position(|column| column == name).unwrap()];
            let least = of("size").min(of("town"));
            assert!(least > 2.0 * of("noise"), "{method:?} of {predicted:?}: {all:?}");
        }
    }
}

#[test]
fn gradients_and_samples_agree_with_what_is_exact() {
    for predicted in ALL {
        let made = made(predicted, true);
        let straight = model(&made, linear(&made));
        let rows = rows_of(&made, &[1, 50, 99]);
        let explained = |model: &Model, method| {
            let options = ExplainOptions { method: Some(method), ..ExplainOptions::default() };
            Explainer::new(model, &[], &options).unwrap().explain(&rows).unwrap()
        };
        let exact = explained(&straight, ExplainMethod::Exact);
        for (exact, slopes) in exact.iter().zip(explained(&straight, ExplainMethod::Gradients)) {
            close(&slopes.moved, &exact.moved, 1e-4, &format!("gradients of {predicted:?}"));
        }
        let forest = model(&made, trees(&made));
        let options = ExplainOptions {
            method: Some(ExplainMethod::Sampled),
            orders: Some(100),
            ..ExplainOptions::default()
        };
        let explainer = Explainer::new(&forest, &[], &options).unwrap();
        for (exact, sampled) in
            explained(&forest, ExplainMethod::Exact).iter().zip(explainer.explain(&rows).unwrap())
        {
            assert!(sampled.rest().abs() < 1e-5 * (1.0 + sampled.output.abs()), "{}", sampled.rest());
            for ((sampled, exact), error) in sampled.moved.iter().zip(&exact.moved).zip(&sampled.errors) {
                assert!(
                    (sampled - exact).abs() < 5.0 * error + 1e-5,
                    "{predicted:?}: {sampled} ± {error}, {exact}"
                );
            }
        }
    }
}

#[test]
fn integrals_of_networks_come_to_the_difference() {
    for predicted in ALL {
        for coded in [false, true] {
            let made = made(predicted, coded);
            let model = model(&made, network(&made));
            let explainer = Explainer::new(&model, &[], &ExplainOptions::default()).unwrap();
            assert_eq!(explainer.method(), ExplainMethod::Gradients);
            let all = explainer.explain(&rows_of(&made, &(0..40).collect::<Vec<_>>())).unwrap();
            let largest = all.iter().map(|why| (why.output - why.baseline).abs()).fold(0.0, f64::max);
            for why in all {
                assert!(why.rest().abs() <= 1e-2 * largest, "{predicted:?}, {largest}: {why:?}");
            }
        }
    }
}

#[test]
fn what_cant_be_explained_so_is_refused_with_the_mend() {
    let made = made(Predicted::Two, false);
    let says = |model: &Model, options: &ExplainOptions| {
        Explainer::new(model, &[], options).err().unwrap().to_string()
    };
    let mut forest = model(&made, trees(&made));
    let by = |method| ExplainOptions { method: Some(method), ..ExplainOptions::default() };
    assert!(says(&forest, &by(ExplainMethod::Gradients)).contains("no slopes"));
    assert!(says(&model(&made, network(&made)), &by(ExplainMethod::Exact)).contains("leave the method out"));
    let class = ExplainOptions { class: Some("mani".to_string()), ..ExplainOptions::default() };
    assert!(says(&forest, &class).contains("did you mean many?"));
    forest.about_mut().background = None;
    assert!(says(&forest, &ExplainOptions::default()).contains("--background"));
    let rows = ExplainOptions { background: Some(rows_of(&made, &[0, 5, 9])), ..ExplainOptions::default() };
    let why = Explainer::new(&forest, &[], &rows).unwrap().explain(&rows_of(&made, &[5])).unwrap();
    assert!(why[0].rest().abs() < 1e-5 && why[0].errors.is_empty());
}

/// The cells of a row of a table as the model needs them.
fn cells<'t>(explainer: &Explainer, table: &'t Table, row: usize) -> Vec<kiln_data::RawCell<'t>> {
    let cell = |name: &String| match table.column(name).unwrap().cell(row) {
        kiln_data::Cell::Number(number) => kiln_data::RawCell::Number(number),
        kiln_data::Cell::Word(word) => kiln_data::RawCell::Text(word),
        _ => kiln_data::RawCell::Missing,
    };
    explainer.needed().unwrap().iter().map(cell).collect()
}

#[test]
fn the_change_that_turns_an_answer_is_small_and_verified_and_leaves_what_is_fixed() {
    let made = made(Predicted::Two, false);
    let model = model(&made, trees(&made));
    let explainer = Explainer::new(&model, &[], &ExplainOptions::default()).unwrap();
    // 3 · 2 + 5 is few; a size of 16 / 3 would do, or another town and a little more.
    let table = Table::read(b"size,colour,town,noise\n2.0,red,t0,0.1\n").unwrap();
    let row = cells(&explainer, &table, 0);
    let options = |goal, fixed: &[&str]| ChangeOptions {
        goal,
        fixed: fixed.iter().map(|name| name.to_string()).collect(),
        most: 3,
    };
    let change = explainer.change(&row, &options(ChangeGoal::AnotherClass, &[])).unwrap().unwrap();
    assert!((1..=2).contains(&change.columns.len()), "{change:?}");
    assert_eq!(explainer.asked.said(&change.outputs).unwrap(), Some(1));
    assert!(change.columns.iter().all(|(name, ..)| name == "size" || name == "town"), "{change:?}");
    let held =
        explainer.change(&row, &options(ChangeGoal::Class("many".to_string()), &["town"])).unwrap().unwrap();
    assert!(held.columns.iter().all(|(name, ..)| name != "town"), "{held:?}");
    let none = explainer.change(&row, &options(ChangeGoal::AnotherClass, &["town", "size"])).unwrap();
    assert_eq!(none, None);
    let already =
        explainer.change(&row, &options(ChangeGoal::Class("few".to_string()), &[])).unwrap().unwrap();
    assert_eq!(already.brief(), "nothing needs to change");
    let says = |goal, fixed: &[&str]| explainer.change(&row, &options(goal, fixed)).unwrap_err().to_string();
    assert!(says(ChangeGoal::AnotherClass, &["sise"]).contains("did you mean size?"));
    assert!(says(ChangeGoal::Above(2.0), &[]).contains("tells classes apart"));
}

#[test]
fn a_number_is_changed_no_farther_than_it_takes() {
    let made = made(Predicted::Number, false);
    let model = model(&made, linear(&made));
    let explainer = Explainer::new(&model, &[], &ExplainOptions::default()).unwrap();
    let table = Table::read(b"size,colour,town,noise\n2.0,red,t0,0.1\n").unwrap();
    let options = ChangeOptions {
        goal: ChangeGoal::Above(20.0),
        fixed: vec!["town".to_string(), "colour".to_string()],
        most: 1,
    };
    let change = explainer.change(&cells(&explainer, &table, 0), &options).unwrap().unwrap();
    let [(name, from, to)] = change.columns.as_slice() else { panic!("{change:?}") };
    assert_eq!((name.as_str(), from.as_str()), ("size", "2"));
    let reached = explainer.asked.wanted(&change.outputs).unwrap().of(&change.outputs);
    assert!(to.len() <= 4 && (20.0..20.5).contains(&reached), "{change:?}, {reached}");
    let far = ChangeOptions { goal: ChangeGoal::Above(1e6), ..options };
    assert_eq!(explainer.change(&cells(&explainer, &table, 0), &far).unwrap(), None);
}

#[test]
fn a_change_of_two_among_many_columns_is_found_in_the_parts_it_is_asked_in() {
    // 150 columns of 8 values are 150 · 7 candidates, and 12 · 149 · 7 in the second round: more than are asked of at once.
    let mut rng = Rng::new(8);
    let names: Vec<String> = (0..150).map(|at| format!("c{at}")).collect();
    let mut text = names.join(",") + ",y\n";
    for _ in 0..400 {
        let row: Vec<usize> = (0..150).map(|_| rng.below(8)).collect();
        row.iter().for_each(|value| text += &format!("{value},"));
        text += &format!("{}\n", 3 * row[0] + 3 * row[149]);
    }
    let table = Table::read(text.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..table.len()).collect();
    let plan =
        TablePreparation::fit(&table, &rows, &Choices::new().target("y").target_kind(TargetKind::Number))
            .unwrap();
    let set = plan.apply(&table, &rows).unwrap();
    let task = Task::of_target(plan.target().unwrap());
    let made = Made { plan, set, task };
    let model = model(&made, linear(&made));
    let explainer = Explainer::new(&model, &[], &ExplainOptions::default()).unwrap();
    let row = vec![kiln_data::RawCell::Number(0.0); 150];
    let options = ChangeOptions { goal: ChangeGoal::Above(37.0), fixed: Vec::new(), most: 2 };
    let change = explainer.change(&row, &options).unwrap().unwrap();
    let mut changed: Vec<&str> = change.columns.iter().map(|(name, ..)| name.as_str()).collect();
    changed.sort();
    assert_eq!(changed, ["c0", "c149"], "{change:?}");
}

#[test]
fn no_rows_have_no_explanations() {
    let made = made(Predicted::Two, false);
    let model = model(&made, linear(&made));
    for method in [ExplainMethod::Exact, ExplainMethod::Gradients, ExplainMethod::Sampled] {
        let options = ExplainOptions { method: Some(method), ..ExplainOptions::default() };
        assert_eq!(Explainer::new(&model, &[], &options).unwrap().explain(&[]).unwrap(), [], "{method:?}");
    }
}
