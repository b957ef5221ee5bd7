//! Least squares with a penalty: every strength on every fold, from sums over the rows alone.

use super::moments::ProductSums;
use super::rows::{Design, TargetRows, by_threads, dealt};
use super::solve::{Cholesky, WeightSign, descend};
use super::{Chosen, LinearOptions, LinearWeights, Penalty};
use crate::Result;

/// More features than this have no matrix of their products.
pub(super) const MOST: usize = 1024;

/// One penalty of a path.
#[derive(Clone, Copy)]
enum Strength {
    /// `½ · this · |w|²`
    Ridge(f64),
    /// `this · rows · |w|₁`
    Lasso(f64),
}

/// Strengths of L2 beside the mean square of a feature, a half of a magnitude apart.
fn ridges(square: f64, features: usize) -> Vec<Strength> {
    // Of many features each takes a while.
    let step = if features <= 256 { 1 } else { 2 };
    let one = |at: i32| Strength::Ridge(square * libm::pow(10.0, 2.0 - f64::from(at) / 2.0));
    (0..=16).step_by(step).map(one).collect()
}

/// Strengths of L1 from where no weight is left, down to a thousandth.
fn lassos(most: f64) -> Vec<Strength> {
    const STEPS: i32 = 40;
    (0..=STEPS).map(|at| Strength::Lasso(most * libm::pow(1e-3, f64::from(at) / f64::from(STEPS)))).collect()
}

/// Weights that are best by cross-validation.
pub(super) fn fit(
    design: &Design,
    rows: &dyn TargetRows,
    signs: &[WeightSign],
    options: &LinearOptions,
) -> Result<(LinearWeights, Chosen)> {
    let folds = options.folds_of(rows.len());
    let fold = match options.fold_of.as_deref() {
        Some(told) => told.to_vec(),
        None => dealt(rows.len(), folds, options.seed),
    };
    let each = ProductSums::of_folds(design, rows, &fold, folds)?;
    let mut all = each[0].clone();
    each.iter().skip(1).for_each(|own| all.add(own, 1.0));
    let (xx, xy) = all.centred();
    let size = xy.len();
    let square = (0..size).map(|at| xx[at * size + at]).sum::<f64>() / size.max(1) as f64;
    let most = xy.iter().fold(0.0f64, |most, xy| most.max(xy.abs())) / all.weight.max(f64::MIN_POSITIVE);
    let mut path = Vec::new();
    if options.penalty != Penalty::L1 {
        path.extend(match options.strength {
            Some(told) => vec![Strength::Ridge(told)],
            None => ridges(square, size),
        });
    }
    if options.penalty != Penalty::L2 {
        path.extend(match options.strength {
            Some(told) if options.penalty == Penalty::L1 => vec![Strength::Lasso(told)],
            _ => lassos(most),
        });
    }
    let errors = by_threads(folds, |held| {
        let mut others = all.clone();
        others.add(&each[held], -1.0);
        Ok(errors(&others, &each[held], &path, signs))
    })?;
    let error =
        |at: usize| errors.iter().map(|fold| fold[at]).sum::<f64>() / all.weight.max(f64::MIN_POSITIVE);
    let best =
        (0..path.len()).filter(|&at| error(at).is_finite()).min_by(|&a, &b| error(a).total_cmp(&error(b)));
    let best = best.unwrap_or(0);
    let solved = Problem { xx: &xx, xy: &xy, weight: all.weight, signs };
    let mut weights = vec![0.0; size];
    // Those of strengths before it lead to it.
    for strength in &path[start_of(&path, best)..=best] {
        solved.solve(*strength, &mut weights);
    }
    let bias = all.bias(&weights);
    let (penalty, strength) = match path[best] {
        Strength::Ridge(strength) => (Penalty::L2, strength),
        Strength::Lasso(strength) => (Penalty::L1, strength),
    };
    let kept = weights.iter().filter(|weight| **weight != 0.0).count();
    Ok((
        LinearWeights { each: vec![weights], biases: vec![bias] },
        Chosen { penalty, strength, loss: error(best), kept },
    ))
}

/// From where on a path is walked to get to one of its strengths: only L1 goes on from the weights before.
fn start_of(path: &[Strength], best: usize) -> usize {
    match path[best] {
        Strength::Ridge(_) => best,
        Strength::Lasso(_) => path.iter().position(|one| matches!(one, Strength::Lasso(_))).unwrap_or(best),
    }
}

/// The sum of squared errors on rows that are held out, for each strength.
fn errors(others: &ProductSums, held: &ProductSums, path: &[Strength], signs: &[WeightSign]) -> Vec<f64> {
    let (xx, xy) = others.centred();
    let problem = Problem { xx: &xx, xy: &xy, weight: others.weight, signs };
    let mut weights = vec![0.0; xy.len()];
    let one = |strength: &Strength| match problem.solve(*strength, &mut weights) {
        true => held.squares(&weights, others.bias(&weights)),
        false => f64::INFINITY,
    };
    path.iter().map(one).collect()
}

/// Least squares over some rows.
struct Problem<'m> {
    xx: &'m [f64],
    xy: &'m [f64],
    weight: f64,
    signs: &'m [WeightSign],
}

impl Problem<'_> {
    /// Weights of least error and penalty, from where they are; whether there are some.
    fn solve(&self, strength: Strength, weights: &mut [f64]) -> bool {
        let is_free = self.signs.iter().all(|sign| *sign == WeightSign::Free);
        match strength {
            Strength::Ridge(l2) if is_free => match Cholesky::of(self.xx, self.xy.len(), |_| l2) {
                Some(factor) => {
                    weights.copy_from_slice(self.xy);
                    factor.solve(weights);
                    true
                }
                None => false,
            },
            Strength::Ridge(l2) => {
                descend(self.xx, self.xy, (0.0, l2), self.signs, weights);
                true
            }
            Strength::Lasso(l1) => {
                descend(self.xx, self.xy, (l1 * self.weight, 0.0), self.signs, weights);
                true
            }
        }
    }
}
