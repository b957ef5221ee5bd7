//! `kiln export`: a model in another form.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use kiln::weights::{self, Weights};
use kiln::{Model, Module};

/// Write a model in another form
///
/// The form follows from the name: `.json` is text that people can read and change; `.kiln` and `.safetensors` are the compact form,
/// which any reader of safetensors opens; `.npz` holds the weights alone, for NumPy.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln export runs/heart-1/model.kiln heart.json
  kiln export heart.json heart.kiln
  kiln export heart.kiln heart.npz              weights for NumPy: numpy.load(\"heart.npz\")[\"0.weight\"]")]
pub struct Flags {
    /// The model's file
    model: PathBuf,

    /// Where to write it
    to: PathBuf,
}

pub fn run(flags: Flags) -> Result<()> {
    let extension = flags.to.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    if !["json", "kiln", "safetensors", "npz"].contains(&extension) {
        bail!(
            "{}: the form follows from the name; it ends in .json, .kiln, .safetensors or .npz",
            flags.to.display()
        );
    }
    let model = Model::load(&flags.model)?;
    // Read back, so that what is said to be there is.
    let parameters = if extension == "npz" {
        weights::save(model.layers(), &flags.to)?;
        let (written, own) = (Weights::open(&flags.to)?, model.layers().parameters());
        own.iter().filter_map(|(path, _)| written.get(path)).map(|weight| weight.elements()).sum()
    } else {
        model.save(&flags.to)?;
        Model::load(&flags.to)?.parameter_count()
    };
    println!("{}: {parameters} parameters", flags.to.display());
    Ok(())
}
