//! One type name, one type.

use std::collections::BTreeMap;

use super::{Source, sources};

/// Names that several types have for good.
const SHARED: [(&str, &str); 9] = [
    ("Error", "a library's own errors go by this name everywhere in Rust"),
    ("Result", "as `Error`"),
    ("Avx2", "one where the processor may have it, a stand-in elsewhere"),
    ("Avx512", "as `Avx2`"),
    ("Neon", "as `Avx2`"),
    ("Bar", "one with the feature `terminal`, a stand-in without it"),
    ("Interrupt", "as `Bar`"),
    ("Records", "one with the feature `csv`, a stand-in without it"),
    ("Readme", "a page whose code is tested has no other name"),
];

/// Names that stand for several things and shouldn't: each is to become one, none is to join them.
const AMBIGUOUS: &[&str] = &[
    "Argument", "Average", "Axis", "Build", "Cells", "Element", "Group", "Held", "Inner", "Input", "Kept",
    "Key", "Kind", "Operands", "Output", "Place", "Reader", "Row", "Rows", "Scope", "Shared", "Value",
    "Walk", "Writer",
];

#[test]
fn a_type_name_stands_for_one_type() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        if !source.is_product() || source.krate() == "testkit" {
            continue;
        }
        for name in types(&source) {
            defined.entry(name).or_default().push(source.path.clone());
        }
    }
    defined.retain(|_, places| places.len() > 1);
    let allowed = |name: &str| SHARED.iter().any(|(shared, _)| *shared == name) || AMBIGUOUS.contains(&name);
    let new: Vec<String> = defined
        .iter()
        .filter(|(name, _)| !allowed(name))
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(new.is_empty(), "these names stand for several types; give each its own:\n{}", new.join("\n"));
    let gone: Vec<&str> = AMBIGUOUS.iter().copied().filter(|name| !defined.contains_key(*name)).collect();
    assert!(gone.is_empty(), "one type each now, so they needn't be excused any more: {}", gone.join(", "));
}

/// The names of types that a file defines at its top level.
fn types(source: &Source) -> Vec<String> {
    let name = |line: &str| {
        let line = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ").map(|(_, rest)| rest)?,
            Some(rest) => rest.trim_start(),
            None => line,
        };
        let line = line.strip_prefix("unsafe ").unwrap_or(line);
        let (kind, rest) = line.split_once(' ')?;
        let end = rest.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').unwrap_or(rest.len());
        ["struct", "enum", "trait", "type", "union"].contains(&kind).then(|| rest[..end].to_string())
    };
    source.product().lines().filter_map(name).collect()
}

#[test]
fn types_are_found_however_visible_they_are() {
    let text = "pub struct A<T>(T);\npub(in crate::x) enum B {}\nunsafe trait C {}\n    struct Inner;\ntype D = u8;\nfn e() {}\n";
    let found = types(&Source { path: String::new(), text: text.to_string() });
    assert_eq!(found, ["A", "B", "C", "D"]);
}
