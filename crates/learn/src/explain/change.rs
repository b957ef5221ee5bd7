//! The smallest change of a row that turns what a model says: few columns, each within what training had, and verified by the model itself.
//!
//! Columns are tried one at a time, then two of them, and so on: the best few of one round are gone on with in the next. Of what turns the answer the
//! change is taken that moves columns the least far, a number by the share of the training's values that lie between, a word by one; numbers are then
//! drawn back as near to where they were as the answer allows, and written with as few digits as that takes.

use kiln_data::{ColumnKind, Encoding, RawCell, RowPlan, Scale};
use kiln_map::{counted, nearest};

use super::Explainer;
use super::asked::AskedTarget;
use crate::{Error, Result};

/// What the answer is to become.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeGoal {
    /// Another class than the one that is said, whichever is nearest.
    AnotherClass,
    /// This class.
    Class(String),
    /// A number above this.
    Above(f64),
    /// A number below this.
    Below(f64),
}

/// What may be changed.
#[derive(Clone, Debug)]
pub struct ChangeOptions {
    /// What the answer is to become.
    pub goal: ChangeGoal,
    /// Columns that stay as they are.
    pub fixed: Vec<String>,
    /// How many columns may change at most.
    pub most: usize,
}

/// A change that turns the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange {
    /// Each column that is changed, what it was, and what it becomes.
    pub columns: Vec<(String, String, String)>,
    /// The model's outputs for the changed row.
    pub outputs: Vec<f32>,
}

/// A row that is tried.
#[derive(Clone)]
struct TriedRow {
    cells: Vec<OwnCell>,
    /// Which columns differ from the row's.
    changed: Vec<usize>,
    /// How far.
    far: f64,
    /// How near the goal, above 0 where it is reached.
    near: f64,
    outputs: Vec<f32>,
}

/// A row that was tried with another value in one more column. There are as many as all columns have values, so none has cells of its own.
struct UntriedRow<'c> {
    row: &'c TriedRow,
    column: usize,
    cell: &'c OwnCell,
}

impl UntriedRow<'_> {
    fn tried(&self, far: f64, near: f64, outputs: &[f32]) -> TriedRow {
        let mut cells = self.row.cells.clone();
        cells[self.column] = self.cell.clone();
        let changed = self.row.changed.iter().copied().chain([self.column]).collect();
        TriedRow { cells, changed, far, near, outputs: outputs.to_vec() }
    }
}

/// A cell that outlives the table it is of.
#[derive(Clone, Debug, PartialEq)]
enum OwnCell {
    Number(f64),
    Word(String),
    Missing,
}

impl OwnCell {
    fn of(cell: RawCell) -> OwnCell {
        match cell {
            RawCell::Number(number) if !number.is_nan() => OwnCell::Number(number),
            RawCell::Number(_) | RawCell::Missing => OwnCell::Missing,
            RawCell::Text(_) | RawCell::Quoted(_) | RawCell::Truth(_) => {
                OwnCell::Word(cell.text().into_owned())
            }
        }
    }

    fn raw(&self) -> RawCell<'_> {
        match self {
            OwnCell::Number(number) => RawCell::Number(*number),
            OwnCell::Word(word) => RawCell::Text(word),
            OwnCell::Missing => RawCell::Missing,
        }
    }

    fn said(&self) -> String {
        match self {
            OwnCell::Missing => "(missing)".to_string(),
            own => own.raw().text().into_owned(),
        }
    }
}

/// What a column may become, and how numbers of it lie in order.
struct ColumnValues {
    cells: Vec<OwnCell>,
    /// The numbers that training had, in order.
    numbers: Vec<f64>,
}

impl ColumnValues {
    /// How far one value is from another.
    fn between(&self, from: &OwnCell, to: &OwnCell) -> f64 {
        match (from, to) {
            (OwnCell::Number(from), OwnCell::Number(to)) => {
                let (low, high) = (from.min(*to), from.max(*to));
                let share = self.numbers.iter().filter(|number| (low..=high).contains(number)).count();
                0.02 + share as f64 / self.numbers.len().max(1) as f64
            }
            (from, to) => f64::from(u8::from(from != to)),
        }
    }
}

/// Rows that are gone on with.
const KEPT: usize = 12;

/// Rows that the model is asked of at once at most, and numbers in all of them.
const TOGETHER: usize = 8192;
const NUMBERS: usize = 1 << 23;

/// Values of a column that are tried.
const VALUES: usize = 64;

/// How often a number is drawn back by halves.
const HALVES: usize = 24;

