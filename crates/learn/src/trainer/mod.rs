//! Training: from a model, a loss, an optimizer and a set to a trained model.
//!
//! [`Trainer`] is the settings, [`Run`] what comes out. In between each step is one program ([`kiln_nn::Step`]), and what joins it
//! from outside is a [`Callback`].

mod callback;
mod checkpoint;
mod checks;
mod evaluate;
mod features;
mod fit;
mod folds;
mod identity;
mod log;
mod method;
mod metrics;
mod monitor;
mod objective;
mod progress;
mod rows;
mod run;
pub mod search;
mod session;
mod settings;
mod state;
mod stop;
mod tensorboard;

use std::sync::Arc;

use kiln_data::{Dataset, Subset, fractions, stratified};
use kiln_nn::loss::Loss;
use kiln_nn::optim::Optimizer;
use kiln_nn::schedule::RateFinder;
use kiln_nn::{Context, Layer, Module, Update};

pub use callback::{Callback, Moment};
pub use checkpoint::Checkpoints;
pub(crate) use evaluate::evaluate;
pub use evaluate::{Evaluation, mean_loss};
pub use features::{features, rest_behind};
pub use folds::{Fold, Folds, cross_validate, cross_validate_on};
pub use identity::PARTS;
pub use log::{CsvLog, JsonlLog};
pub use method::Phase;
pub use metrics::NamedMetric;
pub use monitor::Monitor;
pub use objective::Objective;
pub(crate) use progress::time;
pub use progress::{Progress, sparkline};
pub use rows::Rows;
pub use run::{Run, predict};
pub use settings::ClassWeights;
pub use state::TrainState;

pub use stop::{ClockNotes, Decided, EarlyStopping, TimeLimit};
pub use tensorboard::TensorBoard;

use method::Method;
use settings::{Settings, Validation};

pub use crate::predictions::{Judged, Predictions};
use crate::{Error, Result};

/// Trains a model. What isn't said has Keras' default: 32 rows in a batch, shuffled anew in each epoch.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::trainer::EarlyStopping;
///
/// let (train, test) = data::moons(400, 0.1, 1).split(0.75);
/// let model = Sequential::new().dense(16).relu().dense(16).relu().dense(2);
/// let run = Trainer::new(model, CrossEntropy::new(), Adam::new(0.01))
///     .epochs(40)
///     .batch_size(16)
///     .validate_fraction(0.2)
///     .metrics(["accuracy"])
///     .callback(EarlyStopping::on("val_loss").patience(10))
///     .quiet()
///     .fit(&train)?;
/// let test = run.evaluate(&test)?;
/// assert!(test.number("accuracy").unwrap() > 0.9);
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct Trainer<'a, M> {
    model: M,
    method: Method<'a, M>,
    settings: Settings<'a>,
}

impl<'a, M: Layer> Trainer<'a, M> {
    /// A layer whose predictions of `x` are compared with `y`. Ten epochs of batches of 32, and nothing besides. The model may be borrowed,
    /// and is then trained in place.
    pub fn new(model: M, loss: impl Loss + 'a, optimizer: impl Optimizer + 'a) -> Trainer<'a, M> {
        Trainer::by(model, Method::plain(Arc::new(loss), Box::new(optimizer)))
    }
}

