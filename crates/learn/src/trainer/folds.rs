//! k-fold cross-validation: as many trainings as folds, each evaluated on the rows it never saw.

use std::fmt;

use kiln_data::{Dataset, Subset, folds};
use kiln_nn::Module;

use super::Trainer;
use super::evaluate::Evaluation;
use crate::Result;

/// One of the trainings of a cross-validation.
pub struct Fold<'d, D> {
    /// Its number, from 0.
    pub number: usize,
    /// The rows to train on.
    pub train: Subset<&'d D>,
    /// The rows that are held out.
    pub held: Subset<&'d D>,
}

/// The numbers of all folds. Prints as a table with means and deviations.
#[derive(Clone, Debug, PartialEq)]
pub struct Folds {
    evaluations: Vec<Evaluation>,
}

/// Trains on every fold but one, evaluates on that one, and does so for each. `trainer` makes a new trainer, with a new model,
/// for each fold. Classes are spread evenly over the folds.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::trainer::cross_validate;
///
/// let set = data::moons(150, 0.1, 1);
/// let folds = cross_validate(&set, 3, 7, |fold| {
///     let model = Sequential::new().seed(fold.number as u64).dense(16).relu().dense(2);
///     Trainer::new(model, CrossEntropy::new(), Adam::new(0.02)).epochs(30).metrics(["accuracy"]).quiet()
/// })?;
/// println!("{folds}");
/// assert!(folds.mean("accuracy").unwrap() > 0.8);
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// As [`Trainer::fit`]; and where the set can't be cut in so many folds.
pub fn cross_validate<'a, D: Dataset, M: Module>(
    set: &D,
    count: usize,
    seed: u64,
    trainer: impl FnMut(&Fold<D>) -> Trainer<'a, M>,
) -> Result<Folds> {
    let labels = match set.y().codes().is_some() && set.y().width() == 1 {
        true => Some(set.labels()?),
        false => None,
    };
    cross_validate_on(set, folds(set.len(), labels.as_deref(), count, seed)?, trainer)
}

/// As [`cross_validate`], on these rows to train on and to hold out: groups that stay together
/// ([`grouped_folds`](kiln_data::grouped_folds)), or time that goes on ([`folds_forward`](kiln_data::folds_forward)).
///
/// # Errors
/// As [`Trainer::fit`].
pub fn cross_validate_on<'a, D: Dataset, M: Module>(
    set: &D,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    mut trainer: impl FnMut(&Fold<D>) -> Trainer<'a, M>,
) -> Result<Folds> {
    let mut evaluations = Vec::with_capacity(folds.len());
    for (number, (train, held)) in folds.into_iter().enumerate() {
        let fold = Fold { number, train: Subset::new(set, train), held: Subset::new(set, held) };
        let run = trainer(&fold).fit(&fold.train)?;
        evaluations.push(run.evaluate(&fold.held)?);
    }
    Ok(Folds { evaluations })
}

impl Folds {
    /// Fold by fold.
    pub fn evaluations(&self) -> &[Evaluation] {
        &self.evaluations
    }

    /// The mean of a number over the folds.
    pub fn mean(&self, name: &str) -> Option<f64> {
        let numbers = self.all(name)?;
        Some(numbers.iter().sum::<f64>() / numbers.len() as f64)
    }

    /// The deviation of a number from fold to fold (of a sample: by one less than the folds).
    pub fn deviation(&self, name: &str) -> Option<f64> {
        let (numbers, mean) = (self.all(name)?, self.mean(name)?);
        let squares: f64 = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
        Some((squares / numbers.len().saturating_sub(1) as f64).sqrt())
    }

    fn all(&self, name: &str) -> Option<Vec<f64>> {
        self.evaluations.iter().map(|evaluation| evaluation.number(name)).collect()
    }
}

impl fmt::Display for Folds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = match self.evaluations.first() {
            Some(first) => first.numbers().iter().map(|(name, _)| name.as_str()).collect(),
            None => return Ok(()),
        };
        let row = |f: &mut fmt::Formatter<'_>, title: &str, number: &dyn Fn(&str) -> Option<f64>| {
            write!(f, "{title:>9}")?;
            for name in &names {
                write!(f, "  {:>w$.4}", number(name).unwrap_or(f64::NAN), w = name.len().max(9))?;
            }
            writeln!(f)
        };
        write!(f, "{:>9}", "fold")?;
        names.iter().try_for_each(|name| write!(f, "  {name:>w$}", w = name.len().max(9)))?;
        writeln!(f)?;
        for (number, evaluation) in self.evaluations.iter().enumerate() {
            row(f, &(number + 1).to_string(), &|name| evaluation.number(name))?;
        }
        row(f, "mean", &|name| self.mean(name))?;
        row(f, "deviation", &|name| self.deviation(name))
    }
}
