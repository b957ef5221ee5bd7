//! Raw data prepared apart from being predicted, so that rows of different askers go through the layers together.

use kiln_data::{Dataset, Form, RawCell, Table, Values, each_values};
use kiln_map::counted;

use super::{Prediction, Predictor, RowPreparation};
use crate::model::Task;
use crate::preparation::{Preparation, TextPreparation};
use crate::{Error, Result};

/// Rows as a model's layers take them, made by [`Predictor::prepare_rows`] and its like. Those of one form go through together,
/// whoever they are of.
///
/// ```no_run
/// let predictor = kiln::Predictor::load("heart.kiln")?;
/// let first = predictor.prepare_rows([[("age", "63"), ("sex", "male")]])?;
/// let second = predictor.prepare_rows([[("age", "41"), ("sex", "female")], [("age", "29"), ("sex", "male")]])?;
/// let said = predictor.predict_prepared(first.iter().chain(&second))?;
/// assert_eq!(said.len(), 3);
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedRows {
    form: Form,
    values: Values,
    rows: usize,
}

impl PreparedRows {
    fn new(form: Form, values: Values, rows: usize) -> PreparedRows {
        PreparedRows { form, values, rows }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The form of each.
    pub fn form(&self) -> &Form {
        &self.form
    }
}

impl Predictor {
    /// Raw rows, cells by their columns' names, as the layers take them; see [`Predictor::predict_row`].
    ///
    /// # Errors
    /// As [`Predictor::predict_rows`].
    pub fn prepare_rows<'a, R, K, V>(&self, rows: impl IntoIterator<Item = R>) -> Result<Vec<PreparedRows>>
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: Into<RawCell<'a>>,
    {
        if let Some(RowPreparation { plan, form }) = &self.0.rows {
            let (inputs, count) = plan_inputs(plan, rows)?;
            return Ok(vec![PreparedRows::new(form.clone(), Values::F32(inputs), count)]);
        }
        let mut prepared = Vec::new();
        for row in rows {
            let cells: Vec<(K, RawCell)> = row.into_iter().map(|(name, cell)| (name, cell.into())).collect();
            prepared.extend(self.prepare_row(&cells)?);
        }
        Ok(prepared)
    }

    /// A row of a model that has no way for single rows but by a table.
    fn prepare_row<K: AsRef<str>>(&self, cells: &[(K, RawCell)]) -> Result<Vec<PreparedRows>> {
        let about = self.0.model.about();
        if let Preparation::Text(TextPreparation { columns: Some(columns), .. }) = &about.preparation {
            return self.prepare_text(&text_of(cells, &columns.text)?).map(|prepared| vec![prepared]);
        }
        let table = about.reading()?.row(cells.iter().map(|(name, cell)| (name.as_ref(), *cell)))?;
        self.prepare_table(&table)
    }

    /// The rows of a table as the layers take them.
    ///
    /// # Errors
    /// As [`Predictor::predict_table`].
    pub fn prepare_table(&self, table: &Table) -> Result<Vec<PreparedRows>> {
        let about = self.0.model.about();
        if let Preparation::Text(TextPreparation { columns: Some(columns), .. }) = &about.preparation {
            let texts = table.column(&columns.text)?;
            let one = |row| self.prepare_text(&texts.cell(row).text().unwrap_or_default());
            return (0..table.len()).map(one).collect();
        }
        let rows = about.of_table(table)?.rows;
        let batch = rows.gather(&(0..rows.len()).collect::<Vec<_>>())?;
        let form = Form { shape: batch.x_shape()[1..].to_vec(), ..rows.x().clone() };
        let count = batch.rows();
        Ok(vec![PreparedRows::new(form, batch.x, count)])
    }

    /// Rows that are inputs already; see [`Predictor::predict_inputs`]. Images take whole numbers from 0 to 255.
    ///
    /// # Errors
    /// Where there are more or fewer numbers than rows need, or they are none that the layers take.
    pub fn prepare_inputs(&self, inputs: &[f64], rows: usize) -> Result<PreparedRows> {
        let form = self.form();
        if inputs.len() != rows * form.width() {
            return Err(Error::Preparation(format!(
                "{} of {:?} are {}, and {} came in",
                counted(rows, "row"),
                form.shape,
                counted(rows * form.width(), "number"),
                inputs.len()
            )));
        }
        let mut values = form.kind.values();
        for &input in inputs {
            values.push(input);
            let taken = values.get(values.len() - 1).unwrap_or(f64::NAN);
            let is_code = form.codes().is_some_and(|count| !(input >= 0.0 && input < count as f64));
            let is_changed =
                !matches!(form.kind, kiln_data::ValueKind::F32 | kiln_data::ValueKind::F16) && taken != input;
            if is_changed || is_code {
                return Err(Error::Preparation(format!(
                    "{input} is no number of the kind that the layers take: {}",
                    match (form.codes(), form.kind) {
                        (Some(count), _) => format!("codes from 0 to {}", count.saturating_sub(1)),
                        (None, kind) => format!("{kind:?}"),
                    }
                )));
            }
        }
        Ok(PreparedRows::new(form, values, rows))
    }

