//! What a training of texts that go on shows besides its loss: what the model says by now, and the loss in the words of such models.

use anyhow::Result;
use kiln_learn::generate::TextSamples;
use kiln_learn::model::Task;
use kiln_learn::prelude::*;
use kiln_learn::{Model, Preparation};

use crate::figures::{characters_of_a_piece, in_words_of_texts};
use crate::source::TrainingData;

/// Adds it to a training of texts that go on; to others nothing. `prefix` stands before the names of numbers that are of `set`.
pub(super) fn shown<'a, M: Layer>(
    trainer: Trainer<'a, M>,
    source: &'a TrainingData,
    model: &'a Model,
    set: &dyn Dataset,
    prefix: &'static str,
) -> Result<Trainer<'a, M>> {
    let (Task::Text { .. }, Preparation::Text(text)) = (&source.task, &source.preparation) else {
        return Ok(trainer);
    };
    let characters = characters_of_a_piece(&source.preparation, set)?;
    let loss = format!("{prefix}loss");
    Ok(trainer.callback(TextSamples::new(model.layers(), text)).derive(move |numbers| {
        let loss = numbers.iter().find(|(name, _)| *name == loss);
        let further = loss.map(|(_, loss)| in_words_of_texts(*loss, characters));
        further.into_iter().flatten().map(|(name, number)| (format!("{prefix}{name}"), number)).collect()
    }))
}
