//! From cells to numbers a model takes. What is fitted (means, words, what stands for a missing value) comes from the rows that
//! are trained on alone, is kept with the model, and is applied unchanged ever after.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::column::{Cell, Column, ColumnKind};
use super::date::Moment;
use super::{Table, cell, nearest};
use crate::error::{Error, Result};
use crate::set::Set;
use crate::values::Form;

/// How a column becomes numbers, where the usual way isn't wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Less the mean, over the deviation: the usual way of numbers, but of whole ones of which there are only three to six, each often
    /// (such are mostly codes, and taken as words).
    Standard,
    /// From 0 to 1.
    MinMax,
    /// Less the median, over the range of the middle half.
    Robust,
    /// The logarithm of 1 and the amount (with its sign), standardised.
    Log,
    /// As it is.
    AsIs,
    /// A column of 0 and 1 for each word: the usual way of words. Numbers are taken as words.
    OneHot,
    /// The number of the word, from 1; 0 for a word that wasn't seen or is rare. For layers that learn a vector for each; these
    /// columns come last.
    Codes,
    /// Left out.
    Ignore,
}

/// What is asked of a preparation.
#[derive(Clone, Default)]
pub struct Choices {
    target: Option<String>,
    classes: Option<bool>,
    ways: Vec<(String, Way)>,
    maps: Vec<(String, Map)>,
    features: Vec<(String, Feature)>,
    rare: Option<usize>,
}

type Map = Arc<dyn Fn(f64) -> f64 + Send + Sync>;
type Feature = Arc<dyn Fn(&Row) -> f64 + Send + Sync>;

/// A row of a table, for features of one's own.
pub struct Row<'a> {
    table: &'a Table,
    row: usize,
}

impl Row<'_> {
    /// A cell, by its column; missing where there is no such column.
    pub fn cell(&self, column: &str) -> Cell<'_> {
        self.table.column(column).map_or(Cell::Missing, |column| column.cell(self.row))
    }

    /// A number, by its column; `NaN` where there is none.
    pub fn number(&self, column: &str) -> f64 {
        self.cell(column).number().unwrap_or(f64::NAN)
    }
}

impl Choices {
    /// Every column is an input, in its usual way.
    pub fn new() -> Choices {
        Choices::default()
    }

    /// The column to predict.
    pub fn target(self, column: impl Into<String>) -> Choices {
        Choices { target: Some(column.into()), ..self }
    }

    /// Whether the target is one of some classes; else it is a number. Without this it is classes where it has words, or whole
    /// numbers of which there are few.
    pub fn classes(self, classes: bool) -> Choices {
        Choices { classes: Some(classes), ..self }
    }

    /// The column to predict, if it was said.
    pub fn target_name(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// How a column becomes numbers.
    pub fn way(mut self, column: impl Into<String>, way: Way) -> Choices {
        self.ways.push((column.into(), way));
        self
    }

    /// What becomes of each number of a column, before anything else.
    pub fn map(
        mut self,
        column: impl Into<String>,
        f: impl Fn(f64) -> f64 + Send + Sync + 'static,
    ) -> Choices {
        self.maps.push((column.into(), Arc::new(f)));
        self
    }

    /// A further column of numbers, made from each row.
    pub fn feature(
        mut self,
        name: impl Into<String>,
        f: impl Fn(&Row) -> f64 + Send + Sync + 'static,
    ) -> Choices {
        self.features.push((name.into(), Arc::new(f)));
        self
    }

    /// Words that come less often than this share one place; 3 unless told otherwise.
    pub fn rare(self, count: usize) -> Choices {
        Choices { rare: Some(count), ..self }
    }
}

/// A fitted preparation. It serialises, unless closures are part of it.
///
/// ```
/// use kiln_data::{Choices, Dataset, Preparation, Table};
///
/// let table = Table::read(b"size,colour,price\n1,red,10\n2,blue,20\n,red,15\n4,grey,40\n9,green,7\n")?;
/// let train = [0, 1, 2, 3];
/// let preparation = Preparation::fit(&table, &train, &Choices::new().target("price").classes(false).rare(1))?;
/// assert_eq!(preparation.feature_names(), ["size", "size is missing", "colour=blue", "colour=grey", "colour=red"]);
/// let set = preparation.apply(&table, &[4])?;
/// // Larger than all that were seen, and of a colour that wasn't.
/// let batch = set.all()?;
/// assert!(batch.x.get(0).unwrap() > 2.0 && batch.x.get(2) == Some(0.0));
/// let again: Preparation = serde_json::from_value(preparation.to_json()?).unwrap();
/// assert_eq!(again.apply(&table, &[4])?.all()?, batch);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    inputs: Vec<Input>,
    target: Option<Target>,
    notes: Vec<String>,
    #[serde(skip)]
    own: Own,
}

