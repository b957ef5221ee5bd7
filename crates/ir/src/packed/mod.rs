//! Packed weights: rows of numbers kept in blocks, a few bits each with scales of their block, as files of quantised models hold
//! them. What a block's bytes mean stands here; devices compile these very loops for their vectors.

mod pack;

use std::fmt;

/// How a block of packed numbers lies. Names and bytes are those of GGUF files, little-endian.
///
/// ```
/// use kiln_ir::packed::BlockFormat;
///
/// // A scale of 0.5 (in 16 bits), then 16 bytes of two numbers each, less 8.
/// let block = [[0x00, 0x38].as_slice(), &[0x9a; 16]].concat();
/// let mut numbers = [0.0; 32];
/// BlockFormat::Q4_0.unpack(&block, &mut numbers);
/// assert_eq!((numbers[0], numbers[16]), (1.0, 0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// One number in IEEE half precision.
    F16,
    /// One number: the upper half of an `f32`.
    Bf16,
    /// 32 numbers of 4 bits less 8, times a scale.
    Q4_0,
    /// 32 numbers of 4 bits, times a scale, plus a least number.
    Q4_1,
    /// 32 numbers of 5 bits less 16, times a scale; the fifth bits stand together.
    Q5_0,
    /// 32 numbers of 5 bits, times a scale, plus a least number.
    Q5_1,
    /// 32 signed bytes, times a scale.
    Q8_0,
    /// 256 numbers of 4 bits, each 32 with a scale and a least number of 6 bits, which have a scale each.
    Q4K,
    /// The same of 5 bits.
    Q5K,
    /// 256 numbers of 6 bits less 32, each 16 with a scale of a signed byte, which have a scale together.
    Q6K,
}

/// Unpacks block by block. A loop that stands where it is called, since a closure would be compiled without the caller's vectors.
macro_rules! each {
    ($blocks:ident, $numbers:ident, $bytes:literal, $count:expr, |$block:ident, $unpacked:ident| $body:block) => {{
        let (blocks, _) = $blocks.as_chunks::<$bytes>();
        let (numbers, _) = $numbers.as_chunks_mut::<{ $count }>();
        for ($block, $unpacked) in blocks.iter().zip(numbers) $body
    }};
}

/// Numbers of the blocks whose scales have scales.
const WIDE: usize = 256;

impl BlockFormat {
    /// Every one.
    pub const ALL: [BlockFormat; 10] = [
        BlockFormat::F16,
        BlockFormat::Bf16,
        BlockFormat::Q4_0,
        BlockFormat::Q4_1,
        BlockFormat::Q5_0,
        BlockFormat::Q5_1,
        BlockFormat::Q8_0,
        BlockFormat::Q4K,
        BlockFormat::Q5K,
        BlockFormat::Q6K,
    ];

    /// How many numbers a block holds.
    pub const fn numbers(self) -> usize {
        match self {
            BlockFormat::F16 | BlockFormat::Bf16 => 1,
            BlockFormat::Q4_0
            | BlockFormat::Q4_1
            | BlockFormat::Q5_0
            | BlockFormat::Q5_1
            | BlockFormat::Q8_0 => 32,
            BlockFormat::Q4K | BlockFormat::Q5K | BlockFormat::Q6K => WIDE,
        }
    }

    /// How many bytes a block takes.
    pub const fn bytes(self) -> usize {
        match self {
            BlockFormat::F16 | BlockFormat::Bf16 => 2,
            BlockFormat::Q4_0 => 18,
            BlockFormat::Q4_1 => 20,
            BlockFormat::Q5_0 => 22,
            BlockFormat::Q5_1 => 24,
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q4K => 144,
            BlockFormat::Q5K => 176,
            BlockFormat::Q6K => 210,
        }
    }

