//! Layers against PyTorch's (`values.jsonl`, made by `make.py`), and what kiln's have of their own: sizes found from the
//! data, text forms, initial values, dropout, freezing, summaries.

use kiln_nn::sequential::{Blended, alike};
use kiln_nn::{
    Context, DType, Dense, Dropout, Fan, Init, Join, Key, Layer, Module, Param, RecurrentOptions, Sequential,
    Sgd, Step, StepOptions, Summary, Tensor, TransformerOptions, parameters,
};
use serde_json::Value;

fn tensor(value: &Value) -> Tensor {
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let shape: Vec<usize> = numbers(&value["shape"]).into_iter().map(|size| size as usize).collect();
    Tensor::new(numbers(&value["data"]), shape)
}

fn assert_close(found: &Tensor, expected: &Value, what: &str) {
    let expected = tensor(expected);
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let (found, expected) = (found.to_vec::<f64>().unwrap(), expected.to_vec::<f64>().unwrap());
    let size = expected.iter().fold(1.0f64, |size, x| size.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 2e-5 * size, "{what}: {found} instead of {expected}");
    }
}

#[test]
fn every_layer_computes_what_pytorch_s_does() {
    let text = include_str!("values.jsonl");
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = format!("{} of {}", case["text"].as_str().unwrap(), case["input"]["shape"]);
        let model: Sequential = case["text"].as_str().unwrap().parse().unwrap();
        assert!(alike(&model.to_text().unwrap(), case["text"].as_str().unwrap()), "{name}");
        let x = tensor(&case["input"]);
        let whole = name.starts_with("embedding");
        let x = x.cast(if whole { DType::I64 } else { DType::F32 });
        model.build(x.shape()).unwrap_or_else(|_| x.shape());
        let _ = model.forward(&x, &Context::inference());
        let parameters = model.parameters();
        assert_eq!(parameters.len(), case["parameters"].as_object().unwrap().len(), "{name}");
        for (path, param) in &parameters {
            param.set(&tensor(&case["parameters"][path])).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let training = case["training"].as_bool().unwrap();
        let context = if training { Context::training(Key::new(1)) } else { Context::inference() };
        let y = model.forward(&x, &context);
        assert_close(&y, &case["output"], &name);
        let loss = (&y * tensor(&case["upstream"])).sum(..);
        if !whole {
            assert_close(&loss.grad(&[&x])[0], &case["input_gradient"], &format!("{name}: gradient"));
        }
        for (path, param) in &parameters {
            let p = param.tensor();
            let y = match loss.grad(&[&p]).remove(0) {
                gradient if gradient.error().is_none() => gradient,
                gradient => panic!("{name} {path}: {:?}", gradient.error()),
            };
            assert_close(&y, &case["gradients"][path], &format!("{name}: gradient of {path}"));
        }
    }
}

#[test]
fn sizes_are_found_from_the_first_input() {
    let model =
        Sequential::new().conv2d(4, 3).batch_norm().relu().max_pool2d(2).flatten().dense(8).named("head");
    assert!(model.parameters().is_empty());
    assert_eq!(model.build([2, 3, 10, 8]).unwrap().sizes(), [2, 8]);
    let paths: Vec<String> = model.parameters().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["0.weight", "0.bias", "1.weight", "1.bias", "head.weight", "head.bias"]);
    assert_eq!(model.parameters()[4].1.shape().sizes(), [4 * 4 * 3, 8]);
    // The same seed makes the same parameters, another one others.
    let first = |seed| {
        let model = Sequential::new().dense(3).seed(seed);
        model.build([1, 4]).unwrap();
        model.parameters()[0].1.value().unwrap()
    };
    assert_eq!(first(5), first(5));
    assert_ne!(first(5), first(6));
}

