//! Files in Netpbm's formats: bits, greys and colours as numbers in text or in bytes (P1 to P6), and any of them with opacity (P7).

use super::samples::{PictureHead, Samples, broken, room};
use crate::error::Result;

/// What a header says.
struct NetpbmHeader {
    height: usize,
    width: usize,
    channels: usize,
    /// What stands for white.
    most: u32,
    coding: NumberCoding,
    /// Where the pixels start.
    pixels: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum NumberCoding {
    /// Digits of 0 and 1, where 1 is black.
    TextBits,
    /// Numbers in text.
    Text,
    /// Bits of rows of whole bytes, where 1 is black.
    Bits,
    /// Bytes, or two for each number that doesn't fit one.
    Bytes,
}

/// Whether a file begins as one of these.
pub(super) fn is_pnm(file: &[u8]) -> bool {
    matches!(file, [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..])
}

/// How large the picture of a file is.
pub(super) fn head(file: &[u8]) -> Result<PictureHead> {
    let NetpbmHeader { height, width, channels, .. } = NetpbmHeader::read(file)?;
    Ok(PictureHead { height, width, channels })
}

/// Reads a file.
pub(super) fn decode(file: &[u8]) -> Result<Samples> {
    let NetpbmHeader { height, width, channels, most, coding, pixels } = NetpbmHeader::read(file)?;
    let count = room(height, width, channels, file)?;
    let raster = file.get(pixels..).unwrap_or_default();
    let numbers: Vec<u32> = match coding {
        NumberCoding::TextBits => {
            let digits = raster.iter().filter(|byte| !byte.is_ascii_whitespace()).take(count);
            digits.map(|digit| bit(*digit)).collect::<Result<_>>()?
        }
        NumberCoding::Text => {
            let words = raster.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(count);
            words.map(decimal).collect::<Result<_>>()?
        }
        NumberCoding::Bits => {
            let length = width.div_ceil(8).max(1);
            let row = |row: &[u8]| -> Vec<u32> {
                (0..width).map(|column| u32::from(row[column / 8] >> (7 - column % 8) & 1 == 0)).collect()
            };
            raster.chunks_exact(length).take(height).flat_map(row).collect()
        }
        NumberCoding::Bytes if most > 255 => {
            raster.as_chunks().0.iter().take(count).map(|&pair| u16::from_be_bytes(pair).into()).collect()
        }
        NumberCoding::Bytes => raster.iter().take(count).map(|&byte| byte.into()).collect(),
    };
    if numbers.len() < count {
        return Err(broken(format!("it ends after {} of its {count} numbers", numbers.len())));
    }
    let bytes = numbers.into_iter().map(|number| as_byte(number, most)).collect();
    Ok(Samples { height, width, channels, bytes })
}

/// A number of which the most is white, from 0 to 255.
fn as_byte(number: u32, most: u32) -> u8 {
    match most {
        255 => number.min(255) as u8,
        0..255 => (number as f32 * (255.0 / most as f32)).round() as u8,
        _ => {
            let wide = match most {
                65_535 => number,
                _ => (number as f32 * (65_535.0 / most as f32)).round().min(65_535.0) as u32,
            };
            ((wide + 128) / 257) as u8
        }
    }
}

fn bit(digit: u8) -> Result<u32> {
    match digit {
        b'0' => Ok(1),
        b'1' => Ok(0),
        other => Err(broken(format!("a bit is 0 or 1, not {:?}", char::from(other)))),
    }
}

fn decimal(word: &[u8]) -> Result<u32> {
    let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    number.ok_or_else(|| broken(format!("{:?} is no number", String::from_utf8_lossy(word))))
}

impl NetpbmHeader {
    fn read(file: &[u8]) -> Result<NetpbmHeader> {
        let kind = file.get(1).copied().unwrap_or_default();
        let mut words = HeaderWords { file, at: 2 };
        if kind == b'7' {
            return NetpbmHeader::of_any(&mut words);
        }
        let (width, height) = (words.number()?, words.number()?);
        let most = if matches!(kind, b'1' | b'4') { 1 } else { words.number()? };
        let coding = match kind {
            b'1' => NumberCoding::TextBits,
            b'2' | b'3' => NumberCoding::Text,
            b'4' => NumberCoding::Bits,
            _ => NumberCoding::Bytes,
        };
        let channels = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
        // One space ends the header, whatever the next byte is.
        NetpbmHeader::checked(NetpbmHeader {
            height,
            width,
            channels,
            most: most as u32,
            coding,
            pixels: words.at + 1,
        })
    }

    /// That of P7: a word and its value a line.
    fn of_any(words: &mut HeaderWords) -> Result<NetpbmHeader> {
        let [mut width, mut height, mut channels, mut most] = [0; 4];
        loop {
            match words.next()? {
                b"WIDTH" => width = words.number()?,
                b"HEIGHT" => height = words.number()?,
                b"DEPTH" => channels = words.number()?,
                b"MAXVAL" => most = words.number()?,
                b"TUPLTYPE" => drop(words.next()?),
                b"ENDHDR" => break,
                other => {
                    return Err(broken(format!(
                        "{:?} is no line of a header",
                        String::from_utf8_lossy(other)
                    )));
                }
            }
        }
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let pixels = words.at + 1;
        NetpbmHeader::checked(NetpbmHeader {
            height,
            width,
            channels,
            most,
            coding: NumberCoding::Bytes,
            pixels,
        })
    }

