//! Stands in for `parquet/` where the feature is off.

use super::typed::TypedRows;
use crate::archive::WholeFile;
use crate::error::{Error, Result};

pub(super) fn rows(_whole: WholeFile) -> Result<TypedRows> {
    Err(Error::new("this is a Parquet file, and kiln was built without its feature `parquet`"))
}
