//! Counts with what is counted, as people write them.

/// A count with what is counted: `1 column`, `2 columns`.
///
/// ```
/// use kiln_map::counted;
///
/// let said = [(1, "column"), (0, "row"), (2, "class"), (1, "class"), (2, "index"), (3, "frequency"),
///     (2, "epoch"), (2, "batch")];
/// let said = said.map(|(count, what)| counted(count, what));
/// assert_eq!(said, ["1 column", "0 rows", "2 classes", "1 class", "2 indexes", "3 frequencies", "2 epochs", "2 batches"]);
/// ```
pub fn counted(count: usize, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        // A vowel before it leaves it as it is: days.
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        // An epoch's end is said as a k.
        _ if what.ends_with(['s', 'x']) || (what.ends_with("ch") && !what.ends_with("epoch")) => {
            format!("{count} {what}es")
        }
        _ => format!("{count} {what}s"),
    }
}
