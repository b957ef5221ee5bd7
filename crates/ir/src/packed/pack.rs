//! Numbers into blocks, by the choices that tools of such files make: the same bytes as theirs, where their arithmetic is that of single
//! numbers without fused steps.

use half::{bf16, f16};

use super::{BlockFormat, WIDE, half_at, scale_of_group};

/// Numbers of a block that has one scale.
const NARROW: usize = 32;

/// The least magnitude that 16 numbers are told from zeros by.
const NEARLY_ZERO: f32 = 1e-15;

impl BlockFormat {
    /// Packs numbers that fill whole blocks, as many as there is room for.
    ///
    /// How far a number is from what [`BlockFormat::unpack`] makes of it: half a step of its block, which is the largest magnitude of 32
    /// numbers over 127 (`Q8_0`), 8 or 16 (`Q4_0`, `Q5_0`; opposite the largest a whole step), or their span over 15 or 31 (`Q4_1`, `Q5_1`); and what a scale loses in 16 bits. Those with
    /// scales of scales search for the step with the least square error and have no such bound.
    pub fn pack(self, numbers: &[f32], blocks: &mut [u8]) {
        let blocks = blocks.chunks_exact_mut(self.bytes());
        for (numbers, block) in numbers.chunks_exact(self.numbers()).zip(blocks) {
            self.pack_block(numbers, block);
        }
    }

    fn pack_block(self, numbers: &[f32], block: &mut [u8]) {
        match self {
            BlockFormat::F16 => put_half(block, 0, numbers[0]),
            BlockFormat::Bf16 => block.copy_from_slice(&bf16::from_f32(numbers[0]).to_le_bytes()),
            BlockFormat::Q4_0 => {
                let (scale, levels) = around_zero(numbers, 8.0);
                put_half(block, 0, scale);
                put_nibbles(&mut block[2..], &levels);
            }
            BlockFormat::Q4_1 => {
                let ([scale, least], levels) = from_least(numbers, 15.0);
                put_half(block, 0, scale);
                put_half(block, 2, least);
                put_nibbles(&mut block[4..], &levels);
            }
            BlockFormat::Q5_0 => {
                let (scale, levels) = around_zero(numbers, 16.0);
                put_half(block, 0, scale);
                block[2..6].copy_from_slice(&fifth_bits(&levels));
                put_nibbles(&mut block[6..], &levels);
            }
            BlockFormat::Q5_1 => {
                let ([scale, least], levels) = from_least(numbers, 31.0);
                put_half(block, 0, scale);
                put_half(block, 2, least);
                block[4..8].copy_from_slice(&fifth_bits(&levels));
                put_nibbles(&mut block[8..], &levels);
            }
            BlockFormat::Q8_0 => {
                let scale = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
                let inverse = inverse(scale);
                put_half(block, 0, scale);
                for (byte, x) in block[2..].iter_mut().zip(numbers) {
                    *byte = (x * inverse).round() as i8 as u8;
                }
            }
            BlockFormat::Q4K => {
                let levels = graded(numbers, &FOUR_BITS, block);
                put_nibble_parts(&mut block[16..], &levels);
            }
            BlockFormat::Q5K => {
                let levels = graded(numbers, &FIVE_BITS, block);
                block[16..48].fill(0);
                for (at, level) in levels.iter().enumerate() {
                    block[16 + at % NARROW] |= (level >> 4) << (at / NARROW);
                }
                put_nibble_parts(&mut block[48..], &levels);
            }
            BlockFormat::Q6K => sixteen_scales(numbers, block),
        }
    }
}

fn put_half(block: &mut [u8], at: usize, number: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(number).to_le_bytes());
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Levels of 32 numbers around zero, and their scale: the one farthest from zero becomes the lowest level.
fn around_zero(numbers: &[f32], half: f32) -> (f32, [u8; NARROW]) {
    // Of zeros alone the first, whose sign is seen in the scale.
    let farthest = numbers.iter().fold(numbers[0], |most, &x| if most.abs() < x.abs() { x } else { most });
    let scale = farthest / -half;
    let inverse = inverse(scale);
    let level = |x: f32| (x * inverse + (half + 0.5)).clamp(0.0, 2.0 * half - 1.0) as u8;
    (scale, std::array::from_fn(|at| level(numbers[at])))
}

