//! What a target's numbers are learned as, and back: a mean and a deviation, of skewed ones those of their logarithms.

use serde::{Deserialize, Serialize};

/// How numbers are bent before a mean is taken off and a deviation divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Curve {
    /// Not at all.
    #[default]
    Straight,
    /// `ln(1 + y / unit)` with the sign of `y`, so that every number has one: far above the unit the logarithm. What is predicted is `factor`
    /// times what it comes to, so that the mean of predictions is right: by itself the middle of what may come has as much above as below.
    Log {
        /// Below this numbers are nearly straight.
        unit: f64,
        /// What predictions are multiplied by.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        factor: f64,
    },
    /// A count, whose mean's logarithm is predicted: it is learned by the count over the deviation, and no mean is taken off.
    Count,
}

fn one() -> f64 {
    1.0
}

fn is_one(factor: &f64) -> bool {
    *factor == 1.0
}

impl Curve {
    /// Whether numbers are as they are.
    pub fn is_straight(&self) -> bool {
        *self == Curve::Straight
    }

    /// A number as it is learned, before mean and deviation.
    pub(super) fn bend(self, number: f64) -> f64 {
        match self {
            Curve::Straight | Curve::Count => number,
            Curve::Log { unit, .. } => libm::log1p(number.abs() / unit).copysign(number),
        }
    }

    fn straighten(self, bent: f64) -> f64 {
        match self {
            Curve::Straight | Curve::Count => bent,
            Curve::Log { unit, .. } => (unit * libm::expm1(bent.abs())).copysign(bent),
        }
    }
}

/// What the numbers of a target are learned as.
///
/// ```
/// use kiln_data::{Curve, Unit};
///
/// let prices = Unit { scale: 0.5, offset: 6.0, curve: Curve::Log { unit: 100.0, factor: 1.1 } };
/// let learned = prices.learned(50_000.0);
/// assert!((prices.truth(learned) - 50_000.0).abs() < 1e-6);
/// // The same as a prediction is the mean of what may come.
/// assert!((prices.number(learned) - 55_000.0).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// What is learned times this,
    pub scale: f64,
    /// plus this, is the number,
    pub offset: f64,
    /// bent so.
    pub curve: Curve,
}

impl Unit {
    /// Numbers as they are.
    pub const PLAIN: Unit = Unit { scale: 1.0, offset: 0.0, curve: Curve::Straight };

    /// What a number is learned as.
    pub fn learned(&self, number: f64) -> f64 {
        (self.curve.bend(number) - self.offset) / self.scale
    }

    /// The number that was learned as this.
    pub fn truth(&self, learned: f64) -> f64 {
        self.curve.straighten(learned * self.scale + self.offset)
    }

    /// The number that a model's output says.
    pub fn number(&self, output: f64) -> f64 {
        match self.curve {
            Curve::Straight => output * self.scale + self.offset,
            Curve::Log { factor, .. } => factor * self.truth(output),
            Curve::Count => libm::exp(output) * self.scale,
        }
    }

    /// The bound of an interval that a model's output says: what is true of an output is true of it, and no mean is meant.
    pub fn bound(&self, output: f64) -> f64 {
        match self.curve {
            Curve::Straight | Curve::Log { .. } => self.truth(output),
            Curve::Count => self.number(output),
        }
    }

    /// How much the number changes with what is learned, there.
    pub fn slope(&self, number: f64) -> f64 {
        match self.curve {
            Curve::Straight => self.scale,
            Curve::Log { unit, .. } => self.scale * (number.abs() + unit),
            Curve::Count => number.abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_from_what_it_is_learned_as() {
        let log = Curve::Log { unit: 3.0, factor: 1.0 };
        for (curve, scale, offset) in [(Curve::Straight, 2.0, 7.0), (log, 0.7, 2.0), (Curve::Count, 4.0, 0.0)]
        {
            let unit = Unit { scale, offset, curve };
            for number in [0.0, 1e-9, 0.5, 3.0, 1e9, -2.0] {
                let back = unit.truth(unit.learned(number));
                assert!((back - number).abs() <= 1e-9 * (1.0 + number.abs()), "{curve:?}: {number}, {back}");
            }
            let (output, step) = (0.3, 1e-6);
            let number = unit.bound(output);
            let slope = (unit.bound(output + step) - number) / step;
            assert!((unit.slope(number) - slope).abs() < 1e-4 * slope, "{curve:?}: {slope}");
        }
    }

    #[test]
    fn curves_are_stored_in_words() {
        let stored = |curve: Curve| serde_json::to_string(&curve).unwrap();
        assert_eq!(stored(Curve::Log { unit: 2.0, factor: 1.0 }), r#"{"log":{"unit":2.0}}"#);
        assert_eq!(stored(Curve::Count), r#""count""#);
        for curve in [Curve::Straight, Curve::Count, Curve::Log { unit: 2.0, factor: 1.5 }] {
            assert_eq!(serde_json::from_str::<Curve>(&stored(curve)).unwrap(), curve);
        }
    }
}
