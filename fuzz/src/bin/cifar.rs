//! CIFAR-10: its archive, packed here so that no checksum stands before it, and its files.
#![no_main]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use kiln_data::{Dataset, cifar10};
use kiln_fuzz::{file, fuzz_target, path, seeds};

const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

fn archive() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (label, name) in FILES.iter().enumerate() {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", 3073).as_bytes());
        bytes.extend(header);
        bytes.push(label as u8);
        bytes.resize(bytes.len() + 512 * 6 + 511, 0);
    }
    bytes.resize(bytes.len() + 512, 0);
    bytes
}

fn check() {
    if let Ok((train, test)) = cifar10(path("")) {
        for row in [train.gather(&[train.len() - 1]), test.gather(&[0])] {
            assert_eq!(row.unwrap().x.len(), 3072);
        }
    }
}

fuzz_target!(init: seeds([archive(), vec![1; 3073]]), |bytes: &[u8]| {
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(bytes).unwrap();
    let packed = file("cifar-10-binary.tar.gz", &packed.finish().unwrap());
    check();
    std::fs::remove_file(packed).unwrap();
    FILES.iter().for_each(|name| drop(file(name, bytes)));
    check();
});
