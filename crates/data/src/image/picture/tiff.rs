//! Files in the format TIFF: the first picture of one, in greys, in colours or in inks, of up to 16 bits.

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::orientation::Orientation;
use super::samples::{LARGEST, PictureHead, Samples, broken, room};
use crate::error::Result;

type TiffReader<'a> = Decoder<Cursor<&'a [u8]>>;

fn reader(file: &[u8]) -> Result<TiffReader<'_>> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = LARGEST as usize;
    limits.intermediate_buffer_size = LARGEST as usize;
    Ok(Decoder::new(Cursor::new(file)).map_err(broken)?.with_limits(limits))
}

/// Numbers of a pixel in the file, and what they are in the picture.
fn channels(colour: ColorType) -> Result<(usize, usize)> {
    match colour {
        ColorType::Gray(1 | 2 | 4 | 8 | 16) => Ok((1, 1)),
        // A grey and something more, which is opacity.
        ColorType::GrayA(8 | 16) | ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 } => Ok((2, 2)),
        ColorType::RGB(8 | 16) => Ok((3, 3)),
        ColorType::RGBA(8 | 16) => Ok((4, 4)),
        ColorType::CMYK(8) => Ok((4, 3)),
        other => Err(broken(format!("its pixels are {other:?}, which isn't known"))),
    }
}

fn size(reader: &mut TiffReader) -> Result<(usize, usize, ColorType)> {
    let (width, height) = reader.dimensions().map_err(broken)?;
    Ok((height as usize, width as usize, reader.colortype().map_err(broken)?))
}

/// How large the picture of a file is, and which way up.
pub(super) fn head(file: &[u8]) -> Result<(PictureHead, Orientation)> {
    let mut reader = reader(file)?;
    let (height, width, colour) = size(&mut reader)?;
    let (_, channels) = channels(colour)?;
    let number = reader.find_tag_unsigned::<u32>(Tag::Orientation).ok().flatten().unwrap_or(1);
    Ok((PictureHead { height, width, channels }, Orientation::of(number)))
}

/// Reads a file.
pub(super) fn decode(file: &[u8]) -> Result<Samples> {
    let mut reader = reader(file)?;
    let (height, width, colour) = size(&mut reader)?;
    let (stored, channels) = channels(colour)?;
    let bits = usize::from(colour.bit_depth());
    room(height, width, stored * bits.div_ceil(8), file)?;
    let mut numbers = DecodingResult::U8(Vec::new());
    let layout = reader.read_image_to_buffer(&mut numbers).map_err(broken)?;
    let planes = if layout.planes > 1 { stored } else { 1 };
    let bytes = match numbers {
        DecodingResult::U8(bytes) if bits == 8 => bytes,
        DecodingResult::U8(rows) => packed(&rows, width, bits),
        DecodingResult::U16(numbers) if bits == 16 => {
            numbers.into_iter().map(|number| ((u32::from(number) + 128) / 257) as u8).collect()
        }
        _ => return Err(broken("its numbers aren't whole")),
    };
    let pixels = height * width;
    if bytes.len() < pixels * stored {
        return Err(broken(format!("it has {} of its {} numbers", bytes.len(), pixels * stored)));
    }
    let bytes = match planes {
        1 => bytes,
        _ => (0..pixels)
            .flat_map(|at| (0..stored).map(move |plane| plane * pixels + at))
            .map(|at| bytes[at])
            .collect(),
    };
    let bytes = match colour {
        ColorType::Gray(bits @ (1 | 2 | 4)) => {
            let most = (1u32 << bits) - 1;
            bytes.iter().map(|number| (u32::from(*number) * 255 / most) as u8).collect()
        }
        ColorType::CMYK(_) => bytes.as_chunks().0.iter().flat_map(of_inks).collect(),
        _ => bytes,
    };
    Ok(Samples { height, width, channels, bytes })
}

