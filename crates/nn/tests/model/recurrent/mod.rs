//! Recurrent cells against ONNX Runtime's (`values.jsonl`, made by `make.py`), and what the layers promise: a walk goes on
//! from its state, a task that needs memory is learnt, one thread and two give the same bits.

use kiln_nn::{
    Adam, Context, DType, Gru, Input, Key, Layer, Lstm, Module, Recurrence, RecurrentOptions, Rnn,
    Sequential, Step, Tensor,
};
use serde_json::Value;

fn tensor(value: &Value) -> Tensor {
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let shape: Vec<usize> = numbers(&value["shape"]).into_iter().map(|size| size as usize).collect();
    Tensor::new(numbers(&value["data"]), shape)
}

#[track_caller]
fn close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.error().map(|error| error.to_string()), None, "{what}");
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let distance = (found - expected).abs().max(..).item().unwrap();
    assert!(distance < 2e-6, "{what}: {distance}");
}

#[test]
fn every_kind_of_walk_gives_what_onnx_runtime_gives() {
    for (number, line) in include_str!("values.jsonl").lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let given = |name: &str| Some(&case[name]).filter(|value| !value.is_null()).map(tensor);
        let lengths = case["lengths"].as_array().map(|lengths| {
            Tensor::new(lengths.iter().map(|x| x.as_i64().unwrap()).collect::<Vec<i64>>(), [lengths.len()])
        });
        let cell = Recurrence {
            input_bias: given("input_bias"),
            hidden_bias: given("hidden_bias"),
            peepholes: given("peepholes"),
            lengths,
            clip: case["clip"].as_f64(),
            reverse: case["reverse"].as_bool().unwrap(),
            relu: case["relu"].as_bool().unwrap(),
            reset_first: case["reset_first"].as_bool().unwrap(),
            ..Recurrence::new(&tensor(&case["input"]), &tensor(&case["hidden"]))
        };
        let start: Vec<Tensor> = case["start"].as_array().unwrap().iter().map(tensor).collect();
        let x = tensor(&case["x"]);
        let (all, last) = match case["op"].as_str().unwrap() {
            "lstm" => {
                let (all, h, c) = x.lstm(&cell, start.first().zip(start.get(1)));
                (all, vec![h, c])
            }
            "gru" => {
                let (all, h) = x.gru(&cell, start.first());
                (all, vec![h])
            }
            _ => {
                let (all, h) = x.rnn(&cell, start.first());
                (all, vec![h])
            }
        };
        let name = format!("case {number}, {}", case["op"]);
        close(&all, &tensor(&case["all"]), &name);
        for (found, expected) in last.iter().zip(case["last"].as_array().unwrap()) {
            close(found, &tensor(expected), &format!("{name}, last"));
        }
    }
}

#[test]
fn a_walk_goes_on_from_its_state() {
    let x = Key::new(4).normal([3, 7, 2], 0.0, 1.0);
    let (first, rest) = (x.at((.., ..4)), x.at((.., 4..)));
    let options = || RecurrentOptions::new().layers(2);
    let cx = Context::inference();

    let lstm = Lstm::new(2, 4, options(), Key::new(1));
    let (whole, (h, c)) = lstm.forward_with(&x, None, &cx);
    let (a, (h1, c1)) = lstm.forward_with(&first, None, &cx);
    let (b, (h2, c2)) = lstm.forward_with(&rest, Some((&h1, &c1)), &cx);
    assert_eq!(h.shape().sizes(), [2, 3, 4]);
    for (found, expected) in [(&Tensor::concat(&[&a, &b], 1), &whole), (&h2, &h), (&c2, &c)] {
        close(found, expected, "lstm");
    }

    let gru = Gru::new(2, 4, options(), Key::new(1));
    let (whole, _) = gru.forward_with(&x, None, &cx);
    let (a, h) = gru.forward_with(&first, None, &cx);
    close(&Tensor::concat(&[&a, &gru.forward_with(&rest, Some(&h), &cx).0], 1), &whole, "gru");

    let rnn = Rnn::new(2, 4, options(), Key::new(1)).relu();
    let (whole, _) = rnn.forward_with(&x, None, &cx);
    let (a, h) = rnn.forward_with(&first, None, &cx);
    close(&Tensor::concat(&[&a, &rnn.forward_with(&rest, Some(&h), &cx).0], 1), &whole, "rnn");
}

