//! What people write doesn't know the device: steps and functions on the CPU, on the reference, and on a reference that
//! completes late, moved from one to another, and mixed up.

#![cfg(feature = "cpu")]

use std::sync::Arc;

use kiln_device::Target;
use kiln_nn::{
    Adam, AdamW, Clip, DType, Dense, Device, Function, Input, Key, Layer, Module, Optimizer, Result,
    Sequential, Sgd, Step, StepOptions, Tensor, Variable,
};
use kiln_reference::ReferenceDevice;

fn devices() -> Vec<Arc<dyn Device>> {
    kiln_nn::device::register("reference", kiln_reference::open);
    ["cpu", "reference", "reference:late"].map(|name| kiln_nn::device(name).unwrap()).to_vec()
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * (1.0 + a.abs())
}

/// Rows of made-up numbers and classes.
fn batch(seed: usize, rows: usize, width: usize, classes: usize) -> (Vec<f32>, Vec<i64>) {
    let number = |at: usize| ((at * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0;
    let x = (0..rows * width).map(number).collect();
    (x, (0..rows).map(|row| ((row * 31 + seed) % classes) as i64).collect())
}

/// The losses of some steps of a model on a device, with batches of two sizes.
fn losses(
    model: &Sequential,
    shape: &[usize],
    optimizer: impl Optimizer,
    device: &Arc<dyn Device>,
) -> Vec<f32> {
    let options = StepOptions::new().clip(Clip::GlobalNorm(1.0)).accumulate(2).ema(0.9).seed(3);
    let mut step = Step::train_with(model, optimizer, options, |model, cx, [x, y]| {
        let logits = model.forward(&x, cx);
        vec![logits.cross_entropy(&y), logits]
    })
    .on(device);
    let width = shape.iter().product();
    (0..6)
        .map(|turn| {
            let rows = if turn % 3 == 2 { 2 } else { 4 };
            let (x, y) = batch(turn, rows, width, 3);
            let sizes: Vec<usize> = std::iter::once(rows).chain(shape.iter().copied()).collect();
            step.run([Input::new(&x, &sizes), Input::new(&y, &[rows])]).unwrap()
        })
        .collect()
}

#[test]
fn training_steps_give_the_same_losses_on_every_device() {
    let models: [(&str, &[usize]); 4] = [
        ("dense 8, relu, dropout 0.2, dense 3", &[5]),
        ("conv 4 3 padding 1, batch-norm, relu, pool 2, flatten, dense 3", &[1, 6, 6]),
        ("lstm 4, last, dense 3", &[3, 2]),
        ("attention 2, flatten, layer-norm, dense 3", &[3, 4]),
    ];
    for (text, shape) in models {
        let on = |device: &Arc<dyn Device>| {
            let model: Sequential = text.parse().unwrap();
            losses(&model.seed(1), shape, AdamW::new(1e-2), device)
        };
        let expected = on(&devices()[0]);
        for device in &devices()[1..] {
            let found = on(device);
            let same = found.iter().zip(&expected).all(|(a, b)| close(*a, *b));
            assert!(same, "{text} on {}: {found:?} instead of {expected:?}", device.name());
        }
    }
}

/// A device that lacks nearly everything: words of 32 bits alone, few buffers a kernel, nobody to help.
fn poor() -> Arc<dyn Device> {
    let target = Target {
        stores: vec![DType::I32, DType::F32],
        computes: vec![DType::Bool, DType::I32, DType::F32],
        most_bindings: 4,
        host: false,
        alignment: 256,
        ..Target::plain("poor")
    };
    Arc::new(ReferenceDevice::new().with_target(target))
}

#[test]
fn a_device_that_lacks_most_dtypes_trains_all_the_same() {
    let text = "conv 4 3 padding 1, batch-norm, relu, pool 2, flatten, dense 3";
    let on = |device: &Arc<dyn Device>| {
        let model: Sequential = text.parse().unwrap();
        losses(&model.seed(1), &[1, 6, 6], Adam::new(1e-2), device)
    };
    let (expected, found) = (on(&devices()[0]), on(&poor()));
    assert!(found.iter().zip(&expected).all(|(a, b)| close(*a, *b)), "{found:?} instead of {expected:?}");
    let mut wide = Function::new(|[x]: [Tensor; 1]| vec![x.cast(DType::F64) * 2.0]).on(&poor());
    let error = wide.run([Input::new(&[1f32], &[1])]).unwrap_err().to_string();
    assert!(error.contains("poor doesn't compute in f64") && error.contains("devices.rs"), "{error}");
}

#[test]
fn a_step_that_is_moved_goes_on_where_it_was() {
    let run = |moves: &[usize]| -> Result<Vec<f32>> {
        let model = Dense::new(4, 3, Key::new(2));
        let mut step =
            Step::train(&model, Adam::new(0.1), |m, cx, [x, y]| m.forward(&x, cx).cross_entropy(&y));
        let mut losses = Vec::new();
        for (turn, &device) in moves.iter().enumerate() {
            step.to(&model, &devices()[device])?;
            let (x, y) = batch(turn, 4, 4, 3);
            losses.push(step.run([Input::new(&x, &[4, 4]), Input::new(&y, &[4])])?);
            let on = model.parameters()[0].1.variable()?.device();
            assert_eq!(on.unwrap().name(), devices()[device].name());
            assert_eq!(step.count()?, turn as u64 + 1);
        }
        Ok(losses)
    };
    let stayed = run(&[0; 8]).unwrap();
    let moved = run(&[0, 0, 1, 2, 2, 1, 0, 2]).unwrap();
    assert!(moved.iter().zip(&stayed).all(|(a, b)| close(*a, *b)), "{moved:?} instead of {stayed:?}");
}

#[test]
fn devices_that_are_mixed_up_are_named() {
    let [cpu, reference, _] = &devices()[..] else { panic!("three devices") };
    let (here, there) = (Variable::filled("here", 1f32, [2]), Variable::filled("there", 2f32, [2]));
    here.to(cpu).unwrap();
    there.to(reference).unwrap();
    let error = (here.tensor() + there.tensor()).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains("here is on cpu") && error.contains("there on reference"), "{error}");
    assert!(error.contains("to(&device)"), "{error}");
    there.to(cpu).unwrap();
    assert_eq!((here.tensor() + there.tensor()).to_vec::<f32>().unwrap(), [3.0, 3.0]);

    // A function that was asked for another device than its model is on; a model of which one part was moved.
    let model = Dense::new(2, 2, Key::new(1));
    model.to(cpu).unwrap();
    let forward = |m: &Dense, cx: &kiln_nn::Context, [x]: [Tensor; 1]| m.forward(&x, cx);
    let mut function = Function::inference(&model, forward).on(reference);
    let x = [1f32, 2.0];
    let error = function.run([Input::new(&x, &[1, 2])]).unwrap_err().to_string();
    assert!(error.contains("reference") && error.contains("weight on cpu"), "{error}");
    model.parameters()[0].1.variable().unwrap().to(reference).unwrap();
    let mut function = Function::inference(&model, forward);
    let error = function.run([Input::new(&x, &[1, 2])]).unwrap_err().to_string();
    assert!(error.contains("weight is on reference") && error.contains("bias on cpu"), "{error}");
    // Moved whole, it runs, and the error has left nothing behind.
    model.to(reference).unwrap();
    assert_eq!(function.run([Input::new(&x, &[1, 2])]).unwrap()[0].len(), 2);
    assert_eq!(function.device().unwrap().name(), "reference");
    // An argument that is on another device.
    let mut function = Function::inference(&model, forward);
    let argument = Variable::filled("argument", 1f32, [1, 2]);
    argument.to(cpu).unwrap();
    let error = function.run([Input::variable(&argument)]).unwrap_err().to_string();
    assert!(error.contains("argument") && error.contains("cpu") && error.contains("reference"), "{error}");
}

#[test]
fn a_function_follows_its_variables() {
    let weight = Variable::filled("weight", 3f32, [2]);
    let held = weight.clone();
    let mut function = Function::new(move |[x]: [Tensor; 1]| vec![x * held.tensor()]);
    let x = [1f32, 2.0];
    for device in devices().iter().chain(&devices()) {
        weight.to(device).unwrap();
        let out = function.run([Input::new(&x, &[2])]).unwrap();
        assert_eq!(out[0].as_slice::<f32>(), Some(&[3.0, 6.0][..]));
        assert_eq!(function.device().unwrap().name(), device.name());
    }
}

/// A run that can't find its variables leaves no memory of theirs behind that a later one takes for current.
#[test]
fn a_compiled_function_refuses_variables_that_are_elsewhere_until_they_are_back() {
    let [cpu, reference, _] = &devices()[..] else { panic!("three devices") };
    let weight = Variable::filled("weight", 3f32, [2]);
    weight.to(cpu).unwrap();
    let held = weight.clone();
    let mut function = Function::new(move |[x]: [Tensor; 1]| vec![x * held.tensor()]);
    let compiled = function.compile(&[([2].into(), DType::F32)]).unwrap();
    let run = || compiled.run(&[Input::new(&[1f32, 2.0], &[2])]).map(|out| out[0].clone());
    assert_eq!(run().unwrap().as_slice::<f32>(), Some(&[3.0, 6.0][..]));
    weight.to(reference).unwrap();
    for turn in 0..2 {
        let error = run().expect_err(&format!("run {turn}")).to_string();
        assert!(error.contains("weight is on reference"), "{error}");
    }
    weight.to(cpu).unwrap();
    weight.write(&kiln_nn::Data::F32(vec![5.0, 7.0])).unwrap();
    assert_eq!(run().unwrap().as_slice::<f32>(), Some(&[5.0, 14.0][..]));
}

#[test]
fn a_function_follows_its_arguments() {
    let mut double = Function::new(|[x]: [Tensor; 1]| vec![x * 2.0]);
    let argument = Variable::filled("argument", 3f32, [2]);
    for device in devices().iter().chain(&devices()) {
        argument.to(device).unwrap();
        let out = double.run([Input::variable(&argument)]).unwrap();
        assert_eq!(out[0].as_slice::<f32>(), Some(&[6.0, 6.0][..]));
        assert_eq!(double.device().unwrap().name(), device.name());
    }
}

#[test]
fn results_can_stay_on_the_device() {
    for device in devices() {
        let (a, b) = (Variable::filled("a", 1f32, [3]), Variable::filled("b", 0f32, [3]));
        let mut twice = Function::new(|[x]: [Tensor; 1]| vec![x * 2.0 + 1.0]).on(&device);
        for _ in 0..20 {
            twice.run_into([Input::variable(&a)], std::slice::from_ref(&b)).unwrap();
            twice.run_into([Input::variable(&b)], std::slice::from_ref(&a)).unwrap();
        }
        // x → 2x + 1 forty times, from 1: 2⁴¹ - 1, as f32.
        assert_eq!(a.read().unwrap().as_slice::<f32>(), Some(&[(2f32).powi(41); 3][..]), "{}", device.name());
        let error = twice.run_into([Input::variable(&a)], std::slice::from_ref(&a)).unwrap_err();
        assert!(error.to_string().contains("written"), "{error}");
        let error = twice.run_into([Input::variable(&a)], &[Variable::filled("c", 0f32, [4])]).unwrap_err();
        assert!(error.to_string().contains('4'), "{error}");
    }
}

#[test]
fn what_is_started_is_done_when_its_results_are_read() {
    let late = &devices()[2];
    let model = Dense::new(3, 3, Key::new(4));
    let mut step =
        Step::train(&model, Sgd::new(0.1), |m, cx, [x, y]| m.forward(&x, cx).cross_entropy(&y)).on(late);
    let plain = Dense::new(3, 3, Key::new(4));
    let mut at_once = Step::train(&plain, Sgd::new(0.1), |m, cx, [x, y]| m.forward(&x, cx).cross_entropy(&y));
    let mut uploaded: Option<Vec<Variable>> = None;
    for turn in 0..10 {
        let (x, y) = batch(turn, 5, 3, 3);
        let inputs = [Input::new(&x, &[5, 3]), Input::new(&y, &[5])];
        let expected = at_once.run(inputs.clone()).unwrap();
        match uploaded.take() {
            Some(uploaded) => step.start([0, 1].map(|at| Input::variable(&uploaded[at]))).unwrap(),
            None => step.start(inputs).unwrap(),
        }
        // While it goes on, the next inputs go there, and the memory they were in before may be written over.
        let (x, y) = batch(turn + 1, 5, 3, 3);
        uploaded = step.upload([Input::new(&x, &[5, 3]), Input::new(&y, &[5])]).unwrap();
        assert!(uploaded.is_some());
        let found = step.results().unwrap()[0].get(0).unwrap().as_f64() as f32;
        assert!(close(found, expected), "step {turn}: {found} instead of {expected}");
    }
    // An index out of range is told by whoever asks for the results, and the function goes on.
    let mut pick = Function::new(|[x, y]: [Tensor; 2]| vec![x.gather(0, &y)]).on(late);
    let x = [1f32, 2.0, 3.0];
    pick.start([Input::new(&x, &[3]), Input::new(&[17i64], &[1])]).unwrap();
    let error = pick.results().unwrap_err().to_string();
    assert!(error.contains("17 is out of range"), "{error}");
    pick.start([Input::new(&x, &[3]), Input::new(&[2i64], &[1])]).unwrap();
    assert_eq!(pick.results().unwrap()[0].as_slice::<f32>(), Some(&[3.0][..]));
    late.sync().unwrap();
}

#[test]
fn the_hunt_for_what_is_not_finite_is_a_setting_of_each_device() {
    for device in devices() {
        let before = device.settings();
        let mut logarithm = Function::new(|[x]: [Tensor; 1]| vec![x.ln()]).on(&device);
        let x = [1f32, -1.0];
        assert!(logarithm.run([Input::new(&x, &[2])]).is_ok());
        device.configure(kiln_nn::DeviceSettings { check_finite: true, ..before }).unwrap();
        let error = logarithm.run([Input::new(&x, &[2])]).unwrap_err();
        device.configure(before).unwrap();
        assert_eq!(error.kind, kiln_nn::ErrorKind::NonFinite, "{}", device.name());
        let text = error.to_string();
        assert!(text.contains("ln") && text.contains("devices.rs"), "{}: {text}", device.name());
    }
}
