//! Tables: read from files, prepared as numbers for a model, and frames of prepared rows that are larger than memory.

mod array;
#[cfg(feature = "arrow")]
mod arrow;
#[cfg(test)]
mod awkward_tests;
mod behaviour;
mod builder;
mod cell;
mod choices;
mod chosen;
mod column;
mod date;
mod date_forms;
mod encoding;
mod feature;
mod file_format;
mod findings;
mod fit;
mod format;
mod frame;
#[cfg(test)]
mod frame_tests;
mod framing;
mod kind;
mod objects;
mod parse;
mod part;
mod preparation;
#[cfg(test)]
mod preparation_tests;
mod raw;
mod reading;
mod row;
mod row_stream;
#[cfg(test)]
mod row_tests;
mod source;
mod stream;
mod summary;
mod survey;
mod target;
#[cfg(test)]
mod tests;
mod unit;
mod unknown;
mod words;

use kiln_map::counted;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use builder::{ColumnBuilder, Misfit};
pub use choices::{Choices, Impute, Row, RowTransform, TargetKind, Treatment};
pub use column::{Cell, Column, ColumnKind};
pub use date::DateTime;
pub use date_forms::DateFormat;
pub use encoding::TextEncoding;
pub use feature::{DatePart, Encoding, Feature, Scale, Vocabulary};
pub use file_format::FileFormat;
pub use format::{CellFormat, NumberFormat};
pub use frame::Frame;
pub use framing::{FrameWriter, Framing};
use part::LineNumbers;
pub use preparation::{FeatureMatrix, TablePreparation};
pub use raw::RawCell;
pub use reading::Reading;
pub use row::RowPlan;
pub use row_stream::{EncodedBlock, FirstRows, RawBlock, RowEncoder, RowStream, TableText, UnseenWords};
use source::TableInput;
use stream::{Passed, Stream, TableBuilder};
pub use target::{NumberTarget, OneTarget, TargetColumn};
pub use unit::{Curve, Unit};

/// Rows and named columns, as a file has them.
///
/// ```
/// use kiln_data::{ColumnKind, Table};
///
/// let table = Table::read(b"age,sex,since\n63,male,2024-01-31\n41,female,\n")?;
/// assert_eq!(table.len(), 2);
/// assert_eq!(table.column("sex")?.kind(), ColumnKind::Category);
/// assert_eq!(table.column("age")?.cell(0).number(), Some(63.0));
/// assert!(table.column("agee").unwrap_err().to_string().contains("did you mean \"age\"?"));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
    lines: LineNumbers,
    file: Option<PathBuf>,
    notes: Vec<String>,
    /// The column that the file gives no name, mostly an index of rows.
    unnamed: Option<String>,
    /// What was told of how the file is written.
    file_format: FileFormat,
}

impl Reading {
    /// Reads a file: CSV, TSV, lines of JSON or a list of objects, a workbook of Excel, Parquet, Arrow or Feather, also packed with gzip or
    /// zstd or in a zip archive, as far as kiln has the features for them. What it is follows from its first bytes, not from its name. A line without anything is no row, also where there is a single column.
    ///
    /// # Errors
    /// Where the file can't be read, or isn't a table: with its file, line, column, value and mend.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Table> {
        Table::gather(TableInput::File(path.as_ref()), self)
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
            let known = self.column(name.to_string());
            let mut builder = ColumnBuilder::new(&known, 1);
            match builder.push(cell) {
                Ok(()) => {
                    let told = known.kind.filter(|_| known.told);
                    Ok(Column::of(known.name, builder.finish().0, told).written(known.format))
                }
                Err(Misfit::Fault(message)) => Err(Error::new(message).in_column(name)),
                Err(Misfit::Kind) => Err(Error::new("the cell is of no kind").in_column(name)),
            }
        };
        Table::new(cells.into_iter().map(column).collect::<Result<_>>()?)
    }

    /// Reads a file part by part, in order, each a table; nothing is held but the parts in hand. Every column's kind must be told
    /// ([`Reading::kind`]), since nothing of a part that was taken can be changed by what later rows show.
    ///
    /// # Errors
    /// As [`Reading::open`], where a column wasn't told, and what `take` says.
    pub fn each_part(&self, path: impl AsRef<Path>, mut take: impl FnMut(Table) -> Result<()>) -> Result<()> {
        let input = TableInput::File(path.as_ref());
        let of_part = |part: part::TablePart| {
            let layout = part.layout.clone();
            let mut gathered = TableBuilder::default();
            gathered.append(part)?;
            Ok(gathered.table(&layout, input))
        };
        match Stream::new(input, self).pass(of_part, &mut take)? {
            Passed::Whole => Ok(()),
            Passed::Decided | Passed::Again => {
                Err(input.place(Error::new("a column turned out to be of another kind than was told")))
            }
        }
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// As [`Reading::open`].
    pub fn read(&self, bytes: &[u8]) -> Result<Table> {
        Table::gather(TableInput::Bytes(bytes), self)
    }
}