/// Closures, which no file can hold.
#[derive(Clone, Default)]
struct Own {
    maps: Vec<(String, Map)>,
    features: Vec<(String, Feature)>,
}

/// A column that goes in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Input {
    name: String,
    #[serde(flatten)]
    how: How,
}

/// How it becomes numbers, with what was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "kebab-case")]
enum How {
    Amount {
        #[serde(flatten)]
        scale: Scale,
        /// What stands for a missing one, before it is scaled.
        fill: f64,
        /// Whether a column says where it was missing.
        indicator: bool,
    },
    OneHot {
        words: Vec<String>,
        /// Whether there is a place for rare and unseen words, and one for missing ones.
        other: bool,
        missing: bool,
    },
    Truth {
        /// The word that is 1; the other is 0.
        yes: String,
        no: String,
        /// What stands for a missing one.
        fill: f64,
    },
    Codes {
        words: Vec<String>,
    },
    Date {
        /// The parts, each with its own scale.
        parts: Vec<(Part, Scale)>,
    },
}

/// `(x - offset) * factor`, of the amount or its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Scale {
    offset: f64,
    factor: f64,
    #[serde(default)]
    log: bool,
}

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    Year,
    MonthSine,
    MonthCosine,
    Day,
    WeekdaySine,
    WeekdayCosine,
    HourSine,
    HourCosine,
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Target {
    /// One of some classes.
    Classes {
        /// The column.
        column: String,
        /// The classes, in order.
        names: Vec<String>,
    },
    /// A number. Models learn `(number - mean) / deviation`.
    Number {
        /// The column.
        column: String,
        /// The mean over the training rows.
        mean: f64,
        /// The deviation over the training rows.
        deviation: f64,
    },
}

impl Target {
    /// The column.
    pub fn column(&self) -> &str {
        match self {
            Target::Classes { column, .. } | Target::Number { column, .. } => column,
        }
    }
}

/// Whole numbers with at most so many values are taken for classes.
const MOST_CLASSES: usize = 20;
/// At most so many words have a place of their own.
const MOST_WORDS: usize = 100;

impl Preparation {
    /// Fits on these rows.
    ///
    /// # Errors
    /// Where a column that was named isn't there, nothing is left to learn from, or the target is missing, constant or of the wrong
    /// kind.
    pub fn fit(table: &Table, rows: &[usize], choices: &Choices) -> Result<Preparation> {
        if rows.is_empty() {
            return Err(table.placed(Error::new("there are no rows to fit to")));
        }
        let named =
            choices.ways.iter().map(|(name, _)| name).chain(choices.maps.iter().map(|(name, _)| name));
        for name in named.chain(&choices.target) {
            table.column(name)?;
        }
        let own = Own { maps: choices.maps.clone(), features: choices.features.clone() };
        let mut preparation = Preparation { inputs: Vec::new(), target: None, notes: Vec::new(), own };
        if let Some(name) = &choices.target {
            table.column(name)?;
            preparation.target = Some(Preparation::target_of(table, rows, choices)?);
        }
        for column in table.columns().iter().filter(|column| Some(column.name()) != choices.target.as_deref())
        {
            let way = choices.ways.iter().rev().find(|(name, _)| name == column.name()).map(|(_, way)| *way);
            let map = preparation.own.map(column.name());
            match fit_column(column, rows, way, map, choices.rare.unwrap_or(3)) {
                Ok(how) => preparation.inputs.push(Input { name: column.name().to_string(), how }),
                Err(Some(note)) => preparation.notes.push(format!("column {}: {note}", column.name())),
                Err(None) => {}
            }
        }
        for (name, feature) in &choices.features {
            let values: Vec<f64> = rows.iter().map(|&row| feature(&Row { table, row })).collect();
            match fit_amounts(&values, Way::Standard) {
                Ok(how) => preparation.inputs.push(Input { name: name.clone(), how }),
                Err(note) => preparation.notes.push(format!("feature {name}: {note}")),
            }
        }
        // Codes come last, so that a layer can tell them from amounts.
        preparation.inputs.sort_by_key(|input| matches!(input.how, How::Codes { .. }));
        if preparation.inputs.is_empty() {
            let notes = preparation.notes.join("; ");
            return Err(table.placed(Error::new(format!("no column is left to learn from: {notes}"))));
        }
        Ok(preparation)
    }

    /// What the target of these rows is, before a part of them is fitted to: a class that only stands in another part is one too.
    ///
    /// # Errors
    /// As [`Preparation::fit`], of the target.
    pub fn target_of(table: &Table, rows: &[usize], choices: &Choices) -> Result<Target> {
        let name = choices.target_name().ok_or_else(|| Error::new("no column to predict was named"))?;
        let fitted = fit_target(table.column(name)?, rows, choices.classes);
        fitted.map_err(|error| table.placed(at(table, error).in_column(name)))
    }

