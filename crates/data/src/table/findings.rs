//! What was found of a file, in words for people: each thing that was decided in a line, with the choice that decides otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::builder::Layout;
use super::column::ColumnKind;
use super::date_forms::DateFormat;
use super::format::{CellFormat, NumberFormat};
use super::part::KindMisfit;
use super::survey::Surveys;

/// What was found while a file was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub file: FileFindings,
    pub misfits: Vec<KindMisfit>,
    pub surveys: Surveys,
    /// A cell of each column that isn't written the plain way.
    pub examples: HashMap<String, String>,
    /// Columns whose cells could mean something else too.
    pub ambiguous: HashSet<String>,
}

/// What is found before the first row.
#[derive(Clone, Debug, Default)]
pub(super) struct FileFindings {
    pub notes: Vec<String>,
    /// The column that the file gives no name.
    pub unnamed: Option<String>,
    /// Whether the first row names the columns only because its words didn't come again in what was seen.
    pub guessed_header: bool,
}

/// How cells are written, what else they could be, and the columns of which that is so, with a cell of the first.
type Alike<'a> = BTreeMap<(String, &'static str), (Vec<&'a str>, &'a str)>;

impl Findings {
    /// All of it, a line each.
    pub fn said(&self, layout: &Layout) -> Vec<String> {
        let mut lines = self.file.notes.clone();
        let mut alike = Alike::new();
        for known in layout.columns.iter().filter(|known| !known.told) {
            if let Some((what, doubt, example)) = self.written(&known.name, &known.format) {
                alike.entry((what, doubt)).or_insert((Vec::new(), example)).0.push(&known.name);
            }
        }
        lines.extend(alike.into_iter().map(|((what, doubt), (names, example))| {
            let such = if example.is_empty() { String::new() } else { format!(", such as \"{example}\"") };
            format!("{}: {what}{such}{doubt}", columns(&names))
        }));
        lines.extend(layout.columns.iter().filter_map(|known| {
            let skipped = &self.surveys.get(&known.name)?.skipped;
            let amounts = matches!(known.kind, Some(ColumnKind::Number | ColumnKind::Date));
            let words: Vec<String> =
                skipped.iter().take(4).map(|(word, count)| format!("\"{word}\" ({count})")).collect();
            let rows = if words.len() < skipped.len() { ", …" } else { "" };
            let line = format!("column {}: {}{rows} counts as missing", known.name, words.join(", "));
            (amounts && !skipped.is_empty()).then_some(line)
        }));
        let mut said = HashSet::new();
        for KindMisfit { column, line, shown } in &self.misfits {
            let is_words = layout.columns.iter().any(|known| {
                known.name == *column
                    && matches!(known.kind, Some(ColumnKind::Category | ColumnKind::Boolean))
            });
            if is_words && said.insert(column) {
                let mend = match shown.len() <= 20 && !shown.contains(',') {
                    true => format!("; --missing \"{shown}\" reads that as missing"),
                    false => String::new(),
                };
                lines.push(format!(
                    "column {column} is read as words, because line {line} says \"{shown}\"{mend}"
                ));
            }
        }
        lines
    }

    fn written(&self, name: &str, format: &CellFormat) -> Option<(String, &'static str, &str)> {
        let example = self.examples.get(name)?;
        let ambiguous = self.ambiguous.contains(name);
        let (what, doubt) = match (&format.number, format.date) {
            (Some(number), _) => number_said(number, example)?,
            (None, Some(date)) => date_said(date),
            (None, None) => return None,
        };
        Some((what, if ambiguous { doubt } else { "" }, example))
    }
}

fn number_said(format: &NumberFormat, example: &str) -> Option<(String, &'static str)> {
    let mut parts = Vec::new();
    if example.contains(format.decimal) && format.decimal != '.' {
        parts.push("decimal commas".to_string());
    }
    match format.thousands {
        Some(' ') if example.contains([' ', '\u{a0}', '\u{202f}']) => {
            parts.push("spaces between thousands".to_string());
        }
        Some(sign) if example.contains(sign) => parts.push(format!("\"{sign}\" between thousands")),
        _ => {}
    }
    if !format.unit.is_empty() {
        parts.push(format!("the unit \"{}\"", format.unit));
    }
    let doubt = match format.decimal {
        ',' => "; it could be one of thousands too: --decimal . says so",
        _ => "; it could be one of decimals too: --decimal , says so",
    };
    (!parts.is_empty()).then(|| (format!("numbers with {}", parts.join(" and ")), doubt))
}

fn date_said(format: DateFormat) -> (String, &'static str) {
    let (what, doubt) = match format {
        DateFormat::YearFirst => ("dates", ""),
        DateFormat::DayFirst => (
            "dates, the day first",
            " (nothing in it shows which is which); --dates mdy reads the month first",
        ),
        DateFormat::MonthFirst => (
            "dates, the month first",
            " (nothing in it shows which is which); --dates dmy reads the day first",
        ),
        DateFormat::UnixSeconds => ("moments, in seconds since 1970", ""),
        DateFormat::UnixMilliseconds => ("moments, in thousandths of a second since 1970", ""),
    };
    (what.to_string(), doubt)
}

/// `column a`, `columns a, b and 3 more`.
fn columns(names: &[&str]) -> String {
    match names {
        [one] => format!("column {one}"),
        [first @ .., last] if names.len() <= 6 => format!("columns {} and {last}", first.join(", ")),
        names => format!("columns {} and {} more", names[..5].join(", "), names.len() - 5),
    }
}
