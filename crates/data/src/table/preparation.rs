//! A table prepared as numbers for a model: fitted on training rows only, stored with the model, and applied unchanged ever after.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use kiln_map::{Budget, nearest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::choices::{Choices, Row, RowTransform};
use super::column::{Column, ColumnKind};
use super::feature::{Encoding, Feature, Scale, Vocabulary};
use super::fit::fit_column;
use super::format::CellFormat;
use super::summary::{ColumnSummary, SummarisedColumn};
use super::target::TargetColumn;
use super::unknown::unknown_column;
use super::{FileFormat, Reading, Table};
use crate::error::{Error, Result};
use crate::set::Set;
use crate::values::Form;

/// How a table's rows become inputs and targets. Everything in it comes from the rows it was fitted on.
///
/// A row's inputs are `f32`: first amounts, the columns in the table's order; then what [`Choices::computed`] adds; then the codes
/// of columns treated as [`Treatment::Codes`](crate::Treatment::Codes), as many as [`TablePreparation::vocabularies`] says, each a
/// whole number below its vocabulary's size.
///
/// ```
/// use kiln_data::{Choices, Dataset, TablePreparation, Table};
///
/// let table = Table::read(b"age,sex,ill\n63,male,yes\n41,female,no\n,male,no\n55,female,yes\n")?;
/// let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new().target("ill"))?;
/// assert_eq!(plan.feature_names(), ["age", "age is missing", "sex=male"]);
///
/// let train = plan.apply(&table, &[0, 1, 2])?;
/// assert_eq!((train.len(), train.names()), (3, &["no".to_string(), "yes".to_string()][..]));
///
/// let stored = plan.to_json()?;
/// let new = Table::read(b"sex,age\nmale,70\n")?;
/// let inputs = TablePreparation::from_json(&stored)?.apply_inputs(&new)?;
/// assert_eq!((inputs.rows, inputs.values[2]), (1, 1.0));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone)]
pub struct TablePreparation {
    stored: StoredPreparation,
    own: Vec<Arc<dyn RowTransform>>,
}

/// What of a preparation is data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPreparation {
    version: u32,
    features: Vec<Feature>,
    target: Option<TargetColumn>,
    /// How the target's cells are written.
    #[serde(default, skip_serializing_if = "CellFormat::is_plain")]
    target_format: CellFormat,
    /// What was told of how its file is written.
    #[serde(default, skip_serializing_if = "FileFormat::is_unsaid")]
    file: FileFormat,
    /// All columns of the table it was fitted on.
    columns: Vec<String>,
    notes: Vec<String>,
}

const VERSION: u32 = 1;

/// The inputs of rows whose target isn't known.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMatrix {
    /// `[rows, width]`
    pub values: Vec<f32>,
    /// How many inputs a row has.
    pub width: usize,
    /// How many rows there are.
    pub rows: usize,
    /// What a person should know: columns that aren't used, words that training didn't have.
    pub notes: Vec<String>,
}

impl TablePreparation {
    /// Fits a preparation to these rows of a table, those that will be trained on. No other row has any influence.
    ///
    /// # Errors
    /// Where there is no row, a name isn't known, a treatment doesn't suit its column, or the target is missing, constant or
    /// can't be learned.
    pub fn fit(table: &Table, rows: &[usize], choices: &Choices) -> Result<TablePreparation> {
        TablePreparation::fit_rows(table, rows, choices).map_err(|error| match error.file {
            None => table.place(None, error),
            Some(_) => error,
        })
    }

