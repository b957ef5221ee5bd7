//! kiln's side of the benchmark: runs one workload and prints its samples, as `bench/README.md` asks.
//!
//! `cargo run --release --example bench_workloads -- --workload w1 --threads 2 --seconds 3 --data DIR [--show | --calls 3]`

use std::error::Error;
use std::time::{Duration, Instant};

use kiln::data::Rng;
use kiln::{
    Adam, BatchNorm, Context, Conv2d, ConvOptions, DType, Data, Dense, Function, Input, Key, Layer, Sgd,
    Shape, Step, Tensor, Variable, parameters,
};

#[path = "bench_workloads/convolutions.rs"]
mod convolutions;
#[path = "bench_workloads/sequences.rs"]
mod sequences;
#[path = "bench_workloads/streams.rs"]
mod streams;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The arguments, all of them `--name value`.
struct Arguments {
    workload: String,
    seconds: f64,
    /// The folder of what is read: the digits, and networks as ONNX files.
    data: Option<String>,
    /// Print the program with the times of its kernels instead.
    show: bool,
    /// Call it so many times instead and print nothing, for those who count instructions.
    calls: Option<usize>,
}

fn main() -> Result {
    let mut arguments =
        Arguments { workload: String::new(), seconds: 2.0, data: None, show: false, calls: None };
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--workload" => arguments.workload = value()?,
            "--threads" => kiln::set_threads(value()?.parse()?)?,
            "--seconds" => arguments.seconds = value()?.parse()?,
            "--data" => arguments.data = Some(value()?).filter(|dir| !dir.is_empty()),
            "--show" => arguments.show = true,
            "--calls" => arguments.calls = Some(value()?.parse()?),
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    let a = &arguments;
    let name = a.workload.as_str();
    match name {
        "w1" => epochs(a, Sgd::new(0.1)),
        "w2" => epochs(a, Adam::new(1e-3)),
        "w3" => cnn_step(a),
        "w1_infer1" => infer(a, &Mlp::new(), &[1, 784], |m, x, cx| m.forward(x, cx)),
        "w1_infer256" => infer(a, &Mlp::new(), &[256, 784], |m, x, cx| m.forward(x, cx)),
        "w3_infer1" => infer(a, &Cnn::new(), &[1, 1, 28, 28], |m, x, cx| m.forward(x, cx)),
        "w3_infer256" => infer(a, &Cnn::new(), &[256, 1, 28, 28], |m, x, cx| m.forward(x, cx)),
        "resnet18" => resnet_step(a),
        "gpt_small" => sequences::gpt(a, [4, 4, 128, 64, 12]),
        "gpt_large" => sequences::gpt(a, [6, 6, 384, 256, 8]),
        "lstm" => sequences::lstm(a),
        _ if name.starts_with("generate_") => sequences::generate(a, name),
        "memcpy" => of_one(a, &[1 << 24], |x| x.clone()),
        "relu_chain_1m" => chain(a, 1 << 20),
        "relu_chain_16m" => chain(a, 1 << 24),
        "softmax" => of_one(a, &[4096, 1024], |x| x.softmax(-1)),
        "layer_norm" => {
            let (w, b) = (noise([1024], 1), noise([1024], 2));
            function(a, Function::new(move |[x]| vec![x.layer_norm(-1, 1e-5) * &w + &b]), [&[4096, 1024]])
        }
        _ => match name.split_once("_onnx") {
            Some((network, batch)) => imported(a, network, batch.parse()?),
            None => product(a, name).or_else(|| streams::workload(a, name)).unwrap_or(Ok(())),
        },
    }
}

// Measuring.

