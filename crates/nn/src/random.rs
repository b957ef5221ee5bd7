//! Randomness with explicit keys: what a key draws is a pure function of the key, the same on every device and
//! thread count and again after a resume. A key draws the same numbers each time it is used, so different draws
//! take different keys, derived from one seed.

use std::f64::consts::TAU;
use std::fmt;

use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Shape, random};

use crate::tensor::Tensor;
use crate::tensor::arguments::Operand;

/// Where random numbers come from. Made of a seed, and derived for each use; a key derived by a tensor (a step
/// count) is computed by the program it is used in, and so differs from run to run of it.
///
/// ```
/// use kiln_nn::Key;
///
/// let key = Key::new(42);
/// let [weights, noise] = key.split();
/// let w = weights.normal([64, 32], 0.0, 0.1);
/// let x = noise.uniform([8, 64], -1.0, 1.0);
/// assert_eq!(w.to_vec::<f32>()?, Key::new(42).derive(0).normal([64, 32], 0.0, 0.1).to_vec::<f32>()?);
/// # let _ = x;
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Key(KeyNumber);

/// The number that a key is: known now, or computed by the program it is used in.
#[derive(Clone)]
enum KeyNumber {
    Host(i64),
    Graph(Tensor),
}

impl Key {
    /// The key of a seed.
    pub fn new(seed: u64) -> Key {
        Key(KeyNumber::Host(random::derive(seed as i64, 0)))
    }

    /// A key that is the value of a scalar tensor of `i64`.
    #[track_caller]
    pub fn from_tensor(key: &Tensor) -> Key {
        Key(KeyNumber::Graph(scalar(key)))
    }

    /// The key for the stream numbered `stream` (a number, or a scalar integer tensor); different streams draw
    /// independent numbers.
    #[track_caller]
    pub fn derive(&self, stream: impl Into<Operand>) -> Key {
        match (&self.0, stream.into()) {
            (KeyNumber::Host(key), Operand::Scalar(stream)) => {
                let part = |part: i64| {
                    let counter = counter_of(stream.as_i64()).wrapping_sub(part);
                    (random::bits(*key, counter) >> 40) as i64
                };
                Key(KeyNumber::Host(assemble([part(0), part(1), part(2)])))
            }
            (_, stream) => {
                let stream = match stream {
                    Operand::Tensor(stream) => scalar(&stream),
                    Operand::Scalar(stream) => Tensor::full((), stream.as_i64()),
                };
                let key = self.tensor();
                let first = stream * -3i64 - 1i64;
                let [a, b, c] = [0i64, 1, 2].map(|part| integers(&key, &(&first - part)));
                Key(KeyNumber::Graph(a * (1i64 << 40) + b * (1i64 << 16) + c % (1i64 << 16)))
            }
        }
    }

    /// As many keys as there are names for them.
    ///
    /// ```
    /// # use kiln_nn::Key;
    /// let [first, second, third] = Key::new(7).split();
    /// # let _ = (first, second, third);
    /// ```
    #[track_caller]
    pub fn split<const N: usize>(&self) -> [Key; N] {
        std::array::from_fn(|stream| self.derive(stream))
    }

    /// The key's value, a scalar of `i64`.
    #[track_caller]
    pub fn tensor(&self) -> Tensor {
        match &self.0 {
            // A constant, not a fill: programs for different keys are then the same program.
            KeyNumber::Host(key) => Tensor::from(*key),
            KeyNumber::Graph(key) => key.clone(),
        }
    }

    /// Uniform in `[low, high)`, `f32`.
    #[track_caller]
    pub fn uniform(&self, shape: impl Into<Shape>, low: f64, high: f64) -> Tensor {
        let draws = draw(&self.tensor(), &counters(&shape.into(), 1, 0));
        match (low, high) {
            (0.0, 1.0) => draws,
            _ => draws * (high - low) + low,
        }
    }

    /// Normal with this mean and standard deviation, `f32`.
    #[track_caller]
    pub fn normal(&self, shape: impl Into<Shape>, mean: f64, std: f64) -> Tensor {
        let (shape, key) = (shape.into(), self.tensor());
        // Box and Muller's: 1 - u is never 0.
        let radius = ((1.0 - draw(&key, &counters(&shape, 2, 0))).ln() * -2.0).sqrt();
        let angle = draw(&key, &counters(&shape, 2, 1)) * TAU;
        radius * angle.cos() * std + mean
    }

