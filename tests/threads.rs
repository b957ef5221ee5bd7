//! One thread and two give the same bits. The number of threads is the process's, so these have one of their own.

mod kit;

use kiln::Correction;
use kiln::prelude::*;
use kit::{Mlp, digits};

#[test]
fn fifty_steps_give_the_same_bits_on_one_thread_and_on_two() {
    let (pixels, labels) = digits(300, 3);
    let train = |threads: usize, adam: bool| {
        kiln::set_threads(threads).unwrap();
        let net = Mlp::new(&[64, 256, 128, 10], 1);
        let loss = |net: &Mlp, cx: &Context, [x, y]: [Tensor; 2]| {
            let noise = cx.key().normal([1, 64], 0.0, 0.05);
            net.forward(&(x + noise), cx).cross_entropy(&y)
        };
        let mut step = match adam {
            true => Step::train(&net, Adam::new(1e-3), loss),
            false => Step::train(&net, Sgd::new(0.1).momentum(0.9), loss),
        };
        let mut losses = Vec::new();
        for number in 0..50 {
            let start = number * 17 % 172;
            let (x, y) = (&pixels[start * 64..(start + 128) * 64], &labels[start..start + 128]);
            losses.push(step.run([Input::new(x, &[128, 64]), Input::new(y, &[128])]).unwrap().to_bits());
        }
        drop(step);
        (losses, net.bits())
    };
    for adam in [false, true] {
        let one = train(1, adam);
        assert_eq!(one, train(2, adam));
        assert_eq!(one, train(3, adam));
        // And the same again, which also says that nothing is left over from a run before.
        assert_eq!(one, train(1, adam));
    }
}

#[test]
fn convolutions_and_big_reductions_give_the_same_bits() {
    let run = |threads: usize| {
        kiln::set_threads(threads).unwrap();
        let key = Key::new(3);
        let x = key.derive(0).normal([4, 6, 17, 19], 0.0, 1.0).eval().unwrap();
        let w = key.derive(1).normal([8, 6, 3, 3], 0.0, 0.2).eval().unwrap();
        let y = x.conv2d(&w, &ConvOptions::default()).relu().max_pool2d(2);
        let loss = y.square().sum(..)
            + key.derive(2).uniform([3, 70_001], 0.0, 1.0).var(1, Correction::SAMPLE).sum(..);
        let grads = loss.grad(&[&x, &w]);
        let values = kiln::eval_all(&[&loss, &grads[0], &grads[1]]).unwrap();
        let bits =
            |t: &Tensor| t.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        values.iter().flat_map(bits).collect::<Vec<u32>>()
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn products_of_every_figure_and_scattered_sums_give_the_same_bits() {
    let run = |threads: usize| {
        kiln::set_threads(threads).unwrap();
        let mut bits = Vec::new();
        let shapes = [
            [1, 784, 256],
            [1, 3000, 2000],
            [2, 5000, 7],
            [7, 1, 9000],
            [300, 5000, 3],
            [129, 257, 65],
            [512, 512, 512],
        ];
        for (number, [m, k, n]) in shapes.into_iter().enumerate() {
            let key = Key::new(number as u64);
            let a = key.derive(0).normal([m, k], 0.0, 1.0);
            let b = key.derive(1).normal([n, k], 0.0, 1.0);
            let product = a.matmul(&b.t()).relu();
            let gradients = product.square().sum(..).grad(&[&a, &b]);
            for tensor in [&product, &gradients[0], &gradients[1]] {
                bits.extend(tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
            }
        }
        let key = Key::new(9);
        let rows = key.derive(0).randint([20_000], 0, 50);
        let sums = Tensor::zeros([50, 16]).index_add(0, &rows, &key.derive(1).normal([20_000, 16], 0.0, 1.0));
        bits.extend(sums.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits));
        bits
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(one == run(threads), "{threads} threads give other bits");
    }
}

#[test]
fn layers_for_sequences_give_the_same_bits() {
    let train = |text: &str, threads: usize| {
        kiln::set_threads(threads).unwrap();
        let codes: Vec<i64> = (0..16 * 20).map(|place| place * 7 % 11).collect();
        let model: Sequential = text.parse().unwrap();
        let _ = model.forward(&Tensor::new(&codes[..20], [1, 20]), &Context::inference());
        let mut step =
            Step::train(&model, Adam::new(1e-3), |m, cx, [x, y]| m.forward(&x, cx).cross_entropy(&y));
        let labels = &codes[..16];
        let losses: Vec<u32> = (0..5)
            .map(|_| step.run([Input::new(&codes, &[16, 20]), Input::new(labels, &[16])]).unwrap().to_bits())
            .collect();
        drop(step);
        let bits = |(_, param): (String, kiln::Param)| -> Vec<u32> {
            param.value().unwrap().as_slice::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        (losses, model.parameters().into_iter().flat_map(bits).collect::<Vec<u32>>())
    };
    for text in [
        "embedding 11 16, lstm 24 bidirectional dropout 0.2 layers 2, last, dense 11",
        "embedding 11 16, gru 40, mean-over-time, dense 11",
        "embedding 11 32, positions 20, transformer 4 dropout 0.1, last, dense 11",
    ] {
        let one = train(text, 1);
        assert_eq!(one, train(text, 2), "{text}");
        assert_eq!(one, train(text, 3), "{text}");
    }
}
