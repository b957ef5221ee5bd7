//! What is the same for functions of any number of inputs: programs by shape, and the runs of them.

use std::collections::HashSet;
use std::sync::Arc;

use kiln_compile::Program;
use kiln_device::{Argument, Device, Memory, Output};
use kiln_ir::op::Shared;
use kiln_ir::{DType, Data, Error, ErrorKind, Expr, Graph, Result, Shape};
use smallvec::SmallVec;

use super::input::{Input, InputSource};
use crate::device::{home, variables};
use crate::runtime::{Loaded, compile, outputs};
use crate::storage::called;
use crate::tensor::Tensor;
use crate::variable::{Variable, naming};

/// How many shapes of inputs a function keeps a program for.
const MOST_SHAPES: usize = 16;

/// Variables with their new values.
pub(crate) type Updates = Vec<(Variable, Tensor)>;

/// What a function computes: outputs, and variables with their new values.
pub(crate) type Build<'a> = dyn FnMut(&[Tensor]) -> Result<(Vec<Tensor>, Updates)> + Send + 'a;

/// A function that is traced and compiled for each shape it meets.
pub(crate) struct Traced<'a> {
    build: Box<Build<'a>>,
    /// The device that was asked for; otherwise that of the variables.
    device: Option<Arc<dyn Device>>,
    /// The most recently used last.
    instances: Vec<Instance>,
    /// Inputs on the device, for [`Traced::upload`]; the least recently used first.
    uploads: Vec<Vec<Variable>>,
    profile: bool,
}

/// The program for one combination of shapes.
pub(super) struct Code {
    pub(super) inputs: Vec<(Shape, DType)>,
    /// Numbers that the function brought along, which are inputs behind those.
    captured: Vec<Arc<Data>>,
    pub(super) program: Arc<Program>,
    pub(super) device: Arc<dyn Device>,
}

/// A program that is loaded, with memory of its own for one run at a time.
pub(super) struct Instance {
    code: Arc<Code>,
    loaded: Loaded,
    outputs: Vec<Data>,
    /// Where a device that works by itself puts the outputs of a run that nobody waits for.
    late: Vec<Variable>,
    /// Whether the last run's outputs are there and not yet here.
    is_late: bool,
}

