//! Tables: a file of rows and named columns, read fast and with every fault in its place.

mod builder;
mod cell;
mod column;
mod date;
mod frame;
mod nearest;
mod objects;
mod parse;
mod preparation;
mod reading;
mod source;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

pub use column::{Cell, Column, ColumnKind};
pub use frame::{Frame, FrameKind, write_frame};
pub use preparation::{Choices, Preparation, Target, Way};
pub use reading::Reading;

use builder::Layout;
use column::{Cells, Dictionary};
use parse::{Lines, Part, parse};
use source::{Block, Input, Source};

use crate::error::{Error, Result};

/// How much of a file is parsed by one thread at once.
const BLOCK: usize = 2 << 20;

/// Rows of named columns.
///
/// ```
/// use kiln_data::{Cell, ColumnKind, Table};
///
/// let table = Table::read("age,job\n31,cook\n,\"baker, retired\"\n".as_bytes())?;
/// assert_eq!(table.rows(), 2);
/// assert_eq!(table.column("age")?.kind(), ColumnKind::Number);
/// assert_eq!(table.column("age")?.cell(1), Cell::Missing);
/// assert_eq!(table.column("job")?.cell(1), Cell::Word("baker, retired"));
/// let error = table.column("jobs").unwrap_err().to_string();
/// assert!(error.contains("did you mean \"job\"?"));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
    lines: Lines,
    notes: Vec<String>,
    file: Option<PathBuf>,
}

impl Table {
    /// Reads a file: CSV with any usual delimiter, or JSON lines, also packed with gzip. What can't be found in it is told by
    /// [`Reading`].
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

    /// A table of columns.
    ///
    /// # Errors
    /// Where two have the same name, or they differ in length.
    pub fn of(columns: Vec<Column>) -> Result<Table> {
        let rows = columns.first().map_or(0, Column::len);
        for (at, column) in columns.iter().enumerate() {
            if column.len() != rows {
                let message = format!("{} rows, where the first column has {rows}", column.len());
                return Err(Error::new(message).in_column(column.name()));
            }
            if columns[..at].iter().any(|other| other.name() == column.name()) {
                return Err(Error::new("two columns have this name").in_column(column.name()));
            }
        }
        Ok(Table { columns, rows, lines: Lines::default(), notes: Vec::new(), file: None })
    }

    fn gather(input: Input<'_>, reading: &Reading) -> Result<Table> {
        let mut layout = None;
        // A column that turns out to hold words is read again as words, which take anything; so this ends.
        loop {
            match Gathered::from(input, reading, layout.take())? {
                Ok(gathered) => return gathered.table(input, reading),
                Err(wider) => layout = Some(wider),
            }
        }
    }

    /// A file of any size in parts of about so many rows, all with the same columns of the same kinds.
    pub(crate) fn each_part(
        path: &Path,
        reading: &Reading,
        rows: usize,
        mut f: impl FnMut(&Table) -> Result<()>,
    ) -> Result<()> {
        let input = Input::File(path);
        let (mut known, mut seen) = (None, 0);
        'again: loop {
            let mut source = Source::open(input, reading)?;
            let (layout, notes) = known.take().unwrap_or_else(|| (source.layout.clone(), Vec::new()));
            let mut all = Gathered::new(layout, notes);
            loop {
                let block = source.block(BLOCK).map_err(|error| input.place(error))?;
                let Some(block) = block else {
                    return match all.rows {
                        0 if seen > 0 => Ok(()),
                        _ => f(&all.table(input, reading)?),
                    };
                };
                let part = parse(&block, source.delimiter, &all.layout, &reading.kinds);
                if let Err(wider) = all.append(part.map_err(|error| input.place(error))?) {
                    if seen > 0 {
                        let note = wider.1.last().cloned().unwrap_or_default();
                        let message = format!("{note}, after {seen} rows of numbers; say what it holds");
                        return Err(input.place(Error::new(message)));
                    }
                    known = Some(wider);
                    continue 'again;
                }
                if all.rows >= rows {
                    let next = Gathered::new(all.layout.clone(), Vec::new());
                    seen += all.rows;
                    f(&std::mem::replace(&mut all, next).table(input, reading)?)?;
                }
            }
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns in the order of the file.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(Column::name)
    }

