//! A function as one program: traced once for each shape of its inputs, compiled, and run many times.

mod compiled;
mod input;
mod trace;

use std::sync::Arc;

use kiln_compile::Program;
use kiln_device::Device;
use kiln_ir::{DType, Data, Error, ErrorKind, Graph, Result, Shape};

use crate::layers::Layer;
use crate::module::{Cache, Context, Module, named};
use crate::tensor::Tensor;
use crate::variable::Variable;

pub use compiled::{Compiled, Outputs};
pub use input::{ANY, Input, InputList};
pub(crate) use trace::Updates;
use trace::{Build, Traced};

/// A function of `N` inputs that is compiled for each shape it meets and kept.
///
/// ```
/// use kiln_nn::{Function, Input};
///
/// let mut f = Function::new(|[x, y]| vec![(x * y).sum(..)]);
/// let out = f.run([Input::new(&[1f32, 2.0], &[2]), Input::new(&[3f32, 4.0], &[2])])?;
/// assert_eq!(out[0].as_slice::<f32>(), Some(&[11.0][..]));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// Where it is known only at run time how many inputs there are, it is a `Function` without a number:
///
/// ```
/// use kiln_nn::{Function, Input, Tensor};
///
/// let mut join: Function = Function::many(|inputs| {
///     vec![Tensor::concat(&inputs.iter().collect::<Vec<_>>(), 0).sum(..)]
/// });
/// let columns = vec![vec![1f32, 2.0], vec![3.0], vec![4.0, 5.0, 6.0]];
/// let inputs: Vec<Input> = columns.iter().map(|column| Input::new(column, &[column.len()])).collect();
/// assert_eq!(join.run(&inputs)?[0].as_slice::<f32>(), Some(&[21.0][..]));
/// assert_eq!(join.run(&inputs[..2])?[0].as_slice::<f32>(), Some(&[6.0][..]));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Function<'a, const N: usize = ANY>(Traced<'a>);

impl<'a, const N: usize> Function<'a, N> {
    /// A function given by what it computes from its inputs.
    pub fn new(mut f: impl FnMut([Tensor; N]) -> Vec<Tensor> + Send + 'a) -> Function<'a, N> {
        Function::with_updates(move |inputs| Ok((f(inputs), Vec::new())))
    }

    /// A function that also gives variables new values, in place.
    pub fn with_updates(
        mut f: impl FnMut([Tensor; N]) -> Result<(Vec<Tensor>, Vec<(Variable, Tensor)>)> + Send + 'a,
    ) -> Function<'a, N> {
        Function::traced(Box::new(move |inputs| f(array(inputs)?)))
    }

