//! What a set of examples is, and a batch of them.

mod batches;
mod joined;
mod subset;

use kiln_map::counted;
use std::sync::Arc;

use crate::batching::{Batching, Order};
use crate::error::{Error, Result};
use crate::lengths::bucket;
use crate::values::{Form, Values};
pub use batches::Batches;
pub use joined::Joined;
pub use subset::Subset;

/// Rows to learn from. Whatever can say how many rows it has, what they look like, and write one of them into a batch.
///
/// ```
/// use kiln_data::{Batch, Dataset, Form, Result, Values};
///
/// /// Numbers and their squares.
/// struct Squares;
///
/// impl Dataset for Squares {
///     fn len(&self) -> usize { 100 }
///     fn x(&self) -> Form { Form::numbers(&[1]) }
///     fn y(&self) -> Form { Form::numbers(&[1]) }
///     fn read(&self, row: usize, _draw: u64, batch: &mut Batch) -> Result<()> {
///         batch.x.push(row as f64);
///         batch.y.push((row * row) as f64);
///         Ok(())
///     }
/// }
///
/// let batch = Squares.gather(&[3, 5])?;
/// assert_eq!(batch.y, Values::F32(vec![9.0, 25.0]));
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// What a row's input is.
    fn x(&self) -> Form;

    /// What a row's target is.
    fn y(&self) -> Form;

    /// Further inputs and targets that a row has, each by a name and with its form; most sets have none.
    fn further(&self) -> Vec<(String, Form)> {
        Vec::new()
    }

    /// Adds a row's input and target to a batch, in the types [`Dataset::x`] and [`Dataset::y`] say, and to [`Batch::further`] what
    /// [`Dataset::further`] says. `draw` is random bits, others in every epoch, for sets that vary their rows.
    ///
    /// # Errors
    /// Where the row can't be read.
    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()>;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each row brings a weight, in [`Batch::weights`].
    fn is_weighted(&self) -> bool {
        false
    }

    /// Whether rows are sequences of differing lengths: then batches are only as long as their longest needs ([`bucket`](crate::bucket)), along the
    /// first axis of inputs, and of targets and further numbers that have as many places.
    fn has_lengths(&self) -> bool {
        false
    }

    /// Whether rows come otherwise in each epoch, by [`Dataset::read`]'s `draw`.
    fn is_varied(&self) -> bool {
        false
    }

    /// How many places of a row's first axis are there; behind them stands [`PADDING`](crate::PADDING).
    fn length(&self, _row: usize) -> usize {
        self.x().shape.first().copied().unwrap_or(1)
    }

    /// The names of the classes, where they have some.
    fn names(&self) -> &[String] {
        &[]
    }

    /// The class of every row.
    ///
    /// # Errors
    /// Where targets aren't one class each, or can't be read.
    fn labels(&self) -> Result<Vec<i64>> {
        let form = self.y();
        if form.codes().is_none() || form.width() != 1 {
            return Err(Error::new("the targets aren't classes, one for each row"));
        }
        let mut labels = Vec::with_capacity(self.len());
        let mut batch = Batch::of(self);
        for row in 0..self.len() {
            batch.clear();
            self.read(row, 0, &mut batch)?;
            labels.extend(batch.y.get(0).map(|label| label as i64));
        }
        Ok(labels)
    }

    /// These rows as one batch.
    ///
    /// # Errors
    /// Where a row can't be read, or isn't there.
    fn gather(&self, rows: &[usize]) -> Result<Batch> {
        let mut batch = Batch::of(self);
        batch.fill(self, rows, |_| 0)?;
        Ok(batch)
    }

    /// All rows as one batch.
    ///
    /// # Errors
    /// Where a row can't be read.
    fn all(&self) -> Result<Batch> {
        self.gather(&Vec::from_iter(0..self.len()))
    }

    /// Batches of this many rows, in turn; the last may be smaller.
    ///
    /// ```
    /// use kiln_data::{Dataset, moons};
    ///
    /// let set = moons(100, 0.1, 1);
    /// let sizes: Vec<usize> = set.batches(32).shuffle(7).map(|batch| batch.unwrap().rows()).collect();
    /// assert_eq!(sizes, [32, 32, 32, 4]);
    /// ```
    fn batches(&self, size: usize) -> Batches<'_, Self>
    where
        Self: Sized,
    {
        Batches::new(self, size, Order::InTurn)
    }

    /// A part of the rows.
    fn subset(self, rows: Vec<usize>) -> Subset<Self>
    where
        Self: Sized,
    {
        Subset::new(self, rows)
    }
}

