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
}

impl FileFormat {
    /// Whether nothing was told.
    pub fn is_unsaid(&self) -> bool {
        *self == FileFormat::default()
    }

    /// What stands between cells, as the byte that it is.
    pub(super) fn delimiter(&self) -> Option<u8> {
        self.delimiter.and_then(|sign| u8::try_from(sign).ok()).filter(u8::is_ascii)
    }
}
