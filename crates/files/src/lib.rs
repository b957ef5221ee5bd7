//! Files that are written whole or not at all, folders that one process has for itself, and sums of what files hold. Every file
//! that kiln leaves behind is written by this crate.
//!
//! Invariants: under a name there is the old file or the new one, whatever happens; what isn't whole lies beside it, under a
//! hidden name that ends in `.part`, and only its user may read it; what was left behind by a process that died is found by
//! [`remove_unfinished`].

#![forbid(unsafe_code)]

mod atomic;
mod checksum;
mod folder_lock;

pub use atomic::{AtomicFile, remove_unfinished, write, write_there};
pub use checksum::{checksum, file_checksum};
pub use folder_lock::FolderLock;
