//! A module's weights and running statistics by name.

use kiln_nn::{Data, Module, Param, Result as ComputeResult, Tensor};

use super::{HostTensor, TensorFile};
use crate::{Error, Result};

/// All of a model's weights and running statistics, packed ones as their numbers.
pub(crate) fn put_all_weights<M: Module + ?Sized>(store: &mut TensorFile, model: &M) -> ComputeResult<()> {
    put(store, "", model, model.parameters())
}

/// A model's weights and running statistics under a prefix, as far as they can change: packed ones stay what they are.
pub(crate) fn put_weights<M: Module + ?Sized>(
    store: &mut TensorFile,
    prefix: &str,
    model: &M,
) -> ComputeResult<()> {
    let mut parameters = model.parameters();
    parameters.retain(|(_, param)| param.packed().is_none());
    put(store, prefix, model, parameters)
}

fn put<M: Module + ?Sized>(
    store: &mut TensorFile,
    prefix: &str,
    model: &M,
    parameters: Vec<(String, Param)>,
) -> ComputeResult<()> {
    let mut put = |path: String, shape: Vec<usize>, data: Data| {
        match store.tensors.insert(format!("{prefix}{path}"), HostTensor { shape, data }) {
            None => Ok(()),
            // One of them would be lost.
            Some(_) => {
                let message = format!("two of the model's tensors are called {path}");
                Err(kiln_nn::Error::new(kiln_nn::ErrorKind::Value, "save", message).nowhere())
            }
        }
    };
    for (path, param) in parameters {
        put(path, param.shape().sizes().to_vec(), param.value()?)?;
    }
    for (path, state) in model.states() {
        put(path, state.shape().sizes().to_vec(), state.read()?)?;
    }
    Ok(())
}

/// Gives a model the weights and running statistics under a prefix. All that can change must be there, and no others.
pub(crate) fn set_weights(store: &TensorFile, prefix: &str, model: &dyn Module) -> Result<()> {
    let (mut parameters, states) = (model.parameters(), model.states());
    parameters.retain(|(_, param)| param.packed().is_none());
    let own: Vec<&String> =
        parameters.iter().map(|(path, _)| path).chain(states.iter().map(|(path, _)| path)).collect();
    let missing: Vec<&str> = own
        .iter()
        .filter(|path| !store.tensors.contains_key(&format!("{prefix}{path}")))
        .map(|path| path.as_str())
        .collect();
    let unexpected: Vec<&str> =
        store.under(prefix).map(|(path, _)| path).filter(|path| own.iter().all(|own| own != path)).collect();
    if !missing.is_empty() || !unexpected.is_empty() {
        let list = |what: &str, names: &[&str]| match names.is_empty() {
            true => String::new(),
            false => format!("; {what}: {}", names.join(", ")),
        };
        return Err(Error::Training(format!(
            "the saved weights are of another model{}{}",
            list("it lacks", &missing),
            list("it has besides", &unexpected)
        )));
    }
    let sizes = parameters.iter().map(|(path, param)| (path, param.shape()));
    for (path, shape) in sizes.chain(states.iter().map(|(path, state)| (path, state.shape().clone()))) {
        if let Some(stored) = store.tensors.get(&format!("{prefix}{path}"))
            && stored.shape != shape.sizes()
        {
            let saved = &stored.shape;
            let message = format!("the saved {path} is {saved:?}, and the model's is {:?}", shape.sizes());
            return Err(Error::Training(message));
        }
    }
    for (path, param) in &parameters {
        let Some(stored) = store.tensors.get(&format!("{prefix}{path}")) else { continue };
        param.set(&Tensor::from_data(stored.data.clone(), stored.shape.as_slice()))?;
    }
    for (path, state) in &states {
        let Some(stored) = store.tensors.get(&format!("{prefix}{path}")) else { continue };
        state.write(&stored.data)?;
    }
    Ok(())
}
