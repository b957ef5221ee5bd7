//! Frames, as they are and with a head that fits the rest. Every row of one that is taken can be asked for.
#![no_main]

use kiln_data::{Choices, Dataset, Frame, FrameWriter, Framing, ValueKind};
use kiln_fuzz::{file, fuzz_target, path, seeds};

fn all() -> [Vec<u8>; 2] {
    let written = path("written.kdf");
    let mut writer = FrameWriter::new(&written, ValueKind::F16, ["a", "b"]).unwrap().classes(["x", "y"]);
    (0..3).for_each(|row| writer.row(&[row as f32, 1.0], f64::from(row % 2)).unwrap());
    drop(writer.finish().unwrap());
    let table = file("table.csv", b"a,b,y\n1,x,0\n2.5,z,1\n-3,x,0\n");
    let made = path("made.kdf");
    drop(Framing::new(Choices::new().target("y")).kind(ValueKind::F32).make(table, &made).unwrap());
    [written, made].map(|path| std::fs::read(path).unwrap())
}

/// The bytes with the number of rows that they have, and the checksum.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let start =
        long(40)?.checked_add(64)?.checked_next_multiple_of(64).filter(|start| *start <= bytes.len())?;
    let row = ((long(16)? >> 32) + 1) * if bytes[16] == 1 { 2 } else { 4 };
    let rows = (bytes.len() - start) / row;
    bytes.truncate(start + rows * row);
    bytes[32..40].copy_from_slice(&(rows as u64).to_le_bytes());
    let fnv = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let sum = bytes[..56].iter().chain(&bytes[64..start]).fold(0xcbf2_9ce4_8422_2325, fnv);
    bytes[56..64].copy_from_slice(&sum.to_le_bytes());
    Some(bytes)
}

fn check(bytes: &[u8]) {
    let Ok(frame) = Frame::open(file("input.kdf", bytes)) else { return };
    for row in 0..frame.len() {
        if let Ok(batch) = frame.gather(&[row]) {
            assert_eq!(batch.x.len(), frame.feature_names().len());
        }
    }
    assert!(frame.gather(&[frame.len()]).is_err());
    let _ = frame.labels();
    if let Some(plan) = frame.preparation() {
        let _ = plan.apply_inputs(&kiln_data::Table::read(b"a,b,y\n1,x,0\n,u,1\n").unwrap());
    }
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    check(bytes);
    if let Some(mended) = mended(bytes) {
        check(&mended);
    }
});
