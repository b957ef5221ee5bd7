//! HOW it is computed: from a graph to a program of few kernels and a memory plan. Knows no device.
//!
//! The passes stand in one list in [`compile`]; read them in its order.

#![forbid(unsafe_code)]

mod affine;
pub mod align;
pub mod cluster;
mod contract;
mod fuse;
pub mod kind;
pub mod layout;
mod lower;
mod opaque;
mod order;
pub mod plan;
pub mod prepare;
mod print;
pub mod program;
pub mod schedule;
pub mod steady;
mod target;

use kiln_ir::{Graph, Result};

pub use contract::accumulator;
pub use program::Program;
pub use target::Target;

/// Compiles a graph for a target.
///
/// # Errors
/// Where the target lacks what the graph needs.
pub fn compile(graph: &Graph, target: &Target) -> Result<Program> {
    let graph = prepared(graph);
    let clusters = cluster::cluster(&graph);
    let schedule = schedule::schedule(&graph, &clusters);
    let mut program = lower::lower(&graph, &clusters, &schedule);
    plan::plan(&mut program, target.alignment);
    Ok(program)
}

/// The graph as it is cut into kernels: simplified, with nothing empty, and all that is handed back computed.
pub fn prepared(graph: &Graph) -> Graph {
    let graph = kiln_ir::simplify::simplify(graph);
    let graph = affine::affine(&graph);
    let (graph, _) = prepare::without_empties(graph);
    let (graph, _) = prepare::with_wide_products(graph);
    prepare::with_values_computed(graph).0
}
