//! The parts of a workbook: which sheets there are, the texts that cells share, and which styles show dates.

use std::collections::HashMap;

use kiln_map::{ArchiveEntry, Budget, shown};

use super::dates::shows_date;
use super::xml::{PartReader, XmlPiece};
use crate::archive::WholeFile;
use crate::archive::entry_reader;
use crate::error::{Error, Result};

/// A sheet of a workbook.
#[derive(Debug)]
pub(super) struct Sheet {
    pub name: String,
    pub is_hidden: bool,
    /// Its part of the archive.
    part: String,
}

/// What a workbook says of itself.
#[derive(Debug)]
pub(super) struct Workbook {
    pub sheets: Vec<Sheet>,
    /// Whether days are counted from 1904 on.
    pub since_1904: bool,
}

/// Styles of cells.
#[derive(Debug)]
pub(super) struct Styles {
    /// Whether each shows dates.
    dates: Vec<bool>,
    pub since_1904: bool,
}

impl Styles {
    pub fn shows_date(&self, style: usize) -> bool {
        self.dates.get(style).copied().unwrap_or(false)
    }
}

/// Texts that cells share, one after the other.
#[derive(Debug, Default)]
pub(super) struct SharedStrings {
    text: String,
    ends: Vec<usize>,
}

impl SharedStrings {
    pub fn get(&self, place: usize) -> Option<&str> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.get(start..end)
    }
}

/// The archive that a workbook is.
pub(super) struct WorkbookParts<'a> {
    whole: &'a WholeFile,
    entries: HashMap<String, ArchiveEntry>,
}

/// For how many further texts there is room at a time.
const MORE: usize = 1 << 12;

/// More sheets, styles and relations than this no workbook has.
const MOST: usize = 1 << 16;

impl<'a> WorkbookParts<'a> {
    pub fn new(whole: &'a WholeFile, entries: Vec<ArchiveEntry>) -> WorkbookParts<'a> {
        WorkbookParts {
            whole,
            entries: entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect(),
        }
    }

    fn open(&self, name: &str) -> Result<Option<PartReader>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        Ok(Some(PartReader::new(name, entry_reader(self.whole, entry)?)))
    }

    pub fn workbook(&self, budget: &Budget) -> Result<Workbook> {
        // Where each relation leads, if to a sheet.
        let mut leads = HashMap::new();
        if let Some(mut part) = self.open("xl/_rels/workbook.xml.rels")? {
            while let Some(piece) = part.next()? {
                let XmlPiece::Begin(element) = piece else { continue };
                let (id, target) = (element.attribute("Id"), element.attribute("Target"));
                let is_sheet = element.attribute("Type").is_some_and(|kind| kind.ends_with("/worksheet"));
                if let (Some(id), Some(target), true) = (id, target, is_sheet && leads.len() < MOST) {
                    budget.bytes(2 * (id.len() + target.len()) as u64)?;
                    let part = match target.strip_prefix('/') {
                        Some(whole) => whole.to_string(),
                        None => format!("xl/{target}"),
                    };
                    leads.insert(id, part);
                }
            }
        }
        let missing = || Error::new("the workbook has no list of its sheets; the file is damaged");
        let mut part = self.open("xl/workbook.xml")?.ok_or_else(missing)?;
        let mut workbook = Workbook { sheets: Vec::new(), since_1904: false };
        while let Some(piece) = part.next()? {
            let XmlPiece::Begin(element) = piece else { continue };
            match element.name() {
                "workbookPr" => {
                    let told = element.attribute("date1904");
                    workbook.since_1904 = told.is_some_and(|told| told == "1" || told == "true");
                }
                "sheet" if workbook.sheets.len() < MOST => {
                    let part = element.attribute("r:id").and_then(|id| leads.get(&id).cloned());
                    let name = element.attribute("name").unwrap_or_default();
                    budget.bytes(2 * name.len() as u64 + 64)?;
                    let is_hidden = element.attribute("state").is_some_and(|state| state != "visible");
                    // A sheet of a chart alone leads elsewhere.
                    workbook.sheets.extend(part.map(|part| Sheet { name, is_hidden, part }));
                }
                _ => {}
            }
        }
        if workbook.sheets.is_empty() {
            return Err(Error::new("the workbook has no sheet with cells"));
        }
        Ok(workbook)
    }

    pub fn styles(&self, since_1904: bool, budget: &Budget) -> Result<Styles> {
        let mut styles = Styles { dates: Vec::new(), since_1904 };
        let Some(mut part) = self.open("xl/styles.xml")? else { return Ok(styles) };
        let (mut codes, mut within) = (HashMap::new(), false);
        while let Some(piece) = part.next()? {
            match piece {
                XmlPiece::Begin(element) => match element.name() {
                    "numFmt" if codes.len() < MOST => {
                        let code = element.attribute("formatCode").unwrap_or_default();
                        budget.bytes(2 * code.len() as u64 + 64)?;
                        codes.extend(element.number::<u32>("numFmtId").map(|number| (number, code)));
                    }
                    "cellXfs" => within = true,
                    "xf" if within && styles.dates.len() < MOST => {
                        let number = element.number("numFmtId").unwrap_or(0);
                        styles.dates.push(shows_date(number, codes.get(&number).map(String::as_str)));
                    }
                    _ => {}
                },
                XmlPiece::End(end) if end.name() == "cellXfs" => within = false,
                XmlPiece::End(_) | XmlPiece::Text(_) => {}
            }
        }
        Ok(styles)
    }

    pub fn strings(&self, budget: &Budget) -> Result<SharedStrings> {
        let mut strings = SharedStrings::default();
        let Some(mut part) = self.open("xl/sharedStrings.xml")? else { return Ok(strings) };
        // How a word is spoken stands beside it.
        let (mut within, mut spoken) = (false, 0usize);
        while let Some(piece) = part.next()? {
            match piece {
                XmlPiece::Begin(element) => match element.name() {
                    "t" => within = true,
                    "rPh" => spoken += 1,
                    _ => {}
                },
                XmlPiece::End(end) => match end.name() {
                    "t" => within = false,
                    "rPh" => spoken = spoken.saturating_sub(1),
                    "si" => {
                        // Many at once: where twice the room can't be had, each that is asked for alone moves all others.
                        if strings.ends.len() == strings.ends.capacity() {
                            budget.reserve(&mut strings.ends, MORE)?;
                        }
                        strings.ends.push(strings.text.len());
                    }
                    _ => {}
                },
                XmlPiece::Text(text) if within && spoken == 0 => {
                    // A list grows to twice what is in it.
                    budget.bytes(2 * text.len() as u64)?;
                    strings.text.push_str(&text);
                }
                XmlPiece::Text(_) => {}
            }
        }
        Ok(strings)
    }

    /// The cells of a sheet.
    pub fn sheet(&self, sheet: &Sheet) -> Result<PartReader> {
        let missing = || {
            let (name, part) = (shown(&sheet.name), shown(&sheet.part));
            Error::new(format!("the sheet {name} isn't in the workbook (no {part}); the file is damaged"))
        };
        self.open(&sheet.part)?.ok_or_else(missing)
    }
}
