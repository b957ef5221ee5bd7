//! What a person chooses of how a table is prepared. Whatever isn't chosen follows from the columns.

use std::fmt;
use std::sync::Arc;

use super::Table;
use super::column::Cell;
use crate::error::Result;

/// How a column becomes inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Less the mean, by the deviation. Numbers are treated so unless told otherwise, but for whole ones of which there are only three
    /// to six, each often: such are mostly codes, and treated as words.
    Standardise,
    /// From 0 for the least to 1 for the most of the training rows.
    MinMax,
    /// Less the median, by the distance of the quartiles: outliers count little.
    Robust,
    /// The same, and then drawn in to within ±3: `x / √(1 + (x/3)²)`, which leaves what lies near the median nearly as it is.
    SmoothClip,
    /// `ln(1 + x)`, standardised; `-ln(1 - x)` below 0, so that every number has one.
    Log,
    /// Numbers as they are.
    AsIs,
    /// A column of 0 and 1 for each word. Words and booleans are treated so unless told otherwise; two words make one column.
    OneHot,
    /// The number of the word, for an embedding that the model learns. See [`Vocabulary`](crate::Vocabulary).
    Codes,
    /// A 0 or 1 for each of the most frequent words that texts have. Texts of several words that hardly come again are treated so unless
    /// told otherwise.
    Text,
    /// A date's year, month, day, weekday, and hour if it has one, each standardised. Dates are treated so unless told otherwise.
    Calendar,
    /// A date's year standardised; month, day, weekday and hour as sine and cosine, so that December is next to January.
    Cycles,
    /// Left out.
    Drop,
}

impl Treatment {
    /// Whether it makes one input of a number.
    pub fn is_of_numbers(self) -> bool {
        match self {
            Treatment::Standardise
            | Treatment::MinMax
            | Treatment::Robust
            | Treatment::SmoothClip
            | Treatment::Log
            | Treatment::AsIs => true,
            Treatment::OneHot
            | Treatment::Codes
            | Treatment::Text
            | Treatment::Calendar
            | Treatment::Cycles
            | Treatment::Drop => false,
        }
    }
}

/// What stands for a missing number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Impute {
    /// The mean of the training rows.
    #[default]
    Mean,
    /// Their median.
    Median,
}

/// What the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// One of some classes.
    Classes,
    /// A number, standardised.
    Number,
    /// A number as it is.
    RawNumber,
    /// One of some classes that go from little to much: numbers by themselves, words as [`Choices::order`] says.
    Ordinal,
    /// Any number of labels, in a list with `;`, `|` or `,` between them.
    Labels,
    /// A whole number from 0 on, whose mean is predicted: a Poisson distribution's, by its logarithm.
    Count,
}

/// A row of a table, for transforms of one's own.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub(super) table: &'a Table,
    pub(super) row: usize,
}

impl<'a> Row<'a> {
    /// The value in a column.
    ///
    /// # Errors
    /// Where there is no such column.
    pub fn cell(&self, column: &str) -> Result<Cell<'a>> {
        Ok(self.table.column(column)?.cell(self.row))
    }

    /// The number in a column; nothing where it is missing or none.
    ///
    /// # Errors
    /// Where there is no such column.
    pub fn number(&self, column: &str) -> Result<Option<f64>> {
        Ok(self.cell(column)?.number())
    }
}

/// Inputs computed by code of one's own from a whole row. What it computes must not depend on other rows. Closures come with
/// [`Choices::computed`].
///
/// A preparation with one can't be stored: code isn't data.
pub trait RowTransform: Send + Sync {
    /// The names of the inputs it adds.
    fn names(&self) -> Vec<String>;

    /// Adds a row's inputs, one for each name.
    ///
    /// # Errors
    /// Where the row can't be transformed.
    fn write(&self, row: &Row<'_>, inputs: &mut Vec<f32>) -> Result<()>;
}

struct Computed<F>(String, F);

impl<F: Fn(&Row<'_>) -> Result<f64> + Send + Sync> RowTransform for Computed<F> {
    fn names(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn write(&self, row: &Row<'_>, inputs: &mut Vec<f32>) -> Result<()> {
        inputs.push((self.1)(row)? as f32);
        Ok(())
    }
}

/// What is chosen of a preparation.
///
/// ```
/// use kiln_data::{Choices, TablePreparation, Table, Treatment};
///
/// let table = Table::read(b"height,weight,shoe,ill\n1.7,60,40,no\n1.8,90,44,yes\n1.6,70,39,no\n")?;
/// let choices = Choices::new()
///     .target("ill")
///     .treat("weight", Treatment::Robust)
///     .treat("shoe", Treatment::Drop)
///     .computed("bmi", |row| {
///         let (weight, height) = (row.number("weight")?.unwrap_or(75.0), row.number("height")?.unwrap_or(1.7));
///         Ok(weight / (height * height) / 25.0)
///     });
/// let plan = TablePreparation::fit(&table, &[0, 1, 2], &choices)?;
/// assert_eq!(plan.feature_names(), ["height", "weight", "bmi"]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Choices {
    pub(super) targets: Vec<String>,
    pub(super) target_kinds: Vec<TargetKind>,
    pub(super) logs: Vec<String>,
    pub(super) interval: Option<f64>,
    pub(super) order: Vec<String>,
    pub(super) treatments: Vec<(String, Treatment)>,
    pub(super) numbers: Treatment,
    pub(super) impute: Impute,
    pub(super) rare: u64,
    pub(super) most: usize,
    pub(super) one_hot: usize,
    pub(super) own: Vec<Arc<dyn RowTransform>>,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices {
            targets: Vec::new(),
            target_kinds: Vec::new(),
            logs: Vec::new(),
            interval: None,
            order: Vec::new(),
            treatments: Vec::new(),
            numbers: Treatment::Standardise,
            impute: Impute::Mean,
            rare: 1,
            most: 100,
            one_hot: usize::MAX,
            own: Vec::new(),
        }
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Choices { targets, treatments, impute, rare, .. } = self;
        write!(
            f,
            "Choices {{ targets: {targets:?}, treatments: {treatments:?}, impute: {impute:?}, rare: {rare}, … }}"
        )
    }
}

