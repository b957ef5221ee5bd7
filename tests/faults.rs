//! Faults that small neural-network projects are known for, each with a test that would see it here. Those that are seen elsewhere:
//!
//! | fault | test |
//! |---|---|
//! | statistics of validation and test rows taken for scaling; a deviation of zero | `only_training_rows_have_influence` and `constant_and_empty_columns_are_left_out_and_said` in `data` |
//! | duplicates across parts go unmentioned | `rows_that_stand_in_two_parts_are_counted_and_said` in `command` |
//! | preparation at prediction differs from training | `what_is_predicted_alone_is_what_was_counted_in_the_evaluation` in `command` |
//! | ragged rows, missing cells, wrong sizes, empty sets | `each_fault_names_its_place_and_mend` and `missing_numbers_are_filled_and_flagged…` in `data` |
//! | no magic number or version, the machine's order of bytes, bytes behind the end | `formats` |
//! | memory taken on a header's word, panics on damaged files | `hostile`; `absurd_sizes_with_a_right_checksum_are_refused` in `data` |
//! | a loader that deletes its input | `a_file_that_can_not_become_a_frame_is_said_and_kept` in `data` |
//! | JSON in a file called `.csv`, a header that doesn't fit | `logs_have_a_line_for_each_epoch_also_after_going_on` in `trainer` |
//! | checkpoints without what the optimizer remembers | `a_training_cut_at_any_step_goes_on_bit_for_bit` in `trainer` |
//! | recursion on deep graphs | `deep` |
//! | a copy of the set for each sample or step | `a_trainer_allocates_nothing_from_step_to_step` in `allocations` |
//! | no seed | `another_seed_gives_another_training_and_the_same_the_same` in `trainer` |

use kiln::data::{Form, Rng, Set};
use kiln::metrics::{Figure, Metric, Seen, Targets};
use kiln::prelude::*;
use kiln::trainer::{Callback, Checkpoints, Moment};

fn near(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} and {b:?}");
}

fn gradient(y: &Tensor, x: &Tensor) -> Vec<f64> {
    y.grad(&[x])[0].to_vec().unwrap()
}

#[test]
fn sums_of_half_floats_are_not_kept_in_half_floats() {
    // In f16 the sum would stop at 2048, where adding 1 changes nothing.
    let ones = Tensor::ones([100_000]).cast(DType::F16);
    assert_eq!(ones.mean(..).item().unwrap(), 1.0);
    let logits = Tensor::zeros([4096, 3]).cast(DType::F16);
    let labels = Tensor::zeros([4096]).cast(DType::I64);
    let loss = logits.cross_entropy(&labels).cast(DType::F32).item().unwrap();
    assert!((loss - 3f64.ln()).abs() < 1e-3, "{loss}");
}

#[test]
fn softmax_and_its_logarithm_stand_large_logits() {
    let logits = Tensor::from([[1e4, 0.0, -1e4]]);
    near(&logits.softmax(-1).to_vec::<f64>().unwrap(), &[1.0, 0.0, 0.0]);
    let loss = |label: i64| logits.cross_entropy(&Tensor::from([label])).item().unwrap();
    near(&[loss(0), loss(1), loss(2)], &[0.0, 1e4, 2e4]);
}

#[test]
fn a_mean_divides_the_gradient_once() {
    let slope = |rows: usize| {
        let w = Tensor::from([[0.3], [-0.2]]);
        let x = Tensor::from([[1.0, 2.0]]).repeat([rows, 1]);
        let y = Tensor::from([[1.0]]).repeat([rows, 1]);
        gradient(&Mse::new().of(&x.matmul(&w), &y), &w)
    };
    // The same row many times has the gradient of the row.
    near(&slope(1), &[-2.2, -4.4]);
    near(&slope(64), &slope(1));
}

