//! Parts of a model with optimizers of their own, steps of one's own, and modules that follow others.

use kiln_nn::optim::{Adam, Groups, Lbfgs, Optimizer, RmsProp};
use kiln_nn::{
    BatchNorm, Context, Conv2d, ConvOptions, Dense, Function, Input, Key, Layer, Module, Param, Sequential,
    Sgd, Step, StepOptions, Tensor, Variable, parameters,
};

fn numbers(module: &impl Module) -> Vec<Vec<f32>> {
    let parameters = module.parameters().into_iter().map(|(_, param)| param.value().unwrap());
    let all = parameters.chain(module.states().into_iter().map(|(_, state)| state.read().unwrap()));
    all.map(|data| data.as_slice::<f32>().unwrap().to_vec()).collect()
}

#[track_caller]
fn near(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }
}

struct Gan {
    generator: Dense,
    discriminator: Dense,
}
parameters!(Gan { generator, discriminator });

impl Gan {
    fn new() -> Gan {
        let [first, second] = Key::new(3).split();
        Gan { generator: Dense::new(2, 3, first), discriminator: Dense::new(3, 1, second) }
    }

    fn fooled(&self, z: &Tensor, cx: &Context) -> Tensor {
        let made = self.generator.forward(z, cx).tanh();
        let score = self.discriminator.forward(&made, cx);
        score.bce_with_logits(&Tensor::ones([4, 1]))
    }

    fn told_apart(&self, z: &Tensor, real: &Tensor, cx: &Context) -> Tensor {
        let made = self.generator.forward(z, cx).tanh();
        let score = |x: &Tensor| self.discriminator.forward(x, cx);
        score(real).bce_with_logits(&Tensor::ones([4, 1]))
            + score(&made).bce_with_logits(&Tensor::zeros([4, 1]))
    }
}

const Z: [f32; 8] = [0.1, -0.4, 0.9, 0.3, -0.7, 0.2, 0.5, -1.0];
const REAL: [f32; 12] = [0.9, 0.8, -0.9, 0.7, 0.9, -0.8, 0.8, 0.8, -0.7, 0.9, 0.7, -0.9];

/// Two steps over shared modules, each of which trains its part while the loss goes through both.
#[test]
fn steps_over_parts_of_a_model_leave_the_other_part_alone() {
    let net = Gan::new();
    let (generator, discriminator) = (numbers(&net.generator), numbers(&net.discriminator));
    let mut teach_generator = Step::train(&net.generator, Adam::new(0.05), |_, cx, [z]| net.fooled(&z, cx));
    let mut teach_discriminator =
        Step::train(&net.discriminator, Sgd::new(0.1), |_, cx, [z, real]| net.told_apart(&z, &real, cx));
    let before = teach_generator.run([Input::new(&Z, &[4, 2])]).unwrap();
    assert_eq!(numbers(&net.discriminator), discriminator);
    assert_ne!(numbers(&net.generator), generator);
    let generator = numbers(&net.generator);
    teach_discriminator.run([Input::new(&Z, &[4, 2]), Input::new(&REAL, &[4, 3])]).unwrap();
    assert_eq!(numbers(&net.generator), generator);
    assert_ne!(numbers(&net.discriminator), discriminator);
    for _ in 0..20 {
        teach_generator.run([Input::new(&Z, &[4, 2])]).unwrap();
    }
    let after = teach_generator.run([Input::new(&Z, &[4, 2])]).unwrap();
    assert!(after < before, "{after} after {before}");
}

