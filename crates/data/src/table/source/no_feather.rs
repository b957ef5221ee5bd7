//! Stands in for `feather/` where the feature is off.

use super::typed::TypedRows;
use crate::archive::WholeFile;
use crate::error::{Error, Result};

pub(super) fn is_arrow(start: &[u8]) -> bool {
    start.starts_with(b"ARROW1\0") || start.starts_with(&[0xff; 4])
}

pub(super) fn rows(_whole: &WholeFile) -> Result<TypedRows> {
    Err(Error::new("this is an Arrow or Feather file, and kiln was built without its feature `feather`"))
}
