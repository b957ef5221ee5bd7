//! WHERE it is computed, in the abstract: what every device shares. No kernels.
//!
//! A device receives compiled programs, never single operations.

mod memory;

use std::sync::Arc;

use kiln_compile::Program;
pub use kiln_compile::Target;
use kiln_ir::Result;

pub use memory::{Argument, Memory, Output};

/// A place where programs run.
pub trait Device: Send + Sync + std::fmt::Debug {
    /// What it is, for people: `cpu (AVX-512, 2 threads)`.
    fn name(&self) -> String;

    /// What programs are compiled for that are to run here.
    fn target(&self) -> &Target;

    /// Zeroed memory that outlives programs, for a variable.
    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>>;

    /// Makes a program ready to run: compiles what the device compiles and allocates its arena.
    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Executable>>;

    /// Waits until everything that was started is done.
    fn sync(&self) -> Result<()>;
}

/// A program that is loaded on a device.
pub trait Executable: Send {
    /// Runs the program once. `inputs` and `variables` are as the program lists them; variables it writes are updated
    /// in place. Results are in place when this returns (or, on a device of its own, after a read or a sync).
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
