//! Entities in sequences of tags such as `B-PER I-PER O`: precision, recall and F1 of whole entities, by the rules of `conlleval`, which
//! `seqeval` has too.

use std::collections::BTreeMap;

/// An entity: what it is, and its first and last word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entity<'a> {
    /// What stands behind the first letter of its tags.
    pub kind: &'a str,
    /// Its first word.
    pub first: usize,
    /// Its last word.
    pub last: usize,
}

/// Whether tags speak of entities: each is `O`, or a letter that says where in an entity a word is (B, I, E, S, L, U), a dash and a kind.
pub fn are_of_entities<'a>(tags: impl IntoIterator<Item = &'a str>) -> bool {
    let mut begun = false;
    for tag in tags {
        match tag.split_once('-') {
            None if tag == "O" => {}
            Some(("B" | "I" | "E" | "S" | "L" | "U", kind)) if !kind.is_empty() => begun = true,
            Some(_) | None => return false,
        }
    }
    begun
}

/// The entities of a sentence's tags.
///
/// ```
/// use kiln_nn::metrics::entities;
///
/// let found = entities(&["B-PER", "I-PER", "O", "I-LOC"]);
/// let plain: Vec<_> = found.iter().map(|entity| (entity.kind, entity.first, entity.last)).collect();
/// assert_eq!(plain, [("PER", 0, 1), ("LOC", 3, 3)]);
/// ```
pub fn entities<'a>(tags: &[&'a str]) -> Vec<Entity<'a>> {
    let mut found = Vec::new();
    let (mut before, mut kind_before, mut first) = ('O', "", 0);
    for (place, tag) in tags.iter().copied().chain(["O"]).enumerate() {
        let (letter, kind) = parts(tag);
        if ends(before, letter, kind_before, kind) {
            found.push(Entity { kind: kind_before, first, last: place - 1 });
        }
        if starts(before, letter, kind_before, kind) {
            first = place;
        }
        (before, kind_before) = (letter, kind);
    }
    found
}

/// The letter of a tag in the alphabet of B, I, E, S, and its kind. L is the last word of an entity as E is, U the only one as S.
fn parts(tag: &str) -> (char, &str) {
    let mut letters = tag.chars();
    let letter = match letters.next() {
        Some('L') => 'E',
        Some('U') => 'S',
        Some(letter) => letter,
        None => 'O',
    };
    let rest = letters.as_str();
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (letter, if kind.is_empty() { "_" } else { kind })
}

fn ends(before: char, now: char, kind_before: &str, kind: &str) -> bool {
    match before {
        'E' | 'S' => true,
        'B' | 'I' if matches!(now, 'B' | 'S' | 'O') => true,
        'O' | '.' => false,
        _ => kind_before != kind,
    }
}

fn starts(before: char, now: char, kind_before: &str, kind: &str) -> bool {
    match now {
        'B' | 'S' => true,
        'E' | 'I' if matches!(before, 'E' | 'S' | 'O') => true,
        'O' | '.' => false,
        _ => kind_before != kind,
    }
}

/// How many entities there are of a kind, how many were said, and how many of those are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntityCounts {
    /// That are there.
    pub there: usize,
    /// That were said.
    pub said: usize,
    /// That were said where they are, from the first word to the last.
    pub right: usize,
}

impl EntityCounts {
    /// The share of those said that are right; 0 of none, as in the field's other programs.
    pub fn precision(&self) -> f64 {
        share(self.right, self.said)
    }

    /// The share of those there that were said.
    pub fn recall(&self) -> f64 {
        share(self.right, self.there)
    }

    /// The harmonic mean of both.
    pub fn f1(&self) -> f64 {
        share(2 * self.right, self.said + self.there)
    }
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Entities that were said held against those that are there, gathered sentence by sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityScores {
    kinds: BTreeMap<String, EntityCounts>,
}

impl EntityScores {
    /// Takes a sentence: the tags it has, and those that were said.
    pub fn add(&mut self, truth: &[&str], said: &[&str]) {
        let (truth, said) = (entities(truth), entities(said));
        for entity in &truth {
            self.kinds.entry(entity.kind.to_string()).or_default().there += 1;
        }
        for entity in &said {
            let counts = self.kinds.entry(entity.kind.to_string()).or_default();
            counts.said += 1;
            counts.right += usize::from(truth.contains(entity));
        }
    }

    /// Of each kind, in the order of their names.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, EntityCounts)> {
        self.kinds.iter().map(|(kind, counts)| (kind.as_str(), *counts))
    }

    /// Of all kinds together (the micro average).
    pub fn all(&self) -> EntityCounts {
        self.kinds.values().fold(EntityCounts::default(), |sum, counts| EntityCounts {
            there: sum.there + counts.there,
            said: sum.said + counts.said,
            right: sum.right + counts.right,
        })
    }
}
