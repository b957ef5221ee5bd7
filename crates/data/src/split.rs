//! The ways to cut rows in parts: by shares, by class, by group, by time, in folds. Each gives row numbers, of which
//! [`Dataset::subset`](crate::Dataset::subset) makes sets.

use crate::error::{Error, Result};
use crate::rng::Rng;
use kiln_map::counted;

/// Row numbers in parts: these shares of the whole, in a random order. What the shares leave is nobody's.
///
/// ```
/// let parts = kiln_data::fractions(100, &[0.6, 0.2, 0.2], 7)?;
/// assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [60, 20, 20]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where a share is negative or no number, or they are more than the whole.
pub fn fractions(rows: usize, shares: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut order: Vec<usize> = (0..rows).collect();
    Rng::new(seed).shuffle(&mut order);
    cut(&order, shares)
}

/// As [`fractions`], each class in the same shares. Where classes have so few rows that a part would be empty, rows are dealt out class
/// after class, each part in its share.
///
/// # Errors
/// As [`fractions`].
pub fn stratified(labels: &[i64], shares: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut parts = vec![Vec::new(); shares.len()];
    let classes: Vec<Vec<usize>> =
        groups(labels).into_iter().enumerate().map(|(class, rows)| shuffled(rows, seed, class)).collect();
    for order in &classes {
        for (part, rows) in parts.iter_mut().zip(cut(order, shares)?) {
            part.extend(rows);
        }
    }
    if parts.iter().zip(shares).any(|(part, share)| part.is_empty() && *share > 0.0) {
        parts.iter_mut().for_each(Vec::clear);
        // Multiples of the golden ratio, of which any few in a row are spread evenly.
        let place = |at: usize| ((at as f64 + 0.5) * 0.618_033_988_749_894_9).fract();
        for (at, row) in classes.into_iter().flatten().enumerate() {
            let mut left = place(at);
            let mut takes = |share: &f64| {
                left -= share;
                left < 0.0
            };
            if let Some(part) = shares.iter().position(&mut takes).and_then(|part| parts.get_mut(part)) {
                part.push(row);
            }
        }
    }
    for (number, part) in parts.iter_mut().enumerate() {
        *part = shuffled(std::mem::take(part), seed, usize::MAX - number);
    }
    Ok(parts)
}

/// As [`fractions`], where rows of one group (a patient, a speaker) stay together.
///
/// # Errors
/// As [`fractions`].
pub fn grouped(keys: &[i64], shares: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    let groups = groups(keys);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    Rng::new(seed).shuffle(&mut order);
    let ends = ends(keys.len(), shares)?;
    let mut parts = vec![Vec::new(); shares.len()];
    let (mut part, mut taken) = (0, 0);
    for group in order {
        // A group goes where more than half of it belongs.
        while part < ends.len() && 2 * taken + groups[group].len() > 2 * ends[part] {
            part += 1;
        }
        taken += groups[group].len();
        if let Some(rows) = parts.get_mut(part) {
            rows.extend_from_slice(&groups[group]);
        }
    }
    Ok(parts)
}

/// As [`fractions`], where the earlier come before the later: no part knows the future of the one before it.
///
/// # Errors
/// As [`fractions`].
pub fn by_time(times: &[f64], shares: &[f64]) -> Result<Vec<Vec<usize>>> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&a, &b| times[a].total_cmp(&times[b]));
    cut(&order, shares)
}

/// For each of `count` folds the rows to train on and those held out. With labels each class is spread evenly.
///
/// # Errors
/// Where there are fewer than two folds, or fewer rows than folds.
pub fn folds(
    rows: usize,
    labels: Option<&[i64]>,
    count: usize,
    seed: u64,
) -> Result<Vec<(Vec<usize>, Vec<usize>)>> {
    if count < 2 || count > rows {
        return Err(Error::new(format!(
            "{} can't be cut in {}; from 2 to {rows} can be",
            counted(rows, "row"),
            counted(count, "fold")
        )));
    }
    let dealt: Vec<usize> = match labels {
        Some(labels) => {
            let each = groups(labels).into_iter().enumerate();
            each.flat_map(|(class, rows)| shuffled(rows, seed, class)).collect()
        }
        None => shuffled((0..rows).collect(), seed, 0),
    };
    let held = |fold: usize| dealt.iter().copied().skip(fold).step_by(count);
    let others = |fold: usize| {
        let rest = dealt.iter().copied().enumerate().filter(move |(at, _)| at % count != fold);
        rest.map(|(_, row)| row).collect()
    };
    Ok((0..count).map(|fold| (others(fold), held(fold).collect())).collect())
}