    /// The same with the target as [`Preparation::target_of`] found it.
    pub fn with_target(self, target: Target) -> Preparation {
        Preparation { target: Some(target), ..self }
    }

    /// What was noticed: columns that are left out, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is predicted.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// The names of the columns it reads.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// For each column it reads, which of the inputs come from it.
    pub fn groups(&self) -> Vec<(String, std::ops::Range<usize>)> {
        let mut start = 0;
        let group = |input: &Input| {
            let range = start..start + input.how.width();
            start = range.end;
            (input.name.clone(), range)
        };
        self.inputs.iter().map(group).collect()
    }

    /// How many numbers a row becomes.
    pub fn width(&self) -> usize {
        self.inputs.iter().map(|input| input.how.width()).sum()
    }

    /// For each column of codes, which come last, how many codes it has.
    pub fn vocabularies(&self) -> Vec<usize> {
        let codes = |input: &Input| match &input.how {
            How::Codes { words } => Some(words.len() + 1),
            _ => None,
        };
        self.inputs.iter().filter_map(codes).collect()
    }

    /// What each number of a row is.
    pub fn feature_names(&self) -> Vec<String> {
        self.inputs.iter().flat_map(|input| input.how.names(&input.name)).collect()
    }

    /// As JSON, to be kept with a model.
    ///
    /// # Errors
    /// Where closures are part of it.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        let closures =
            self.own.maps.iter().map(|(name, _)| name).chain(self.own.features.iter().map(|(name, _)| name));
        let closures: Vec<&str> = closures.map(String::as_str).collect();
        if !closures.is_empty() {
            return Err(Error::new(format!(
                "{} are made by code, which no file can hold; make them before the table is read",
                closures.join(", ")
            )));
        }
        serde_json::to_value(self)
            .map_err(|error| Error::new(format!("the preparation can't be written: {error}")))
    }

    /// These rows as inputs and targets.
    ///
    /// # Errors
    /// Where a column is missing or a cell doesn't fit; where a target is missing or of a class that wasn't there.
    pub fn apply(&self, table: &Table, rows: &[usize]) -> Result<Set> {
        let x = self.inputs(table, rows)?;
        let form = Form::numbers(&[self.width()]);
        match &self.target {
            None => Err(Error::new("the preparation was fitted without a target")),
            Some(Target::Classes { column, names }) => {
                let cells = table.column(column)?;
                let class = |&row: &usize| {
                    let text = cells.cell(row).text();
                    let class = text.as_ref().and_then(|text| names.iter().position(|name| name == text));
                    class.map(|class| class as i64).ok_or_else(|| {
                        let shown = text.as_deref().unwrap_or("nothing");
                        let message = format!("\"{shown}\" is none of the classes {}", names.join(", "));
                        fault(table, row, column, message)
                    })
                };
                let labels = rows.iter().map(class).collect::<Result<Vec<i64>>>()?;
                Ok(Set::new(x, form, labels, Form::class(names.len()))?.named(names))
            }
            Some(Target::Number { column, mean, deviation }) => {
                let cells = table.column(column)?;
                let number = |&row: &usize| match cells.cell(row).number() {
                    Some(number) => Ok(((number - mean) / deviation) as f32),
                    None => Err(fault(table, row, column, "the number to predict is missing".to_string())),
                };
                let y = rows.iter().map(number).collect::<Result<Vec<f32>>>()?;
                Set::numbers(x, form, y, 1)
            }
        }
    }

    /// These rows as inputs alone, `[rows, width]`.
    ///
    /// # Errors
    /// Where columns are missing, all of them named with the nearest there is; where a cell doesn't fit.
    pub fn inputs(&self, table: &Table, rows: &[usize]) -> Result<Vec<f32>> {
        let own =
            |name: &str| self.own.features.iter().find(|(own, _)| own == name).map(|(_, feature)| feature);
        let missing: Vec<&str> = self
            .columns()
            .filter(|name| own(name).is_none() && !table.names().any(|own| own == *name))
            .collect();
        if !missing.is_empty() {
            let mend = |name: &&str| match nearest::nearest(name, table.names()) {
                Some(near) => format!("\"{name}\" (is it \"{near}\"?)"),
                None => format!("\"{name}\""),
            };
            let list = missing.iter().map(mend).collect::<Vec<_>>().join(", ");
            return Err(
                table.placed(Error::new(format!("the model needs columns that aren't there: {list}")))
            );
        }
        let width = self.width();
        let mut x = vec![0f32; rows.len() * width];
        for (input, (_, places)) in self.inputs.iter().zip(self.groups()) {
            let targets = x.chunks_exact_mut(width).map(|row| &mut row[places.clone()]);
            if let Some(feature) = own(&input.name) {
                let How::Amount { scale, fill, indicator } = &input.how else { continue };
                for (&row, target) in rows.iter().zip(targets) {
                    amount(feature(&Row { table, row }), scale, *fill, *indicator, target);
                }
                continue;
            }
            let column = table.column(&input.name)?;
            let map = self.own.map(&input.name);
            for (&row, target) in rows.iter().zip(targets) {
                input
                    .how
                    .write(column.cell(row), map, target)
                    .map_err(|message| fault(table, row, &input.name, message))?;
            }
        }
        Ok(x)
    }
}

