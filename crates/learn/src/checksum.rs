//! CRC-32C (Castagnoli), which files of kiln's and of TensorBoard's are checked with.

/// The sum of all before (0 at first) and these bytes. Eight bytes at a time, from eight tables.
pub(crate) fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    let mut sum = !before;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let both = u64::from_le_bytes(*chunk) ^ u64::from(sum);
        sum = (0..8).fold(0, |next, at| next ^ TABLES[7 - at][(both >> (8 * at)) as usize & 0xff]);
    }
    for &byte in rest {
        sum = TABLES[0][(sum as u8 ^ byte) as usize] ^ (sum >> 8);
    }
    !sum
}

/// `TABLES[n][byte]`: what a byte does to the sum `n` bytes later.
const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = (value >> 1) ^ (0x82f6_3b78 & (value & 1).wrapping_neg());
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
};

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn sums_are_those_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(0, &[0xff; 32]), 0x62a8_ab43);
        let all: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(0, &all), 0x46dd_794e);
        assert_eq!(crc32c(crc32c(0, &all[..13]), &all[13..]), 0x46dd_794e);
    }
}
