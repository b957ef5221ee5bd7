//! Signals: windows, Fourier transforms as products with tables of sines, and the matrix of the mel scale.

use std::f64::consts::{LN_10, TAU};

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "HannWindow" => |call| window(call, &[0.5, -0.5]),
        // Hamming's own fractions, which others round to 0.54 and 0.46.
        "HammingWindow" => |call| window(call, &[25.0 / 46.0, -21.0 / 46.0]),
        "BlackmanWindow" => |call| window(call, &[0.42, -0.5, 0.08]),
        "DFT" => |call| {
            let (x, element) = (call.tensor(0)?, call.element(0)?);
            let given = match call.version >= 20 {
                true => call.optional_ints(2)?.and_then(|axis| axis.first().copied()).unwrap_or(-2),
                false => call.int("axis", 1),
            };
            let axis = call.axis(given, x.rank())?;
            let length = match call.optional_ints(1)?.and_then(|length| length.first().copied()) {
                Some(length) => Some(call.sizes(&[length])?[0]),
                None => None,
            };
            let transform = Fourier {
                length,
                inverse: call.int("inverse", 0) != 0,
                onesided: call.int("onesided", 0) != 0,
            };
            let y = transform.of(call, &wide(&x), axis)?;
            Ok(vec![Value::Numbers(y.cast(x.dtype()), element)])
        },
        "STFT" => stft,
        "MelWeightMatrix" => mel,
        _ => return None,
    })
}

/// A sum of cosines: `Σ factor · cos(2π · at · n / size)`.
fn window(call: &Call, factors: &[f64]) -> Result<Vec<Value>> {
    let size = call.known_ints(0)?.first().copied().unwrap_or(0);
    let size = call.sizes(&[size])?[0];
    call.listed(size)?;
    let over = match call.int("periodic", 1) != 0 {
        true => size,
        false => size.saturating_sub(1),
    };
    let number = |n: usize| {
        let angle = TAU * n as f64 / over.max(1) as f64;
        factors.iter().enumerate().map(|(at, factor)| factor * libm::cos(angle * at as f64)).sum::<f64>()
    };
    let numbers: Vec<f64> = (0..size).map(number).collect();
    typed(call, Tensor::new(numbers, [size]))
}

/// In the type that the node says.
fn typed(call: &Call, x: Tensor) -> Result<Vec<Value>> {
    let element = call.element_of(call.int("output_datatype", OnnxDType::F32.number().into()))?;
    let dtype = element.dtype().ok_or_else(|| call.fault("a window of texts"))?;
    Ok(vec![Value::Numbers(x.cast(dtype), element)])
}

/// A discrete Fourier transform along one axis of `[…, length, …, 1 or 2]`, whose last axis holds real and imaginary parts.
struct Fourier {
    /// What the axis is cut or filled with zeros to; of a half spectrum the length of the signal.
    length: Option<usize>,
    inverse: bool,
    /// Whether the spectrum of real numbers is half of it: the other half mirrors it.
    onesided: bool,
}

impl Fourier {
    fn of(&self, call: &Call, x: &Tensor, axis: usize) -> Result<Tensor> {
        let (rank, shape) = (x.rank(), x.shape());
        let parts = shape[rank - 1];
        if rank < 2 || axis == rank - 1 || parts == 0 || parts > 2 {
            return Err(call.fault(format!("a transform of {shape} along axis {axis}")));
        }
        let to_real = self.inverse && self.onesided;
        let size = shape[axis];
        let length = self.length.unwrap_or(if to_real { 2 * size.saturating_sub(1) } else { size });
        if length == 0 {
            return Err(call.fault("a transform of no numbers"));
        }
        let half = length / 2 + 1;
        let (taken, given) = match self.onesided {
            true if self.inverse => (half, length),
            true => (length, half),
            false => (length, length),
        };
        call.listed(taken.saturating_mul(given))?;
        // [parts][…, taken]
        let kept = x.move_axis(axis as isize, -2);
        let kept = kept.narrow(-2, 0, size.min(taken));
        let mut widths = vec![(0, 0); rank];
        widths[rank - 2].1 = taken.saturating_sub(size);
        let kept = kept.pad(widths, 0.0);
        let part = |at: usize| kept.narrow(-1, at as isize, 1).squeeze(-1);
        let (cos, sin) = self.tables(x.dtype(), (taken, given, length));
        let real = part(0);
        let (y_real, y_imaginary) = match parts {
            2 => {
                let imaginary = part(1);
                let y_real = real.matmul(&cos) - imaginary.matmul(&sin);
                (y_real, real.matmul(&sin) + imaginary.matmul(&cos))
            }
            _ => (real.matmul(&cos), real.matmul(&sin)),
        };
        let y = match to_real {
            true => y_real.unsqueeze(-1),
            false => Tensor::stack(&[y_real, y_imaginary], -1),
        };
        Ok(y.move_axis(-2, axis as isize))
    }

