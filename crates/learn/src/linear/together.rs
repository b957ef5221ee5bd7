//! Many numbers of a row at once, by least squares with one L2 penalty for all: the products of features are added up and taken apart once, however
//! many outputs there are.

use std::ops::Range;

use kiln_data::{Batch, Dataset};
use kiln_nn::Sequential;

use super::rows::{Design, by_threads, dealt};
use super::solve::{Cholesky, dot};
use super::{LinearOptions, LinearWeights, layers};
use crate::{Error, Result};

/// How many rows stand side by side before their products are added up.
const BLOCK: usize = 256;

/// SharedSums over rows, of `f` features and `o` outputs.
#[derive(Clone)]
struct SharedSums {
    rows: f64,
    /// `[f]`
    x: Vec<f64>,
    /// `[f, f]`, its lower triangle.
    xx: Vec<f64>,
    /// `[o]`
    y: Vec<f64>,
    /// `[o]`
    yy: Vec<f64>,
    /// `[o, f]`
    xy: Vec<f64>,
}

/// Rows that wait to be added up, column by column.
struct Waiting {
    rows: usize,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Waiting {
    fn new(features: usize, outputs: usize) -> Waiting {
        Waiting { rows: 0, x: vec![0.0; features * BLOCK], y: vec![0.0; outputs * BLOCK] }
    }
}

impl SharedSums {
    fn new(features: usize, outputs: usize) -> SharedSums {
        let of = |size: usize| vec![0.0; size];
        SharedSums {
            rows: 0.0,
            x: of(features),
            xx: of(features * features),
            y: of(outputs),
            yy: of(outputs),
            xy: of(outputs * features),
        }
    }

    fn add(&mut self, other: &SharedSums, factor: f64) {
        self.rows += factor * other.rows;
        let own = [&mut self.x, &mut self.xx, &mut self.y, &mut self.yy, &mut self.xy];
        let others = [&other.x, &other.xx, &other.y, &other.yy, &other.xy];
        for (own, other) in own.into_iter().zip(others) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += factor * other);
        }
    }

    fn take(&mut self, waiting: &mut Waiting) {
        let (features, rows) = (self.x.len(), waiting.rows);
        let x = |at: usize| &waiting.x[at * BLOCK..][..rows];
        let y = |at: usize| &waiting.y[at * BLOCK..][..rows];
        self.rows += rows as f64;
        for at in 0..features {
            self.x[at] += x(at).iter().sum::<f64>();
            for (other, sum) in self.xx[at * features..][..=at].iter_mut().enumerate() {
                *sum += dot(x(at), x(other));
            }
        }
        for output in 0..self.y.len() {
            self.y[output] += y(output).iter().sum::<f64>();
            self.yy[output] += dot(y(output), y(output));
            let sums = &mut self.xy[output * features..][..features];
            sums.iter_mut().enumerate().for_each(|(at, sum)| *sum += dot(x(at), y(output)));
        }
        waiting.rows = 0;
    }

    /// The lower triangle of the products of features less their means.
    fn centred(&self) -> Vec<f64> {
        let size = self.x.len();
        let mut xx = self.xx.clone();
        for row in 0..size {
            for column in 0..=row {
                xx[row * size + column] -= self.x[row] * self.x[column] / self.rows.max(1.0);
            }
        }
        xx
    }

    /// Weights and biases of all outputs at this strength.
    fn solved(&self, xx: &[f64], strength: f64) -> Option<LinearWeights> {
        let size = self.x.len();
        let parts = Cholesky::of(xx, size, |_| strength)?;
        let (mut each, mut biases) = (Vec::new(), Vec::new());
        for (output, y) in self.y.iter().enumerate() {
            let xy = &self.xy[output * size..][..size];
            let mut weights: Vec<f64> =
                xy.iter().zip(&self.x).map(|(xy, x)| xy - x * y / self.rows.max(1.0)).collect();
            parts.solve(&mut weights);
            biases.push((y - dot(&self.x, &weights)) / self.rows.max(1.0));
            each.push(weights);
        }
        Some(LinearWeights { each, biases })
    }

    /// The sum of the squared errors of weights on these rows, over all outputs.
    fn squares(&self, of: &LinearWeights) -> f64 {
        let size = self.x.len();
        let one = |(output, (weights, bias)): (usize, (&Vec<f64>, &f64))| {
            let mut quadratic = 0.0;
            for (row, weight) in weights.iter().enumerate() {
                let own = &self.xx[row * size..][..=row];
                quadratic += weight * (2.0 * dot(&own[..row], &weights[..row]) + own[row] * weight);
            }
            let xy = &self.xy[output * size..][..size];
            let linear = dot(xy, weights) - bias * dot(&self.x, weights) + bias * self.y[output];
            self.yy[output] - 2.0 * linear + quadratic + bias * bias * self.rows
        };
        of.each.iter().zip(&of.biases).enumerate().map(one).sum()
    }
}

