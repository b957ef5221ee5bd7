//! candle's side of the bench: the MLP, the CNN, their inference, and square products.

#[path = "../../common.rs"]
mod common;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{AdamW, Conv2d, Conv2dConfig, Linear, Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap, conv2d, linear, loss};

const VERSION: &str = "0.11.1";

struct Mlp([Linear; 3]);

impl Mlp {
    fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self([linear(784, 256, vb.pp("1"))?, linear(256, 128, vb.pp("2"))?, linear(128, 10, vb.pp("3"))?]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0[2].forward(&self.0[1].forward(&self.0[0].forward(x)?.relu()?)?.relu()?)
    }
}

struct Cnn([Conv2d; 2], [Linear; 2]);

impl Cnn {
    fn new(vb: VarBuilder) -> Result<Self> {
        let same = Conv2dConfig { padding: 1, ..Default::default() };
        let convs = [conv2d(1, 32, 3, same, vb.pp("1"))?, conv2d(32, 64, 3, same, vb.pp("2"))?];
        Ok(Self(convs, [linear(3136, 128, vb.pp("3"))?, linear(128, 10, vb.pp("4"))?]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.0[0].forward(x)?.relu()?.max_pool2d(2)?;
        let x = self.0[1].forward(&x)?.relu()?.max_pool2d(2)?;
        self.1[1].forward(&self.1[0].forward(&x.flatten_from(1)?)?.relu()?)
    }
}

fn epoch(args: &common::Args, device: &Device) -> Result<()> {
    let (images, labels) = common::mnist(args);
    let n = labels.len();
    let images = Tensor::from_vec(images, (n, 784), device)?;
    let labels = Tensor::from_vec(labels, n, device)?.to_dtype(DType::U32)?;
    let map = VarMap::new();
    let model = Mlp::new(VarBuilder::from_varmap(&map, DType::F32, device))?;
    let mut sgd = SGD::new(map.all_vars(), 0.1)?;
    let mut adam = AdamW::new(map.all_vars(), ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() })?;
    let (mut state, uses_sgd) = (1, args.workload == "w1");
    let mut step = |rows: &[u32]| -> Result<()> {
        let rows = Tensor::from_slice(rows, rows.len(), device)?;
        let x = (images.index_select(&rows, 0)?.to_dtype(DType::F32)? / 255.0)?;
        let loss = loss::cross_entropy(&model.forward(&x)?, &labels.index_select(&rows, 0)?)?;
        if uses_sgd { sgd.backward_step(&loss) } else { adam.backward_step(&loss) }
    };
    common::measure(args, "candle", VERSION, || {
        common::shuffled(n, &mut state).chunks(128).for_each(|rows| step(rows).expect("a step"));
    });
    Ok(())
}

fn main() -> Result<()> {
    let args = common::arguments();
    let device = Device::Cpu;
    let map = VarMap::new();
    let vb = VarBuilder::from_varmap(&map, DType::F32, &device);
    let normal = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, &device);
    match args.workload.as_str() {
        "w1" | "w2" => epoch(&args, &device)?,
        "w3" => {
            let (model, x) = (Cnn::new(vb)?, normal(&[64, 1, 28, 28])?);
            let y = Tensor::from_iter((0..64u32).map(|i| i % 10), &device)?;
            let mut adam = AdamW::new(map.all_vars(), ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() })?;
            common::measure(&args, "candle", VERSION, || {
                let loss = model.forward(&x).and_then(|logits| loss::cross_entropy(&logits, &y)).expect("a loss");
                adam.backward_step(&loss).expect("a step");
            });
        }
        "w1_infer1" | "w1_infer256" => {
            let batch = if args.workload.ends_with("256") { 256 } else { 1 };
            let model = Mlp::new(vb)?;
            let model = Mlp(model.0.map(|l| Linear::new(l.weight().detach(), l.bias().map(Tensor::detach))));
            let x = normal(&[batch, 784])?;
            common::measure(&args, "candle", VERSION, || drop(model.forward(&x).expect("logits")));
        }
        "w3_infer1" | "w3_infer256" => {
            let batch = if args.workload.ends_with("256") { 256 } else { 1 };
            let Cnn(convs, dense) = Cnn::new(vb)?;
            let convs = convs.map(|c| Conv2d::new(c.weight().detach(), c.bias().map(Tensor::detach), *c.config()));
            let model = Cnn(convs, dense.map(|l| Linear::new(l.weight().detach(), l.bias().map(Tensor::detach))));
            let x = normal(&[batch, 1, 28, 28])?;
            common::measure(&args, "candle", VERSION, || drop(model.forward(&x).expect("logits")));
        }
        name => {
            let Some(n) = name.strip_prefix("matmul_").and_then(|n| n.parse().ok()) else { return Ok(()) };
            let (a, b) = (normal(&[n, n])?, normal(&[n, n])?);
            common::measure(&args, "candle", VERSION, || drop(a.matmul(&b).expect("a product")));
        }
    }
    Ok(())
}
