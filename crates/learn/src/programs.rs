//! A model's programs: compiled once for a few sizes of batch, run by any number of threads.

use kiln_map::counted;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use kiln_data::{Batch, Dataset, Form, each_values};
use kiln_nn::{Compiled, Context, DType, Element, ErrorKind, Function, Input, Layer};

use crate::inputs::{each_batch, meant, stored_dtype};
use crate::predictions::Predictions;
use crate::{Error, Result};

/// The sizes of batch that programs are compiled for: rows that are more are split, and the last few filled up.
pub const BATCHES: [usize; 4] = [1, 8, 64, 256];

/// As many sequences of differing lengths go together, where their order is to stay.
const MOST_TOGETHER: usize = 8;

/// The programs of layers, by the form of the rows they take.
pub(crate) struct Programs {
    sizes: Vec<usize>,
    /// Nearly always one: a set may hold the numbers of a model's rows in another type.
    forms: RwLock<Vec<Arc<OfForm>>>,
}

/// The programs for rows of one form.
struct OfForm {
    form: Form,
    /// In the order of the sizes.
    programs: Vec<OnceLock<Compiled>>,
    /// One is compiled at a time; those that are there already run meanwhile.
    compiling: Mutex<()>,
}

impl Default for Programs {
    fn default() -> Programs {
        Programs::new(&BATCHES)
    }
}

impl Programs {
    /// For batches of these sizes.
    pub(crate) fn new(sizes: &[usize]) -> Programs {
        let mut sizes: Vec<usize> = sizes.iter().copied().filter(|size| *size > 0).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.is_empty() {
            sizes.push(1);
        }
        Programs { sizes, forms: RwLock::default() }
    }

    /// Forgets them: the layers' numbers have moved to another device.
    pub(crate) fn clear(&self) {
        self.forms.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many have been compiled.
    pub(crate) fn compiled(&self) -> usize {
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        forms.iter().flat_map(|form| &form.programs).filter(|program| program.get().is_some()).count()
    }

    /// Compiles all of them for rows of a form.
    pub(crate) fn warm_up(&self, layers: &impl Layer, form: &Form) -> Result<()> {
        let of_form = self.of(form);
        (0..self.sizes.len()).try_for_each(|at| self.program(&of_form, layers, at).map(drop))
    }

    /// What layers give for the rows of a set.
    pub(crate) fn predict(&self, layers: &impl Layer, set: &dyn Dataset) -> Result<Predictions> {
        let mut all = Vec::new();
        self.each(layers, set, |_, outputs| {
            all.extend_from_slice(outputs);
            Ok(())
        })?;
        Ok(Predictions::new(all, set.len()))
    }

    /// Shows each batch of a set and what layers give for its rows; no more than a batch of them is held.
    pub(crate) fn each(
        &self,
        layers: &impl Layer,
        set: &dyn Dataset,
        mut see: impl FnMut(&Batch, &[f32]) -> Result<()>,
    ) -> Result<()> {
        // Of many sequences in turn one is nearly always long, and the others would be filled up to it.
        let few = |size: &&usize| !set.has_lengths() || **size <= MOST_TOGETHER;
        let most = self.sizes.iter().rev().find(few).or(self.sizes.first()).copied().unwrap_or(1);
        let form = set.x();
        let mut outputs = Vec::new();
        let mut run = |batch: &Batch| {
            outputs.clear();
            // Sequences come as long as the longest of a batch needs.
            let form = Form { shape: batch.x_shape()[1..].to_vec(), ..form.clone() };
            each_values!(&batch.x, values => self.run(layers, &form, values, batch.rows(), &mut outputs))?;
            see(batch, &outputs)
        };
        match set.len() {
            0 => Ok(()),
            // What goes in one batch needs nobody who prepares the next.
            rows if rows <= most => run(&set.gather(&(0..rows).collect::<Vec<_>>())?),
            _ => each_batch(set, most, run),
        }
    }

    /// Adds what layers give for rows, one after the other.
    pub(crate) fn run<T: Element>(
        &self,
        layers: &impl Layer,
        form: &Form,
        values: &[T],
        rows: usize,
        outputs: &mut Vec<f32>,
    ) -> Result<()> {
        let before = outputs.len();
        match self.try_run(layers, form, values, rows, outputs) {
            // Whoever holds the layers may have moved them since a program was compiled.
            Err(Error::Compute(error)) if error.kind == ErrorKind::Device => {
                self.clear();
                outputs.truncate(before);
                self.try_run(layers, form, values, rows, outputs)
            }
            other => other,
        }
    }

    fn try_run<T: Element>(
        &self,
        layers: &impl Layer,
        form: &Form,
        values: &[T],
        rows: usize,
        outputs: &mut Vec<f32>,
    ) -> Result<()> {
        let width = form.width();
        if values.len() != rows * width {
            return Err(Error::Training(format!(
                "{} of {:?} have {}, and {} came in",
                counted(rows, "row"),
                form.shape,
                counted(rows * width, "number"),
                values.len()
            )));
        }
        let of_form = self.of(form);
        let mut filled = Vec::new();
        let mut first = 0;
        while first < rows {
            let (at, count) = self.next(rows - first);
            let size = self.sizes[at];
            let program = self.program(&of_form, layers, at)?;
            let mut given = &values[first * width..(first + count) * width];
            if count < size {
                // Copies of the last row, for which nothing can go wrong that doesn't for itself.
                filled.clear();
                filled.extend_from_slice(given);
                let last = &given[(count - 1) * width..];
                (count..size).for_each(|_| filled.extend_from_slice(last));
                given = &filled;
            }
            let (shape, _) = &program.inputs()[0];
            let out = program.run(&[Input::new(given, shape.sizes())])?;
            let out = out.first().and_then(|out| out.as_slice::<f32>()).unwrap_or_default();
            outputs.extend_from_slice(&out[..out.len() / size * count]);
            first += count;
        }
        Ok(())
    }

    /// Which size the next of so many rows go by, and how many of them: as many as fill a size, or all of them where they fill more
    /// than half of one.
    fn next(&self, rows: usize) -> (usize, usize) {
        let above = self.sizes.iter().position(|size| *size >= rows);
        match above {
            Some(at) if 2 * rows > self.sizes[at] || at == 0 => (at, rows),
            above => {
                let at = above.unwrap_or(self.sizes.len()).saturating_sub(1);
                (at, self.sizes[at])
            }
        }
    }

    fn of(&self, form: &Form) -> Arc<OfForm> {
        let known = |forms: &Vec<Arc<OfForm>>| forms.iter().find(|known| known.form == *form).cloned();
        if let Some(known) = known(&self.forms.read().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        known(&forms).unwrap_or_else(|| {
            let programs = self.sizes.iter().map(|_| OnceLock::new()).collect();
            let of_form = Arc::new(OfForm { form: form.clone(), programs, compiling: Mutex::default() });
            forms.push(of_form.clone());
            of_form
        })
    }

    fn program<'p>(&self, of_form: &'p OfForm, layers: &impl Layer, at: usize) -> Result<&'p Compiled> {
        let place = &of_form.programs[at];
        if let Some(program) = place.get() {
            return Ok(program);
        }
        let _one = of_form.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = place.get() {
            return Ok(program);
        }
        let program = compile(layers, &of_form.form, self.sizes[at])?;
        Ok(place.get_or_init(|| program))
    }
}

