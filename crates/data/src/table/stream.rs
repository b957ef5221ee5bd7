//! The parts of a file in their order, parsed by several threads while the next are read.

use kiln_map::{Budget, Limits};

use super::builder::{ColumnBuilder, ColumnLayout, Layout};
use super::column::{Cells, Column, Dictionary};
use super::encoding::TextEncoding;
use super::findings::Findings;
use super::parse::parse;
use super::part::{LineNumbers, TablePart};
use super::reading::Reading;
use super::source::{Chunk, TableInput, TableReader, block_size, text};
use super::survey::{Survey, Surveys, TableHabits};
use super::unknown;
use super::{FileFormat, Table};
use crate::error::{Error, Result};

/// The first block is small, so that the kinds of columns are known before most of them is read.
const FIRST: usize = 64 << 10;

/// What came of looking at all columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deciding {
    Sure,
    Doubt,
}

use Deciding::{Doubt, Sure};

/// A file whose columns' kinds are found while it is read. Where a later row shows that a kind was thought wrongly, all is read
/// once more; then every kind fits.
pub(super) struct Stream<'a> {
    input: TableInput<'a>,
    reading: &'a Reading,
    layout: Option<Layout>,
    /// What was found of the file and its columns.
    pub findings: Findings,
    encoding: TextEncoding,
    passes: u32,
    /// That the first row is data after all, because its words come again far below.
    is_data: bool,
    /// Whether numbers that seemed plain were looked at again, because others have decimal commas.
    doubted: bool,
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// All parts fit the layout.
    Whole,
    /// All parts fit; what some columns hold was decided only when all was read.
    Decided,
    /// All of it must be thrown away and taken again, because a column was of another kind than thought.
    Again,
}

/// Whether a fault is that bytes are no text.
fn is_no_text(error: &Error) -> bool {
    error.source.as_ref().is_some_and(|source| source.kind() == std::io::ErrorKind::InvalidData)
}

/// How often a file is read at most: as it seems, with what didn't fit as words, and in the ways that were found.
const PASSES: u32 = 5;

