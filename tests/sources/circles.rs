//! No circles between files, but between a module and what is inside of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, sources};

/// Circles that are still there, by crate and members: each is to go, none is to join them.
const CIRCLES: &[(&str, &str)] =
    &[("nn", "device ↔ runtime ↔ tensor ↔ variable"), ("nn", "loss ↔ tensor/loss")];

/// A module by its path from the crate's root: `["table", "frame"]`, or nothing for the root.
type Module = Vec<String>;

#[test]
fn files_need_each_other_in_one_direction() {
    let mut crates: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for source in sources().into_iter().filter(Source::is_product) {
        crates.entry(source.krate().to_string()).or_default().push(source);
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, files) in &crates {
        let modules: BTreeMap<Module, &str> =
            files.iter().map(|file| (module(&file.path), file.product())).collect();
        found.extend(circles(&modules).into_iter().map(|circle| (name.clone(), circle)));
    }
    let excused = |(name, circle): &(String, String)| CIRCLES.contains(&(name.as_str(), circle.as_str()));
    let new: Vec<_> = found.iter().filter(|circle| !excused(circle)).collect();
    assert!(new.is_empty(), "these files need each other in a circle: {new:#?}");
    let gone: Vec<_> = CIRCLES
        .iter()
        .filter(|(name, circle)| !found.iter().any(|(other, found)| other == name && found == circle))
        .collect();
    assert!(gone.is_empty(), "no circles any more, so they needn't be excused: {gone:?}");
}

#[test]
fn circles_are_found_through_groups_names_and_paths() {
    let found = |files: &[(&str, &str)]| {
        let modules = files.iter().map(|(path, text)| (module(path), *text)).collect();
        circles(&modules)
    };
    assert_eq!(found(&[("src/a.rs", "use crate::b::{C, D};"), ("src/b.rs", "use super::a;")]), ["a ↔ b"]);
    assert_eq!(
        found(&[("src/a.rs", "fn f() { super::b::g() }"), ("src/b.rs", "use crate::{a::X};")]),
        ["a ↔ b"]
    );
    assert_eq!(
        found(&[("src/a/mod.rs", "use crate::b;"), ("src/a/c.rs", ""), ("src/b.rs", "use crate::a::c::X;")]),
        Vec::<String>::new()
    );
    assert_eq!(
        found(&[
            ("src/a/mod.rs", "mod c;\nuse c::X;"),
            ("src/a/c.rs", "use super::Y;"),
            ("src/lib.rs", "mod a;")
        ]),
        Vec::<String>::new(),
        "parent and child may"
    );
    assert_eq!(
        found(&[
            ("src/a.rs", "use crate::b::X; // crate::c"),
            ("src/b.rs", "use crate::c::X;"),
            ("src/c.rs", "impl crate::a::X for Y {}")
        ]),
        ["a ↔ b ↔ c"]
    );
}

/// The module that a file is.
fn module(path: &str) -> Module {
    let inside = path.rsplit_once("src/").map_or(path, |(_, inside)| inside);
    let mut parts: Module = inside.trim_end_matches(".rs").split('/').map(String::from).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// Groups of modules of which each needs each other, but for what is a module and something inside of it.
fn circles(modules: &BTreeMap<Module, &str>) -> Vec<String> {
    let within = |a: &Module, b: &Module| a.starts_with(b) || b.starts_with(a);
    let needs: BTreeMap<&Module, BTreeSet<&Module>> = modules
        .iter()
        .map(|(module, text)| {
            let mut needed: BTreeSet<&Module> =
                paths(text).iter().filter_map(|path| resolve(modules, module, path)).collect();
            needed.retain(|other| !within(module, other));
            (module, needed)
        })
        .collect();
    let reached = |from: &Module| {
        let (mut seen, mut ahead) = (BTreeSet::new(), Vec::from_iter(needs[from].iter().copied()));
        while let Some(next) = ahead.pop() {
            if seen.insert(next) {
                ahead.extend(&needs[next]);
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        modules.keys().map(|module| (module, reached(module))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, others) in &reached {
        if others.contains(module) {
            let both = others.iter().filter(|other| reached[**other].contains(module));
            groups.insert(both.map(|other| other.join("/")).collect());
        }
    }
    groups.into_iter().map(|group| group.join(" ↔ ")).collect()
}

/// The file that a path leads to, as far as it names modules.
fn resolve<'a>(modules: &'a BTreeMap<Module, &str>, from: &Module, path: &[String]) -> Option<&'a Module> {
    let (mut at, mut rest) = (from.clone(), path);
    match path.first()?.as_str() {
        "crate" => (at, rest) = (Vec::new(), &path[1..]),
        "super" | "self" => {
            while let Some(step) = rest.first().filter(|step| ["super", "self"].contains(&step.as_str())) {
                if step == "super" {
                    at.pop()?;
                }
                rest = &rest[1..];
            }
        }
        // A module inside of this one, or something of another crate.
        _ => {}
    }
    for step in rest {
        at.push(step.clone());
        if !modules.contains_key(&at) {
            at.pop();
            break;
        }
    }
    modules.get_key_value(&at).map(|(module, _)| module)
}

/// Every path that a text names: those of `use`, with their groups taken apart, and those within code.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let begins = rest[..at].chars().next_back().is_none_or(|sign| !sign.is_alphanumeric() && sign != '_');
        rest = &rest[at + 4..];
        if let Some(end) = rest.find(';').filter(|_| begins) {
            tree(&[], &rest[..end], &mut found);
        }
    }
    let word = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == ':';
    for path in code.split(|sign| !word(sign)) {
        let parts: Vec<String> = path.split("::").map(String::from).collect();
        if ["crate", "super", "self"].contains(&parts[0].as_str()) && parts.len() > 1 {
            found.push(parts);
        }
    }
    found
}

/// Takes `a::{b, c::{d, e}}` apart.
fn tree(before: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    let text = text.trim();
    let steps = |text: &str| -> Vec<String> {
        let steps = text.split("::").map(str::trim).filter(|step| !step.is_empty());
        let named = steps.map(|step| step.split(" as ").next().unwrap_or(step).to_string());
        before.iter().cloned().chain(named).collect()
    };
    let Some(open) = text.find('{') else {
        found.push(steps(text));
        return;
    };
    let before = steps(&text[..open]);
    let inner = text[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in inner.char_indices().chain([(inner.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth <= 0 || at == inner.len() => {
                if !inner[start..at].trim().is_empty() {
                    tree(&before, &inner[start..at], found);
                }
                start = (at + 1).min(inner.len());
            }
            _ => {}
        }
    }
}
