//! What the tests of every crate share. One table of operations ([`table::cases`]) drives correctness, gradients and
//! speed; random graphs ([`graphs::random_graph`]) find what no table thinks of; both are [`Problem`]s, whose answer
//! the oracle knows. Files of a test's own go in a [`Folder`]; what a test needs and
//! may not find it asks for with [`data`].
//!
//! # Invariants
//!
//! - A seed gives the same graph and numbers everywhere, so that what a test found can be found again: `ir/tests/graphs/random.rs`.
//! - Every operation is in the table, and every operation comes up in random graphs: `ir/tests/graphs/table.rs`, `ir/tests/graphs/random.rs`.
//! - In a random graph what jumps is applied only to what is exact, so that devices may differ in last bits alone: each device's
//!   `tests/table.rs` rests on it.
//! - It depends on `kiln-ir` alone, so that every crate may use it: the workspace's `tests/documents.rs` reads the manifests.

#![forbid(unsafe_code)]

pub mod awkward;
pub mod bits;
pub mod close;
pub mod folder;
pub mod gradcheck;
pub mod graphs;
pub mod needs;
pub mod problem;
pub mod rng;
pub mod table;

pub use close::{Tolerance, assert_close};
pub use folder::{Folder, Program};
pub use gradcheck::gradcheck;
pub use graphs::random_graph;
pub use needs::{data, not_run};
pub use problem::Problem;
pub use rng::Rng;
pub use table::{Case, Speed, cases, speed_cases};
