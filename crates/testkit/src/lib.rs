//! What the tests of every crate share. One table of operations ([`table::cases`]) drives correctness, gradients and
//! speed; random graphs ([`graphs::random_graph`]) find what no table thinks of; both are [`Problem`]s, whose answer
//! the oracle knows. Files of a test's own go in a [`Folder`]; what a test needs and
//! may not find it asks for with [`data`].

#![forbid(unsafe_code)]

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
