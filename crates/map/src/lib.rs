//! What all readers of files share, so that none believes what a file says: a file as memory ([`MemoryMap`]), the files that belong to it
//! ([`ExternalFiles`]), how much it may ask for ([`Budget`]), and its words as a terminal may see them ([`visible`]).
//!
//! # Invariants
//!
//! - The only `unsafe` outside of the devices is in `mapped.rs`.
//! - No file that another one names is opened unless it is a regular one in the same folder or below it.
//! - What takes memory, nodes or steps because a file says so, takes them from a budget first.

#![deny(unsafe_code)]

mod budget;
mod escape;
mod external;
mod limits;
mod memory_map;

pub use budget::{Budget, Exceeded};
pub use escape::{shown, visible};
pub use external::{ExternalFileError, ExternalFiles};
pub use limits::{Limits, Resource};
pub use memory_map::MemoryMap;
