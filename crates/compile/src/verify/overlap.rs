//! Whether what a kernel writes is apart from everything else it touches.
//!
//! Kernels run their loops in any order and on several threads, so an element is written once, and read by the same
//! kernel only through a view that moves exactly as the one that writes it.

use crate::program::BufferPlace;
use crate::program::Program;

use super::{Access, Violation};

/// An access's memory: which one, the bytes touched in it in the first step of what moves it, how that moves, and those in any
/// step.
struct Bytes {
    space: BufferPlace,
    start: usize,
    end: usize,
    moves: Vec<(usize, isize)>,
    swept: (usize, usize),
}

/// Checks every access that is written against itself and all others; `touched` is each access's range of elements.
pub(super) fn check(
    program: &Program,
    accesses: &[Access],
    touched: &[(usize, usize)],
) -> Result<(), Violation> {
    let bytes: Vec<Bytes> =
        accesses.iter().zip(touched).map(|(access, &range)| bytes(program, access, range)).collect();
    for (w, write) in accesses.iter().enumerate().filter(|(_, access)| access.write) {
        if !distinct(write) {
            return Err(format!("{}: two points of its loops write one element", write.role));
        }
        for (o, other) in accesses.iter().enumerate() {
            // Pairs of writes are looked at once.
            if o == w || (other.write && o < w) || bytes[o].space != bytes[w].space {
                continue;
            }
            if bytes[o].moves != bytes[w].moves {
                let ((a, b), (c, d)) = (bytes[o].swept, bytes[w].swept);
                if b <= c || d <= a {
                    continue;
                }
                return Err(format!("its {} and its {} move through each other", write.role, other.role));
            }
            let apart = bytes[o].end <= bytes[w].start || bytes[w].end <= bytes[o].start;
            let apart = apart || side_by_side(program, write, other);
            if apart || (!other.write && same(program, write, other)) || disjoint(program, write, other) {
                continue;
            }
            return Err(format!("what it writes as its {} overlaps its {}", write.role, other.role));
        }
    }
    Ok(())
}

fn bytes(program: &Program, access: &Access, (first, end): (usize, usize)) -> Bytes {
    let size = access.view.dtype.size();
    let (space, start) = start(program, access);
    let (start, end) = (start + first * size, start + end * size);
    let moves = program.whereabouts(access.view.buffer).moves;
    let mut swept = (start, end);
    for &(repeat, step) in &moves {
        let steps = program.repeats.get(repeat).map_or(0, |repeat| repeat.steps.saturating_sub(1));
        let reach = steps.saturating_mul(step.unsigned_abs()).saturating_mul(size);
        match step < 0 {
            true => swept.0 = swept.0.saturating_sub(reach),
            false => swept.1 = swept.1.saturating_add(reach),
        }
    }
    Bytes { space, start, end, moves, swept }
}

/// The memory a buffer is in, and at which of its bytes the buffer starts.
fn start(program: &Program, access: &Access) -> (BufferPlace, usize) {
    let found = program.whereabouts(access.view.buffer);
    let inside = found.start * access.view.dtype.size();
    match program.buffers[found.root].place {
        BufferPlace::Arena(offset) => (BufferPlace::Arena(0), offset + inside),
        place => (place, inside),
    }
}

/// Whether a load reads the very element that a store writes at every point.
fn same(program: &Program, write: &Access, read: &Access) -> bool {
    write.view.dtype.size() == read.view.dtype.size()
        && start(program, write) == start(program, read)
        && write.view.offset == read.view.offset
        && write.view.strides == read.view.strides
        && std::iter::zip(write.sizes.iter().zip(read.sizes.iter()), &write.view.strides)
            .all(|((a, b), &stride)| a == b || stride == 0)
}