#[test]
fn binary_cross_entropy_and_tanh_have_their_derivatives_once() {
    let x = Tensor::from([0.7, -1.2]);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let loss = BinaryCrossEntropy::new().of(&x, &Tensor::from([1.0, 0.0]));
    near(&gradient(&loss, &x), &[(sigmoid(0.7) - 1.0) / 2.0, sigmoid(-1.2) / 2.0]);
    // From above comes 3 and 5, not 1.
    let y = (x.tanh() * Tensor::from([3.0, 5.0])).sum(..);
    near(&gradient(&y, &x), &[3.0 * (1.0 - 0.7f64.tanh().powi(2)), 5.0 * (1.0 - 1.2f64.tanh().powi(2))]);
}

#[test]
fn ties_in_a_pool_share_one_gradient() {
    let x = Tensor::from(vec![2.0; 16]).reshape([1, 1, 4, 4]);
    let slopes = gradient(&x.max_pool2d(2).sum(..), &x);
    assert_eq!(slopes.iter().sum::<f64>(), 4.0, "{slopes:?}");
}

#[test]
fn width_is_not_height() {
    let x = Tensor::arange(0.0..2.0 * 5.0 * 9.0).reshape([1, 2, 5, 9]);
    let w = Tensor::ones([3, 2, 2, 4]);
    assert_eq!(x.conv2d(&w, &ConvOptions::new()).shape().sizes(), [1, 3, 4, 6]);
    assert_eq!(x.max_pool2d(2).shape().sizes(), [1, 2, 2, 4]);
    let last = x.max_pool2d(2).to_vec::<f64>().unwrap();
    assert_eq!(last[7], 34.0, "row 3, column 7 of the first channel");
}

#[test]
fn equal_values_are_different_nodes_and_exponents_have_gradients() {
    let (a, b) = (Tensor::from(2.0), Tensor::from(2.0));
    let y = &a * &b + &a * &a;
    near(&[y.grad(&[&a])[0].item().unwrap(), y.grad(&[&b])[0].item().unwrap()], &[6.0, 2.0]);
    let y = a.pow(&b);
    near(&[y.grad(&[&a])[0].item().unwrap(), y.grad(&[&b])[0].item().unwrap()], &[4.0, 4.0 * 2f64.ln()]);
}

#[test]
fn a_product_of_a_slice_reads_the_slice() {
    let x = Tensor::arange(0.0..12.0).reshape([6, 2]);
    let w = Tensor::from([[1.0], [10.0]]);
    let rows = |start: isize, end: isize| x.at((start..end, ..)).matmul(&w).to_vec::<f64>().unwrap();
    near(&rows(0, 2), &[10.0, 32.0]);
    near(&rows(4, 6), &[98.0, 120.0]);
    near(&x.t().at((.., 3..5)).t().matmul(&w).to_vec::<f64>().unwrap(), &[76.0, 98.0]);
}

#[test]
fn batches_are_counted_after_the_split_and_the_last_is_kept() {
    struct Rows(std::rc::Rc<std::cell::RefCell<Vec<(u64, u64)>>>);
    impl Callback for Rows {
        fn after_step(&mut self, at: &mut Moment) -> Result<()> {
            self.0.borrow_mut().push((at.batch, at.rows));
            Ok(())
        }
    }
    let seen = std::rc::Rc::default();
    let trainer = Trainer::new(Sequential::new().dense(2), CrossEntropy::new(), Sgd::new(0.1)).epochs(1);
    let trainer =
        trainer.batch_size(30).validate_stratified(0.3).callback(Rows(std::rc::Rc::clone(&seen))).quiet();
    trainer.fit(&data::moons(100, 0.1, 1)).unwrap();
    assert_eq!(*seen.borrow(), [(1, 30), (2, 60), (3, 70)]);
}

#[test]
fn a_set_that_is_sorted_by_class_is_split_at_random() {
    let set =
        Set::classes(vec![0f32; 200], Form::numbers(&[1]), (0..200).map(|row| row / 100).collect()).unwrap();
    let (first, rest) = set.split(0.5);
    for part in [first, rest] {
        let ones = part.labels().unwrap().iter().sum::<i64>();
        assert!((35..=65).contains(&ones), "{ones} of 100 are of class 1");
    }
}

