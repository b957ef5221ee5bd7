//! What is known of a model besides its weights: its layers as a text, what a row of it is, what it says of one.

use kiln_map::counted;
use std::path::Path;

use kiln_data::{Curve, Dataset, Form, OneTarget, TargetColumn};
use kiln_nn::{Sequential, Shape};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ClassSets, DataProfile, PartMeaning, TaskPart};
use crate::background::Background;
use crate::forecast::ForecastPreparation;
use crate::kept_rows::KeptRows;
use crate::preparation::Preparation;
use crate::row::InputSpec;
use crate::{Error, Result};

/// What a model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Its layers, as a text.
    pub layers: String,
    /// One row's input.
    pub input: InputSpec,
    /// What it says of a row.
    pub task: Task,
    /// How raw data become inputs; nothing where they are inputs already.
    #[serde(default)]
    pub preparation: Preparation,
    /// Of two classes, above which probability it is the second; a half where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What answers for rows of a table are compared with where they are explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// Rows of the training with their answers, where somebody wanted them kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_rows: Option<KeptRows>,
    /// Which classes are in the set of a row that holds its class as often as was asked, of each target; nothing where sets aren't asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Option<ClassSets>>,
    /// What the rows of its training were like, for new ones to be held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<DataProfile>,
    /// How it was trained, and how well.
    #[serde(default)]
    pub training: Map<String, Value>,
}

/// What a model says of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Task {
    /// Which of these classes it is of.
    Classes {
        /// Their names, in order.
        names: Vec<String>,
    },
    /// Which of these tags each word of a sentence has.
    Tags {
        /// Their names, in order.
        names: Vec<String>,
    },
    /// What comes next in a text, at each place of a window.
    Text {
        /// How many pieces are known.
        pieces: usize,
    },
    /// A number for each name.
    Numbers {
        /// What is predicted.
        names: Vec<String>,
        /// The model's outputs times these,
        scale: Vec<f64>,
        /// plus these, are the numbers,
        offset: Vec<f64>,
        /// bent so; where there is none, not at all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        curves: Vec<Curve>,
        /// Three outputs are of each number, a lower bound, the middle and an upper one, between whose bounds this share of rows lie.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<f64>,
    },
    /// What each of several targets is: classes or a number.
    Several {
        /// The targets, in the order of their outputs.
        targets: Vec<NamedTask>,
    },
}

/// One of several targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedTask {
    /// What is predicted.
    pub name: String,
    /// What it is.
    pub task: Task,
}

impl Task {
    /// What a set's targets ask for.
    pub fn of(set: &dyn Dataset) -> Task {
        let form = set.y();
        match form.codes() {
            // Places of a text that have names are of tags.
            Some(_) if !form.shape.is_empty() && !set.names().is_empty() => {
                Task::Tags { names: set.names().to_vec() }
            }
            Some(count) if !form.shape.is_empty() => Task::Text { pieces: count },
            Some(count) => {
                let names = set.names();
                let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
                Task::Classes { names: (0..count).map(name).collect() }
            }
            None => {
                let width = form.width();
                let names = (0..width).map(|at| format!("y{at}")).collect();
                Task::plain_numbers(names)
            }
        }
    }
}

impl Task {
    /// A number for each name, which a model gives as it is.
    pub fn plain_numbers(names: Vec<String>) -> Task {
        let (scale, offset) = (vec![1.0; names.len()], vec![0.0; names.len()]);
        Task::Numbers { names, scale, offset, curves: Vec::new(), interval: None }
    }

    /// What series ask for: a number for each step of the horizon, in the scale of its row.
    pub fn of_series(plan: &ForecastPreparation) -> Task {
        Task::plain_numbers((1..=plan.horizon).map(|step| format!("{} +{step}", plan.target)).collect())
    }

    /// What the target of a prepared table asks for.
    pub fn of_target(target: &TargetColumn) -> Task {
        match target {
            TargetColumn::Classes { names, .. } => Task::Classes { names: names.clone() },
            TargetColumn::Labels { column, names, .. } => {
                let task = Task::Classes { names: ["no", "yes"].map(str::to_string).to_vec() };
                let named =
                    |label: &String| NamedTask { name: format!("{column}={label}"), task: task.clone() };
                Task::Several { targets: names.iter().map(named).collect() }
            }
            TargetColumn::Number { column, mean, deviation, curve, interval } => Task::Numbers {
                names: vec![column.clone()],
                scale: vec![*deviation],
                offset: vec![*mean],
                curves: if curve.is_straight() { Vec::new() } else { vec![*curve] },
                interval: *interval,
            },
            TargetColumn::Numbers { columns } => Task::Numbers {
                names: columns.iter().map(|target| target.column.clone()).collect(),
                scale: columns.iter().map(|target| target.deviation).collect(),
                offset: columns.iter().map(|target| target.mean).collect(),
                curves: match columns.iter().all(|target| target.curve.is_straight()) {
                    true => Vec::new(),
                    false => columns.iter().map(|target| target.curve).collect(),
                },
                interval: columns.first().and_then(|target| target.interval),
            },
            TargetColumn::Several { columns } => {
                let named = |one: &OneTarget| NamedTask {
                    name: one.target.columns().concat(),
                    task: Task::of_target(&one.target),
                };
                Task::Several { targets: columns.iter().map(named).collect() }
            }
        }
    }