    /// A text as the layers of a model take it that tells texts apart.
    ///
    /// # Errors
    /// Where the model takes something else, or goes on with texts.
    pub fn prepare_text(&self, text: &str) -> Result<PreparedRows> {
        let own = self.0.model.about().texts()?;
        if own.columns.is_none() {
            return Err(Error::Preparation(
                "the model goes on with texts; Predictor::generate does".to_string(),
            ));
        }
        let codes = own.codes(text);
        let form = Form { shape: vec![codes.len()], ..own.form() };
        Ok(PreparedRows::new(form, Values::I64(codes), 1))
    }

    /// The bytes of a picture's file as the layers take them.
    ///
    /// # Errors
    /// As [`Predictor::predict_image`].
    #[cfg(feature = "image")]
    pub fn prepare_image(&self, file: &[u8]) -> Result<PreparedRows> {
        let images = self.0.model.about().pictures()?;
        let pixels = images.pixels(&kiln_data::Picture::read(file)?).0;
        Ok(PreparedRows::new(images.form(), Values::U8(pixels), 1))
    }

    /// What the model says of prepared rows, in their order. Each is said what it would be alone, to the bit.
    ///
    /// # Errors
    /// Where rows aren't those of this model, or can't be computed.
    pub fn predict_prepared<'p>(
        &self,
        prepared: impl IntoIterator<Item = &'p PreparedRows>,
    ) -> Result<Vec<Prediction>> {
        let all: Vec<&PreparedRows> = prepared.into_iter().collect();
        // Rows of a form stand together; each group's places are kept.
        let mut groups: Vec<(&Form, Vec<usize>)> = Vec::new();
        for (place, rows) in all.iter().enumerate() {
            match groups.iter_mut().find(|(form, _)| **form == rows.form) {
                Some((_, places)) => places.push(place),
                None => groups.push((&rows.form, vec![place])),
            }
        }
        if let [(form, _)] = groups.as_slice() {
            return self.predict_alike(form, &all);
        }
        let mut said: Vec<Vec<Prediction>> = all.iter().map(|_| Vec::new()).collect();
        for (form, places) in groups {
            let alike: Vec<&PreparedRows> = places.iter().map(|&place| all[place]).collect();
            let mut answers = self.predict_alike(form, &alike)?.into_iter();
            for (&place, rows) in places.iter().zip(&alike) {
                said[place].extend(answers.by_ref().take(rows.rows));
            }
        }
        Ok(said.into_iter().flatten().collect())
    }

    /// What the model says of rows of one form.
    fn predict_alike(&self, form: &Form, all: &[&PreparedRows]) -> Result<Vec<Prediction>> {
        let count = all.iter().map(|rows| rows.rows).sum();
        let mut outputs = Vec::new();
        let mut run = |values: &Values| each_values!(values, values => self.0.model.run(form, values, count, &mut outputs));
        match all {
            [one] => run(&one.values)?,
            _ => {
                let mut values = form.kind.values();
                let width = form.width();
                for rows in all {
                    (0..rows.rows).for_each(|row| values.extend_from(&rows.values, row, width));
                }
                run(&values)?;
            }
        }
        Ok(self.say(&outputs, count))
    }

    /// What the model says of a row, as [`lines`](crate::lines) write it.
    pub fn task(&self) -> &Task {
        &self.0.model.about().task
    }
}

/// The inputs of raw rows by a plan, and how many rows they are.
pub(super) fn plan_inputs<'a, R, K, V>(
    plan: &kiln_data::RowPlan,
    rows: impl IntoIterator<Item = R>,
) -> Result<(Vec<f32>, usize)>
where
    R: IntoIterator<Item = (K, V)>,
    K: AsRef<str>,
    V: Into<RawCell<'a>>,
{
    let (mut inputs, width, mut count) = (Vec::new(), plan.width(), 0);
    for row in rows {
        let placed = |error: kiln_data::Error| error.at_line(count as u64 + 1);
        let cells = plan.cells(row).map_err(placed)?;
        inputs.resize((count + 1) * width, 0.0);
        plan.encode(&cells, &mut inputs[count * width..]).map_err(placed)?;
        count += 1;
    }
    Ok((inputs, count))
}

/// The cell of a row's text.
pub(super) fn text_of<K: AsRef<str>>(cells: &[(K, RawCell)], column: &str) -> Result<String> {
    let cell = cells.iter().find(|(name, _)| name.as_ref() == column);
    match cell {
        Some((_, cell)) => Ok(cell.text().into_owned()),
        None => Err(Error::Preparation(format!("the row lacks the column of texts, \"{column}\""))),
    }
}
