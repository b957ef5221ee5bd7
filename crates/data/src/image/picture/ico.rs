//! Icons of Windows: the largest of the pictures in the file, each a PNG file or a BMP file without its first frameer and with a mask.

use super::bmp;
use super::samples::{PictureHead, Samples, broken};
use crate::error::Result;

/// The lengths of the file's header, of an entry, and of a BMP file's first frameer.
const HEADER: usize = 6;
const ENTRY: usize = 16;
const BMP_HEADER: usize = 14;

/// What is in a file.
enum Inside<'a> {
    Png(&'a [u8]),
    /// A whole BMP file made of it, and the mask that follows the pixels.
    Bmp(Vec<u8>, &'a [u8]),
}

/// Whether a file begins as one.
pub(super) fn is_icon(file: &[u8]) -> bool {
    matches!(file, [0, 0, 1, 0, count, more, ..] if (*count, *more) != (0, 0))
}

/// How large the picture of a file is.
pub(super) fn head(file: &[u8], png: fn(&[u8]) -> Result<PictureHead>) -> Result<PictureHead> {
    match inside(file)? {
        Inside::Png(file) => png(file),
        Inside::Bmp(file, _) => bmp::head(&file),
    }
}

/// Reads a file.
pub(super) fn decode(file: &[u8], png: fn(&[u8]) -> Result<Samples>) -> Result<Samples> {
    let (file, mask) = match inside(file)? {
        Inside::Png(file) => return png(file),
        Inside::Bmp(file, mask) => (file, mask),
    };
    let Samples { height, width, channels, bytes } = bmp::decode(&file)?;
    let bits = u16::from_le_bytes([file[28], file[29]]);
    let pixels = u32::from_le_bytes([file[10], file[11], file[12], file[13]]) as usize;
    let length = width.div_ceil(32) * 4;
    let opacity = |row: usize, column: usize, own: u8| {
        // Both lie from the bottom up.
        let from = height - 1 - row;
        let is_masked =
            mask.get(from * length + column / 8).is_some_and(|byte| byte >> (7 - column % 8) & 1 == 1);
        match (is_masked, bits) {
            (true, _) => 0,
            (false, 32) => file.get(pixels + (from * width + column) * 4 + 3).copied().unwrap_or(own),
            (false, _) => own,
        }
    };
    let with_opacity = |(at, pixel): (usize, &[u8])| {
        let own = pixel.get(3).copied().unwrap_or(255);
        [pixel[0], pixel[1], pixel[2], opacity(at / width, at % width, own)]
    };
    let bytes = bytes.chunks_exact(channels).enumerate().flat_map(with_opacity).collect();
    Ok(Samples { height, width, channels: 4, bytes })
}

/// The picture with the most bits a pixel, and of these the largest.
fn inside(file: &[u8]) -> Result<Inside<'_>> {
    let count = usize::from(u16::from_le_bytes([file[4], file[5]]));
    let entries = file.get(HEADER..).unwrap_or_default().as_chunks::<ENTRY>().0;
    if entries.len() < count {
        return Err(broken(format!("it has {} of its {count} entries", entries.len())));
    }
    let side = |side: u8| if side == 0 { 256 } else { u32::from(side) };
    let score =
        |entry: &[u8; ENTRY]| (u16::from_le_bytes([entry[6], entry[7]]), side(entry[0]) * side(entry[1]));
    // Of equal ones the last, and before it the first.
    let (last, others) = entries[..count].split_last().ok_or_else(|| broken("it has no entry"))?;
    let best = others.iter().fold(last, |best, entry| if score(entry) > score(best) { entry } else { best });
    let number =
        |at: usize| u32::from_le_bytes([best[at], best[at + 1], best[at + 2], best[at + 3]]) as usize;
    let (length, start) = (number(8), number(12));
    let end = start.saturating_add(length).min(file.len());
    let picture = file.get(start..end).unwrap_or_default();
    if picture.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Inside::Png(picture));
    }
    let word = |at: usize| {
        let bytes = picture.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or_else(|| broken("the picture in it ends in its header"))
    };
    let (header, width, both, depth) = (word(0)? as usize, word(4)? as i32, word(8)? as i32, word(12)? >> 16);
    if header != 40 || word(16)? != 0 || width <= 0 || both <= 0 {
        return Err(broken("the picture in it is of no known kind"));
    }
    // The height counts the mask too.
    let height = both / 2;
    let colours = match (depth, word(32)?) {
        (1 | 4 | 8, 0) => 1 << depth,
        (1 | 4 | 8, colours) => colours as usize,
        _ => 0,
    };
    let pixels = BMP_HEADER + header + colours.saturating_mul(4);
    let mut whole = b"BM\0\0\0\0\0\0\0\0".to_vec();
    whole.extend(u32::try_from(pixels).unwrap_or(u32::MAX).to_le_bytes());
    whole.extend_from_slice(picture);
    whole[BMP_HEADER + 8..BMP_HEADER + 12].copy_from_slice(&height.to_le_bytes());
    let row = (u64::from(depth) * width as u64).div_ceil(32) * 4;
    let mask =
        usize::try_from(row * height as u64).ok().and_then(|length| length.checked_add(pixels - BMP_HEADER));
    let mask = mask.and_then(|start| picture.get(start..)).unwrap_or_default();
    Ok(Inside::Bmp(whole, mask))
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::super::decode::decode;
    use super::super::decode::tests::{as_the_crate_image, noise};

    /// An icon of pictures, each with its width, height and bits a pixel.
    pub fn icon(pictures: &[(u8, u8, u16, Vec<u8>)]) -> Vec<u8> {
        let mut file = vec![0, 0, 1, 0, pictures.len() as u8, 0];
        let mut start = 6 + 16 * pictures.len();
        for (width, height, bits, picture) in pictures {
            file.extend([*width, *height, 0, 0, 1, 0]);
            file.extend(bits.to_le_bytes());
            file.extend((picture.len() as u32).to_le_bytes());
            file.extend((start as u32).to_le_bytes());
            start += picture.len();
        }
        pictures.iter().for_each(|(.., picture)| file.extend(picture));
        file
    }

    /// A picture of 7 × 5 as icons have them, with a mask or without.
    pub fn bitmap(bits: u16, is_masked: bool) -> Vec<u8> {
        let mut picture = Vec::new();
        picture.extend([40u32, 7, 10].iter().flat_map(|number| number.to_le_bytes()));
        picture.extend([1, bits].iter().flat_map(|number: &u16| number.to_le_bytes()));
        picture.extend([0u8; 24]);
        if bits <= 8 {
            picture.extend(noise(4 << bits));
        }
        picture.extend(noise((7 * usize::from(bits)).div_ceil(32) * 4 * 5));
        if is_masked {
            picture.extend(noise(4 * 5));
        }
        picture
    }

    #[test]
    fn icons_of_every_kind_are_read_as_the_crate_image_reads_them() {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, 9, 4);
        encoder.set_color(png::ColorType::Rgba);
        encoder.write_header().unwrap().write_image_data(&noise(9 * 4 * 4)).unwrap();
        let mut files = vec![
            icon(&[(9, 4, 32, png.clone())]),
            icon(&[(7, 5, 8, bitmap(8, true)), (9, 4, 32, png.clone()), (7, 5, 24, bitmap(24, true))]),
        ];
        for bits in [1, 4, 8, 16, 24, 32] {
            for is_masked in [false, true] {
                files.push(icon(&[(7, 5, bits, bitmap(bits, is_masked))]));
            }
        }
        for file in files {
            let ours = decode(&file).map_err(|error| error.to_string());
            assert_eq!(ours, as_the_crate_image(&file), "{:?}", &file[..30]);
            assert!(ours.is_ok(), "{ours:?}");
            for cut in 0..file.len() {
                // None may panic.
                let _ = decode(&file[..cut]);
            }
            for at in 0..file.len().min(80) {
                let mut damaged = file.clone();
                damaged[at] = 0xff;
                let _ = decode(&damaged);
            }
        }
    }
}
