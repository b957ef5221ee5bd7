//! What a forecast of a table's series must beat: `cargo run --release --example baselines -- FILE TIME TARGET HORIZON [KEY,…] [OUT]`.
//!
//! Each baseline forecasts the end of each series from up to three origins, of which the last is where the horizon just fits, and is measured by what came. OUT
//! gets each forecast, to be measured elsewhere: `scripts/series.py` does.

use std::fmt::Write as _;

use kiln::data::Table;
use kiln::forecast::{
    Baseline, ForecastErrors, NaiveScale, SeriesOptions, SeriesSet, SeriesSummary, TimeSeries, each_series,
    origins,
};

const SHARES: [f64; 3] = [0.1, 0.5, 0.9];
const FOLDS: usize = 3;

fn main() -> kiln::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, time, target, horizon, more @ ..] = &words[..] else {
        eprintln!("FILE TIME TARGET HORIZON [KEY,…] [OUT]");
        std::process::exit(2);
    };
    let horizon: usize = horizon.parse().expect("HORIZON is a number of steps");
    let keys = more.first().map_or("", String::as_str).split(',').filter(|key| !key.is_empty());
    let set = SeriesSet::of(&Table::open(file)?, time, target, &SeriesOptions::new().keys(keys))?;
    let summary = SeriesSummary::of(&set);
    println!("{summary}\n");
    let period = summary.seasons.first().map(|season| season.period);
    println!("{:22} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "MASE", "RMSSE", "sMAPE", "WQL", "coverage");
    let mut written = "baseline,series,origin,step,point\n".to_string();
    for baseline in Baseline::ALL {
        let mut errors = ForecastErrors::new(&SHARES)?;
        let of_series = |at: usize| back_tested(&set.series[at], baseline, period, horizon);
        for (at, forecasts) in each_series(set.series.len(), of_series).into_iter().enumerate() {
            for (origin, forecast) in forecasts {
                let (history, future) = set.series[at].values.split_at(origin);
                errors.add(&future[..horizon], &forecast, NaiveScale::of(history, period.unwrap_or(1)))?;
                for (step, point) in forecast.points.iter().enumerate() {
                    let _ = writeln!(written, "{baseline},{at},{origin},{step},{point}");
                }
            }
        }
        let found = errors.measures();
        println!(
            "{:22} {:8.3} {:8.3} {:8.2} {:8.4} {:8.3}",
            baseline.to_string(),
            found.mase,
            found.rmsse,
            found.smape,
            found.weighted_quantile_loss.unwrap_or(f64::NAN),
            found.coverage.unwrap_or(f64::NAN)
        );
    }
    match more.get(1) {
        Some(out) => Ok(std::fs::write(out, written)?),
        None => Ok(()),
    }
}

/// The forecasts of one series, each with its origin.
fn back_tested(
    series: &TimeSeries,
    baseline: Baseline,
    period: Option<usize>,
    horizon: usize,
) -> Vec<(usize, kiln::forecast::SeriesForecast)> {
    let least = 2 * period.unwrap_or(1) + 4;
    let one = |origin: usize| {
        let history = &series.values[..origin];
        (origin, baseline.forecast(history, period, horizon, &SHARES))
    };
    origins(series.values.len(), horizon, FOLDS, least).into_iter().map(one).collect()
}
