//! Stands in for `csv.rs` where the feature is off: no table in text has a header.

use std::convert::Infallible;
use std::io::Read;
use std::marker::PhantomData;

use super::header::FirstRow;
use super::{Chunk, TableInput};
use crate::error::{Error, Result};
use crate::table::reading::Reading;

fn is_off() -> Error {
    Error::new("this is no JSON but a table in text, and kiln was built without its feature `csv`")
}

pub(super) fn sniff(_head: &[u8]) -> u8 {
    b','
}

pub(super) fn header(_head: &[u8], _delimiter: u8, _reading: &Reading) -> Result<(FirstRow, usize, u64)> {
    Err(is_off())
}

/// Rows with quotes, of which there are none.
pub(super) struct Records<'a>(Infallible, PhantomData<&'a ()>);

impl<'a> Records<'a> {
    pub fn new(_delimiter: u8, _from: impl Read + Send + 'a, _before: u64) -> Result<Records<'a>> {
        Err(is_off())
    }

    pub fn block(&mut self, _size: usize, _input: TableInput<'_>) -> Result<Option<Chunk>> {
        match self.0 {}
    }
}