fn fault(table: &Table, row: usize, column: &str, message: String) -> Error {
    let error = Error::new(message).in_column(column);
    table.placed(match table.line(row) {
        Some(line) => error.at_line(line),
        None => error,
    })
}

/// A fault whose line is a row's number yet.
fn at(table: &Table, error: Error) -> Error {
    let line = error.line.and_then(|row| table.line(row as usize));
    Error { line, ..error }
}

impl Own {
    fn map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|(own, _)| own == name).map(|(_, map)| map)
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.maps.iter().map(|(name, _)| name).collect();
        write!(f, "{names:?}, {:?}", self.features.iter().map(|(name, _)| name).collect::<Vec<_>>())
    }
}

impl PartialEq for Own {
    /// Closures are equal if they are the same.
    fn eq(&self, other: &Own) -> bool {
        let maps = self.maps.iter().zip(&other.maps).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1));
        let features =
            self.features.iter().zip(&other.features).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1));
        self.maps.len() == other.maps.len() && self.features.len() == other.features.len() && maps && features
    }
}

fn fit_target(column: &Column, rows: &[usize], classes: Option<bool>) -> Result<Target> {
    let name = column.name().to_string();
    if let Some(&row) = rows.iter().find(|&&row| column.cell(row) == Cell::Missing) {
        let count = rows.iter().filter(|&&row| column.cell(row) == Cell::Missing).count();
        let message = format!("what is to be predicted is missing in {count} rows; leave them out");
        return Err(Error::new(message).at_line(row as u64));
    }
    let numbers = || rows.iter().map(|&row| column.cell(row).number().unwrap_or(f64::NAN));
    let mut values: Vec<f64> = numbers().collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let whole = values.iter().all(|value| value.fract() == 0.0);
    let few = values.len() <= MOST_CLASSES && (values.len() * 5 <= rows.len() || values.len() == 2);
    let is_classes = classes.unwrap_or(column.kind() != ColumnKind::Number || whole && few);
    if !is_classes {
        if column.kind() != ColumnKind::Number {
            return Err(Error::new(format!("it holds a {}, which is no number to predict", column.kind())));
        }
        let (mean, deviation) = moments(numbers());
        if deviation == 0.0 {
            return Err(Error::new(format!("it is {mean} in every row; there is nothing to learn")));
        }
        return Ok(Target::Number { column: name, mean, deviation });
    }
    let mut names: Vec<String> = match column.kind() {
        ColumnKind::Number => values.iter().map(|&value| cell::word(value)).collect(),
        _ => {
            let words: std::collections::BTreeSet<String> = rows
                .iter()
                .filter_map(|&row| column.cell(row).text())
                .map(|text| text.into_owned())
                .collect();
            words.into_iter().collect()
        }
    };
    names.dedup();
    if let [only] = names.as_slice() {
        return Err(Error::new(format!("it is \"{only}\" in every row; there is nothing to learn")));
    }
    Ok(Target::Classes { column: name, names })
}

/// How a column goes in; or why it doesn't, if that is worth a note.
fn fit_column(
    column: &Column,
    rows: &[usize],
    way: Option<Way>,
    map: Option<&Map>,
    rare: usize,
) -> Result<How, Option<String>> {
    if way == Some(Way::Ignore) {
        return Err(None);
    }
    let present = rows.iter().filter(|&&row| column.cell(row) != Cell::Missing).count();
    if present == 0 {
        return Err(Some("left out, because every value is missing".to_string()));
    }
    let as_words = matches!(way, Some(Way::OneHot | Way::Codes));
    match column.kind() {
        ColumnKind::Date if !as_words => fit_date(column, rows).map_err(Some),
        ColumnKind::Number if way.is_none() && map.is_none() && is_code(column, rows) => {
            fit_words(column, rows, Some(Way::OneHot), rare).map_err(Some)
        }
        ColumnKind::Number if !as_words => {
            let number = |&row: &usize| {
                let number = column.cell(row).number().unwrap_or(f64::NAN);
                map.map_or(number, |map| map(number))
            };
            let values: Vec<f64> = rows.iter().map(number).collect();
            fit_amounts(&values, way.unwrap_or(Way::Standard)).map_err(Some)
        }
        _ => fit_words(column, rows, way, rare).map_err(Some),
    }
}

