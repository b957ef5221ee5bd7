//! The least of a smooth, convex objective: L-BFGS with what is known of its curvature in front, or, where signs are told, steps along the
//! slopes that are put back to what is allowed.

use std::collections::VecDeque;

use super::likelihood::PenalisedLoss;
use super::moments::ProductSums;
use super::solve::{Cholesky, WeightSign, add_scaled, dot};
use crate::Result;

/// How many steps are remembered.
const HISTORY: usize = 10;
/// How many steps are taken at most.
const STEPS: usize = 150;
/// A change of the objective by less than this share of it ends the descent.
const LEAST: f64 = 1e-10;

/// What is known of an objective's curvature beforehand.
pub(super) enum Curvature {
    /// The factor of all features' products, with the bias as the last.
    Whole(Cholesky),
    /// Each feature's own, and the bias's.
    Each(Vec<f64>),
}

impl Curvature {
    /// Of an objective over rows whose moments, of a share of them, are known.
    pub fn of(moments: &ProductSums, bend: f64, strength: f64) -> Curvature {
        let size = moments.x.len();
        let with_bias = size + 1;
        let mut matrix = vec![0.0; with_bias * with_bias];
        for row in 0..size {
            let products = &moments.xx[row * size..][..=row];
            let own = &mut matrix[row * with_bias..][..=row];
            own.iter_mut().zip(products).for_each(|(own, product)| *own = bend * product);
        }
        let last = &mut matrix[size * with_bias..];
        last.iter_mut().zip(&moments.x).for_each(|(own, sum)| *own = bend * sum);
        last[size] = bend * moments.weight;
        let least = 1e-9 * bend * moments.weight;
        let ridge = |at: usize| if at < size { strength + least } else { least };
        match Cholesky::of(&matrix, with_bias, ridge) {
            Some(factor) => Curvature::Whole(factor),
            None => {
                let each = (0..with_bias).map(|at| (matrix[at * with_bias + at] + ridge(at)).max(least));
                Curvature::Each(each.collect())
            }
        }
    }

    /// Slopes as the step that they ask for, of each score by itself.
    fn step(&self, slopes: &mut [f64], each: usize) {
        for slopes in slopes.chunks_exact_mut(each) {
            match self {
                Curvature::Whole(factor) => factor.solve(slopes),
                Curvature::Each(own) => {
                    slopes.iter_mut().zip(own).for_each(|(slope, own)| *slope /= own.max(1e-12));
                }
            }
        }
    }
}

/// Weights of the least objective, from where they are.
pub(super) fn minimise(
    objective: &PenalisedLoss,
    curvature: &Curvature,
    weights: &mut Vec<f64>,
) -> Result<()> {
    let each = objective.design.features() + 1;
    let mut past: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let (mut value, mut slopes) = objective.value(weights)?;
    for _ in 0..STEPS {
        let mut direction = slopes.clone();
        let mut shares = Vec::with_capacity(past.len());
        for (step, change, inverse) in past.iter().rev() {
            let share = inverse * dot(step, &direction);
            add_scaled(&mut direction, -share, change);
            shares.push(share);
        }
        curvature.step(&mut direction, each);
        for ((step, change, inverse), share) in past.iter().zip(shares.iter().rev()) {
            let other = inverse * dot(change, &direction);
            add_scaled(&mut direction, share - other, step);
        }
        let slope = -dot(&slopes, &direction);
        if slope.is_nan() || slope >= -LEAST * value.abs().max(1e-12) {
            break;
        }
        let (mut length, mut next) = (1.0, None);
        for _ in 0..30 {
            let mut there = weights.clone();
            add_scaled(&mut there, -length, &direction);
            let (new, slopes) = objective.value(&there)?;
            if new <= value + 1e-4 * length * slope {
                next = Some((there, new, slopes));
                break;
            }
            length *= 0.5;
        }
        let Some((there, new, new_slopes)) = next else { break };
        let step: Vec<f64> = there.iter().zip(&*weights).map(|(new, old)| new - old).collect();
        let change: Vec<f64> = new_slopes.iter().zip(&slopes).map(|(new, old)| new - old).collect();
        let bend = dot(&step, &change);
        if bend > 1e-12 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
            if past.len() == HISTORY {
                past.pop_front();
            }
            past.push_back((step, change, 1.0 / bend));
        }
        let is_still = value - new <= LEAST * value.abs().max(1e-12);
        (*weights, value, slopes) = (there, new, new_slopes);
        if is_still {
            break;
        }
    }
    Ok(())
}

/// How many steps are taken at most where signs are told, which are many small ones.
const SIGNED_STEPS: usize = 1000;
const SIGNED_LEAST: f64 = 1e-14;

/// As [`minimise`], of one score whose weights have signs: accelerated steps (FISTA), each feature by its own curvature.
pub(super) fn minimise_signed(
    objective: &PenalisedLoss,
    own: &[f64],
    signs: &[WeightSign],
    weights: &mut Vec<f64>,
) -> Result<()> {
    let allow = |weights: &mut [f64]| {
        weights.iter_mut().zip(signs).for_each(|(weight, sign)| *weight = sign.nearest(*weight));
    };
    allow(weights);
    let (mut ahead, mut momentum, mut bend) = (weights.clone(), 1.0f64, 1.0f64);
    let mut last = objective.value(weights)?.0;
    for _ in 0..SIGNED_STEPS {
        let (value, slopes) = objective.value(&ahead)?;
        let mut next;
        let reached = loop {
            next = ahead.clone();
            for ((weight, slope), own) in next.iter_mut().zip(&slopes).zip(own) {
                *weight -= slope / (bend * own.max(1e-12));
            }
            allow(&mut next);
            let step: Vec<f64> = next.iter().zip(&ahead).map(|(new, old)| new - old).collect();
            let squares: f64 = step.iter().zip(own).map(|(step, own)| step * step * own).sum();
            let reached = objective.value(&next)?.0;
            let bound = value + dot(&slopes, &step) + 0.5 * bend * squares;
            if reached <= bound + 1e-12 * bound.abs() || bend > 1e12 {
                break reached;
            }
            bend *= 2.0;
        };
        // A step that went up starts the acceleration anew.
        if reached > last {
            if momentum == 1.0 {
                break;
            }
            (ahead, momentum) = (weights.clone(), 1.0);
            continue;
        }
        let faster = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
        let share = (momentum - 1.0) / faster;
        ahead = next.iter().zip(&*weights).map(|(new, old)| new + share * (new - old)).collect();
        momentum = faster;
        let is_still = last - reached <= SIGNED_LEAST * last.abs().max(1e-12);
        (*weights, last) = (next, reached);
        if is_still {
            break;
        }
    }
    Ok(())
}
