//! How a frame is made: row by row, or of a table larger than memory in two passes, one to fit its preparation and one to apply it.

use kiln_map::{Budget, counted};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;
use kiln_files::AtomicFile;

use serde_json::Value;

use super::Table;
use super::choices::Choices;
use super::column::{Cell, ColumnKind};
use super::frame::{Frame, FrameDescription, FrameHeader};
use super::preparation::TablePreparation;
use super::reading::Reading;
use super::source::TableInput;
use super::stream::{Passed, Stream, TableBuilder};
use super::summary::{ColumnSummary, SummarisedColumn};
use super::target::TargetColumn;
use crate::error::{Error, Result};
use crate::values::{ValueKind, Values};

/// Tells temporary files of this process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes a frame row by row, into a file beside the one that is wanted. It takes that one's place when it is whole; until then,
/// and where it never is, what was there stays as it is.
///
/// ```
/// use kiln_data::{Dataset, Frame, FrameWriter, ValueKind};
///
/// let path = std::env::temp_dir().join(format!("kiln-doc-{}.kdf", std::process::id()));
/// let mut writer = FrameWriter::new(&path, ValueKind::F16, ["age", "weight"])?.classes(["ill", "well"]);
/// writer.row(&[0.5, -1.0], 1.0)?;
/// writer.row(&[0.25, 2.0], 0.0)?;
/// let frame = writer.finish()?;
/// assert_eq!(frame.labels()?, [1, 0]);
/// # drop(frame);
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameWriter {
    file: Option<BufWriter<AtomicFile>>,
    path: PathBuf,
    header: FrameHeader,
    /// Bytes of the header, which is written again with the number of rows.
    reserved: usize,
    encoded: Vec<u8>,
}