/// Levels of 32 numbers above the least, with their scale and the least.
fn from_least(numbers: &[f32], most: f32) -> ([f32; 2], [u8; NARROW]) {
    let least = numbers.iter().fold(numbers[0], |least, &x| if x < least { x } else { least });
    let greatest = numbers.iter().fold(numbers[0], |most, &x| if x > most { x } else { most });
    let scale = (greatest - least) / most;
    let inverse = inverse(scale);
    let level = |x: f32| ((x - least) * inverse + 0.5).clamp(0.0, most) as u8;
    ([scale, least], std::array::from_fn(|at| level(numbers[at])))
}

/// The lower four bits of 32 levels, two to a byte: the first with the seventeenth.
fn put_nibbles(bytes: &mut [u8], levels: &[u8; NARROW]) {
    for at in 0..NARROW / 2 {
        bytes[at] = levels[at] & 15 | levels[at + NARROW / 2] << 4;
    }
}

/// Those of 256, each 64 as the first with the thirty-third.
fn put_nibble_parts(bytes: &mut [u8], levels: &[u8; WIDE]) {
    for (bytes, levels) in bytes.chunks_exact_mut(NARROW).zip(levels.chunks_exact(2 * NARROW)) {
        for at in 0..NARROW {
            bytes[at] = levels[at] & 15 | levels[at + NARROW] << 4;
        }
    }
}

fn fifth_bits(levels: &[u8; NARROW]) -> [u8; 4] {
    let bits = levels.iter().enumerate().map(|(at, level)| u32::from(level >> 4) << at);
    bits.fold(0u32, |all, bit| all | bit).to_le_bytes()
}

/// Which steps are tried for 32 levels that have a least number: a little fewer and more than fill the span.
struct StepSearch {
    most: f32,
    first: f32,
    tries: u8,
}

const FOUR_BITS: StepSearch = StepSearch { most: 15.0, first: -1.0, tries: 21 };
const FIVE_BITS: StepSearch = StepSearch { most: 31.0, first: -0.5, tries: 16 };

/// 256 numbers in eight groups, each with a scale and a least number, which have six bits and a scale each. Writes the scales, and gives
/// the levels.
fn graded(numbers: &[f32], search: &StepSearch, block: &mut [u8]) -> [u8; WIDE] {
    let mut levels = [0; WIDE];
    let mut groups = [[0.0f32; 2]; WIDE / NARROW];
    for (group, (numbers, levels)) in
        groups.iter_mut().zip(numbers.chunks_exact(NARROW).zip(levels.chunks_exact_mut(NARROW)))
    {
        *group = fitted(numbers, search, levels);
    }
    let most =
        |of: usize| groups.iter().fold(0.0f32, |most, group| if group[of] > most { group[of] } else { most });
    let of_63 = [most(0), most(1)].map(|most| if most > 0.0 { 63.0 / most } else { 0.0 });
    put_half(block, 0, most(0) / 63.0);
    put_half(block, 2, most(1) / 63.0);
    let six = &mut block[4..16];
    for (at, group) in groups.iter().enumerate() {
        let [scale, least] =
            [0, 1].map(|of| (of_63[of] * group[of]).round_ties_even().clamp(0.0, 63.0) as u8);
        if at < 4 {
            (six[at], six[at + 4]) = (scale, least);
        } else {
            six[at + 4] = scale & 15 | least << 4;
            six[at - 4] |= scale >> 4 << 6;
            six[at] |= least >> 4 << 6;
        }
    }
    // The levels that are nearest with the scales that were kept.
    for (at, (numbers, levels)) in
        numbers.chunks_exact(NARROW).zip(levels.chunks_exact_mut(NARROW)).enumerate()
    {
        let [scale, least] = scale_of_group(block, at);
        if scale != 0.0 {
            for (level, x) in levels.iter_mut().zip(numbers) {
                *level = ((x + least) / scale).round_ties_even().clamp(0.0, search.most) as u8;
            }
        }
    }
    levels
}

