//! What a set holds, as one number: every row, its weight and what they mean. It is the same for the same rows wherever they come from.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_files::checksum;

use crate::dataset::{Batch, Dataset};
use crate::error::Result;
use crate::values::Values;

/// Rows that are summed at a time; the number follows from it.
const BLOCK: usize = 256;

/// The number of a set. Other rows, another order of them, another label: another number. Sets that vary their rows are read as
/// they are varied in some epoch.
///
/// ```
/// use kiln_data::{fingerprint, moons};
///
/// assert_eq!(fingerprint(&moons(100, 0.1, 1))?, fingerprint(&moons(100, 0.1, 1))?);
/// assert_ne!(fingerprint(&moons(100, 0.1, 1))?, fingerprint(&moons(100, 0.1, 2))?);
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where a row can't be read.
pub fn fingerprint(set: &(impl Dataset + ?Sized)) -> Result<u64> {
    let mut about = format!("{} {:?} {:?} {:?}", set.len(), set.x(), set.y(), set.names());
    set.further().iter().for_each(|further| about += &format!(" {further:?}"));
    let (blocks, next) = (set.len().div_ceil(BLOCK), AtomicUsize::new(0));
    let some = || -> Result<Vec<(usize, u64)>> {
        let (mut sums, mut batch) = (Vec::new(), Batch::of(set));
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                return Ok(sums);
            }
            let rows: Vec<usize> = (block * BLOCK..set.len().min((block + 1) * BLOCK)).collect();
            batch.fill(set, &rows, |row| row as u64 + 1)?;
            let all = of_values(of_values(0, &batch.x), &batch.y);
            let all = batch.further.iter().fold(all, of_values);
            sums.push((block, checksum(all, &bytes(&batch.weights, |weight| weight.to_le_bytes()))));
        }
    };
    let workers =
        std::thread::available_parallelism().map_or(1, |count| count.get()).min(8).min(blocks.max(1));
    let mut sums = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(some)).collect();
        let mut sums = some()?;
        for other in others {
            match other.join() {
                Ok(more) => sums.extend(more?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, crate::Error>(sums)
    })?;
    sums.sort_unstable();
    let all = bytes(&sums, |(_, sum)| sum.to_le_bytes());
    Ok(checksum(checksum(0, about.as_bytes()), &all))
}

fn of_values(before: u64, values: &Values) -> u64 {
    match values {
        Values::U8(values) => checksum(before, values),
        Values::U16(values) => checksum(before, &bytes(values, |value| value.to_le_bytes())),
        Values::I64(values) => checksum(before, &bytes(values, |value| value.to_le_bytes())),
        Values::F16(values) => checksum(before, &bytes(values, |value| value.to_le_bytes())),
        Values::F32(values) => checksum(before, &bytes(values, |value| value.to_le_bytes())),
    }
}

fn bytes<T, const N: usize>(values: &[T], of: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::Set;
    use crate::values::Form;

    #[test]
    fn every_number_label_and_place_counts() {
        let numbers: Vec<f32> = (0..2000).map(|at| at as f32 * 0.25).collect();
        let labels: Vec<i64> = (0..1000).map(|row| row % 3).collect();
        let of = |numbers: &[f32], labels: &[i64]| {
            let set = Set::classes(numbers.to_vec(), Form::numbers(&[2]), labels.to_vec()).unwrap();
            fingerprint(&set).unwrap()
        };
        let whole = of(&numbers, &labels);
        assert_eq!(whole, of(&numbers, &labels));
        for at in [0, 511, 512, 1999] {
            let mut other = numbers.clone();
            other[at] += 1.0;
            assert_ne!(of(&other, &labels), whole, "number {at}");
        }
        for row in [0, 255, 256, 999] {
            let mut other = labels.clone();
            other[row] = (other[row] + 1) % 3;
            assert_ne!(of(&numbers, &other), whole, "label {row}");
        }
        let set = || Set::classes(numbers.clone(), Form::numbers(&[2]), labels.clone()).unwrap();
        let order = |first: usize, second: usize| {
            let mut rows: Vec<usize> = (0..1000).collect();
            rows.swap(first, second);
            fingerprint(&set().subset(rows)).unwrap()
        };
        assert_eq!(order(0, 0), whole, "a part that is all of it is the same rows");
        assert_ne!(order(0, 999), whole);
    }
}
