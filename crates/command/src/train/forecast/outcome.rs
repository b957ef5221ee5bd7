//! What comes of forecasts that were learned: their bounds, their figures on the last window of each series, the model's file and the report.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::data::Dataset;
use kiln_learn::forecast::{ForecastScore, ForecastWindows, StepBands};
use kiln_learn::selection::{FitRecord, HeldOut, Leaderboard};
use serde_json::{Map, Value, json};

use super::super::plan::{about, environment};
use super::super::say::Say;
use super::repeats;
use crate::folder::Folder;
use crate::forecasts::{ForecastFigures, naive};
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
    pub(super) records: Vec<FitRecord>,
}

impl Forecast<'_> {
    /// Writes the model as far as it has come.
    pub(super) fn interrupted(mut self, signal: i32, board: &Leaderboard, say: &Say) -> Result<ExitCode> {
        self.bound();
        let mut about = self.about();
        about.training.insert("interrupted".to_string(), true.into());
        self.folder.check()?;
        self.model.save_as(&about, self.folder.at("model.kiln"))?;
        let hint = self.folder.resume_hint();
        match say.json {
            true => say.event(json!({
                "event": "interrupted", "run": self.folder.path(), "signal": signal, "leaderboard": board, "resume": hint,
            })),
            false => out::note(format!("interrupted; the best by now is model.kiln. Go on with: {hint}")),
        }
        Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)))
    }

    /// The bounds that what was held out asks for.
    fn bound(&mut self) {
        let horizon = self.source.plan.horizon;
        let mut off: Vec<Vec<f64>> = vec![Vec::new(); horizon];
        for (row, outputs) in self.held.rows.iter().zip(self.held.outputs.chunks(horizon.max(1))) {
            let own = self.source.windows.row(*row);
            for (step, output) in outputs.iter().enumerate() {
                let truth = own.truth(step);
                if truth.is_finite() {
                    off[step].push(own.output(step, truth) - f64::from(*output));
                }
            }
        }
        let mut plan = (*self.source.plan).clone();
        plan.bands = Some(StepBands::of(&off, self.interval));
        self.model.about_mut().preparation = plan.into();
    }

    fn about(&self) -> kiln_learn::model::About {
        let own = about(self.seed, &self.source.data, &self.model);
        kiln_learn::model::About { preparation: self.model.about().preparation.clone(), ..own }
    }

    /// The windows of the test, with the bounds that are known by now.
    fn test(&self) -> ForecastWindows {
        let plan = self.model.about().preparation.forecast().cloned().unwrap_or_else(|| (*self.source.plan).clone());
        let places = (0..self.source.test.len()).map(|row| self.source.test.place(row));
        ForecastWindows::new(plan.into(), self.source.series.clone(), places)
    }
}

/// Evaluates, writes the model and the report, and says what to try next.
pub(super) fn finish(
    mut forecast: Forecast,
    mut board: Leaderboard,
    mut said: Vec<String>,
    (began, elapsed): (Instant, Duration),
    say: &Say,
) -> Result<ExitCode> {
    forecast.bound();
    let Forecast { settings, source, folder, score, .. } = forecast;
    let baseline: Vec<f64> = source.folds.iter().map(|(_, held)| {
        score.of(&vec![0.0; held.len() * source.plan.horizon], held)
    }).collect();
    let best = board.standings.first().and_then(|standing| standing.score).unwrap_or(f64::NAN);
    board.add("seasonal naive", baseline, 0.0);
    let naive_score = board.of("seasonal naive").and_then(|standing| standing.score).unwrap_or(f64::NAN);
    if naive_score <= best {
        said.push(format!("seasonal naive, which learns nothing, is as good or better: {naive_score:.4} beside {best:.4}"));
    }
    say.line(&format!("\n{board}"));
    said.iter().for_each(|line| say.line(line));
    say.event(json!({ "event": "leaderboard", "leaderboard": board }));
    let test = forecast.test();
    let outputs = forecast.model.predict(&test)?;
    let figures = ForecastFigures::of(&test, outputs.outputs(), &source.units);
    let of_naive = ForecastFigures::of(&source.test, &naive(&test), &source.units);
    let mut about = forecast.about();
    about.training.insert("rows".to_string(), source.windows.len().into());
    let shares = board.standings.iter().filter(|standing| standing.share > 0.0);
    let shares = shares.map(|standing| (standing.name.clone(), standing.share.into()));
    about.training.insert("models".to_string(), Value::Object(shares.collect::<Map<_, _>>()));
    let numbers = |figures: &ForecastFigures| -> Value {
        let each = figures.numbers.iter().map(|(name, number)| (name.to_string(), (*number).into()));
        Value::Object(each.collect())
    };
    about.training.insert("test".to_string(), numbers(&figures));
    let path = folder.at("model.kiln");
    folder.check()?;
    forecast.model.save_as(&about, &path)?;
    let (repeated, fits) = repeats(settings, &forecast.records);
    let seconds = began.elapsed().as_secs_f64();
    let said = [&source.data.said[..], &said].concat();
    let done = json!({
        "event": "done", "run": folder.path(), "model": path, "seconds": seconds, "said": said,
        "test": figures.json(), "seasonal_naive": numbers(&of_naive), "leaderboard": board, "fits": fits, "settings": repeated,
    });
    report::forecast::write(
        &report::forecast::ForecastTold {
            title: format!("{}: a forecast of kiln", source.data.name),
            said: &said,
            layers: &about.layers,
            parameters: forecast.model.parameter_count(),
            seconds: elapsed.as_secs_f64(),
            board: &board,
            figures: &[("model", &figures), ("seasonal naive", &of_naive)],
            test: &test,
            outputs: outputs.outputs(),
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
    out::line(format_args!("{} after {seconds:.1} s; look at {}", path.display(), folder.at("report.html").display()))?;
    if !say.quiet {
        let model = path.display();
        say.line(&format!("\nnext: `kiln predict {model} DATA` forecasts what comes after DATA, `kiln eval {model} DATA` holds out its end"));
    }
    Ok(ExitCode::SUCCESS)
}
