//! How a table is read from a file.

use std::path::Path;

use super::Table;
use super::builder::{Builder, Known, Misfit};
use super::column::{Column, ColumnKind};
use super::raw::RawCell;
use super::source::Input;
use crate::error::{Error, Result};

/// What is told of a file instead of being found in it.
///
/// ```
/// use kiln_data::{Cell, ColumnKind, Reading};
///
/// let text = "zip;rooms\n01067;3\n80331;2\n";
/// let table = Reading::new().kind("zip", ColumnKind::Category).read(text.as_bytes())?;
/// assert_eq!(table.column("zip")?.cell(0), Cell::Word("01067"));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub(super) delimiter: Option<u8>,
    pub(super) header: Option<bool>,
    pub(super) kinds: Vec<(String, ColumnKind)>,
    /// Whether kinds may be told of columns that aren't there.
    pub(super) lenient: bool,
}

impl Reading {
    /// Everything is found.
    pub fn new() -> Reading {
        Reading::default()
    }

    /// The byte between cells. Found, it is one of `,` `;` `|` and the tab.
    pub fn delimiter(self, delimiter: u8) -> Reading {
        Reading { delimiter: Some(delimiter), ..self }
    }

    /// Whether the first row names the columns. Found, it does where it holds no number and no date; columns without names
    /// are `column1`, `column2`, ….
    pub fn header(self, header: bool) -> Reading {
        Reading { header: Some(header), ..self }
    }

    /// What a column holds, by name. A cell that doesn't fit is a fault then; otherwise it makes the column one of words.
    pub fn kind(mut self, column: impl Into<String>, kind: ColumnKind) -> Reading {
        let column = column.into();
        self.kinds.retain(|(name, _)| *name != column);
        self.kinds.push((column, kind));
        self
    }

    /// Reads a file: CSV, TSV, lines of JSON or a list of objects, also packed with gzip; and Parquet, where kiln has its feature `parquet`.
    /// A line without anything is no row, also where there is a single column.
    ///
    /// # Errors
    /// Where the file can't be read, or isn't a table: with its file, line, column, value and mend.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Table> {
        self.open_at(path.as_ref())
    }

    fn open_at(&self, path: &Path) -> Result<Table> {
        if is_parquet(path) {
            #[cfg(feature = "parquet")]
            return super::parquet::open(path, self);
            #[cfg(not(feature = "parquet"))]
            return Err(Error::new(
                "this is a Parquet file, and kiln was built without its feature `parquet`",
            )
            .in_file(path));
        }
        Table::gather(Input::File(path), self)
    }

    /// A table of one row that came in cell by cell.
    ///
    /// ```
    /// use kiln_data::{Cell, ColumnKind, Reading};
    ///
    /// let reading = Reading::new().kind("zip", ColumnKind::Category);
    /// let table = reading.row([("zip", "01067".into()), ("rooms", 3.into())])?;
    /// assert_eq!((table.len(), table.column("zip")?.cell(0)), (1, Cell::Word("01067")));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a cell isn't of the kind that was told of its column, there is none, or two are of one column.
    pub fn row<'a>(&self, cells: impl IntoIterator<Item = (&'a str, RawCell<'a>)>) -> Result<Table> {
        let column = |(name, cell): (&str, RawCell)| {
            let told = self.kinds.iter().find(|(told, _)| told == name).map(|(_, kind)| *kind);
            let known = Known { name: name.to_string(), kind: told, told: told.is_some() };
            let mut builder = Builder::new(&known, 1);
            match builder.push(cell) {
                Ok(()) => Ok(Column::of(known.name, builder.finish(), told)),
                Err(Misfit::Fault(message)) => Err(Error::new(message).in_column(name)),
                Err(Misfit::Kind) => Err(Error::new("the cell is of no kind").in_column(name)),
            }
        };
        Table::new(cells.into_iter().map(column).collect::<Result<_>>()?)
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// As [`Reading::open`].
    pub fn read(&self, bytes: &[u8]) -> Result<Table> {
        Table::gather(Input::Bytes(bytes), self)
    }
}

/// Whether a file starts as Parquet files do.
fn is_parquet(path: &Path) -> bool {
    let mut first = [0; 4];
    let read =
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut first));
    read.is_ok() && first == *b"PAR1"
}
