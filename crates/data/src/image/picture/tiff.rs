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

/// A file whose pixels are places in a palette, told to be greys, and its palette: all reds, greens and blues.
fn of_palette(file: &[u8], reader: &mut TiffReader) -> Result<Option<(Vec<u8>, Vec<u16>)>> {
    const PALETTE: u32 = 3;
    let kind = reader.find_tag_unsigned::<u32>(Tag::PhotometricInterpretation).ok().flatten();
    if kind != Some(PALETTE) {
        return Ok(None);
    }
    let palette = reader.find_tag_unsigned_vec::<u16>(Tag::ColorMap).map_err(broken)?;
    let palette = palette.ok_or_else(|| broken("it has no palette"))?;
    let mut greys = file.to_vec();
    let place = photometric_place(file).ok_or_else(|| broken("its first directory is damaged"))?;
    let one = if file.starts_with(b"II") { 1u16.to_le_bytes() } else { 1u16.to_be_bytes() };
    greys
        .get_mut(place..place + 2)
        .ok_or_else(|| broken("its first directory is damaged"))?
        .copy_from_slice(&one);
    Ok(Some((greys, palette)))
}

/// Where a file says what its numbers mean.
fn photometric_place(file: &[u8]) -> Option<usize> {
    let little = file.starts_with(b"II");
    let short = |at: usize| -> Option<u16> {
        let bytes = *file.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let start = *file.get(4..)?.first_chunk::<4>()?;
    let start = if little { u32::from_le_bytes(start) } else { u32::from_be_bytes(start) } as usize;
    let entry = |number: u16| start.checked_add(2 + 12 * usize::from(number));
    let found = (0..short(start)?).filter_map(entry).find(|at| short(*at) == Some(262))?;
    Some(found + 8)
}

/// Refuses what is packed as faxes are.
fn check_packing(reader: &mut TiffReader) -> Result<()> {
    let packing = reader.find_tag_unsigned::<u32>(Tag::Compression).ok().flatten();
    match packing {
        Some(2..=4) => {
            Err(broken("it is packed as a fax is (CCITT), which kiln doesn't unpack; save it as PNG"))
        }
        _ => Ok(()),
    }
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
    check_packing(&mut reader)?;
    let (height, width, channels) = match of_palette(file, &mut reader)? {
        Some(_) => {
            let (width, height) = reader.dimensions().map_err(broken)?;
            (height as usize, width as usize, 3)
        }
        None => {
            let (height, width, colour) = size(&mut reader)?;
            (height, width, channels(colour)?.1)
        }
    };
    let number = reader.find_tag_unsigned::<u32>(Tag::Orientation).ok().flatten().unwrap_or(1);
    Ok((PictureHead { height, width, channels }, Orientation::of(number)))
}

/// Reads a file.
pub(super) fn decode(file: &[u8]) -> Result<Samples> {
    let mut reader = reader(file)?;
    check_packing(&mut reader)?;
    match of_palette(file, &mut reader)? {
        Some((greys, palette)) => coloured(pixels(&greys, false)?, &palette),
        None => pixels(file, true),
    }
}

/// Colours for places in a palette, whose colours have 16 bits.
fn coloured(places: Samples, palette: &[u16]) -> Result<Samples> {
    let Samples { height, width, bytes, .. } = places;
    let (count, mut colours) = (palette.len() / 3, Vec::with_capacity(3 * bytes.len()));
    for place in &bytes {
        for part in 0..3 {
            let colour =
                palette.get(part * count + usize::from(*place)).filter(|_| usize::from(*place) < count);
            let colour = colour.ok_or_else(|| broken("it has a colour that isn't in its palette"))?;
            colours.push(((u32::from(*colour) + 128) / 257) as u8);
        }
    }
    Ok(Samples { height, width, channels: 3, bytes: colours })
}

/// The numbers of a file, as amounts of light where they are such.
fn pixels(file: &[u8], of_light: bool) -> Result<Samples> {
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
        ColorType::Gray(bits @ (1 | 2 | 4)) if of_light => {
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

    /// As a program that reads bytes one by one makes of it: the crate `image` refuses palettes.
    #[test]
    fn palettes_become_colours_and_faxes_are_refused() {
        for bits in [8u16, 4] {
            let count = 1usize << bits;
            let places: Vec<u8> = (0..35).map(|at| (at * 7 % count) as u8).collect();
            let stored = match bits {
                8 => places.clone(),
                _ => places
                    .chunks(7)
                    .flat_map(|row| {
                        row.chunks(2).map(|two| two[0] << 4 | two.get(1).unwrap_or(&0)).collect::<Vec<_>>()
                    })
                    .collect(),
            };
            let palette: Vec<u16> = (0..3 * count).map(|at| (at * 257 * 3 % 65_536) as u16).collect();
            // The palette lies behind all else, where its place is known once the file is made.
            let mut whole = file(3, 1, bits, &stored, &[(320, 3, 3 * count as u32, 0)]);
            let place = (whole.len() as u32).to_le_bytes();
            let entry = whole.windows(4).position(|bytes| bytes == [64, 1, 3, 0]).unwrap();
            whole[entry + 8..entry + 12].copy_from_slice(&place);
            whole.extend(palette.iter().flat_map(|colour| colour.to_le_bytes()));
            let picture = decode(&whole).unwrap();
            let size = crate::ImageSize { channels: 3, height: 5, width: 7 };
            let expected = |at: usize| {
                let colour = |place: &u8| palette[at * count + usize::from(*place)];
                places
                    .iter()
                    .map(colour)
                    .map(|colour| ((u32::from(colour) + 128) / 257) as u8)
                    .collect::<Vec<_>>()
            };
            assert_eq!(picture.pixels(size), [expected(0), expected(1), expected(2)].concat());
            for cut in 0..whole.len() {
                let _ = decode(&whole[..cut]);
            }
        }
        let mut fax = file(1, 1, 1, &noise(5), &[]);
        let packing = fax.windows(4).position(|bytes| bytes == [3, 1, 3, 0]).unwrap();
        fax[packing + 8] = 4;
        assert!(decode(&fax).unwrap_err().to_string().contains("fax"));
    }

    #[test]
    fn the_way_up_is_that_of_the_file() {
        let size = crate::ImageSize { channels: 1, height: 7, width: 5 };
        let upright = decode(&file(1, 1, 8, &noise(35), &[])).unwrap();
        let turned = decode(&file(1, 1, 8, &noise(35), &[(274, 3, 1, 6)])).unwrap();
        assert_eq!((upright.size(), turned.size()), ((5, 7, false), (7, 5, false)));
        // 6: the first row of the file is the right side, from top to bottom.
        let (rows, pixels) = (noise(35), turned.pixels(size));
        for row in 0..5 {
            for column in 0..7 {
                assert_eq!(pixels[column * 5 + 4 - row], rows[row * 7 + column]);
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
