//! Unigram: of all ways to cut a word the likeliest.

use serde::Deserialize;

use super::piece_table::PieceTable;
use crate::error::{Error, Result};

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "UnigramFile")]
pub(super) struct Unigram {
    pub(super) vocabulary: PieceTable,
    scores: Vec<f64>,
    trie: Trie,
    unknown: Option<u32>,
    unknown_score: f64,
    byte_fallback: bool,
}

#[derive(Deserialize)]
struct UnigramFile {
    vocab: Vec<(String, f64)>,
    unk_id: Option<u32>,
    #[serde(default)]
    byte_fallback: bool,
}

/// How much less likely a character that isn't known is than the least likely piece.
const UNKNOWN_PENALTY: f64 = 10.0;

impl TryFrom<UnigramFile> for Unigram {
    type Error = String;

    fn try_from(file: UnigramFile) -> Result<Unigram, String> {
        let UnigramFile { vocab, unk_id, byte_fallback } = file;
        if let Some(unknown) = unk_id.filter(|unknown| *unknown as usize >= vocab.len()) {
            return Err(format!("the unknown piece is said to be {unknown}, and there are {}", vocab.len()));
        }
        let scores: Vec<f64> = vocab.iter().map(|(_, score)| *score).collect();
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let vocabulary = PieceTable::new(vocab.into_iter().map(|(token, _)| token).zip(0..));
        let trie = Trie::new(vocabulary.iter().map(|(token, code)| (token.as_bytes(), code)));
        Ok(Unigram {
            vocabulary,
            scores,
            trie,
            unknown: unk_id,
            unknown_score: least - UNKNOWN_PENALTY,
            byte_fallback,
        })
    }
}

/// The best way to a place in a word.
#[derive(Clone, Copy, Default)]
struct Path {
    score: f64,
    /// The last piece of it, and where that begins.
    last: Option<(u32, usize)>,
}

impl Unigram {
    pub(super) fn encode(&self, word: &str) -> Result<Vec<u32>> {
        let paths = self.paths(word)?;
        let mut pieces: Vec<(u32, usize, usize)> = Vec::new();
        let mut end = word.len();
        while let Some((code, start)) = paths[end].last {
            match pieces.last_mut() {
                // Unknown characters that stand together are one piece.
                Some((behind, from, _)) if Some(code) == self.unknown && Some(*behind) == self.unknown => {
                    *from = start
                }
                _ => pieces.push((code, start, end)),
            }
            end = start;
        }
        let mut codes = Vec::with_capacity(pieces.len());
        for &(code, start, end) in pieces.iter().rev() {
            let text = &word[start..end];
            match self.vocabulary.code(text) {
                Some(code) => codes.push(code),
                None => match self.vocabulary.bytes(text).filter(|_| self.byte_fallback) {
                    Some(bytes) => codes.extend(bytes),
                    None => codes.push(code),
                },
            }
        }
        Ok(codes)
    }

    fn paths(&self, word: &str) -> Result<Vec<Path>> {
        let mut paths = vec![Path::default(); word.len() + 1];
        for (start, c) in word.char_indices() {
            let so_far = paths[start].score;
            let mut has_character = false;
            let mut better = |end: usize, code: u32, score: f64| {
                let (path, score) = (&mut paths[end], score + so_far);
                if path.last.is_none() || score > path.score {
                    *path = Path { score, last: Some((code, start)) };
                }
            };
            self.trie.beginnings(&word.as_bytes()[start..], |length, code| {
                has_character |= length == c.len_utf8();
                better(start + length, code, self.scores[code as usize]);
            });
            if !has_character {
                let missing =
                    || Error::new(format!("{c:?} isn't known, and the tokenizer has no code for what isn't"));
                better(start + c.len_utf8(), self.unknown.ok_or_else(missing)?, self.unknown_score);
            }
        }
        Ok(paths)
    }
}

/// Texts by their bytes: each node's children lie together, in order.
#[derive(Clone, Debug)]
struct Trie {
    nodes: Vec<TrieNode>,
}

#[derive(Clone, Copy, Debug)]
struct TrieNode {
    byte: u8,
    code: Option<u32>,
    children: (u32, u32),
}

impl Trie {
    fn new<'a>(texts: impl Iterator<Item = (&'a [u8], u32)>) -> Trie {
        let mut texts: Vec<(&[u8], u32)> = texts.filter(|(text, _)| !text.is_empty()).collect();
        texts.sort_unstable();
        let mut nodes = vec![TrieNode { byte: 0, code: None, children: (0, 0) }];
        // Nodes whose children aren't written yet: which, the texts below it, and how deep it is.
        let mut open = std::collections::VecDeque::from([(0, &texts[..], 0)]);
        while let Some((node, texts, depth)) = open.pop_front() {
            let from = nodes.len() as u32;
            for group in texts.chunk_by(|a, b| a.0[depth] == b.0[depth]) {
                let (text, code) = group[0];
                let ends = text.len() == depth + 1;
                open.push_back((nodes.len(), &group[usize::from(ends)..], depth + 1));
                nodes.push(TrieNode { byte: text[depth], code: ends.then_some(code), children: (0, 0) });
            }
            nodes[node].children = (from, nodes.len() as u32);
        }
        Trie { nodes }
    }

    /// Calls `found` with the length and the code of each text that some bytes begin with, the shortest first.
    fn beginnings(&self, bytes: &[u8], mut found: impl FnMut(usize, u32)) {
        let mut node = self.nodes[0];
        for (at, byte) in bytes.iter().enumerate() {
            let children = &self.nodes[node.children.0 as usize..node.children.1 as usize];
            let Ok(child) = children.binary_search_by_key(byte, |child| child.byte) else { return };
            node = children[child];
            if let Some(code) = node.code {
                found(at + 1, code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unigram(json: &str) -> Unigram {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_likeliest_cut_wins() {
        let model = unigram(
            r#"{"unk_id": 0, "vocab": [["?", 0], ["ab", -1], ["a", -2], ["b", -2], ["c", -1], ["abc", -2.5]]}"#,
        );
        assert_eq!(model.encode("abc").unwrap(), [1, 4]);
        assert_eq!(model.encode("xyab").unwrap(), [0, 1]);
        assert!(model.encode("").unwrap().is_empty());
    }

    #[test]
    fn unknown_characters_are_bytes_where_there_are_bytes() {
        let model = unigram(
            r#"{"unk_id": 0, "byte_fallback": true, "vocab": [["?", 0], ["a", -1], ["<0xC3>", -5], ["<0xA9>", -5]]}"#,
        );
        assert_eq!(model.encode("aéa").unwrap(), [1, 2, 3, 1]);
        assert_eq!(model.encode("aüa").unwrap(), [1, 0, 1]);
        assert!(unigram(r#"{"vocab": [["a", -1]]}"#).encode("b").is_err());
    }
}
