//! Sections of a report that are tables: classes, the worst mistakes, what the model looks at.

use std::fmt::Write as _;

use anyhow::Result;
use kiln_learn::data::{Batch, encode_png};
use kiln_learn::metrics::Confusion;
use kiln_learn::selection::Leaderboard;

use super::drawing::escape;
use super::{Shows, Told};
use crate::figures::figure;
use crate::importance::{ColumnDrop, Importances};
use crate::measure::{Measured, MeasuredTarget, Of};
use crate::out::counted;

/// More classes than this are no matrix that anybody can read.
const MATRIX: usize = 30;

/// Of more classes or columns than fit a table those that tell the most are shown.
const MOST: usize = 20;

/// The figures of each part; of several targets each has a table of its own, behind what is of all.
pub(super) fn figures(parts: &[(&str, &Measured)]) -> Result<String> {
    let Some((_, first)) = parts.first() else { return Ok(String::new()) };
    let Of::Several(each) = &first.of else {
        let count = first.numbers.len();
        return figures_of(parts, count);
    };
    let mut html = figures_of(parts, first.of_all())?;
    for (at, target) in each.iter().enumerate() {
        let mut own: Vec<(&str, &Measured)> = Vec::new();
        for (part, measured) in parts {
            if let Of::Several(each) = &measured.of {
                own.extend(each.get(at).map(|one| (*part, &one.measured)));
            }
        }
        write!(html, "<h3>{}</h3>", escape(&target.name))?;
        html += &figures_of(&own, usize::MAX)?;
    }
    Ok(html)
}

/// The first so many figures of each part.
fn figures_of(parts: &[(&str, &Measured)], count: usize) -> Result<String> {
    let mut html = "<div class=\"scroll\"><table><tr><th></th>".to_string();
    let numbers = |measured: &Measured| measured.numbers.iter().take(count).cloned().collect::<Vec<_>>();
    let names = parts.first().map_or(Vec::new(), |(_, first)| numbers(first));
    names.iter().try_for_each(|(name, _)| write!(html, "<th>{}</th>", escape(name)))?;
    html += "</tr>";
    for (name, part) in parts {
        write!(html, "<tr><th>{name}</th>")?;
        numbers(part).iter().try_for_each(|(_, number)| write!(html, "<td>{}</td>", figure(*number)))?;
        html += "</tr>";
    }
    Ok(html + "</table></div>")
}

/// What came of each candidate: its figure with the spread as a bar from fold to fold, its time and share of the answer.
pub(super) fn board(board: &Leaderboard) -> Result<String> {
    let larger = if board.larger_is_better { "more" } else { "less" };
    let mut html = "<div class=\"scroll\"><table class=\"board\"><tr><th>model</th>".to_string();
    let fold = if board.folds == 1 { "part" } else { "fold" };
    write!(
        html,
        "<th>{}</th><th>±</th><th>from {fold} to {fold}</th><th>time</th><th>share</th></tr>",
        escape(&board.figure)
    )?;
    let all = board.standings.iter().flat_map(|standing| standing.each.iter().copied());
    let (least, most) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    for (standing, cells) in board.standings.iter().zip(board.table().iter().skip(1)) {
        let [name, score, spread, time, share] = cells.as_slice() else { continue };
        if let Some(why) = &standing.failed {
            write!(html, "<tr><th>{}</th><td colspan=\"5\">{}</td></tr>", escape(name), escape(why))?;
            continue;
        }
        write!(html, "<tr><th>{}</th><td>{score}</td><td>{spread}</td><td>", escape(name))?;
        html += &dots(&standing.each, standing.score, (least, most));
        write!(html, "</td><td>{time}</td><td>{share}</td></tr>")?;
    }
    write!(
        html,
        "</table></div><p>Of rows that no model had learned from; {larger} is better. A dot is a {fold}, the line their mean.</p>"
    )?;
    Ok(html)
}

/// Numbers as dots along a line from the least to the most, and their mean.
fn dots(each: &[f64], mean: Option<f64>, (least, most): (f64, f64)) -> String {
    const WIDTH: f64 = 260.0;
    let place = |x: f64| 6.0 + (WIDTH - 12.0) * (x - least) / (most - least).max(f64::MIN_POSITIVE);
    let dot = |x: &f64| format!("<circle cx=\"{:.1}\" cy=\"9\" r=\"3.5\"/>", place(*x));
    let dots: String = each.iter().map(dot).collect();
    let mean = mean.map_or(String::new(), |x| format!("<path d=\"M{0:.1} 1v16\"/>", place(x)));
    format!("<svg class=\"dots\" viewBox=\"0 0 {WIDTH} 18\" role=\"img\">{dots}{mean}</svg>")
}

