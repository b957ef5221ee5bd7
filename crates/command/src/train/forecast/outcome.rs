//! What comes of forecasts that were learned: what of them needs no model, their bounds, their figures on the last window of each series, the
//! model's file and the report.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::data::Dataset;
use kiln_learn::forecast::{
    Baseline, BaselineShare, ConformalBands, ForecastPreparation, ForecastScore, NaiveScale, PreparedSeries,
    StepBands, is_intermittent,
};
use kiln_learn::model::About;
use kiln_learn::selection::{FitRecord, HeldOut, Leaderboard};
use serde_json::{Map, Value, json};

use super::super::plan::{about, environment};
use super::super::say::Say;
use super::repeats;
use crate::folder::Folder;
use crate::forecasts::{ForecastFigures, naive, plain};
use crate::out::counted;
use crate::settings::Settings;
use crate::source::SeriesData;
use crate::{out, report};

/// A model that forecasts, and what it was chosen by.
pub(super) struct Forecast<'f> {
    pub(super) settings: &'f Settings,
    pub(super) seed: u64,
    /// The share of values between the bounds.
    pub(super) interval: f64,
    pub(super) source: &'f SeriesData,
    pub(super) folder: &'f Folder,
    pub(super) score: &'f ForecastScore,
    pub(super) model: Model,
    /// What such a model says of rows that it didn't learn from.
    pub(super) held: HeldOut,
    pub(super) board: Leaderboard,
    pub(super) records: Vec<FitRecord>,
}

/// Rows of a fold of which baselines are asked, at most.
const ASKED: usize = 60;

/// More series than this aren't smoothed one by one whenever a forecast is made.
const SMOOTHED: usize = 400;

