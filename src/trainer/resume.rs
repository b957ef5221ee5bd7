//! A session to a state and back: what a checkpoint holds, and going on from it.

use std::time::Duration;

use kiln_data::Cursor;
use kiln_nn::Data;
use kiln_nn::schedule::PlateauState;
use serde_json::Value;

use super::fit::{Session, Sums};
use super::state::{TrainState, put_weights, set_weights};
use crate::store::Store;
use crate::{Error, Result};

impl<const N: usize> Session<'_, '_, N> {
    /// Everything, as it is between two steps.
    pub(super) fn capture(&self) -> Result<TrainState> {
        let mut state = TrainState::new();
        self.put_model(&mut state)?;
        let place = [self.cursor.epoch, self.cursor.batch, self.done].map(|number| number as i64);
        let store = &mut state.0;
        store.about.insert("settings".to_string(), self.fixed().into_iter().collect());
        store.put("place", Data::I64(place.to_vec()));
        store.put("sums", Data::F64(vec![self.sums.loss, self.sums.rows, self.loss]));
        store.put("seconds", Data::F64(vec![self.elapsed().as_secs_f64()]));
        for metric in &self.metrics {
            store.put(format!("metric.{}", metric.name()), Data::F64(metric.state()));
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
        for (name, data) in self.step.state()? {
            state.0.put(format!("step.{name}"), data);
        }
        Ok(())
    }

    pub(super) fn set_model(&mut self, state: &TrainState) -> Result<()> {
        set_weights(&state.0, "model.", self.model)?;
        let step = state.0.under("step.").map(|(name, stored)| (name.to_string(), stored.data.clone()));
        self.step.restore(&step.collect::<Vec<_>>())?;
        // Whatever rate was restored, the next step sets its own.
        self.rate = f64::NAN;
        Ok(())
    }

    /// Settings that a checkpoint can't go on without.
    fn fixed(&self) -> [(String, Value); 5] {
        let batching = &self.settings.batching;
        [
            ("rows".to_string(), self.train.len().into()),
            ("batch size".to_string(), batching.size.into()),
            ("seed".to_string(), batching.seed.into()),
            ("dropping the last batch".to_string(), batching.drop_last.into()),
            ("accumulated batches".to_string(), self.settings.accumulate.into()),
        ]
    }

    pub(super) fn restore(&mut self, state: &TrainState) -> Result<()> {
        let saved = state.0.about.get("settings");
        for (name, now) in self.fixed() {
            let then = saved.and_then(|saved| saved.get(&name)).unwrap_or(&Value::Null);
            if *then != now {
                return Err(Error::Training(format!(
                    "the checkpoint is of a training with {name} {then}, this one has {now}; give it the same"
                )));
            }
        }
        self.set_model(state)?;
        let [epoch, batch, done] = state.place().map(|number| number.max(0) as u64);
        (self.cursor, self.done, self.from) = (Cursor { epoch, batch }, done, done);
        (self.epoch, self.batch) = (epoch + 1, batch);
        if let &[loss, rows, last] = state.0.numbers("sums") {
            (self.sums, self.loss) = (Sums { loss, rows }, last);
        }
        self.before = Duration::try_from_secs_f64(state.0.numbers("seconds").first().copied().unwrap_or(0.0))
            .unwrap_or_default();
        for metric in &mut self.metrics {
            metric.restore(state.0.numbers(&format!("metric.{}", metric.name())))?;
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
        let best: Store = Store {
            tensors: state
                .0
                .under("best.")
                .map(|(path, stored)| (path.to_string(), stored.clone()))
                .collect(),
            ..Store::default()
        };
        self.best = (!best.tensors.is_empty()).then_some(best);
        self.history = state.history();
        Ok(())
    }
}
