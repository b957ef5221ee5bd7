//! The parts of a file in their order, parsed by several threads while the next are read.

use kiln_map::{Budget, Limits};

use super::Table;
use super::builder::{ColumnBuilder, Layout};
use super::column::{Cells, Column, Dictionary};
use super::parse::parse;
use super::part::{LineNumbers, TablePart};
use super::reading::Reading;
use super::source::{BLOCK, Chunk, TableInput, TableReader};
use super::unknown;
use crate::error::{Error, Result};

/// The first block is small, so that the kinds of columns are known before most of them is read.
const FIRST: usize = 64 << 10;

/// A file whose columns' kinds are found while it is read. Where a later row shows that a kind was thought wrongly, all is read
/// once more; then every kind fits.
pub(super) struct Stream<'a> {
    input: TableInput<'a>,
    reading: &'a Reading,
    layout: Option<Layout>,
    pub notes: Vec<String>,
}

impl<'a> Stream<'a> {
    pub fn new(input: TableInput<'a>, reading: &'a Reading) -> Stream<'a> {
        Stream { input, reading, layout: None, notes: Vec::new() }
    }

    /// Reads all parts, gives each to `work` on some thread and what that makes to `take`, in order. False where all of it must
    /// be thrown away and taken again, because a column was of another kind than thought.
    pub fn pass<R: Send>(
        &mut self,
        work: impl Fn(TablePart) -> Result<R> + Sync,
        mut take: impl FnMut(R) -> Result<()>,
    ) -> Result<bool> {
        let input = self.input;
        self.run(&work, &mut take).map_err(|error| input.place(error))
    }

    fn run<R: Send>(
        &mut self,
        work: &(impl Fn(TablePart) -> Result<R> + Sync),
        take: &mut impl FnMut(R) -> Result<()>,
    ) -> Result<bool> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // Blocks are parsed side by side, and what comes of them is held beside what was gathered.
        let limits = Limits::current();
        let share = Limits { bytes: limits.bytes / (2 * threads as u64), ..limits };
        let mut source = TableReader::open(self.input, self.reading)?;
        let again = self.layout.is_some();
        let mut layout = self.layout.take().unwrap_or_else(|| source.layout.clone());
        let (mut fits, mut rows) = (true, 0);
        let mut blocks: Vec<Chunk> = source.block(FIRST)?.into_iter().collect();
        while !blocks.is_empty() {
            let delimiter = source.delimiter;
            let told = self.reading.kinds.as_slice();
            let made = |block: &Chunk| -> Result<_> {
                let mut part = parse(block, delimiter, &layout, told, &Budget::of(share))?;
                let shown = (part.layout.clone(), part.rows, std::mem::take(&mut part.notes));
                // What the columns are isn't settled, so that nothing but their kinds is wanted of these rows.
                let widened = !layout.takes(&part.layout);
                Ok((shown, if widened && rows > 0 { None } else { Some(work(part)?) }))
            };
            let made = &made;
            let (parts, next) = std::thread::scope(|scope| {
                // Where the system refuses a thread, this one does the work.
                let made = &made;
                let start = |block| {
                    let started = std::thread::Builder::new().spawn_scoped(scope, move || made(block));
                    started.map_err(|_| made(block))
                };
                let started: Vec<_> = blocks.iter().map(start).collect();
                let next: Result<Vec<Chunk>> =
                    (0..threads).filter_map(|_| source.block(BLOCK).transpose()).collect();
                let failed = |_| Err(Error::new("a thread that reads the table failed"));
                let ended = |started: std::result::Result<std::thread::ScopedJoinHandle<'_, _>, _>| {
                    started.map_or_else(|here| here, |thread| thread.join().unwrap_or_else(failed))
                };
                (started.into_iter().map(ended).collect::<Vec<_>>(), next)
            });
            let mut wider = layout.clone();
            for part in parts {
                let ((shown, count, notes), result) = part?;
                self.notes.extend(notes);
                fits &= wider.widen(&shown) || rows == 0;
                rows += count;
                match result {
                    Some(result) if fits => take(result)?,
                    _ => {}
                }
            }
            layout = wider;
            blocks = next?;
        }
        if rows == 0 {
            return Err(Error::new("the file holds a header and no row"));
        }
        let unknown = |(name, _): &&(String, super::ColumnKind)| layout.names().all(|known| known != name);
        if !self.reading.lenient
            && let Some((name, _)) = self.reading.kinds.iter().find(unknown)
        {
            return Err(unknown::unknown_column(name, layout.names()));
        }
        self.layout = Some(layout);
        match fits || !again {
            true => Ok(fits),
            false => Err(Error::new("the file changed while it was read; read it again")),
        }
    }

    /// The columns, after a pass.
    pub fn layout(&self) -> Layout {
        self.layout.clone().unwrap_or_default()
    }
}

