//! HOW it is computed: from a graph to a program of few kernels and a memory plan. Knows no device.
//!
//! The passes stand in one list, [`passes::PASSES`]; read them in its order.
//!
//! # Invariants
//!
//! - Every program passes [`verify::program`] for its target: each view stays in its buffer and each buffer in its memory, and
//!   what a kernel writes it touches nowhere else. The unchecked loops of `cpu` rest on that, and it checks what it loads.
//!   Debug builds check after each pass; `cpu/tests/refusals.rs` breaks each rule.
//! - A program gives what its graph means, up to rounding: `tests/compiled/program.rs`, and `tests/compiled/legalise.rs` for a target that lacks
//!   nearly everything.
//! - What is hoisted reads variables that the program doesn't write and other hoisted results, and nobody writes over it; so
//!   a device may leave it out while those variables stay: `verify/hoisted.rs`.
//! - Whoever reads a variable's old value comes before the kernel that writes it, and clusters form no circle:
//!   [`schedule::KernelSchedule::check`] after its pass, and the tests of `topological_order.rs`.
//! - Temporaries that live at one time share no byte: the tests of [`plan`].
//! - A pass knows of the device what [`Target`] says, and nothing else: this crate depends on `kiln-ir` alone.
//! - The same graph and target give the same program, to the byte; snapshots and caches rest on that: `tests/compiled/program.rs`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod affine;
pub mod align;
mod attention;
mod bindings;
pub mod bodies;
pub mod canonicalise;
pub mod cluster;
mod concat;
mod fingerprint;
pub mod invariant;
pub mod kind;
pub mod layout;
pub mod legalise;
mod lower;
mod packed;
pub mod passes;
pub mod plan;
mod print;
pub mod program;
mod recompute;
pub mod schedule;
mod simplify_loops;
mod target;
mod topological_order;
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
