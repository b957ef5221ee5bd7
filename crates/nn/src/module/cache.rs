//! Sequences that come in parts: what layers keep of the steps before, so that one more step costs one step.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_ir::{DType, Data, Element, Error, ErrorKind, Result, line};

use super::{CachedPass, Context};
use crate::function::Updates;
use crate::layers::Layer;
use crate::tensor::Tensor;
use crate::variable::Variable;

/// What layers keep of the steps of several sequences (keys and values of attention, states of recurrent layers, the ends of what
/// convolutions read), so that each goes on where it stopped: see [`Function::cached`](crate::Function::cached). A pass
/// over some steps and one over the next give the bits of one pass over all of them. Cloning shares.
#[derive(Clone, Debug)]
pub struct Cache(Arc<CacheState>);

#[derive(Debug)]
struct CacheState {
    rows: usize,
    capacity: usize,
    /// How many steps each sequence has: `i64[rows]`.
    lengths: Variable,
    /// Which sequences the next pass is of: `bool[rows]`.
    active: Variable,
    /// The same as it was last said: what isn't written needn't be computed with anew.
    said: Mutex<Vec<bool>>,
    /// What layers keep, in the order in which a pass comes to them; the first axis is the sequence.
    kept: Mutex<Vec<Variable>>,
    /// Whether a layer counts places.
    bounded: AtomicBool,
}

impl Cache {
    /// For so many sequences at once, in which attention sees up to so many steps.
    pub fn new(rows: usize, capacity: usize) -> Cache {
        Cache(Arc::new(CacheState {
            rows,
            capacity,
            lengths: Variable::zeros("lengths", [rows], DType::I64),
            active: Variable::filled("active", true, [rows]),
            said: Mutex::new(vec![true; rows]),
            kept: Mutex::default(),
            bounded: AtomicBool::new(false),
        }))
    }

    /// How many sequences there are.
    pub fn rows(&self) -> usize {
        self.0.rows
    }

    /// How many steps a sequence may have, of which layers know where they stand.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// Whether a layer of the passes by now counts places, so that no sequence may become longer than there is room for. Recurrent layers
    /// and convolutions don't.
    pub fn is_bounded(&self) -> bool {
        self.0.bounded.load(Ordering::Relaxed)
    }

    /// How many steps each sequence has by now.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn lengths(&self) -> Result<Vec<usize>> {
        let lengths = self.0.lengths.read()?;
        Ok(lengths
            .as_slice::<i64>()
            .unwrap_or_default()
            .iter()
            .map(|&length| length.max(0) as usize)
            .collect())
    }

    /// Which sequences the next passes are of; the others stay as they are, whatever stands in their rows. All, unless told otherwise.
    ///
    /// # Errors
    /// Where there are other numbers of sequences, or the device fails.
    pub fn activate(&self, active: &[bool]) -> Result<()> {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != active {
            self.0.active.write(&bool::wrap(active.to_vec()))?;
            *said = active.to_vec();
        }
        Ok(())
    }

    /// Sequence `i` goes on from where sequence `from[i]` is, or begins anew: one prompt that goes on in several ways, the beams of a
    /// search.
    ///
    /// ```
    /// use kiln_nn::Cache;
    ///
    /// let cache = Cache::new(2, 64);
    /// cache.reorder(&[Some(1), Some(1)])?; // both as the second was
    /// cache.reorder(&[None, None])?; // both empty
    /// assert_eq!(cache.lengths()?, [0, 0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a sequence doesn't exist, or the device fails.
    #[track_caller]
    pub fn reorder(&self, from: &[Option<usize>]) -> Result<()> {
        let rows = self.0.rows;
        if from.len() != rows || from.iter().flatten().any(|&row| row >= rows) {
            let message = format!("{from:?} isn't a sequence among {rows} for each of them");
            return Err(Error::new(ErrorKind::Value, "cache", message));
        }
        if from.iter().enumerate().all(|(row, &from)| from == Some(row)) {
            return Ok(());
        }
        for variable in self.0.kept().iter().chain([&self.0.lengths]) {
            let bytes = variable.read()?.to_le_bytes();
            let row = bytes.len() / rows.max(1);
            let mut moved = vec![0; bytes.len()];
            for (to, from) in from.iter().enumerate().filter_map(|(to, from)| Some((to, (*from)?))) {
                moved[to * row..(to + 1) * row].copy_from_slice(&bytes[from * row..(from + 1) * row]);
            }
            variable.write(&Data::from_le_bytes(variable.dtype(), &moved))?;
        }
        Ok(())
    }
}

