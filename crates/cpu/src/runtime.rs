//! A loaded program: its arena, its kernels ready to run, and the walk over them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kiln_compile::Program;
use kiln_compile::program::BufferPlace;
use kiln_compile::verify;
use kiln_ir::{DType, Error, ErrorKind, Result, Shape};

use super::LiveSettings;
use super::bases::Bases;
use super::call::{Lasting, PreparedKernel};
use super::check_finite::FiniteCheck;
use super::hoisted::{self, HoistedKernels};
use super::lock::{Claim, LockMode, Reentered, holding};
use super::memory::{AlignedBytes, CpuMemory, advise_huge_pages, in_use, next_version, own};
use super::prepare::prepare;
use super::threads::{FlushDenormals, with_threads};
use super::walk::{KernelWalk, prepare_all};
use kiln_device::{Argument, Executable, Memory, Output, Target, fit};

/// A program that is loaded on the CPU.
pub(super) struct CpuExecutable {
    program: Arc<Program>,
    settings: Arc<LiveSettings>,
    kernels: Vec<PreparedKernel>,
    walk: KernelWalk,
    hoisted: Option<HoistedKernels>,
    bases: Bases,
    /// What `bases` points into.
    arena: AlignedBytes,
    inputs: Vec<ArgumentSlot>,
    outputs: Vec<ArgumentSlot>,
    variables: Vec<ArgumentSlot>,
    /// The locks of the variables in the order in which they are taken: that of their addresses.
    claims: Vec<Claim>,
    /// The variable that each claim is for.
    order: Vec<usize>,
    /// The check for what isn't finite, once it was switched on.
    finite_check: Option<FiniteCheck>,
    profiling: bool,
    times: Vec<Duration>,
}

/// What is expected at one position of the inputs, outputs or variables.
struct ArgumentSlot {
    dtype: DType,
    elements: usize,
    /// The program's buffers that lie there.
    buffers: Vec<usize>,
}

impl ArgumentSlot {
    fn takes(&self) -> (DType, usize) {
        (self.dtype, self.elements)
    }
}

impl CpuExecutable {
    /// Checks a program and makes it ready to run.
    pub(super) fn load(
        program: Arc<Program>,
        target: &Target,
        settings: Arc<LiveSettings>,
    ) -> Result<CpuExecutable> {
        verify::program(&program, target)?;
        let arena = AlignedBytes::zeroed(program.arena)?;
        let mut bases = Bases::new(program.buffers.len());
        let slots = |sizes: &mut dyn Iterator<Item = (usize, DType)>| -> Vec<ArgumentSlot> {
            sizes.map(|(elements, dtype)| ArgumentSlot { dtype, elements, buffers: Vec::new() }).collect()
        };
        let listed = |(shape, dtype): &(Shape, DType)| (shape.elements(), *dtype);
        let mut inputs = slots(&mut program.inputs.iter().map(listed));
        let mut outputs = slots(&mut program.outputs.iter().map(listed));
        let mut variables = slots(&mut program.variables.iter().map(|v| (v.shape().elements(), v.dtype())));
        for (id, buffer) in program.buffers.iter().enumerate() {
            match buffer.place {
                BufferPlace::Arena(offset) => bases.set(id, arena.start().wrapping_add(offset)),
                BufferPlace::Input(i) => inputs[i].buffers.push(id),
                BufferPlace::Output(i) => outputs[i].buffers.push(id),
                BufferPlace::Variable(i) => variables[i].buffers.push(id),
                // Where its repeat says, in each step.
                BufferPlace::Slice { .. } => {}
            }
        }
        let invariant = hoisted::invariant_buffers(&program);
        let ready = |position: usize, lasting: &dyn Fn(usize) -> Lasting| {
            prepare(&program.kernels[position], lasting)
        };
        let (kernels, walk) = prepare_all(&program, &invariant, ready)?;
        Ok(CpuExecutable {
            hoisted: HoistedKernels::of(&program, &kernels),
            kernels,
            walk,
            bases,
            arena,
            inputs,
            outputs,
            variables,
            claims: Vec::with_capacity(
                program.variables.len() + program.inputs.len() + program.outputs.len(),
            ),
            order: (0..program.variables.len()).collect(),
            finite_check: None,
            profiling: false,
            times: Vec::new(),
            settings,
            program,
        })
    }

