//! Raw data without answers as a model's rows, to be predicted.

use kiln_data::{ColumnKind, Form, Reading, Table, TablePreparation};
use kiln_map::counted;

use super::{About, NETWORK};
use crate::preparation::{Preparation, TextPreparation, Unanswered, unanswered};
use crate::{Error, Result};

impl About {
    /// How a table of raw rows is read.
    ///
    /// # Errors
    /// Where a table doesn't become the model's rows.
    pub fn reading(&self) -> Result<Reading> {
        match &self.preparation {
            Preparation::Table(plan) => Ok(plan.reading()),
            Preparation::Text(TextPreparation { columns: Some(columns), .. }) => {
                Ok(columns.reading().others(ColumnKind::Category))
            }
            Preparation::Unsaid if self.input.numbers().is_some() => Ok(Reading::new()),
            Preparation::Unsaid | Preparation::Text(_) => Err(unsaid(self)),
            Preparation::Forecast(series) => Ok(series.reading()),
            Preparation::Images(_) | Preparation::Tags(_) | Preparation::Pairs(_) => Err(self.not("a table")),
        }
    }

    /// Takes files that are written otherwise than those of the training, as this says.
    ///
    /// # Errors
    /// Where the model takes no tables.
    pub fn read_as(&mut self, told: &Reading) -> Result<()> {
        match &mut self.preparation {
            Preparation::Table(plan) => **plan = (**plan).clone().read_as(told),
            Preparation::Text(TextPreparation { columns: Some(_), .. }) | Preparation::Pairs(_)
                if told.tells_cells() =>
            {
                let message = "the model reads texts as they stand, whatever stands for numbers, dates and what is missing";
                return Err(Error::Preparation(message.to_string()));
            }
            Preparation::Text(TextPreparation { columns: Some(columns), .. }) => {
                *columns.file = columns.file.told(&told.of_file());
            }
            Preparation::Pairs(pairs) => pairs.file = pairs.file.told(&told.of_file()),
            Preparation::Forecast(series) => series.file = series.file.told(&told.of_file()),
            Preparation::Unsaid | Preparation::Images(_) | Preparation::Text(_) | Preparation::Tags(_) => {
                return Err(self.not("said of a table"));
            }
        }
        Ok(())
    }

    /// Whether nobody said how raw data become rows, and they aren't plain numbers either.
    pub fn is_unsaid(&self) -> bool {
        self.preparation == Preparation::Unsaid && self.input.numbers().is_none()
    }

    /// The rows of a table without answers.
    ///
    /// # Errors
    /// Where the table lacks columns, a value is of another kind than in training, or the model takes something else.
    pub fn of_table(&self, table: &Table) -> Result<Unanswered> {
        let (inputs, form) = match &self.preparation {
            Preparation::Table(plan) => (plan.apply_inputs(table)?, Form::numbers(&[plan.width()])),
            Preparation::Text(text) => {
                let columns = text.columns.as_ref().ok_or_else(|| unsaid(self))?;
                return Ok(Unanswered { rows: text.rows(table, &columns.text)?, notes: Vec::new() });
            }
            Preparation::Unsaid => {
                let Some(form) = self.input.plain() else { return Err(unsaid(self)) };
                (self.plain_columns(table.names().collect(), &form)?.apply_inputs(table)?, form)
            }
            Preparation::Forecast(_) => {
                let message = "the model forecasts series, and says nothing of single rows; Predictor::forecast takes a table of them";
                return Err(Error::Preparation(message.to_string()));
            }
            Preparation::Images(_) | Preparation::Tags(_) | Preparation::Pairs(_) => {
                return Err(self.not("a table"));
            }
        };
        Ok(Unanswered { rows: unanswered(inputs.values, form, inputs.rows)?, notes: inputs.notes })
    }

    /// How raw rows of these columns become the model's, one by one, and the form they have then; nothing of a model that takes something
    /// else than amounts and codes of columns.
    ///
    /// # Errors
    /// Where there are more or fewer columns of numbers than the model takes.
    pub fn of_columns(&self, names: Vec<&str>) -> Result<Option<(TablePreparation, Form)>> {
        match &self.preparation {
            Preparation::Table(plan) => Ok(Some(((**plan).clone(), Form::numbers(&[plan.width()])))),
            Preparation::Unsaid => match self.input.plain() {
                Some(form) => Ok(Some((self.plain_columns(names, &form)?, form))),
                None => Ok(None),
            },
            Preparation::Text(_)
            | Preparation::Images(_)
            | Preparation::Tags(_)
            | Preparation::Pairs(_)
            | Preparation::Forecast(_) => Ok(None),
        }
    }

    /// Columns of numbers as they are, for a model that nobody said more of.
    fn plain_columns(&self, names: Vec<&str>, form: &Form) -> Result<TablePreparation> {
        let width = form.width();
        if names.len() != width {
            return Err(Error::Preparation(format!(
                "the model takes rows of {}, and the table has {} ({}); `kiln import --columns` says which are meant",
                counted(width, "number"),
                counted(names.len(), "column"),
                names.join(", ")
            )));
        }
        Ok(TablePreparation::plain(names)?)
    }

    /// How pictures become rows, where they do.
    #[cfg(feature = "image")]
    pub(crate) fn pictures(&self) -> Result<&crate::preparation::ImagePreparation> {
        match &self.preparation {
            Preparation::Images(images) => Ok(images),
            Preparation::Unsaid => Err(unsaid(self)),
            Preparation::Table(_)
            | Preparation::Text(_)
            | Preparation::Tags(_)
            | Preparation::Pairs(_)
            | Preparation::Forecast(_) => Err(self.not("a picture")),
        }
    }

    /// How a text becomes a row, where it does.
    pub(crate) fn texts(&self) -> Result<&TextPreparation> {
        match &self.preparation {
            Preparation::Text(text) => Ok(text),
            Preparation::Unsaid => Err(unsaid(self)),
            Preparation::Table(_)
            | Preparation::Images(_)
            | Preparation::Tags(_)
            | Preparation::Pairs(_)
            | Preparation::Forecast(_) => Err(self.not("a text")),
        }
    }

    /// That it takes something else.
    fn not(&self, what: &str) -> Error {
        Error::Preparation(format!("{}, and this is {what}", self.preparation.takes(&self.input)))
    }
}

/// Why raw data can't be fed to a model, and the mend.
pub(super) fn unsaid(about: &About) -> Error {
    let shape = &about.input.shape;
    let mend = match (shape.as_slice(), about.layers.as_str()) {
        ([_, _, _], NETWORK) => {
            "; import it again with --pixels, which says what pixels become (kiln import --help)"
        }
        _ => "; Model::predict does from Rust",
    };
    Error::Preparation(format!(
        "the model takes rows of {shape:?}, and its file doesn't say how raw data become that{mend}"
    ))
}
