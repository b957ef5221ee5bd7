//! What all readers of files share, so that none believes what a file says: a file as memory ([`Mapped`]), the files that belong to it
//! ([`Beside`]), how much it may ask for ([`Budget`]), and its words as a terminal may see them ([`visible`]).
//!
//! # Invariants
//!
//! - The only `unsafe` outside of the devices is in `mapped.rs`.
//! - No file that another one names is opened unless it is a regular one in the same folder or below it.
//! - What takes memory, nodes or steps because a file says so, takes them from a budget first.

#![deny(unsafe_code)]

mod beside;
mod budget;
mod limits;
mod mapped;
mod visible;

pub use beside::{Beside, Outside};
pub use budget::{Budget, Exceeded};
pub use limits::{Limits, Resource};
pub use mapped::Mapped;
pub use visible::{shown, visible};
