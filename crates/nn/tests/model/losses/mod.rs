//! Losses against PyTorch's (`values.jsonl`, made by `make.py`): value, gradient, reductions, weights. Logits far out, and
//! losses that don't fit the layer in front of them.

use kiln_nn::loss::{
    BinaryCrossEntropy, CrossEntropy, Ctc, CtcLengths, Dice, Focal, Hinge, Huber, KlDivergence, LogCosh,
    Loss, Mae, Mse, MultiMargin, Nll, PoissonNll, Quantile, SmoothL1, contrastive, cosine_embedding,
    triplet_margin,
};
use kiln_nn::{DType, Reduction, Tensor};
use serde_json::Value;

fn tensor(value: &Value) -> Tensor {
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let shape: Vec<usize> = numbers(&value["shape"]).into_iter().map(|size| size as usize).collect();
    let tensor = Tensor::new(numbers(&value["data"]), shape);
    if value["whole"].as_bool().unwrap() { tensor.cast(DType::I64) } else { tensor }
}

fn compute(name: &str, x: &[Tensor]) -> Tensor {
    let (kind, how) = name.split_once(' ').unwrap_or((name, "mean"));
    let reduction = match how {
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        _ => Reduction::Mean,
    };
    let weights = (how == "weighted").then(|| &x[2]);
    match kind {
        "mse" => Mse::new().reduction(reduction).weighted(&x[0], &x[1], weights),
        "smooth_l1" => SmoothL1::new().beta(0.7).reduction(reduction).of(&x[0], &x[1]),
        "cross_entropy" => CrossEntropy::new().reduction(reduction).weighted(&x[0], &x[1], weights),
        "cross_entropy_classes" => {
            let loss = CrossEntropy::new().class_weights(&x[2]).label_smoothing(0.1).ignore_index(3);
            loss.reduction(reduction).of(&x[0], &x[1])
        }
        "mae" => Mae::new().of(&x[0], &x[1]),
        "huber" => Huber::new().delta(0.6).of(&x[0], &x[1]),
        "log_cosh" => LogCosh::new().of(&x[0], &x[1]),
        "quantile" => Quantile::new().quantile(0.9).of(&x[0], &x[1]),
        "hinge" => Hinge::new().of(&x[0], &x[1]),
        "poisson" => PoissonNll::new().of(&x[0], &x[1]),
        "poisson_full" => PoissonNll::new().log_input(false).full(true).of(&x[0], &x[1]),
        "bce" => BinaryCrossEntropy::new().of(&x[0], &x[1]),
        "bce_positive" => BinaryCrossEntropy::new().positive_weight(&x[2]).of(&x[0], &x[1]),
        "kl" => KlDivergence::new().of(&x[0].log_softmax(-1), &x[1]),
        "kl_log" => KlDivergence::new().log_target(true).of(&x[0].log_softmax(-1), &x[1]),
        "nll" => Nll::new().class_weights(&x[2]).of(&x[0].log_softmax(-1), &x[1]),
        "multi_margin" => MultiMargin::new().of(&x[0], &x[1]),
        "multi_margin_2" => MultiMargin::new().power(2.0).margin(0.7).of(&x[0], &x[1]),
        "focal" => Focal::new().of(&x[0], &x[1]),
        "focal_binary" => Focal::new().of(&x[0], &x[1]),
        "dice" => Dice::new().of(&x[0], &x[1]),
        "cosine_embedding" => cosine_embedding(&x[0], &x[1], &x[2], 0.1),
        "triplet" => triplet_margin(&x[0], &x[1], &x[2], 0.8, 2.0),
        "contrastive" => contrastive(&x[0], &x[1], &x[2], 2.5),
        "ctc" => {
            let lengths = CtcLengths { inputs: x[2].clone(), targets: x[3].clone() };
            let reduction = match how {
                "zero" => Reduction::Sum,
                "empty" => Reduction::None,
                _ => reduction,
            };
            Ctc::new().zero_infinity(how == "zero").reduction(reduction).of(&x[0], &x[1], &lengths)
        }
        other => panic!("the test doesn't know {other}"),
    }
}

fn assert_close(found: &Tensor, expected: &Value, what: &str) {
    let expected = tensor(expected);
    assert_eq!(found.shape(), expected.shape(), "{what}: {:?}", found.error());
    let (found, expected) = (found.to_vec::<f64>().unwrap(), expected.to_vec::<f64>().unwrap());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{what}: {found}, not {expected}");
    }
}

#[test]
fn every_loss_and_its_gradient_are_pytorch_s() {
    for line in include_str!("values.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let operands: Vec<Tensor> = case["operands"].as_array().unwrap().iter().map(tensor).collect();
        let loss = compute(name, &operands);
        assert_close(&loss, &case["loss"], name);
        let gradient = loss.sum(..).grad(&[&operands[0]]).remove(0);
        if let Some(kind) = name.strip_prefix("ctc ") {
            // PyTorch's gradient of this loss is that behind a log-softmax: its rows sum to zero.
            let own = &gradient - &operands[0].exp() * gradient.sum_keepdim(-1);
            let theirs = tensor(&case["gradient"]);
            let theirs = &theirs - &operands[0].exp() * theirs.sum_keepdim(-1);
            let difference = (own - theirs).abs().max(..).item().unwrap();
            assert!(difference < 1e-9, "ctc {kind}: gradients differ by {difference}");
            continue;
        }
        assert_close(&gradient, &case["gradient"], &format!("gradient of {name}"));
    }
}

