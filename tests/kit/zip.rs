//! Zip archives for tests that need one.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// A zip archive of deflated entries.
pub fn zip(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(content).unwrap();
        let packed = packed.finish().unwrap();
        let mut sum = flate2::Crc::new();
        sum.update(content);
        let sizes = [sum.sum(), packed.len() as u32, content.len() as u32];
        let head = |extra: &[u8]| {
            let mut head: Vec<u8> =
                [20u16, 0, 8, 0, 33].iter().flat_map(|number| number.to_le_bytes()).collect();
            head.extend(sizes.iter().flat_map(|number| number.to_le_bytes()));
            head.extend((name.len() as u16).to_le_bytes());
            head.extend(extra);
            head
        };
        directory.extend([b"PK\x01\x02\x14\0", &head(&[0; 12])[..]].concat());
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend([b"PK\x03\x04", &head(&[0; 2])[..], name.as_bytes(), &packed].concat());
    }
    let start = file.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    file.extend(&directory);
    file.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat());
    file.extend([directory.len() as u32, start].iter().flat_map(|number| number.to_le_bytes()));
    file.extend([0; 2]);
    file
}
