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
        let forms = |set: &dyn Dataset| (set.x(), set.y(), set.further(), set.is_weighted());
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
