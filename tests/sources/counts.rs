//! Counts are said with `counted`, so that there is never "1 rows".

use super::{Source, sources};

/// What is counted in messages of the command and of what it is made of.
const THINGS: [&str; 22] = [
    "rows",
    "columns",
    "classes",
    "epochs",
    "numbers",
    "parameters",
    "tensors",
    "pieces",
    "images",
    "pictures",
    "threads",
    "steps",
    "runs",
    "inputs",
    "outputs",
    "words",
    "texts",
    "lines",
    "characters",
    "kinds",
    "folds",
    "batches",
];

/// Where a number in braces stands before a plural and is never 1, or is the second of two.
const NEVER_ONE: [&str; 24] = [
    "makes {whose} rows of",
    "the {name} part are of {rows} of",
    "The worst {MOST} of {count} classes",
    "the worst {WORST} of {count} classes",
    "{count} folds:",
    "{rows} rows are {",
    "{} numbers aren't whole",
    "{steps} steps are too few",
    "{} pieces of text are too few",
    "{most} pieces are too few",
    "{} of its {} numbers",
    "the {count} numbers ({sizes:?})",
    "{own} of the {width} inputs are",
    "{} numbers of type {}",
    "it has {count} numbers ({sizes:?})",
    "for the {count} images of",
    "{} of its {count} numbers",
    "with {channels} numbers up to",
    "{count} classes count from 0",
    "rows of {columns} {kind:?}",
    "{} of {window} pieces",
    "the {numbers} numbers that",
    "{:?} numbers",
    "{room} numbers",
];

#[test]
fn a_count_in_a_message_knows_that_one_is_no_plural() {
    let mut offences = Vec::new();
    let talks =
        |source: &Source| source.is_product() && ["command", "learn", "data"].contains(&source.krate());
    for source in sources().into_iter().filter(talks) {
        for (number, line) in source.product().lines().enumerate() {
            if plural_of_any(line) && !NEVER_ONE.iter().any(|known| line.contains(known)) {
                offences.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "a number that may be 1 stands before a plural here; kiln_map::counted(count, \"row\") says it right:\n{}",
        offences.join("\n")
    );
}

/// Whether a line of code has a number in braces before a plural.
fn plural_of_any(line: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") || code.starts_with("assert") {
        return false;
    }
    code.match_indices("} ").any(|(at, _)| {
        let behind = &code[at + 2..];
        let word: String = behind.chars().take_while(|letter| letter.is_alphabetic()).collect();
        let is_rate = behind[word.len()..].starts_with('/');
        // What stands in braces is a name or nothing; code has other things there.
        let inside = code[..at].rsplit('{').next().unwrap_or("");
        let is_place = !inside.contains([' ', '"', '}']);
        is_place && !is_rate && THINGS.contains(&word.as_str())
    })
}

#[test]
fn plurals_behind_numbers_are_found() {
    assert!(plural_of_any("format!(\"{} rows, {} columns\", rows, columns)"));
    assert!(plural_of_any("said.push(format!(\"{missing} rows are left out\"));"));
    assert!(!plural_of_any("format!(\"{} left out\", counted(missing, \"row\"))"));
    assert!(!plural_of_any("write!(f, \"{speed} rows/s\")"));
    assert!(!plural_of_any("// {} rows"));
    assert!(!plural_of_any("Some(x) => { rows }"));
}
