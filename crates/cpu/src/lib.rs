//! The CPU as a device: programs are checked when they are loaded, and then walked kernel by kernel. SIMD kernels, threads
//! and all their `unsafe` live here.
//!
//! # Invariants
//!
//! - No program is run that [`kiln_compile::verify`] didn't pass for this target, with memory of the sizes it says. The unchecked
//!   loops rest on that; `tests/refusals.rs` tries what breaks each rule.
//! - No choice that alters a result depends on the batch, the instruction set, the threads or the caches (docs/numbers.md): `tests/bits.rs` runs every
//!   case at every level with one thread and with several, and with the caches of several machines, `fused/levels_tests.rs` every function, `nn/tests/bits.rs` rows alone and among others.
//! - A product, a convolution and its gradient in the image are one chain of fused multiply-adds an element, and any choice that alters
//!   one is made by the layer alone: any batch and any instructions give the same bits, prepacked or not, and an epilogue rounds alike
//!   wherever it is done (`contraction_tests.rs`, the tests of `epilogue.rs`).
//! - A kernel touches no element outside of its operands, whatever its vectors are: `gemm/guard_tests.rs` and the nightly sanitizer.
//! - Fast kernels give what naive ones give: `index/tests.rs`, `gemm/tests.rs`, `conv/winograd/tests.rs`, and `tests/table.rs` against the oracle.
//! - What a run is given is locked in the order of addresses and released whatever happens: the tests of `lock.rs`.
//! - What is hoisted or prepacked is made anew when, and only when, a variable that it rests on was written: `tests/hoisting.rs`.
//! - A warm step allocates nothing: `tests/allocations.rs`.
//! - What a thread is set to (threads, scratch, denormals, locks) is as before when its guard is dropped, also by a panic: the tests of
//!   `threads.rs`, `scratch.rs` and `lock.rs`.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod attention;
mod bases;
mod caches;
mod call;
mod check_finite;
mod contraction;
mod conv;
mod environment;
mod epilogue;
mod fused;
pub mod gemm;
mod hoisted;
mod index;
mod lock;
mod memory;
mod naive;
mod output;
mod pool;
mod prepare;
mod runtime;
mod scratch;
mod send_ptr;
pub mod simd;
pub mod threads;
mod unpack;
mod walk;
mod window_geometry;

#[cfg(test)]
#[path = "../tests/kit/mod.rs"]
mod kit;

// What tests share calls the crate by its name.
#[cfg(test)]
extern crate self as kiln_cpu;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use kiln_compile::{Channels, Program};
use kiln_device::{Device, DeviceDescription, DeviceSettings, Executable, Memory, Target};
use kiln_ir::Result;

/// The machine's own processor.
#[derive(Debug)]
pub struct CpuDevice {
    target: Target,
    settings: Arc<LiveSettings>,
}

/// Settings as the loaded programs of a device see them.
#[derive(Debug)]
struct LiveSettings {
    threads: AtomicUsize,
    check_finite: AtomicBool,
}

impl CpuDevice {
    /// The processor, used in this way. Devices beside each other share the pool of threads.
    pub fn new(settings: DeviceSettings) -> CpuDevice {
        let DeviceSettings { threads, check_finite } = settings;
        let settings =
            LiveSettings { threads: AtomicUsize::new(threads), check_finite: AtomicBool::new(check_finite) };
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
    let caches = caches::caches();
    Target {
        most_loops: MOST_LOOPS,
        // The arena's places start at cache lines, which the widest vectors fill.
        alignment: 64,
        // Kernels read a pixel's channels as vectors.
        channels: Channels::Last,
        caches: vec![caches.first, caches.second, caches.third],
        ..Target::plain("cpu")
    }
}

impl Device for CpuDevice {
    fn name(&self) -> &str {
        &self.target.name
    }

    fn description(&self) -> DeviceDescription {
        let threads = self.settings().threads;
        let plural = if threads == 1 { "" } else { "s" };
        DeviceDescription {
            kind: format!("{}, {threads} thread{plural}", simd::level().name()),
            memory: memory::of_the_machine(),
            limits: Vec::new(),
        }
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn settings(&self) -> DeviceSettings {
        DeviceSettings {
            threads: self.settings.threads.load(Ordering::Relaxed),
            check_finite: self.settings.check_finite.load(Ordering::Relaxed),
        }
    }

    fn configure(&self, DeviceSettings { threads, check_finite }: DeviceSettings) -> Result<()> {
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
