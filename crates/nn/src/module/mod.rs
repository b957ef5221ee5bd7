//! Models: what has parameters, found by path, and the circumstances of a forward pass.

mod cache;
mod lengths;
mod pass;
mod transfer;

use std::collections::HashSet;
use std::panic::Location;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_device::Device;
use kiln_ir::{Error, ErrorKind, Result, line};

use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::{ADAPTER_NAMES, Adapter, Param, Variable, call, is_of_adapter, naming_on};
use kiln_map::nearest;

pub use cache::{Cache, TimeAxis};
pub(crate) use cache::{looks_ahead, refusal};
pub use lengths::Lengths;
pub(crate) use lengths::unpadded;
pub(crate) use pass::{CachedPass, Kept};
pub use pass::{KeptKind, KeptPart, NextSteps, PastSteps};
pub(crate) use transfer::{Share, between, kept, unpacked_pairs};

/// What has parameters: a layer, or a struct of layers. Derive it with [`parameters!`](crate::parameters). Threads may share it.
pub trait Module: Send + Sync {
    /// Shows every parameter and state to `visitor`, each under its name.
    fn visit(&self, visitor: &mut Visitor);

    /// Every parameter with its path (`encoder.0.weight`), in the order of the struct.
    fn parameters(&self) -> Vec<(String, Param)> {
        let mut visitor = Visitor::default();
        self.visit(&mut visitor);
        visitor.parameters
    }

    /// Every other variable the model keeps (running statistics), with its path.
    fn states(&self) -> Vec<(String, Variable)> {
        let mut visitor = Visitor::default();
        self.visit(&mut visitor);
        visitor.states
    }

    /// Moves everything the model keeps to a device, where steps and functions with it run from then on. None may be running
    /// meanwhile. What layers make later (those without sizes at their first tensor) goes where it is first used.
    ///
    /// # Errors
    /// Where a device fails, or a parameter is an error.
    fn to(&self, device: &Arc<dyn Device>) -> Result<()> {
        place(&self.parameters(), &self.states(), device)
    }

    /// Gives every parameter and state the numbers of the one at the same path of another module: a target network, a
    /// teacher's start.
    ///
    /// ```
    /// use kiln_nn::{Dense, Key, Module};
    ///
    /// let [first, second] = Key::new(1).split().map(|key| Dense::new(3, 2, key));
    /// second.copy_from(&first)?;
    /// assert_eq!(first.weight.value()?, second.weight.value()?);
    ///
    /// let error = second.copy_from(&Dense::new(4, 2, Key::new(1))).unwrap_err().to_string();
    /// assert!(error.contains("weight is f32[3, 2] and there f32[4, 2]"));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the modules don't have the same paths, shapes and types, all of which it names, and then nothing is copied; where a
    /// device fails.
    #[track_caller]
    fn copy_from(&self, other: &dyn Module) -> Result<()> {
        let (own, other) = (kept(self)?, kept(other)?);
        line::on_behalf_of(line::of(Location::caller()), || transfer::copy(own, other))
    }

    /// Moves every parameter and state by this share of the way to the one at the same path of another module: an exponential
    /// average that decays by `1 - share`. What isn't floating is copied. In a step there is [`Update::lerp`](crate::step::Update::lerp).
    ///
    /// # Errors
    /// As [`Module::copy_from`], and where something is packed.
    #[track_caller]
    fn lerp(&self, other: &dyn Module, share: f64) -> Result<()> {
        let (own, other) = (kept(self)?, kept(other)?);
        line::on_behalf_of(line::of(Location::caller()), || transfer::lerp(own, other, share))
    }

    /// Its layers as a text that makes them again, where they have one: rows of layers do, a struct of one's own doesn't.
    fn text(&self) -> Option<String> {
        None
    }

