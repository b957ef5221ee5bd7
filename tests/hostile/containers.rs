//! Workbooks, archives, Parquet and Arrow: good files damaged at random, and small ones that unpack to much or speak of far places.

use kiln::data::{PictureArchive, Table};

use super::zip::zip;
use super::{ROOM, damage, held, turn};

#[test]
fn damaged_containers() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables");
    for name in [
        "pandas.xlsx",
        "one.zip",
        "packed.csv.zst",
        "snappy.parquet",
        "zstd.parquet",
        "lz4.parquet",
        "coded.parquet",
        "lz4.feather",
        "zstd.feather",
        "coded.feather",
        "polars.arrow",
        "stream.arrows",
    ] {
        let file = std::fs::read(folder.join(name)).unwrap();
        damage(name, &[file], |input| drop(Table::read(input)));
    }
}

/// A workbook of one sheet with these rows and texts.
fn workbook(rows: Vec<u8>, texts: Vec<u8>) -> Vec<u8> {
    let relations = r#"<Relationships><Relationship Id="r1" Type="x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
    let book = r#"<workbook><sheets><sheet name="S" r:id="r1"/></sheets></workbook>"#;
    let around = |start: &str, inner: Vec<u8>, end: &str| [start.as_bytes(), &inner, end.as_bytes()].concat();
    zip(&[
        ("xl/workbook.xml", book.into()),
        ("xl/_rels/workbook.xml.rels", relations.into()),
        ("xl/worksheets/sheet1.xml", around("<worksheet><sheetData>", rows, "</sheetData></worksheet>")),
        ("xl/sharedStrings.xml", around("<sst>", texts, "</sst>")),
    ])
}

fn again(piece: &str, megabytes: usize) -> Vec<u8> {
    piece.bytes().cycle().take((megabytes << 20) / piece.len() * piece.len()).collect()
}

#[test]
fn containers_that_ask_for_more_than_there_may_be() {
    let _turn = turn();
    let cell = |place: &str, text: &str| format!(r#"<c r="{place}" t="str"><v>{text}</v></c>"#);
    let small = |cells: &str| format!(r#"<row r="1">{cells}</row>"#).into_bytes();
    // A sheet with two far cells is read; it is no list of all that lies between them.
    let far =
        [small(&cell("A1", "a")), format!(r#"<row r="1048576">{}</row>"#, cell("A1048576", "1")).into()];
    assert_eq!(Table::read(&workbook(far.concat(), Vec::new())).unwrap().len(), 1);
    for (name, bytes, said) in [
        ("an archive", zip(&[("a.csv", again("1,2\n", 300))]), "kiln --limit bytes="),
        (
            "a text without end",
            workbook(small(&cell("A1", &"x".repeat(200 << 20))), Vec::new()),
            "--limit bytes=",
        ),
        ("an element without end", workbook(again("<row a", 200), Vec::new()), "--limit bytes="),
        (
            "many texts",
            workbook(small(&cell("A1", "a")), again("<si><t>a word</t></si>", 300)),
            "--limit bytes=",
        ),
        (
            "one text many times",
            workbook(
                small(&(0..16_000).map(|_| r#"<c t="s"><v>0</v></c>"#).collect::<String>()),
                format!("<si><t>{}</t></si>", "y".repeat(1 << 20)).into_bytes(),
            ),
            "--limit bytes=",
        ),
        ("a far place", workbook(small(&cell("ZZZZZZ1", "a")), Vec::new()), "its place is"),
        ("a row behind", workbook([small(""), small("")].concat(), Vec::new()), "a row 1 behind row 1"),
        (
            "a text that isn't there",
            workbook(small(r#"<c t="s"><v>9</v></c>"#), Vec::new()),
            "no number of a text",
        ),
    ] {
        let (most, error) = held(|| Table::read(&bytes).err().map(|error| error.to_string()));
        let error = error.unwrap_or_else(|| panic!("{name}: it was read"));
        assert!(error.contains(said), "{name}: {error}");
        assert!(most < ROOM, "{name}: {most} bytes");
    }
}

#[test]
fn archives_of_pictures_that_are_damaged_or_ask_for_more_than_there_may_be() {
    let picture = |shade: u8| [&b"P5 8 8 255\n"[..], &[shade; 64]].concat();
    let names: Vec<String> =
        (0..8u8).map(|at| format!("photos/{}/{at}.pgm", ["a", "b"][usize::from(at) % 2])).collect();
    let entries: Vec<(&str, Vec<u8>)> =
        names.iter().zip(0u8..).map(|(name, shade)| (name.as_str(), picture(shade))).collect();
    let file = zip(&entries);
    let read = |input: &[u8]| {
        let Ok(Some(archive)) = PictureArchive::held("x.zip", input.to_vec()) else { return 0 };
        archive.files().pictures.iter().filter(|file| file.picture().is_ok()).count()
    };
    assert_eq!(read(&file), 8);
    damage("photos.zip", &[file], |input| _ = read(input));
    // Damaging takes a turn of its own.
    let _turn = turn();
    let large = "P5 30000 30000 255\n".to_string();
    let bomb = [large.as_bytes(), &again("\0", 520)].concat();
    let (most, pictures) = held(|| read(&zip(&[("a/1.pgm", bomb), ("b/2.pgm", picture(1))])));
    assert_eq!(pictures, 1, "the other goes on");
    assert!(most < ROOM, "{most} bytes");
}
