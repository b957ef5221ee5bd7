//! The CPU as a device: programs are checked when they are loaded, and then walked kernel by kernel. SIMD kernels, threads
//! and all their `unsafe` live here.
//!
//! # Invariants
//!
//! - Only a program that `kiln_compile::verify` takes is loaded: that is what makes unchecked loops sound. What is known only in a run (an index) is
//!   checked as it is used.
//! - One thread and many give the same bits: threads decide who computes a result, never how.
//! - A warm run allocates nothing.
//! - Every fast kernel, at every level of the processor, agrees with the naive one.

mod bases;
mod block;
mod call;
mod contraction;
mod direct;
mod environment;
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
mod scratch;
mod shared;
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

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use kiln_compile::{Channels, Program};
use kiln_device::{Description, Device, Executable, Memory, Settings, Target};
use kiln_ir::Result;

/// The machine's own processor.
#[derive(Debug)]
pub struct CpuDevice {
    target: Target,
    settings: Arc<Shared>,
}

/// Settings as the loaded programs of a device see them.
#[derive(Debug)]
struct Shared {
    threads: AtomicUsize,
    check_finite: AtomicBool,
}

impl CpuDevice {
    /// The processor, used in this way. Devices beside each other share the pool of threads.
    pub fn new(settings: Settings) -> CpuDevice {
        let Settings { threads, check_finite } = settings;
        let settings =
            Shared { threads: AtomicUsize::new(threads), check_finite: AtomicBool::new(check_finite) };
        CpuDevice { target: target(), settings: Arc::new(settings) }
    }
}

/// The processor as the one device of its kind, used as the environment says.
///
/// # Errors
/// Where the environment says something wrong.
pub fn open() -> Result<Vec<Arc<dyn Device>>> {
    static CPU: LazyLock<Result<Arc<dyn Device>>> =
        LazyLock::new(|| Ok(Arc::new(CpuDevice::new(environment::settings()?))));
    Ok(vec![CPU.clone()?])
}

/// The most loops a kernel may have: nests are walked with so many counters.
const MOST_LOOPS: usize = 16;

/// What programs are compiled for that run here.
fn target() -> Target {
    Target {
        most_loops: MOST_LOOPS,
        // The arena's places start at cache lines, which the widest vectors fill.
        alignment: 64,
        // Kernels read a pixel's channels as vectors.
        channels: Channels::Last,
        // What a core has for itself, on most that there are.
        caches: vec![32 * 1024, 1024 * 1024],
        ..Target::plain("cpu")
    }
}

impl Device for CpuDevice {
    fn name(&self) -> &str {
        &self.target.name
    }

    fn description(&self) -> Description {
        let threads = self.settings().threads;
        let plural = if threads == 1 { "" } else { "s" };
        Description {
            kind: format!("{}, {threads} thread{plural}", simd::level().name()),
            memory: memory::of_the_machine(),
            limits: Vec::new(),
        }
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn settings(&self) -> Settings {
        Settings {
            threads: self.settings.threads.load(Ordering::Relaxed),
            check_finite: self.settings.check_finite.load(Ordering::Relaxed),
        }
    }

    fn configure(&self, Settings { threads, check_finite }: Settings) -> Result<()> {
        self.settings.threads.store(threads.clamp(1, threads::MOST_THREADS), Ordering::Relaxed);
        self.settings.check_finite.store(check_finite, Ordering::Relaxed);
        Ok(())
    }

    fn shares_host_memory(&self) -> bool {
        true
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        Ok(Arc::new(memory::CpuMemory::zeroed(bytes)?))
    }

    fn load(&self, program: Arc<Program>) -> Result<Box<dyn Executable>> {
        Ok(Box::new(runtime::CpuExecutable::load(program, &self.target, self.settings.clone())?))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
