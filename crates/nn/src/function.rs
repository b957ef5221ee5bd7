//! A function as one program: traced once for each shape of its inputs, compiled, and run many times.

use std::sync::Arc;

use kiln_compile::Program;
use kiln_device::{Argument, Output};
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Expr, Graph, Result, Shape};
use smallvec::SmallVec;

use crate::module::{Context, Module};
use crate::runtime::{Loaded, load, outputs};
use crate::tensor::Tensor;
use crate::variable::Variable;

/// Numbers handed to a step, borrowed: any element type, no copy.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    argument: Argument<'a>,
    shape: SmallVec<[usize; 4]>,
}

impl<'a> Input<'a> {
    /// A slice under a shape, row-major.
    pub fn new<T: Element>(values: &'a [T], shape: &[usize]) -> Input<'a> {
        Input { argument: Argument::new(values), shape: SmallVec::from_slice(shape) }
    }

    /// Host data under a shape, row-major.
    pub fn from_data(data: &'a Data, shape: &[usize]) -> Input<'a> {
        Input { argument: Argument::from_data(data), shape: SmallVec::from_slice(shape) }
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
    /// The most recently used last.
    compiled: Vec<Compiled>,
    profile: bool,
}

/// The program for one combination of shapes.
struct Compiled {
    inputs: Vec<(Shape, DType)>,
    loaded: Loaded,
    captured: Vec<Arc<Data>>,
    outputs: Vec<Data>,
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
        Function { build: Box::new(build), compiled: Vec::new(), profile: false }
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
        self.prepare(&inputs)?;
        let Some(compiled) = self.compiled.last_mut() else { return Ok(&[]) };
        let arguments: SmallVec<[Argument; 16]> = inputs
            .iter()
            .map(|input| input.argument)
            .chain(compiled.captured.iter().map(|data| Argument::from_data(data)))
            .collect();
        let mut targets: SmallVec<[Output; 8]> = compiled.outputs.iter_mut().map(Output::from_data).collect();
        let Loaded { executable, memories, .. } = &mut compiled.loaded;
        executable.run(&arguments, memories, &mut targets)?;
        drop(targets);
        Ok(&compiled.outputs)
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

    /// Brings the program for these shapes to the end of the list.
    fn prepare(&mut self, inputs: &[Input; N]) -> Result<()> {
        let fits = |compiled: &Compiled| {
            compiled.inputs.iter().zip(inputs).all(|((shape, dtype), input)| {
                shape.sizes() == input.shape.as_slice() && *dtype == input.argument.dtype()
            })
        };
        if let Some(position) = self.compiled.iter().rposition(fits) {
            let last = self.compiled.len() - 1;
            if position != last {
                let compiled = self.compiled.remove(position);
                self.compiled.push(compiled);
            }
            return Ok(());
        }
        let declared = declared(inputs);
        let (graph, captured) = self.trace(&declared)?;
        let mut loaded = load(&graph)?;
        loaded.executable.profile(self.profile);
        let outputs = outputs(&loaded.program)?;
        if self.compiled.len() == MOST_SHAPES {
            self.compiled.remove(0);
        }
        self.compiled.push(Compiled { inputs: declared, loaded, captured, outputs });
        Ok(())
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

/// The shapes and dtypes of inputs.
fn declared(inputs: &[Input]) -> Vec<(Shape, DType)> {
    let of = |input: &Input| (Shape::from(input.shape.as_slice()), input.argument.dtype());
    inputs.iter().map(of).collect()
}
