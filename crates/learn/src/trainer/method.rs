//! How a model is trained: one objective that an optimizer lowers, or steps of one's own, in turn. Whichever it is, it becomes
//! [`Steps`], which the session runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_data::Batch;
use kiln_nn::loss::{Loss, Losses};
use kiln_nn::module::named;
use kiln_nn::optim::Optimizer;
use kiln_nn::{
    Context, DType, Data, Error, ErrorKind, Function, Input, Key, Layer, Module, Step, StepOptions, Tensor,
    Update, Variable,
};

use super::objective::{Objective, Shown};
use super::rows::{RowLayout, Rows};
use crate::Result;
use crate::inputs::all;

/// What is lowered, and what a model is evaluated by.
pub(super) type Goal<'a, M> = dyn Fn(&M, &Context, &Rows) -> Objective + Send + Sync + 'a;

/// A step of one's own.
type Own<'a, M> = dyn Fn(&M, &mut Update, &Rows) -> kiln_nn::Result<Objective> + Send + Sync + 'a;

pub(super) enum Method<'a, M> {
    /// An optimizer lowers an objective.
    Lowering {
        goal: Arc<Goal<'a, M>>,
        optimizer: Box<dyn Optimizer + 'a>,
        /// Where the objective is a loss of a layer's predictions.
        plain: Option<LayerLoss<'a, M>>,
    },
    /// Steps of one's own in turn.
    Custom { rate: f64, phases: Vec<Phase<'a, M>>, goal: Option<Arc<Goal<'a, M>>> },
}

/// The loss of a layer's predictions.
pub(super) struct LayerLoss<'a, M> {
    pub(super) loss: Arc<dyn Loss + 'a>,
    pub(super) layer: fn(&M) -> &dyn Layer,
}

/// Steps of one kind that come one after the other, before those of the next phase do; see
/// [`Trainer::alternating`](super::Trainer::alternating).
pub struct Phase<'a, M> {
    steps: usize,
    own: Arc<Own<'a, M>>,
}

impl<'a, M> Phase<'a, M> {
    /// So many steps in a row, each of which does what `f` says; see [`Trainer::custom`](super::Trainer::custom).
    pub fn new(
        steps: usize,
        f: impl Fn(&M, &mut Update, &Rows) -> kiln_nn::Result<Objective> + Send + Sync + 'a,
    ) -> Phase<'a, M> {
        Phase { steps: steps.max(1), own: Arc::new(f) }
    }
}

impl<'a, M: Layer> Method<'a, M> {
    pub(super) fn plain(loss: Arc<dyn Loss + 'a>, optimizer: Box<dyn Optimizer + 'a>) -> Method<'a, M> {
        let plain = LayerLoss { loss: loss.clone(), layer: as_layer };
        Method::Lowering { goal: plain_goal(loss), optimizer, plain: Some(plain) }
    }
}

fn as_layer<M: Layer>(model: &M) -> &dyn Layer {
    model
}

/// What an error says, without the line where a layer is asked here: to whoever trains it that line says nothing.
pub(super) fn without_own_line(error: crate::Error) -> String {
    match error {
        crate::Error::Compute(error) if error.at.is_some_and(|at| at.file() == file!()) => {
            error.nowhere().to_string()
        }
        error => error.to_string(),
    }
}

/// The loss of what a layer says of `x`, beside `y`.
pub(super) fn plain_goal<'a, M: Layer>(loss: Arc<dyn Loss + 'a>) -> Arc<Goal<'a, M>> {
    Arc::new(move |model: &M, context: &Context, rows: &Rows| {
        let prediction = model.forward(&rows.x(), context);
        let y = beside(&rows.y(), &prediction);
        let members = context.members().filter(|_| context.is_training());
        let misfit = match (prediction.error(), y.error()) {
            (None, None) => loss.misfit(&prediction, &y),
            _ => None,
        };
        let losses = match misfit {
            Some(message) => {
                Losses::from(Tensor::from(Error::new(ErrorKind::Value, "loss", message).nowhere()))
            }
            None => match members {
                Some(members) => of_members(&*loss, &members, &y),
                None => loss.each(&prediction, &y),
            },
        };
        Objective::new().reduced("loss", 1.0, losses, loss.reduction()).output("prediction", &prediction, "y")
    })
}

