//! `kiln export`: a model in another form.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use kiln::Model;

/// Write a model in another form
///
/// The form follows from the name: `.json` is text that people can read and change; `.kiln` and `.safetensors` are the compact form,
/// which any reader of safetensors opens.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln export runs/heart-1/model.kiln heart.json
  kiln export heart.json heart.kiln")]
pub struct Flags {
    /// The model's file
    model: PathBuf,

    /// Where to write it
    to: PathBuf,
}

pub fn run(flags: Flags) -> Result<()> {
    let extension = flags.to.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    if !extension.as_deref().is_some_and(|extension| ["json", "kiln", "safetensors"].contains(&extension)) {
        bail!(
            "{}: the form follows from the name; it ends in .json, .kiln or .safetensors",
            flags.to.display()
        );
    }
    let model = Model::load(&flags.model)?;
    model.save(&flags.to)?;
    // Read back, so that what is said to be there is.
    let parameters = Model::load(&flags.to)?.parameter_count();
    println!("{}: {parameters} parameters", flags.to.display());
    Ok(())
}
