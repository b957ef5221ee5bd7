//! A set in memory.

use kiln_map::counted;
use std::sync::Arc;

use crate::dataset::{Batch, Dataset, Subset};
use crate::error::{Error, Result};
use crate::lengths::{NO_LABEL, PADDING};
use crate::split::fractions;
use crate::values::{Form, Meaning, ValueKind, Values};

/// Inputs and targets in memory. Cloning shares them.
///
/// ```
/// use kiln_data::{Dataset, Form, Set};
///
/// let points = vec![0.0f32, 0.1, 0.9, 1.0, 0.2, 0.0];
/// let set = Set::classes(points, Form::numbers(&[2]), vec![0, 1, 0])?.named(["left", "right"]);
/// assert_eq!((set.len(), set.y().codes()), (3, Some(2)));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Set(Arc<Columns>);

#[derive(Clone, Debug)]
struct Columns {
    x: Values,
    y: Values,
    x_form: Form,
    y_form: Form,
    further: Vec<(String, Form, Values)>,
    weights: Vec<f32>,
    names: Vec<String>,
    /// How many places of each row are there; empty where all are.
    lengths: Vec<u32>,
    rows: usize,
}

impl Set {
    /// Inputs of one form and targets of another.
    ///
    /// # Errors
    /// Where they are of another type than their form, of different length, or a class is out of range.
    pub fn new(x: impl Into<Values>, x_form: Form, y: impl Into<Values>, y_form: Form) -> Result<Set> {
        Set::checked(x.into(), x_form, y.into(), y_form)
    }

    fn checked(x: Values, x_form: Form, y: Values, y_form: Form) -> Result<Set> {
        let rows = count(&y, &y_form, "targets")?;
        let inputs = count(&x, &x_form, "inputs")?;
        if inputs != rows {
            return Err(Error::new(format!(
                "{} and {}; each input needs its target",
                counted(inputs, "input"),
                counted(rows, "target")
            )));
        }
        known_codes(&x, &x_form, "input")?;
        known_codes(&y, &y_form, "target")?;
        let (further, weights, names, lengths) = Default::default();
        Ok(Set(Arc::new(Columns { x, y, x_form, y_form, further, weights, names, lengths, rows })))
    }

    /// A further input or target of each row, by a name: the other tower's, another task's.
    ///
    /// ```
    /// use kiln_data::{Dataset, Form, Set};
    ///
    /// let set = Set::numbers(vec![0.1f32, 0.2], Form::numbers(&[1]), vec![1.0, 2.0], 1)?;
    /// let set = set.with("kind", vec![0i64, 1], Form::class(2))?;
    /// assert_eq!(set.gather(&[1])?.further[0].as_i64(), Some(&[1][..]));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Set::new`], and where the name is taken.
    pub fn with(self, name: &str, values: impl Into<Values>, form: Form) -> Result<Set> {
        let values = values.into();
        let rows = count(&values, &form, name)?;
        if rows != self.len() {
            return Err(Error::new(format!(
                "{rows} {name} for {}; each row needs its own",
                counted(self.len(), "row")
            )));
        }
        known_codes(&values, &form, name)?;
        if ["x", "y"].contains(&name) || self.0.further.iter().any(|(known, ..)| known == name) {
            return Err(Error::new(format!("a row has a {name} already; call this one otherwise")));
        }
        Ok(self.changed(|columns| columns.further.push((name.to_string(), form, values))))
    }

    /// Inputs with a class each; as many classes as the highest label says.
    ///
    /// # Errors
    /// As [`Set::new`].
    pub fn classes(x: impl Into<Values>, form: Form, labels: Vec<i64>) -> Result<Set> {
        let count = labels.iter().max().map_or(0, |&most| usize::try_from(most).unwrap_or(0) + 1);
        Set::new(x, form, labels, Form::class(count))
    }

    /// Inputs with numbers to predict, as many for each row.
    ///
    /// # Errors
    /// As [`Set::new`].
    pub fn numbers(x: impl Into<Values>, form: Form, y: Vec<f32>, width: usize) -> Result<Set> {
        Set::new(x, form, y, Form::numbers(&[width]))
    }

    /// Names for the classes. With more names than classes seen there are that many classes.
    pub fn named(self, names: impl IntoIterator<Item = impl Into<String>>) -> Set {
        self.changed(|columns| {
            columns.names = names.into_iter().map(Into::into).collect();
            if let Meaning::Codes { count } = &mut columns.y_form.meaning {
                *count = columns.names.len().max(*count);
            }
        })
    }