/// One program with a loss and an optimizer for each part does what two steps do from the same weights, and goes on from its state.
#[test]
fn one_step_with_an_optimizer_for_each_part_is_two_steps_at_once() {
    let inputs = || [Input::new(&Z, &[4, 2]), Input::new(&REAL, &[4, 3])];
    // Each by itself, the other part as it was.
    let (a, b) = (Gan::new(), Gan::new());
    Step::train(&a.generator, Adam::new(0.05), |_, cx, [z]| a.fooled(&z, cx))
        .run([Input::new(&Z, &[4, 2])])
        .unwrap();
    Step::train(&b.discriminator, Sgd::new(0.1).momentum(0.9), |_, cx, [z, real]| {
        b.told_apart(&z, &real, cx)
    })
    .run(inputs())
    .unwrap();

    let (adam, sgd) = (Adam::new(0.05), Sgd::new(0.1).momentum(0.9));
    let both = |net: &'static Gan| {
        Step::custom(0.05, StepOptions::new(), move |step, [z, real]| {
            let fooled = net.fooled(&z, step.context());
            let told = net.told_apart(&z, &real, step.context());
            step.minimise("generator", &net.generator, &adam, &fooled)?;
            step.minimise("discriminator", &net.discriminator, &sgd, &told)?;
            Ok(vec![fooled, told])
        })
    };
    let leaked = || -> &'static Gan { Box::leak(Box::new(Gan::new())) };
    let net = leaked();
    let mut step = both(net);
    assert_eq!(step.run_all(inputs()).unwrap().len(), 2);
    near(&numbers(&net.generator), &numbers(&a.generator));
    near(&numbers(&net.discriminator), &numbers(&b.discriminator));
    let names: Vec<String> = step.state().unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().any(|name| name.starts_with("generator.weight.")), "{names:?}");
    assert!(names.contains(&"discriminator.weight.momentum".to_string()), "{names:?}");

    // Cut here and gone on elsewhere, it is the same to the bit.
    let other = leaked();
    other.copy_from(net).unwrap();
    let mut resumed = both(other);
    resumed.restore(&step.state().unwrap()).unwrap();
    for _ in 0..3 {
        assert_eq!(step.run(inputs()).unwrap(), resumed.run(inputs()).unwrap());
    }
    assert_eq!(numbers(net), numbers(other));
    // A schedule is for all of them.
    step.set_rate(0.0).unwrap();
    let still = numbers(net);
    step.run(inputs()).unwrap();
    assert_eq!(numbers(net), still);
}

#[test]
fn parts_under_one_name_are_an_error_that_names_it() {
    let net = Gan::new();
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [z]| {
        let loss = net.fooled(&z, step.context());
        step.minimise("net", &net.generator, &Sgd::new(0.1), &loss)?;
        step.minimise("net", &net.generator, &Sgd::new(0.1), &loss)?;
        Ok(vec![loss])
    });
    let error = step.run([Input::new(&Z, &[4, 2])]).unwrap_err().to_string();
    assert!(
        error.contains("weight") && error.contains("\"net\"") && error.contains("name of its own"),
        "{error}"
    );
}

#[test]
fn gradients_of_ones_own_are_applied_and_wrong_ones_refused() {
    let layer = Conv2d::new(2, 3, 3, ConvOptions::new(), Key::new(1));
    let before = numbers(&layer);
    let shapes: Vec<_> = layer.parameters().iter().map(|(_, param)| param.shape()).collect();
    let mut step = Step::custom(0.5, StepOptions::new(), |step, []| {
        let ones: Vec<Tensor> = shapes.iter().map(|shape| Tensor::ones(shape)).collect();
        step.apply("", &layer, &Sgd::new(0.5), &ones)?;
        Ok(vec![])
    });
    step.run([]).unwrap();
    let expected: Vec<Vec<f32>> =
        before.iter().map(|values| values.iter().map(|value| value - 0.5).collect()).collect();
    near(&numbers(&layer), &expected);
    for wrong in [vec![], vec![Tensor::ones([1]), Tensor::ones([3])]] {
        let mut step = Step::custom(0.5, StepOptions::new(), |step, []| {
            step.apply("", &layer, &Sgd::new(0.5), &wrong)?;
            Ok(vec![])
        });
        assert!(step.run([]).is_err());
    }
}

