//! The parameter: a variable that is trained.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use kiln_ir::packed::BlockFormat;
use kiln_ir::{DType, Data, Error, ErrorKind, Expr, Result, Shape};

use super::unfilled::makes_unfilled;
use super::{Adapter, Variable};
use crate::budget::{afford, spend};
use crate::tensor::Tensor;

/// A trained variable. Cloning shares.
///
/// The numbers may be stored in another order of the axes than users see (a convolution's weight lies
/// window-first, as its kernels read it); [`Param::tensor`] and [`Param::value`] speak of the users' order.
#[derive(Clone, Debug)]
pub struct Param(Result<Arc<ParamStorage>, Error>);

/// What the parameter is, which its clones share.
#[derive(Debug)]
struct ParamStorage {
    /// As users see it.
    shape: Shape,
    dtype: DType,
    /// How it is stored until it has packed numbers: stored axis `i` is the users' axis `order[i]`.
    order: Vec<usize>,
    /// Its numbers; none yet where it was made [unfilled](super::with_unfilled_parameters).
    stored: OnceLock<StoredNumbers>,
    frozen: AtomicBool,
    adapter: RwLock<Option<Adapter>>,
}

/// A parameter's numbers as they lie.
#[derive(Debug)]
struct StoredNumbers {
    variable: Variable,
    /// Stored axis `i` is the users' axis `order[i]`.
    order: Vec<usize>,
    /// How its rows are packed, if they are; then the variable holds bytes.
    packed: Option<BlockFormat>,
}

impl ParamStorage {
    fn stored(&self) -> Result<&StoredNumbers> {
        self.stored.get().ok_or_else(|| {
            let message =
                format!("a parameter {} was made without numbers, and none were put in", self.shape);
            Error::new(ErrorKind::Value, "parameter", message).nowhere()
        })
    }
}

impl Param {
    /// A parameter that starts with the value of `initial`. An error in it comes out where the parameter is used.
    #[track_caller]
    pub fn new(initial: &Tensor) -> Param {
        let order: Vec<usize> = (0..initial.rank()).collect();
        Param::stored(initial, &order)
    }

    /// As [`Param::new`], stored with its axes in this order, outermost first.
    #[track_caller]
    pub fn stored(initial: &Tensor, order: &[usize]) -> Param {
        let in_order = Tensor(initial.0.permute(order));
        let variable = afford(&in_order.shape()).and_then(|()| match makes_unfilled() {
            true => in_order.sound().map(|_| None),
            false => Variable::new("", in_order.to_data()?, in_order.shape()).map(Some),
        });
        spend(&in_order.shape());
        Param(variable.map(|variable| {
            let order = order.to_vec();
            let stored =
                variable.map(|variable| StoredNumbers { variable, order: order.clone(), packed: None });
            Arc::new(ParamStorage {
                shape: initial.shape(),
                dtype: initial.dtype(),
                order,
                stored: stored.map(OnceLock::from).unwrap_or_default(),
                frozen: AtomicBool::new(false),
                adapter: RwLock::default(),
            })
        }))
    }

    /// Its value, in the users' order of axes, as a tensor that reads it when it is evaluated; with what an adapter adds.
    #[track_caller]
    pub fn tensor(&self) -> Tensor {
        match self.adapter() {
            Some(adapter) => {
                let base = self.base();
                let added = adapter.product().cast(base.dtype());
                base + added
            }
            None => self.base(),
        }
    }

    /// Its own value, without what an adapter adds.
    #[track_caller]
    pub(crate) fn base(&self) -> Tensor {
        match self.numbers() {
            Ok(stored) => self.as_seen(&stored.variable.tensor()),
            Err(error) => Tensor(Expr::poisoned(error)),
        }
    }

    /// A value in the users' order of axes, in the stored one.
    #[track_caller]
    pub(crate) fn as_stored(&self, value: &Tensor) -> Tensor {
        Tensor(value.0.permute(self.order()))
    }

