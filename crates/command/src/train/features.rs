//! Fine-tuning with a frozen front: what it makes of each row is computed once and kept, where it is the same in each epoch and there is room.

use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::data::{Dataset, Set};
use kiln_learn::prelude::*;
use kiln_learn::trainer::{features, rest_behind};
use kiln_learn::{Context, Interrupt, Rest, Tensor, TimeAxis, Visitor};
use kiln_map::Limits;
use serde_json::json;

use super::say::Say;
use crate::out::{self, counted};

/// How often is said how far it is.
const SAID: Duration = Duration::from_secs(10);

/// The share of what a file may take that features may.
const SHARE: u64 = 4;

/// A model behind its frozen front, and rows as it takes them.
pub(super) struct KeptFeatures<'a> {
    rest: Rest<'a, Sequential>,
    train: Set,
    valid: Set,
}

/// What is trained: a model, or what is behind its features. A type of its own, so that whoever looks for the line of a mistake finds the caller's.
#[derive(Clone, Copy)]
pub(super) enum TrainedLayers<'a> {
    Whole(&'a Sequential),
    Behind(&'a Rest<'a, Sequential>),
}

impl Module for TrainedLayers<'_> {
    fn visit(&self, visitor: &mut Visitor) {
        match self {
            TrainedLayers::Whole(model) => model.visit(visitor),
            TrainedLayers::Behind(rest) => rest.visit(visitor),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            TrainedLayers::Whole(model) => model.text(),
            TrainedLayers::Behind(rest) => rest.text(),
        }
    }
}

impl Layer for TrainedLayers<'_> {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        match self {
            TrainedLayers::Whole(model) => model.forward(x, context),
            TrainedLayers::Behind(rest) => rest.forward(x, context),
        }
    }

    fn stages(&self, x: &Tensor) -> Vec<(String, String, Tensor)> {
        match self {
            TrainedLayers::Whole(model) => model.stages(x),
            TrainedLayers::Behind(rest) => rest.stages(x),
        }
    }

    #[track_caller]
    fn padded_axis(&self, time: TimeAxis) -> kiln_learn::ir::Result<Option<TimeAxis>> {
        match self {
            TrainedLayers::Whole(model) => model.padded_axis(time),
            TrainedLayers::Behind(rest) => rest.padded_axis(time),
        }
    }

    #[track_caller]
    fn time_axis(&self, time: TimeAxis) -> kiln_learn::ir::Result<TimeAxis> {
        match self {
            TrainedLayers::Whole(model) => model.time_axis(time),
            TrainedLayers::Behind(rest) => rest.time_axis(time),
        }
    }
}

/// What a training computes with in each step.
pub(super) enum Front<'a> {
    /// All of the model.
    Computed(&'a Sequential),
    /// What is behind its features.
    Kept(KeptFeatures<'a>),
    /// This signal came before they were all computed.
    Interrupted(i32),
}

impl<'a> Front<'a> {
    /// The features of these rows, if the model has a frozen front whose features can be kept.
    pub(super) fn of(
        model: &'a Sequential,
        (train, valid): (&dyn Dataset, &dyn Dataset),
        say: &Say,
    ) -> Result<Front<'a>> {
        let Some(rest) = rest_behind(model, train)? else { return Ok(Front::Computed(model)) };
        let rows = train.len() + valid.len();
        let bytes = rows as u64 * rest.width() as u64 * size_of::<f32>() as u64;
        let of_each = format!("what is frozen makes {} of each row", counted(rest.width(), "number"));
        if bytes > Limits::current().bytes / SHARE {
            say.line(&format!(
                "{of_each}, {} of {}: too many to keep, so they are computed in each epoch (--limit bytes={} keeps them)",
                out::size(bytes),
                counted(rows, "row"),
                out::size(bytes * SHARE).replace(' ', "").replace("iB", ""),
            ));
            return Ok(Front::Computed(model));
        }
        let began = Instant::now();
        let signals = Interrupt::listen();
        let mut said = began;
        let mut computed = |set: &dyn Dataset, before: usize| {
            features(&rest, set, &mut |done| {
                if said.elapsed() >= SAID {
                    said = Instant::now();
                    say.line(&format!("features of {} of {}", before + done, counted(rows, "row")));
                }
                signals.asked().is_none()
            })
        };
        let both = computed(train, 0).and_then(|first| Ok((first, computed(valid, train.len())?)));
        if let Some(signal) = signals.asked() {
            return Ok(Front::Interrupted(signal));
        }
        let (train, valid) = both?;
        let seconds = began.elapsed().as_secs_f64();
        say.line(&format!("{of_each}, computed once: {} in {seconds:.1} s", out::size(bytes)));
        say.event(json!({
            "event": "features", "width": rest.width(), "rows": rows, "bytes": bytes, "seconds": seconds,
        }));
        Ok(Front::Kept(KeptFeatures { rest, train, valid }))
    }

    /// What is trained, on which rows, and those that it is validated with; else the signal that came.
    pub(super) fn parts<'s>(
        &'s self,
        train: &'s dyn Dataset,
        valid: &'s dyn Dataset,
    ) -> Result<(TrainedLayers<'s>, &'s dyn Dataset, &'s dyn Dataset), i32> {
        match self {
            Front::Computed(model) => Ok((TrainedLayers::Whole(model), train, valid)),
            Front::Kept(kept) => Ok((TrainedLayers::Behind(&kept.rest), &kept.train, &kept.valid)),
            Front::Interrupted(signal) => Err(*signal),
        }
    }
}
