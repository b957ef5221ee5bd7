//! Fifty steps of each optimizer beside PyTorch's: `tests/reference/optim.jsonl`.

use kiln::optim::{Adadelta, Adagrad, Adamax, Groups, Lamb, Lbfgs, Lion, Muon, NAdam, RAdam, RmsProp};
use kiln::prelude::*;
use serde_json::Value;

struct Net {
    w1: Param,
    b1: Param,
    w2: Param,
    b2: Param,
}

parameters!(Net { w1, b1, w2, b2 });

#[test]
fn every_optimizer_follows_pytorch_for_fifty_steps() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/optim.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut checked = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if let Some(()) = follow(&case) {
            checked.push(case["name"].as_str().unwrap().to_string());
        }
    }
    assert_eq!(checked.len(), text.lines().count(), "{checked:?}");
    assert!(checked.len() >= 32, "{checked:?}");
}

/// Checks one case; `None` where kiln has no such optimizer.
fn follow(case: &Value) -> Option<()> {
    let params = &case["params"];
    let number = |name: &str| params[name].as_f64().unwrap_or(0.0);
    let switched = |name: &str| params[name].as_bool().unwrap_or(false);
    let (rate, decay, epsilon) = (number("lr"), number("weight_decay"), number("eps"));
    let betas = || (params["betas"][0].as_f64().unwrap(), params["betas"][1].as_f64().unwrap());
    macro_rules! adam {
        ($kind:ident) => {
            $kind::new(rate).betas(betas().0, betas().1).epsilon(epsilon).weight_decay(decay)
        };
    }
    match params["optimizer"].as_str().unwrap() {
        "SGD" => {
            let sgd = Sgd::new(rate).momentum(number("momentum")).nesterov(switched("nesterov"));
            train(case, sgd.dampening(number("dampening")).weight_decay(decay));
        }
        "Adam" => train(case, adam!(Adam).amsgrad(switched("amsgrad"))),
        "AdamW" => train(case, adam!(AdamW).amsgrad(switched("amsgrad"))),
        "Adamax" => train(case, adam!(Adamax)),
        "NAdam" => {
            let nadam = adam!(NAdam).decoupled(switched("decoupled_weight_decay"));
            train(case, nadam.momentum_decay(number("momentum_decay")));
        }
        "RAdam" => train(case, adam!(RAdam)),
        "RMSprop" => {
            let rule = RmsProp::new(rate).alpha(number("alpha")).epsilon(epsilon).weight_decay(decay);
            train(case, rule.momentum(number("momentum")).centered(switched("centered")));
        }
        "Adagrad" => {
            let rule = Adagrad::new(rate).rate_decay(number("lr_decay")).epsilon(epsilon).weight_decay(decay);
            train(case, rule.initial_sum(number("initial_accumulator_value")));
        }
        "Adadelta" => {
            train(case, Adadelta::new(rate).rho(number("rho")).epsilon(epsilon).weight_decay(decay));
        }
        "LBFGS" => train(case, Lbfgs::new(rate).history(number("history_size") as usize)),
        _ => return None,
    }
    Some(())
}

