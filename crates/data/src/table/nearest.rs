//! The known name nearest to a misspelt one, for errors.

use crate::error::Error;

/// The candidate that is few enough edits away to be what was meant; letters' case counts nothing.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (word.chars().count() / 2).max(2);
    let near = candidates.into_iter().map(|candidate| (edits(word, candidate), candidate));
    near.filter(|(edits, _)| *edits <= bound).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// `there is no column "agee"; did you mean "age"?`, or the names there are.
pub(crate) fn unknown<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Error {
    let mend = match nearest(word, candidates.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            let mut names: Vec<&str> = candidates.into_iter().take(13).collect();
            if names.len() > 12 {
                names[12] = "…";
            }
            format!("there are: {}", names.join(", "))
        }
    };
    Error::new(format!("there is no column \"{word}\"; {mend}"))
}

/// How many letters must be put in, left out or replaced (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
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
        assert!(unknown("cholesterol", names).to_string().contains("age, sex, resting bp s"));
    }
}
