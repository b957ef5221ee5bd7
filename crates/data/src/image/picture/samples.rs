//! Pixels as decoders give them, and how many a file may ask for.

use crate::error::{Error, Result};

/// No picture has more pixels on a side, so that a damaged header asks for no impossible amount of memory.
pub(super) const LONGEST: usize = 20_000;

/// No picture has more bytes, in its file or unpacked.
pub(in crate::image) const LARGEST: u64 = 512 << 20;

/// No file of a large picture has more pixels in a byte: the most are in a PNG file of one colour, which holds 8 in a byte, packed to a
/// thousandth. Small ones may be of one colour in a format that needs no byte for a pixel.
const DENSEST: u64 = 10_000;
const SMALL: u64 = 1 << 22;

/// Pixels as they lie in a file, row by row: grey, grey and opacity, three colours, or these and opacity.
pub(super) struct Samples {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub bytes: Vec<u8>,
}

/// How large a picture is, as the head of its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PictureHead {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

/// What a decoder says of a damaged file.
pub(super) fn broken(message: impl std::fmt::Display) -> Error {
    // Some end with a line of their own.
    Error::new(format!("the picture can't be read: {}", message.to_string().trim_end()))
}

/// The bytes that the pixels take, where a file of such a length can hold them.
pub(super) fn room(height: usize, width: usize, pixel: usize, file: &[u8]) -> Result<usize> {
    let bytes = (height as u64).saturating_mul(width as u64).saturating_mul(pixel as u64);
    if height > LONGEST || width > LONGEST || bytes > LARGEST {
        return Err(broken(format!(
            "it says that it is {width} × {height}; {LONGEST} on a side and {} MB are the most",
            LARGEST >> 20
        )));
    }
    let held = file.len() as u64;
    if (height * width) as u64 > DENSEST.saturating_mul(held).max(SMALL) {
        return Err(Error::new(format!(
            "the picture says that it is {width} × {height}, which {held} bytes can't hold; it is damaged"
        )));
    }
    Ok(bytes as usize)
}
