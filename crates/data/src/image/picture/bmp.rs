//! Files in Windows' format BMP: 1 to 32 bits a pixel, from a palette, by masks or in runs, from the bottom up or from the top down.

use super::samples::{PictureHead, Samples, broken, room};
use crate::error::Result;

/// The length of the header of the file, before that of the picture.
const FILE_HEADER: usize = 14;

/// How pixels are written.
#[derive(Clone, Copy)]
enum Coding {
    /// Numbers of colours, of so many bits.
    Palette(usize),
    /// Blue, green, red.
    Bytes,
    /// The bits of a number of so many that are red, green, blue and opacity.
    Masks(usize, [Mask; 4]),
    /// Runs of numbers of colours, of so many bits.
    Runs(usize),
}

/// Bits of a pixel that say one thing; up to eight of them count.
#[derive(Clone, Copy, Default)]
struct Mask {
    shift: u32,
    bits: u32,
}

impl Mask {
    fn new(mask: u32) -> Result<Mask> {
        let (shift, bits) = (mask.trailing_zeros() % 32, mask.count_ones());
        if (mask >> shift).trailing_ones() != bits {
            return Err(broken(format!("the bits of a colour aren't in one piece: {mask:#x}")));
        }
        Ok(Mask { shift: shift + bits.saturating_sub(8), bits: bits.min(8) })
    }

    /// From 0 to 255.
    fn read(self, pixel: u32) -> u8 {
        let most = (1 << self.bits) - 1;
        ((((pixel >> self.shift) & most) * 255 + most / 2) / most) as u8
    }
}

/// What the headers say.
struct Bitmap<'a> {
    file: &'a [u8],
    /// The length of the picture's header, which tells its version. The oldest, of 12 bytes, has palettes of three bytes a colour.
    header: usize,
    /// Where the pixels start.
    pixels: usize,
    height: usize,
    width: usize,
    downwards: bool,
    coding: Coding,
}

/// How large the picture of a file is.
pub(super) fn head(file: &[u8]) -> Result<PictureHead> {
    let Bitmap { height, width, .. } = Bitmap::new(file)?;
    Ok(PictureHead { height, width, channels: 3 })
}

/// Reads a file.
pub(super) fn decode(file: &[u8]) -> Result<Samples> {
    let bitmap = Bitmap::new(file)?;
    let Bitmap { height, width, .. } = bitmap;
    let channels =
        if matches!(bitmap.coding, Coding::Masks(_, [.., opacity]) if opacity.bits > 0) { 4 } else { 3 };
    let mut image = vec![0; room(height, width, channels, file)?];
    match bitmap.coding {
        Coding::Palette(bits) => {
            let palette = bitmap.palette(bits)?;
            for (line, row) in image.chunks_exact_mut(width * 3).zip(bitmap.rows(bits)?) {
                for (column, pixel) in line.as_chunks_mut().0.iter_mut().enumerate() {
                    *pixel = palette[number(row, bits, column)];
                }
            }
        }
        Coding::Bytes => {
            for (line, row) in image.chunks_exact_mut(width * 3).zip(bitmap.rows(24)?) {
                for (pixel, &[blue, green, red]) in line.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0) {
                    *pixel = [red, green, blue];
                }
            }
        }
        Coding::Masks(bits, masks) => {
            for (line, row) in image.chunks_exact_mut(width * channels).zip(bitmap.rows(bits)?) {
                for (pixel, word) in line.chunks_exact_mut(channels).zip(row.chunks_exact(bits / 8)) {
                    let word = word.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
                    for (sample, mask) in pixel.iter_mut().zip(masks) {
                        *sample = mask.read(word);
                    }
                }
            }
        }
        Coding::Runs(bits) => bitmap.runs(bits, &mut image)?,
    }
    if !bitmap.downwards {
        image = image.chunks_exact(width * channels).rev().flatten().copied().collect();
    }
    Ok(Samples { height, width, channels, bytes: image })
}