impl Choices {
    /// No target; every column as its kind suggests.
    pub fn new() -> Choices {
        Choices::default()
    }

    /// The column to predict. Words, booleans and whole numbers of at most 10 different values are classes, others numbers.
    pub fn target(self, column: impl Into<String>) -> Choices {
        self.targets([column])
    }

    /// The columns to predict, in this order. One is what [`Choices::target`] says; of several, words and booleans are classes, and numbers
    /// numbers.
    ///
    /// ```
    /// use kiln_data::{Choices, Dataset, Table, TablePreparation};
    ///
    /// let table = Table::read(b"area,rooms,price,rent\n50,2,90,5\n80,3,150,8\n65,3,120,7\n")?;
    /// let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new().targets(["price", "rent"]))?;
    /// assert_eq!(plan.apply(&table, &[0, 2])?.y().shape, [2]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn targets(self, columns: impl IntoIterator<Item = impl Into<String>>) -> Choices {
        Choices { targets: columns.into_iter().map(Into::into).collect(), ..self }
    }

    /// What the target is, or each of several, instead of what their values suggest.
    pub fn target_kind(self, kind: TargetKind) -> Choices {
        self.target_kinds([kind])
    }

    /// What each of several targets is, in their order.
    pub fn target_kinds(self, kinds: impl IntoIterator<Item = TargetKind>) -> Choices {
        Choices { target_kinds: kinds.into_iter().collect(), ..self }
    }

    /// A target whose numbers, from 0 on, are learned by their logarithm: prices, durations, whatever has few very large ones.
    ///
    /// ```
    /// use kiln_data::{Choices, Table, TablePreparation};
    ///
    /// let table = Table::read(b"area,price\n50,90.5\n80,150\n65,12000\n")?;
    /// let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new().target("price").log_target("price"))?;
    /// let unit = plan.target().unwrap().units()[0];
    /// assert!((unit.truth(unit.learned(150.0)) - 150.0).abs() < 1e-9);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn log_target(mut self, column: impl Into<String>) -> Choices {
        self.logs.push(column.into());
        self
    }

    /// Three numbers are predicted for each target that is one: the middle of what may come, and a lower and an upper between which this share of
    /// all lie.
    pub fn interval(self, share: f64) -> Choices {
        Choices { interval: Some(share), ..self }
    }

    /// The classes of an ordinal target from little to much.
    pub fn order(self, classes: impl IntoIterator<Item = impl Into<String>>) -> Choices {
        Choices { order: classes.into_iter().map(Into::into).collect(), ..self }
    }

    /// What was said of a target by its place: one word is for all of them.
    pub(super) fn kind_of(&self, place: usize) -> Option<TargetKind> {
        match self.target_kinds.as_slice() {
            [all] => Some(*all),
            each => each.get(place).copied(),
        }
    }

    /// How a column becomes inputs.
    pub fn treat(mut self, column: impl Into<String>, treatment: Treatment) -> Choices {
        let column = column.into();
        self.treatments.retain(|(name, _)| *name != column);
        self.treatments.push((column, treatment));
        self
    }

    /// How numbers are treated in columns of which nothing else is said.
    pub fn numbers(self, treatment: Treatment) -> Choices {
        Choices { numbers: treatment, ..self }
    }

    /// What stands for missing numbers.
    pub fn impute(self, impute: Impute) -> Choices {
        Choices { impute, ..self }
    }

    /// Words that come in fewer training rows than this count as one, "(other)".
    pub fn rare(self, rows: u64) -> Choices {
        Choices { rare: rows, ..self }
    }

    /// How many words of a column get a one-hot input of their own, the most frequent; 100 unless told.
    pub fn most_words(self, words: usize) -> Choices {
        Choices { most: words, ..self }
    }

    /// Columns of more words than this become codes, for an embedding that the model learns, where nothing else is said of them; none does
    /// unless told.
    pub fn codes_above(self, words: usize) -> Choices {
        Choices { one_hot: words, ..self }
    }

    /// Adds an input of one's own, computed from a row.
    pub fn computed(
        self,
        name: impl Into<String>,
        compute: impl Fn(&Row<'_>) -> Result<f64> + Send + Sync + 'static,
    ) -> Choices {
        self.transform(Computed(name.into(), compute))
    }

    /// Adds inputs of one's own.
    pub fn transform(mut self, transform: impl RowTransform + 'static) -> Choices {
        self.own.push(Arc::new(transform));
        self
    }
}