    fn checked(self) -> Result<NetpbmHeader> {
        let NetpbmHeader { height, width, channels, most, .. } = self;
        match (1..=4).contains(&channels) && (1..=65_535).contains(&most) && height > 0 && width > 0 {
            true => Ok(self),
            false => Err(broken(format!(
                "it says that it is {width} × {height}, with {channels} numbers up to {most} a pixel"
            ))),
        }
    }
}

/// The words of a header, without its comments.
struct HeaderWords<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> HeaderWords<'a> {
    fn next(&mut self) -> Result<&'a [u8]> {
        loop {
            match self.file.get(self.at) {
                Some(b'#') => {
                    let line = self.file[self.at..].iter().position(|byte| *byte == b'\n');
                    self.at = line.map_or(self.file.len(), |length| self.at + length);
                }
                Some(byte) if byte.is_ascii_whitespace() => self.at += 1,
                Some(_) => break,
                None => return Err(broken("it ends in its header")),
            }
        }
        let rest = &self.file[self.at..];
        let length = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'#');
        let word = &rest[..length.unwrap_or(rest.len())];
        self.at += word.len();
        Ok(word)
    }

    fn number(&mut self) -> Result<usize> {
        decimal(self.next()?).map(|number| number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::super::decode::tests::{as_the_crate_image, noise};

    #[test]
    fn files_of_every_kind_are_read_as_the_crate_image_reads_them() {
        let text = |count: usize, most: u32| -> Vec<u8> {
            let numbers = noise(count).into_iter().map(|byte| u32::from(byte) * most / 255);
            numbers.map(|number| format!("{number}\n")).collect::<String>().into_bytes()
        };
        let digits: Vec<u8> = noise(35).iter().map(|byte| b'0' + byte % 2).collect();
        let mut files = vec![
            [&b"P1\n# of a fax\n7 5\n"[..], &digits].concat(),
            [&b"P4 7 5\n"[..], &noise(5)].concat(),
            [&b"P4\n9 3\n"[..], &noise(6)].concat(),
        ];
        for most in [1u32, 15, 254, 255] {
            let bytes = |count| -> Vec<u8> {
                noise(count).iter().map(|byte| (u32::from(*byte) * most / 255) as u8).collect()
            };
            files.push([format!("P2 7 5 {most}\n").into_bytes(), text(35, most)].concat());
            files.push([format!("P3\n7\n5\n{most}\n").into_bytes(), text(105, most)].concat());
            files.push([format!("P5 7 5 {most}\n").into_bytes(), bytes(35)].concat());
            files.push([format!("P6\n# colours\n7 5\n{most}\n").into_bytes(), bytes(105)].concat());
            for (channels, kind) in [(1, "GRAYSCALE"), (2, "GRAYSCALE_ALPHA"), (3, "RGB"), (4, "RGB_ALPHA")] {
                let header = format!(
                    "P7\nWIDTH 7\nHEIGHT 5\nDEPTH {channels}\nMAXVAL {most}\nTUPLTYPE {kind}\nENDHDR\n"
                );
                files.push([header.into_bytes(), bytes(35 * channels)].concat());
            }
        }
        for most in [256u32, 1000, 65_535] {
            let pairs: Vec<u8> = noise(105)
                .iter()
                .flat_map(|byte| ((u32::from(*byte) * most / 255) as u16).to_be_bytes())
                .collect();
            files.push([format!("P2 7 5 {most}\n").into_bytes(), text(35, most)].concat());
            files.push([format!("P5 7 5 {most}\n").into_bytes(), pairs[..70].to_vec()].concat());
            files.push([format!("P6 7 5 {most}\n").into_bytes(), pairs].concat());
        }
        for file in &files {
            let ours = decode(file).map_err(|error| error.to_string());
            let head = String::from_utf8_lossy(&file[..file.len().min(20)]).into_owned();
            assert_eq!(ours, as_the_crate_image(file), "{head}");
            assert!(ours.is_ok(), "{head}: {ours:?}");
            for cut in 0..file.len() {
                // None may panic.
                let _ = decode(&file[..cut]);
            }
        }
    }

    #[test]
    fn what_is_no_such_file_says_why() {
        for (file, reason) in [
            (&b"P5 7 5 255\nabc"[..], "after 3 of its 35 numbers"),
            (b"P5 7 x 255\n", "\"x\" is no number"),
            (b"P5 7", "ends in its header"),
            (b"P5 0 5 255\n", "0 × 5"),
            (b"P5 7 5 70000\n", "up to 70000"),
            (b"P1 2 2 0 1 7 1", "a bit is 0 or 1"),
            (b"P7\nWIDTH 7\nSHAPE 3\n", "\"SHAPE\" is no line"),
            (b"P6 30000 5 255\n", "30000 × 5"),
        ] {
            let error = decode(file).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
