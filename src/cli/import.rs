//! `kiln import`: what other systems wrote. The kind of file decides what is done with it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use kiln::Model;
use kiln::weights::{Fit, Mapping, Weights};

/// Take weights that another system wrote into a model
///
/// Reads safetensors (also several, by their index), PyTorch's state dicts (.pt, .pth), NumPy's .npz and JSON. Nothing in a file is ever executed.
/// Every parameter and running statistic of the model must be in the file, in its shape, and nothing else; what doesn't fit is listed, and a
/// rule renames it, turns it or leaves it out.
#[derive(Args)]
#[command(
    after_long_help = "Rules are tried in their order, and the first that fits a name decides. A star on the left stands for any text, the \
same star on the right for that text.

Examples:
  kiln import new.safetensors --into model.kiln --out better.kiln
  kiln import net.pt --into model.kiln --out net.kiln --map 'features.* -> *' --map 'fc.* -> 7.* transposed'
  kiln import backbone.pth --into model.kiln --out started.kiln --map 'head.* ->' --lenient

PyTorch's Linear stores [outputs, inputs], kiln's dense layer [inputs, outputs]: `transposed` turns matrices."
)]
pub struct Flags {
    /// The file of weights
    file: PathBuf,

    /// The model that the weights are for
    #[arg(long, value_name = "MODEL")]
    into: PathBuf,

    /// Where to write the model with them
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// A rule for names, `FROM -> TO`; may be given several times
    #[arg(long, value_name = "RULE")]
    map: Vec<String>,

    /// Let the model keep what the file lacks, and pass over what the model has no place for
    #[arg(long)]
    lenient: bool,
}

pub fn run(flags: Flags) -> Result<()> {
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(kind));
    if is(&flags.file, "onnx") {
        bail!(
            "{}: this kiln doesn't read ONNX yet; it reads weights: .safetensors, .pt, .pth, .npz, .json",
            flags.file.display()
        );
    }
    if !["kiln", "safetensors", "json"].iter().any(|kind| is(&flags.out, kind)) {
        bail!("{}: a model's name ends in .kiln, .safetensors or .json", flags.out.display());
    }
    weights(&flags)
}

fn weights(flags: &Flags) -> Result<()> {
    let mapping = Mapping::of(&flags.map)?;
    let mut model = Model::load(&flags.into)?;
    let fit = if flags.lenient { Fit::Lenient } else { Fit::Strict };
    let report = Weights::open(&flags.file)?.load_into(model.layers(), &mapping, fit)?;
    // What is known of the weights that were there before is true no more.
    let training = &mut model.about_mut().training;
    training.clear();
    training.insert("weights".to_string(), flags.file.display().to_string().into());
    model.save(&flags.out)?;
    println!("{report}\n{}: {} parameters", flags.out.display(), model.parameter_count());
    Ok(())
}
