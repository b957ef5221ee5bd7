//! Free text in a column: which of its words become inputs, and which of them a text has.

use std::collections::{BTreeMap, HashMap, HashSet};

/// How many words of a text become inputs at most, the most frequent.
const MOST: usize = 200;
/// In how many texts a word must be.
const LEAST: u64 = 3;
/// How many words texts have on average.
const FREE: f64 = 4.0;

/// The words of a text, without what stands between them, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| word.chars().nth(1).is_some())
        .map(str::to_lowercase)
}

/// Whether texts are free ones: a few words each and not always the same.
pub(super) fn are_texts(texts: &BTreeMap<String, u64>) -> bool {
    let (mut count, mut all) = (0usize, 0usize);
    for text in texts.keys() {
        count += 1;
        all += words(text).count();
    }
    count > 0 && all as f64 >= FREE * count as f64
}

/// The words that become inputs, in order: the most frequent of those that several texts have and some haven't.
pub(super) fn known_words(texts: &BTreeMap<String, u64>) -> Vec<String> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut all = 0;
    for (text, times) in texts {
        all += times;
        let own: HashSet<String> = words(text).collect();
        own.into_iter().for_each(|word| *counts.entry(word).or_default() += times);
    }
    let mut known: Vec<(String, u64)> =
        counts.into_iter().filter(|(_, count)| (LEAST..all).contains(count)).collect();
    known.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    known.truncate(MOST);
    let mut known: Vec<String> = known.into_iter().map(|(word, _)| word).collect();
    known.sort();
    known
}

/// Words that are inputs, to be found in texts.
#[derive(Clone, Debug)]
pub(super) struct KnownWords(HashMap<String, usize>);

impl KnownWords {
    pub fn of(known: &[String]) -> KnownWords {
        KnownWords(known.iter().cloned().zip(0..).collect())
    }

    /// The places of those that a text has.
    pub fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(text).filter_map(|word| self.0.get(&word).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_some_texts_have_are_known_whatever_their_case() {
        let texts = ["The Cat sat, here", "the cat ran off!", "the dog and a cat's", "the größte Dog ever"];
        let counts: BTreeMap<String, u64> = texts.iter().map(|text| (text.to_string(), 1)).collect();
        assert!(are_texts(&counts));
        // All have "the", and the others are too few.
        assert_eq!(known_words(&counts), ["cat"]);
        let known = KnownWords::of(&["cat".to_string(), "größte".to_string()]);
        assert_eq!(known.places("GRÖSSTE Größte cat").collect::<Vec<_>>(), [1, 0]);
        let names: BTreeMap<String, u64> = (0..200).map(|at| (format!("name {at}"), 1)).collect();
        assert!(!are_texts(&names));
    }
}