/// The losses of each member of an ensemble, `[batch, members, …]`, all beside the same targets.
fn of_members(loss: &dyn Loss, members: &Tensor, y: &Tensor) -> Losses {
    let shape = members.shape();
    let [rows, count] = [shape.first(), shape.get(1)].map(|size| size.copied().unwrap_or(1));
    let mut sizes = y.shape().to_vec();
    sizes.insert(1, count);
    let y = y.unsqueeze(1).broadcast_to(sizes).flatten(0..2);
    let Losses { values, counts } = loss.each(&members.flatten(0..2), &y);
    if values.rank() == 0 {
        return values.into();
    }
    let by_row = |each: Tensor| {
        let behind = each.shape().iter().skip(1).map(|size| *size as isize).collect::<Vec<_>>();
        each.reshape([&[rows as isize, count as isize], &behind[..]].concat())
    };
    Losses { values: by_row(values), counts: counts.map(by_row) }
}

/// A batch's targets as a loss takes them: one number beside each prediction where the model has one output. Classes of steps stay as they are,
/// though a row may have a single step.
pub(super) fn beside(y: &Tensor, prediction: &Tensor) -> Tensor {
    let (shape, given) = (prediction.shape(), y.shape());
    let is_of_numbers = shape.rank() == 2 || y.dtype().is_float();
    let column = is_of_numbers && shape.rank() == given.rank() + 1 && shape.iter().next_back() == Some(&1);
    if column && prediction.error().is_none() { y.cast(DType::F32).unsqueeze(-1) } else { y.clone() }
}

impl<'a, M: Module> Method<'a, M> {
    /// What a model is evaluated by, which steps of one's own don't say.
    pub(super) fn goal(&self) -> Result<&Arc<Goal<'a, M>>> {
        match self {
            Method::Lowering { goal, .. } | Method::Custom { goal: Some(goal), .. } => Ok(goal),
            Method::Custom { goal: None, .. } => Err(crate::Error::Training(
                "steps of one's own don't say what a model is evaluated by; Trainer::evaluated_by does"
                    .to_string(),
            )),
        }
    }

    /// Whether what is lowered is what is evaluated.
    pub(super) fn is_lowering(&self) -> bool {
        matches!(self, Method::Lowering { .. })
    }

    /// How many kinds of steps take turns.
    pub(super) fn phases(&self) -> usize {
        match self {
            Method::Lowering { .. } => 1,
            Method::Custom { phases, .. } => phases.len(),
        }
    }

    /// The learning rate at the start.
    pub(super) fn rate(&self) -> f64 {
        match self {
            Method::Lowering { optimizer, .. } => optimizer.rate(),
            Method::Custom { rate, .. } => *rate,
        }
    }

    /// The model as the layer that is trained, where it is one.
    pub(super) fn layer<'s>(&self, model: &'s M) -> Option<&'s dyn Layer> {
        match self {
            Method::Lowering { plain: Some(plain), .. } => Some((plain.layer)(model)),
            _ => None,
        }
    }

    /// The steps of a model on rows of this layout. Steps of one's own are traced once for a `blank` batch: layers are made by the first
    /// tensor that reaches them.
    pub(super) fn steps<'s>(
        &'s self,
        model: &'s M,
        options: StepOptions,
        seed: u64,
        layout: &RowLayout,
        class_weights: Option<Tensor>,
        blank: &Batch,
    ) -> Result<Steps<'s>>
    where
        'a: 's,
    {
        let rows = (layout.clone(), class_weights);
        let mut texts = Vec::new();
        let (each, turns) = match self {
            Method::Lowering { goal, optimizer, plain } => {
                // What is wrong with the model is said without the gradient of it.
                let shown = named(model, || goal(model, &Context::inference(), &layout.blank()));
                let mut shown = shown.shown(layout)?;
                if plain.is_none() {
                    let evaluated = shown;
                    shown = shown_in_training(model, &**goal, layout, blank)?;
                    shown.evaluated_as(&evaluated)?;
                }
                let lower = move |update: &mut Update, rows: &Rows| {
                    let objective = goal(model, update.context(), rows);
                    update.minimise("", model, &**optimizer, &objective.lowered(rows, false)[0])?;
                    Ok(objective)
                };
                let one =
                    PhaseStep::new(optimizer.rate(), options.seed(seed), rows, Objective::lowered, lower);
                one.look().shown = Some(shown);
                (vec![one], vec![0])
            }
            Method::Custom { rate, phases, .. } => {
                let mut each = Vec::with_capacity(phases.len());
                for (number, phase) in phases.iter().enumerate() {
                    // Each phase draws its own randomness.
                    let apart = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let own = move |update: &mut Update, rows: &Rows| (phase.own)(model, update, rows);
                    // Traced by itself, as what a step remembers begins with weights that a checkpoint may bring yet; and without settings
                    // that are parts by names of their own. Class weights stay where the step asks for them.
                    let (layout, weights) = &rows;
                    let even = weights.as_ref().map(|weights| Tensor::ones(weights.shape()));
                    let shown_evenly = |objective: &Objective, rows: &Rows, each: bool| {
                        objective.shown_by_step(&rows.without_class_weights(), each)
                    };
                    let plain = StepOptions::new().seed(apart);
                    let mut traced = PhaseStep::new(*rate, plain, (layout.clone(), even), shown_evenly, own);
                    texts.push(listing(traced.step.function(), blank)?);
                    let options = options.clone().seed(seed.wrapping_add(apart));
                    let one = PhaseStep::new(*rate, options, rows.clone(), Objective::shown_by_step, own);
                    one.look().shown = traced.look().shown.clone();
                    each.push(one);
                }
                let turn = |(number, phase): (usize, &Phase<M>)| std::iter::repeat_n(number, phase.steps);
                (each, phases.iter().enumerate().flat_map(turn).collect())
            }
        };
        Ok(Steps::new(each, turns, texts))
    }
}

