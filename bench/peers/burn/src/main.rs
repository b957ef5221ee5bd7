//! burn's side of the bench, on its flex backend: the MLP, the CNN, their inference, and square products.

#[path = "../../common.rs"]
mod common;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::{DType, Distribution, TensorData};

const VERSION: &str = "0.22.1";

#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    second: Linear,
    third: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Self {
        let dense = |i, o| LinearConfig::new(i, o).init(device);
        Self { first: dense(784, 256), second: dense(256, 128), third: dense(128, 10) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.third.forward(relu(self.second.forward(relu(self.first.forward(x)))))
    }
}

#[derive(Module, Debug)]
struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    dense1: Linear,
    dense2: Linear,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        let conv = |i, o| Conv2dConfig::new([i, o], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device);
        Self {
            conv1: conv(1, 32),
            conv2: conv(32, 64),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dense1: LinearConfig::new(3136, 128).init(device),
            dense2: LinearConfig::new(128, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(x)));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        self.dense2.forward(relu(self.dense1.forward(x.flatten(1, 3))))
    }
}

fn epoch(args: &common::Args, device: &Device) {
    let (images, labels) = common::mnist(args);
    let n = labels.len();
    let inner = device.clone().inner();
    let labels: Vec<i32> = labels.into_iter().map(i32::from).collect();
    let images = Tensor::<2, Int>::from_data(TensorData::new(images, [n, 784]), (&inner, DType::U8));
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [n]), (&inner, DType::I32));
    let uses_sgd = args.workload == "w1";
    let mut optimizer = if uses_sgd { SgdConfig::new().init() } else { AdamConfig::new().init() };
    let rate = if uses_sgd { 0.1 } else { 1e-3 };
    let loss = CrossEntropyLossConfig::new().init(device);
    let (mut model, mut state) = (Some(Mlp::new(device)), 1);
    common::measure(args, "burn", VERSION, || {
        for rows in common::shuffled(n, &mut state).chunks(128) {
            let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows.clone(), [rows.len()]), (&inner, DType::I32));
            let x = images.clone().select(0, rows.clone()).float() / 255.0;
            let y = labels.clone().select(0, rows);
            let net = model.take().expect("a model");
            let value = loss.forward(net.forward(Tensor::from_inner(x)), Tensor::from_inner(y));
            let grads = GradientsParams::from_grads(value.backward(), &net);
            model = Some(optimizer.step(rate, net, grads));
        }
    });
}

fn main() {
    let args = common::arguments();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let normal = Distribution::Normal(0.0, 1.0);
    let batch = if args.workload.ends_with("256") { 256 } else { 1 };
    match args.workload.as_str() {
        "w1" | "w2" => epoch(&args, &device),
        "w3" => {
            let x = Tensor::<4>::random([64, 1, 28, 28], normal, &device);
            let labels: Vec<i32> = (0..64).map(|i| i % 10).collect();
            let y = Tensor::<1, Int>::from_data(TensorData::new(labels, [64]), (&device, DType::I32));
            let (mut model, mut adam) = (Some(Cnn::new(&device)), AdamConfig::new().init());
            let loss = CrossEntropyLossConfig::new().init(&device);
            common::measure(&args, "burn", VERSION, || {
                let net = model.take().expect("a model");
                let value = loss.forward(net.forward(x.clone()), y.clone());
                let grads = GradientsParams::from_grads(value.backward(), &net);
                model = Some(adam.step(1e-3, net, grads));
            });
        }
        "w1_infer1" | "w1_infer256" => {
            let (model, x) = (Mlp::new(&plain), Tensor::<2>::random([batch, 784], normal, &plain));
            common::measure(&args, "burn", VERSION, || drop(model.forward(x.clone())));
        }
        "w3_infer1" | "w3_infer256" => {
            let (model, x) = (Cnn::new(&plain), Tensor::<4>::random([batch, 1, 28, 28], normal, &plain));
            common::measure(&args, "burn", VERSION, || drop(model.forward(x.clone())));
        }
        name => {
            let Some(n) = name.strip_prefix("matmul_").and_then(|n| n.parse::<usize>().ok()) else { return };
            let make = || Tensor::<2>::random([n, n], normal, &plain);
            let (a, b) = (make(), make());
            common::measure(&args, "burn", VERSION, || drop(a.clone().matmul(b.clone())));
        }
    }
}