impl FrameWriter {
    /// A frame of rows with these inputs, in `f16` or `f32`, and numbers as targets.
    ///
    /// # Errors
    /// Where the kind is another, there is no input, or the file can't be made.
    pub fn new(
        path: impl AsRef<Path>,
        kind: ValueKind,
        features: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<FrameWriter> {
        let features: Vec<String> = features.into_iter().map(Into::into).collect();
        let description = FrameDescription { features, ..FrameDescription::default() };
        FrameWriter::start(AtomicFile::create, path.as_ref(), kind, description, None)
    }

    fn start(
        create: fn(&Path) -> std::io::Result<AtomicFile>,
        path: &Path,
        kind: ValueKind,
        description: FrameDescription,
        classes: Option<usize>,
    ) -> Result<FrameWriter> {
        if !matches!(kind, ValueKind::F16 | ValueKind::F32) {
            return Err(Error::new(format!("a frame holds F16 or F32, not {kind:?}")).in_file(path));
        }
        if description.features.is_empty() {
            return Err(Error::new("a frame needs an input").in_file(path));
        }
        if path.file_name().is_none() {
            return Err(Error::new("a frame needs the name of a file").in_file(path));
        }
        let header = FrameHeader { kind, columns: description.features.len(), classes, rows: 0, description };
        let file = create(path).map_err(|error| Error::io(path, error))?;
        let file = Some(BufWriter::with_capacity(1 << 20, file));
        Ok(FrameWriter { file, path: path.to_path_buf(), header, reserved: 0, encoded: Vec::new() })
    }

    /// Targets are classes of these names, each row's the class's number. Said before the first row.
    pub fn classes(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> FrameWriter {
        self.header.description.classes = names.into_iter().map(Into::into).collect();
        self.header.classes = Some(self.header.description.classes.len());
        self
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Where it has too many or too few inputs, a number doesn't fit the kind, or the file can't be written.
    pub fn row(&mut self, inputs: &[f32], target: f64) -> Result<()> {
        self.encoded.clear();
        let mut encoded = std::mem::take(&mut self.encoded);
        encode(&self.header, inputs, &[target], &mut encoded).map_err(|error| error.in_file(&self.path))?;
        self.write(&encoded, 1)?;
        self.encoded = encoded;
        Ok(())
    }

    fn write(&mut self, rows: &[u8], count: u64) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.reserved == 0 {
            let header = self.header.bytes()?;
            self.reserved = header.len();
            file.write_all(&header).map_err(|error| Error::io(&self.path, error))?;
        }
        self.header.rows += count;
        file.write_all(rows).map_err(|error| Error::io(&self.path, error))
    }

    /// Makes the frame whole and opens it.
    ///
    /// # Errors
    /// Where it has no row, or can't be written.
    pub fn finish(mut self) -> Result<Frame> {
        if self.header.rows == 0 {
            return Err(Error::new("a frame needs a row").in_file(&self.path));
        }
        let header = self.header.bytes()?;
        if let Some(file) = self.file.take() {
            let whole = || -> std::io::Result<()> {
                let mut file = file.into_inner().map_err(|error| error.into_error())?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&header)?;
                file.commit()
            };
            whole().map_err(|error| Error::io(&self.path, error))?;
        }
        Frame::open(&self.path)
    }
}

/// A row as the bytes of a frame.
fn encode(header: &FrameHeader, inputs: &[f32], targets: &[f64], bytes: &mut Vec<u8>) -> Result<()> {
    if inputs.len() != header.columns {
        return Err(Error::new(format!(
            "a row of {}, in a frame of {}",
            counted(inputs.len(), "input"),
            header.columns
        )));
    }
    if let (Some(classes), &[target]) = (header.classes, targets)
        && !(target >= 0.0 && target < classes as f64 && target.fract() == 0.0)
    {
        return Err(Error::new(format!("the target {target} is none of {}", counted(classes, "class"))));
    }
    let fault = |at: usize, value: f32| {
        let name = header.description.features.get(at).map_or("the target", String::as_str);
        let kind = header.kind;
        Error::new(format!("{value} doesn't fit {kind:?}; scale the column, or use F32")).in_column(name)
    };
    let values = inputs.iter().copied().chain(targets.iter().map(|target| *target as f32)).enumerate();
    match header.kind {
        ValueKind::F16 => {
            for (at, value) in values {
                let half = f16::from_f32(value);
                // Codes and classes are whole numbers, and must come back as they are.
                let exact = at < header.columns || header.classes.is_none() || half.to_f32() == value;
                if !half.is_finite() || !exact {
                    return Err(fault(at, value));
                }
                bytes.extend(half.to_le_bytes());
            }
        }
        _ => {
            for (at, value) in values {
                if !value.is_finite() {
                    return Err(fault(at, value));
                }
                bytes.extend(value.to_le_bytes());
            }
        }
    }
    Ok(())
}

/// The rows of a part that have a target, as the bytes of a frame; how many they are, and how many there are in all.
fn encode_table(
    table: &Table,
    preparation: &TablePreparation,
    target: &TargetColumn,
    header: &FrameHeader,
) -> Result<(Vec<u8>, u64, u64)> {
    let rows = table.rows_with_all(&target.columns())?;
    let (inputs, width) = preparation.inputs(table, &rows, &target.columns())?;
    let targets = target.values(table, &rows)?;
    let count = header.targets();
    let mut bytes = Vec::with_capacity(rows.len() * (width + count) * header.kind.bytes());
    for ((at, row), inputs) in rows.iter().enumerate().zip(inputs.chunks_exact(width)) {
        let value = |at: usize| match &targets {
            Values::I64(classes) => classes.get(at).map(|class| *class as f64),
            other => other.get(at),
        };
        let values = (at * count..(at + 1) * count).map(|at| value(at).unwrap_or(f64::NAN));
        encode(header, inputs, &values.collect::<Vec<f64>>(), &mut bytes)
            .map_err(|error| table.place(Some(*row), error))?;
    }
    Ok((bytes, rows.len() as u64, table.len() as u64))
}

/// A frame from a table of any size.
///
/// ```no_run
/// use kiln_data::{Choices, Framing, ValueKind};
///
/// // Every fifth row is kept for the test, and the preparation doesn't know it.
/// let framing = Framing::new(Choices::new().target("price")).kind(ValueKind::F16).train(|row| row % 5 != 0);
/// let frame = framing.make("houses.csv.gz", "houses.kdf")?;
/// println!("{:?}", frame.feature_names());
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub struct Framing {
    choices: Choices,
    reading: Reading,
    kind: ValueKind,
    train: Box<dyn Fn(u64) -> bool>,
    origin: Option<Value>,
    /// What was fitted before, if nothing is to be fitted on the file.
    prepared: Option<TablePreparation>,
    progress: Box<dyn Fn(u64)>,
}

impl Framing {
    /// Half floats, fitted on all rows, read as they seem.
    pub fn new(choices: Choices) -> Framing {
        Framing {
            choices,
            reading: Reading::new(),
            kind: ValueKind::F16,
            train: Box::new(|_| true),
            origin: None,
            prepared: None,
            progress: Box::new(|_| {}),
        }
    }

    /// Rows prepared as others were before, of a file that is read as theirs was.
    pub fn prepared(preparation: TablePreparation) -> Framing {
        let reading = preparation.reading();
        Framing { prepared: Some(preparation), reading, ..Framing::new(Choices::new()) }
    }