/// What an objective shows in training, where it may have losses that it hasn't in evaluation.
fn shown_in_training<M: Module>(
    model: &M,
    goal: &Goal<M>,
    layout: &RowLayout,
    blank: &Batch,
) -> Result<Shown> {
    let shown = Mutex::new(Ok(Shown::default()));
    let mut traced = Function::many(|inputs| {
        let rows = layout.rows(inputs, None);
        let objective = named(model, || goal(model, &Context::training(Key::new(0)), &rows));
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = objective.shown(layout);
        objective.lowered(&rows, true)
    });
    traced.graph(all(blank).as_slice())?;
    drop(traced);
    Ok(shown.into_inner().unwrap_or_else(PoisonError::into_inner)?)
}

/// What is looked at of a step beside its loss.
#[derive(Default)]
struct Look {
    /// Whether it is each of the losses.
    each: bool,
    /// Which outputs.
    outputs: Vec<usize>,
    /// What there is to see, known when the step was first traced.
    shown: Option<Shown>,
}

/// The step of one phase.
struct PhaseStep<'s> {
    step: Step<'s>,
    look: Arc<Mutex<Look>>,
    /// The places of its losses among those of all phases.
    losses: Vec<usize>,
}

impl<'s> PhaseStep<'s> {
    fn new(
        rate: f64,
        options: StepOptions,
        (layout, class_weights): (RowLayout, Option<Tensor>),
        losses: fn(&Objective, &Rows, bool) -> Vec<Tensor>,
        own: impl Fn(&mut Update, &Rows) -> kiln_nn::Result<Objective> + Send + 's,
    ) -> PhaseStep<'s> {
        let look = Arc::new(Mutex::new(Look::default()));
        let seen = look.clone();
        let step = Step::custom_many(rate, options, move |update: &mut Update, inputs: &[Tensor]| {
            let rows = layout.rows(inputs, class_weights.as_ref());
            let objective = own(update, &rows)?;
            let mut look = held(&seen);
            let shown = objective.shown(&layout)?;
            match &look.shown {
                Some(known) => shown.same_as(known)?,
                None => look.shown = Some(shown),
            }
            let mut results = losses(&objective, &rows, look.each);
            results.extend(objective.outputs(&look.outputs));
            Ok(results)
        });
        PhaseStep { step, look, losses: Vec::new() }
    }

    fn look(&self) -> MutexGuard<'_, Look> {
        held(&self.look)
    }
}

fn held(look: &Mutex<Look>) -> MutexGuard<'_, Look> {
    look.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The steps of a training: one, or those of several phases in turn. All have the same learning rate and the same cares.
pub(super) struct Steps<'s> {
    each: Vec<PhaseStep<'s>>,
    /// Whose turn it is, of as many steps as all phases have together.
    turns: Vec<usize>,
    /// The names of all losses, where there are several.
    pub(super) losses: Vec<String>,
    /// What each step of one's own computes, as a text.
    pub(super) texts: Vec<String>,
}

/// What came out of a step.
pub(super) struct StepOutcome<'o> {
    pub(super) loss: f64,
    /// The place and the number of each loss, where there are several.
    pub(super) losses: &'o [usize],
    /// Those numbers, and then the outputs that are looked at.
    results: &'o [Data],
}

impl StepOutcome<'_> {
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, f64)> {
        self.losses.iter().copied().zip(self.results.iter().map(number))
    }

    pub(super) fn outputs(&self) -> &[Data] {
        &self.results[self.losses.len()..]
    }
}

/// The one number there is.
pub(super) fn number(data: &Data) -> f64 {
    data.get(0).map_or(f64::NAN, |number| number.as_f64())
}