    /// How much each row counts.
    ///
    /// # Errors
    /// Where there isn't one for each row, or one is negative or no number.
    pub fn weighted(self, weights: Vec<f32>) -> Result<Set> {
        if weights.len() != self.len() {
            return Err(Error::new(format!(
                "{} for {}",
                counted(weights.len(), "weight"),
                counted(self.len(), "row")
            )));
        }
        if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(Error::new(format!("the weight of row {row} is {}", weights[row])));
        }
        Ok(self.changed(|columns| columns.weights = weights))
    }

    /// Rows are sequences, of which so many places of the first axis are there. Behind them [`PADDING`](crate::PADDING) is read, and
    /// [`NO_LABEL`](crate::NO_LABEL) of targets that have as many places, whatever is held there.
    ///
    /// # Errors
    /// Where there isn't one for each row, a row hasn't as many places, or inputs aren't codes of signed whole numbers.
    pub fn with_lengths(self, lengths: Vec<u32>) -> Result<Set> {
        let form = &self.0.x_form;
        let most = form.shape.first().copied().unwrap_or(0);
        if form.codes().is_none() || form.kind != ValueKind::I64 {
            return Err(Error::new("rows that differ in length are codes, of the type I64"));
        }
        if lengths.len() != self.len() {
            let (lengths, rows) = (counted(lengths.len(), "length"), counted(self.len(), "row"));
            return Err(Error::new(format!("{lengths} for {rows}")));
        }
        if let Some(row) = lengths.iter().position(|&length| length as usize > most) {
            return Err(Error::new(format!("row {row} has {} places of {most}", lengths[row])));
        }
        Ok(self.changed(|columns| columns.lengths = lengths))
    }

    /// How many places of each row are there; nothing where all are.
    pub fn lengths(&self) -> Option<&[u32]> {
        (!self.0.lengths.is_empty()).then_some(&self.0.lengths)
    }

    fn changed(self, change: impl FnOnce(&mut Columns)) -> Set {
        let mut columns = Arc::try_unwrap(self.0).unwrap_or_else(|shared| (*shared).clone());
        change(&mut columns);
        Set(Arc::new(columns))
    }

    /// All inputs, `[rows, …]`.
    pub fn inputs(&self) -> &Values {
        &self.0.x
    }

    /// All targets, `[rows, …]`.
    pub fn targets(&self) -> &Values {
        &self.0.y
    }

    /// The rows in a random order (that of seed 0), cut in two: a share of them and the rest. Other cuts:
    /// [`fractions`], [`stratified`](crate::stratified), [`grouped`](crate::grouped), [`by_time`](crate::by_time).
    pub fn split(&self, share: f64) -> (Subset<Set>, Subset<Set>) {
        let share = share.clamp(0.0, 1.0);
        let parts = fractions(self.len(), &[share, 1.0 - share], 0).unwrap_or_default();
        let mut parts = parts.into_iter().map(|rows| self.clone().subset(rows));
        let mut next = || parts.next().unwrap_or_else(|| self.clone().subset(Vec::new()));
        (next(), next())
    }
}

/// Classes must be among those that there are.
fn known_codes(values: &Values, form: &Form, what: &str) -> Result<()> {
    let Some(count) = form.codes() else { return Ok(()) };
    // Of several places in a row some may have no label.
    let unlabelled = |code: f64| !form.shape.is_empty() && what == "target" && code == NO_LABEL as f64;
    let beyond = |at: &usize| {
        values.get(*at).is_none_or(|code| !(0.0..count as f64).contains(&code) && !unlabelled(code))
    };
    let Some(at) = (0..values.len()).find(beyond) else { return Ok(()) };
    Err(Error::new(format!(
        "the {what} of row {} is {}; {count} classes count from 0 to {}",
        at / form.width().max(1),
        values.get(at).unwrap_or(f64::NAN),
        count.saturating_sub(1)
    )))
}

/// How many rows these numbers are.
fn count(values: &Values, form: &Form, what: &str) -> Result<usize> {
    if values.kind() != form.kind {
        return Err(Error::new(format!(
            "the {what} are {:?}, not the {:?} of their form",
            values.kind(),
            form.kind
        )));
    }
    let width = form.width();
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Error::new(format!("{} numbers aren't whole {what} of {:?}", values.len(), form.shape)));
    }
    Ok(values.len() / width)
}

impl Dataset for Set {
    fn len(&self) -> usize {
        self.0.rows
    }

    fn x(&self) -> Form {
        self.0.x_form.clone()
    }