fn train(case: &Value, optimizer: impl Optimizer) {
    let name = case["name"].as_str().unwrap();
    let double = case["dtype"] == "f64";
    let tensor = |position: usize| {
        let tensor =
            Tensor::new(numbers(&case["inputs"][position]["data"]), shape(&case["inputs"][position]));
        if double { tensor } else { tensor.cast(DType::F32) }
    };
    let net = Net {
        w1: Param::new(&tensor(2)),
        b1: Param::new(&tensor(3)),
        w2: Param::new(&tensor(4)),
        b2: Param::new(&tensor(5)),
    };
    let (x, x_shape) = (tensor(0).to_data().unwrap(), shape(&case["inputs"][0]));
    let labels: Vec<i64> =
        numbers(&case["inputs"][1]["data"]).into_iter().map(|label| label as i64).collect();
    let mut options = StepOptions::new();
    if let Some(most) = case["params"]["clip_norm"].as_f64() {
        options = options.clip(Clip::GlobalNorm(most));
    }
    let mut step = Step::train_with(&net, optimizer, options, |net, _, [x, y]| {
        let hidden = (x.matmul(&net.w1.tensor().t()) + net.b1.tensor()).tanh();
        vec![(hidden.matmul(&net.w2.tensor().t()) + net.b2.tensor()).cross_entropy(&y)]
    });
    let tolerance = if double { 2e-6 } else { 2e-4 };
    let losses = numbers(&case["losses"]);
    assert_eq!(losses.len(), 50);
    for (number, &expected) in losses.iter().enumerate() {
        let inputs = [Input::from_data(&x, &x_shape), Input::new(&labels, &[labels.len()])];
        let loss = step.run_all(inputs).unwrap()[0].get(0).unwrap().as_f64();
        close(&format!("{name}, loss of step {number}"), loss, expected, tolerance);
        let Some(expected) = at(&case["trajectory"], number + 1) else { continue };
        for ((path, param), expected) in net.parameters().iter().zip(expected) {
            let found = param.value().unwrap().scalars();
            assert_eq!(found.len(), expected.len());
            for (position, (found, &expected)) in found.iter().zip(&expected).enumerate() {
                let what = format!("{name}, {path}[{position}] after step {}", number + 1);
                close(&what, found.as_f64(), expected, tolerance);
            }
        }
    }
}

/// The parameters that PyTorch had after a step, where they were kept.
fn at(trajectory: &Value, step: usize) -> Option<Vec<Vec<f64>>> {
    let parameters = trajectory.get(step.to_string())?.as_array()?;
    Some(parameters.iter().map(|parameter| numbers(&parameter["data"])).collect())
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn shape(tensor: &Value) -> Vec<usize> {
    numbers(&tensor["shape"]).into_iter().map(|size| size as usize).collect()
}

#[track_caller]
fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let near = (found - expected).abs() <= tolerance * (1.0 + expected.abs());
    assert!(near, "{what} is {found} instead of {expected}");
}

/// A parameter of two rows under `loss = Σ parameter · x`, whose gradient is `x`; what becomes of it in some steps.
fn pulled(optimizer: impl Optimizer, options: StepOptions, steps: usize) -> Vec<f64> {
    let start = Tensor::new(START.to_vec(), [2, 3]);
    let weight = Param::new(&start);
    let mut step = Step::train_with(&weight, optimizer, options, |w, _, [x]| vec![(w.tensor() * x).sum(..)]);
    for number in 0..steps {
        let x = gradient(number);
        step.run([Input::new(&x, &[2, 3])]).unwrap();
    }
    weight.value().unwrap().scalars().iter().map(|x| x.as_f64()).collect()
}

const START: [f64; 6] = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];

fn gradient(step: usize) -> [f64; 6] {
    std::array::from_fn(|place| ((step * 7 + place * 3) % 11) as f64 / 5.0 - 1.0)
}

fn all_close(found: &[f64], expected: &[f64]) {
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        close(&format!("number {position}"), *found, *expected, 1e-6);
    }
}

fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn lion_and_lamb_follow_their_papers() {
    let (mut lion, mut mean) = (START, [0.0; 6]);
    let (mut lamb, mut first, mut second) = (START, [0.0; 6], [0.0; 6]);
    for step in 0..50 {
        let g = gradient(step);
        let mut direction = [0.0; 6];
        for i in 0..6 {
            let sign = 0.9 * mean[i] + 0.1 * g[i];
            lion[i] = lion[i] * (1.0 - 0.01 * 0.1) - 0.01 * if sign == 0.0 { 0.0 } else { sign.signum() };
            mean[i] = 0.99 * mean[i] + 0.01 * g[i];
            first[i] = 0.9 * first[i] + 0.1 * g[i];
            second[i] = 0.999 * second[i] + 0.001 * g[i] * g[i];
            let m = first[i] / (1.0 - 0.9f64.powi(step as i32 + 1));
            let v = second[i] / (1.0 - 0.999f64.powi(step as i32 + 1));
            direction[i] = m / (v.sqrt() + 1e-6) + 0.05 * lamb[i];
        }
        let trust = length(&lamb) / length(&direction);
        (0..6).for_each(|i| lamb[i] -= 0.02 * trust * direction[i]);
    }
    all_close(&pulled(Lion::new(0.01).weight_decay(0.1), StepOptions::new(), 50), &lion);
    all_close(&pulled(Lamb::new(0.02).weight_decay(0.05), StepOptions::new(), 50), &lamb);
}

#[test]
fn muon_steps_are_nearly_orthogonal_and_vectors_get_adamw() {
    let after = pulled(Muon::new(0.1).weight_decay(0.0), StepOptions::new(), 1);
    // [2, 3]: more outputs than inputs, so steps are √1.5 times as long.
    let scale = 0.1 * 1.5f64.sqrt();
    let step: Vec<f64> = after.iter().zip(START).map(|(after, before)| (before - after) / scale).collect();
    let (a, b) = step.split_at(3);
    // The iteration leaves singular values between 0.7 and 1.2: the roots of the eigenvalues of the step times itself.
    let (aa, bb) = (length(a).powi(2), length(b).powi(2));
    let ab = a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let (mean, spread) = ((aa + bb) / 2.0, (((aa - bb) / 2.0).powi(2) + ab * ab).sqrt());
    let singular = [(mean - spread).sqrt(), (mean + spread).sqrt()];
    assert!(singular.iter().all(|value| (0.68..1.22).contains(value)), "{singular:?}");
    // And it turns the gradient by less than a right angle.
    assert!(step.iter().zip(gradient(0)).map(|(x, g)| x * g).sum::<f64>() > 0.0);
    let vector = |optimizer: Box<dyn Optimizer>| {
        let weight = Param::new(&Tensor::new(START.to_vec(), [6]));
        let mut step = Step::train(&weight, optimizer, |w, _, [x]| (w.tensor() * x).sum(..));
        (0..5).for_each(|number| {
            step.run([Input::new(&gradient(number), &[6])]).unwrap();
        });
        weight.value().unwrap()
    };
    assert_eq!(vector(Box::new(Muon::new(0.1))), vector(Box::new(AdamW::new(0.1))));
}

#[test]
fn gradients_are_clipped_as_pytorch_clips_them() {
    let moved = |clip: Clip| {
        let after = pulled(Sgd::new(1.0), StepOptions::new().clip(clip), 1);
        START.iter().zip(after).map(|(before, after)| before - after).collect::<Vec<_>>()
    };
    let g = gradient(0);
    let norm = length(&g);
    all_close(&moved(Clip::Value(0.3)), &g.map(|x| x.clamp(-0.3, 0.3)));
    all_close(&moved(Clip::Norm(0.5)), &g.map(|x| x * 0.5 / (norm + 1e-6)));
    all_close(&moved(Clip::GlobalNorm(0.5)), &g.map(|x| x * 0.5 / (norm + 1e-6)));
    all_close(&moved(Clip::GlobalNorm(100.0)), &g);
}

