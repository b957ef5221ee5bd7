//! How parameters start. Each layer has PyTorch's default; another is asked for by name.

use kiln_ir::{DType, Data, Scalar, Shape};

use crate::budget::afford;
use crate::random::Key;
use crate::tensor::Tensor;

/// A way to fill a parameter.
///
/// ```
/// use kiln_nn::{Fan, Init, Key};
///
/// let fan = Fan { inputs: 784, outputs: 256 };
/// let weight = Init::KaimingUniform { gain: Init::RELU }.fill([784, 256], fan, &Key::new(1));
/// let bound = (6.0f64 / 784.0).sqrt();
/// assert!(weight.abs().max(..).item()? <= bound);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// 0 everywhere.
    Zeros,
    /// 1 everywhere.
    Ones,
    /// One value everywhere.
    Constant(f64),
    /// Evenly from the first to below the second.
    Uniform(f64, f64),
    /// 1 or −1, each as often.
    Signs,
    /// Normal, by mean and standard deviation.
    Normal(f64, f64),
    /// Normal, by mean and standard deviation (before what lies outside is drawn again), within two standard deviations.
    TruncatedNormal(f64, f64),
    /// Glorot and Bengio: variance `gain² · 2 / (inputs + outputs)`, uniform.
    XavierUniform {
        /// The scale; 1 where nothing squashes.
        gain: f64,
    },
    /// The same variance, normal.
    XavierNormal {
        /// The scale; 1 where nothing squashes.
        gain: f64,
    },
    /// He et al.: variance `gain² / inputs`, uniform.
    KaimingUniform {
        /// The scale: [`Init::RELU`] before rectifiers.
        gain: f64,
    },
    /// The same variance, normal.
    KaimingNormal {
        /// The scale: [`Init::RELU`] before rectifiers.
        gain: f64,
    },
    /// LeCun et al.: variance `1 / inputs`, uniform; what PyTorch's layers take is a third of that, [`Init::PYTORCH`].
    LecunUniform,
    /// LeCun et al.: variance `1 / inputs`, normal; for SELU networks.
    LecunNormal,
    /// Orthogonal rows or columns, whichever are fewer, times `gain`. Seen as a matrix of the first axis by all others.
    Orthogonal {
        /// The scale.
        gain: f64,
    },
}

/// How many numbers come together in one output, and how many outputs one number goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fan {
    /// Numbers that are summed up for one output.
    pub inputs: usize,
    /// Outputs that one input goes to.
    pub outputs: usize,
}

impl Init {
    /// The gain before a rectifier: √2.
    pub const RELU: f64 = std::f64::consts::SQRT_2;
    /// What PyTorch's linear and convolutional layers start with: uniform within ±1/√inputs.
    pub const PYTORCH: Init = Init::KaimingUniform { gain: 0.577_350_269_189_625_8 };

    /// A tensor of `f32` that is filled this way.
    #[track_caller]
    pub fn fill(&self, shape: impl Into<Shape>, fan: Fan, key: &Key) -> Tensor {
        let shape = shape.into();
        let (inputs, outputs) = (fan.inputs.max(1) as f64, fan.outputs.max(1) as f64);
        let uniform = |variance: f64| {
            let bound = (3.0 * variance).sqrt();
            key.uniform(shape.clone(), -bound, bound)
        };
        let normal = |variance: f64| key.normal(shape.clone(), 0.0, variance.sqrt());
        match *self {
            Init::Zeros => constant(&shape, 0.0),
            Init::Ones => constant(&shape, 1.0),
            Init::Constant(value) => constant(&shape, value),
            Init::Uniform(low, high) => key.uniform(shape, low, high),
            Init::Signs => key.uniform(shape, -1.0, 1.0).ge(0.0).select(1.0f32, -1.0f32),
            Init::Normal(mean, std) => key.normal(shape, mean, std),
            Init::TruncatedNormal(mean, std) => truncated(&shape, mean, std, key),
            Init::XavierUniform { gain } => uniform(gain * gain * 2.0 / (inputs + outputs)),
            Init::XavierNormal { gain } => normal(gain * gain * 2.0 / (inputs + outputs)),
            Init::KaimingUniform { gain } => uniform(gain * gain / inputs),
            Init::KaimingNormal { gain } => normal(gain * gain / inputs),
            Init::LecunUniform => uniform(1.0 / inputs),
            Init::LecunNormal => normal(1.0 / inputs),
            Init::Orthogonal { gain } => orthogonal(&shape, gain, key),
        }
    }
}

#[track_caller]
fn constant(shape: &Shape, value: f64) -> Tensor {
    let filled =
        afford(shape).and_then(|()| Data::try_filled(DType::F32, shape.elements(), Scalar::Float(value)));
    match filled {
        Ok(data) => Tensor::from_data(data, shape.clone()),
        Err(error) => error.into(),
    }
}

/// By the inverse of the distribution function between −2 and 2: every draw is used.
#[track_caller]
fn truncated(shape: &Shape, mean: f64, std: f64, key: &Key) -> Tensor {
    // erf(2 / √2): the share of a normal distribution within two standard deviations.
    const WITHIN: f64 = 0.954_499_736_103_641_6;
    let draws = match key.uniform(shape.clone(), -WITHIN, WITHIN).to_vec::<f32>() {
        Ok(draws) => draws,
        Err(error) => return error.into(),
    };
    let values = draws.into_iter().map(|p| {
        let z = std::f64::consts::SQRT_2 * inverse_erf(f64::from(p));
        (mean + std * z.clamp(-2.0, 2.0)) as f32
    });
    Tensor::from_data(Data::F32(values.collect()), shape.clone())
}

/// Newton's method on `erf(x) = p`, from Winitzki's approximation.
fn inverse_erf(p: f64) -> f64 {
    const A: f64 = 0.147;
    let l = libm::log(1.0 - p * p);
    let b = 2.0 / (std::f64::consts::PI * A) + l / 2.0;
    let mut x = ((b * b - l / A).sqrt() - b).sqrt().copysign(p);
    for _ in 0..3 {
        let slope = std::f64::consts::FRAC_2_SQRT_PI * libm::exp(-x * x);
        x -= (libm::erf(x) - p) / slope;
    }
    x
}

/// Gram and Schmidt, twice over, on normal rows (or columns), in `f64`.
#[track_caller]
fn orthogonal(shape: &Shape, gain: f64, key: &Key) -> Tensor {
    let elements = shape.elements();
    let rows = shape.first().copied().unwrap_or(1).max(1);
    let columns = elements / rows;
    let draws = match key.normal([elements], 0.0, 1.0).to_vec::<f32>() {
        Ok(draws) => draws,
        Err(error) => return error.into(),
    };
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> =
        draws.chunks(len.max(1)).take(count).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
    for position in 0..basis.len() {
        let (done, rest) = basis.split_at_mut(position);
        let Some(row) = rest.first_mut() else { break };
        for other in done.iter().chain(done.iter()) {
            let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let size = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|x| *x /= size);
    }
    let value = |index: usize| {
        let (row, column) = (index / columns, index % columns);
        let (vector, place) = if rows <= columns { (row, column) } else { (column, row) };
        basis.get(vector).and_then(|vector| vector.get(place)).map_or(0.0, |x| (gain * x) as f32)
    };
    Tensor::from_data(Data::F32((0..elements).map(value).collect()), shape.clone())
}