    /// Points every base at this run's memory, or says which argument doesn't fit.
    fn bind(
        &mut self,
        inputs: &[Argument],
        variables: &[Arc<dyn Memory>],
        outputs: &mut [Output],
    ) -> Result<()> {
        fit::count("arguments", inputs.len(), self.inputs.len())?;
        fit::count("variables", variables.len(), self.variables.len())?;
        fit::count("outputs", outputs.len(), self.outputs.len())?;
        for (i, (argument, slot)) in inputs.iter().zip(&self.inputs).enumerate() {
            fit::elements("argument", i, (argument.dtype(), argument.elements()), slot.takes())?;
            let start = match argument {
                Argument::Host(host) => host.bytes().as_ptr().cast_mut(),
                Argument::Device(_, memory) => whole("argument", i, memory, slot)?.start(),
            };
            slot.buffers.iter().for_each(|&buffer| self.bases.set(buffer, start));
        }
        for (i, (output, slot)) in outputs.iter_mut().zip(&self.outputs).enumerate() {
            fit::elements("output", i, (output.dtype(), output.elements()), slot.takes())?;
            let start = match output {
                Output::Host(host) => {
                    let bytes = host.bytes();
                    let start = bytes.as_mut_ptr();
                    if slot.buffers.first().is_some_and(|&buffer| self.bases.start(buffer) != start) {
                        advise_huge_pages(start, bytes.len());
                    }
                    start
                }
                Output::Device(_, memory) => whole("output", i, memory, slot)?.start(),
            };
            slot.buffers.iter().for_each(|&buffer| self.bases.set(buffer, start));
        }
        self.claim(variables)?;
        self.claim_lent(inputs, outputs)
    }

    /// Points the variables' bases at their memory, and lists the locks to take.
    fn claim(&mut self, variables: &[Arc<dyn Memory>]) -> Result<()> {
        for (i, (memory, slot)) in variables.iter().zip(&self.variables).enumerate() {
            let memory = own("variable", i, memory)?;
            if memory.bytes() != slot.elements * slot.dtype.size() {
                return Err(self.wrong_memory(i, memory.bytes()));
            }
            for &buffer in &slot.buffers {
                self.bases.set(buffer, memory.start());
            }
        }
        let address = |i: usize| Arc::as_ptr(&variables[i]).cast::<()>() as usize;
        if !self.order.is_sorted_by_key(|&i| address(i)) {
            self.order.sort_unstable_by_key(|&i| address(i));
        }
        if let Some(pair) = self.order.windows(2).find(|pair| {
            let written = self.program.written[pair[0]] || self.program.written[pair[1]];
            written && address(pair[0]) == address(pair[1])
        }) {
            let message =
                format!("variables {} and {} are the same memory, and it is written", pair[0], pair[1]);
            return Err(Error::new(ErrorKind::Value, "run", message).nowhere());
        }
        self.claims.clear();
        for &i in &self.order {
            let mode = if self.program.written[i] { LockMode::Write } else { LockMode::Read };
            let lock = &raw const own("variable", i, &variables[i])?.lock;
            self.claims.push(Claim { lock, mode });
        }
        Ok(())
    }

    /// Adds the locks of memory that is an argument or an output to the variables'.
    fn claim_lent(&mut self, inputs: &[Argument], outputs: &[Output]) -> Result<()> {
        let before = self.claims.len();
        for (i, argument) in inputs.iter().enumerate() {
            if let Argument::Device(_, memory) = argument {
                let lock = &raw const own("argument", i, memory)?.lock;
                self.claims.push(Claim { lock, mode: LockMode::Read });
            }
        }
        for (i, output) in outputs.iter().enumerate() {
            if let Output::Device(_, memory) = output {
                let lock = &raw const own("output", i, memory)?.lock;
                self.claims.push(Claim { lock, mode: LockMode::Write });
            }
        }
        if self.claims.len() == before {
            return Ok(());
        }
        self.claims.sort_unstable_by_key(|claim| claim.lock as usize);
        let both = |pair: &[Claim]| {
            std::ptr::eq(pair[0].lock, pair[1].lock)
                && [pair[0].mode, pair[1].mode].contains(&LockMode::Write)
        };
        if self.claims.windows(2).any(both) {
            let message = "memory that is written is also another variable, argument or output of this run";
            return Err(Error::new(ErrorKind::Value, "run", message).nowhere());
        }
        self.claims.dedup_by_key(|claim| claim.lock);
        Ok(())
    }

    #[cold]
    fn wrong_memory(&self, i: usize, bytes: usize) -> Error {
        let (slot, name) = (&self.variables[i], self.program.variables[i].name());
        let (elements, dtype) = (slot.elements, slot.dtype);
        let message = format!("variable {i} ({name}) has {bytes} bytes, not {elements} elements of {dtype}");
        Error::new(ErrorKind::Shape, "run", message).nowhere()
    }
}

