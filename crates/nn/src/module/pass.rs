//! One pass that goes on with sequences: what layers ask it for. What they keep lies in a [`Cache`], or comes in and goes out as tensors, as a
//! file has it that others run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_ir::{DType, Result};

use super::{Cache, Context, TimeAxis, refusal};
use crate::layers::Layer;
use crate::tensor::Tensor;
use crate::variable::Variable;

/// What a layer keeps of the steps before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptKind {
    /// The keys of attention.
    Key,
    /// The values of attention.
    Value,
    /// The state of a recurrent layer that is also what it gives.
    Hidden,
    /// The state of an LSTM that only it sees.
    Cell,
    /// The last steps that a convolution reads again.
    Window,
}

/// One thing that is kept: for keys and values `[heads, width]` of each step, else the shape that a sequence's has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPart {
    /// What it is.
    pub kind: KeptKind,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: DType,
}

impl KeptPart {
    /// Whether it is the longer, the more steps there were: `[rows, heads, steps, width]`.
    pub fn grows(&self) -> bool {
        matches!(self.kind, KeptKind::Key | KeptKind::Value)
    }
}

/// What is there before a pass.
#[derive(Clone, Debug)]
pub struct PastSteps {
    /// What layers keep, in the order in which a pass comes to them.
    pub kept: Vec<Tensor>,
    /// How many steps each sequence has: `i64[rows]`.
    pub lengths: Tensor,
}

/// The next steps of sequences, with what layers keep as tensors.
#[derive(Clone, Debug)]
pub struct NextSteps {
    /// What the model gives.
    pub y: Tensor,
    /// Where its steps are.
    pub time: TimeAxis,
    /// What layers keep from now on, in the order in which the pass came to them.
    pub kept: Vec<(KeptPart, Tensor)>,
    /// Whether a layer counts places, so that the lengths matter.
    pub counts_places: bool,
}

impl NextSteps {
    /// A model's pass over `x`, `[rows, steps, …]`, where attention sees up to `capacity` steps; without a past these are the first.
    /// [`Function::cached`](crate::Function::cached) does the same and keeps all of it itself.
    ///
    /// ```
    /// use kiln_nn::module::{NextSteps, PastSteps};
    /// use kiln_nn::{Sequential, Tensor};
    ///
    /// let model: Sequential = "embedding 50 16, positions 32, transformer 2 causal, dense 50".parse()?;
    /// let first = NextSteps::of(&model, &Tensor::from([[3, 1, 4]]), 32, None)?;
    /// let kept = first.kept.into_iter().map(|(_, kept)| kept).collect();
    /// let past = PastSteps { kept, lengths: Tensor::from([3]) };
    /// let then = NextSteps::of(&model, &Tensor::from([[1]]), 32, Some(past))?;
    /// assert_eq!(then.kept[0].1.shape().sizes(), [1, 2, 4, 8]); // the keys of four steps
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a layer may look at later steps, or the past isn't this model's.
    pub fn of<M: Layer + ?Sized>(
        model: &M,
        x: &Tensor,
        capacity: usize,
        past: Option<PastSteps>,
    ) -> Result<NextSteps> {
        let shape = x.sound()?.shape();
        if shape.rank() < 2 {
            return Err(refusal(format!("inputs should be [rows, steps, …], not {shape}")));
        }
        // Layers without sizes are made by what first reaches them, which is no longer than what they see.
        let first = x.narrow(1, 0, shape[1].min(capacity));
        let made = model.forward(&first, &Context::inference());
        made.error().map_or(Ok(()), Err)?;
        let time = model.time_axis(TimeAxis { axis: 1, rank: shape.rank() })?;
        let lent = LentPast {
            rows: shape[0],
            capacity,
            past,
            next: Mutex::default(),
            counts: AtomicBool::new(false),
        };
        let pass = CachedPass { place: AtomicUsize::new(0), keeper: Keeper::Lent(lent) };
        let context = Context { cache: Some(pass), ..Context::inference() };
        let y = model.forward(x, &context);
        y.error().map_or(Ok(()), Err)?;
        let Some(CachedPass { keeper: Keeper::Lent(lent), .. }) = context.cache else {
            return Err(refusal("the pass kept nothing".to_string()));
        };
        let kept = lent.next.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(NextSteps { y, time, kept, counts_places: lent.counts.into_inner() })
    }
}

/// One pass that goes on with sequences.
#[derive(Debug)]
pub(crate) struct CachedPass {
    /// How many layers have asked for what they keep.
    place: AtomicUsize,
    keeper: Keeper,
}

/// Where what layers keep lies.
#[derive(Debug)]
enum Keeper {
    Cache(Cache),
    Lent(LentPast),
}

/// What layers keep as tensors that somebody else keeps.
#[derive(Debug)]
struct LentPast {
    rows: usize,
    capacity: usize,
    past: Option<PastSteps>,
    /// What is kept from then on, by the place of who asked.
    next: Mutex<Vec<(KeptPart, Tensor)>>,
    counts: AtomicBool,
}

