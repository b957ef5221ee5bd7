//! The least of a smooth function of few numbers: L-BFGS, which a function that isn't a number somewhere only stops from going there.

use std::collections::VecDeque;

/// How many steps are remembered.
const HISTORY: usize = 8;

/// The lowest value that is reached from `x`, which is left there. The function writes its slopes beside what it gives.
pub(super) fn minimise(
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    x: &mut Vec<f64>,
    steps: usize,
    least: f64,
) -> f64 {
    let mut slopes = vec![0.0; x.len()];
    let mut value = function(x, &mut slopes);
    if !value.is_finite() {
        return f64::INFINITY;
    }
    let mut past: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let (mut there, mut new_slopes) = (x.clone(), slopes.clone());
    let mut still = 0;
    for _ in 0..steps {
        let direction = direction(&slopes, &past);
        let slope = -dot(&slopes, &direction);
        if slope.is_nan() || slope >= 0.0 {
            break;
        }
        let size = dot(&direction, &direction).sqrt();
        // The first step knows no curvature; later ones are kept from leaping out of where the function is a number.
        let mut length = if past.is_empty() { (0.3 / size).min(1.0) } else { (4.0 / size).min(1.0) };
        let mut reached = None;
        for _ in 0..25 {
            there
                .iter_mut()
                .zip(&*x)
                .zip(&direction)
                .for_each(|((there, x), step)| *there = x - length * step);
            let new = function(&there, &mut new_slopes);
            if new.is_finite() && new <= value + 1e-4 * length * slope {
                reached = Some(new);
                break;
            }
            length *= 0.4;
        }
        let Some(new) = reached else { break };
        let step: Vec<f64> = there.iter().zip(&*x).map(|(new, old)| new - old).collect();
        let change: Vec<f64> = new_slopes.iter().zip(&slopes).map(|(new, old)| new - old).collect();
        let bend = dot(&step, &change);
        if bend > 1e-10 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
            if past.len() == HISTORY {
                past.pop_front();
            }
            past.push_back((step, change, 1.0 / bend));
        }
        still = if value - new <= least { still + 1 } else { 0 };
        value = new;
        x.copy_from_slice(&there);
        slopes.copy_from_slice(&new_slopes);
        if still == 2 {
            break;
        }
    }
    value
}

/// The slopes, bent by the curvature that the last steps showed.
fn direction(slopes: &[f64], past: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut direction = slopes.to_vec();
    let mut shares = Vec::with_capacity(past.len());
    for (step, change, inverse) in past.iter().rev() {
        let share = inverse * dot(step, &direction);
        direction.iter_mut().zip(change).for_each(|(own, change)| *own -= share * change);
        shares.push(share);
    }
    if let Some((_, change, inverse)) = past.back() {
        let scale = 1.0 / (inverse * dot(change, change));
        direction.iter_mut().for_each(|own| *own *= scale);
    }
    for ((step, change, inverse), share) in past.iter().zip(shares.iter().rev()) {
        let other = share - inverse * dot(change, &direction);
        direction.iter_mut().zip(step).for_each(|(own, step)| *own += other * step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bent_valley_is_walked_to_its_end() {
        let valley = |x: &[f64], slopes: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            slopes[0] = -2.0 * a - 400.0 * x[0] * b;
            slopes[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let mut x = vec![-1.2, 1.0];
        assert!(minimise(valley, &mut x, 300, 1e-14) < 1e-10);
        assert!((x[0] - 1.0).abs() < 1e-4 && (x[1] - 1.0).abs() < 1e-4);
    }

    #[test]
    fn walls_are_not_walked_into() {
        let walled = |x: &[f64], slopes: &mut [f64]| {
            slopes[0] = 1.0 - 1.0 / x[0];
            if x[0] <= 0.0 { f64::NAN } else { x[0] - x[0].ln() }
        };
        let mut x = vec![0.01];
        assert!((minimise(walled, &mut x, 100, 1e-12) - 1.0).abs() < 1e-9);
        assert_eq!(minimise(walled, &mut vec![-1.0], 100, 1e-12), f64::INFINITY);
    }
}
