//! A function compiled for one shape of its inputs, which any number of threads run at once.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_compile::Program;
use kiln_device::Device;
use kiln_ir::{DType, Data, Error, ErrorKind, Result, Shape};

use super::input::Input;
use super::trace::{Code, Instance};

/// A function compiled for inputs of certain shapes, made by [`Function::compile`](super::Function::compile). Of the closure it was
/// traced from nothing is left; the variables that it reads are read at each run. Cloning shares.
///
/// Any number of threads may run it at once. Each run takes a loaded copy of the program that nobody uses, which has memory of its
/// own for what it computes, and loads one more where there is none: nothing is compiled again, weights are shared, and
/// no lock that excludes other runs is held while it computes (unless the program writes variables).
///
/// ```
/// use kiln_nn::{DType, Dense, Function, Input, Key, Layer};
///
/// let model = Dense::new(3, 2, Key::new(1));
/// let mut forward = Function::inference(&model, |model, cx, [x]| model.forward(&x, cx));
/// let compiled = forward.compile(&[([1, 3].into(), DType::F32)])?;
/// std::thread::scope(|scope| {
///     for row in [[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]] {
///         let compiled = &compiled;
///         scope.spawn(move || {
///             let out = compiled.run(&[Input::new(&row, &[1, 3])]).unwrap();
///             assert_eq!(out[0].len(), 2);
///         });
///     }
/// });
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct Compiled(Arc<InstancePool>);

/// What was compiled, and the copies of it that are loaded.
struct InstancePool {
    code: Arc<Code>,
    /// Copies that nobody runs now; the last one that was used is used next, while its memory is warm.
    idle: Mutex<Vec<Instance>>,
}

/// How many copies wait to be used again.
const MOST_IDLE: usize = 64;

impl Compiled {
    pub(super) fn new(first: Instance) -> Compiled {
        let code = first.code().clone();
        Compiled(Arc::new(InstancePool { code, idle: Mutex::new(vec![first]) }))
    }

    /// Runs on these inputs. What comes out is the caller's until it is dropped; then its memory serves another run.
    ///
    /// # Errors
    /// Where the inputs are of other shapes or types than those it was compiled for; where a variable is on another device by now;
    /// where an index is out of range.
    pub fn run(&self, inputs: &[Input]) -> Result<Outputs<'_>> {
        if !self.0.code.takes(inputs) {
            return Err(self.unfit(inputs));
        }
        let waiting = self.0.idle().pop();
        let mut instance = match waiting {
            Some(instance) => instance,
            None => Instance::load(self.0.code.clone())?,
        };
        let ran = instance.keep_up().and_then(|()| instance.run(inputs, None));
        let outputs = Outputs { instance: Some(instance), pool: &self.0 };
        ran.map(|()| outputs)
    }

    /// The shapes and types of the inputs it was compiled for.
    pub fn inputs(&self) -> &[(Shape, DType)] {
        &self.0.code.inputs
    }

    /// The program, for looking at.
    pub fn program(&self) -> &Program {
        &self.0.code.program
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.0.code.device
    }

    #[cold]
    fn unfit(&self, inputs: &[Input]) -> Error {
        let list = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
        let made = list(&mut self.inputs().iter().map(|(shape, dtype)| format!("{dtype}{shape}")));
        let given = |input: &Input| format!("{}{}", input.dtype(), Shape::from(input.shape.as_slice()));
        let given = list(&mut inputs.iter().map(given));
        let message = format!("it was compiled for inputs {made}, and is run on {given}");
        Error::new(ErrorKind::Shape, "run", message).nowhere()
    }
}

impl InstancePool {
    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("inputs", &self.inputs()).finish_non_exhaustive()
    }
}

/// What came out of a run of a [`Compiled`] function: a list of [`Data`].
pub struct Outputs<'c> {
    /// There until it is dropped.
    instance: Option<Instance>,
    pool: &'c InstancePool,
}

impl Deref for Outputs<'_> {
    type Target = [Data];

    fn deref(&self) -> &[Data] {
        self.instance.as_ref().map_or(&[], |instance| instance.outputs())
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle();
        if idle.len() < MOST_IDLE {
            idle.extend(self.instance.take());
        }
    }
}

impl fmt::Debug for Outputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