#[test]
fn residual_and_parallel_rows_join_what_they_make() {
    let body = || Sequential::new().conv2d_with(8, 3, kiln_nn::ConvOptions::new().padding(1)).relu();
    let model = Sequential::new()
        .residual(body())
        .parallel([Sequential::new().conv2d(4, 1), Sequential::new().conv2d(2, 1)], Join::Concat)
        .residual(Sequential::new().conv2d_with(6, 3, kiln_nn::ConvOptions::new().stride(2).padding(1)));
    assert_eq!(model.build([2, 3, 6, 6]).unwrap().sizes(), [2, 6, 3, 3]);
    let paths: Vec<String> = model.parameters().into_iter().map(|(path, _)| path).collect();
    assert!(paths.contains(&"0.projection.weight".to_string()), "{paths:?}");
    assert!(paths.contains(&"1.1.0.bias".to_string()), "{paths:?}");
    // An identity where nothing changes.
    let same = Sequential::new().residual(Sequential::new().lambda("nothing", |x| x * 0.0));
    let x = Tensor::from([[1.0f32, 2.0]]);
    assert_eq!(same.forward(&x, &Context::inference()).to_vec::<f32>().unwrap(), [1.0, 2.0]);
}

#[test]
fn a_blend_keeps_its_weights_and_says_what_it_can_t_average() {
    let constant = |number: f32| Sequential::new().lambda("constant", move |x| x * 0.0 + number);
    let x = Tensor::zeros([2, 3]);
    let y = |model: &Sequential| model.forward(&x, &Context::inference());
    let model = Sequential::new().blend([constant(1.0), constant(5.0)], &[6.0, 2.0], Blended::Numbers);
    assert_eq!(y(&model).to_vec::<f32>().unwrap(), [2.0; 6]);
    let (path, weights) = model.states().remove(0);
    assert_eq!((path.as_str(), weights.read().unwrap()), ("0.weights", kiln_nn::Data::F32(vec![0.75, 0.25])));
    weights.write(&kiln_nn::Data::F32(vec![0.0, 1.0])).unwrap();
    assert_eq!(y(&model).to_vec::<f32>().unwrap(), [5.0; 6]);
    // A row without weight counts for nothing, and where all are sure of one class, another's score is still a number.
    let sure = |scores: [f32; 3]| Sequential::new().lambda("sure", move |x| x * 0.0 + Tensor::from(scores));
    let rows = [sure([0.0, 300.0, 0.0]), sure([0.0, 400.0, 0.0]), sure([9e9, 0.0, 0.0])];
    let scores =
        y(&Sequential::new().blend(rows, &[1.0, 1.0, 0.0], Blended::Classes)).to_vec::<f32>().unwrap();
    assert!((scores[0] + 300.0 + 2f32.ln()).abs() < 1e-3 && scores[1] == 0.0, "{scores:?}");
    // What waits to be told its number of outputs is told in every row.
    let text =
        "blend(dense; dense 4, relu, dense) classes".parse::<Sequential>().unwrap().outputs(2).to_text();
    assert_eq!(text.unwrap(), "blend(dense 2; dense 4, relu, dense 2) classes");
    let says = |model: Sequential| y(&model).error().unwrap().to_string();
    let numbers =
        |weights: &[f64]| Sequential::new().blend([constant(1.0), constant(2.0)], weights, Blended::Numbers);
    for weights in [&[1.0][..], &[1.0, -1.0], &[0.0, 0.0], &[f64::NAN, 1.0]] {
        assert!(says(numbers(weights)).contains("2 rows can't have the weights"), "{weights:?}");
    }
    let rows = || ["dense 2", "dense 3"].map(|row| row.parse::<Sequential>().unwrap());
    assert!(
        says(Sequential::new().blend(rows(), &[1.0; 2], Blended::Numbers)).contains("must give the same")
    );
    assert!(says("blend(dense 2; dense 2) targets 3 1".parse().unwrap()).contains("targets [3, 1]"));
    for text in ["blend(relu; relu) targets", "blend(relu; relu) targets 0", "blend(relu; relu) class"] {
        assert!(text.parse::<Sequential>().is_err(), "{text}");
    }
}