impl Executable for CpuExecutable {
    fn run(
        &mut self,
        inputs: &[Argument],
        variables: &[Arc<dyn Memory>],
        outputs: &mut [Output],
    ) -> Result<()> {
        self.bind(inputs, variables, outputs)?;
        let _flushing = FlushDenormals::new();
        let _threads = with_threads(self.settings.threads.load(Ordering::Relaxed));
        let watching = self.settings.check_finite.load(Ordering::Relaxed);
        if watching && self.finite_check.is_none() {
            self.finite_check = Some(FiniteCheck::new(&self.program));
        }
        let (program, kernels, bases) = (&*self.program, self.kernels.as_slice(), &mut self.bases);
        let walk = &self.walk;
        let finite_check = self.finite_check.as_mut().filter(|_| watching);
        let (hoisted, profiling, times) = (&mut self.hoisted, self.profiling, &mut self.times);
        // SAFETY: the claims are for locks in `variables`, which is borrowed until this returns. (The kernels follow
        // `bases`: inputs and outputs are borrowed, variables locked, and the arena belongs to `self`, which is
        // borrowed alone.)
        let walked = unsafe {
            holding(&self.claims, || {
                mark_written(program, variables, outputs)?;
                let mut first = 0;
                if let Some(hoisted) = hoisted {
                    hoisted.refresh(program, kernels, variables, bases, watching)?;
                    // The check looks at everything in its order.
                    first = if watching { 0 } else { program.hoisted };
                }
                let rest = first..kernels.len();
                match (finite_check, profiling) {
                    (None, false) => {
                        walk.run(rest, bases, &mut |position, bases| (kernels[position].run)(bases))
                    }
                    (finite_check, _) => slowly(program, (kernels, walk), first, bases, finite_check, times),
                }
            })
        };
        walked.unwrap_or_else(|Reentered| Err(in_use("run")))?;
        for output in outputs {
            // A variable's bytes come from anywhere, and a `bool` that is neither 0 nor 1 mustn't get out.
            if let Output::Host(host) = output
                && host.dtype() == DType::Bool
            {
                host.bytes().iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.arena.bytes() + self.kernels.iter().map(|kernel| kernel.kept).sum::<usize>()
    }

    fn times(&self) -> Vec<Duration> {
        self.times.clone()
    }

    fn profile(&mut self, on: bool) {
        self.profiling = on;
        self.times = if on { vec![Duration::ZERO; self.kernels.len()] } else { Vec::new() };
    }
}

/// The walk with a look at each kernel: its time, where there is room for it, and what it stored.
///
/// # Safety
/// As for calling the kernels.
unsafe fn slowly(
    program: &Program,
    (kernels, walk): (&[PreparedKernel], &KernelWalk),
    first: usize,
    bases: &mut Bases,
    mut finite_check: Option<&mut FiniteCheck>,
    times: &mut [Duration],
) -> Result<()> {
    if let Some(finite_check) = &mut finite_check {
        // SAFETY: as for this function.
        unsafe { finite_check.begin(program, bases)? };
    }
    times.iter_mut().skip(first).for_each(|time| *time = Duration::ZERO);
    walk.run(first..kernels.len(), bases, &mut |position, bases| {
        let start = Instant::now();
        (kernels[position].run)(bases)?;
        if let Some(time) = times.get_mut(position) {
            *time += start.elapsed();
        }
        if let Some(finite_check) = &mut finite_check {
            // SAFETY: as for this function.
            unsafe { finite_check.look(program, position, bases)? };
        }
        Ok(())
    })
}

/// Says of the memory that this run writes that its contents are new. Its locks are held.
fn mark_written(program: &Program, variables: &[Arc<dyn Memory>], outputs: &[Output]) -> Result<()> {
    let mut version = None;
    let mut mark = |memory: &CpuMemory| memory.set_version(*version.get_or_insert_with(next_version));
    for (i, memory) in variables.iter().enumerate().filter(|(i, _)| program.written[*i]) {
        mark(own("variable", i, memory)?);
    }
    for (i, output) in outputs.iter().enumerate() {
        if let Output::Device(_, memory) = output {
            mark(own("output", i, memory)?);
        }
    }
    Ok(())
}

/// The CPU's own memory behind an argument or an output, which has just the bytes of its elements.
fn whole<'m>(
    what: &str,
    i: usize,
    memory: &'m Arc<dyn Memory>,
    slot: &ArgumentSlot,
) -> Result<&'m CpuMemory> {
    let own = own(what, i, memory)?;
    if own.bytes() != slot.elements * slot.dtype.size() {
        fit::elements(what, i, (slot.dtype, own.bytes() / slot.dtype.size()), slot.takes())?;
    }
    Ok(own)
}
