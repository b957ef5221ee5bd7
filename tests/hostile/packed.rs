//! Files that unpack to far more than they are, and tables that are wide where they are short.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln::data::{Choices, Table, TablePreparation, cifar10, read_idx, read_text};
use kiln_testkit::Folder;

use super::{ROOM, damage, held, turn};

fn packed(bytes: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    bytes.into_iter().for_each(|bytes| out.write_all(bytes.as_ref()).unwrap());
    out.finish().unwrap()
}

/// A megabyte again and again.
fn again(piece: &[u8], megabytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let whole: Vec<u8> = piece.iter().copied().cycle().take((1 << 20) / piece.len() * piece.len()).collect();
    std::iter::repeat_n(whole, megabytes)
}

#[test]
fn damaged_archives() {
    let folder = Folder::new("archives");
    let table = packed(["a,b,y\n1,x,0\n2.5,\"y, z\",1\n-3,x,0\n"]);
    damage("packed tables", &[table], |input| drop(Table::open(folder.write("table.csv.gz", input))));
    let idx = packed([[&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 12]].concat()]);
    damage("packed idx", &[idx], |input| drop(read_idx(folder.write("idx.gz", input))));
    let mut header = vec![0; 512];
    header[..16].copy_from_slice(b"data_batch_1.bin");
    header[124..135].copy_from_slice(b"00000006001");
    damage("cifar", &[packed([header, vec![3; 3073 + 511], vec![0; 1024]])], |input| {
        folder.write("cifar/cifar-10-binary.tar.gz", input);
        drop(cifar10(folder.at("cifar")));
    });
}

#[test]
fn what_unpacks_to_more_than_there_may_be() {
    let _turn = turn();
    let folder = Folder::new("bombs");
    let head =
        |sizes: [u32; 2]| [&[0, 0, 8, 2][..], &sizes[0].to_be_bytes(), &sizes[1].to_be_bytes()].concat();
    let idx = packed(std::iter::once(head([600, 1 << 20])).chain(again(&[7], 600)));
    let lying = packed([head([u32::MAX, u32::MAX])]);
    let numbers = packed(std::iter::once(b"a,b\n".to_vec()).chain(again(b"1,2\n", 200)));
    let words = packed(
        std::iter::once(b"a,b\n".to_vec())
            .chain((0..3_000_000u32).map(|at| format!("w{at},1\n").into_bytes())),
    );
    let line = packed(std::iter::once(b"a,b\n".to_vec()).chain(again(b"1", 300)));
    let quoted = packed(std::iter::once(b"a,b\n\"".to_vec()).chain(again(b"1,", 300)));
    let header = packed(again(b"a", 300));
    let text: Vec<u8> = again(b"words of a text ", 60).flatten().collect();
    type Read = fn(&std::path::Path) -> Option<String>;
    let table: Read = |path| Table::open(path).err().map(|error| error.to_string());
    let images: Read = |path| read_idx(path).err().map(|error| error.to_string());
    let prose: Read = |path| read_text(path).err().map(|error| error.to_string());
    for (name, bytes, read) in [
        ("idx", idx, images),
        ("idx of nothing", lying, images),
        ("numbers", numbers, table),
        ("words", words, table),
        ("a line without end", line, table),
        ("a quote without end", quoted, table),
        ("a header without end", header, table),
        ("a text", text, prose),
    ] {
        let path = folder.write("bomb", &bytes);
        drop(bytes);
        let (most, error) = held(|| read(&path));
        let error = error.unwrap_or_else(|| panic!("{name}: it was read"));
        assert!(error.contains("kiln --limit bytes=") || name == "idx of nothing", "{name}: {error}");
        assert!(most < ROOM, "{name}: {most} bytes");
    }
}

/// A few megabytes whose rows and columns multiply.
#[test]
fn tables_that_are_wide() {
    let _turn = turn();
    let columns = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    let own: String = (0..30_000).map(|row| format!("{{\"k{row}\": {row}}}\n")).collect();
    let blank = format!("{}\n{}", columns(100_000), "\n".repeat(3 << 20));
    let ragged = format!("{}\n{}", columns(100_000), "\"\"\n".repeat(1 << 20));
    for (name, text) in
        [("a key for each row", own), ("lines of nothing", blank), ("quoted nothings", ragged)]
    {
        let (most, table) = held(|| Table::read(text.as_bytes()));
        assert!(table.is_err(), "{name}");
        assert!(most < ROOM + 16 * text.len(), "{name}: {most} bytes");
    }
    let words: String = (0..6000).map(|row| format!("w{row},{}\n", row % 2)).collect();
    let table = Table::read(format!("word,y\n{words}").as_bytes()).unwrap();
    let rows: Vec<usize> = (0..table.len()).collect();
    let choices = Choices::new().target("y").treat("word", kiln::data::Treatment::OneHot);
    let (most, set) = held(|| {
        let plan = TablePreparation::fit(&table, &rows, &choices)?;
        plan.apply(&table, &rows).map(drop)
    });
    // 6000 × 6000 numbers.
    assert!(set.err().is_none_or(|error| error.to_string().contains("kiln --limit bytes=")));
    assert!(most < ROOM, "{most} bytes");
}
