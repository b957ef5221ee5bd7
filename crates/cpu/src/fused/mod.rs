//! Fused work on the CPU: an interpreter of straight-line programs over tiles that stay in the first-level cache.
//!
//! The CPU has no compiler, so each instruction is one vectorised loop over a tile of about a thousand numbers; what the
//! interpreter costs is spread over them. All choices (loops, registers, functions) are made when a program is loaded.

mod convert;
mod folds;
mod frame;
mod functions;
#[cfg(test)]
mod levels_tests;
mod loops;
mod lower;
pub(crate) mod math;
mod ops;
mod pairs;
mod plan;
mod registers;
mod run;
mod steps;
mod stream;
mod transfer;

pub(crate) use run::Interpreter;
