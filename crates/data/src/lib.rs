//! Host side: data to batches. Knows nothing of tensors on devices.

mod made;
mod rng;

pub use made::{Points, moons, spirals};
pub use rng::Rng;
