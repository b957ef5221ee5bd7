//! Images blended with one another as they are read, and their classes with them.

use crate::dataset::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::values::{Form, Meaning, ValueKind};

/// A set whose rows are blends of two: inputs as amounts, targets as shares of the classes.
#[derive(Clone, Debug)]
pub struct Mixed<D> {
    of: D,
    strength: f64,
    cut: bool,
}

impl<D: Dataset> Mixed<D> {
    /// Mixup: each row is blended with another; the larger the strength (0.2 is usual), the more evenly.
    ///
    /// # Errors
    /// Where the targets aren't one class each.
    pub fn up(of: D, strength: f64) -> Result<Mixed<D>> {
        Mixed::new(of, strength, false)
    }

    /// CutMix: a rectangle of each image comes from another.
    ///
    /// # Errors
    /// Where the targets aren't one class each, or the inputs no images.
    pub fn cut(of: D, strength: f64) -> Result<Mixed<D>> {
        match of.x().shape.len() {
            3 => Mixed::new(of, strength, true),
            _ => Err(Error::new("only images can be cut and mixed")),
        }
    }

    fn new(of: D, strength: f64, cut: bool) -> Result<Mixed<D>> {
        if of.y().codes().is_none() || of.y().width() != 1 {
            return Err(Error::new("only rows with one class each can be mixed"));
        }
        if let Some((name, _)) = of.further().first() {
            return Err(Error::new(format!(
                "rows can't be mixed that have more than x and y: there is {name}"
            )));
        }
        if !(strength > 0.0 && strength.is_finite()) {
            return Err(Error::new(format!("the strength of mixing must be above 0, not {strength}")));
        }
        Ok(Mixed { of, strength, cut })
    }

    /// A share from Beta(strength, strength), by Jöhnk's method.
    fn share(&self, rng: &mut Rng) -> f64 {
        for _ in 0..1000 {
            let mut share = || libm::pow(rng.uniform(), 1.0 / self.strength);
            let (a, b) = (share(), share());
            if a + b > 0.0 && a + b <= 1.0 {
                return a / (a + b);
            }
        }
        0.5
    }
}

impl<D: Dataset> Dataset for Mixed<D> {
    fn len(&self) -> usize {
        self.of.len()
    }

    fn x(&self) -> Form {
        let form = self.of.x();
        let scale = match form.meaning {
            Meaning::Numbers { scale } => scale,
            Meaning::Codes { .. } => 1.0,
        };
        Form { kind: ValueKind::F32, meaning: Meaning::Numbers { scale }, ..form }
    }

    fn y(&self) -> Form {
        Form::numbers(&[self.of.y().codes().unwrap_or(0)])
    }

    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
        let mut rng = Rng::new(draw);
        let other = rng.below(self.of.len());
        let share = self.share(&mut rng);
        let mut both = Batch::of(&self.of);
        self.of.read(row, rng.bits(), &mut both)?;
        self.of.read(other, rng.bits(), &mut both)?;
        let (form, classes) = (self.of.x(), self.of.y().codes().unwrap_or(0));
        let width = form.width();
        let number = |at: usize| both.x.get(at).unwrap_or(0.0);
        let mut own = share.max(1.0 - share);
        if let (true, &[_, height, across]) = (self.cut, form.shape.as_slice()) {
            let side = (1.0 - own).sqrt();
            let (rows, columns) = ((height as f64 * side) as usize, (across as f64 * side) as usize);
            let (top, left) = (rng.below(height - rows + 1), rng.below(across - columns + 1));
            for at in 0..width {
                let (row, column) = (at / across % height, at % across);
                let inside = (top..top + rows).contains(&row) && (left..left + columns).contains(&column);
                batch.x.push(number(if inside { width + at } else { at }));
            }
            own = 1.0 - (rows * columns) as f64 / (height * across) as f64;
        } else {
            for at in 0..width {
                batch.x.push(own * number(at) + (1.0 - own) * number(width + at));
            }
        }
        let class = |at: usize| both.y.get(at).unwrap_or(-1.0) as usize;
        for at in 0..classes {
            let from = |position: usize, share: f64| if class(position) == at { share } else { 0.0 };
            batch.y.push(from(0, own) + from(1, 1.0 - own));
        }
        batch.weights.extend(both.weights.first());
        Ok(())
    }

    fn is_weighted(&self) -> bool {
        self.of.is_weighted()
    }

    fn is_varied(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Set, digits};

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rows = Set::classes(vec![1f32; 4], Form::numbers(&[2]), vec![0, 1]).unwrap();
        assert!(Mixed::cut(rows.clone(), 0.2).is_err() && Mixed::up(rows, -1.0).is_err());
    }

    #[test]
    fn mixed_rows_have_shares_that_sum_to_one() {
        for set in [Mixed::up(digits(30, 1), 0.4).unwrap(), Mixed::cut(digits(30, 1), 0.4).unwrap()] {
            let batch = set.batches(30).shuffle(1).next().unwrap().unwrap();
            let y = batch.y.as_f32().unwrap();
            assert!(y.chunks(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
            assert!(y.chunks(10).any(|row| row.iter().filter(|share| **share > 0.0).count() == 2));
            assert_eq!(batch.x.len(), 30 * 784);
        }
    }
}