/// Numbers of fewer bits than a byte has, in rows of whole bytes.
fn packed(rows: &[u8], width: usize, bits: usize) -> Vec<u8> {
    let number = |row: &[u8], at: usize| row[at / 8] >> (8 - bits - at % 8) & ((1 << bits) - 1);
    let length = (width * bits).div_ceil(8).max(1);
    rows.chunks_exact(length)
        .flat_map(|row| (0..width).map(move |column| number(row, column * bits)))
        .collect()
}

fn of_inks(&[cyan, magenta, yellow, black]: &[u8; 4]) -> [u8; 3] {
    let light = 1.0 - f32::from(black) / 255.0;
    [cyan, magenta, yellow].map(|ink| ((255.0 - f32::from(ink)) * light) as u8)
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::super::decode::tests::{as_the_crate_image, noise};

    /// An entry of a directory: its tag, type, count and value.
    type Entry = (u16, u16, u32, u32);

    /// A file of 7 × 5 with numbers in a row, of so many bits, and more entries.
    fn file(photometric: u32, samples: u32, bits: u16, pixels: &[u8], more: &[Entry]) -> Vec<u8> {
        let mut entries: Vec<Entry> = vec![
            (256, 4, 1, 7),
            (257, 4, 1, 5),
            (259, 3, 1, 1),
            (262, 3, 1, photometric),
            (277, 3, 1, samples),
            (278, 4, 1, 5),
            (279, 4, 1, pixels.len() as u32),
        ];
        entries.extend(more);
        let start = 8 + 2 + 12 * (entries.len() + 2) + 4;
        // The bits of each sample lie behind the pixels where they don't fit.
        entries.push((273, 4, 1, start as u32));
        let all_bits: Vec<u8> = std::iter::repeat_n(bits.to_le_bytes(), samples as usize).flatten().collect();
        let bits_at = (start + pixels.len()) as u32;
        entries.push(match samples {
            1 => (258, 3, 1, bits.into()),
            2 => (258, 3, 2, u32::from(bits) << 16 | u32::from(bits)),
            _ => (258, 3, samples, bits_at),
        });
        entries.sort_by_key(|entry| entry.0);
        let mut file = b"II*\0\x08\0\0\0".to_vec();
        file.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            file.extend([tag, kind].iter().flat_map(|number| number.to_le_bytes()));
            file.extend([count, value].iter().flat_map(|number| number.to_le_bytes()));
        }
        file.extend([0; 4]);
        file.extend(pixels);
        file.extend(all_bits);
        file
    }

    #[test]
    fn files_of_every_kind_are_read_as_the_crate_image_reads_them() {
        let mut files = vec![file(1, 1, 1, &noise(5), &[]), file(0, 1, 8, &noise(35), &[])];
        for bits in [8, 16] {
            let size = usize::from(bits / 8) * 35;
            files.push(file(1, 1, bits, &noise(size), &[]));
            files.push(file(2, 3, bits, &noise(size * 3), &[]));
            files.push(file(2, 4, bits, &noise(size * 4), &[(338, 3, 1, 2)]));
        }
        files.push(file(5, 4, 8, &noise(35 * 4), &[]));
        for file in &files {
            let ours = decode(file).map_err(|error| error.to_string());
            assert_eq!(ours, as_the_crate_image(file), "{:?}", &file[..80]);
            assert!(ours.is_ok(), "{ours:?}");
        }
        for file in files {
            for cut in 0..file.len() {
                // None may panic.
                let _ = decode(&file[..cut]);
            }
            for at in 4..file.len().min(180) {
                for byte in [0, 3, 0x7f, 0xff] {
                    let mut damaged = file.clone();
                    damaged[at] = byte;
                    let _ = decode(&damaged);
                }
            }
        }
    }

    #[test]
    fn opacity_is_over_white() {
        let size = crate::ImageSize { channels: 1, height: 5, width: 7 };
        // Half of what is half transparent is white.
        let grey = decode(&file(1, 2, 8, &[100, 128].repeat(35), &[(338, 3, 1, 2)])).unwrap();
        assert_eq!(grey.pixels(size), [177; 35]);
    }
}