    /// What a model gives for it, in a few words.
    fn given(&self) -> String {
        match self {
            Task::Classes { names } => counted(names.len(), "class"),
            Task::Tags { names } => format!("one of {} for each word", counted(names.len(), "tag")),
            Task::Text { pieces } => format!("what comes next of {} of text", counted(*pieces, "piece")),
            Task::Numbers { names, interval: None, .. } => counted(names.len(), "number"),
            Task::Numbers { names, interval: Some(_), .. } => {
                format!("{} with the bounds of an interval", counted(names.len(), "number"))
            }
            Task::Several { targets } => {
                targets.iter().map(|target| target.task.given()).collect::<Vec<_>>().join(" and ")
            }
        }
    }

    /// How many numbers a model gives for it.
    pub fn outputs(&self) -> usize {
        match self {
            Task::Classes { names } | Task::Tags { names } => names.len(),
            Task::Numbers { names, interval, .. } => names.len() * outputs_of_number(*interval),
            Task::Text { pieces } => *pieces,
            Task::Several { targets } => targets.iter().map(|target| target.task.outputs()).sum(),
        }
    }

    /// Whether a model that gives numbers of this shape, `[rows, …]`, gives what is asked for: one for each class, or a single one for two
    /// classes; one for each piece of text at each place; one for each number.
    ///
    /// # Errors
    /// Where it doesn't, with the mend.
    pub fn check(&self, given: &Shape) -> Result<()> {
        let each: usize = given.iter().skip(1).product();
        let (fits, asked) = match self {
            Task::Classes { names } => {
                let fits = given.rank() == 2 && (each == names.len() || each == 1 && names.len() == 2);
                if names.len() < 2 {
                    let all = names.join(", ");
                    return Err(Error::Training(format!(
                        "there is nothing to tell apart: the only class is {all}, and it takes two"
                    )));
                }
                (fits, counted(names.len(), "class"))
            }
            Task::Tags { names } => (
                given.rank() == 3 && given[1] == names.len() && names.len() > 1,
                format!("{} at each place", counted(names.len().max(2), "tag")),
            ),
            Task::Text { pieces } => (
                given.rank() == 3 && given[1] == *pieces,
                format!("{} of text at each place", counted(*pieces, "piece")),
            ),
            Task::Numbers { names, scale, offset, curves, interval } => {
                let counts =
                    [scale.len(), offset.len(), if curves.is_empty() { names.len() } else { curves.len() }];
                let fits = counts.iter().all(|count| *count == names.len());
                let outputs = names.len() * outputs_of_number(*interval);
                (fits && each == outputs, counted(outputs, "number"))
            }
            Task::Several { targets } => {
                for target in targets {
                    match &target.task {
                        Task::Classes { .. } | Task::Numbers { .. } => {
                            target.task.check(&Shape::from([1, target.task.outputs()]))?;
                        }
                        Task::Text { .. } | Task::Tags { .. } | Task::Several { .. } => {
                            return Err(Error::Training(format!(
                                "{}: one of several targets is classes or a number",
                                target.name
                            )));
                        }
                    }
                }
                (given.rank() == 2 && each == self.outputs(), self.given())
            }
        };
        match fits {
            true => Ok(()),
            false => Err(Error::Training(format!(
                "the layers give {:?} for each row, and {asked} are asked for; the last layer needs an output for each",
                given.get(1..).unwrap_or_default()
            ))),
        }
    }
}

/// How many outputs are of a number.
fn outputs_of_number(interval: Option<f64>) -> usize {
    if interval.is_some() { 3 } else { 1 }
}

