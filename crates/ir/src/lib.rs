//! WHAT is computed: dtypes, shapes, the closed set of operations, and the graph they form.
//!
//! Read [`op`] first (every operation and its meaning), then [`expr`] (how a graph is built).
//!
//! # Invariants
//!
//! - Building never panics and returns no `Result`: a wrong shape, dtype or axis makes a poisoned value that carries the first error ([`expr`]).
//! - The operations are a closed set, matched without a wildcard, so that the compiler finds every place that a new one needs.
//! - In a graph nodes stand before their users, with the shapes and dtypes that [`infer`] gives; [`check`] says what else holds, and is run after each
//!   pass in tests and debug builds.
//! - Whatever is computed is what [`eval`] computes, up to rounding; a gradient is made of operations, and so has gradients.

#![forbid(unsafe_code)]

mod accumulate;
pub mod check;
pub mod checkpoint;
pub mod data;
pub mod dtype;
pub mod error;
pub mod eval;
pub mod expr;
pub mod grad;
pub mod graph;
pub mod infer;
pub mod kind;
pub mod line;
pub mod node;
pub mod op;
pub mod pass;
pub mod print;
pub mod random;
pub mod rewrite;
pub mod shape;
mod shared;
pub mod simplify;

pub use half;

pub use data::Data;
pub use dtype::{DType, Element, Scalar};
pub use error::{Error, ErrorKind, Result};
pub use expr::Expr;
pub use graph::Graph;
pub use kind::Kind;
pub use node::Node;
pub use op::Op;
pub use shape::Shape;

/// The code in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
