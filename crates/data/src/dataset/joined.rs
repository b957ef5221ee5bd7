//! Two sets as one.

use super::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::values::Form;

/// The rows of a set, and then those of another that look like them.
///
/// ```
/// use kiln_data::{Dataset, Joined, moons};
///
/// let all = Joined::new(moons(30, 0.1, 1), moons(10, 0.1, 2))?;
/// assert_eq!(all.len(), 40);
/// assert_eq!(all.gather(&[35])?, moons(10, 0.1, 2).gather(&[5])?);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Joined<A, B> {
    first: A,
    second: B,
}

impl<A: Dataset, B: Dataset> Joined<A, B> {
    /// Of two sets.
    ///
    /// # Errors
    /// Where their rows look different.
    pub fn new(first: A, second: B) -> Result<Joined<A, B>> {
        let forms =
            |set: &dyn Dataset| (set.x(), set.y(), set.further(), set.is_weighted(), set.has_lengths());
        match forms(&first) == forms(&second) && first.names() == second.names() {
            true => Ok(Joined { first, second }),
            false => Err(Error::new(format!(
                "sets of different rows can't be joined: {:?} and {:?}",
                forms(&first),
                forms(&second)
            ))),
        }
    }
}

impl<A: Dataset, B: Dataset> Dataset for Joined<A, B> {
    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn x(&self) -> Form {
        self.first.x()
    }

    fn y(&self) -> Form {
        self.first.y()
    }

    fn further(&self) -> Vec<(String, Form)> {
        self.first.further()
    }

    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
        match row.checked_sub(self.first.len()) {
            None => self.first.read(row, draw, batch),
            Some(row) => self.second.read(row, draw, batch),
        }
    }

    fn has_lengths(&self) -> bool {
        self.first.has_lengths()
    }

    fn is_varied(&self) -> bool {
        self.first.is_varied() || self.second.is_varied()
    }

    fn length(&self, row: usize) -> usize {
        match row.checked_sub(self.first.len()) {
            None => self.first.length(row),
            Some(row) => self.second.length(row),
        }
    }

    fn is_weighted(&self) -> bool {
        self.first.is_weighted()
    }

    fn names(&self) -> &[String] {
        self.first.names()
    }

    fn labels(&self) -> Result<Vec<i64>> {
        Ok([self.first.labels()?, self.second.labels()?].concat())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::set::Set;
    use crate::values::{Meaning, ValueKind};

    /// Sequences of up to three codes, of these lengths.
    fn sequences(lengths: &[u32]) -> Set {
        let form = |shape: &[usize]| Form {
            shape: shape.to_vec(),
            kind: ValueKind::I64,
            meaning: Meaning::Codes { count: 4 },
        };
        let (x, y) = (vec![1i64; 3 * lengths.len()], vec![0i64; lengths.len()]);
        let set = Set::new(x, form(&[3]), y, form(&[])).unwrap();
        set.with_lengths(lengths.to_vec()).unwrap()
    }

    #[test]
    fn lengths_come_through_everything_that_holds_a_set() {
        let own = || sequences(&[3, 1, 2]);
        let joined = Joined::new(own(), sequences(&[2, 1])).unwrap();
        let inputs = joined.gather(&[3, 1, 4]).unwrap().x;
        assert_eq!(inputs, sequences(&[2, 1, 1]).all().unwrap().x);
        let boxed: Box<dyn Dataset> = Box::new(own());
        let sets: [(&dyn Dataset, &[usize]); 5] = [
            (&joined, &[3, 1, 2, 2, 1]),
            (&own().subset(vec![2, 0]), &[2, 3]),
            (&&own(), &[3, 1, 2]),
            (&boxed, &[3, 1, 2]),
            (&Arc::new(own()), &[3, 1, 2]),
        ];
        for (set, lengths) in sets {
            assert!(set.has_lengths());
            assert_eq!(Vec::from_iter((0..set.len()).map(|row| set.length(row))), lengths);
        }
    }

    #[test]
    fn sets_of_which_one_has_lengths_are_not_joined() {
        let whole = sequences(&[3, 3]);
        let (x, y) = (whole.inputs().clone(), whole.targets().clone());
        let without = Set::new(x, whole.x(), y, whole.y()).unwrap();
        assert!(Joined::new(whole, without).is_err());
    }
}
