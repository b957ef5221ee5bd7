//! Training through the public door: networks learn, and the steps that teach them keep what they promise.

mod kit;

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln::optim::Groups;
use kiln::prelude::*;
use kit::{Mlp, digits};

#[test]
fn a_network_of_three_layers_learns_a_made_set() {
    let (pixels, labels) = digits(512, 3);
    let net = Mlp::new(&[64, 32, 16, 10], 1);
    let mut step = Step::train(&net, Sgd::new(0.1), |net, cx, [x, y]| net.forward(&x, cx).cross_entropy(&y));
    let mut last = f32::NAN;
    for _ in 0..30 {
        for (x, y) in pixels.chunks(32 * 64).zip(labels.chunks(32)) {
            last = step.run([Input::new(x, &[y.len(), 64]), Input::new(y, &[y.len()])]).unwrap();
        }
    }
    assert!(last < 0.1, "the loss is still {last}");
    let mut classify = Function::inference(&net, |net, cx, [x]| net.forward(&x, cx).argmax(-1));
    let (pixels, labels) = digits(200, 4);
    let out = classify.run([Input::new(&pixels, &[200, 64])]).unwrap();
    let found = out[0].as_slice::<i64>().unwrap();
    let correct = found.iter().zip(&labels).filter(|(a, b)| a == b).count();
    assert!(correct >= 190, "{correct} of 200 unseen ones are right");
}

#[test]
fn a_convolutional_network_with_batch_norm_learns_in_bytes() {
    struct Net {
        conv: Conv2d,
        norm: BatchNorm,
        out: Dense,
    }
    parameters!(Net { conv, norm, out });
    let [a, b] = Key::new(5).split();
    let net = Net {
        conv: Conv2d::new(1, 8, 3, ConvOptions::default(), a).without_bias(),
        norm: BatchNorm::new(8),
        out: Dense::new(8 * 3 * 3, 10, b),
    };
    let forward = |net: &Net, cx: &Context, x: &Tensor| {
        let x = x.cast(DType::F32) / 255.0;
        let x = net.norm.forward(&net.conv.forward(&x, cx), cx).relu();
        net.out.forward(&x.max_pool2d(2).flatten(1..), cx)
    };
    let mut step =
        Step::train(&net, Adam::new(0.01), move |net, cx, [x, y]| forward(net, cx, &x).cross_entropy(&y));
    let (pixels, labels) = digits(256, 3);
    let pixels: Vec<u8> = pixels.iter().map(|&x| (x.clamp(0.0, 1.0) * 255.0) as u8).collect();
    for _ in 0..15 {
        for (x, y) in pixels.chunks(64 * 64).zip(labels.chunks(64)) {
            step.run([Input::new(x, &[y.len(), 1, 8, 8]), Input::new(y, &[y.len()])]).unwrap();
        }
    }
    // With running statistics: they must have followed the data.
    let mut classify = Function::inference(&net, move |net, cx, [x]| forward(net, cx, &x).argmax(-1));
    let out = classify.run([Input::new(&pixels, &[256, 1, 8, 8])]).unwrap();
    let correct = out[0].as_slice::<i64>().unwrap().iter().zip(&labels).filter(|(a, b)| a == b).count();
    assert!(correct >= 245, "{correct} of 256 are right");
}

#[test]
fn a_changed_rate_takes_effect_in_the_same_program() {
    let weight = Param::new(&Tensor::from([1.0f32]));
    let mut step = Step::train(&weight, Sgd::new(0.5), |w, _, [x]| (w.tensor() * x).sum(..));
    let x = [1f32];
    step.run([Input::new(&x, &[1])]).unwrap();
    let program = step.function().program([Input::new(&x, &[1])]).unwrap();
    step.set_rate(0.25).unwrap();
    step.run([Input::new(&x, &[1])]).unwrap();
    assert_eq!(weight.value().unwrap().as_slice(), Some(&[1.0 - 0.5 - 0.25f32][..]));
    let same = step.function().program([Input::new(&x, &[1])]).unwrap();
    assert!(std::sync::Arc::ptr_eq(&program, &same));
    assert_eq!(step.count().unwrap(), 2);
}

#[test]
fn frozen_parameters_stay_where_they_are() {
    let net = Mlp::new(&[4, 8, 2], 1);
    net.layers[0].weight.freeze(true);
    let before = values(&net);
    let mut step = Step::train(&net, Adam::new(0.1), |net, cx, [x, y]| net.forward(&x, cx).cross_entropy(&y));
    let x = [0.5f32, -1.0, 2.0, 0.1];
    for _ in 0..3 {
        step.run([Input::new(&x, &[1, 4]), Input::new(&[1i64], &[1])]).unwrap();
    }
    let after = values(&net);
    assert_eq!(before[0], after[0]);
    for (position, name) in ["0.bias", "1.weight", "1.bias"].iter().enumerate() {
        assert_ne!(before[position + 1], after[position + 1], "{name} should have moved");
    }
}

