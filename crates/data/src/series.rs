//! Sequences of numbers as rows: windows of what was, and what comes some steps later.

use crate::error::{Error, Result};
use crate::set::Set;
use crate::values::Form;

/// Windows of a series for learning what comes next: a row is `length` steps of `columns` numbers each, `[length, columns]`, and its target
/// the numbers of the column `target`, `horizon` steps behind the window's end. The series is `[steps, columns]`, oldest first, and so are
/// the rows: cut them by position, so that no part knows the future of the one before it.
///
/// ```
/// use kiln_data::{Dataset, series, sine};
///
/// let set = series(&sine(200, 0.0, 1), 1, 0, 16, 1)?;
/// assert_eq!((set.len(), set.x().shape), (184, vec![16, 1]));
/// let batch = set.gather(&[0, 1])?;
/// assert_eq!(batch.y.get(0), batch.x.get(31));
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where the numbers aren't whole steps, there is no such column, a number isn't finite, or the series is too short.
pub fn series(numbers: &[f32], columns: usize, target: usize, length: usize, horizon: usize) -> Result<Set> {
    if columns == 0 || !numbers.len().is_multiple_of(columns) {
        return Err(Error::new(format!("{} numbers aren't whole steps of {columns}", numbers.len())));
    }
    if target >= columns {
        return Err(Error::new(format!("there is no column {target}; a step has {columns}, counted from 0")));
    }
    if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
        return Err(Error::new(format!(
            "step {} has a {} in column {}",
            at / columns,
            numbers[at],
            at % columns
        )));
    }
    let steps = numbers.len() / columns;
    let rows = (steps + 1).saturating_sub(length + horizon);
    if rows == 0 || length == 0 || horizon == 0 {
        return Err(Error::new(format!(
            "{steps} steps are too few for windows of {length} and what comes {horizon} later; both are 1 or more"
        )));
    }
    let x: Vec<f32> =
        (0..rows).flat_map(|row| numbers[row * columns..(row + length) * columns].iter().copied()).collect();
    let y = (0..rows).map(|row| numbers[(row + length + horizon - 1) * columns + target]).collect();
    Set::numbers(x, Form::numbers(&[length, columns]), y, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    #[test]
    fn targets_are_as_far_behind_as_the_horizon_says() {
        let numbers: Vec<f32> = (0..40).map(|at| at as f32).collect();
        let set = series(&numbers, 2, 1, 5, 3).unwrap();
        assert_eq!(set.len(), 20 - 5 - 3 + 1);
        let batch = set.gather(&[2]).unwrap();
        assert_eq!(batch.x.as_f32().unwrap(), &numbers[4..14]);
        assert_eq!(batch.y.get(0), Some(f64::from(numbers[(2 + 5 + 3 - 1) * 2 + 1])));
    }

    #[test]
    fn what_makes_no_series_is_refused() {
        let error = |numbers: &[f32], columns, target, length| {
            series(numbers, columns, target, length, 1).unwrap_err().to_string()
        };
        assert!(error(&[1.0; 5], 2, 0, 2).contains("whole steps"));
        assert!(error(&[1.0; 6], 2, 2, 2).contains("no column 2"));
        assert!(error(&[1.0; 6], 2, 0, 3).contains("too few"));
        assert!(error(&[1.0, 2.0, f32::NAN, 4.0], 2, 0, 1).contains("step 1 has a NaN in column 0"));
    }
}