    /// How many numbers are trained.
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, param)| param.shape().elements()).sum()
    }

    /// Keeps training from changing the parameters whose paths match (`encoder.*`; a star is any text), from the next step
    /// that is made on. Says how many.
    ///
    /// # Errors
    /// Where no path matches.
    fn freeze(&self, pattern: &str) -> Result<usize> {
        set_frozen(self.parameters(), pattern, true)
    }

    /// Gives each matrix whose path matches a low-rank adapter (LoRA) and freezes everything that isn't one: what is trained is `a · b`, of this rank, which
    /// times `alpha / rank` is added to the matrix. Nothing changes before it is trained, for `b` starts as zeros. Says how many
    /// there are now. A dense layer computes with both narrow matrices; others add their product to the matrix first.
    ///
    /// Adapters are parameters of the model, `query.weight.lora_a` and `lora_b`; [`Module::merge_adapters`] makes them part of
    /// their matrices.
    ///
    /// ```
    /// use kiln_nn::models::{Decoder, DecoderConfig};
    /// use kiln_nn::{Key, Module};
    ///
    /// let model = Decoder::new(&DecoderConfig::llama(50, 32, 2, 4), Key::new(1));
    /// assert_eq!(model.adapt("blocks.*.query.weight", 4, 8.0, Key::new(2))?, 2);
    /// let trained = model.parameters().into_iter().filter(|(_, param)| !param.is_frozen());
    /// assert_eq!(trained.map(|(_, param)| param.shape().elements()).sum::<usize>(), 2 * 2 * 4 * 32);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where no path matches, one that does isn't a matrix, or the rank is more than it has; then nothing is changed.
    fn adapt(&self, pattern: &str, rank: usize, alpha: f64, key: Key) -> Result<usize> {
        let mut all = self.parameters();
        all.retain(|(path, _)| !is_of_adapter(path));
        let found = matching(&all, pattern, "adapt")?;
        let adapter = |(place, (path, param)): (usize, &(String, Param))| {
            let adapter = Adapter::new(param, rank, alpha, &key.derive(place));
            adapter.map_err(|error| Error { message: format!("{path}: {}", error.message), ..error })
        };
        let adapters = found.iter().copied().enumerate().map(adapter).collect::<Result<Vec<_>>>()?;
        all.iter().for_each(|(_, param)| param.freeze(true));
        for ((_, param), adapter) in found.into_iter().zip(&adapters) {
            param.set_adapter(Some(adapter.clone()))?;
        }
        Ok(adapters.len())
    }

    /// Adds what adapters came to to their matrices, which are trained again, and takes the adapters away. Says how many there were.
    ///
    /// # Errors
    /// Where a matrix is packed, and then nothing is changed; where a device fails.
    fn merge_adapters(&self) -> Result<usize> {
        let mut adapted = self.parameters();
        adapted.retain(|(_, param)| param.adapter().is_some());
        for (path, param) in &adapted {
            let named = |error: Error| Error { message: format!("{path}: {}", error.message), ..error };
            param.can_change("merge_adapters").map_err(named)?;
        }
        for (_, param) in &adapted {
            param.set(&param.tensor())?;
            param.set_adapter(None)?;
            param.freeze(false);
        }
        Ok(adapted.len())
    }

    /// Lets training change the parameters whose paths match again.
    ///
    /// # Errors
    /// Where no path matches.
    fn unfreeze(&self, pattern: &str) -> Result<usize> {
        set_frozen(self.parameters(), pattern, false)
    }
}

fn place(
    parameters: &[(String, Param)],
    states: &[(String, Variable)],
    device: &Arc<dyn Device>,
) -> Result<()> {
    for (_, parameter) in parameters {
        parameter.variable()?.to(device)?;
    }
    states.iter().try_for_each(|(_, state)| state.to(device))
}

fn set_frozen(parameters: Vec<(String, Param)>, pattern: &str, frozen: bool) -> Result<usize> {
    let found = matching(&parameters, pattern, "freeze")?;
    found.iter().for_each(|(_, param)| param.freeze(frozen));
    Ok(found.len())
}

