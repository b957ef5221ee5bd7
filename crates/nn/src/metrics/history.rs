//! What was measured, epoch by epoch.

use std::fmt;

/// Named series of numbers, one number for each epoch.
///
/// ```
/// use kiln_nn::metrics::History;
///
/// let mut history = History::default();
/// history.record(&[("loss", 0.9), ("accuracy", 0.6)]);
/// history.record(&[("loss", 0.4), ("accuracy", 0.8)]);
/// assert_eq!(history.series("loss"), Some(&[0.9, 0.4][..]));
/// assert_eq!(history.best("accuracy", true), Some((1, 0.8)));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    names: Vec<String>,
    series: Vec<Vec<f64>>,
    epochs: usize,
}

impl History {
    /// Takes the numbers of an epoch. What isn't named this time is `NaN`.
    pub fn record(&mut self, numbers: &[(&str, f64)]) {
        for (name, _) in numbers {
            if !self.names.iter().any(|known| known == name) {
                self.names.push((*name).to_string());
                self.series.push(vec![f64::NAN; self.epochs]);
            }
        }
        for (name, series) in self.names.iter().zip(&mut self.series) {
            let number = numbers.iter().find(|(other, _)| other == name);
            series.push(number.map_or(f64::NAN, |(_, number)| *number));
        }
        self.epochs += 1;
    }

    /// As [`History::record`], from names that are owned.
    pub fn record_all(&mut self, numbers: &[(String, f64)]) {
        self.record(&numbers.iter().map(|(name, number)| (name.as_str(), *number)).collect::<Vec<_>>());
    }

    /// How many epochs there are.
    pub fn len(&self) -> usize {
        self.epochs
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.epochs == 0
    }

    /// The names, in the order they came.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The numbers of one name.
    pub fn series(&self, name: &str) -> Option<&[f64]> {
        let at = self.names.iter().position(|known| known == name)?;
        self.series.get(at).map(Vec::as_slice)
    }

    /// The epoch (from 0) with the best number of a name, and the number; the first of equal ones.
    pub fn best(&self, name: &str, larger_is_better: bool) -> Option<(usize, f64)> {
        let numbers = self.series(name)?.iter().copied().enumerate().filter(|(_, number)| !number.is_nan());
        numbers.reduce(|best, next| {
            let better = if larger_is_better { next.1 > best.1 } else { next.1 < best.1 };
            if better { next } else { best }
        })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |name: &String| name.chars().count().max(9);
        write!(f, "epoch")?;
        self.names.iter().try_for_each(|name| write!(f, "  {name:>w$}", w = width(name)))?;
        for epoch in 0..self.epochs {
            write!(f, "\n{:>5}", epoch + 1)?;
            for (name, series) in self.names.iter().zip(&self.series) {
                write!(f, "  {:>w$.5}", series[epoch], w = width(name))?;
            }
        }
        Ok(())
    }
}
