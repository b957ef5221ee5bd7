//! Frames: what is written comes back, what is damaged is refused, a file is prepared as a table is.

use std::path::PathBuf;

use super::*;
use crate::dataset::{Batch, Dataset};
use crate::values::{ValueKind, Values};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("kiln-frame-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn small(path: &Path) -> Frame {
    let mut writer = FrameWriter::new(path, ValueKind::F32, ["a", "b"]).unwrap().classes(["x", "y"]);
    writer.row(&[1.0, 2.5], 1.0).unwrap();
    writer.row(&[-3.0, 0.1], 0.0).unwrap();
    writer.finish().unwrap()
}

#[test]
fn rows_come_back_in_any_order() {
    let folder = Folder::new("rows");
    let frame = small(&folder.0.join("f.kdf"));
    let batch = frame.gather(&[1, 0, 1]).unwrap();
    assert_eq!(batch.x, Values::F32(vec![-3.0, 0.1, 1.0, 2.5, -3.0, 0.1]));
    assert_eq!((batch.y, frame.labels().unwrap()), (Values::I64(vec![0, 1, 0]), vec![1, 0]));
    assert_eq!(
        (frame.names(), frame.feature_names()),
        (&["x".into(), "y".into()][..], &["a".into(), "b".into()][..])
    );
    assert!(frame.read(2, 0, &mut Batch::of(&frame)).unwrap_err().to_string().contains("no row 2"));
    assert_eq!(folder.names(), ["f.kdf"]);
}

#[test]
fn every_damage_to_the_head_and_every_cut_is_an_error() {
    let folder = Folder::new("damage");
    let path = folder.0.join("f.kdf");
    drop(small(&path));
    let bytes = std::fs::read(&path).unwrap();
    let rows = bytes.len() - 2 * 3 * 4;
    for at in 0..rows {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let error = Frame::open(folder.file("d.kdf", damaged)).unwrap_err().to_string();
            assert!(error.contains("d.kdf: "), "{error}");
        }
    }
    for length in 0..bytes.len() {
        assert!(Frame::open(folder.file("d.kdf", &bytes[..length])).is_err(), "{length}");
    }
    let long = Frame::open(folder.file("d.kdf", [&bytes[..], b"x"].concat())).unwrap_err().to_string();
    assert!(long.contains("its 2 rows of 2 inputs need"), "{long}");
    let other = Frame::open(folder.file("d.kdf", "a,b\n".repeat(40))).unwrap_err().to_string();
    assert!(other.contains("this is no frame"), "{other}");
    // Rows aren't summed up, but a class that there isn't is noticed.
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 0x40;
    let frame = Frame::open(folder.file("d.kdf", damaged)).unwrap();
    assert!(
        frame.gather(&[1]).unwrap_err().to_string().contains("the target of row 1 is 2, none of 2 classes")
    );
}

