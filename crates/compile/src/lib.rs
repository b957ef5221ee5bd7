//! HOW it is computed: from a graph to a program of few kernels and a memory plan. Knows no device.
//!
//! The passes stand in one list, [`passes::PASSES`]; read them in its order.

#![forbid(unsafe_code)]

mod affine;
pub mod align;
mod bindings;
pub mod cluster;
mod contract;
mod fingerprint;
mod fuse;
pub mod kind;
pub mod layout;
pub mod legalise;
mod lower;
mod opaque;
mod order;
pub mod passes;
pub mod plan;
pub mod prepare;
mod print;
pub mod program;
pub mod schedule;
pub mod steady;
mod target;
pub mod verify;

use std::sync::atomic::{AtomicU64, Ordering};

use kiln_ir::{Graph, Result};

pub use passes::Compilation;
pub use program::Program;
pub use target::{Channels, Fusion, Split, Target};

static COMPILATIONS: AtomicU64 = AtomicU64::new(0);

/// How many programs this process has compiled.
pub fn compilations() -> u64 {
    COMPILATIONS.load(Ordering::Relaxed)
}

/// Compiles a graph for a target.
///
/// # Errors
/// Where the target lacks what the graph needs.
pub fn compile(graph: &Graph, target: &Target) -> Result<Program> {
    COMPILATIONS.fetch_add(1, Ordering::Relaxed);
    let mut compilation = Compilation::new(graph, target);
    compilation.run()?;
    Ok(compilation.program)
}
