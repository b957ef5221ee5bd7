//! A session to a state and back: what a checkpoint holds, and going on from it.

use std::time::Duration;

use kiln_data::Cursor;
use kiln_nn::Data;
use kiln_nn::schedule::PlateauState;
use serde_json::Value;

use super::{Session, Sums};
use crate::Result;
use crate::note::note;
use crate::store::{TensorFile, put_weights, set_weights};
use crate::trainer::identity;
use crate::trainer::metrics::NamedMetric;
use crate::trainer::settings::Length;
use crate::trainer::state::TrainState;

impl Session<'_, '_> {
    /// Everything, as it is between two steps.
    pub(super) fn capture(&self) -> Result<TrainState> {
        let mut state = TrainState::new();
        self.put_model(&mut state)?;
        let place = [self.cursor.epoch, self.cursor.batch, self.done].map(|number| number as i64);
        let store = &mut state.0;
        let mut parts = self.identity.parts()?.clone();
        let updates = self.steps.div_ceil(self.settings.accumulate);
        parts.insert("schedule".to_string(), identity::schedule(self.schedule.as_deref(), updates));
        store.about.insert("settings".to_string(), parts.into());
        store.put("place", Data::I64(place.to_vec()));
        store.put("sums", Data::F64(vec![self.sums.loss, self.sums.rows, self.loss]));
        store.put("seconds", Data::F64(vec![self.elapsed().as_secs_f64()]));
        for (name, Sums { loss, rows }) in self.program.losses.iter().zip(&self.loss_sums) {
            store.put(format!("sums.{name}"), Data::F64(vec![*loss, *rows]));
        }
        for named in &self.metrics.all {
            store.put(format!("metric.{}", named.name()), Data::F64(named.metric().state()));
        }
        if let Some((plateau, _)) = &self.plateau {
            let PlateauState { best, waited, cooling, factor } = plateau.state();
            store.put("plateau", Data::F64(vec![best, waited as f64, cooling as f64, factor]));
        }
        for callback in &self.callbacks {
            for (name, data) in callback.state() {
                store.put(format!("callback.{}.{name}", callback.name()), data);
            }
        }
        if let Some(best) = &self.best {
            let best = best.tensors.iter().map(|(path, stored)| (format!("best.{path}"), stored.clone()));
            store.tensors.extend(best);
        }
        state.put_history(&self.history);
        Ok(state)
    }

    /// The weights and what the step remembers.
    pub(super) fn put_model(&self, state: &mut TrainState) -> Result<()> {
        put_weights(&mut state.0, "model.", self.model)?;
        for (name, data) in self.program.state()? {
            state.0.put(name, data);
        }
        Ok(())
    }

    pub(super) fn set_model(&mut self, state: &TrainState) -> Result<()> {
        set_weights(&state.0, "model.", self.model)?;
        self.set_step(state, |_| true)
    }

    /// What the step remembers, as far as it is wanted.
    fn set_step(&mut self, state: &TrainState, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let step = state.0.under("step").map(|(name, stored)| (format!("step{name}"), &stored.data));
        let step: Vec<(String, &Data)> = step.filter(|(name, _)| wanted(name)).collect();
        self.program.restore(&step.iter().map(|(name, data)| (name.as_str(), *data)).collect::<Vec<_>>())?;
        // Whatever rate was restored, the next step sets its own.
        self.rate = f64::NAN;
        Ok(())
    }

    /// The parts of this training that aren't those of a checkpoint, all of them allowed.
    fn changed(&self, state: &TrainState) -> Result<Vec<&'static str>> {
        let Some(Value::Object(then)) = state.0.about.get("settings") else { return Ok(Vec::new()) };
        let mut now = self.identity.parts()?.clone();
        // As far as it was planned then: how long a training goes on may change.
        if let Some(updates) = then.get("schedule").and_then(identity::updates) {
            let planned = self.planned.map(|planned| planned.of(updates));
            now.insert("schedule".to_string(), identity::schedule(planned.as_deref(), updates));
        }
        identity::changed(then, &now, &self.settings.allowed)
    }

    pub(in crate::trainer) fn restore(&mut self, state: &TrainState) -> Result<()> {
        let changed = self.changed(state)?;
        if !changed.is_empty() && !self.settings.quiet {
            note(format!("going on with another {}", changed.join(", ")));
        }
        let has = |parts: &[&str]| parts.iter().any(|part| changed.contains(part));
        set_weights(&state.0, "model.", self.model)?;
        // What the step remembers is of use to the same rule only.
        let begins_anew = |name: &str| match name.split_once('.').map_or(name, |(_, own)| own) {
            "runs" | "step count" | "learning rate" => false,
            name if name.ends_with(".average") => has(&["averages", "layers"]),
            name if name.ends_with(".gradient") => has(&["accumulated batches", "layers"]),
            _ => has(&["optimizer", "layers", "step"]),
        };
        self.set_step(state, |name| !begins_anew(name))?;
        let [epoch, batch, done] = state.place().map(|number| number.max(0) as u64);
        (self.cursor, self.done, self.from) = (Cursor { epoch, batch }, done, done);
        if has(&["data", "batch size"]) {
            // Batches are others: the epoch under way begins again, and as many are left as epochs are.
            self.cursor.batch = 0;
            if let Length::Epochs(epochs) = self.settings.length {
                self.steps = done + epochs.saturating_sub(epoch) * self.batches;
            }
        }
        (self.epoch, self.batch) = (epoch + 1, self.cursor.batch);
        if let &[loss, rows, last] = state.0.numbers("sums")
            && self.cursor.batch == batch
        {
            (self.sums, self.loss) = (Sums { loss, rows }, last);
        }
        self.before = Duration::try_from_secs_f64(state.0.numbers("seconds").first().copied().unwrap_or(0.0))
            .unwrap_or_default();
        let is_under_way = self.cursor.batch == batch;
        for (name, sums) in self.program.losses.iter().zip(&mut self.loss_sums).filter(|_| is_under_way) {
            if let &[loss, rows] = state.0.numbers(&format!("sums.{name}")) {
                *sums = Sums { loss, rows };
            }
        }
        for NamedMetric { name, metric } in
            self.metrics.all.iter_mut().filter(|_| is_under_way && !has(&["metrics"]))
        {
            metric.restore(state.0.numbers(&format!("metric.{name}")))?;
        }
        if let (Some((plateau, _)), &[best, waited, cooling, factor]) =
            (&mut self.plateau, state.0.numbers("plateau"))
        {
            plateau.restore(PlateauState { best, waited: waited as u64, cooling: cooling as u64, factor });
        }
        for callback in &mut self.callbacks {
            let prefix = format!("callback.{}.", callback.name());
            let own: Vec<(&str, &Data)> =
                state.0.under(&prefix).map(|(name, stored)| (name, &stored.data)).collect();
            callback.restore(&own)?;
        }
        let best: TensorFile = TensorFile {
            tensors: state
                .0
                .under("best.")
                .map(|(path, stored)| (path.to_string(), stored.clone()))
                .collect(),
            ..TensorFile::default()
        };
        self.best = (!best.tensors.is_empty()).then_some(best);
        if !has(&["metrics"]) {
            self.history = state.history();
        }
        Ok(())
    }
}
