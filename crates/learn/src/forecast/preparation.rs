//! How series become a model's rows, and its outputs numbers again: what is stored with a model that forecasts.
//!
//! A row is one series at one *origin*, the step at which a forecast begins. What it says of the past stands in a window of the last values and is
//! scaled by that window: less a level, by a scale. A step of the horizon is learned as what it is more than the value a season before, in that
//! scale; so an output of 0 is the seasonal naive forecast, and one model fits series of any size.

use kiln_data::{Choices, FileFormat, Form, Reading, Table, TablePreparation, Treatment};
use kiln_map::counted;
use serde::{Deserialize, Serialize};

use super::{BaselineShare, CalendarPart, Duplicates, Frequency, Gaps, SeriesOptions, SeriesSet, TimeSeries};
use crate::row::InputSpec;
use crate::{Error, Result};

/// How series become rows, and outputs numbers again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastPreparation {
    /// The column that is forecast.
    pub target: String,
    /// The column of times.
    pub time: String,
    /// The columns that say which series a row is of.
    pub keys: Vec<String>,
    /// How often a series has a value.
    pub frequency: Frequency,
    /// What several rows of one step are.
    #[serde(default)]
    pub duplicates: Duplicates,
    /// What steps without a value are.
    #[serde(default)]
    pub gaps: Gaps,
    /// How many steps are forecast.
    pub horizon: usize,
    /// How many steps of the past are seen.
    pub window: usize,
    /// Seasons, in steps: first the one that the naive forecast repeats, 1 where there is none.
    pub periods: Vec<usize>,
    /// Whether values are learned by their logarithms.
    #[serde(default)]
    pub log: bool,
    /// Cycles of the calendar that are told of each step.
    #[serde(default)]
    pub calendar: Vec<CalendarPart>,
    /// How the columns become inputs that are known of the future too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Box<TablePreparation>>,
    /// What of a forecast needs no model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<BaselineShare>,
    /// The bounds of the values that may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bands: Option<StepBands>,
    /// What was told of how the table's file is written.
    #[serde(default, skip_serializing_if = "FileFormat::is_unsaid")]
    pub file: FileFormat,
}

/// Bounds around a forecast, step by step, in the scale that is learned in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepBands {
    /// The share of values that lie between the bounds.
    pub interval: f64,
    /// Of each step what the lower and the upper bound are more than the output.
    pub offsets: Vec<[f64; 2]>,
}

/// A series as rows are made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedSeries {
    /// What it goes by.
    pub key: Vec<String>,
    /// The number of its first step.
    pub first: i64,
    /// Its values as they are, `NaN` where there is none.
    pub values: Vec<f64>,
    /// As they are learned: filled, and by their logarithms where that is so.
    learned: Vec<f64>,
    /// What is known of each step and of those of a horizon behind the last: calendar, then columns.
    told: Vec<f32>,
    /// How many of the steps behind the last have a row that tells the known columns.
    pub foretold: usize,
    /// How many values have no logarithm though the model learned by it, and are learned as the least above 0.
    pub raised: usize,
}

/// Numbers that sum up a window: its mean, its last three, its last difference, its deviation of late, its rise, its share of zeros.
const FIGURES: usize = 6;

/// How many seasons a mean of the same season goes back.
const CYCLES: usize = 3;

/// Targets beyond this are drawn in: a window that hardly moves says nothing of the size of what comes.
pub(super) const FARTHEST: f64 = 20.0;

/// More numbers than this in a row are a mistake, or worse.
const WIDEST: usize = 1 << 24;

impl ForecastPreparation {
    /// Of a column and one of times: so many steps, with nothing else told.
    pub fn new(
        target: impl Into<String>,
        time: impl Into<String>,
        frequency: Frequency,
        horizon: usize,
    ) -> ForecastPreparation {
        ForecastPreparation {
            target: target.into(),
            time: time.into(),
            keys: Vec::new(),
            frequency,
            duplicates: Duplicates::default(),
            gaps: Gaps::default(),
            horizon: horizon.max(1),
            window: 2 * horizon.max(6),
            periods: vec![1],
            log: false,
            calendar: Vec::new(),
            known: None,
            baselines: Vec::new(),
            bands: None,
            file: FileFormat::default(),
        }
    }

    /// How a table becomes series.
    pub fn options(&self) -> SeriesOptions {
        SeriesOptions::new()
            .keys(self.keys.iter().map(String::as_str))
            .frequency(self.frequency)
            .duplicates(self.duplicates)
            .gaps(self.gaps)
    }

    /// How a table of such series is read.
    pub fn reading(&self) -> Reading {
        Reading::of_model(self.file.clone())
    }

