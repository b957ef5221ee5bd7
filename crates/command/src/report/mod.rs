//! The report of a run: one page that needs nothing else, with curves, figures, mistakes and settings; and its charts as files.

mod chart;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use kiln_learn::data::{Batch, Dataset, Form, ImageSize, Rng, Set, Table, TablePreparation, encode_png};
use kiln_learn::metrics::{Confusion, History};
use kiln_learn::model::Task;

use super::folder::Folder;
use super::measure::{Measured, Of};
use chart::{COLOURS, Chart, Mark, STYLE, Series, escape};

/// What a report tells of.
pub struct Told<'a> {
    pub title: String,
    pub said: &'a [String],
    pub layers: &'a str,
    pub parameters: usize,
    pub seconds: f64,
    pub history: &'a History,
    /// The training, validation and test part.
    pub parts: [Option<&'a Measured>; 3],
    pub test: &'a dyn Dataset,
    pub task: &'a Task,
    pub shows: &'a Shows,
    pub config: String,
    pub environment: String,
    pub model: &'a kiln_learn::Model,
}

/// How a row of the test part is shown to people.
pub enum Shows {
    Images(ImageSize),
    Table {
        table: Box<Table>,
        /// The rows of the test part.
        rows: Vec<usize>,
        plan: Box<TablePreparation>,
    },
    /// By its number alone.
    Nothing,
}

/// Writes `report.html`, and the charts to `plots/`.
pub fn write(told: &Told, folder: &Folder) -> Result<()> {
    let mut charts = curves(told.history);
    let measured = told.parts[2].or(told.parts[1]).or(told.parts[0]);
    if let Some(measured) = measured {
        charts.extend(of_predictions(measured));
    }
    folder.make("plots")?;
    for chart in &charts {
        let name = chart.title.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-") + ".svg";
        folder.write(Path::new("plots").join(name), chart.file())?;
    }
    Ok(folder.write("report.html", page(told, &charts, measured)?)?)
}

fn page(told: &Told, charts: &[Chart], measured: Option<&Measured>) -> Result<String> {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><link rel=\"icon\" href=\"data:,\"><style>{COLOURS}{PAGE}{STYLE}</style></head><body><main><h1>{title}</h1>",
        title = escape(&told.title)
    );
    for line in told.said {
        write!(html, "<p>{}</p>", escape(line))?;
    }
    html += "<section id=\"figures\"><h2>Figures</h2><div class=\"scroll\"><table><tr><th></th>";
    let known: Vec<(&str, &Measured)> = ["train", "validation", "test"]
        .into_iter()
        .zip(told.parts)
        .filter_map(|(name, part)| Some((name, part?)))
        .collect();
    if let Some((_, first)) = known.first() {
        first.numbers.iter().try_for_each(|(name, _)| write!(html, "<th>{}</th>", escape(name)))?;
        html += "</tr>";
        for (name, part) in &known {
            write!(html, "<tr><th>{name}</th>")?;
            part.numbers.iter().try_for_each(|(_, number)| write!(html, "<td>{number:.4}</td>"))?;
            html += "</tr>";
        }
    }
    html += "</table></div></section><section id=\"curves\"><h2>Charts</h2><div class=\"charts\">";
    charts.iter().for_each(|chart| html += &format!("<figure>{}</figure>", chart.svg()));
    html += "</div></section>";
    if let Some(measured) = measured {
        if let Of::Classes { names, confusion, .. } = &measured.of {
            html += &classes(names, confusion)?;
        }
        html += &mistakes(told, measured)?;
        html += &importance(told, measured)?;
    }
    writeln!(
        html,
        "<section id=\"model\"><h2>Model</h2><p>{} parameters, trained in {:.1} s.</p><pre>{}</pre></section>\
         <section id=\"config\"><h2>Settings</h2><pre>{}</pre><details><summary>Environment</summary><pre>{}</pre></details></section>\
         <footer>made by kiln {}</footer></main></body></html>",
        told.parameters,
        told.seconds,
        escape(&told.layers.replace(", ", "\n")),
        escape(&told.config),
        escape(&told.environment),
        env!("CARGO_PKG_VERSION")
    )?;
    Ok(html)
}

/// What the page looks like.
const PAGE: &str = "*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:1180px;margin:0 auto;padding:1.2rem}h1{font-size:1.6rem;margin:.4rem 0}h2{font-size:1.15rem;margin:2rem 0 .6rem}p{margin:.2rem 0;color:var(--soft)}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:1rem}figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:.6rem}\
svg{width:100%;height:auto;display:block}.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
th{font-weight:600}.matrix td{text-align:center;min-width:2.6rem}.wrong{display:flex;flex-wrap:wrap;gap:.8rem}.wrong figure{text-align:center;font-size:.85rem}\
.wrong img{width:84px;height:84px;image-rendering:pixelated;display:block;margin:0 auto .3rem}pre{overflow-x:auto;background:color-mix(in srgb,var(--line) 35%,transparent);padding:.8rem;border-radius:8px;font-size:.85rem}\
.bar{display:inline-block;height:.8em;background:var(--c0);border-radius:2px;vertical-align:middle}footer{margin:2.5rem 0 1rem;color:var(--soft);font-size:.85rem}";

