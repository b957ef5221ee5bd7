//! What becomes of variables in a step: whose they are, which averages they have, and which line asked for it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_nn::module::Visitor;
use kiln_nn::optim::{Optimizer, ParameterSlots, Slots, Trained};
use kiln_nn::{
    BatchNorm, Conv2d, ConvOptions, DType, Data, Device, DeviceSettings, Function, Input, Key, Module, Param,
    Result, Sgd, Step, StepOptions, Tensor, Variable, parameters,
};

fn param(start: f32) -> Param {
    Param::new(&Tensor::from([start]))
}

fn number(param: &Param) -> f32 {
    param.value().unwrap().as_slice::<f32>().unwrap()[0]
}

struct Net {
    a: Param,
    b: Param,
}
parameters!(Net { a, b });

#[test]
fn parts_whose_parameters_go_by_one_path_are_an_error_that_names_it() {
    let (net, other) = (Net { a: param(1.0), b: param(2.0) }, param(3.0));
    let sgd = Sgd::new(0.1).momentum(0.9);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        let loss = ((net.a.tensor() + net.b.tensor() + other.tensor()) * x).sum(..);
        step.minimise("", &net, &sgd, &loss)?;
        step.minimise("a", &other, &sgd, &loss)?;
        Ok(vec![loss])
    });
    let error = step.run([Input::new(&[1f32], &[1])]).unwrap_err().to_string();
    assert!(error.contains("a is changed twice") && error.contains("name of its own"), "{error}");
    assert_eq!([&net.a, &net.b, &other].map(number), [1.0, 2.0, 3.0]);
}

#[test]
fn a_variable_that_is_given_two_values_is_an_error_that_names_it() {
    let count = Variable::scalar("count", 1f32);
    let held = count.clone();
    let mut function = Function::with_updates(move |[x]: [Tensor; 1]| {
        let updates = vec![(held.clone(), held.tensor() + x.sum(..)), (held.clone(), held.tensor() * 2.0)];
        Ok((vec![x], updates))
    });
    let error = function.run([Input::new(&[1f32], &[1])]).unwrap_err().to_string();
    assert!(error.contains("count is given two new values") && error.contains("updates.rs"), "{error}");
    assert_eq!(count.read().unwrap().as_slice::<f32>(), Some(&[1f32][..]));
}

/// Evaluation sees the averages, whatever names the parts that were trained go by.
#[test]
fn averages_are_found_under_any_name_and_come_back() {
    let options = [StepOptions::new().ema(0.75), StepOptions::new().swa(1, 1)];
    for (options, averaged) in options.into_iter().zip([[-0.6875, 0.625], [-1.5, -1.0]]) {
        for name in ["", "part"] {
            let net = Net { a: param(0.0), b: param(2.0) };
            let (first, second) = (Sgd::new(1.0), Sgd::new(2.0));
            let mut step = Step::custom(1.0, options.clone(), |step, [x]| {
                let loss = ((net.a.tensor() + net.b.tensor()) * x).sum(..);
                step.minimise(if name.is_empty() { "a" } else { "of.a" }, &net.a, &first, &loss)?;
                step.minimise(if name.is_empty() { "b" } else { name }, &net.b, &second, &loss)?;
                Ok(vec![loss])
            });
            step.run([Input::new(&[1f32], &[1])]).unwrap();
            step.run([Input::new(&[1f32], &[1])]).unwrap();
            assert_eq!([&net.a, &net.b].map(number), [-2.0, -2.0]);
            step.swap_averages(&net).unwrap();
            assert_eq!([&net.a, &net.b].map(number), averaged, "{name:?}");
            step.swap_averages(&net).unwrap();
            assert_eq!([&net.a, &net.b].map(number), [-2.0, -2.0]);
            // A part of what is trained by itself.
            step.swap_averages(&net.b).unwrap();
            assert_eq!([&net.a, &net.b].map(number), [-2.0, averaged[1]]);
            assert!(step.swap_averages(&param(0.0)).is_err());
        }
    }
}

#[test]
fn averages_that_were_restored_are_found_after_a_run() {
    let build = |own: &'static Param| {
        Step::custom(1.0, StepOptions::new().ema(0.5), move |step, [x]| {
            let loss = (own.tensor() * x).sum(..);
            step.minimise("part", own, &Sgd::new(1.0), &loss)?;
            Ok(vec![loss])
        })
    };
    let own: &'static Param = Box::leak(Box::new(param(4.0)));
    let (mut first, mut second) = (build(own), build(own));
    let one = [1f32];
    first.run([Input::new(&one, &[1])]).unwrap();
    second.restore(&first.state().unwrap()).unwrap();
    let error = second.swap_averages(own).unwrap_err().to_string();
    assert!(error.contains("only known after a run"), "{error}");
    assert_eq!(number(own), 3.0);
    second.run([Input::new(&one, &[1])]).unwrap();
    second.swap_averages(own).unwrap();
    // 3.5 and then 2.
    assert_eq!(number(own), 2.75);
}