#[test]
fn texts_go_both_ways_and_mistakes_name_the_place() {
    for text in [
        "conv 32 3, relu, max-pool 2, flatten, dense 128, relu, dropout 0.3, dense",
        "residual(conv 8 3 padding 1, batch-norm, relu), parallel(max-pool2d 3 stride 1 padding 1; conv 4 1), global-avg-pool",
        "sum(dense 4; tanh, dense 4 no-bias), leaky-relu 0.2, group-norm 2, conv 4 3 padding 0:1x2:2",
        "blend(dense 4; tanh, dense 4) classes, blend(relu; tanh), blend(dense 3; dense 3) targets 2 1 as both",
        "embedding 9 8, positions 16, transformer 4 feedforward 20 causal post-norm relu dropout 0.1, last",
        "rnn 6 relu layers 2 bidirectional dropout 0.2 no-bias, attention 2 causal dropout 0.1, mean-over-time",
        "sinusoidal-positions, lstm 64, gru 3 layers 2, max-over-time",
    ] {
        let model: Sequential = text.parse().unwrap();
        assert_eq!(model.to_text().unwrap(), text);
    }
    for (text, part) in [
        (
            "conv 32",
            "layer 1, column 8: `conv` needs the window, a number or `3x5`; write conv[1d|2d|3d] CHANNELS",
        ),
        (
            "dense ten",
            "layer 1, column 7: `dense`: the outputs should be a number, not `ten`; write dense [OUTPUTS]",
        ),
        (
            "dense 10, conv 3 3 strid 2",
            "layer 2, column 20: `conv`: `strid` means nothing here; did you mean `stride`?",
        ),
        (
            "dense no-bais",
            "layer 1, column 7: `dense`: the outputs should be a number, not `no-bais`; did you mean `no-bias`?",
        ),
        ("relu, dens 10", "layer 2, column 7: there is no layer `dens`; did you mean `dense`?"),
        ("relu,\n  dens 10", "layer 2, line 2, column 3: there is no layer `dens`"),
        ("relu, cnv2d 4 3", "layer 2, column 7: there is no layer `cnv2d`; did you mean `conv2d`?"),
        ("dense2d 3", "there is no layer `dense2d`; did you mean `dense`?"),
        ("conv4d 3 3", "there is no layer `conv4d`; did you mean `conv"),
        (
            "conv2d 4 3x3x3",
            "layer 1, column 8: `conv2d`: window 3x3x3 isn't for 2 spatial axes; write one number, or 2",
        ),
        ("conv1d 4 3 padding 0:1x2:2", "`conv1d`: padding 0:1x2:2 isn't for 1 spatial axis"),
        (
            "relu, residual(relu, dense 3 3)",
            "layer 2, column 30: `dense`: `3` means nothing here; write dense [OUTPUTS]",
        ),
        ("residual(dense 3", "layer 1, column 1: the bracket of `residual(` isn't closed"),
        ("relu, dense 3)", "layer 2, column 14: `)` is left over"),
        ("dense 3,, relu", "layer 2, column 9: nothing stands here"),
        ("residual(relu; relu)", "layer 1, column 1: `residual` holds one row"),
        ("residual 3", "`residual` holds layers: write residual(dense 10, relu)"),
        ("residual(relu) 3", "layer 1, column 16: `residual`: `3` means nothing here"),
        ("dropout 1.5", "the probability should be a number from 0 to below 1, not `1.5`"),
        ("lstn 64", "did you mean `lstm`?"),
        ("lstm", "layer 1, column 5: `lstm` needs the hidden-size, a number"),
        ("lstm 64 layers two", "layer 1, column 16: `lstm`: the layers should be a number, not `two`"),
        ("lstm 64 layers", "layer 1, column 9: `lstm`: `layers` needs a value, a number"),
        (
            "lstm 64 layers 2 layers 2",
            "layer 1, column 18: `lstm`: `layers` means nothing here; it stands twice",
        ),
        ("gru 8 relu", "`gru`: `relu` means nothing here"),
        ("transformer 4 dropout 1", "the dropout should be a number from 0 to below 1, not `1`"),
        ("embed-columns 3:2 4", "the count:size should be count:size for each column"),
        ("dense 3 as a/b", "layer 1, column 12: `as` gives a name, and `a/b` is none"),
        ("relu, relu as 0, relu", "layer 2, column 7: two layers are called 0"),
        ("dense(3)", "takes no bracket"),
        ("", "layer 1, column 1: nothing stands here"),
    ] {
        let error = text.parse::<Sequential>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let error = Sequential::new().lambda("twice", |x| x * 2.0).to_text().unwrap_err().to_string();
    assert!(error.contains("twice") && error.contains("no text form"), "{error}");
    assert_eq!("dense".parse::<Sequential>().unwrap().outputs(3).to_text().unwrap(), "dense 3");
}

#[test]
fn a_layer_that_does_not_fit_says_which_and_where() {
    let line = line!() + 1;
    let error = Sequential::new().dense(4).conv2d(3, 3).build([2, 5]).unwrap_err().to_string();
    assert!(
        error.contains("conv2d 3 3") && error.contains("[2, 4]") && error.contains(&line.to_string()),
        "{error}"
    );
    let error = "dense".parse::<Sequential>().unwrap().build([2, 5]).unwrap_err().to_string();
    assert!(error.contains("how many outputs"), "{error}");
}

fn moments(x: &Tensor) -> (f64, f64) {
    let values = x.to_vec::<f32>().unwrap();
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let var = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (mean, var)
}

#[test]
fn initial_values_have_the_variance_that_is_promised() {
    let fan = Fan { inputs: 300, outputs: 200 };
    let fill = |init: Init| init.fill([300, 200], fan, &Key::new(3));
    for (init, variance) in [
        (Init::Uniform(-1.0, 3.0), 16.0 / 12.0),
        (Init::Normal(0.0, 0.5), 0.25),
        (Init::XavierUniform { gain: 2.0 }, 4.0 * 2.0 / 500.0),
        (Init::XavierNormal { gain: 1.0 }, 2.0 / 500.0),
        (Init::KaimingUniform { gain: Init::RELU }, 2.0 / 300.0),
        (Init::KaimingNormal { gain: Init::RELU }, 2.0 / 300.0),
        (Init::LecunUniform, 1.0 / 300.0),
        (Init::LecunNormal, 1.0 / 300.0),
        (Init::PYTORCH, 1.0 / 900.0),
        // A normal distribution cut off at two standard deviations keeps 77.4 % of its variance.
        (Init::TruncatedNormal(0.0, 1.0), 0.773_741),
    ] {
        let (mean, var) = moments(&fill(init));
        let expected = if init == Init::Uniform(-1.0, 3.0) { 1.0 } else { 0.0 };
        assert!((mean - expected).abs() < 0.02 * f64::sqrt(variance).max(0.3), "{init:?}: mean {mean}");
        assert!((var / variance - 1.0).abs() < 0.02, "{init:?}: {var} instead of {variance}");
    }
    assert_eq!(moments(&fill(Init::Zeros)), (0.0, 0.0));
    assert_eq!(moments(&fill(Init::Constant(0.5))), (0.5, 0.0));
    let cut = fill(Init::TruncatedNormal(1.0, 0.1)).to_vec::<f32>().unwrap();
    assert!(cut.iter().all(|&x| (0.8..=1.2).contains(&x)));
    // Rows of a wide matrix, columns of a tall one.
    for shape in [[5, 12], [12, 5]] {
        let q = Init::Orthogonal { gain: 2.0 }.fill(shape, fan, &Key::new(1));
        let square = if shape[0] < shape[1] { q.matmul(&q.t()) } else { q.t().matmul(&q) };
        let expected = Tensor::eye(5).cast(DType::F32) * 4.0;
        assert!((square - expected).abs().max(..).item().unwrap() < 1e-5);
    }
}

#[test]
fn dropout_differs_from_step_to_step_and_keeps_the_mean() {
    struct Net {
        shift: Param,
    }
    parameters!(Net { shift });
    let net = Net { shift: Param::new(&Tensor::zeros([1])) };
    for dropout in [Dropout::new(0.4), Dropout::Channels(0.4), Dropout::Alpha(0.4)] {
        let mut step = Step::train_with(&net, Sgd::new(0.0), StepOptions::new().seed(3), |net, cx, [x]| {
            let y = dropout.forward(&(x + net.shift.tensor()), cx);
            vec![y.mean(..), y]
        });
        let x = vec![1f32; 64 * 32 * 4];
        let run = |step: &mut Step<1>| {
            let out = step.run_all([kiln_nn::Input::new(&x, &[64, 32, 4])]).unwrap();
            (out[0].as_slice::<f32>().unwrap()[0], out[1].as_slice::<f32>().unwrap().to_vec())
        };
        let ((first, a), (_, b)) = (run(&mut step), run(&mut step));
        assert_ne!(a, b, "{dropout:?}");
        if dropout != Dropout::Alpha(0.4) {
            assert!((first - 1.0).abs() < 0.1, "{dropout:?}: mean {first}");
            let zeros = a.iter().filter(|&&x| x == 0.0).count() as f64 / a.len() as f64;
            assert!((zeros - 0.4).abs() < 0.05, "{dropout:?}: {zeros}");
        }
        if dropout == Dropout::Channels(0.4) {
            assert!(a.chunks(4).all(|channel| channel.iter().all(|x| *x == channel[0])));
        }
    }
    // Of standard normal numbers alpha dropout keeps mean and variance.
    let x = Key::new(9).normal([200, 500], 0.0, 1.0);
    let (mean, var) = moments(&Dropout::Alpha(0.3).forward(&x, &Context::training(Key::new(2))));
    assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.03, "{mean} {var}");
}