/// The parameters whose paths match.
fn matching<'p>(
    parameters: &'p [(String, Param)],
    pattern: &str,
    operation: &str,
) -> Result<Vec<&'p (String, Param)>> {
    let found: Vec<_> = parameters.iter().filter(|(path, _)| matches(pattern, path)).collect();
    if found.is_empty() {
        let near = nearest(pattern, parameters.iter().map(|(path, _)| path.as_str()));
        let paths = || parameters.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(", ");
        let meant =
            near.map_or_else(|| format!("there are {}", paths()), |near| format!("did you mean {near}?"));
        let message = format!("no parameter's path matches {pattern}; {meant}");
        return Err(Error::new(ErrorKind::Value, operation, message).nowhere());
    }
    Ok(found)
}

/// Whether a text is what the pattern says, in which a star stands for any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// Runs `f`, which builds something of a model: in errors and listings of it the model's parameters and states go by their paths. Steps and
/// [`Function::inference`](crate::Function::inference) do so by themselves.
///
/// ```
/// use kiln_nn::module::named;
/// use kiln_nn::{Context, Dense, Key, Layer, Tensor, parameters};
///
/// struct Net { fc1: Dense }
/// parameters!(Net { fc1 });
///
/// let net = Net { fc1: Dense::new(784, 256, Key::new(1)) };
/// let y = named(&net, || net.fc1.forward(&Tensor::zeros([32, 768]), &Context::inference()));
/// assert!(y.error().is_some_and(|error| error.to_string().contains("fc1.weight")));
/// ```
pub fn named<R>(model: &(impl Module + ?Sized), f: impl FnOnce() -> R) -> R {
    naming_on(|| {
        call_by_paths("", model);
        let result = f();
        // What was made meanwhile.
        call_by_paths("", model);
        result
    })
}

/// From now on a module's parameters and states go by their paths, behind that of the module.
pub(crate) fn call_by_paths(path: &str, module: &(impl Module + ?Sized)) {
    let (parameters, states) = (module.parameters(), module.states());
    let parameters = parameters.iter().filter_map(|(name, param)| Some((name, param.variable().ok()?)));
    let all = parameters.chain(states.iter().map(|(name, state)| (name, state)));
    call(all.map(|(name, variable)| (joined(path, name), variable)));
}

/// Two parts of a path, either of which may be empty.
pub(crate) fn joined(first: &str, second: &str) -> String {
    let dot = if first.is_empty() || second.is_empty() { "" } else { "." };
    format!("{first}{dot}{second}")
}

/// Collects what a model keeps, with paths.
#[derive(Debug, Default)]
pub struct Visitor {
    path: Vec<String>,
    parameters: Vec<(String, Param)>,
    /// Where those parameters are.
    seen: HashSet<usize>,
    states: Vec<(String, Variable)>,
}

impl Visitor {
    /// Visits a part under `name`.
    pub fn part(&mut self, name: &str, part: &dyn Module) {
        self.path.push(name.to_string());
        part.visit(self);
        self.path.pop();
    }

    /// Takes a parameter.
    pub fn parameter(&mut self, name: &str, param: &Param) {
        let path = self.join(name);
        // One that is shared is trained once, under its first path.
        if param.address().is_none_or(|address| self.seen.insert(address)) {
            self.parameters.push((path.clone(), param.clone()));
        }
        if let Some(adapter) = param.adapter() {
            for (name, part) in ADAPTER_NAMES.into_iter().zip([&adapter.a, &adapter.b]) {
                if part.address().is_none_or(|address| self.seen.insert(address)) {
                    self.parameters.push((joined(&path, name), part.clone()));
                }
            }
        }
    }

    /// Takes a variable that isn't trained.
    pub fn state(&mut self, name: &str, state: &Variable) {
        self.states.push((self.join(name), state.clone()));
    }

    fn join(&self, name: &str) -> String {
        joined(&self.path.join("."), name)
    }
}

impl Module for Param {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.parameter("", self);
    }
}

impl Module for Variable {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.state("", self);
    }
}

impl<M: Module> Module for Vec<M> {
    fn visit(&self, visitor: &mut Visitor) {
        for (position, part) in self.iter().enumerate() {
            visitor.part(&position.to_string(), part);
        }
    }
}

