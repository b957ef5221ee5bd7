//! Tensors: what they compute, their gradients, and what becomes of mistakes. One binary, since each costs a link.

mod basics;
mod gradients;
mod mistakes;
mod panics;
mod random;
mod reference;
