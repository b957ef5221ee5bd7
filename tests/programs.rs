//! The programs that well-known steps come to, kept as snapshots: a change in what is fused, in what goes through memory or
//! in how much of it there is shows in review. `INSTA_UPDATE=always cargo test --test programs` writes them anew.

mod kit;

use kiln::prelude::*;
use kiln::{AdamW, Clip, ConvOptions, Data, Layer, Optimizer, StepOptions, TransformerOptions};

/// Compares with the snapshot of this name what a step of training on `x` and a label for each row comes to.
fn training(
    name: &str,
    model: Sequential,
    optimizer: impl Optimizer + 'static,
    clip: bool,
    x: (DType, &[usize]),
) {
    let (dtype, shape) = x;
    let options = if clip { StepOptions::new().clip(Clip::Norm(1.0)) } else { StepOptions::new() };
    let mut step = Step::train_with(&model, optimizer, options, |model, cx, [x, labels]| {
        vec![model.forward(&x, cx).cross_entropy(&labels)]
    });
    let x = Data::filled(dtype, shape.iter().product(), 0i64.into());
    let labels = vec![0i64; shape[0]];
    let inputs = [Input::from_data(&x, shape), Input::new(&labels, &shape[..1])];
    compare(name, &step.function().program(inputs).unwrap().to_string());
}

/// Compares with the snapshot of this name what inference comes to.
fn inference(name: &str, model: Sequential, shape: &[usize]) {
    let x = vec![0f32; shape.iter().product()];
    let mut function = Function::inference(&model, |model, cx, [x]| model.forward(&x, cx));
    compare(name, &function.program([Input::new(&x, shape)]).unwrap().to_string());
}

fn compare(name: &str, program: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, kit::without_lines(program)));
}

#[test]
fn dense_layers() {
    let row = || Sequential::new().dense(64).relu().dense(10);
    let x = (DType::F32, &[32, 784][..]);
    training("mlp_sgd", row(), Sgd::new(0.1), false, x);
    training("mlp_adam_clipped", row(), Adam::new(1e-3), true, x);
    let row = Sequential::new().dense(64).gelu().dropout(0.5).dense(10);
    training("mlp_dropout_adamw", row, AdamW::new(1e-3), false, x);
    training(
        "mlp_of_bytes",
        Sequential::new().dense(16).tanh().dense(10),
        Sgd::new(0.1),
        false,
        (DType::U8, &[32, 784]),
    );
}

#[test]
fn convolutions() {
    let row = Sequential::new()
        .conv2d(8, 3)
        .relu()
        .max_pool2d(2)
        .conv2d(16, 3)
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(10);
    training("cnn_adam", row, Adam::new(1e-3), false, (DType::F32, &[16, 1, 28, 28]));
    let same = || ConvOptions::new().padding(1);
    let block = || {
        Sequential::new()
            .conv2d_with(16, 3, same())
            .batch_norm()
            .relu()
            .conv2d_with(16, 3, same())
            .batch_norm()
    };
    let row = || Sequential::new().conv2d(16, 3).residual(block()).relu().global_avg_pool().dense(10);
    training(
        "residual_batch_norm_momentum",
        row(),
        Sgd::new(0.1).momentum(0.9),
        false,
        (DType::F32, &[8, 3, 16, 16]),
    );
    inference("residual_batch_norm_inference", row(), &[1, 3, 16, 16]);
    let row = Sequential::new()
        .conv2d(16, 1)
        .depthwise_conv2d(3, same())
        .group_norm(4)
        .silu()
        .global_avg_pool()
        .dense(10);
    inference("depthwise_group_norm_inference", row, &[2, 3, 16, 16]);
}

#[test]
fn sequences() {
    let text = (DType::I64, &[4, 12][..]);
    let row = Sequential::new().embedding(100, 32).mean_over_time().dense(2);
    training("embedding_adam", row, Adam::new(1e-3), false, text);
    let block = TransformerOptions::new().causal();
    let row = || {
        Sequential::new()
            .embedding(100, 32)
            .positions(12)
            .transformer(4, block)
            .layer_norm()
            .last()
            .dense(100)
    };
    training("transformer_adamw", row(), AdamW::new(1e-3), false, text);
    let row = Sequential::new().rms_norm().attention(4).mean_over_time().dense(3);
    inference("attention_inference", row, &[2, 12, 32]);
    let series = (DType::F32, &[4, 3, 8][..]);
    training("lstm_adam", Sequential::new().lstm(16).last().dense(2), Adam::new(1e-3), false, series);
    training("gru_sgd", Sequential::new().gru(16).last().dense(2), Sgd::new(0.1), false, series);
}
