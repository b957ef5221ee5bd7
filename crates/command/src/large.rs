//! Tables that would take more memory than a file may: their rows are prepared once, into a file that is mapped and goes again by itself.

use std::cell::Cell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kiln_learn::data::{self, FileKind, FirstRows, Frame, Framing, Reading, Table, ValueKind};
use kiln_map::{Budget, Limits};

use super::out;

/// A table that is too large to be held.
pub struct LargeTable {
    /// Its first rows.
    pub first: Table,
    /// What it would take, about.
    bytes: u64,
}

/// What a cell takes in a table and, as an input, in a set.
const CELL: u64 = 16;
/// What a row takes besides.
const ROW: u64 = 64;
/// How many times its size a packed file may unpack to before it is looked at more closely.
const DENSEST: u64 = 100;
/// How often is said how far it is.
const SAID: Duration = Duration::from_secs(10);

impl LargeTable {
    /// What a file is, if it would take more than what a file may. What can't be read is said where it is.
    pub fn of(path: &Path, reading: &Reading) -> Option<LargeTable> {
        let length = std::fs::metadata(path).ok().filter(|about| about.is_file())?.len();
        // A cell of text has two bytes, with what is behind it; of what is packed there may be many more.
        let is_packed = matches!(data::file_kind(path), Ok(FileKind::Table));
        let most = if is_packed { length.saturating_mul(DENSEST) } else { length };
        if most.saturating_mul(CELL + ROW) / 2 <= limit() {
            return None;
        }
        let FirstRows { table, rows } = reading.first_rows(path).ok().flatten()?;
        let bytes = rows.saturating_mul(CELL * table.columns().len() as u64 + ROW);
        (bytes > limit()).then_some(LargeTable { first: table, bytes })
    }

    /// Says how many rows were read, now and then, where that takes long.
    pub fn progress(is_quiet: bool) -> impl Fn(u64) {
        let said = Cell::new(Instant::now());
        move |rows| {
            if !is_quiet && said.get().elapsed() >= SAID {
                said.set(Instant::now());
                out::note(format!("{} read", out::counted(rows as usize, "row")));
            }
        }
    }

    /// The table as a frame in a folder, as `framing` says; with a word on why, and on how far it is where that takes long.
    pub fn frame(&self, framing: Framing, path: &Path, folder: &Path, is_quiet: bool) -> Result<Frame> {
        let say = move |text: String| {
            if !is_quiet {
                out::note(text);
            }
        };
        say(format!(
            "{}: as a table it would take about {}, more than the {} that a file may (--limit bytes=…); its prepared rows go to a file in {} \
             until the end (--frame FILE.kdf keeps them)",
            path.display(),
            out::size(self.bytes),
            out::size(limit()),
            folder.display(),
        ));
        let framing = framing.kind(ValueKind::F32).progress(LargeTable::progress(is_quiet));
        let frame = framing.temporary_in(path, folder)?;
        if frame.left_out() > 0 {
            say(format!(
                "{} are left out, because the target is missing in them",
                out::counted(frame.left_out() as usize, "row")
            ));
        }
        Ok(frame)
    }
}

/// What a file may take.
fn limit() -> u64 {
    Limits::current().bytes
}

/// What came in by the standard input.
pub enum PipedTable {
    /// All of it.
    Bytes(Vec<u8>),
    /// More than is held: a file that goes with this.
    File(TemporaryFile),
}

/// A file that goes when it is no longer needed.
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads the standard input; what is more than a share of what a file may take goes to a file in a folder.
pub fn standard_input(folder: &Path) -> Result<PipedTable> {
    let (budget, mut bytes) = (Budget::default(), Vec::new());
    let wanted = usize::try_from(limit() / (CELL + ROW)).unwrap_or(usize::MAX).max(1 << 16);
    let mut input = std::io::stdin().lock();
    let is_whole =
        budget.read_some(&mut input, &mut bytes, wanted).context("the standard input can't be read")?;
    if is_whole {
        return Ok(PipedTable::Bytes(bytes));
    }
    stored(folder, &mut bytes.as_slice().chain(input)).map(PipedTable::File)
}

/// What comes in by the standard input as a file.
pub fn piped(folder: &Path) -> Result<TemporaryFile> {
    stored(folder, &mut std::io::stdin().lock())
}

fn stored(folder: &Path, input: &mut impl Read) -> Result<TemporaryFile> {
    let path = folder.join(format!(".kiln-{}-input", std::process::id()));
    let mut file = kiln_files::AtomicFile::private(&path).with_context(|| path.display().to_string())?;
    let copied = std::io::copy(input, &mut file).and_then(|_| file.commit());
    copied.with_context(|| path.display().to_string())?;
    Ok(TemporaryFile(path))
}