    /// The name that files of this format's family use.
    pub fn name(self) -> &'static str {
        match self {
            BlockFormat::F16 => "F16",
            BlockFormat::Bf16 => "BF16",
            BlockFormat::Q4_0 => "Q4_0",
            BlockFormat::Q4_1 => "Q4_1",
            BlockFormat::Q5_0 => "Q5_0",
            BlockFormat::Q5_1 => "Q5_1",
            BlockFormat::Q8_0 => "Q8_0",
            BlockFormat::Q4K => "Q4_K",
            BlockFormat::Q5K => "Q5_K",
            BlockFormat::Q6K => "Q6_K",
        }
    }

    /// How many bytes a row of so many numbers takes; nothing where they don't fill whole blocks, or more than can be counted.
    pub fn row_bytes(self, numbers: usize) -> Option<usize> {
        numbers
            .is_multiple_of(self.numbers())
            .then(|| (numbers / self.numbers()).checked_mul(self.bytes()))?
    }

    /// How many numbers so many bytes hold; nothing where they aren't whole blocks, or more than can be counted.
    pub fn row_numbers(self, bytes: usize) -> Option<usize> {
        bytes.is_multiple_of(self.bytes()).then(|| (bytes / self.bytes()).checked_mul(self.numbers()))?
    }

    /// Unpacks blocks, as many as there is room for. Each number is rounded as its formula says, in `f32`.
    #[inline(always)]
    pub fn unpack(self, blocks: &[u8], numbers: &mut [f32]) {
        match self {
            BlockFormat::F16 => {
                each!(blocks, numbers, 2, 1, |block, number| {
                    number[0] = single_of_half(u16::from_le_bytes(*block));
                })
            }
            BlockFormat::Bf16 => each!(blocks, numbers, 2, 1, |block, number| {
                number[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
            }),
            BlockFormat::Q4_0 => each!(blocks, numbers, 18, 32, |block, numbers| {
                let scale = half_at(block, 0);
                let (first, second) = numbers.split_at_mut(16);
                for ((byte, first), second) in block[2..2 + halves()].iter().zip(first).zip(second) {
                    let [low, high] = nibbles(*byte);
                    *first = (low - 8) as f32 * scale;
                    *second = (high - 8) as f32 * scale;
                }
            }),
            BlockFormat::Q4_1 => each!(blocks, numbers, 20, 32, |block, numbers| {
                let (scale, least) = (half_at(block, 0), half_at(block, 2));
                let (first, second) = numbers.split_at_mut(16);
                for ((byte, first), second) in block[4..4 + halves()].iter().zip(first).zip(second) {
                    let [low, high] = nibbles(*byte);
                    *first = low as f32 * scale + least;
                    *second = high as f32 * scale + least;
                }
            }),
            BlockFormat::Q5_0 => each!(blocks, numbers, 22, 32, |block, numbers| {
                let scale = half_at(block, 0);
                let fifths = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
                for at in 0..16 {
                    let [low, high] = with_fifths(nibbles(block[6 + at]), fifths, at);
                    numbers[at] = (low - 16) as f32 * scale;
                    numbers[16 + at] = (high - 16) as f32 * scale;
                }
            }),
            BlockFormat::Q5_1 => each!(blocks, numbers, 24, 32, |block, numbers| {
                let (scale, least) = (half_at(block, 0), half_at(block, 2));
                let fifths = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
                for at in 0..16 {
                    let [low, high] = with_fifths(nibbles(block[8 + at]), fifths, at);
                    numbers[at] = low as f32 * scale + least;
                    numbers[16 + at] = high as f32 * scale + least;
                }
            }),
            BlockFormat::Q8_0 => each!(blocks, numbers, 34, 32, |block, numbers| {
                let scale = half_at(block, 0);
                for at in 0..32 {
                    numbers[at] = f32::from(block[2 + at] as i8) * scale;
                }
            }),
            BlockFormat::Q4K => each!(blocks, numbers, 144, WIDE, |block, numbers| {
                for part in 0..4 {
                    let [[scale, least], [scale_high, least_high]] = scales_of_part(block, part);
                    for at in 0..32 {
                        let [low, high] = nibbles(block[16 + 32 * part + at]);
                        numbers[64 * part + at] = low as f32 * scale - least;
                        numbers[64 * part + 32 + at] = high as f32 * scale_high - least_high;
                    }
                }
            }),
            BlockFormat::Q5K => each!(blocks, numbers, 176, WIDE, |block, numbers| {
                for part in 0..4 {
                    let [[scale, least], [scale_high, least_high]] = scales_of_part(block, part);
                    for at in 0..32 {
                        let [low, high] = nibbles(block[48 + 32 * part + at]);
                        let fifths = i32::from(block[16 + at]) >> (2 * part);
                        numbers[64 * part + at] = (low + ((fifths & 1) << 4)) as f32 * scale - least;
                        numbers[64 * part + 32 + at] =
                            (high + ((fifths & 2) << 3)) as f32 * scale_high - least_high;
                    }
                }
            }),
            BlockFormat::Q6K => each!(blocks, numbers, 210, WIDE, |block, numbers| {
                let scale = half_at(block, 208);
                for part in 0..2 {
                    // 128 numbers: four rows of 32, each in two halves with a scale.
                    for half in 0..2 {
                        let mut scales = [0.0; 4];
                        for row in 0..4 {
                            scales[row] = scale * f32::from(block[192 + 8 * part + 2 * row + half] as i8);
                        }
                        for at in 16 * half..16 * half + 16 {
                            let [first, third] = nibbles(block[64 * part + at]);
                            let [second, fourth] = nibbles(block[64 * part + 32 + at]);
                            let above = i32::from(block[128 + 32 * part + at]);
                            let numbers = &mut numbers[128 * part..128 * part + 128];
                            numbers[at] = (first + ((above & 3) << 4) - 32) as f32 * scales[0];
                            numbers[32 + at] = (second + ((above & 12) << 2) - 32) as f32 * scales[1];
                            numbers[64 + at] = (third + (above & 48) - 32) as f32 * scales[2];
                            numbers[96 + at] = (fourth + ((above & 192) >> 2) - 32) as f32 * scales[3];
                        }
                    }
                }
            }),
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[inline(always)]
fn half_at(block: &[u8], at: usize) -> f32 {
    single_of_half(u16::from_le_bytes([block[at], block[at + 1]]))
}

#[inline(always)]
fn nibbles(byte: u8) -> [i32; 2] {
    [i32::from(byte & 15), i32::from(byte >> 4)]
}

/// 16, which the compiler doesn't know: written out sixteen times, so short a loop isn't vectorised.
#[inline(always)]
fn halves() -> usize {
    std::hint::black_box(16)
}

/// Two numbers with their fifth bits, the second of which stands 16 behind the first.
#[inline(always)]
fn with_fifths([low, high]: [i32; 2], fifths: u32, at: usize) -> [i32; 2] {
    [low | (((fifths >> at) & 1) << 4) as i32, high | (((fifths >> (at + 16)) & 1) << 4) as i32]
}

/// Scale and least number of either half of 64 numbers.
#[inline(always)]
fn scales_of_part(block: &[u8], part: usize) -> [[f32; 2]; 2] {
    [scale_of_group(block, 2 * part), scale_of_group(block, 2 * part + 1)]
}

/// Scale and least number of 32 numbers, which have six bits each.
#[inline(always)]
fn scale_of_group(block: &[u8], group: usize) -> [f32; 2] {
    let six = &block[4..16];
    let [scale, least] = match group < 4 {
        true => [six[group] & 63, six[group + 4] & 63],
        false => [
            (six[group + 4] & 15) | ((six[group - 4] >> 6) << 4),
            (six[group + 4] >> 4) | ((six[group] >> 6) << 4),
        ],
    };
    [half_at(block, 0) * f32::from(scale), half_at(block, 2) * f32::from(least)]
}

/// An IEEE half as a single, without branches, so that loops over it are vectorised; and without arithmetic on
/// denormals, which may be switched off.
#[inline(always)]
pub fn single_of_half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let normal = (magnitude << 13) + (112 << 23);
    let special = (magnitude << 13) | 0x7f80_0000;
    // A subnormal is a count of 2^-24.
    let subnormal = (magnitude as i32 as f32 * f32::from_bits(0x3380_0000)).to_bits();
    let finite = if magnitude < 0x0400 { subnormal } else { normal };
    f32::from_bits(sign | if magnitude >= 0x7c00 { special } else { finite })
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (single_of_half(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#x}");
        }
    }

    #[test]
    fn rows_are_whole_blocks_and_nothing_is_unpacked_past_them() {
        for format in BlockFormat::ALL {
            let (bytes, count) = (format.bytes(), format.numbers());
            assert_eq!(format.row_bytes(3 * count), Some(3 * bytes));
            assert_eq!(format.row_numbers(3 * bytes), Some(3 * count));
            assert_eq!(format.row_numbers(3 * bytes + 1), None);
            let mut numbers = vec![7.0; 3 * count];
            format.unpack(&vec![0; 2 * bytes], &mut numbers);
            assert!(numbers[2 * count..].iter().all(|&number| number == 7.0), "{format}");
            assert!(numbers[..2 * count].iter().all(|&number| number == 0.0), "{format}");
        }
    }
}
