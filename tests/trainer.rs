//! The trainer: what is promised of it, seen from outside.

#[path = "trainer/features.rs"]
mod features;
#[path = "trainer/looks.rs"]
mod looks;
#[path = "trainer/resume.rs"]
mod resume;
#[path = "trainer/search.rs"]
mod search;
#[cfg(unix)]
#[path = "trainer/signals.rs"]
mod signals;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kiln::data::{Form, Set};
use kiln::prelude::*;
use kiln::schedule::{Cosine, ReduceOnPlateau, Warmup};
use kiln::trainer::{
    Callback, Checkpoints, ClassWeights, CsvLog, EarlyStopping, JsonlLog, Moment, TensorBoard, TimeLimit,
    TrainState,
};
use kiln_testkit::Folder;

fn model() -> Sequential {
    Sequential::new().seed(5).dense(16).batch_norm().relu().dropout(0.3).dense(2)
}

/// A trainer that uses everything a checkpoint must hold.
fn full<'a>(valid: &'a dyn Dataset) -> Trainer<'a, Sequential> {
    Trainer::new(model(), CrossEntropy::new().label_smoothing(0.05), AdamW::new(0.02))
        .epochs(6)
        .batch_size(16)
        .seed(11)
        .validate(valid)
        .metrics(["accuracy", "roc-auc"])
        .schedule_over(|steps| Warmup::new(5, Cosine::new(steps)))
        .reduce_on_plateau(ReduceOnPlateau::new(0.5, 0), "val_loss")
        .accumulate(2)
        .ema(0.9)
        .clip(Clip::GlobalNorm(1.0))
        .callback(EarlyStopping::on("val_accuracy").patience(4))
        .quiet()
}

fn weights(model: &Sequential) -> Vec<(String, Vec<u8>)> {
    let parameters = model.parameters().into_iter().map(|(path, p)| (path, p.value().unwrap().to_le_bytes()));
    parameters
        .chain(model.states().into_iter().map(|(path, s)| (path, s.read().unwrap().to_le_bytes())))
        .collect()
}

fn bits(history: &kiln::metrics::History) -> Vec<(String, Vec<u64>)> {
    let series =
        |name: &String| history.series(name).unwrap().iter().map(|number| number.to_bits()).collect();
    history.names().iter().map(|name| (name.clone(), series(name))).collect()
}

/// Saves at one step and ends there, as a crash would.
struct CutAt(u64, PathBuf);

impl Callback for CutAt {
    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        if at.step == self.0 {
            at.save(&self.1);
            at.stop("cut");
        }
        Ok(())
    }
}

