//! A second training, on all rows: when the best epoch is known, validation rows needn't be held out any more.

use std::path::Path;

use anyhow::{Context as _, Result};
use kiln_learn::Model;
use kiln_learn::data::{Dataset, Joined};
use kiln_learn::metrics::History;
use kiln_learn::trainer::{Checkpoints, JsonlLog, Run, TimeLimit};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::features::TrainedLayers;
use super::plan::{TrainingPlan, about, every};
use super::say::Say;
use super::time::Afterwards;
use super::{Before, going_on, texts};
use crate::folder::{Folder, Keep};
use crate::out;
use crate::source::TrainingData;

/// What the first training came to: its best epoch, and by what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BestEpoch {
    pub(super) number: String,
    pub(super) value: f64,
    /// From 1.
    pub(super) epoch: u64,
}

/// The model of the first training, and what it came to.
pub(super) const MODEL: &str = "first.kiln";
const BEST: &str = "first.json";

impl BestEpoch {
    /// Of a training's numbers; nothing where no epoch has the one that decides.
    pub(super) fn of(plan: &TrainingPlan, source: &TrainingData, history: &History) -> Option<BestEpoch> {
        let number = plan.decider.number(!source.valid.is_empty());
        let (epoch, value) = history.best(&number, plan.decider.larger_is_better())?;
        Some(BestEpoch { number, value, epoch: epoch as u64 + 1 })
    }

    /// What a run that goes on had come to, if its first training was over.
    pub(super) fn read(folder: &Folder) -> Result<Option<BestEpoch>> {
        let path = folder.at(BEST);
        if !path.exists() || !folder.at(MODEL).exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(Some(serde_json::from_slice(&text).with_context(|| path.display().to_string())?))
    }

    /// Keeps it, and the model of the first training.
    pub(super) fn keep(
        &self,
        plan: &TrainingPlan,
        source: &TrainingData,
        (model, run): (&Model, &Run<TrainedLayers>),
        folder: &Folder,
    ) -> Result<()> {
        let mut about = about(plan.seed, source, model);
        about.training.extend(run.training());
        folder.check()?;
        model.save_as(&about, folder.at(MODEL))?;
        Ok(folder.write(BEST, format!("{:#}\n", json!(self)))?)
    }

    /// Keeps both in another folder.
    pub(super) fn keep_in(&self, model: &Model, folder: &Path) -> kiln_learn::Result<()> {
        model.save_as(model.about(), folder.join(MODEL))?;
        let path = folder.join(BEST);
        kiln_files::write(&path, format!("{:#}\n", json!(self)))
            .map_err(|source| kiln_learn::Error::File { path, source })
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        format!("{} was best in epoch {}: {:.5}", self.number, self.epoch, self.value)
    }
}

/// Where a run's folder has the checkpoints of the second training.
pub(super) const PART: &str = "checkpoints/refit";

/// All rows but those of the test.
pub(super) fn rows(source: &TrainingData) -> Result<impl Dataset + '_> {
    Ok(Joined::new(&*source.train, &*source.valid)?)
}

/// What is trained once more, from the start and on all rows, for as many epochs as the first training's best.
pub(super) struct Refit<'a> {
    pub(super) plan: &'a TrainingPlan,
    pub(super) source: &'a TrainingData,
    pub(super) model: &'a Model,
    /// The model, or what is behind its features.
    pub(super) layer: TrainedLayers<'a>,
    /// All rows as it takes them.
    pub(super) all: &'a dyn Dataset,
    pub(super) folder: &'a Folder,
    pub(super) best: &'a BestEpoch,
}

/// Trains once more.
pub(super) fn refit<'a>(
    Refit { plan, source, model, layer, all, folder, best }: Refit<'a>,
    before: Option<&Before>,
    afterwards: &Afterwards,
    say: &Say,
) -> Result<Run<'a, TrainedLayers<'a>>> {
    say.line(&format!(
        "{}; once more on all {}, validation included, for {}",
        best.line(),
        out::counted(all.len(), "row"),
        out::counted(best.epoch as usize, "epoch"),
    ));
    say.event(json!({ "event": "refit", "epochs": best.epoch, "rows": all.len() }));
    let checkpoints = plan.checkpoints(folder).join("refit");
    let mut trainer = plan.trainer(layer, source, all, plan.seed)?.epochs(best.epoch);
    if let (Some(limit), Some(end)) = (plan.settings.time_limit, afterwards.training_ends) {
        trainer = trainer.callback(TimeLimit::until(end).named(limit.0));
    }
    trainer = trainer
        .callback(Keep::new(folder, Vec::new()))
        .callback(JsonlLog::new(folder.at("refit.jsonl")))
        .checkpoints(every(Checkpoints::new(&checkpoints), plan.settings.checkpoint_every.as_deref())?)
        .hint(folder.resume_hint());
    trainer = texts::shown(trainer, source, model, &*source.train, "")?;
    Ok(going_on(trainer, (folder, PART), before, &checkpoints, say)?.fit(&all)?)
}
