//! What is done with rows of scores while they are near: weights from scores, gradients of scores from those of weights. A row has
//! [`BLOCK`] numbers in [`CHUNK`] lanes, at every level and for every query alike, and sums of it are taken in one order.

use std::ops::Range;

use kiln_ir::random::{GOLDEN, MIX_1, MIX_2};

use super::number::{AttentionElement, Score};
use crate::simd::{Simd, stamp};

/// Keys of a block. Blocks are counted from the first key, so that a row's sums don't depend on who else is computed with it.
pub(super) const BLOCK: usize = 64;
/// Lanes in which a row is summed up.
const CHUNK: usize = 16;
const CHUNKS: usize = BLOCK / CHUNK;

/// A row of scores, or of what becomes of them.
type Line<T> = [[T; CHUNK]; CHUNKS];

/// Scores of some queries and the keys of a block.
pub(super) struct Tile<'a, T> {
    /// The first score; rows follow each other at once.
    pub(super) scores: *mut T,
    /// For each row the keys that it sees, counted from the block's first.
    pub(super) seen: &'a [Range<usize>],
    /// What is added to the scores.
    pub(super) bias: Option<Bias<T>>,
    /// Which weights are dropped.
    pub(super) dropped: Option<Dropped<T>>,
}

/// Which weights are dropped: those whose random bits are less than `least`.
#[derive(Clone, Copy)]
pub(super) struct Dropped<T> {
    /// What the bits are drawn with.
    pub(super) key: u64,
    /// The place of the first score among all weights, and from one row to the next.
    pub(super) first: u64,
    pub(super) row: u64,
    /// Of 24 bits.
    pub(super) least: u32,
    /// What the others are multiplied by.
    pub(super) factor: T,
}

impl<T: Score> Dropped<T> {
    /// What the weights of a row are multiplied by.
    #[inline(always)]
    fn line(&self, row: usize) -> Line<T> {
        let mut line = [[T::default(); CHUNK]; CHUNKS];
        let first = self.first.wrapping_add(self.row.wrapping_mul(row as u64));
        each(|chunk, lane| {
            let bits = bits(self.key, first.wrapping_add((chunk * CHUNK + lane) as u64));
            let kept = (bits >> 40) as u32 >= self.least;
            line[chunk][lane] = if kept { self.factor } else { T::default() };
        });
        line
    }
}

/// [`kiln_ir::random::bits`], where it is compiled for the caller's vectors.
#[inline(always)]
fn bits(key: u64, counter: u64) -> u64 {
    let mut z = key.wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(MIX_1);
    z = (z ^ (z >> 27)).wrapping_mul(MIX_2);
    z ^ (z >> 31)
}

/// What is added to scores.
#[derive(Clone, Copy)]
pub(super) struct Bias<T> {
    /// The first row.
    pub(super) first: *const T,
    /// From one row to the next: the same one for all, or [`BLOCK`].
    pub(super) row: usize,
}

impl<T: Score> Tile<'_, T> {
    /// A row's scores with what is added, and the lowest where it sees nothing.
    ///
    /// # Safety
    /// The row's scores are there and nobody else's, and the row's bias is there.
    #[inline(always)]
    unsafe fn line(&self, row: usize) -> Line<T> {
        // SAFETY: the caller's promise.
        let mut line = unsafe { self.scores.add(row * BLOCK).cast::<Line<T>>().read() };
        if let Some(bias) = self.bias {
            // SAFETY: as above.
            let bias = unsafe { bias.first.add(row * bias.row).cast::<Line<T>>().read() };
            each(|chunk, lane| line[chunk][lane] = line[chunk][lane] + bias[chunk][lane]);
        }
        let seen = &self.seen[row];
        if seen.len() < BLOCK {
            let (start, len) = (seen.start as u32, seen.len() as u32);
            each(|chunk, lane| {
                let hidden = ((chunk * CHUNK + lane) as u32).wrapping_sub(start) >= len;
                line[chunk][lane] = if hidden { T::LOWEST } else { line[chunk][lane] };
            });
        }
        line
    }
}

/// Calls `body` for every lane of a line, a chunk at a time.
#[inline(always)]
fn each(mut body: impl FnMut(usize, usize)) {
    for chunk in 0..CHUNKS {
        for lane in 0..CHUNK {
            body(chunk, lane);
        }
    }
}

#[inline(always)]
fn larger<T: Score>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

