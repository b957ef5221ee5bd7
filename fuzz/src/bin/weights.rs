//! Weights of other systems: safetensors, npy, npz, PyTorch's archives and JSON, told apart by their first bytes. All numbers of what
//! is taken are asked for.
#![no_main]

use std::path::Path;

use kiln::prelude::Data;
use kiln::store::{HostTensor, TensorFile};
use kiln::weights::{self, Weights};
use kiln_fuzz::{fuzz_target, path, seeds};

fn all() -> Vec<Vec<u8>> {
    let mut store = TensorFile::default();
    let tensors = [
        ("a", Data::F32(vec![1.5, -2.0])),
        ("b.c", Data::I64(vec![7, 8])),
        ("d", Data::Bool(vec![true, false])),
    ];
    store.tensors =
        tensors.map(|(name, data)| (name.to_string(), HostTensor { shape: vec![1, 2], data })).into();
    let written = ["good.safetensors", "good.npz", "good.json"].map(|name| {
        weights::write(&store, path(name)).unwrap();
        path(name)
    });
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/weights");
    let made = std::fs::read_dir(made).unwrap().map(|entry| entry.unwrap().path());
    let kept = made.filter(|path| path.extension().is_some_and(|kind| kind != "py"));
    written.into_iter().chain(kept).map(|path| std::fs::read(path).unwrap()).collect()
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let Ok(weights) = Weights::read(bytes) else { return };
    for weight in weights.iter() {
        if weight.elements() < 1 << 20 && let Ok(data) = weight.data() {
            assert_eq!(data.len(), weight.elements());
        }
    }
});
