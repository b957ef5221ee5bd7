//! One table in every kind of file, written by the programs that people use (`tests/data/tables/make.py`): each must come to what the
//! plain one comes to, and its damaged and packed ones to a table or an error.

use std::path::{Path, PathBuf};

use kiln::data::{Cell, ColumnKind, Framing, Reading, Table, TextEncoding};
use kiln::data::{Choices, Dataset, TablePreparation};
use kiln_testkit::Folder;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables")
}

/// All files but the script, by name.
fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end != "py")).collect();
    files.sort();
    files
}

fn plain() -> Table {
    Table::open(folder().join("plain.csv")).unwrap()
}

/// A value, alike however a file writes truths and midnights.
fn value(table: &Table, column: &str, row: usize) -> String {
    match table.column(column).unwrap().cell(row) {
        Cell::Date { seconds, .. } => format!("at {seconds}"),
        cell => cell.text().unwrap_or_default().to_lowercase(),
    }
}

#[test]
fn every_kind_of_file_comes_to_the_same_table() {
    let plain = plain();
    let files = files();
    assert!(files.len() >= 24, "{files:?}");
    for file in files {
        let table = Table::open(&file).unwrap_or_else(|error| panic!("{error}"));
        let shown = file.display();
        assert_eq!(table.names().collect::<Vec<_>>(), plain.names().collect::<Vec<_>>(), "{shown}");
        assert_eq!(table.len(), plain.len(), "{shown}");
        for column in plain.columns() {
            let (name, kind) = (column.name(), table.column(column.name()).unwrap().kind());
            assert_eq!(kind, column.kind(), "{shown}: {name}");
            for row in 0..plain.len() {
                assert_eq!(
                    value(&table, name, row),
                    value(&plain, name, row),
                    "{shown}: {name} in row {row}"
                );
            }
        }
        // From memory as from a file, and row by row without holding it.
        let bytes = std::fs::read(&file).unwrap();
        let again = Table::read(&bytes).unwrap();
        assert!(format!("{:?}", again.columns()) == format!("{:?}", table.columns()), "{shown}");
    }
}

#[test]
fn a_preparation_and_a_frame_of_every_kind_are_those_of_the_plain_one() {
    let plain = plain();
    let rows: Vec<usize> = (0..plain.len()).collect();
    let plan = TablePreparation::fit(&plain, &rows, &Choices::new().target("level")).unwrap();
    let wanted = plan.apply(&plain, &rows).unwrap().inputs().as_f32().unwrap().to_vec();
    for file in files() {
        let table = plan.reading().open(&file).unwrap_or_else(|error| panic!("{error}"));
        let inputs = plan.apply(&table, &rows).unwrap();
        let same = |made: &[f32]| made == wanted;
        assert!(same(inputs.inputs().as_f32().unwrap()), "{}", file.display());
        let framing = Framing::new(Choices::new().target("level")).kind(kiln::data::ValueKind::F32);
        let frame = framing.temporary(&file).unwrap();
        assert!(same(frame.gather(&rows).unwrap().x.as_f32().unwrap()), "frame of {}", file.display());
    }
}

#[test]
fn what_was_decided_is_said_and_can_be_told() {
    let notes = |name: &str| Table::open(folder().join(name)).unwrap().notes().join("\n");
    assert!(notes("titled.xlsm").contains("1 row above the table left out, \"Report of the year\" first"));
    assert!(notes("one.zip").contains("read from the archive: data/plain.csv"));
    assert!(notes("utf-16.tab").contains("the text is UTF-16; --encoding says another"));
    assert_eq!(notes("pandas.xlsx"), "");
    let told = |reading: Reading, name: &str| reading.open(folder().join(name));
    assert_eq!(told(Reading::new().member("plain.csv"), "one.zip").unwrap().len(), 90);
    let error = told(Reading::new().member("other.csv"), "one.zip").unwrap_err().to_string();
    assert!(error.contains("--member names one of data/plain.csv"), "{error}");
    let error = told(Reading::new().sheet("Prices"), "pandas.xlsx").unwrap_err().to_string();
    assert!(error.contains("there is no sheet Prices in the workbook; it has Sheet1"), "{error}");
    let cells = "größe;b\n1;x\n2;y\n";
    let latin: Vec<u8> = cells.chars().map(|letter| u32::from(letter) as u8).collect();
    let table = Reading::new().encoding(TextEncoding::Windows1252).read(&latin).unwrap();
    assert_eq!((table.names().next(), table.notes().len()), (Some("größe"), 0));
    let error = Reading::new().encoding(TextEncoding::Utf8).read(&latin).unwrap_err().to_string();
    assert!(error.contains("isn't UTF-8: it has the byte f6") && error.contains("--encoding"), "{error}");
    // Another file of a model's may be written another way than was told of the first.
    let table = Reading::new().delimiter(b';').read(b"a;b;y\n1;x;0\n2;y;1\n3;x;1\n").unwrap();
    let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new().target("y")).unwrap();
    let again = TablePreparation::from_json(&plan.to_json().unwrap()).unwrap();
    assert_eq!(again.reading().read(b"a,b,y\n1,x,0\n").unwrap().names().count(), 3);
    assert_eq!(again.reading().read(b"a;b;y\n1;x,y;0\n").unwrap().names().count(), 3);
}

#[test]
fn a_header_is_decided_by_all_rows() {
    // Towns, of which that of the first row comes again late.
    let mut text = "town,kind\n".to_string();
    for row in 0..3000 {
        text += &format!("t{},k{}\n", row % 1500, row % 7);
    }
    let headless = text.split_once('\n').unwrap().1;
    assert_eq!(Table::read(text.as_bytes()).unwrap().len(), 3000);
    let table = Table::read(headless.as_bytes()).unwrap();
    assert_eq!((table.len(), table.names().next()), (3000, Some("column1")));
    let mut late = "first,word\n".to_string();
    (0..2000).for_each(|row| late += &format!("a{row},b{row}\n"));
    late += "first,b1\nx,word\n";
    let table = Table::read(late.as_bytes()).unwrap();
    assert_eq!(table.len(), 2003, "{:?}", table.notes());
    assert!(table.notes().join("\n").contains("because its words come again below"), "{:?}", table.notes());
    // The same row once more is a file that was put together.
    let joined = format!("{text}{text}");
    assert_eq!(Table::read(joined.as_bytes()).unwrap().names().next(), Some("town"));
}

#[test]
fn words_that_a_file_says_are_words_stay_words() {
    let table = Table::open(folder().join("snappy.parquet")).unwrap();
    assert_eq!(table.column("code").unwrap().kind(), ColumnKind::Category);
}

#[test]
fn what_is_something_else_is_named() {
    let folder = Folder::new("something-else");
    for (start, said) in [
        (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "this is a PNG picture, and no table"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 xls", "old Excel"),
        (b"<html><table><tr><td>1</td></tr></table></html>", "a page of HTML"),
        (b"SQLite format 3\0\x10\0", "an SQLite database"),
        (b"\x01\x02\x03\xff\xfe\x80\x04\x05\x06\x0e\x0f", "begins with the bytes 01 02 03 ff fe 80 04 05"),
    ] {
        let error = Table::open(folder.write("file.csv", start)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