/// What layers give for rows of a form.
pub(crate) fn inference<'l>(layers: &'l (impl Layer + ?Sized), form: &Form) -> Function<'l, 1> {
    let own = form.clone();
    Function::inference(layers, move |layers, cx: &Context, [x]| {
        layers.forward(&meant(&x, &own), cx).cast(DType::F32)
    })
}

/// Layers as a program for so many rows at once.
fn compile(layers: &impl Layer, form: &Form, rows: usize) -> Result<Compiled> {
    let mut function = inference(layers, form);
    let shape: Vec<usize> = std::iter::once(rows).chain(form.shape.iter().copied()).collect();
    Ok(function.compile(&[(shape.as_slice().into(), stored_dtype(form))])?)
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs").field("sizes", &self.sizes).field("compiled", &self.compiled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_by_sizes_and_few_are_filled_up() {
        let programs = Programs::default();
        let split = |mut rows: usize| {
            let mut parts = Vec::new();
            while rows > 0 {
                let (at, count) = programs.next(rows);
                parts.push((BATCHES[at], count));
                rows -= count;
            }
            parts
        };
        assert_eq!(split(1), [(1, 1)]);
        assert_eq!(split(2), [(1, 1), (1, 1)]);
        assert_eq!(split(5), [(8, 5)]);
        assert_eq!(split(100), [(64, 64), (64, 36)]);
        assert_eq!(split(130), [(256, 130)]);
        assert_eq!(split(600), [(256, 256), (256, 256), (64, 64), (8, 8), (8, 8), (8, 8)]);
        for rows in 0..2000 {
            assert_eq!(split(rows).iter().map(|(_, count)| count).sum::<usize>(), rows);
        }
        let odd = Programs::new(&[0, 16, 16]);
        assert_eq!((odd.next(3), odd.next(40)), ((0, 3), (0, 16)));
    }
}