#[test]
fn parameters_are_frozen_by_path_and_shared_ones_counted_once() {
    let model = Sequential::new().dense(4).named("encoder").relu().dense(2).named("head");
    model.build([1, 3]).unwrap();
    assert_eq!(model.freeze("encoder.*").unwrap(), 2);
    let summary = Summary::of(&model, [1, 3]).unwrap();
    assert_eq!((summary.trained, summary.frozen), (4 * 2 + 2, 3 * 4 + 4));
    assert_eq!(model.unfreeze("*.bias").unwrap(), 2);
    let error = model.freeze("encodr.weight").unwrap_err().to_string();
    assert!(error.contains("did you mean encoder.weight?"), "{error}");

    struct Tied {
        down: Dense,
        up: Dense,
    }
    parameters!(Tied { down, up });
    let down = Dense::new(3, 3, Key::new(1));
    let tied = Tied { up: down.clone(), down };
    assert_eq!(tied.parameters().len(), 2);
    assert_eq!(tied.parameter_count(), 12);
    // The gradient is the sum of both uses.
    let before = tied.down.weight.value().unwrap();
    let mut step = Step::train(&tied, Sgd::new(0.1), |tied, cx, [x]| {
        tied.up.forward(&tied.down.forward(&x, cx), cx).square().sum(..)
    });
    step.run([kiln_nn::Input::new(&[1f32, 2.0, 3.0], &[1, 3])]).unwrap();
    assert_ne!(before, tied.up.weight.value().unwrap());
    assert_eq!(tied.down.weight.value().unwrap(), tied.up.weight.value().unwrap());
}

