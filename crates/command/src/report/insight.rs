//! Sections of a report on how far a model may be trusted: what its sets and bounds hold, how sure it may be, where it is worst, what it says by
//! single columns; and a card of the model.

use std::fmt::Write as _;

use anyhow::Result;

use super::Told;
use super::chart::{Chart, Series};
use super::drawing::escape;
use crate::figures::{figure, short};
use crate::insight::{CalibrationBin, Dependence, DependencePlace, Insight, SharedCoverage, TargetCoverage};
use crate::measure::Measured;
use crate::out::counted;

/// So many groups are shown, the least covered first.
const GROUPS: usize = 5;

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A title with the target's name, where there are several.
fn of_target(title: &str, target: &str) -> String {
    if target.is_empty() { title.to_string() } else { format!("{title}: {}", escape(target)) }
}

/// All sections but the charts.
pub(super) fn sections(insight: &Insight) -> Result<String> {
    let mut html = String::new();
    for coverage in &insight.coverage {
        html += &covered(coverage)?;
    }
    for (target, bins) in &insight.calibration {
        html += &calibration(target, bins)?;
    }
    html += &slices(insight)?;
    html += &words(&insight.dependences)?;
    if !insight.interactions.is_empty() {
        html += "<section id=\"interactions\"><h2>What two columns say together</h2><p>The share of what both say in the mean that \
                 neither says alone.</p><div class=\"scroll\"><table>";
        for interaction in &insight.interactions {
            let [a, b] = interaction.columns.each_ref().map(|column| escape(column));
            write!(html, "<tr><th>{a} and {b}</th><td>{}</td></tr>", percent(interaction.share))?;
        }
        html += "</table></div></section>";
    }
    Ok(html)
}

fn covered(coverage: &TargetCoverage) -> Result<String> {
    let mut html = format!(
        "<section class=\"coverage\"><h2>{}</h2><p>Asked is {} of rows; in brackets between what the share lies in 95 of 100 cases.</p>\
         <div class=\"scroll\"><table><tr><th>rows</th><th></th><th>held</th><th></th></tr>",
        of_target("What is held by its set or interval", &coverage.target),
        percent(coverage.asked)
    );
    let mut line = |own: &SharedCoverage, of: &str| -> Result<()> {
        let [low, high] = own.interval;
        // What is asked lies beyond what chance would make of it.
        let is_off = coverage.asked < low || coverage.asked > high;
        let mark = if is_off { if own.coverage < coverage.asked { " fewer" } else { " more" } } else { "" };
        write!(
            html,
            "<tr><th>{of}{}</th><td>{}</td><td>{}</td><td>({} to {}){mark}</td></tr>",
            escape(&own.rows_of),
            own.rows,
            percent(own.coverage),
            percent(low),
            percent(high)
        )?;
        Ok(())
    };
    line(&coverage.all, "")?;
    coverage.by_class.iter().try_for_each(|own| line(own, "of class "))?;
    coverage.by_group.iter().take(GROUPS).try_for_each(|own| line(own, ""))?;
    html += "</table></div>";
    if coverage.by_group.len() > GROUPS {
        write!(
            html,
            "<p>The {GROUPS} groups that are held least; result.json has all {}.</p>",
            coverage.by_group.len()
        )?;
    }
    Ok(html + "</section>")
}

fn calibration(target: &str, bins: &[CalibrationBin]) -> Result<String> {
    let mut html = format!(
        "<section class=\"calibration\"><h2>{}</h2><div class=\"scroll\"><table><tr><th>how sure</th><th>rows</th><th>right</th><th></th></tr>",
        of_target("How sure it may be", target)
    );
    for bin in bins {
        let [low, high] = bin.interval;
        let (sure, right) = (percent(bin.sure), percent(bin.right));
        write!(
            html,
            "<tr><th>{sure}</th><td>{}</td><td>{right}</td><td>({} to {})</td></tr>",
            bin.rows,
            percent(low),
            percent(high)
        )?;
    }
    Ok(html + "</table></div></section>")
}

fn slices(insight: &Insight) -> Result<String> {
    let Some(first) = insight.slices.first() else { return Ok(String::new()) };
    let is_share = first.figure.starts_with("share");
    let shown = |number: f64| if is_share { percent(number) } else { figure(number) };
    let mut html = format!(
        "<section id=\"slices\"><h2>Where it is worst</h2><p>Rows with something in common whose {} is larger than that of the others, which \
         may be chance the likelier the more slices are looked at.</p><div class=\"scroll\"><table><tr><th>rows where</th><th></th><th>{}</th>\
         <th>elsewhere</th><th>more by</th><th>by chance</th></tr>",
        first.figure, first.figure
    );
    for slice in &insight.slices {
        let [low, high] = slice.interval.map(shown);
        let chance = if slice.probability < 1e-4 {
            "&lt; 0.0001".to_string()
        } else {
            format!("{:.4}", slice.probability)
        };
        write!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{low} to {high}</td><td>{chance}</td></tr>",
            escape(&slice.slice),
            slice.rows,
            shown(slice.error),
            shown(slice.elsewhere)
        )?;
    }
    Ok(html + "</table></div></section>")
}

