//! A loaded program: arguments are checked, memory is read, the machine runs, memory is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_compile::Program;
use kiln_device::{Argument, Executable, Memory, Output, fit};
use kiln_ir::{DType, Error, ErrorKind, Result};

use crate::machine::ReferenceMachine;
use crate::memory::{MemoryContents, ReferenceMemory, lock};
use crate::queue::{Queue, QueuedWork};

/// A program that is loaded on the reference device.
pub(crate) struct ReferenceExecutable {
    program: Arc<Program>,
    queue: Arc<Queue>,
    check_finite: Arc<AtomicBool>,
    profiling: bool,
    times: Arc<Mutex<Vec<Duration>>>,
}

type SharedContents = Arc<Mutex<MemoryContents>>;

/// Bytes that a run reads: the host's, copied when it was started, or memory.
enum RunInput {
    Host(Vec<u8>),
    Device(SharedContents),
}

impl ReferenceExecutable {
    pub(crate) fn new(
        program: Arc<Program>,
        queue: Arc<Queue>,
        check_finite: Arc<AtomicBool>,
    ) -> ReferenceExecutable {
        ReferenceExecutable { program, queue, check_finite, profiling: false, times: Arc::default() }
    }

    /// The contents of memory that has the bytes of so many elements and is this device's.
    fn contents(
        &self,
        what: &str,
        i: usize,
        memory: &Arc<dyn Memory>,
        elements: usize,
        dtype: DType,
    ) -> Result<SharedContents> {
        let own = memory.as_any().downcast_ref::<ReferenceMemory>().filter(|own| own.is_of(&self.queue));
        let own = own.ok_or_else(|| {
            let message = format!("{what} {i} is memory of another device than this reference");
            Error::new(ErrorKind::Device, "run", message).nowhere()
        })?;
        if memory.bytes() != elements * dtype.size() {
            let message =
                format!("{what} {i} has {} bytes, not {elements} elements of {dtype}", memory.bytes());
            return Err(Error::new(ErrorKind::Shape, "run", message).nowhere());
        }
        Ok(own.contents().clone())
    }

    fn sources(&self, inputs: &[Argument]) -> Result<Vec<RunInput>> {
        fit::count("arguments", inputs.len(), self.program.inputs.len())?;
        let given = inputs.iter().zip(&self.program.inputs).enumerate();
        given
            .map(|(i, (argument, (shape, dtype)))| {
                let wanted = (*dtype, shape.elements());
                fit::elements("argument", i, (argument.dtype(), argument.elements()), wanted)?;
                Ok(match argument {
                    Argument::Host(host) => RunInput::Host(host.bytes().to_vec()),
                    Argument::Device(_, memory) => {
                        RunInput::Device(self.contents("argument", i, memory, shape.elements(), *dtype)?)
                    }
                })
            })
            .collect()
    }
}