/// SharedSums of each fold's rows, in parts of fixed size whatever the number of threads.
fn of_folds(train: &dyn Dataset, fold: &[u8], folds: usize) -> Result<Vec<SharedSums>> {
    let (features, outputs) = (train.x().width(), train.y().width());
    let parts = if features <= 512 { 8 } else { 2 };
    let size = train.len().div_ceil(parts).max(1);
    let each = by_threads(parts, |part| {
        let mut sums: Vec<SharedSums> = (0..folds).map(|_| SharedSums::new(features, outputs)).collect();
        let mut waiting: Vec<Waiting> = (0..folds).map(|_| Waiting::new(features, outputs)).collect();
        let range = (part * size).min(train.len())..((part + 1) * size).min(train.len());
        for start in range.clone().step_by(BLOCK) {
            let places: Vec<usize> = (start..(start + BLOCK).min(range.end)).collect();
            add_rows(&train.gather(&places)?, &places, fold, (&mut sums, &mut waiting));
        }
        sums.iter_mut().zip(&mut waiting).for_each(|(sums, waiting)| sums.take(waiting));
        Ok(sums)
    })?;
    let mut all: Vec<SharedSums> = (0..folds).map(|_| SharedSums::new(features, outputs)).collect();
    for part in &each {
        all.iter_mut().zip(part).for_each(|(all, part)| all.add(part, 1.0));
    }
    Ok(all)
}

fn add_rows(
    batch: &Batch,
    places: &[usize],
    fold: &[u8],
    (sums, waiting): (&mut [SharedSums], &mut [Waiting]),
) {
    let (features, outputs) = (sums[0].x.len(), sums[0].y.len());
    for (row, place) in places.iter().enumerate() {
        let own = fold.get(*place).map_or(0, |fold| usize::from(*fold)).min(sums.len() - 1);
        let to = &mut waiting[own];
        let at = to.rows;
        let value = |values: &kiln_data::Values, place: usize| values.get(place).unwrap_or(0.0);
        (0..features)
            .for_each(|feature| to.x[feature * BLOCK + at] = value(&batch.x, row * features + feature));
        (0..outputs).for_each(|output| to.y[output * BLOCK + at] = value(&batch.y, row * outputs + output));
        to.rows += 1;
        if to.rows == BLOCK {
            sums[own].take(to);
        }
    }
}

