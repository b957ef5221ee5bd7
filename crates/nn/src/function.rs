//! A function as one program: traced once for each shape of its inputs, compiled, and run many times.

use std::sync::Arc;

use kiln_compile::Program;
use kiln_device::{Argument, Device, Host, Memory, Output};
use kiln_ir::op::Shared;
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Expr, Graph, Result, Shape};
use smallvec::SmallVec;

use crate::device::{home, variables};
use crate::module::{Context, Module};
use crate::runtime::{Loaded, load, outputs};
use crate::tensor::Tensor;
use crate::variable::Variable;

/// Numbers handed to a step: borrowed from the host, any element type, no copy; or a variable's, which are on the device
/// already.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    value: Value<'a>,
    shape: SmallVec<[usize; 4]>,
}

#[derive(Clone, Debug)]
enum Value<'a> {
    Host(Host<'a>),
    Variable(Variable),
}

impl<'a> Input<'a> {
    /// A slice under a shape, row-major.
    pub fn new<T: Element>(values: &'a [T], shape: &[usize]) -> Input<'a> {
        Input { value: Value::Host(Host::new(values)), shape: SmallVec::from_slice(shape) }
    }

    /// Host data under a shape, row-major.
    pub fn from_data(data: &'a Data, shape: &[usize]) -> Input<'a> {
        Input { value: Value::Host(Host::of(data)), shape: SmallVec::from_slice(shape) }
    }

    /// What a variable holds when the step is run. Nothing is copied.
    pub fn variable(variable: &Variable) -> Input<'a> {
        let shape = SmallVec::from_slice(variable.shape().sizes());
        Input { value: Value::Variable(variable.clone()), shape }
    }

    /// The variable, if it is one.
    fn lent(&self) -> Option<Shared<dyn kiln_ir::op::VariableHandle>> {
        match &self.value {
            Value::Host(_) => None,
            Value::Variable(variable) => Some(Shared(variable.handle())),
        }
    }

    /// Whether a program on this device can take it: it is the host's, or on no device yet, or on this one.
    fn suits(&self, device: &Arc<dyn Device>) -> bool {
        match &self.value {
            Value::Host(_) => true,
            Value::Variable(variable) => {
                variable.device().is_none_or(|here| kiln_device::same(&here, device))
            }
        }
    }

    fn dtype(&self) -> DType {
        match &self.value {
            Value::Host(host) => host.dtype(),
            Value::Variable(variable) => variable.dtype(),
        }
    }
}

/// How many shapes of inputs a step keeps a program for.
const MOST_SHAPES: usize = 16;

/// What a step computes: outputs, and variables with their new values.
type Build<'a> = dyn FnMut(&[Tensor]) -> Result<(Vec<Tensor>, Vec<(Variable, Tensor)>)> + 'a;

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
pub struct Function<'a, const N: usize> {
    build: Box<Build<'a>>,
    /// The device that was asked for; otherwise that of the variables.
    device: Option<Arc<dyn Device>>,
    /// The most recently used last.
    compiled: Vec<Compiled>,
    /// Inputs on the device, for [`Function::upload`]; the least recently used first.
    uploads: Vec<[Variable; N]>,
    profile: bool,
}

/// The program for one combination of shapes.
struct Compiled {
    inputs: Vec<(Shape, DType)>,
    loaded: Loaded,
    captured: Vec<Arc<Data>>,
    outputs: Vec<Data>,
    /// Where a device that works by itself puts the outputs of a run that nobody waits for.
    late: Vec<Variable>,
    /// Whether the last run's outputs are there and not yet here.
    is_late: bool,
}

impl<'a, const N: usize> Function<'a, N> {
    /// A function given by what it computes from its inputs.
    pub fn new(f: impl Fn([Tensor; N]) -> Vec<Tensor> + 'a) -> Function<'a, N> {
        Function::with_updates(move |inputs| Ok((f(inputs), Vec::new())))
    }

    /// A function that also gives variables new values, in place.
    pub fn with_updates(
        mut f: impl FnMut([Tensor; N]) -> Result<(Vec<Tensor>, Vec<(Variable, Tensor)>)> + 'a,
    ) -> Function<'a, N> {
        let build = move |inputs: &[Tensor]| f(std::array::from_fn(|position| inputs[position].clone()));
        Function {
            build: Box::new(build),
            device: None,
            compiled: Vec::new(),
            uploads: Vec::new(),
            profile: false,
        }
    }