/// Whether whole numbers are more likely the codes of some kinds than amounts: where there are only a few of them, often each.
fn is_code(column: &Column, rows: &[usize]) -> bool {
    const MOST: usize = 6;
    let mut counts: Vec<(f64, usize)> = Vec::new();
    for number in rows.iter().filter_map(|&row| column.cell(row).number()) {
        match counts.iter().position(|(known, _)| *known == number) {
            Some(at) => counts[at].1 += 1,
            None if counts.len() == MOST || number.fract() != 0.0 => return false,
            None => counts.push((number, 1)),
        }
    }
    counts.len() > 2 && rows.len() >= 20 * counts.len()
}

fn fit_amounts(values: &[f64], way: Way) -> Result<How, String> {
    let mut known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let indicator = known.len() < values.len();
    if known.is_empty() {
        return Err("left out, because every value is missing".to_string());
    }
    known.sort_by(f64::total_cmp);
    let at = |share: f64| known[((known.len() - 1) as f64 * share).round() as usize];
    let (least, most) = (at(0.0), at(1.0));
    if least == most && !indicator {
        return Err(format!("left out, because it is {least} in every row"));
    }
    let median = at(0.5);
    let over = |spread: f64| if spread > 0.0 { 1.0 / spread } else { 1.0 };
    let scale = match way {
        Way::MinMax => Scale { offset: least, factor: over(most - least), log: false },
        Way::Robust => Scale { offset: median, factor: over(at(0.75) - at(0.25)), log: false },
        Way::AsIs => Scale { offset: 0.0, factor: 1.0, log: false },
        Way::Log => {
            let (mean, deviation) = moments(known.iter().map(|&value| logarithm(value)));
            Scale { offset: mean, factor: over(deviation), log: true }
        }
        _ => {
            let (mean, deviation) = moments(known.iter().copied());
            Scale { offset: mean, factor: over(deviation), log: false }
        }
    };
    Ok(How::Amount { scale, fill: median, indicator })
}

fn fit_words(column: &Column, rows: &[usize], way: Option<Way>, rare: usize) -> Result<How, String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut missing = 0;
    for &row in rows {
        match column.cell(row).text() {
            Some(text) => *counts.entry(text.into_owned()).or_default() += 1,
            None => missing += 1,
        }
    }
    let distinct = counts.len();
    if distinct == 1 && missing == 0 {
        let only = counts.keys().next().map_or("", String::as_str);
        return Err(format!("left out, because it is \"{only}\" in every row"));
    }
    if way.is_none() && distinct > 20 && 2 * distinct > rows.len() {
        return Err("left out, because nearly every row has a word of its own".to_string());
    }
    if way.is_none() && distinct == 2 && counts.values().all(|&count| count >= rare) {
        let mut words: Vec<(String, usize)> = counts.into_iter().collect();
        // The word that says yes, else the later one.
        if cell::truth(&words[0].0) == Some(true) && cell::truth(&words[1].0) == Some(false) {
            words.swap(0, 1);
        }
        let all = (words[0].1 + words[1].1) as f64;
        let fill = words[1].1 as f64 / all;
        let [no, yes] = [words.swap_remove(0).0, words.swap_remove(0).0];
        return Ok(How::Truth { yes, no, fill });
    }
    let mut words: Vec<(String, usize)> = counts.into_iter().filter(|(_, count)| *count >= rare).collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    words.truncate(MOST_WORDS);
    if words.is_empty() {
        return Err("left out, because no word comes often enough to learn from".to_string());
    }
    let mut words: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
    words.sort();
    Ok(match way {
        Some(Way::Codes) => How::Codes { words },
        _ => How::OneHot { other: words.len() < distinct, missing: missing > 0, words },
    })
}

fn fit_date(column: &Column, rows: &[usize]) -> Result<How, String> {
    let known = || {
        rows.iter().filter_map(|&row| match column.cell(row) {
            Cell::Date { seconds, timed } => Some((Moment::of(seconds), timed)),
            _ => None,
        })
    };
    use Part::*;
    let mut parts = vec![Year, MonthSine, MonthCosine, Day, WeekdaySine, WeekdayCosine];
    if known().any(|(_, timed)| timed) {
        parts.extend([HourSine, HourCosine]);
    }
    let fitted = |part: Part| {
        let (offset, deviation) = moments(known().map(|(moment, _)| part.of(&moment)));
        (deviation > 1e-12).then(|| (part, Scale { offset, factor: 1.0 / deviation, log: false }))
    };
    let parts: Vec<(Part, Scale)> = parts.into_iter().filter_map(fitted).collect();
    match parts.is_empty() {
        true => Err("left out, because it is the same date in every row".to_string()),
        false => Ok(How::Date { parts }),
    }
}

