//! The known name nearest to a misspelt one, for errors.

/// The candidate that is few enough edits away to be what was meant; letters' case counts nothing.
///
/// ```
/// use kiln_map::nearest;
///
/// assert_eq!(nearest("dens", ["conv", "dense", "pool"]), Some("dense"));
/// assert_eq!(nearest("lstm", ["conv", "dense", "pool"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (word.chars().count() / 2).max(2);
    let near = candidates.into_iter().map(|candidate| (edit_distance(word, candidate), candidate));
    let near = near.filter(|(edits, candidate)| *edits <= bound && *edits < candidate.chars().count().max(2));
    near.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out or replaced (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let (a, b) = (lower(a), lower(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let names = ["age", "sex", "resting bp s"];
        assert_eq!(nearest("agee", names), Some("age"));
        assert_eq!(nearest("Resting BP", names), Some("resting bp s"));
        assert_eq!(nearest("cholesterol", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("age", []), None);
    }

    #[test]
    fn edits_are_counted_as_levenshtein_does() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "größe"), 5);
        assert_eq!(edit_distance("Größe", "größe"), 0);
    }
}