    /// A column by its name.
    ///
    /// # Errors
    /// Where there is none; with the nearest name.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let found = self.columns.iter().find(|column| column.name() == name);
        found.ok_or_else(|| self.placed(nearest::unknown(name, self.names())))
    }

    /// The line of the file a row stands on.
    pub fn line(&self, row: usize) -> Option<u64> {
        self.lines.get(row)
    }

    /// What was noticed while reading.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// An error in this table's file.
    pub(crate) fn placed(&self, error: Error) -> Error {
        match &self.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    }

    /// Those of some rows that also stand, value for value, among others. In a test they make a model look better than it is.
    pub fn repeated(&self, rows: &[usize], among: &[usize]) -> Vec<usize> {
        let key = |row: usize| -> Vec<u64> { self.columns.iter().map(|column| column.key(row)).collect() };
        let known: HashSet<Vec<u64>> = among.iter().map(|&row| key(row)).collect();
        rows.iter().copied().filter(|&row| known.contains(&key(row))).collect()
    }

    /// The first rows as text.
    pub fn head(&self, rows: usize) -> String {
        let cell = |column: &Column, row: usize| {
            column.cell(row).text().map_or("·".into(), |text| text.into_owned())
        };
        let mut table = vec![self.names().map(str::to_string).collect::<Vec<_>>()];
        table.extend(
            (0..rows.min(self.rows)).map(|row| self.columns.iter().map(|column| cell(column, row)).collect()),
        );
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            cells.collect::<Vec<_>>().join("  ") + "\n"
        };
        table.iter().map(line).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} rows of {} columns", self.head(5), self.rows, self.columns.len())
    }
}

/// What a file must be read with from its start, as a column turned out to hold words; and what was noticed.
type Wider = (Layout, Vec<String>);

/// Columns of which some blocks are read.
struct Gathered {
    layout: Layout,
    cells: Vec<Cells>,
    dictionaries: Vec<Dictionary>,
    lines: Lines,
    rows: usize,
    notes: Vec<String>,
}

impl Gathered {
    fn new(layout: Layout, notes: Vec<String>) -> Gathered {
        Gathered {
            layout,
            cells: Vec::new(),
            dictionaries: Vec::new(),
            lines: Lines::default(),
            rows: 0,
            notes,
        }
    }

    /// All rows of a file; or the layout to read it with from the start, where columns turned out to hold words.
    fn from(input: Input<'_>, reading: &Reading, known: Option<Wider>) -> Result<Result<Gathered, Wider>> {
        let place = |error| input.place(error);
        let mut source = Source::open(input, reading)?;
        let (layout, notes) = known.unwrap_or_else(|| (source.layout.clone(), Vec::new()));
        let mut all = Gathered::new(layout, notes);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut first = true;
        loop {
            // The first block shows of what kind columns are; the others are parsed side by side.
            let mut blocks = Vec::new();
            while blocks.len() < if first { 1 } else { threads }
                && let Some(block) = source.block(if first { BLOCK / 8 } else { BLOCK }).map_err(place)?
            {
                blocks.push(block);
            }
            if blocks.is_empty() {
                return Ok(Ok(all));
            }
            first = false;
            for part in parse_all(&blocks, source.delimiter, &all.layout, reading) {
                if let Err(wider) = all.append(part.map_err(place)?) {
                    return Ok(Err(wider));
                }
            }
        }
    }