#[test]
fn no_steps_give_no_results_and_leave_the_state() {
    let lstm = Lstm::new(2, 4, RecurrentOptions::new().bidirectional(), Key::new(1));
    let state = Tensor::ones([2, 3, 4]);
    let x = Tensor::zeros([3, 0, 2]);
    let (y, (h, c)) = lstm.forward_with(&x, Some((&state, &(&state * 2.0))), &Context::inference());
    assert_eq!(y.shape().sizes(), [3, 0, 8]);
    close(&h, &state, "h");
    close(&c, &(&state * 2.0), "c");
    assert_eq!(lstm.forward(&Tensor::zeros([0, 5, 2]), &Context::inference()).shape().sizes(), [0, 5, 8]);
}

#[test]
fn layers_start_as_pytorch_s_and_are_dropped_between_only() {
    let lstm = Lstm::new(7, 25, RecurrentOptions::new().layers(2).bidirectional().dropout(0.5), Key::new(3));
    let names: Vec<String> = lstm.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[4..6], ["weight_ih_l0_reverse", "weight_hh_l0_reverse"]);
    assert_eq!(lstm.parameters()[8].1.shape().sizes(), [100, 50]);
    for (name, param) in lstm.parameters() {
        let most = param.tensor().abs().max(..).item().unwrap();
        assert!((0.19..=0.2).contains(&most), "{name}: {most}");
    }
    let x = Key::new(4).normal([2, 3, 7], 0.0, 1.0);
    let run = |cx: Context| lstm.forward(&x, &cx);
    let used = run(Context::inference());
    close(&used, &run(Context::inference()), "in use");
    assert!((run(Context::training(Key::new(1))) - used).abs().max(..).item().unwrap() > 1e-3);
}

/// Sequences of four symbols, of which only the first tells the class.
fn first_symbols(count: usize, time: usize) -> (Vec<i64>, Vec<i64>) {
    let x = Key::new(8).randint([count, time], 0, 4).to_vec::<i64>().unwrap();
    let y = x.chunks(time).map(|row| row[0]).collect();
    (x, y)
}

fn share_right(model: &Sequential, x: &[i64], y: &[i64], time: usize) -> f64 {
    let x = Tensor::new(x, [y.len(), time]);
    let found = model.forward(&x, &Context::inference()).argmax(-1);
    found.eq(Tensor::new(y, [y.len()])).cast(DType::F32).mean(..).item().unwrap()
}

#[test]
fn the_first_symbol_is_remembered_to_the_end() {
    const TIME: usize = 12;
    let (x, y) = first_symbols(256, TIME);
    for text in [
        "embedding 4 8, lstm 24, last, dense 4",
        "embedding 4 8, gru 24, last, dense 4",
        "embedding 4 8, rnn 24, last, dense 4",
        "embedding 4 8, lstm 8 bidirectional, mean-over-time, dense 4",
        "embedding 4 16, positions 12, transformer 2 feedforward 32, mean-over-time, dense 4",
    ] {
        let model: Sequential = text.parse().unwrap();
        let _ = model.forward(&Tensor::new(&x[..TIME], [1, TIME]), &Context::inference());
        let mut step =
            Step::train(&model, Adam::new(1e-2), |m, cx, [x, y]| m.forward(&x, cx).cross_entropy(&y));
        for number in 0..600 {
            let (from, to) = (number % 4 * 64, number % 4 * 64 + 64);
            let (x, y) = (&x[from * TIME..to * TIME], &y[from..to]);
            let loss = step.run([Input::new(x, &[64, TIME]), Input::new(y, &[64])]).unwrap();
            if loss < 0.01 {
                break;
            }
        }
        drop(step);
        assert_eq!(share_right(&model, &x, &y, TIME), 1.0, "{text}");
    }
}

