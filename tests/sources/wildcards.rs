//! What takes an operation names it.

use super::{Source, sources};

/// The crates that know operations.
const CRATES: [&str; 7] = ["ir", "compile", "device", "cpu", "reference", "nn", "onnx"];

/// The closed sets: an operation, what follows from it, and what it becomes in a program.
const CLOSED: [&str; 17] = [
    "Op",
    "UnaryOp",
    "BinaryOp",
    "ReduceOp",
    "ArgOp",
    "ScatterMode",
    "OpKind",
    "Leaf",
    "Generator",
    "Pointwise",
    "Movement",
    "Contraction",
    "Opaque",
    "ConvKind",
    "WindowKind",
    "Work",
    "Operation",
];

/// Were there a `_ =>` among the arms on an operation, a new one would silently be treated like something else there.
#[test]
fn the_compiler_finds_every_place_that_a_new_operation_needs() {
    let mut offences = Vec::new();
    let knows = |source: &Source| CRATES.contains(&source.krate()) && source.path.contains("/src/");
    for Source { path, text } in sources().into_iter().filter(knows) {
        offences.extend(wildcards(&text).into_iter().map(|line| format!("{path}:{line}")));
    }
    assert!(
        offences.is_empty(),
        "these arms take any operation that isn't named beside them; name them all, or ask with \
         `if let`, `let … else` or `matches!`:\n{}",
        offences.join("\n")
    );
}

#[test]
fn wildcards_are_found_wherever_they_stand() {
    let found = |arms: &str| {
        let arms: String = arms.lines().map(|arm| format!("    {arm}\n")).collect();
        wildcards(&format!("fn f() {{\nlet y = match x {{\n{arms}}};\n}}\n")).len()
    };
    assert_eq!(found("Op::Matmul => 1,\nOp::Reshape | Op::Expand => {\n    0\n}"), 0);
    assert_eq!(found("Op::Matmul => 1,\n_ => 0,"), 1);
    assert_eq!(found("_ if early => 1,\nOp::Matmul => 1,"), 1);
    assert_eq!(found("Op::Matmul => {\n    1\n}\nother => 0,"), 1);
    assert_eq!(found("Op::Conv(_)\n| Op::Matmul\n    if x =>\n{\n    1\n}\n_ => 0,"), 1);
    assert_eq!(found("(Op::Matmul, 0) => 1,\n(Op::Matmul, _) => 0,"), 0);
    assert_eq!(found("(None, Op::Matmul) => 1,\n(None, _) => 0,"), 1);
    assert_eq!(found("(Op::Matmul, 0) => 1,\n_ => 0,"), 1);
    assert_eq!(found("Some(1) => Op::Matmul,\n_ => Op::Reshape,"), 0);
    assert_eq!(found("1 => match y {\n    Op::Matmul => 0,\n    Op::Reshape => 1,\n},\n_ => 0,"), 0);
}

/// The lines of arms that take any value of a closed set whose values other arms of the same `match` name. Goes by the
/// layout that rustfmt gives.
fn wildcards(text: &str) -> Vec<usize> {
    let lines: Vec<(usize, usize, &str)> = (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.len() - line.trim_start().len(), line.trim()))
        .filter(|(.., line)| !line.is_empty() && !line.starts_with("//") && !line.starts_with('#'))
        .collect();
    let mut found = Vec::new();
    for (position, &(_, indent, line)) in lines.iter().enumerate() {
        // What is matched on may take several lines, of which the first says `match`.
        let opens = |line: &str| line.match_indices("match ").any(|(at, _)| !line[..at].ends_with(is_word));
        let first = match line.starts_with([')', '}', ']']) {
            true => lines[..position].iter().rev().find(|(_, other, _)| *other == indent),
            false => lines.get(position),
        };
        if line.ends_with('{') && (opens(line) || first.is_some_and(|(.., line)| opens(line))) {
            let body = lines[position + 1..].iter().take_while(|(_, other, _)| *other > indent);
            found.extend(wildcard_arms(&body.copied().collect::<Vec<_>>()));
        }
    }
    found.dedup();
    found
}

fn wildcard_arms(lines: &[(usize, usize, &str)]) -> Vec<usize> {
    let Some(&(_, indent, _)) = lines.first() else { return Vec::new() };
    // The patterns of each arm, column by column where they are tuples.
    let mut arms: Vec<(usize, Vec<Vec<String>>)> = Vec::new();
    let (mut pattern, mut within) = (String::new(), false);
    for &(number, depth, line) in lines {
        let body = within && (depth > indent || line.starts_with(['}', ')', ']', '{']));
        if body || (pattern.is_empty() && depth > indent) {
            continue;
        }
        pattern = format!("{pattern} {line}");
        within = false;
        if let Some((before, _)) = pattern.split_once("=>") {
            let before = before.split(" if ").next().unwrap_or(before);
            arms.push((number, split(before, '|').iter().map(|one| columns(one)).collect()));
            (pattern, within) = (String::new(), true);
        }
    }
    let width = arms.iter().flat_map(|(_, patterns)| patterns).map(Vec::len).max().unwrap_or(0);
    let closed = |column: usize| {
        let mut all = arms.iter().flat_map(|(_, patterns)| patterns);
        all.any(|pattern| pattern.get(column).is_some_and(|one| names_closed(one)))
    };
    let closed: Vec<bool> = (0..width).map(closed).collect();
    let takes_any = |pattern: &Vec<String>| match &pattern[..] {
        [one] => is_wildcard(one) && closed.contains(&true),
        several => several.iter().zip(&closed).any(|(one, &closed)| {
            let others = several.iter().filter(|other| !is_wildcard(other) && names_closed(other));
            closed && is_wildcard(one) && others.count() == 0
        }),
    };
    arms.iter().filter(|(_, patterns)| patterns.iter().any(takes_any)).map(|(number, _)| *number).collect()
}

/// The parts of a tuple, or the one pattern there is.
fn columns(pattern: &str) -> Vec<String> {
    let pattern = pattern.trim();
    match pattern.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => split(inner, ','),
        None => vec![pattern.to_string()],
    }
}

/// Cut at a sign that stands outside of all brackets.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for sign in text.chars() {
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ if sign == at && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(sign);
        }
    }
    parts.into_iter().map(|part| part.trim().to_string()).filter(|part| !part.is_empty()).collect()
}

fn is_wildcard(pattern: &str) -> bool {
    let plain = pattern.chars().all(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_');
    plain
        && pattern.starts_with(|sign: char| sign.is_ascii_lowercase() || sign == '_')
        && !["true", "false"].contains(&pattern)
}

fn names_closed(pattern: &str) -> bool {
    let words = pattern.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_' && sign != ':');
    words.filter_map(|word| word.split_once("::")).any(|(name, _)| CLOSED.contains(&name))
}

fn is_word(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}