#[test]
fn one_thread_and_two_train_the_same_bits() {
    let (train, valid) = data::moons(300, 0.2, 1).split(0.7);
    let run = |threads: usize| {
        kiln::set_threads(threads).unwrap();
        let run = full(&valid).batch_size(64).fit(&train).unwrap();
        (weights(run.model()), bits(run.history()))
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn another_seed_gives_another_training_and_the_same_the_same() {
    let (train, valid) = data::moons(150, 0.2, 1).split(0.7);
    let run = |seed: u64| weights(full(&valid).seed(seed).fit(&train).unwrap().model());
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn checkpoints_keep_the_last_few_and_the_best() {
    let folder = Folder::new("checkpoints");
    let (train, valid) = data::moons(150, 0.2, 1).split(0.7);
    let run = full(&valid)
        .checkpoints(Checkpoints::new(folder.path()).every_steps(5).keep(3).best("val_loss"))
        .fit(&train)
        .unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != ".lock");
    names.sort();
    let steps = run.steps();
    let numbered = (0..3).rev().map(|back| {
        format!(
            "step-{}.state",
            match back {
                0 => steps,
                back => (steps - 1) / 5 * 5 - 5 * (back - 1),
            }
        )
    });
    let mut expected: Vec<String> = numbered.chain(["best.state".into(), "last.state".into()]).collect();
    expected.sort();
    assert_eq!(names, expected);
    let (best, _) = run.history().best("val_loss", false).unwrap();
    assert_eq!(TrainState::load(folder.at("best.state")).unwrap().epoch(), best as u64 + 1);
    assert_eq!(TrainState::load(Checkpoints::last(&folder)).unwrap().step(), steps);
    // Longer training goes on from the end of a shorter one.
    let more = full(&valid).epochs(8).resume(Checkpoints::last(&folder)).fit(&train).unwrap();
    assert_eq!(more.history().len(), run.history().len() + 2);
}

#[test]
fn a_folder_that_cannot_be_written_is_found_out_before_the_first_step() {
    let folder = Folder::new("file");
    let file = folder.at("file");
    std::fs::write(&file, "here").unwrap();
    let set = data::moons(50, 0.1, 1);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let trainer =
        Trainer::new(model(), CrossEntropy::new(), Adam::new(0.1)).quiet().callback(Watch(seen.clone()));
    let error = trainer.checkpoints(Checkpoints::new(file.join("sub"))).fit(&set).err().unwrap().to_string();
    assert!(error.contains("file"), "{error}");
    assert!(seen.borrow().is_empty());
}

/// Writes down the epoch and step of each epoch's end.
struct Watch(Rc<RefCell<Vec<(u64, u64, f64)>>>);

impl Callback for Watch {
    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        self.0.borrow_mut().push((at.epoch, at.step, at.number("loss").unwrap()));
        Ok(())
    }
}

#[test]
fn logs_have_a_line_for_each_epoch_also_after_going_on() {
    let folder = Folder::new("logs");
    let (train, valid) = data::moons(150, 0.2, 1).split(0.7);
    let (csv, jsonl, state) = (folder.at("a/log.csv"), folder.at("log.jsonl"), folder.at("cut.state"));
    let logged = || full(&valid).callback(CsvLog::new(&csv)).callback(JsonlLog::new(&jsonl));
    let whole = logged().fit(&train).unwrap();
    let without_seconds = |path: &Path| -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(path).unwrap();
        let row = |line: &str| {
            let cells = line.split(',').map(str::to_string);
            cells.enumerate().filter(|(at, _)| *at != 2).map(|(_, cell)| cell).collect()
        };
        text.lines().map(row).collect()
    };
    let expected = without_seconds(&csv);
    assert_eq!(
        expected[0].join(","),
        "epoch,step,loss,accuracy,roc-auc,val_loss,val_accuracy,val_roc-auc,rate"
    );
    assert_eq!(expected.len(), whole.history().len() + 1);
    assert!(expected.iter().all(|row| row.len() == expected[0].len()), "the header fits every line");
    // Ended in the middle of epoch 4, by a crash that also cut a line, and gone on from a checkpoint in epoch 3.
    logged()
        .callback(CutAt(24, folder.at("later.state")))
        .callback(CutAt(17, state.clone()))
        .fit(&train)
        .unwrap();
    std::fs::write(&csv, std::fs::read_to_string(&csv).unwrap() + "3,21,0.0,0.1\n4,2").unwrap();
    logged().resume(&state).fit(&train).unwrap();
    assert_eq!(without_seconds(&csv), expected);
    let lines = std::fs::read_to_string(&jsonl).unwrap();
    let epochs: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, Vec::from_iter(1..=whole.history().len() as u64));
}

#[test]
fn early_stopping_gives_the_best_weights_back() {
    let (train, valid) = data::moons(60, 0.3, 2).split(0.5);
    // A rate so high that validation soon gets worse.
    let trainer = || {
        Trainer::new(Sequential::new().dense(64).relu().dense(2), CrossEntropy::new(), Adam::new(0.2))
            .epochs(100)
            .batch_size(8)
            .validate(&valid)
            .quiet()
    };
    let run = trainer().callback(EarlyStopping::on("val_loss").patience(3)).fit(&train).unwrap();
    let (epoch, best) = run.history().best("val_loss", false).unwrap();
    assert_eq!(run.history().len(), epoch + 4, "{run}");
    assert!(run.stopped().unwrap().contains("val_loss"), "{run}");
    assert!((run.evaluate(&valid).unwrap().number("loss").unwrap() - best).abs() < 1e-9);
    let last = trainer().callback(EarlyStopping::on("val_loss").patience(3).keep_last()).fit(&train).unwrap();
    let last_loss = *last.history().series("val_loss").unwrap().last().unwrap();
    assert!((last.evaluate(&valid).unwrap().number("loss").unwrap() - last_loss).abs() < 1e-9);
    let typo = trainer().callback(EarlyStopping::on("val_los")).fit(&train).err().unwrap().to_string();
    assert!(typo.contains("did you mean val_loss?"), "{typo}");
}