/// What is said by columns of amounts, as charts.
pub(super) fn charts(dependences: &[Dependence]) -> Vec<Chart> {
    let one = |own: &Dependence| {
        let place = |at: &DependencePlace| match at {
            DependencePlace::Amount(amount) => Some(*amount),
            DependencePlace::Word(_) => None,
        };
        let at: Vec<f64> = own.at.iter().map(place).collect::<Option<_>>()?;
        let called = if own.of.len() == 1 { own.of[0].as_str() } else { "said in the mean" };
        let chart = Chart::new(&format!("What it says by {}", own.column), &own.column, called);
        let each = own.of.iter().zip(&own.says);
        Some(each.fold(chart, |chart, (name, says)| {
            let name = if own.of.len() == 1 { "" } else { name };
            chart.with(Series::line(name, at.iter().copied().zip(says.iter().copied())))
        }))
    };
    dependences.iter().filter_map(one).collect()
}

/// What is said by columns of words, as tables.
fn words(dependences: &[Dependence]) -> Result<String> {
    let mut html = String::new();
    for own in dependences {
        let is_words = own.at.iter().any(|at| matches!(at, DependencePlace::Word(_)));
        if !is_words {
            continue;
        }
        write!(
            html,
            "<section class=\"dependence\"><h2>What it says by {}</h2><div class=\"scroll\"><table><tr><th></th>",
            escape(&own.column)
        )?;
        own.of.iter().try_for_each(|name| write!(html, "<th>{}</th>", escape(name)))?;
        html += "</tr>";
        for (place, at) in own.at.iter().enumerate() {
            let name = match at {
                DependencePlace::Word(word) => escape(word),
                DependencePlace::Amount(amount) => short(*amount),
            };
            write!(html, "<tr><th>{name}</th>")?;
            own.says.iter().try_for_each(|says| write!(html, "<td>{}</td>", figure(says[place])))?;
            html += "</tr>";
        }
        html += "</table></div></section>";
    }
    Ok(html)
}

/// What is known of the model on a page, and lines for what only people know.
pub(super) fn card(told: &Told, measured: Option<&Measured>) -> Result<String> {
    let mut html = "<section id=\"card\"><h2>Model card</h2><dl class=\"card\">".to_string();
    let mut entry = |name: &str, text: &str| write!(html, "<dt>{name}</dt><dd>{text}</dd>");
    let [train, valid, test] = told.rows.map(|rows| counted(rows, "row"));
    let has_rows = told.rows.iter().any(|rows| *rows > 0);
    let data = format!(
        "{}: {train} to train on, {valid} to validate with, {test} to test with",
        escape(told.title.trim_end_matches(": a run of kiln"))
    );
    if has_rows {
        entry("Data", &data)?;
    }
    if !told.columns.is_empty() {
        entry("Columns", &escape(&told.columns.join(", ")))?;
    }
    let models = told.board.map(|board| {
        let shares = board.standings.iter().filter(|standing| standing.share > 0.0);
        shares
            .map(|standing| format!("{} {}", standing.name, percent(standing.share)))
            .collect::<Vec<_>>()
            .join(", ")
    });
    let how = models.map_or(String::new(), |models| format!(" of {models}"));
    entry(
        "Model",
        &format!(
            "{}{}, trained in {:.1} s",
            counted(told.parameters, "parameter"),
            escape(&how),
            told.seconds
        ),
    )?;
    if let Some(measured) = measured {
        let figures =
            measured.numbers.iter().take(6).map(|(name, number)| format!("{name} {}", figure(*number)));
        entry("Figures", &escape(&figures.collect::<Vec<_>>().join(", ")))?;
    }
    let mut limits = Vec::new();
    if has_rows && told.rows[2] < 100 {
        limits.push(format!("figures of {test} say little: they may be far off"));
    }
    if let Some(insight) = told.insight {
        let worst = insight.slices.iter().filter(|slice| slice.probability < 0.05);
        limits.extend(
            worst.map(|slice| format!("it errs more where {} ({})", slice.slice, counted(slice.rows, "row"))),
        );
        for coverage in &insight.coverage {
            let least = coverage
                .by_group
                .iter()
                .chain(&coverage.by_class)
                .filter(|own| own.interval[1] < coverage.asked);
            limits.extend(least.take(2).map(|own| {
                format!("fewer rows than asked are held where {} ({})", own.rows_of, percent(own.coverage))
            }));
        }
    }
    if !told.columns.is_empty() {
        limits.push("it knows nothing of rows unlike those that it was trained on: kiln check MODEL NEW says whether there are such".to_string());
    }
    if !limits.is_empty() {
        entry("Limits", &escape(&limits.join("; ")))?;
    }
    for blank in ["Intended use", "Not to be used for", "Who answers for it"] {
        entry(blank, "<span class=\"blank\"></span>")?;
    }
    Ok(html + "</dl></section>")
}