impl<'a> Traced<'a> {
    pub(crate) fn new(build: Box<Build<'a>>) -> Traced<'a> {
        Traced { build, device: None, instances: Vec::new(), uploads: Vec::new(), profile: false }
    }

    pub(crate) fn set_device(&mut self, device: &Arc<dyn Device>) {
        self.device = Some(device.clone());
        // Nothing that is compiled for another device, and no memory of it, is needed any more.
        self.instances.clear();
        self.uploads.clear();
    }

    /// Runs with the results in the function's own outputs, if the device isn't one that works by itself.
    pub(crate) fn start(&mut self, inputs: &[Input]) -> Result<()> {
        let instance = self.prepare(inputs)?;
        if instance.loaded.device.shares_host_memory() {
            return instance.run(inputs, None);
        }
        let late = instance.late()?;
        instance.run(inputs, Some(&late))?;
        instance.is_late = true;
        Ok(())
    }

    pub(crate) fn results(&mut self) -> Result<&[Data]> {
        let Some(instance) = self.instances.last_mut() else { return Ok(&[]) };
        if std::mem::take(&mut instance.is_late) {
            for (output, late) in instance.outputs.iter_mut().zip(&instance.late) {
                late.read_into(output)?;
            }
        }
        Ok(&instance.outputs)
    }

    /// Runs, with results in these variables or in the function's own outputs.
    pub(crate) fn run(&mut self, inputs: &[Input], results: Option<&[Variable]>) -> Result<()> {
        self.prepare(inputs)?.run(inputs, results)
    }

    pub(crate) fn upload(&mut self, inputs: &[Input]) -> Result<Option<Vec<Variable>>> {
        let Some(device) = self.device().filter(|device| !device.shares_host_memory()) else {
            return Ok(None);
        };
        let fits = |kept: &Vec<Variable>| {
            kept.len() == inputs.len()
                && kept.iter().zip(inputs).all(|(kept, input)| input.is(kept.shape(), kept.dtype()))
        };
        // The run that goes on reads one, so each combination of shapes has two.
        let alike = self.uploads.iter().filter(|kept| fits(kept)).count();
        let kept = match self.uploads.iter().position(fits) {
            Some(oldest) if alike >= 2 => self.uploads.remove(oldest),
            _ => {
                if self.uploads.len() == 2 * MOST_SHAPES {
                    self.uploads.remove(0);
                }
                let zeros = |input: &Input| Variable::zeros("", input.shape.as_slice(), input.dtype());
                inputs.iter().map(zeros).collect()
            }
        };
        for (variable, input) in kept.iter().zip(inputs) {
            variable.to(&device)?;
            match &input.source {
                InputSource::Host(host) => variable.write_host(*host)?,
                InputSource::Variable(other) => variable.write(&other.read()?)?,
            }
        }
        self.uploads.push(kept.clone());
        Ok(Some(kept))
    }

    /// What is computed, and the constants that come in behind the inputs.
    pub(crate) fn graph(&mut self, inputs: &[Input]) -> Result<(Graph, Vec<Arc<Data>>)> {
        self.trace(&declared(inputs))
    }

    pub(crate) fn program(&mut self, inputs: &[Input]) -> Result<Arc<Program>> {
        Ok(self.prepare(inputs)?.loaded.program.clone())
    }

    pub(crate) fn profile(&mut self, on: bool) {
        self.profile = on;
        for instance in &mut self.instances {
            instance.loaded.executable.profile(on);
        }
    }

    pub(crate) fn times(&self) -> Vec<std::time::Duration> {
        self.instances.last().map(|instance| instance.loaded.executable.times()).unwrap_or_default()
    }

    /// The device that the last run was on.
    pub(crate) fn device(&self) -> Option<Arc<dyn Device>> {
        self.instances.last().map(|instance| instance.loaded.device.clone())
    }

    /// Brings the program for these shapes to the end of the list, and lends it.
    fn prepare(&mut self, inputs: &[Input]) -> Result<&mut Instance> {
        let fits = |instance: &Instance| {
            instance.code.takes(inputs) && inputs.iter().all(|input| input.suits(&instance.loaded.device))
        };
        let known = match self.instances.iter().rposition(fits) {
            Some(position) => self.is_here(position)?.then_some(position),
            None => None,
        };
        let instance = match known {
            Some(position) if position + 1 == self.instances.len() => None,
            Some(position) => Some(self.instances.remove(position)),
            None => {
                let lent: Vec<_> = inputs.iter().filter_map(Input::lent).collect();
                let mut instance = self.instance(&declared(inputs), &lent)?;
                instance.loaded.executable.profile(self.profile);
                if self.instances.len() == MOST_SHAPES {
                    self.instances.remove(0);
                }
                Some(instance)
            }
        };
        self.instances.extend(instance);
        let missing = || Error::new(ErrorKind::Device, "program", "no program was compiled").nowhere();
        self.instances.last_mut().ok_or_else(missing)
    }

    /// Compiles and loads for inputs of these shapes, where these variables of a caller's are too.
    pub(super) fn instance(
        &mut self,
        inputs: &[(Shape, DType)],
        lent: &[Shared<dyn kiln_ir::op::VariableHandle>],
    ) -> Result<Instance> {
        let (graph, captured) = self.trace(inputs)?;
        let device = home(self.device.as_ref(), variables(&graph).chain(lent))?;
        Instance::load(Arc::new(Code {
            inputs: inputs.to_vec(),
            captured,
            program: compile(&graph, &device)?,
            device,
        }))
    }

    /// Whether a program is still where its variables are; if not, it is forgotten.
    fn is_here(&mut self, position: usize) -> Result<bool> {
        let loaded = &mut self.instances[position].loaded;
        if loaded.is_current() {
            return Ok(true);
        }
        let home = home(self.device.as_ref(), loaded.program.variables.iter())?;
        let moved = !loaded.program.variables.is_empty() && !kiln_device::same(&home, &loaded.device);
        if moved {
            self.instances.remove(position);
        } else {
            loaded.find_again()?;
        }
        Ok(!moved)
    }

    /// What is computed from inputs of these shapes, before it is compiled, and the constants it captured.
    fn trace(&mut self, declared: &[(Shape, DType)]) -> Result<(Graph, Vec<Arc<Data>>)> {
        naming(|| self.build(declared))
    }

    fn build(&mut self, declared: &[(Shape, DType)]) -> Result<(Graph, Vec<Arc<Data>>)> {
        let tensors: Vec<Tensor> = declared
            .iter()
            .enumerate()
            .map(|(position, (shape, dtype))| Tensor(Expr::input(position, shape.clone(), *dtype)))
            .collect();
        let (results, updates) = (self.build)(&tensors)?;
        check_updates(&updates)?;
        let results: Vec<Expr> = results.into_iter().map(|tensor| tensor.0).collect();
        let updates: Vec<_> =
            updates.into_iter().map(|(variable, value)| (variable.handle(), value.0)).collect();
        Graph::trace(declared, &results, &updates)
    }
}

impl Code {
    /// Whether it is for inputs of these shapes and types.
    pub(super) fn takes(&self, inputs: &[Input]) -> bool {
        self.inputs.len() == inputs.len()
            && self.inputs.iter().zip(inputs).all(|((shape, dtype), input)| input.is(shape, *dtype))
    }
}

impl Instance {
    pub(super) fn load(code: Arc<Code>) -> Result<Instance> {
        let outputs = outputs(&code.program)?;
        let loaded = Loaded::new(code.program.clone(), &code.device)?;
        Ok(Instance { code, loaded, outputs, late: Vec::new(), is_late: false })
    }

