//! Reading: what files may look like, and what is said of those that can't be read.

use std::io::Write;

use super::*;

fn read(text: &str) -> Table {
    Table::read(text.as_bytes()).unwrap()
}

fn fault(text: impl AsRef<[u8]>) -> String {
    Table::read(text.as_ref()).unwrap_err().to_string()
}

fn texts(table: &Table, column: &str) -> Vec<String> {
    let column = table.column(column).unwrap();
    (0..table.len())
        .map(|row| column.cell(row).text().map_or("-".to_string(), |text| text.into_owned()))
        .collect()
}

#[test]
fn kinds_are_inferred_and_missing_cells_known() {
    let table = read(
        "n,w,b,d,t\n1,x,true,2024-01-31,2024-01-31T08:30\n,NA,?,null,None\n-2.5e3, y ,FALSE,1999-12-31,\n",
    );
    let kinds: Vec<ColumnKind> = table.columns().iter().map(Column::kind).collect();
    use ColumnKind::*;
    assert_eq!(kinds, [Number, Category, Boolean, Date, Date]);
    assert_eq!(texts(&table, "n"), ["1", "-", "-2500"]);
    assert_eq!(texts(&table, "w"), ["x", "-", "y"]);
    assert_eq!(texts(&table, "b"), ["true", "-", "FALSE"]);
    assert_eq!(texts(&table, "d"), ["2024-01-31", "-", "1999-12-31"]);
    assert_eq!(texts(&table, "t"), ["2024-01-31T08:30:00", "-", "-"]);
    assert_eq!(table.rows_with("n").unwrap(), [0, 2]);
}

