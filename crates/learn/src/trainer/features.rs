//! What the frozen front of a model makes of the rows of a set, computed once rather than in every epoch.

use kiln_data::{Batch, Dataset, Form, Set};
use kiln_map::counted;
use kiln_nn::{Function, Layer, Rest};

use crate::inputs::{self, all, each_batch, meant};
use crate::{Error, Result};

/// Rows that go through the front at a time.
const ROWS: usize = 64;

/// The rest of a model behind its frozen front, if what the front makes of a set's rows can be kept: nothing where nothing in front is frozen, rows
/// come otherwise in each epoch, are sequences of differing lengths, or what is frozen looks at more than one row.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::trainer::{features, rest_behind};
///
/// let set = data::moons(200, 0.1, 1);
/// let model: Sequential = "dense 32, relu, dense 2".parse()?;
/// Trainer::new(&model, CrossEntropy::new(), Adam::new(0.01)).epochs(5).quiet().fit(&set)?;
///
/// // Another last layer would be trained on features that were computed once.
/// model.freeze("0.*")?;
/// let rest = rest_behind(&model, &set)?.expect("the first layer is frozen");
/// let kept = features(&rest, &set, &mut |_| true)?;
/// assert_eq!(kept.x().shape, [32]);
/// Trainer::new(&rest, CrossEntropy::new(), Adam::new(0.01)).epochs(5).quiet().fit(&kept)?;
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where the set doesn't fit the model, or a row can't be read.
pub fn rest_behind<'m, L: Layer + ?Sized>(model: &'m L, set: &dyn Dataset) -> Result<Option<Rest<'m, L>>> {
    let has_frozen = model.parameters().iter().any(|(_, param)| param.is_frozen());
    if !has_frozen || set.is_empty() || set.is_varied() || set.has_lengths() {
        return Ok(None);
    }
    let form = set.x();
    let Some(rest) = Rest::of(model, form.shape.as_slice(), inputs::dtype(&form))? else { return Ok(None) };
    // Rows that lie far from each other, together and alone: a norm over the batch would tell them.
    let last = set.len() - 1;
    let mut rows = vec![0, last / 3, last - last / 3, last];
    rows.dedup();
    let is_same = {
        let mut front = front(&rest, &form);
        let mut of = |rows: &[usize]| -> Result<Vec<u32>> {
            let batch = set.gather(rows)?;
            let out = front.run(all(&batch).get(..1).unwrap_or_default())?;
            let numbers = out.first().and_then(|out| out.as_slice::<f32>()).unwrap_or_default();
            Ok(numbers.iter().map(|number| number.to_bits()).collect())
        };
        let together = of(&rows)?;
        let alone = rows.iter().map(|row| of(&[*row])).collect::<Result<Vec<_>>>()?;
        alone.concat() == together
    };
    Ok(is_same.then_some(rest))
}

fn front<'r, L: Layer + ?Sized>(rest: &'r Rest<'_, L>, form: &Form) -> Function<'r> {
    let form = form.clone();
    Function::many(move |inputs| match inputs.first() {
        Some(x) => vec![rest.features(&meant(x, &form))],
        None => Vec::new(),
    })
}

/// The rows of a set as their features, with the targets and weights that they have. `goes_on` hears how many rows are done, and says whether to go on.
///
/// # Errors
/// Where a row can't be read, a device fails, or it was told to stop.
pub fn features<L: Layer + ?Sized>(
    rest: &Rest<L>,
    set: &dyn Dataset,
    goes_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Set> {
    let (form, blank) = (set.x(), Batch::of(set));
    let mut front = front(rest, &form);
    let mut x: Vec<f32> = Vec::with_capacity(set.len() * rest.width());
    let (mut y, mut further, mut weights) = (blank.y, blank.further, Vec::new());
    let mut done = 0;
    each_batch(set, ROWS, |batch| {
        let out = front.run(all(batch).get(..1).unwrap_or_default())?;
        x.extend_from_slice(out.first().and_then(|out| out.as_slice::<f32>()).unwrap_or_default());
        y.extend_from(&batch.y, 0, batch.y.len());
        further.iter_mut().zip(&batch.further).for_each(|(all, some)| all.extend_from(some, 0, some.len()));
        weights.extend_from_slice(&batch.weights);
        done += batch.rows();
        match goes_on(done) {
            true => Ok(()),
            false => Err(Error::Training(format!("stopped after the features of {}", counted(done, "row")))),
        }
    })?;
    let mut kept = Set::new(x, Form::numbers(&[rest.width()]), y, set.y())?;
    for ((name, form), values) in set.further().into_iter().zip(further) {
        kept = kept.with(&name, values, form)?;
    }
    if set.is_weighted() {
        kept = kept.weighted(weights)?;
    }
    if !set.names().is_empty() {
        kept = kept.named(set.names().iter().cloned());
    }
    Ok(kept)
}
