//! A model ready to be asked: raw values in, labels and probabilities out, from any number of threads.

mod embed;
mod forecast;
mod pairs;
#[cfg(feature = "image")]
mod pictures;
mod prediction;
mod prepared;
mod tags;

use kiln_map::counted;
use std::path::Path;
use std::sync::Arc;

use kiln_data::{Dataset, Form, RawCell, RowPlan, Table, buckets};

use crate::model::{Model, Views};
use crate::preparation::{Preparation, TextPreparation};
use crate::programs::Programs;
use crate::{Error, Result};
pub use forecast::ForecastSteps;
use prediction::Meanings;
pub use prediction::Prediction;
pub use prepared::PreparedRows;
use prepared::{plan_inputs, text_of};
pub use tags::TaggedWord;

/// A model, the preparation of its data and its compiled programs. Cloning shares them, and any number of threads may ask at once:
/// nothing is locked while it computes. Programs are compiled for a few sizes of batch (1, 8, 64 and 256 rows unless [`Predictor::with_batches`] says others), each when it is first
/// needed or all of them by [`Predictor::warm_up`]; nothing is compiled after that.
///
/// ```
/// use kiln::data::{Choices, Table, TablePreparation};
/// use kiln::prelude::*;
/// use kiln::Predictor;
///
/// let table = Table::read(b"petal,kind\n1.4,setosa\n4.7,other\n1.3,setosa\n5.1,other\n")?;
/// let rows = [0, 1, 2, 3];
/// let plan = TablePreparation::fit(&table, &rows, &Choices::new().target("kind"))?;
/// let trainer = Trainer::new(Sequential::new().dense(8).relu().dense(2), CrossEntropy::new(), Adam::new(0.1));
/// let run = trainer.epochs(40).quiet().fit(&plan.apply(&table, &rows)?)?;
///
/// let predictor = Predictor::new(run.with_preparation(plan)?)?;
/// predictor.warm_up()?;
/// let said = predictor.predict_row([("petal", "1.5")])?;
/// assert_eq!(said.class(), Some("setosa"));
/// assert!(said.probability("setosa") > Some(0.5));
///
/// // Threads share it.
/// std::thread::scope(|scope| {
///     for petal in [1.2, 4.9] {
///         let predictor = predictor.clone();
///         scope.spawn(move || predictor.predict_row([("petal", petal)]).unwrap());
///     }
/// });
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone)]
pub struct Predictor(Arc<Inner>);

struct Inner {
    model: Model,
    /// How raw rows become inputs, of a model that takes some.
    rows: Option<RowPreparation>,
    meanings: Meanings,
    /// Programs up to the layer that scores, for embeddings.
    features: Programs,
}

/// How raw rows become inputs.
struct RowPreparation {
    plan: RowPlan,
    form: Form,
}

impl Predictor {
    /// Of a model.
    ///
    /// # Errors
    /// Where the model's layers don't give what it is to say, or its preparation makes other rows than it takes.
    pub fn new(model: Model) -> Result<Predictor> {
        model.check()?;
        let about = model.about();
        about.check()?;
        let rows = match &about.preparation {
            // Transforms of one's own are written for tables.
            Preparation::Table(plan) => plan.row_plan().ok(),
            Preparation::Unsaid
            | Preparation::Images(_)
            | Preparation::Text(_)
            | Preparation::Tags(_)
            | Preparation::Pairs(_)
            | Preparation::Forecast(_) => None,
        };
        let rows = rows.map(|plan| RowPreparation { form: Form::numbers(&[plan.width()]), plan });
        Ok(Predictor(Arc::new(Inner {
            rows,
            meanings: Meanings::of(&about.task, about.threshold, &about.sets),
            features: Programs::default(),
            model,
        })))
    }

    /// Of a model, with programs for batches of these sizes instead of 1, 8, 64 and 256 rows.
    ///
    /// # Errors
    /// As [`Predictor::new`].
    pub fn with_batches(mut model: Model, sizes: &[usize]) -> Result<Predictor> {
        model.set_batches(sizes);
        Predictor::new(model)
    }