    /// A model's forward pass without training.
    pub fn inference<M: Module + ?Sized>(
        model: &'a M,
        mut f: impl FnMut(&M, &Context, [Tensor; N]) -> Tensor + Send + 'a,
    ) -> Function<'a, N> {
        Function::new(move |inputs| named(model, || vec![f(model, &Context::inference(), inputs)]))
    }

    /// The next steps of sequences through a model, which keeps in `cache` what it needs of the steps before: one step costs one step,
    /// however many came before it. Inputs are `[rows, steps, …]`, for any number of steps.
    ///
    /// ```
    /// use kiln_nn::{Cache, Function, Input, Layer, Sequential};
    ///
    /// let model: Sequential = "embedding 50 16, positions 32, transformer 2 causal, dense 50".parse()?;
    /// let cache = Cache::new(1, 32);
    /// let mut go_on = Function::cached(&model, &cache, |model, cx, [x]| model.forward(&x, cx));
    /// let prompt = [3i64, 1, 4];
    /// let next = go_on.run([Input::new(&prompt, &[1, 3])])?[0].as_slice::<f32>().unwrap().to_vec();
    /// let then = go_on.run([Input::new(&[1i64], &[1, 1])])?[0].as_slice::<f32>().unwrap().to_vec();
    /// assert_eq!((next.len(), then.len(), cache.lengths()?), (3 * 50, 50, vec![4]));
    ///
    /// // The bits that all steps at once give.
    /// let mut whole = Function::inference(&model, |model, cx, [x]| model.forward(&x, cx));
    /// let all = whole.run([Input::new(&[3i64, 1, 4, 1], &[1, 4])])?[0].as_slice::<f32>().unwrap().to_vec();
    /// assert_eq!(all[3 * 50..], then[..]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// A run is an error where a layer may look at later steps ([`Layer::time_axis`]), rows aren't as many as the cache's, or a sequence
    /// becomes longer than it.
    pub fn cached<M: Layer + ?Sized>(
        model: &'a M,
        cache: &Cache,
        mut f: impl FnMut(&M, &Context, [Tensor; N]) -> Tensor + Send + 'a,
    ) -> Function<'a, N> {
        let cache = cache.clone();
        Function::with_updates(move |inputs| named(model, || cache.pass(model, inputs, &mut f)))
    }

    /// The same function among those of any number of inputs.
    pub fn any(self) -> Function<'a> {
        Function(self.0)
    }

    /// The same function on this device. Variables that aren't on any yet go there; one that is on another is an error of
    /// the run. Without this a function runs where its variables are, else on the default device.
    pub fn on(mut self, device: &Arc<dyn Device>) -> Function<'a, N> {
        self.0.set_device(device);
        self
    }

    pub(crate) fn set_device(&mut self, device: &Arc<dyn Device>) {
        self.0.set_device(device);
    }

    /// Given by what it builds of as many inputs as there are.
    pub(crate) fn traced(build: Box<Build<'a>>) -> Function<'a, N> {
        Function(Traced::new(build))
    }

    /// Runs on these inputs; compiles first where their shapes are new. The outputs are the function's own and stay until
    /// the next run.
    ///
    /// # Errors
    /// A mistake in what the function builds, with its line; or an index out of range.
    pub fn run<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<&[Data]> {
        self.0.run(inputs.list(), None)?;
        self.0.results()
    }

    /// Starts a run and doesn't wait for it where the device works by itself; [`Function::results`] waits.
    ///
    /// # Errors
    /// As [`Function::run`], but for what is only known when the work is done.
    pub fn start<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<()> {
        self.0.start(inputs.list())
    }

    /// The outputs of the last run, when it is done. One with [`Function::run_into`] has its results in variables and none here:
    /// after it this is what was there before, or zeros.
    ///
    /// # Errors
    /// Of the run, if it was started and not waited for.
    pub fn results(&mut self) -> Result<&[Data]> {
        self.0.results()
    }

    /// Runs on these inputs, with the results in variables, which stay on the device. It may return before they are there;
    /// reading them waits.
    ///
    /// ```
    /// use kiln_nn::{Function, Input, Variable};
    ///
    /// let (here, there) = (Variable::scalar("here", 1f32), Variable::scalar("there", 0f32));
    /// let mut double = Function::new(|[x]| vec![x * 2.0]);
    /// double.run_into([Input::variable(&here)], &[there.clone()])?;
    /// double.run_into([Input::variable(&there)], &[here.clone()])?;
    /// assert_eq!(here.read()?.as_slice::<f32>(), Some(&[4.0][..]));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Function::run`]; where the variables aren't of the results' shapes.
    pub fn run_into<'i>(&mut self, inputs: impl InputList<'i, N>, results: &[Variable]) -> Result<()> {
        self.0.run(inputs.list(), Some(results))
    }

    /// These inputs in variables of the device, where that saves the next run from waiting for them: while a run that was
    /// started goes on, the next one's inputs can go there already. Nothing where the device of the last run shares the host's
    /// memory, or none ran yet.
    ///
    /// # Errors
    /// Where the device has no memory for them, or fails.
    pub fn upload<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<Option<Vec<Variable>>> {
        self.0.upload(inputs.list())
    }

    /// This function compiled for inputs of these shapes and types, for any number of threads to run at once.
    ///
    /// # Errors
    /// A mistake in what the function builds, with its line.
    pub fn compile(&mut self, inputs: &[(Shape, DType)]) -> Result<Compiled> {
        self.0.instance(inputs, &[]).map(Compiled::new)
    }

    /// What is computed from these inputs, before it is compiled: print it, or draw it with
    /// [`kiln_ir::print::dot`].
    ///
    /// # Errors
    /// A mistake in what the function builds, with its line.
    pub fn graph<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<Graph> {
        self.0.graph(inputs.list()).map(|(graph, _)| graph)
    }

    /// As [`Function::graph`], with the constants that were captured: the graph takes them behind the inputs.
    ///
    /// # Errors
    /// As there.
    pub fn graph_with_constants<'i>(
        &mut self,
        inputs: impl InputList<'i, N>,
    ) -> Result<(Graph, Vec<Arc<Data>>)> {
        self.0.graph(inputs.list())
    }

    /// The program for these inputs, for looking at.
    ///
    /// # Errors
    /// As [`Function::run`].
    pub fn program<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<Arc<Program>> {
        self.0.program(inputs.list())
    }

    /// Switches measuring of single kernels, for [`Function::times`].
    pub fn profile(&mut self, on: bool) {
        self.0.profile(on);
    }

    /// The time each kernel of the last program took when it last ran.
    pub fn times(&self) -> Vec<std::time::Duration> {
        self.0.times()
    }

    /// The device that the last run was on.
    pub fn device(&self) -> Option<Arc<dyn Device>> {
        self.0.device()
    }
}

impl<'a> Function<'a> {
    /// A function of any number of inputs, which may be another at each run.
    pub fn many(mut f: impl FnMut(&[Tensor]) -> Vec<Tensor> + Send + 'a) -> Function<'a> {
        Function::many_with_updates(move |inputs| Ok((f(inputs), Vec::new())))
    }

    /// A model's forward pass without training, of any number of inputs and with any number of results.
    pub fn inference_many<M: Module + ?Sized>(
        model: &'a M,
        mut f: impl FnMut(&M, &Context, &[Tensor]) -> Vec<Tensor> + Send + 'a,
    ) -> Function<'a> {
        Function::many(move |inputs| named(model, || f(model, &Context::inference(), inputs)))
    }

    /// A function of any number of inputs that also gives variables new values, in place.
    pub fn many_with_updates(
        f: impl FnMut(&[Tensor]) -> Result<(Vec<Tensor>, Vec<(Variable, Tensor)>)> + Send + 'a,
    ) -> Function<'a> {
        Function::traced(Box::new(f))
    }
}

/// The inputs as an array of as many as there are.
pub(crate) fn array<const N: usize>(inputs: &[Tensor]) -> Result<[Tensor; N]> {
    let wrong = |inputs: Vec<Tensor>| {
        let message = format!("the function takes {N} inputs, not {}", inputs.len());
        Error::new(ErrorKind::Value, "run", message).nowhere()
    };
    inputs.to_vec().try_into().map_err(wrong)
}
