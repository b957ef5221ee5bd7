//! Windows over many series as rows to learn from.

use std::sync::Arc;

use kiln_data::{Batch, Dataset, Form, Set, Table, Values};
use kiln_map::counted;

use super::{ForecastPreparation, NaiveScale, PreparedSeries, SeriesRow};
use crate::{Error, Result};

/// Windows over series: a row is a series at an origin, its target what the steps of the horizon are. A [`Dataset`] like any other: what trains on
/// one goes on and repeats as everything does.
#[derive(Clone, Debug)]
pub struct ForecastWindows {
    plan: Arc<ForecastPreparation>,
    series: Arc<Vec<PreparedSeries>>,
    /// Of each row the series and the origin.
    rows: Vec<(u32, u32)>,
}

impl ForecastWindows {
    /// Rows of series, each by the series' place and the origin.
    pub fn new(
        plan: Arc<ForecastPreparation>,
        series: Arc<Vec<PreparedSeries>>,
        rows: impl IntoIterator<Item = (usize, usize)>,
    ) -> ForecastWindows {
        let rows = rows.into_iter().map(|(series, origin)| (series as u32, origin as u32)).collect();
        ForecastWindows { plan, series, rows }
    }

    /// How rows are made.
    pub fn plan(&self) -> &Arc<ForecastPreparation> {
        &self.plan
    }

    /// The same rows by another preparation of the same series, whose bounds or shares differ.
    pub fn with_plan(&self, plan: ForecastPreparation) -> ForecastWindows {
        ForecastWindows { plan: Arc::new(plan), ..self.clone() }
    }

    /// Some rows of these, by their places.
    pub fn of_rows(&self, rows: impl IntoIterator<Item = usize>) -> ForecastWindows {
        let rows = rows.into_iter().filter_map(|row| self.rows.get(row).copied()).collect();
        ForecastWindows { rows, ..self.clone() }
    }

    /// The series and the origin of a row.
    pub fn place(&self, row: usize) -> (usize, usize) {
        self.rows.get(row).map_or((0, 0), |&(series, origin)| (series as usize, origin as usize))
    }

    /// The number of the step at which the forecast of a row begins: the same in all series at one time.
    pub fn moment(&self, row: usize) -> i64 {
        let (series, origin) = self.place(row);
        self.series.get(series).map_or(0, |own| own.first).saturating_add(origin as i64)
    }

    /// What the naive forecast of each series is off by before the first step that any row foretells; errors are measured in it.
    pub fn units(&self) -> Vec<Option<NaiveScale>> {
        let mut before: Vec<usize> = self.series.iter().map(|own| own.values.len()).collect();
        for &(series, origin) in &self.rows {
            if let Some(own) = before.get_mut(series as usize) {
                *own = (*own).min(origin as usize);
            }
        }
        let unit =
            |(own, end): (&PreparedSeries, usize)| NaiveScale::of(&own.values[..end], self.plan.period());
        self.series.iter().zip(before).map(unit).collect()
    }

    /// A row, with what its outputs mean.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn row(&self, row: usize) -> SeriesRow<'_> {
        let (series, origin) = self.place(row);
        self.plan.row(&self.series[series], origin)
    }
}

impl Dataset for ForecastWindows {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn x(&self) -> Form {
        self.plan.form()
    }

    fn y(&self) -> Form {
        Form::numbers(&[self.plan.horizon])
    }

    fn read(&self, row: usize, _: u64, batch: &mut Batch) -> kiln_data::Result<()> {
        let own = self.row(row);
        if let Values::F32(inputs) = &mut batch.x {
            own.write(inputs);
        }
        (0..self.plan.horizon).for_each(|step| batch.y.push(own.target(step).into()));
        Ok(())
    }
}

impl ForecastPreparation {
    /// The last horizon of each series of a table as rows to evaluate on, each told of what was before.
    ///
    /// # Errors
    /// Where the table lacks columns, or no series is longer than the horizon.
    pub fn held_out(&self, table: &Table) -> Result<ForecastWindows> {
        let (_, series) = self.series(table)?;
        let origin = |own: &PreparedSeries| own.values.len().checked_sub(self.horizon).filter(|at| *at > 0);
        let rows: Vec<(usize, usize)> =
            series.iter().enumerate().filter_map(|(at, own)| Some((at, origin(own)?))).collect();
        if rows.is_empty() {
            return Err(Error::Preparation(format!(
                "the last {} of each series are held out, and none is longer than that",
                counted(self.horizon, "step")
            )));
        }
        Ok(ForecastWindows::new(Arc::new(self.clone()), Arc::new(series), rows))
    }
}

/// How many rows are read at a time.
const READ: usize = 512;

/// Each step of windows as a row of its own, as the layer `steps` shows it: the step's numbers, then those of the past from a place on.
pub struct StepRows<'s> {
    /// How windows are made.
    pub plan: &'s ForecastPreparation,
    /// From which place on the numbers of the past are told.
    pub from: usize,
    /// Where there are more than so many, only some steps of each window are taken, others of the next.
    pub most: usize,
}

impl StepRows<'_> {
    /// Those of some windows.
    ///
    /// # Errors
    /// Where a row can't be read.
    pub fn of(&self, windows: &dyn Dataset) -> Result<Set> {
        let [_, past, steps, own] = self.plan.sizes();
        let from = self.from.min(past);
        let stride = (windows.len() * steps).div_ceil(self.most.max(1)).max(1);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        each(windows, |row, inputs, targets| {
            for step in (0..steps).filter(|step| (row * steps + step) % stride == 0) {
                x.extend_from_slice(&inputs[past + step * own..][..own]);
                x.extend_from_slice(&inputs[from..past]);
                y.push(targets[step]);
            }
        })?;
        Ok(Set::numbers(x, Form::numbers(&[own + past - from]), y, 1)?)
    }
}

/// The numbers in some places of windows, with all their targets.
///
/// # Errors
/// Where a row can't be read.
pub fn taken(windows: &dyn Dataset, places: &[usize]) -> Result<Set> {
    let (mut x, mut y) = (Vec::with_capacity(windows.len() * places.len()), Vec::new());
    each(windows, |_, inputs, targets| {
        x.extend(places.iter().map(|&place| inputs.get(place).copied().unwrap_or(0.0)));
        y.extend_from_slice(targets);
    })?;
    Ok(Set::numbers(x, Form::numbers(&[places.len()]), y, windows.y().width())?)
}

/// Shows the inputs and targets of each row.
fn each(windows: &dyn Dataset, mut see: impl FnMut(usize, &[f32], &[f32])) -> Result<()> {
    let (width, targets) = (windows.x().width(), windows.y().width());
    for start in (0..windows.len()).step_by(READ) {
        let places: Vec<usize> = (start..windows.len().min(start + READ)).collect();
        let batch = windows.gather(&places)?;
        let (Some(x), Some(y)) = (batch.x.as_f32(), batch.y.as_f32()) else {
            return Err(Error::Training("rows of series are numbers".to_string()));
        };
        let rows = x.chunks_exact(width.max(1)).zip(y.chunks_exact(targets.max(1)));
        rows.zip(&places).for_each(|((x, y), place)| see(*place, x, y));
    }
    Ok(())
}