/// Whether no element is reached twice.
fn distinct(access: &Access) -> bool {
    let mut axes: Vec<(usize, usize)> = access
        .sizes
        .iter()
        .zip(&access.view.strides)
        .filter(|&(&size, _)| size != 1)
        .map(|(&size, &stride)| (stride.unsigned_abs(), size))
        .collect();
    if axes.iter().any(|&(_, size)| size == 0) {
        return true;
    }
    axes.sort_unstable();
    let mut span = 0;
    let nested = axes.iter().all(|&(stride, size)| {
        let steps_over = stride > span;
        span += stride * (size - 1);
        steps_over
    });
    nested || {
        let mut seen = Marks::default();
        let mut fresh = true;
        elements(access, |element| fresh &= seen.mark(element));
        fresh
    }
}

/// Whether two accesses are columns of the same rows: they move alike but along what lies closest together, and there each
/// stays on its side of a place in every row.
fn side_by_side(program: &Program, a: &Access, b: &Access) -> bool {
    if a.view.dtype != b.view.dtype {
        return false;
    }
    let size = a.view.dtype.size();
    let (start_a, start_b) = (start(program, a).1, start(program, b).1);
    if start_a.abs_diff(start_b) % size != 0 || a.view.strides.iter().chain(&b.view.strides).any(|&s| s < 0) {
        return false;
    }
    let row = |access: &Access| {
        let moves = access.sizes.iter().zip(&access.view.strides).filter(|&(&size, _)| size > 1);
        moves.map(|(_, &stride)| stride).filter(|&stride| stride > 0).max().unwrap_or(1) as usize
    };
    // Both step by whole rows, or stay within one.
    let rows = row(a).max(row(b));
    let within = |access: &Access| {
        let mut span = 0;
        for (&size, &stride) in access.sizes.iter().zip(&access.view.strides) {
            if !(stride as usize).is_multiple_of(rows) {
                span += (size.max(1) - 1) * stride as usize;
            }
        }
        span
    };
    let (first, second) = if start_a <= start_b { (a, b) } else { (b, a) };
    let offset = |access: &Access| start(program, access).1 / size + access.view.offset as usize;
    let base = offset(first).min(offset(second));
    let (x, y) = ((offset(first) - base) % rows, (offset(second) - base) % rows);
    let (x_end, y_end) = (x + within(first), y + within(second));
    x_end < rows && y_end < rows && (x_end < y || y_end < x)
}

/// Whether two accesses whose ranges meet have no byte in common. Slow, and needed for few kernels only: those that
/// write into gaps of what they read.
fn disjoint(program: &Program, a: &Access, b: &Access) -> bool {
    let mut seen = Marks::default();
    let (start_a, start_b) = (start(program, a).1, start(program, b).1);
    let (size_a, size_b) = (a.view.dtype.size(), b.view.dtype.size());
    let cluster = size_a.min(size_b);
    elements(a, |element| {
        for piece in 0..size_a / cluster {
            seen.mark((start_a + element * size_a) / cluster + piece);
        }
    });
    let mut apart = true;
    elements(b, |element| {
        for piece in 0..size_b / cluster {
            apart &= !seen.has((start_b + element * size_b) / cluster + piece);
        }
    });
    apart
}

/// A set of numbers as bits.
#[derive(Default)]
struct Marks(Vec<u64>);

impl Marks {
    /// Puts a number in; whether it is new.
    fn mark(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize((word + 1).next_power_of_two(), 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// Calls `visit` with every element of an access's buffer that it touches; the access is within its buffer.
fn elements(access: &Access, mut visit: impl FnMut(usize)) {
    fn walk(at: isize, axes: &[(usize, isize)], visit: &mut impl FnMut(usize)) {
        match axes {
            [] => visit(at as usize),
            [(size, stride), rest @ ..] => {
                (0..*size as isize).for_each(|i| walk(at + i * stride, rest, visit));
            }
        }
    }
    let axes: Vec<(usize, isize)> =
        access.sizes.iter().copied().zip(access.view.strides.iter().copied()).collect();
    walk(access.view.offset, &axes, &mut visit);
}
