//! What the sources themselves keep to.

mod circles;
mod counts;
mod functions;
mod lengths;
mod names;
mod wildcards;

use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A file of Rust, by its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The crate it belongs to; of the root's own files the package's name.
    fn krate(&self) -> &str {
        self.path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or("kiln")
    }

    /// Whether it is part of a library or a program, not of its tests.
    fn is_product(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or("");
        let in_src = self.path.starts_with("src/") || self.path.contains("/src/");
        in_src && name != "tests.rs" && !name.ends_with("_tests.rs") && !self.path.contains("/tests/")
    }

    /// Its text, without the tests at its end.
    fn product(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or("")
    }
}

/// Every file of the workspace's packages, those of their tests and examples among them.
fn sources() -> Vec<Source> {
    let root = Path::new(ROOT);
    let mut folders: Vec<PathBuf> = ["src", "tests", "examples"].map(|name| root.join(name)).to_vec();
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let package = entry.unwrap().path();
        folders.extend(["src", "tests", "examples", "benches"].map(|name| package.join(name)));
    }
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root).unwrap().display().to_string().replace('\\', "/"),
    };
    files.into_iter().map(read).collect()
}
