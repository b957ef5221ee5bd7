//! Handwritten digits: a 784-256-128-10 network with plain descent, from the four files of MNIST.
//!
//! `cargo run --release --example mnist -- DIR [EPOCHS]`, where DIR holds `train-images-idx3-ubyte.gz` and the other
//! three. Prints the seconds of each epoch and the accuracy on the test set.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use flate2::read::GzDecoder;
use kiln::data::Rng;
use kiln::prelude::*;

type Failure = Box<dyn std::error::Error>;

const PIXELS: usize = 28 * 28;
const BATCH: usize = 128;

struct Net {
    first: Dense,
    second: Dense,
    out: Dense,
}

parameters!(Net { first, second, out });

impl Layer for Net {
    /// Pixels as bytes `[batch, 784]` → logits `[batch, 10]`
    fn forward(&self, pixels: &Tensor, cx: &Context) -> Tensor {
        let x = pixels.cast(DType::F32) * (1.0 / 255.0);
        let x = self.first.forward(&x, cx).relu();
        let x = self.second.forward(&x, cx).relu();
        self.out.forward(&x, cx)
    }
}

fn main() -> ExitCode {
    match train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn train() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder =
        arguments.next().ok_or("say where MNIST is: cargo run --release --example mnist -- DIR [EPOCHS]")?;
    let epochs: usize = match arguments.next() {
        Some(text) => text.parse().map_err(|_| format!("EPOCHS must be a whole number, not `{text}`"))?,
        None => 3,
    };
    let (images, labels) = load(Path::new(&folder), "train")?;
    let (test_images, test_labels) = load(Path::new(&folder), "t10k")?;

    let [a, b, c] = Key::new(1).split();
    let net = Net {
        first: Dense::new(PIXELS, 256, a),
        second: Dense::new(256, 128, b),
        out: Dense::new(128, 10, c),
    };
    let mut step = Step::train(&net, Sgd::new(0.1), |net, cx, [pixels, labels]| {
        net.forward(&pixels, cx).cross_entropy(&labels.cast(DType::I64))
    });
    let mut classify = Function::inference(&net, |net, cx, [pixels]| net.forward(&pixels, cx).argmax(-1));

    let mut rng = Rng::new(1);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let (mut pixels, mut classes) = (Vec::with_capacity(BATCH * PIXELS), Vec::with_capacity(BATCH));
    for epoch in 1..=epochs {
        rng.shuffle(&mut order);
        let began = Instant::now();
        let mut loss = 0.0;
        for rows in order.chunks(BATCH) {
            pixels.clear();
            classes.clear();
            for &row in rows {
                pixels.extend_from_slice(&images[row * PIXELS..(row + 1) * PIXELS]);
                classes.push(labels[row]);
            }
            let inputs = [Input::new(&pixels, &[rows.len(), PIXELS]), Input::new(&classes, &[rows.len()])];
            loss += f64::from(step.run(inputs)?) * rows.len() as f64;
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut correct = 0;
        for (pixels, labels) in test_images.chunks(1000 * PIXELS).zip(test_labels.chunks(1000)) {
            let out = classify.run([Input::new(pixels, &[labels.len(), PIXELS])])?;
            let found = out[0].as_slice::<i64>().unwrap_or_default();
            correct += found.iter().zip(labels).filter(|&(&found, &label)| found == i64::from(label)).count();
        }
        println!(
            "epoch {epoch:>2}  {seconds:.3} s  loss {:.4}  test accuracy {:.2} %",
            loss / labels.len() as f64,
            100.0 * correct as f64 / test_labels.len() as f64
        );
    }
    Ok(())
}

/// The images and labels of one part of the set.
fn load(folder: &Path, part: &str) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let images = idx(&folder.join(format!("{part}-images-idx3-ubyte.gz")), &[28, 28])?;
    let labels = idx(&folder.join(format!("{part}-labels-idx1-ubyte.gz")), &[])?;
    if images.len() != labels.len() * PIXELS {
        return Err(format!("{part}: {} labels don't fit {} pixels", labels.len(), images.len()).into());
    }
    match labels.iter().find(|&&label| label > 9) {
        Some(label) => Err(format!("{part}: a label is {label}; digits end at 9").into()),
        None => Ok((images, labels)),
    }
}

/// The bytes of an IDX file of items of this shape.
fn idx(path: &Path, item: &[usize]) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let file = File::open(path).map_err(|error| {
        format!(
            "{name}: {error}\nMNIST is four files, for example from https://storage.googleapis.com/cvdf-datasets/mnist/ :\n  \
             train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz"
        )
    })?;
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    let header = 4 + 4 * (1 + item.len());
    let word = |index: usize| -> Option<usize> {
        let bytes: [u8; 4] = bytes.get(4 + 4 * index..8 + 4 * index)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes) as usize)
    };
    let kind = [0, 0, 8, 1 + item.len() as u8];
    let sizes = item.iter().enumerate().all(|(axis, &size)| word(axis + 1) == Some(size));
    let count = word(0).and_then(|count| count.checked_mul(item.iter().product()));
    if !bytes.starts_with(&kind) || !sizes || count != bytes.len().checked_sub(header) {
        return Err(format!(
            "{name} isn't an IDX file of bytes, {} to an item",
            item.iter().product::<usize>()
        )
        .into());
    }
    Ok(bytes.split_off(header))
}
