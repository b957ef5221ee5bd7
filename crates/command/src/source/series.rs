//! The series of a table, to be forecast: found, said, and cut in what is learned from, what is held out in turn, and what is tested with.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{Dataset, Subset, Table};
use kiln_learn::forecast::{
    Backtest, CalendarPart, Duplicates, ForecastPreparation, ForecastWindows, Frequency, Gaps, NaiveScale,
    PreparedSeries, SeriesColumns, SeriesOptions, SeriesSet, TimeSeries, seasons,
};
use kiln_learn::model::Task;
use kiln_learn::selection::FoldRows;

use super::{Habits, Ties, TrainingData, name_of};
use crate::out::counted;
use crate::reading::{READING, ReadingFlags, open};
use crate::report::Shows;
use crate::settings::Settings;

/// What suits series.
const SERIES: Habits = Habits {
    preset: "mlp",
    epochs: 30,
    batch_size: 128,
    rate: 1e-3,
    optimizer: "adamw",
    schedule: "cosine",
    decay: 0.01,
    early_stop: 0,
    smoothing: 0.0,
    clip: None,
};

/// Settings that say something of series.
const OWN: [&str; 10] = [
    "target",
    "time",
    "forecast",
    "series",
    "known",
    "frequency",
    "season",
    "duplicates",
    "gaps",
    "interval",
];

/// Series that are ready to be learned from.
pub struct SeriesData {
    /// As other data: rows that are learned from or held out, those of the test, and what stands for them in a model's file.
    pub data: TrainingData,
    pub plan: Arc<ForecastPreparation>,
    pub series: Arc<Vec<PreparedSeries>>,
    /// All rows but those of the test.
    pub windows: ForecastWindows,
    pub folds: Vec<FoldRows>,
    /// The last window of each series.
    pub test: ForecastWindows,
    /// What the naive forecast of each series is off by, before the test.
    pub units: Vec<Option<NaiveScale>>,
}

/// Numbers of all rows together, at most.
const NUMBERS: usize = 16_000_000;

/// Series that are looked at for seasons.
const LOOKED_AT: usize = 50;

/// The longest season that a naive forecast repeats.
const LONGEST: usize = 400;

/// The series of the table that the settings name.
pub fn load(settings: &Settings) -> Result<SeriesData> {
    settings.only("series that are forecast", &[&OWN[..], &["target-scale"], &READING].concat())?;
    let path = settings
        .data
        .as_deref()
        .context("--forecast needs a table: kiln train sales.csv --target COLUMN --forecast 28")?;
    let horizon = settings.forecast.map_or(1, |steps| steps.0);
    let Some(target) = settings.target.clone() else {
        bail!("--forecast needs --target, the column that is forecast");
    };
    if !super::is_standard_input(path) && !path.exists() {
        bail!("{}: there is no such file or folder", path.display());
    }
    let table = open(&ReadingFlags::of(settings).reading()?, path)?;
    let placed = || path.display().to_string();
    let (set, options, plan) = found(&table, settings, target, horizon).with_context(placed)?;
    let (plan, mut said) = settled(&table, settings, &set, plan).with_context(placed)?;
    let series = plan.prepare(&set, &table).with_context(placed)?;
    let most = (NUMBERS / plan.width().max(1)).max(500);
    let split = Backtest::new(&series, &plan, most).with_context(placed)?;
    let (plan, series) = (Arc::new(plan), Arc::new(series));
    let windows =
        |rows: &[(usize, usize)]| ForecastWindows::new(plan.clone(), series.clone(), rows.iter().copied());
    let (all, test) = (windows(&split.rows), windows(&split.test));
    let unit = |own: &PreparedSeries| {
        let before = own.values.len().saturating_sub(horizon);
        NaiveScale::of(&own.values[..before], plan.period())
    };
    let units = series.iter().map(unit).collect();
    let mut notes = table.notes().to_vec();
    notes.extend(set.notes(&options));
    notes.append(&mut said);
    if split.short > 0 {
        notes.push(format!(
            "{} of {} series too short to be learned from and tested with; they are forecast all the same",
            split.short,
            series.len()
        ));
    }
    notes.push(format!(
        "{} to learn from and to hold out in {}, the last {} of {} series to test with",
        counted(all.len(), "window"),
        counted(split.folds.len(), "fold"),
        counted(horizon, "step"),
        test.len(),
    ));
    let data = TrainingData {
        name: name_of(path),
        said: notes,
        train: Box::new(all.clone()),
        valid: Box::new(Subset::new(all.clone(), Vec::new())),
        test: Box::new(test.clone()),
        task: Task::of_series(&plan),
        preparation: (*plan).clone().into(),
        front: String::new(),
        shows: Shows::Nothing,
        habits: SERIES,
        ties: Ties::Free,
    };
    Ok(SeriesData { data, plan, series, windows: all, folds: split.folds, test, units })
}

