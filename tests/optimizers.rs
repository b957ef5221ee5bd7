//! Fifty steps of each optimizer beside PyTorch's: `tests/reference/optim.jsonl`.

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
fn sgd_and_adam_in_all_variants_follow_pytorch_for_fifty_steps() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/optim.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut checked = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if let Some(()) = follow(&case) {
            checked.push(case["name"].as_str().unwrap().to_string());
        }
    }
    assert!(checked.len() >= 10, "{checked:?}");
    for name in ["sgd", "sgd_momentum", "sgd_nesterov", "sgd_weight_decay", "adam", "adam_f32", "adamw"] {
        assert!(checked.iter().any(|checked| checked == name), "{name} isn't among {checked:?}");
    }
}

/// Checks one case; `None` where kiln has no such optimizer.
fn follow(case: &Value) -> Option<()> {
    let params = &case["params"];
    let number = |name: &str| params[name].as_f64().unwrap_or(0.0);
    let switched = |name: &str| params[name].as_bool().unwrap_or(false);
    if number("dampening") != 0.0 || !params["clip_norm"].is_null() || switched("amsgrad") {
        return None;
    }
    match params["optimizer"].as_str().unwrap() {
        "SGD" => {
            let sgd = Sgd::new(number("lr")).momentum(number("momentum")).nesterov(switched("nesterov"));
            train(case, sgd.weight_decay(number("weight_decay")));
        }
        kind @ ("Adam" | "AdamW") => {
            let rate = number("lr");
            let adam = if kind == "AdamW" { Adam::decoupled(rate) } else { Adam::new(rate) };
            let (first, second) =
                (params["betas"][0].as_f64().unwrap(), params["betas"][1].as_f64().unwrap());
            train(
                case,
                adam.betas(first, second).epsilon(number("eps")).weight_decay(number("weight_decay")),
            );
        }
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
    let mut step = Step::train_with(&net, optimizer, 0, |net, _, [x, y]| {
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