    /// What its variable holds, as users see it: unpacked, in their order of axes.
    #[track_caller]
    pub(crate) fn as_seen(&self, stored: &Tensor) -> Tensor {
        let order = inverse(self.order());
        match self.packed() {
            Some(format) => Tensor(stored.0.unpack(format).permute(&order)),
            None => Tensor(stored.0.permute(&order)),
        }
    }

    /// Refuses what would change packed numbers.
    #[track_caller]
    pub(crate) fn can_change(&self, operation: &'static str) -> Result<()> {
        self.packed().map_or(Ok(()), |format| {
            let message = format!(
                "the parameter is packed as {format}, and isn't changed; adapters beside it can be trained"
            );
            Err(Error::new(ErrorKind::Value, operation, message))
        })
    }

    /// Stored axis `i` is the users' axis `order[i]`.
    pub(crate) fn order(&self) -> &[usize] {
        self.0
            .as_ref()
            .map_or(&[], |storage| storage.stored.get().map_or(&storage.order, |stored| &stored.order))
    }

    fn numbers(&self) -> Result<&StoredNumbers> {
        self.0.as_ref().map_err(Clone::clone)?.stored()
    }

    /// What was wrong with its initial value, if anything was.
    pub fn error(&self) -> Option<&Error> {
        self.0.as_ref().err()
    }

    /// The variable underneath, in stored order; of packed numbers their bytes.
    ///
    /// # Errors
    /// The error in its initial value, if there was one, and where it has no numbers yet.
    pub fn variable(&self) -> Result<&Variable> {
        Ok(&self.numbers()?.variable)
    }

    /// Its shape as users see it.
    pub fn shape(&self) -> Shape {
        match &self.0 {
            Ok(storage) => storage.shape.clone(),
            Err(error) => Tensor(Expr::poisoned(error.clone())).shape(),
        }
    }

    /// The type of its numbers as users see them.
    pub fn dtype(&self) -> DType {
        self.0.as_ref().map_or(DType::F32, |storage| storage.dtype)
    }

    /// How its numbers are packed, if they are.
    pub fn packed(&self) -> Option<BlockFormat> {
        self.numbers().ok()?.packed
    }

    /// Its numbers now, row-major in the users' order of axes, without what an adapter adds.
    ///
    /// # Errors
    /// Where the device fails or the initial value was an error.
    pub fn value(&self) -> Result<Data> {
        self.base().to_data()
    }

    /// Replaces its numbers by those of `value`, which has its shape.
    ///
    /// # Errors
    /// Where shape or dtype differ, `value` is an error, or its numbers are packed.
    #[track_caller]
    pub fn set(&self, value: &Tensor) -> Result<()> {
        let storage = self.0.as_ref().map_err(Clone::clone)?;
        if value.error().is_none() && value.shape() != self.shape() {
            let message = format!("the parameter is {}, not {}", self.shape(), value.shape());
            return Err(Error::new(ErrorKind::Shape, "set", message));
        }
        self.can_change("set")?;
        let data = self.as_stored(&value.cast(storage.dtype)).to_data()?;
        let Some(stored) = storage.stored.get() else {
            let shape: Vec<usize> = storage.order.iter().map(|&axis| storage.shape[axis]).collect();
            let variable = Variable::new("", data, shape)?;
            // Whoever came before has numbers in it that were meant as well.
            let _ =
                storage.stored.set(StoredNumbers { variable, order: storage.order.clone(), packed: None });
            return Ok(());
        };
        stored.variable.write(&data)
    }

