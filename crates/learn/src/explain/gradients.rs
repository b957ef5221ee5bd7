//! Integrated gradients: the slopes of an answer along the straight way from a baseline to a row, times how far each number goes. What they miss of
//! the output less the baseline's is the error of the integral, and it is told.

use kiln_nn::{Context, Function, Input, Sequential, Tensor};

use crate::{Error, Result};

/// Points that are computed at once.
const TOGETHER: usize = 256;

/// Points of a stretch of the way.
const NODES: usize = 16;

/// In how many stretches the way is cut at first, and at most: of many rows, and of a few.
const STRETCHES: usize = 2;
const MOST: [usize; 2] = [8, 64];
const FEW: usize = 32;

/// What the integral may miss of what it is to come to.
const TOLERANCE: f64 = 5e-3;

/// The way's points and their weights.
pub(super) struct Quadrature(Vec<(f64, f64)>);

impl Quadrature {
    /// Gauss and Legendre's points on equal stretches.
    pub(super) fn new(stretches: usize, nodes: usize) -> Quadrature {
        let rule = legendre(nodes);
        let size = 1.0 / stretches as f64;
        let stretch =
            |at: usize| rule.iter().map(move |(point, weight)| ((at as f64 + point) * size, weight * size));
        Quadrature((0..stretches).flat_map(stretch).collect())
    }
}

/// Gauss and Legendre's points from 0 to 1, and their weights: the roots of the polynomial by Newton's method.
fn legendre(count: usize) -> Vec<(f64, f64)> {
    let root = |at: usize| {
        let mut x = libm::cos(std::f64::consts::PI * (at as f64 + 0.75) / (count as f64 + 0.5));
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut before, mut value) = (1.0, x);
            for degree in 2..=count {
                let degree = degree as f64;
                (before, value) =
                    (value, ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * before) / degree);
            }
            slope = count as f64 * (x * value - before) / (x * x - 1.0);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(root).collect()
}

/// The slopes of weighted outputs in what comes into some of a row's layers.
pub(super) struct Slopes<'m> {
    function: Function<'m, 3>,
    /// What stands beside each row: the codes that its vectors are of, which say where a text ends.
    beside: Vec<i64>,
    shape: Vec<usize>,
    outputs: usize,
    together: usize,
}

impl<'m> Slopes<'m> {
    /// Of the layers from `first` on, where `shape` is one row of what comes into them. `prepare` takes what stands beside it, and puts what else a
    /// pass needs into its context.
    pub(super) fn new(
        layers: &'m Sequential,
        first: usize,
        shape: &[usize],
        outputs: usize,
        prepare: impl Fn(&Tensor, &Tensor, &Context) -> Tensor + Send + 'm,
    ) -> Slopes<'m> {
        let function = Function::inference(
            layers,
            move |layers: &Sequential, context: &Context, [x, weights, beside]| {
                let y = layers.span(first..layers.len(), &prepare(&x, &beside, context), context);
                let rows = y.size(0);
                let score = (y.reshape([rows, outputs]) * weights).sum(..);
                match score.grad(&[&x]).pop() {
                    Some(slopes) => slopes,
                    None => score,
                }
            },
        );
        // Large rows are few at a time.
        let width: usize = shape.iter().product();
        let together = (TOGETHER * 256 / width.max(1)).clamp(16, TOGETHER);
        Slopes { function, beside: vec![0], shape: shape.to_vec(), outputs, together }
    }

    /// Of rows beside which these codes stand.
    pub(super) fn beside(&mut self, codes: &[i64]) {
        self.beside = codes.to_vec();
    }

    /// At points one behind the other.
    fn at(&mut self, points: &[f32], weights: &[f32], each: &mut impl FnMut(usize, &[f32])) -> Result<()> {
        let width: usize = self.shape.iter().product();
        let (size, outputs) = (self.together, self.outputs);
        let count = points.len() / width.max(1);
        let shape: Vec<usize> = std::iter::once(size).chain(self.shape.iter().copied()).collect();
        let (mut x, mut w) = (vec![0.0; size * width], vec![0.0; size * outputs]);
        for first in (0..count).step_by(size) {
            let own = size.min(count - first);
            x[..own * width].copy_from_slice(&points[first * width..][..own * width]);
            w[..own * outputs].copy_from_slice(&weights[first * outputs..][..own * outputs]);
            // What fills up counts nothing.
            w[own * outputs..].fill(0.0);
            let beside = self.beside.repeat(size);
            let out = self.function.run([
                Input::new(&x, &shape),
                Input::new(&w, &[size, outputs]),
                Input::new(&beside, &[size, self.beside.len()]),
            ])?;
            let slopes = out.first().and_then(|out| out.as_slice::<f32>()).unwrap_or_default();
            if slopes.len() != size * width {
                return Err(Error::Preparation("the model has no slopes in what comes in".to_string()));
            }
            slopes
                .chunks(width.max(1))
                .take(own)
                .enumerate()
                .for_each(|(at, slopes)| each(first + at, slopes));
        }
        Ok(())
    }
}