#[test]
fn a_summary_lists_what_each_layer_makes_and_costs() {
    let model = Sequential::new().conv2d(4, 3).relu().flatten().dense(10);
    let summary = Summary::of(&model, [1, 1, 6, 6]).unwrap();
    let outputs: Vec<String> = summary.rows.iter().map(|row| row.output.to_string()).collect();
    assert_eq!(outputs, ["[1, 4, 4, 4]", "[1, 4, 4, 4]", "[1, 64]", "[1, 10]"]);
    // Products and sums of 4·4·4 results over 9 elements, and as many biases.
    assert!(summary.rows[0].operations >= 2 * 64 * 9, "{:?}", summary.rows[0]);
    assert!(summary.rows[3].operations >= 2 * 640, "{:?}", summary.rows[3]);
    assert_eq!(summary.rows[3].parameters, 650);
    let text = summary.to_string();
    assert!(text.contains("conv2d 4 3") && text.contains("690 trained"), "{text}");
}

#[test]
fn a_summary_counts_each_layer_once_and_by_itself() {
    let of = |text: &str, shape: &[usize]| {
        let model: Sequential = text.parse().unwrap();
        let rows = Summary::of(&model, shape.to_vec()).unwrap().rows;
        rows.into_iter().map(|row| (row.parameters, row.operations)).collect::<Vec<_>>()
    };
    let deep = of(&["dense 6, layer-norm, residual(dense 6), dropout 0.5"; 5].join(", "), &[2, 6]);
    assert_eq!(deep[..4].repeat(5), deep);
    assert_eq!((deep[0], deep[3]), ((6 * 6 + 6, 2 * 2 * 6 * 6 + 2 * 6), (0, 0)));
    // A layer costs what it does where it stands first.
    for (text, shape) in [("batch-norm", [4, 8]), ("softmax", [4, 8]), ("dense 3", [4, 8]), ("relu", [4, 8])]
    {
        assert_eq!(of(text, &shape)[0], of(&format!("dense 8, {text}"), &shape)[1], "{text}");
    }
    // One layer in two places: its parameters are counted once, its work twice.
    let shared = Dense::new(3, 3, Key::new(1));
    let model = Sequential::new().layer(shared.clone()).layer(shared).named("again");
    let summary = Summary::of(&model, [1, 3]).unwrap();
    assert_eq!(summary.trained, 3 * 3 + 3);
    assert_eq!(summary.rows[0].operations, summary.rows[1].operations);
}

