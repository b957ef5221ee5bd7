//! The order in which kernels run: one after the other, and again for each step where they repeat.

use std::ops::Range;

use kiln_compile::Program;
use kiln_compile::program::{BufferId, BufferPlace, Repeat};
use kiln_ir::Result;

use super::bases::Bases;
use super::call::{KernelCall, Lasting, PreparedKernel};

/// Kernels that repeat, ready to run.
pub(super) struct PreparedRepeat {
    kernels: Range<usize>,
    steps: usize,
    slices: Vec<PreparedSlice>,
    /// What kernels keep of operands that are the same in every step.
    prepack: Vec<KernelCall>,
}

/// A buffer that moves, with what it is part of; counted in bytes.
struct PreparedSlice {
    buffer: BufferId,
    of: BufferId,
    start: usize,
    step: isize,
}

/// The repeats of a program, each at the kernel that it begins with.
pub(super) struct KernelWalk(Vec<PreparedRepeat>);

impl KernelWalk {
    pub(super) fn of(program: &Program) -> KernelWalk {
        let slice = |&buffer: &BufferId| {
            let BufferPlace::Slice { of, start, step } = program.buffers[buffer].place else { return None };
            let size = program.buffers[buffer].dtype.size();
            Some(PreparedSlice { buffer, of, start: start * size, step: step * size as isize })
        };
        let repeat = |Repeat { kernels, steps, slices }: &Repeat| PreparedRepeat {
            kernels: kernels.clone(),
            steps: *steps,
            slices: slices.iter().filter_map(slice).collect(),
            prepack: Vec::new(),
        };
        KernelWalk(program.repeats.iter().map(repeat).collect())
    }

    /// The outermost repeat in every step of which a kernel finds the same numbers in a buffer.
    pub(super) fn fixes(program: &Program, kernel: usize, buffer: BufferId) -> Option<usize> {
        let moved = program.whereabouts(buffer).moves.iter().map(|(repeat, _)| repeat + 1).max().unwrap_or(0);
        let root = program.root(buffer);
        let written = |repeat: &Repeat| {
            let mut writes = program.kernels[repeat.kernels.clone()].iter().flat_map(|k| k.work.writes());
            writes.any(|view| program.root(view.buffer) == root)
        };
        (moved..program.repeats.len()).find(|&position| {
            let repeat = &program.repeats[position];
            repeat.kernels.contains(&kernel) && !written(repeat)
        })
    }

    /// Lets a call be done whenever a repeat begins.
    pub(super) fn begin_with(&mut self, repeat: usize, prepack: KernelCall) {
        self.0[repeat].prepack.push(prepack);
    }

    /// Runs these kernels in their order; `run` runs one of them.
    pub(super) fn run(
        &self,
        kernels: Range<usize>,
        bases: &mut Bases,
        run: &mut impl FnMut(usize, &Bases) -> Result<()>,
    ) -> Result<()> {
        self.stretch(kernels, 0, bases, run)
    }

    /// As above, of the repeats from this one on.
    fn stretch(
        &self,
        kernels: Range<usize>,
        mut next: usize,
        bases: &mut Bases,
        run: &mut impl FnMut(usize, &Bases) -> Result<()>,
    ) -> Result<()> {
        let mut position = kernels.start;
        while position < kernels.end {
            while self.0.get(next).is_some_and(|repeat| repeat.kernels.start < position) {
                next += 1;
            }
            let Some(repeat) = self.0.get(next).filter(|repeat| repeat.kernels.start == position) else {
                run(position, bases)?;
                position += 1;
                continue;
            };
            repeat.prepack.iter().try_for_each(|prepack| prepack(bases))?;
            for step in 0..repeat.steps {
                for slice in &repeat.slices {
                    let moved = slice.start.wrapping_add_signed(step as isize * slice.step);
                    bases.set(slice.buffer, bases.start(slice.of).wrapping_add(moved));
                }
                self.stretch(repeat.kernels.clone(), next + 1, bases, run)?;
            }
            position = repeat.kernels.end;
        }
        Ok(())
    }
}

/// Makes the kernels of a program ready: what they keep of operands that stay the same for a whole walk is made ready where
/// that begins.
pub(super) fn prepare_all(
    program: &Program,
    invariant: &[bool],
    prepare: impl Fn(usize, &dyn Fn(BufferId) -> Lasting) -> Result<PreparedKernel>,
) -> Result<(Vec<PreparedKernel>, KernelWalk)> {
    let mut walk = KernelWalk::of(program);
    let mut kernels = Vec::with_capacity(program.kernels.len());
    for position in 0..program.kernels.len() {
        let fixed = |buffer: BufferId| KernelWalk::fixes(program, position, buffer);
        let lasting = |buffer: BufferId| match fixed(buffer) {
            Some(_) => Lasting::Steps,
            None if invariant[buffer] => Lasting::Runs,
            None => Lasting::Call,
        };
        let mut kernel = prepare(position, &lasting)?;
        let operand = program.kernels[position].work.contracted().map(|[_, second]| second.buffer);
        let begins = operand.filter(|&buffer| !invariant[buffer]).and_then(fixed);
        if let (Some(repeat), Some(prepack)) = (begins, kernel.prepack.take_if(|_| begins.is_some())) {
            walk.begin_with(repeat, prepack);
        }
        kernels.push(kernel);
    }
    Ok((kernels, walk))
}