/// Which class was taken for which, and the figures of each; of one of several targets with its name.
pub(super) fn classes(names: &[String], confusion: &Confusion, target: Option<&str>) -> Result<String> {
    let short: Vec<&str> = names.iter().map(String::as_str).collect();
    let (id, of) = match target {
        None => ("confusion".to_string(), String::new()),
        // An id has no blanks.
        Some(name) => (
            format!("confusion-{}", name.split_whitespace().collect::<Vec<_>>().join("-")),
            format!(" of {}", escape(name)),
        ),
    };
    let mut html = format!("<section id=\"{}\"><h2>Which class{of} was taken for which</h2>", escape(&id));
    if names.len() <= MATRIX {
        html += "<div class=\"scroll\"><table class=\"matrix\"><tr><th>truth ╲ taken for</th>";
        names.iter().try_for_each(|name| write!(html, "<th>{}</th>", escape(name)))?;
        html += "</tr>";
        let support = confusion.support();
        for (truth, name) in names.iter().enumerate() {
            write!(html, "<tr><th>{}</th>", escape(name))?;
            for predicted in 0..names.len() {
                let count = confusion.count(truth, predicted);
                let share = 100.0 * count as f64 / support[truth].max(1) as f64;
                let colour = if truth == predicted { "--c0" } else { "--c1" };
                let strength = if count == 0 { 0.0 } else { (8.0 + share * 0.6).min(60.0) };
                write!(
                    html,
                    "<td style=\"background:color-mix(in srgb,var({colour}) {strength:.0}%,transparent)\">{}</td>",
                    if count == 0 { "·".to_string() } else { count.to_string() }
                )?;
            }
            html += "</tr>";
        }
        html += "</table></div>";
    }
    let (classes, title) = match names.len() {
        count if count > MATRIX => {
            html += "<p>Mistakes made most often:</p><div class=\"scroll\"><table><tr><th>truth</th><th>taken for</th><th>rows</th></tr>";
            let name = |class: usize| names.get(class).map_or("", String::as_str);
            for (truth, predicted, rows) in confusion.mistakes(MOST) {
                let [truth, predicted] = [truth, predicted].map(|class| escape(name(class)));
                write!(html, "<tr><th>{truth}</th><td>{predicted}</td><td>{rows}</td></tr>")?;
            }
            html += "</table></div>";
            (confusion.worst(MOST), format!("The worst {MOST} of {count} classes"))
        }
        count => ((0..count).collect(), "Each class".to_string()),
    };
    write!(
        html,
        "<details open><summary>{title}</summary><pre>{}</pre></details></section>",
        escape(&confusion.report_of(&classes, &short))
    )?;
    Ok(html)
}

/// The rows the model was surest of and wrong, or was furthest from.
pub(super) fn mistakes(told: &Told, measured: &Measured) -> Result<String> {
    const SHOWN: usize = 24;
    if let Of::Text = measured.of {
        return Ok(String::new());
    }
    // How wrong each is, and its row.
    let wrong = |row: usize| wrongness(&measured.of, row).map(|wrong| (wrong, row));
    let mut worst: Vec<(f64, usize)> = (0..measured.rows()).filter_map(wrong).collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    worst.truncate(SHOWN);
    let says = |row: usize| said(&measured.of, row);
    let worst: Vec<(usize, String)> = worst.into_iter().map(|(_, row)| (row, says(row))).collect();
    let mut html = "<section id=\"mistakes\"><h2>Worst mistakes</h2>".to_string();
    if worst.is_empty() || told.parts[2].is_none() {
        return Ok(html + "<p>None on the test part.</p></section>");
    }
    match told.shows {
        Shows::Images(size) => {
            html += "<div class=\"wrong\">";
            for (row, says) in &worst {
                let mut batch = Batch::of(told.test);
                batch.fill(told.test, &[*row], |_| 0)?;
                let png = encode_png(batch.x.as_u8().unwrap_or_default(), *size)?;
                write!(
                    html,
                    "<figure><img alt=\"row {row}\" src=\"data:image/png;base64,{}\">{}</figure>",
                    base64(&png),
                    escape(says)
                )?;
            }
            html += "</div>";
        }
        Shows::Table { table, rows, .. } => {
            let matter = told.importances.map_or(&[][..], |importances| &importances.drops);
            let matters = |name: &str| matter.iter().take(MOST).any(|drop| drop.column == name);
            let all = table.columns().len();
            let columns = table.columns().iter().filter(|column| all <= 2 * MOST || matters(column.name()));
            let columns: Vec<_> = columns.collect();
            if columns.len() < all {
                write!(
                    html,
                    "<p>With the {} of {all} that matter the most.</p>",
                    counted(columns.len(), "column")
                )?;
            }
            html += "<div class=\"scroll\"><table><tr><th>says</th>";
            columns.iter().try_for_each(|column| write!(html, "<th>{}</th>", escape(column.name())))?;
            html += "</tr>";
            for (row, says) in &worst {
                write!(html, "<tr><td>{}</td>", escape(says))?;
                for column in &columns {
                    let text = rows.get(*row).and_then(|&row| column.cell(row).text()).unwrap_or_default();
                    write!(html, "<td>{}</td>", escape(&text))?;
                }
                html += "</tr>";
            }
            html += "</table></div>";
        }
        Shows::Words(words) => {
            for (row, says) in &worst {
                let word = words.get(*row).map_or("", String::as_str);
                write!(html, "<p>{}: {}</p>", escape(word), escape(says))?;
            }
        }
        Shows::Columns(_) | Shows::Nothing => {
            worst.iter().try_for_each(|(row, says)| write!(html, "<p>row {row}: {}</p>", escape(says)))?;
        }
    }
    Ok(html + "</section>")
}

