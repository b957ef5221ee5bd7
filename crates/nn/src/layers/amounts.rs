//! Layers for the numbers of a table's rows: scales that are learnt, waves.

use std::f64::consts::PI;
use std::fmt;
use std::ops::Range;

use kiln_ir::{Error, ErrorKind, Result};

use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{Context, TimeAxis};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::Param;

/// A learnt factor for each number of an example, at first 1.
#[derive(Clone, Debug)]
pub struct LearnedScale {
    /// The shape of an example.
    pub weight: Param,
    /// How many times as fast they learn as weights do.
    pub rate: f64,
}

crate::parameters!(LearnedScale { weight });

impl LearnedScale {
    /// Of examples of this shape. Stored is the factor less 1, by the rate: a step of the optimizer moves the factor by so many steps.
    #[track_caller]
    pub fn new(shape: impl Into<kiln_ir::Shape>, rate: f64) -> LearnedScale {
        let fan = Fan { inputs: 1, outputs: 1 };
        LearnedScale { weight: Param::new(&Init::Zeros.fill(shape, fan, &Key::new(0))), rate }
    }
}

impl Layer for LearnedScale {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x * (self.weight.tensor() * self.rate + 1.0)
    }

    fn time_axis(&self, _: TimeAxis) -> Result<TimeAxis> {
        // The factors are of examples of one shape, and these grow.
        only_back::<Self>(None)
    }
}

/// Which features of rows, by spans of their places from 0, in order; all, where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(pub Vec<Range<usize>>);

impl Places {
    /// Of a text such as `1-4+7`, which counts from 1; nothing of any other.
    pub(crate) fn of(text: &str) -> Option<Places> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        for span in text.split('+') {
            let (first, last) = span.split_once('-').unwrap_or((span, span));
            let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
            // In order, and few enough for any row: a file says them.
            let after = spans.last().map_or(0, |span| span.end);
            if first <= after || last < first || last > MOST_PLACES {
                return None;
            }
            match spans.last_mut() {
                Some(before) if before.end == first - 1 => before.end = last,
                _ => spans.push(first - 1..last),
            }
        }
        Some(Places(spans))
    }

    /// The numbers of rows in these places.
    #[track_caller]
    pub(crate) fn of_rows(&self, x: &Tensor) -> Tensor {
        let part = |span: &Range<usize>| x.narrow(-1, span.start as isize, span.len());
        let parts: Vec<Tensor> = self.0.iter().map(part).collect();
        match parts.as_slice() {
            [] => x.clone(),
            [one] => one.clone(),
            _ => Tensor::concat(&parts, -1),
        }
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }
}

/// Rows of a table are shorter.
const MOST_PLACES: usize = 1 << 20;

impl FromIterator<usize> for Places {
    /// Of places in order: neighbours are one span.
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Places {
        let mut spans: Vec<Range<usize>> = Vec::new();
        for place in places {
            match spans.last_mut() {
                Some(span) if span.end == place => span.end = place + 1,
                _ => spans.push(place..place + 1),
            }
        }
        Places(spans)
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |span: &Range<usize>| match span.len() {
            1 => span.end.to_string(),
            _ => format!("{}-{}", span.start + 1, span.end),
        };
        f.write_str(&self.0.iter().map(span).collect::<Vec<_>>().join("+"))
    }
}

/// Waves of numbers: each number becomes a few learnt sums of cosines of it, in front of all that came in (PBLD of RealMLP, arXiv 2407.04491).
/// What depends on a number in any but a straight way is learnt more easily from them.
#[derive(Clone, Debug)]
pub struct Waves {
    /// `[features, waves]`, of which numbers.
    pub frequency: Param,
    /// `[features, waves]`.
    pub phase: Param,
    /// `[features, waves, size]`.
    pub weight: Param,
    /// `[features, size]`.
    pub bias: Param,
    /// Which features of a row.
    pub places: Places,
}

crate::parameters!(Waves { frequency, phase, weight, bias });

impl Waves {
    /// For rows of so many features: `size` sums of `waves` cosines of each number in these places, whose frequencies are normal with this
    /// deviation.
    #[track_caller]
    pub fn new(
        features: usize,
        size: usize,
        waves: usize,
        deviation: f64,
        places: Places,
        key: Key,
    ) -> Waves {
        let count = if places.0.is_empty() { features } else { places.count() };
        let fan = Fan { inputs: waves, outputs: size };
        Waves {
            frequency: Param::new(&Init::Normal(0.0, deviation).fill([count, waves], fan, &key.derive(0))),
            phase: Param::new(&Init::Uniform(-PI, PI).fill([count, waves], fan, &key.derive(1))),
            weight: Param::new(&Init::PYTORCH.fill([count, waves, size], fan, &key.derive(2))),
            bias: Param::new(&Init::PYTORCH.fill([count, size], fan, &key.derive(3))),
            places,
        }
    }
}

impl Layer for Waves {
    /// `[…, features]` to `[…, numbers · size + features]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let numbers = self.places.of_rows(x);
        let known = self.frequency.shape().first().copied().unwrap_or(0);
        if x.error().is_none() && numbers.size(-1) != known {
            let message = format!("rows of {}, and waves of {known} numbers", numbers.size(-1));
            return Error::new(ErrorKind::Shape, "waves", message).into();
        }
        let angles = numbers.unsqueeze(-1) * (self.frequency.tensor() * (2.0 * PI)) + self.phase.tensor();
        let sums = (angles.cos().unsqueeze(-1) * self.weight.tensor()).sum(-2) + self.bias.tensor();
        Tensor::concat(&[&sums.flatten(-2..), x], -1)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spans() {
        let places = Places::of("1-2+3+7-1048576").unwrap();
        assert_eq!((places.0.len(), places.count()), (2, 3 + (1 << 20) - 6));
        assert_eq!(places.to_string(), "1-3+7-1048576");
        assert_eq!([0, 1, 2, 6].into_iter().collect::<Places>(), Places::of("1-3+7").unwrap());
        assert!(["2-1", "3+1", "0", "1-2+2", "1-1048577"].iter().all(|text| Places::of(text).is_none()));
    }
}
