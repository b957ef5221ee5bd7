//! Tables of text, row after row: what is read is predicted and written while more is read, in as much memory as a few blocks take.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use kiln_learn::data::{
    ColumnKind, EncodedBlock, RawBlock, Reading, RowEncoder, RowStream, TableText, UnseenWords,
};
use kiln_learn::model::Task;
use kiln_learn::preparation::Unanswered;
use kiln_learn::{Error, Predictor, Preparation};
use kiln_map::Budget;

use super::lines::{cells, header, object, quoted, table_header, table_rows};
use crate::large::LargeTable;
use crate::out;
use crate::rows::{self, Questions, is_standard_input};

/// Predicts a table of text and writes it out; otherwise the rows that are asked about, all of them.
pub(super) fn predict(predictor: &Predictor, inputs: &[PathBuf], json: bool) -> Result<Option<Questions>> {
    let about = predictor.model().about();
    let whole = || rows::without_answers(about, inputs).map(Some);
    let (Preparation::Table(_) | Preparation::Unsaid, [input]) = (&about.preparation, inputs) else {
        return whole();
    };
    if about.is_unsaid() {
        return whole();
    }
    let reading = about.reading()?;
    let text = match is_standard_input(input) {
        true => RowStream::of(std::io::stdin(), &reading)?,
        false => RowStream::open(input, &reading)?,
    };
    let stream = match text {
        TableText::Rows(stream) => stream,
        TableText::Other(_) if !is_standard_input(input) => {
            return match LargeTable::of(input, &reading) {
                Some(large) => by_parts(predictor, &large, input, reading, json).map(|()| None),
                None => whole(),
            };
        }
        TableText::Other(reader) => {
            let bytes = Budget::default().read(reader).context("the standard input can't be read")?;
            return rows::of_table(about, reading.read(&bytes)?, input).map(Some);
        }
    };
    let names: Vec<String> = stream.names().map(str::to_string).collect();
    let columns = about.of_columns(names.iter().map(String::as_str).collect());
    let Some((plan, _)) = columns.map_err(|error| named(error, input))? else { return whole() };
    let encoder = RowEncoder::new(&stream, &plan)?;
    stream.notes().iter().chain(encoder.notes()).for_each(out::note);
    let mut out = out::RowWriter::new();
    if !json {
        let names = names.iter().map(|name| quoted(name).into_owned());
        writeln!(out, "{}", names.chain(header(about)).collect::<Vec<_>>().join(","))?;
    }
    let model = StreamModel { predictor, encoder, task: &about.task, json };
    let (rows, unseen) = model.all(stream, &mut out)?;
    out.flush()?;
    if rows == 0 {
        return Err(anyhow!("{}: the file holds a header and no row", input.display()));
    }
    model.encoder.unseen(&unseen).iter().for_each(out::note);
    Ok(None)
}

/// Predicts a table that isn't text and too large to be held, part by part.
fn by_parts(
    predictor: &Predictor,
    large: &LargeTable,
    input: &Path,
    reading: Reading,
    json: bool,
) -> Result<()> {
    let about = predictor.model().about();
    // What isn't needed is written out as it stands.
    let reading = large.first.names().fold(reading, |reading, name| match reading.tells(name) {
        true => reading,
        false => reading.kind(name, ColumnKind::Category),
    });
    let mut out = out::RowWriter::new();
    if !json {
        table_header(&large.first, about, &mut out)?;
    }
    let (mut rows, mut notes) = (0, BTreeSet::new());
    let mut fault = None;
    let read = reading.each_part(input, |table| {
        let mut written = || -> Result<()> {
            let Unanswered { rows: questions, notes: own } =
                about.of_table(&table).map_err(|error| named(error, input))?;
            notes.extend(own);
            let answers = predictor.predict(&questions)?;
            match json {
                true => answers.iter().enumerate().try_for_each(|(row, answer)| {
                    Ok(writeln!(out, "{}", object(None, answer, &about.task, rows + row))?)
                }),
                false => Ok(table_rows(&table, &answers, &about.task, &mut out)?),
            }
        };
        let result = written();
        rows += table.len();
        result.map_err(|error| {
            let message = format!("{error:#}");
            fault = Some(error);
            kiln_learn::data::Error::new(message)
        })
    });
    match (fault, read) {
        (Some(fault), _) => return Err(fault),
        (None, read) => read?,
    }
    out.flush()?;
    notes.iter().for_each(out::note);
    Ok(())
}

/// The same fault of data, in a file.
fn named(error: Error, input: &Path) -> anyhow::Error {
    match error {
        Error::Preparation(message) => anyhow!("{}: {message}", input.display()),
        other => other.into(),
    }
}

/// A model that is asked about the rows of a stream.
struct StreamModel<'a> {
    predictor: &'a Predictor,
    encoder: RowEncoder,
    task: &'a Task,
    json: bool,
}

/// What is written of a block.
struct WrittenBlock {
    block: EncodedBlock,
    text: Vec<u8>,
}

impl StreamModel<'_> {
    /// Answers all blocks on as many threads as may work, and writes them in their order. The next block is read meanwhile.
    fn all(&self, mut stream: RowStream, out: &mut impl Write) -> Result<(usize, UnseenWords)> {
        let threads =
            std::thread::available_parallelism().map_or(1, usize::from).min(kiln_learn::threads().max(1));
        let (mut rows, mut unseen) = (0, UnseenWords::default());
        std::thread::scope(|scope| {
            let mut working = VecDeque::new();
            let mut write = |answered: WrittenBlock| -> Result<()> {
                let first = rows;
                rows += answered.block.rows;
                unseen.add(&answered.block);
                match self.json {
                    true => self.objects(&answered.block, first, out),
                    false => Ok(out.write_all(&answered.text)?),
                }
            };
            while let Some(block) = stream.next_block()? {
                if working.len() > threads {
                    working.pop_front().map_or(Ok(()), |ahead| write(ended(ahead)?))?;
                }
                let started = std::thread::Builder::new().spawn_scoped(scope, move || self.answer(&block));
                working.push_back(started.map_err(|error| anyhow!("no thread can be started: {error}"))?);
            }
            working.into_iter().try_for_each(|ahead| write(ended(ahead)?))
        })?;
        Ok((rows, unseen))
    }

    /// The lines of a block.
    fn answer(&self, block: &RawBlock) -> Result<WrittenBlock> {
        let block = self.encoder.encode(block)?;
        let mut text = Vec::new();
        if !self.json {
            for (row, answer) in self.predictor.predict_inputs(&block.inputs, block.rows)?.iter().enumerate()
            {
                text.extend_from_slice(block.written(row));
                cells(answer, self.task, &mut text)?;
                text.push(b'\n');
            }
        }
        Ok(WrittenBlock { block, text })
    }

    /// Writes the rows of a block as objects.
    fn objects(&self, block: &EncodedBlock, first: usize, out: &mut impl Write) -> Result<()> {
        for (row, answer) in self.predictor.predict_inputs(&block.inputs, block.rows)?.iter().enumerate() {
            writeln!(out, "{}", object(None, answer, self.task, first + row))?;
        }
        Ok(())
    }
}

fn ended(started: std::thread::ScopedJoinHandle<'_, Result<WrittenBlock>>) -> Result<WrittenBlock> {
    started.join().unwrap_or_else(|_| Err(anyhow!("a thread that predicts failed")))
}