#[test]
fn a_loss_that_is_no_number_names_the_tensor_and_keeps_the_weights() {
    let set = data::moons(64, 0.1, 1);
    let model = Sequential::new().dense(8).relu().dense(2);
    // The logarithm of what training soon makes negative.
    let loss = |prediction: &Tensor, target: &Tensor| {
        (prediction.index_select(1, &Tensor::from([0i64])) + 0.9).ln().mean(..)
            + 0.0 * prediction.cross_entropy(target)
    };
    let trainer = Trainer::new(&model, loss, Sgd::new(0.05)).epochs(200).batch_size(16).quiet();
    let error = trainer.fit(&set).err().unwrap().to_string();
    assert!(
        error.contains("the loss is NaN in step") || error.contains("the loss is -inf in step"),
        "{error}"
    );
    assert!(error.contains("tests/trainer.rs"), "it names the line of the logarithm: {error}");
    let all_finite =
        |data: kiln::Data| data.as_slice::<f32>().unwrap().iter().all(|number| number.is_finite());
    assert!(model.parameters().iter().all(|(_, parameter)| all_finite(parameter.value().unwrap())));
}

#[test]
fn a_row_that_is_no_number_is_named() {
    let mut x = vec![0.5f32; 40];
    x[2 * 7 + 1] = f32::NAN;
    let set = Set::classes(x, Form::numbers(&[2]), vec![0; 20]).unwrap();
    let trainer = Trainer::new(Sequential::new().dense(2), CrossEntropy::new(), Sgd::new(0.1)).quiet();
    let error = trainer.fit(&set).err().unwrap().to_string();
    assert!(error.contains("row 7") && error.contains("place 1"), "{error}");
}

#[test]
fn every_row_is_seen_once_an_epoch_and_validation_comes_once_an_epoch() {
    struct Counted(Set, std::sync::Mutex<Vec<usize>>);
    impl Dataset for Counted {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn x(&self) -> Form {
            self.0.x()
        }
        fn y(&self) -> Form {
            self.0.y()
        }
        fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> data::Result<()> {
            self.1.lock().unwrap().push(row);
            self.0.read(row, draw, batch)
        }
    }
    let counted = |rows| Counted(data::moons(rows, 0.1, 1), Default::default());
    let (train, valid) = (counted(53), counted(17));
    let trainer = Trainer::new(model(), CrossEntropy::new(), Adam::new(0.01)).epochs(3).batch_size(8);
    trainer.validate(&valid).quiet().fit(&train).unwrap();
    let seen = train.1.into_inner().unwrap();
    assert_eq!(seen.len(), 3 * 53);
    for epoch in seen.chunks(53) {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, Vec::from_iter(0..53));
        assert_ne!(epoch, sorted, "it is shuffled");
    }
    assert_ne!(seen[..53], seen[53..106]);
    assert_eq!(valid.1.into_inner().unwrap().len(), 3 * 17);
}

#[test]
fn the_loss_of_an_epoch_is_the_mean_over_rows_however_batches_are_cut() {
    let set = data::moons(101, 0.2, 1);
    let run = |size: usize| {
        // A rate of nothing, so that every batch sees the same weights.
        let model = Sequential::new().seed(3).dense(8).relu().dense(2);
        let trainer = Trainer::new(model, CrossEntropy::new(), Sgd::new(0.0)).epochs(1).batch_size(size);
        let run =
            trainer.metrics(["accuracy", "f1 macro", "log-loss"]).validate(&set).quiet().fit(&set).unwrap();
        let numbers: Vec<f64> =
            run.history().names().iter().map(|name| run.history().series(name).unwrap()[0]).collect();
        numbers
    };
    let whole = run(101);
    for size in [1, 7, 32, 100] {
        for (a, b) in run(size).iter().zip(&whole) {
            assert!((a - b).abs() < 1e-6, "batches of {size}: {a} and {b}");
        }
    }
    assert!((whole[0] - whole[4]).abs() < 1e-6, "training and evaluation agree");
}