    /// Columns whose future is known, as they become inputs: fitted to these rows of a table.
    ///
    /// # Errors
    /// Where a column isn't there, or can't become inputs.
    pub fn with_known(
        mut self,
        table: &Table,
        columns: &[String],
        rows: &[usize],
    ) -> Result<ForecastPreparation> {
        if columns.is_empty() {
            return Ok(self);
        }
        for column in columns {
            table.column(column)?;
            if [&self.target, &self.time].contains(&column) {
                return Err(Error::Preparation(format!(
                    "{column} is what is forecast, or its time, and no column whose future is known"
                )));
            }
        }
        let others = table.names().filter(|name| columns.iter().all(|column| column != name));
        let choices = others.fold(Choices::new(), |choices, name| choices.treat(name, Treatment::Drop));
        self.known = Some(Box::new(TablePreparation::fit(table, rows, &choices)?));
        Ok(self)
    }

    /// The columns whose future is known.
    pub fn known_columns(&self) -> Vec<&str> {
        let features = self.known.iter().flat_map(|known| known.features());
        features.map(|feature| feature.column.as_str()).collect()
    }

    /// How many inputs the columns become whose future is known.
    pub(crate) fn known_width(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.width())
    }

    /// How many numbers are told of a step.
    pub(crate) fn told_width(&self) -> usize {
        self.calendar.len() * CalendarPart::WIDTH + self.known_width()
    }

    /// How many numbers of a row are of the past alone: the window and what sums it up.
    pub fn past_width(&self) -> usize {
        self.window.saturating_add(FIGURES)
    }

    /// How many numbers of a row are of each step.
    pub fn step_width(&self) -> usize {
        1 + 2 * self.periods.len() + self.told_width() + self.known_width()
    }

    /// How many numbers of a row are of the window, of the past with it, of steps, and of each step.
    pub fn sizes(&self) -> [usize; 4] {
        [self.window, self.past_width(), self.horizon, self.step_width()]
    }

    /// The places of a row that a linear model needs: what it is told of the past, the calendar of the first step, from which that of the others
    /// follows, and what is known of each. The rest are sums of these.
    pub fn straight_places(&self) -> impl Iterator<Item = usize> + '_ {
        let (past, own) = (self.past_width(), self.step_width());
        let calendar = 1 + 2 * self.periods.len();
        let known = calendar + self.calendar.len() * CalendarPart::WIDTH;
        let of_step = move |step: usize| {
            let first = if step == 0 { calendar } else { known };
            (first..own).map(move |at| past + step * own + at)
        };
        (0..past).chain((0..self.horizon).flat_map(of_step))
    }

    /// How many numbers a row has: those of the past, then those of each step.
    pub fn width(&self) -> usize {
        self.past_width().saturating_add(self.horizon.saturating_mul(self.step_width()))
    }

    /// The season that the naive forecast repeats.
    pub fn period(&self) -> usize {
        self.periods.first().copied().unwrap_or(1).max(1)
    }

    /// The form of its rows.
    pub fn form(&self) -> Form {
        Form::numbers(&[self.width()])
    }

    /// Whether it makes what a model takes.
    pub(crate) fn check(&self, input: &InputSpec) -> Result<()> {
        self.frequency.check()?;
        let is_share = |own: &BaselineShare| (0.0..=1.0).contains(&own.share);
        if self.width() > WIDEST || !self.baselines.iter().all(is_share) {
            return Err(Error::Preparation(format!(
                "its preparation of series makes rows of {}, or mixes forecasts in shares that are none",
                counted(self.width(), "number")
            )));
        }
        let is_seen = |period: &usize| (1..=self.window).contains(period);
        if self.horizon == 0 || self.periods.is_empty() || !self.periods.iter().all(is_seen) {
            let message = "its preparation of series sees less than a season, or forecasts no step";
            return Err(Error::Preparation(message.to_string()));
        }
        match input.shape == [self.width()] && input.codes.is_none() {
            true => Ok(()),
            false => Err(Error::Preparation(format!(
                "the preparation makes rows of {}, and the model takes {:?}",
                counted(self.width(), "number"),
                input.shape
            ))),
        }
    }

    /// The series of a table.
    ///
    /// # Errors
    /// Where a column is lacking or says what it can't.
    pub fn series(&self, table: &Table) -> Result<(SeriesSet, Vec<PreparedSeries>)> {
        let set = SeriesSet::of(table, &self.time, &self.target, &self.options())?;
        let prepared = self.prepare(&set, table)?;
        Ok((set, prepared))
    }

    /// Series as rows are made of them.
    ///
    /// # Errors
    /// Where the table lacks columns whose future is known.
    pub fn prepare(&self, set: &SeriesSet, table: &Table) -> Result<Vec<PreparedSeries>> {
        let known = match &self.known {
            Some(known) => known.apply_inputs(table)?.values,
            None => Vec::new(),
        };
        Ok(set.series.iter().map(|series| self.one(series, &known)).collect())
    }

    fn one(&self, series: &TimeSeries, known: &[f32]) -> PreparedSeries {
        let mut learned = series.filled(self.period());
        let raised = if self.log { logarithms(&mut learned) } else { 0 };
        let (width, steps) = (self.known_width(), series.values.len() + self.horizon);
        let mut told = Vec::with_capacity(steps * self.told_width());
        let mut foretold = 0;
        for step in 0..steps {
            let time = self.frequency.begin(series.first.saturating_add(step as i64));
            self.calendar.iter().for_each(|part| part.write(time, &mut told));
            let row = series.rows.get(step).copied().flatten();
            match row.and_then(|row| known.get(row * width..(row + 1) * width)) {
                Some(own) => told.extend_from_slice(own),
                None => told.extend(std::iter::repeat_n(0.0, width)),
            }
            foretold += usize::from(step >= series.values.len() && row.is_some());
        }
        let (key, first, values) = (series.key.clone(), series.first, series.values.clone());
        PreparedSeries { key, first, values, learned, told, foretold, raised }
    }

    /// How many values the level of a window is the mean of.
    pub(crate) fn late(&self) -> usize {
        match self.period() {
            1 => 8.min(self.window),
            period => period.min(self.window),
        }
    }

    /// A series of these values as they are, with what is told of each step and of those of the horizon.
    pub(crate) fn made(&self, values: Vec<f64>, told: Vec<f32>) -> PreparedSeries {
        let of = |value: &f64| if self.log { libm::log(*value) } else { *value };
        let learned = values.iter().map(of).collect();
        PreparedSeries { key: Vec::new(), first: 0, values, learned, told, foretold: 0, raised: 0 }
    }

    /// What is told of the steps behind a series, and of those known columns a season before them.
    pub(crate) fn told_of(&self, series: &PreparedSeries) -> [Vec<f32>; 2] {
        let row = self.row(series, series.values.len());
        let (mut steps, mut before) = (Vec::new(), Vec::new());
        for step in 0..self.horizon {
            row.write_told(step, &mut steps);
            row.write_before(step, &mut before);
        }
        [steps, before]
    }

    /// A series at an origin.
    pub fn row<'r>(&'r self, series: &'r PreparedSeries, origin: usize) -> SeriesRow<'r> {
        let origin = origin.min(series.learned.len());
        let first = series.learned.first().copied().unwrap_or(0.0);
        let value = |back: usize| origin.checked_sub(back).and_then(|at| series.learned.get(at)).copied();
        // A series that is shorter was before its beginning what it was then.
        let window: Vec<f64> = (1..=self.window).rev().map(|back| value(back).unwrap_or(first)).collect();
        let late = self.late();
        let level = mean(&window[self.window - late..]);
        let middle = mean(&window);
        let spread = window.iter().map(|value| (value - middle).abs()).sum::<f64>() / self.window as f64;
        let size = window.iter().map(|value| value.abs()).sum::<f64>() / self.window as f64;
        let scale = spread.max(1e-4 * size);
        let scale = if scale > 0.0 && scale.is_finite() { scale } else { 1.0 };
        SeriesRow { plan: self, series, origin, window, late, level, scale }
    }
}

