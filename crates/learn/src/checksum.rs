//! Checksums of 32 bits: CRC-32C (Castagnoli), which files of kiln's and of TensorBoard's are checked with, and the CRC-32 of zip.

/// CRC-32C: the sum of all before (0 at first) and these bytes.
pub(crate) fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    static TABLES: CrcTables = tables(0x82f6_3b78);
    sum(&TABLES, before, bytes)
}

/// CRC-32: the sum of all before (0 at first) and these bytes.
#[cfg(any(test, not(feature = "gzip")))]
pub(crate) fn crc32(before: u32, bytes: &[u8]) -> u32 {
    static TABLES: CrcTables = tables(0xedb8_8320);
    sum(&TABLES, before, bytes)
}

/// `TABLES[n][byte]`: what a byte does to the sum `n` bytes later.
type CrcTables = [[u32; 256]; 8];

/// Eight bytes at a time, from eight tables.
fn sum(tables: &CrcTables, before: u32, bytes: &[u8]) -> u32 {
    let mut sum = !before;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let both = u64::from_le_bytes(*chunk) ^ u64::from(sum);
        sum = (0..8).fold(0, |next, at| next ^ tables[7 - at][(both >> (8 * at)) as usize & 0xff]);
    }
    for &byte in rest {
        sum = tables[0][(sum as u8 ^ byte) as usize] ^ (sum >> 8);
    }
    !sum
}

const fn tables(polynomial: u32) -> CrcTables {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = (value >> 1) ^ (polynomial & (value & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut later = 1;
    while later < 8 {
        let mut byte = 0;
        while byte < 256 {
            let value = tables[later - 1][byte];
            tables[later][byte] = tables[0][(value & 0xff) as usize] ^ (value >> 8);
            byte += 1;
        }
        later += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::{crc32, crc32c};

    #[test]
    fn sums_are_those_of_the_standards() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
        let all: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(0, &all), 0x46dd_794e);
        assert_eq!(crc32c(crc32c(0, &all[..13]), &all[13..]), 0x46dd_794e);
        // ITU-T V.42.
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
    }
}
