//! The CPU as a device: programs are checked when they are loaded, and then walked kernel by kernel. SIMD kernels, threads
//! and all their `unsafe` live here.

mod bases;
mod block;
mod contraction;
mod direct;
mod finish;
mod finite;
mod fused;
pub mod gemm;
mod index;
mod lock;
mod memory;
mod naive;
mod prepare;
mod runtime;
pub mod simd;
mod steady;
pub mod threads;
mod window;
mod windows;

#[cfg(test)]
#[path = "../tests/kit/mod.rs"]
mod kit;

// What tests share calls the crate by its name.
#[cfg(test)]
extern crate self as kiln_cpu;

use std::sync::{Arc, LazyLock};

use kiln_compile::{Channels, Program};
use kiln_device::{Device, Executable, Memory, Target};
use kiln_ir::Result;

pub use finite::check_finite;
pub use threads::{set_threads, threads};

/// The machine's own processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuDevice;

/// The processor, shared by all who don't ask for a device of their own.
pub fn cpu() -> Arc<dyn Device> {
    static CPU: LazyLock<Arc<CpuDevice>> = LazyLock::new(|| Arc::new(CpuDevice));
    CPU.clone()
}

/// The most loops a kernel may have: nests are walked with so many counters.
const MOST_LOOPS: usize = 16;

/// What programs are compiled for that run here.
fn target() -> &'static Target {
    static TARGET: LazyLock<Target> = LazyLock::new(|| Target {
        most_loops: MOST_LOOPS,
        // The arena's places start at cache lines, which the widest vectors fill.
        alignment: 64,
        // Kernels read a pixel's channels as vectors.
        channels: Channels::Last,
        // What a core has for itself, on most that there are.
        caches: vec![32 * 1024, 1024 * 1024],
        ..Target::plain("cpu")
    });
    &TARGET
}

impl Device for CpuDevice {
    fn name(&self) -> String {
        let threads = threads();
        format!("cpu ({threads} thread{})", if threads == 1 { "" } else { "s" })
    }

    fn target(&self) -> &Target {
        target()
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        Ok(Arc::new(memory::CpuMemory::zeroed(bytes)?))
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Executable>> {
        Ok(Box::new(runtime::CpuExecutable::load(program)?))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
