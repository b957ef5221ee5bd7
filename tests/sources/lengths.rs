//! Files and functions that a reader can take in.

use super::{ROOT, sources};

/// A file of more lines says why in its first ones, after this word.
const MOST_LINES: usize = 500;
const REASON: &str = "//! Long: ";

/// Longer files that have no reason to be: each is to be cut along what it is about, none is to join them.
const TOO_LONG: &[&str] = &[];

#[test]
fn a_file_is_short_or_says_why_not() {
    let long = |text: &str| {
        let reason =
            text.lines().take_while(|line| line.starts_with("//")).any(|line| line.starts_with(REASON));
        text.lines().count() > MOST_LINES && !reason
    };
    let mut found: Vec<String> = Vec::new();
    for source in sources() {
        if long(&source.text) {
            found.push(source.path);
        }
    }
    let new: Vec<&String> = found.iter().filter(|path| !TOO_LONG.contains(&path.as_str())).collect();
    assert!(
        new.is_empty(),
        "over {MOST_LINES} lines, and no line that begins `{REASON}` at the top: {new:?}"
    );
    let gone: Vec<&&str> = TOO_LONG.iter().filter(|path| !found.iter().any(|other| other == *path)).collect();
    assert!(gone.is_empty(), "short now, so they needn't be excused any more: {gone:?}");
}

/// Clippy finds functions of more than seven arguments, as long as nobody tells it not to.
#[test]
fn no_function_is_excused_for_its_many_arguments() {
    let word = ["too_many", "arguments"].join("_");
    let offences: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.text.contains(&word))
        .map(|source| source.path)
        .collect();
    assert!(offences.is_empty(), "give the arguments a type instead: {offences:?}");
    for manifest in ["Cargo.toml", "clippy.toml", ".clippy.toml"] {
        let text = std::fs::read_to_string(std::path::Path::new(ROOT).join(manifest)).unwrap_or_default();
        assert!(!text.contains(&word) && !text.contains("too-many-arguments"), "{manifest}");
    }
}
