//! What bytes hold as one number: XXH64, which is quick and spreads well. It tells what changed, not who changed it.

use std::fs::File;
use std::io::{Read, Result};
use std::path::Path;

const P: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];

/// The sum of bytes, from what came before them (0 at first).
pub fn checksum(before: u64, bytes: &[u8]) -> u64 {
    let round =
        |lane: u64, word: u64| lane.wrapping_add(word.wrapping_mul(P[1])).rotate_left(31).wrapping_mul(P[0]);
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut sum = match blocks.is_empty() {
        true => before.wrapping_add(P[4]),
        false => {
            let mut lanes = [
                before.wrapping_add(P[0]).wrapping_add(P[1]),
                before.wrapping_add(P[1]),
                before,
                before.wrapping_sub(P[0]),
            ];
            for block in blocks {
                for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                    *lane = round(*lane, u64::from_le_bytes(*word));
                }
            }
            let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, turn)| lane.rotate_left(turn));
            let merged = turned.fold(0u64, u64::wrapping_add);
            let merge = |sum: u64, lane: &u64| (sum ^ round(0, *lane)).wrapping_mul(P[0]).wrapping_add(P[3]);
            lanes.iter().fold(merged, merge)
        }
    };
    sum = sum.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        let mixed = sum ^ round(0, u64::from_le_bytes(*word));
        sum = mixed.rotate_left(27).wrapping_mul(P[0]).wrapping_add(P[3]);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        let mixed = sum ^ u64::from(u32::from_le_bytes(*half)).wrapping_mul(P[0]);
        sum = mixed.rotate_left(23).wrapping_mul(P[1]).wrapping_add(P[2]);
    }
    for byte in rest {
        sum = (sum ^ u64::from(*byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    sum = (sum ^ (sum >> 33)).wrapping_mul(P[1]);
    sum = (sum ^ (sum >> 29)).wrapping_mul(P[2]);
    sum ^ (sum >> 32)
}

/// The sum of a file, which is read from its start to its end.
///
/// # Errors
/// What the system says.
pub fn file_checksum(path: impl AsRef<Path>) -> Result<u64> {
    let (mut file, mut block, mut all) = (File::open(path)?, vec![0; 1 << 20], 0);
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match file.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(all);
        }
        all = checksum(all, &block[..filled]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_specification() {
        assert_eq!(checksum(0, b""), 0xef46_db37_51d8_e999);
        assert_eq!(checksum(0, b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(checksum(0, b"abc"), 0x44bc_2cf5_ad77_0999);
        let long = b"Call me Ishmael. Some years ago--never mind how long precisely-";
        assert_eq!(checksum(0, long), 0x02a2_e854_70d6_fd96);
    }

    #[test]
    fn every_byte_counts_and_so_does_its_place() {
        let folder = kiln_testkit::Folder::new("sum");
        let mut bytes = vec![7u8; (1 << 20) + 77];
        let whole = file_checksum(folder.write("a", &bytes)).unwrap();
        for at in [0, 31, 32, 1 << 20, bytes.len() - 1] {
            bytes[at] ^= 1;
            assert_ne!(file_checksum(folder.write("b", &bytes)).unwrap(), whole, "byte {at}");
            bytes[at] ^= 1;
        }
        bytes.push(7);
        assert_ne!(file_checksum(folder.write("b", &bytes)).unwrap(), whole);
    }
}