/// A line folded into one number: chunks in order, then the upper half of the lanes into the lower, four times.
#[inline(always)]
fn fold<T: Score>(line: &Line<T>, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = line[0];
    for chunk in &line[1..] {
        for lane in 0..CHUNK {
            lanes[lane] = join(lanes[lane], chunk[lane]);
        }
    }
    let mut half = CHUNK / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// RunningSums sums of the rows of a tile: the largest score so far, the sum of exponentials below it, and their weighted values.
pub(super) struct RunningSums<T> {
    pub(super) most: *mut T,
    pub(super) sum: *mut T,
    /// Rows of so many numbers, one after the other.
    pub(super) means: *mut T,
    pub(super) width: usize,
}

stamp! {
    /// Turns scores into exponentials below the largest score so far, and what was summed up so far into as much below that.
    pub(super) fn weigh_of<T: Score>(tile: &Tile<T>, running: &RunningSums<T>) = weigh::<Here, T>;
    /// Turns scores into weights, and gradients of weights (`slopes`, rows like the scores') into gradients of scores.
    pub(super) fn slope_of<T: Score>(tile: &Tile<T>, slopes: *mut T, sums: [*const T; 2]) = slope::<Here, T>;
    /// Writes rows of a result: numbers times a factor for each row, rounded.
    pub(super) fn finish_of<E: AttentionElement>(rows: &FinishedRows<E>) = finish::<E>;
    /// Reads rows and multiplies them.
    pub(super) fn scale_of<E: AttentionElement>(rows: &Scaled<E>) = scale::<E>;
    /// What a mask adds to the scores of a block.
    pub(super) fn bias_of<E: AttentionElement>(mask: &MaskRows<E>, to: *mut E::Sum) = bias::<E>, at most avx2;
    /// Logarithms of sums, from running sums.
    pub(super) fn log_sum_of<T: Score>(count: usize, running: &RunningSums<T>) = log_sums::<Here, T>, at most avx2;
}

#[inline(always)]
unsafe fn weigh<S: Simd, T: Score>(tile: &Tile<T>, running: &RunningSums<T>) {
    for row in 0..tile.seen.len() {
        // SAFETY: the caller has these rows, for itself, of all that the tile and the running sums name.
        unsafe {
            let mut line = tile.line(row);
            let (most, sum) = (running.most.add(row), running.sum.add(row));
            let former = most.read();
            let largest = larger(fold(&line, larger), former);
            // Of a row that has seen nothing so far all exponentials are 0.
            let shift = if largest == T::LOWEST { T::default() } else { largest };
            for chunk in &mut line {
                for lane in chunk {
                    *lane = (*lane - shift).exp::<S>();
                }
            }
            let added = fold(&line, |a, b| a + b);
            if let Some(dropped) = &tile.dropped {
                let kept = dropped.line(row);
                each(|chunk, lane| line[chunk][lane] = line[chunk][lane] * kept[chunk][lane]);
            }
            tile.scores.add(row * BLOCK).cast::<Line<T>>().write(line);
            if largest == former || former == T::LOWEST {
                sum.write(sum.read() + added);
            } else {
                let factor = (former - shift).exp::<S>();
                sum.write(sum.read() * factor + added);
                let means =
                    std::slice::from_raw_parts_mut(running.means.add(row * running.width), running.width);
                for mean in means {
                    *mean = *mean * factor;
                }
            }
            most.write(largest);
        }
    }
}

#[inline(always)]
unsafe fn slope<S: Simd, T: Score>(tile: &Tile<T>, slopes: *mut T, [log_sums, delta]: [*const T; 2]) {
    for row in 0..tile.seen.len() {
        // SAFETY: as for `weigh`; there is a sum and a delta for each row.
        unsafe {
            let mut line = tile.line(row);
            let log_sum = log_sums.add(row).read();
            let delta = delta.add(row).read();
            // Of a row that sees nothing all weights are 0.
            let shift = if log_sum == T::LOWEST { T::default() - T::LOWEST } else { log_sum };
            for chunk in &mut line {
                for lane in chunk {
                    *lane = (*lane - shift).exp::<S>();
                }
            }
            let to = slopes.add(row * BLOCK).cast::<Line<T>>();
            let mut gradients = to.read();
            let mut weights = line;
            if let Some(dropped) = &tile.dropped {
                let kept = dropped.line(row);
                each(|chunk, lane| {
                    weights[chunk][lane] = line[chunk][lane] * kept[chunk][lane];
                    gradients[chunk][lane] = gradients[chunk][lane] * kept[chunk][lane];
                });
            }
            tile.scores.add(row * BLOCK).cast::<Line<T>>().write(weights);
            each(|chunk, lane| {
                let weight = line[chunk][lane];
                let gradient = weight * (gradients[chunk][lane] - delta);
                gradients[chunk][lane] = if weight == T::default() { weight } else { gradient };
            });
            to.write(gradients);
        }
    }
}

#[inline(always)]
unsafe fn log_sums<S: Simd, T: Score>(count: usize, running: &RunningSums<T>) {
    for row in 0..count {
        // SAFETY: as for `weigh`.
        unsafe {
            let (most, sum) = (running.most.add(row), running.sum.add(row).read());
            let seen = most.read() != T::LOWEST;
            most.write(if seen { most.read() + sum.ln::<S>() } else { T::LOWEST });
        }
    }
}

/// Rows of a result on their way to memory.
pub(super) struct FinishedRows<E: AttentionElement> {
    /// The numbers, rows of `width` one after the other.
    pub(super) numbers: *const E::Sum,
    pub(super) width: usize,
    pub(super) rows: usize,
    /// The factor of each row, or one for all.
    pub(super) factors: Factors<E::Sum>,
    pub(super) to: *mut E,
    /// From one row, and from one number, to the next.
    pub(super) strides: [isize; 2],
}

/// What rows are multiplied by.
#[derive(Clone, Copy)]
pub(super) enum Factors<T> {
    /// The same.
    All(T),
    /// The reciprocal of each row's sum; 0 where that is 0.
    Sums(*const T),
}

#[inline(always)]
unsafe fn finish<E: AttentionElement>(job: &FinishedRows<E>) {
    let zero = E::Sum::default();
    for row in 0..job.rows {
        // SAFETY: the caller has these rows, and writes elements of its own.
        unsafe {
            let factor = match job.factors {
                Factors::All(factor) => factor,
                Factors::Sums(sums) => {
                    let sum = sums.add(row).read();
                    if sum == zero { zero } else { sum.recip() }
                }
            };
            let numbers = std::slice::from_raw_parts(job.numbers.add(row * job.width), job.width);
            let to = job.to.offset(row as isize * job.strides[0]);
            // A sum of nothing but products with 0 may have either sign, depending on how many were left out.
            if job.strides[1] == 1 {
                for (to, &number) in std::slice::from_raw_parts_mut(to, job.width).iter_mut().zip(numbers) {
                    *to = E::nearest(number * factor + zero);
                }
            } else {
                for (at, &number) in numbers.iter().enumerate() {
                    to.offset(at as isize * job.strides[1]).write(E::nearest(number * factor + zero));
                }
            }
        }
    }
}

/// Rows that are read.
pub(super) struct Scaled<E: AttentionElement> {
    pub(super) from: *const E,
    /// From one row, and from one number, to the next.
    pub(super) strides: [isize; 2],
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) factor: E::Sum,
    /// Rows one after the other.
    pub(super) to: *mut E::Sum,
}