impl LentPast {
    fn next(&self) -> MutexGuard<'_, Vec<(KeptPart, Tensor)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there in this place, if there is a past.
    fn past(&self, place: usize) -> Result<Option<&Tensor>> {
        let missing = || {
            refusal(format!("nothing is there for layer {place} that keeps steps; a past is of one model"))
        };
        self.past.as_ref().map(|past| past.kept.get(place).ok_or_else(missing)).transpose()
    }
}

/// What a layer found of the steps before.
#[derive(Debug)]
pub(crate) enum Kept {
    Variable(Variable),
    Lent(usize, Tensor),
}

impl Kept {
    pub(crate) fn tensor(&self) -> Tensor {
        match self {
            Kept::Variable(variable) => variable.tensor(),
            Kept::Lent(_, tensor) => tensor.clone(),
        }
    }
}

impl CachedPass {
    pub(super) fn in_cache(cache: &Cache) -> CachedPass {
        CachedPass { place: AtomicUsize::new(0), keeper: Keeper::Cache(cache.clone()) }
    }

    /// What the layer that asks has kept, of this shape behind the sequences, at first zeros.
    pub(crate) fn kept(&self, kind: KeptKind, shape: &[usize], dtype: DType) -> Result<Kept> {
        let place = self.place.fetch_add(1, Ordering::Relaxed);
        match &self.keeper {
            Keeper::Cache(cache) => cache.kept(place, shape, dtype).map(Kept::Variable),
            Keeper::Lent(lent) => {
                let past = match lent.past(place)? {
                    Some(past) => past.clone(),
                    None => Tensor::zeros([&[lent.rows], shape].concat()).cast(dtype),
                };
                // Until the layer says what is kept from now on, it is this.
                lent.next().push((KeptPart { kind, shape: shape.to_vec(), dtype }, past.clone()));
                Ok(Kept::Lent(place, past))
            }
        }
    }

    /// From now on the sequences that the pass is of keep these numbers there.
    pub(crate) fn keep(&self, context: &Context, kept: &Kept, renewed: &Tensor) {
        match (&self.keeper, kept) {
            (Keeper::Cache(cache), Kept::Variable(variable)) => cache.keep(context, variable, renewed),
            (Keeper::Lent(lent), Kept::Lent(place, _)) => {
                if let Some((_, next)) = lent.next().get_mut(*place) {
                    *next = renewed.clone();
                }
            }
            (Keeper::Cache(_), Kept::Lent(..)) | (Keeper::Lent(_), Kept::Variable(_)) => {}
        }
    }

    /// All steps that the sequences have, `[rows, heads, steps, width]`, with those of `x` at their places. What stands behind the places of
    /// `x` means nothing.
    pub(crate) fn extended(&self, context: &Context, kind: KeptKind, x: &Tensor) -> Result<Tensor> {
        let (shape, dtype) = (x.sound()?.shape().to_vec(), x.dtype());
        let time = shape.len() - 2;
        match &self.keeper {
            Keeper::Cache(cache) => {
                let place = self.place.fetch_add(1, Ordering::Relaxed);
                let mut whole = shape[1..].to_vec();
                whole[time - 1] = cache.capacity() + 1;
                let variable = cache.kept(place, &whole, dtype)?;
                Ok(cache.extended(context, &variable, x, &self.positions(shape[time])))
            }
            Keeper::Lent(lent) => {
                let place = self.place.fetch_add(1, Ordering::Relaxed);
                let whole = match lent.past(place)? {
                    Some(past) => Tensor::concat(&[past, x], time as isize),
                    None => x.clone(),
                };
                let row = [&shape[1..time], &shape[time + 1..]].concat();
                lent.next().push((KeptPart { kind, shape: row, dtype }, whole.clone()));
                Ok(whole)
            }
        }
    }

    /// How many steps each sequence has before this pass, which is the place of its first step: `i64[rows]`.
    pub(crate) fn lengths(&self) -> Tensor {
        match &self.keeper {
            Keeper::Cache(cache) => cache.counted(),
            Keeper::Lent(lent) => {
                lent.counts.store(true, Ordering::Relaxed);
                match &lent.past {
                    Some(past) => past.lengths.clone(),
                    None => Tensor::zeros([lent.rows]).cast(DType::I64),
                }
            }
        }
    }

    /// The places of the next `steps` in their sequences: `i64[rows, steps]`.
    pub(crate) fn positions(&self, steps: usize) -> Tensor {
        let rows = match &self.keeper {
            Keeper::Cache(cache) => cache.rows(),
            Keeper::Lent(lent) => lent.rows,
        };
        Tensor::index_along([rows, steps], 1) + self.lengths().unsqueeze(1)
    }

    /// How many steps a sequence may have.
    pub(crate) fn capacity(&self) -> usize {
        match &self.keeper {
            Keeper::Cache(cache) => cache.capacity(),
            Keeper::Lent(lent) => lent.capacity,
        }
    }
}