    /// Is told again and again how many rows were read, in each pass from 0 on.
    pub fn progress(self, progress: impl Fn(u64) + 'static) -> Framing {
        Framing { progress: Box::new(progress), ..self }
    }

    /// `F16` or `F32`.
    pub fn kind(self, kind: ValueKind) -> Framing {
        Framing { kind, ..self }
    }

    /// How the file is read.
    pub fn reading(self, reading: Reading) -> Framing {
        Framing { reading, ..self }
    }

    /// Which rows, counted from 0, will be trained on; the preparation is fitted on those only. All rows are in the frame but those whose
    /// target is missing, which don't count.
    pub fn train(self, train: impl Fn(u64) -> bool + 'static) -> Framing {
        Framing { train: Box::new(train), ..self }
    }

    /// What the frame says of what it was made of, for whoever asks later whether it still holds; see [`Frame::origin`].
    pub fn origin(self, origin: Value) -> Framing {
        Framing { origin: Some(origin), ..self }
    }

    /// What a column says in each row of a file that has a target, in their order; the file is read for it alone and not held.
    ///
    /// # Errors
    /// Where it can't be read, or there is no such column.
    pub fn gather<T: Copy>(
        &self,
        from: impl AsRef<Path>,
        column: &str,
        of: impl Fn(Cell<'_>) -> T,
    ) -> Result<Vec<T>> {
        let input = TableInput::File(from.as_ref());
        let mut stream = Stream::new(input, &self.reading);
        let targets: Vec<&str> = match self.prepared.as_ref().and_then(TablePreparation::target) {
            Some(target) => target.columns(),
            None => self.choices.targets.iter().map(String::as_str).collect(),
        };
        let budget = Budget::default();
        loop {
            let (mut all, mut read) = (Vec::new(), 0);
            let settled = stream.pass(
                |part| {
                    let layout = part.layout.clone();
                    let mut gathered = TableBuilder::default();
                    gathered.append(part)?;
                    Ok(gathered.table(&layout, input))
                },
                |table| {
                    let (rows, column) = (table.rows_with_all(&targets)?, table.column(column)?);
                    read += table.len() as u64;
                    (self.progress)(read);
                    budget.reserve(&mut all, rows.len())?;
                    all.extend(rows.into_iter().map(|row| of(column.cell(row))));
                    Ok(())
                },
            )?;
            if settled == Passed::Whole {
                return Ok(all);
            }
        }
    }

    /// The preparation that the first pass over a file comes to.
    ///
    /// # Errors
    /// Where the file can't be read or prepared.
    pub fn fitted(&self, from: impl AsRef<Path>) -> Result<TablePreparation> {
        let input = TableInput::File(from.as_ref());
        self.fit(input, &mut Stream::new(input, &self.reading)).map_err(|error| input.place(error))
    }

    /// Makes a frame of a file, which is read twice and never held in memory.
    ///
    /// # Errors
    /// Where the file can't be read or prepared, or the frame can't be written.
    pub fn make(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Frame> {
        let (from, to) = (from.as_ref(), to.as_ref());
        self.write(from, to, AtomicFile::create).map_err(|error| match error.file {
            None => error.in_file(from),
            Some(_) => error,
        })
    }

    /// The same, in a file of the system's temporary folder that goes when the frame does.
    ///
    /// # Errors
    /// As [`Framing::make`].
    pub fn temporary(&self, from: impl AsRef<Path>) -> Result<Frame> {
        self.temporary_in(from, std::env::temp_dir())
    }

    /// The same, in a file of this folder that goes when the frame does.
    ///
    /// # Errors
    /// As [`Framing::make`].
    pub fn temporary_in(&self, from: impl AsRef<Path>, folder: impl AsRef<Path>) -> Result<Frame> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".kiln-{}-{number}.kdf", std::process::id());
        let (from, to) = (from.as_ref(), folder.as_ref().join(name));
        let frame = self.write(from, &to, AtomicFile::private).map_err(|error| match error.file {
            None => error.in_file(from),
            Some(_) => error,
        })?;
        Ok(frame.temporary())
    }