#[test]
fn penalties_and_groups_act_on_the_parameters_they_are_for() {
    let after = pulled(Sgd::new(0.1), StepOptions::new().l1(0.5).l2(0.25), 1);
    let g = gradient(0);
    let expected: Vec<f64> =
        (0..6).map(|i| START[i] - 0.1 * (g[i] + 0.5 * START[i].signum() + 0.5 * START[i])).collect();
    all_close(&after, &expected);

    struct Net {
        body: Param,
        head: Param,
    }
    parameters!(Net { body, head });
    let run = |groups: Groups| -> Result<Vec<f64>> {
        let net = Net {
            body: Param::new(&Tensor::new(vec![1.0f64, 1.0], [1, 2])),
            head: Param::new(&Tensor::new(vec![1.0f64, 1.0], [2])),
        };
        let mut step =
            Step::train(&net, groups, |net, _, [x]| ((net.body.tensor() + net.head.tensor()) * x).sum(..));
        step.run([Input::new(&[1.0f64], &[1])])?;
        let parameters = net.parameters();
        Ok(parameters.iter().map(|(_, param)| param.value().unwrap().get(0).unwrap().as_f64()).collect())
    };
    let decayed = Sgd::new(0.1).weight_decay(0.5);
    all_close(&run(Groups::new(decayed)).unwrap(), &[0.85, 0.85]);
    all_close(&run(Groups::new(decayed).no_decay_on_biases_and_norms()).unwrap(), &[0.85, 0.9]);
    all_close(&run(Groups::new(decayed).slower("bo*", 0.1)).unwrap(), &[0.985, 0.85]);
    all_close(&run(Groups::new(decayed).group("head", Sgd::new(0.2))).unwrap(), &[0.85, 0.8]);
    let error = run(Groups::new(decayed).slower("heed", 0.1)).unwrap_err().to_string();
    assert!(error.contains("matches heed; did you mean head?"), "{error}");
}

#[test]
fn accumulated_batches_are_one_large_batch() {
    let (x, y): (Vec<f64>, Vec<i64>) =
        ((0..48).map(|i| (i * 29 % 17) as f64 / 8.0 - 1.0).collect(), (0..12).map(|i| i % 3).collect());
    let train = |every: usize, batch: usize| {
        let w =
            Param::new(&Tensor::new((0..12).map(|i| i as f64 / 10.0 - 0.5).collect::<Vec<f64>>(), [4, 3]));
        let options = StepOptions::new().accumulate(every);
        let mut step = Step::train_with(&w, Adam::new(0.1), options, |w, _, [x, y]| {
            vec![x.matmul(&w.tensor()).cross_entropy(&y)]
        });
        for _ in 0..5 {
            for (x, y) in x.chunks(batch * 4).zip(y.chunks(batch)) {
                step.run([Input::new(x, &[batch, 4]), Input::new(y, &[batch])]).unwrap();
            }
        }
        assert_eq!(step.count().unwrap(), 5);
        w.value().unwrap().scalars().iter().map(|x| x.as_f64()).collect::<Vec<_>>()
    };
    all_close(&train(4, 3), &train(1, 12));
}

#[test]
fn averages_follow_the_weights_and_are_swapped_in_and_back() {
    let weight = Param::new(&Tensor::new(vec![1.0f64], [1]));
    let value = |weight: &Param| weight.value().unwrap().get(0).unwrap().as_f64();
    let mut step = Step::train_with(&weight, Sgd::new(0.125), StepOptions::new().ema(0.9), |w, _, [x]| {
        vec![(w.tensor() * x).sum(..)]
    });
    let (mut w, mut average) = (1.0, 1.0);
    for _ in 0..20 {
        step.run([Input::new(&[1.0f64], &[1])]).unwrap();
        w -= 0.125;
        average = 0.9 * average + 0.1 * w;
    }
    close("weight", value(&weight), w, 1e-9);
    step.swap_averages(&weight).unwrap();
    close("average", value(&weight), average, 1e-6);
    step.swap_averages(&weight).unwrap();
    close("weight again", value(&weight), w, 1e-9);

    let weight = Param::new(&Tensor::new(vec![0.0f64], [1]));
    let mut step = Step::train_with(&weight, Sgd::new(1.0), StepOptions::new().swa(5, 3), |w, _, [x]| {
        vec![(w.tensor() * x).sum(..)]
    });
    (0..12).for_each(|_| {
        step.run([Input::new(&[-1.0f64], &[1])]).unwrap();
    });
    step.swap_averages(&weight).unwrap();
    // The weight is 5, 8 and 11 after those steps.
    close("mean of weights", value(&weight), 8.0, 1e-9);
}

