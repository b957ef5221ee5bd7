//! Neighbours become one, again and again: what byte pair encoding does with a word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Merges codes in place: of all neighbours that have a merge those of the lowest rank, and of equals the first, until none is left.
/// `merge` gives the rank of two neighbours and the code they become.
pub(super) fn merge_all(codes: &mut Vec<u32>, merge: impl Fn(u32, u32) -> Option<(u32, u32)>) {
    let count = codes.len();
    // Who is next to whom; a code that was merged into the one before it has none before it.
    let mut next: Vec<usize> = (1..=count).collect();
    let mut before: Vec<Option<usize>> = (0..count).map(|at| at.checked_sub(1)).collect();
    let mut heap: BinaryHeap<Reverse<(u32, usize, u32, usize)>> = BinaryHeap::new();
    let ranked = |codes: &[u32], at: usize, end: usize| {
        let (rank, code) = merge(codes[at], *codes.get(end)?)?;
        Some(Reverse((rank, at, code, end)))
    };
    heap.extend((0..count.saturating_sub(1)).filter_map(|at| ranked(codes, at, at + 1)));
    let mut is_gone = vec![false; count];
    while let Some(Reverse((rank, at, code, second))) = heap.pop() {
        // Either may have become something else since.
        let holds = !is_gone[at]
            && next[at] == second
            && ranked(codes, at, second) == Some(Reverse((rank, at, code, second)));
        if !holds {
            continue;
        }
        codes[at] = code;
        is_gone[second] = true;
        next[at] = next[second];
        if let Some(before) = before.get_mut(next[at]) {
            *before = Some(at);
        }
        let first = before[at].and_then(|first| ranked(codes, first, at));
        heap.extend([first, ranked(codes, at, next[at])].into_iter().flatten());
    }
    let mut gone = is_gone.into_iter();
    codes.retain(|_| gone.next() == Some(false));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Against the rule as it stands: look at all neighbours, merge one, look again.
    #[test]
    fn merges_go_by_rank_then_by_place() {
        let mut rng = Rng::new(5);
        for _ in 0..500 {
            // Any pair of small codes may have a merge, to a code that may be merged again.
            let table: Vec<Option<(u32, u32)>> =
                (0..144).map(|at| (rng.below(3) == 0).then(|| (rng.below(20) as u32, 4 + at % 8))).collect();
            let merge = |a: u32, b: u32| table[(a * 12 + b) as usize];
            let codes: Vec<u32> = (0..rng.below(30)).map(|_| rng.below(4) as u32).collect();
            let mut expected = codes.clone();
            while let Some((_, at, code)) = (1..expected.len())
                .filter_map(|at| merge(expected[at - 1], expected[at]).map(|(rank, code)| (rank, at, code)))
                .min()
            {
                expected.splice(at - 1..=at, [code]);
            }
            let mut ours = codes;
            merge_all(&mut ours, merge);
            assert_eq!(ours, expected);
        }
    }

    #[test]
    fn a_word_of_a_million_codes_takes_no_longer_than_it_must() {
        let mut codes = vec![0; 1 << 20];
        merge_all(&mut codes, |a, b| (a == b).then_some((a, a + 1)));
        assert_eq!(codes, [20]);
    }
}