/// The series and what is known of how they are made, before anything is chosen by their values.
fn found(
    table: &Table,
    settings: &Settings,
    target: String,
    horizon: usize,
) -> Result<(SeriesSet, SeriesOptions, ForecastPreparation)> {
    table.column(&target)?;
    let told = settings.series.as_deref().map(|text| columns(Some(text)));
    for key in told.iter().flatten() {
        table.column(key)?;
    }
    let Some(SeriesColumns { time, keys }) =
        SeriesColumns::find(table, settings.time.as_deref(), told.as_deref())?
    else {
        bail!(
            "no column steps regularly as times do; --time names the column of times, --series those that say which series a row is of"
        );
    };
    let duplicates = match settings.duplicates.as_deref() {
        None | Some("mean") => Duplicates::Mean,
        Some("sum") => Duplicates::Sum,
        Some(other) => bail!("--duplicates is mean or sum, not {other}"),
    };
    let gaps = match settings.gaps.as_deref() {
        None | Some("missing") => Gaps::Missing,
        Some("zero") => Gaps::Zero,
        Some(other) => bail!("--gaps is missing or zero, not {other}"),
    };
    let mut options =
        SeriesOptions::new().keys(keys.iter().map(String::as_str)).duplicates(duplicates).gaps(gaps);
    if let Some(frequency) = &settings.frequency {
        options = options.frequency(frequency.parse::<Frequency>().context("--frequency")?);
    }
    let set = SeriesSet::of(table, &time, &target, &options)?;
    let plan = ForecastPreparation {
        keys,
        duplicates,
        gaps,
        file: table.file_format().clone(),
        ..ForecastPreparation::new(target, time, set.frequency, horizon)
    };
    Ok((set, options, plan))
}

/// Columns of a list with commas.
fn columns(text: Option<&str>) -> Vec<String> {
    let each = text.into_iter().flat_map(|text| text.split(','));
    each.map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect()
}

/// What follows from the values before the test: seasons, how far back is looked, whether logarithms are learned, what is known of the future.
fn settled(
    table: &Table,
    settings: &Settings,
    set: &SeriesSet,
    mut plan: ForecastPreparation,
) -> Result<(ForecastPreparation, Vec<String>)> {
    let horizon = plan.horizon;
    let longest = set.series.iter().map(|own| own.values.len()).max().unwrap_or(0);
    if longest <= 2 * horizon {
        bail!(
            "{} can't be forecast from series of {} at most: some are learned from, and the last {horizon} tested with; forecast fewer",
            counted(horizon, "step"),
            counted(longest, "step")
        );
    }
    let before: Vec<Vec<f64>> =
        looked_at(set).map(|own| own[..own.len().saturating_sub(horizon)].to_vec()).collect();
    plan.periods = match settings.season {
        Some(season) if 3 * season.0 > longest => {
            bail!(
                "--season {}: the longest series has {}, and a season should come three times",
                season.0,
                counted(longest, "step")
            )
        }
        Some(season) => vec![season.0],
        None => periods(&before, plan.frequency, horizon),
    };
    let all = set.series.iter().map(|own| own.values.len().saturating_sub(2 * horizon)).max().unwrap_or(1);
    let period = plan.periods.iter().copied().max().unwrap_or(1);
    let wished = (2 * period).max((2 * horizon).min(48)).max(12);
    plan.window = wished.min((all / 3).max(period)).max(1);
    let is_above = set.series.iter().flat_map(|own| &own.values).all(|value| value.is_nan() || *value > 0.0);
    plan.log = match settings.target_scale.as_deref() {
        Some("log") if !is_above => bail!("--target-scale log: {} isn't above 0 everywhere", plan.target),
        Some("log") => true,
        Some("as-is") => false,
        Some(other) => bail!("--target-scale is as-is or log, not {other}"),
        None => {
            let is_above = |own: &TimeSeries| {
                let before = own.values.len().saturating_sub(horizon);
                own.values[..before].iter().all(|value| value.is_nan() || *value > 0.0)
            };
            set.series.iter().all(is_above)
                && before.iter().filter(|own| swings_with_size(own, plan.period())).count() * 2 > before.len()
        }
    };
    // Decided by what is before the test; what it says otherwise isn't hidden.
    let mut unlogged = None;
    if plan.log && !is_above {
        plan.log = false;
        unlogged = Some(format!(
            "swings grow with size, but {} isn't above 0 in the last {}: learned as it is, not by logarithms",
            plan.target,
            counted(horizon, "step")
        ));
    }
    let first = set.series.iter().map(|own| own.first).min().unwrap_or(0);
    let last = set.series.iter().map(|own| own.end().saturating_sub(horizon as i64)).max().unwrap_or(0);
    plan.calendar = CalendarPart::of(plan.frequency, plan.frequency.begin(first), plan.frequency.begin(last));
    let known = columns(settings.known.as_deref());
    let rows: Vec<usize> = set
        .series
        .iter()
        .flat_map(|own| own.rows.iter().take(own.values.len().saturating_sub(horizon)))
        .filter_map(|row| *row)
        .collect();
    let plan = plan.with_known(table, &known, &rows)?;
    let mut said = said(set, &plan, &known);
    said.extend(unlogged);
    Ok((plan, said))
}

