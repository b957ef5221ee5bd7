//! Low-rank adapters in a file of their own, which is small beside that of the model they are for.

use std::path::Path;

use kiln_nn::{Adapter, Module, Param, Tensor};
use serde_json::{Map, Value};

use super::{StoredTensor, Weights, write};
use crate::store::{HostTensor, TensorFile};
use crate::{Error, Result};

/// What the file's description holds each adapter's scale under.
const SCALES: &str = "adapters";

/// Writes a model's low-rank adapters alone; see [`Module::adapt`].
///
/// ```
/// use kiln::prelude::*;
/// use kiln::weights;
///
/// let [first, second] = Key::new(1).split();
/// let model = Dense::new(30, 20, first);
/// model.adapt("weight", 2, 4.0, second)?;
/// let path = std::env::temp_dir().join("kiln-adapters-example.safetensors");
/// weights::save_adapters(&model, &path)?;
///
/// // Onto the same model without them.
/// let again = Dense::new(30, 20, Key::new(3));
/// assert_eq!(weights::load_adapters(&again, &path)?, 1);
/// let a = |model: &Dense| model.weight.adapter().unwrap().a.value();
/// assert_eq!(a(&again)?, a(&model)?);
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where the model has none, the name doesn't end in `.safetensors`, or the system refuses.
pub fn save_adapters<M: Module + ?Sized>(model: &M, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(Error::format(
            path,
            "adapters are kept in .safetensors, which has room for their scales",
        ));
    }
    let (mut store, mut scales) = (TensorFile::default(), Map::new());
    for (own, param) in model.parameters() {
        let Some(Adapter { a, b, scale }) = param.adapter() else { continue };
        for (name, part) in NAMES.into_iter().zip([a, b]) {
            let tensor = HostTensor { shape: part.shape().to_vec(), data: part.value()? };
            store.tensors.insert(format!("{own}.{name}"), tensor);
        }
        scales.insert(own, scale.into());
    }
    if scales.is_empty() {
        return Err(Error::format(path, "the model has no adapters; Module::adapt makes them"));
    }
    store.about.insert(SCALES.to_string(), Value::Object(scales));
    write(&store, path)
}

/// The names of an adapter's two matrices behind that of their matrix.
const NAMES: [&str; 2] = ["lora_a", "lora_b"];

/// Gives a model the adapters of a file that [`save_adapters`] wrote, and freezes its own matrices that they are for. Says how many there are.
///
/// # Errors
/// Where the file holds none, or one doesn't fit the model, which is then as it was.
pub fn load_adapters<M: Module + ?Sized>(model: &M, path: impl AsRef<Path>) -> Result<usize> {
    let path = path.as_ref();
    let fault = |message: String| Error::format(path, message);
    let weights = Weights::open(path)?;
    let about = weights.notes().iter().find(|(name, _)| name == "kiln").map(|(_, text)| text.as_str());
    let about: Option<Value> = about.and_then(|text| serde_json::from_str(text).ok());
    let scales = about.as_ref().and_then(|about| about[SCALES].as_object());
    let scales =
        scales.ok_or_else(|| fault("the file holds no adapters; save_adapters writes them".to_string()))?;
    let parameters = model.parameters();
    let mut ready: Vec<(&Param, Adapter)> = Vec::new();
    for (own, scale) in scales {
        let param = parameters.iter().find(|(known, _)| known == own);
        let (_, param) =
            param.ok_or_else(|| fault(format!("an adapter is for {own}, which the model hasn't")))?;
        let part = |name: &str| -> Result<Param> {
            let name = format!("{own}.{name}");
            let stored = weights.get(&name).ok_or_else(|| fault(format!("{name} is missing")))?;
            tensor(&stored, param)
        };
        let scale = scale.as_f64().filter(|scale| scale.is_finite());
        let scale = scale.ok_or_else(|| fault(format!("the scale of {own} isn't a number")))?;
        let adapter = Adapter { a: part(NAMES[0])?, b: part(NAMES[1])?, scale };
        adapter.fits(param).map_err(|error| fault(format!("{own}: {}", error.message)))?;
        ready.push((param, adapter));
    }
    for (param, adapter) in &ready {
        param.set_adapter(Some(adapter.clone()))?;
        Param::freeze(param, true);
    }
    Ok(ready.len())
}

/// A matrix of a file as a parameter of the same type as the one that it is for.
fn tensor(stored: &StoredTensor, of: &Param) -> Result<Param> {
    let data = stored.data()?.cast(of.tensor().dtype());
    Ok(Param::new(&Tensor::from_data(data, stored.shape())))
}

#[cfg(test)]
mod tests {
    use kiln_nn::{Context, Dense, Key, Layer};

    use super::*;

    #[test]
    fn adapters_come_back_onto_the_same_model_alone_and_onto_no_other() {
        let folder = std::env::temp_dir().join(format!("kiln-adapters-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("adapters.safetensors");
        let layer = |outputs: usize| Dense::new(6, outputs, Key::new(1));
        let model = layer(4);
        let none = save_adapters(&model, &path).unwrap_err().to_string();
        assert!(none.contains("the model has no adapters"), "{none}");
        model.adapt("weight", 2, 3.0, Key::new(2)).unwrap();
        let b = Tensor::new((0..8).map(|i| i as f32).collect::<Vec<f32>>(), [2, 4]);
        model.weight.adapter().unwrap().b.set(&b).unwrap();
        let npz = save_adapters(&model, folder.join("adapters.npz")).unwrap_err().to_string();
        assert!(npz.contains("kept in .safetensors"), "{npz}");
        save_adapters(&model, &path).unwrap();
        assert_eq!(Weights::open(&path).unwrap().len(), 2);

        let out = |model: &Dense| {
            model.forward(&Tensor::ones([1, 6]), &Context::inference()).to_vec::<f32>().unwrap()
        };
        let again = layer(4);
        assert_ne!(out(&again), out(&model));
        assert_eq!(load_adapters(&again, &path).unwrap(), 1);
        assert_eq!(out(&again), out(&model));
        assert!(again.weight.is_frozen());
        for (model, said) in [
            (
                Box::new(layer(5)) as Box<dyn Module>,
                "weight: an adapter of [6, 2] and [2, 4] doesn't fit a parameter [6, 5]",
            ),
            (Box::new(vec![layer(4)]), "an adapter is for weight, which the model hasn't"),
        ] {
            let error = load_adapters(&*model, &path).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(model.parameters().iter().all(|(_, param)| param.adapter().is_none()));
        }
        super::super::save(&layer(4), &path).unwrap();
        assert!(load_adapters(&again, &path).unwrap_err().to_string().contains("holds no adapters"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
