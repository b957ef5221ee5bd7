//! Low-rank adapters: what they add, what training changes, and what is left of them when they are merged.

use kiln_nn::models::{Decoder, DecoderConfig};
use kiln_nn::{
    AdamW, Context, Dense, Embedding, Input, Key, Layer, Module, MultiHeadAttention, Step, Tensor, parameters,
};

const CODES: [i64; 12] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
const NEXT: [i64; 12] = [1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9];

fn decoder() -> Decoder {
    Decoder::new(&DecoderConfig::llama(12, 16, 2, 2), Key::new(1))
}

fn logits(model: &Decoder) -> Vec<f32> {
    let codes = Tensor::new(CODES.to_vec(), [2, 6]);
    model.forward(&codes, &Context::inference()).to_vec().unwrap()
}

/// The loss after some steps.
fn trained(model: &Decoder, steps: usize) -> f32 {
    let mut step = Step::train(model, AdamW::new(0.02), |model, cx, [x, y]| {
        model.forward(&x, cx).permute([0, 2, 1]).cross_entropy(&y)
    });
    let mut run = || step.run([Input::new(&CODES, &[2, 6]), Input::new(&NEXT, &[2, 6])]).unwrap();
    (0..steps).map(|_| run()).last().unwrap()
}

#[test]
fn only_adapters_are_trained_and_merged_they_compute_the_same() {
    let model = decoder();
    let before: Vec<_> = model.parameters().into_iter().map(|(path, p)| (path, p.value().unwrap())).collect();
    let plain = logits(&model);
    let error = model.adapt("blocks.*_norm.weight", 4, 8.0, Key::new(2)).unwrap_err().to_string();
    assert!(error.contains("attention_norm.weight: an adapter is for a matrix"), "{error}");
    assert!(model.parameters().iter().all(|(_, param)| !param.is_frozen() && param.adapter().is_none()));
    // Of a table of vectors as of dense layers.
    let count: usize = ["blocks.*.query.weight", "blocks.*.down.weight", "embedding.weight", "head.weight"]
        .map(|pattern| model.adapt(pattern, 4, 8.0, Key::new(2)).unwrap())
        .iter()
        .sum();
    assert_eq!((count, logits(&model)), (6, plain.clone()));
    let open = model.parameters().into_iter().filter(|(_, param)| !param.is_frozen());
    assert!(open.map(|(path, _)| path).all(|path| path.contains("lora_")));
    let first = trained(&model, 1);
    assert!(trained(&model, 60) < 0.8 * first);
    for (path, value) in &before {
        let now = model.parameters().into_iter().find(|(own, _)| own == path).unwrap().1;
        assert_eq!(now.value().unwrap(), *value, "{path} has changed");
    }
    let adapted = logits(&model);
    assert_ne!(adapted, plain);
    assert_eq!(model.merge_adapters().unwrap(), 6);
    assert_eq!(model.parameters().len(), before.len());
    let merged = logits(&model);
    for (a, b) in adapted.iter().zip(&merged) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn what_is_added_is_the_product_of_both_times_the_scale() {
    let layer = Dense::new(5, 3, Key::new(1));
    layer.adapt("weight", 2, 6.0, Key::new(2)).unwrap();
    let adapter = layer.weight.adapter().unwrap();
    let b = Tensor::new((0..6).map(|i| i as f32 - 2.5).collect::<Vec<f32>>(), [2, 3]);
    adapter.b.set(&b).unwrap();
    let x = Tensor::new((0..10).map(|i| (i as f32).sin()).collect::<Vec<f32>>(), [2, 5]);
    let numbers = |t: &Tensor| t.to_vec::<f32>().unwrap();
    let a = numbers(&adapter.a.tensor());
    let w = layer.weight.value().unwrap().as_slice::<f32>().unwrap().to_vec();
    let (b, xs, bias) = (numbers(&b), numbers(&x), numbers(&layer.bias.as_ref().unwrap().tensor()));
    let found = numbers(&layer.forward(&x, &Context::inference()));
    for row in 0..2 {
        for out in 0..3 {
            let mut sum = f64::from(bias[out]);
            for i in 0..5 {
                let low: f64 = (0..2).map(|r| f64::from(a[i * 2 + r]) * f64::from(b[r * 3 + out])).sum();
                sum += f64::from(xs[row * 5 + i]) * (f64::from(w[i * 3 + out]) + 3.0 * low);
            }
            assert!((f64::from(found[row * 3 + out]) - sum).abs() < 1e-5);
        }
    }
}

#[test]
fn layers_that_arent_dense_compute_with_the_sum() {
    struct Net {
        table: Embedding,
        attention: MultiHeadAttention,
    }
    parameters!(Net { table, attention });
    let [first, second] = Key::new(3).split();
    let net = Net { table: Embedding::new(12, 8, first), attention: MultiHeadAttention::new(8, 2, second) };
    let out = || -> Vec<f32> {
        let x = net.table.forward(&Tensor::new(CODES.to_vec(), [2, 6]), &Context::inference());
        net.attention.forward(&x, &Context::inference()).to_vec().unwrap()
    };
    let plain = out();
    assert_eq!(net.adapt("*weight", 2, 4.0, Key::new(5)).unwrap(), 3);
    assert_eq!(out(), plain);
    for (path, param) in net.parameters() {
        if path.ends_with("lora_b") {
            param.set(&(Tensor::ones(param.shape()) * 0.1)).unwrap();
        }
    }
    let adapted = out();
    assert_ne!(adapted, plain);
    assert_eq!(net.merge_adapters().unwrap(), 3);
    for (a, b) in adapted.iter().zip(&out()) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
    let error = net.adapt("nothing", 2, 4.0, Key::new(5)).unwrap_err().to_string();
    assert!(error.contains("no parameter's path matches nothing"), "{error}");
    let error = net.adapt("table.weight", 9, 4.0, Key::new(5)).unwrap_err().to_string();
    assert!(error.contains("rank 9 for a matrix [12, 8]; it is 1 to 8"), "{error}");
}
