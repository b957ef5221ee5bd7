//! Writes models of many kinds as ONNX files, each in several versions of the operators, with inputs and what kiln computes of them, so
//! that other programs can be held beside it: `cargo run --release --example onnx_models -- FOLDER`

use std::path::Path;

use kiln::data::Rng;
use kiln::hub::{self, LanguageModel};
use kiln::onnx::export::{BATCH, ModelInput, Options, Size, write, write_steps};
use kiln::onnx::{Network, OnnxDType, Value, load};
use kiln::prelude::{Context, DType, Data, Function, Input, Layer, Module, PoolOptions, Sequential, Tensor};
use kiln::presets::{self, PRESETS, Suits};
use kiln::store::{HostTensor, TensorFile};
use kiln::weights;
use kiln::{Cache, PerAxis};

/// Layers, the shape of a row, and how many codes there are, where rows are of codes.
const ROWS: [(&str, &str, &[usize], usize); 22] = [
    ("mlp", "dense 32, relu, dropout 0.5, dense 16, gelu, dense 5, softmax", &[7], 0),
    (
        "cnn",
        "conv 8 3, relu, pool 2, conv 12 3 padding same stride 1, batch-norm, relu, avg-pool 3, flatten, dense 10",
        &[3, 20, 20],
        0,
    ),
    (
        "residual",
        "conv 8 3 padding 1 no-bias, batch-norm, relu, residual(conv 8 3 padding 1, batch-norm, relu, conv 8 3 padding 1), residual(conv 16 3 stride 2 padding 1, relu), global-avg-pool, dense 4",
        &[1, 12, 12],
        0,
    ),
    (
        "depthwise",
        "conv 8 3, depthwise 3 padding 1, batch-norm, hard-swish, conv 4 1, global-pool",
        &[2, 9, 9],
        0,
    ),
    (
        "transposed",
        "conv-transpose 6 3 stride 2 padding 1, leaky-relu 0.2, conv-transpose 2 4, tanh",
        &[3, 6, 5],
        0,
    ),
    (
        "one axis",
        "conv 8 5 dilation 2, elu, pool 3 stride 2 padding 1, conv 4 3 groups 2, flatten, dense 3",
        &[2, 30],
        0,
    ),
    ("three axes", "conv 4 3, relu, avg-pool 2, flatten, dense 3", &[1, 8, 8, 8], 0),
    ("norms", "dense 24, layer-norm, silu, rms-norm, softplus, dense 6, log-softmax", &[10], 0),
    ("image norms", "conv 8 3, group-norm 4, mish, instance-norm, prelu, conv 4 1, flatten", &[3, 8, 8], 0),
    ("grow", "conv 4 3 padding 1, upsample 2, conv 4 3, upsample-linear 2, sigmoid", &[2, 6, 6], 0),
    ("ceil", "pool 3 stride 2, avg-pool 3 stride 2 padding 1, flatten", &[2, 14, 14], 0),
    ("adaptive", "conv 4 3, adaptive-avg-pool 4, flatten, dense 3", &[1, 18, 18], 0),
    (
        "activations",
        "dense 8, relu6, dense 8, selu, dense 8, celu 0.7, dense 8, softsign, dense 8, hard-sigmoid, dense 8, gelu-tanh, dense 8, log-sigmoid",
        &[5],
        0,
    ),
    (
        "embedding",
        "embedding 40 12, transpose, conv 8 3 padding same, relu, global-pool, flatten, dense 4",
        &[9],
        40,
    ),
    ("embedded columns", "embed-columns 6:3 4:2, dense 8, relu, dense 2", &[5], 4),
    ("lstm", "embedding 30 8, lstm 12 layers 2, last, dense 5", &[11], 30),
    ("lstm both ways", "lstm 6 bidirectional, mean-over-time, dense 5", &[7, 4], 0),
    ("gru", "gru 9, dense 3", &[6, 4], 0),
    ("rnn", "rnn 9 relu, rnn 5 bidirectional, last", &[6, 4], 0),
    ("attention", "embedding 30 16, positions 12, attention 4 causal, dense 30", &[12], 30),
    (
        "transformer",
        "embedding 30 16, sinusoidal-positions, transformer 4, transformer 2 post-norm relu, layer-norm, last, dense 7",
        &[10],
        30,
    ),
    (
        "parallel",
        "parallel(conv 4 1; conv 4 3 padding 1; pool 3 stride 1 padding 1), relu, sum(conv 3 1; conv 3 1), reshape 3 36, transpose, flatten",
        &[2, 6, 6],
        0,
    ),
];

/// A pool by its name, with the shape of a row that it takes.
type Pooling = (&'static str, &'static [usize], fn(&Tensor) -> Tensor);

