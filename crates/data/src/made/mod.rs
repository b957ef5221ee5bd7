//! Sets that are made rather than loaded: points in the plane that no straight line separates, handwritten-style digits.

mod digits;

pub use digits::digits;

use crate::rng::Rng;
use crate::set::Set;
use crate::values::Form;

/// Labelled points in the plane, while they are made.
#[derive(Default)]
struct Points {
    x: Vec<f32>,
    labels: Vec<i64>,
}

impl Points {
    fn push(&mut self, x: f64, y: f64, label: usize) {
        self.x.extend([x as f32, y as f32]);
        self.labels.push(label as i64);
    }

    fn set(self, classes: usize) -> Set {
        let made = Set::new(self.x, Form::numbers(&[2]), self.labels, Form::class(classes));
        made.expect("two numbers and a class were made for each point")
    }
}

/// Two half circles that reach into each other, with normal noise; half of `count` points each.
pub fn moons(count: usize, noise: f64, seed: u64) -> Set {
    let mut rng = Rng::new(seed);
    let mut points = Points::default();
    let upper = count / 2;
    for position in 0..count {
        let (label, index, size) =
            if position < upper { (0, position, upper) } else { (1, position - upper, count - upper) };
        let angle = std::f64::consts::PI * index as f64 / (size.max(2) - 1) as f64;
        let (x, y) = match label {
            0 => (libm::cos(angle), libm::sin(angle)),
            _ => (1.0 - libm::cos(angle), 0.5 - libm::sin(angle)),
        };
        points.push(x + noise * rng.normal(), y + noise * rng.normal(), label);
    }
    points.set(2)
}

/// Two circles around the origin, one within the other, with normal noise.
///
/// ```
/// use kiln_data::{Dataset, circles};
///
/// assert_eq!(circles(100, 0.05, 1).labels()?.iter().sum::<i64>(), 50);
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub fn circles(count: usize, noise: f64, seed: u64) -> Set {
    let mut rng = Rng::new(seed);
    let mut points = Points::default();
    for position in 0..count {
        let (label, radius) = if position.is_multiple_of(2) { (0, 1.0) } else { (1, 0.5) };
        let angle = std::f64::consts::TAU * rng.uniform();
        points.push(
            radius * libm::cos(angle) + noise * rng.normal(),
            radius * libm::sin(angle) + noise * rng.normal(),
            label,
        );
    }
    points.set(2)
}

/// Clouds of points around `classes` places, with this deviation.
///
/// ```
/// use kiln_data::{Dataset, blobs};
///
/// assert_eq!(blobs(90, 3, 0.2, 1).y().codes(), Some(3));
/// ```
pub fn blobs(count: usize, classes: usize, deviation: f64, seed: u64) -> Set {
    let mut rng = Rng::new(seed);
    let mut points = Points::default();
    for position in 0..count {
        let label = position % classes.max(1);
        let angle = std::f64::consts::TAU * label as f64 / classes.max(1) as f64;
        points.push(
            libm::cos(angle) + deviation * rng.normal(),
            libm::sin(angle) + deviation * rng.normal(),
            label,
        );
    }
    points.set(classes.max(1))
}

/// Friedman's first function of ten numbers from 0 to 1, of which five count: `10 sin(π x₀ x₁) + 20 (x₂ − ½)² + 10 x₃ + 5 x₄`, with normal
/// noise.
///
/// ```
/// use kiln_data::{Dataset, friedman};
///
/// assert_eq!(friedman(50, 1.0, 1).x().shape, [10]);
/// ```
pub fn friedman(count: usize, noise: f64, seed: u64) -> Set {
    let mut rng = Rng::new(seed);
    let (mut x, mut y) = (Vec::with_capacity(10 * count), Vec::with_capacity(count));
    for _ in 0..count {
        let row: [f64; 10] = std::array::from_fn(|_| rng.uniform());
        let clean = 10.0 * libm::sin(std::f64::consts::PI * row[0] * row[1])
            + 20.0 * (row[2] - 0.5) * (row[2] - 0.5)
            + 10.0 * row[3]
            + 5.0 * row[4];
        x.extend(row.map(|x| x as f32));
        y.push((clean + noise * rng.normal()) as f32);
    }
    Set::numbers(x, Form::numbers(&[10]), y, 1).expect("ten numbers and one were made for each row")
}

/// A sum of two sine waves with normal noise, one number after the other; for [`series`](crate::series).
///
/// ```
/// assert_eq!(kiln_data::sine(100, 0.1, 1).len(), 100);
/// ```
pub fn sine(count: usize, noise: f64, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let wave = |at: f64| libm::sin(at / 8.0) + 0.5 * libm::sin(at / 3.0 + 1.0);
    (0..count).map(|at| (wave(at as f64) + noise * rng.normal()) as f32).collect()
}

/// `classes` arms that wind once around the origin, with normal noise along the angle.
pub fn spirals(count: usize, classes: usize, noise: f64, seed: u64) -> Set {
    let mut rng = Rng::new(seed);
    let mut points = Points::default();
    for position in 0..count {
        let label = position % classes.max(1);
        let radius = rng.uniform().sqrt();
        let start = std::f64::consts::TAU * label as f64 / classes.max(1) as f64;
        let angle = start + std::f64::consts::TAU * radius + noise * rng.normal();
        points.push(radius * libm::cos(angle), radius * libm::sin(angle), label);
    }
    points.set(classes.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    #[test]
    fn a_seed_makes_the_same_points_and_another_seed_others() {
        let inputs = |set: Set| set.inputs().clone();
        assert_eq!(inputs(moons(50, 0.1, 3)), inputs(moons(50, 0.1, 3)));
        assert_ne!(inputs(spirals(50, 3, 0.1, 3)), inputs(spirals(50, 3, 0.1, 4)));
    }

    #[test]
    fn odd_sizes_and_empty_sets_are_fine() {
        assert_eq!(moons(0, 0.1, 1).len(), 0);
        assert_eq!(moons(7, 0.0, 1).labels().unwrap().iter().sum::<i64>(), 4);
        assert_eq!(spirals(1, 0, 0.1, 1).len(), 1);
    }
}