#[test]
fn absurd_sizes_with_a_right_checksum_are_refused() {
    let folder = Folder::new("absurd");
    let path = folder.0.join("f.kdf");
    drop(small(&path));
    let bytes = std::fs::read(&path).unwrap();
    let rows = bytes.len() - 2 * 3 * 4;
    for (at, length) in [(8, 4), (12, 4), (16, 4), (20, 4), (24, 8), (32, 8), (40, 8)] {
        for fill in [0x00, 0x7f, 0xff] {
            let mut absurd = bytes.clone();
            absurd[at..at + length].fill(fill);
            let mut sum = 0xcbf2_9ce4_8422_2325u64;
            for byte in absurd[..56].iter().chain(&absurd[64..rows]) {
                sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
            absurd[56..64].copy_from_slice(&sum.to_le_bytes());
            assert!(Frame::open(folder.file("d.kdf", absurd)).is_err(), "{at} {fill}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let folder = Folder::new("fit");
    let path = folder.0.join("f.kdf");
    let frame = small(&path);
    let mut writer = FrameWriter::new(&path, ValueKind::F16, ["a"]).unwrap();
    let error = writer.row(&[1e6], 0.0).unwrap_err().to_string();
    assert!(error.contains("column a: 1000000 doesn't fit F16"), "{error}");
    assert!(writer.row(&[1.0, 2.0], 0.0).is_err() && writer.row(&[f32::NAN], 0.0).is_err());
    assert!(writer.finish().unwrap_err().to_string().contains("needs a row"));
    let mut writer = FrameWriter::new(&path, ValueKind::F16, ["a"]).unwrap();
    writer.row(&[1.0], 0.0).unwrap();
    drop(writer);
    assert_eq!((folder.names(), frame.len()), (vec!["f.kdf".to_string()], 2));
    assert_eq!(Frame::open(&path).unwrap().len(), 2);
    assert!(FrameWriter::new(&path, ValueKind::U8, ["a"]).is_err());
    let none: [&str; 0] = [];
    assert!(FrameWriter::new(&path, ValueKind::F32, none).is_err());
}

#[test]
fn a_frame_of_a_file_holds_what_its_table_prepares() {
    let folder = Folder::new("file");
    let mut rng = crate::Rng::new(4);
    let mut text = String::from("n,w,b,d,code,y\n");
    for row in 0..60_000 {
        let word = ["u", "v", "", "w x"][rng.below(4)];
        let truth = if rng.below(2) == 0 { "yes" } else { "no" };
        text += &format!(
            "{:.3},{word},{truth},2024-0{}-11,{row}k,c{}\n",
            rng.normal(),
            1 + rng.below(9),
            row % 3
        );
    }
    let csv = folder.file("t.csv", &text);
    let choices = Choices::new().target("y").treat("n", Treatment::Robust);
    let train: Vec<usize> = (0..60_000).filter(|row| row % 5 != 0).collect();
    let framing = |kind| Framing::new(choices.clone()).kind(kind).train(|row| row % 5 != 0);
    let table = Table::open(&csv).unwrap();
    let plan = TablePreparation::fit(&table, &train, &choices).unwrap();
    let set = plan.apply(&table, &Vec::from_iter(0..60_000)).unwrap().all().unwrap();
    let frame = framing(ValueKind::F32).make(&csv, folder.0.join("t.kdf")).unwrap();
    assert_eq!(frame.preparation(), Some(&plan));
    let rows = frame.all().unwrap();
    assert_eq!((&rows.x, &rows.y), (&set.x, &set.y));
    assert_eq!(folder.names(), ["t.csv", "t.kdf"]);
    let path = {
        let temporary = framing(ValueKind::F16).temporary(&csv).unwrap();
        let (Values::F16(halves), Values::F32(wanted)) = (temporary.all().unwrap().x, &set.x) else {
            panic!("kinds")
        };
        assert!(halves.iter().zip(wanted).all(|(half, number)| *half == half::f16::from_f32(*number)));
        temporary.path().to_path_buf()
    };
    assert!(!path.exists() && csv.exists());
}

#[test]
fn rows_without_a_target_are_left_out_and_don_t_count_among_those_to_train_on() {
    let folder = Folder::new("left-out");
    // The preparation is fitted on the first, second and third row that has a target.
    let csv = folder.file("t.csv", "a,y\n1,x\n,\n2,z\n3,x\n900,\n700,z\n");
    let framing = Framing::new(Choices::new().target("y")).kind(ValueKind::F32).train(|row| row < 3);
    let frame = framing.temporary_in(&csv, &folder.0).unwrap();
    assert_eq!((frame.len(), frame.left_out()), (4, 2));
    let table = Table::open(&csv).unwrap();
    let rows = table.rows_with("y").unwrap();
    let plan = TablePreparation::fit(&table, &rows[..3], &Choices::new().target("y")).unwrap();
    let wanted = plan.apply(&table, &rows).unwrap();
    assert_eq!(frame.gather(&[0, 1, 2, 3]).unwrap(), wanted.gather(&[0, 1, 2, 3]).unwrap());
    // As others were prepared, also where columns that nobody needs turn out otherwise late.
    let long: String =
        (0..60_000).map(|row| format!("{row},{},x\n", if row < 50_000 { "1" } else { "word" })).collect();
    let other = folder.file("other.csv", format!("a,note,y\n{long}"));
    let again = Framing::prepared(plan.clone()).kind(ValueKind::F32).temporary_in(&other, &folder.0).unwrap();
    let table = plan.reading().open(&other).unwrap();
    let wanted = plan.apply(&table, &[5, 59_999]).unwrap();
    assert_eq!(again.gather(&[5, 59_999]).unwrap(), wanted.gather(&[0, 1]).unwrap());
    let several = Framing::new(Choices::new().targets(["a", "y"])).temporary(&csv).unwrap_err().to_string();
    assert!(several.contains("no column is left to learn from"), "{several}");
    drop((frame, again));
    assert_eq!(folder.names(), ["other.csv", "t.csv"]);
}

#[test]
fn a_file_that_can_not_become_a_frame_is_said_and_kept() {
    let folder = Folder::new("cannot");
    let framing = Framing::new(Choices::new().target("y"));
    let fault = |text: &str| {
        framing.make(folder.file("t.csv", text), folder.0.join("t.kdf")).unwrap_err().to_string()
    };
    assert!(fault("a,y\n1,0\n2\n").contains("t.csv:3: the row has 1 cell"));
    assert!(fault("a,z\n1,x\n").contains("t.csv: there is no column \"y\""));
    assert!(framing.make(folder.0.join("none.csv"), folder.0.join("t.kdf")).is_err());
    assert_eq!(folder.names(), ["t.csv"]);
}
