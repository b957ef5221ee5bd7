//! Two moons, told apart by a small network written out by hand: `cargo run --release --example moons`.
//!
//! 2-16-16-1 with ReLU, max-margin loss and a little L2, plain descent on all 100 points at once with a rate that
//! falls from 1 to 0.1. It must get every point right within 100 steps, and fails loudly otherwise.

use kiln::prelude::*;

const POINTS: usize = 100;
const STEPS: usize = 100;

/// Dense layers are two tensors each; a parameter is a variable on the device.
struct Net {
    layers: Vec<Dense>,
}

parameters!(Net { layers });

impl Net {
    fn new(sizes: &[usize], key: &Key) -> Net {
        let layer = |(number, ends): (usize, &[usize])| Dense::new(ends[0], ends[1], key.derive(number));
        Net { layers: sizes.windows(2).enumerate().map(layer).collect() }
    }

    /// `[batch, 2]` → scores `[batch]`, above zero for one moon and below for the other
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut x = x.clone();
        for (number, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, cx);
            if number + 1 < self.layers.len() {
                x = x.relu();
            }
        }
        x.squeeze(1)
    }
}

fn main() -> Result<()> {
    let points = data::moons(POINTS, 0.1, 1337).all()?;
    let sides: Vec<f32> =
        points.y.as_i64().unwrap_or_default().iter().map(|&label| 2.0 * label as f32 - 1.0).collect();
    let net = Net::new(&[2, 16, 16, 1], &Key::new(2));
    println!("2-16-16-1, {} parameters", net.parameter_count());

    let mut step = Step::train_with(&net, Sgd::new(1.0), StepOptions::new(), |net, cx, [x, sides]| {
        let scores = net.forward(&x, cx);
        let margin = (1.0 - &sides * &scores).relu().mean(..);
        let penalty: Tensor = net.parameters().iter().map(|(_, p)| p.tensor().square().sum(..)).sum();
        vec![margin + 1e-4 * penalty, (sides * scores).gt(0.0).mean(..)]
    });
    let mut accuracy = 0.0;
    for number in 0..STEPS {
        step.set_rate(1.0 - 0.9 * number as f64 / STEPS as f64)?;
        let out = step.run_all([points.inputs()[0].clone(), Input::new(&sides, &[POINTS])])?;
        let value = |position: usize| out[position].get(0).map_or(f64::NAN, |value| value.as_f64());
        accuracy = 100.0 * value(1);
        if number % 10 == 0 || accuracy == 100.0 {
            println!("step {number:>2}  loss {:.4}  accuracy {accuracy:.0} %", value(0));
        }
        if accuracy == 100.0 {
            break;
        }
    }
    draw(&net, &points)?;
    assert_eq!(accuracy, 100.0, "after {STEPS} steps not every training point is on its side");
    Ok(())
}

/// The boundary: `+` and `-` where the score is above and below zero, the points as `O` and `X`.
fn draw(net: &Net, points: &Batch) -> Result<()> {
    const COLUMNS: usize = 64;
    const ROWS: usize = 22;
    let (left, width, top, height) = (-1.6, 4.2, 1.6, -2.7);
    let at = |cell: usize, cells: usize, start: f32, length: f32| {
        start + length * (cell as f32 + 0.5) / cells as f32
    };
    let cells: Vec<f32> = (0..ROWS)
        .flat_map(|row| (0..COLUMNS).map(move |column| (row, column)))
        .flat_map(|(row, column)| [at(column, COLUMNS, left, width), at(row, ROWS, top, height)])
        .collect();
    let cells = Tensor::new(cells, [ROWS * COLUMNS, 2]);
    let scores = net.forward(&cells, &Context::inference()).to_vec::<f32>()?;
    let mut picture: Vec<char> = scores.iter().map(|&score| if score > 0.0 { '+' } else { '-' }).collect();
    let (x, labels) = (points.x.as_f32().unwrap_or_default(), points.y.as_i64().unwrap_or_default());
    for (point, &label) in x.chunks_exact(2).zip(labels) {
        let column = ((point[0] - left) / width * COLUMNS as f32) as usize;
        let row = ((point[1] - top) / height * ROWS as f32) as usize;
        if row < ROWS && column < COLUMNS {
            picture[row * COLUMNS + column] = if label == 1 { 'O' } else { 'X' };
        }
    }
    for row in picture.chunks(COLUMNS) {
        println!("  {}", row.iter().collect::<String>());
    }
    Ok(())
}