#[test]
fn checkpoints_come_as_often_as_they_are_asked_for_and_hold_no_activations() {
    struct Saves(std::rc::Rc<std::cell::Cell<u32>>, std::path::PathBuf, Option<std::time::SystemTime>);
    impl Callback for Saves {
        fn after_step(&mut self, _: &mut Moment) -> Result<()> {
            let changed = std::fs::metadata(&self.1).and_then(|about| about.modified()).ok();
            if changed != self.2 {
                self.0.set(self.0.get() + 1);
                self.2 = changed;
            }
            Ok(())
        }
    }
    let folder = std::env::temp_dir().join(format!("kiln-faults-{}", std::process::id()));
    let (saves, last) = (std::rc::Rc::default(), Checkpoints::last(&folder));
    let model = Sequential::new().dense(50).relu().dense(2);
    Trainer::new(&model, CrossEntropy::new(), Adam::new(0.1))
        .epochs(10)
        .batch_size(10)
        .callback(Saves(std::rc::Rc::clone(&saves), last.clone(), None))
        .checkpoints(Checkpoints::new(&folder).every_epochs(4))
        .quiet()
        .fit(&data::moons(100, 0.1, 1))
        .unwrap();
    // After epochs 4 and 8, seen by the step that follows; that of the end comes after all steps.
    assert_eq!(saves.get(), 2);
    let store = kiln::store::TensorFile::load(&last).unwrap();
    let parameters = model.parameter_count();
    let numbers: usize = store.tensors.values().map(|stored| stored.data.len()).sum();
    assert!((3 * parameters..3 * parameters + 100).contains(&numbers), "weights and two moments: {numbers}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_trained_model_takes_batches_of_any_size() {
    let set = data::moons(64, 0.1, 1);
    let trainer = Trainer::new(
        Sequential::new().dense(8).batch_norm().relu().dense(2),
        CrossEntropy::new(),
        Adam::new(0.1),
    );
    let run = trainer.epochs(3).batch_size(64).quiet().fit(&set).unwrap();
    let whole = run.predict(&set).unwrap();
    for row in [0, 17, 63] {
        let one = run.predict(&set.clone().subset(vec![row])).unwrap();
        assert_eq!(one.outputs(), &whole.outputs()[2 * row..2 * row + 2]);
    }
}

#[test]
fn a_label_out_of_range_is_an_error_that_names_its_row() {
    struct Broken;
    impl Dataset for Broken {
        fn len(&self) -> usize {
            10
        }
        fn x(&self) -> Form {
            Form::numbers(&[2])
        }
        fn y(&self) -> Form {
            Form::class(3)
        }
        fn read(&self, row: usize, _: u64, batch: &mut Batch) -> data::Result<()> {
            batch.x.push(row as f64);
            batch.x.push(1.0);
            batch.y.push(if row == 6 { 3.0 } else { 1.0 });
            Ok(())
        }
    }
    let trainer = || Trainer::new(Sequential::new().dense(3), CrossEntropy::new(), Sgd::new(0.1)).quiet();
    let error = trainer().fit(&Broken).err().unwrap().to_string();
    assert!(error.contains("row 6 is 3") && error.contains("3 classes"), "{error}");
    let few = Trainer::new(Sequential::new().dense(2), CrossEntropy::new(), Sgd::new(0.1)).quiet();
    assert!(few.fit(&Broken).err().unwrap().to_string().contains("2 outputs for 3 classes"));
}

#[test]
fn a_weighted_mean_over_classes_is_not_a_mean_over_batches() {
    // Macro F1 of everything, not the mean of the batches' F1.
    let mut rng = Rng::new(2);
    let logits: Vec<f32> = (0..300).map(|_| rng.normal() as f32).collect();
    let labels: Vec<i64> = (0..100).map(|_| rng.below(3) as i64).collect();
    let value = |size: usize| {
        let mut metric: Figure = "f1 macro".parse().unwrap();
        for (outputs, labels) in logits.chunks(3 * size).zip(labels.chunks(size)) {
            metric.update(&Seen { outputs, width: 3, targets: Targets::Classes(labels) }).unwrap();
        }
        metric.value()
    };
    near(&[value(7), value(1)], &[value(100), value(100)]);
}
