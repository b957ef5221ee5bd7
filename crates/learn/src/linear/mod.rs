//! Linear models, fitted rather than descended to: least squares by its normal equations, classes and counts by their likelihood, each with a
//! penalty that cross-validation chooses. The honest baseline of a table: fast, the same bits at any number of threads, plain dense layers.

mod chosen;
mod descent;
mod layers;
mod likelihood;
mod moments;
mod numbers;
mod quantile;
mod rows;
mod skew;
mod solve;
#[cfg(test)]
mod tests;
mod together;

use kiln_data::{Curve, Dataset};
use kiln_map::counted;
use kiln_nn::Sequential;

use self::likelihood::Likelihood;
use self::rows::{Design, SetRows};
pub use self::skew::{Off, Skew, skew};
pub use self::solve::WeightSign;
pub use self::together::fit_together;
use crate::model::{PartMeaning, Task, TaskPart};
use crate::{Error, Result};

/// What keeps weights small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Penalty {
    /// Of numbers whichever of both is better on rows that are held out, of everything else [`Penalty::L2`].
    #[default]
    Best,
    /// `½ · strength · |w|²` beside the sum of the rows' losses (scikit-learn's `Ridge` with this `alpha`, its `LogisticRegression` with
    /// `C` the inverse).
    L2,
    /// `strength · rows · |w|₁` beside half the sum of the squared errors, scikit-learn's `Lasso` with this `alpha`; numbers only.
    L1,
}

/// How a linear model is fitted.
///
/// ```
/// use kiln::linear::{self, LinearOptions, Penalty};
/// use kiln::model::Task;
/// use kiln::prelude::*;
///
/// let set = data::moons(300, 0.2, 1);
/// let layers = linear::fit(&set, &Task::of(&set), &LinearOptions::new().penalty(Penalty::L2))?;
/// assert_eq!(layers.to_text()?, "dense 2");
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LinearOptions {
    codes: Vec<usize>,
    penalty: Penalty,
    strength: Option<f64>,
    folds: usize,
    fold_of: Option<Vec<u8>>,
    signs: Vec<WeightSign>,
    balanced: bool,
    seed: u64,
}

impl Default for LinearOptions {
    fn default() -> LinearOptions {
        LinearOptions {
            codes: Vec::new(),
            penalty: Penalty::Best,
            strength: None,
            folds: 5,
            fold_of: None,
            signs: Vec::new(),
            balanced: false,
            seed: 7,
        }
    }
}

impl LinearOptions {
    /// The better penalty of those that there are, in a strength that five folds choose.
    pub fn new() -> LinearOptions {
        LinearOptions::default()
    }

    /// How many words each of the last columns has, whose inputs are codes: of a prepared table the sizes of
    /// [`TablePreparation::vocabularies`](kiln_data::TablePreparation::vocabularies).
    pub fn codes(self, sizes: impl IntoIterator<Item = usize>) -> LinearOptions {
        LinearOptions { codes: sizes.into_iter().collect(), ..self }
    }

    /// Which penalty.
    pub fn penalty(self, penalty: Penalty) -> LinearOptions {
        LinearOptions { penalty, ..self }
    }

    /// The penalty's strength, instead of what cross-validation says.
    pub fn strength(self, strength: f64) -> LinearOptions {
        LinearOptions { strength: Some(strength), ..self }
    }

    /// In how many folds rows are cut to choose the strength; 5 unless told.
    pub fn folds(self, folds: usize) -> LinearOptions {
        LinearOptions { folds: folds.clamp(2, 100), ..self }
    }

    /// The fold of each row, below how many folds there are, where rows belong together.
    pub fn fold_of(self, fold_of: Vec<u8>) -> LinearOptions {
        let folds = fold_of.iter().max().map_or(2, |most| usize::from(*most) + 1);
        LinearOptions { fold_of: Some(fold_of), ..self }.folds(folds)
    }

    /// Which sign the weight of each input may have; of numbers, counts and two classes, where it is about the second.
    pub fn signs(self, signs: impl IntoIterator<Item = WeightSign>) -> LinearOptions {
        LinearOptions { signs: signs.into_iter().collect(), ..self }
    }

    /// Whether the rows of each class count as much as those of any other.
    pub fn balanced(self, balanced: bool) -> LinearOptions {
        LinearOptions { balanced, ..self }
    }

    /// Where the randomness of folds starts.
    pub fn seed(self, seed: u64) -> LinearOptions {
        LinearOptions { seed, ..self }
    }

    fn folds_of(&self, rows: usize) -> usize {
        match self.fold_of {
            Some(_) => self.folds,
            None => self.folds.min(rows).max(1),
        }
    }