/// How much worse the model is where a column's values are shuffled among the rows.
pub(super) fn importances(importances: &Importances) -> Result<String> {
    let Importances { figure, is_loss, drops, columns, shuffles, rows } = importances;
    let falls = if *is_loss { "rises" } else { "falls" };
    let mut html = format!(
        "<section id=\"importance\"><h2>What the model looks at</h2><p>How much {} {falls} on {} of the test part where a column is \
         shuffled among them (mean of {shuffles}, with its standard error).</p>",
        escape(figure),
        counted(*rows, "row")
    );
    if drops.len() < *columns {
        write!(
            html,
            "<p>{} of {} were measured, those first on which the outputs depend the most.</p>",
            drops.len(),
            counted(*columns, "column")
        )?;
    }
    if drops.len() > 2 * MOST {
        write!(html, "<p>The {MOST} that matter the most; result.json has all.</p>")?;
    }
    let shown = if drops.len() > 2 * MOST { MOST } else { drops.len() };
    let most = drops.first().map_or(1.0, |first| first.drop.max(1e-9));
    html += "<div class=\"scroll\"><table>";
    for ColumnDrop { column, drop, error } in &drops[..shown] {
        let bar = (160.0 * drop / most).max(0.0);
        let error = error.map_or(String::new(), |error| format!("± {error:.4}"));
        write!(
            html,
            "<tr><th>{}</th><td>{drop:+.4}</td><td>{error}</td><td style=\"text-align:left\"><span class=\"bar\" style=\"width:{bar:.0}px\"></span></td></tr>",
            escape(column)
        )?;
    }
    Ok(html + "</table></div></section>")
}

/// How wrong a model is of a row: how sure it was of another class, how far a number is off. Of several targets numbers count by how much more
/// than usually they are off, a class by as much as it is unlikely to be right. Nothing where a row is right.
fn wrongness(of: &Of, row: usize) -> Option<f64> {
    match of {
        Of::Text => None,
        Of::Classes { rows, .. } => {
            let row = rows.get(row)?;
            (!row.is_right()).then_some(f64::from(row.sure))
        }
        Of::Numbers(each) => match each.as_slice() {
            [own] => Some(own.off(row)),
            each => Some(each.iter().map(|own| own.off_by_mean(row)).sum()),
        },
        Of::Several(each) => {
            let one = |one: &MeasuredTarget| match &one.measured.of {
                Of::Numbers(each) => Some(each.iter().map(|own| own.off_by_mean(row)).sum::<f64>()),
                of => wrongness(of, row),
            };
            let wrong: Vec<f64> = each.iter().filter_map(one).collect();
            (!wrong.is_empty()).then(|| wrong.iter().sum())
        }
    }
}

/// What a model says of a row, and what it is.
fn said(of: &Of, row: usize) -> String {
    match of {
        Of::Text => String::new(),
        Of::Classes { names, rows, .. } => {
            let name = |class: u32| names.get(class as usize).map_or("", String::as_str);
            let row = &rows[row];
            format!("{} ({:.0} %), is {}", name(row.class), 100.0 * row.sure, name(row.label))
        }
        Of::Numbers(each) => {
            let says = each.iter().map(|own| {
                let name = if each.len() > 1 { format!("{} ", own.name) } else { String::new() };
                format!("{name}{}, is {}", figure(own.predicted[row]), figure(own.truth[row]))
            });
            says.collect::<Vec<_>>().join("; ")
        }
        Of::Several(each) => {
            let says = each.iter().map(|one| format!("{} {}", one.name, said(&one.measured.of, row)));
            says.collect::<Vec<_>>().join("; ")
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { letter as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn bytes_become_the_letters_of_the_standard() {
        // RFC 4648, 10.
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
