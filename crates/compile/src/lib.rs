//! HOW it is computed: from a graph to a program of few kernels and a memory plan. Knows no device.

pub mod program;

pub use program::Program;
