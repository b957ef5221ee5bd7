//! HOW it is computed: from a graph to a program of few kernels and a memory plan. Knows no device.
//!
//! The passes stand in one list, [`passes::PASSES`]; read them in its order.

#![forbid(unsafe_code)]

mod affine;
pub mod align;
mod bindings;
pub mod canonicalise;
pub mod cluster;
mod fingerprint;
pub mod invariant;
pub mod kind;
pub mod layout;
pub mod legalise;
mod lower;
pub mod passes;
pub mod plan;
mod print;
pub mod program;
pub mod schedule;
mod simplify_loops;
mod target;
mod topological_order;
pub mod verify;

use kiln_ir::{Graph, Result};

pub use passes::Compilation;
pub use program::Program;
pub use target::{Channels, Fusion, Split, Target};

/// Compiles a graph for a target.
///
/// # Errors
/// Where the target lacks what the graph needs.
pub fn compile(graph: &Graph, target: &Target) -> Result<Program> {
    let mut compilation = Compilation::new(graph, target);
    compilation.run()?;
    Ok(compilation.program)
}