    /// Columns of numbers as they are, in this order, which nothing was fitted for: what a model from elsewhere takes. A missing number
    /// counts as 0.
    ///
    /// ```
    /// use kiln_data::{TablePreparation, Table};
    ///
    /// let plan = TablePreparation::plain(["b", "a"])?;
    /// let inputs = plan.apply_inputs(&Table::read(b"a,b\n1,2\n3,4\n")?)?;
    /// assert_eq!(inputs.values, [2.0, 1.0, 4.0, 3.0]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where there is no column, or one is named twice.
    pub fn plain(columns: impl IntoIterator<Item = impl Into<String>>) -> Result<TablePreparation> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        if columns.is_empty() {
            return Err(Error::new("a preparation needs a column"));
        }
        if let Some((at, twice)) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name))
        {
            return Err(Error::new(format!("column {} is {twice}, which was named before", at + 1)));
        }
        let encoding = Encoding::Number { scale: Scale::PLAIN, fill: 0.0, flag: false };
        let feature = |column: &String| Feature {
            column: column.clone(),
            kind: ColumnKind::Number,
            encoding: encoding.clone(),
            format: CellFormat::PLAIN,
        };
        let features = columns.iter().map(feature).collect();
        let stored = StoredPreparation {
            version: VERSION,
            features,
            target: None,
            target_format: CellFormat::PLAIN,
            file: FileFormat::default(),
            columns,
            notes: Vec::new(),
        };
        Ok(TablePreparation { stored, own: Vec::new() })
    }

    fn fit_rows(table: &Table, rows: &[usize], choices: &Choices) -> Result<TablePreparation> {
        if let Some(row) = rows.iter().find(|row| **row >= table.len()) {
            return Err(Error::new(format!("there is no row {row}; the table has {}", table.len())));
        }
        let target = choices.targets.first().and_then(|target| table.column(target).ok());
        let summarise = |column: &Column| {
            let mut summary = ColumnSummary::new(true);
            summary.extend(column, target, 0, rows.iter().copied());
            SummarisedColumn {
                name: column.name().to_string(),
                kind: column.kind(),
                format: column.format().clone(),
                unnamed: table.unnamed.as_deref() == Some(column.name()),
                summary,
            }
        };
        let summaries: Vec<_> = table.columns().iter().map(summarise).collect();
        let plan = TablePreparation::of(&summaries, choices)?.of_file(table.file_format());
        if let Some(target) = plan.target() {
            // A row without a target is named before anything is trained.
            target.values(table, rows)?;
        }
        Ok(plan)
    }

    /// A preparation from what is known of each column.
    pub(super) fn of(columns: &[SummarisedColumn], choices: &Choices) -> Result<TablePreparation> {
        let names = || columns.iter().map(|column| column.name.as_str());
        let chosen = choices.treatments.iter().map(|(name, _)| name).chain(&choices.targets);
        if let Some(name) = chosen.into_iter().find(|chosen| names().all(|name| name != *chosen)) {
            return Err(unknown_column(name, names().collect::<Vec<_>>().iter().copied()));
        }
        if columns.iter().all(|column| column.summary.rows == 0) {
            return Err(Error::new("a preparation needs rows to be fitted on"));
        }
        let is_target = |column: &&SummarisedColumn| choices.targets.contains(&column.name);
        let (fitted, target_format) = TargetColumn::chosen(columns, choices)?;
        let inputs: Vec<&SummarisedColumn> = columns.iter().filter(|column| !is_target(column)).collect();
        let (mut features, mut notes) = (Vec::new(), Vec::new());
        // Where nothing else is there, what counts the rows is what there is to learn from.
        for with_counts in [false, true] {
            if with_counts && !(features.is_empty() && choices.own.is_empty()) {
                break;
            }
            notes.clear();
            for column in &inputs {
                features.extend(fit_column(column, choices, with_counts, &mut notes)?);
            }
        }
        // Amounts come before codes; the sort keeps each in the table's order.
        features.sort_by_key(|feature| feature.codes().is_some());
        let columns = names().map(str::to_string).collect();
        let (target, file) = (fitted, FileFormat::default());
        let stored =
            StoredPreparation { version: VERSION, features, target, target_format, file, columns, notes };
        let plan = TablePreparation { stored, own: choices.own.clone() };
        if plan.width() == 0 {
            let notes = plan.notes().join("; ");
            return Err(Error::new(format!("no column is left to learn from: {notes}")));
        }
        Ok(plan)
    }

    /// The same, of a file that is written so.
    pub(super) fn of_file(mut self, file: &FileFormat) -> TablePreparation {
        self.stored.file.clone_from(file);
        self
    }

    /// How many inputs a row has.
    pub fn width(&self) -> usize {
        self.feature_names().len()
    }

    /// The name of each input.
    pub fn feature_names(&self) -> Vec<String> {
        let (codes, amounts): (Vec<_>, Vec<_>) =
            self.stored.features.iter().partition(|feature| feature.codes().is_some());
        let names = amounts.into_iter().flat_map(Feature::names);
        let own = self.own.iter().flat_map(|own| own.names());
        names.chain(own).chain(codes.into_iter().flat_map(Feature::names)).collect()
    }

    /// The columns whose codes are the last inputs, in order, with their vocabularies: an embedding needs as many rows as
    /// [`Vocabulary::size`] says.
    pub fn vocabularies(&self) -> Vec<(&str, &Vocabulary)> {
        let coded = |feature: &'_ Feature| feature.codes().is_some();
        let features = self.stored.features.iter().filter(|feature| coded(feature));
        features.filter_map(|feature| Some((feature.column.as_str(), feature.codes()?))).collect()
    }

    /// Each column and how its values become inputs, in the order of the inputs.
    pub fn features(&self) -> &[Feature] {
        &self.stored.features
    }

    /// What is predicted.
    pub fn target(&self) -> Option<&TargetColumn> {
        self.stored.target.as_ref()
    }

    /// The columns it reads, each with the place and number of its inputs.
    pub fn groups(&self) -> Vec<(String, std::ops::Range<usize>)> {
        let mut start = 0;
        let mut group = |name: String, width: usize| {
            let range = start..start + width;
            start = range.end;
            (name, range)
        };
        let (codes, amounts): (Vec<_>, Vec<_>) =
            self.stored.features.iter().partition(|feature| feature.codes().is_some());
        let mut groups: Vec<_> =
            amounts.iter().map(|feature| group(feature.column.clone(), feature.names().len())).collect();
        groups.extend(self.own.iter().map(|own| group(own.names().join(", "), own.names().len())));
        groups.extend(codes.iter().map(|feature| group(feature.column.clone(), 1)));
        groups
    }

    /// The same with another target, that of more rows: a class that stands in none of the training rows is one too.
    pub fn with_target(mut self, target: TargetColumn) -> TablePreparation {
        self.stored.target = Some(target);
        self
    }

    /// What a person should know: columns that were left out, and why.
    pub fn notes(&self) -> &[String] {
        &self.stored.notes
    }

    /// How to read a table this is applied to: its columns hold what they held in training, whatever the new rows look like.
    pub fn reading(&self) -> Reading {
        let features = &self.stored.features;
        let kinds = features.iter().map(|feature| (feature.column.clone(), feature.kind));
        let of_target = match self.target() {
            None => Vec::new(),
            Some(several @ (TargetColumn::Numbers { .. } | TargetColumn::Several { .. })) => {
                several.formats()
            }
            Some(one) => vec![(one.columns().concat(), self.stored.target_format.clone())],
        };
        let formats = features.iter().map(|feature| (feature.column.clone(), feature.format.clone()));
        let formats = formats.chain(of_target).filter(|(_, format)| !format.is_plain());
        let file = self.stored.file.clone();
        let (kinds, formats) = (kinds.collect(), formats.collect());
        Reading { kinds, formats, ..Reading::of_model(file) }
    }

    /// The same for files that are written otherwise than the training's, as this says: another sign before decimals, another sheet.
    ///
    /// ```
    /// use kiln_data::{Choices, Reading, Table, TablePreparation};
    ///
    /// let table = Table::read(b"area,kind\n70.5,flat\n120.25,house\n")?;
    /// let plan = TablePreparation::fit(&table, &[0, 1], &Choices::new().target("kind"))?;
    /// let other = plan.clone().read_as(&Reading::new().decimal(','));
    /// let new = other.reading().read(b"area\n\"70,5\"\n\"1.120,25\"\n")?;
    /// assert_eq!(new.column("area")?.cell(1).number(), Some(1120.25));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn read_as(mut self, told: &Reading) -> TablePreparation {
        let stored = &mut self.stored;
        stored.file = stored.file.told(&told.of_file());
        for feature in &mut stored.features {
            feature.format = told.retold(feature.kind, &feature.format);
        }
        match &mut stored.target {
            None => {}
            Some(TargetColumn::Classes { .. } | TargetColumn::Labels { .. }) => {
                stored.target_format = told.retold(ColumnKind::Category, &stored.target_format);
            }
            Some(TargetColumn::Number { .. }) => {
                stored.target_format = told.retold(ColumnKind::Number, &stored.target_format);
            }
            Some(several) => several.read_as(told),
        }
        self
    }

    /// Inputs and targets of some rows, as a set.
    ///
    /// # Errors
    /// Where the table lacks columns, a value is of another kind than in training, or a target is missing or a new class.
    pub fn apply(&self, table: &Table, rows: &[usize]) -> Result<Set> {
        let Some(target) = self.target() else {
            return Err(Error::new("the preparation has no target; choose one with Choices::target"));
        };
        let (values, width) = self.inputs(table, rows, &target.columns())?;
        let targets = target.values(table, rows)?;
        let set = Set::new(values, Form::numbers(&[width]), targets, target.form())?;
        Ok(match target.classes() {
            [] => set,
            names => set.named(names.iter().cloned()),
        })
    }

    /// The inputs of all rows of a table, which needs no target. Columns may be in any order; those not known are ignored and
    /// noted.
    ///
    /// # Errors
    /// Where the table lacks columns, all of which are named, or a value is of another kind than in training.
    pub fn apply_inputs(&self, table: &Table) -> Result<FeatureMatrix> {
        let rows: Vec<usize> = (0..table.len()).collect();
        let (values, width) = self.inputs(table, &rows, &[])?;
        let mut notes = self.ignored(table.names());
        for feature in &self.stored.features {
            notes.extend(feature.unseen(table.column(&feature.column)?));
        }
        Ok(FeatureMatrix { values, width, rows: table.len(), notes })
    }

    /// A line for each of some columns that training didn't have.
    pub(super) fn ignored<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        let known: HashSet<&str> = self.stored.columns.iter().map(String::as_str).collect();
        names.filter(|name| !known.contains(name)).map(|name| format!("column {name} isn't used")).collect()
    }

    /// `[rows, width]`, and the width.
    pub(super) fn inputs(
        &self,
        table: &Table,
        rows: &[usize],
        targets: &[&str],
    ) -> Result<(Vec<f32>, usize)> {
        self.check_names(table.names(), targets).map_err(|error| table.place(None, error))?;
        if let Some(row) = rows.iter().find(|row| **row >= table.len()) {
            return Err(Error::new(format!("there is no row {row}; the table has {}", table.len())));
        }
        let (width, columns) = (self.width(), table.by_name());
        // They were checked to be there.
        let column = |feature: &Feature| match columns.get(feature.column.as_str()) {
            Some(column) => Ok(*column),
            None => table.column(&feature.column),
        };
        let mut values = Budget::default().filled(0.0, rows.len().saturating_mul(width))?;
        let (codes, amounts): (Vec<_>, Vec<_>) =
            self.stored.features.iter().partition(|feature| feature.codes().is_some());
        let mut first = 0;
        for feature in amounts {
            feature.write(table, column(feature)?, rows, &mut values, (width, first))?;
            first += feature.names().len();
        }
        for own in &self.own {
            let names = own.names();
            let mut made = Vec::with_capacity(names.len());
            for (&row, inputs) in rows.iter().zip(values.chunks_exact_mut(width)) {
                made.clear();
                own.write(&Row { table, row }, &mut made).map_err(|error| table.place(Some(row), error))?;
                if made.len() != names.len() || !made.iter().all(|value| value.is_finite()) {
                    let message = format!(
                        "the transform for {} gave {made:?}; it must give a finite number for each name",
                        names.join(", ")
                    );
                    return Err(table.place(Some(row), Error::new(message)));
                }
                inputs.iter_mut().skip(first).zip(&made).for_each(|(input, value)| *input = *value);
            }
            first += names.len();
        }
        for feature in codes {
            feature.write(table, column(feature)?, rows, &mut values, (width, first))?;
            first += 1;
        }
        Ok((values, width))
    }

    /// Whether all columns that are needed are among these.
    pub(super) fn check_names<'n>(
        &self,
        names: impl Iterator<Item = &'n str> + Clone,
        targets: &[&str],
    ) -> Result<()> {
        let needed = || {
            self.stored.features.iter().map(|feature| feature.column.as_str()).chain(targets.iter().copied())
        };
        let there: HashSet<&str> = names.clone().collect();
        let lacking: Vec<&str> = needed().filter(|name| !there.contains(name)).collect();
        let wanted: HashSet<&str> = needed().collect();
        let spare: Vec<&str> = names.filter(|name| !wanted.contains(name)).collect();
        let said = |name: &&str| match nearest(name, spare.iter().copied()) {
            Some(near) => format!("\"{name}\" (there is \"{near}\")"),
            None => format!("\"{name}\""),
        };
        match lacking.len() {
            0 => Ok(()),
            count => {
                let columns = if count == 1 { "a column" } else { "columns" };
                let names: Vec<String> = lacking.iter().map(said).collect();
                let message = format!("the table lacks {columns} that training had: {}", names.join(", "));
                Err(Error::new(message))
            }
        }
    }

    /// The preparation as text, to be stored with a model.
    ///
    /// # Errors
    /// Where it has transforms of one's own: code can't be stored.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::new(error.to_string()))
    }

    /// A preparation that was stored.
    ///
    /// # Errors
    /// Where the text is no preparation, or one of a later version.
    pub fn from_json(text: &str) -> Result<TablePreparation> {
        serde_json::from_str(text)
            .map_err(|error| Error::new(format!("the stored preparation is damaged: {error}")))
    }
}

