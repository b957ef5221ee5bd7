//! How a table is read from a file.

use super::column::ColumnKind;

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
}
