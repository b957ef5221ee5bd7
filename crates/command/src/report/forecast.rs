//! The report of forecasts: what they were chosen by, their figures, and the worst, a typical and the best series with what was forecast of its end.

use std::fmt::Write as _;

use anyhow::Result;
use kiln_learn::forecast::{ForecastWindows, seasons};
use kiln_learn::selection::Leaderboard;

use super::chart::Chart;
use super::drawing::escape;
use super::series::{ForecastPlot, errors_by_series, errors_by_step, season};
use super::{ending, head, plots, tables};
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

/// From how many series on their errors are drawn.
const MANY: usize = 20;

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
        let ways: Vec<_> =
            told.figures.iter().map(|(name, figures)| (name.to_string(), &figures.measures)).collect();
        charts.push(errors_by_step(&ways));
        if count >= MANY {
            let errors: Vec<f64> = figures.by_series.iter().map(|(_, _, error)| *error).collect();
            charts.push(errors_by_series(&errors));
        }
        charts.extend(figures.by_series.get(count / 2).and_then(|(_, row, _)| season_of(told, *row)));
    }
    plots(&charts, folder)?;
    Ok(folder.write("report.html", page(told, &charts)?)?)
}

/// The end of a series and what was forecast of it.
fn drawing(told: &ForecastTold, title: &str, key: &str, row: usize) -> Chart {
    let (own, plan) = (told.test.row(row), told.test.plan());
    let outputs = told.outputs.get(row * plan.horizon..(row + 1) * plan.horizon).unwrap_or_default();
    let each = || outputs.iter().map(|output| f64::from(*output)).enumerate();
    let points: Vec<f64> = each().map(|(step, output)| own.number(step, output)).collect();
    let bounds: Vec<[f64; 2]> = each().filter_map(|(step, output)| own.bounds(step, output)).collect();
    let [low, high] = [0, 1].map(|side| bounds.iter().map(|own| own[side]).collect::<Vec<f64>>());
    let band = plan.bands.as_ref().filter(|_| bounds.len() == points.len());
    ForecastPlot {
        title: if key.is_empty() { title.to_string() } else { format!("{title}: {key}") },
        target: &plan.target,
        frequency: plan.frequency,
        first: own.series().first,
        values: &own.series().values,
        origin: told.test.place(row).1,
        points: &points,
        band: band
            .map(|bands| (&low[..], &high[..], format!("{} %", (1000.0 * bands.interval).round() / 10.0))),
    }
    .chart()
}

/// The strongest season of a series, where it has one.
fn season_of(told: &ForecastTold, row: usize) -> Option<Chart> {
    let (own, plan) = (told.test.row(row), told.test.plan());
    let values = &own.series().values;
    let strongest = seasons(values, plan.frequency).first()?.period;
    Some(season(values, strongest, plan.frequency.noun(), &plan.target))
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