/// Times `call` as the harness asks and prints the samples.
fn measure(arguments: &Arguments, mut call: impl FnMut() -> Result) -> Result {
    if let Some(calls) = arguments.calls {
        return (0..calls).try_for_each(|_| call());
    }
    let first = Instant::now();
    call()?;
    let first = first.elapsed().as_secs_f64();
    let mut fastest = f64::INFINITY;
    let warm = Instant::now();
    let limit = Duration::from_secs_f64((arguments.seconds / 4.0).min(0.5));
    while fastest.is_infinite() || warm.elapsed() < limit {
        let start = Instant::now();
        call()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    let run = ((2e-3 / fastest) as usize).max(1);
    let mut samples = Vec::new();
    let all = Instant::now();
    while samples.len() < 2 || (all.elapsed().as_secs_f64() < arguments.seconds && samples.len() < 1000) {
        let start = Instant::now();
        for _ in 0..run {
            call()?;
        }
        samples.push(start.elapsed().as_secs_f64() / run as f64);
    }
    print(&arguments.workload, &samples, &format!(", \"first\": {first:.4}{}", sequences::peak()));
    Ok(())
}

fn print(workload: &str, samples: &[f64], extra: &str) {
    let samples: Vec<String> = samples.iter().map(|s| format!("{s:.9}")).collect();
    println!(
        "{{\"workload\": \"{workload}\", \"peer\": \"kiln\", \"metric\": \"seconds\", \"samples\": [{}], \"extra\": {{\"version\": \"{}\"{extra}}}}}",
        samples.join(", "),
        env!("CARGO_PKG_VERSION")
    );
}

/// Prints a function's program and the times of its kernels in one run.
fn show<const N: usize>(function: &mut Function<N>, inputs: [Input; N]) -> Result {
    let program = function.program(inputs.clone())?;
    function.profile(true);
    let mut best: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        function.run(inputs.clone())?;
        let times = function.times();
        best = match best.is_empty() {
            true => times,
            false => best.into_iter().zip(times).map(|(a, b)| a.min(b)).collect(),
        };
    }
    println!("{}", program.listing(&best));
    Ok(())
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.uniform() as f32 - 0.5).collect()
}

fn noise<const N: usize>(shape: [usize; N], seed: u64) -> Tensor {
    let count = shape.iter().product();
    Tensor::new(numbers(count, seed), shape)
}

/// A function of f32 inputs of these shapes, which are in kiln's own memory, as its results are: each side keeps its tensors there.
fn function<const N: usize>(
    arguments: &Arguments,
    mut function: Function<N>,
    shapes: [&[usize]; N],
) -> Result {
    let variable = |shape: &[usize]| {
        Variable::new("", Data::F32(numbers(shape.iter().product(), 7)), Shape::from(shape))
    };
    let inputs: Vec<Variable> =
        shapes.iter().map(|shape| variable(shape)).collect::<std::result::Result<_, _>>()?;
    let inputs: [Input; N] = std::array::from_fn(|number| Input::variable(&inputs[number]));
    if arguments.show {
        return show(&mut function, inputs);
    }
    let program = function.program(inputs.clone())?;
    let results: Vec<Variable> =
        program.outputs.iter().map(|(shape, dtype)| Variable::zeros("", shape.clone(), *dtype)).collect();
    measure(arguments, || {
        function.run_into(inputs.clone(), &results)?;
        Ok(())
    })
}

/// A function of any inputs in the host's memory, with results there.
fn timed<const N: usize>(arguments: &Arguments, mut function: Function<N>, inputs: [Input; N]) -> Result {
    if arguments.show {
        return show(&mut function, inputs);
    }
    measure(arguments, || {
        function.run(inputs.clone())?;
        Ok(())
    })
}

fn of_one(arguments: &Arguments, shape: &[usize], f: impl Fn(&Tensor) -> Tensor + Send + 'static) -> Result {
    function(arguments, Function::new(move |[x]| vec![f(&x)]), [shape])
}

// Models.

struct Mlp {
    first: Dense,
    second: Dense,
    third: Dense,
}
parameters!(Mlp { first, second, third });