#[inline(always)]
unsafe fn scale<E: AttentionElement>(job: &Scaled<E>) {
    for row in 0..job.rows {
        // SAFETY: the rows are readable, and there is room for them.
        unsafe {
            let from = job.from.offset(row as isize * job.strides[0]);
            let to = std::slice::from_raw_parts_mut(job.to.add(row * job.width), job.width);
            if job.strides[1] == 1 {
                for (to, from) in to.iter_mut().zip(std::slice::from_raw_parts(from, job.width)) {
                    *to = from.number() * job.factor;
                }
            } else {
                for (at, to) in to.iter_mut().enumerate() {
                    *to = from.offset(at as isize * job.strides[1]).read().number() * job.factor;
                }
            }
        }
    }
}

/// The part of a mask that belongs to a block of keys.
pub(super) struct MaskRows<E> {
    pub(super) from: MaskElements<E>,
    /// From one row, and from one key, to the next.
    pub(super) strides: [isize; 2],
    pub(super) rows: usize,
    pub(super) keys: usize,
}

/// A mask's first element.
#[derive(Clone, Copy)]
pub(super) enum MaskElements<E> {
    /// What is added.
    Floats(*const E),
    /// Whether a key is seen.
    Bools(*const u8),
}

#[inline(always)]
unsafe fn bias<E: AttentionElement>(mask: &MaskRows<E>, to: *mut E::Sum) {
    for row in 0..mask.rows {
        // SAFETY: the mask's elements are readable, and there is room for a line for each row.
        unsafe {
            let at = row as isize * mask.strides[0];
            let to = std::slice::from_raw_parts_mut(to.add(row * BLOCK), BLOCK);
            let (line, rest) = to.split_at_mut(mask.keys);
            rest.fill(E::Sum::default());
            for (key, to) in line.iter_mut().enumerate() {
                let at = at + key as isize * mask.strides[1];
                *to = match mask.from {
                    MaskElements::Floats(from) => from.offset(at).read().number(),
                    MaskElements::Bools(from) if from.offset(at).read() != 0 => E::Sum::default(),
                    MaskElements::Bools(_) => E::Sum::LOWEST,
                };
            }
        }
    }
}