impl Explainer<'_> {
    /// The smallest change of a raw row, whose cells are in the order of [`Explainer::needed`], that reaches a goal; nothing where none was found.
    ///
    /// # Errors
    /// Where the goal isn't one of the model's, a column that stays isn't there, or the row doesn't suit the model.
    pub fn change(&self, row: &[RawCell], options: &ChangeOptions) -> Result<Option<RowChange>> {
        let search = ChangeSearch::new(self, options)?;
        let cells: Vec<OwnCell> = row.iter().map(|cell| OwnCell::of(*cell)).collect();
        search.run(cells)
    }

    /// The columns of a raw row that the model needs, in their order.
    ///
    /// # Errors
    /// Where there are transforms of one's own, which are written for tables.
    pub fn needed(&self) -> Result<Vec<String>> {
        Ok(self.plan.row_plan()?.columns().to_vec())
    }
}

struct ChangeSearch<'s, 'm> {
    explainer: &'s Explainer<'m>,
    plan: RowPlan,
    choices: Vec<ColumnValues>,
    goal: KnownGoal,
    most: usize,
}

/// A goal that the model knows.
enum KnownGoal {
    Another,
    Class(usize),
    Above(f64),
    Below(f64),
}

impl<'s, 'm> ChangeSearch<'s, 'm> {
    fn new(explainer: &'s Explainer<'m>, options: &ChangeOptions) -> Result<ChangeSearch<'s, 'm>> {
        let plan = explainer.plan.row_plan()?;
        let goal = reached(&explainer.asked, &options.goal)?;
        for name in &options.fixed {
            if !plan.columns().contains(name) {
                return Err(Error::Preparation(
                    match nearest(name, plan.columns().iter().map(String::as_str)) {
                        Some(near) => {
                            format!("there is no column {name} to hold fixed; did you mean {near}?")
                        }
                        None => format!("there is no column {name} to hold fixed"),
                    },
                ));
            }
        }
        let compared = explainer.compared(usize::MAX);
        let width = explainer.width();
        let choice = |name: &String| {
            let feature = explainer.plan.features().iter().find(|feature| feature.column == *name);
            let group = explainer.groups.iter().find(|(group, _)| group == name);
            let none = ColumnValues { cells: Vec::new(), numbers: Vec::new() };
            let (Some(feature), Some((_, places))) = (feature, group) else { return none };
            if options.fixed.contains(name) {
                return none;
            }
            match &feature.encoding {
                Encoding::Number { scale, flag, .. } => {
                    let seen = compared.chunks(width).map(|row| &row[places.clone()]);
                    // Where a flag says that it was missing there is no number.
                    let there = seen.filter(|inputs| !*flag || inputs.last().is_none_or(|flag| *flag < 0.5));
                    of_numbers(there.map(|inputs| inputs[0]), *scale)
                }
                Encoding::Pair { words, .. } => of_words(words, feature.kind),
                Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } => {
                    of_words(&vocabulary.words, feature.kind)
                }
                // Texts and days of other rows are no advice.
                Encoding::Text { .. } | Encoding::Date { .. } => none,
            }
        };
        let choices = plan.columns().iter().map(choice).collect();
        Ok(ChangeSearch { explainer, choices, plan, goal, most: options.most.max(1) })
    }

    fn run(&self, cells: Vec<OwnCell>) -> Result<Option<RowChange>> {
        let start = self.tried(cells, Vec::new(), None)?;
        let said = self.explainer.asked.said(&start.outputs)?;
        let start = TriedRow { near: self.near(&start.outputs, said)?, ..start };
        if start.near > 0.0 {
            return Ok(Some(self.told(&start, &start)));
        }
        let mut kept = vec![start.clone()];
        for _ in 0..self.most {
            let (reached, nearest) = self.round(&start, &kept, said)?;
            if let Some(best) = reached {
                let best = self.drawn_back(&start, best, said)?;
                return Ok(Some(self.told(&start, &best)));
            }
            if nearest.is_empty() {
                return Ok(None);
            }
            kept = nearest;
        }
        Ok(None)
    }

    /// Changes one more column of the rows that were kept: what reaches the goal and is the least far, and else what comes nearest to it.
    fn round(
        &self,
        start: &TriedRow,
        kept: &[TriedRow],
        said: Option<usize>,
    ) -> Result<(Option<TriedRow>, Vec<TriedRow>)> {
        let together = (NUMBERS / self.plan.width().max(1)).clamp(1, TOGETHER);
        let mut candidates = kept.iter().flat_map(|row| self.untried(start, row));
        let (mut reached, mut nearest) = (None::<TriedRow>, Vec::<TriedRow>::new());
        loop {
            let some: Vec<UntriedRow> = candidates.by_ref().take(together).collect();
            if some.is_empty() {
                return Ok((reached, nearest));
            }
            let outputs = self.asked(&some)?;
            for (candidate, outputs) in some.iter().zip(outputs.chunks((outputs.len() / some.len()).max(1))) {
                let near = self.near(outputs, said)?;
                let far = || {
                    let column = candidate.column;
                    candidate.row.far + self.choices[column].between(&start.cells[column], candidate.cell)
                };
                if near > 0.0 {
                    let far = far();
                    if reached.as_ref().is_none_or(|best| far < best.far) {
                        reached = Some(candidate.tried(far, near, outputs));
                    }
                    continue;
                }
                let place = nearest.partition_point(|row| row.near >= near);
                if reached.is_none() && place < KEPT {
                    nearest.insert(place, candidate.tried(far(), near, outputs));
                    nearest.truncate(KEPT);
                }
            }
        }
    }

    /// A row with each other value in each column that it hasn't changed.
    fn untried<'c>(
        &'c self,
        start: &'c TriedRow,
        row: &'c TriedRow,
    ) -> impl Iterator<Item = UntriedRow<'c>> + 'c {
        let free = move |(column, _): &(usize, &ColumnValues)| !row.changed.contains(column);
        let columns = self.choices.iter().enumerate().filter(free);
        columns.flat_map(move |(column, choice)| {
            let others = choice.cells.iter().filter(move |cell| **cell != start.cells[column]);
            others.map(move |cell| UntriedRow { row, column, cell })
        })
    }

    /// How near a row is to the goal; above 0 where the model says so.
    fn near(&self, outputs: &[f32], from: Option<usize>) -> Result<f64> {
        let asked = &self.explainer.asked;
        let said = asked.said(outputs)?;
        let is_said = |is_said: bool, margin: f64| match is_said {
            true => margin.abs().max(f64::MIN_POSITIVE),
            false => margin.min(0.0) - 1e-9,
        };
        let number = || {
            Ok::<f64, Error>(self.explainer.number(asked.wanted(outputs)?.of(outputs)).unwrap_or(f64::NAN))
        };
        let near = match self.goal {
            KnownGoal::Another => {
                let from = from.unwrap_or(0);
                is_said(said != Some(from), -asked.margin(outputs, from)?)
            }
            KnownGoal::Class(class) => is_said(said == Some(class), asked.margin(outputs, class)?),
            KnownGoal::Above(bound) => number()? - bound,
            KnownGoal::Below(bound) => bound - number()?,
        };
        // What is no number is near nothing.
        Ok(if near.is_nan() { f64::NEG_INFINITY } else { near })
    }

    /// What the model says of candidates.
    fn asked(&self, candidates: &[UntriedRow]) -> Result<Vec<f32>> {
        let width = self.plan.width();
        let mut inputs = vec![0.0; candidates.len() * width];
        for (candidate, inputs) in candidates.iter().zip(inputs.chunks_mut(width.max(1))) {
            let mut raw: Vec<RawCell> = candidate.row.cells.iter().map(OwnCell::raw).collect();
            raw[candidate.column] = candidate.cell.raw();
            self.plan.encode(&raw, inputs)?;
        }
        self.explainer.ask(&inputs, candidates.len())
    }

    /// What the model says of a row.
    fn tried(&self, cells: Vec<OwnCell>, changed: Vec<usize>, from: Option<usize>) -> Result<TriedRow> {
        let raw: Vec<RawCell> = cells.iter().map(OwnCell::raw).collect();
        let mut inputs = vec![0.0; self.plan.width()];
        self.plan.encode(&raw, &mut inputs)?;
        let outputs = self.explainer.ask(&inputs, 1)?;
        let near = self.near(&outputs, from)?;
        Ok(TriedRow { cells, changed, far: 0.0, near, outputs })
    }

    /// The same change with each number as near to where it was as the goal allows.
    fn drawn_back(&self, start: &TriedRow, best: TriedRow, said: Option<usize>) -> Result<TriedRow> {
        let mut best = best;
        for column in best.changed.clone() {
            let (OwnCell::Number(from), OwnCell::Number(to)) = (&start.cells[column], &best.cells[column])
            else {
                continue;
            };
            let (from, to) = (*from, *to);
            let with = |number: f64, best: &TriedRow| -> Result<Option<TriedRow>> {
                let mut cells = best.cells.clone();
                cells[column] = OwnCell::Number(number);
                let row = self.tried(cells, best.changed.clone(), said)?;
                Ok(Some(row).filter(|row| row.near > 0.0))
            };
            let (mut fails, mut holds) = (from, to);
            for _ in 0..HALVES {
                let middle = 0.5 * (fails + holds);
                match with(middle, &best)? {
                    Some(row) => (holds, best) = (middle, row),
                    None => fails = middle,
                }
            }
            // As few digits as it takes, on the side that holds and within what training had.
            let size = libm::log10((to - from).abs().max(f64::MIN_POSITIVE)).floor() as i32;
            for digits in (-size - 1)..(-size + 8) {
                let unit = libm::pow(10.0, f64::from(-digits));
                let number =
                    if to > from { (holds / unit).ceil() * unit } else { (holds / unit).floor() * unit };
                let number = format!("{number:.*}", digits.max(0) as usize).parse().unwrap_or(number);
                if (number - from) * (to - from) <= 0.0 || (to - number) * (to - from) < 0.0 {
                    continue;
                }
                if let Some(row) = with(number, &best)? {
                    best = row;
                    break;
                }
            }
        }
        Ok(best)
    }

    fn told(&self, start: &TriedRow, row: &TriedRow) -> RowChange {
        let column =
            |at: &usize| (self.plan.columns()[*at].clone(), start.cells[*at].said(), row.cells[*at].said());
        RowChange { columns: row.changed.iter().map(column).collect(), outputs: row.outputs.clone() }
    }
}