impl<'a, M: Module> Trainer<'a, M> {
    fn by(model: M, method: Method<'a, M>) -> Trainer<'a, M> {
        Trainer { model, method, settings: Settings::new() }
    }

    /// A model of any number of inputs, outputs and losses: `objective` says what is lowered and shown, in training and in evaluation. All
    /// settings are as ever.
    ///
    /// ```
    /// use kiln::prelude::*;
    ///
    /// /// Two towers, whose outputs are near where a user likes an item.
    /// struct Net { user: Dense, item: Dense }
    /// parameters!(Net { user, item });
    ///
    /// let [user, item] = Key::new(1).split();
    /// let net = Net { user: Dense::new(2, 4, user), item: Dense::new(3, 4, item) };
    /// let set = data::Set::numbers(vec![0.5f32; 20], data::Form::numbers(&[2]), vec![1.0; 10], 1)?;
    /// let set = set.with("item", vec![0.2f32; 30], data::Form::numbers(&[3]))?;
    /// let run = Trainer::of(net, Adam::new(0.01), |net, cx, rows| {
    ///     let likes = net.user.forward(&rows.x(), cx) * net.item.forward(&rows.get("item"), cx);
    ///     likes.sum(1).unsqueeze(-1).mse(&rows.y())
    /// })
    /// .epochs(3)
    /// .quiet()
    /// .fit(&set)?;
    /// assert!(run.evaluate(&set)?.number("loss").unwrap() < run.history().series("loss").unwrap()[0]);
    /// # Ok::<(), kiln::Error>(())
    /// ```
    pub fn of<O: Into<Objective>>(
        model: M,
        optimizer: impl Optimizer + 'a,
        objective: impl Fn(&M, &Context, &Rows) -> O + Send + Sync + 'a,
    ) -> Trainer<'a, M> {
        let goal =
            Arc::new(move |model: &M, context: &Context, rows: &Rows| objective(model, context, rows).into());
        Trainer::by(model, Method::Lowering { goal, optimizer: Box::new(optimizer), plain: None })
    }

