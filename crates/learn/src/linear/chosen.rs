//! Losses that have no closed form: the strength of L2 chosen on folds of some of the rows, then the weights of all.

use std::sync::Arc;

use super::descent::{Curvature, minimise, minimise_signed};
use super::likelihood::{Likelihood, PenalisedLoss};
use super::moments::ProductSums;
use super::rows::{Design, HeldRows, TargetRows, by_threads, dealt, dealt_by_class, sample};
use super::solve::WeightSign;
use super::{Chosen, LinearOptions, LinearWeights, Penalty};
use crate::Result;

/// Products of rows, features and scores that a strength may be tried on at most.
const WORK: usize = 2_000_000;
/// Rows that strengths are tried on at most, and at least where there are as many.
const ROWS: [usize; 2] = [1_000, 10_000];
/// Of more features than this only their own curvature is known.
const WHOLE: usize = 512;
/// After so many strengths that are each worse than the best, weaker ones aren't tried.
const PATIENCE: usize = 4;

/// Strengths beside the mean square of a feature over the rows, from strong to weak.
fn strengths(square: f64) -> Vec<f64> {
    (0..=14).map(|at| square * libm::pow(10.0, 1.0 - f64::from(at) / 2.0)).collect()
}

/// What is known of a path of strengths on some rows.
struct Sampled {
    design: Arc<Design>,
    likelihood: Likelihood,
    rows: HeldRows,
    /// The sum of each feature's squares, and of the weights.
    squares: Vec<f64>,
    /// The products of all features, where they aren't too many.
    moments: Option<ProductSums>,
    mean: f64,
}

impl Sampled {
    fn of(design: &Design, likelihood: Likelihood, rows: HeldRows) -> Result<Sampled> {
        let mut squares = vec![0.0; design.features() + 1];
        let (mut total, mut row) = (0.0, vec![0.0; design.features()]);
        rows.each(0..rows.len(), &mut |_, inputs, target, weight| {
            design.expand(inputs, &mut row);
            squares.iter_mut().zip(&row).for_each(|(sum, value)| *sum += weight * value * value);
            *squares.last_mut().expect("one for the bias") += weight;
            total += weight * target;
        })?;
        let weight = squares.last().copied().unwrap_or(1.0);
        let moments = match design.features() <= WHOLE {
            true => ProductSums::of_folds(design, &rows, &[], 1)?.pop(),
            false => None,
        };
        let design = Arc::new(design.clone());
        Ok(Sampled {
            design,
            likelihood,
            rows,
            squares,
            moments,
            mean: total / weight.max(f64::MIN_POSITIVE),
        })
    }

    /// The curvature of so many times the rows.
    fn curvature(&self, times: f64, strength: f64) -> Curvature {
        let bend = times * self.likelihood.curvature(self.mean);
        match &self.moments {
            Some(moments) => Curvature::of(moments, bend, strength),
            None => Curvature::Each(self.squares.iter().map(|square| bend * square + strength).collect()),
        }
    }

    /// Weights of some rows, from where they are; `times` is how many times the sample these are.
    fn minimise(
        &self,
        rows: &dyn TargetRows,
        (times, strength): (f64, f64),
        signs: &[WeightSign],
        weights: &mut Vec<f64>,
    ) -> Result<()> {
        let objective = PenalisedLoss { design: &self.design, rows, likelihood: self.likelihood, strength };
        if signs.iter().all(|sign| *sign == WeightSign::Free) {
            return minimise(&objective, &self.curvature(times, strength), weights);
        }
        let bend = times * self.likelihood.curvature(self.mean);
        let own: Vec<f64> = self.squares.iter().map(|square| bend * square + strength).collect();
        minimise_signed(&objective, &own, signs, weights)
    }
}

/// Weights that are best by cross-validation.
pub(super) fn fit(
    design: &Design,
    rows: &dyn TargetRows,
    likelihood: Likelihood,
    signs: &[WeightSign],
    options: &LinearOptions,
) -> Result<(LinearWeights, Chosen)> {
    let most = (WORK / (design.features() * likelihood.scores()).max(1)).clamp(ROWS[0], ROWS[1]);
    let taken = sample(rows.len(), most, options.seed);
    let some = HeldRows::of(rows, design.width(), |row| taken.get(row).copied().unwrap_or(false))?;
    let folds = options.folds_of(some.len());
    let is_classes = matches!(likelihood, Likelihood::Two | Likelihood::Classes(_));
    let fold = match (&options.fold_of, is_classes) {
        (Some(told), _) => {
            told.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(fold, _)| *fold).collect()
        }
        (None, true) => dealt_by_class(some.targets(), folds, options.seed),
        (None, false) => dealt(some.len(), folds, options.seed),
    };
    let known = Sampled::of(design, likelihood, some)?;
    let features = known.squares.len() - 1;
    let square = known.squares[..features].iter().sum::<f64>() / features.max(1) as f64;
    let path = match options.strength {
        Some(told) => vec![told],
        None => strengths(square * likelihood.curvature(known.mean)),
    };
    let losses = by_threads(folds, |held| losses(&known, &path, signs, &fold, held as u8))?;
    let weight: f64 = losses.iter().map(|(_, weight)| weight).sum();
    let loss =
        |at: usize| losses.iter().map(|(fold, _)| fold[at]).sum::<f64>() / weight.max(f64::MIN_POSITIVE);
    let best =
        (0..path.len()).filter(|&at| loss(at).is_finite()).min_by(|&a, &b| loss(a).total_cmp(&loss(b)));
    let (best, size) = (best.unwrap_or(0), likelihood.scores() * (features + 1));
    let mut weights = vec![0.0; size];
    known.minimise(&known.rows, (1.0, path[best]), signs, &mut weights)?;
    let times = rows.len() as f64 / known.rows.len().max(1) as f64;
    if times > 1.0 {
        known.minimise(rows, (times, path[best]), signs, &mut weights)?;
    }
    let each = weights.chunks_exact(features + 1);
    let (weights, biases) = each.map(|own| (own[..features].to_vec(), own[features])).unzip();
    let chosen = Chosen { penalty: Penalty::L2, strength: path[best], loss: loss(best), kept: features };
    Ok((LinearWeights { each: weights, biases }, chosen))
}

/// The sum of the losses of rows that are held out, for each strength, and what these rows count.
fn losses(
    known: &Sampled,
    path: &[f64],
    signs: &[WeightSign],
    fold: &[u8],
    held: u8,
) -> Result<(Vec<f64>, f64)> {
    let width = known.design.width();
    let is_held = |row: usize| fold.get(row) == Some(&held);
    let others = HeldRows::of(&known.rows, width, |row| !is_held(row))?;
    let own = HeldRows::of(&known.rows, width, is_held)?;
    let times = others.len() as f64 / known.rows.len().max(1) as f64;
    let mut weights = vec![0.0; known.likelihood.scores() * (known.design.features() + 1)];
    let (mut all, mut weight) = (Vec::with_capacity(path.len()), 0.0);
    let (mut best, mut waited) = (f64::INFINITY, 0);
    for &strength in path {
        known.minimise(&others, (times, strength), signs, &mut weights)?;
        let objective =
            PenalisedLoss { design: &known.design, rows: &own, likelihood: known.likelihood, strength };
        let loss;
        (loss, weight) = objective.losses(&weights)?;
        all.push(loss);
        (best, waited) = if loss < best { (loss, 0) } else { (best, waited + 1) };
        if waited == PATIENCE {
            break;
        }
    }
    all.resize(path.len(), f64::INFINITY);
    Ok((all, weight))
}
