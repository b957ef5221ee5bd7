//! Columns as bins: a byte a number, so that a histogram over a column reads little.

/// The bin of what isn't there.
pub(super) const MISSING: u8 = 255;

/// Bins of what is there, at most.
const MOST: usize = 254;

/// Numbers of a column that its bins are chosen by, at most.
pub(super) const SAMPLED: usize = 200_000;

/// A column's bins: the first holds what is at most the first cut, the last what is above all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BinnedColumn {
    pub bins: Vec<u8>,
    pub cuts: Vec<f32>,
}

/// Columns of as many rows each.
#[derive(Clone, Debug, Default)]
pub(super) struct Binned {
    pub columns: Vec<BinnedColumn>,
    pub rows: usize,
}

/// Cuts between the numbers of a column, so that bins hold about as many each; between each two of them where they are few. What is
/// no number is left out, and what is infinite counts as the largest number.
pub(super) fn cuts(numbers: &mut Vec<f32>) -> Vec<f32> {
    numbers.retain(|number| !number.is_nan());
    numbers.iter_mut().for_each(|number| *number = number.clamp(f32::MIN, f32::MAX));
    numbers.sort_unstable_by(f32::total_cmp);
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for &number in numbers.iter() {
        match distinct.last_mut() {
            // Zeros are equal whatever their signs.
            Some((last, count)) if *last == number => *count += 1,
            _ => distinct.push((number, 1)),
        }
    }
    if distinct.len() <= MOST {
        return distinct.windows(2).map(|pair| between(pair[0].0, pair[1].0)).collect();
    }
    let mut cuts = Vec::with_capacity(MOST - 1);
    let (mut left, mut held, mut open) = (numbers.len(), 0, MOST);
    for pair in distinct.windows(2) {
        held += pair[0].1;
        // What is often has a bin of its own, and the others share what is left.
        let share = left as f64 / open as f64;
        let next_is_often = pair[1].1 as f64 >= share && held > 0;
        if held as f64 >= share || next_is_often {
            cuts.push(between(pair[0].0, pair[1].0));
            (left, held, open) = (left - held, 0, open - 1);
            if open == 1 {
                break;
            }
        }
    }
    cuts
}

/// A number from `a` to below `b`, in the middle where there is one.
fn between(a: f32, b: f32) -> f32 {
    let middle = a / 2.0 + b / 2.0;
    if middle >= a && middle < b { middle } else { a }
}

/// The bin of a number.
pub(super) fn bin(cuts: &[f32], number: f32) -> u8 {
    match number.is_nan() {
        true => MISSING,
        false => cuts.partition_point(|cut| *cut < number) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_part_numbers_as_their_cuts_do() {
        let mut numbers: Vec<f32> = (0..10_000).map(|at| ((at * 7919) % 5003) as f32 / 7.0).collect();
        numbers.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0]);
        numbers.extend([3.0; 4000]);
        let all = numbers.clone();
        let cuts = cuts(&mut numbers);
        assert!(cuts.len() < MOST && cuts.len() > 200 && cuts.is_sorted(), "{}", cuts.len());
        let mut held = vec![0usize; 256];
        for number in all {
            let bin = bin(&cuts, number);
            held[usize::from(bin)] += 1;
            for (at, cut) in cuts.iter().enumerate() {
                assert_eq!(number <= *cut, bin != MISSING && usize::from(bin) <= at, "{number} {cut}");
            }
        }
        assert_eq!(held[255], 1);
        // What is often is alone.
        assert!(held.iter().filter(|count| **count >= 4000).count() == 1 && held.iter().max() < Some(&4010));
    }

    #[test]
    fn few_numbers_are_cut_between_each_two() {
        assert_eq!(cuts(&mut vec![2.0, 1.0, f32::NAN, 2.0, 4.0]), [1.5, 3.0]);
        assert!(cuts(&mut vec![f32::NAN; 3]).is_empty());
        let wide = cuts(&mut vec![1.0, f32::INFINITY, f32::NEG_INFINITY]);
        assert!(wide[0] < 1.0 && wide[1] > 1.0 && wide.iter().all(|cut| cut.is_finite()), "{wide:?}");
        let next = f32::from_bits(1f32.to_bits() + 1);
        assert_eq!(cuts(&mut vec![1.0, next]), [1.0]);
    }
}