impl Mlp {
    fn new() -> Mlp {
        let [a, b, c] = Key::new(1).split();
        Mlp { first: Dense::new(784, 256, a), second: Dense::new(256, 128, b), third: Dense::new(128, 10, c) }
    }

    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let x = self.first.forward(x, cx).relu();
        let x = self.second.forward(&x, cx).relu();
        self.third.forward(&x, cx)
    }
}

struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    hidden: Dense,
    out: Dense,
}
parameters!(Cnn { conv1, conv2, hidden, out });

impl Cnn {
    fn new() -> Cnn {
        let [a, b, c, d] = Key::new(1).split();
        let padded = ConvOptions::new().padding(1);
        Cnn {
            conv1: Conv2d::new(1, 32, 3, padded.clone(), a),
            conv2: Conv2d::new(32, 64, 3, padded, b),
            hidden: Dense::new(3136, 128, c),
            out: Dense::new(128, 10, d),
        }
    }

    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let x = self.conv1.forward(x, cx).relu().max_pool2d(2);
        let x = self.conv2.forward(&x, cx).relu().max_pool2d(2);
        let x = self.hidden.forward(&x.flatten(1..), cx).relu();
        self.out.forward(&x, cx)
    }
}

struct Block {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    short: Option<Short>,
}
parameters!(Block { conv1, norm1, conv2, norm2, short });

struct Short {
    conv: Conv2d,
    norm: BatchNorm,
}
parameters!(Short { conv, norm });

struct ResNet {
    stem: Conv2d,
    norm: BatchNorm,
    blocks: Vec<Block>,
    out: Dense,
}
parameters!(ResNet { stem, norm, blocks, out });

impl ResNet {
    fn new() -> ResNet {
        let key = Key::new(3);
        let mut next = 0;
        let mut conv = |inputs: usize, outputs: usize, size: usize, stride: usize| {
            next += 1;
            let options = ConvOptions::new().padding(size / 2).stride(stride);
            Conv2d::new(inputs, outputs, size, options, key.derive(next)).without_bias()
        };
        let stem = conv(3, 64, 3, 1);
        let mut blocks = Vec::new();
        let mut channels = 64;
        for width in [64, 128, 256, 512] {
            for position in 0..2 {
                let stride = if position == 0 && width != 64 { 2 } else { 1 };
                let short = (stride != 1)
                    .then(|| Short { conv: conv(channels, width, 1, stride), norm: BatchNorm::new(width) });
                blocks.push(Block {
                    conv1: conv(channels, width, 3, stride),
                    norm1: BatchNorm::new(width),
                    conv2: conv(width, width, 3, 1),
                    norm2: BatchNorm::new(width),
                    short,
                });
                channels = width;
            }
        }
        ResNet { stem, norm: BatchNorm::new(64), blocks, out: Dense::new(512, 10, key.derive(0)) }
    }

    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut x = self.norm.forward(&self.stem.forward(x, cx), cx).relu();
        for block in &self.blocks {
            let y = block.norm1.forward(&block.conv1.forward(&x, cx), cx).relu();
            let y = block.norm2.forward(&block.conv2.forward(&y, cx), cx);
            let short = match &block.short {
                Some(short) => short.norm.forward(&short.conv.forward(&x, cx), cx),
                None => x,
            };
            x = (y + short).relu();
        }
        self.out.forward(&x.mean([2, 3]), cx)
    }
}

// Workloads.

