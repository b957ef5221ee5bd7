//! Targets whose logarithms are better learned than they are: found on the rows that are trained on, and said.

use anyhow::Result;
use kiln_learn::data::{Choices, Curve, Table, TablePreparation};
use kiln_learn::linear;

/// A preparation whose skewed targets, of which logarithms are clearly better by sums of bent lines on rows that are held out, are learned so.
pub(super) fn found(
    preparation: TablePreparation,
    table: &Table,
    rows: &[usize],
    choices: &Choices,
    seed: u64,
    said: &mut Vec<String>,
) -> Result<TablePreparation> {
    let Some(target) = preparation.target() else { return Ok(preparation) };
    let codes: Vec<usize> = preparation.vocabularies().iter().map(|(_, words)| words.size()).collect();
    let numbers: Vec<(usize, String)> = target
        .columns()
        .into_iter()
        .enumerate()
        .filter(|(_, name)| !target.class_columns().iter().any(|(classes, _)| classes == name))
        .map(|(place, name)| (place, name.to_string()))
        .collect();
    let mut units = target.units().into_iter();
    let (mut logs, mut train) = (choices.clone(), None);
    for (place, name) in numbers {
        let Some(unit) = units.next().filter(|unit| unit.curve == Curve::Straight) else { continue };
        let column = table.column(&name)?;
        let is_below = |&row: &usize| column.cell(row).number().is_none_or(|number| number < 0.0);
        if rows.iter().any(is_below) {
            continue;
        }
        let by_log = TablePreparation::fit(table, rows, &choices.clone().log_target(&name))?;
        let of_number = by_log.target().map(|target| target.units()).unwrap_or_default();
        let Some(log) = of_number.into_iter().find(|unit| unit.curve != Curve::Straight) else { continue };
        let train = match &mut train {
            Some(train) => train,
            none => none.insert(preparation.apply(table, rows)?),
        };
        let Some(skew) = linear::skew(train, &codes, (place, unit), log, seed)? else { continue };
        if skew.wants_log() {
            said.push(format!(
                "{name} is skewed, and a sum of bent lines for its logarithm is {:.0} % less off on rows that were held out: it is learned so \
                 (--target-scale as-is doesn't)",
                100.0 * (1.0 - skew.log.mae / skew.plain.mae)
            ));
            logs = logs.log_target(name);
        }
    }
    TablePreparation::fit(table, rows, &logs).map_err(Into::into)
}