    /// The same function on this device. Variables that aren't on any yet go there; one that is on another is an error of
    /// the run. Without this a function runs where its variables are, else on the default device.
    pub fn on(mut self, device: &Arc<dyn Device>) -> Function<'a, N> {
        self.set_device(device);
        self
    }

    pub(crate) fn set_device(&mut self, device: &Arc<dyn Device>) {
        self.device = Some(device.clone());
        // Nothing that is compiled for another device, and no memory of it, is needed any more.
        self.compiled.clear();
        self.uploads.clear();
    }

    /// A model's forward pass without training.
    pub fn inference<M: Module>(
        model: &'a M,
        f: impl Fn(&M, &Context, [Tensor; N]) -> Tensor + 'a,
    ) -> Function<'a, N> {
        Function::new(move |inputs| vec![f(model, &Context::inference(), inputs)])
    }

    /// Runs on these inputs; compiles first where their shapes are new. The outputs are the function's own and stay until
    /// the next run.
    ///
    /// # Errors
    /// A mistake in what the function builds, with its line; or an index out of range.
    pub fn run(&mut self, inputs: [Input; N]) -> Result<&[Data]> {
        self.go(inputs, None)?;
        self.results()
    }

    /// Starts a run and doesn't wait for it where the device works by itself; [`Function::results`] waits.
    ///
    /// # Errors
    /// As [`Function::run`], but for what is only known when the work is done.
    pub fn start(&mut self, inputs: [Input; N]) -> Result<()> {
        self.prepare(&inputs)?;
        if let Some(compiled) = self.compiled.last_mut()
            && !compiled.loaded.device.shares_host_memory()
        {
            let late = compiled.late()?;
            self.go(inputs, Some(&late))?;
            if let Some(compiled) = self.compiled.last_mut() {
                compiled.is_late = true;
            }
            return Ok(());
        }
        self.go(inputs, None)
    }

    /// The outputs of the last run, when it is done.
    ///
    /// # Errors
    /// Of the run, if it was started and not waited for.
    pub fn results(&mut self) -> Result<&[Data]> {
        let Some(compiled) = self.compiled.last_mut() else { return Ok(&[]) };
        if std::mem::take(&mut compiled.is_late) {
            for (output, late) in compiled.outputs.iter_mut().zip(&compiled.late) {
                late.read_into(output)?;
            }
        }
        Ok(&compiled.outputs)
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
    pub fn run_into(&mut self, inputs: [Input; N], results: &[Variable]) -> Result<()> {
        self.go(inputs, Some(results))
    }

    /// These inputs in variables of the device, where that saves the next run from waiting for them: while a run that was
    /// started goes on, the next one's inputs can go there already. Nothing where the device of the last run shares the host's
    /// memory, or none ran yet.
    ///
    /// # Errors
    /// Where the device has no memory for them, or fails.
    pub fn upload(&mut self, inputs: [Input; N]) -> Result<Option<[Variable; N]>> {
        let Some(device) = self.device().filter(|device| !device.shares_host_memory()) else {
            return Ok(None);
        };
        let fits = |kept: &[Variable; N]| {
            kept.iter().zip(&inputs).all(|(kept, input)| {
                kept.shape().sizes() == input.shape.as_slice() && kept.dtype() == input.dtype()
            })
        };
        // The run that goes on reads one, so each combination of shapes has two.
        let alike = self.uploads.iter().filter(|kept| fits(kept)).count();
        let kept = match self.uploads.iter().position(fits) {
            Some(oldest) if alike >= 2 => self.uploads.remove(oldest),
            _ => {
                if self.uploads.len() == 2 * MOST_SHAPES {
                    self.uploads.remove(0);
                }
                std::array::from_fn(|at| Variable::zeros("", inputs[at].shape.as_slice(), inputs[at].dtype()))
            }
        };
        for (variable, input) in kept.iter().zip(&inputs) {
            variable.to(&device)?;
            match &input.value {
                Value::Host(host) => variable.write_host(*host)?,
                Value::Variable(other) => variable.write(&other.read()?)?,
            }
        }
        self.uploads.push(kept.clone());
        Ok(Some(kept))
    }

    /// Runs, with results in these variables or in the function's own outputs.
    fn go(&mut self, inputs: [Input; N], results: Option<&[Variable]>) -> Result<()> {
        self.prepare(&inputs)?;
        let Some(compiled) = self.compiled.last_mut() else { return Ok(()) };
        compiled.is_late = false;
        let Loaded { device, executable, memories, .. } = &mut compiled.loaded;
        let mut lent: SmallVec<[Arc<dyn Memory>; 8]> = SmallVec::new();
        for input in &inputs {
            if let Value::Variable(variable) = &input.value {
                lent.push(variable.memory_on(device)?);
            }
        }
        let mut own = lent.iter();
        let given = inputs.iter().filter_map(|input| match &input.value {
            Value::Host(host) => Some(Argument::Host(*host)),
            Value::Variable(variable) => own.next().map(|memory| Argument::Device(variable.dtype(), memory)),
        });
        let arguments: SmallVec<[Argument; 16]> =
            given.chain(compiled.captured.iter().map(|data| Argument::of(data))).collect();
        match results {
            None => {
                let mut outputs: SmallVec<[Output; 8]> =
                    compiled.outputs.iter_mut().map(Output::of).collect();
                executable.run(&arguments, memories, &mut outputs)
            }
            Some(results) => {
                let places =
                    results.iter().map(|result| result.memory_on(device)).collect::<Result<Vec<_>>>()?;
                let mut outputs: Vec<Output> = results
                    .iter()
                    .zip(&places)
                    .map(|(result, memory)| Output::Device(result.dtype(), memory))
                    .collect();
                executable.run(&arguments, memories, &mut outputs)
            }
        }
    }

    /// What is computed from these inputs, before it is compiled: print it, or draw it with
    /// [`kiln_ir::print::dot`].
    ///
    /// # Errors
    /// A mistake in what the function builds, with its line.
    pub fn graph(&mut self, inputs: [Input; N]) -> Result<Graph> {
        self.trace(&declared(&inputs)).map(|(graph, _)| graph)
    }

    /// The program for these inputs, for looking at.
    ///
    /// # Errors
    /// As [`Function::run`].
    pub fn program(&mut self, inputs: [Input; N]) -> Result<Arc<Program>> {
        self.prepare(&inputs)?;
        let missing = || Error::new(ErrorKind::Device, "program", "no program was compiled");
        self.compiled.last().map(|compiled| compiled.loaded.program.clone()).ok_or_else(missing)
    }

    /// Switches measuring of single kernels, for [`Function::times`].
    pub fn profile(&mut self, on: bool) {
        self.profile = on;
        for compiled in &mut self.compiled {
            compiled.loaded.executable.profile(on);
        }
    }

    /// The time each kernel of the last program took when it last ran.
    pub fn times(&self) -> Vec<std::time::Duration> {
        self.compiled.last().map(|compiled| compiled.loaded.executable.times()).unwrap_or_default()
    }

    /// The device that the last run was on.
    pub fn device(&self) -> Option<Arc<dyn Device>> {
        self.compiled.last().map(|compiled| compiled.loaded.device.clone())
    }

    /// Brings the program for these shapes to the end of the list.
    fn prepare(&mut self, inputs: &[Input; N]) -> Result<()> {
        let fits = |compiled: &Compiled| {
            compiled.inputs.iter().zip(inputs).all(|((shape, dtype), input)| {
                shape.sizes() == input.shape.as_slice()
                    && *dtype == input.dtype()
                    && input.suits(&compiled.loaded.device)
            })
        };
        if let Some(position) = self.compiled.iter().rposition(fits)
            && self.is_here(position)?
        {
            let last = self.compiled.len() - 1;
            if position != last {
                let compiled = self.compiled.remove(position);
                self.compiled.push(compiled);
            }
            return Ok(());
        }
        let declared = declared(inputs);
        let (graph, captured) = self.trace(&declared)?;
        let lent: Vec<Shared<dyn kiln_ir::op::VariableHandle>> =
            inputs.iter().filter_map(Input::lent).collect();
        let device = home(self.device.as_ref(), variables(&graph).chain(&lent))?;
        let mut loaded = load(&graph, &device)?;
        loaded.executable.profile(self.profile);
        let outputs = outputs(&loaded.program)?;
        if self.compiled.len() == MOST_SHAPES {
            self.compiled.remove(0);
        }
        let compiled =
            Compiled { inputs: declared, loaded, captured, outputs, late: Vec::new(), is_late: false };
        self.compiled.push(compiled);
        Ok(())
    }

    /// Whether a program is still where its variables are; if not, it is forgotten.
    fn is_here(&mut self, position: usize) -> Result<bool> {
        let loaded = &mut self.compiled[position].loaded;
        if loaded.is_current() {
            return Ok(true);
        }
        let home = home(self.device.as_ref(), loaded.program.variables.iter())?;
        let moved = !loaded.program.variables.is_empty() && !kiln_device::same(&home, &loaded.device);
        if moved {
            self.compiled.remove(position);
        } else {
            loaded.find_again()?;
        }
        Ok(!moved)
    }

    /// What is computed from inputs of these shapes, before it is compiled, and the constants it captured.
    fn trace(&mut self, declared: &[(Shape, DType)]) -> Result<(Graph, Vec<Arc<Data>>)> {
        let tensors: Vec<Tensor> = declared
            .iter()
            .enumerate()
            .map(|(position, (shape, dtype))| Tensor(Expr::input(position, shape.clone(), *dtype)))
            .collect();
        let (results, updates) = (self.build)(&tensors)?;
        let results: Vec<Expr> = results.into_iter().map(|tensor| tensor.0).collect();
        let updates: Vec<_> =
            updates.into_iter().map(|(variable, value)| (variable.handle(), value.0)).collect();
        Graph::trace(declared, &results, &updates)
    }
}

impl Compiled {
    /// The variables for outputs that nobody waits for, made when they are first needed.
    fn late(&mut self) -> Result<Vec<Variable>> {
        if self.late.is_empty() {
            let of = |(shape, dtype): &(Shape, DType)| Variable::zeros("", shape.clone(), *dtype);
            self.late = self.loaded.program.outputs.iter().map(of).collect();
            self.late.iter().try_for_each(|late| late.to(&self.loaded.device))?;
        }
        Ok(self.late.clone())
    }
}

/// The shapes and dtypes of inputs.
fn declared(inputs: &[Input]) -> Vec<(Shape, DType)> {
    let of = |input: &Input| (Shape::from(input.shape.as_slice()), input.dtype());
    inputs.iter().map(of).collect()
}
