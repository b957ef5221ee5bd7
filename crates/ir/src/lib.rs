//! WHAT is computed: dtypes, shapes, the closed set of operations, and the graph they form.
//!
//! Read [`op`] first (every operation and its meaning), then [`expr`] (how a graph is built).

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
mod handles;
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
pub mod simplify;

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
