//! Runs folders of ONNX's own tests, each with a `model.onnx` and recorded data, and prints a line for each: its name, how it went
//! (`passed`, `failed`, `unclaimed`), its operators, and why. `cargo run --release --example cases -- FOLDER…`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use kiln_onnx::verify::{Tolerance, data_sets, verify};
use kiln_onnx::{Error, load};

fn run(folder: &Path) -> Result<Option<String>, Error> {
    let network = load(folder.join("model.onnx"))?;
    for set in data_sets(folder)? {
        let compared = verify(&network, &set, Tolerance::default())?;
        if let Some(wrong) = compared.iter().find(|compared| compared.fault.is_some()) {
            return Ok(Some(wrong.to_string()));
        }
    }
    Ok(None)
}

fn main() {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    for folder in &folders {
        let path = Path::new(folder);
        let name = path.file_name().map_or(folder.clone(), |name| name.to_string_lossy().into_owned());
        let (how, why) = match catch_unwind(AssertUnwindSafe(|| run(path))) {
            Ok(Ok(None)) => ("passed", String::new()),
            Ok(Ok(Some(wrong))) => ("failed", wrong),
            Ok(Err(Error::Unsupported(what))) => ("unclaimed", what),
            Ok(Err(error)) => ("failed", error.to_string()),
            Err(_) => ("failed", "it panicked".to_string()),
        };
        println!("{name}\t{how}\t{}", why.replace('\n', " "));
    }
}
