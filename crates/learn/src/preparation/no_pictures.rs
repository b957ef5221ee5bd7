//! Stands in for `pictures.rs` where the feature `image` is off: no picture is read.

use std::path::Path;

use kiln_data::Set;

use super::ImagePreparation;
use crate::{Error, Result};

impl ImagePreparation {
    pub(crate) fn folder(&self, path: &Path) -> Result<(Set, Vec<String>)> {
        Err(Error::format(path, "these are pictures, and kiln was built without its feature `image`"))
    }
}