/// Average pools.
const POOLS: [Pooling; 5] = [
    ("a padded pool", &[3, 7, 6], |x| x.avg_pool2d(PoolOptions::new(3).stride(2).padding(1))),
    ("a pool with ceil", &[2, 8, 8], |x| x.avg_pool2d(PoolOptions::new(3).stride(2).ceil_mode(true))),
    ("a dilated pool of one axis", &[4, 13], |x| x.avg_pool1d(PoolOptions::new(3).stride(2).dilation(3))),
    ("a dilated pool", &[2, 12, 10], |x| {
        let each = |sizes: [usize; 2]| PerAxis::Each(sizes.to_vec());
        x.avg_pool2d(PoolOptions::new(each([2, 3])).stride(each([3, 2])).padding(1).dilation(each([4, 2])))
    }),
    ("a dilated pool of three axes", &[2, 6, 5, 7], |x| {
        x.avg_pool3d(PoolOptions::new(2).stride(2).dilation(3))
    }),
];

/// How many rows go through.
const BATCHES: [usize; 3] = [1, 2, 9];

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for (name, text, row, codes) in ROWS {
        let layers: Sequential = text.parse()?;
        let dtype = if codes > 0 { DType::I64 } else { DType::F32 };
        let first: Vec<usize> = [&[2], row].concat();
        let built = layers.forward(&Tensor::zeros(first.as_slice()).cast(dtype), &Context::inference());
        if let Some(error) = built.error() {
            return Err(format!("{name}: {error}").into());
        }
        lively(&layers)?;
        let f = |x: &[Tensor]| vec![layers.forward(&x[0], &Context::inference())];
        for (version, half, fold) in
            [(13, false, false), (17, false, true), (17, true, false), (21, false, false), (23, false, true)]
        {
            let way =
                format!("{}{}{}", version, if half { "-half" } else { "" }, if fold { "-fold" } else { "" });
            save(
                &f,
                (row, codes),
                folder,
                &format!("{name}-{way}"),
                &Options { opset: version, half, fold, ..Options::default() },
            )?;
        }
    }
    // A forward pass of somebody's own, with what layers don't do.
    let own = |x: &[Tensor]| {
        let x = &x[0];
        let best = x.argmax(-1).unsqueeze(-1);
        let (top, places) = x.top_k(-1, 3);
        let shifted = x.narrow(1, 1, 4).flip(1) * x.narrow(1, 0, 4).pow(2);
        let mean = x.mean_keepdim(0);
        let picked = x.gather(1, &best);
        let counted = Tensor::index_along(x.shape(), 0).cast(DType::F32) * 0.1;
        let masked = x.gt(0.2).logical_and(&x.lt(0.8)).select(x, &(x - &mean)).clamp(-0.5, 0.5);
        let parts =
            [&top, &places.cast(DType::F32), &shifted, &picked, &masked, &(x * &counted), &x.cumsum(1)];
        vec![Tensor::concat(&parts, 1)]
    };
    for version in [13, 18, 22] {
        let options = Options { opset: version, ..Options::default() };
        save(&own, (&[6], 0), folder, &format!("own-{version}"), &options)?;
    }
    // Gradients of average pools, which operators have no word for.
    for (name, row, pool) in POOLS {
        let gradient = |x: &[Tensor]| pool(&x[0]).square().sum(..).grad(&[&x[0]]);
        for version in [13, 17, 22] {
            let options = Options { opset: version, ..Options::default() };
            save(&gradient, (row, 0), folder, &format!("gradient of {name}-{version}"), &options)?;
            let value = |x: &[Tensor]| vec![pool(&x[0])];
            save(&value, (row, 0), folder, &format!("{name}-{version}"), &options)?;
        }
    }
    steps(&folder.join("steps"))
}

/// Models that go on with texts as graphs of their next steps, with codes that come in parts and the logits of each part: every preset for
/// texts, and the language models that are kept for tests.
fn steps(folder: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(folder)?;
    const PIECES: usize = 30;
    for preset in PRESETS.iter().filter(|preset| preset.suits.contains(&Suits::Texts)) {
        let layers: Sequential = presets::layers(preset.name, Suits::Texts, &[32], PIECES)?.parse()?;
        layers.forward(&Tensor::zeros([1, 32]).cast(DType::I64), &Context::inference());
        lively(&layers)?;
        gone_on(folder, preset.name, &layers, 1, PIECES, 32)?;
    }
    let counted: Sequential =
        format!("embedding {PIECES} 16, positions 32, gru 12, dense {PIECES}").parse()?;
    gone_on(folder, "counted", &counted, 2, PIECES, 32)?;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub"))? {
        let path = entry?.path();
        // Other kinds of models lie there too.
        if let (true, Ok(model)) = (hub::is_folder(&path), LanguageModel::open(&path)) {
            let name = format!("hub-{}", path.file_name().unwrap_or_default().to_string_lossy());
            let pieces = model.config().vocabulary;
            gone_on(folder, &name, model.decoder(), 2, pieces, model.window())?;
        }
    }
    Ok(())
}

