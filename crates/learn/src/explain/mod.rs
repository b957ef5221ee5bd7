//! Why a model answers as it does: what each column of a row moves its answer by, from what the model says of rows like the training's to what it says
//! of this one. What is moved adds up to the difference.
//!
//! Trees and linear layers have exact Shapley values, networks integrated gradients, and whatever else answers sampled Shapley values; all of them are
//! told by column of the table, not by prepared input. docs/explained.md says which definitions these are.

mod anatomy;
mod asked;
mod change;
mod exact;
mod gradients;
mod pictures;
#[cfg(test)]
mod reference_tests;
mod sampled;
#[cfg(test)]
mod tests;
mod texts;
mod trees;

use kiln_data::{Form, TablePreparation};
use kiln_map::counted;

use self::anatomy::{Addend, addends, has_slopes};
pub use self::asked::ExplainedScale;
use self::asked::{AskedTarget, WantedScore};
pub use self::change::{ChangeGoal, ChangeOptions, RowChange};
use self::gradients::Quadrature;
pub use self::pictures::{PictureBaseline, PictureExplanation, class_scale, explain_pictures};
use self::sampled::SampledGame;
pub use self::texts::{TextExplanation, explain_text, explain_words};
pub use crate::background::Background;
use crate::background::ColumnSlots;
pub use crate::kept_rows::{KeptRows, NearRow};
use crate::model::Model;
use crate::{Error, Result};

/// How an answer is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExplainMethod {
    /// Shapley values, of models that are sums of trees and linear layers.
    Exact,
    /// Integrated gradients, of networks.
    Gradients,
    /// Sampled Shapley values, of anything.
    Sampled,
}

impl ExplainMethod {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ExplainMethod::Exact => "exact",
            ExplainMethod::Gradients => "gradients",
            ExplainMethod::Sampled => "sampled",
        }
    }
}

impl std::str::FromStr for ExplainMethod {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<ExplainMethod, String> {
        let all = [ExplainMethod::Exact, ExplainMethod::Gradients, ExplainMethod::Sampled];
        all.into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| "it is exact, gradients or sampled".to_string())
    }
}

/// What is to be explained, and how.
#[derive(Clone, Debug, Default)]
pub struct ExplainOptions {
    /// Of classes the one whose score is explained; else of each row the class that is said.
    pub class: Option<String>,
    /// Which of several targets; else the first.
    pub target: Option<String>,
    /// How; else the first that the model has of exact, gradients and sampled.
    pub method: Option<ExplainMethod>,
    /// Prepared rows `[rows, width]` to compare with, instead of the background in the model's file.
    pub background: Option<Vec<f32>>,
    /// Of sampled values how many orders of columns are walked, both ways each; else as many as time allows.
    pub orders: Option<usize>,
    /// Of integrated gradients how many points of Gauss and Legendre; else as many as it takes.
    pub points: Option<usize>,
    /// Where the randomness of samples starts.
    pub seed: u64,
}

/// What each column of a row moves.
#[derive(Clone, Debug, PartialEq)]
pub struct RowExplanation {
    /// The class whose score it is, by its place.
    pub class: Option<usize>,
    /// What the model says of the row, in the scale of the explanation.
    pub output: f64,
    /// What it says of what the row is compared with.
    pub baseline: f64,
    /// What each column moves.
    pub moved: Vec<f64>,
    /// How far each may be off, a standard error; nothing where they are exact.
    pub errors: Vec<f64>,
}

impl RowExplanation {
    /// What is left of the output less the baseline and all that is moved: rounding, and of gradients the error of the integral.
    pub fn rest(&self) -> f64 {
        self.output - self.baseline - self.moved.iter().sum::<f64>()
    }

    /// The columns in the order of how much they move.
    pub fn strongest(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.moved.len()).collect();
        order.sort_by(|a, b| self.moved[*b].abs().total_cmp(&self.moved[*a].abs()));
        order
    }
}

/// Explains what a model says of rows.
///
/// ```
/// use kiln::data::{Choices, Table, TablePreparation, TargetKind};
/// use kiln::explain::{Background, ExplainOptions, Explainer};
/// use kiln::linear::{self, LinearOptions};
/// use kiln::model::{About, Model, Task};
///
/// let table = Table::read(b"size,colour,price\n1,red,10\n2,red,21\n3,blue,29\n4,blue,41\n5,red,50\n6,blue,59\n")?;
/// let rows: Vec<usize> = (0..table.len()).collect();
/// let plan = TablePreparation::fit(&table, &rows, &Choices::new().target("price").target_kind(TargetKind::Number))?;
/// let set = plan.apply(&table, &rows)?;
/// let task = Task::of_target(plan.target().unwrap());
/// let layers = linear::fit(&set, &task, &LinearOptions::new())?;
/// let about = About::new(&layers, &kiln::data::Form::numbers(&[plan.width()]), task)?;
/// let mut model = Model::new(layers, about).with_preparation(plan.clone())?;
/// model.about_mut().background = Some(Background::fit(&set, &plan)?);
///
/// let explainer = Explainer::new(&model, &[], &ExplainOptions::default())?;
/// let why = explainer.explain(&plan.apply_inputs(&table)?.values)?;
/// assert_eq!((explainer.columns().next(), explainer.scale().to_string()), (Some("size"), "units of price".to_string()));
/// assert!(why[5].moved[0] > 10.0 && why[5].rest().abs() < 1e-3, "{:?}", why[5]);
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct Explainer<'m> {
    model: &'m Model,
    form: Form,
    groups: Vec<ColumnSlots>,
    /// How many of the columns are codes.
    codes: usize,
    asked: AskedTarget,
    method: ExplainMethod,
    addends: Vec<Addend<'m>>,
    background: GivenBackground,
    options: ExplainOptions,
    plan: TablePreparation,
}

