//! Rows of cells that a file says the types of: how they come from a reader, block by block, and become columns.

use crate::error::{Error, Result};
use crate::table::builder::Layout;
use crate::table::findings::FileFindings;
use crate::table::part::Parsing;
use crate::table::raw::RawCell;
use crate::table::reading::Reading;

/// A cell as a file says it; texts stand in the block.
#[allow(dead_code, reason = "each kind of file, a feature each, has some of them")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::table) enum TypedCell {
    Missing,
    Number(f64),
    Truth(bool),
    /// So many bytes of the block's text, which may say anything.
    Text(usize),
    /// So many that show no number, because the file has numbers of its own.
    Word(usize),
}

/// Some whole rows.
#[derive(Default)]
pub(in crate::table) struct TypedBlock {
    pub cells: Vec<TypedCell>,
    /// All texts, one after the other.
    pub text: String,
    /// The number of each row in the file.
    pub rows: Vec<u64>,
}

#[allow(dead_code, reason = "each kind of file, a feature each, needs some of them")]
impl TypedBlock {
    pub fn push_text(&mut self, text: &str) {
        self.text.push_str(text);
        self.cells.push(TypedCell::Text(text.len()));
    }

    pub fn push_word(&mut self, text: &str) {
        self.text.push_str(text);
        self.cells.push(TypedCell::Word(text.len()));
    }

    /// About how many bytes of a text file it would be.
    pub fn size(&self) -> usize {
        self.text.len() + 8 * self.cells.len()
    }
}

/// What gives rows, one after the other.
pub(super) trait RowSource: Send {
    /// Adds some rows to a block, each with a cell for every column; false where there is none left.
    fn add(&mut self, block: &mut TypedBlock) -> Result<bool>;
}

/// A file of typed rows, and its columns.
pub(super) struct TypedRows {
    pub names: Vec<String>,
    pub found: FileFindings,
    /// How many rows there are, where the file says so before they are read.
    pub count: Option<u64>,
    pub source: Box<dyn RowSource>,
}

impl TypedRows {
    /// The next rows, about so many bytes of them.
    pub fn block(&mut self, size: usize) -> Result<Option<TypedBlock>> {
        let mut block = TypedBlock::default();
        while block.size() < size && self.source.add(&mut block)? {}
        Ok((!block.rows.is_empty()).then_some(block))
    }

    pub fn layout(&self, reading: &Reading) -> Layout {
        Layout { columns: self.names.iter().map(|name| reading.column(name.clone())).collect() }
    }
}

/// The cells of a block as columns.
pub(in crate::table) fn typed<'a>(block: &TypedBlock, mut parsing: Parsing<'a>) -> Result<Parsing<'a>> {
    let width = parsing.layout.columns.len();
    let mut rest = block.text.as_str();
    parsing.worded = vec![false; width];
    for (cells, row) in block.cells.chunks_exact(width.max(1)).zip(&block.rows) {
        for (column, cell) in cells.iter().enumerate() {
            let mut text = |length: usize| {
                let (text, behind) = rest.split_at_checked(length).unwrap_or_default();
                rest = behind;
                text
            };
            let raw = match *cell {
                TypedCell::Missing => RawCell::Missing,
                TypedCell::Number(value) => RawCell::Number(value),
                TypedCell::Truth(truth) => RawCell::Truth(truth),
                TypedCell::Text(length) => RawCell::Text(text(length)),
                TypedCell::Word(length) => {
                    parsing.worded[column] = true;
                    RawCell::Quoted(text(length))
                }
            };
            parsing.push(column, raw, *row)?;
        }
        parsing.end_row(*row)?;
    }
    Ok(parsing)
}

/// What a file has that no table has.
#[cfg_attr(not(any(feature = "feather", feature = "parquet")), expect(dead_code))]
pub(super) fn unfit(column: &str, kind: &str) -> Error {
    let message = format!("{kind} can't be cells of a table, which has numbers, words, booleans and dates");
    Error::new(message).in_column(column)
}
