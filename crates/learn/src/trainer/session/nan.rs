//! A loss that is no number: where it comes from. The training is run again from the start of the epoch up to the step before,
//! which is bit for bit what it was, and the bad step then under the hunt for the first kernel whose result isn't finite.

use kiln_data::{Batch, Cursor, Values};
use kiln_map::counted;
use kiln_nn::DeviceSettings;

use super::Session;
use crate::inputs::all;
use crate::trainer::method::without_own_line;
use crate::trainer::state::TrainState;
use crate::{Error, Result};

/// A place to run again from.
pub(in crate::trainer) struct Anchor {
    state: TrainState,
    cursor: Cursor,
    done: u64,
}

/// Models with more parameters aren't copied at the start of each epoch.
const MOST_PARAMETERS: usize = 1 << 24;

impl Anchor {
    /// The present place; none where keeping it would take much memory.
    pub(super) fn drop_at(session: &Session) -> Result<Option<Anchor>> {
        if session.model.parameter_count() > MOST_PARAMETERS {
            return Ok(None);
        }
        let mut state = TrainState::new();
        session.put_model(&mut state)?;
        Ok(Some(Anchor { state, cursor: session.cursor, done: session.done }))
    }
}

impl Session<'_, '_> {
    /// What made this step's loss no number. The model is left as it was before the step, where that can be.
    pub(super) fn no_number(&mut self, batch: &Batch) -> Error {
        let cause = match self.bad_row(batch) {
            Some(row) => row,
            None => match self.hunt(batch) {
                Ok(Some(found)) => found,
                Ok(None) => self.bad_weights(),
                Err(error) => format!("its cause couldn't be found ({error})"),
            },
        };
        Error::Training(format!(
            "the loss is {} in step {} (epoch {}, rate {}): {cause}. A smaller rate, gradients kept small \
             (Trainer::clip) or scaled inputs may mend it",
            self.loss,
            self.done + 1,
            self.cursor.epoch + 1,
            self.rate,
        ))
    }

    /// A row of the batch that brings the bad number itself.
    fn bad_row(&self, batch: &Batch) -> Option<String> {
        let finite = |values: &Values| match values {
            Values::F16(values) => values.iter().position(|value| !value.is_finite()),
            Values::F32(values) => values.iter().position(|value| !value.is_finite()),
            Values::U8(_) | Values::U16(_) | Values::I64(_) => None,
        };
        let mut order = Vec::new();
        let batching = &self.settings.batching;
        batching.order(self.train.len(), self.cursor.epoch, &mut order);
        let rows = &order[batching.range(self.train.len(), self.cursor.batch)];
        if let Some(classes) = self.train.y().codes() {
            let beyond =
                |at: &usize| batch.y.get(*at).is_none_or(|code| !(0.0..classes as f64).contains(&code));
            if let Some(at) = (0..batch.y.len()).find(beyond) {
                let width = (batch.y.len() / batch.rows().max(1)).max(1);
                let (row, code) = (rows.get(at / width)?, batch.y.get(at)?);
                return Some(format!("the target of row {row} is {code}, of {}", counted(classes, "class")));
            }
        }
        let further = self.train.further();
        let further = further.iter().zip(&batch.further).map(|((name, _), values)| (name.as_str(), values));
        let parts = [("inputs", &batch.x), ("targets", &batch.y)];
        parts.into_iter().chain(further).find_map(|(what, values)| {
            let at = finite(values)?;
            let width = (values.len() / batch.rows().max(1)).max(1);
            let number = values.get(at).unwrap_or(f64::NAN);
            let row = rows.get(at / width)?;
            Some(format!("the {what} of row {row} have a {number} in place {}", at % width))
        })
    }

    /// Runs again up to this step, and this step with every kernel looked at.
    fn hunt(&mut self, batch: &Batch) -> Result<Option<String>> {
        let Some(anchor) = self.anchor.take() else { return Ok(None) };
        self.set_model(&anchor.state)?;
        let batching = self.settings.batching.clone();
        let (mut cursor, mut order, mut again) = (anchor.cursor, Vec::new(), Batch::of(self.train));
        batching.order(self.train.len(), cursor.epoch, &mut order);
        for step in anchor.done..self.done {
            let rows = &order[batching.range(self.train.len(), cursor.batch)];
            again.fill(self.train, rows, |row| batching.draw(cursor.epoch, row))?;
            self.set_rate(step)?;
            self.program.run(step, &all(&again))?;
            cursor = batching.after(cursor, self.train.len());
        }
        let mut before = TrainState::new();
        self.put_model(&mut before)?;
        self.set_rate(self.done)?;
        let rate = self.rate;
        let device = match self.program.device(self.done) {
            Some(device) => device,
            None => kiln_nn::default_device()?,
        };
        let settings = device.settings();
        device.configure(DeviceSettings { check_finite: true, ..settings })?;
        let found = self.program.run(self.done, &all(batch)).err().map(without_own_line);
        device.configure(settings)?;
        self.set_model(&before)?;
        self.rate = rate;
        Ok(found)
    }

    /// The first parameter that isn't finite.
    fn bad_weights(&self) -> String {
        let bad = self.model.parameters().into_iter().find(|(_, parameter)| {
            let finite =
                |value: kiln_nn::Data| value.scalars().iter().all(|number| number.as_f64().is_finite());
            !parameter.value().is_ok_and(finite)
        });
        match bad {
            Some((path, _)) => format!("{path} has numbers that aren't finite"),
            None => "all weights are still finite".to_string(),
        }
    }
}
