//! How a table is read from a file.

use std::sync::Arc;

use super::builder::ColumnLayout;
use super::column::ColumnKind;
use super::date_forms::DateFormat;
use super::encoding::TextEncoding;
use super::file_format::FileFormat;
use super::format::{CellFormat, NumberFormat};

/// What is told of a file instead of being found in it.
///
/// ```
/// use kiln_data::{Cell, ColumnKind, Reading};
///
/// let text = "zip;rooms\n01067;3\n80331;2\n";
/// let table = Reading::new().kind("zip", ColumnKind::Category).read(text.as_bytes())?;
/// assert_eq!(table.column("zip")?.cell(0), Cell::Word("01067"));
///
/// let table = Reading::new().decimal(',').missing("n.b.").read(b"price;area\n1.234;n.b.\n950;70,5\n")?;
/// assert_eq!(table.column("price")?.cell(0), Cell::Number(1234.0));
/// assert_eq!(table.column("area")?.cell(0), Cell::Missing);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub(super) file: FileFormat,
    pub(super) header: Option<bool>,
    pub(super) kinds: Vec<(String, ColumnKind)>,
    pub(super) others: Option<ColumnKind>,
    pub(super) formats: Vec<(String, CellFormat)>,
    pub(super) missing: Vec<String>,
    pub(super) decimal: Option<char>,
    pub(super) thousands: Option<char>,
    pub(super) dates: Option<DateFormat>,
    /// Whether kinds may be told of columns that aren't there.
    pub(super) lenient: bool,
}

impl Reading {
    /// Everything is found.
    pub fn new() -> Reading {
        Reading::default()
    }

    /// The byte between cells. Found, it is one of `,` `;` `|` and the tab.
    pub fn delimiter(mut self, delimiter: u8) -> Reading {
        self.file.delimiter = Some(char::from(delimiter));
        self
    }

    /// How a file is read that a model is asked of: as the training's was told to be written, where it can be.
    pub fn of_model(file: FileFormat) -> Reading {
        Reading { header: file.header, file, lenient: true, ..Reading::new() }
    }

    /// What is told of how files are written that are read now, for a model that was trained on another.
    pub fn of_file(&self) -> FileFormat {
        let file = self.file.clone();
        let insisted = file != FileFormat::default();
        FileFormat { header: self.header, insisted, ..file }
    }

    /// Whether something is told of how cells are written, which changes nothing of a text.
    pub fn tells_cells(&self) -> bool {
        !self.missing.is_empty() || self.decimal.is_some() || self.thousands.is_some() || self.dates.is_some()
    }

    /// Whether what is told of the file may be wrong, because it was said of another.
    pub(super) fn is_of_another_file(&self) -> bool {
        self.lenient && !self.file.insisted
    }

    /// How cells of a column are written that were thought to be written so.
    pub(super) fn retold(&self, kind: ColumnKind, format: &CellFormat) -> CellFormat {
        let mut format = format.clone();
        match kind {
            ColumnKind::Number if self.tells_numbers() => {
                let known = format.number.take();
                let decimal = match (self.decimal, self.thousands) {
                    (Some(decimal), _) => decimal,
                    (None, Some('.')) => ',',
                    (None, _) => known.as_ref().map_or('.', |known| known.decimal),
                };
                // Where only decimals are told, the other sign may group digits.
                let thousands = self.thousands.or(if decimal == ',' { Some('.') } else { Some(',') });
                let unit = known.map_or(String::new(), |known| known.unit);
                format.number = Some(NumberFormat { decimal, thousands, unit });
            }
            ColumnKind::Date if self.dates.is_some() => format.date = self.dates,
            ColumnKind::Number | ColumnKind::Date | ColumnKind::Category | ColumnKind::Boolean => {}
        }
        let new = self.missing.iter().filter(|word| !format.missing.contains(word));
        let new: Vec<String> = new.cloned().collect();
        format.missing.extend(new);
        format
    }

    /// Whether the first row names the columns. Found, it does where a word stands above numbers or dates, or nothing speaks against
    /// it; columns without names are `column1`, `column2`, ….
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

    /// What the columns hold of which no kind is told by name: as words ([`ColumnKind::Category`]), cells stay as they stand.
    pub fn others(self, kind: ColumnKind) -> Reading {
        Reading { others: Some(kind), ..self }
    }

    /// How a column's cells are written, by name. Found, it is the one way that suits all of them.
    pub fn format(mut self, column: impl Into<String>, format: CellFormat) -> Reading {
        let column = column.into();
        self.formats.retain(|(name, _)| *name != column);
        self.formats.push((column, format));
        self
    }

    /// A word that says in any column that its value is missing, besides the usual ones.
    pub fn missing(mut self, word: impl Into<String>) -> Reading {
        self.missing.push(word.into());
        self
    }

    /// What stands before the decimals of numbers: `.` or `,`.
    pub fn decimal(self, decimal: char) -> Reading {
        Reading { decimal: Some(decimal), ..self }
    }

    /// What stands between groups of three digits.
    pub fn thousands(self, thousands: char) -> Reading {
        Reading { thousands: Some(thousands), ..self }
    }

    /// What the numbers of dates such as `03/04/2024` mean.
    pub fn dates(self, format: DateFormat) -> Reading {
        Reading { dates: Some(format), ..self }
    }

    /// How a text is encoded. Found, it is UTF-8, UTF-16, or Windows-1252 where a file has no letter of UTF-8.
    pub fn encoding(mut self, encoding: TextEncoding) -> Reading {
        self.file.encoding = Some(encoding);
        self
    }

    /// The sheet of a workbook, by its name or its number from 1. Found, it is the first that has a value.
    pub fn sheet(mut self, sheet: impl Into<String>) -> Reading {
        self.file.sheet = Some(sheet.into());
        self
    }

    /// The table of an archive, by its name or its number from 1. Found, it is the only one.
    pub fn member(mut self, member: impl Into<String>) -> Reading {
        self.file.member = Some(member.into());
        self
    }

    /// Whether it is told what a column holds.
    pub fn tells(&self, column: &str) -> bool {
        self.kinds.iter().any(|(told, _)| told == column)
    }

    /// Whether something is told of how numbers are written.
    pub(super) fn tells_numbers(&self) -> bool {
        self.decimal.is_some() || self.thousands.is_some()
    }

    /// A column of which no cell was read yet.
    pub(super) fn column(&self, name: String) -> ColumnLayout {
        let kind = self.kinds.iter().find(|(told, _)| *told == name).map(|(_, kind)| *kind).or(self.others);
        let format = self.formats.iter().find(|(told, _)| *told == name).map(|(_, format)| format.clone());
        let mut format = format.unwrap_or_default();
        for word in &self.missing {
            if !format.missing.contains(word) {
                format.missing.push(word.clone());
            }
        }
        if kind == Some(ColumnKind::Date) && format.date.is_none() {
            format.date = self.dates;
        }
        ColumnLayout { name, kind, told: kind.is_some(), format: Arc::new(format) }
    }
}
