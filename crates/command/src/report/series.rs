//! Charts of forecasts: a series with what was foreseen and its bands, errors by step of the horizon and by series, what a season looks like.

use kiln_learn::forecast::{ForecastMeasures, Frequency};

use super::chart::{Chart, Mark, Series};

/// A series and its forecast, as it is drawn.
pub struct ForecastPlot<'a> {
    pub title: String,
    /// What is foreseen, for the axis.
    pub target: &'a str,
    pub frequency: Frequency,
    /// The step of the first value.
    pub first: i64,
    /// The values, those that the forecast didn't know among them; `NaN` where there is none.
    pub values: &'a [f64],
    /// How many values the forecast knew.
    pub origin: usize,
    pub points: &'a [f64],
    /// Of each step the lower and the upper bound, and what the band is called.
    pub band: Option<(&'a [f64], &'a [f64], String)>,
}

/// How many horizons of the history are drawn before a forecast.
const HISTORY: usize = 5;
const LEAST_HISTORY: usize = 60;

impl ForecastPlot<'_> {
    /// The end of the history, what came and what was foreseen.
    pub fn chart(&self) -> Chart {
        let horizon = self.points.len();
        let from = self.origin.saturating_sub((HISTORY * horizon).max(LEAST_HISTORY));
        let time = |at: usize| self.frequency.begin(self.first + at as i64);
        let foreseen = |numbers: &[f64]| -> Vec<(f64, f64)> {
            numbers.iter().enumerate().map(|(step, number)| (time(self.origin + step), *number)).collect()
        };
        // The line to the first step that was foreseen begins where the history ends.
        let last = (from..self.origin).rev().find(|at| self.values[*at].is_finite());
        let joint = last.map(|at| (time(at), self.values[at]));
        let mut chart = Chart::new(&self.title, "", self.target).over(self.frequency);
        if let Some((low, high, name)) = &self.band {
            let down = foreseen(low).into_iter().rev();
            chart =
                chart.with(Series::of(name, foreseen(high).into_iter().chain(down), Mark::Band).coloured(1));
        }
        let end = self.values.len().min(self.origin + horizon);
        let values = (from..end).map(|at| (time(at), self.values[at]));
        let points = joint.into_iter().chain(foreseen(self.points));
        chart
            .with(Series::line(self.target, values).coloured(0))
            .with(Series::line("foreseen", points).coloured(1))
    }
}

/// The error of each step of the horizon, of several ways to foresee by their names.
pub fn errors_by_step(ways: &[(String, &ForecastMeasures)]) -> Chart {
    let mut chart = Chart::new("Error by step of the horizon", "step", "MASE");
    for (name, measures) in ways {
        let points = measures.steps.iter().enumerate().map(|(step, own)| ((step + 1) as f64, own.mase));
        chart = chart.with(Series::line(name, points));
    }
    chart
}

/// How many series have an error of each size.
pub fn errors_by_series(errors: &[f64]) -> Chart {
    const BINS: usize = 24;
    let mut finite: Vec<f64> = errors.iter().copied().filter(|error| error.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    // The few worst would leave the others a bar alone: they stand in the last.
    let most = finite.get(finite.len() * 99 / 100).or(finite.last()).copied().unwrap_or(1.0).max(1e-9);
    let mut counts = vec![0usize; BINS];
    for error in &finite {
        counts[((error / most * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let middle = |bin: usize| (bin as f64 + 0.5) * most / BINS as f64;
    let bars = counts.into_iter().enumerate().map(|(bin, count)| (middle(bin), count as f64));
    Chart::new("Error by series", "MASE", "series").with(Series::of("", bars, Mark::Bars))
}

/// What the steps of a season are beside their mean: of each the mean over all seasons.
pub fn season(values: &[f64], period: usize, step: &str, target: &str) -> Chart {
    let mean = |at: usize| {
        let own = || values.iter().skip(at).step_by(period.max(1)).filter(|value| value.is_finite());
        own().sum::<f64>() / own().count() as f64
    };
    let bars = (0..period).map(|at| ((at + 1) as f64, mean(at)));
    let mark = if period <= 60 { Mark::Points } else { Mark::Line };
    let line = (0..period).map(|at| ((at + 1) as f64, mean(at)));
    let title = format!("A season of {}", kiln_map::counted(period, step));
    Chart::new(&title, step, target).with(Series::line("", line)).with(Series::of("", bars, mark).coloured(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_is_drawn_with_its_history_and_band() {
        let values: Vec<f64> =
            (0..200).map(|at| if at == 150 { f64::NAN } else { f64::from(at % 12) }).collect();
        let (low, high) = ([1.0; 12], [9.0; 12]);
        let plot = ForecastPlot {
            title: "a < b".to_string(),
            target: "sold",
            frequency: "monthly".parse().unwrap(),
            first: 12 * 1990,
            values: &values,
            origin: 188,
            points: &[5.0; 12],
            band: Some((&low, &high, "80 %".to_string())),
        };
        let svg = plot.chart().svg();
        for part in [
            "a &lt; b",
            ">80 %<",
            ">foreseen<",
            ">2004<",
            "class=\"a\"",
            "<title>foreseen: 2006-08-01, sold 5</title>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("NaN"));
        let (pixels, size) = plot.chart().pixels();
        let plane = size.width * size.height;
        let tinted =
            (0..plane).filter(|at| pixels[*at] > pixels[plane + at] && pixels[plane + at] > 200).count();
        assert!(tinted > 2000, "the band: {tinted}");
    }

    #[test]
    fn charts_of_few_or_no_series_are_charts() {
        for errors in [&[][..], &[0.5], &[0.0; 9], &[0.5, 1.0, 200.0, f64::NAN]] {
            assert!(errors_by_series(errors).svg().contains("Error by series"));
        }
        assert!(season(&[1.0, 2.0, f64::NAN, 4.0], 2, "day", "sold").svg().contains("A season of 2 days"));
        assert!(errors_by_step(&[]).svg().contains("horizon"));
    }
}