/// Only one group's rule looks at all of its parameters together, and what it remembers is its own.
#[test]
fn groups_give_each_rule_all_of_its_parameters() {
    struct Net {
        body: Param,
        head: Param,
        tail: Param,
    }
    parameters!(Net { body, head, tail });
    let param = |start: [f32; 2]| Param::new(&Tensor::from(start));
    let net = || Net { body: param([3.0, 4.0]), head: param([5.0, -2.0]), tail: param([1.0, 1.0]) };
    let loss =
        |param: &Param, x: &Tensor| ((param.tensor() - x) * Tensor::from([1.0f32, 3.0])).square().sum(..);
    let train = |net: &Net, optimizer: Box<dyn Optimizer>, parts: fn(&Net) -> Vec<&Param>| {
        let mut step = Step::train(net, optimizer, |net, _, [x]| {
            parts(net).into_iter().map(|param| loss(param, &x)).reduce(|a, b| a + b).unwrap()
        });
        for _ in 0..6 {
            step.run([Input::new(&[0.5f32, -0.5], &[2])]).unwrap();
        }
        step.state().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let all = net();
    let groups = Groups::new(Sgd::new(0.05)).group("head", Lbfgs::new(0.5)).group("tail", Lbfgs::new(0.5));
    let names = train(&all, Box::new(groups), |net| vec![&net.body, &net.head, &net.tail]);
    assert!(names.contains(&"head.lbfgs.gradient".to_string()), "{names:?}");
    assert!(names.contains(&"tail.lbfgs.gradient".to_string()), "{names:?}");
    let alone = |optimizer: Box<dyn Optimizer>, of: fn(&Net) -> &Param| {
        let net = net();
        let param = of(&net);
        let mut step = Step::train(param, optimizer, |param, _, [x]| loss(param, &x));
        for _ in 0..6 {
            step.run([Input::new(&[0.5f32, -0.5], &[2])]).unwrap();
        }
        numbers(param)
    };
    near(&numbers(&all.body), &alone(Box::new(Sgd::new(0.05)), |net| &net.body));
    near(&numbers(&all.head), &alone(Box::new(Lbfgs::new(0.5)), |net| &net.head));
    near(&numbers(&all.tail), &alone(Box::new(Lbfgs::new(0.5)), |net| &net.tail));
}

/// As WGAN asks for: after each update the weights are cut off.
#[test]
fn weights_are_clipped_after_the_update_of_the_same_step() {
    let critic = Dense::new(2, 1, Key::new(5));
    let rule = RmsProp::new(0.1);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        let loss = critic.forward(&x, step.context()).mean(..);
        step.minimise("", &critic, &rule, &loss)?;
        for (_, param) in critic.parameters() {
            step.set(&param, &step.value(&param).clamp(-0.02, 0.02))?;
        }
        Ok(vec![loss])
    });
    step.run([Input::new(&[1f32, -1.0], &[1, 2])]).unwrap();
    assert!(numbers(&critic).iter().flatten().all(|weight| weight.abs() == 0.02), "{:?}", numbers(&critic));
}

/// A teacher inside of the step follows the new weights, as one outside of it does.
#[test]
fn a_teacher_follows_its_student_in_the_step_and_outside() {
    let model = |seed| Sequential::new().seed(seed).conv2d(2, 3).batch_norm().flatten().dense(2);
    let (student, teacher, outside) = (model(1), model(2), model(3));
    for net in [&student, &teacher, &outside] {
        net.build([2, 1, 4, 4]).unwrap();
    }
    teacher.copy_from(&student).unwrap();
    outside.copy_from(&student).unwrap();
    assert_eq!(numbers(&teacher), numbers(&student));
    let sgd = Sgd::new(0.1);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        let loss = student.forward(&x, step.context()).square().mean(..);
        step.minimise("", &student, &sgd, &loss)?;
        step.lerp(&teacher, &student, 0.25)?;
        Ok(vec![loss])
    });
    let x: Vec<f32> = (0..32).map(|at| (at as f32).cos()).collect();
    for _ in 0..3 {
        step.run([Input::new(&x, &[2, 1, 4, 4])]).unwrap();
        outside.lerp(&student, 0.25).unwrap();
    }
    near(&numbers(&teacher), &numbers(&outside));
    assert_ne!(numbers(&teacher), numbers(&student));
    // All the way is a copy.
    outside.lerp(&student, 1.0).unwrap();
    near(&numbers(&outside), &numbers(&student));
}

#[test]
fn with_accumulation_only_an_update_changes_parts_and_followers() {
    let (own, follower) = (Param::new(&Tensor::from([1f32])), Param::new(&Tensor::from([0f32])));
    let sgd = Sgd::new(1.0);
    let mut step = Step::custom(1.0, StepOptions::new().accumulate(2), |step, [x]| {
        let loss = (own.tensor() * x).sum(..);
        step.minimise("", &own, &sgd, &loss)?;
        step.lerp(&follower, &own, 0.5)?;
        Ok(vec![loss])
    });
    let mut run = |x: f32| {
        step.run([Input::new(&[x], &[1])]).unwrap();
        (numbers(&own)[0][0], numbers(&follower)[0][0])
    };
    assert_eq!(run(1.0), (1.0, 0.0));
    // The mean of 1 and 3.
    assert_eq!(run(3.0), (-1.0, -0.5));
    assert_eq!(run(0.0), (-1.0, -0.5));
}