/// Losses, metrics and the rate from epoch to epoch.
fn curves(history: &History) -> Vec<Chart> {
    let series = |name: &str| {
        let numbers = history.series(name).unwrap_or_default();
        numbers.iter().enumerate().map(|(epoch, number)| (epoch as f64 + 1.0, *number)).collect::<Vec<_>>()
    };
    let mut charts = Vec::new();
    for name in history.names().iter().filter(|name| !name.starts_with("val_")) {
        let title = match name.as_str() {
            "loss" => "Loss".to_string(),
            "rate" => "Learning rate".to_string(),
            other => other[..1].to_uppercase() + &other[1..],
        };
        let held = format!("val_{name}");
        let has_held = history.series(&held).is_some();
        let mut chart = Chart::new(&title, "epoch", name)
            .with(Series::line(if has_held { "training" } else { "" }, series(name)));
        if has_held {
            chart = chart.with(Series::line("validation", series(&held)));
        }
        charts.push(chart);
    }
    charts
}

/// What predictions look like: for two classes the curves of all thresholds, for numbers how far they are off.
fn of_predictions(measured: &Measured) -> Vec<Chart> {
    match &measured.of {
        Of::Classes { names, labels, probabilities, .. } => {
            let count = names.len().max(2);
            let mut charts = Vec::new();
            if count == 2 {
                let scored: Vec<(f64, bool)> = probabilities
                    .chunks(2)
                    .zip(labels)
                    .map(|(row, label)| (f64::from(row[1]), *label == 1))
                    .collect();
                charts.extend(thresholds(&scored, &names[1]));
            }
            charts.push(calibration(probabilities, labels, count));
            charts
        }
        Of::Text => Vec::new(),
        Of::Numbers { name, truth, predicted } => {
            let both = || truth.iter().copied().zip(predicted.iter().copied());
            let mut right =
                Chart::new("Predicted and true", &format!("true {name}"), &format!("predicted {name}"))
                    .with(Series::of("", both(), Mark::Points));
            right.diagonal = true;
            let residuals: Vec<f64> = both().map(|(truth, predicted)| predicted - truth).collect();
            let off = Chart::new("Residuals", "predicted less true", "rows").with(Series::of(
                "",
                histogram(&residuals, 24),
                Mark::Bars,
            ));
            let against =
                Chart::new("Residuals by prediction", &format!("predicted {name}"), "predicted less true")
                    .with(Series::of(
                        "",
                        both().map(|(truth, predicted)| (predicted, predicted - truth)),
                        Mark::Points,
                    ));
            vec![right, off, against]
        }
    }
}

/// The ROC and the precision-recall curve.
fn thresholds(scored: &[(f64, bool)], positive: &str) -> [Chart; 2] {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = sorted.iter().filter(|(_, is)| *is).count().max(1) as f64;
    let negatives = (sorted.len() as f64 - positives).max(1.0);
    let (mut hits, mut alarms) = (0.0, 0.0);
    let (mut roc, mut precision) = (vec![(0.0, 0.0)], Vec::new());
    for (at, (score, is)) in sorted.iter().enumerate() {
        if *is {
            hits += 1.0;
        } else {
            alarms += 1.0;
        }
        if sorted.get(at + 1).is_none_or(|next| next.0 != *score) {
            roc.push((alarms / negatives, hits / positives));
            precision.push((hits / positives, hits / (hits + alarms)));
        }
    }
    let mut first =
        Chart::new("ROC curve", "false positive rate", "true positive rate").with(Series::line("", roc));
    (first.diagonal, first.bounds) = (true, Some([0.0, 1.0, 0.0, 1.0]));
    let title = format!("Precision and recall of {positive}");
    let mut second = Chart::new(&title, "recall", "precision").with(Series::line("", precision));
    second.bounds = Some([0.0, 1.0, 0.0, 1.0]);
    [first, second]
}

