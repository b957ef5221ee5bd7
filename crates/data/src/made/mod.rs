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
            0 => (angle.cos(), angle.sin()),
            _ => (1.0 - angle.cos(), 0.5 - angle.sin()),
        };
        points.push(x + noise * rng.normal(), y + noise * rng.normal(), label);
    }
    points.set(2)
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
        points.push(radius * angle.cos(), radius * angle.sin(), label);
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
