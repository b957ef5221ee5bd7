//! Tables: CSV and its kin, lines of JSON. Read again with quotes around every cell, which other code cuts, a table is the same.
#![no_main]

use kiln_data::{Choices, Column, ColumnKind, Reading, Table, TablePreparation};
use kiln_fuzz::{fuzz_target, seeds};

const SEEDS: [&str; 5] = [
    "a,b,c,y\n1,x,2024-01-31,0\n2.5,\"y, z\",,1\n-3,x,2024-02-01T08:30,0\n",
    "a;b\r\n1;2\r\n\r\n3;4\r\n",
    "{\"a\": 1, \"b\": \"x\", \"y\": true}\n{\"a\": null, \"y\": false, \"c\": \"2024-01-31\"}\n",
    "a\ty\n1e5\tno\n\tyes\n?\tno\n",
    "1|2\n3|NaN\n\"4\"\"\"|true\n",
];

/// The same, from a file with quotes around every cell.
fn quoted_again(table: &Table) {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let mut quoted = line(table.names().map(quote).collect());
    let mut again = Reading::new().delimiter(b',').header(true);
    for column in table.columns() {
        // Truths that are told are true and false; found, they are in the words of the file.
        let kind = Some(column.kind()).filter(|kind| *kind != ColumnKind::Boolean);
        again = again.kind(column.name(), kind.unwrap_or(ColumnKind::Category));
    }
    for row in 0..table.len() {
        let cell = |column: &Column| quote(&column.cell(row).text().unwrap_or_default());
        quoted += &line(table.columns().iter().map(cell).collect());
    }
    let other = again.read(quoted.as_bytes()).unwrap();
    assert_eq!(table.len(), other.len());
    for (column, other) in table.columns().iter().zip(other.columns()) {
        for row in 0..table.len() {
            assert_eq!(column.cell(row).text(), other.cell(row).text(), "row {row} of {}", column.name());
        }
    }
}

fuzz_target!(init: seeds(SEEDS), |bytes: &[u8]| {
    let Ok(table) = Table::read(bytes) else { return };
    table.head(3);
    // JSON has words with spaces around them, which cells don't have.
    if !bytes.contains(&b'{') {
        quoted_again(&table);
    }
    let rows: Vec<usize> = (0..table.len()).collect();
    let target = table.names().last().unwrap_or_default().to_string();
    if let Ok(plan) = TablePreparation::fit(&table, &rows, &Choices::new().target(target)) {
        let set = plan.apply(&table, &rows).unwrap();
        assert!(set.inputs().as_f32().unwrap().iter().all(|x| x.is_finite()));
        assert_eq!(TablePreparation::from_json(&plan.to_json().unwrap()).unwrap(), plan);
    }
});
