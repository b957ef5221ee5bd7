//! Every awkward file becomes what it must, is read again as it was, and what is told wins over what is found.

use kiln_testkit::awkward::{Awkward, files};

use super::*;

/// The columns as the list of files says them.
fn columns(table: &Table) -> String {
    let column = |column: &Column| {
        let missing = (0..table.len()).filter(|&row| column.cell(row) == Cell::Missing).count();
        let missing = if missing > 0 { format!(" {missing}") } else { String::new() };
        format!("{} {}{missing}", column.name(), column.kind())
    };
    table.columns().iter().map(column).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_awkward_file_becomes_what_it_must_and_says_so() {
    let mut wrong = Vec::new();
    for Awkward { name, bytes, columns: wanted, rows, said } in files() {
        let table = match Table::read(&bytes) {
            Ok(table) => table,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let notes = table.notes().join("\n");
        if columns(&table) != wanted || table.len() != rows {
            wrong.push(format!(
                "{name}: {} rows, {}; not {rows}, {wanted}\n{notes}",
                table.len(),
                columns(&table)
            ));
        }
        if said.iter().any(|said| !notes.contains(said)) || (said.is_empty() && !notes.is_empty()) {
            wrong.push(format!("{name} says {notes:?}, not {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All values, as text.
fn values(table: &Table) -> Vec<Vec<Option<String>>> {
    let cells = |column: &Column| {
        (0..table.len()).map(|row| column.cell(row).text().map(|text| text.into_owned())).collect()
    };
    table.columns().iter().map(cells).collect()
}

/// The inputs of a file's rows, each held against what is written of it: that is read as the row again.
fn streamed(bytes: &[u8], plan: &TablePreparation, name: &str) -> Vec<f32> {
    let TableText::Rows(mut rows) = RowStream::of(bytes, &plan.reading()).unwrap() else {
        assert!(bytes.starts_with(b"[") || bytes.starts_with(b"{"), "{name}");
        return plan.apply_inputs(&plan.reading().read(bytes).unwrap()).unwrap().values;
    };
    let encoder = RowEncoder::new(&rows, plan).unwrap();
    let mut written =
        rows.names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",").into_bytes();
    let mut inputs = Vec::new();
    while let Some(block) = rows.next_block().unwrap() {
        let encoded = encoder.encode(&block).unwrap_or_else(|error| panic!("{name}: {error}"));
        inputs.extend_from_slice(&encoded.inputs);
        for row in 0..encoded.rows {
            written.push(b'\n');
            written.extend_from_slice(encoded.written(row));
        }
    }
    // In the plain way, and with commas.
    let kinds = plan.features().iter().map(|feature| (feature.column.clone(), feature.kind));
    let reading = kinds
        .fold(Reading::new().delimiter(b',').header(true), |reading, (name, kind)| reading.kind(name, kind));
    let missing = plan.features().iter().flat_map(|feature| feature.format.missing.clone());
    let reading = missing.fold(reading, |reading, word| reading.missing(word));
    let again = reading.read(&written).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(plan.apply_inputs(&again).unwrap().values, inputs, "{name} as it was written");
    inputs
}

#[test]
fn a_preparation_reads_awkward_files_again_as_they_were_row_by_row_and_from_its_text() {
    for Awkward { name, bytes, rows: count, .. } in files() {
        let table = Table::read(&bytes).unwrap();
        let rows: Vec<usize> = (0..count).collect();
        // Columns that say nothing are no concern of this test.
        let Ok(plan) = TablePreparation::fit(&table, &rows, &Choices::new()) else { continue };
        let stored = TablePreparation::from_json(&plan.to_json().unwrap()).unwrap();
        assert_eq!(stored, plan, "{name}");
        let again = stored.reading().read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let wanted = plan.apply_inputs(&table).unwrap();
        assert_eq!(plan.apply_inputs(&again).unwrap().values, wanted.values, "{name}");
        assert_eq!(streamed(&bytes[..], &stored, name), wanted.values, "{name} in a stream");
        // The first row alone, without the others to tell how it is written.
        if ["carriage.csv", "quotes.csv", "list.json", "sep.csv", "sep-odd.csv"].contains(&name)
            || !bytes.is_ascii()
        {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        let has_header = table.line(0) == Some(2);
        let first: String =
            text.lines().take(1 + usize::from(has_header)).flat_map(|line| [line, "\n"]).collect();
        let one = stored.reading().read(first.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let width = wanted.width;
        assert_eq!(plan.apply_inputs(&one).unwrap().values, wanted.values[..width], "{name}");
    }
}

#[test]
fn a_frame_of_an_awkward_file_holds_what_its_table_does() {
    let folder = std::env::temp_dir().join(format!("kiln-awkward-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["commas-late.csv", "missing-late.csv", "points-beside-commas.csv"] {
        let bytes = files().into_iter().find(|file| file.name == name).unwrap().bytes;
        let path = folder.join(name);
        std::fs::write(&path, &bytes).unwrap();
        let table = Table::read(&bytes).unwrap();
        let rows: Vec<usize> = (0..table.len()).collect();
        let choices = Choices::new().target("b").treat("a", Treatment::AsIs);
        let choices = choices.treat("a", Treatment::AsIs);
        let wanted = TablePreparation::fit(&table, &rows, &choices);
        let made = Framing::new(choices).kind(crate::ValueKind::F32).temporary(&path);
        match (wanted, made) {
            (Ok(plan), Ok(frame)) => {
                let wanted = plan.apply(&table, &rows).unwrap();
                assert_eq!(frame.preparation().unwrap().reading(), plan.reading(), "{name}");
                let all = crate::Dataset::gather(&frame, &rows).unwrap();
                assert_eq!(
                    all.x.as_f32(),
                    crate::Dataset::gather(&wanted, &rows).unwrap().x.as_f32(),
                    "{name}"
                );
            }
            (Err(one), Err(other)) => assert_eq!(one.message, other.message, "{name}"),
            (one, other) => panic!("{name}: {:?} and {:?}", one.err(), other.err()),
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_told_of_a_file_wins() {
    let read = |reading: Reading, text: &str| {
        let table = reading.read(text.as_bytes()).unwrap();
        values(&table)
            .into_iter()
            .map(|column| column.into_iter().map(Option::unwrap_or_default).collect())
            .collect::<Vec<Vec<String>>>()
    };
    let quoted = "a,b\n\"1,234\",x\n\"5,678\",y\n";
    assert_eq!(read(Reading::new(), quoted)[0], ["1234", "5678"]);
    assert_eq!(read(Reading::new().decimal(','), quoted)[0], ["1.234", "5.678"]);
    let plain = "a;b\n1.234;5\n5.678;6\n";
    assert_eq!(read(Reading::new(), plain)[0], ["1.234", "5.678"]);
    assert_eq!(read(Reading::new().decimal(','), plain)[0], ["1234", "5678"]);
    assert_eq!(read(Reading::new().thousands('.'), plain)[0], ["1234", "5678"]);
    let dates = "d,n\n03/04/2024,1\n05/06/2024,2\n";
    assert_eq!(read(Reading::new(), dates)[0], ["2024-03-04", "2024-05-06"]);
    assert_eq!(read(Reading::new().dates(DateFormat::DayFirst), dates)[0], ["2024-04-03", "2024-06-05"]);
    let words = "a,b\n1,x\nbad,bad\n3,y\n";
    assert_eq!(read(Reading::new().missing("bad"), words), [["1", "", "3"], ["x", "", "y"]]);
    assert_eq!(read(Reading::new().header(false), "x,y\nz,w\n")[0], ["x", "z"]);
}

#[test]
fn what_counts_the_rows_is_left_out_and_said_and_codes_are_words() {
    let mut text = ",id,store_id,x,y\n".to_string();
    for row in 0..200 {
        text += &format!("{row},{},{},{},{}\n", row + 1, 100 + row % 9, row * 7 % 31, row % 2);
    }
    let table = Table::read(text.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..200).filter(|row| row % 5 != 0).collect();
    let fit = |choices: Choices| TablePreparation::fit(&table, &rows, &choices.target("y")).unwrap();
    let plan = fit(Choices::new());
    let columns: Vec<String> = plan.groups().into_iter().map(|(name, _)| name).collect();
    assert_eq!(columns, ["store_id", "x"], "{:?}", plan.notes());
    assert_eq!(plan.width(), 10);
    let notes = plan.notes().join("\n");
    for said in
        ["column index has no name", "column id counts the rows", "column store_id is named as codes are"]
    {
        assert!(notes.contains(said), "{notes}");
    }
    let kept = fit(Choices::new().treat("id", Treatment::AsIs).treat("store_id", Treatment::Standardise));
    assert_eq!(kept.feature_names(), ["id", "store_id", "x"]);
    // Where it is all there is, it is learned from.
    let alone: String = (0..40).fold("x,y\n".to_string(), |text, row| format!("{text}{row},{}\n", row * row));
    let table = Table::read(alone.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..40).collect();
    assert_eq!(
        TablePreparation::fit(&table, &rows, &Choices::new().target("y")).unwrap().feature_names(),
        ["x"]
    );
}
