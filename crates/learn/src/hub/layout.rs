//! How tensors lie in a hub's files: the tables of [`names`](super::names) applied, for reading and for writing.

use kiln_nn::{DType, Data, Module, Param, Tensor};

use super::names::Arrangement::{self, Same, Third, Transposed};
use super::names::Naming;
use crate::store::{HostTensor, TensorFile};
use crate::weights::{StoredTensor, Weights};
use crate::{Error, Result};

/// Puts a file's tensors into a model.
pub(super) fn load(model: &impl Module, kind: Naming, weights: &Weights) -> Result<()> {
    let mut faults = Vec::new();
    let mut found: Vec<(Param, StoredTensor, Arrangement)> = Vec::new();
    for (path, parameter) in model.parameters() {
        let Some((name, form)) = kind.name(&path) else {
            faults.push(format!("{path} has no name there"));
            continue;
        };
        let Some(weight) = kind.written(&name).into_iter().find_map(|name| weights.get(&name)) else {
            faults.push(format!("{name} is missing"));
            continue;
        };
        match weight.shape() == shape_there(form, &parameter) {
            true => found.push((parameter, weight, form)),
            false => faults.push(format!(
                "{name} is {:?}, which doesn't fit {path} {}",
                weight.shape(),
                parameter.shape()
            )),
        }
    }
    if !faults.is_empty() {
        let shown = faults.iter().take(MOST_SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = faults.len().saturating_sub(MOST_SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(Error::format(
            weights.path(),
            format!("its tensors aren't those that {} speaks of: {shown}{more}", super::CONFIG),
        ));
    }
    // Everything fits before anything is set; each is read when its turn comes, so that no second copy of all is held.
    found
        .into_iter()
        .try_for_each(|(parameter, weight, form)| Ok(parameter.set(&tensor(&weight, form, &parameter)?)?))
}

/// So many faults are said at once.
const MOST_SHOWN: usize = 8;

/// The shape that a parameter's tensor has in a file.
fn shape_there(form: Arrangement, parameter: &Param) -> Vec<usize> {
    let own = parameter.shape().to_vec();
    match (form, own.as_slice()) {
        (Transposed, &[inputs, outputs]) => vec![outputs, inputs],
        (Third(_), [first @ .., last]) => [first, &[3 * last]].concat(),
        (Same | Transposed | Third(_), _) => own,
    }
}

/// A file's tensor, whose shape fits, as a parameter has it.
fn tensor(weight: &StoredTensor, form: Arrangement, parameter: &Param) -> Result<Tensor> {
    let whole = Tensor::from_data(weight.data()?.cast(parameter.dtype()), weight.shape());
    let last = parameter.shape().last().copied().unwrap_or(1);
    Ok(match form {
        Same => whole,
        Transposed => turned(&whole),
        Third(part) => whole.narrow(-1, (part * last) as isize, last),
    })
}

/// Inputs and outputs of a matrix changed over; of a bias nothing.
fn turned(tensor: &Tensor) -> Tensor {
    if tensor.rank() == 2 { tensor.t() } else { tensor.clone() }
}

/// A model's parameters as its files hold them.
pub(super) fn store(model: &impl Module, kind: Naming) -> Result<TensorFile> {
    let mut store = TensorFile::default();
    let mut thirds: Vec<(String, Tensor)> = Vec::new();
    let mut put = |name: String, tensor: &Tensor| -> Result<()> {
        let data: Data = tensor.to_data()?;
        store.tensors.insert(name, HostTensor { shape: tensor.shape().to_vec(), data });
        Ok(())
    };
    for (path, parameter) in model.parameters() {
        let unnamed = || Error::Training(format!("{path} has no name in a hub's files"));
        let (name, form) = kind.name(&path).ok_or_else(unnamed)?;
        let own = parameter.tensor();
        match form {
            Same => put(name, &own)?,
            Transposed => put(name, &turned(&own))?,
            // Queries, keys and values come in this order.
            Third(_) => thirds.push((name, own)),
        }
    }
    thirds.sort_by(|a, b| a.0.cmp(&b.0));
    for three in thirds.chunks(3) {
        let parts: Vec<&Tensor> = three.iter().map(|(_, part)| part).collect();
        put(three[0].0.clone(), &Tensor::concat(&parts, -1))?;
    }
    debug_assert!(store.tensors.values().all(|tensor| tensor.data.dtype() == DType::F32));
    Ok(store)
}
