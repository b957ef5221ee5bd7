//! What all readers of files share, so that none believes what a file says: a file as memory ([`MemoryMap`]), the files that belong to it
//! ([`ExternalFiles`]), how much it may ask for ([`Budget`]), what lies in an archive ([`zip_entries`]), its words as a terminal may see them ([`visible`]), and the known name that
//! a wrong one may have meant ([`nearest`]).
//!
//! # Invariants
//!
//! - The only `unsafe` outside of the devices is in `memory_map.rs`, and it is the only place that maps files: the workspace's
//!   `tests/walls.rs`.
//! - No file that another one names is opened unless it is a regular one in the same folder or below it. The readers of ONNX and
//!   safetensors rely on it; the tests of `external.rs` try links, pipes and ways around.
//! - What takes memory, nodes or steps because a file says so, takes them from a budget first: the tests of `budget.rs`, and
//!   the workspace's `tests/hostile` for each reader.
//! - Nothing that a terminal obeys passes [`visible`] or [`shown`]: the tests of `escape.rs` try every letter.

#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod archive;
mod budget;
mod counted;
mod escape;
mod external;
mod limits;
mod memory_map;
mod nearest;

pub use archive::{ArchiveEntry, ArchivePlace, is_zip, zip_entries};
pub use budget::{Budget, Exceeded};
pub use counted::counted;
pub use escape::{shown, visible};
pub use external::{ExternalFileError, ExternalFiles};
pub use limits::{Limits, Resource};
pub use memory_map::MemoryMap;
pub use nearest::nearest;
