//! Sums and products of features and targets, from which least squares follow without another look at the rows.

use super::rows::{Design, TargetRows, by_threads};
use super::solve::dot;
use crate::Result;

/// How many rows' features stand side by side before their products are added up.
const BLOCK: usize = 256;

/// Sums over rows: of weights, features, targets and their products.
#[derive(Clone)]
pub(super) struct ProductSums {
    pub weight: f64,
    pub y: f64,
    pub yy: f64,
    pub x: Vec<f64>,
    pub xy: Vec<f64>,
    /// `[features, features]`, its lower triangle.
    pub xx: Vec<f64>,
}

/// The rows of a fold that weren't added up yet, column by column, times the roots of their weights.
struct Pending {
    columns: Vec<f64>,
    roots: Vec<f64>,
    y: Vec<f64>,
}

impl ProductSums {
    fn new(features: usize) -> ProductSums {
        let x = vec![0.0; features];
        let xx = vec![0.0; features * features];
        ProductSums { weight: 0.0, y: 0.0, yy: 0.0, xy: x.clone(), x, xx }
    }

    pub fn add(&mut self, other: &ProductSums, factor: f64) {
        self.weight += factor * other.weight;
        self.y += factor * other.y;
        self.yy += factor * other.yy;
        for (own, other) in [(&mut self.x, &other.x), (&mut self.xy, &other.xy), (&mut self.xx, &other.xx)] {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += factor * other);
        }
    }

    fn take(&mut self, pending: &mut Pending) {
        let Pending { columns, roots, y } = pending;
        let (features, rows) = (self.x.len(), roots.len());
        if rows == 0 {
            return;
        }
        self.weight += dot(roots, roots);
        self.y += dot(roots, y);
        self.yy += dot(y, y);
        let column = |at: usize| &columns[at * BLOCK..][..rows];
        for row in 0..features {
            let own = column(row);
            self.x[row] += dot(own, roots);
            self.xy[row] += dot(own, y);
            let sums = &mut self.xx[row * features..][..=row];
            sums.iter_mut().enumerate().for_each(|(at, sum)| *sum += dot(own, column(at)));
        }
        roots.clear();
        y.clear();
    }

    /// Those of each fold's rows.
    pub fn of_folds(
        design: &Design,
        rows: &dyn TargetRows,
        fold: &[u8],
        folds: usize,
    ) -> Result<Vec<ProductSums>> {
        let features = design.features();
        // Parts of fixed size, whatever the number of threads; wide ones would take too much memory.
        let parts = if features <= 256 { 8 } else { 1 };
        let size = rows.len().div_ceil(parts).max(1);
        let each = by_threads(parts, |part| {
            let mut sums: Vec<ProductSums> = (0..folds).map(|_| ProductSums::new(features)).collect();
            let nothing =
                || Pending { columns: vec![0.0; features * BLOCK], roots: Vec::new(), y: Vec::new() };
            let mut pending: Vec<Pending> = (0..folds).map(|_| nothing()).collect();
            let mut row = vec![0.0; features];
            let range = (part * size).min(rows.len())..((part + 1) * size).min(rows.len());
            rows.each(range, &mut |place, inputs, target, weight| {
                let own = fold.get(place).map_or(0, |&own| usize::from(own));
                let waiting = &mut pending[own];
                let (at, root) = (waiting.roots.len(), weight.max(0.0).sqrt());
                design.expand(inputs, &mut row);
                for (feature, value) in row.iter().enumerate() {
                    waiting.columns[feature * BLOCK + at] = value * root;
                }
                waiting.roots.push(root);
                waiting.y.push(target * root);
                if waiting.roots.len() == BLOCK {
                    sums[own].take(waiting);
                }
            })?;
            sums.iter_mut().zip(&mut pending).for_each(|(sums, pending)| sums.take(pending));
            Ok(sums)
        })?;
        let mut each = each.into_iter();
        let mut all = each.next().unwrap_or_default();
        for part in each {
            all.iter_mut().zip(&part).for_each(|(all, part)| all.add(part, 1.0));
        }
        Ok(all)
    }

    /// Products of what is left when the means are taken off: of features `[features, features]`, both halves, and with the target.
    pub fn centred(&self) -> (Vec<f64>, Vec<f64>) {
        let size = self.x.len();
        let weight = self.weight.max(f64::MIN_POSITIVE);
        let mut xx = self.xx.clone();
        for row in 0..size {
            for column in 0..=row {
                let product = xx[row * size + column] - self.x[row] * self.x[column] / weight;
                xx[row * size + column] = product;
                xx[column * size + row] = product;
            }
        }
        let xy = self.xy.iter().zip(&self.x).map(|(xy, x)| xy - x * self.y / weight).collect();
        (xx, xy)
    }

    /// The number that is added to what these weights say, so that the mean is right.
    pub fn bias(&self, weights: &[f64]) -> f64 {
        (self.y - dot(&self.x, weights)) / self.weight.max(f64::MIN_POSITIVE)
    }

    /// The sum of the squared errors of these weights.
    pub fn squares(&self, weights: &[f64], bias: f64) -> f64 {
        let size = weights.len();
        let mut quadratic = 0.0;
        for (row, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let own = &self.xx[row * size..][..=row];
            quadratic += weight * (2.0 * dot(&own[..row], &weights[..row]) + own[row] * weight);
        }
        let linear = dot(&self.xy, weights) - bias * dot(&self.x, weights) + bias * self.y;
        self.yy - 2.0 * linear + quadratic + bias * bias * self.weight
    }
}
