//! WHAT is computed: dtypes, shapes, the closed set of operations, and the graph they form.
//!
//! Read [`op`] first (every operation and its meaning), then [`expr`] (how a graph is built).
//!
//! # Invariants
//!
//! - A graph that exists is well-formed: operands before their users, shapes and dtypes as [`infer`] says. Every pass and the
//!   compiler rely on it. [`Expr::apply`] is the one way to a node, [`check`] runs after each pass in debug builds, and
//!   `tests/graphs/print.rs` shows what it refuses.
//! - Building neither panics nor returns a `Result`: an [`Expr`] is a node or the first error, with the user's line. The tensor
//!   of `nn` relies on it; `tests/graphs/gradients.rs`, `tests/graphs/lines.rs` and `nn/tests/tensor/panics.rs` hold it.
//! - What an operation means stands at its variant in [`op`], and [`eval`] computes just that. It is the oracle of gradients,
//!   passes and devices; `tests/graphs/oracle.rs` holds it to numbers worked out by hand.
//! - A gradient is made of operations, so it has gradients itself, and agrees with differences: `tests/graphs/table.rs`.
//! - A simplified graph gives what the graph gave: `tests/graphs/simplify.rs`, `tests/graphs/table.rs`, and `tests/graphs/random.rs` over random graphs.
//! - Nothing recurses along a graph, however deep that is: `tests/graphs/deep.rs`.
//! - Closed sets are matched without a wildcard: the workspace's `tests/sources` reads for them.
//! - A random number is a function of a key and a counter, the same on every machine: the tests of [`random`] hold it to
//!   the published generator.
//! - The line that is built for is a thread's, and as before when its scope ends, also by a panic: `tests/graphs/lines.rs`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod accumulate;
pub mod attention;
pub mod check;
pub mod checkpoint;
pub mod data;
pub mod dtype;
pub mod error;
pub mod eval;
pub mod expr;
pub mod frontier;
pub mod grad;
pub mod graph;
mod handles;
pub mod infer;
pub mod kind;
pub mod line;
pub mod node;
pub mod op;
pub mod packed;
pub mod pass;
pub mod print;
pub mod random;
pub mod rewrite;
pub mod shape;
pub mod simplify;
pub mod write_out;

pub use half;

pub use data::{Data, Element};
pub use dtype::{DType, Scalar};
pub use error::{Error, ErrorKind, Result};
pub use expr::Expr;
pub use graph::Graph;
pub use kind::OpKind;
pub use node::Node;
pub use op::Op;
pub use shape::Shape;

/// The code in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