impl Layout {
    /// Whether a part of this layout can follow parts of the layout here.
    fn takes(&self, part: &Layout) -> bool {
        let fits = |(own, other): (&super::builder::ColumnLayout, &super::builder::ColumnLayout)| {
            own.kind.is_none() || own.kind == other.kind
        };
        self.columns.len() == part.columns.len() && self.columns.iter().zip(&part.columns).all(fits)
    }

    /// Takes over what a part showed, and whether parts that came before stay right.
    fn widen(&mut self, part: &Layout) -> bool {
        let mut right = true;
        for (at, other) in part.columns.iter().enumerate() {
            // Nearly always they stand in one order.
            let place = match self.columns.get(at) {
                Some(own) if own.name == other.name => Some(at),
                _ => self.columns.iter().position(|own| own.name == other.name),
            };
            match place.and_then(|place| self.columns.get_mut(place)) {
                Some(own) => match (own.kind, other.kind) {
                    (None, kind) => own.kind = kind,
                    (Some(own), Some(other)) if own == other => {}
                    (Some(_), None) => {}
                    (Some(_), Some(_)) => {
                        own.kind = Some(super::ColumnKind::Category);
                        right = false;
                    }
                },
                None => {
                    self.columns.push(other.clone());
                    right = false;
                }
            }
        }
        right
    }
}

/// Parts of one layout, put together, as far as the budget for a file goes.
#[derive(Default)]
pub(super) struct TableBuilder {
    budget: Budget,
    cells: Vec<Cells>,
    dictionaries: Vec<Dictionary>,
    lines: LineNumbers,
    rows: usize,
}

impl TableBuilder {
    pub fn append(&mut self, part: TablePart) -> Result<()> {
        while self.cells.len() < part.cells.len() {
            self.cells.push(Cells::Missing(self.rows));
            self.dictionaries.push(Dictionary::default());
        }
        for ((own, dictionary), cells) in self.cells.iter_mut().zip(&mut self.dictionaries).zip(part.cells) {
            own.append(cells, dictionary, &self.budget)?;
        }
        self.lines.append(&part.lines, &self.budget)?;
        self.rows += part.rows;
        Ok(())
    }

    /// The parts as a table of this layout.
    pub fn table(self, layout: &Layout, input: TableInput<'_>) -> Table {
        let column = |(known, cells): (&super::builder::ColumnLayout, Cells)| {
            let whole = match (cells, known.kind) {
                // A column that is all missing is of the kind that was told.
                (Cells::Missing(rows), Some(kind)) => ColumnBuilder::start(kind, rows, 0),
                (cells, _) => cells,
            };
            Column::of(known.name.clone(), whole, known.kind.filter(|_| known.told))
        };
        let file = match input {
            TableInput::File(path) => Some(path.to_path_buf()),
            TableInput::Bytes(_) => None,
        };
        let columns = layout.columns.iter().zip(self.cells).map(column).collect();
        Table { columns, rows: self.rows, lines: self.lines, file, notes: Vec::new() }
    }
}