fn gone_on(
    folder: &Path,
    name: &str,
    layers: &dyn Layer,
    pieces_axis: usize,
    pieces: usize,
    window: usize,
) -> Result<(), Fault> {
    for version in [13, 17, 23] {
        let options = Options { opset: version, ..Options::default() };
        let mut builder = options.builder("kiln")?;
        write_steps(&mut builder, layers, pieces_axis, window, false)?;
        builder.save(folder.join(format!("{name}-{version}.onnx")), &options)?;
        let mut store = TensorFile::default();
        let mut rng = Rng::new(3);
        for rows in BATCHES {
            let cache = Cache::new(rows, window);
            let mut go_on = Function::cached(layers, &cache, |layers, cx, [x]| {
                let y = layers.forward(&x, cx).cast(DType::F32);
                if pieces_axis == 1 { y.transpose(1, 2) } else { y }
            });
            for (part, steps) in [4, 1, 1, 3, 1].into_iter().enumerate() {
                let codes: Vec<i64> = (0..rows * steps).map(|_| rng.below(pieces) as i64).collect();
                let logits = go_on.run([Input::new(&codes, &[rows, steps])])?[0].clone();
                let shape = vec![rows, steps, pieces];
                store.tensors.insert(format!("logits.{rows}.{part}"), HostTensor { shape, data: logits });
                let tensor = HostTensor { shape: vec![rows, steps], data: Data::I64(codes) };
                store.tensors.insert(format!("codes.{rows}.{part}"), tensor);
            }
        }
        weights::write(&store, folder.join(format!("{name}-{version}.safetensors")))?;
    }
    Ok(())
}

/// Gives states and scales numbers that show if they are left out.
fn lively(layers: &Sequential) -> Result<(), Fault> {
    let mut rng = Rng::new(11);
    for (path, state) in layers.states() {
        let low = if path.ends_with("var") { 0.5 } else { -0.3 };
        let numbers = (0..state.shape().elements()).map(|_| (low + rng.uniform() * 0.8) as f32).collect();
        state.write(&Data::F32(numbers))?;
    }
    for (_, param) in layers.parameters() {
        let moved = (0..param.shape().elements()).map(|_| rng.uniform() as f32 * 0.1).collect();
        let moved = Tensor::from_data(Data::F32(moved), param.shape());
        param.set(&(param.tensor() + moved))?;
    }
    Ok(())
}

fn save(
    f: &dyn Fn(&[Tensor]) -> Vec<Tensor>,
    (row, codes): (&[usize], usize),
    folder: &Path,
    name: &str,
    options: &Options,
) -> Result<(), Fault> {
    let (element, dtype) =
        if codes > 0 { (OnnxDType::I64, DType::I64) } else { (OnnxDType::F32, DType::F32) };
    // Columns that are part amounts and part codes come as amounts.
    let amounts = name.starts_with("embedded columns");
    let (element, dtype) = if amounts { (OnnxDType::F32, DType::F32) } else { (element, dtype) };
    let mut builder = options.builder("kiln")?;
    let sizes: Vec<Size> = [Size::Named(BATCH.to_string())]
        .into_iter()
        .chain(row.iter().map(|size| Size::Fixed(*size)))
        .collect();
    let input = builder.input("input", element, &sizes);
    let input = ModelInput { name: input, sizes, dtype };
    let output = write(&mut builder, f, &[input], options.fold)?.remove(0);
    builder.output(&output.name, "output", OnnxDType::from_dtype(output.dtype), &output.sizes);
    let path = folder.join(format!("{name}.onnx"));
    builder.save(&path, options)?;

    let network = load(&path)?;
    let mut store = TensorFile::default();
    let mut rng = Rng::new(3);
    for batch in BATCHES {
        let shape: Vec<usize> = [&[batch], row].concat();
        let count: usize = shape.iter().product();
        let data = match codes {
            0 => Data::F32((0..count).map(|_| rng.uniform() as f32 * 2.0 - 1.0).collect()),
            codes if amounts => Data::F32((0..count).map(|_| rng.below(codes) as f32).collect()),
            codes => Data::I64((0..count).map(|_| rng.below(codes) as i64).collect()),
        };
        let x = Tensor::from_data(data.clone(), shape.as_slice());
        let y = f(&[x]).remove(0);
        let own = y.to_data()?;
        near(name, &network, Value::new(data.clone(), &shape, element), &own, options.half)?;
        store.tensors.insert(format!("output.{batch}"), HostTensor { shape: y.shape().to_vec(), data: own });
        store.tensors.insert(format!("input.{batch}"), HostTensor { shape, data });
    }
    weights::write(&store, folder.join(format!("{name}.safetensors")))?;
    Ok(())
}

/// Kiln's own reader computes the same of the file.
fn near(name: &str, network: &Network, x: Value, own: &Data, half: bool) -> Result<(), Fault> {
    let outputs = network.run(vec![x], &Context::inference())?;
    let Some(Value::Numbers(y, _)) = outputs.first() else {
        return Err(format!("{name}: no numbers").into());
    };
    let pairs = y.to_data()?.scalars().into_iter().zip(own.scalars());
    let far =
        pairs.map(|(a, b)| (a.as_f64() - b.as_f64()).abs() / b.as_f64().abs().max(1.0)).fold(0.0, f64::max);
    if far > if half { 2e-2 } else { 1e-4 } {
        return Err(format!("{name}: read back it is {far} away").into());
    }
    Ok(())
}