    fn write(
        &self,
        from: &Path,
        to: &Path,
        create: fn(&Path) -> std::io::Result<AtomicFile>,
    ) -> Result<Frame> {
        let input = TableInput::File(from);
        let mut stream = Stream::new(input, &self.reading);
        let preparation = match &self.prepared {
            Some(preparation) => preparation.clone(),
            None => self.fit(input, &mut stream)?,
        };
        let Some(target) = preparation.target().cloned() else {
            return Err(Error::new("a frame needs a target; choose one with Choices::target"));
        };
        let more = target.columns().len().saturating_sub(1);
        let more_targets =
            u32::try_from(more).map_err(|_| Error::new("a frame has at most 2³² targets a row"))?;
        let features = preparation.feature_names();
        let description = FrameDescription {
            features,
            classes: target.classes().to_vec(),
            preparation: preparation.to_json().is_ok().then(|| preparation.clone()),
            origin: self.origin.clone(),
            more_targets,
        };
        if self.kind == ValueKind::F16
            && let Some((column, words)) =
                preparation.vocabularies().iter().find(|(_, words)| words.size() > 2048)
        {
            let message =
                format!("{} codes don't fit half floats, which count to 2048; use F32", words.size());
            return Err(Error::new(message).in_column(*column));
        }
        if self.kind == ValueKind::F16
            && let Some((column, names)) =
                target.class_columns().into_iter().find(|(_, names)| names.len() > 2048)
        {
            let message = format!(
                "{} don't fit half floats, which count to 2048; use F32",
                counted(names.len(), "class")
            );
            return Err(Error::new(message).in_column(column));
        }
        let classes = target.form().codes();
        loop {
            let mut writer = FrameWriter::start(create, to, self.kind, description.clone(), classes)?;
            let header = writer.header.clone();
            let known = self.prepared.is_none().then(|| stream.layout());
            let (mut read, mut left_out) = (0, 0);
            let settled = stream.pass(
                |part| {
                    let layout = known.clone().unwrap_or_else(|| part.layout.clone());
                    let mut gathered = TableBuilder::default();
                    gathered.append(part)?;
                    encode_table(&gathered.table(&layout, input), &preparation, &target, &header)
                },
                |(bytes, count, all)| {
                    read += all;
                    left_out += all - count;
                    (self.progress)(read);
                    writer.write(&bytes, count)
                },
            )?;
            match (settled, &self.prepared) {
                (Passed::Whole, _) | (Passed::Decided, Some(_)) => {
                    let mut frame = writer.finish()?;
                    frame.left_out = left_out;
                    return Ok(frame);
                }
                // Columns that nobody needs turned out to be others than thought.
                (Passed::Again, Some(_)) => {}
                (Passed::Decided | Passed::Again, None) => {
                    return Err(Error::new("the file changed while it was read; read it again"));
                }
            }
        }
    }

    /// The first pass: what the columns hold, and a preparation fitted on the training rows.
    fn fit(&self, input: TableInput<'_>, stream: &mut Stream<'_>) -> Result<TablePreparation> {
        loop {
            let mut summaries: Vec<ColumnSummary> = Vec::new();
            let (mut rows, mut kept) = (0, 0);
            let settled = stream.pass(
                |part| {
                    let layout = part.layout.clone();
                    let mut gathered = TableBuilder::default();
                    gathered.append(part)?;
                    Ok(gathered.table(&layout, input))
                },
                |table| {
                    let targets: Vec<&str> = self.choices.targets.iter().map(String::as_str).collect();
                    let answered = table.rows_with_all(&targets)?;
                    let numbered = (kept..).zip(&answered);
                    let train: Vec<usize> =
                        numbered.filter(|(number, _)| (self.train)(*number)).map(|(_, row)| *row).collect();
                    let start = rows;
                    (rows, kept) = (rows + table.len() as u64, kept + answered.len() as u64);
                    (self.progress)(rows);
                    while summaries.len() < table.columns().len() {
                        summaries.push(ColumnSummary::new(false));
                    }
                    let target = self.choices.targets.first().and_then(|target| table.column(target).ok());
                    for (summary, column) in summaries.iter_mut().zip(table.columns()) {
                        summary.extend(column, target, start, train.iter().copied());
                    }
                    Ok(())
                },
            )?;
            if settled == Passed::Whole {
                let layout = stream.layout();
                let known = layout.columns.iter().zip(summaries);
                let unnamed = stream.findings.file.unnamed.as_deref();
                let columns: Vec<SummarisedColumn> = known
                    .map(|(known, summary)| SummarisedColumn {
                        name: known.name.clone(),
                        kind: known.kind.unwrap_or(ColumnKind::Number),
                        format: (*known.format).clone(),
                        unnamed: unnamed == Some(known.name.as_str()),
                        summary,
                    })
                    .collect();
                return Ok(TablePreparation::of(&columns, &self.choices)?.of_file(&self.reading.file));
            }
        }
    }
}