enum GivenBackground {
    /// Of the model's file.
    Own(Background),
    Rows(Vec<f32>),
}

impl<'m> Explainer<'m> {
    /// For rows of a table of these columns, which only a model that knows no columns itself asks for.
    ///
    /// # Errors
    /// Where the model takes no tables, has nothing to compare with, or what is asked for isn't there.
    pub fn new(model: &'m Model, names: &[&str], options: &ExplainOptions) -> Result<Explainer<'m>> {
        let about = model.about();
        let (plan, form) = about.of_columns(names.to_vec())?.ok_or_else(|| {
            Error::Preparation(format!(
                "{}, and columns are explained",
                about.preparation.takes(&about.input)
            ))
        })?;
        let asked = AskedTarget::new(
            &about.task,
            about.threshold,
            options.target.as_deref(),
            options.class.as_deref(),
        )?;
        let background = match (&options.background, &about.background) {
            (Some(rows), _) if rows.is_empty() || !rows.len().is_multiple_of(plan.width()) => {
                return Err(Error::Preparation(format!(
                    "rows to compare with have {}",
                    counted(plan.width(), "number")
                )));
            }
            (Some(rows), _) => GivenBackground::Rows(rows.clone()),
            (None, Some(own)) => GivenBackground::Own(own.clone()),
            (None, None) => {
                return Err(Error::Preparation(
                    "the model's file has no rows to compare with; name a table of some, best that of the training: --background TABLE"
                        .to_string(),
                ));
            }
        };
        let codes = plan.vocabularies().len();
        let outputs = model.shape_for(1)?.iter().skip(1).product();
        let exact = addends(model.layers(), &asked.outputs, outputs)?;
        let smooth = has_slopes(model.layers(), codes);
        let method = match (options.method, &exact) {
            (Some(ExplainMethod::Exact), None) => {
                return Err(Error::Preparation(
                    "exact values are of sums of trees and linear layers, and the model has others; leave the method out".to_string(),
                ));
            }
            (Some(ExplainMethod::Gradients), _) if !smooth => {
                return Err(Error::Preparation(
                    "gradients are of networks, and parts of the model have no slopes; leave the method out"
                        .to_string(),
                ));
            }
            (Some(method), _) => method,
            (None, Some(_)) => ExplainMethod::Exact,
            (None, None) if smooth => ExplainMethod::Gradients,
            (None, None) => ExplainMethod::Sampled,
        };
        let groups = plan.groups();
        let (addends, options) = (exact.unwrap_or_default(), options.clone());
        Ok(Explainer { model, form, groups, codes, asked, method, addends, background, options, plan })
    }

    /// The columns, in the order of what they move.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(name, _)| name.as_str())
    }

    /// How answers are taken apart.
    pub fn method(&self) -> ExplainMethod {
        self.method
    }

    /// In what they are explained.
    pub fn scale(&self) -> ExplainedScale {
        self.asked.scale()
    }

    /// The classes of the target that is explained; none of a number.
    pub fn classes(&self) -> &[String] {
        self.asked.classes()
    }

    /// The name of the target that is explained; nothing where a model tells classes apart and nothing else.
    pub fn target(&self) -> &str {
        &self.asked.target
    }

    /// What a value in the scale of the explanation is in the target's own unit; nothing of classes.
    pub fn number(&self, value: f64) -> Option<f64> {
        let unit = self.asked.unit()?;
        Some(match unit.curve {
            kiln_data::Curve::Straight => value,
            kiln_data::Curve::Log { .. } => unit.number((value - unit.offset) / unit.scale),
            kiln_data::Curve::Count => libm::exp(value),
        })
    }