#[test]
fn logits_far_out_give_finite_losses_and_gradients() {
    let logits = Tensor::from([[1e4f32, -1e4, 0.0], [-1e4, 1e4, 1e4]]);
    let labels = Tensor::from([1, 0]);
    let masks = Tensor::from([[0f32, 1.0, 1.0], [1.0, 0.0, 0.0]]);
    let sides = &masks * 2.0 - 1.0;
    let losses: [(&str, Tensor); 12] = [
        ("cross-entropy", CrossEntropy::new().of(&logits, &labels)),
        ("smoothed", CrossEntropy::new().label_smoothing(0.1).of(&logits, &labels)),
        ("binary", BinaryCrossEntropy::new().of(&logits, &masks)),
        ("focal", Focal::new().of(&logits, &labels)),
        ("binary focal", Focal::new().of(&logits, &masks)),
        ("dice", Dice::new().of(&logits, &masks)),
        ("nll", Nll::new().of(&logits.log_softmax(-1), &labels)),
        ("log-cosh", LogCosh::new().of(&logits, &masks)),
        ("huber", Huber::new().of(&logits, &masks)),
        ("hinge", Hinge::new().of(&logits, &sides)),
        ("margin", MultiMargin::new().of(&logits, &labels)),
        ("kl", KlDivergence::new().of(&logits.log_softmax(-1), &masks.softmax(-1))),
    ];
    for (name, loss) in losses {
        assert!(loss.item().unwrap().is_finite(), "{name}: {loss}");
        let gradient = loss.grad(&[&logits]).remove(0).to_vec::<f32>().unwrap();
        assert!(gradient.iter().all(|x| x.is_finite()), "{name}: {gradient:?}");
    }
    // By hand: each of two labels is 20,000 below its winner.
    let loss = CrossEntropy::new().of(&logits, &labels).item().unwrap();
    assert!((loss - (20_000.0 + 20_000.0 + 2f64.ln()) / 2.0).abs() < 1.0, "{loss}");
}

#[test]
fn a_loss_that_does_not_fit_the_last_layer_says_so() {
    let x = Tensor::from([[1.0f32, 2.0], [0.5, -1.0]]);
    let (labels, masks) = (Tensor::from([0, 1]), Tensor::from([[0f32, 1.0], [1.0, 0.0]]));
    let error = |loss: Tensor| loss.error().map(|error| error.to_string()).unwrap_or_default();
    for (found, part) in [
        (
            error(CrossEntropy::new().of(&x.softmax(-1), &labels)),
            "went through a softmax already; leave it out",
        ),
        (error(CrossEntropy::new().of(&x.log_softmax(-1), &labels)), "a log-softmax already"),
        (error(CrossEntropy::new().of(&x.sigmoid(), &labels)), "a sigmoid already"),
        (error(BinaryCrossEntropy::new().of(&x.sigmoid(), &masks)), "went through a sigmoid already"),
        (error(BinaryCrossEntropy::new().of(&x.softmax(-1).reshape([2, 2]), &masks)), "a softmax already"),
        (error(Nll::new().of(&x.softmax(-1), &labels)), "use log_softmax"),
        (error(KlDivergence::new().of(&x.softmax(-1), &masks)), "use log_softmax"),
        (error(Mse::new().of(&x.softmax(-1), &labels)), "class numbers for 2 scores; use a cross-entropy"),
        (error(Hinge::new().of(&x.sigmoid(), &masks)), "can't leave the margin"),
        (error(Mse::new().of(&x, &Tensor::from([1f32, 2.0]))), "reshape one of them"),
    ] {
        assert!(found.contains(part), "{part} isn't in: {found}");
    }
    // Where it is meant, and where nothing is wrong.
    assert!(CrossEntropy::new().accept_any_output().of(&x.softmax(-1), &labels).error().is_none());
    assert!(Nll::new().of(&x.log_softmax(-1), &labels).error().is_none());
    assert!(CrossEntropy::new().of(&(x.tanh() * 3.0), &labels).error().is_none());
    // The gradient of a loss behind a sigmoid carries the sigmoid's slope once: σ - t.
    let gradient = BinaryCrossEntropy::new().reduction(Reduction::Sum).of(&x, &masks).grad(&[&x]).remove(0);
    let difference = (gradient - (x.sigmoid() - masks)).abs().max(..).item().unwrap();
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn weights_are_for_examples_and_a_closure_is_a_loss() {
    let (x, t) = (Tensor::from([[1f32, 2.0], [3.0, 4.0]]), Tensor::from([[0f32, 0.0], [0.0, 0.0]]));
    let error = Mse::new().weighted(&x, &t, Some(&Tensor::from([1f32, 2.0, 3.0])));
    assert!(error.error().unwrap().to_string().contains("one for each example"));
    let cubed = |x: &Tensor, t: &Tensor| (x - t).pow(3);
    assert_eq!(cubed.of(&x, &t).item().unwrap(), 25.0);
    assert_eq!(cubed.weighted(&x, &t, Some(&Tensor::from([1f32, 0.0]))).item().unwrap(), 4.5);
}
