//! How raw data become a model's rows: what was fitted in training is stored with the model and applied unchanged ever after, to one row,
//! a table, a picture, a text or a file.

mod images;
#[cfg(not(feature = "image"))]
mod no_pictures;
mod pairs;
#[cfg(feature = "image")]
mod pictures;
mod tags;
mod text;
mod unanswered;

use kiln_data::{Form, TablePreparation};
use kiln_map::{Budget, counted};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use images::ImagePreparation;
pub use pairs::{PairPreparation, PairRows};
pub use tags::TagPreparation;
pub use text::{TextColumns, TextPreparation};
pub use unanswered::Unanswered;
pub(crate) use unanswered::unanswered;

use crate::forecast::ForecastPreparation;
use crate::row::InputSpec;
use crate::{Error, Result};

/// How raw data become a model's rows. [`Model::with_preparation`](crate::Model::with_preparation) gives a model one.
///
/// ```
/// use kiln::data::{Choices, Table, TablePreparation};
/// use kiln::prelude::*;
/// use kiln::{Model, Predictor};
///
/// let table = Table::read(b"age,sex,ill\n63,male,yes\n41,female,no\n,male,no\n55,female,yes\n")?;
/// let plan = TablePreparation::fit(&table, &[0, 1, 2, 3], &Choices::new().target("ill"))?;
/// let set = plan.apply(&table, &[0, 1, 2, 3])?;
/// let trainer = Trainer::new(Sequential::new().dense(8).relu().dense(2), CrossEntropy::new(), Adam::new(0.1));
/// let run = trainer.epochs(30).quiet().fit(&set)?;
///
/// // The file takes raw rows: `kiln predict ill.kiln new.csv` does too.
/// let path = std::env::temp_dir().join("ill.kiln");
/// run.with_preparation(plan)?.save(&path)?;
/// let predictor = Predictor::load(&path)?;
/// assert_eq!(predictor.predict_row([("sex", "female"), ("age", "40")])?.class(), Some("no"));
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Preparation {
    /// Nobody said. Rows of numbers are taken as they come; other inputs are the caller's affair.
    #[default]
    Unsaid,
    /// The columns of a table.
    Table(Box<TablePreparation>),
    /// Pictures.
    Images(ImagePreparation),
    /// Texts: long ones that go on, or those of a table's column.
    Text(TextPreparation),
    /// Sentences with a tag for each word.
    Tags(TagPreparation),
    /// Pairs of texts.
    Pairs(PairPreparation),
    /// Series that are forecast.
    Forecast(Box<ForecastPreparation>),
}

impl From<TablePreparation> for Preparation {
    fn from(table: TablePreparation) -> Preparation {
        Preparation::Table(Box::new(table))
    }
}

impl From<ImagePreparation> for Preparation {
    fn from(images: ImagePreparation) -> Preparation {
        Preparation::Images(images)
    }
}

impl From<TextPreparation> for Preparation {
    fn from(text: TextPreparation) -> Preparation {
        Preparation::Text(text)
    }
}

impl From<TagPreparation> for Preparation {
    fn from(tags: TagPreparation) -> Preparation {
        Preparation::Tags(tags)
    }
}

impl From<PairPreparation> for Preparation {
    fn from(pairs: PairPreparation) -> Preparation {
        Preparation::Pairs(pairs)
    }
}

impl From<ForecastPreparation> for Preparation {
    fn from(series: ForecastPreparation) -> Preparation {
        Preparation::Forecast(Box::new(series))
    }
}

/// What stands in a file for each kind.
const KINDS: [&str; 6] = ["table", "images", "text", "tags", "pairs", "forecast"];

impl Preparation {
    /// That of series, if it is one.
    pub fn forecast(&self) -> Option<&ForecastPreparation> {
        if let Preparation::Forecast(plan) = self { Some(plan) } else { None }
    }

    /// That of a table, if it is one.
    pub fn table(&self) -> Option<&TablePreparation> {
        if let Preparation::Table(plan) = self { Some(plan) } else { None }
    }

    /// Whether it makes sequences of differing lengths, of which a model knows where they end.
    pub fn is_padded(&self) -> bool {
        match self {
            Preparation::Text(text) => text.padded,
            Preparation::Tags(tags) => tags.padded,
            Preparation::Pairs(pairs) => pairs.padded,
            Preparation::Unsaid
            | Preparation::Table(_)
            | Preparation::Images(_)
            | Preparation::Forecast(_) => false,
        }
    }

    /// Whether what it makes is what a model takes.
    ///
    /// # Errors
    /// Where it isn't, with both.
    pub fn check(&self, input: &InputSpec) -> Result<()> {
        let shape = &input.shape;
        match self {
            Preparation::Unsaid => Ok(()),
            Preparation::Table(plan) if *shape != [plan.width()] || input.codes.is_some() => {
                Err(Error::Preparation(format!(
                    "the preparation makes rows of {}, and the model takes {shape:?}",
                    counted(plan.width(), "number")
                )))
            }
            Preparation::Table(plan) => means("a table's", input, &Form::numbers(&[plan.width()])),
            Preparation::Images(images) => images.check(input),
            Preparation::Text(text) => text.check(input),
            Preparation::Tags(tags) => tags.check(input),
            Preparation::Pairs(pairs) => pairs.check(input),
            Preparation::Forecast(series) => series.check(input),
        }
    }

