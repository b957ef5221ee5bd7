//! Stands in for `workbook/` where the feature `excel` is off.

use kiln_map::ArchiveEntry;

use super::typed::TypedRows;
use crate::archive::WholeFile;
use crate::error::{Error, Result};
use crate::table::reading::Reading;

pub(super) fn rows(
    _whole: &WholeFile,
    _entries: Vec<ArchiveEntry>,
    _reading: &Reading,
    _notes: &mut Vec<String>,
) -> Result<TypedRows> {
    Err(Error::new("this is a workbook of Excel, and kiln was built without its feature `excel`"))
}
