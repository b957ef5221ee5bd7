//! Images: files of bytes in the format of MNIST, folders and lists of pictures, and how they are varied in training.

mod idx;

pub use idx::{MNIST_FILES, mnist, read_idx};