#[test]
fn modules_that_differ_are_named_in_full_and_nothing_is_copied() {
    struct Two {
        first: Dense,
        extra: Option<Param>,
        norm: Option<BatchNorm>,
    }
    parameters!(Two { first, extra, norm });
    let own = Two {
        first: Dense::new(2, 3, Key::new(1)),
        extra: Some(Param::new(&Tensor::zeros([1]))),
        norm: None,
    };
    let other = Two { first: Dense::new(3, 3, Key::new(2)), extra: None, norm: Some(BatchNorm::new(4)) };
    let before = numbers(&own);
    for error in [own.copy_from(&other).unwrap_err(), own.lerp(&other, 0.5).unwrap_err()] {
        let error = error.to_string();
        for part in [
            "first.weight is f32[2, 3] and there f32[3, 3]",
            "extra isn't in the other",
            "norm.weight is only in the other",
            "norm.running_mean is only in the other",
        ] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }
    assert_eq!(numbers(&own), before);
    let unmade = Sequential::new().dense(3);
    let made = Sequential::new().dense(3);
    made.build([1, 2]).unwrap();
    assert!(unmade.copy_from(&made).unwrap_err().to_string().contains("build"));
}

/// What one stores window-first and the other as it is seen are the same numbers.
#[test]
fn numbers_that_are_stored_in_another_order_arrive_where_they_belong() {
    let values: Vec<f32> = (0..24).map(|at| at as f32).collect();
    let plain = Param::new(&Tensor::new(values.clone(), [2, 3, 4]));
    let turned = Param::stored(&Tensor::zeros([2, 3, 4]), &[2, 0, 1]);
    turned.copy_from(&plain).unwrap();
    assert_eq!(turned.value().unwrap().as_slice(), Some(&values[..]));
    turned.lerp(&plain, 0.5).unwrap();
    assert_eq!(turned.value().unwrap().as_slice(), Some(&values[..]));
    let zero = Param::new(&Tensor::zeros([2, 3, 4]));
    zero.lerp(&turned, 0.5).unwrap();
    let half: Vec<f32> = values.iter().map(|value| value * 0.5).collect();
    assert_eq!(zero.value().unwrap().as_slice(), Some(&half[..]));
}

/// A norm that two passes of one step go through moves its statistics by both.
#[test]
fn a_layer_that_a_step_calls_twice_keeps_both_calls() {
    let norm = BatchNorm::new(1);
    let means = |norm: &BatchNorm| norm.running_mean.read().unwrap().as_slice::<f32>().unwrap()[0];
    let mut step = Step::train(&norm, Sgd::new(0.0), |norm, cx, [a, b]| {
        (norm.forward(&a, cx) + norm.forward(&b, cx)).square().mean(..)
    });
    step.run([Input::new(&[1f32, 3.0], &[2, 1]), Input::new(&[10f32, 10.0], &[2, 1])]).unwrap();
    assert!((means(&norm) - (0.9 * 0.2 + 1.0)).abs() < 1e-6, "{}", means(&norm));
}

#[test]
fn an_update_in_the_closure_comes_before_the_optimizers() {
    let (weight, seen) = (Param::new(&Tensor::from([4f32])), Variable::scalar("seen", 0f32));
    let mut step = Step::train(&weight, Sgd::new(1.0), |weight, cx, [x]| {
        let variable = weight.variable().unwrap();
        cx.update(variable, cx.value(variable).clamp(-1.0, 1.0));
        cx.update(&seen, cx.value(&seen) + 1.0);
        cx.update(&seen, cx.value(&seen) + 1.0);
        (weight.tensor() * x).sum(..)
    });
    step.run([Input::new(&[0.25f32], &[1])]).unwrap();
    assert_eq!(weight.value().unwrap().as_slice(), Some(&[0.75f32][..]));
    assert_eq!(seen.read().unwrap().as_slice(), Some(&[2f32][..]));
    let mut read = Function::new(|[]: [Tensor; 0]| vec![seen.tensor()]);
    assert_eq!(read.run([]).unwrap()[0].as_slice(), Some(&[2f32][..]));
}
