//! Texts as rows: windows of a long text with what follows each piece, and short texts with a class.

use std::ops::Range;
use std::sync::Arc;

use super::tokens::Tokens;
use crate::dataset::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::set::Set;
use crate::table::Table;
use crate::values::{Form, Meaning, ValueKind, Values};

/// Windows of a text, to learn what comes next: each row is some pieces in turn, and its target the same pieces one later. In training
/// each window is moved by what follows from the epoch, so that every place of the text begins one sooner or later.
///
/// ```
/// use kiln_data::{Dataset, Windows};
///
/// let codes: Vec<u32> = (0..100).map(|at| at % 7).collect();
/// let windows = Windows::new(codes, 7, 8)?;
/// let (train, test) = windows.split(0.75)?;
/// let row = test.gather(&[0])?;
/// assert_eq!(row.x.get(1), row.y.get(0));
/// assert_eq!((train.len(), test.len()), (9, 3));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Windows {
    codes: Arc<[u32]>,
    /// The part of the codes these windows are of.
    part: Range<usize>,
    count: usize,
    length: usize,
    moved: bool,
}

impl Windows {
    /// Windows of `length` pieces of a text whose codes are below `count`.
    ///
    /// # Errors
    /// Where the text is shorter than a window and the piece after it, or a code isn't below `count`.
    pub fn new(codes: Vec<u32>, count: usize, length: usize) -> Result<Windows> {
        if let Some(code) = codes.iter().find(|code| **code as usize >= count) {
            return Err(Error::new(format!("a code is {code}, and there are {count}")));
        }
        let part = 0..codes.len();
        Windows { codes: codes.into(), part, count, length, moved: false }.checked()
    }

    fn checked(self) -> Result<Windows> {
        match self.length > 0 && self.part.len() > self.length {
            true => Ok(self),
            false => Err(Error::new(format!(
                "{} pieces of text are too few for windows of {}; take shorter windows or more text",
                self.part.len(),
                self.length
            ))),
        }
    }

    /// Windows that are moved by up to their length, another way in every epoch.
    pub fn moved(self) -> Windows {
        Windows { moved: true, ..self }
    }

    /// A first share of the text and the rest. No window reaches across.
    ///
    /// # Errors
    /// Where a part is too short for a window.
    pub fn split(&self, share: f64) -> Result<(Windows, Windows)> {
        let cut = self.part.start + (self.part.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let part = |part: Range<usize>| Windows { part, ..self.clone() }.checked();
        Ok((part(self.part.start..cut)?, part(cut..self.part.end)?))
    }

    fn kind(&self) -> ValueKind {
        if self.count <= 256 { ValueKind::U8 } else { ValueKind::U16 }
    }

    fn form(&self) -> Form {
        let kind = if self.count > 1 << 16 { ValueKind::I64 } else { self.kind() };
        Form { kind, shape: vec![self.length], meaning: Meaning::Codes { count: self.count } }
    }
}

impl Dataset for Windows {
    fn len(&self) -> usize {
        (self.part.len() - 1) / self.length
    }

    fn x(&self) -> Form {
        self.form()
    }

    fn y(&self) -> Form {
        self.form()
    }

    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
        let last = self.part.end - self.length - 1;
        let shift = if self.moved && draw != 0 { Rng::new(draw).below(self.length) } else { 0 };
        let start = (self.part.start + row * self.length + shift).min(last);
        let window = |values: &mut Values, from: usize| {
            self.codes[from..from + self.length].iter().for_each(|&code| values.push(code.into()));
        };
        window(&mut batch.x, start);
        window(&mut batch.y, start + 1);
        Ok(())
    }

    fn is_varied(&self) -> bool {
        self.moved
    }
}

/// Texts of a table's column with the labels of another: codes of up to `length` pieces, the rest cut off; filled up with 0, or as sequences of
/// differing lengths where they are to be `padded`.
///
/// # Errors
/// Where a column isn't there, or a text or label is missing; with its line.
pub fn labelled(
    table: &Table,
    texts: &str,
    labels: &str,
    tokens: &Tokens,
    length: usize,
    padded: bool,
) -> Result<Set> {
    let (texts, labels) = (table.column(texts)?, table.column(labels)?);
    let text = |column: &crate::table::Column, row: usize| {
        let missing = || Error::new("nothing stands here").in_column(column.name());
        column.cell(row).text().map(|text| text.into_owned()).ok_or_else(|| table.place(Some(row), missing()))
    };
    let all = (0..table.len()).map(|row| text(labels, row)).collect::<Result<Vec<_>>>()?;
    let mut names = all.clone();
    names.sort();
    names.dedup();
    let (mut codes, mut lengths) = (Vec::with_capacity(table.len() * length), Vec::new());
    for row in 0..table.len() {
        let own = tokens.encode(&text(texts, row)?);
        lengths.push(own.len().min(length) as u32);
        codes.extend((0..length).map(|at| own.get(at).map_or(0, |&code| i64::from(code))));
    }
    let classes = all
        .iter()
        .filter_map(|label| names.binary_search(label).ok())
        .map(|class| class as i64)
        .collect::<Vec<_>>();
    let form =
        Form { kind: ValueKind::I64, shape: vec![length], meaning: Meaning::Codes { count: tokens.count() } };
    let set = Set::new(codes, form, classes, Form::class(names.len()))?.named(names);
    if padded { set.with_lengths(lengths) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Cut;

    #[test]
    fn targets_are_one_later_and_parts_do_not_overlap() {
        let windows = Windows::new((0..1000).collect(), 1000, 10).unwrap();
        let (train, rest) = windows.split(0.8).unwrap();
        let train = train.moved();
        let highest = |set: &Windows| {
            let mut most = 0.0f64;
            for batch in set.batches(16).shuffle(3) {
                let batch = batch.unwrap();
                for at in 0..batch.x.len() {
                    assert_eq!(batch.x.get(at).unwrap() + 1.0, batch.y.get(at).unwrap());
                    most = most.max(batch.y.get(at).unwrap());
                }
            }
            most
        };
        assert!(highest(&train) < 800.0);
        assert_eq!(rest.gather(&[0]).unwrap().x.get(0), Some(800.0));
        let epoch = |epoch: u64| train.batches(79).shuffle(3).epoch(epoch).next().unwrap().unwrap().x;
        assert_eq!(epoch(1), epoch(1));
        assert_ne!(epoch(0), epoch(1));
    }

    #[test]
    fn too_little_text_is_an_error_with_the_mend() {
        let error = Windows::new(vec![1; 8], 5, 8).unwrap_err().to_string();
        assert!(error.contains("shorter windows"), "{error}");
        assert!(Windows::new(vec![9; 80], 5, 8).is_err());
        assert!(Windows::new(vec![1; 80], 5, 0).is_err());
        assert!(Windows::new(vec![1; 80], 5, 8).unwrap().split(0.99).is_err());
    }

    #[test]
    fn texts_with_classes_are_cut_and_filled() {
        let table = Table::read(b"text,mood\n\"good, very good\",up\nbad,down\n").unwrap();
        let tokens = Tokens::fit("good very bad ,", Cut::Words, 10).unwrap();
        let set = labelled(&table, "text", "mood", &tokens, 3, false).unwrap();
        assert_eq!(set.names(), ["down", "up"]);
        let batch = set.all().unwrap();
        assert_eq!(batch.x.as_i64().unwrap()[3..], [i64::from(tokens.encode("bad")[0]), 0, 0]);
        assert!(labelled(&table, "texts", "mood", &tokens, 3, false).is_err());
    }
}
