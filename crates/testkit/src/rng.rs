//! Seeded random numbers and data, the same in every run.

use kiln_ir::{DType, Data, Scalar, Shape, random};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    key: i64,
    counter: i64,
}

impl Rng {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Rng {
        Rng { key: seed as i64, counter: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.counter += 1;
        random::bits(self.key, self.counter)
    }

    /// A whole number below `end`, which isn't 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// A number between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.between(0.0, 1.0) < probability
    }

    /// One of `items`, of which there is at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Numbers from `range`, as many as `shape` holds.
    pub fn data(&mut self, shape: &Shape, dtype: DType, range: Range) -> Data {
        let scalars: Vec<Scalar> = (0..shape.elements()).map(|_| self.scalar(dtype, range)).collect();
        kiln_ir::each_dtype!(dtype, T => {
            <T as kiln_ir::Element>::wrap(scalars.into_iter().map(<T as kiln_ir::Element>::from_scalar).collect())
        })
    }

    fn scalar(&mut self, dtype: DType, range: Range) -> Scalar {
        match range {
            _ if dtype == DType::Bool => Scalar::Bool(self.chance(0.5)),
            Range::Whole(low, high) if dtype.is_float() => {
                Scalar::Float(low as f64 + self.below((high - low) as usize + 1) as f64)
            }
            Range::Whole(low, high) => self.scalar(dtype, Range::Between(low as f64, high as f64)),
            Range::Between(low, high) if dtype.is_float() => Scalar::Float(self.between(low, high)),
            Range::Between(low, high) => {
                let low = if matches!(dtype, DType::U8 | DType::U16) { low.max(0.0) } else { low };
                Scalar::Int(low as i64 + self.below((high - low) as usize + 1) as i64)
            }
            Range::Below(end) => Scalar::Int(self.below(end.max(1)) as i64),
            Range::Odd if dtype.is_float() => Scalar::Float(*self.pick(&[
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                0.0,
                -0.0,
                1.0,
                -1.0,
                0.5,
                -2.5,
                1e-8,
                -3e4,
                100.0,
            ])),
            Range::Odd => Scalar::Int(*self.pick(&[0, 1, -1, 2, 7, 255, 256, i64::MAX, i64::MIN, -300])),
        }
    }
}

/// Where numbers are taken from.
#[derive(Clone, Copy, Debug)]
pub enum Range {
    /// Evenly from this range; of integers whole numbers, both ends included.
    Between(f64, f64),
    /// Whole numbers, of floats too, both ends included: ties and zeros.
    Whole(i64, i64),
    /// Whole numbers from 0 up to below this: indices.
    Below(usize),
    /// Where mistakes hide: `NaN`, infinities, both zeros, extremes.
    Odd,
}