/// Mean and deviation.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / count).sqrt();
    // What is left of equal numbers by rounding is no spread.
    (mean, if deviation > 1e-12 * mean.abs() { deviation } else { 0.0 })
}

fn logarithm(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

impl Scale {
    fn of(&self, value: f64) -> f32 {
        let value = if self.log { logarithm(value) } else { value };
        ((value - self.offset) * self.factor) as f32
    }
}

impl Part {
    fn of(self, moment: &Moment) -> f64 {
        let turn = |share: f64| (share * std::f64::consts::TAU).sin_cos();
        match self {
            Part::Year => moment.year as f64,
            Part::Day => moment.day as f64,
            Part::MonthSine => turn((moment.month - 1) as f64 / 12.0).0,
            Part::MonthCosine => turn((moment.month - 1) as f64 / 12.0).1,
            Part::WeekdaySine => turn(moment.weekday as f64 / 7.0).0,
            Part::WeekdayCosine => turn(moment.weekday as f64 / 7.0).1,
            Part::HourSine => turn(moment.second as f64 / 86_400.0).0,
            Part::HourCosine => turn(moment.second as f64 / 86_400.0).1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Part::Year => "year",
            Part::Day => "day",
            Part::MonthSine => "month sine",
            Part::MonthCosine => "month cosine",
            Part::WeekdaySine => "weekday sine",
            Part::WeekdayCosine => "weekday cosine",
            Part::HourSine => "hour sine",
            Part::HourCosine => "hour cosine",
        }
    }
}

/// Writes an amount, and where wanted whether it was missing.
fn amount(value: f64, scale: &Scale, fill: f64, indicator: bool, target: &mut [f32]) {
    let missing = !value.is_finite();
    target[0] = scale.of(if missing { fill } else { value });
    if indicator {
        target[1] = f32::from(u8::from(missing));
    }
}

impl How {
    fn width(&self) -> usize {
        match self {
            How::Amount { indicator, .. } => 1 + usize::from(*indicator),
            How::OneHot { words, other, missing } => {
                words.len() + usize::from(*other) + usize::from(*missing)
            }
            How::Truth { .. } | How::Codes { .. } => 1,
            How::Date { parts } => parts.len(),
        }
    }

    fn names(&self, column: &str) -> Vec<String> {
        match self {
            How::Amount { indicator, .. } => {
                let missing = indicator.then(|| format!("{column} is missing"));
                std::iter::once(column.to_string()).chain(missing).collect()
            }
            How::OneHot { words, other, missing } => {
                let other = other.then(|| format!("{column} is another"));
                let missing = missing.then(|| format!("{column} is missing"));
                words.iter().map(|word| format!("{column}={word}")).chain(other).chain(missing).collect()
            }
            How::Truth { yes, .. } => vec![format!("{column}={yes}")],
            How::Codes { .. } => vec![column.to_string()],
            How::Date { parts } => {
                parts.iter().map(|(part, _)| format!("{column} {}", part.name())).collect()
            }
        }
    }

    /// Writes a cell's numbers.
    fn write(&self, cell: Cell, map: Option<&Map>, target: &mut [f32]) -> Result<(), String> {
        match self {
            How::Amount { scale, fill, indicator } => {
                let value = match (cell, cell.number()) {
                    (_, Some(number)) => map.map_or(number, |map| map(number)),
                    (Cell::Missing, None) => f64::NAN,
                    (cell, None) => {
                        let shown = cell.text().unwrap_or_default();
                        return Err(format!("\"{shown}\" is no number, as this column was in training"));
                    }
                };
                amount(value, scale, *fill, *indicator, target);
            }
            How::OneHot { words, other, missing } => {
                let found = cell.text().map(|text| words.binary_search_by(|word| word.as_str().cmp(&text)));
                let place = match found {
                    Some(Ok(word)) => Some(word),
                    Some(Err(_)) => other.then_some(words.len()),
                    None => missing.then_some(words.len() + usize::from(*other)),
                };
                if let Some(place) = place {
                    target[place] = 1.0;
                }
            }
            How::Truth { yes, no, fill } => {
                target[0] = match cell.text() {
                    Some(text) if text == *yes => 1.0,
                    Some(text) if text == *no => 0.0,
                    _ => *fill as f32,
                };
            }
            How::Codes { words } => {
                let found =
                    cell.text().and_then(|text| words.binary_search_by(|word| word.as_str().cmp(&text)).ok());
                target[0] = found.map_or(0.0, |word| (word + 1) as f32);
            }
            How::Date { parts } => match cell {
                Cell::Date { seconds, .. } => {
                    let moment = Moment::of(seconds);
                    for (target, (part, scale)) in target.iter_mut().zip(parts) {
                        *target = scale.of(part.of(&moment));
                    }
                }
                // The mean of each part.
                Cell::Missing => target.fill(0.0),
                cell => {
                    let shown = cell.text().unwrap_or_default();
                    return Err(format!("\"{shown}\" is no date, as this column was in training"));
                }
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    fn fit(text: &str, rows: std::ops::Range<usize>, choices: &Choices) -> (Table, Preparation) {
        let table = Table::read(text.as_bytes()).unwrap();
        let preparation = Preparation::fit(&table, &Vec::from_iter(rows), choices).unwrap();
        (table, preparation)
    }

    fn error(text: &str, choices: &Choices) -> String {
        let table = Table::read(text.as_bytes()).unwrap();
        Preparation::fit(&table, &Vec::from_iter(0..table.rows()), choices).unwrap_err().to_string()
    }

    #[test]
    fn statistics_come_from_the_training_rows_alone() {
        let choices = Choices::new().target("y");
        let (table, first) = fit("a,w,y\n1,p,0\n3,q,1\n2,p,0\n9,p,1\n", 0..3, &choices);
        let (_, second) = fit("a,w,y\n1,p,0\n3,q,1\n2,p,0\n999,zzz,1\n", 0..3, &choices);
        assert_eq!(first, second);
        let x = first.inputs(&table, &[0, 1, 2]).unwrap();
        let a: Vec<f32> = x.chunks(first.width()).map(|row| row[0]).collect();
        assert!((a.iter().sum::<f32>()).abs() < 1e-6);
        assert!((a.iter().map(|x| x * x).sum::<f32>() - 3.0).abs() < 1e-5);
    }

    #[test]
    fn each_way_does_what_it_says() {
        let text = "a,y\n0,0\n10,1\n20,0\n30,1\n40,0\n";
        let numbers = |way: Way| {
            let (table, preparation) = fit(text, 0..5, &Choices::new().target("y").way("a", way));
            preparation.inputs(&table, &[0, 1, 2, 3, 4]).unwrap()
        };
        assert_eq!(numbers(Way::MinMax), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(numbers(Way::Robust), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(numbers(Way::AsIs), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert!(numbers(Way::Log)[1] > numbers(Way::Standard)[1]);
        assert_eq!(fit(text, 0..5, &Choices::new().target("y").way("a", Way::OneHot).rare(1)).1.width(), 5);
        assert_eq!(
            fit(text, 0..5, &Choices::new().target("y").way("a", Way::Codes).rare(1)).1.vocabularies(),
            [6]
        );
        let ignored = error(text, &Choices::new().target("y").way("a", Way::Ignore));
        assert!(ignored.contains("no column is left"), "{ignored}");
    }

    #[test]
    fn rare_and_unseen_words_share_a_place_and_missing_ones_have_theirs() {
        let text = "w,y\na,0\na,1\nb,0\nb,1\nc,0\n,1\nd,0\n";
        let (table, preparation) = fit(text, 0..6, &Choices::new().target("y").rare(2));
        assert_eq!(preparation.feature_names(), ["w=a", "w=b", "w is another", "w is missing"]);
        let x = preparation.inputs(&table, &[0, 4, 5, 6]).unwrap();
        assert_eq!(x, [1., 0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0., 0., 1., 0.]);
    }

    #[test]
    fn two_words_are_one_number_and_dates_are_parts() {
        let text = "smokes,when,y\nyes,2024-01-15,0\nno,2024-07-15,1\nyes,2025-03-01,0\n,,1\n";
        let (table, preparation) = fit(text, 0..4, &Choices::new().target("y").rare(1));
        let names = preparation.feature_names();
        assert_eq!(names[..2], ["smokes=yes", "when year"]);
        let x = preparation.inputs(&table, &[0, 1, 3]).unwrap();
        let column = |at: usize| x.chunks(preparation.width()).map(|row| row[at]).collect::<Vec<_>>();
        assert_eq!(column(0), [1.0, 0.0, 2.0 / 3.0]);
        assert_eq!(column(1)[2], 0.0, "a missing date is a mean one");
        assert!(x.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn missing_numbers_are_filled_and_told() {
        let (table, preparation) = fit("a,y\n1,0\n,1\n3,0\n5,1\n", 0..4, &Choices::new().target("y"));
        let x = preparation.inputs(&table, &[1, 2]).unwrap();
        assert_eq!(x[0], x[2], "the median stands for it");
        assert_eq!((x[1], x[3]), (1.0, 0.0));
    }

    #[test]
    fn columns_of_no_use_are_left_out_and_said() {
        let mut text = "same,none,id,a,y\n".to_string();
        for row in 0..50 {
            text += &format!("7,,name{row},{},{}\n", row % 7, row % 2);
        }
        let (_, preparation) = fit(&text, 0..50, &Choices::new().target("y"));
        assert_eq!(preparation.feature_names(), ["a"]);
        let notes = preparation.notes().join("\n");
        for part in [
            "same: left out, because it is 7",
            "none: left out, because every value",
            "id: left out, because nearly",
        ] {
            assert!(notes.contains(part), "{notes}");
        }
    }

    #[test]
    fn targets_are_classes_or_numbers_and_their_faults_are_said() {
        let target = |text: &str| {
            fit(text, 0..text.lines().count() - 1, &Choices::new().target("y")).1.target.unwrap()
        };
        let few: String =
            "a,y\n".to_string() + &(0..30).map(|row| format!("{row},{}\n", row % 3)).collect::<String>();
        assert!(matches!(target(&few), Target::Classes { names, .. } if names == ["0", "1", "2"]));
        let many: String =
            "a,y\n".to_string() + &(0..30).map(|row| format!("{row},{row}\n")).collect::<String>();
        assert!(matches!(target(&many), Target::Number { mean, .. } if mean == 14.5));
        assert!(
            matches!(target("a,y\n1,no\n2,yes\n"), Target::Classes { names, .. } if names == ["no", "yes"])
        );
        let choices = Choices::new().target("y");
        assert!(error("a,y\n1,x\n2,x\n", &choices).contains("column y: it is \"x\" in every row"));
        assert!(error("a,y\n1,x\n2,\n3,z\n", &choices).contains("missing in 1 rows"));
        assert!(error("a,y\n1,x\n2,z\n", &Choices::new().target("Y1")).contains("did you mean \"y\"?"));
        assert!(error("a,y\n1,x\n2,z\n", &choices.classes(false)).contains("no number to predict"));
    }

    #[test]
    fn other_tables_are_refused_where_they_do_not_fit() {
        let (_, preparation) = fit("age,bp,y\n1,2,0\n3,4,1\n", 0..2, &Choices::new().target("y"));
        let error = |text: &str| {
            let table = Table::read(text.as_bytes()).unwrap();
            preparation.inputs(&table, &[0]).unwrap_err().to_string()
        };
        let missing = error("agee,x\n1,2\n");
        assert!(missing.contains("\"age\" (is it \"agee\"?)") && missing.contains("\"bp\""), "{missing}");
        assert!(error("age,bp\nold,2\n").contains("line 2, column age: \"old\" is no number"));
        let table = Table::read(b"extra,bp,age,y\n9,2,1,0\n").unwrap();
        assert_eq!(preparation.apply(&table, &[0]).unwrap().len(), 1);
        let class = Table::read(b"bp,age,y\n2,1,5\n").unwrap();
        assert!(
            preparation.apply(&class, &[0]).unwrap_err().to_string().contains("\"5\" is none of the classes")
        );
    }

    #[test]
    fn closures_join_and_cannot_be_written() {
        let choices = Choices::new()
            .target("y")
            .map("a", |a| a * a)
            .feature("ratio", |row| row.number("a") / row.number("b"))
            .way("a", Way::AsIs);
        let (table, preparation) = fit("a,b,y\n1,2,0\n3,4,1\n", 0..2, &choices);
        assert_eq!(preparation.feature_names(), ["a", "b", "ratio"]);
        let x = preparation.inputs(&table, &[1]).unwrap();
        assert_eq!((x[0], x[2]), (9.0, 1.0));
        assert!(preparation.to_json().unwrap_err().to_string().contains("ratio"));
    }

    #[test]
    fn a_preparation_comes_back_from_its_file() {
        let text = "a,w,d,y\n1.1,p,2024-01-01,0.3\n2.7,q,2024-05-01T10:00,0.7\n,p,2023-01-01,0.1\n4,q,,0.2\n";
        let (table, preparation) = fit(text, 0..4, &Choices::new().target("y").rare(1).way("a", Way::Log));
        let text = preparation.to_json().unwrap().to_string();
        let again: Preparation = serde_json::from_str(&text).unwrap();
        assert_eq!(again, preparation);
        let rows = [0, 1, 2, 3];
        assert_eq!(
            again.apply(&table, &rows).unwrap().all().unwrap(),
            preparation.apply(&table, &rows).unwrap().all().unwrap()
        );
    }
}