    /// What is told holds for such rows.
    fn check(&self, design: &Design, rows: usize, task: &Task) -> Result<()> {
        let refuse = |message: String| Err(Error::Training(message));
        if rows < 2 {
            return refuse(format!(
                "a linear model needs two rows at least, and there is {}",
                counted(rows, "row")
            ));
        }
        if let Some(fold_of) = self.fold_of.as_ref().filter(|fold_of| fold_of.len() != rows) {
            return refuse(format!(
                "the folds of {} are told, and there are {rows}",
                counted(fold_of.len(), "row")
            ));
        }
        if self.fold_of.iter().flatten().any(|fold| usize::from(*fold) >= self.folds) {
            return refuse(format!("rows are told to be in more folds than {}", self.folds));
        }
        if !self.signs.is_empty() && self.signs.len() != design.width() {
            return refuse(format!(
                "the signs of {} are told, and a row has {}",
                counted(self.signs.len(), "input"),
                design.width()
            ));
        }
        let of_code = self.signs.iter().skip(design.amounts).any(|sign| *sign != WeightSign::Free);
        if of_code {
            return refuse(
                "the codes of words have no more and less; tell signs of amounts alone".to_string(),
            );
        }
        let signed = self.signs.iter().any(|sign| *sign != WeightSign::Free);
        let many = |part: &TaskPart| matches!(part.meaning, PartMeaning::Classes(names) if names.len() > 2);
        if signed && task.parts().iter().any(many) {
            return refuse(
                "more of an input can't say more of one of several classes; signs are for numbers and two classes".to_string(),
            );
        }
        let is_squared = |part: &TaskPart| match part.meaning {
            PartMeaning::Number { unit, interval: None } => unit.curve != Curve::Count,
            PartMeaning::Number { interval: Some(_), .. } | PartMeaning::Classes(_) => false,
        };
        if self.penalty == Penalty::L1 && !task.parts().iter().all(is_squared) {
            return refuse("an L1 penalty is for numbers; classes, counts and intervals have L2".to_string());
        }
        Ok(())
    }
}

/// What cross-validation chose for a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The penalty.
    pub penalty: Penalty,
    /// Its strength.
    pub strength: f64,
    /// The mean loss of a row that was held out: of numbers the squared error in the units that are learned in, else the negative
    /// log-likelihood.
    pub loss: f64,
    /// How many weights aren't 0.
    pub kept: usize,
}

/// The weights of each score `[features]`, and its bias.
pub(crate) struct LinearWeights {
    each: Vec<Vec<f64>>,
    biases: Vec<f64>,
}

/// A linear model of rows, for what a task asks of them.
///
/// # Errors
/// Where rows can't be read, aren't rows of numbers, or what is told doesn't suit them.
pub fn fit(train: &dyn Dataset, task: &Task, options: &LinearOptions) -> Result<Sequential> {
    Ok(fit_and_tell(train, task, options)?.0)
}

/// As [`fit`], with what was chosen for each target.
///
/// # Errors
/// As [`fit`].
pub fn fit_and_tell(
    train: &dyn Dataset,
    task: &Task,
    options: &LinearOptions,
) -> Result<(Sequential, Vec<Chosen>)> {
    let form = train.x();
    if form.shape.len() != 1 || form.codes().is_some() {
        return Err(Error::Training(format!(
            "a linear model is fitted to rows of numbers, and these are {:?}; flatten them",
            form.shape
        )));
    }
    let (width, codes) = (form.width(), options.codes.clone());
    let Some(amounts) = width.checked_sub(codes.len()) else {
        return Err(Error::Training(format!(
            "{} of codes in rows of {width}",
            counted(codes.len(), "column")
        )));
    };
    let design = Design { amounts, codes };
    options.check(&design, train.len(), task)?;
    let mut signs = options.signs.clone();
    signs.truncate(amounts);
    let (mut all, mut told) = (Vec::new(), Vec::new());
    for (target, part) in task.parts().into_iter().enumerate() {
        let mut rows = SetRows { set: train, target, class_weights: None };
        let (weights, chosen) = match part.meaning {
            PartMeaning::Classes(names) => {
                if options.balanced {
                    rows.class_weights = Some(balanced(&rows, names.len())?);
                }
                let likelihood =
                    if names.len() == 2 { Likelihood::Two } else { Likelihood::Classes(names.len()) };
                let (weights, chosen) = chosen::fit(&design, &rows, likelihood, &signs, options)?;
                (if names.len() == 2 { weights.of_two() } else { weights }, chosen)
            }
            PartMeaning::Number { interval: Some(share), .. } => {
                quantile::fit(&design, &rows, share, &signs, options)?
            }
            PartMeaning::Number { unit, .. } if unit.curve == Curve::Count => {
                chosen::fit(&design, &rows, Likelihood::Count, &signs, options)?
            }
            PartMeaning::Number { .. } if design.features() <= numbers::MOST => {
                numbers::fit(&design, &rows, &signs, options)?
            }
            PartMeaning::Number { .. } => chosen::fit(&design, &rows, Likelihood::Number, &signs, options)?,
        };
        all.push(weights);
        told.push(chosen);
    }
    Ok((layers::of(&design, &all)?, told))
}

impl LinearWeights {
    /// The score of the second of two classes as a logit for each.
    fn of_two(self) -> LinearWeights {
        let both = |own: &f64| [-0.5 * own, 0.5 * own];
        let one = self.each.into_iter().next().unwrap_or_default();
        let (first, second) = one.iter().map(both).map(|[first, second]| (first, second)).unzip();
        let biases = self.biases.first().map(both).unwrap_or_default().to_vec();
        LinearWeights { each: vec![first, second], biases }
    }
}

/// What the rows of each class count, so that all classes count the same.
fn balanced(rows: &SetRows, classes: usize) -> Result<Vec<f64>> {
    use self::rows::TargetRows as _;
    let mut counts = vec![0.0; classes];
    rows.each(0..rows.len(), &mut |_, _, class, weight| {
        if let Some(count) = counts.get_mut(class as usize) {
            *count += weight;
        }
    })?;
    let (all, there) = (counts.iter().sum::<f64>(), counts.iter().filter(|count| **count > 0.0).count());
    Ok(counts.iter().map(|count| if *count > 0.0 { all / (there as f64 * count) } else { 0.0 }).collect())
}
