//! The rows of a batch as closures see them: every input and target by its name.

use kiln_data::{Batch, Dataset, Form, Values};
use kiln_map::nearest;
use kiln_nn::{DType, Error, ErrorKind, Tensor};

use crate::inputs::{blank_of, meant};

/// How many rows code of one's own is traced for before it begins: as few as a norm over the batch, or a comparison of its halves, takes.
pub(super) const TRACED: usize = 2;

/// A batch in a closure of a [`Trainer`](super::Trainer): its inputs and targets as a model takes them, amounts as scaled
/// `f32` and codes as they are.
pub struct Rows<'r> {
    layout: &'r RowLayout,
    values: Vec<Tensor>,
    weights: Option<Tensor>,
    /// The weights of the rows themselves.
    of_row: Option<Tensor>,
}

/// The names and forms of all that a set's rows have: `x`, `y`, what is further there.
#[derive(Clone, Debug)]
pub(super) struct RowLayout {
    names: Vec<String>,
    forms: Vec<Form>,
    is_weighted: bool,
}

impl RowLayout {
    pub(super) fn of(set: &(impl Dataset + ?Sized)) -> RowLayout {
        let (further, further_forms): (Vec<String>, Vec<Form>) = set.further().into_iter().unzip();
        let names = ["x", "y"].map(str::to_string).into_iter().chain(further).collect();
        let forms = [set.x(), set.y()].into_iter().chain(further_forms).collect();
        RowLayout { names, forms, is_weighted: set.is_weighted() }
    }

    /// The place of a name.
    pub(super) fn place(&self, name: &str) -> Result<usize, String> {
        let found = self.names.iter().position(|known| known == name);
        found.ok_or_else(|| match nearest(name, self.names.iter().map(String::as_str)) {
            Some(near) => format!("the rows have no {name}; did you mean {near}?"),
            None => format!("the rows have no {name}; there are {}", self.names.join(", ")),
        })
    }

    pub(super) fn form(&self, place: usize) -> &Form {
        &self.forms[place]
    }

    /// The inputs of a step as rows, whose weights are multiplied by those of the classes.
    pub(super) fn rows(&self, inputs: &[Tensor], class_weights: Option<&Tensor>) -> Rows<'_> {
        let values = inputs.iter().zip(&self.forms).map(|(value, form)| meant(value, form)).collect();
        let of_class = class_weights.map(|weights| weights.gather(0, &inputs[1].cast(DType::I64)));
        let of_row = inputs.get(self.forms.len()).filter(|_| self.is_weighted).cloned();
        let weights = match (&of_row, of_class) {
            (Some(rows), Some(classes)) => Some(rows * classes),
            (Some(rows), None) => Some(rows.clone()),
            (None, classes) => classes,
        };
        Rows { layout: self, values, weights, of_row }
    }

    /// Zeros of as many rows as code is traced for.
    pub(super) fn blank(&self) -> Rows<'_> {
        let blank =
            |form: &Form| blank_of(form, std::iter::once(TRACED).chain(form.shape.iter().copied()).collect());
        Rows { layout: self, values: self.forms.iter().map(blank).collect(), weights: None, of_row: None }
    }
}

impl Rows<'_> {
    /// The inputs, `[rows, …]`.
    pub fn x(&self) -> Tensor {
        self.values[0].clone()
    }

    /// The targets, `[rows, …]`.
    pub fn y(&self) -> Tensor {
        self.values[1].clone()
    }

    /// The inputs or targets of this name, `[rows, …]`; see [`Dataset::further`]. A name that isn't there is an error of whatever is
    /// computed with it.
    #[track_caller]
    pub fn get(&self, name: &str) -> Tensor {
        match self.layout.place(name) {
            Ok(place) => self.values[place].clone(),
            Err(message) => Error::new(ErrorKind::Value, "rows", message).into(),
        }
    }

    /// How much each row counts, `[rows]`, where rows or classes have weights. Losses of rows in an [`Objective`](super::Objective) are
    /// weighed by them; what a step of one's own lowers it weighs itself.
    pub fn weights(&self) -> Option<&Tensor> {
        self.weights.as_ref()
    }

    /// The same rows, weighed by nothing but their own weights.
    pub(super) fn without_class_weights(&self) -> Rows<'_> {
        let (values, of_row) = (self.values.clone(), self.of_row.clone());
        Rows { layout: self.layout, values, weights: of_row.clone(), of_row }
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.values[0].size(0)
    }
}

/// A batch's numbers at a place of its columns.
pub(super) fn column(batch: &Batch, place: usize) -> &Values {
    match place {
        0 => &batch.x,
        1 => &batch.y,
        further => &batch.further[further - 2],
    }
}
