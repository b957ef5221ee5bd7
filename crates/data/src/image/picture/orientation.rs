//! Which way up a picture is: what its EXIF data say of the camera, and the pixels turned so.

use super::Picture;

/// Where the first row and column of a file's pixels are in the picture, as a number of EXIF from 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

/// The tag of EXIF and of TIFF, and the type of its value, a number of two bytes.
const TAG: u16 = 0x112;
const SHORT: u16 = 3;

impl Orientation {
    /// As the pixels lie in the file.
    pub const UPRIGHT: Orientation = Orientation(1);

    /// By its number; one that means nothing is upright.
    pub fn of(number: u32) -> Orientation {
        match u8::try_from(number) {
            Ok(number @ 1..=8) => Orientation(number),
            _ => Orientation::UPRIGHT,
        }
    }

    /// As EXIF data say; damaged ones say nothing.
    pub fn in_exif(exif: &[u8]) -> Orientation {
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        number(exif).map_or(Orientation::UPRIGHT, |number| Orientation::of(number.into()))
    }

    /// Whether what is wide in the file is tall in the picture.
    pub fn swaps_sides(self) -> bool {
        self.0 > 4
    }

    /// The picture as it was seen.
    pub fn apply(self, picture: Picture) -> Picture {
        if self == Orientation::UPRIGHT {
            return picture;
        }
        let Picture { height, width, channels, bytes } = picture;
        let (tall, wide) = if self.swaps_sides() { (width, height) } else { (height, width) };
        let mut turned = Vec::with_capacity(bytes.len());
        for row in 0..tall {
            for column in 0..wide {
                // Where the pixel lies in the file.
                let (from, across) = match self.0 {
                    2 => (row, width - 1 - column),
                    3 => (height - 1 - row, width - 1 - column),
                    4 => (height - 1 - row, column),
                    5 => (column, row),
                    6 => (height - 1 - column, row),
                    7 => (height - 1 - column, width - 1 - row),
                    8 => (column, width - 1 - row),
                    _ => (row, column),
                };
                let at = (from * width + across) * channels;
                turned.extend_from_slice(&bytes[at..at + channels]);
            }
        }
        Picture { height: tall, width: wide, channels, bytes: turned }
    }
}

/// The value of the tag in the first directory.
fn number(exif: &[u8]) -> Option<u16> {
    let is_big = match exif.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = exif.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let first = long(4)? as usize;
    let count = usize::from(short(first)?);
    let entries = (0..count).filter_map(|entry| first.checked_add(2 + 12 * entry));
    let is_it = |at: &usize| {
        short(*at) == Some(TAG) && short(at + 2) == Some(SHORT) && long(at.saturating_add(4)) == Some(1)
    };
    short(entries.into_iter().find(is_it)?.checked_add(8)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// EXIF data that say a number, in both orders of bytes.
    pub fn exif(number: u16) -> [Vec<u8>; 2] {
        let written = |magic: &[u8], short: fn(u16) -> [u8; 2], long: fn(u32) -> [u8; 4]| {
            let mut exif = magic.to_vec();
            exif.extend(long(8));
            exif.extend(short(2));
            // A tag before it: the maker's name.
            exif.extend([short(0x10f), short(2)].concat());
            exif.extend([long(4), *b"me\0\0"].concat());
            exif.extend([short(TAG), short(SHORT)].concat());
            exif.extend(long(1));
            exif.extend([short(number), short(0)].concat());
            exif.extend(long(0));
            exif
        };
        [
            written(b"II*\0", u16::to_le_bytes, u32::to_le_bytes),
            written(b"MM\0*", u16::to_be_bytes, u32::to_be_bytes),
        ]
    }

    #[test]
    fn every_orientation_is_read_and_turned_as_the_crate_image_does() {
        let bytes: Vec<u8> = (0..7 * 5 * 3).collect();
        for number in 0..=9 {
            for exif in exif(number) {
                let theirs = image::metadata::Orientation::from_exif_chunk(&exif);
                let mut image =
                    image::DynamicImage::from(image::RgbImage::from_raw(7, 5, bytes.clone()).unwrap());
                image.apply_orientation(theirs.unwrap_or(image::metadata::Orientation::NoTransforms));
                let picture = Picture { height: 5, width: 7, channels: 3, bytes: bytes.clone() };
                let own = Orientation::in_exif(&exif);
                let turned = own.apply(picture);
                assert_eq!((turned.height, turned.width), (image.height() as usize, image.width() as usize));
                assert_eq!(turned.bytes, image.into_bytes(), "{number}");
                assert_eq!(own.swaps_sides(), turned.height == 7, "{number}");
                let prefixed = [b"Exif\0\0", &exif[..]].concat();
                assert_eq!(Orientation::in_exif(&prefixed), own);
                for cut in 0..exif.len() {
                    // None may panic.
                    Orientation::in_exif(&exif[..cut]);
                }
                for at in 4..exif.len() {
                    let mut damaged = exif.clone();
                    damaged[at] = 0xff;
                    Orientation::in_exif(&damaged);
                }
            }
        }
    }
}