/// A dense layer for all numbers of a set's rows, with the L2 penalty that cross-validation chooses for all of them together, and its strength. Where
/// folds are told `in_order` of time, those beside the one that is held out are left out with it: their rows overlap.
///
/// ```
/// use kiln::data::{Dataset, Form, Set};
/// use kiln::linear::{LinearOptions, fit_together};
///
/// let x: Vec<f32> = (0..40).map(|at| (at * 7 % 13) as f32).collect();
/// let y: Vec<f32> = x.iter().flat_map(|x| [2.0 * x + 1.0, -x]).collect();
/// let set = Set::new(x, Form::numbers(&[1]), y, Form::numbers(&[2]))?;
/// let (layers, _) = fit_together(&set, &LinearOptions::new(), false)?;
/// assert_eq!(layers.to_text()?, "dense 2");
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where rows aren't rows of numbers, there are fewer than two, or they can't be read.
pub fn fit_together(
    train: &dyn Dataset,
    options: &LinearOptions,
    in_order: bool,
) -> Result<(Sequential, f64)> {
    let (x, y) = (train.x(), train.y());
    if x.shape.len() != 1 || x.codes().is_some() || y.codes().is_some() || train.len() < 2 {
        let message = "a linear model of several numbers is fitted to two rows of numbers or more";
        return Err(Error::Training(message.to_string()));
    }
    let folds = options.folds_of(train.len());
    let fold = match options.fold_of.as_deref() {
        Some(told) => told.to_vec(),
        None => dealt(train.len(), folds, options.seed),
    };
    let each = of_folds(train, &fold, folds)?;
    let mut all = SharedSums::new(x.width(), y.width());
    each.iter().for_each(|own| all.add(own, 1.0));
    let xx = all.centred();
    let size = x.width();
    let mean_of =
        |products: &[f64]| (0..size).map(|at| products[at * size + at]).sum::<f64>() / size.max(1) as f64;
    // What is left of features that never change is rounding.
    let square = Some(mean_of(&xx)).filter(|square| *square > 1e-14 * mean_of(&all.xx)).unwrap_or(0.0);
    let strength = match options.strength {
        Some(told) => told,
        None => chosen(&all, &each, square, in_order)?,
    };
    let none = || Error::Training("the features of a linear model are no finite numbers".to_string());
    let weights =
        all.solved(&xx, strength.max(if square > 0.0 { 1e-9 * square } else { 1.0 })).ok_or_else(none)?;
    let design = Design { amounts: size, codes: Vec::new() };
    Ok((layers::of(&design, &[weights])?, strength))
}

/// The strength of least squared error on the folds that are held out in turn.
fn chosen(all: &SharedSums, each: &[SharedSums], square: f64, in_order: bool) -> Result<f64> {
    let step: Range<i32> = if all.x.len() <= 256 { 0..17 } else { 0..9 };
    let apart = 8.0 / f64::from(step.end - 1);
    let strengths: Vec<f64> = step.map(|at| square * libm::pow(10.0, 2.0 - apart * f64::from(at))).collect();
    let errors = by_threads(each.len(), |at| {
        let mut others = all.clone();
        let beside = usize::from(in_order);
        each[at.saturating_sub(beside)..each.len().min(at + beside + 1)]
            .iter()
            .for_each(|own| others.add(own, -1.0));
        let xx = others.centred();
        let error = |strength: &f64| {
            others.solved(&xx, *strength).map_or(f64::INFINITY, |weights| each[at].squares(&weights))
        };
        if each[at].rows == 0.0 {
            return Ok(vec![0.0; strengths.len()]);
        }
        Ok(strengths.iter().map(error).collect::<Vec<f64>>())
    })?;
    let error = |at: usize| errors.iter().map(|own| own[at]).sum::<f64>();
    let best = (0..strengths.len())
        .filter(|&at| error(at).is_finite())
        .min_by(|&a, &b| error(a).total_cmp(&error(b)));
    Ok(best.map_or(square, |at| strengths[at]))
}

#[cfg(test)]
mod tests {
    use kiln_data::{Form, Set};

    use super::*;

    #[test]
    fn features_that_never_change_leave_the_mean() {
        let set = |value: f32| {
            let y: Vec<f32> = (0..80).map(|at| (at % 4) as f32).collect();
            Set::new(vec![value; 120], Form::numbers(&[3]), y, Form::numbers(&[2])).unwrap()
        };
        for value in [0.0, 0.1, 1e6] {
            let (layers, _) = fit_together(&set(value), &LinearOptions::new(), false).unwrap();
            let x = crate::Tensor::new(vec![value; 3], [1, 3]);
            let said = crate::Layer::forward(&layers, &x, &crate::Context::inference());
            let said = said.to_vec::<f32>().unwrap();
            let is_mean = (said[0] - 1.0).abs() < 1e-3 && (said[1] - 2.0).abs() < 1e-3;
            assert!(is_mean, "{value}: {said:?}");
        }
        let fault = fit_together(&set(f32::NAN), &LinearOptions::new(), false).unwrap_err().to_string();
        assert!(fault.contains("finite"), "{fault}");
    }
}