#[test]
fn a_restored_step_goes_on_to_the_same_bits() {
    let optimizers: [fn() -> Box<dyn Optimizer>; 12] = [
        || Box::new(Sgd::new(0.05).momentum(0.9).nesterov(true)),
        || Box::new(Adam::new(0.01).amsgrad(true)),
        || Box::new(AdamW::new(0.01)),
        || Box::new(Adamax::new(0.01)),
        || Box::new(NAdam::new(0.01)),
        || Box::new(RAdam::new(0.01)),
        || Box::new(RmsProp::new(0.01).momentum(0.9).centered(true)),
        || Box::new(Adagrad::new(0.05)),
        || Box::new(Adadelta::new(1.0)),
        || Box::new(Lion::new(0.01)),
        || Box::new(Lamb::new(0.01)),
        || Box::new(Lbfgs::new(0.2).history(3)),
    ];
    let net = || {
        let [a, b] = Key::new(4).split();
        Net {
            w1: Param::new(&a.normal([6, 4], 0.0, 0.5)),
            b1: Param::new(&Tensor::zeros([6])),
            w2: Param::new(&b.normal([3, 6], 0.0, 0.5)),
            b2: Param::new(&Tensor::zeros([3])),
        }
    };
    let options = StepOptions::new().seed(3).accumulate(2).ema(0.9).clip(Clip::GlobalNorm(1.0));
    let loss = |net: &Net, cx: &Context, [x, y]: [Tensor; 2]| {
        let hidden = (x.matmul(&net.w1.tensor().t()) + net.b1.tensor()).tanh().dropout(0.3, &cx.key());
        vec![(hidden.matmul(&net.w2.tensor().t()) + net.b2.tensor()).cross_entropy(&y)]
    };
    let x: Vec<f32> = (0..32).map(|i| (i * 13 % 9) as f32 / 4.0 - 1.0).collect();
    let y: Vec<i64> = (0..8).map(|i| i % 3).collect();
    let run = |step: &mut Step<2>, runs: usize| {
        (0..runs).for_each(|_| {
            step.run([Input::new(&x, &[8, 4]), Input::new(&y, &[8])]).unwrap();
        });
    };
    let bits =
        |net: &Net| -> Vec<Data> { net.parameters().iter().map(|(_, p)| p.value().unwrap()).collect() };
    for (number, optimizer) in optimizers.iter().enumerate() {
        let whole = net();
        run(&mut Step::train_with(&whole, optimizer(), options.clone(), loss), 15);

        let (before, after) = (net(), net());
        let mut step = Step::train_with(&before, optimizer(), options.clone(), loss);
        // An odd number: half of an accumulation is saved too.
        run(&mut step, 7);
        let state = step.state().unwrap();
        for ((_, from), (_, to)) in before.parameters().iter().zip(after.parameters()) {
            to.set(&Tensor::from_data(from.value().unwrap(), from.shape())).unwrap();
        }
        let mut step = Step::train_with(&after, optimizer(), options.clone(), loss);
        step.restore(&state).unwrap();
        run(&mut step, 8);
        assert_eq!(bits(&whole), bits(&after), "optimizer {number}");
    }
    let other = net();
    let mut step = Step::train(&other, Sgd::new(0.1), |net, cx, inputs| loss(net, cx, inputs).remove(0));
    step.restore(&[("w1.mean".to_string(), Data::F32(vec![0.0; 24]))]).unwrap();
    let error = step.run([Input::new(&x, &[8, 4]), Input::new(&y, &[8])]).unwrap_err().to_string();
    assert!(error.contains("w1.mean"), "{error}");
}
