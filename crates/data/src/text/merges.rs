//! Pieces that are learned: bytes that stand together most often become one piece, again and again (byte pair encoding).

use std::collections::{BTreeSet, HashMap, HashSet};

use super::merging::merge_all;

/// Pairs of codes that became a code of their own, in the order they were learned. Codes below 256 are the bytes themselves.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Merges {
    pairs: Vec<(u32, u32)>,
    /// The code of each pair.
    codes: HashMap<(u32, u32), u32>,
    /// The bytes each code stands for.
    bytes: Vec<Vec<u8>>,
}

/// Bytes alone.
impl Default for Merges {
    fn default() -> Merges {
        let bytes = (0..=255).map(|byte| vec![byte]).collect();
        Merges { pairs: Vec::new(), codes: HashMap::new(), bytes }
    }
}

impl Merges {
    /// Learns up to `most` codes, bytes included, from a text. A pair that comes only once is never merged.
    ///
    /// Counts are kept for each different word, and only the words a merge touches are counted again.
    pub(super) fn fit(text: &str, most: usize) -> Merges {
        let mut counts: HashMap<&str, i64> = HashMap::new();
        words(text).flat_map(parts).for_each(|part| *counts.entry(part).or_default() += 1);
        let mut counts: Vec<(&str, i64)> = counts.into_iter().collect();
        counts.sort_unstable();
        let mut all: Vec<(Vec<u32>, i64)> =
            counts.into_iter().map(|(word, count)| (word.bytes().map(u32::from).collect(), count)).collect();
        let mut pairs = PairCounts::default();
        for (at, (codes, count)) in all.iter().enumerate() {
            codes.windows(2).for_each(|pair| pairs.add((pair[0], pair[1]), *count, at));
        }
        let mut learned = Vec::new();
        let mut bytes = Merges::default().bytes;
        let mut known: HashSet<Vec<u8>> = bytes.iter().cloned().collect();
        while 256 + learned.len() < most {
            let Some(pair) = pairs.most_frequent() else { break };
            // A piece has one code: what is known by other merges isn't learned again.
            let joined = [&bytes[pair.0 as usize][..], &bytes[pair.1 as usize]].concat();
            if !known.insert(joined.clone()) {
                pairs.forget(pair);
                continue;
            }
            let code = bytes.len() as u32;
            bytes.push(joined);
            learned.push(pair);
            for at in pairs.take(pair) {
                let (codes, count) = &mut all[at];
                codes.windows(2).for_each(|pair| pairs.add((pair[0], pair[1]), -*count, at));
                merge(codes, pair, code);
                codes.windows(2).for_each(|pair| pairs.add((pair[0], pair[1]), *count, at));
            }
            pairs.forget(pair);
        }
        Merges::from_pairs(learned).unwrap_or_default()
    }

    /// As [`Merges::pairs`] gave them; `None` where a pair names a code that isn't known before it.
    pub(super) fn from_pairs(pairs: Vec<(u32, u32)>) -> Option<Merges> {
        let mut bytes = Merges::default().bytes;
        for &(first, second) in &pairs {
            let joined = [bytes.get(first as usize)?.as_slice(), bytes.get(second as usize)?].concat();
            // Words are short, and so are pieces of them; a file that says otherwise is damaged.
            if joined.len() > LONGEST {
                return None;
            }
            bytes.push(joined);
        }
        let codes = pairs.iter().zip(256..).map(|(pair, code)| (*pair, code)).collect();
        Some(Merges { pairs, codes, bytes })
    }

    pub(super) fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// How many codes there are.
    pub(super) fn count(&self) -> usize {
        256 + self.pairs.len()
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut known: HashMap<&str, Vec<u32>> = HashMap::new();
        words(text).flat_map(|word| known.entry(word).or_insert_with(|| self.word(word)).clone()).collect()
    }

    /// A word's codes: of all pairs in it the one that was learned first is merged, until none is left.
    fn word(&self, word: &str) -> Vec<u32> {
        let mut codes: Vec<u32> = word.bytes().map(u32::from).collect();
        merge_all(&mut codes, |first, second| self.codes.get(&(first, second)).map(|code| (*code, *code)));
        codes
    }

    /// The bytes of each code.
    #[cfg(feature = "tokenizer")]
    pub(super) fn bytes(&self) -> &[Vec<u8>] {
        &self.bytes
    }

    /// The bytes of codes; those that aren't known have none.
    pub(super) fn decode(&self, codes: &[u32]) -> Vec<u8> {
        codes.iter().filter_map(|code| self.bytes.get(*code as usize)).flatten().copied().collect()
    }
}

/// The most bytes of a word that are learned from together.
const LONGEST: usize = 256;

/// A word in parts that are short enough to learn from.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(LONGEST));
        rest = behind;
        Some(part).filter(|part| !part.is_empty())
    })
}

/// How often pairs stand together, and in which words.
#[derive(Default)]
struct PairCounts {
    counts: HashMap<(u32, u32), (i64, BTreeSet<usize>)>,
    /// The same by count: the last is the most frequent, and of equals the one with the lowest codes.
    sorted: BTreeSet<(i64, std::cmp::Reverse<(u32, u32)>)>,
}

impl PairCounts {
    fn add(&mut self, pair: (u32, u32), count: i64, word: usize) {
        let (total, words) = self.counts.entry(pair).or_default();
        self.sorted.remove(&(*total, std::cmp::Reverse(pair)));
        *total += count;
        words.insert(word);
        if *total > 1 {
            self.sorted.insert((*total, std::cmp::Reverse(pair)));
        }
    }