impl About {
    /// What layers are that were trained on a set like this.
    ///
    /// # Errors
    /// Where layers are code, which has no text.
    pub fn new(layers: &Sequential, input: &Form, task: Task) -> Result<About> {
        let text = layers.to_text()?;
        Ok(About {
            layers: text,
            input: InputSpec::of(input),
            task,
            preparation: Preparation::Unsaid,
            threshold: None,
            background: None,
            kept_rows: None,
            sets: Vec::new(),
            profile: None,
            training: Map::new(),
        })
    }

    /// Whether its preparation makes what it says of its input, and of texts what is asked for: a model that goes on with texts knows its
    /// pieces, and one of a column of texts tells classes apart.
    ///
    /// # Errors
    /// Where it doesn't, with both.
    pub fn check(&self) -> Result<()> {
        self.preparation.check(&self.input)?;
        self.check_kept()?;
        self.check_sets()?;
        if self.profile.as_ref().is_some_and(|profile| !profile.is_sound()) {
            let message = "what the file says of the rows of its training can't be: its counts don't add up";
            return Err(Error::Preparation(message.to_string()));
        }
        match (&self.preparation, &self.task) {
            (Preparation::Text(text), Task::Text { pieces }) if text.tokens.count() != *pieces => {
                Err(Error::Preparation(format!(
                    "the model says what comes next of {} of text, and its preparation knows {}",
                    counted(*pieces, "piece"),
                    text.tokens.count()
                )))
            }
            (Preparation::Text(text), task) => match (&text.columns, task) {
                (None, Task::Text { .. }) | (Some(_), Task::Classes { .. }) => Ok(()),
                (None, task) => Err(Error::Preparation(format!(
                    "the preparation goes on with texts, and the model gives {}; TextPreparation::with_columns names the columns of texts \
                     and classes",
                    task.given()
                ))),
                (Some(columns), task) => Err(Error::Preparation(format!(
                    "the preparation tells the texts of column {} apart, and the model gives {}; a TextPreparation without columns goes on \
                     with texts",
                    columns.text,
                    task.given()
                ))),
            },
            (Preparation::Pairs(pairs), Task::Text { pieces }) if pairs.count() == *pieces => Ok(()),
            (Preparation::Pairs(pairs), task) => Err(Error::Preparation(format!(
                "the preparation is of pairs of texts of {}, and the model gives {}",
                counted(pairs.count(), "piece"),
                task.given()
            ))),
            (Preparation::Forecast(series), Task::Numbers { names, .. }) if names.len() == series.horizon => {
                Ok(())
            }
            (Preparation::Forecast(series), task) => Err(Error::Preparation(format!(
                "the preparation forecasts {}, and the model gives {}",
                counted(series.horizon, "step"),
                task.given()
            ))),
            (Preparation::Tags(_), Task::Tags { .. }) => Ok(()),
            (Preparation::Tags(_), task) => Err(Error::Preparation(format!(
                "the preparation is of sentences whose words have tags, and the model gives {}",
                task.given()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether what is kept of the training's rows is of rows as the preparation makes them.
    fn check_kept(&self) -> Result<()> {
        let none = |what: &str| {
            Error::Preparation(format!("the model's file has {what} of a table, and the model takes none"))
        };
        let plan = self.preparation.table();
        if let Some(background) = &self.background {
            background.check(plan.ok_or_else(|| none("a background"))?)?;
        }
        if let Some(kept) = &self.kept_rows {
            kept.check(plan.ok_or_else(|| none("rows"))?)?;
        }
        Ok(())
    }

    /// Whether sets are of the targets that there are.
    fn check_sets(&self) -> Result<()> {
        let parts = self.task.parts();
        let suits = |(part, sets): (&TaskPart, &Option<ClassSets>)| match (part.meaning, sets) {
            (_, None) => true,
            (PartMeaning::Classes(names), Some(sets)) => sets.suits(names.len()),
            (PartMeaning::Number { .. }, Some(_)) => false,
        };
        match self.sets.is_empty()
            || self.sets.len() == parts.len() && parts.iter().zip(&self.sets).all(suits)
        {
            true => Ok(()),
            false => {
                Err(Error::Training("the sets of classes are of other targets than the model's".to_string()))
            }
        }
    }

    /// Writes layers with it; see [`Model::save`](super::Model::save).
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, layers: &Sequential, path: &Path) -> Result<()> {
        self.store(layers, None, path)
    }
}

/// The first few names, for a line of text.
///
/// ```
/// let names = ["ant", "bee", "cat"].map(String::from);
/// assert_eq!(kiln::model::listed(&names), "ant, bee, cat");
/// ```
pub fn listed(names: &[String]) -> String {
    match names.len() {
        0..=8 => names.join(", "),
        count => format!("{}, … ({count})", names[..6].join(", ")),
    }
}