    /// Adds a part; or gives the wider layout, where a column isn't of the kind it was.
    fn append(&mut self, part: Part) -> Result<(), Wider> {
        let before = self.cells.len();
        for (at, known) in part.layout.columns.iter().enumerate() {
            match self.layout.columns.get_mut(at) {
                None => self.layout.columns.push(known.clone()),
                Some(own) => match (own.kind, known.kind) {
                    (Some(own_kind), Some(kind)) if own_kind != kind && self.rows > 0 => {
                        own.kind = Some(ColumnKind::Category);
                        self.notes.extend(part.notes);
                        return Err((self.layout.clone(), std::mem::take(&mut self.notes)));
                    }
                    (_, Some(kind)) => own.kind = Some(kind),
                    (_, None) => {}
                },
            }
        }
        for at in before..self.layout.columns.len() {
            self.cells.push(Cells::Missing(self.rows));
            self.dictionaries.push(Dictionary::default());
            debug_assert_eq!(at + 1, self.cells.len());
        }
        let rows = part.rows;
        let mut parts = part.cells.into_iter();
        for (cells, dictionary) in self.cells.iter_mut().zip(&mut self.dictionaries) {
            cells.append(parts.next().unwrap_or(Cells::Missing(rows)), dictionary);
        }
        self.lines.append(&part.lines);
        self.rows += rows;
        self.notes.extend(part.notes);
        Ok(())
    }

    fn table(self, input: Input<'_>, reading: &Reading) -> Result<Table> {
        let mut layout = self.layout;
        source::tell(&mut layout, &reading.kinds).map_err(|error| input.place(error))?;
        if self.rows == 0 {
            let message = "the table has no rows, only names of columns";
            return Err(input.place(Error::new(message)));
        }
        let told = |at: usize| layout.columns.get(at).filter(|known| known.told).and_then(|known| known.kind);
        let columns = self
            .cells
            .into_iter()
            .enumerate()
            .map(|(at, cells)| Column::of(layout.columns[at].name.clone(), cells, told(at)))
            .collect();
        let file = match input {
            Input::File(path) => Some(path.to_path_buf()),
            Input::Bytes(_) => None,
        };
        Ok(Table { columns, rows: self.rows, lines: self.lines, notes: self.notes, file })
    }
}

