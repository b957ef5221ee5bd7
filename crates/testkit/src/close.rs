//! Comparing numbers that should be equal, or nearly so.

use kiln_ir::{DType, Data, Scalar};

/// How far apart two floats may be: `absolute + relative · |expected|`. Integers must be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Allowed whatever the size.
    pub absolute: f64,
    /// Allowed for each unit of the expected size.
    pub relative: f64,
}

impl Tolerance {
    /// None at all.
    pub const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

    /// A few units in the last place of `dtype`.
    pub fn of(dtype: DType) -> Tolerance {
        let unit = match dtype {
            DType::F64 => 1e-12,
            DType::F32 => 2e-6,
            DType::F16 => 2e-3,
            DType::Bf16 => 1.6e-2,
            DType::Bool | DType::U8 | DType::U16 | DType::I32 | DType::I64 => 0.0,
        };
        Tolerance { absolute: unit, relative: unit }
    }

    /// `factor` times as much.
    pub fn times(self, factor: f64) -> Tolerance {
        Tolerance { absolute: self.absolute * factor, relative: self.relative * factor }
    }
}

/// Panics with the first and the worst difference unless `found` is close to `expected`. `NaN` is close to `NaN`,
/// and infinities are only close to themselves.
#[track_caller]
pub fn assert_close(what: &str, found: &Data, expected: &Data, tolerance: Tolerance) {
    if let Err(message) = compare(found, expected, tolerance) {
        panic!("{what}: {message}");
    }
}

/// What [`assert_close`] would panic with.
pub fn compare(found: &Data, expected: &Data, tolerance: Tolerance) -> Result<(), String> {
    if found.dtype() != expected.dtype() || found.len() != expected.len() {
        let describe = |data: &Data| format!("{} values of {}", data.len(), data.dtype());
        return Err(format!("{} instead of {}", describe(found), describe(expected)));
    }
    let pairs = found.scalars().into_iter().zip(expected.scalars()).enumerate();
    let wrong: Vec<(usize, (Scalar, Scalar), f64)> =
        pairs.filter_map(|(index, pair)| Some((index, pair, excess(pair.0, pair.1, tolerance)?))).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let worst = wrong.iter().max_by(|a, b| a.2.total_cmp(&b.2)).unwrap_or(first);
    let tell = |(index, (found, expected), _): &(usize, (Scalar, Scalar), f64)| {
        format!("[{index}] is {found} instead of {expected}")
    };
    let count = format!("{} of {} values differ", wrong.len(), found.len());
    Err(format!("{count}; first {}, worst {} ({tolerance:?})", tell(first), tell(worst)))
}

/// By how much two numbers are too far apart, or `None` where they are close.
fn excess(found: Scalar, expected: Scalar, tolerance: Tolerance) -> Option<f64> {
    let (Scalar::Float(found), Scalar::Float(expected)) = (found, expected) else {
        let distance = found.as_f64() - expected.as_f64();
        return (found != expected).then_some(distance.abs());
    };
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return None;
    }
    let distance = (found - expected).abs();
    let allowed = tolerance.absolute + tolerance.relative * expected.abs();
    let close = expected.is_finite() && distance <= allowed;
    (!close).then_some(if distance.is_nan() { f64::INFINITY } else { distance - allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_and_told() {
        let data = |values: &[f64]| Data::F64(values.to_vec());
        let loose = Tolerance { absolute: 0.1, relative: 0.0 };
        let nan = f64::NAN;
        assert_eq!(
            compare(&data(&[1.0, nan, f64::INFINITY]), &data(&[1.05, nan, f64::INFINITY]), loose),
            Ok(())
        );
        let message = compare(&data(&[1.0, 2.0, 9.0]), &data(&[1.0, 2.2, 5.0]), loose).unwrap_err();
        assert!(message.contains("first [1] is 2 instead of 2.2, worst [2] is 9 instead of 5"), "{message}");
        assert!(compare(&data(&[1e300]), &data(&[f64::INFINITY]), loose).is_err());
        assert!(compare(&data(&[nan]), &data(&[0.0]), loose).is_err());
        assert!(compare(&data(&[]), &Data::F32(vec![]), loose).is_err());
    }
}
