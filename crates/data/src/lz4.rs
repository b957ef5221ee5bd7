//! How long a block of LZ4 is when it is unpacked, which it doesn't say: counted before anything takes memory for it.

/// The size of what is unpacked; none where the block is cut off.
pub(crate) fn unpacked_size(block: &[u8]) -> Option<usize> {
    let (mut at, mut size) = (0usize, 0usize);
    loop {
        let token = *block.get(at)?;
        at += 1;
        let length = |short: u8, at: &mut usize| -> Option<usize> {
            let mut length = usize::from(short);
            if short == 15 {
                loop {
                    let more = *block.get(*at)?;
                    *at += 1;
                    length = length.checked_add(usize::from(more))?;
                    if more != 255 {
                        break;
                    }
                }
            }
            Some(length)
        };
        let literals = length(token >> 4, &mut at)?;
        at = at.checked_add(literals).filter(|at| *at <= block.len())?;
        size = size.checked_add(literals)?;
        // The last sequence is literals alone.
        if at == block.len() {
            return Some(size);
        }
        // How far back it is copied from stands in two bytes.
        at += 2;
        size = size.checked_add(length(token & 15, &mut at)?)?.checked_add(4)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_long_as_they_were() {
        for size in [0, 1, 20, 300, 70_000] {
            for step in [1, 7, 255] {
                let bytes: Vec<u8> = (0..size).map(|at| (at * at / step % 251) as u8).collect();
                let packed = lz4_flex::block::compress(&bytes);
                assert_eq!(unpacked_size(&packed), Some(size));
                assert!(unpacked_size(&packed[..packed.len() / 2]).is_none_or(|cut| cut <= size));
            }
        }
    }
}
