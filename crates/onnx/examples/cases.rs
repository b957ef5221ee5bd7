//! Runs folders of ONNX's own tests, each with a `model.onnx` and recorded data, and prints a line for each: its name, how it went
//! (`passed`, `drawn`, `failed`, `unclaimed`), its operators, and why. `cargo run --release --example cases -- FOLDER…`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use kiln_onnx::verify::{Tolerance, data_sets, verify};
use kiln_onnx::{Error, load};

/// Fourier transforms are near enough by the largest number of an output: where the exact one is 0, what is recorded is rounding.
fn tolerance(name: &str) -> Tolerance {
    match name.contains("dft") || name.contains("stft") {
        true => Tolerance { largest: 1e-5, ..Tolerance::default() },
        false => Tolerance::default(),
    }
}

/// What draws at random draws other numbers here: shapes and types are all there is to compare.
fn is_drawn(name: &str) -> bool {
    name.starts_with("test_bernoulli")
        || (name.starts_with("test_training_dropout") && !name.contains("zero_ratio"))
}

fn run(folder: &Path, name: &str) -> Result<Option<String>, Error> {
    let network = load(folder.join("model.onnx"))?;
    for set in data_sets(folder)? {
        let compared = verify(&network, &set, tolerance(name))?;
        if let Some(wrong) = compared.iter().find(|compared| compared.fault.is_some()) {
            return Ok(Some(wrong.to_string()));
        }
    }
    Ok(None)
}

fn main() {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    // `--known DOMAIN:OPERATOR…` says which of these aren't known.
    if let Some((flag, operators)) = folders.split_first()
        && flag == "--known"
    {
        let unknown =
            |own: &&String| own.split_once(':').is_some_and(|(domain, name)| !kiln_onnx::knows(domain, name));
        operators.iter().filter(unknown).for_each(|own| println!("{own}"));
        return;
    }
    for folder in &folders {
        let path = Path::new(folder);
        let name = path.file_name().map_or(folder.clone(), |name| name.to_string_lossy().into_owned());
        let (how, why) = match catch_unwind(AssertUnwindSafe(|| run(path, &name))) {
            Ok(Ok(None)) => ("passed", String::new()),
            Ok(Ok(Some(wrong))) if is_drawn(&name) && wrong.contains("numbers differ") => ("drawn", wrong),
            Ok(Ok(Some(wrong))) => ("failed", wrong),
            Ok(Err(Error::Unsupported(what))) => ("unclaimed", what),
            Ok(Err(error)) => ("failed", error.to_string()),
            Err(_) => ("failed", "it panicked".to_string()),
        };
        println!("{name}\t{how}\t{}", why.replace('\n', " "));
    }
}