impl<'s> Steps<'s> {
    fn new(mut each: Vec<PhaseStep<'s>>, turns: Vec<usize>, texts: Vec<String>) -> Steps<'s> {
        let mut losses: Vec<String> = Vec::new();
        for one in &mut each {
            let shown = one.look().shown.clone().unwrap_or_default();
            let names = shown.losses.into_iter().map(|(name, _)| name);
            for name in names {
                let place = losses.iter().position(|known| *known == name);
                one.losses.push(place.unwrap_or(losses.len()));
                if place.is_none() {
                    losses.push(name);
                }
            }
        }
        if losses.len() < 2 {
            losses.clear();
            each.iter_mut().for_each(|one| one.losses.clear());
        }
        for one in &each {
            one.look().each = !losses.is_empty();
        }
        Steps { each, turns, losses, texts }
    }

    /// What the last phase shows, which is where metrics of the training look.
    pub(super) fn shown(&self) -> Shown {
        self.each.last().and_then(|one| one.look().shown.clone()).unwrap_or_default()
    }

    /// Looks at these outputs of the last phase.
    pub(super) fn look_at(&mut self, outputs: &[usize]) {
        if let Some(one) = self.each.last() {
            one.look().outputs = outputs.to_vec();
        }
    }

    /// The step that comes when so many are done.
    fn at(&mut self, done: u64) -> &mut PhaseStep<'s> {
        let turn = self.turns[(done % self.turns.len() as u64) as usize];
        &mut self.each[turn]
    }

    pub(super) fn start(&mut self, done: u64, inputs: &[Input]) -> Result<()> {
        Ok(self.at(done).step.start(inputs)?)
    }

    /// What came out of the step that was started when so many were done.
    pub(super) fn finish(&mut self, done: u64) -> Result<StepOutcome<'_>> {
        let PhaseStep { step, losses, .. } = self.at(done);
        let results = step.results()?;
        let loss = results.first().map_or(f64::NAN, number);
        Ok(StepOutcome { loss, losses, results: results.get(1..).unwrap_or_default() })
    }

    pub(super) fn run(&mut self, done: u64, inputs: &[Input]) -> Result<f64> {
        self.start(done, inputs)?;
        Ok(self.finish(done)?.loss)
    }

    pub(super) fn upload(&mut self, done: u64, inputs: &[Input]) -> Result<Option<Vec<Variable>>> {
        Ok(self.at(done).step.upload(inputs)?)
    }

    pub(super) fn set_rate(&self, rate: f64) -> Result<()> {
        Ok(self.each.iter().try_for_each(|one| one.step.set_rate(rate))?)
    }

    pub(super) fn swap_averages(&self, model: &dyn Module) -> Result<()> {
        Ok(self.each.iter().try_for_each(|one| one.step.swap_averages(model))?)
    }

    /// The device that the step ran on which comes when so many are done.
    pub(super) fn device(&mut self, done: u64) -> Option<Arc<dyn kiln_nn::Device>> {
        self.at(done).step.function().device()
    }

    /// All that steps remember, by name.
    pub(super) fn state(&self) -> Result<Vec<(String, Data)>> {
        let mut state = Vec::new();
        for (number, one) in self.each.iter().enumerate() {
            let own = one.step.state()?.into_iter();
            state.extend(own.map(|(name, data)| (format!("{}{name}", prefix(number)), data)));
        }
        Ok(state)
    }

    /// Goes on from what [`Steps::state`] gave.
    pub(super) fn restore(&mut self, state: &[(&str, &Data)]) -> Result<()> {
        for (number, one) in self.each.iter_mut().enumerate() {
            let prefix = prefix(number);
            let own = state.iter().filter_map(|(name, data)| Some((name.strip_prefix(&prefix)?, *data)));
            let own: Vec<(String, Data)> = own.map(|(name, data)| (name.to_string(), data.clone())).collect();
            one.step.restore(&own)?;
        }
        Ok(())
    }
}

/// What the names of a phase's state begin with.
fn prefix(phase: usize) -> String {
    match phase {
        0 => "step.".to_string(),
        phase => format!("step{phase}."),
    }
}

/// What a function computes of a batch, without the lines it comes from and with the numbers of its constants.
pub(super) fn listing(function: &mut Function, batch: &Batch) -> Result<String> {
    let (mut graph, captured) = function.graph_with_constants(all(batch).as_slice())?;
    graph.nodes.iter_mut().for_each(|node| node.at = None);
    let constants = captured.iter().map(|data| kiln_files::checksum(0, &data.to_le_bytes()));
    Ok(constants.fold(graph.to_string(), |text, sum| format!("{text}{sum:016x}\n")))
}
