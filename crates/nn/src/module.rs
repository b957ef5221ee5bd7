//! Models: what has parameters, found by path, and the circumstances of a forward pass.

use std::cell::{Cell, RefCell};

use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::{Param, Variable};

/// What has parameters: a layer, or a struct of layers. Derive it with [`parameters!`](crate::parameters).
pub trait Module {
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

    /// How many numbers are trained.
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, param)| param.shape().elements()).sum()
    }
}

/// Collects what a model keeps, with paths.
#[derive(Debug, Default)]
pub struct Visitor {
    path: Vec<String>,
    parameters: Vec<(String, Param)>,
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
        if let Ok(variable) = param.variable()
            && variable.name().is_empty()
        {
            variable.rename(&path);
        }
        self.parameters.push((path, param.clone()));
    }

    /// Takes a variable that isn't trained.
    pub fn state(&mut self, name: &str, state: &Variable) {
        let path = self.join(name);
        if state.name().is_empty() {
            state.rename(&path);
        }
        self.states.push((path, state.clone()));
    }

    fn join(&self, name: &str) -> String {
        let mut path = self.path.join(".");
        if !path.is_empty() && !name.is_empty() {
            path.push('.');
        }
        path + name
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
}

impl<M: Module + ?Sized> Module for &M {
    fn visit(&self, visitor: &mut Visitor) {
        (**self).visit(visitor);
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
    drawn: Cell<i64>,
    updates: RefCell<Vec<(Variable, Tensor)>>,
}

impl Context {
    /// A pass for training, with randomness from `key`.
    pub fn training(key: Key) -> Context {
        Context { training: true, key, drawn: Cell::new(0), updates: RefCell::default() }
    }

    /// A pass that only computes: dropout does nothing, norms use their running statistics.
    pub fn inference() -> Context {
        Context { training: false, key: Key::new(0), drawn: Cell::new(0), updates: RefCell::default() }
    }

    /// Whether the pass trains.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// A key that no other call in this pass gets, and that differs from step to step.
    pub fn key(&self) -> Key {
        self.drawn.set(self.drawn.get() + 1);
        self.key.derive(self.drawn.get())
    }

    /// Asks for `variable` to have this value after the pass (a running mean).
    pub fn update(&self, variable: &Variable, value: Tensor) {
        self.updates.borrow_mut().push((variable.clone(), value));
    }

    pub(crate) fn take_updates(&self) -> Vec<(Variable, Tensor)> {
        self.updates.take()
    }
}