impl<'a> Stream<'a> {
    pub fn new(input: TableInput<'a>, reading: &'a Reading) -> Stream<'a> {
        Stream {
            input,
            reading,
            layout: None,
            findings: Findings::default(),
            encoding: reading.file.encoding.unwrap_or_default(),
            passes: 0,
            is_data: false,
            doubted: false,
        }
    }

    /// Reads all parts, gives each to `work` on some thread and what that makes to `take`, in order.
    pub fn pass<R: Send>(
        &mut self,
        work: impl Fn(TablePart) -> Result<R> + Sync,
        mut take: impl FnMut(R) -> Result<()>,
    ) -> Result<Passed> {
        let input = self.input;
        match self.run(&work, &mut take) {
            Err(error) if self.encoding == TextEncoding::Utf8 && is_no_text(&error) => {
                let told = self.reading.file.encoding.is_some();
                match if told { Ok(None) } else { TextEncoding::of_others(text(input, self.reading)?) } {
                    Ok(Some(encoding)) => {
                        let anew = Stream::new(input, self.reading);
                        *self = Stream { encoding, passes: self.passes, ..anew };
                        Ok(Passed::Again)
                    }
                    Ok(None) | Err(_) => Err(Error { source: None, ..error }),
                }
            }
            result => result,
        }
        .map_err(|error| input.place(error))
    }

    fn run<R: Send>(
        &mut self,
        work: &(impl Fn(TablePart) -> Result<R> + Sync),
        take: &mut impl FnMut(R) -> Result<()>,
    ) -> Result<Passed> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // Blocks are parsed side by side, and what comes of them is held beside what was gathered.
        let limits = Limits::current();
        let share = Limits { bytes: limits.bytes / (2 * threads as u64), ..limits };
        let of_data = self.is_data.then(|| self.reading.clone().header(false));
        let reading = of_data.as_ref().unwrap_or(self.reading);
        let mut source = TableReader::open(self.input, reading, self.encoding)?;
        self.findings.file.clone_from(&source.found);
        if self.is_data {
            let note = "the first row is read as data, because its words come again below, and the columns are column1, column2, …; --header yes says that it names them";
            self.findings.file.notes.push(note.to_string());
        }
        let delimiter = source.delimiter;
        self.passes += 1;
        let size = block_size();
        let mut blocks: Vec<Chunk> = source.block(FIRST)?.into_iter().collect();
        let mut layout = match self.layout.take() {
            Some(layout) => layout,
            None => {
                let mut layout = source.layout.clone();
                for block in &blocks {
                    // What the first rows show beyond doubt needn't be read twice.
                    let part = parse(block, delimiter, &layout, reading, &Budget::of(share))?;
                    let surveys = part.surveys.iter().zip(&part.layout.columns);
                    let surveys: Surveys =
                        surveys.map(|(survey, known)| (known.name.clone(), survey.clone())).collect();
                    let mut wider = part.layout.clone();
                    self.decide(&mut wider, &surveys, (delimiter, part.rows as u64), true);
                    let decided = wider.columns.into_iter().zip(&part.layout.columns);
                    for (column, _) in decided.filter(|(column, before)| column != *before) {
                        if let Some(known) = layout.columns.iter_mut().find(|known| known.name == column.name)
                        {
                            *known = column;
                        }
                    }
                }
                layout
            }
        };
        let (mut fits, mut rows) = (true, 0);
        let mut surveys = Surveys::new();
        while !blocks.is_empty() {
            let made = |block: &Chunk| -> Result<_> {
                let mut part = parse(block, delimiter, &layout, reading, &Budget::of(share))?;
                let surveys = std::mem::take(&mut part.surveys);
                let shown = (part.layout.clone(), part.rows, std::mem::take(&mut part.misfits), surveys);
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
                    (0..threads).filter_map(|_| source.block(size).transpose()).collect();
                let failed = |_| Err(Error::new("a thread that reads the table failed"));
                let ended = |started: std::result::Result<std::thread::ScopedJoinHandle<'_, _>, _>| {
                    started.map_or_else(|here| here, |thread| thread.join().unwrap_or_else(failed))
                };
                (started.into_iter().map(ended).collect::<Vec<_>>(), next)
            });
            let mut wider = layout.clone();
            for part in parts {
                let ((shown, count, misfits, found), result) = part?;
                self.findings.misfits.extend(misfits);
                for (survey, known) in found.iter().zip(&shown.columns) {
                    match surveys.get_mut(&known.name) {
                        Some(own) => own.join(survey),
                        None => drop(surveys.insert(known.name.clone(), survey.clone())),
                    }
                }
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
        if self.findings.file.guessed_header && has_names_again(&layout, &surveys) {
            let (passes, encoding) = (self.passes, self.encoding);
            *self = Stream { is_data: true, passes, encoding, ..Stream::new(self.input, self.reading) };
            return Ok(Passed::Again);
        }
        let decided = self.decide(&mut layout, &surveys, (delimiter, rows as u64), false);
        self.findings.surveys = surveys;
        self.layout = Some(layout);
        match (decided, fits) {
            (Some(Doubt), _) | (_, false) if self.passes >= PASSES => {
                Err(Error::new("the file changed while it was read; read it again"))
            }
            (Some(Doubt), _) | (_, false) => Ok(Passed::Again),
            (Some(Sure), true) => Ok(Passed::Decided),
            (None, true) => Ok(Passed::Whole),
        }
    }

    /// Decides what columns are by what all of their cells may be; of a first part only where nothing else can come of it. Says
    /// whether something was, and whether some column must be looked at once more for it.
    fn decide(
        &mut self,
        layout: &mut Layout,
        surveys: &Surveys,
        (delimiter, rows): (u8, u64),
        first: bool,
    ) -> Option<Deciding> {
        let whole = |survey: &&Survey| survey.rows == rows;
        let all: Vec<(ColumnLayout, Survey)> = layout
            .columns
            .iter()
            .filter_map(|known| Some((known.clone(), surveys.get(&known.name).filter(whole)?.clone())))
            .collect();
        let pairs: Vec<(&ColumnLayout, &Survey)> =
            all.iter().map(|(known, survey)| (known, survey)).collect();
        let habits = TableHabits::of(&pairs, self.reading, delimiter);
        let mut decided = None;
        for (known, survey) in &all {
            let Some(own) = layout.columns.iter_mut().find(|own| own.name == known.name) else { continue };
            let is_plain = known.kind == Some(super::ColumnKind::Number) && known.format.number.is_none();
            if !first && !known.told && is_plain && survey.decimals && habits.commas && !self.doubted {
                // Points may stand between thousands.
                own.kind = Some(super::ColumnKind::Category);
                decided = Some(Doubt);
                continue;
            }
            let Some(decision) = habits.decide(known, survey, self.reading) else { continue };
            if first && (decision.ambiguous || is_plain) {
                continue;
            }
            own.kind = Some(decision.kind);
            own.format = std::sync::Arc::new(decision.format);
            decided = decided.or(Some(Sure));
            let example = survey.example.clone().unwrap_or_default();
            self.findings.examples.insert(known.name.clone(), example);
            if decision.ambiguous {
                self.findings.ambiguous.insert(known.name.clone());
            }
        }
        self.doubted |= decided == Some(Doubt);
        decided
    }

    /// The columns, after a pass.
    pub fn layout(&self) -> Layout {
        self.layout.clone().unwrap_or_default()
    }
}

