//! What is in a file of pixels: its kind by its first bytes, and its pixels over a white ground, the right way up.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::orientation::Orientation;
use super::samples::{LARGEST, LONGEST, PictureHead, Samples, broken, room};
use super::{Picture, bmp, gif, ico, pnm, tiff, webp};
use crate::error::{Error, Result};
use crate::known::format_of;

/// A kind of files of pixels.
pub(super) struct PictureKind {
    pub name: &'static str,
    /// What names of such files end with; [`PICTURES`](super::PICTURES) has all of them.
    #[cfg(test)]
    pub extensions: &'static [&'static str],
    is: fn(&[u8]) -> bool,
    /// How large the picture is and which way up, which takes no time.
    head: fn(&[u8]) -> Result<(PictureHead, Orientation)>,
    read: fn(&[u8]) -> Result<Samples>,
}

/// All kinds; a file is of the first one that knows it.
pub(super) const KINDS: [PictureKind; 8] = [
    PictureKind {
        name: "PNG",
        #[cfg(test)]
        extensions: &["png"],
        is: |file| file.starts_with(b"\x89PNG\r\n\x1a\n"),
        head: |file| png_reader(file).map(|reader| (png_head(&reader), png_orientation(&reader))),
        read: png,
    },
    PictureKind {
        name: "JPEG",
        #[cfg(test)]
        extensions: &["jpg", "jpeg"],
        is: |file| file.starts_with(b"\xff\xd8\xff"),
        head: |file| jpeg_decoder(file).map(|(_, head, orientation)| (head, orientation)),
        read: jpeg,
    },
    PictureKind {
        name: "BMP",
        #[cfg(test)]
        extensions: &["bmp"],
        is: |file| file.starts_with(b"BM"),
        head: |file| bmp::head(file).map(upright),
        read: bmp::decode,
    },
    PictureKind {
        name: "WebP",
        #[cfg(test)]
        extensions: &["webp"],
        is: |file| matches!(file, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..]),
        head: webp::head,
        read: webp::decode,
    },
    PictureKind {
        name: "GIF",
        #[cfg(test)]
        extensions: &["gif"],
        is: |file| file.starts_with(b"GIF8"),
        head: |file| gif::head(file).map(upright),
        read: gif::decode,
    },
    PictureKind {
        name: "TIFF",
        #[cfg(test)]
        extensions: &["tif", "tiff"],
        is: |file| file.starts_with(b"II*\0") || file.starts_with(b"MM\0*"),
        head: tiff::head,
        read: tiff::decode,
    },
    PictureKind {
        name: "PNM",
        #[cfg(test)]
        extensions: &["pnm", "pbm", "pgm", "ppm", "pam"],
        is: pnm::is_pnm,
        head: |file| pnm::head(file).map(upright),
        read: pnm::decode,
    },
    PictureKind {
        name: "ICO",
        #[cfg(test)]
        extensions: &["ico"],
        is: ico::is_icon,
        head: |file| {
            let of_png = |file: &[u8]| png_reader(file).map(|reader| png_head(&reader));
            ico::head(file, of_png).map(upright)
        },
        read: |file| ico::decode(file, png),
    },
];

fn upright(head: PictureHead) -> (PictureHead, Orientation) {
    (head, Orientation::UPRIGHT)
}

/// The kind that a file's first bytes show.
fn kind_of(file: &[u8]) -> Result<&'static PictureKind> {
    KINDS.iter().find(|kind| (kind.is)(file)).ok_or_else(|| {
        let names = KINDS.map(|kind| kind.name).join(", ");
        let start = file.get(..512).unwrap_or(file);
        let what = match format_of(start) {
            Some(format) => format!("this is {format}, and"),
            None if is_text(start) => "this is a text, as tables are, and".to_string(),
            None => "this is".to_string(),
        };
        Error::new(format!("{what} no picture that can be read, of {names}"))
    })
}

/// Whether the first bytes of a file are letters.
fn is_text(start: &[u8]) -> bool {
    let letters = String::from_utf8_lossy(start);
    let is_letter = |letter: char| {
        letter != char::REPLACEMENT_CHARACTER && (letter.is_whitespace() || !letter.is_control())
    };
    // The last one may be cut.
    !start.is_empty() && letters.trim_end_matches(char::REPLACEMENT_CHARACTER).chars().all(is_letter)
}