impl<M: Module> Module for Option<M> {
    fn visit(&self, visitor: &mut Visitor) {
        if let Some(part) = self {
            part.visit(visitor);
        }
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit(&self, visitor: &mut Visitor) {
        (**self).visit(visitor);
    }

    fn text(&self) -> Option<String> {
        (**self).text()
    }
}

impl<M: Module + ?Sized> Module for &M {
    fn visit(&self, visitor: &mut Visitor) {
        (**self).visit(visitor);
    }

    fn text(&self) -> Option<String> {
        (**self).text()
    }
}

/// Makes a struct a [`Module`]: names the fields that hold parameters or other modules.
///
/// ```
/// use kiln_nn::{Dense, Module, parameters};
/// use kiln_nn::random::Key;
///
/// struct Net { hidden: Dense, out: Dense }
/// parameters!(Net { hidden, out });
///
/// let key = Key::new(1);
/// let net = Net { hidden: Dense::new(4, 8, key.derive(0)), out: Dense::new(8, 2, key.derive(1)) };
/// let names: Vec<String> = net.parameters().into_iter().map(|(path, _)| path).collect();
/// assert_eq!(names, ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]);
/// ```
#[macro_export]
macro_rules! parameters {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::Module for $type {
            fn visit(&self, visitor: &mut $crate::module::Visitor) {
                $(visitor.part(stringify!($field), &self.$field);)*
            }
        }
    };
}

/// The circumstances of a forward pass: whether it trains, where randomness comes from, and what it changes.
#[derive(Debug)]
pub struct Context {
    training: bool,
    key: Key,
    drawn: AtomicI64,
    /// In the order in which they were first asked for.
    updates: Mutex<Vec<(Variable, Tensor)>>,
    cache: Option<CachedPass>,
    /// How many steps the sequences have that go through, where they differ.
    lengths: Mutex<Option<Lengths>>,
    /// What each member of an ensemble said.
    members: Mutex<Option<Tensor>>,
}

impl Context {
    /// A pass for training, with randomness from `key`.
    pub fn training(key: Key) -> Context {
        Context { training: true, key, ..Context::inference() }
    }

    /// A pass that only computes: dropout does nothing, norms use their running statistics.
    pub fn inference() -> Context {
        Context {
            training: false,
            key: Key::new(0),
            drawn: AtomicI64::new(0),
            updates: Mutex::default(),
            cache: None,
            lengths: Mutex::default(),
            members: Mutex::default(),
        }
    }

    /// What layers keep of the steps before, in a pass that goes on with sequences.
    pub(crate) fn cache(&self) -> Option<&CachedPass> {
        self.cache.as_ref()
    }

    /// Whether the pass trains.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// A key that no other call in this pass gets, and that differs from step to step.
    pub fn key(&self) -> Key {
        self.key.derive(self.drawn.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// What each member of an ensemble said, `[batch, members, …]`, where the last layer that ran gave the mean of them in training.
    pub fn members(&self) -> Option<Tensor> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_members(&self, members: Option<Tensor>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Asks for `variable` to have this value after the pass (a running mean), whatever was asked for before.
    pub fn update(&self, variable: &Variable, value: Tensor) {
        let mut updates = self.updates();
        match updates.iter_mut().find(|(known, _)| known.is(variable)) {
            Some((_, asked)) => *asked = value,
            None => updates.push((variable.clone(), value)),
        }
    }

    /// The value that `variable` has after the pass, as far as it was asked for by now. What a layer changes each time it is called
    /// starts from this, and a layer that is called twice changes it twice.
    #[track_caller]
    pub fn value(&self, variable: &Variable) -> Tensor {
        let asked =
            self.updates().iter().find(|(known, _)| known.is(variable)).map(|(_, value)| value.clone());
        asked.unwrap_or_else(|| variable.tensor())
    }

    pub(crate) fn take_updates(&self) -> Vec<(Variable, Tensor)> {
        std::mem::take(&mut *self.updates())
    }

    fn updates(&self) -> MutexGuard<'_, Vec<(Variable, Tensor)>> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