/// How often the likeliest class is right, by how likely it was.
fn calibration(probabilities: &[f32], labels: &[i64], classes: usize) -> Chart {
    let mut bins = vec![(0.0, 0.0, 0.0); 10];
    for (row, label) in probabilities.chunks(classes).zip(labels) {
        let best = (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        let sure = f64::from(row[best]);
        let bin = &mut bins[((sure * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1.0, bin.1 + sure, bin.2 + f64::from(u8::from(best as i64 == *label)));
    }
    let points =
        bins.iter().filter(|bin| bin.0 > 0.0).map(|(count, sure, right)| (sure / count, right / count));
    let mut chart = Chart::new("Calibration", "how sure", "how often right").with(Series::line("", points));
    (chart.diagonal, chart.bounds) = (true, Some([0.0, 1.0, 0.0, 1.0]));
    chart
}

fn histogram(numbers: &[f64], bins: usize) -> Vec<(f64, f64)> {
    let (least, most) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let width = ((most - least) / bins as f64).max(f64::MIN_POSITIVE);
    let mut counts = vec![0.0; bins];
    for number in numbers {
        counts[(((number - least) / width) as usize).min(bins - 1)] += 1.0;
    }
    counts.into_iter().enumerate().map(|(bin, count)| (least + (bin as f64 + 0.5) * width, count)).collect()
}

/// Which class was taken for which, and the figures of each.
fn classes(names: &[String], confusion: &Confusion) -> Result<String> {
    let short: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut html = "<section id=\"confusion\"><h2>Which class was taken for which</h2>".to_string();
    if names.len() <= 30 {
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
    write!(
        html,
        "<details open><summary>Each class</summary><pre>{}</pre></details></section>",
        escape(&confusion.report(&short))
    )?;
    Ok(html)
}

/// The rows the model was surest of and wrong, or was furthest from.
fn mistakes(told: &Told, measured: &Measured) -> Result<String> {
    const MOST: usize = 24;
    let mut worst: Vec<(f64, usize, String)> = match &measured.of {
        Of::Text => return Ok(String::new()),
        Of::Classes { names, labels, probabilities, .. } => {
            let wrong = |(row, (own, label)): (usize, (&[f32], &i64))| {
                let best =
                    (1..own.len()).fold(0, |best, class| if own[class] > own[best] { class } else { best });
                let says =
                    format!("{} ({:.0} %), is {}", names[best], 100.0 * own[best], names[*label as usize]);
                (best as i64 != *label).then_some((f64::from(own[best]), row, says))
            };
            probabilities.chunks(names.len().max(2)).zip(labels).enumerate().filter_map(wrong).collect()
        }
        Of::Numbers { truth, predicted, .. } => {
            let off = |(row, (truth, predicted)): (usize, (&f64, &f64))| {
                ((truth - predicted).abs(), row, format!("{predicted:.4}, is {truth:.4}"))
            };
            truth.iter().zip(predicted).enumerate().map(off).collect()
        }
    };
    worst.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    worst.truncate(MOST);
    let mut html = "<section id=\"mistakes\"><h2>Worst mistakes</h2>".to_string();
    if worst.is_empty() || told.parts[2].is_none() {
        return Ok(html + "<p>None on the test part.</p></section>");
    }
    match told.shows {
        Shows::Images(size) => {
            html += "<div class=\"wrong\">";
            for (_, row, says) in &worst {
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
            html += "<div class=\"scroll\"><table><tr><th>says</th>";
            table.names().try_for_each(|name| write!(html, "<th>{}</th>", escape(name)))?;
            html += "</tr>";
            for (_, row, says) in &worst {
                write!(html, "<tr><td>{}</td>", escape(says))?;
                for column in table.columns() {
                    let text = rows.get(*row).and_then(|&row| column.cell(row).text()).unwrap_or_default();
                    write!(html, "<td>{}</td>", escape(&text))?;
                }
                html += "</tr>";
            }
            html += "</table></div>";
        }
        Shows::Nothing => {
            worst.iter().try_for_each(|(_, row, says)| write!(html, "<p>row {row}: {}</p>", escape(says)))?;
        }
    }
    Ok(html + "</section>")
}

/// How much worse the model is where a column's values are shuffled among the rows.
fn importance(told: &Told, measured: &Measured) -> Result<String> {
    const SHUFFLES: u64 = 5;
    let (Shows::Table { plan, .. }, Some(_)) = (told.shows, told.parts[2]) else { return Ok(String::new()) };
    let batch = told.test.all()?;
    let (rows, width) = (batch.rows(), plan.width());
    let x = batch.x.as_f32().unwrap_or_default();
    let (figure, before) = &measured.numbers[0];
    let mut drops = Vec::new();
    for (name, places) in plan.groups() {
        let mut sum = 0.0;
        for shuffle in 0..SHUFFLES {
            let mut order: Vec<usize> = (0..rows).collect();
            Rng::new(shuffle).shuffle(&mut order);
            let mut shuffled = x.to_vec();
            for (row, &from) in order.iter().enumerate() {
                for place in places.clone() {
                    shuffled[row * width + place] = x[from * width + place];
                }
            }
            let set = Set::new(shuffled, Form::numbers(&[width]), batch.y.clone(), told.test.y())?;
            let after = Measured::new(told.task, told.model, &set)?;
            sum += before - after.numbers[0].1;
        }
        drops.push((name, sum / SHUFFLES as f64));
    }
    drops.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = drops.first().map_or(1.0, |(_, drop)| drop.max(1e-9));
    let mut html = format!(
        "<section id=\"importance\"><h2>What the model looks at</h2><p>How much {} falls on the test part where a column is shuffled among \
         its rows (mean of {SHUFFLES}).</p><div class=\"scroll\"><table>",
        escape(figure)
    );
    for (name, drop) in drops {
        let bar = (160.0 * drop / most).max(0.0);
        write!(
            html,
            "<tr><th>{}</th><td>{drop:+.4}</td><td style=\"text-align:left\"><span class=\"bar\" style=\"width:{bar:.0}px\"></span></td></tr>",
            escape(&name)
        )?;
    }
    Ok(html + "</table></div></section>")
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