/// Reads a picture of the kind that its first bytes show.
pub(super) fn decode(file: &[u8]) -> Result<Picture> {
    let kind = kind_of(file)?;
    let (_, orientation) = (kind.head)(file)?;
    (kind.read)(file).map(|samples| orientation.apply(opaque(samples)))
}

/// Height, width and whether there are colours, without the pixels.
pub(super) fn size(file: &[u8]) -> Result<(usize, usize, bool)> {
    let (PictureHead { height, width, channels }, orientation) = (kind_of(file)?.head)(file)?;
    let (height, width) = if orientation.swaps_sides() { (width, height) } else { (height, width) };
    Ok((height, width, channels >= 3))
}

type PngReader<'a> = png::Reader<Cursor<&'a [u8]>>;

fn png_reader(file: &[u8]) -> Result<PngReader<'_>> {
    let mut decoder =
        png::Decoder::new_with_limits(Cursor::new(file), png::Limits { bytes: LARGEST as usize });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes become colours and fewer bits eight; sixteen stay, to be rounded below.
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder.read_info().map_err(broken)
}

fn png_head(reader: &PngReader) -> PictureHead {
    let (width, height) = reader.info().size();
    let (colour, _) = reader.output_color_type();
    PictureHead { height: height as usize, width: width as usize, channels: colour.samples() }
}

fn png_orientation(reader: &PngReader) -> Orientation {
    reader.info().exif_metadata.as_deref().map_or(Orientation::UPRIGHT, Orientation::in_exif)
}

fn png(file: &[u8]) -> Result<Samples> {
    let mut reader = png_reader(file)?;
    let PictureHead { height, width, channels } = png_head(&reader);
    let wide = reader.output_color_type().1 == png::BitDepth::Sixteen;
    let mut bytes = vec![0; room(height, width, channels * if wide { 2 } else { 1 }, file)?];
    reader.next_frame(&mut bytes).map_err(broken)?;
    if wide {
        let round = |&sample: &[u8; 2]| ((u32::from(u16::from_be_bytes(sample)) + 128) / 257) as u8;
        bytes = bytes.as_chunks().0.iter().map(round).collect();
    }
    Ok(Samples { height, width, channels, bytes })
}

type JpegReader<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

fn jpeg_decoder(file: &[u8]) -> Result<(JpegReader<'_>, PictureHead, Orientation)> {
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
    let orientation = decoder.exif().map_or(Orientation::UPRIGHT, |exif| Orientation::in_exif(exif));
    Ok((decoder, PictureHead { height, width, channels }, orientation))
}

fn jpeg(file: &[u8]) -> Result<Samples> {
    let (mut decoder, PictureHead { height, width, channels }, _) = jpeg_decoder(file)?;
    let mut bytes = vec![0; room(height, width, channels, file)?];
    decoder.decode_into(&mut bytes).map_err(broken)?;
    if is_cut_off(file) {
        return Err(broken("its end is missing: the file is cut off"));
    }
    Ok(Samples { height, width, channels, bytes })
}