/// The scale and the least number (less than zero, without its sign) of 32 numbers by which their levels have the least weighted square
/// error among those tried: each try is a line through levels and numbers.
fn fitted(numbers: &[f32], search: &StepSearch, levels: &mut [u8]) -> [f32; 2] {
    let root = (numbers.iter().fold(0.0f32, |sum, x| sum + x * x) / NARROW as f32).sqrt();
    let weights: [f32; NARROW] = std::array::from_fn(|at| root + numbers[at].abs());
    let weighted = || numbers.iter().zip(&weights);
    let (mut least, mut greatest) = (numbers[0], numbers[0]);
    let (mut sum_w, mut sum_x) = (0.0f32, 0.0f32);
    for (&x, w) in weighted() {
        least = if x < least { x } else { least };
        greatest = if x > greatest { x } else { greatest };
        sum_w += w;
        sum_x += w * x;
    }
    least = if least > 0.0 { 0.0 } else { least };
    if greatest == least {
        levels.fill(0);
        return [0.0, -least];
    }
    // Steps are counted from the least number of the best line so far.
    let levels_by = |steps: f32, least: f32| -> [f32; NARROW] {
        let per_step = steps / (greatest - least);
        let level = |x: f32| (per_step * (x - least)).round_ties_even().clamp(0.0, search.most);
        std::array::from_fn(|at| level(numbers[at]))
    };
    let error = |levels: &[f32; NARROW], scale: f32, least: f32| {
        weighted().zip(levels).fold(0.0f32, |sum, ((x, w), level)| {
            let apart = scale * level + least - x;
            sum + w * (apart * apart)
        })
    };
    let mut scale = 1.0 / (search.most / (greatest - least));
    let mut best = levels_by(search.most, least);
    let mut best_error = error(&best, scale, least);
    for each in 0..search.tries {
        let tried = levels_by(search.first + 0.1 * f32::from(each) + search.most, least);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for ((x, w), level) in weighted().zip(&tried) {
            sum_l += w * level;
            sum_l2 += w * level * level;
            sum_xl += w * level * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut line =
            [(sum_w * sum_xl - sum_x * sum_l) / determinant, (sum_l2 * sum_x - sum_l * sum_xl) / determinant];
        if line[1] > 0.0 {
            line = [sum_xl / sum_l2, 0.0];
        }
        let error = error(&tried, line[0], line[1]);
        if error < best_error {
            ([scale, least], best, best_error) = (line, tried, error);
        }
    }
    levels.iter_mut().zip(best).for_each(|(level, best)| *level = best as u8);
    [scale, -least]
}

/// 256 numbers of six bits in sixteen groups with a scale of a signed byte each.
fn sixteen_scales(numbers: &[f32], block: &mut [u8]) {
    let mut levels = [0i8; WIDE];
    let mut scales = [0.0f32; 16];
    for (scale, (numbers, levels)) in
        scales.iter_mut().zip(numbers.chunks_exact(16).zip(levels.chunks_exact_mut(16)))
    {
        *scale = fitted_around_zero(numbers, levels);
    }
    let most = scales.iter().fold(0.0f32, |most, &scale| if scale.abs() > most.abs() { scale } else { most });
    block.fill(0);
    if most.abs() < NEARLY_ZERO {
        return;
    }
    let inverse = -128.0 / most;
    put_half(block, 208, 1.0 / inverse);
    for (at, (numbers, levels)) in numbers.chunks_exact(16).zip(levels.chunks_exact_mut(16)).enumerate() {
        let byte = (inverse * scales[at]).round_ties_even().min(127.0) as i8;
        block[192 + at] = byte as u8;
        let scale = half_at(block, 208) * f32::from(byte);
        if scale != 0.0 {
            for (level, x) in levels.iter_mut().zip(numbers) {
                *level = six_bits(x / scale);
            }
        }
    }
    for part in 0..2 {
        for at in 0..32 {
            let [first, second, third, fourth] =
                [0, 32, 64, 96].map(|row| (levels[128 * part + row + at] + 32) as u8);
            block[64 * part + at] = first & 15 | third << 4;
            block[64 * part + 32 + at] = second & 15 | fourth << 4;
            block[128 + 32 * part + at] = first >> 4 | second >> 4 << 2 | third >> 4 << 4 | fourth >> 4 << 6;
        }
    }
}

fn six_bits(level: f32) -> i8 {
    level.round_ties_even().clamp(-32.0, 31.0) as i8
}

/// The scale of 16 numbers around zero by which their levels have the least square error, weighted by their squares, among those tried.
fn fitted_around_zero(numbers: &[f32], levels: &mut [i8]) -> f32 {
    let farthest = numbers.iter().fold(0.0f32, |most, &x| if x.abs() > most.abs() { x } else { most });
    if farthest.abs() < NEARLY_ZERO {
        // As the lowest, which the scale of zero makes nothing of.
        levels.fill(-32);
        return 0.0;
    }
    let sums = |per_step: f32| {
        numbers.iter().fold([0.0f32; 2], |[with_x, squared], &x| {
            let (level, w) = (f32::from(six_bits(per_step * x)), x * x);
            [with_x + w * x * level, squared + w * level * level]
        })
    };
    let mut per_step = -32.0 / farthest;
    let [with_x, squared] = sums(per_step);
    let mut scale = if squared == 0.0 { 0.0 } else { with_x / squared };
    let mut best = scale * with_x;
    for each in (-9..=9i8).filter(|&each| each != 0) {
        let tried = -(32.0 + 0.1 * f32::from(each)) / farthest;
        let [with_x, squared] = sums(tried);
        if squared > 0.0 && with_x * with_x > best * squared {
            (per_step, scale) = (tried, with_x / squared);
            best = scale * with_x;
        }
    }
    levels.iter_mut().zip(numbers).for_each(|(level, x)| *level = six_bits(per_step * x));
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers like weights, reproducible.
    fn weights(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..count).map(|_| next() + next() + next()).collect()
    }

    fn there_and_back(format: BlockFormat, numbers: &[f32]) -> Vec<f32> {
        let mut blocks = vec![0; format.row_bytes(numbers.len()).unwrap()];
        format.pack(numbers, &mut blocks);
        let mut back = vec![0.0; numbers.len()];
        format.unpack(&blocks, &mut back);
        back
    }

    #[test]
    fn numbers_come_back_within_the_bound_of_their_format() {
        let numbers = weights(16 * WIDE);
        for format in BlockFormat::ALL {
            let back = there_and_back(format, &numbers);
            let off = numbers.iter().zip(&back).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            let all = numbers.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>();
            let share = (off / all).sqrt();
            let most = match format {
                BlockFormat::F16 => 3e-4,
                BlockFormat::Bf16 => 3e-3,
                BlockFormat::Q4_0 => 0.10,
                BlockFormat::Q4_1 => 0.09,
                BlockFormat::Q4K => 0.08,
                BlockFormat::Q5_0 => 0.05,
                BlockFormat::Q5_1 => 0.045,
                BlockFormat::Q5K => 0.04,
                BlockFormat::Q6K => 0.02,
                BlockFormat::Q8_0 => 0.006,
            };
            assert!(share < most, "{format}: {share}");
        }
        for (format, steps) in
            [(BlockFormat::Q8_0, 127.0), (BlockFormat::Q4_0, 8.0), (BlockFormat::Q5_0, 16.0)]
        {
            let back = there_and_back(format, &numbers);
            for (numbers, back) in numbers.chunks(NARROW).zip(back.chunks(NARROW)) {
                let step = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs())) / steps;
                // The scale is rounded to eleven bits, and opposite the farthest number a level is lacking.
                let most = if steps == 127.0 { 0.57 } else { 1.01 } * step;
                assert!(numbers.iter().zip(back).all(|(a, b)| (a - b).abs() <= most), "{format}");
            }
        }
    }

    #[test]
    fn zeros_and_what_was_packed_come_back_as_they_are() {
        let numbers = weights(2 * WIDE);
        for format in BlockFormat::ALL {
            assert_eq!(there_and_back(format, &[0.0; WIDE]), [0.0; WIDE], "{format}");
            // What isn't finite does no harm but to its block.
            there_and_back(format, &[f32::NAN; WIDE]);
            there_and_back(format, &[f32::INFINITY; WIDE]);
            if matches!(format, BlockFormat::F16 | BlockFormat::Bf16) {
                let once = there_and_back(format, &numbers);
                assert_eq!(there_and_back(format, &once), once, "{format}");
            }
        }
    }
}