/// Values by their logarithms; those that have none are taken for the least above 0. How many those are.
fn logarithms(values: &mut [f64]) -> usize {
    let above = values.iter().copied().filter(|value| *value > 0.0);
    let least = above.min_by(f64::total_cmp).unwrap_or(f64::MIN_POSITIVE);
    let raised = values.iter().filter(|value| value.is_nan() || **value <= 0.0).count();
    values.iter_mut().for_each(|value| *value = libm::log(if *value > 0.0 { *value } else { least }));
    raised
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Places in a window of the same season as a step.
#[derive(Clone, Copy)]
pub(crate) struct SeasonPlaces {
    pub window: usize,
    pub period: usize,
}

impl SeasonPlaces {
    /// Those of a step, the latest first.
    pub fn of(self, step: usize) -> impl Iterator<Item = usize> {
        let SeasonPlaces { window, period } = self;
        let first = (window + step % period.max(1)).checked_sub(period);
        (0..CYCLES).map_while(move |cycle| first?.checked_sub(cycle * period))
    }
}

/// A series at an origin: what a model is told there, and what its outputs mean.
pub struct SeriesRow<'r> {
    plan: &'r ForecastPreparation,
    series: &'r PreparedSeries,
    origin: usize,
    window: Vec<f64>,
    late: usize,
    level: f64,
    scale: f64,
}

