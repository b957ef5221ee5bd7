//! HOW it is computed: from a graph to a program of few kernels and a memory plan. Knows no device.
//!
//! The passes stand in one list, [`passes::PASSES`]; read them in its order.
//!
//! # Invariants
//!
//! - Of a device it knows what its [`Target`] says, and nothing else.
//! - What each pass leaves is checked in tests and debug builds ([`passes`]), and a program that [`verify`] takes touches no element outside of
//!   its buffers.
//! - A program computes what its graph does, up to rounding, and the order in which the terms of a sum are added follows from shapes alone.

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
