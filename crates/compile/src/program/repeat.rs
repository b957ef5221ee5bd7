//! Kernels that run again for each step of a walk, and the memory that they find in each.

use std::ops::Range;

use super::{BufferId, BufferPlace, Program};

/// Kernels that run one after the other, so many times. In each step some of their buffers are elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Which kernels.
    pub kernels: Range<usize>,
    /// How many times.
    pub steps: usize,
    /// The buffers that move: each is a [`BufferPlace::Slice`], and no other kernel touches it.
    pub slices: Vec<BufferId>,
}

/// Where a buffer is in the memory that it is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The buffer that is no part of another.
    pub root: BufferId,
    /// At which of its elements the part begins in the first step.
    pub start: usize,
    /// How it moves: the repeat, and elements by step.
    pub moves: Vec<(usize, isize)>,
}

impl Program {
    /// The buffer that this is a part of in the end; itself where it is no part.
    pub fn root(&self, mut buffer: BufferId) -> BufferId {
        while let BufferPlace::Slice { of, .. } = self.buffers[buffer].place {
            buffer = of;
        }
        buffer
    }

    /// The repeat whose slice a buffer is.
    pub fn mover(&self, buffer: BufferId) -> Option<usize> {
        self.repeats.iter().position(|repeat| repeat.slices.contains(&buffer))
    }

    /// Where a buffer is in the memory that it is part of.
    pub fn whereabouts(&self, buffer: BufferId) -> Whereabouts {
        let mut found = Whereabouts { root: buffer, start: 0, moves: Vec::new() };
        while let BufferPlace::Slice { of, start, step } = self.buffers[found.root].place {
            let mover = self.mover(found.root).unwrap_or(usize::MAX);
            found.moves.push((mover, step));
            found.start += start;
            found.root = of;
        }
        found
    }

    /// How often a kernel runs in one run of the program.
    pub fn runs(&self, kernel: usize) -> usize {
        let around = self.repeats.iter().filter(|repeat| repeat.kernels.contains(&kernel));
        around.map(|repeat| repeat.steps).fold(1, usize::saturating_mul)
    }
}
