//! Links and lists in the pages: each leads to something that is there, and each thing that is there is in its list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What lies in a folder, by name; nothing where there is no such folder.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every page, from the root.
fn pages() -> Vec<PathBuf> {
    let crates = names("crates").into_iter().map(|name| format!("crates/{name}"));
    let folders =
        ["", "docs", "examples", "bench", "tests/reference"].map(String::from).into_iter().chain(crates);
    let page = |folder: &str, name: String| name.ends_with(".md").then(|| Path::new(folder).join(name));
    folders
        .flat_map(|folder| names(&folder).into_iter().filter_map(move |name| page(&folder, name)))
        .collect()
}

/// The text outside of fences, with what stands between backquotes left out.
fn prose(markdown: &str) -> String {
    let mut text = String::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            line.split('`').step_by(2).for_each(|part| text.push_str(part));
            text.push('\n');
        }
    }
    text
}

/// Where the links and pictures of a page lead.
fn links(markdown: &str) -> Vec<String> {
    let text = prose(markdown);
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_string())).collect()
}

/// What a heading is called in a link, by GitHub's rule and mdBook's.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let outside = |line: &&str| {
        fenced ^= line.starts_with("```");
        !fenced
    };
    let headings = markdown.lines().filter(outside).filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// What is wrong with a link of a page, if anything is.
fn fault(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() { page.to_path_buf() } else { page.parent()?.join(path) };
    if !root().join(&target).exists() {
        return Some(format!("{}: {link} leads nowhere", page.display()));
    }
    let heading = heading.filter(|heading| !anchors(&read(&target)).contains(*heading))?;
    Some(format!("{}: {link}: no heading there is #{heading}", page.display()))
}

#[test]
fn every_link_between_pages_and_to_files_leads_somewhere() {
    let pages = pages();
    let mut faults = Vec::new();
    let mut count = 0;
    for page in &pages {
        let links = links(&read(page));
        count += links.len();
        faults.extend(links.iter().filter_map(|link| fault(page, link)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(pages.len() > 20 && count > 100, "only {} pages with {count} links were found", pages.len());
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Path::new("docs/architecture.md");
    let found = |link: &str| fault(page, link).is_some();
    assert!(
        !found("#errors") && !found("training.md#going-on") && !found("../README.md") && !found("../fuzz")
    );
    assert!(
        found("#error")
            && found("training.md#gone")
            && found("nowhere.md")
            && found("../crates/none/src/lib.rs")
    );
    assert_eq!(links("[a](b) `[c](d)` ![e](f#g)\n```rust\nx[0](1)\n```\n[h](i)"), ["b", "f#g", "i"]);
    assert_eq!(anchor(" Trace (`nn/step.rs`, `ir/graph.rs`)"), "trace-nnsteprs-irgraphrs");
    assert!(!anchors("```sh\n# no heading\n```\n## One").contains("no-heading"));
}

/// The book turns every link to a page into one to a page of the book.
#[test]
fn the_book_has_every_page_and_leads_to_no_page_outside_of_it() {
    let summary = "SUMMARY.md".to_string();
    let listed: BTreeSet<String> = links(&read("docs/SUMMARY.md")).into_iter().collect();
    let mut found = names("docs");
    found.retain(|name| name.ends_with(".md") && *name != summary);
    assert_eq!(listed, found, "left: docs/SUMMARY.md, right: docs/");
    for page in found {
        let outside = |link: &String| link.starts_with("../") && link.contains(".md");
        let outside: Vec<String> =
            links(&read(Path::new("docs").join(&page))).into_iter().filter(outside).collect();
        assert!(
            outside.is_empty(),
            "docs/{page}: {outside:?}: lead to the folder, or name the file without a link"
        );
    }
}

#[test]
fn the_glossary_is_in_order_and_says_where_each_thing_lives() {
    let glossary = read("docs/glossary.md");
    let mut words = Vec::new();
    for row in glossary.lines().filter(|line| line.starts_with("| **")) {
        let [_, word, meaning, place, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("a row of the glossary has a word, what it is and where it lives: {row}");
        };
        words.push(word.trim().trim_matches('*').to_lowercase());
        assert!(meaning.trim().len() > 20, "{word}: what is it?");
        assert_eq!(links(place).len(), 1, "{word}: in which file does it live?");
    }
    assert!(words.len() >= 30, "{} words", words.len());
    assert!(words.is_sorted_by(|a, b| a < b), "not in order: {words:?}");
}

#[test]
fn every_crate_has_a_page_that_its_package_shows_and_states_its_invariants() {
    for name in names("crates") {
        let manifest = read(format!("crates/{name}/Cargo.toml"));
        let page = read(format!("crates/{name}/README.md"));
        assert!(manifest.contains("\nreadme = \"README.md\"\n"), "crates/{name}/Cargo.toml: no readme");
        assert_eq!(page.lines().next(), Some(format!("# kiln-{name}").as_str()), "crates/{name}/README.md");
        assert!(page.lines().count() >= 5, "crates/{name}/README.md says little");
        let code = read(format!("crates/{name}/src/lib.rs"));
        let stated =
            code.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains("Invariants"));
        assert!(stated || name == "testkit", "crates/{name}/src/lib.rs: which invariants does it keep?");
    }
}

#[test]
fn every_example_is_in_the_list_of_examples() {
    let page = links(&read("examples/README.md"));
    let listed: BTreeSet<String> = page.into_iter().filter(|link| link.ends_with(".rs")).collect();
    let rooms = names("crates").into_iter().map(|name| format!("crates/{name}/examples/"));
    let below = rooms.flat_map(|room| names(&room).into_iter().map(move |name| format!("../{room}{name}")));
    let found: BTreeSet<String> =
        names("examples").into_iter().chain(below).filter(|name| name.ends_with(".rs")).collect();
    assert_eq!(listed, found, "left: examples/README.md, right: examples/ and crates/*/examples/");
}