/// A norm in two fields follows another one as often in a step as outside of it: once.
#[test]
fn state_that_is_shared_follows_once() {
    struct Twice {
        first: Arc<BatchNorm>,
        second: Arc<BatchNorm>,
    }
    impl Module for Twice {
        fn visit(&self, visitor: &mut Visitor) {
            visitor.part("first", &*self.first);
            visitor.part("second", &*self.second);
        }
    }
    let twice = |mean: f32| {
        let norm = Arc::new(BatchNorm::new(1));
        norm.running_mean.write(&Data::F32(vec![mean])).unwrap();
        Twice { first: norm.clone(), second: norm }
    };
    let mean = |net: &Twice| net.second.running_mean.read().unwrap().as_slice::<f32>().unwrap()[0];
    let (inside, outside, towards) = (twice(0.0), twice(0.0), twice(8.0));
    let mut step = Step::custom(0.1, StepOptions::new(), |step, []| {
        step.lerp(&inside, &towards, 0.25)?;
        Ok(vec![])
    });
    step.run([]).unwrap();
    outside.lerp(&towards, 0.25).unwrap();
    assert_eq!([mean(&inside), mean(&outside)], [2.0, 2.0]);
    outside.copy_from(&towards).unwrap();
    assert_eq!(mean(&outside), 8.0);
}

#[test]
fn what_follows_is_computed_in_its_own_type() {
    for (dtype, wide) in [(DType::F32, DType::F32), (DType::F16, DType::F32), (DType::F64, DType::F64)] {
        let filled = |value: f64| Param::new(&Tensor::full([2, 3], value).cast(dtype));
        let (inside, outside, towards) = (filled(0.0), filled(0.0), filled(4.0));
        let mut step = Step::custom(0.1, StepOptions::new(), |step, []| {
            step.lerp(&inside, &towards, 0.1)?;
            Ok(vec![])
        });
        let graph = step.function().graph([]).unwrap();
        let large = graph.nodes.iter().filter(|node| *node.shape == [2, 3]);
        let widest = large.map(|node| node.dtype).max_by_key(|dtype| dtype.size());
        assert_eq!(widest, Some(wide), "{dtype}");
        assert_eq!(graph.nodes.iter().any(|node| node.dtype == DType::F64), dtype == DType::F64);
        step.run([]).unwrap();
        outside.lerp(&towards, 0.1).unwrap();
        for param in [&inside, &outside] {
            assert_eq!(param.variable().unwrap().dtype(), dtype);
            let found = param.tensor().cast(DType::F64).max(..).item().unwrap();
            assert!((found - 0.4).abs() < 2e-4, "{found}");
        }
    }
}

/// A rule that panics the first time.
struct Nervous(AtomicBool);

impl Optimizer for Nervous {
    fn rate(&self) -> f64 {
        3.0
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        parameter - gradient * &slots.rate
    }

    fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
        assert!(self.0.swap(true, Ordering::Relaxed), "the first time");
        all.iter().map(|trained| slots.one(self, trained, 1.0)).collect()
    }
}

#[test]
fn a_rule_that_panics_leaves_no_name_behind() {
    let (own, rule) = (param(1.0), Nervous(AtomicBool::new(false)));
    let mut step = Step::custom(1.0, StepOptions::new().accumulate(2), |step, [x]| {
        let loss = (own.tensor() * x).sum(..);
        step.minimise("part", &own, &rule, &loss)?;
        Ok(vec![loss])
    });
    let one = [1f32];
    step.run([Input::new(&one, &[1])]).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| step.run([Input::new(&one, &[1])]).map(|_| ())));
    assert!(panicked.is_err());
    step.run([Input::new(&one, &[1])]).unwrap();
    assert_eq!(number(&own), -2.0);
    let state = step.state().unwrap();
    let counts: Vec<&String> =
        state.iter().map(|(name, _)| name).filter(|name| name.ends_with("run count")).collect();
    assert_eq!(counts, ["run count"]);
}

#[test]
fn what_is_asked_for_belongs_to_the_line_that_asks() {
    let (own, other) = (Conv2d::new(1, 2, 2, ConvOptions::new(), Key::new(1)), param(1.0));
    let towards = Conv2d::new(1, 2, 2, ConvOptions::new(), Key::new(2));
    let mut lines = (0, 0, 0);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, []| {
        step.lerp(&own, &towards, 0.5)?;
        let value = step.value(&own.weight).sum(..).unsqueeze(0);
        step.set(&other, &value.cast(DType::F64))?;
        lines = (line!() - 3, line!() - 2, line!() - 1);
        Ok(vec![])
    });
    let graph = step.function().graph([]).unwrap();
    drop(step);
    let mut found = HashSet::new();
    for node in &graph.nodes {
        let at = node.at.unwrap();
        // What counts steps belongs to the line that makes them.
        assert!(at.file().ends_with("updates.rs"), "{:?} is of {at}", node.op);
        found.insert(at.line());
    }
    for line in [lines.0, lines.1, lines.2] {
        assert!(found.contains(&line), "nothing is of line {line}: {found:?}");
    }
}

#[test]
fn a_module_that_can_not_follow_names_the_line_that_asks() {
    let device: Arc<dyn Device> = Arc::new(kiln_reference::ReferenceDevice::new());
    device.configure(DeviceSettings { check_finite: true, ..device.settings() }).unwrap();
    let (own, towards) = (param(1.0), param(f32::MAX));
    own.to(&device).unwrap();
    towards.to(&device).unwrap();
    let error = own.lerp(&towards, 10.0).unwrap_err();
    let at = error.at.expect("should know its line");
    assert!(at.file().ends_with("updates.rs") && at.line() == line!() - 2, "{error}");
}