impl Table {
    /// Reads a file: see [`Reading::open`]. What isn't told ([`Reading`]) is found.
    ///
    /// # Errors
    /// Where the file can't be read, or isn't a table: with its file, line, column, value and mend.
    pub fn open(path: impl AsRef<Path>) -> Result<Table> {
        Reading::new().open(path)
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn read(bytes: &[u8]) -> Result<Table> {
        Reading::new().read(bytes)
    }

    /// A table of columns made elsewhere.
    ///
    /// # Errors
    /// Where there is none, they have different lengths, or two have one name.
    pub fn new(columns: Vec<Column>) -> Result<Table> {
        let Some(first) = columns.first() else { return Err(Error::new("a table needs a column")) };
        let (rows, mut names) = (first.len(), HashSet::new());
        for column in &columns {
            let (name, len) = (column.name(), column.len());
            if len != rows {
                let message =
                    format!("the column has {} and {} has {rows}", counted(len, "row"), first.name());
                return Err(Error::new(message).in_column(name));
            }
            if !names.insert(name) {
                return Err(Error::new("two columns have this name; rename one of them").in_column(name));
            }
        }
        drop(names);
        Ok(Table {
            columns,
            rows,
            lines: LineNumbers::default(),
            file: None,
            notes: Vec::new(),
            unnamed: None,
            file_format: FileFormat::default(),
        })
    }

    fn gather(input: TableInput<'_>, reading: &Reading) -> Result<Table> {
        let mut stream = Stream::new(input, reading);
        loop {
            let mut gathered = TableBuilder::default();
            if stream.pass(Ok, |part| gathered.append(part))? != Passed::Again {
                let layout = stream.layout();
                let mut table = gathered.table(&layout, input);
                table.notes = stream.findings.said(&layout);
                table.unnamed = stream.findings.file.unnamed;
                table.file_format.clone_from(&reading.file);
                return Ok(table);
            }
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns, in the file's order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns' names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(Column::name)
    }

    /// The column of a name.
    ///
    /// # Errors
    /// Where there is none; the error says the nearest name.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let found = self.columns.iter().find(|column| column.name() == name);
        found.ok_or_else(|| self.place(None, unknown::unknown_column(name, self.names())))
    }

    /// All columns by their names, for whoever looks for many of them.
    pub(super) fn by_name(&self) -> HashMap<&str, &Column> {
        self.columns.iter().map(|column| (column.name(), column)).collect()
    }

    /// What a person should know of how the file was read: columns that one cell made a column of words.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What was told of how its file is written.
    pub fn file_format(&self) -> &FileFormat {
        &self.file_format
    }

    /// The line of the file that a row stands at, where it is from a file.
    pub fn line(&self, row: usize) -> Option<u64> {
        self.lines.get(row)
    }

    /// The rows where a column has a value: those to learn from, where it is the target.
    ///
    /// # Errors
    /// Where there is no such column.
    pub fn rows_with(&self, column: &str) -> Result<Vec<usize>> {
        self.rows_with_all(&[column])
    }

    /// The rows where all of some columns have a value.
    ///
    /// # Errors
    /// Where there is no such column.
    pub fn rows_with_all(&self, columns: &[&str]) -> Result<Vec<usize>> {
        let columns = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        let has_all = |row: &usize| columns.iter().all(|column| column.cell(*row) != Cell::Missing);
        Ok((0..self.rows).filter(has_all).collect())
    }

    /// Those of some rows that also stand, value for value, among others. In a test they make a model look better than it is.
    ///
    /// ```
    /// let table = kiln_data::Table::read(b"a,b\n1,x\n2,y\n1,x\n1,y\n")?;
    /// assert_eq!(table.repeated(&[2, 3], &[0, 1]), [2]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn repeated(&self, rows: &[usize], among: &[usize]) -> Vec<usize> {
        let mut known: HashMap<u64, Vec<usize>> = HashMap::new();
        for &row in among {
            known.entry(self.hash(row)).or_default().push(row);
        }
        let stands = |row: &usize| {
            let alike = known.get(&self.hash(*row));
            alike.is_some_and(|others| others.iter().any(|&other| self.equal(*row, other)))
        };
        rows.iter().copied().filter(stands).collect()
    }

    fn hash(&self, row: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.columns.iter().for_each(|column| column.key(row).hash(&mut hasher));
        hasher.finish()
    }

    fn equal(&self, row: usize, other: usize) -> bool {
        self.columns.iter().all(|column| column.key(row) == column.key(other))
    }

    /// The first rows as text, in columns that stand below each other.
    pub fn head(&self, rows: usize) -> String {
        let rows = rows.min(self.rows);
        let mut columns = Vec::new();
        for column in &self.columns {
            let cells =
                (0..rows).map(|row| column.cell(row).text().map_or(String::new(), |text| text.into_owned()));
            let cells: Vec<String> = std::iter::once(column.name().to_string()).chain(cells).collect();
            let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0).min(24);
            columns.push((cells, width, column.kind() == ColumnKind::Number));
        }
        let mut text = String::new();
        for row in 0..=rows {
            let mut line = String::new();
            for (cells, width, right) in &columns {
                let one_line = cells[row].replace(['\n', '\r'], " ");
                let cell: String = match one_line.chars().count() > *width {
                    true => one_line.chars().take(width - 1).chain(['…']).collect(),
                    false => one_line,
                };
                let width = *width;
                // Writing to a string can't fail.
                let _ = match right {
                    true => write!(line, "{cell:>width$}  "),
                    false => write!(line, "{cell:<width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The same fault, in this table's file, at the line of a row.
    pub(crate) fn place(&self, row: Option<usize>, error: Error) -> Error {
        let error = match &self.file {
            Some(file) => error.in_file(file),
            None => error,
        };
        match row.and_then(|row| self.line(row)) {
            Some(line) => error.at_line(line),
            None => error,
        }
    }
}