    pub(super) fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// What came out of the last run.
    pub(super) fn outputs(&self) -> &[Data] {
        &self.outputs
    }

    /// Looks for the variables' memory again if one has moved, on this program's device.
    pub(super) fn keep_up(&mut self) -> Result<()> {
        if self.loaded.is_current() { Ok(()) } else { self.loaded.find_again() }
    }

    /// Runs, with results in these variables or in its own outputs.
    pub(super) fn run(&mut self, inputs: &[Input], results: Option<&[Variable]>) -> Result<()> {
        self.is_late = false;
        let Loaded { device, executable, memories, .. } = &mut self.loaded;
        let mut lent: SmallVec<[Arc<dyn Memory>; 8]> = SmallVec::new();
        for input in inputs {
            if let InputSource::Variable(variable) = &input.source {
                lent.push(variable.memory_on(device)?);
            }
        }
        let mut own = lent.iter();
        let given = inputs.iter().filter_map(|input| match &input.source {
            InputSource::Host(host) => Some(Argument::Host(*host)),
            InputSource::Variable(variable) => {
                own.next().map(|memory| Argument::Device(variable.dtype(), memory))
            }
        });
        let arguments: SmallVec<[Argument; 16]> =
            given.chain(self.code.captured.iter().map(|data| Argument::of(data))).collect();
        match results {
            None => {
                let mut outputs: SmallVec<[Output; 8]> = self.outputs.iter_mut().map(Output::of).collect();
                executable.run(&arguments, memories, &mut outputs)
            }
            Some(results) => {
                fit(results, &self.code.program.outputs)?;
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

/// Refuses two new values for one variable, of which a device would keep either.
fn check_updates(updates: &[(Variable, Tensor)]) -> Result<()> {
    let mut seen = HashSet::with_capacity(updates.len());
    let Some((variable, value)) = updates.iter().find(|(variable, _)| !seen.insert(variable.address()))
    else {
        return Ok(());
    };
    let message =
        format!("{} is given two new values; give it the last one alone", called(&variable.handle().name()));
    let error = Error::new(ErrorKind::Value, "update", message);
    Err(match value.0.node() {
        Ok(node) => error.at(node.at),
        Err(_) => error.nowhere(),
    })
}

/// Refuses variables of other shapes or types than the outputs: a device only sees how many numbers they have.
fn fit(results: &[Variable], outputs: &[(Shape, DType)]) -> Result<()> {
    for (number, (result, (shape, dtype))) in results.iter().zip(outputs).enumerate() {
        if result.shape() != shape || result.dtype() != *dtype {
            let message = format!(
                "result {number} is {dtype}{shape}, and {}, which it should go into, is {}{}",
                called(result.name()),
                result.dtype(),
                result.shape()
            );
            return Err(Error::new(ErrorKind::Shape, "run_into", message).nowhere());
        }
    }
    Ok(())
}

/// The shapes and dtypes of inputs.
fn declared(inputs: &[Input]) -> Vec<(Shape, DType)> {
    let of = |input: &Input| (Shape::from(input.shape.as_slice()), input.dtype());
    inputs.iter().map(of).collect()
}