macro_rules! forward_dataset {
    ($($pointer:ty),*) => {$(
        impl<D: Dataset + ?Sized> Dataset for $pointer {
            fn len(&self) -> usize {
                (**self).len()
            }
            fn x(&self) -> Form {
                (**self).x()
            }
            fn y(&self) -> Form {
                (**self).y()
            }
            fn further(&self) -> Vec<(String, Form)> {
                (**self).further()
            }
            fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
                (**self).read(row, draw, batch)
            }
            fn is_weighted(&self) -> bool {
                (**self).is_weighted()
            }
            fn has_lengths(&self) -> bool {
                (**self).has_lengths()
            }
            fn is_varied(&self) -> bool {
                (**self).is_varied()
            }
            fn length(&self, row: usize) -> usize {
                (**self).length(row)
            }
            fn names(&self) -> &[String] {
                (**self).names()
            }
            fn labels(&self) -> Result<Vec<i64>> {
                (**self).labels()
            }
        }
    )*};
}
forward_dataset!(&D, Box<D>, Arc<D>);

/// A set's rows in the order of an epoch: sequences of like lengths together.
pub(crate) fn in_order(
    set: &(impl Dataset + ?Sized),
    batching: &Batching,
    epoch: u64,
    into: &mut Vec<usize>,
) {
    batching.order(set.len(), epoch, into);
    if set.has_lengths() {
        let most = set.x().shape.first().copied().unwrap_or(0);
        batching.together(|row| bucket(set.length(row), most), epoch, into);
    }
}

/// Rows that go through a model together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The inputs, `[rows, …]`.
    pub x: Values,
    /// The targets, `[rows, …]`.
    pub y: Values,
    /// Further inputs and targets, `[rows, …]` each, in the order of [`Dataset::further`].
    pub further: Vec<Values>,
    /// How much each row counts; empty where all count the same.
    pub weights: Vec<f32>,
    /// The shapes of the inputs and targets of the whole batch.
    x_shape: Vec<usize>,
    y_shape: Vec<usize>,
    further_shapes: Vec<Vec<usize>>,
    rows: usize,
}

impl Batch {
    /// No rows yet, in a set's types.
    pub fn of(set: &(impl Dataset + ?Sized)) -> Batch {
        let (x, y, further) = (set.x(), set.y(), set.further());
        let shape = |form: &Form| std::iter::once(0).chain(form.shape.iter().copied()).collect();
        Batch {
            x_shape: shape(&x),
            y_shape: shape(&y),
            further_shapes: further.iter().map(|(_, form)| shape(form)).collect(),
            further: further.iter().map(|(_, form)| form.kind.values()).collect(),
            x: x.kind.values(),
            y: y.kind.values(),
            weights: Vec::new(),
            rows: 0,
        }
    }