    fn y(&self) -> Form {
        self.0.y_form.clone()
    }

    fn further(&self) -> Vec<(String, Form)> {
        self.0.further.iter().map(|(name, form, _)| (name.clone(), form.clone())).collect()
    }

    fn read(&self, row: usize, _draw: u64, batch: &mut Batch) -> Result<()> {
        let columns = &*self.0;
        if row >= columns.rows {
            return Err(Error::new(format!("there is no row {row}; the set has {}", columns.rows)));
        }
        batch.x.extend_from(&columns.x, row, columns.x_form.width());
        batch.y.extend_from(&columns.y, row, columns.y_form.width());
        for (into, (_, form, values)) in batch.further.iter_mut().zip(&columns.further) {
            into.extend_from(values, row, form.width());
        }
        batch.weights.extend(columns.weights.get(row));
        if let (Some(&length), Some(&most)) = (columns.lengths.get(row), columns.x_form.shape.first()) {
            let missing = |form: &Form| (most - length as usize) * form.width() / most.max(1);
            batch.x.end_with(missing(&columns.x_form), PADDING);
            let is_stepwise = |form: &Form| form.shape.first() == Some(&most) && form.codes().is_some();
            if is_stepwise(&columns.y_form) {
                batch.y.end_with(missing(&columns.y_form), NO_LABEL);
            }
            for (into, (_, form, _)) in batch.further.iter_mut().zip(&columns.further) {
                if is_stepwise(form) {
                    into.end_with(missing(form), PADDING);
                }
            }
        }
        Ok(())
    }

    fn has_lengths(&self) -> bool {
        !self.0.lengths.is_empty()
    }

    fn length(&self, row: usize) -> usize {
        self.0.lengths.get(row).map_or(0, |&length| length as usize)
    }

    fn is_weighted(&self) -> bool {
        !self.0.weights.is_empty()
    }

    fn names(&self) -> &[String] {
        &self.0.names
    }

    fn labels(&self) -> Result<Vec<i64>> {
        let Columns { y, y_form, .. } = &*self.0;
        if y_form.codes().is_none() || y_form.width() != 1 {
            return Err(Error::new("the targets aren't classes, one for each row"));
        }
        Ok((0..y.len()).filter_map(|at| y.get(at)).map(|label| label as i64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_row() {
        let form = || Form::numbers(&[2]);
        let error = |set: Result<Set>| set.unwrap_err().to_string();
        assert!(error(Set::classes(vec![1f32; 5], form(), vec![0, 1])).contains("5 numbers"));
        assert!(error(Set::classes(vec![1f32; 4], form(), vec![0])).contains("2 inputs and 1 target;"));
        assert!(error(Set::classes(vec![1f32; 4], form(), vec![0, -1])).contains("row 1 is -1"));
        assert!(error(Set::classes(vec![1u8; 4], form(), vec![0, 1])).contains("U8"));
        let beyond = Set::new(vec![1f32; 4], form(), vec![0i64, 7], Form::class(3));
        assert!(error(beyond).contains("row 1 is 7; 3 classes"));
        let set = Set::classes(vec![1f32; 4], form(), vec![0, 1]).unwrap();
        assert!(set.clone().weighted(vec![1.0]).is_err());
        let with = |name: &str, values: Vec<i64>| set.clone().with(name, values, Form::class(3));
        assert!(error(with("kind", vec![1])).contains("1 kind for 2 rows"));
        assert!(error(with("kind", vec![1, 3])).contains("the kind of row 1 is 3; 3 classes"));
        assert!(error(with("y", vec![1, 2])).contains("a row has a y already"));
        assert!(
            error(with("kind", vec![1, 2]).unwrap().with("kind", vec![1f32; 2], Form::numbers(&[1])))
                .contains("kind already")
        );
        assert!(set.weighted(vec![1.0, f32::NAN]).is_err());
    }

    #[test]
    fn a_split_keeps_every_row_once() {
        let set = Set::classes(Vec::from_iter((0..101).map(|x| x as f32)), Form::numbers(&[1]), vec![0; 101]);
        let (a, b) = set.unwrap().split(0.8);
        assert_eq!((a.len(), b.len()), (81, 20));
        let mut all = [a.all().unwrap().x, b.all().unwrap().x]
            .iter()
            .flat_map(|x| x.as_f32().unwrap().to_vec())
            .collect::<Vec<f32>>();
        all.sort_by(f32::total_cmp);
        assert_eq!(all, Vec::from_iter((0..101).map(|x| x as f32)));
    }
}
