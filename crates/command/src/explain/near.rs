//! The rows of the training that are nearest to one, where the model's file keeps some.

use anyhow::{Context as _, Result};
use kiln_learn::data::{RawCell, Table};
use kiln_learn::explain::{KeptRows, NearRow};
use kiln_learn::model::About;
use serde_json::{Map, Value, json};

use super::change::{GivenCell, texts};
use crate::out::counted;

/// The kept rows nearest to a row of a table.
pub(super) fn of_row(about: &About, table: &Table, row: usize, count: usize) -> Result<Vec<NearRow>> {
    let kept = kept(about)?;
    let plan = about.preparation.table().context("rows of tables are kept")?;
    let given = texts(table, kept.columns(), row)?;
    let cells: Vec<RawCell> = given.iter().map(GivenCell::raw).collect();
    let named: Vec<(&str, RawCell)> = kept.columns().iter().map(String::as_str).zip(cells).collect();
    Ok(kept.nearest(plan, &named, count)?)
}

fn kept(about: &About) -> Result<&KeptRows> {
    about.kept_rows.as_ref().context(
        "the model's file keeps no rows of its training; train it with --keep-neighbours N, and whoever has the file can read them",
    )
}

/// As lines: how far, what was right, and the cells of the columns that count.
pub(super) fn lines(about: &About, near: &[NearRow], shown: &[&str]) -> Result<String> {
    let kept = kept(about)?;
    let mut text = format!("  nearest of {} that the training kept:\n", counted(kept.len(), "row"));
    for row in near {
        let cell = |name: &&str| {
            let at = kept.columns().iter().position(|column| column == name)?;
            Some(format!("{name} {}", if row.cells[at].is_empty() { "(missing)" } else { &row.cells[at] }))
        };
        let cells: Vec<String> = shown.iter().filter_map(cell).collect();
        text +=
            &format!("    {:<8} {:.3} away  {}\n", row.answers.join(", "), row.distance, cells.join(", "));
    }
    Ok(text)
}

/// As objects.
pub(super) fn json(about: &About, near: &[NearRow]) -> Result<Value> {
    let kept = kept(about)?;
    let one = |row: &NearRow| {
        let cells: Map<String, Value> = kept
            .columns()
            .iter()
            .zip(&row.cells)
            .map(|(name, cell)| (name.clone(), cell.as_str().into()))
            .collect();
        json!({ "distance": row.distance, "answers": row.answers, "values": cells })
    };
    Ok(near.iter().map(one).collect::<Vec<_>>().into())
}
