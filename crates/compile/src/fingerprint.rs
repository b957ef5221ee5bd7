//! A number for what a kernel does, by which a tuner or a cache of compiled kernels finds it again.

use std::fmt::Write;

use crate::program::{BufferPlace, Kernel, Program, View, Whereabouts, Work};

/// A memory, how it moves from step to step, and the offset of the first view in it.
type MemorySeen = (BufferPlace, Vec<(usize, isize)>, isize);

impl Program {
    /// The same number for kernels that one piece of generated code serves: equal work over equal sizes, dtypes and strides,
    /// with the same of their views in the same memory. Which buffers these are, where they start, names and lines aren't in
    /// it, so that it is the same in every run and every build, and in whatever program the kernel stands.
    pub fn fingerprint(&self, kernel: &Kernel) -> u64 {
        let mut hash = Fnv::default();
        let work = self.canonical(&kernel.work);
        // Writing to it doesn't fail. What people read of the work is all of it, but for a user's operation.
        let _ = match &work {
            Work::Custom(custom) => {
                let (operands, out) = (&custom.operands, &custom.out);
                write!(hash, "Custom {} {operands:?} {out:?}", custom.op.name())
            }
            Work::Fused(_)
            | Work::Matmul(_)
            | Work::Conv(_)
            | Work::Window(_)
            | Work::Gather(_)
            | Work::Scatter(..)
            | Work::ArgReduce(..)
            | Work::CumSum(_)
            | Work::Unpack(_)
            | Work::Attention(_)
            | Work::ArgSort(..) => write!(hash, "{work:?}"),
        };
        let _ = write!(hash, " {} {}", kernel.blocks, kernel.ordered);
        hash.0
    }

    /// The work with its memories numbered as they come, and each view's offset counted from the first one in the same
    /// memory.
    fn canonical(&self, work: &Work) -> Work {
        let mut work = work.clone();
        let mut seen: Vec<MemorySeen> = Vec::new();
        work.each_view(|view: &mut View| {
            let Whereabouts { root, start, moves } = self.whereabouts(view.buffer);
            let place = self.buffers[root].place;
            view.offset += start as isize;
            // What moves otherwise is other memory in each step.
            let known = seen.iter().position(|(other, moved, _)| *other == place && *moved == moves);
            view.buffer = known.unwrap_or_else(|| {
                seen.push((place, moves, view.offset));
                seen.len() - 1
            });
            view.offset -= seen[view.buffer].2;
        });
        work
    }
}

/// The 64-bit FNV-1a hash of what is written to it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