/// The number at a column of a row of such numbers.
fn number(row: &[u8], bits: usize, column: usize) -> usize {
    let at = column * bits;
    usize::from(row[at / 8] >> (8 - bits - at % 8)) & ((1 << bits) - 1)
}

impl<'a> Bitmap<'a> {
    fn new(file: &'a [u8]) -> Result<Bitmap<'a>> {
        let (pixels, header) = (u32_at(file, 10)? as usize, u32_at(file, FILE_HEADER)? as usize);
        if ![12, 40, 52, 56, 108, 124].contains(&header) {
            return Err(broken(format!("no known version has a header of {header} bytes")));
        }
        // Sizes of two bytes, or of four.
        let (width, height, at) = match header {
            12 => (i32::from(u16_at(file, 18)?), i32::from(u16_at(file, 20)?), 22),
            _ => (u32_at(file, 18)? as i32, u32_at(file, 22)? as i32, 26),
        };
        if width <= 0 || height == 0 {
            return Err(broken(format!("it says that it is {width} × {height}")));
        }
        let (planes, bits) = (u16_at(file, at)?, usize::from(u16_at(file, at + 2)?));
        if planes != 1 {
            return Err(broken(format!("it has {planes} planes instead of one")));
        }
        let packing = if header == 12 { 0 } else { u32_at(file, 30)? };
        let coding = match (packing, bits) {
            (0, 1 | 2 | 4 | 8) => Coding::Palette(bits),
            (0, 16) => masks(16, [0x7c00, 0x3e0, 0x1f, 0])?,
            (0, 24) => Coding::Bytes,
            (0, 32) => masks(32, [0xff_0000, 0xff00, 0xff, 0])?,
            (1, 8) | (2, 4) if height > 0 => Coding::Runs(bits),
            (3, 16 | 32) => {
                let opacity = if header >= 56 { u32_at(file, 66)? } else { 0 };
                masks(bits, [u32_at(file, 54)?, u32_at(file, 58)?, u32_at(file, 62)?, opacity])?
            }
            _ => return Err(broken(format!("{bits} bits a pixel, packed in way {packing}, are unknown"))),
        };
        let (downwards, height, width) = (height < 0, height.unsigned_abs() as usize, width as usize);
        Ok(Bitmap { file, header, pixels, height, width, downwards, coding })
    }

    /// Red, green and blue of all numbers; those without a colour are black.
    fn palette(&self, bits: usize) -> Result<[[u8; 3]; 256]> {
        let (said, entry) = if self.header == 12 { (0, 3) } else { (u32_at(self.file, 46)? as usize, 4) };
        let most = 1 << bits;
        if said > most {
            return Err(broken(format!("{said} colours are more than {bits} bits can number")));
        }
        let colours =
            part(self.file, FILE_HEADER + self.header, if said == 0 { most } else { said } * entry)?;
        let mut palette = [[0; 3]; 256];
        for (colour, entry) in palette.iter_mut().zip(colours.chunks_exact(entry)) {
            *colour = [entry[2], entry[1], entry[0]];
        }
        Ok(palette)
    }

    /// Rows as they lie in the file, each of a multiple of four bytes.
    fn rows(&self, bits: usize) -> Result<impl Iterator<Item = &'a [u8]>> {
        let length = (bits * self.width).div_ceil(32) * 4;
        part(self.file, self.pixels, length * self.height).map(|rows| rows.chunks_exact(length))
    }

