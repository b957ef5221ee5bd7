//! How often sets and bounds hold the truth: of all rows, of each class, of each group; and how often a class is right, by how sure the model is.

use kiln_learn::model::About;
use kiln_learn::trainer::Judged;
use serde::Serialize;

use super::group::SharedRows;
use super::share_interval;
use crate::figures::PredictedNumbers;
use crate::measure::Of;

/// How often the sets or bounds of a target hold.
#[derive(Serialize)]
pub struct TargetCoverage {
    /// What is predicted; nothing where it is the only one.
    pub target: String,
    /// The share of rows that are to be held.
    pub asked: f64,
    /// Of all rows.
    pub all: SharedCoverage,
    /// Of the rows of each class.
    pub by_class: Vec<SharedCoverage>,
    /// Of rows that have something in common, the least covered first.
    pub by_group: Vec<SharedCoverage>,
}

/// How often some rows are held.
#[derive(Clone, Serialize)]
pub struct SharedCoverage {
    /// Which rows.
    pub rows_of: String,
    /// How many.
    pub rows: usize,
    /// The share that is held,
    pub coverage: f64,
    /// and between what it lies in 95 of 100 cases.
    pub interval: [f64; 2],
}

impl SharedCoverage {
    fn of(rows_of: &str, held: impl Iterator<Item = bool>) -> SharedCoverage {
        let (mut rows, mut found) = (0, 0);
        held.for_each(|held| (rows, found) = (rows + 1, found + usize::from(held)));
        let coverage = found as f64 / rows.max(1) as f64;
        SharedCoverage { rows_of: rows_of.to_string(), rows, coverage, interval: share_interval(found, rows) }
    }
}

/// Rows of a class of which it is known how sure the model was.
#[derive(Serialize)]
pub struct CalibrationBin {
    /// How many.
    pub rows: usize,
    /// How sure the model was in the mean,
    pub sure: f64,
    /// and how often it was right.
    pub right: f64,
    /// Between what that lies in 95 of 100 cases.
    pub interval: [f64; 2],
}

/// Of all targets with sets or bounds.
pub(super) fn of(about: &About, of: &Of, groups: &[SharedRows]) -> Vec<TargetCoverage> {
    let one = |target: &str, asked: f64, held: &[bool], labels: &[(&str, Vec<bool>)]| {
        let own = |name: &str, is_in: &[bool]| {
            SharedCoverage::of(
                name,
                held.iter().zip(is_in).filter(|(_, is_in)| **is_in).map(|(held, _)| *held),
            )
        };
        let mut by_group: Vec<SharedCoverage> =
            groups.iter().map(|group| own(&group.name, &group.rows)).collect();
        by_group.sort_by(|a, b| a.coverage.total_cmp(&b.coverage));
        TargetCoverage {
            target: target.to_string(),
            asked,
            all: SharedCoverage::of("all", held.iter().copied()),
            // Of a class without a row nothing is known.
            by_class: labels
                .iter()
                .map(|(name, is_in)| own(name, is_in))
                .filter(|class| class.rows > 0)
                .collect(),
            by_group,
        }
    };
    let of_classes = |target: &str, at: usize, of: &Of| {
        let Of::Classes { names, rows, in_sets: Some(in_sets), .. } = of else { return None };
        let sets = about.sets.get(at)?.as_ref()?;
        let is_of = |class: usize| rows.iter().map(|row| row.label as usize == class).collect();
        let labels: Vec<(&str, Vec<bool>)> =
            names.iter().enumerate().map(|(class, name)| (name.as_str(), is_of(class))).collect();
        Some(one(target, sets.coverage, &in_sets.held, &labels))
    };
    let of_numbers = |target: &str, share: Option<f64>, own: &PredictedNumbers| {
        let holds = |(bounds, truth): (&[f64; 2], &f64)| bounds[0] <= *truth && *truth <= bounds[1];
        let held: Vec<bool> = own.bounds.iter().zip(&own.truth).map(holds).collect();
        (!held.is_empty()).then(|| one(target, share.unwrap_or(0.0), &held, &[]))
    };
    let shares: Vec<Option<f64>> = about
        .task
        .parts()
        .iter()
        .map(|part| match part.meaning {
            kiln_learn::model::PartMeaning::Number { interval, .. } => interval,
            kiln_learn::model::PartMeaning::Classes(_) => None,
        })
        .collect();
    let share = |at: usize| shares.get(at).copied().flatten();
    match of {
        Of::Classes { .. } => of_classes("", 0, of).into_iter().collect(),
        Of::Numbers(each) => {
            let one = |(at, own): (usize, &PredictedNumbers)| of_numbers(&own.name, share(at), own);
            each.iter().enumerate().filter_map(one).collect()
        }
        Of::Several(each) => {
            let mut all = Vec::new();
            for (at, target) in each.iter().enumerate() {
                all.extend(match &target.measured.of {
                    Of::Numbers(own) => own.first().and_then(|own| of_numbers(&target.name, share(at), own)),
                    of => of_classes(&target.name, at, of),
                });
            }
            all
        }
        Of::Text => Vec::new(),
    }
}

/// In how many parts rows are cut by how sure the model is.
const BINS: usize = 10;

/// How often each target's likeliest class is right, by how sure the model is.
pub(super) fn calibration(of: &Of) -> Vec<(String, Vec<CalibrationBin>)> {
    match of {
        Of::Classes { rows, .. } => vec![(String::new(), bins(rows))],
        Of::Several(each) => {
            let classes = each.iter().filter_map(|one| match &one.measured.of {
                Of::Classes { rows, .. } => Some((one.name.clone(), bins(rows))),
                Of::Numbers(_) | Of::Several(_) | Of::Text => None,
            });
            classes.collect()
        }
        Of::Numbers(_) | Of::Text => Vec::new(),
    }
}

fn bins(rows: &[Judged]) -> Vec<CalibrationBin> {
    let mut bins = [(0, 0.0, 0); BINS];
    for row in rows {
        let bin = &mut bins[((f64::from(row.sure) * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + f64::from(row.sure), bin.2 + usize::from(row.is_right()));
    }
    let one = |(rows, sure, right): (usize, f64, usize)| CalibrationBin {
        rows,
        sure: sure / rows as f64,
        right: right as f64 / rows as f64,
        interval: share_interval(right, rows),
    };
    bins.into_iter().filter(|bin| bin.0 > 0).map(one).collect()
}
