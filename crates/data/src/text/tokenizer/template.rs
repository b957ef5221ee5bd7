//! What is put around the codes of a text, and of two.

use std::collections::HashMap;

use serde::Deserialize;

/// One way, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Template {
    #[serde(rename = "TemplateProcessing")]
    Pieces {
        single: Vec<TemplatePiece>,
        pair: Vec<TemplatePiece>,
        special_tokens: HashMap<String, SpecialToken>,
    },
    #[serde(rename = "BertProcessing")]
    Bert {
        sep: (String, u32),
        cls: (String, u32),
    },
    #[serde(rename = "RobertaProcessing")]
    Roberta {
        sep: (String, u32),
        cls: (String, u32),
    },
    /// It moves offsets, which aren't kept.
    ByteLevel,
    Sequence {
        processors: Vec<Template>,
    },
}

#[derive(Clone, Debug, Deserialize)]
pub(super) enum TemplatePiece {
    Sequence { id: Which, type_id: u32 },
    SpecialToken { id: String, type_id: u32 },
}

/// The first text or the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Which {
    A,
    B,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct SpecialToken {
    ids: Vec<u32>,
}

/// Codes with the number of the text they are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Typed {
    pub(super) codes: Vec<u32>,
    pub(super) types: Vec<u32>,
}

impl Typed {
    pub(super) fn new(codes: Vec<u32>, kind: u32) -> Typed {
        Typed { types: vec![kind; codes.len()], codes }
    }

    pub(super) fn joined(parts: Vec<Typed>) -> Typed {
        let mut all = Typed::default();
        for part in parts {
            all.codes.extend(part.codes);
            all.types.extend(part.types);
        }
        all
    }
}

impl Template {
    /// That a file's special tokens are there.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Template::Pieces { single, pair, special_tokens } => {
                if single.iter().any(|piece| matches!(piece, TemplatePiece::Sequence { id: Which::B, .. })) {
                    return Err("the template of one text names a second".to_string());
                }
                single.iter().chain(pair).try_for_each(|piece| match piece {
                    TemplatePiece::SpecialToken { id, .. } if !special_tokens.contains_key(id) => Err(
                        format!("the template names the token {id:?}, which isn't among its special tokens"),
                    ),
                    _ => Ok(()),
                })
            }
            Template::Sequence { processors } => processors.iter().try_for_each(Template::check),
            Template::Bert { .. } | Template::Roberta { .. } | Template::ByteLevel => Ok(()),
        }
    }

    /// How many codes it adds.
    pub(super) fn added(&self, is_pair: bool) -> usize {
        match self {
            Template::Pieces { single, pair, special_tokens } => (if is_pair { pair } else { single })
                .iter()
                .map(|piece| match piece {
                    TemplatePiece::SpecialToken { id, .. } => {
                        special_tokens.get(id).map_or(0, |token| token.ids.len())
                    }
                    TemplatePiece::Sequence { .. } => 0,
                })
                .sum(),
            Template::Bert { .. } => 2 + usize::from(is_pair),
            Template::Roberta { .. } => 2 + 2 * usize::from(is_pair),
            Template::ByteLevel => 0,
            Template::Sequence { processors } => processors.iter().map(|each| each.added(is_pair)).sum(),
        }
    }

    pub(super) fn apply(&self, parts: Vec<Typed>, with_special: bool) -> Vec<Typed> {
        let around = |first: u32, part: Typed, last: u32, kind: u32| {
            Typed::new([&[first], &part.codes[..], &[last]].concat(), kind)
        };
        match self {
            Template::Pieces { single, pair, special_tokens } => {
                let pieces = if parts.len() > 1 { pair } else { single };
                let piece = |piece: &TemplatePiece| match piece {
                    TemplatePiece::Sequence { id, type_id } => parts
                        .get(usize::from(*id == Which::B))
                        .map(|part| Typed::new(part.codes.clone(), *type_id)),
                    TemplatePiece::SpecialToken { id, type_id } => {
                        let token = special_tokens.get(id).filter(|_| with_special)?;
                        Some(Typed::new(token.ids.clone(), *type_id))
                    }
                };
                pieces.iter().filter_map(piece).collect()
            }
            Template::Bert { sep, cls } if with_special => {
                let wrap = |(kind, part): (u32, Typed)| match kind {
                    0 => around(cls.1, part, sep.1, 0),
                    kind => Typed::new([&part.codes[..], &[sep.1]].concat(), kind),
                };
                (0..).zip(parts).map(wrap).collect()
            }
            Template::Roberta { sep, cls } => {
                let wrap = |(at, part): (u32, Typed)| match with_special {
                    true => around(if at == 0 { cls.1 } else { sep.1 }, part, sep.1, 0),
                    false => Typed::new(part.codes, 0),
                };
                (0..).zip(parts).map(wrap).collect()
            }
            Template::Bert { .. } | Template::ByteLevel => parts,
            Template::Sequence { processors } => {
                processors.iter().fold(parts, |parts, each| each.apply(parts, with_special))
            }
        }
    }
}