/// Whether the names of half of the columns are words in them, not all in the same rows: the same row once more is no data but a file that was
/// put together.
fn has_names_again(layout: &Layout, surveys: &Surveys) -> bool {
    let named = |known: &ColumnLayout| surveys.get(&known.name).map_or((0, 0), |survey| survey.named);
    let counts: Vec<(u64, u64)> = layout.columns.iter().map(named).collect();
    let again = counts.iter().filter(|(count, _)| *count > 0).count();
    let is_joined = counts.len() > 1 && counts.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    2 * again >= counts.len().max(1) && !is_joined
}

impl Layout {
    /// Whether a part of this layout can follow parts of the layout here.
    fn takes(&self, part: &Layout) -> bool {
        let fits =
            |(own, other): (&ColumnLayout, &ColumnLayout)| own.kind.is_none() || own.kind == other.kind;
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
                Some(own_column) => match (own_column.kind, other.kind) {
                    (None, kind) => own_column.kind = kind,
                    (Some(own), Some(other)) if own == other => {}
                    (Some(_), None) => {}
                    (Some(_), Some(_)) => {
                        own_column.kind = Some(super::ColumnKind::Category);
                        own_column.format = own_column.format.of_words();
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
        let column = |(known, cells): (&ColumnLayout, Cells)| {
            let whole = match (cells, known.kind) {
                // A column that is all missing is of the kind that was told.
                (Cells::Missing(rows), Some(kind)) => ColumnBuilder::start(kind, rows, 0),
                (cells, kind) => cells.decided(kind, &known.format),
            };
            Column::of(known.name.clone(), whole, known.kind.filter(|_| known.told))
                .written(known.format.clone())
        };
        let file = match input {
            TableInput::File(path) => Some(path.to_path_buf()),
            TableInput::Bytes(_) => None,
        };
        let columns = layout.columns.iter().zip(self.cells).map(column).collect();
        let file_format = FileFormat::default();
        Table {
            columns,
            rows: self.rows,
            lines: self.lines,
            file,
            notes: Vec::new(),
            unnamed: None,
            file_format,
        }
    }
}