/// One epoch over 60,000 images a sample, shuffled rows gathered included.
fn epochs(arguments: &Arguments, optimizer: impl kiln::Optimizer) -> Result {
    const BATCH: usize = 128;
    let (images, labels) = digits(arguments.data.as_deref())?;
    let model = Mlp::new();
    let mut step = Step::train(&model, optimizer, |model: &Mlp, cx, [x, y]| {
        model.forward(&(x.cast(DType::F32) / 255.0), cx).cross_entropy(&y)
    });
    if arguments.show {
        return show(
            step.function(),
            [Input::new(&images[..BATCH * 784], &[BATCH, 784]), Input::new(&labels[..BATCH], &[BATCH])],
        );
    }
    let mut rng = Rng::new(5);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let (mut x, mut y) = (vec![0u8; BATCH * 784], vec![0u8; BATCH]);
    let mut epoch = || -> Result<f64> {
        rng.shuffle(&mut order);
        let mut total = 0.0;
        for rows in order.chunks(BATCH) {
            for (position, &row) in rows.iter().enumerate() {
                x[position * 784..(position + 1) * 784].copy_from_slice(&images[row * 784..(row + 1) * 784]);
                y[position] = labels[row];
            }
            let n = rows.len();
            let loss = step.run([Input::new(&x[..n * 784], &[n, 784]), Input::new(&y[..n], &[n])])?;
            total += f64::from(loss) * n as f64;
        }
        Ok(total / order.len() as f64)
    };
    epoch()?;
    let (mut samples, mut loss) = (Vec::new(), 0.0);
    let start = Instant::now();
    while samples.len() < 2 || start.elapsed().as_secs_f64() < arguments.seconds {
        let start = Instant::now();
        loss = epoch()?;
        samples.push(start.elapsed().as_secs_f64());
    }
    print(&arguments.workload, &samples, &format!(", \"loss\": {loss:.4}"));
    Ok(())
}

/// The images and labels of a folder with the unpacked files, or made-up ones of the same sizes.
fn digits(dir: Option<&str>) -> Result<(Vec<u8>, Vec<u8>)> {
    let Some(dir) = dir else {
        let mut rng = Rng::new(11);
        let labels: Vec<u8> = (0..60_000).map(|_| rng.below(10) as u8).collect();
        let centres: Vec<u8> = (0..7840).map(|_| (rng.bits() & 0xff) as u8).collect();
        let mut images = Vec::with_capacity(60_000 * 784);
        for &label in &labels {
            let centre = &centres[usize::from(label) * 784..][..784];
            images.extend(centre.iter().map(|&c| (c >> 1) + (rng.bits() & 0x7f) as u8));
        }
        return Ok((images, labels));
    };
    let images = std::fs::read(format!("{dir}/train-images-idx3-ubyte"))?;
    let labels = std::fs::read(format!("{dir}/train-labels-idx1-ubyte"))?;
    if images.len() != 16 + 60_000 * 784 || labels.len() != 8 + 60_000 {
        return Err(format!("{dir} doesn't hold the 60,000 training digits, unpacked").into());
    }
    Ok((images[16..].to_vec(), labels[8..].to_vec()))
}

fn cnn_step(arguments: &Arguments) -> Result {
    let model = Cnn::new();
    let step = Step::train(&model, Adam::new(1e-3), |model: &Cnn, cx, [x, y]| {
        model.forward(&x, cx).cross_entropy(&y)
    });
    training(arguments, step, &[64, 1, 28, 28])
}

fn resnet_step(arguments: &Arguments) -> Result {
    let model = ResNet::new();
    let step = Step::train(&model, Sgd::new(0.1), |model: &ResNet, cx, [x, y]| {
        model.forward(&x, cx).cross_entropy(&y)
    });
    training(arguments, step, &[32, 3, 32, 32])
}

fn training(arguments: &Arguments, mut step: Step<2>, shape: &[usize]) -> Result {
    let x = numbers(shape.iter().product(), 3);
    let y: Vec<i64> = (0..shape[0] as i64).map(|i| i % 10).collect();
    let inputs = [Input::new(&x, shape), Input::new(&y, &shape[..1])];
    if arguments.show {
        return show(step.function(), inputs);
    }
    measure(arguments, || {
        step.run(inputs.clone())?;
        Ok(())
    })
}

fn infer<M: kiln::Module>(
    arguments: &Arguments,
    model: &M,
    shape: &[usize],
    forward: impl Fn(&M, &Tensor, &Context) -> Tensor + Send,
) -> Result {
    let x = numbers(shape.iter().product(), 7);
    let function = Function::inference(model, move |model, cx, [x]| forward(model, &x, cx));
    timed(arguments, function, [Input::new(&x, shape)])
}

