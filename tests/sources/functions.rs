//! No crate takes a function whose last bits are the system's: clippy knows them (`clippy.toml`), and each crate has it warn.

use super::sources;

#[test]
fn every_crate_has_clippy_refuse_the_functions_of_the_system() {
    const WARNS: &str = "#![cfg_attr(not(test), warn(clippy::disallowed_methods))]";
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("crates/") && source.path.ends_with("/src/lib.rs"))
        .filter(|source| source.krate() != "testkit" && !source.text.contains(WARNS))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "lacks `{WARNS}`: {}", silent.join(", "));
}