    /// True with this probability.
    #[track_caller]
    pub fn bernoulli(&self, shape: impl Into<Shape>, probability: f64) -> Tensor {
        self.uniform(shape, 0.0, 1.0).lt(probability)
    }

    /// Whole numbers from `low` to below `high`, `i64`.
    #[track_caller]
    pub fn randint(&self, shape: impl Into<Shape>, low: i64, high: i64) -> Tensor {
        ensure!(low < high, Value, "randint", "no whole number is from {low} to below {high}");
        let range = high.wrapping_sub(low) as u64 as f64;
        let (shape, key) = (shape.into(), self.tensor());
        // 48 random bits, so that large ranges are covered evenly too.
        let coarse = draw(&key, &counters(&shape, 2, 0)).cast(DType::F64);
        let fine = draw(&key, &counters(&shape, 2, 1)).cast(DType::F64) * (1.0 / 16_777_216.0);
        let offset = ((coarse + fine) * range).floor().cast(DType::I64);
        offset + low
    }

    /// The numbers from 0 to below `count` in random order, `i64`.
    ///
    /// ```
    /// # use kiln_nn::{Key, Tensor};
    /// let rows = Tensor::arange(0..5);
    /// let shuffled = rows.index_select(0, &Key::new(3).permutation(5));
    /// assert_eq!(shuffled.sum(..).item()?, 10.0);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn permutation(&self, count: usize) -> Tensor {
        let (shape, key) = (Shape::from([count]), self.tensor());
        let coarse = integers(&key, &counters(&shape, 2, 0));
        let fine = integers(&key, &counters(&shape, 2, 1));
        (coarse * (1i64 << 24) + fine).argsort(0, false)
    }

    /// For each row of logits a class along the last axis, drawn by its softmax probability, `i64`.
    #[track_caller]
    pub fn categorical(&self, logits: &Tensor) -> Tensor {
        let gumbel = -(-(1.0 - self.uniform(logits.shape(), 0.0, 1.0)).ln()).ln();
        (logits + gumbel).argmax(-1)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            KeyNumber::Host(key) => write!(f, "Key({key:#018x})"),
            KeyNumber::Graph(_) => f.write_str("Key(tensor)"),
        }
    }
}

/// The first of the three counters that make the key of a stream: negative, far from those of a draw.
fn counter_of(stream: i64) -> i64 {
    stream.wrapping_mul(-3).wrapping_sub(1)
}

/// 24 + 24 + 16 bits as one key.
fn assemble([a, b, c]: [i64; 3]) -> i64 {
    a.wrapping_mul(1 << 40).wrapping_add(b.wrapping_mul(1 << 16)).wrapping_add(c % (1 << 16))
}

#[track_caller]
fn scalar(key: &Tensor) -> Tensor {
    ensure!(
        key.error().is_some() || (key.elements() == 1 && key.dtype().is_int()),
        Shape,
        "key",
        "a key or stream is one integer, not {}{}",
        key.dtype(),
        key.shape()
    );
    key.cast(DType::I64).reshape(())
}

/// For each element its number times `each`, plus `offset`.
#[track_caller]
fn counters(shape: &Shape, each: i64, offset: i64) -> Tensor {
    let count = shape.checked_elements();
    ensure!(count.is_some(), Shape, "random", "{shape} is larger than any memory");
    let number = Tensor::index_along([count.unwrap_or(0)], 0).reshape(shape);
    match (each, offset) {
        (1, 0) => number,
        _ => number * each + offset,
    }
}

#[track_caller]
fn draw(key: &Tensor, counters: &Tensor) -> Tensor {
    Tensor(key.0.binary(BinaryOp::Random, &counters.0))
}

/// 24 random bits as `i64`.
#[track_caller]
fn integers(key: &Tensor, counters: &Tensor) -> Tensor {
    (draw(key, counters) * 16_777_216.0).cast(DType::I64)
}
