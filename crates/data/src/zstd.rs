//! What the feature `zstd` brings: files packed with zstd are read as if they weren't. `no_zstd.rs` stands in for it where the feature is
//! off.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What a packed file begins with.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What is packed, also in several frames one after the other. It looks back at 128 MiB at most.
pub(crate) fn unpacked<'a>(packed: impl BufRead + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(Box::new(Frames { packed, frame: FrameDecoder::new(), within: false }))
}

struct Frames<R> {
    packed: R,
    frame: FrameDecoder,
    /// Whether a frame is begun.
    within: bool,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame; false where there is none.
    fn begin(&mut self) -> Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.frame.init(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    std::io::copy(&mut self.packed.by_ref().take(length.into()), &mut std::io::sink())?;
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }
}

fn damaged(error: &FrameDecoderError) -> Error {
    Error::other(format!("what is packed with zstd can't be unpacked: {error}; it is cut off or damaged"))
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            if !self.within {
                self.within = self.begin()?;
                if !self.within {
                    return Ok(0);
                }
            }
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                self.frame
                    .decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| damaged(&error))?;
            }
            match self.frame.read(buffer) {
                Ok(0) if !buffer.is_empty() && self.frame.is_finished() => {
                    let (said, is) =
                        (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum());
                    if said.is_some() && said != is {
                        return Err(Error::new(
                            ErrorKind::InvalidInput,
                            "the checksum of what is packed with zstd is wrong; the file is damaged",
                        ));
                    }
                    self.within = false;
                }
                Ok(count) => return Ok(count),
                Err(error) => return Err(Error::new(ErrorKind::InvalidInput, error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    #[test]
    fn frames_one_after_the_other_are_one_file_and_cut_ones_are_refused() {
        let text = "a,b\n1,2\n".repeat(50_000);
        let one = compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let all = [&one[..], &skipped, &one].concat();
        let mut out = String::new();
        unpacked(&all[..]).unwrap().read_to_string(&mut out).unwrap();
        assert_eq!(out, text.repeat(2));
        for cut in [5, one.len() / 2, one.len() - 1] {
            let error = unpacked(&one[..cut]).unwrap().read_to_end(&mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains("cut off or damaged"), "{error}");
        }
    }
}