impl Cache {
    /// What a model makes of the next steps of the sequences, and what is kept from then on.
    pub(crate) fn pass<M: Layer + ?Sized, const N: usize>(
        &self,
        model: &M,
        inputs: [Tensor; N],
        mut f: impl FnMut(&M, &Context, [Tensor; N]) -> Tensor,
    ) -> Result<(Vec<Tensor>, Updates)> {
        let shape = inputs.first().map(Tensor::shape).unwrap_or_default();
        if shape.rank() < 2 || shape[0] != self.rows() {
            return Err(refusal(format!("inputs should be [{} rows, steps, …], not {shape}", self.rows())));
        }
        // Layers without sizes are made by what first reaches them.
        let made = f(model, &Context::inference(), inputs.clone());
        made.error().map_or(Ok(()), Err)?;
        model.time_axis(TimeAxis { axis: 1, rank: shape.rank() })?;
        let context = Context { cache: Some(CachedPass::in_cache(self)), ..Context::inference() };
        let y = f(model, &context, inputs);
        let lengths = &self.0.lengths;
        let more = self.0.active.tensor().cast(DType::I64) * shape[1] as i64;
        context.update(lengths, lengths.tensor() + more);
        Ok((vec![y], context.take_updates()))
    }
}

impl Cache {
    /// The variable in which the layer that asks in this place keeps numbers of this shape behind the sequences, at first zeros.
    pub(super) fn kept(&self, place: usize, shape: &[usize], dtype: DType) -> Result<Variable> {
        let shape: Vec<usize> = std::iter::once(self.rows()).chain(shape.iter().copied()).collect();
        let mut kept = self.0.kept();
        match kept.get(place) {
            Some(variable) if *variable.shape().sizes() == shape[..] && variable.dtype() == dtype => {
                Ok(variable.clone())
            }
            Some(variable) => Err(refusal(format!(
                "a layer keeps {dtype}{shape:?} where one kept {}{}; a cache is for one model",
                variable.dtype(),
                variable.shape()
            ))),
            None => {
                kept.push(Variable::zeros("cache", shape, dtype));
                Ok(kept[place].clone())
            }
        }
    }

    /// From now on the sequences that the pass is of keep these numbers there.
    pub(super) fn keep(&self, context: &Context, variable: &Variable, renewed: &Tensor) {
        let mut sizes = vec![1; variable.shape().rank()];
        sizes[0] = -1;
        let active = self.0.active.tensor().reshape(sizes);
        context.update(variable, active.select(renewed, variable.tensor()));
    }

    /// All steps that the sequences have, `[rows, …, capacity + 1, width]`, with those of `x`, `[rows, …, steps, width]`, at these places
    /// `[rows, steps]`. What stands behind the places of `x` means nothing.
    pub(super) fn extended(
        &self,
        context: &Context,
        variable: &Variable,
        x: &Tensor,
        places: &Tensor,
    ) -> Tensor {
        let time = x.rank() - 2;
        // Sequences that this pass isn't of write where nobody reads.
        let spare = self.capacity() as i64;
        // What is one too many is out of range, which is an error of the run, and not in that place.
        let places = places + places.ge(spare).cast(DType::I64);
        let places = self.0.active.tensor().unsqueeze(1).select(places, spare);
        let mut sizes = vec![1; x.rank()];
        (sizes[0], sizes[time]) = (self.rows() as isize, x.size(time as isize) as isize);
        let places = places.reshape(sizes).broadcast_to(x.shape());
        let whole = variable.tensor().scatter(time as isize, &places, x);
        context.update(variable, whole.clone());
        whole
    }

    /// How many steps each sequence has before a pass, for a layer that counts places: `i64[rows]`.
    pub(super) fn counted(&self) -> Tensor {
        self.0.bounded.store(true, Ordering::Relaxed);
        self.0.lengths.tensor()
    }
}

impl CacheState {
    fn kept(&self) -> MutexGuard<'_, Vec<Variable>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where time lies among a tensor's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeAxis {
    /// The axis of the steps.
    pub axis: usize,
    /// How many axes there are.
    pub rank: usize,
}

impl TimeAxis {
    /// The same, where the last `count` axes aren't time, and the first isn't.
    pub(crate) fn before_last(self, count: usize) -> Option<TimeAxis> {
        (self.axis > 0 && self.axis + count < self.rank).then_some(self)
    }

    /// The same, where time is this axis of so many.
    pub(crate) fn at(self, axis: usize, rank: usize) -> Option<TimeAxis> {
        (self == TimeAxis { axis, rank }).then_some(self)
    }
}

/// That a sequence can't come in parts.
#[track_caller]
pub(crate) fn refusal(message: String) -> Error {
    Error::new(ErrorKind::Value, "cache", message)
}

/// That a layer may look at steps that come later.
#[track_caller]
pub(crate) fn looks_ahead(layer: &str) -> Error {
    let message = format!("{layer} may look at steps that come later, and can't go on step by step");
    line::on_behalf_of(line::of(Location::caller()), || refusal(message))
}
