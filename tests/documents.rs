//! The documents say what is so: the tree in the README is the tree on disk, the graph and the program printed in
//! `docs/architecture.md` are what the example there gives today, the layers in `docs/training.md` those there are, every link leads somewhere, and nothing is left out of the lists.
//! `UPDATE_DOCS=1 cargo test --test documents` writes the printed parts anew.

mod kit;
mod pages;

use std::collections::BTreeSet;
use std::path::Path;

use kiln::prelude::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_printed_step_in_the_architecture_is_what_it_is_today() {
    // One step of a layer of three inputs and two outputs, as the document has it.
    let layer = Dense::new(3, 2, Key::new(1));
    let mut step =
        Step::train(&layer, Sgd::new(0.1), |layer, cx, [x, y]| layer.forward(&x, cx).relu().mse(&y));
    let (x, y) = ([0f32; 12], [0f32; 8]);
    let inputs = || [Input::new(&x, &[4, 3]), Input::new(&y, &[4, 2])];
    let graph = step.function().graph(inputs()).unwrap();
    let simplified = kiln::ir::simplify::simplify(&graph);
    let program = step.function().program(inputs()).unwrap();

    let parts = [
        ("graph", graph.to_string()),
        ("simplified", simplified.to_string()),
        ("program", program.to_string()),
        ("memory", program.memory_listing()),
    ];
    printed("docs/architecture.md", parts.map(|(name, text)| (name, kit::without_lines(&text))));
}

#[test]
fn the_layers_in_the_guide_are_those_of_the_table() {
    printed("docs/training.md", [("layers", kiln::sequential::listing())]);
}

/// Holds what a document has printed beside what it would be today.
fn printed<const N: usize>(document: &str, parts: [(&str, String); N]) {
    let path = Path::new(ROOT).join(document);
    let written = std::fs::read_to_string(&path).unwrap();
    let fresh = parts.iter().fold(written.clone(), |text, (name, part)| with_block(&text, name, part));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    } else {
        assert_eq!(
            written, fresh,
            "run `UPDATE_DOCS=1 cargo test --test documents` and look at the difference"
        );
    }
}

/// The document with what stands between the fences after `<!-- name -->` replaced.
fn with_block(document: &str, name: &str, text: &str) -> String {
    let start = format!("<!-- {name} -->\n```text\n");
    let (before, rest) = document.split_once(&start).unwrap_or_else(|| panic!("no block {name}"));
    let (_, after) = rest.split_once("```\n").unwrap();
    format!("{before}{start}{text}```\n{after}")
}

#[test]
fn the_tree_in_the_readme_is_the_tree_on_disk() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("## The house").unwrap();
    let tree = rest.split("```").nth(1).unwrap();
    let mut named = BTreeSet::new();
    for line in tree.lines().skip(1) {
        let Some(name) = line.split_whitespace().next().and_then(|name| name.strip_suffix('/')) else {
            continue;
        };
        named.insert(if line.starts_with(' ') { format!("crates/{name}") } else { name.to_string() });
    }
    let mut found = BTreeSet::new();
    for (folder, prefix) in [(Path::new(ROOT).to_path_buf(), ""), (Path::new(ROOT).join("crates"), "crates/")]
    {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let hidden =
                name.starts_with('.') || name.starts_with("target") || name == "shared" || name == "book";
            if entry.file_type().unwrap().is_dir() && !hidden {
                found.insert(format!("{prefix}{name}"));
            }
        }
    }
    assert_eq!(named, found, "left: the README's, right: the disk's");
}

#[test]
fn crates_depend_only_along_the_arrows() {
    // What the architecture draws; tests may use the testkit as well.
    let arrows = [
        ("crates/ir", &[][..]),
        ("crates/compile", &["kiln-ir"]),
        ("crates/device", &["kiln-compile", "kiln-ir"]),
        ("crates/cpu", &["kiln-compile", "kiln-device", "kiln-ir"]),
        ("crates/reference", &["kiln-compile", "kiln-device", "kiln-ir"]),
        ("crates/nn", &["kiln-compile", "kiln-cpu", "kiln-device", "kiln-ir", "kiln-map"]),
        ("crates/files", &[]),
        ("crates/map", &[]),
        ("crates/data", &["kiln-files", "kiln-map"]),
        ("crates/onnx", &["kiln-files", "kiln-ir", "kiln-map", "kiln-nn"]),
        (
            "crates/learn",
            &["kiln-data", "kiln-files", "kiln-ir", "kiln-map", "kiln-nn", "kiln-onnx", "kiln-reference"],
        ),
        ("crates/serve", &["kiln-learn", "kiln-map"]),
        ("crates/command", &["kiln-files", "kiln-learn", "kiln-map", "kiln-serve"]),
        ("crates/testkit", &["kiln-ir"]),
        (".", &["kiln-command", "kiln-learn"]),
    ];
    let folders = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap();
    assert_eq!(folders.count() + 1, arrows.len(), "each crate has its arrows");
    for (folder, allowed) in arrows {
        let text = std::fs::read_to_string(Path::new(ROOT).join(folder).join("Cargo.toml")).unwrap();
        let (_, rest) = text.rsplit_once("\n[dependencies]\n").unwrap_or(("", ""));
        let section = rest.split("\n[").next().unwrap_or("");
        let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or("").to_string();
        let used: Vec<String> = section.lines().map(name).filter(|name| name.starts_with("kiln-")).collect();
        for used in used {
            assert!(allowed.contains(&used.as_str()), "{folder} must not depend on {used}");
        }
    }
}
