//! Writes a file of weights in another form: `cargo run --example weights -- net.pt net.safetensors`.

use kiln::store::{HostTensor, TensorFile};
use kiln::weights::{self, Weights};

fn main() -> kiln::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &paths[..] else {
        eprintln!("two names are needed: the file to read and the one to write");
        std::process::exit(2);
    };
    let file = Weights::open(from)?;
    let mut store = TensorFile::default();
    for weight in file.iter() {
        let stored = HostTensor { shape: weight.shape().to_vec(), data: weight.data()? };
        store.tensors.insert(weight.name().to_string(), stored);
    }
    weights::write(&store, to)
}