/// A network of `DIR/NAME.onnx`, whose answers must be those recorded in `DIR/NAME_BATCH`.
fn imported(arguments: &Arguments, name: &str, batch: usize) -> Result {
    let folder = std::path::Path::new(arguments.data.as_deref().ok_or("an ONNX file needs --data")?);
    let network = kiln::onnx::load(folder.join(format!("{name}.onnx")))?;
    let recorded = |file: &str| -> Result<Vec<f32>> {
        let path = folder.join(format!("{name}_{batch}")).join(file);
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect())
    };
    let (x, expected) = (recorded("x.f32")?, recorded("y.f32")?);
    let shape = [batch, 3, 224, 224];
    let mut run = Function::inference(&network, |network, cx, [x]| network.forward(&x, cx));
    let answers = run.run([Input::new(&x, &shape)])?[0].as_slice::<f32>().unwrap_or_default().to_vec();
    let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    let near = std::iter::zip(&answers, &expected).all(|(a, b)| (a - b).abs() <= 1e-4 * largest);
    if answers.len() != expected.len() || !near {
        return Err(format!("{name} gives other answers than PyTorch gave").into());
    }
    if arguments.show {
        return show(&mut run, [Input::new(&x, &shape)]);
    }
    measure(arguments, || {
        run.run([Input::new(&x, &shape)])?;
        Ok(())
    })
}

fn chain(arguments: &Arguments, size: usize) -> Result {
    let f = Function::new(|[a, b, c, d, e]| vec![(a * b + c).relu() * d - &e * &e]);
    function(arguments, f, [&[size]; 5])
}

/// Square products, the products of the dense layers, and convolutions, by name.
fn product(arguments: &Arguments, name: &str) -> Option<Result> {
    if let Some(size) = name.strip_prefix("matmul_") {
        let (size, behind) = size.split_once('_').unwrap_or((size, ""));
        let n = size.parse().ok()?;
        let square = &[n, n][..];
        return Some(match behind {
            "gelu" => function(arguments, Function::new(|[a, b]| vec![a.matmul(&b).gelu()]), [square; 2]),
            "residual" => function(arguments, Function::new(|[a, b, c]| vec![a.matmul(&b) + c]), [square; 3]),
            "adamw" => function(arguments, Function::new(adamw), [square; 5]),
            _ => function(arguments, Function::new(|[a, b]| vec![a.matmul(&b)]), [square; 2]),
        });
    }
    if let Some(rest) = name.strip_prefix("mlp") {
        let (layer, kind) = rest.split_once('_')?;
        let (i, o) = match layer {
            "1" => (784, 256),
            "2" => (256, 128),
            _ => (128, 10),
        };
        return Some(match kind {
            "fwd" => function(arguments, Function::new(|[x, w]| vec![x.matmul(&w)]), [&[128, i], &[i, o]]),
            "dx" => function(arguments, Function::new(|[g, w]| vec![g.matmul(&w.t())]), [&[128, o], &[i, o]]),
            _ => function(arguments, Function::new(|[x, g]| vec![x.t().matmul(&g)]), [&[128, i], &[128, o]]),
        });
    }
    convolutions::workload(arguments, name.strip_prefix("conv_")?)
}

/// A product as a gradient, and what a step of AdamW makes of a weight and its moments.
fn adamw([a, b, weight, mean, square]: [Tensor; 5]) -> Vec<Tensor> {
    let gradient = a.matmul(&b);
    let mean = mean * 0.9 + &gradient * 0.1;
    let square = square.abs() * 0.999 + &gradient * &gradient * 0.001;
    let decayed = weight * (1.0 - 1e-3 * 0.01);
    vec![decayed - &mean * 1e-3 / (square.sqrt() * 1.5 + 1e-8), mean, square]
}