    /// Gives a parameter that has no numbers yet packed ones. `blocks` are rows along the last stored axis, one after the other; stored
    /// axis `i` is the users' axis `order[i]`. Products whose columns these rows are unpack them a part at a time; training leaves them
    /// as they are.
    ///
    /// ```
    /// use kiln_ir::packed::BlockFormat;
    /// use kiln_nn::variable::with_unfilled_parameters;
    /// use kiln_nn::{Dense, Key, Context, Layer, Tensor};
    ///
    /// let layer = with_unfilled_parameters(|| Dense::new(32, 2, Key::new(1)).without_bias());
    /// // Two rows for the two outputs: a scale of 1 in 16 bits, and 32 signed bytes.
    /// let blocks = [[0x00, 0x3c].as_slice(), &[1; 32], &[0x00, 0x3c], &[2; 32]].concat();
    /// layer.weight.set_packed(BlockFormat::Q8_0, blocks, &[1, 0])?;
    /// let y = layer.forward(&Tensor::ones([1, 32]), &Context::inference());
    /// assert_eq!(y.to_vec::<f32>()?, [32.0, 64.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where it has numbers, or the blocks don't fill its shape.
    pub fn set_packed(&self, format: BlockFormat, blocks: Vec<u8>, order: &[usize]) -> Result<()> {
        let storage = self.0.as_ref().map_err(Clone::clone)?;
        let fault = |message: String| Error::new(ErrorKind::Shape, "set_packed", message).nowhere();
        let mut axes = order.to_vec();
        axes.sort_unstable();
        let is_order = axes.iter().copied().eq(0..storage.shape.rank());
        let mut sizes: Vec<usize> =
            if is_order { order.iter().map(|&axis| storage.shape[axis]).collect() } else { Vec::new() };
        let bytes = sizes.last().and_then(|&last| format.row_bytes(last));
        let (Some(last), Some(bytes)) = (sizes.last_mut(), bytes) else {
            return Err(fault(format!(
                "rows of {} in the order {order:?} aren't whole blocks of {format}",
                storage.shape
            )));
        };
        *last = bytes;
        let variable = Variable::new("", Data::U8(blocks), sizes).map_err(|error| fault(error.message))?;
        let numbers = StoredNumbers { variable, order: order.to_vec(), packed: Some(format) };
        storage.stored.set(numbers).map_err(|_| fault("the parameter has numbers already".to_string()))
    }

    /// Whether both are the same parameter.
    pub fn is(&self, other: &Param) -> bool {
        match (&self.0, &other.0) {
            (Ok(a), Ok(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What tells it from all others that are there; nothing where its initial value is an error.
    pub(crate) fn address(&self) -> Option<usize> {
        self.0.as_ref().ok().map(|stored| Arc::as_ptr(stored).addr())
    }

    /// The adapter that is trained in its place, if it has one; see [`Module::adapt`](crate::Module::adapt).
    pub fn adapter(&self) -> Option<Adapter> {
        let stored = self.0.as_ref().ok()?;
        stored.adapter.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives it an adapter in the place of the one it has, or none.
    ///
    /// # Errors
    /// Where the adapter's matrices don't fit it.
    pub fn set_adapter(&self, adapter: Option<Adapter>) -> Result<()> {
        let stored = self.0.as_ref().map_err(Clone::clone)?;
        adapter.as_ref().map_or(Ok(()), |adapter| adapter.fits(self))?;
        *stored.adapter.write().unwrap_or_else(PoisonError::into_inner) = adapter;
        Ok(())
    }

    /// Whether training leaves it as it is; packed numbers always.
    pub fn is_frozen(&self) -> bool {
        self.packed().is_some() || self.0.as_ref().is_ok_and(|stored| stored.frozen.load(Ordering::Relaxed))
    }

    /// Keeps training from changing it, or lets it again. Takes effect in steps made afterwards.
    pub fn freeze(&self, frozen: bool) {
        if let Ok(stored) = &self.0 {
            stored.frozen.store(frozen, Ordering::Relaxed);
        }
    }
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (position, &axis) in order.iter().enumerate() {
        if let Some(slot) = inverse.get_mut(axis) {
            *slot = position;
        }
    }
    inverse
}
