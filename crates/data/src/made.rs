//! Sets that are made rather than loaded: points in the plane that no straight line separates.

use crate::rng::Rng;

/// Labelled points in the plane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// `[count, 2]`, row-major.
    pub x: Vec<f32>,
    /// The class of each point.
    pub labels: Vec<i64>,
}

impl Points {
    /// How many points there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    fn push(&mut self, x: f64, y: f64, label: usize) {
        self.x.extend([x as f32, y as f32]);
        self.labels.push(label as i64);
    }

    /// The points at these positions.
    pub fn pick(&self, positions: &[usize]) -> Points {
        let mut picked = Points::default();
        for &position in positions {
            picked.x.extend_from_slice(&self.x[2 * position..2 * position + 2]);
            picked.labels.push(self.labels[position]);
        }
        picked
    }

    /// The points in a random order, cut in two: the first `fraction` of them and the rest.
    pub fn split(&self, fraction: f64, seed: u64) -> (Points, Points) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        Rng::new(seed).shuffle(&mut order);
        let cut = (self.len() as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
        (self.pick(&order[..cut]), self.pick(&order[cut..]))
    }
}

/// Two half circles that reach into each other, with normal noise; half of `count` points each.
pub fn moons(count: usize, noise: f64, seed: u64) -> Points {
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
    points
}

/// `classes` arms that wind once around the origin, with normal noise along the angle.
pub fn spirals(count: usize, classes: usize, noise: f64, seed: u64) -> Points {
    let mut rng = Rng::new(seed);
    let mut points = Points::default();
    for position in 0..count {
        let label = position % classes.max(1);
        let radius = rng.uniform().sqrt();
        let start = std::f64::consts::TAU * label as f64 / classes.max(1) as f64;
        let angle = start + std::f64::consts::TAU * radius + noise * rng.normal();
        points.push(radius * angle.cos(), radius * angle.sin(), label);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_points_and_another_seed_others() {
        assert_eq!(moons(50, 0.1, 3), moons(50, 0.1, 3));
        assert_ne!(spirals(50, 3, 0.1, 3), spirals(50, 3, 0.1, 4));
    }

    #[test]
    fn a_split_keeps_every_point_once() {
        let points = spirals(101, 3, 0.0, 1);
        let (a, b) = points.split(0.8, 9);
        assert_eq!((a.len(), b.len()), (81, 20));
        let mut all: Vec<_> =
            a.x.chunks(2).chain(b.x.chunks(2)).map(|p| (p[0].to_bits(), p[1].to_bits())).collect();
        all.sort_unstable();
        let mut expected: Vec<_> = points.x.chunks(2).map(|p| (p[0].to_bits(), p[1].to_bits())).collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn odd_sizes_and_empty_sets_are_fine() {
        assert_eq!(moons(0, 0.1, 1).len(), 0);
        assert_eq!(moons(7, 0.0, 1).labels.iter().sum::<i64>(), 4);
        assert_eq!(spirals(1, 0, 0.1, 1).len(), 1);
    }
}