    /// A step of one's own in place of one that lowers a loss, with everything else kept: `step` computes what it likes, says by
    /// [`Update`] what becomes of parameters (several optimizers over parts of the model, a second gradient, a teacher that follows), and
    /// gives what is shown. `rate` is the learning rate that schedules multiply; those of the optimizers stay in proportion to it.
    /// Parts should have the names of the model's fields, so that averages find them. Weights of rows and classes count in what is lowered
    /// where the step weighs it by [`Rows::weights`]. What is evaluated says [`Trainer::evaluated_by`].
    ///
    /// ```
    /// use kiln::prelude::*;
    ///
    /// struct Net { body: Dense, head: Dense }
    /// parameters!(Net { body, head });
    ///
    /// let [body, head] = Key::new(1).split();
    /// let net = Net { body: Dense::new(2, 8, body), head: Dense::new(8, 2, head) };
    /// let (slow, fast) = (Adam::new(0.001), Sgd::new(0.1));
    /// let run = Trainer::custom(net, 0.1, |net, step, rows| {
    ///     let logits = net.head.forward(&net.body.forward(&rows.x(), step.context()).relu(), step.context());
    ///     let loss = logits.cross_entropy(&rows.y());
    ///     step.minimise("body", &net.body, &slow, &loss)?;
    ///     step.minimise("head", &net.head, &fast, &loss)?;
    ///     Ok(loss.into())
    /// })
    /// .epochs(3)
    /// .quiet()
    /// .fit(&data::moons(60, 0.1, 1))?;
    /// assert_eq!(run.history().len(), 3);
    /// # Ok::<(), kiln::Error>(())
    /// ```
    pub fn custom(
        model: M,
        rate: f64,
        step: impl Fn(&M, &mut Update, &Rows) -> kiln_nn::Result<Objective> + Send + Sync + 'a,
    ) -> Trainer<'a, M> {
        Trainer::alternating(model, rate, [Phase::new(1, step)])
    }

    /// Steps of one's own in turn: five of a critic, one of a generator. Each is on a batch of its own; metrics of the training look at
    /// the last phase.
    pub fn alternating(
        model: M,
        rate: f64,
        phases: impl IntoIterator<Item = Phase<'a, M>>,
    ) -> Trainer<'a, M> {
        let phases = phases.into_iter().collect();
        Trainer::by(model, Method::Custom { rate, phases, goal: None })
    }

    /// What a model is evaluated by that steps of one's own train.
    pub fn evaluated_by<O: Into<Objective>>(
        mut self,
        objective: impl Fn(&M, &Context, &Rows) -> O + Send + Sync + 'a,
    ) -> Self {
        match &mut self.method {
            Method::Custom { goal, .. } => {
                *goal = Some(Arc::new(move |model: &M, context: &Context, rows: &Rows| {
                    objective(model, context, rows).into()
                }));
            }
            Method::Lowering { .. } => self.mistaken(Error::Training(
                "a model is evaluated by what is lowered; evaluated_by is for steps of one's own".to_string(),
            )),
        }
        self
    }

    /// Trains.
    ///
    /// # Errors
    /// Where a setting makes no sense, the model or the loss doesn't fit the data, a row can't be read, the loss becomes
    /// `NaN`, or a callback fails. A model that was borrowed is then as far as it has come.
    pub fn fit(mut self, train: &impl Dataset) -> Result<Run<'a, M>> {
        if let Some(mistake) = self.settings.mistake.take() {
            return Err(mistake);
        }
        let shares = |share: f64| match share > 0.0 && share < 1.0 {
            true => Ok([1.0 - share, share]),
            false => Err(Error::Training(format!("a share of {share} can't be held out; from 0 to 1 can"))),
        };
        let seed = self.settings.batching.seed;
        let parts = match self.settings.validation {
            Validation::Fraction(share) => Some(fractions(train.len(), &shares(share)?, seed)?),
            Validation::Stratified(share) => Some(stratified(&train.labels()?, &shares(share)?, seed)?),
            Validation::None | Validation::Set(_) => None,
        };
        let fitted = match parts {
            Some(parts) => {
                let mut parts = parts.into_iter().map(|rows| Subset::new(train, rows));
                let (Some(train), Some(valid)) = (parts.next(), parts.next()) else {
                    return Err(Error::Training("two parts can't be made".to_string()));
                };
                self.fit_and_validate(&train, Some(&valid))?
            }
            None => {
                let valid = match self.settings.validation {
                    Validation::Set(set) => Some(set),
                    _ => None,
                };
                self.fit_and_validate(train, valid)?
            }
        };
        let metrics = std::mem::take(&mut self.settings.metrics);
        Ok(Run::new(self.model, self.method, train, metrics, self.settings.batching.size, fitted))
    }

    /// Goes through learning rates from low to high, a step with each, and leaves the weights as they were. The finder then has the
    /// losses, and a suggestion.
    ///
    /// ```
    /// use kiln::prelude::*;
    /// use kiln::schedule::RateFinder;
    ///
    /// let set = data::moons(500, 0.1, 1);
    /// let model = Sequential::new().dense(16).relu().dense(2);
    /// let trainer = Trainer::new(&model, CrossEntropy::new(), Adam::new(1e-3)).quiet();
    /// let found = trainer.find_rate(&set, RateFinder::new(1e-6, 1.0, 80))?;
    /// let rate = found.suggestion().unwrap();
    /// assert!((1e-4..1.0).contains(&rate), "{rate}");
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Trainer::fit`], and where steps of several phases take turns, whose losses are no one curve.
    pub fn find_rate(&self, train: &impl Dataset, finder: RateFinder) -> Result<RateFinder> {
        if let Some(mistake) = &self.settings.mistake {
            return Err(match mistake {
                Error::Compute(error) => Error::Compute(error.clone()),
                other => Error::Training(other.to_string()),
            });
        }
        if train.is_empty() {
            return Err(Error::Training("the training set is empty".to_string()));
        }
        if self.method.phases() > 1 {
            let message = "the phases of Trainer::alternating have losses of their own, and no one rate is found for them; ask for the rate \
                           of a Trainer::custom with one phase's step";
            return Err(Error::Training(message.to_string()));
        }
        fit::find_rate(&self.model, &self.method, train, &self.settings, finder)
    }

    fn fit_and_validate(
        &mut self,
        train: &dyn Dataset,
        valid: Option<&dyn Dataset>,
    ) -> Result<session::Fitted> {
        if train.is_empty() || valid.is_some_and(|set| set.is_empty()) {
            let which = if train.is_empty() { "training" } else { "validation" };
            return Err(Error::Training(format!("the {which} set is empty")));
        }
        fit::fit(&self.model, &self.method, train, valid, &mut self.settings)
    }
}