impl Forecast<'_> {
    /// Writes the model as far as it has come.
    pub(super) fn interrupted(mut self, signal: i32, say: &Say) -> Result<ExitCode> {
        self.bound(Vec::new());
        let mut about = self.about();
        about.training.insert("interrupted".to_string(), true.into());
        self.folder.check()?;
        self.model.save_as(&about, self.folder.at("model.kiln"))?;
        let hint = self.folder.resume_hint();
        match say.json {
            true => say.event(json!({
                "event": "interrupted", "run": self.folder.path(), "signal": signal, "leaderboard": self.board, "resume": hint,
            })),
            false => out::note(format!("interrupted; the best by now is model.kiln. Go on with: {hint}")),
        }
        Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)))
    }

    /// Puts what needs no model on the board, and gives it its share of the answer where that foretold the rows that were held out better; says how.
    fn compare(&mut self) -> (Vec<BaselineShare>, String) {
        let SeriesData { windows, series, folds, .. } = self.source;
        let horizon = self.source.plan.horizon;
        // Few rows of each fold, with what the model says of them.
        let mut from = 0;
        let mut asked: Vec<(Vec<usize>, Vec<f32>)> = Vec::new();
        for (_, held) in folds {
            let known = self.held.rows.get(from..from + held.len()) == Some(held.as_slice());
            if !known {
                continue;
            }
            let stride = held.len().div_ceil(ASKED).max(1);
            let places = || (0..held.len()).step_by(stride);
            let outputs =
                places().flat_map(|at| self.held.outputs[(from + at) * horizon..][..horizon].iter().copied());
            asked.push((places().map(|at| held[at]).collect(), outputs.collect()));
            from += held.len();
        }
        let of_model = self.over(&asked, |_, outputs| outputs.to_vec());
        let before =
            |own: &PreparedSeries| is_intermittent(&own.values[..own.values.len().saturating_sub(horizon)]);
        let rare = series.iter().filter(|own| before(own)).count() * 2 > series.len();
        let mut tried = vec![Baseline::SeasonalNaive, Baseline::Drift, Baseline::ExponentialSmoothing];
        tried.extend(rare.then_some(Baseline::Intermittent));
        let mut best = (mean(&of_model), Vec::new(), "the model".to_string());
        for baseline in tried {
            let began = Instant::now();
            let said: Vec<Vec<f32>> =
                asked.iter().map(|(rows, _)| windows.outputs_of(baseline, rows)).collect();
            let seconds = began.elapsed().as_secs_f64();
            let scores = |share: f64| {
                self.over(&asked, |fold, outputs| {
                    let both = outputs.iter().zip(&said[fold]);
                    both.map(|(own, said)| {
                        ((1.0 - share) * f64::from(*own) + share * f64::from(*said)) as f32
                    })
                    .collect()
                })
            };
            let takes_long = baseline == Baseline::ExponentialSmoothing && series.len() > SMOOTHED;
            // Who asks for one kind of model gets that.
            for share in [1.0, 0.5].into_iter().filter(|_| !takes_long && self.settings.one_model().is_none())
            {
                let score = mean(&scores(share));
                if score < best.0 {
                    let name = if share == 1.0 {
                        format!("{baseline}, which learns nothing")
                    } else {
                        format!("the mean of the model and {baseline}")
                    };
                    best = (score, vec![BaselineShare { baseline, share }], name);
                }
            }
            let each = scores(1.0);
            self.board.add(&baseline.to_string(), each, seconds);
        }
        let alone = mean(&of_model);
        let line = match best.1.as_slice() {
            [] => "none of what needs no model is better on what was held out".to_string(),
            _ => format!(
                "the forecast is {}: a MASE of {:.4} on what was held out, beside {alone:.4} of the model alone",
                best.2, best.0
            ),
        };
        (best.1, line)
    }

    /// What decides, of each fold.
    fn over(
        &self,
        asked: &[(Vec<usize>, Vec<f32>)],
        outputs: impl Fn(usize, &[f32]) -> Vec<f32>,
    ) -> Vec<f64> {
        let one =
            |(fold, (rows, own)): (usize, &(Vec<usize>, Vec<f32>))| self.score.of(&outputs(fold, own), rows);
        asked.iter().enumerate().map(one).collect()
    }

    /// Gives the model the shares of what needs no model, and the bounds that what was held out asks for; says where that was little.
    fn bound(&mut self, baselines: Vec<BaselineShare>) -> Option<String> {
        let horizon = self.source.plan.horizon;
        let plan = ForecastPreparation { baselines, ..(*self.source.plan).clone() };
        let windows = self.source.windows.with_plan(plan.clone());
        let most = if plan.baselines.is_empty() { usize::MAX } else { 4 * ASKED };
        let stride = self.held.rows.len().div_ceil(most).max(1);
        let places: Vec<usize> = (0..self.held.rows.len()).step_by(stride).collect();
        let rows = windows.of_rows(places.iter().map(|&at| self.held.rows[at]));
        let outputs: Vec<f32> = places
            .iter()
            .flat_map(|at| self.held.outputs[at * horizon..][..horizon].iter().copied())
            .collect();
        let (mut bands, unit) = (ConformalBands::new(), NaiveScale { distance: 1.0, deviation: 1.0 });
        for (row, outputs) in rows.mixed(&outputs).chunks(horizon.max(1)).enumerate() {
            let own = rows.row(row);
            let truth = |step: usize| {
                if own.truth(step).is_finite() { own.output(step, own.truth(step)) } else { f64::NAN }
            };
            let truths: Vec<f64> = (0..horizon).map(truth).collect();
            let said: Vec<f64> = outputs.iter().map(|output| f64::from(*output)).collect();
            bands.add(&truths, &said, Some(unit));
        }
        let tail = 0.5 - self.interval / 2.0;
        let offsets = bands.offsets(&[tail, 1.0 - tail]);
        let lacking = bands.lacking(1.0 - tail).map(|(fewest, needed)| {
            format!(
                "{} of what was held out are too few for bounds of {:.0} %, which take {needed}: the bounds are those of a normal distribution, and hold \
                 the largest",
                counted(fewest, "error"),
                100.0 * self.interval
            )
        });
        let at = |side: usize, step: usize| {
            offsets.get(side).and_then(|own| own.get(step)).copied().unwrap_or(0.0)
        };
        let offsets = (0..horizon).map(|step| [at(0, step).min(0.0), at(1, step).max(0.0)]).collect();
        let bands = Some(StepBands { interval: self.interval, offsets });
        self.model.about_mut().preparation = ForecastPreparation { bands, ..plan }.into();
        lacking
    }

    fn about(&self) -> About {
        let own = about(self.seed, &self.source.data, &self.model);
        About { preparation: self.model.about().preparation.clone(), ..own }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Evaluates, writes the model and the report, and says what to try next.
pub(super) fn finish(
    mut forecast: Forecast,
    mut said: Vec<String>,
    (began, elapsed): (Instant, Duration),
    say: &Say,
) -> Result<ExitCode> {
    let (baselines, line) = forecast.compare();
    said.push(line);
    said.extend(forecast.bound(baselines));
    let Forecast { settings, source, folder, ref board, ref model, .. } = forecast;
    say.line(&format!("\n{board}"));
    said.iter().for_each(|line| say.line(line));
    say.event(json!({ "event": "leaderboard", "leaderboard": board }));
    let plan = model.about().preparation.forecast().cloned().unwrap_or_else(|| (*source.plan).clone());
    let test = source.test.with_plan(plan);
    let outputs = test.mixed(model.predict(&test)?.outputs());
    let figures = ForecastFigures::of(&test, &outputs, &source.units)?;
    let of_naive = ForecastFigures::of(&plain(&test), &naive(&test), &source.units)?;
    let mut about = forecast.about();
    about.training.insert("rows".to_string(), source.windows.len().into());
    let shares = board.standings.iter().filter(|standing| standing.share > 0.0);
    let shares = shares.map(|standing| (standing.name.clone(), standing.share.into()));
    about.training.insert("models".to_string(), Value::Object(shares.collect::<Map<_, _>>()));
    about.training.insert("test".to_string(), figures.json());
    let path = folder.at("model.kiln");
    folder.check()?;
    model.save_as(&about, &path)?;
    let (repeated, fits) = repeats(settings, &forecast.records);
    let seconds = began.elapsed().as_secs_f64();
    let said = [&source.data.said[..], &said].concat();
    let done = json!({
        "event": "done", "run": folder.path(), "model": path, "seconds": seconds, "said": said, "test": figures.whole_json(),
        "seasonal_naive": of_naive.json(), "leaderboard": board, "fits": fits, "settings": repeated,
    });
    report::forecast::write(
        &report::forecast::ForecastTold {
            title: format!("{}: a forecast of kiln", source.data.name),
            said: &said,
            layers: &about.layers,
            parameters: model.parameter_count(),
            seconds: elapsed.as_secs_f64(),
            board,
            figures: &[("forecast", &figures), ("seasonal naive", &of_naive)],
            test: &test,
            outputs: &outputs,
            config: settings.to_toml(),
            environment: format!("{:#}", environment(forecast.seed)),
        },
        folder,
    )?;
    folder.write("result.json", format!("{done:#}\n"))?;
    say.event(done);
    if say.json {
        out::settle()?;
        return Ok(ExitCode::SUCCESS);
    }
    out::line(format_args!(" test  {}", figures.line()))?;
    out::line(format_args!("naive  {}", of_naive.line()))?;
    out::line(format_args!(
        "{} after {seconds:.1} s; look at {}",
        path.display(),
        folder.at("report.html").display()
    ))?;
    if !say.quiet {
        let model = path.display();
        say.line(&format!("\nnext: `kiln predict {model} DATA` forecasts what comes after DATA, `kiln eval {model} DATA` holds out its end"));
    }
    Ok(ExitCode::SUCCESS)
}