    /// Unpacks runs of one number and of several. What none of them says is black.
    fn runs(&self, bits: usize, image: &mut [u8]) -> Result<()> {
        let palette = self.palette(bits)?;
        let (mut at, mut row, mut column) = (self.pixels, 0, 0);
        while row < self.height {
            let &[count, value] = part(self.file, at, 2)? else { return Err(broken("it ends too early")) };
            at += 2;
            let (length, numbers) = match (usize::from(count), usize::from(value)) {
                (0, 0) => {
                    (row, column) = (row + 1, 0);
                    continue;
                }
                (0, 1) => break,
                (0, 2) => {
                    let steps = part(self.file, at, 2)?;
                    (at, column, row) = (at + 2, column + usize::from(steps[0]), row + usize::from(steps[1]));
                    if column > self.width || row >= self.height {
                        return Err(broken("a run of pixels is outside it"));
                    }
                    continue;
                }
                (0, length) => {
                    let numbers = part(self.file, at, (length * bits).div_ceil(16) * 2)?;
                    at += numbers.len();
                    if column + length > self.width {
                        return Err(broken("a run of pixels is outside it"));
                    }
                    (length, numbers)
                }
                // Some programs write runs that go on beyond the edge.
                (length, _) => (length.min(self.width - column), &[value; 256][..]),
            };
            let start = row * self.width + column;
            for (place, pixel) in image.as_chunks_mut().0[start..start + length].iter_mut().enumerate() {
                *pixel = palette[number(numbers, bits, place)];
            }
            column += length;
        }
        Ok(())
    }
}

fn masks(bits: usize, masks: [u32; 4]) -> Result<Coding> {
    if masks[..3].contains(&0) || (bits == 16 && masks.iter().any(|&mask| mask > 0xffff)) {
        return Err(broken(format!("it doesn't say which of {bits} bits are which colour")));
    }
    let [red, green, blue, opacity] = masks.map(Mask::new);
    Ok(Coding::Masks(bits, [red?, green?, blue?, opacity?]))
}

fn part(file: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let part = at.checked_add(length).and_then(|end| file.get(at..end));
    part.ok_or_else(|| broken("it ends too early"))
}

fn u16_at(file: &[u8], at: usize) -> Result<u16> {
    part(file, at, 2).map(|part| u16::from_le_bytes([part[0], part[1]]))
}