    /// Of a model's file.
    ///
    /// # Errors
    /// As [`Model::load`] and [`Predictor::new`].
    pub fn load(path: impl AsRef<Path>) -> Result<Predictor> {
        let path = path.as_ref();
        Predictor::new(Model::load(path)?).map_err(|error| Error::format(path, error.to_string()))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Compiles the programs for all sizes of batch, so that no answer waits for it.
    ///
    /// # Errors
    /// Where a program can't be compiled.
    pub fn warm_up(&self) -> Result<()> {
        let (form, own) = (self.form(), self.0.model.about().input.form());
        let lengths = match self.0.model.about().preparation.is_padded() {
            true => buckets(form.shape.first().copied().unwrap_or(1)),
            false => Vec::new(),
        };
        for length in lengths {
            self.0.model.warm_up(&Form { shape: vec![length], ..form.clone() })?;
        }
        self.0.model.warm_up(&form)?;
        // Rows of numbers come in their own type too, in sets.
        match self.0.model.about().preparation {
            Preparation::Unsaid if own != form => self.0.model.warm_up(&own),
            _ => Ok(()),
        }
    }

    /// How many programs are compiled.
    pub fn compiled(&self) -> usize {
        self.0.model.compiled()
    }

    /// The form in which raw data reach the programs.
    fn form(&self) -> Form {
        match (&self.0.rows, &self.0.model.about().preparation) {
            (Some(rows), _) => rows.form.clone(),
            (None, Preparation::Table(plan)) => Form::numbers(&[plan.width()]),
            (None, Preparation::Images(images)) => images.form(),
            (None, Preparation::Text(text)) => text.form(),
            (None, Preparation::Tags(tags)) => tags.form(),
            (None, Preparation::Pairs(pairs)) => pairs.form(),
            (None, Preparation::Forecast(series)) => series.form(),
            (None, Preparation::Unsaid) => {
                let input = &self.0.model.about().input;
                input.plain().unwrap_or_else(|| input.form())
            }
        }
    }

    /// What the model says of a raw row: cells by their columns' names, in any order; what a cell may be says
    /// [`RawCell`]. Columns that the model doesn't need are ignored.
    ///
    /// ```no_run
    /// use std::collections::HashMap;
    ///
    /// use kiln::Predictor;
    /// use kiln::data::RawCell;
    ///
    /// let predictor = Predictor::load("heart.kiln")?;
    /// let said = predictor.predict_row([("age", RawCell::from(63)), ("sex", "male".into()), ("chol", None::<f64>.into())])?;
    /// let map: HashMap<String, String> = HashMap::new();
    /// let same = predictor.predict_row(&map)?;
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a column is lacking, a value is of another kind than in training, or the model takes something else.
    pub fn predict_row<'a, K, V>(&self, row: impl IntoIterator<Item = (K, V)>) -> Result<Prediction>
    where
        K: AsRef<str>,
        V: Into<RawCell<'a>>,
    {
        let Some(RowPreparation { plan, form }) = &self.0.rows else { return self.one_row(row) };
        let mut inputs = vec![0.0; plan.width()];
        plan.encode(&plan.cells(row)?, &mut inputs)?;
        self.one(form, &inputs)
    }

    /// What the model says of raw rows, in their order; see [`Predictor::predict_row`].
    ///
    /// # Errors
    /// As there, with the place of the row, counted from 1.
    pub fn predict_rows<'a, R, K, V>(&self, rows: impl IntoIterator<Item = R>) -> Result<Vec<Prediction>>
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: Into<RawCell<'a>>,
    {
        let Some(RowPreparation { plan, form }) = &self.0.rows else {
            return rows.into_iter().map(|row| self.one_row(row)).collect();
        };
        let (inputs, count) = plan_inputs(plan, rows)?;
        let mut outputs = Vec::new();
        self.0.model.run(form, &inputs, count, &mut outputs)?;
        Ok(self.say(&outputs, count))
    }

    /// A row of a model that has no way for single rows but by a table.
    fn one_row<'a, K, V>(&self, row: impl IntoIterator<Item = (K, V)>) -> Result<Prediction>
    where
        K: AsRef<str>,
        V: Into<RawCell<'a>>,
    {
        let about = self.0.model.about();
        let cells: Vec<(K, RawCell)> = row.into_iter().map(|(name, cell)| (name, cell.into())).collect();
        if let Preparation::Text(text) = &about.preparation
            && let Some(columns) = &text.columns
        {
            return self.text(text, &text_of(&cells, &columns.text)?);
        }
        let table = about.reading()?.row(cells.iter().map(|(name, cell)| (name.as_ref(), *cell)))?;
        self.first(self.predict(&about.of_table(&table)?.rows)?)
    }

    /// What the model says of the rows of a table, in their order.
    ///
    /// # Errors
    /// Where the table lacks columns, a value is of another kind than in training, or the model takes something else.
    pub fn predict_table(&self, table: &Table) -> Result<Vec<Prediction>> {
        self.predict(&self.0.model.about().of_table(table)?.rows)
    }

    /// What the model says of rows that are inputs already, `[rows, width]`, in the order in which its preparation has them
    /// ([`RowEncoder`](kiln_data::RowEncoder), [`RowPlan`]).
    ///
    /// # Errors
    /// Where there are more or fewer numbers than rows need, or the model takes something else.
    pub fn predict_inputs(&self, inputs: &[f32], rows: usize) -> Result<Vec<Prediction>> {
        let mut outputs = Vec::new();
        self.0.model.run(&self.form(), inputs, rows, &mut outputs)?;
        Ok(self.say(&outputs, rows))
    }

    /// What the model says of a text: its class, or the scores of what comes next.
    ///
    /// # Errors
    /// Where the model takes something else.
    pub fn predict_text(&self, text: &str) -> Result<Prediction> {
        let own = self.0.model.about().texts()?;
        self.text(own, text)
    }

    /// What comes next in a text whose pieces are these codes, of [`TextPreparation::tokens`].
    ///
    /// # Errors
    /// Where the model doesn't go on with texts.
    pub fn predict_next(&self, codes: &[u32]) -> Result<Prediction> {
        let own = self.0.model.about().texts()?;
        if own.columns.is_some() {
            return Err(goes_not_on());
        }
        let (row, last) = own.last(codes);
        match self.one(&own.form(), &row)? {
            Prediction::Text { places, .. } if places != own.window => Err(Error::Preparation(format!(
                "the model gives what comes after {}, and sees {} of text",
                counted(places, "place"),
                counted(own.window, "piece")
            ))),
            Prediction::Text { places, scores } => {
                let scores = scores.into_iter().skip(last).step_by(places.max(1)).collect();
                Ok(Prediction::Text { places: 1, scores })
            }
            Prediction::Classes { .. } | Prediction::Numbers { .. } | Prediction::Several { .. } => {
                Err(goes_not_on())
            }
        }
    }

    fn text(&self, own: &TextPreparation, text: &str) -> Result<Prediction> {
        match own.columns {
            None => self.predict_next(&own.tokens.encode(text)),
            Some(_) => {
                let codes = own.codes(text);
                self.one(&Form { shape: vec![codes.len()], ..own.form() }, &codes)
            }
        }
    }

    /// What the model says of the rows of a set.
    ///
    /// # Errors
    /// Where the rows aren't like those it was trained on.
    pub fn predict(&self, set: &dyn Dataset) -> Result<Vec<Prediction>> {
        let predictions = self.0.model.predict(set)?;
        Ok(self.say(predictions.outputs(), set.len()))
    }

    /// What the model says of the images of a set, each seen in several views; of a single one as of many.
    ///
    /// # Errors
    /// As [`Predictor::predict`], and where the rows are no images.
    pub fn predict_views(&self, set: &dyn Dataset, views: &Views) -> Result<Vec<Prediction>> {
        let mut said = Vec::with_capacity(set.len());
        self.0.model.predict_views(set, views, |batch, outputs| {
            said.extend(self.say(outputs, batch.rows()));
            Ok(())
        })?;
        Ok(said)
    }

    /// What the model says of one row of numbers as its layers take them.
    fn one<T: kiln_nn::Element>(&self, form: &Form, row: &[T]) -> Result<Prediction> {
        Ok(self.0.meanings.say(&self.outputs_of(form, row)?))
    }

    /// What the layers give for one row.
    fn outputs_of<T: kiln_nn::Element>(&self, form: &Form, row: &[T]) -> Result<Vec<f32>> {
        let mut outputs = Vec::new();
        self.0.model.run(form, row, 1, &mut outputs)?;
        Ok(outputs)
    }

    fn say(&self, outputs: &[f32], rows: usize) -> Vec<Prediction> {
        let width = outputs.len() / rows.max(1);
        outputs.chunks(width.max(1)).map(|row| self.0.meanings.say(row)).collect()
    }

    fn first(&self, predictions: Vec<Prediction>) -> Result<Prediction> {
        let first = predictions.into_iter().next();
        first.ok_or_else(|| Error::Preparation("the model says nothing of the row".to_string()))
    }
}

/// That a model of texts says something else of them than what comes next.
pub(crate) fn goes_not_on() -> Error {
    let message = "the model takes whole texts and doesn't go on with them; Predictor::predict_text says what it makes of one";
    Error::Preparation(message.to_string())
}