#[test]
fn codes_in_the_last_columns_become_vectors() {
    let model: Sequential = "embed-columns 3:2 2:1".parse().unwrap();
    assert_eq!(model.to_text().unwrap(), "embed-columns 3:2 2:1");
    let x = Tensor::from([[0.5f32, 7.0, 2.0, 0.0], [1.5, 8.0, 1.0, 1.0]]);
    let y = model.forward(&x, &Context::inference());
    let tables: Vec<Vec<f32>> = model
        .parameters()
        .iter()
        .map(|(_, table)| table.value().unwrap().as_slice().unwrap().to_vec())
        .collect();
    let (first, second) = (&tables[0], &tables[1]);
    let expected = [0.5, 7.0, first[4], first[5], second[0], 1.5, 8.0, first[2], first[3], second[1]];
    assert_eq!(y.to_vec::<f32>().unwrap(), expected);
    let few = "embed-columns 3:2 2:1".parse::<Sequential>().unwrap();
    assert!(few.build([4, 1]).unwrap_err().to_string().contains("2 columns of codes in rows of 1"));
    for wrong in ["embed-columns", "embed-columns 3", "embed-columns 0:2", "embed-columns a:b"] {
        assert!(wrong.parse::<Sequential>().is_err(), "{wrong}");
    }
}

#[test]
fn layers_for_sequences_are_built_from_calls_too() {
    let model = Sequential::new()
        .embedding(9, 8)
        .positions(16)
        .transformer(2, TransformerOptions::new().causal())
        .lstm_with(6, RecurrentOptions::new().layers(2).bidirectional())
        .gru(5)
        .last()
        .dense(2);
    let text = "embedding 9 8, positions 16, transformer 2 causal, lstm 6 layers 2 bidirectional, gru 5, last, dense 2";
    assert_eq!(model.to_text().unwrap(), text);
    let codes = Tensor::zeros([3, 7]).cast(DType::I64);
    assert_eq!(model.forward(&codes, &Context::inference()).shape().sizes(), [3, 2]);
    let paths: Vec<String> = model.parameters().into_iter().map(|(path, _)| path).collect();
    for path in ["2.self_attn.in_proj_weight", "2.norm1.weight", "3.weight_hh_l1_reverse", "4.bias_ih_l0"] {
        assert!(paths.iter().any(|known| known == path), "{path} in {paths:?}");
    }
    let error = "attention 3".parse::<Sequential>().unwrap().build([1, 5, 8]).unwrap_err().to_string();
    assert!(error.contains("8 features don't divide among 3 heads"), "{error}");
    let error = "lstm 3".parse::<Sequential>().unwrap().build([1, 5]).unwrap_err().to_string();
    assert!(error.contains("needs [batch, time, features], not [1, 5]"), "{error}");
}

#[test]
fn the_last_axes_change_places() {
    let model: Sequential = "transpose".parse().unwrap();
    let x = Tensor::from([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]);
    let y = model.forward(&x, &Context::inference());
    assert_eq!(y.shape().sizes(), [1, 3, 2]);
    assert_eq!(y.to_vec::<f64>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn names_stand_in_the_text() {
    let text = "dense 4 as encoder, relu, residual(dense 4 as inner, relu) as block, dense 2 as head";
    let model: Sequential = text.parse().unwrap();
    assert_eq!(model.to_text().unwrap(), text);
    model.build([1, 3]).unwrap();
    let paths: Vec<String> = model.parameters().into_iter().map(|(path, _)| path).collect();
    let expected = [
        "encoder.weight",
        "encoder.bias",
        "block.inner.weight",
        "block.inner.bias",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(paths, expected);
    assert!(Sequential::new().dense(2).named("a, b").to_text().is_err());
    for wrong in ["dense 2 as", "dense 2 as a.b", "residual(relu) as", "dense 2 as a b"] {
        assert!(wrong.parse::<Sequential>().is_err(), "{wrong}");
    }
    let deep = "residual(".repeat(100_000) + "relu" + &")".repeat(100_000);
    assert!(deep.parse::<Sequential>().unwrap_err().to_string().contains("brackets"));
}
