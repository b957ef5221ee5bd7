//! Rows of the test part by what a column says of them: words, and quarters of amounts.

use kiln_learn::data::{Column, ColumnKind, Encoding, Table, TablePreparation};

use crate::figures::short;

/// Rows that have something in common.
pub(super) struct SharedRows {
    /// What, in words: `age above 60`.
    pub name: String,
    /// The column, by its place among those that were looked at.
    pub column: usize,
    /// Whether each row is in it.
    pub rows: Vec<bool>,
    /// How many are.
    pub count: usize,
}

/// Groups of fewer rows say nothing.
pub(super) const LEAST: usize = 15;

/// More rows, columns and words than this aren't looked at.
pub(super) const ROWS: usize = 20_000;
const COLUMNS: usize = 60;
const WORDS: usize = 8;

/// Up to so many different amounts are told apart; more are in quarters.
const FEW: usize = 6;

/// The groups that the columns of a model make of these rows of a table.
pub(super) fn groups(table: &Table, rows: &[usize], plan: &TablePreparation) -> Vec<SharedRows> {
    let rows = &rows[..rows.len().min(ROWS)];
    let features =
        plan.features().iter().filter(|feature| !matches!(feature.encoding, Encoding::Text { .. }));
    let mut groups = Vec::new();
    for (at, feature) in features.take(COLUMNS).enumerate() {
        let Ok(column) = table.column(&feature.column) else { continue };
        let named = match column.kind() {
            ColumnKind::Number => amounts(column, rows),
            ColumnKind::Category | ColumnKind::Boolean => words(column, rows),
            ColumnKind::Date => Vec::new(),
        };
        let missing = rows.iter().map(|&row| column.cell(row).text().is_none()).collect();
        for (what, own) in named.into_iter().chain([("is missing".to_string(), missing)]) {
            let own: Vec<bool> = own;
            let count = own.iter().filter(|is_in| **is_in).count();
            if count >= LEAST && count + LEAST <= rows.len() {
                groups.push(SharedRows {
                    name: format!("{} {what}", feature.column),
                    column: at,
                    rows: own,
                    count,
                });
            }
        }
    }
    groups
}

type NamedGroups = Vec<(String, Vec<bool>)>;

fn amounts(column: &Column, rows: &[usize]) -> NamedGroups {
    let all: Vec<Option<f64>> = rows.iter().map(|&row| column.cell(row).number()).collect();
    let mut sorted: Vec<f64> = all.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let mut different = sorted.clone();
    different.dedup();
    if different.len() <= FEW {
        let one = |value: &f64| {
            (format!("= {}", short(*value)), all.iter().map(|own| *own == Some(*value)).collect())
        };
        return different.iter().map(one).collect();
    }
    let mut cuts: Vec<f64> =
        (1..4).filter_map(|quarter| sorted.get(sorted.len() * quarter / 4)).copied().collect();
    cuts.dedup();
    let mut groups = Vec::new();
    for at in 0..=cuts.len() {
        let (low, high) = (at.checked_sub(1).and_then(|at| cuts.get(at)), cuts.get(at));
        let name = match (low, high) {
            (None, Some(high)) => format!("below {}", short(*high)),
            (Some(low), Some(high)) => format!("from {} to below {}", short(*low), short(*high)),
            (Some(low), None) => format!("from {}", short(*low)),
            (None, None) => continue,
        };
        let is_in = |own: &Option<f64>| {
            own.is_some_and(|own| low.is_none_or(|low| own >= *low) && high.is_none_or(|high| own < *high))
        };
        groups.push((name, all.iter().map(is_in).collect()));
    }
    groups
}

fn words(column: &Column, rows: &[usize]) -> NamedGroups {
    let all: Vec<Option<String>> =
        rows.iter().map(|&row| column.cell(row).text().map(|text| text.into_owned())).collect();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    all.iter().flatten().for_each(|word| *counts.entry(word).or_default() += 1);
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let one = |(word, _): &(&str, usize)| {
        (format!("= {word}"), all.iter().map(|own| own.as_deref() == Some(*word)).collect())
    };
    counts.iter().take(WORDS).map(one).collect()
}
