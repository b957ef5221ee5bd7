//! Files in the format GIF, of which the first frame is the picture.

use super::samples::{LARGEST, PictureHead, Samples, broken, room};
use crate::error::Result;

fn decoder(file: &[u8]) -> Result<gif::Decoder<&[u8]>> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    options
        .set_memory_limit(gif::MemoryLimit::Bytes(LARGEST.try_into().unwrap_or(std::num::NonZeroU64::MIN)));
    options.read_info(file).map_err(broken)
}

/// How large the picture of a file is.
pub(super) fn head(file: &[u8]) -> Result<PictureHead> {
    let mut decoder = decoder(file)?;
    // A file that ends behind its head has a size and no picture.
    decoder.next_frame_info().map_err(broken)?.ok_or_else(|| broken("it has no frame"))?;
    Ok(PictureHead { height: decoder.height().into(), width: decoder.width().into(), channels: 4 })
}

/// Reads the first frame of a file, which may cover a part of the picture only.
pub(super) fn decode(file: &[u8]) -> Result<Samples> {
    let mut decoder = decoder(file)?;
    let (height, width) = (usize::from(decoder.height()), usize::from(decoder.width()));
    let mut bytes = vec![0; room(height, width, 4, file)?];
    let place = decoder.next_frame_info().map_err(broken)?.ok_or_else(|| broken("it has no frame"))?;
    let [top, left, tall, wide] = [place.top, place.left, place.height, place.width].map(usize::from);
    let mut pixels = vec![0; room(tall, wide, 4, file)?];
    decoder.read_into_buffer(&mut pixels).map_err(broken)?;
    let seen = wide.min(width.saturating_sub(left)) * 4;
    for (row, line) in pixels.chunks_exact((wide * 4).max(1)).enumerate().take(height.saturating_sub(top)) {
        let at = ((top + row) * width + left) * 4;
        if let Some(place) = bytes.get_mut(at..at + seen) {
            place.copy_from_slice(&line[..seen]);
        }
    }
    Ok(Samples { height, width, channels: 4, bytes })
}
