//! Files packed with gzip: as they come, and what is in them packed here, so that what is behind the checksum is reached.
#![no_main]

use std::io::Write;

use kiln_data::{Table, read_idx};
use kiln_fuzz::{file, fuzz_target, seeds};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn all() -> Vec<Vec<u8>> {
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 12]].concat();
    let table = b"a,b,y\n1,x,0\n2.5,\"y, z\",1\n-3,x,0\n".to_vec();
    vec![packed(&idx), packed(&table), packed(&[7; 1 << 16]), idx, table]
}

fn read(bytes: &[u8]) {
    if let Ok((sizes, numbers)) = read_idx(file("input.idx.gz", bytes)) {
        assert_eq!(sizes.iter().product::<usize>(), numbers.len());
    }
    if let Ok(table) = Table::open(file("input.csv.gz", bytes)) {
        assert!(!table.is_empty());
    }
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    read(bytes);
    let packed = packed(bytes);
    read(&packed);
    // Twice, as archives may stand behind one another.
    read(&[&packed[..], bytes].concat());
});