/// What a goal is of this model.
fn reached(asked: &AskedTarget, goal: &ChangeGoal) -> Result<KnownGoal> {
    let refuse = |message: &str| Err(Error::Preparation(message.to_string()));
    match (goal, asked.classes()) {
        (ChangeGoal::AnotherClass, []) => {
            refuse("the model predicts a number; say above or below which it is to come")
        }
        (ChangeGoal::AnotherClass, _) => Ok(KnownGoal::Another),
        (ChangeGoal::Class(_), []) => refuse("the model predicts a number, and a class is to be reached"),
        (ChangeGoal::Class(name), classes) => match classes.iter().position(|class| class == name) {
            Some(class) => Ok(KnownGoal::Class(class)),
            None => Err(Error::Preparation(format!(
                "the model knows no class {name}; it knows {}",
                crate::model::listed(classes)
            ))),
        },
        (ChangeGoal::Above(_) | ChangeGoal::Below(_), [_, ..]) => {
            refuse("the model tells classes apart, and a number is to be reached")
        }
        (ChangeGoal::Above(bound), []) => Ok(KnownGoal::Above(*bound)),
        (ChangeGoal::Below(bound), []) => Ok(KnownGoal::Below(*bound)),
    }
}

/// The numbers that training had in a column.
fn of_numbers(inputs: impl Iterator<Item = f32>, scale: Scale) -> ColumnValues {
    let number = |input: f32| format!("{:.4e}", scale.back(input)).parse::<f64>().unwrap_or(f64::NAN);
    let mut numbers: Vec<f64> = inputs.map(number).filter(|number| number.is_finite()).collect();
    numbers.sort_by(f64::total_cmp);
    let mut distinct = numbers.clone();
    distinct.dedup();
    let every = distinct.len().div_ceil(VALUES).max(1);
    let last = distinct.last().copied();
    let cells = distinct.iter().copied().step_by(every).chain(last).map(OwnCell::Number).collect();
    ColumnValues { cells, numbers }
}

/// The words that training had; numbers where the column holds numbers that are treated as words.
fn of_words(words: &[String], kind: ColumnKind) -> ColumnValues {
    let cell = |word: &String| match (kind, word.parse::<f64>()) {
        (ColumnKind::Number, Ok(number)) => OwnCell::Number(number),
        _ => OwnCell::Word(word.clone()),
    };
    ColumnValues { cells: words.iter().take(VALUES).map(cell).collect(), numbers: Vec::new() }
}

impl RowChange {
    /// In a few words: "age from 63 to 51 and 1 more column".
    pub fn brief(&self) -> String {
        match self.columns.as_slice() {
            [] => "nothing needs to change".to_string(),
            [(name, from, to)] => format!("{name} from {from} to {to}"),
            [(name, from, to), rest @ ..] => {
                format!("{name} from {from} to {to}, and {}", counted(rest.len(), "column"))
            }
        }
    }
}