/// Whether a JPEG file has no end after its last pixels, of which the decoder would make grey ones.
fn is_cut_off(file: &[u8]) -> bool {
    let last = |marker: u8| file.windows(2).rposition(|pair| pair == [0xff, marker]);
    let (scan, end) = (last(0xda), last(0xd9));
    end.is_none_or(|end| scan.is_some_and(|scan| end < scan))
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
    use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat};
    use png::{BitDepth, ColorType};

    /// Bytes without order.
    pub fn noise(count: usize) -> Vec<u8> {
        (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// What the crate `image` reads in a file, over white.
    pub fn as_the_crate_image(file: &[u8]) -> Result<Picture, String> {
        let reader = image::ImageReader::new(Cursor::new(file)).with_guessed_format().unwrap();
        let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
        let orientation = decoder.orientation().map_err(|error| error.to_string())?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
        image.apply_orientation(orientation);
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

    /// A file of each kind that the crate `image` writes, with noise in all four channels or in three.
    fn written(format: ImageFormat, colour: image::ColorType) -> Vec<u8> {
        let rgba = image::RgbaImage::from_raw(23, 17, noise(23 * 17 * 4)).unwrap();
        let image = DynamicImage::from(rgba);
        let image = match colour {
            image::ColorType::L8 => DynamicImage::from(image.to_luma8()),
            image::ColorType::Rgb8 => DynamicImage::from(image.to_rgb8()),
            _ => image,
        };
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    /// Files of every kind, each of which is its own.
    pub fn of_every_kind() -> Vec<(&'static str, Vec<u8>)> {
        use image::ColorType::{L8, Rgb8, Rgba8};
        let mut files = Vec::new();
        for (name, format, colours) in [
            ("PNG", ImageFormat::Png, &[L8, Rgb8, Rgba8][..]),
            ("JPEG", ImageFormat::Jpeg, &[L8, Rgb8]),
            ("BMP", ImageFormat::Bmp, &[L8, Rgb8, Rgba8]),
            ("WebP", ImageFormat::WebP, &[L8, Rgb8, Rgba8]),
            ("GIF", ImageFormat::Gif, &[Rgb8, Rgba8]),
            ("TIFF", ImageFormat::Tiff, &[L8, Rgb8, Rgba8]),
            ("PNM", ImageFormat::Pnm, &[L8, Rgb8]),
            ("ICO", ImageFormat::Ico, &[Rgba8]),
        ] {
            files.extend(colours.iter().map(|colour| (name, written(format, *colour))));
        }
        files
    }

    #[test]
    fn files_of_every_kind_are_known_read_and_measured_and_none_that_is_damaged_panics() {
        let files = of_every_kind();
        assert!(KINDS.iter().all(|kind| files.iter().any(|(name, _)| *name == kind.name)));
        for (name, file) in files {
            assert_eq!(kind_of(&file).unwrap().name, name);
            let ours = decode(&file).map_err(|error| error.to_string());
            assert_eq!(ours, as_the_crate_image(&file), "{name}");
            assert_eq!(size(&file).unwrap(), ours.unwrap().size(), "{name}");
            for cut in (0..file.len()).step_by(1 + file.len() / 300) {
                let cut_off = decode(&file[..cut]);
                assert!(cut_off.is_err() || cut + 16 > file.len(), "{name} of {cut} of {} bytes", file.len());
                let _ = size(&file[..cut]);
            }
            for at in (0..file.len()).step_by(1 + file.len() / 300) {
                for byte in [0, 1, 0x7f, 0xff] {
                    let mut damaged = file.clone();
                    damaged[at] = byte;
                    let _ = (decode(&damaged), size(&damaged));
                }
            }
        }
    }

    #[test]
    fn pictures_of_cameras_come_the_right_way_up() {
        use super::super::orientation::tests::exif;
        let pixels = image::RgbImage::from_raw(24, 16, noise(24 * 16 * 3)).unwrap();
        for number in 1..=8 {
            for exif in exif(number) {
                let (mut jpeg, mut png, mut webp) = (Vec::new(), Vec::new(), Vec::new());
                let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90);
                encoder.set_exif_metadata(exif.clone()).unwrap();
                encoder.write_image(&pixels, 24, 16, ExtendedColorType::Rgb8).unwrap();
                let mut encoder = image::codecs::png::PngEncoder::new(&mut png);
                encoder.set_exif_metadata(exif.clone()).unwrap();
                encoder.write_image(&pixels, 24, 16, ExtendedColorType::Rgb8).unwrap();
                let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
                encoder.set_exif_metadata(exif.clone()).unwrap();
                encoder.write_image(&pixels, 24, 16, ExtendedColorType::Rgb8).unwrap();
                for file in [jpeg, png, webp] {
                    let ours = decode(&file).map_err(|error| error.to_string());
                    assert_eq!(ours, as_the_crate_image(&file), "{number}");
                    let tall = if number > 4 { 24 } else { 16 };
                    assert_eq!(ours.unwrap().size(), (tall, 40 - tall, true), "{number}");
                    assert_eq!(size(&file).unwrap(), (tall, 40 - tall, true), "{number}");
                }
            }
        }
    }

    #[test]
    fn extensions_are_those_of_the_kinds() {
        assert_eq!(
            KINDS.iter().flat_map(|kind| kind.extensions).collect::<Vec<_>>(),
            Vec::from_iter(&super::super::PICTURES)
        );
    }

    #[test]
    fn a_file_of_another_kind_says_which_can_be_read() {
        for file in [&b""[..], b"%PDF-1.4", b"\x89PNG"] {
            assert!(
                decode(file).unwrap_err().to_string().contains("PNG, JPEG, BMP, WebP, GIF, TIFF, PNM, ICO")
            );
        }
        let large = DynamicImage::new_luma8(1, 20_001);
        let mut file = Cursor::new(Vec::new());
        large.write_to(&mut file, image::ImageFormat::Png).unwrap();
        let error = decode(file.get_ref()).unwrap_err().to_string();
        assert!(error.contains("1 × 20001"), "{error}");
    }
}