#[test]
fn layers_thaw_when_it_is_their_turn() {
    let net = Mlp::new(&[4, 8, 2], 1);
    let rule = Groups::new(AdamW::new(0.1).weight_decay(0.1)).later("0.*", 0.5, 3);
    let mut step = Step::train(&net, rule, |net, cx, [x, y]| net.forward(&x, cx).cross_entropy(&y));
    let x = [0.5f32, -1.0, 2.0, 0.1];
    let mut seen = vec![values(&net)];
    for _ in 0..4 {
        step.run([Input::new(&x, &[1, 4]), Input::new(&[1i64], &[1])]).unwrap();
        seen.push(values(&net));
    }
    for (number, pair) in seen.windows(2).enumerate() {
        assert_eq!(pair[0][0] == pair[1][0], number < 3, "step {}: 0.weight", number + 1);
        assert_ne!(pair[0][2], pair[1][2], "step {}: 1.weight", number + 1);
    }
}

#[test]
fn the_last_short_batch_is_trained_too_and_shapes_share_the_parameters() {
    let weight = Param::new(&Tensor::from([0.0f32]));
    let mut step = Step::train(&weight, Sgd::new(1.0), |w, _, [x]| (w.tensor() * x).sum(..));
    let x = [1f32; 8];
    for rows in [8, 8, 3] {
        step.run([Input::new(&x[..rows], &[rows])]).unwrap();
    }
    assert_eq!(weight.value().unwrap().as_slice(), Some(&[-19.0f32][..]));
    assert_eq!(step.count().unwrap(), 3);
}

#[test]
fn a_step_meets_more_shapes_than_it_keeps_programs_for() {
    let weight = Param::new(&Tensor::from([0.0f32]));
    let traced = AtomicUsize::new(0);
    let x = [1f32; 64];
    {
        let traced = &traced;
        let mut step = Step::train(&weight, Sgd::new(1.0), move |w, _, [x]| {
            traced.fetch_add(1, Ordering::Relaxed);
            (w.tensor() * x).sum(..)
        });
        for _ in 0..2 {
            for rows in 1..=40 {
                step.run([Input::new(&x[..rows], &[rows])]).unwrap();
            }
        }
        // The last one is still there.
        let before = traced.load(Ordering::Relaxed);
        step.run([Input::new(&x[..40], &[40])]).unwrap();
        assert_eq!(traced.load(Ordering::Relaxed), before);
    }
    assert_eq!(
        traced.into_inner(),
        80,
        "40 shapes don't fit, so each is compiled anew the second time round"
    );
    assert_eq!(weight.value().unwrap().as_slice(), Some(&[-(2.0 * 820.0 + 40.0) as f32][..]));
}

#[test]
fn updates_read_the_old_values_of_one_another() {
    let a = Variable::filled("a", 1f32, [3]);
    let b = Variable::filled("b", 2f32, [3]);
    let mut swap = Function::with_updates({
        let (a, b) = (a.clone(), b.clone());
        move |[]: [Tensor; 0]| {
            let updates = vec![(a.clone(), b.tensor()), (b.clone(), a.tensor())];
            Ok((vec![a.tensor() * 10.0 + b.tensor()], updates))
        }
    });
    for (out, now) in [(12.0, (2.0, 1.0)), (21.0, (1.0, 2.0)), (12.0, (2.0, 1.0))] {
        assert_eq!(swap.run([]).unwrap()[0].as_slice(), Some(&[out as f32; 3][..]));
        assert_eq!(a.read().unwrap().as_slice(), Some(&[now.0 as f32; 3][..]));
        assert_eq!(b.read().unwrap().as_slice(), Some(&[now.1 as f32; 3][..]));
    }
}

#[test]
fn what_is_computed_from_a_variable_is_computed_from_its_old_value() {
    let v = Variable::filled("v", 3f32, [4, 4]);
    let mut grow = Function::with_updates({
        let v = v.clone();
        move |[]: [Tensor; 0]| {
            let old = v.tensor();
            // Reads in other kernels than the update's own: transposed, a product, a sum.
            let outputs = vec![old.t().matmul(&old).sum(..), old.sum(..), old.t() * 2.0];
            Ok((outputs, vec![(v.clone(), old.t() + 1.0)]))
        }
    });
    for value in [3.0f32, 4.0, 5.0] {
        let out = grow.run([]).unwrap();
        assert_eq!(out[0].as_slice(), Some(&[64.0 * value * value][..]));
        assert_eq!(out[1].as_slice(), Some(&[16.0 * value][..]));
        assert_eq!(out[2].as_slice(), Some(&[2.0 * value; 16][..]));
    }
}

fn values(net: &Mlp) -> Vec<Vec<f32>> {
    let value = |(_, param): (String, Param)| param.value().unwrap().as_slice::<f32>().unwrap().to_vec();
    net.parameters().into_iter().map(value).collect()
}