/// What is integrated for a row.
pub(super) struct StraightPath<'w> {
    pub(super) from: &'w [f32],
    pub(super) to: &'w [f32],
    /// What each output counts.
    pub(super) weights: &'w [f64],
    /// What the score is at the end less that at the start.
    pub(super) difference: f64,
}

/// The integrated gradients of each row, by a rule.
pub(super) fn integrated_by(
    slopes: &mut Slopes,
    ways: &[StraightPath],
    rule: &Quadrature,
) -> Result<Vec<Vec<f64>>> {
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let all: Vec<usize> = (0..ways.len()).collect();
    along(slopes, ways, &all, rule, &mut found)?;
    Ok(found)
}

/// The integrated gradients of each row. Ways are cut finer where they miss too much.
pub(super) fn integrated(slopes: &mut Slopes, ways: &[StraightPath]) -> Result<Vec<Vec<f64>>> {
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let mut left: Vec<usize> = (0..ways.len()).collect();
    let largest = ways.iter().map(|way| way.difference.abs()).fold(0.0, f64::max);
    let (mut stretches, [many, few]) = (STRETCHES, MOST);
    while !left.is_empty() && stretches <= if left.len() > FEW { many } else { few } {
        along(slopes, ways, &left, &Quadrature::new(stretches, NODES), &mut found)?;
        stretches *= 2;
        left.retain(|&at| {
            let missing = ways[at].difference - found[at].iter().sum::<f64>();
            missing.abs() > TOLERANCE * ways[at].difference.abs().max(0.1 * largest)
        });
    }
    Ok(found)
}

/// The integrals of some ways, a few at a time.
fn along(
    slopes: &mut Slopes,
    ways: &[StraightPath],
    some: &[usize],
    rule: &Quadrature,
    found: &mut [Vec<f64>],
) -> Result<()> {
    let few = (slopes.together / rule.0.len()).max(1);
    some.chunks(few).try_for_each(|chunk| by_rule(slopes, ways, chunk, rule, found))
}

fn by_rule(
    slopes: &mut Slopes,
    ways: &[StraightPath],
    chunk: &[usize],
    rule: &Quadrature,
    found: &mut [Vec<f64>],
) -> Result<()> {
    let nodes = rule.0.len();
    let (mut points, mut weights) = (Vec::new(), Vec::new());
    for &at in chunk {
        let way = &ways[at];
        found[at] = vec![0.0; way.to.len()];
        for (place, _) in &rule.0 {
            let between = |(from, to): (&f32, &f32)| (f64::from(*from) + place * f64::from(to - from)) as f32;
            points.extend(way.from.iter().zip(way.to).map(between));
            weights.extend(way.weights.iter().map(|weight| *weight as f32));
        }
    }
    slopes.at(&points, &weights, &mut |point, slopes| {
        let (at, (_, weight)) = (chunk[point / nodes], rule.0[point % nodes]);
        let way = &ways[at];
        for ((sum, slope), (from, to)) in found[at].iter_mut().zip(slopes).zip(way.from.iter().zip(way.to)) {
            *sum += weight * f64::from(*slope) * f64::from(to - from);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_integrates_polynomials_exactly() {
        for (stretches, nodes) in [(1, 1), (1, 2), (2, 5), (3, 16), (1, 50)] {
            let rule = Quadrature::new(stretches, nodes);
            for degree in 0..(2 * nodes).min(12) {
                let sum: f64 = rule.0.iter().map(|(point, weight)| weight * point.powi(degree as i32)).sum();
                assert!((sum - 1.0 / (degree as f64 + 1.0)).abs() < 1e-12, "{stretches} × {nodes}: {degree}");
            }
        }
    }
}
