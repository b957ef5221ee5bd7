//! Sets of classes and bounds of numbers that hold the truth as often as was asked, whatever the model: by how the truth ranks among rows that it
//! didn't learn from (split conformal prediction; Angelopoulos and Bates, arXiv 2107.07511).

use kiln_map::counted;

use super::HeldPart;
use crate::model::{ClassSets, SetKind, likelier};
use crate::predictions::all_probabilities_of;
use crate::{Error, Result};

/// The sets of a target, by its outputs after they were put right.
pub(super) fn class_sets(
    outputs: &[f32],
    seen: &HeldPart,
    names: &[String],
    (coverage, kind): (f64, SetKind),
) -> Result<ClassSets> {
    if !(coverage > 0.0 && coverage < 1.0) {
        return Err(Error::Training(format!(
            "a coverage is a share between 0 and 1, such as 0.9, not {coverage}"
        )));
    }
    let rows: Vec<Vec<f32>> = outputs.chunks(seen.places.len().max(1)).map(all_probabilities_of).collect();
    let labels = seen.labels();
    let scores = |of: &dyn Fn(usize) -> bool| -> Vec<f64> {
        let own = rows.iter().zip(&labels).filter(|(_, label)| of(**label));
        own.map(|(row, &label)| {
            let p = row.get(label).copied().unwrap_or(0.0);
            // What is scored high is a truth that the model didn't see coming.
            f64::from(if kind == SetKind::Aps { likelier(row, p) } else { -p })
        })
        .collect()
    };
    let all = rows.len();
    let too_few = || {
        Error::Training(format!(
            "{} that were held out are too few to promise that the sets hold the class of {coverage} of all; ask for less, or hold out more",
            counted(all, "row")
        ))
    };
    let thresholds = match kind {
        SetKind::Lac => vec![-quantile(scores(&|_| true), coverage).ok_or_else(too_few)?],
        SetKind::Aps => vec![quantile(scores(&|_| true), coverage).ok_or_else(too_few)?],
        // A class of few rows is in every set.
        SetKind::PerClass => (0..names.len())
            .map(|class| quantile(scores(&|label| label == class), coverage).map_or(0.0, |score| -score))
            .collect(),
    };
    let thresholds = thresholds.into_iter().map(|threshold| threshold as f32).collect();
    Ok(ClassSets { coverage, kind, thresholds, rows: all })
}

/// How far the bounds of an interval move outwards, `outputs` being `[rows, 3]`, so that they hold the share of rows that was asked
/// (conformalised quantile regression; Romano and others, arXiv 1905.03222). A bound never passes the middle.
pub(super) fn bounds_moved(outputs: &[f64], truths: &[f64], share: f64) -> Option<f64> {
    let off = |(row, &truth): (&[f64], &f64)| match row {
        [_, middle, high] if truth > *middle => truth - high,
        [low, middle, _] if truth < *middle => low - truth,
        // The middle is always between the bounds.
        _ => f64::NEG_INFINITY,
    };
    let moved = quantile(outputs.chunks_exact(3).zip(truths).map(off).collect(), share)?;
    moved.is_finite().then_some(moved)
}

/// The score that as large a share of rows to come is at most: the one of rank `⌈(n + 1) · share⌉`, half-way to the next, so that rounding
/// decides nothing. Nothing where there are too few.
fn quantile(mut scores: Vec<f64>, share: f64) -> Option<f64> {
    scores.sort_by(f64::total_cmp);
    let rank = ((scores.len() as f64 + 1.0) * share - 1e-9).ceil() as usize;
    let own = *scores.get(rank.max(1) - 1)?;
    let next = scores.get(rank.max(1)).copied().unwrap_or(own);
    Some(if own.is_finite() { 0.5 * (own + next) } else { own })
}
