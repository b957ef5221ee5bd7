//! Files that are written whole or not at all ([`AtomicFile`], [`write()`]), folders that one process has for itself ([`FolderLock`]), and
//! checksums. Every file that kiln leaves behind is written by this crate.
//!
//! # Invariants
//!
//! - Under a name there is the old file or the new one, whatever happens. Checkpoints and model files rely on it, and so does
//!   `kiln-map`, whose maps keep the file they were made of. The tests of `atomic.rs`; `tests/faults.rs` of the workspace on full disks.
//! - What isn't complete lies beside it, under a hidden name that ends in `.part`, and only its user may read it; what a process that died
//!   left behind is found by [`remove_unfinished`], and nothing else is: the tests of `atomic.rs`.
//! - A folder's lock ends with its process, and is one folder's, not its name's: the tests of `folder_lock.rs`.
//! - A checksum is XXH64's, on every machine: the tests of `checksum.rs` hold it to the specification.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod atomic;
mod checksum;
mod folder_lock;

pub use atomic::{AtomicFile, remove_unfinished, write, write_there};
pub use checksum::{checksum, file_checksum};
pub use folder_lock::FolderLock;
