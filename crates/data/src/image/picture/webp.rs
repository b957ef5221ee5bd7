//! Files in the format WebP, of which the first frame is the picture.

use std::io::Cursor;

use super::orientation::Orientation;
use super::samples::{LARGEST, PictureHead, Samples, broken, room};
use crate::error::Result;

fn decoder(file: &[u8]) -> Result<image_webp::WebPDecoder<Cursor<&[u8]>>> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file)).map_err(broken)?;
    decoder.set_memory_limit(LARGEST as usize);
    Ok(decoder)
}

/// How large the picture of a file is, and which way up.
pub(super) fn head(file: &[u8]) -> Result<(PictureHead, Orientation)> {
    let mut decoder = decoder(file)?;
    let (width, height) = decoder.dimensions();
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let exif = decoder.exif_metadata().ok().flatten().unwrap_or_default();
    let head = PictureHead { height: height as usize, width: width as usize, channels };
    Ok((head, Orientation::in_exif(&exif)))
}

/// Reads a file.
pub(super) fn decode(file: &[u8]) -> Result<Samples> {
    let (PictureHead { height, width, channels }, _) = head(file)?;
    let mut bytes = vec![0; room(height, width, channels, file)?];
    decoder(file)?.read_image(&mut bytes).map_err(broken)?;
    Ok(Samples { height, width, channels, bytes })
}