#[test]
fn class_weights_count_in_the_loss() {
    let set = Set::classes(vec![0f32; 10], Form::numbers(&[1]), vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    let lean = |weights: Option<ClassWeights>| {
        let model = Sequential::new().seed(1).dense(2);
        let trainer =
            Trainer::new(&model, CrossEntropy::new(), Sgd::new(1.0)).epochs(100).batch_size(10).quiet();
        match weights {
            Some(weights) => trainer.class_weights(weights).fit(&set).unwrap(),
            None => trainer.fit(&set).unwrap(),
        };
        let bias = model.parameters()[1].1.value().unwrap();
        let bias = bias.as_slice::<f32>().unwrap().to_vec();
        1.0 / (1.0 + (bias[0] - bias[1]).exp())
    };
    assert!((lean(None) - 0.1).abs() < 1e-3, "one in ten is of class 1");
    assert!((lean(Some(ClassWeights::Balanced)) - 0.5).abs() < 1e-3);
    assert!((lean(Some(ClassWeights::Given(vec![1.0, 3.0]))) - 0.25).abs() < 1e-3);
    let weighted = set.clone().weighted(vec![1., 1., 1., 1., 1., 1., 1., 1., 1., 27.]).unwrap();
    let model = Sequential::new().seed(1).dense(2);
    Trainer::new(&model, CrossEntropy::new(), Sgd::new(1.0))
        .epochs(100)
        .batch_size(10)
        .quiet()
        .fit(&weighted)
        .unwrap();
    let bias = model.parameters()[1].1.value().unwrap();
    let bias = bias.as_slice::<f32>().unwrap();
    assert!((1.0 / (1.0 + (bias[0] - bias[1]).exp()) - 0.75).abs() < 1e-3);
    let error = |weights| {
        let trainer = Trainer::new(Sequential::new().dense(2), CrossEntropy::new(), Sgd::new(1.0)).quiet();
        trainer.class_weights(weights).fit(&set).err().unwrap().to_string()
    };
    assert!(error(ClassWeights::Given(vec![1.0])).contains("1 class weight for 2 classes"));
}

#[test]
fn a_model_with_one_output_learns_two_classes_and_numbers() {
    let (train, test) = data::moons(400, 0.1, 1).split(0.8);
    let model = Sequential::new().dense(16).relu().dense(1);
    let trainer = Trainer::new(model, BinaryCrossEntropy::new(), Adam::new(0.02)).epochs(30).quiet();
    let run = trainer.metrics(["accuracy", "roc-auc"]).fit(&train).unwrap();
    let test = run.evaluate(&test).unwrap();
    assert!(test.number("accuracy").unwrap() > 0.95, "{test}");
    let x: Vec<f32> = (0..200).map(|row| row as f32 / 100.0 - 1.0).collect();
    let y = x.iter().map(|x| 3.0 * x + 1.0).collect();
    let line = Set::numbers(x, Form::numbers(&[1]), y, 1).unwrap();
    let trainer = Trainer::new(Sequential::new().dense(1), Mse::new(), Adam::new(0.1)).epochs(40).quiet();
    let run = trainer.metrics(["r2", "mae"]).fit(&line).unwrap();
    assert!(run.evaluate(&line).unwrap().number("r2").unwrap() > 0.999, "{run}");
    assert!((run.predict(&line).unwrap().outputs()[0] + 2.0).abs() < 0.05);
}

#[test]
fn mistakes_are_said_before_training() {
    let set = data::moons(50, 0.1, 1);
    let trainer = || Trainer::new(model(), CrossEntropy::new(), Adam::new(0.1)).quiet();
    let error = |trainer: Trainer<Sequential>| trainer.fit(&set).err().unwrap().to_string();
    assert!(error(trainer().metrics(["acuracy"])).contains("did you mean accuracy?"));
    assert!(error(trainer().metrics(["r2"])).contains("targets are classes"));
    assert!(error(trainer().batch_size(0)).contains("at least 1 row"));
    assert!(error(trainer().validate_fraction(1.5)).contains("1.5"));
    assert!(
        error(trainer().reduce_on_plateau(ReduceOnPlateau::new(0.1, 1), "val_loss")).contains("validate")
    );
    let empty = trainer().fit(&data::moons(0, 0.1, 1)).err().unwrap().to_string();
    assert!(empty.contains("training set is empty"), "{empty}");
    let softmax = Sequential::new().dense(2).softmax();
    let misfit = Trainer::new(softmax, CrossEntropy::new(), Adam::new(0.1)).quiet().fit(&set);
    assert!(misfit.err().unwrap().to_string().contains("softmax"));
    let wide = Sequential::new().layer(Dense::new(3, 2, Key::new(1)));
    let shape = Trainer::new(wide, CrossEntropy::new(), Adam::new(0.1)).quiet().fit(&set);
    assert!(shape.err().unwrap().to_string().contains("inner sizes differ"));
    let few = Trainer::new(Sequential::new().dense(1), CrossEntropy::new(), Adam::new(0.1)).quiet().fit(&set);
    let few = few.err().unwrap().to_string();
    assert!(few.contains("class"), "{few}");
}

#[test]
fn steps_can_be_counted_instead_of_epochs_and_time_limited() {
    let set = data::moons(100, 0.1, 1);
    let trainer = || Trainer::new(model(), CrossEntropy::new(), Adam::new(0.01)).batch_size(10).quiet();
    let run = trainer().steps(25).fit(&set).unwrap();
    assert_eq!((run.steps(), run.history().len()), (25, 3));
    let run = trainer().epochs(0).fit(&set).unwrap();
    assert_eq!((run.steps(), run.history().len()), (0, 0));
    let limit = TimeLimit::new(std::time::Duration::ZERO);
    let run = trainer().callback(limit).fit(&set).unwrap();
    assert_eq!(run.steps(), 1);
    assert!(run.stopped().unwrap().contains("time limit"));
}

#[test]
fn a_plan_of_fewer_steps_ends_the_schedule_there() {
    /// Plans anew in the fifth step.
    struct Fewer(u64);
    impl Callback for Fewer {
        fn after_step(&mut self, at: &mut Moment) -> kiln::Result<()> {
            if at.step == 5 {
                at.plan(self.0);
            }
            Ok(())
        }
    }
    let set = data::moons(100, 0.1, 1);
    let run = |planned: u64, fewer: u64| {
        let trainer =
            Trainer::new(model(), CrossEntropy::new(), Adam::new(0.01)).batch_size(10).steps(planned);
        let trainer = trainer.schedule_over(Cosine::new).callback(Fewer(fewer)).quiet();
        trainer.fit(&set).unwrap()
    };
    for (planned, fewer, steps) in [(100, 20, 20), (100, 3, 6), (100, 100, 100), (40, 15, 15)] {
        let run = run(planned, fewer);
        assert_eq!(run.steps(), steps, "{planned} planned, then {fewer}");
        let last = *run.history().series("rate").unwrap().last().unwrap();
        assert!(last < 0.07 * 0.01, "{planned} planned, then {fewer}: {last}");
    }
}

#[test]
fn reports_name_classes() {
    let set = data::moons(200, 0.1, 1).named(["upper", "lower"]);
    let trainer =
        Trainer::new(Sequential::new().dense(16).relu().dense(2), CrossEntropy::new(), Adam::new(0.03));
    let run = trainer.epochs(40).quiet().fit(&set).unwrap();
    let report = run.report(&set).unwrap();
    assert!(report.contains("upper") && report.contains("precision"), "{report}");
    let predictions = run.predict(&set).unwrap();
    assert_eq!((predictions.len(), predictions.width()), (200, 2));
    let sums: Vec<f32> = predictions.probabilities().chunks(2).map(|row| row.iter().sum()).collect();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
    let other = Set::classes(vec![0f32; 3], Form::numbers(&[3]), vec![0]).unwrap();
    assert!(run.predict(&other).unwrap_err().to_string().contains("[3]"));
    assert!(run.summary().contains("epochs"));
}

#[test]
fn event_files_hold_the_numbers_of_every_epoch() {
    let folder = Folder::new("events");
    let set = data::moons(64, 0.1, 1);
    let trainer =
        Trainer::new(model(), CrossEntropy::new(), Adam::new(0.01)).epochs(2).batch_size(16).quiet();
    let run = trainer.callback(TensorBoard::new(folder.path()).every_steps(2)).fit(&set).unwrap();
    let path = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(path).unwrap();
    // Whole records to the last byte; what is in them is checked with TensorBoard itself, by a script.
    let (mut at, mut records) = (0, 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        at += 8 + 4 + length + 4;
        records += 1;
    }
    assert_eq!((at, records), (bytes.len(), 1 + 8 / 2 + 2));
    let loss = (run.history().series("loss").unwrap()[1] as f32).to_le_bytes();
    assert!(bytes.windows(4).any(|window| window == loss));
}
