//! From a model, the way it is trained and a set to a [`Session`], which is run and brought to an end.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kiln_data::{Batch, Cursor, Dataset, Prefetch};
use kiln_nn::metrics::History;
use kiln_nn::schedule::RateFinder;
use kiln_nn::{Context, Module};
use serde_json::Value;

use super::checks::{check_outputs, weigh};
use super::evaluate::Evaluator;
use super::identity::{TrainingIdentity, of_batching};
use super::method::{Method, Steps};
use super::metrics::{Asked, Metrics};
use super::progress::Progress;
use super::rows::{RowLayout, TRACED};
use super::session::{Fitted, Session, Sums};
use super::settings::{Length, Settings};
use crate::Result;
use crate::inputs::all;
use crate::store::{TensorFile, put_weights, set_weights};
use crate::terminal::Interrupt;

/// The steps of a training, on the device where they are wanted. Layers are made by the first tensor that reaches them, and a
/// checkpoint needs to know them.
fn program<'s, 'a: 's, M: Module>(
    model: &'s M,
    method: &'s Method<'a, M>,
    train: &dyn Dataset,
    blank: &Batch,
    settings: &Settings,
) -> Result<Steps<'s>> {
    let layout = RowLayout::of(train);
    let class_weights = settings.class_weights.as_ref().map(|weights| weigh(weights, train)).transpose()?;
    let (options, seed) = (settings.options.clone(), settings.batching.seed);
    // Before the loss is asked, whose word on a wrong number of outputs says less.
    if let Some(layer) = method.layer(model) {
        let prediction = layer.forward(&layout.blank().x(), &Context::inference());
        match prediction.error() {
            Some(error) => return Err(error.into()),
            None => check_outputs(prediction.shape().sizes(), train)?,
        }
    }
    let program = method.steps(model, options, seed, &layout, class_weights, blank)?;
    if let Some(device) = &settings.device {
        model.to(device)?;
    }
    Ok(program)
}

/// Trains the model in place.
pub(super) fn fit<'a, M: Module>(
    model: &M,
    method: &Method<'a, M>,
    train: &dyn Dataset,
    valid: Option<&dyn Dataset>,
    settings: &mut Settings<'a>,
) -> Result<Fitted> {
    let batching = settings.batching.clone();
    batching.check(train.len())?;
    let batches = batching.count(train.len());
    let steps = match settings.length {
        Length::Epochs(epochs) => epochs.saturating_mul(batches),
        Length::Steps(steps) => steps,
    };
    let blank = Batch::zeros(train, TRACED);
    let mut program = program(model, method, train, &blank, settings)?;
    let (shown, layout) = (program.shown(), RowLayout::of(train));
    let losses: Vec<String> = program.losses.iter().map(|name| format!("{name}.loss")).collect();
    let here = |asked: &&Asked| valid.is_none() || asked.is_shown(&shown) || method.is_lowering();
    let here: Vec<Asked> = settings.metrics.iter().filter(here).cloned().collect();
    let metrics = Metrics::new(&here, &shown, &layout, &losses)?;
    let larger = settings.metrics.iter().filter(|asked| asked.metric.larger_is_better());
    let larger = larger.map(Asked::name).collect();
    let planned = settings.schedule.take();
    let schedule = planned.as_ref().map(|planned| planned.of(steps.div_ceil(settings.accumulate)));
    let identity = TrainingIdentity {
        model,
        layer: method.layer(model),
        method: method.identity(&program, model, &layout, &blank)?,
        train,
        valid,
        metrics: settings.metrics.iter().map(|asked| asked.name()).collect(),
        said: said(settings),
        known: OnceCell::new(),
    };
    program.look_at(&metrics.outputs);
    let valid = match valid {
        None => None,
        Some(set) => {
            let goal = method.goal()?.clone();
            Some((set, Evaluator::new(model, goal, set, batching.size, &settings.metrics)?))
        }
    };
    if settings.progress {
        settings.callbacks.push(Box::new(Progress::new()));
    }
    let interrupt = if settings.interruptible { Interrupt::listen() } else { Interrupt::deaf() };
    let mut session = Session {
        model,
        train,
        loss_sums: vec![Sums::default(); program.losses.len()],
        program,
        valid,
        base_rate: method.rate(),
        rate: f64::NAN,
        planned: planned.as_ref(),
        schedule,
        identity,
        plateau: settings.plateau.take(),
        metrics,
        larger,
        callbacks: std::mem::take(&mut settings.callbacks),
        settings,
        steps,
        most: steps,
        batches,
        cursor: Cursor::default(),
        done: 0,
        from: 0,
        epoch: 1,
        batch: 0,
        sums: Sums::default(),
        loss: f64::NAN,
        numbers: Vec::new(),
        texts: Vec::new(),
        history: History::default(),
        before: Duration::ZERO,
        began: Instant::now(),
        requests: Vec::with_capacity(8),
        best: None,
        restores_best: false,
        stopped: None,
        signal: None,
        failed: false,
        anchor: None,
    };
    if let Some(state) = session.settings.resume.take() {
        session.restore(&state)?;
    }
    session.notify(|callback, at| callback.before(at))?;
    session.carry_out_all()?;
    let outcome = session.epochs(&interrupt);
    session.failed = outcome.is_err();
    if session.failed {
        // A checkpoint that was asked for would say that an epoch is over whose numbers not everybody has written.
        session.requests.clear();
    }
    let told = session.notify(|callback, at| callback.after(at)).and_then(|()| session.carry_out_all());
    outcome.and(told).map_err(|error| session.rescue(error))?;
    if session.signal.is_some() && !session.settings.quiet {
        session.say_how_to_go_on();
    }
    session.finish()
}

/// Settings that change numbers, as they are said.
fn said(settings: &Settings) -> BTreeMap<&'static str, Value> {
    let plateau = settings.plateau.as_ref().map(|(plateau, number)| format!("{plateau:?} of {number}"));
    let weights = settings.class_weights.as_ref().map(|weights| format!("{weights:?}"));
    let own = [
        ("accumulated batches", settings.accumulate.into()),
        ("plateau", plateau.into()),
        ("class weights", weights.into()),
    ];
    let batching = of_batching(&settings.batching);
    settings.said.clone().into_iter().chain(batching).chain(own).collect()
}

/// See [`Trainer::find_rate`](super::Trainer::find_rate).
pub(super) fn find_rate<M: Module>(
    model: &M,
    method: &Method<M>,
    train: &dyn Dataset,
    settings: &Settings,
    mut finder: RateFinder,
) -> Result<RateFinder> {
    let blank = Batch::zeros(train, TRACED);
    let mut program = program(model, method, train, &blank, settings)?;
    let mut weights = TensorFile::default();
    put_weights(&mut weights, "", model)?;
    let swept = std::thread::scope(|scope| {
        let end = Cursor { epoch: u64::MAX, batch: 0 };
        let mut batches = Prefetch::start(scope, train, settings.batching.clone(), Cursor::default(), end)?;
        let mut done = 0;
        while let Some(rate) = finder.rate()
            && let Some(batch) = batches.next()?
        {
            program.set_rate(rate)?;
            finder.observe(program.run(done, &all(batch))?);
            done += 1;
        }
        Ok(finder)
    });
    set_weights(&weights, "", &model)?;
    swept
}