/// As [`folds`], where rows of one group stay in one fold: the largest groups are dealt out first, each to the fold with the fewest rows.
///
/// ```
/// let patients = [1, 1, 2, 2, 3, 3, 4, 4];
/// for (train, held) in kiln_data::grouped_folds(&patients, 2, 7)? {
///     assert!(train.iter().all(|&a| held.iter().all(|&b| patients[a] != patients[b])));
/// }
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where there are fewer than two folds, or fewer groups than folds.
pub fn grouped_folds(keys: &[i64], count: usize, seed: u64) -> Result<Vec<(Vec<usize>, Vec<usize>)>> {
    let mut groups = groups(keys);
    if count < 2 || count > groups.len() {
        return Err(Error::new(format!(
            "{} can't be cut in {}; from 2 to {} can be",
            counted(groups.len(), "group"),
            counted(count, "fold"),
            groups.len()
        )));
    }
    Rng::new(seed).shuffle(&mut groups);
    groups.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let mut held = vec![Vec::new(); count];
    for rows in groups {
        if let Some(fold) = held.iter_mut().min_by_key(|fold: &&mut Vec<usize>| fold.len()) {
            fold.extend(rows);
        }
    }
    held.iter_mut().for_each(|fold| fold.sort_unstable());
    let others = |fold: usize| {
        let mut rest: Vec<usize> = held
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != fold)
            .flat_map(|(_, rows)| rows)
            .copied()
            .collect();
        rest.sort_unstable();
        rest
    };
    Ok((0..count).map(|fold| (others(fold), held[fold].clone())).collect())
}

/// As [`folds`], where time goes on: rows are cut by time in one part more than folds, and each fold holds out one part and has all that came
/// before it to train on. Rows of the same moment stay in one part.
///
/// ```
/// let times = [3.0, 1.0, 2.0, 4.0];
/// assert_eq!(kiln_data::folds_forward(&times, 3)?[1], (vec![1, 2], vec![0]));
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where there are fewer than two folds, or no more moments than folds.
pub fn folds_forward(times: &[f64], count: usize) -> Result<Vec<(Vec<usize>, Vec<usize>)>> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&a, &b| times[a].total_cmp(&times[b]));
    // Where another moment begins.
    let begins: Vec<usize> =
        (1..order.len()).filter(|&at| times[order[at]] != times[order[at - 1]]).collect();
    if count < 2 || count > begins.len() {
        return Err(Error::new(format!(
            "rows of {} can't be cut in {} that go forward in time; from 2 to {} can be",
            counted(begins.len() + 1, "moment"),
            counted(count, "fold"),
            begins.len()
        )));
    }
    let mut cuts = Vec::with_capacity(count);
    for part in 1..=count {
        let wanted = part * order.len() / (count + 1);
        // Enough moments are left for the parts that follow.
        let least = cuts.len();
        let most = begins.len() - (count - part);
        let last = cuts.last().copied().unwrap_or(0);
        let nearest =
            (least..most).filter(|&at| begins[at] > last).min_by_key(|&at| begins[at].abs_diff(wanted));
        cuts.extend(nearest.map(|at| begins[at]));
    }
    cuts.push(order.len());
    Ok(cuts.windows(2).map(|cut| (order[..cut[0]].to_vec(), order[cut[0]..cut[1]].to_vec())).collect())
}

/// Rows by their key, keys in order.
fn groups(keys: &[i64]) -> Vec<Vec<usize>> {
    let mut groups = std::collections::BTreeMap::<i64, Vec<usize>>::new();
    for (row, key) in keys.iter().enumerate() {
        groups.entry(*key).or_default().push(row);
    }
    groups.into_values().collect()
}

fn shuffled(mut rows: Vec<usize>, seed: u64, stream: usize) -> Vec<usize> {
    Rng::new(seed).derive(stream as u64).shuffle(&mut rows);
    rows
}

fn cut(order: &[usize], shares: &[f64]) -> Result<Vec<Vec<usize>>> {
    let mut start = 0;
    let part = |end: usize| order[std::mem::replace(&mut start, end)..end].to_vec();
    Ok(ends(order.len(), shares)?.into_iter().map(part).collect())
}