    /// So many rows of zeros, for what only needs a set's types and shapes; none is read.
    pub fn zeros(set: &(impl Dataset + ?Sized), rows: usize) -> Batch {
        let mut batch = Batch::of(set);
        let own = [(&mut batch.x, &mut batch.x_shape), (&mut batch.y, &mut batch.y_shape)];
        for (values, shape) in own.into_iter().chain(batch.further.iter_mut().zip(&mut batch.further_shapes))
        {
            shape[0] = rows;
            (0..shape.iter().product()).for_each(|_| values.push(0.0));
        }
        batch.weights.resize(if set.is_weighted() { rows } else { 0 }, 1.0);
        batch.rows = rows;
        batch
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The shape of the inputs, `[rows, …]`.
    pub fn x_shape(&self) -> &[usize] {
        &self.x_shape
    }

    /// The shape of the targets, `[rows, …]`.
    pub fn y_shape(&self) -> &[usize] {
        &self.y_shape
    }

    /// The shapes of the further inputs and targets, `[rows, …]` each.
    pub fn further_shapes(&self) -> &[Vec<usize>] {
        &self.further_shapes
    }

    /// Forgets the rows and keeps the room.
    pub fn clear(&mut self) {
        self.x.clear();
        self.y.clear();
        self.further.iter_mut().for_each(Values::clear);
        self.weights.clear();
        self.rows = 0;
    }

    /// Replaces what is here by these rows.
    ///
    /// # Errors
    /// Where a row isn't there or can't be read, or a set doesn't write what it says.
    pub fn fill(
        &mut self,
        set: &(impl Dataset + ?Sized),
        rows: &[usize],
        draw: impl Fn(usize) -> u64,
    ) -> Result<()> {
        self.clear();
        let (count, mut longest) = (set.len(), 0);
        if set.has_lengths() {
            self.restore_shapes(set);
        }
        for &row in rows {
            if row >= count {
                return Err(Error::new(format!("there is no row {row}; the set has {count}")));
            }
            set.read(row, draw(row), self)?;
            longest = longest.max(if set.has_lengths() { set.length(row) } else { 0 });
        }
        self.complete(rows.len(), set.is_weighted())?;
        if set.has_lengths() {
            self.cut(longest);
        }
        Ok(())
    }

    /// The shapes that rows are written in.
    fn restore_shapes(&mut self, set: &(impl Dataset + ?Sized)) {
        let blank = Batch::of(set);
        (self.x_shape, self.y_shape, self.further_shapes) =
            (blank.x_shape, blank.y_shape, blank.further_shapes);
    }

    /// Leaves of each row the places that the longest needs.
    fn cut(&mut self, longest: usize) {
        let Some(&most) = self.x_shape.get(1) else { return };
        let length = bucket(longest, most);
        let own = [(&mut self.x, &mut self.x_shape), (&mut self.y, &mut self.y_shape)];
        for (values, shape) in own.into_iter().chain(self.further.iter_mut().zip(&mut self.further_shapes)) {
            if shape.get(1) == Some(&most) {
                values.cut_rows(shape[1..].iter().product(), shape[2..].iter().product::<usize>() * length);
                shape[1] = length;
            }
        }
    }

    /// Checks that so many rows were written, and says so in the shapes.
    fn complete(&mut self, rows: usize, weighted: bool) -> Result<()> {
        self.rows = rows;
        let own = [("inputs", &self.x, &mut self.x_shape), ("targets", &self.y, &mut self.y_shape)];
        let further = self.further.iter().zip(&mut self.further_shapes);
        let further = further.map(|(values, shape)| ("further numbers", values, shape));
        for (what, values, shape) in own.into_iter().chain(further) {
            if let Some(first) = shape.first_mut() {
                *first = rows;
            }
            let expected: usize = shape.iter().product();
            if values.len() != expected {
                let wrote = values.len();
                return Err(Error::new(format!(
                    "the set wrote {} as the {what} of {}, which say they have {expected}",
                    counted(wrote, "number"),
                    counted(rows, "row"),
                )));
            }
        }
        if weighted && self.weights.len() != rows {
            let message = format!(
                "the set wrote {} for {}",
                counted(self.weights.len(), "weight"),
                counted(rows, "row")
            );
            return Err(Error::new(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Set, fingerprint};

    fn two_towers(shift: f32) -> Set {
        let [x, item] = [0.0, shift].map(|shift| Vec::from_iter((0..10).map(|at| at as f32 + shift)));
        let set = Set::numbers(x, Form::numbers(&[2]), vec![1.0; 5], 1).unwrap();
        set.with("item", item, Form::numbers(&[2])).unwrap()
    }

    /// Whatever holds a set holds all that its rows have.
    #[test]
    fn further_inputs_go_through_everything_that_holds_a_set() {
        fn check(set: impl Dataset) {
            assert_eq!(set.further(), [("item".to_string(), Form::numbers(&[2]))]);
            let batch = set.gather(&[1, 0]).unwrap();
            assert_eq!(batch.further, [Values::F32(vec![12.0, 13.0, 10.0, 11.0])]);
            assert_eq!(batch.further_shapes(), [[2, 2]]);
            let zeros = Batch::zeros(&set, 2);
            assert_eq!((zeros.further_shapes(), zeros.x_shape()), (batch.further_shapes(), batch.x_shape()));
            assert_eq!(zeros.rows(), 2);
            assert_eq!(zeros.further, [Values::F32(vec![0.0; 4])]);
        }
        let set = two_towers(10.0);
        check(&set);
        check(set);
        check(Box::new(two_towers(10.0)));
        check(Arc::new(two_towers(10.0)));
        check(two_towers(10.0).subset(vec![0, 1, 2]));
        assert_ne!(fingerprint(&two_towers(10.0)).unwrap(), fingerprint(&two_towers(11.0)).unwrap());
    }

    #[test]
    fn a_set_that_does_not_write_what_it_says_is_refused() {
        struct Forgets(Set);
        impl Dataset for Forgets {
            fn len(&self) -> usize {
                self.0.len()
            }
            fn x(&self) -> Form {
                self.0.x()
            }
            fn y(&self) -> Form {
                self.0.y()
            }
            fn further(&self) -> Vec<(String, Form)> {
                self.0.further()
            }
            fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
                self.0.read(row, draw, batch)?;
                batch.further.iter_mut().for_each(Values::clear);
                Ok(())
            }
        }
        let error = Forgets(two_towers(1.0)).gather(&[0, 1]).unwrap_err().to_string();
        assert!(error.contains("0 numbers as the further numbers of 2 rows"), "{error}");
    }
}
