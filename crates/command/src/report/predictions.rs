//! Charts of what a model says of a part: for two classes the curves of all thresholds, for numbers how far they are off.

use kiln_learn::trainer::Judged;

use super::chart::{Chart, Mark, Series};
use crate::figures::PredictedNumbers;
use crate::measure::{Measured, Of};

/// The charts of a part.
pub(super) fn charts(measured: &Measured) -> Vec<Chart> {
    of_target(measured, None)
}

/// The charts of a target; its name is in the titles where there are several.
fn of_target(measured: &Measured, name: Option<&str>) -> Vec<Chart> {
    let title = |title: &str| name.map_or_else(|| title.to_string(), |name| format!("{title}: {name}"));
    match &measured.of {
        Of::Classes { names, rows, .. } => {
            let mut charts = Vec::new();
            if let [_, positive] = names.as_slice() {
                let scored: Vec<(f64, bool)> =
                    rows.iter().map(|row| (f64::from(row.second), row.label == 1)).collect();
                charts.extend(thresholds(&scored, positive, title));
            }
            charts.push(calibration(rows, &title("Calibration")));
            charts
        }
        Of::Text => Vec::new(),
        Of::Numbers(each) => {
            let is_one = name.is_none() && each.len() == 1;
            each.iter().flat_map(|own| numbers(own, !is_one)).collect()
        }
        Of::Several(each) => each.iter().flat_map(|one| of_target(&one.measured, Some(&one.name))).collect(),
    }
}

/// How far a target's numbers are off; its name is in the titles where there are several.
fn numbers(
    PredictedNumbers { name, truth, predicted, .. }: &PredictedNumbers,
    is_one_of_several: bool,
) -> [Chart; 3] {
    let title = |title: &str| if is_one_of_several { format!("{title}: {name}") } else { title.to_string() };
    let both = || truth.iter().copied().zip(predicted.iter().copied());
    let mut right =
        Chart::new(&title("Predicted and true"), &format!("true {name}"), &format!("predicted {name}"))
            .with(Series::of("", both(), Mark::Points));
    right.diagonal = true;
    let residuals: Vec<f64> = both().map(|(truth, predicted)| predicted - truth).collect();
    let off = Chart::new(&title("Residuals"), "predicted less true", "rows").with(Series::of(
        "",
        histogram(&residuals, 24),
        Mark::Bars,
    ));
    let points = both().map(|(truth, predicted)| (predicted, predicted - truth));
    let against =
        Chart::new(&title("Residuals by prediction"), &format!("predicted {name}"), "predicted less true")
            .with(Series::of("", points, Mark::Points));
    [right, off, against]
}

/// The ROC and the precision-recall curve.
fn thresholds(scored: &[(f64, bool)], positive: &str, title: impl Fn(&str) -> String) -> [Chart; 2] {
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
    let mut first = Chart::new(&title("ROC curve"), "false positive rate", "true positive rate")
        .with(Series::line("", roc));
    (first.diagonal, first.bounds) = (true, Some([0.0, 1.0, 0.0, 1.0]));
    let name = title(&format!("Precision and recall of {positive}"));
    let mut second = Chart::new(&name, "recall", "precision").with(Series::line("", precision));
    second.bounds = Some([0.0, 1.0, 0.0, 1.0]);
    [first, second]
}

/// How often the likeliest class is right, by how likely it was.
fn calibration(rows: &[Judged], title: &str) -> Chart {
    let mut bins = vec![(0.0, 0.0, 0.0); 10];
    for row in rows {
        let sure = f64::from(row.sure);
        let bin = &mut bins[((sure * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1.0, bin.1 + sure, bin.2 + f64::from(u8::from(row.is_right())));
    }
    bins.retain(|bin| bin.0 > 0.0);
    let points = bins.iter().map(|(count, sure, right)| (sure / count, right / count));
    let mut series = Series::line("", points);
    series.labels = bins.iter().map(|(count, ..)| format!("{count:.0}")).collect();
    let mut chart =
        Chart::new(title, "how sure (beside each point its rows)", "how often right").with(series);
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