/// Parses blocks, each in a thread of its own, in their order.
fn parse_all(blocks: &[Block], delimiter: u8, layout: &Layout, reading: &Reading) -> Vec<Result<Part>> {
    if let [block] = blocks {
        return vec![parse(block, delimiter, layout, &reading.kinds)];
    }
    std::thread::scope(|scope| {
        let work = |block| scope.spawn(move || parse(block, delimiter, layout, &reading.kinds));
        let threads: Vec<_> = blocks.iter().map(work).collect();
        let panicked = |_| Err(Error::new("a thread that parsed the table panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str) -> Table {
        Table::read(text.as_bytes()).unwrap()
    }

    fn error(text: &[u8]) -> String {
        Table::read(text).unwrap_err().to_string()
    }

    fn numbers(table: &Table, name: &str) -> Vec<Option<f64>> {
        (0..table.rows()).map(|row| table.column(name).unwrap().cell(row).number()).collect()
    }

    #[test]
    fn delimiters_headers_and_kinds_are_found() {
        for delimiter in [",", ";", "\t", "|"] {
            let text =
                "a,b,c,d,e\n1,x,2024-01-31,yes,\n-2.5,y,2024-02-01T08:30,no,\n".replace(',', delimiter);
            let table = read(&text);
            let kinds: Vec<ColumnKind> = table.columns().iter().map(Column::kind).collect();
            use ColumnKind::*;
            assert_eq!(kinds, [Number, Category, Date, Boolean, Number], "{delimiter:?}");
            assert_eq!(numbers(&table, "a"), [Some(1.0), Some(-2.5)]);
            assert_eq!(numbers(&table, "e"), [None, None]);
            assert_eq!((table.line(0), table.line(1), table.line(2)), (Some(2), Some(3), None));
        }
        let table = read("1,2\n3,4\n");
        assert_eq!(table.names().collect::<Vec<_>>(), ["column1", "column2"]);
        assert_eq!(table.rows(), 2);
        let table = read("\u{feff}a\r\n1\r\n\r\n2");
        assert_eq!((table.rows(), table.names().next()), (2, Some("a")));
        assert_eq!(table.line(1), Some(4));
    }

    #[test]
    fn quotes_hold_delimiters_quotes_and_line_feeds() {
        let table = read("a,b\n\"x, \"\"y\"\"\nz\",1\nplain,2\n");
        assert_eq!(table.column("a").unwrap().cell(0), Cell::Word("x, \"y\"\nz"));
        assert_eq!((table.line(0), table.line(1)), (Some(2), Some(4)));
        assert_eq!(numbers(&table, "b"), [Some(1.0), Some(2.0)]);
    }

    #[test]
    fn packed_files_and_lines_of_json_are_tables_too() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(b"a,b\n1,x\n2,y\n").unwrap();
        assert_eq!(Table::read(&packed.finish().unwrap()).unwrap().rows(), 2);
        let table = read("{\"a\": 1, \"b\": \"x\"}\n{\"b\": null, \"c\": true, \"a\": 2.5}\n");
        assert_eq!(table.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(table.column("b").unwrap().cell(1), Cell::Missing);
        assert_eq!(table.column("c").unwrap().kind(), ColumnKind::Boolean);
        assert_eq!(table.column("c").unwrap().cell(0), Cell::Missing);
    }

    #[test]
    fn a_column_that_turns_out_to_hold_words_is_words_from_the_start() {
        let mut text = "a,b\n".to_string();
        for row in 0..200_000 {
            text += &format!("{row},1.5\n");
        }
        text += "many,2\n";
        let table = read(&text);
        assert_eq!(table.column("a").unwrap().kind(), ColumnKind::Category);
        assert_eq!(table.column("a").unwrap().cell(0), Cell::Word("0"));
        assert_eq!(table.column("a").unwrap().cell(199_999), Cell::Word("199999"));
        assert!(table.notes()[0].contains("line 200002 says \"many\""), "{:?}", table.notes());
        assert_eq!(table.column("b").unwrap().kind(), ColumnKind::Number);
    }

    #[test]
    fn every_row_of_a_large_file_is_read_in_its_place() {
        let mut text = "n,word\n".to_string();
        for row in 0..300_000u32 {
            text += &format!("{row}.5,w{}\n", row % 7);
        }
        let table = read(&text);
        assert_eq!(table.rows(), 300_000);
        for row in [0, 1, 77_777, 299_999] {
            assert_eq!(table.column("n").unwrap().cell(row), Cell::Number(row as f64 + 0.5));
            assert_eq!(table.column("word").unwrap().cell(row), Cell::Word(&format!("w{}", row % 7)));
            assert_eq!(table.line(row), Some(row as u64 + 2));
        }
    }

    #[test]
    fn faults_name_line_column_value_and_mend() {
        assert!(error(b"a,b\n1,2\n3\n").contains("line 3: the row has 1 cell and the first row 2"));
        assert!(error(b"a,b\n1,2\n3,4,5\n").contains("line 3: the row has 3 cells"));
        assert!(error(b"a,a\n1,2\n").contains("both named \"a\""));
        assert!(error(b"a,\n1,2\n").contains("column 2 has an empty name"));
        assert!(error(b"").contains("empty"));
        assert!(error(b"  \n \n").contains("empty"));
        assert!(error(b"a,b\n").contains("no rows"));
        assert!(error(b"a,b\n1,\xff\xfe\n").contains("line 2, column b"));
        assert!(error(b"\xff\xfea\0").contains("UTF-16"));
        assert!(error(b"a\n1e999\n").contains("no finite number"));
        assert!(error(b"{\"a\": 1}\n{\"a\": }\n").contains("line 2: the line is no object"));
        assert!(error(b"{\"a\": [1]}\n").contains("column a"));
        let told = Reading::new().kind("a", ColumnKind::Number).read(b"a\n1\nx\n").unwrap_err().to_string();
        assert!(told.contains("line 3, column a: \"x\" is no number"), "{told}");
        let unknown = Reading::new().kind("aa", ColumnKind::Number).read(b"a\n1\n").unwrap_err().to_string();
        assert!(unknown.contains("did you mean \"a\"?"), "{unknown}");
        let missing = Table::open("nowhere.csv").unwrap_err().to_string();
        assert!(missing.contains("nowhere.csv"), "{missing}");
    }

    #[test]
    fn rows_that_stand_among_others_are_found() {
        let table = read("a,b\n1,x\n2,y\n1,x\n1,z\n2,y\n");
        assert_eq!(table.repeated(&[2, 3, 4], &[0, 1]), [2, 4]);
        assert!(table.repeated(&[3], &[0, 1, 2, 4]).is_empty());
    }
}