    /// What it makes rows of, for errors: "the model takes images".
    pub fn takes(&self, input: &InputSpec) -> String {
        match self {
            Preparation::Table(_) => "the model takes rows of a table".to_string(),
            Preparation::Images(_) => "the model takes images".to_string(),
            Preparation::Text(TextPreparation { columns: None, .. }) => {
                "the model goes on with texts".to_string()
            }
            Preparation::Text(_) => "the model takes texts of a table".to_string(),
            Preparation::Tags(_) => "the model gives the words of sentences tags".to_string(),
            Preparation::Pairs(_) => "the model writes a text for another".to_string(),
            Preparation::Forecast(_) => "the model forecasts the series of a table".to_string(),
            Preparation::Unsaid => match input.numbers() {
                Some(width) => format!(
                    "the model takes rows of {} and doesn't say which columns they are (kiln import --columns)",
                    counted(width, "number")
                ),
                None => "the model's file doesn't say how raw data become its input (kiln import --pixels)"
                    .to_string(),
            },
        }
    }

    /// What a file says.
    fn from_json(value: Value) -> Result<Preparation, String> {
        let Value::Object(mut said) = value else {
            return match value.is_null() {
                true => Ok(Preparation::Unsaid),
                false => Err(unknown("no object")),
            };
        };
        let read =
            |kind: &str, error: serde_json::Error| format!("its preparation of {kind} is damaged: {error}");
        if let Some(table) = said.remove("table") {
            let plan: TablePreparation =
                serde_json::from_value(table).map_err(|error| read("a table", error))?;
            return Ok(plan.into());
        }
        if let Some(images) = said.remove("images") {
            return serde_json::from_value(images)
                .map(Preparation::Images)
                .map_err(|error| read("images", error));
        }
        if let Some(text) = said.remove("text") {
            return serde_json::from_value(text).map(Preparation::Text).map_err(|error| read("text", error));
        }
        if let Some(tags) = said.remove("tags") {
            return serde_json::from_value(tags).map(Preparation::Tags).map_err(|error| read("tags", error));
        }
        if let Some(pairs) = said.remove("pairs") {
            return serde_json::from_value(pairs)
                .map(Preparation::Pairs)
                .map_err(|error| read("pairs", error));
        }
        if let Some(series) = said.remove("forecast") {
            return serde_json::from_value(series)
                .map(|series| Preparation::Forecast(Box::new(series)))
                .map_err(|error| read("series", error));
        }
        let kinds: Vec<String> = said.keys().map(|kind| format!("\"{kind}\"")).collect();
        Err(unknown(&if kinds.is_empty() { "nothing".to_string() } else { kinds.join(", ") }))
    }
}

/// Takes the memory of a row of codes and labels, each in a list that grows to twice what is in it.
fn room(budget: &Budget, window: usize) -> Result<()> {
    let bytes = (window as u64).saturating_mul(4 * 8);
    budget.bytes(bytes).map_err(|exceeded| Error::from(kiln_data::Error::from(exceeded)))
}

/// What is prepared must mean what the rows meant that a model was trained on.
fn means(whose: &str, input: &InputSpec, form: &Form) -> Result<()> {
    match input.means(form) {
        true => Ok(()),
        false => Err(Error::Preparation(format!(
            "the preparation makes {whose} rows of {}, and the model takes {}; train on rows of the preparation's own form",
            InputSpec::of(form).meaning(),
            input.meaning()
        ))),
    }
}

fn unknown(kind: &str) -> String {
    format!(
        "its preparation says {kind}, and this kiln knows {}; read it with the kiln that wrote it, or, in its form as .json, make the \
         preparation null and give it rows that are prepared already",
        KINDS.join(", ")
    )
}

impl Serialize for Preparation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [table, images, text, tags, pairs, forecast] = KINDS;
        match self {
            Preparation::Unsaid => serializer.serialize_unit(),
            Preparation::Table(plan) => serializer.collect_map([(table, plan)]),
            Preparation::Images(own) => serializer.collect_map([(images, own)]),
            Preparation::Text(own) => serializer.collect_map([(text, own)]),
            Preparation::Tags(own) => serializer.collect_map([(tags, own)]),
            Preparation::Pairs(own) => serializer.collect_map([(pairs, own)]),
            Preparation::Forecast(own) => serializer.collect_map([(forecast, own)]),
        }
    }
}

impl<'de> Deserialize<'de> for Preparation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Preparation, D::Error> {
        Preparation::from_json(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
