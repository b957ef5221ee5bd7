//! Byte pair encoding as files describe it: characters, and the merges that were learned.

use foldhash::{HashMap, HashMapExt as _, HashSet};
use serde::Deserialize;

use super::super::merging::merge_all;
use super::piece_table::PieceTable;

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "BpeFile")]
pub(super) struct Bpe {
    pub(super) vocabulary: PieceTable,
    /// The rank of a pair and the code it becomes.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// The characters on either side of where two pieces may be merged; of a word without what is put before or behind its parts.
    seams: Option<HashSet<(char, char)>>,
    unknown: Option<u32>,
    prefix: Option<String>,
    suffix: Option<String>,
    /// Whether unknown characters that stand together are one unknown piece.
    fuse_unk: bool,
    /// Whether an unknown character is its bytes.
    byte_fallback: bool,
    /// Whether a word that is a piece is taken whole.
    ignore_merges: bool,
}

#[derive(Deserialize)]
struct BpeFile {
    vocab: PieceTable,
    merges: MergesFile,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergesFile {
    Pairs(Vec<(String, String)>),
    Lines(Vec<String>),
}

/// The bytes up to which a word is merged whole.
const SHORT: usize = 64;

impl TryFrom<BpeFile> for Bpe {
    type Error = String;

    fn try_from(file: BpeFile) -> Result<Bpe, String> {
        if file.dropout.is_some_and(|share| share > 0.0) {
            return Err("merges are left out at random (\"dropout\"); set it to null".to_string());
        }
        let vocabulary = file.vocab;
        let cut = |line: &String| {
            let (first, second) = line.split_once(' ')?;
            Some((first.to_string(), second.to_string()))
        };
        let pairs = match file.merges {
            MergesFile::Pairs(pairs) => pairs,
            MergesFile::Lines(lines) => lines
                .iter()
                .filter(|line| !line.starts_with("#version"))
                .map(|line| {
                    cut(line)
                        .ok_or_else(|| format!("the merge {line:?} isn't two pieces with a space between"))
                })
                .collect::<Result<_, _>>()?,
        };
        let prefix = file.continuing_subword_prefix.unwrap_or_default();
        let code = |token: &str| {
            vocabulary
                .code(token)
                .ok_or_else(|| format!("a merge needs the piece {token:?}, which has no code"))
        };
        let seam =
            |(first, second): &(String, String)| Some((first.chars().next_back()?, second.chars().next()?));
        let is_plain = prefix.is_empty() && file.end_of_word_suffix.as_deref().is_none_or(str::is_empty);
        let seams = is_plain.then(|| pairs.iter().filter_map(seam).collect());
        let mut merges = HashMap::with_capacity(pairs.len());
        for (rank, (first, second)) in (0..).zip(&pairs) {
            let joined = format!("{first}{}", second.strip_prefix(&prefix).unwrap_or(second));
            merges.insert((code(first)?, code(second)?), (rank, code(&joined)?));
        }
        let unknown = match file.unk_token {
            Some(token) => Some(
                vocabulary.code(&token).ok_or_else(|| format!("the unknown piece {token:?} has no code"))?,
            ),
            None => None,
        };
        Ok(Bpe {
            vocabulary,
            merges,
            seams,
            unknown,
            prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
            suffix: file.end_of_word_suffix.filter(|suffix| !suffix.is_empty()),
            fuse_unk: file.fuse_unk,
            byte_fallback: file.byte_fallback,
            ignore_merges: file.ignore_merges,
        })
    }
}

impl Bpe {
    /// A word cut where no merge reaches across, so that a text without words is as quick as others. Both characters there are known:
    /// unknown ones may be joined.
    pub(super) fn cut<'w>(&self, word: &'w str) -> Vec<&'w str> {
        let Some(seams) = self.seams.as_ref().filter(|_| word.len() > SHORT) else { return vec![word] };
        if self.ignore_merges && self.vocabulary.code(word).is_some() {
            return vec![word];
        }
        let is_known = |c: char| self.vocabulary.code(c.encode_utf8(&mut [0; 4])).is_some();
        let (mut parts, mut start) = (Vec::new(), 0);
        for ((_, before), (at, c)) in word.char_indices().zip(word.char_indices().skip(1)) {
            if !seams.contains(&(before, c)) && is_known(before) && is_known(c) {
                parts.push(&word[start..at]);
                start = at;
            }
        }
        parts.push(&word[start..]);
        parts
    }

    pub(super) fn encode(&self, word: &str) -> Vec<u32> {
        if let Some(code) = self.vocabulary.code(word).filter(|_| self.ignore_merges) {
            return vec![code];
        }
        let mut codes = Vec::with_capacity(word.len());
        let mut is_unknown = false;
        let last = word.char_indices().next_back().map_or(0, |(at, _)| at);
        let mut piece = String::new();
        for (at, c) in word.char_indices() {
            piece.clear();
            piece.push_str(self.prefix.as_deref().filter(|_| at > 0).unwrap_or_default());
            piece.push(c);
            piece.push_str(self.suffix.as_deref().filter(|_| at == last).unwrap_or_default());
            if let Some(code) = self.vocabulary.code(&piece) {
                codes.push(code);
                is_unknown = false;
            } else if let Some(bytes) = self.vocabulary.bytes(&piece).filter(|_| self.byte_fallback) {
                codes.extend(bytes);
            } else if let Some(unknown) = self.unknown {
                if !(is_unknown && self.fuse_unk) {
                    codes.push(unknown);
                }
                is_unknown = true;
            }
        }
        merge_all(&mut codes, |first, second| self.merges.get(&(first, second)).copied());
        codes
    }
}
