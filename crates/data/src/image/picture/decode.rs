//! What is in a file of pixels: its kind by its first bytes, and its pixels over a white ground.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::samples::{LARGEST, LONGEST, Samples, broken, room};
use super::{Picture, bmp};
use crate::error::{Error, Result};

/// Reads a picture of the kind that its first bytes show.
pub(super) fn decode(file: &[u8]) -> Result<Picture> {
    let samples = match file {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png(file),
        [0xff, 0xd8, 0xff, ..] => jpeg(file),
        [b'B', b'M', ..] => bmp::decode(file),
        _ => return Err(Error::new("this is no picture that can be read; PNG, JPEG and BMP can")),
    };
    samples.map(opaque)
}

fn png(file: &[u8]) -> Result<Samples> {
    let mut decoder =
        png::Decoder::new_with_limits(Cursor::new(file), png::Limits { bytes: LARGEST as usize });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes become colours and fewer bits eight; sixteen stay, to be rounded below.
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = reader.info().size();
    let (height, width) = (height as usize, width as usize);
    let (colour, depth) = reader.output_color_type();
    let channels = colour.samples();
    let wide = depth == png::BitDepth::Sixteen;
    let mut bytes = vec![0; room(height, width, channels * if wide { 2 } else { 1 }, file)?];
    reader.next_frame(&mut bytes).map_err(broken)?;
    if wide {
        let round = |&sample: &[u8; 2]| ((u32::from(u16::from_be_bytes(sample)) + 128) / 257) as u8;
        bytes = bytes.as_chunks().0.iter().map(round).collect();
    }
    Ok(Samples { height, width, channels, bytes })
}

fn jpeg(file: &[u8]) -> Result<Samples> {
    let options =
        DecoderOptions::default().set_strict_mode(false).set_max_width(LONGEST).set_max_height(LONGEST);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(broken)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| broken("it has no size"))?;
    let (colours, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let mut bytes = vec![0; room(height, width, channels, file)?];
    decoder.decode_into(&mut bytes).map_err(broken)?;
    Ok(Samples { height, width, channels, bytes })
}

/// Over a white ground.
fn opaque(samples: Samples) -> Picture {
    let Samples { height, width, channels, bytes } = samples;
    let bytes = match channels {
        2 => bytes.as_chunks().0.iter().map(|&[grey, alpha]| over_white(grey, alpha)).collect(),
        4 => {
            let over = |&[red, green, blue, alpha]: &[u8; 4]| {
                [red, green, blue].map(|colour| over_white(colour, alpha))
            };
            bytes.as_chunks().0.iter().flat_map(over).collect()
        }
        _ => bytes,
    };
    Picture { height, width, channels: if channels < 3 { 1 } else { 3 }, bytes }
}

fn over_white(colour: u8, alpha: u8) -> u8 {
    ((u32::from(colour) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255) as u8
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image::{DynamicImage, ExtendedColorType, ImageEncoder};
    use png::{BitDepth, ColorType};

    /// Bytes without order.
    pub fn noise(count: usize) -> Vec<u8> {
        (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// What the crate `image` reads in a file, over white.
    pub fn as_the_crate_image(file: &[u8]) -> Result<Picture, String> {
        let image = image::load_from_memory(file).map_err(|error| error.to_string())?;
        let grey = !image.color().has_color();
        let rgba = image.to_rgba8();
        let (width, height) = (rgba.width() as usize, rgba.height() as usize);
        let picture = opaque(Samples { height, width, channels: 4, bytes: rgba.into_raw() });
        match grey {
            true => {
                Ok(Picture { channels: 1, bytes: picture.bytes.into_iter().step_by(3).collect(), ..picture })
            }
            false => Ok(picture),
        }
    }

    #[test]
    fn png_files_of_every_kind_are_read_as_the_crate_image_reads_them() {
        for colour in [
            ColorType::Grayscale,
            ColorType::Rgb,
            ColorType::Indexed,
            ColorType::GrayscaleAlpha,
            ColorType::Rgba,
        ] {
            for depth in [BitDepth::One, BitDepth::Two, BitDepth::Four, BitDepth::Eight, BitDepth::Sixteen] {
                let mut bits = depth as usize * colour.samples();
                if (depth as usize) < 8 && !matches!(colour, ColorType::Grayscale | ColorType::Indexed)
                    || colour == ColorType::Indexed && depth == BitDepth::Sixteen
                {
                    continue;
                }
                for opacity in [false, true] {
                    let mut file = Vec::new();
                    let mut encoder = png::Encoder::new(&mut file, 7, 5);
                    encoder.set_color(colour);
                    encoder.set_depth(depth);
                    if colour == ColorType::Indexed {
                        encoder.set_palette(noise(3 << depth as usize));
                        bits = depth as usize;
                    }
                    if opacity {
                        match colour {
                            ColorType::Indexed => encoder.set_trns(noise(1 << depth as usize)),
                            ColorType::Grayscale => encoder.set_trns(vec![0, 1]),
                            ColorType::Rgb => encoder.set_trns(noise(6)),
                            _ => continue,
                        }
                    }
                    let pixels = noise((7 * bits).div_ceil(8) * 5);
                    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
                    let ours = decode(&file).map_err(|error| error.to_string());
                    assert_eq!(ours, as_the_crate_image(&file), "{colour:?}, {depth:?}, opacity: {opacity}");
                    assert!(ours.is_ok(), "{ours:?}");
                }
            }
        }
    }

    #[test]
    fn jpeg_files_of_every_kind_are_read_as_the_crate_image_reads_them() {
        for (colour, channels) in [(ExtendedColorType::L8, 1), (ExtendedColorType::Rgb8, 3)] {
            for (width, height) in [(7, 5), (64, 48), (1, 1)] {
                let mut file = Vec::new();
                let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 70);
                let pixels: Vec<u8> = (0..width * height * channels).map(|at| (at / 3 % 251) as u8).collect();
                encoder.write_image(&pixels, width, height, colour).unwrap();
                let ours = decode(&file).map_err(|error| error.to_string());
                assert_eq!(ours, as_the_crate_image(&file), "{width} × {height} × {channels}");
                for cut in 0..file.len() {
                    // None may panic.
                    let _ = decode(&file[..cut]);
                }
            }
        }
    }

    #[test]
    fn a_file_of_another_kind_says_which_can_be_read() {
        for file in [&b""[..], b"GIF89a", b"\x89PNG"] {
            assert!(decode(file).unwrap_err().to_string().contains("PNG, JPEG and BMP"));
        }
        let large = DynamicImage::new_luma8(1, 20_001);
        let mut file = Cursor::new(Vec::new());
        large.write_to(&mut file, image::ImageFormat::Png).unwrap();
        let error = decode(file.get_ref()).unwrap_err().to_string();
        assert!(error.contains("1 × 20001"), "{error}");
    }
}
