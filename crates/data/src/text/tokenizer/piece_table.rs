//! Tokens and their codes.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use serde::Deserialize;

/// Both ways.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "std::collections::HashMap<String, u32>")]
pub(super) struct PieceTable {
    codes: HashMap<Arc<str>, u32>,
    tokens: BTreeMap<u32, Arc<str>>,
}

impl From<std::collections::HashMap<String, u32>> for PieceTable {
    fn from(codes: std::collections::HashMap<String, u32>) -> PieceTable {
        PieceTable::new(codes)
    }
}

impl PieceTable {
    /// Of two with the same text the last has it.
    pub(super) fn new(codes: impl IntoIterator<Item = (String, u32)>) -> PieceTable {
        let codes: HashMap<Arc<str>, u32> =
            codes.into_iter().map(|(token, code)| (token.into(), code)).collect();
        let tokens = codes.iter().map(|(token, code)| (*code, token.clone())).collect();
        PieceTable { codes, tokens }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.codes.iter().map(|(token, code)| (&**token, *code))
    }

    pub(super) fn code(&self, token: &str) -> Option<u32> {
        self.codes.get(token).copied()
    }

    pub(super) fn token(&self, code: u32) -> Option<&str> {
        self.tokens.get(&code).map(AsRef::as_ref)
    }

    /// How many tokens there are.
    pub(super) fn count(&self) -> usize {
        self.codes.len()
    }

    pub(super) fn highest(&self) -> Option<u32> {
        self.tokens.keys().next_back().copied()
    }

    /// The codes of a text's bytes, where there is a token such as `<0x0A>` for each.
    pub(super) fn bytes(&self, text: &str) -> Option<Vec<u32>> {
        text.bytes().map(|byte| self.code(&format!("<0x{byte:02X}>"))).collect()
    }
}
