//! Raw data with answers as a set, to be evaluated on.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use kiln_data::{self as data, Dataset, Form, Set};
use kiln_map::{counted, nearest};

use super::raw::unsaid;
use super::{About, Task, listed};
use crate::preparation::{ImagePreparation, Preparation, TextColumns, TextPreparation};
use crate::{Error, Result};

/// Rows with answers.
pub struct Answered {
    /// The rows and their answers, as a model takes and gives them.
    pub set: Box<dyn Dataset>,
    /// What a person should know of how they came about.
    pub notes: Vec<String>,
}

impl About {
    /// A file or folder with answers as rows to evaluate the model on.
    ///
    /// # Errors
    /// Where it can't be read, lacks the answers, or the model takes something else.
    pub fn answered(&self, path: impl AsRef<Path>) -> Result<Answered> {
        let path = path.as_ref();
        let (set, notes): (Box<dyn Dataset>, _) = match &self.preparation {
            Preparation::Table(plan) => {
                let table = plan.reading().open(path)?;
                let target = plan.target().ok_or_else(|| {
                    Error::Preparation(
                        "the model's file doesn't say which column holds the answers; import it again with --target COLUMN"
                            .to_string(),
                    )
                })?;
                let rows = table.rows_with_all(&target.columns())?;
                (Box::new(plan.apply(&table, &rows)?), Vec::new())
            }
            Preparation::Images(images) => self.images(images, path)?,
            Preparation::Text(text) => match &text.columns {
                None => {
                    let codes = text.tokens.encode(&data::read_text(path)?);
                    (Box::new(data::Windows::new(codes, text.tokens.count(), text.window)?), Vec::new())
                }
                Some(columns) => (Box::new(self.labelled(text, columns, path)?), Vec::new()),
            },
            Preparation::Pairs(pairs) => {
                let table = pairs.reading().open(path)?;
                let rows = pairs.labelled(&pairs.pairs(&table)?);
                let rows = rows.map_err(|error| Error::format(path, error.to_string()))?;
                let note = (rows.left_out > 0).then(|| {
                    let pairs = counted(rows.left_out, "pair");
                    format!("{pairs} longer than the model sees at once left out")
                });
                (Box::new(rows.set), note.into_iter().collect())
            }
            Preparation::Forecast(series) => {
                let table = series.reading().open(path)?;
                (Box::new(series.held_out(&table)?), Vec::new())
            }
            Preparation::Tags(tags) => {
                let Task::Tags { names } = &self.task else { return Err(unsaid(self)) };
                let set = tags.labelled(&data::read_conll(path)?, names);
                (Box::new(set.map_err(|error| Error::format(path, error.to_string()))?), Vec::new())
            }
            Preparation::Unsaid => match self.input.numbers() {
                Some(width) => {
                    return Err(Error::Preparation(format!(
                        "the model takes rows of {}, and its file doesn't say of which columns; import it again with --columns and --target (kiln import --help)",
                        counted(width, "number")
                    )));
                }
                None => return Err(unsaid(self)),
            },
        };
        Ok(Answered { set, notes })
    }

    fn classes(&self) -> Result<&[String]> {
        match &self.task {
            Task::Classes { names } => Ok(names),
            Task::Numbers { .. } | Task::Text { .. } | Task::Tags { .. } | Task::Several { .. } => {
                Err(Error::Preparation("the model tells no classes apart".to_string()))
            }
        }
    }

    fn images(&self, images: &ImagePreparation, path: &Path) -> Result<(Box<dyn Dataset>, Vec<String>)> {
        let names = self.classes()?;
        let placed = |error: Error| Error::format(path, error.to_string());
        if data::is_mnist(path) || data::is_cifar10(path) {
            let (_, test) = if data::is_mnist(path) { data::mnist(path)? } else { data::cifar10(path)? };
            self.fits(&test).map_err(placed)?;
            return Ok((Box::new(by_class(test, names).map_err(placed)?), Vec::new()));
        }
        let (set, notes) = images.folder(path)?;
        Ok((Box::new(by_class(set, names).map_err(placed)?), notes))
    }

    /// Whether the model takes a set of images.
    ///
    /// # Errors
    /// Where they are of another size.
    pub fn fits(&self, set: &dyn Dataset) -> Result<()> {
        let (own, theirs) = (&self.input.shape, set.x().shape);
        match *own == theirs {
            true => Ok(()),
            false => Err(Error::Preparation(format!(
                "the model takes images of {own:?} (channels, height, width), and these are {theirs:?}"
            ))),
        }
    }

    /// A table of texts and their classes.
    fn labelled(&self, text: &TextPreparation, columns: &TextColumns, path: &Path) -> Result<Set> {
        let names = self.classes()?;
        let table = columns.reading().open(path)?;
        let labels = table.column(&columns.target)?;
        let places: HashMap<&str, i64> = names.iter().map(String::as_str).zip(0..).collect();
        let class = |row: usize| {
            let label = labels.cell(row).text().unwrap_or_default();
            places.get(label.as_ref()).copied().ok_or_else(|| {
                Error::Preparation(format!("row {}: the model doesn't know the class \"{label}\"", row + 1))
            })
        };
        let labels = (0..table.len()).map(class).collect::<Result<Vec<_>>>()?;
        let rows = text.rows(&table, &columns.text)?;
        let set = Set::new(rows.inputs().clone(), rows.x(), labels, Form::class(names.len()))?.named(names);
        match rows.lengths() {
            Some(lengths) => Ok(set.with_lengths(lengths.to_vec())?),
            None => Ok(set),
        }
    }
}

/// A set whose classes, which may be fewer or in another order, count as a model's do.
///
/// # Errors
/// Where a row is of a class that the model doesn't know.
pub fn by_class(set: Set, names: &[String]) -> Result<Set> {
    if set.names() == names {
        return Ok(set);
    }
    let count = set.y().codes().unwrap_or(0);
    let own = |class: usize| set.names().get(class).cloned().unwrap_or_else(|| class.to_string());
    let labels = set.labels()?;
    let occurring: HashSet<i64> = labels.iter().copied().collect();
    let known: HashMap<&str, i64> = names.iter().map(String::as_str).zip(0..).collect();
    let mut places = Vec::with_capacity(count);
    for class in 0..count {
        let place = known.get(own(class).as_str()).copied();
        if place.is_none() && occurring.contains(&(class as i64)) {
            let mend = match nearest(&own(class), names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("it knows {}", listed(names)),
            };
            return Err(Error::Preparation(format!(
                "the model doesn't know the class {}; {mend}",
                own(class)
            )));
        }
        places.push(place.unwrap_or(0));
    }
    let labels: Vec<i64> = labels.iter().map(|label| places[*label as usize]).collect();
    let own = Set::new(set.inputs().clone(), set.x(), labels, Form::class(names.len()))?.named(names);
    match set.lengths() {
        Some(lengths) => Ok(own.with_lengths(lengths.to_vec())?),
        None => Ok(own),
    }
}
