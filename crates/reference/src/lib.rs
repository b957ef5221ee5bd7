//! The reference device: programs run the obvious way, kernel by kernel, each element as the graph's own evaluator computes it.
//! It is the oracle of every other device, and the proof that nothing above a device knows which one it is.
//!
//! There are two of its kind. `reference` does everything at once. `reference:late` has a thread of its own that does what was
//! started in its order and some time later, as a GPU does; results that nobody reads yet aren't there yet.
//!
//! # Invariants
//!
//! - It computes what the graph's evaluator computes: `tests/table.rs`.
//! - A program that isn't one is an error, never a panic and never `unsafe`: it is verified when it is loaded, and each access is checked
//!   again when it happens.
//! - A run reads all its memory before it writes any, so outputs may be its own inputs: a started run owns the bytes of both.
//! - Work that starts work doesn't wait for itself, also after a panic: the tests of `queue.rs`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod executable;
mod machine;
mod memory;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use kiln_compile::{Program, verify};
use kiln_device::{Device, DeviceDescription, DeviceSettings, Executable, Memory, Target};
use kiln_ir::{Data, Result};

use executable::ReferenceExecutable;
use machine::{ReferenceMachine, from_bytes, native_bytes};
use memory::ReferenceMemory;
use queue::Queue;

/// A device that runs programs the obvious way.
#[derive(Debug)]
pub struct ReferenceDevice {
    name: &'static str,
    target: Target,
    check_finite: Arc<AtomicBool>,
    queue: Arc<Queue>,
}

impl ReferenceDevice {
    /// A device that does everything at once.
    pub fn new() -> ReferenceDevice {
        ReferenceDevice::called("reference", Queue::prompt())
    }

    /// A device that does what was started later, on a thread of its own.
    pub fn late() -> ReferenceDevice {
        ReferenceDevice::called("reference:late", Queue::late())
    }

    /// The same device for programs that are compiled for another target.
    pub fn with_target(self, target: Target) -> ReferenceDevice {
        ReferenceDevice { target, ..self }
    }

    fn called(name: &'static str, queue: Queue) -> ReferenceDevice {
        let target = Target::plain(name);
        ReferenceDevice { name, target, check_finite: Arc::default(), queue: Arc::new(queue) }
    }
}

impl Default for ReferenceDevice {
    fn default() -> ReferenceDevice {
        ReferenceDevice::new()
    }
}

/// Runs a program once, without a device: gives its outputs, and the variables' new values.
///
/// # Errors
/// Where the program isn't one, or an index is out of range.
pub fn run(program: &Program, inputs: &[&Data], variables: &[Data]) -> Result<(Vec<Data>, Vec<Data>)> {
    let inputs = inputs.iter().map(|data| native_bytes(data)).collect();
    let mut machine = ReferenceMachine::new(program, inputs, variables.iter().map(native_bytes).collect())?;
    machine.run(false)?;
    let (variables, outputs) = machine.results()?;
    let outputs = outputs.iter().zip(&program.outputs);
    let variables = variables.iter().zip(&program.variables);
    Ok((
        outputs.map(|(bytes, (_, dtype))| from_bytes(*dtype, *dtype, bytes)).collect::<Result<_>>()?,
        variables.map(|(bytes, v)| from_bytes(v.dtype(), v.dtype(), bytes)).collect::<Result<_>>()?,
    ))
}

/// Both devices of this kind.
///
/// # Errors
/// None.
pub fn open() -> Result<Vec<Arc<dyn Device>>> {
    static DEVICES: LazyLock<[Arc<dyn Device>; 2]> =
        LazyLock::new(|| [Arc::new(ReferenceDevice::new()), Arc::new(ReferenceDevice::late())]);
    Ok(DEVICES.to_vec())
}

impl Device for ReferenceDevice {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> DeviceDescription {
        let how = if self.queue.is_late() { ", completing late" } else { "" };
        DeviceDescription {
            kind: format!("programs run naively{how}, for checking other devices"),
            memory: None,
            limits: vec!["some thousand times slower than the CPU".to_string()],
        }
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn settings(&self) -> DeviceSettings {
        DeviceSettings { threads: 1, check_finite: self.check_finite.load(Ordering::Relaxed) }
    }

    fn configure(&self, settings: DeviceSettings) -> Result<()> {
        self.check_finite.store(settings.check_finite, Ordering::Relaxed);
        Ok(())
    }

    fn shares_host_memory(&self) -> bool {
        !self.queue.is_late()
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        Ok(Arc::new(ReferenceMemory::zeroed(bytes, self.queue.clone())?))
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Executable>> {
        verify::program(&program, &self.target)?;
        let executable = ReferenceExecutable::new(program, self.queue.clone(), self.check_finite.clone());
        Ok(Box::new(executable))
    }

    fn sync(&self) -> Result<()> {
        self.queue.sync()
    }
}