#[test]
fn quotes_delimiters_line_ends_and_marks_are_all_one_table() {
    let plain = read("a,b\n1,x\n2,y\n");
    for other in [
        "a;b\n1;x\n2;y",
        "a\tb\r\n1\tx\r\n2\ty\r\n",
        "a|b\n1|x\n\n2|y\n\n",
        "\u{feff}a,b\n1,x\n2,y\n",
        "\u{feff}\u{feff}a,b\n1,x\n2,y\n",
        "\"a\",\"b\"\n\"1\",\"x\"\n2,y\n",
        "a,b\r1,x\r2,y\r",
        "{\"a\":1,\"b\":\"x\"}\n\n{\"b\":\"y\",\"a\":2}\n",
        "\n\na,b\n1,x\n2,y",
    ] {
        assert_eq!(read(other).columns(), plain.columns(), "{other}");
    }
    let table = read("a,b\n1,\"two\nlines, a comma and a \"\"quote\"\"\"\n2,z\n");
    assert_eq!(texts(&table, "b"), ["two\nlines, a comma and a \"quote\"", "z"]);
    assert_eq!((table.line(0), table.line(1)), (Some(2), Some(4)));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"a,b\n1,x\n2,y\n").unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(Table::read(&packed).unwrap().columns(), plain.columns());
    for length in 2..packed.len() {
        assert!(Table::read(&packed[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_header_is_found_or_told() {
    assert_eq!(read("1,2\n3,4\n").names().collect::<Vec<_>>(), ["column1", "column2"]);
    assert_eq!(read("1,2\n3,4\n").len(), 2);
    let told = Reading::new().header(true).read(b"2019,2020\n3,4\n").unwrap();
    assert_eq!((told.names().collect::<Vec<_>>(), told.len()), (vec!["2019", "2020"], 1));
    let told = Reading::new().header(false).read(b"x,y\nz,w\n").unwrap();
    assert_eq!(texts(&told, "column1"), ["x", "z"]);
}

#[test]
fn each_fault_names_its_place_and_mend() {
    assert!(fault("").contains("the file is empty"));
    assert!(fault("  \n\n").contains("the file is empty"));
    // As many as may be, in time that grows as they do: at each of them a shift of all others would take minutes.
    assert!(fault("\u{feff}".repeat(1 << 22)).contains("the file is empty"));
    assert!(fault("a,b\n").contains("a header and no row"));
    let error = fault("a,b\n1,2\n3\n");
    assert!(error.contains("line 3: the row has 1 cell and the first row 2"), "{error}");
    let error = fault("a,b\n1,2\n\n3,4,5\n");
    assert!(error.contains("line 4: the row has 3 cells") && error.contains("quotes"), "{error}");
    let error = fault("a,b\n\"1\",2\n3,4,5\n");
    assert!(error.contains("line 3: the row has 3 cells"), "{error}");
    for text in ["a,b\n1,\"open\n2,3\n", "a,b,c\n1,\"2,3\n", "a,b\n1,2\n3,\"", "a\n\"1\"\n\"\n"] {
        assert!(fault(text).contains("a quote is opened"), "{text}");
    }
    let error = fault(b"a,b\n1,\xc3\xa4\n2,caf\xe9\n");
    assert!(
        error.contains("line 3, column b: the cell isn't UTF-8: it has the byte e9 behind \"caf\""),
        "{error}"
    );
    let error = fault(b"a,b\n1,\"\xc3\xa4\"\n2,caf\xe9\n");
    assert!(error.contains("line 3, column b"), "{error}");
    assert!(fault(b"\xc3\xa4a\xff,b\n1,2\n").contains("isn't UTF-8"));
    assert!(fault(b"\xff\xfea\0,\0b\0\n").contains("UTF-16"));
    let error = fault("a,b\n1,2\n3,1e999\n");
    assert!(error.contains("line 3, column b: \"1e999\" is no finite number"), "{error}");
    assert!(fault("{\"a\":1}\n{\"a\":\n").contains("line 2: the line is no object of JSON"));
    assert!(fault("{\"a\":1}\n[1]\n").contains("line 2"));
    assert!(fault("{\"a\":[1]}\n").contains("column a: a list"));
    assert!(fault("{\"a\":1,\"a\":2}\n").contains("twice"));
    let error = Table::open("nowhere/none.csv").unwrap_err();
    assert!(error.to_string().starts_with("nowhere/none.csv: ") && error.source.is_some());
}

#[test]
fn kinds_told_hold_or_are_refused_with_the_cell() {
    let told = |kind| Reading::new().kind("a", kind).read(b"a,b\n1,2\n0,3\n");
    assert_eq!(told(ColumnKind::Category).unwrap().column("a").unwrap().kind(), ColumnKind::Category);
    assert_eq!(texts(&told(ColumnKind::Boolean).unwrap(), "a"), ["true", "false"]);
    let error = told(ColumnKind::Date).unwrap_err().to_string();
    assert!(error.contains("line 2, column a: \"1\" is no date"), "{error}");
    let error = Reading::new().kind("a", ColumnKind::Number).read(b"a\n1\nold\n").unwrap_err().to_string();
    assert!(error.contains("line 3, column a: \"old\" is no number"), "{error}");
    for text in ["age\n1\n", "{\"age\":1}"] {
        let error =
            Reading::new().kind("agee", ColumnKind::Number).read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("did you mean \"age\"?"), "{error}");
    }
}

#[test]
fn a_late_word_makes_a_column_of_words_everywhere_and_is_said() {
    let mut text = String::from("a,b\n");
    for row in 0..600_000 {
        text += &format!("{row},0{}\n", row % 7);
    }
    text += "x,1\n";
    let table = read(&text);
    assert_eq!((table.len(), table.column("a").unwrap().kind()), (600_001, ColumnKind::Category));
    assert_eq!(table.column("a").unwrap().cell(599_999), Cell::Word("599999"));
    assert_eq!(table.column("b").unwrap().kind(), ColumnKind::Number);
    assert_eq!(
        table.notes(),
        ["column a is read as words, because line 600002 says \"x\"; --missing \"x\" reads that as missing"]
    );
    let mut lines = String::new();
    for row in 0..300_000 {
        lines += &format!("{{\"a\":{row}}}\n");
    }
    lines += "{\"late\":true}\n";
    let table = read(&lines);
    assert_eq!(table.column("late").unwrap().cell(300_000), Cell::Word("true"));
    assert_eq!(table.column("a").unwrap().cell(299_999), Cell::Number(299_999.0));
}

/// A table of random cells, many blocks of it.
#[test]
fn the_fast_way_reads_what_the_careful_way_reads() {
    let mut rng = crate::Rng::new(5);
    let mut text = String::from("n,w,d,m\n");
    while text.len() < 6 << 20 {
        let number = match rng.below(4) {
            0 => String::new(),
            1 => rng.below(1000).to_string(),
            2 => format!("{:.4}", rng.normal()),
            _ => format!("{:e}", rng.normal()),
        };
        let word = ["", "x", "é", "a b", "NA"][rng.below(5)];
        let date = ["", "2024-01-31", "2001-02-03T04:05"][rng.below(3)];
        text += &format!("{number},{word},{date},?\n");
    }
    let fast = read(&text);
    let careful = read(&text.replacen("n,w,d,m\n", "\"n\",w,d,m\n\"\",,,\n", 1));
    assert_eq!(careful.len(), fast.len() + 1);
    for row in 0..fast.len() {
        assert_eq!(fast.line(row).map(|line| line + 1), careful.line(row + 1));
        for (a, b) in fast.columns().iter().zip(careful.columns()) {
            assert_eq!(a.cell(row), b.cell(row + 1), "row {row}");
        }
    }
}

#[test]
fn garbage_never_panics() {
    let mut rng = crate::Rng::new(9);
    let alphabet = b"a1,;\t|\"\n\r .-{}:[]\xff\xc3\xa9\x1f\x8bNA0\0";
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..rng.below(60)).map(|_| alphabet[rng.below(alphabet.len())]).collect();
        if let Ok(table) = Table::read(&bytes) {
            assert!(
                !table.is_empty() && table.columns().iter().all(|column| column.len() == table.len()),
                "{bytes:?}"
            );
            let _ = table.head(3);
        }
    }
}

#[test]
fn the_first_rows_stand_below_each_other_and_duplicates_are_counted() {
    let table = read("age,sex\n63,male\n4,f\n63,male\n63,\n63,\n");
    assert_eq!(table.head(2), "age  sex\n 63  male\n  4  f\n");
    assert_eq!(table.repeated(&[2, 3, 4, 0], &[0, 1]), [2, 0]);
    assert_eq!(table.repeated(&[4, 1], &[3]), [4]);
}

#[test]
fn a_list_of_objects_is_a_table() {
    let table = Table::read(
        b"[{\"path\": \"a.png\", \"label\": 3},\n {\"label\": 4,\n  \"path\": \"b, [c].png\"}]\n",
    )
    .unwrap();
    assert_eq!((table.len(), table.names().collect::<Vec<_>>()), (2, vec!["path", "label"]));
    assert_eq!(table.column("path").unwrap().cell(1), Cell::Word("b, [c].png"));
    let error = |text: &str| Table::read(text.as_bytes()).unwrap_err().to_string();
    assert!(
        error("[{\"a\": 1},\n\n {\"a\": tru}]").contains("line 3"),
        "{}",
        error("[{\"a\": 1},\n\n {\"a\": tru}]")
    );
    assert!(error("[{\"a\": 1}").contains("isn't closed"));
    assert!(error("[1, 2]").contains("object"));
    assert!(error("[]").contains("no row"), "{}", error("[]"));
}

#[test]
fn cells_that_look_like_the_mark_at_the_end_are_read() {
    let mark = "\u{1f}the end of the table\u{1f}";
    let table = read(&format!("a,b\n\"1\",{mark}\n2,{mark}\n"));
    assert_eq!(texts(&table, "b"), [mark, mark]);
    let table = read(&format!("a\n\"x\"\n{mark}\ny\n{mark}\n"));
    assert_eq!(texts(&table, "a"), ["x", mark, "y", mark]);
    assert!(fault(format!("a,b\n1,{mark}\n2,\"{mark}\n")).contains("line 3"));
}

#[test]
fn the_first_rows_of_every_kind_of_file_say_how_many_there_are() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tables");
    let mut known = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Lines of JSON are no rows of a stream, and workbooks don't say.
        if [".py", ".xlsx", ".xlsm"].iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        let first = Reading::new().first_rows(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let first = first.unwrap_or_else(|| panic!("{name}: it doesn't say"));
        assert_eq!(first.table.columns().len(), 8, "{name}");
        // Of what is packed it is a guess.
        assert!((30..=400).contains(&first.rows), "{name}: {}", first.rows);
        known += 1;
    }
    assert!(known > 15, "{known}");
}