fn said(set: &SeriesSet, plan: &ForecastPreparation, known: &[String]) -> Vec<String> {
    let (least, most) = set
        .series
        .iter()
        .map(|own| own.values.len())
        .fold((usize::MAX, 0), |(least, most), own| (least.min(own), most.max(own)));
    let steps =
        if least == most { counted(most, "step") } else { format!("{least} to {}", counted(most, "step")) };
    let mut said = vec![format!(
        "{} series of {}, {} by {}: {steps}; the next {} are forecast from the {} before",
        set.series.len(),
        plan.target,
        plan.frequency,
        plan.time,
        plan.horizon,
        plan.window,
    )];
    let seasons: Vec<String> =
        plan.periods.iter().filter(|period| **period > 1).map(|period| counted(*period, "step")).collect();
    let mut line = match seasons.is_empty() {
        true => "no season was found to repeat".to_string(),
        false => format!("seasons of {}", seasons.join(" and ")),
    };
    let parts: Vec<&str> = plan.calendar.iter().map(|part| part.name()).collect();
    if !parts.is_empty() {
        line += &format!("; the calendar tells {}", parts.join(", "));
    }
    if !known.is_empty() {
        line += &format!("; {} known of the future too", known.join(", "));
    }
    if plan.log {
        line += "; learned by logarithms, since swings grow with size";
    }
    said.push(line);
    said
}

/// Some of the series, filled, evenly from all of them.
fn looked_at(set: &SeriesSet) -> impl Iterator<Item = Vec<f64>> {
    let stride = set.series.len().div_ceil(LOOKED_AT).max(1);
    set.series.iter().step_by(stride).map(|own| own.filled(1))
}

/// The season whose repetition foretells the next steps best, and another that is there as well.
fn periods(series: &[Vec<f64>], frequency: Frequency, horizon: usize) -> Vec<usize> {
    let longest = series.iter().map(Vec::len).max().unwrap_or(0);
    let mut tried = frequency.periods();
    for own in series.iter().take(10) {
        tried.extend(seasons(own, frequency).into_iter().map(|season| season.period));
    }
    tried.retain(|period| *period > 1 && 3 * period <= longest && *period <= LONGEST);
    tried.sort_unstable();
    tried.dedup();
    let base = off_by(series, 1, horizon);
    let mut better: Vec<(usize, f64)> = tried
        .into_iter()
        .map(|period| (period, off_by(series, period, horizon)))
        .filter(|(_, off)| *off < base)
        .collect();
    better.sort_by(|a, b| a.1.total_cmp(&b.1));
    better.truncate(2);
    // Twice the same season says nothing more.
    if let [first, second] = better.as_slice()
        && (first.0 % second.0 == 0 && first.0 / second.0 < 4 || second.0 % first.0 == 0)
        && first.0 > 200
    {
        better.truncate(1);
    }
    match better.is_empty() {
        true => vec![1],
        false => better.into_iter().map(|(period, _)| period).collect(),
    }
}

/// What the naive forecast with a season is off by over a horizon, in the latter half of series, beside what they differ from step to step.
fn off_by(series: &[Vec<f64>], period: usize, horizon: usize) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for own in series {
        let Some(unit) = NaiveScale::of(own, 1) else { continue };
        let start = (own.len() / 2).max(period);
        for origin in (start..own.len().saturating_sub(horizon)).step_by(horizon.div_ceil(3).max(1)) {
            for step in 0..horizon {
                let off = own[origin + step] - own[origin + step % period - period];
                if off.is_finite() {
                    (sum, count) = (sum + off.abs() / unit.distance, count + 1.0);
                }
            }
        }
    }
    if count > 0.0 { sum / count } else { f64::INFINITY }
}

/// Whether a series swings the more the larger it is: over blocks of a season the logarithms of level and swing rise together.
fn swings_with_size(values: &[f64], period: usize) -> bool {
    let size = if period > 1 { period } else { 8 };
    let points: Vec<(f64, f64)> = values
        .chunks_exact(size)
        .filter_map(|block| {
            let mean = block.iter().sum::<f64>() / size as f64;
            // Steps, not levels: a rise within a block is no swing.
            let swing =
                block.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f64>() / (size - 1) as f64;
            (mean > 0.0 && swing > 0.0).then(|| (libm::log(mean), libm::log(swing)))
        })
        .collect();
    if points.len() < 4 {
        return false;
    }
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let covariance = mean(&|point| (point.0 - x) * (point.1 - y));
    let (xx, yy) =
        (mean(&|point| (point.0 - x) * (point.0 - x)), mean(&|point| (point.1 - y) * (point.1 - y)));
    // Swings in proportion to size have a slope of 1; a level that hardly changes tells nothing.
    xx.sqrt() > 0.05 && covariance / xx > 0.5 && covariance / (xx * yy).sqrt().max(f64::MIN_POSITIVE) > 0.5
}
