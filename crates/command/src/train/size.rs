//! How large a model of a text is and how often it reads the text, where nobody says: what comes out best for as much as may be computed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kiln_learn::Preparation;
use kiln_learn::model::Task;
use kiln_learn::prelude::*;
use kiln_learn::presets::{self, Preset, Suits};

use super::time::TimeBudget;
use crate::out::counted;
use crate::settings::{Rate, Settings, Whole};
use crate::source::TrainingData;

/// What a text is learned with.
#[derive(Clone, Debug, PartialEq)]
struct TextSize {
    /// Numbers in the state of its one recurrent layer.
    width: usize,
    dropout: f64,
    epochs: u64,
}

/// The widths to choose from.
const WIDTHS: [usize; 7] = [128, 192, 256, 384, 512, 768, 1024];

/// A wider one is worth it where it can read the text so often.
const READ: f64 = 4.0;

/// A model has no more numbers than so many times the pieces of its text.
const NUMBERS: usize = 2;

/// Reading a text more often makes nothing better.
const MOST: u64 = 30;

/// Where a text is read more often than this, dropout keeps it from being learned by heart.
const DROPS: u64 = 5;
const DROPOUT: f64 = 0.2;

/// Operations of a training without a limit: about a minute on two cores.
const OPERATIONS: f64 = 2e13;

/// Says what a text is learned with, where neither layers nor a preset are said, and what there is to say of it.
pub(super) fn settle(
    settings: &mut Settings,
    source: &TrainingData,
    budget: &TimeBudget,
) -> Result<Option<String>> {
    let (&Task::Text { pieces }, Preparation::Text(_)) = (&source.task, &source.preparation) else {
        return Ok(None);
    };
    let is_said = settings.layers.is_some() || settings.preset.is_some() || settings.from.is_some();
    if is_said || settings.resume.is_some() {
        return Ok(None);
    }
    let length = source.train.len() * source.train.x().width();
    let operations = match budget.limit {
        None => OPERATIONS,
        Some(limit) => {
            let left = limit.saturating_sub(budget.began.elapsed());
            speed(pieces, source)? * left.as_secs_f64() * TRAINED
        }
    };
    let size = suited(pieces, length, operations, settings.epochs.map(|epochs| epochs.0));
    settings.layers = Some(presets::gru(pieces, size.width, size.dropout));
    let rate = Preset::of("gru", Suits::Texts).and_then(|preset| preset.rate);
    settings.lr = settings.lr.or(rate.map(Rate));
    // A limit fits them to the time that is really there, but adds none.
    let (spare, time) = match budget.limit {
        Some(limit) => (SPARE, format!(" in about {limit:?}")),
        None => (1.0, String::new()),
    };
    let epochs = (size.epochs as f64 * spare).ceil() as u64;
    settings.epochs = settings.epochs.or(Some(Whole(epochs.min(MOST))));
    Ok(Some(format!(
        "a gru of {}, for {} of the text{time}",
        counted(size.width, "number"),
        counted(size.epochs as usize, "reading"),
    )))
}

/// So many times the epochs that should fit into a limit are planned.
const SPARE: f64 = 1.5;

/// The share of a limit that is left for the training itself.
const TRAINED: f64 = 0.8;

/// What suits a text of so many pieces in training, of so many kinds, where so much may be computed.
fn suited(kinds: usize, length: usize, operations: f64, epochs: Option<u64>) -> TextSize {
    let readings = |width: usize| operations / (6.0 * parameters(kinds, width) as f64 * length as f64);
    let least = epochs.map_or(READ, |epochs| epochs as f64);
    let suits = |width: &usize| readings(*width) >= least && parameters(kinds, *width) <= NUMBERS * length;
    let width = WIDTHS.into_iter().rev().find(suits).unwrap_or(WIDTHS[0]);
    let epochs = epochs.unwrap_or((readings(width).round() as u64).clamp(1, MOST));
    TextSize { width, dropout: if epochs > DROPS { DROPOUT } else { 0.0 }, epochs }
}

/// How many numbers are learned, each of which takes six operations a piece in training.
fn parameters(kinds: usize, width: usize) -> usize {
    3 * width * (presets::CODED + width) + kinds * (presets::CODED + width)
}

/// How many operations a second a training on these data does.
fn speed(kinds: usize, source: &TrainingData) -> Result<f64> {
    const WIDTH: usize = 256;
    let model: Sequential = presets::gru(kinds, WIDTH, 0.0).parse()?;
    let mut ends = Vec::new();
    let trainer = Trainer::new(&model, CrossEntropy::new(), AdamW::new(1e-3))
        .batch_size(source.habits.batch_size)
        .steps(STEPS)
        .quiet();
    trainer.callback(Ends(&mut ends)).fit(&source.train)?;
    // The first ones find memory and caches cold.
    let times = ends.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    let step = times.min().filter(|time| *time > Duration::ZERO).context("no step was timed")?;
    let rows = source.habits.batch_size.min(source.train.len());
    let operations = 6.0 * parameters(kinds, WIDTH) as f64 * (rows * source.train.x().width()) as f64;
    Ok(operations / step.as_secs_f64())
}

/// Steps that are timed.
const STEPS: u64 = 8;

/// When each step ended.
struct Ends<'e>(&'e mut Vec<Instant>);

impl Callback for Ends<'_> {
    fn after_step(&mut self, _at: &mut Moment) -> kiln_learn::Result<()> {
        self.0.push(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_time_makes_models_wider_and_more_text_makes_them_smaller() {
        let million = 1_000_000;
        let size = |length: usize, operations: f64| suited(66, length, operations, None);
        let widths: Vec<usize> = [1e12, 1e13, 1e14, 1e15].map(|most| size(million, most).width).to_vec();
        assert!(widths.is_sorted() && widths[0] < widths[3], "{widths:?}");
        assert!(size(20 * million, 2e13).width < size(million, 2e13).width);
        assert_eq!(size(1000 * million, 2e13), TextSize { width: 128, dropout: 0.0, epochs: 1 });
        // A short text is read no more often than helps.
        let short = size(5_000, 2e13);
        assert_eq!(short, TextSize { width: WIDTHS[0], dropout: DROPOUT, epochs: MOST });
        assert_eq!(suited(66, million, 2e13, Some(1)).epochs, 1);
        assert!(suited(66, million, 2e13, Some(20)).width < size(million, 2e13).width);
    }

    #[test]
    fn parameters_are_counted_as_the_layers_have_them() {
        let model: Sequential = presets::gru(66, 256, 0.2).parse().unwrap();
        let y = model.forward(&Tensor::zeros([1, 16]).cast(DType::I64), &Context::inference());
        assert_eq!(y.shape().sizes(), [1, 66, 16]);
        let (known, counted) = (model.parameter_count(), parameters(66, 256));
        // All but biases.
        assert!(counted < known && known < counted + 3000, "{counted} of {known}");
    }
}