    /// Cosines and sines of each pair of positions, `[taken, given]`.
    fn tables(&self, dtype: DType, (taken, given, length): (usize, usize, usize)) -> (Tensor, Tensor) {
        let scale = |at: usize| match (self.inverse, self.onesided) {
            (false, _) => 1.0,
            (true, false) => 1.0 / length as f64,
            // What mirrors another counts for both.
            (true, true) if at == 0 || 2 * at == length => 1.0 / length as f64,
            (true, true) => 2.0 / length as f64,
        };
        let sign = if self.inverse { 1.0 } else { -1.0 };
        let all = |wave: fn(f64) -> f64, sign: f64| -> Tensor {
            let number = |at: usize| {
                let (row, column) = (at / given, at % given);
                // The product stays below the length, so that the angle is precise.
                let turn = (row as u128 * column as u128 % length as u128) as f64 / length as f64;
                sign * scale(row) * wave(TAU * turn)
            };
            let numbers: Vec<f64> = (0..taken * given).map(number).collect();
            Tensor::new(numbers, [taken, given]).cast(dtype)
        };
        (all(libm::cos, 1.0), all(libm::sin, sign))
    }
}

/// The transforms of parts of a signal, each a step behind the one before, times a window.
fn stft(call: &Call) -> Result<Vec<Value>> {
    let (x, element) = (call.tensor(0)?, call.element(0)?);
    let step = call.known_ints(1)?.first().copied().unwrap_or(0);
    let step = call.sizes(&[step])?[0];
    let signal = if x.rank() == 2 { x.unsqueeze(-1) } else { x.clone() };
    let [_, size, _] = signal.shape()[..] else {
        return Err(call.fault(format!("a signal {}", x.shape())));
    };
    let window = call.optional(2)?;
    let length = match (call.optional_ints(3)?.and_then(|length| length.first().copied()), &window) {
        (Some(length), _) => call.sizes(&[length])?[0],
        (None, Some(window)) => window.elements(),
        (None, None) => size,
    };
    if step == 0
        || length == 0
        || length > size
        || window.as_ref().is_some_and(|own| own.elements() != length)
    {
        return Err(call.fault(format!("parts of {length}, {step} apart, of a signal of {size}")));
    }
    // [batch, parts, size, 1 or 2]
    let mut parts = wide(&signal).unfold(1, length, step).move_axis(-1, 2);
    if let Some(window) = window {
        parts *= wide(&window).reshape([length, 1]);
    }
    let onesided = call.int("onesided", 1) != 0;
    let transform = Fourier { length: None, inverse: false, onesided };
    let y = transform.of(call, &call.sound(parts)?, 2)?;
    Ok(vec![Value::Numbers(y.cast(x.dtype()), element)])
}

/// Triangles over the bins of a spectrum, evenly apart on the mel scale: `[bins of the spectrum, bands]`.
fn mel(call: &Call) -> Result<Vec<Value>> {
    let whole = |position: usize| -> Result<usize> {
        let number = call.known_number(position)? as i64;
        Ok(call.sizes(&[number])?[0])
    };
    let (bands, length, rate) = (whole(0)?, whole(1)?, whole(2)?);
    let (low, high) = (call.known_number(3)?, call.known_number(4)?);
    let bins = length / 2 + 1;
    call.room(&[bins, bands])?;
    call.listed(bins.saturating_mul(bands))?;
    let to_mel = |hertz: f64| 2595.0 * libm::log1p(hertz / 700.0) / LN_10;
    let step = (to_mel(high) - to_mel(low)) / (bands as f64 + 2.0);
    let edge = |at: usize| -> usize {
        let mel = at as f64 * step + to_mel(low);
        let hertz = 700.0 * libm::expm1(mel / 2595.0 * LN_10);
        ((length as f64 + 1.0) * hertz / rate.max(1) as f64) as usize
    };
    let mut numbers = vec![0f64; bins * bands];
    for band in 0..bands {
        let [lower, middle, upper] = [0, 1, 2].map(|at| edge(band + at));
        if upper > bins {
            return Err(call.fault(format!("{high} Hz is more than {bins} bins of {rate} Hz have")));
        }
        let mut set = |bin: usize, number: f64| {
            if bin < bins {
                numbers[bin * bands + band] = number;
            }
        };
        if middle == lower {
            set(middle, 1.0);
        }
        (lower..=middle).filter(|_| middle > lower).for_each(|bin| {
            set(bin, (bin - lower) as f64 / (middle - lower) as f64);
        });
        (middle..upper).for_each(|bin| set(bin, (upper - bin) as f64 / (upper - middle) as f64));
    }
    typed(call, Tensor::new(numbers, [bins, bands]))
}