/// Where each share ends, of so many rows.
fn ends(rows: usize, shares: &[f64]) -> Result<Vec<usize>> {
    let all: f64 = shares.iter().sum();
    let fits = |share: &f64| (0.0..=1.0).contains(share);
    if !shares.iter().all(fits) || all > 1.0 + 1e-9 {
        return Err(Error::new(format!("shares are from 0 to 1 and at most 1 in all, unlike {shares:?}")));
    }
    let sums = shares.iter().scan(0.0, |sum, share| {
        *sum += share;
        Some(*sum)
    });
    Ok(sums.map(|sum| ((sum * rows as f64).round() as usize).min(rows)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(parts: &[Vec<usize>]) -> Vec<usize> {
        let mut all: Vec<usize> = parts.concat();
        all.sort_unstable();
        all
    }

    #[test]
    fn every_row_is_in_one_part() {
        let labels: Vec<i64> = (0..103).map(|row| row % 3).collect();
        let shares = [0.6, 0.2, 0.2];
        for parts in [
            fractions(103, &shares, 1).unwrap(),
            stratified(&labels, &shares, 1).unwrap(),
            grouped(
                &labels.iter().enumerate().map(|(row, _)| row as i64 / 5).collect::<Vec<_>>(),
                &shares,
                1,
            )
            .unwrap(),
            by_time(&labels.iter().map(|&x| x as f64).collect::<Vec<_>>(), &shares).unwrap(),
        ] {
            assert_eq!(sorted(&parts), Vec::from_iter(0..103));
        }
        assert_eq!(fractions(0, &shares, 1).unwrap(), vec![Vec::<usize>::new(); 3]);
    }

    #[test]
    fn stratified_parts_have_each_class_in_its_share() {
        let labels: Vec<i64> = (0..1000).map(|row| i64::from(row % 10 == 0)).collect();
        for part in stratified(&labels, &[0.5, 0.5], 3).unwrap() {
            assert_eq!(part.iter().filter(|&&row| labels[row] == 1).count(), 50);
        }
        for (train, held) in folds(1000, Some(&labels), 5, 3).unwrap() {
            assert_eq!((train.len(), held.len()), (800, 200));
            assert_eq!(held.iter().filter(|&&row| labels[row] == 1).count(), 20);
        }
    }

    #[test]
    fn parts_of_many_classes_with_few_rows_have_their_shares() {
        for rows in [1, 2, 3, 4] {
            let labels: Vec<i64> = (0..1000 * rows).map(|row| row % 1000).collect();
            let parts = stratified(&labels, &[0.64, 0.16, 0.2], 3).unwrap();
            assert_eq!(sorted(&parts), Vec::from_iter(0..labels.len()));
            for (part, share) in parts.iter().zip([0.64, 0.16, 0.2]) {
                let wanted = share * labels.len() as f64;
                assert!(
                    (part.len() as f64 - wanted).abs() < 0.3 * wanted,
                    "{rows}: {} of {wanted}",
                    part.len()
                );
            }
        }
    }

    #[test]
    fn groups_stay_together_and_time_stays_in_order() {
        let keys: Vec<i64> = (0..100).map(|row| row / 7).collect();
        let parts = grouped(&keys, &[0.7, 0.3], 5).unwrap();
        assert!(parts[0].iter().all(|&a| parts[1].iter().all(|&b| keys[a] != keys[b])));
        assert!(!parts[1].is_empty());
        let times: Vec<f64> = (0..50).map(|row| ((row * 17) % 50) as f64).collect();
        let parts = by_time(&times, &[0.8, 0.2]).unwrap();
        assert!(parts[0].iter().all(|&a| parts[1].iter().all(|&b| times[a] < times[b])));
    }

    #[test]
    fn folds_keep_groups_together_and_go_forward_in_time() {
        let keys: Vec<i64> = (0..100).map(|row| (row * row) % 13).collect();
        let folds = grouped_folds(&keys, 4, 5).unwrap();
        assert_eq!(
            sorted(&folds.iter().map(|(_, held)| held.clone()).collect::<Vec<_>>()),
            Vec::from_iter(0..100)
        );
        for (train, held) in &folds {
            assert_eq!(train.len() + held.len(), 100);
            assert!(train.iter().all(|&a| held.iter().all(|&b| keys[a] != keys[b])));
            assert!(held.len() > 10, "{}", held.len());
        }
        assert!(grouped_folds(&[1, 1, 2], 3, 1).unwrap_err().to_string().contains("2 groups"));
        for moments in [4, 7, 50] {
            let times: Vec<f64> = (0..50).map(|row| f64::from((row * 17) % moments)).collect();
            let folds = folds_forward(&times, 3).unwrap();
            assert_eq!(folds.len(), 3, "{moments}");
            for (train, held) in &folds {
                assert!(!train.is_empty() && !held.is_empty());
                assert!(train.iter().all(|&a| held.iter().all(|&b| times[a] < times[b])), "{moments}");
            }
            assert!(folds.windows(2).all(|pair| pair[0].0.len() < pair[1].0.len()));
        }
        assert!(folds_forward(&[1.0, 1.0, 2.0], 2).unwrap_err().to_string().contains("2 moments"));
    }

    #[test]
    fn shares_that_make_no_sense_are_refused() {
        assert!(fractions(10, &[0.8, 0.4], 1).unwrap_err().to_string().contains("at most 1"));
        assert!(fractions(10, &[-0.1], 1).is_err());
        assert!(folds(3, None, 5, 1).unwrap_err().to_string().contains("5 folds"));
    }
}