impl Executable for ReferenceExecutable {
    fn run(
        &mut self,
        inputs: &[Argument],
        variables: &[Arc<dyn Memory>],
        outputs: &mut [Output],
    ) -> Result<()> {
        let program = self.program.clone();
        let sources = self.sources(inputs)?;
        fit::count("variables", variables.len(), program.variables.len())?;
        let own = variables.iter().zip(&program.variables).enumerate();
        let own = own
            .map(|(i, (memory, v))| self.contents("variable", i, memory, v.shape().elements(), v.dtype()))
            .collect::<Result<Vec<_>>>()?;
        fit::count("outputs", outputs.len(), program.outputs.len())?;
        let mut places: Vec<Option<SharedContents>> = Vec::new();
        for (i, (output, (shape, dtype))) in outputs.iter().zip(&program.outputs).enumerate() {
            fit::elements("output", i, (output.dtype(), output.elements()), (*dtype, shape.elements()))?;
            places.push(match output {
                Output::Host(_) => None,
                Output::Device(_, memory) => {
                    Some(self.contents("output", i, memory, shape.elements(), *dtype)?)
                }
            });
        }
        let written = || program.written.iter().zip(&own).filter(|(written, _)| **written).map(|(_, o)| o);
        let places_on_device: Vec<SharedContents> = places.iter().flatten().cloned().collect();
        let targets: Vec<SharedContents> = written().chain(&places_on_device).cloned().collect();
        let read = sources.iter().filter_map(|s| if let RunInput::Device(d) = s { Some(d) } else { None });
        let used: Vec<SharedContents> = own.iter().chain(read).cloned().collect();
        let other = |at: usize, target: &SharedContents| {
            targets[..at].iter().chain(&used).filter(|other| Arc::ptr_eq(other, target)).count()
        };
        for (at, target) in targets.iter().enumerate() {
            // A variable that is written is used once, as itself.
            if other(at, target) > usize::from(written().any(|own| Arc::ptr_eq(own, target))) {
                let message =
                    "memory that is written is also another variable, argument or output of this run";
                return Err(Error::new(ErrorKind::Value, "run", message).nowhere());
            }
        }
        let run = StartedRun {
            program: program.clone(),
            sources,
            own,
            places,
            host: Arc::default(),
            checks: self.check_finite.load(Ordering::Relaxed),
            times: self.profiling.then(|| self.times.clone()),
        };
        let (host, outcome) = (run.host.clone(), Arc::<Mutex<Result<()>>>::new(Mutex::new(Ok(()))));
        let (told, late) = (outcome.clone(), places_on_device.clone());
        let work: QueuedWork = Box::new(move || {
            let result = run.go();
            if let Err(error) = &result {
                *held(&told) = Err(error.clone());
                late.iter().for_each(|place| lock(place).error = Some(error.clone()));
            }
            result
        });
        let announce = |ticket| {
            used.iter().chain(&targets).for_each(|memory| lock(memory).used = ticket);
            targets.iter().for_each(|target| lock(target).written = ticket);
        };
        let ticket = self.queue.start(announce, work);
        if self.queue.is_late() && !outputs.is_empty() && places_on_device.len() == outputs.len() {
            return Ok(());
        }
        self.queue.wait(ticket);
        let outcome = std::mem::replace(&mut *held(&outcome), Ok(()));
        if let Err(error) = outcome {
            // Told here, so nobody else has to hear of it.
            self.queue.told(&error);
            places_on_device.iter().for_each(|place| lock(place).error = None);
            return Err(error);
        }
        let found = std::mem::take(&mut *held(&host));
        for (output, bytes) in outputs.iter_mut().zip(found) {
            if let Output::Host(host) = output {
                host.bytes().copy_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.program.arena
    }

    fn times(&self) -> Vec<Duration> {
        held(&self.times).clone()
    }

    fn profile(&mut self, on: bool) {
        self.profiling = on;
        self.times = Arc::default();
    }
}

/// One run, with all that it needs.
struct StartedRun {
    program: Arc<Program>,
    sources: Vec<RunInput>,
    own: Vec<SharedContents>,
    /// Where outputs go that stay on the device.
    places: Vec<Option<SharedContents>>,
    /// All outputs, for the host.
    host: Arc<Mutex<Vec<Vec<u8>>>>,
    checks: bool,
    times: Option<Arc<Mutex<Vec<Duration>>>>,
}

impl StartedRun {
    fn go(self) -> Result<()> {
        let whole = |contents: &SharedContents| {
            let contents = lock(contents);
            match &contents.error {
                Some(error) => Err(error.clone()),
                None => Ok(contents.bytes.clone()),
            }
        };
        let inputs = self.sources.into_iter().map(|source| match source {
            RunInput::Host(bytes) => Ok(bytes),
            RunInput::Device(contents) => whole(&contents),
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let variables = self.own.iter().map(whole).collect::<Result<Vec<_>>>()?;
        let mut machine = ReferenceMachine::new(&self.program, inputs, variables)?;
        machine.run(self.checks)?;
        let times = std::mem::take(&mut machine.times);
        let (variables, outputs) = machine.results()?;
        for ((contents, bytes), written) in self.own.iter().zip(variables).zip(&self.program.written) {
            if *written {
                lock(contents).bytes = bytes;
            }
        }
        for (place, bytes) in self.places.iter().zip(&outputs) {
            if let Some(contents) = place {
                lock(contents).bytes.clone_from(bytes);
            }
        }
        if let Some(kept) = self.times {
            *held(&kept) = times;
        }
        *held(&self.host) = outputs;
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
