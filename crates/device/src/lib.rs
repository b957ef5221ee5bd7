//! WHERE it is computed, in the abstract: what every device shares. No kernels.
//!
//! # Invariants
//!
//! - A device receives compiled programs, never single operations: [`Device`] has no method for one.
//! - Programs and copies that use the same memory exclude each other: `cpu/tests/refusals.rs` runs one variable on two threads.
//! - What was started is done in the order in which it was started, as far as anybody who reads can see. `nn` relies on it to
//!   hand over the next step early; its `tests/devices.rs` runs everything on a device that completes late.
//! - A kind of device is opened when somebody asks for it, and once, whatever comes of it: the tests of `registry.rs`.
//! - Elements are seen as bytes in `memory.rs`, which is the only `unsafe` here: the workspace's `tests/walls.rs`.

#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod fit;
mod memory;
mod registry;

use std::sync::Arc;

use kiln_compile::Program;
use kiln_ir::Result;

pub use kiln_compile::Target;
pub use memory::{Argument, Host, HostMut, Memory, Output};
pub use registry::{default_device, device, devices, register, register_default, set_default_device};

/// A place where programs run.
pub trait Device: Send + Sync + std::fmt::Debug {
    /// What it is chosen by: `cpu`, `gpu:1`.
    fn name(&self) -> &str;

    /// What it is, for people.
    fn description(&self) -> DeviceDescription;

    /// What programs are compiled for that are to run here.
    fn target(&self) -> &Target;

    /// How it runs programs now.
    fn settings(&self) -> DeviceSettings;

    /// Runs programs in another way from the next one on.
    ///
    /// # Errors
    /// Where it can't.
    fn configure(&self, settings: DeviceSettings) -> Result<()>;

    /// Whether programs work on the host's memory as on their own: then nothing is gained by handing inputs over early.
    fn shares_host_memory(&self) -> bool;

    /// Zeroed memory that outlives programs, for a variable.
    ///
    /// # Errors
    /// Where there isn't so much.
    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>>;

    /// Makes a program ready to run: compiles what the device compiles and allocates its arena.
    ///
    /// # Errors
    /// Where the program isn't one, or there is no memory for it.
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Executable>>;

    /// Waits until everything that was started is done.
    ///
    /// # Errors
    /// The first error of what was started and whose results nobody has read.
    fn sync(&self) -> Result<()>;
}

/// What a device is, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceDescription {
    /// The processor or adapter and how it is used: `AVX-512, 2 threads`.
    pub kind: String,
    /// Bytes of memory, where the system tells.
    pub memory: Option<u64>,
    /// What it can't do, a line each.
    pub limits: Vec<String>,
}

/// How a device runs programs. Numbers don't depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSettings {
    /// How many of the host's threads take part, where they do.
    pub threads: usize,
    /// Whether every kernel's result is searched for the first `NaN` or infinity, which ends the run.
    pub check_finite: bool,
}

/// A program that is loaded on a device.
pub trait Executable: Send {
    /// Runs the program once. `inputs` and `variables` are as the program lists them; variables it writes are updated
    /// in place.
    ///
    /// What the host lends is only used until this returns: arguments of the host are read by then, and where an output is
    /// the host's, everything is done. With outputs in memory of the device this may return before the work is done; reading
    /// that memory, or a variable's, waits for it.
    ///
    /// # Errors
    /// Where arguments don't fit; of the work itself, at the latest from the first read of what it writes.
    fn run(
        &mut self,
        inputs: &[Argument],
        variables: &[Arc<dyn Memory>],
        outputs: &mut [Output],
    ) -> Result<()>;

    /// How many bytes it holds: for temporaries, and what its kernels keep of operands that stay the same.
    fn bytes(&self) -> usize;

    /// The time each kernel took in the last run, where [`Executable::profile`] was switched on.
    fn times(&self) -> Vec<std::time::Duration>;

    /// Switches the measuring of single kernels.
    fn profile(&mut self, on: bool);
}

/// Whether both are the same device.
pub fn same(a: &Arc<dyn Device>, b: &Arc<dyn Device>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}
