//! The CPU: its threads, its vector units, and the kernels written for them.

pub mod gemm;
pub mod simd;
pub mod threads;