impl SeriesRow<'_> {
    /// The series.
    pub fn series(&self) -> &PreparedSeries {
        self.series
    }

    /// The places in the window of the same season as a step's, the latest first.
    fn same_season(&self, step: usize, period: usize) -> impl Iterator<Item = f64> {
        let places = SeasonPlaces { window: self.window.len(), period }.of(step);
        places.filter_map(|place| self.window.get(place).copied())
    }

    /// The steps of the horizon.
    pub(super) fn steps(&self) -> std::ops::Range<usize> {
        0..self.plan.horizon
    }

    /// The scale of outputs, and whether they are of logarithms.
    pub(super) fn unit(&self) -> (f64, bool) {
        (self.scale, self.plan.log)
    }

    /// The value a season before a step, as it is learned.
    pub(super) fn base(&self, step: usize) -> f64 {
        self.same_season(step, self.plan.period()).next().unwrap_or(self.level)
    }

    fn scaled(&self, value: f64) -> f32 {
        ((value - self.level) / self.scale) as f32
    }

    /// Adds the inputs of the row. Nothing of them comes from the origin or after it but the calendar and columns whose future is known.
    pub fn write(&self, into: &mut Vec<f32>) {
        let plan = self.plan;
        into.extend(self.window.iter().map(|value| self.scaled(*value)));
        into.extend(self.figures());
        for step in 0..plan.horizon {
            into.push((step + 1) as f32 / plan.horizon as f32);
            for period in &plan.periods {
                let (mut sum, mut count) = (0.0, 0.0);
                for value in self.same_season(step, *period) {
                    (sum, count) = (sum + value, count + 1.0);
                }
                let latest = self.same_season(step, *period).next().unwrap_or(self.level);
                into.push(self.scaled(latest));
                into.push(self.scaled(if count > 0.0 { sum / count } else { latest }));
            }
            self.write_told(step, into);
            self.write_before(step, into);
        }
    }

    /// Adds what is told of a step.
    fn write_told(&self, step: usize, into: &mut Vec<f32>) {
        let width = self.plan.told_width();
        let end = into.len() + width;
        let at = (self.origin + step) * width;
        into.extend_from_slice(self.series.told.get(at..at + width).unwrap_or_default());
        into.resize(end, 0.0);
    }

    /// Adds what the known columns were at the step that the naive forecast repeats.
    fn write_before(&self, step: usize, into: &mut Vec<f32>) {
        let (width, known) = (self.plan.told_width(), self.plan.known_width());
        let end = into.len() + known;
        let period = self.plan.period();
        if let Some(before) = (self.origin + step % period).checked_sub(period) {
            let at = (before + 1) * width;
            into.extend_from_slice(self.series.told.get(at - known..at).unwrap_or_default());
        }
        into.resize(end, 0.0);
    }

    fn figures(&self) -> [f32; FIGURES] {
        let window = &self.window;
        let late = &window[window.len() - self.late..];
        let of_late = mean(late);
        let deviation = late.iter().map(|value| (value - of_late).abs()).sum::<f64>() / late.len() as f64;
        let (before, behind) = window.split_at(window.len() / 2);
        let last = |back: usize| window[window.len() - back.min(window.len())];
        let zeros = window.iter().filter(|value| **value == 0.0).count();
        [
            self.scaled(mean(window)),
            self.scaled(mean(&window[window.len() - 3.min(window.len())..])),
            ((last(1) - last(2)) / self.scale) as f32,
            (deviation / self.scale) as f32,
            ((mean(behind) - mean(before)) / self.scale) as f32,
            zeros as f32 / window.len() as f32,
        ]
    }

    /// What is learned of a step that is there: an output that says it exactly, drawn in where it is far away.
    pub fn target(&self, step: usize) -> f32 {
        let value = self.series.learned.get(self.origin + step).copied().unwrap_or_else(|| self.base(step));
        ((value - self.base(step)) / self.scale).clamp(-FARTHEST, FARTHEST) as f32
    }

    /// The number that an output says of a step.
    pub fn number(&self, step: usize, output: f64) -> f64 {
        let value = self.base(step) + self.scale * output;
        if self.plan.log { libm::exp(value.min(700.0)) } else { value }
    }

    /// The output that says this number of a step.
    pub fn output(&self, step: usize, number: f64) -> f64 {
        let value = if self.plan.log { libm::log(number.max(f64::MIN_POSITIVE)) } else { number };
        (value - self.base(step)) / self.scale
    }

    /// The bounds around an output, as numbers; none where no band is known.
    pub fn bounds(&self, step: usize, output: f64) -> Option<[f64; 2]> {
        let offsets = &self.plan.bands.as_ref()?.offsets;
        let own = offsets.get(step).or(offsets.last())?;
        Some(own.map(|offset| self.number(step, output + offset)))
    }

    /// The value of a step that is there; `NaN` where there is none.
    pub fn truth(&self, step: usize) -> f64 {
        self.series.values.get(self.origin + step).copied().unwrap_or(f64::NAN)
    }
}
