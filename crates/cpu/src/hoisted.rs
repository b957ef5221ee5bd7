//! What a program computes from variables alone, and what its kernels keep of them: done again when one was written.

use std::sync::Arc;

use kiln_compile::Program;
use kiln_compile::program::BufferPlace;
use kiln_ir::Result;

use super::bases::Bases;
use super::call::PreparedKernel;
use super::memory::own;
use kiln_device::Memory;

/// The variables a program's hoisted part rests on, and how they were when it was last done.
pub(super) struct HoistedKernels {
    variables: Vec<usize>,
    seen: Vec<u64>,
    /// Whether it was done at all.
    done: bool,
}

/// Which buffers hold the same numbers until a variable that the program doesn't write is written by others.
pub(super) fn invariant_buffers(program: &Program) -> Vec<bool> {
    let variable = |place: BufferPlace| matches!(place, BufferPlace::Variable(i) if !program.written[i]);
    let mut hoisted: Vec<bool> = program.buffers.iter().map(|buffer| variable(buffer.place)).collect();
    for view in program.kernels[..program.hoisted].iter().flat_map(|kernel| kernel.work.writes()) {
        hoisted[view.buffer] = true;
    }
    hoisted
}

impl HoistedKernels {
    /// The hoisted part of a program, if it has one.
    pub(super) fn of(program: &Program, kernels: &[PreparedKernel]) -> Option<HoistedKernels> {
        let rests = |position: usize| position < program.hoisted || kernels[position].prepack.is_some();
        let mut variables: Vec<usize> = (0..kernels.len())
            .filter(|&position| rests(position))
            .flat_map(|position| program.kernels[position].work.reads())
            .filter_map(|view| match program.buffers[view.buffer].place {
                BufferPlace::Variable(i) if !program.written[i] => Some(i),
                _ => None,
            })
            .collect();
        variables.sort_unstable();
        variables.dedup();
        (0..kernels.len()).any(rests).then(|| HoistedKernels {
            seen: vec![0; variables.len()],
            variables,
            done: false,
        })
    }

    /// Does the hoisted part if a variable changed since it was last done, or `anyway`. The variables' locks are held.
    pub(super) fn refresh(
        &mut self,
        program: &Program,
        kernels: &[PreparedKernel],
        variables: &[Arc<dyn Memory>],
        bases: &Bases,
        anyway: bool,
    ) -> Result<()> {
        let version = |i: usize| Ok(own("variable", i, &variables[i])?.version());
        let mut current = self.done && !anyway;
        for (&i, &seen) in self.variables.iter().zip(&self.seen) {
            current = current && version(i)? == seen;
        }
        if current {
            return Ok(());
        }
        self.done = false;
        for (position, kernel) in kernels.iter().enumerate() {
            if let Some(prepack) = &kernel.prepack {
                prepack(bases)?;
            }
            if position < program.hoisted {
                (kernel.run)(bases)?;
            }
        }
        for (&i, seen) in self.variables.iter().zip(&mut self.seen) {
            *seen = version(i)?;
        }
        self.done = true;
        Ok(())
    }
}
