//! Mistakes come out where values are asked for, with the user's line; extreme numbers do no harm.

use kiln_nn::{
    Context, ConvOptions, Correction, CrossEntropyOptions, Gru, Key, Layer, Lstm, MultiHeadAttention,
    PoolOptions, PositionalEmbedding, Recurrence, RecurrentOptions, Reduction, Sequential, Tensor,
};

use super::{message, near};

#[test]
fn mistakes_name_the_users_line() {
    let x = Tensor::zeros([2, 3]);
    let here = |tensor: Tensor, line: u32, part: &str| {
        let error = tensor.error().expect("should be poisoned");
        let at = error.at.expect("should know its line");
        assert!(at.file().ends_with("mistakes.rs"), "{error}");
        assert_eq!(at.line(), line, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        // The first mistake stays while the tensor is used further.
        let further = (tensor + 1.0).sum(..).softmax(-1).reshape([7, -1]).error();
        assert_eq!(further.map(|error| error.to_string()), Some(error.to_string()));
    };
    here(&x + Tensor::zeros([4]), line!(), "[2, 3] and [4]");
    here(2.0 * &x - Tensor::zeros([4, 1]), line!(), "[2, 3] and [4, 1]");
    here(x.matmul(&x), line!(), "inner sizes differ, [2, 3] × [2, 3]");
    here(x.softmax(2), line!(), "softmax: there is no axis 2 in [2, 3]");
    here(x.sum([0, 0]), line!(), "axis 0 is named twice");
    here(x.mean(-3), line!(), "mean: there is no axis -3");
    here(x.reshape([4, -1]), line!(), "6 elements");
    here(x.reshape([4, 2]), line!(), "reshape");
    here(x.reshape([-1, -1]), line!(), "only one size may be -1");
    here(x.permute([0]), line!(), "permut");
    here(x.at((0, 3)), line!(), "index 3 is outside of axis 1");
    here(x.at(1..4), line!(), "1..4 is outside of axis 0");
    here(x.at((0, 0, 0)), line!(), "3 indices");
    here(x.narrow(1, 2, 2), line!(), "2 elements from 2");
    here(x.squeeze(0), line!(), "axis 0 of [2, 3] has size 2");
    here(x.broadcast_to([3, 3]), line!(), "doesn't broadcast to [3, 3]");
    here(Tensor::concat(&[&x, &Tensor::zeros([2, 2])], 0), line!(), "differ outside of axis 0");
    here(Tensor::stack(&[&x, &Tensor::zeros([2, 2])], 0), line!(), "shapes differ");
    here(x.cross_entropy(&Tensor::from([0, 1, 2])), line!(), "should be [2]");
    here(x.mse(&Tensor::zeros([2])), line!(), "differ");
    here(x.layer_norm(5, 1e-5), line!(), "layer_norm: there is no axis 5");
    here(x.dropout(1.5, &Key::new(0)), line!(), "1.5");
    here(x.max_pool2d(2), line!(), "4 axes");
    here(x.conv2d(&x, &ConvOptions::new()), line!(), "conv2d");
    here(Tensor::zeros([1, 2, 4, 4]).max_pool2d(PoolOptions::new(2).stride(0)), line!(), "at least 1");
    here(Tensor::einsum("ij,jk", &[&x]), line!(), "2 terms for 1");
    here(Tensor::einsum("ij,jk->ik", &[&x, &x]), line!(), "'j' is 3 in one operand and 2");
    here(Tensor::einsum("ijk->k", &[&x]), line!(), "doesn't name the 2 axes");
    here(Tensor::einsum("ij->ik", &[&x]), line!(), "'k' is in no operand");
    here(Tensor::new([1.0f32, 2.0], [3]), line!(), "[3]");
    here(x.gather(0, &Tensor::from([[0.5, 1.0, 0.0]])), line!(), "indices are integers");
    here(x.clamp(1.0, -1.0), line!(), "above the maximum");
    here(!&x, line!(), "not");
    here(x.top_k(1, 4).0, line!(), "4 elements");
    here(x.grad(&[&x]).remove(0), line!(), "sum() it");
    let sequence = Tensor::zeros([2, 5, 3]);
    let cell = Recurrence::new(&Tensor::zeros([8, 3]), &Tensor::zeros([8, 2]));
    here(x.lstm(&cell, None).1, line!(), "lstm: needs [batch, time, inputs], not [2, 3]");
    here(sequence.gru(&cell, None).0, line!(), "gru: weights [8, 3] and [8, 2] for inputs [2, 5, 3]");
    here(sequence.lstm(&cell, Some((&x, &x))).2, line!(), "a state [2, 3]; it should be [2, 2]");
    here(sequence.lstm(&cell.clone().lengths(&x), None).0, line!(), "lengths [2, 3]; it should be [2]");
    here(sequence.lstm(&cell.clone().peepholes(&x), None).0, line!(), "peepholes [2, 3]");
    here(sequence.lstm(&cell.lengths(&Tensor::zeros([2])), None).0, line!(), "lengths are integers, not f32");
    let (cx, key) = (Context::inference(), Key::new(1));
    let lstm = Lstm::new(3, 4, RecurrentOptions::new(), key.clone());
    here(lstm.forward(&x, &cx), line!(), "lstm: needs [batch, time, inputs]");
    here(lstm.forward_with(&sequence, Some((&x, &x)), &cx).0, line!(), "a state [2, 3] for 1 layers");
    let gru = Gru::new(4, 4, RecurrentOptions::new(), key.clone());
    here(gru.forward(&sequence, &cx), line!(), "gru: weights");
    let attention = MultiHeadAttention::new(3, 2, key.clone());
    here(attention.forward(&sequence, &cx), line!(), "3 features don't divide");
    let positions = PositionalEmbedding::new(4, 3, key);
    here(positions.forward(&sequence, &cx), line!(), "[4, 3] doesn't cover 5 steps");
    let [a, b] = x.split(1, [1, 1]);
    assert!(message(&a).contains("sum to axis 1") && message(&b) == message(&a));
    let [_, part] = x.chunk(1);
    assert!(message(&part).contains("2 equal parts"));
}

/// A difference that went below zero in `usize` isn't counted from the end.
#[test]
fn places_that_fit_into_no_tensor_are_not_wrapped_around() {
    let x = Tensor::zeros([2, 3]);
    let huge = usize::MAX;
    for wrong in [
        x.at(huge),
        x.at(huge - 1),
        x.at((.., huge)),
        x.at(..huge),
        x.at(0..huge),
        x.at(huge..),
        x.at(0..=huge),
        x.at(..=huge - 1),
        x.slice(1, huge),
        x.narrow(0, huge, 1),
    ] {
        assert!(message(&wrong).contains("outside of axis") || message(&wrong).contains("leave axis"));
    }
    for wrong in [
        x.sum(huge),
        x.sum([0, huge]),
        x.sum(vec![huge - 1]),
        x.sum(huge..),
        x.sum(..huge),
        x.sum(0..=huge),
        x.sum(..=huge - 1),
    ] {
        assert!(message(&wrong).contains("there is no axis"), "{}", message(&wrong));
    }
    for wrong in [x.reshape(huge), x.reshape([2, huge]), x.reshape(vec![huge, 3])] {
        assert!(message(&wrong).contains("reshape"), "{}", message(&wrong));
    }
    assert_eq!(x.sum(1usize..).to_vec::<f32>().unwrap(), [0.0, 0.0]);
    assert_eq!(*x.at(1usize..=1).shape(), [1, 3]);
}

#[test]
fn a_poisoned_tensor_answers_without_panicking() {
    let x = Tensor::zeros([2, 3]) + Tensor::zeros([4]);
    assert_eq!((x.rank(), x.elements(), x.size(0), x.size(-1)), (0, 1, 1, 1));
    assert_eq!(x.to_vec::<f32>().unwrap_err().to_string(), message(&x));
    assert_eq!(format!("{x}"), format!("error: {}", message(&x)));
    assert_eq!(format!("{x:?}"), format!("error: {}", message(&x)));
    for part in x.split_every(0, 2).iter().chain(&x.unbind(1)).chain(&x.grad(&[&x])) {
        assert_eq!(message(part), message(&x));
    }
    let (y, mean, var) = x.batch_norm_train(&Tensor::zeros([1]), &Tensor::zeros([1]), 0.1, 1e-5);
    for part in [y, mean, var, x.sort(0, false).0, Tensor::einsum("i->i", &[&x]), x.max_pool2d(2)] {
        assert_eq!(message(&part), message(&x));
    }
    let weight = Tensor::zeros([1, 1, 1]);
    assert_eq!(message(&weight.conv1d(&x, &ConvOptions::new())), message(&x));
    assert_eq!(message(&x.attention(&weight, &weight, &Default::default())), message(&x));
    assert_eq!(message(&weight.cross_entropy(&x)), message(&x));
    assert_eq!(message(&Tensor::concat(&[&weight, &x], 0)), message(&x));
}

#[test]
fn empty_tensors_fold_to_neutral_values() {
    let x = Tensor::zeros([2, 0]);
    near(&x.sum(1), &[0.0, 0.0]);
    near(&x.prod(1), &[1.0, 1.0]);
    near(&x.mean(1), &[f64::NAN, f64::NAN]);
    near(&x.max(1), &[f64::NEG_INFINITY, f64::NEG_INFINITY]);
    assert_eq!(*x.matmul(&Tensor::zeros([0, 3])).shape(), [2, 3]);
    near(&x.matmul(&Tensor::zeros([0, 3])), &[0.0; 6]);
    assert!(message(&x.argmax(1)).contains("empty"));
    assert!(x.reshape([0, 5]).to_vec::<f32>().unwrap().is_empty());
    assert_eq!(x.unbind(1).len(), 0);
}

#[test]
fn extreme_logits_stay_finite() {
    let x = Tensor::from([1e4, -1e4, 0.0]);
    near(&x.softmax(0), &[1.0, 0.0, 0.0]);
    near(&x.log_softmax(0), &[0.0, -2e4, -1e4]);
    near(&x.logsumexp(0), &[1e4]);
    near(&x.softplus(), &[1e4, 0.0, std::f64::consts::LN_2]);
    near(&x.log_sigmoid(), &[0.0, -1e4, -std::f64::consts::LN_2]);
    near(&x.bce_with_logits(&Tensor::from([1.0, 0.0, 1.0])), &[std::f64::consts::LN_2 / 3.0]);
    near(&x.elu(1.0).sum(..).grad(&[&x])[0], &[1.0, 0.0, 1.0]);
    let infinite = Tensor::from([f64::NEG_INFINITY, 1.0]);
    near(&infinite.logsumexp(0), &[1.0]);
    near(&infinite.softmax(0), &[0.0, 1.0]);
    near(&Tensor::from([f64::NEG_INFINITY]).logsumexp(0), &[f64::NEG_INFINITY]);
    assert_eq!(Tensor::from([70_000.0]).sigmoid().item().unwrap(), 1.0);
}

#[test]
fn zero_variance_gives_no_nan() {
    let x = Tensor::full([2, 4], 3.0);
    near(&x.layer_norm(-1, 1e-5), &[0.0; 8]);
    near(&x.layer_norm(-1, 1e-5).square().sum(..).grad(&[&x])[0], &[0.0; 8]);
    near(&x.std(.., Correction::SAMPLE).grad(&[&x])[0], &[0.0; 8]);
    near(&Tensor::zeros([3]).norm(.., 2.0).item().map(Tensor::from).unwrap(), &[0.0]);
    let zero = Tensor::zeros([3]);
    near(&zero.norm(.., 2.0).grad(&[&zero])[0], &[0.0; 3]);
}

#[test]
fn labels_that_are_no_class_show_as_nan_and_ignored_ones_do_not_count() {
    let logits = Tensor::from([[1.0, 2.0], [3.0, 1.0]]);
    assert!(logits.cross_entropy(&Tensor::from([0, 2])).item().unwrap().is_nan());
    assert!(logits.cross_entropy(&Tensor::from([0, -1])).item().unwrap().is_nan());
    let alone = logits.at(..1).cross_entropy(&Tensor::from([0])).item().unwrap();
    near(&logits.cross_entropy(&Tensor::from([0, -100])), &[alone]);
    let none = CrossEntropyOptions::new().reduction(Reduction::None).ignore_index(1);
    near(&logits.cross_entropy_with(&Tensor::from([0, 1]), &none), &[alone, 0.0]);
    near(&logits.at(0).cross_entropy(&Tensor::from(0)), &[alone]);
    let by_probability = logits.cross_entropy(&Tensor::from([[1.0, 0.0], [0.0, 1.0]]));
    near(&logits.cross_entropy(&Tensor::from([0u8, 1])), &[by_probability.item().unwrap()]);
}

#[test]
fn layers_larger_than_any_memory_are_refused() {
    let size = 1usize << 50;
    for text in
        [format!("dense {size}"), format!("reshape {size} 1, batch-norm"), format!("embedding {size} 3")]
    {
        let error = text.parse::<Sequential>().unwrap().build([0, 3]).unwrap_err().to_string();
        assert!(error.contains("no memory for"), "{text}: {error}");
    }
}