    fn most_frequent(&self) -> Option<(u32, u32)> {
        self.sorted.last().map(|(_, pair)| pair.0)
    }

    /// The words a pair has been seen in.
    fn take(&mut self, pair: (u32, u32)) -> Vec<usize> {
        self.counts.get(&pair).map(|(_, words)| words.iter().copied().collect()).unwrap_or_default()
    }

    fn forget(&mut self, pair: (u32, u32)) {
        if let Some((total, _)) = self.counts.remove(&pair) {
            self.sorted.remove(&(total, std::cmp::Reverse(pair)));
        }
    }
}

/// `[a, b, a, b, c]` with `(a, b)` as `x` → `[x, x, c]`.
fn merge(codes: &mut Vec<u32>, pair: (u32, u32), code: u32) {
    let (mut from, mut to) = (0, 0);
    while from < codes.len() {
        let joined = from + 1 < codes.len() && (codes[from], codes[from + 1]) == pair;
        codes[to] = if joined { code } else { codes[from] };
        from += 1 + usize::from(joined);
        to += 1;
    }
    codes.truncate(to);
}

/// How words are cut, as an expression.
#[cfg(feature = "tokenizer")]
pub(super) const WORDS: &str =
    r" ?\p{Alphabetic}+| ?[\p{N}&&[^\p{Alphabetic}]]+| ?[^\s\p{Alphabetic}\p{N}]+|\s+(?= \S)|\s+";

/// What is never merged across: a run of letters, of digits, of other signs (each with the space before it), or of spaces. Together
/// they are the text. [`WORDS`] says the same.
fn words(text: &str) -> impl Iterator<Item = &str> {
    #[derive(PartialEq)]
    enum Sort {
        Space,
        Letter,
        Digit,
        Sign,
    }
    let sort = |c: char| match c {
        c if c.is_whitespace() => Sort::Space,
        c if c.is_alphabetic() => Sort::Letter,
        c if c.is_numeric() => Sort::Digit,
        _ => Sort::Sign,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut chars = rest.chars();
        let (first, second) = (chars.next()?, chars.next());
        let lead = usize::from(first == ' ' && second.is_some_and(|second| !second.is_whitespace()));
        let own = sort(rest[lead..].chars().next()?);
        let end = rest[lead..]
            .char_indices()
            .find(|(_, c)| sort(*c) != own)
            .map_or(rest.len(), |(at, _)| lead + at);
        // The last of some spaces belongs to the word behind them.
        let end = match own == Sort::Space && end < rest.len() && end > 1 && rest[..end].ends_with(' ') {
            true => end - 1,
            false => end,
        };
        let (word, behind) = rest.split_at(end.max(lead + first.len_utf8().min(rest.len() - lead)));
        rest = behind;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_text() {
        let text = "It's  3 o'clock,\n\n   naïve 日本語!  ";
        let all: Vec<&str> = words(text).collect();
        assert_eq!(all.concat(), text);
        assert_eq!(words("two  words here").collect::<Vec<_>>(), ["two", " ", " words", " here"]);
        let long = "xé".repeat(500);
        assert!(parts(&long).all(|part| part.len() <= LONGEST) && parts(&long).count() == 6);
        assert_eq!(parts(&long).collect::<String>(), long);
    }

    #[test]
    fn the_most_frequent_pairs_are_merged_first() {
        // Worked out by hand: "aa" four times, then what it became with "b".
        let merges = Merges::fit("aab aab aab aac", 258);
        assert_eq!(merges.pairs(), [(b'a'.into(), b'a'.into()), (b' '.into(), 256)]);
        assert_eq!(merges.encode("aab aac"), [256, b'b'.into(), 257, b'c'.into()]);
    }

    #[test]
    fn any_text_comes_back_and_a_known_one_gets_shorter() {
        let text = "the cat sat on the mat, and the other cat sat on that one. ".repeat(20);
        let merges = Merges::fit(&text, 300);
        for text in [text.as_str(), "völlig Neues 日本 \u{1f600}\r\n\t", ""] {
            assert_eq!(merges.decode(&merges.encode(text)), text.as_bytes());
        }
        assert!(merges.encode(&text).len() * 3 < text.len());
        assert_eq!(Merges::from_pairs(merges.pairs().to_vec()).unwrap(), merges);
        assert!(Merges::from_pairs(vec![(97, 256)]).is_none());
    }

    /// What is counted as it goes is what counting anew after every merge would find.
    #[test]
    fn counts_kept_are_counts_made_anew() {
        let text = "abababab bababa abcabcabc cacaca aaaa aaaaa abab aaa ".repeat(3);
        let merges = Merges::fit(&text, 275);
        let mut all: Vec<Vec<u32>> = words(&text).map(|word| word.bytes().map(u32::from).collect()).collect();
        for (at, learned) in merges.pairs().iter().enumerate() {
            let mut counts: HashMap<(u32, u32), i64> = HashMap::new();
            all.iter()
                .flat_map(|codes| codes.windows(2))
                .for_each(|p| *counts.entry((p[0], p[1])).or_default() += 1);
            let best =
                counts.iter().max_by_key(|(pair, count)| (**count, std::cmp::Reverse(**pair))).unwrap();
            assert_eq!(best.0, learned, "merge {at}");
            all.iter_mut().for_each(|codes| merge(codes, *learned, 256 + at as u32));
        }
        assert_eq!(merges.count(), 275);
    }
}
