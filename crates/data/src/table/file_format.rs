//! How a file of a table is written, as far as it was told: kept with a model, so that new files are read as the training's was.

use serde::{Deserialize, Serialize};

use super::encoding::TextEncoding;

/// What is told of how a file is written. What isn't told is found in each file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileFormat {
    /// What stands between the cells of a text, a letter of ASCII.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// How a text is encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<TextEncoding>,
    /// The sheet of a workbook, by its name or its number from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// The table of an archive, by its name or its number from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Whether the first row names the columns, of files that are read now: a model's own columns say it for others.
    #[serde(skip)]
    pub header: Option<bool>,
    /// Whether all of this is told of the very files that are read, so that one that isn't written so is refused. What a model keeps of the
    /// file it was trained on is a guess for others.
    #[serde(skip)]
    pub insisted: bool,
}

impl FileFormat {
    /// Whether nothing was told.
    pub fn is_unsaid(&self) -> bool {
        *self == FileFormat::default()
    }

    /// The same with what is told of the files that are read now, where that says something.
    pub fn told(&self, now: &FileFormat) -> FileFormat {
        let FileFormat { delimiter, encoding, sheet, member, header, insisted } = now.clone();
        FileFormat {
            delimiter: delimiter.or(self.delimiter),
            encoding: encoding.or(self.encoding),
            sheet: sheet.or_else(|| self.sheet.clone()),
            member: member.or_else(|| self.member.clone()),
            header: header.or(self.header),
            insisted: insisted || self.insisted,
        }
    }

    /// What stands between cells, as the byte that it is.
    pub(super) fn delimiter(&self) -> Option<u8> {
        self.delimiter.and_then(|sign| u8::try_from(sign).ok()).filter(u8::is_ascii)
    }
}
