//! What is asked of how sure a model is to be: whether and how its outputs are put right, and the sets of classes that hold the truth.

use anyhow::{Result, bail};
use kiln_learn::calibration::{CalibrationMethod, CalibrationOptions};
use kiln_learn::model::{PartMeaning, SetKind, Task, TaskPart};

use crate::out::counted;
use crate::settings::Settings;

/// What settings ask for, which must suit the task and the rows that will be held out.
pub(super) fn options(
    settings: &Settings,
    task: &Task,
    held: usize,
    is_chosen: bool,
) -> Result<CalibrationOptions> {
    let said = settings.calibrate.as_deref();
    let usual = if is_chosen { CalibrationMethod::Auto } else { CalibrationMethod::None };
    let method = said.map_or(Ok(usual), CalibrationMethod::named)?;
    let kind = settings.sets.as_deref().map_or(Ok(SetKind::default()), SetKind::named)?;
    let parts = match task {
        Task::Text { .. } | Task::Tags { .. } => Vec::new(),
        Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. } => task.parts(),
    };
    let is_classes = |part: &TaskPart| matches!(part.meaning, PartMeaning::Classes(_));
    let has_bounds = |part: &TaskPart| matches!(part.meaning, PartMeaning::Number { interval: Some(_), .. });
    if settings.sets.is_some() && settings.coverage.is_none() {
        bail!("--sets says which classes are in a set; --coverage 0.9 says how many rows the sets hold");
    }
    if settings.coverage.is_some() && !parts.iter().any(is_classes) {
        bail!(
            "--coverage is of sets of classes, and none are predicted; numbers have bounds by --interval 0.9"
        );
    }
    if !matches!(said, None | Some("none")) && !parts.iter().any(|part| is_classes(part) || has_bounds(part))
    {
        bail!("--calibrate is of the probabilities of classes and of the bounds of intervals; leave it out");
    }
    if method == CalibrationMethod::Isotonic && !matches!(task, Task::Classes { names } if names.len() == 2) {
        bail!("--calibrate isotonic is of one target of two classes; temperature is of any");
    }
    if held == 0 && (settings.coverage.is_some() || !matches!(said, None | Some("none"))) {
        let flag = if settings.coverage.is_some() { "coverage" } else { "calibrate" };
        bail!("--{flag} goes by validation rows, and there are none; --val-fraction 0.2 holds some out");
    }
    if let Some(share) = settings.coverage.map(|share| share.0) {
        let least = (share / (1.0 - share) - 1e-6).ceil();
        if (held as f64) < least {
            bail!(
                "--coverage {share} goes by {} that are held out at least, and there are {}; ask for less, or hold out more",
                counted(least as usize, "row"),
                counted(held, "row")
            );
        }
    }
    let sets = settings.coverage.map(|share| (share.0, kind));
    Ok(CalibrationOptions { method, bounds: said != Some("none"), sets })
}
