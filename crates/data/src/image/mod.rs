//! Images: files of bytes in the format of MNIST, folders and lists of pictures, and how they are varied in training.

mod augment;
mod cifar;
#[cfg(feature = "image")]
mod folder;
mod idx;
mod mixed;
#[cfg(feature = "image")]
mod picture;
#[cfg(feature = "image")]
mod picture_file;
mod size;
mod tone;

pub use augment::{Augment, Augmented, Change};
pub use cifar::{cifar10, is_cifar10};
#[cfg(feature = "image")]
pub use folder::{Gallery, Pictures};
pub use idx::{MNIST_FILES, is_mnist, mnist, read_idx};
pub use mixed::Mixed;
#[cfg(feature = "image")]
pub use picture::{PICTURES, Picture, encode_png};
#[cfg(feature = "image")]
pub use picture_file::{PictureArchive, PictureFile, PictureFiles};
pub use size::{ImageSize, edge_brightness};