    /// What moves the model's answers for prepared rows `[rows, width]`, row by row.
    ///
    /// # Errors
    /// Where rows have more or fewer numbers than the model takes, or it can't be asked.
    pub fn explain(&self, rows: &[f32]) -> Result<Vec<RowExplanation>> {
        let width = self.width();
        if width == 0 || !rows.len().is_multiple_of(width) {
            return Err(Error::Preparation(format!("a row has {}", counted(width, "number"))));
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.ask(rows, rows.len() / width)?;
        let each = outputs.len() / (rows.len() / width);
        let wanted: Vec<WantedScore> =
            outputs.chunks(each.max(1)).map(|outputs| self.asked.wanted(outputs)).collect::<Result<_>>()?;
        match self.method {
            ExplainMethod::Exact => self.exactly(rows, &outputs, &wanted),
            ExplainMethod::Gradients => self.by_gradients(rows, &outputs, &wanted),
            ExplainMethod::Sampled => self.by_samples(rows, &outputs, &wanted),
        }
    }

    fn width(&self) -> usize {
        self.form.width()
    }

    /// What the model gives for prepared rows.
    fn ask(&self, rows: &[f32], count: usize) -> Result<Vec<f32>> {
        let mut outputs = Vec::new();
        self.model.run(&self.form, rows, count, &mut outputs)?;
        Ok(outputs)
    }

    /// Rows to compare with, at most so many.
    fn compared(&self, rows: usize) -> Vec<f32> {
        match &self.background {
            GivenBackground::Own(own) => own.drawn(&self.groups, rows),
            GivenBackground::Rows(all) => {
                let (width, count) = (self.width(), all.len() / self.width().max(1));
                let rows = rows.min(count);
                (0..rows).flat_map(|row| all[row * count / rows * width..][..width].iter().copied()).collect()
            }
        }
    }

    /// Explains by integrated gradients, from the mean of the background's rows as the first layers make of them.
    fn by_gradients(
        &self,
        rows: &[f32],
        outputs: &[f32],
        wanted: &[WantedScore],
    ) -> Result<Vec<RowExplanation>> {
        let layers = self.model.layers();
        let front = anatomy::front(layers);
        let scaled = exact::features(layers, front, &self.form, rows)?;
        let compared = exact::features(layers, front, &self.form, &self.compared(usize::MAX))?;
        let width = scaled.len() / wanted.len().max(1);
        let count = compared.len() / width.max(1);
        let mean = |at: usize| {
            let sum: f64 = compared.iter().skip(at).step_by(width).map(|value| f64::from(*value)).sum();
            (sum / count.max(1) as f64) as f32
        };
        let mean: Vec<f32> = (0..width).map(mean).collect();
        let each = outputs.len() / wanted.len().max(1);
        let there = exact::behind(layers, front, &mean, &[width], None)?;
        let player = exact::players(&self.groups, self.codes, &anatomy::vectors(layers), width)?;
        let ways: Vec<gradients::StraightPath> = (0..wanted.len())
            .map(|at| gradients::StraightPath {
                from: &mean,
                to: &scaled[at * width..][..width],
                weights: &wanted[at].weights,
                difference: wanted[at].of(&outputs[at * each..][..each]) - wanted[at].of(&there),
            })
            .collect();
        let mut slopes = gradients::Slopes::new(layers, front, &[width], each, |x, _, _| x.clone());
        let found = match self.options.points {
            Some(points) => {
                gradients::integrated_by(&mut slopes, &ways, &Quadrature::new(1, points.clamp(1, 4096)))?
            }
            None => gradients::integrated(&mut slopes, &ways)?,
        };
        let row = |(at, found): (usize, Vec<f64>)| {
            let mut moved = vec![0.0; self.groups.len()];
            player.iter().zip(found).for_each(|(player, own)| moved[*player] += own);
            RowExplanation {
                class: wanted[at].class,
                output: wanted[at].of(&outputs[at * each..][..each]),
                baseline: wanted[at].of(&there),
                moved,
                errors: Vec::new(),
            }
        };
        Ok(found.into_iter().enumerate().map(row).collect())
    }

    /// Explains by sampled orders of columns.
    fn by_samples(
        &self,
        rows: &[f32],
        outputs: &[f32],
        wanted: &[WantedScore],
    ) -> Result<Vec<RowExplanation>> {
        let (width, each) = (self.width(), outputs.len() / wanted.len().max(1));
        let orders = match self.options.orders {
            Some(orders) => orders.clamp(2, 10_000),
            None => (ASKED / (wanted.len() * 2 * self.groups.len()).max(1)).clamp(FEWEST, MOST),
        };
        let ask = |rows: &[f32], count: usize| self.ask(rows, count);
        let mut compared = self.compared(orders);
        // Orders beyond the rows that there are begin with them again.
        let there = compared.len();
        (there..orders * width).for_each(|at| compared.push(compared[at - there]));
        let game = SampledGame::new(&ask, &self.groups, compared, self.options.seed)?;
        let row = |at: usize| {
            let own = &outputs[at * each..][..each];
            let parts = game.of(&rows[at * width..][..width], own, &wanted[at])?;
            Ok(RowExplanation {
                class: wanted[at].class,
                output: wanted[at].of(own),
                baseline: parts.baseline,
                moved: parts.moved,
                errors: parts.errors,
            })
        };
        (0..wanted.len()).map(row).collect()
    }
}

/// The model is asked of about so many rows for sampled values, of at least and at most so many orders.
const ASKED: usize = 120_000;
const FEWEST: usize = 4;
const MOST: usize = 50;
