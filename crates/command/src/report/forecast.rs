//! The report of forecasts: what they were chosen by, their figures, and the worst, a typical and the best series with what was forecast of its end.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use kiln_learn::data::encode_png;
use kiln_learn::forecast::ForecastWindows;
use kiln_learn::selection::Leaderboard;

use super::chart::{Chart, Series};
use super::drawing::escape;
use super::{ending, head, tables};
use crate::figures::figure;
use crate::folder::Folder;
use crate::forecasts::ForecastFigures;

/// What a report of forecasts tells of.
pub struct ForecastTold<'a> {
    pub title: String,
    pub said: &'a [String],
    pub layers: &'a str,
    pub parameters: usize,
    pub seconds: f64,
    pub board: &'a Leaderboard,
    /// The figures of the test, of the model first.
    pub figures: &'a [(&'a str, &'a ForecastFigures)],
    pub test: &'a ForecastWindows,
    pub outputs: &'a [f32],
    pub config: String,
    pub environment: String,
}

/// Series that have a line in the table of errors.
const LINES: usize = 20;

/// Steps that are drawn before the forecast, in horizons.
const BEFORE: usize = 4;

/// Writes `report.html`, and the charts to `plots/`.
pub fn write(told: &ForecastTold, folder: &Folder) -> Result<()> {
    let mut charts = Vec::new();
    if let Some((_, figures)) = told.figures.first() {
        let count = figures.by_series.len();
        let picks = [("Worst", count.checked_sub(1)), ("Typical", Some(count / 2)), ("Best", Some(0))];
        let mut drawn = Vec::new();
        for (name, place) in picks {
            let Some((key, row, _)) = place.and_then(|place| figures.by_series.get(place)) else { continue };
            if !drawn.contains(row) {
                drawn.push(*row);
                charts.push(drawing(told, if count == 1 { "Forecast" } else { name }, key, *row));
            }
        }
        let by_step = told.figures.iter().map(|(name, figures)| {
            Series::line(
                name,
                figures.measures.steps.iter().enumerate().map(|(step, own)| (step as f64 + 1.0, own.mase)),
            )
        });
        charts.push(by_step.fold(Chart::new("Error by step", "step of the horizon", "MASE"), Chart::with));
    }
    folder.make("plots")?;
    for chart in &charts {
        let name = chart.title.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-");
        folder.write(Path::new("plots").join(format!("{name}.svg")), chart.file())?;
        let (pixels, size) = chart.pixels();
        folder.write(Path::new("plots").join(format!("{name}.png")), encode_png(&pixels, size)?)?;
    }
    Ok(folder.write("report.html", page(told, &charts)?)?)
}

/// The end of a series and what was forecast of it.
fn drawing(told: &ForecastTold, title: &str, key: &str, row: usize) -> Chart {
    let own = told.test.row(row);
    let (origin, horizon) = (told.test.place(row).1, told.test.plan().horizon);
    let frequency = told.test.plan().frequency;
    let values = &own.series().values;
    let start = origin.saturating_sub(BEFORE * horizon.max(8));
    let place = |step: usize| step as f64 - origin as f64 + 1.0;
    let history = (start..values.len()).map(|step| (place(step), values[step]));
    let outputs = told.outputs.get(row * horizon..(row + 1) * horizon).unwrap_or_default();
    let each = || outputs.iter().map(|output| f64::from(*output)).enumerate();
    let forecast = each().map(|(step, output)| (step as f64 + 1.0, own.number(step, output)));
    let bound = |side: usize| {
        each()
            .filter_map(|(step, output)| Some((step as f64 + 1.0, own.bounds(step, output)?[side])))
            .collect::<Vec<_>>()
    };
    let from = frequency.text(frequency.begin(own.series().first + origin as i64));
    let title = if key.is_empty() { title.to_string() } else { format!("{title}: {key}") };
    Chart::new(&title, &format!("steps from {from} on"), &told.test.plan().target)
        .with(Series::line("series", history))
        .with(Series::line("forecast", forecast))
        .with(Series::line("lower bound", bound(0)))
        .with(Series::line("upper bound", bound(1)))
}

fn page(told: &ForecastTold, charts: &[Chart]) -> Result<String> {
    let mut html = head(&told.title);
    for line in told.said {
        write!(html, "<p>{}</p>", escape(line))?;
    }
    html += "<section id=\"figures\"><h2>Figures of the last window of each series</h2><div class=\"scroll\"><table><tr><th></th>";
    let names = told.figures.first().map_or(Vec::new(), |(_, figures)| figures.numbers());
    names.iter().try_for_each(|(name, _)| write!(html, "<th>{name}</th>"))?;
    html += "</tr>";
    for (name, figures) in told.figures {
        write!(html, "<tr><th>{name}</th>")?;
        figures.numbers().iter().try_for_each(|(_, number)| write!(html, "<td>{}</td>", figure(*number)))?;
        html += "</tr>";
    }
    html += "</table></div></section><section id=\"models\"><h2>Models</h2>";
    html += &tables::board(told.board)?;
    html += "</section><section id=\"curves\"><h2>Charts</h2><div class=\"charts\">";
    charts.iter().for_each(|chart| html += &format!("<figure>{}</figure>", chart.svg()));
    html += "</div></section>";
    if let Some((_, figures)) = told.figures.first().filter(|(_, figures)| figures.by_series.len() > 1) {
        html += "<section id=\"series\"><h2>Series, the worst first</h2><div class=\"scroll\"><table><tr><th>series</th><th>MASE</th></tr>";
        for (key, _, error) in figures.by_series.iter().rev().take(LINES) {
            write!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(key), figure(*error))?;
        }
        html += "</table></div></section>";
    }
    html += &ending(told.layers, told.parameters, told.seconds, (&told.config, &told.environment))?;
    Ok(html)
}