fn u32_at(file: &[u8], at: usize) -> Result<u32> {
    part(file, at, 4).map(|part| u32::from_le_bytes([part[0], part[1], part[2], part[3]]))
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::super::decode::tests::{as_the_crate_image, noise};

    /// A file with a header of such a length, and after it the masks or the palette, and the pixels.
    fn file(
        header: usize,
        (width, height): (i32, i32),
        bits: u16,
        packing: u32,
        between: &[u8],
        pixels: &[u8],
    ) -> Vec<u8> {
        let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
        file.extend(
            ((14 + header.max(if packing == 3 { 56 } else { 0 }) + between.len()) as u32).to_le_bytes(),
        );
        file.extend((header as u32).to_le_bytes());
        match header {
            12 => file.extend([width as u16, height as u16].iter().flat_map(|side| side.to_le_bytes())),
            _ => file.extend([width, height].iter().flat_map(|side| side.to_le_bytes())),
        }
        file.extend([1, bits].iter().flat_map(|number| number.to_le_bytes()));
        if header > 12 {
            file.extend([packing, 0, 0, 0, 0, 0].iter().flat_map(|number| number.to_le_bytes()));
        }
        if packing == 3 {
            file.extend(between);
            file.resize(14 + header.max(56) + between.len(), 0);
        } else {
            file.resize(14 + header, 0);
            file.extend(between);
        }
        file.extend(pixels);
        file
    }

    #[test]
    fn files_of_every_kind_are_read_as_the_crate_image_reads_them() {
        let mut files = Vec::new();
        for bits in [1, 2, 4, 8, 16, 24, 32] {
            for header in [12, 40, 52, 56, 108, 124] {
                for height in [5, -5] {
                    if header == 12 && (height < 0 || [2, 16, 32].contains(&bits)) {
                        continue;
                    }
                    let palette =
                        noise(if bits > 8 { 0 } else { (1 << bits) * if header == 12 { 3 } else { 4 } });
                    files.push(file(header, (7, height), bits, 0, &palette, &noise(5 * 32)));
                }
            }
        }
        let words =
            |words: [u32; 4]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
        for (bits, masks) in [
            (16, [0xf800, 0x7e0, 0x1f, 0]),
            (16, [0xf00, 0xf0, 0xf, 0xf000]),
            (16, [0x4000, 0x3000, 0xe00, 0x1fe]),
            (32, [0xff00_0000, 0xff_0000, 0xff00, 0xff]),
            (32, [0xff_0000, 0xff00, 0xff, 0xff00_0000]),
            (32, [0x3ff0_0000, 0xf_fc00, 0x3ff, 0xc000_0000]),
            (32, [0x7f, 0x3f80, 0x1f_c000, 0]),
        ] {
            for header in [40, 52, 56, 108, 124] {
                files.push(file(header, (7, 5), bits, 3, &words(masks), &noise(5 * 32)));
            }
        }
        for file in &files {
            let ours = decode(file).map_err(|error| error.to_string());
            assert_eq!(ours, as_the_crate_image(file), "{:?}", &file[..54.min(file.len())]);
        }
        for file in files {
            for cut in 0..file.len() {
                // None may panic.
                let _ = decode(&file[..cut]);
            }
        }
    }

    #[test]
    fn runs_are_unpacked_as_the_crate_image_unpacks_them() {
        // Runs, pixels one by one, a step to the side and up; a row too long, where that is allowed; no end; nothing.
        let of_bytes: [&[u8]; 4] = [
            &[3, 0x12, 0, 0, 0, 3, 1, 2, 3, 0, 1, 9, 0, 0, 0, 2, 2, 1, 2, 7, 0, 0, 0, 0, 0, 1],
            &[7, 1, 0, 0, 9, 2, 0, 0, 0, 4, 1, 2, 3, 4, 0, 1],
            &[7, 1, 0, 0, 7, 2, 0, 0, 7, 3, 0, 0, 7, 4, 0, 0, 7, 5, 0, 0],
            &[0, 1],
        ];
        let of_halves: [&[u8]; 4] = [
            &[3, 0x12, 0, 0, 0, 3, 0x12, 0x30, 1, 9, 0, 0, 0, 2, 2, 1, 2, 0x67, 0, 0, 0, 0, 0, 1],
            &[0, 6, 0x12, 0x34, 0x56, 0, 0, 0, 5, 7, 0, 1],
            &[7, 1, 0, 0, 7, 0x23, 0, 0, 7, 3, 0, 0, 7, 4, 0, 0, 7, 5, 0, 0],
            &[0, 1],
        ];
        for (bits, packing, runs) in [(8, 1, of_bytes), (4, 2, of_halves)] {
            let palette = noise(4 << bits);
            for pixels in runs {
                let file = file(40, (7, 5), bits, packing, &palette, pixels);
                let ours = decode(&file).map_err(|error| error.to_string());
                assert_eq!(ours, as_the_crate_image(&file), "{bits} bits, {pixels:?}");
                for at in 14..file.len() {
                    for byte in [0, 2, 0x7f, 0xff] {
                        let mut damaged = file.clone();
                        damaged[at] = byte;
                        let _ = decode(&damaged);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_such_file_says_why() {
        let fails = |file: Vec<u8>, reason: &str| {
            let error = decode(&file).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        fails(file(41, (7, 5), 24, 0, &[], &noise(160)), "header of 41 bytes");
        fails(file(40, (7, 5), 24, 0, &[], &noise(100)), "ends too early");
        fails(file(40, (-7, 5), 24, 0, &[], &noise(160)), "-7 × 5");
        fails(file(40, (7, 5), 24, 4, &[], &noise(160)), "24 bits a pixel, packed in way 4");
        fails(file(40, (7, -5), 8, 1, &noise(1024), &[0, 1]), "8 bits a pixel, packed in way 1");
        fails(file(40, (7, 5), 8, 1, &noise(1024), &[0, 2, 0, 9]), "outside");
        fails(file(40, (7, 5), 32, 3, &[5, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0], &noise(160)), "in one piece");
        fails(file(40, (30_000, 5), 24, 0, &[], &noise(160)), "30000 × 5");
        fails(file(40, (9000, 9000), 24, 0, &[], &noise(160)), "can't hold");
    }
}
