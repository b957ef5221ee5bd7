//! The walls between crates, read from the sources: who may have `unsafe`.

use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Crates that may have `unsafe`, and the one file of theirs it stands in (all of them where none is named).
const UNSAFE: [(&str, Option<&str>); 3] =
    [("crates/cpu", None), ("crates/device", Some("memory.rs")), ("crates/map", Some("memory_map.rs"))];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// The folders of all crates, from the root.
fn crates() -> Vec<String> {
    let folder = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap();
    let mut names: Vec<String> =
        folder.map(|entry| format!("crates/{}", entry.unwrap().file_name().into_string().unwrap())).collect();
    names.sort();
    names.push(".".to_string());
    names
}

/// The code of a line, without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

#[test]
fn unsafe_code_is_forbidden_but_for_devices_and_the_map() {
    for name in crates() {
        let folder = Path::new(ROOT).join(&name).join("src");
        let allowed = UNSAFE.iter().find(|(allowed, _)| *allowed == name).map(|(_, file)| *file);
        for root in ["lib.rs", "main.rs"].map(|root| folder.join(root)).iter().filter(|root| root.exists()) {
            let forbids = read(root).contains("#![forbid(unsafe_code)]");
            assert_eq!(forbids, allowed.is_none(), "{}", root.display());
        }
        let Some(file) = allowed else { continue };
        for path in sources(&folder) {
            let here = path.file_name().and_then(|name| name.to_str());
            if file.is_none() || here == file {
                continue;
            }
            let words = read(&path);
            let found = words.lines().position(|line| code(line).split(' ').any(|word| word == "unsafe"));
            assert_eq!(found, None, "{} has unsafe in a line", path.display());
        }
    }
}
