//! Images: files of bytes in the format of MNIST, folders and lists of pictures, and how they are varied in training.

mod augment;
mod cifar;
mod folder;
mod idx;
mod picture;

pub use augment::{Augment, Augmented, Change, Mixed};
pub use cifar::{cifar10, is_cifar10};
pub use folder::{Gallery, Pictures};
pub use idx::{MNIST_FILES, is_mnist, mnist, read_idx};
pub use picture::{ImageSize, PICTURES, Picture, edge_brightness, encode_png};