impl PartialEq for TablePreparation {
    /// Transforms of one's own are the same where their names are.
    fn eq(&self, other: &TablePreparation) -> bool {
        self.stored == other.stored && self.feature_names() == other.feature_names()
    }
}

impl fmt::Debug for TablePreparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stored.fmt(f)
    }
}

impl Serialize for TablePreparation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.own.is_empty() {
            let names: Vec<String> = self.own.iter().flat_map(|own| own.names()).collect();
            return Err(serde::ser::Error::custom(format!(
                "a preparation with transforms of one's own can't be stored, and this one has {}; make them columns of the table",
                names.join(", ")
            )));
        }
        self.stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TablePreparation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TablePreparation, D::Error> {
        let stored = StoredPreparation::deserialize(deserializer)?;
        let fault = |message: String| Err(serde::de::Error::custom(message));
        if stored.version != VERSION {
            return fault(format!("version {} isn't the {VERSION} that is known here", stored.version));
        }
        let fine = |feature: &Feature| match &feature.encoding {
            Encoding::Number { .. } | Encoding::Pair { .. } => true,
            Encoding::Text { words } => !words.is_empty(),
            Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } => vocabulary.size() > 0,
            Encoding::Date { parts, .. } => parts.iter().all(|part| part.part < 5 && part.deviation > 0.0),
        };
        if let Some(feature) = stored.features.iter().find(|feature| !fine(feature)) {
            return fault(format!("the inputs of column {} make no sense", feature.column));
        }
        if stored.features.is_empty() {
            return fault("it has no column".to_string());
        }
        Ok(TablePreparation { stored, own: Vec::new() })
    }
}