#[test]
fn a_thousand_steps_are_as_few_kernels_as_ten() {
    let lstm = Lstm::new(3, 4, RecurrentOptions::new(), Key::new(1));
    let kernels = |time: usize| {
        let mut step = Step::train(&lstm, Adam::new(1e-2), |m, cx, [x]| m.forward(&x, cx).square().mean(..));
        let x = vec![0.5f32; 2 * time * 3];
        let input = || Input::new(&x, &[2, time, 3]);
        assert!(step.run([input()]).unwrap() > 0.0);
        step.function().program([input()]).unwrap().kernels.len()
    };
    let [short, long] = [10, 1000].map(kernels);
    assert!(long <= short + 2 && long < 20, "{short} and {long} kernels");
}

#[test]
fn checkpoints_change_no_gradient_and_take_less_memory() {
    let time = 256;
    let run = |options: RecurrentOptions| {
        let lstm = Lstm::new(8, 32, options, Key::new(1));
        let x = Key::new(4).normal([4, time, 8], 0.0, 1.0);
        let loss = lstm.forward(&x, &Context::inference()).square().mean(..);
        let weights: Vec<Tensor> = lstm.parameters().iter().map(|(_, param)| param.tensor()).collect();
        let slopes = loss.grad(&weights);
        let numbers = x.to_vec::<f32>().unwrap();
        let mut step = Step::train(&lstm, Adam::new(1e-3), |m, cx, [x]| m.forward(&x, cx).square().mean(..));
        let input = || Input::new(&numbers, &[4, time, 8]);
        let program = step.function().program([input()]).unwrap();
        (slopes, program.arena)
    };
    let (whole, memory) = run(RecurrentOptions::new());
    let (again, less) = run(RecurrentOptions::new().checkpoint(8));
    for (found, expected) in again.iter().zip(&whole) {
        close(found, expected, "a gradient");
    }
    assert!(less < memory / 2, "{less} bytes, and {memory} without checkpoints");
}

#[test]
fn a_truncated_layer_learns_from_the_last_steps_alone() {
    let slope = |options: RecurrentOptions| {
        let lstm = Lstm::new(2, 4, options, Key::new(1));
        let x = Key::new(4).normal([3, 8, 2], 0.0, 1.0);
        let last = lstm.forward(&x, &Context::inference()).at((.., 7)).square().sum(..);
        last.grad(&[&x])[0].abs().sum([0, 2]).to_vec::<f32>().unwrap()
    };
    let whole = slope(RecurrentOptions::new());
    assert!(whole.iter().all(|&share| share > 0.0), "{whole:?}");
    let cut = slope(RecurrentOptions::new().truncate(4));
    assert_eq!(cut[..4], [0.0; 4], "{cut:?}");
    assert_eq!(cut[4..], whole[4..]);
    let none = Lstm::new(2, 4, RecurrentOptions::new().truncate(0), Key::new(1));
    let y = none.forward(&Tensor::zeros([1, 2, 2]), &Context::inference());
    assert!(y.error().unwrap().to_string().starts_with("scan: 0 steps to truncate after"));
}

#[test]
fn mistakes_in_a_scan_poison_all_of_it() {
    let x = Tensor::zeros([3, 2]);
    let ([h], [y]) = Tensor::scan([&Tensor::zeros([2])], [&x], |[h], [x]| {
        let both = Tensor::concat(&[&h, &x], 0);
        ([both], [h])
    });
    for value in [h, y] {
        let error = value.error().unwrap().to_string();
        assert!(error.contains("goes in as f32[2] and comes out as f32[4]"), "{error}");
        assert!(error.contains("recurrent/mod.rs"), "{error}");
    }
    let ([], [y]) = Tensor::scan([], [&x.matmul(&x)], |[], [x]| ([], [x]));
    assert!(y.error().unwrap().to_string().starts_with("matmul"));
}
