//! `kiln import`: what other systems wrote. The kind of file decides what is done with it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln::data::{self, Form};
use kiln::model::Task;
use kiln::onnx::verify::{Tolerance, data_sets, verify};
use kiln::weights::{Fit, Mapping, Weights};
use kiln::{Model, Module, onnx};

/// Take in what another system wrote: an ONNX file, or weights for a model
///
/// An ONNX file (.onnx) is checked: its operators, its inputs and outputs; with --verify it is run on recorded inputs and held beside recorded
/// outputs, in the layout of ONNX's own tests (test_data_set_*/input_*.pb and output_*.pb). Exit code 0: all agree; 1: something is wrong; 3:
/// an operator isn't known.
///
/// Of weights it reads safetensors (also several, by their index), PyTorch's state dicts (.pt, .pth), NumPy's .npz and JSON. Nothing in a file is ever executed.
/// Every parameter and running statistic of the model must be in the file, in its shape, and nothing else; what doesn't fit is listed, and a
/// rule renames it, turns it or leaves it out.
#[derive(Args)]
#[command(
    after_long_help = "Rules are tried in their order, and the first that fits a name decides. A star on the left stands for any text, the \
same star on the right for that text.

Examples:
  kiln import net.onnx                          what it takes, gives and has
  kiln import net.onnx --out net.kiln           as a model of kiln's
  kiln import net.onnx --verify recorded/       run it on recorded inputs
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
    into: Option<PathBuf>,

    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// ONNX: the names of the classes that the network tells apart, with commas between them
    #[arg(long, value_name = "NAMES")]
    classes: Option<String>,

    /// ONNX: a folder with recorded inputs and outputs to hold the network beside
    #[arg(long, value_name = "DIR")]
    verify: Option<PathBuf>,

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
        return network(&flags);
    }
    let (Some(into), Some(out)) = (&flags.into, &flags.out) else {
        bail!("weights go into a model: say --into MODEL and --out FILE");
    };
    if flags.verify.is_some() {
        bail!("--verify is for .onnx, and {} is none", flags.file.display());
    }
    if !["kiln", "safetensors", "json"].iter().any(|kind| is(out, kind)) {
        bail!("{}: a model's name ends in .kiln, .safetensors or .json", out.display());
    }
    weights(&flags, into, out)
}

/// A network of a file, and whether it computes what was recorded.
fn network(flags: &Flags) -> Result<()> {
    if flags.into.is_some() || flags.lenient || !flags.map.is_empty() {
        bail!("--into, --map and --lenient are for weights; {} is a whole network", flags.file.display());
    }
    let network = onnx::load(&flags.file).with_context(|| flags.file.display().to_string())?;
    if let (Some(_), Some(_)) = (&flags.verify, &flags.out) {
        bail!("--verify checks a network and --out keeps it; say one after the other");
    }
    if let Some(out) = &flags.out {
        let described = about(&network);
        let model = as_model(network, flags.classes.as_deref())?;
        model.save(out)?;
        let parameters = Model::load(out)?.parameter_count();
        print!("{described}");
        println!("{}: {parameters} parameters", out.display());
        return Ok(());
    }
    let Some(folder) = &flags.verify else {
        print!("{}", about(&network));
        return Ok(());
    };
    let mut wrong = 0;
    for set in data_sets(folder)? {
        for compared in
            verify(&network, &set, Tolerance::default()).with_context(|| set.display().to_string())?
        {
            println!("{}: {compared}", set.display());
            wrong += usize::from(compared.fault.is_some());
        }
    }
    if wrong > 0 {
        bail!("{}: {wrong} outputs differ from what was recorded", flags.file.display());
    }
    Ok(())
}

/// A network as a model: it takes one tensor, whose first axis is the batch, and gives one, whose last axis are classes or numbers.
fn as_model(network: onnx::Network, classes: Option<&str>) -> Result<Model> {
    let (inputs, outputs) = (network.inputs(), network.outputs());
    let ([input], [output]) = (inputs.as_slice(), outputs.as_slice()) else {
        let (taken, given) = (inputs.len(), outputs.len());
        bail!(
            "a model takes one value and gives one, and this network {taken} and {given}; kiln::onnx::load runs it from Rust"
        );
    };
    let row: Option<Vec<usize>> = input.sizes.iter().skip(1).copied().collect();
    let row =
        row.with_context(|| format!("{}: only the batch, the first axis, may be of free size", input.name))?;
    let form = match input.element {
        Some(onnx::Element::F32) => Form::numbers(&row),
        Some(onnx::Element::I64) => Form {
            kind: data::Kind::I64,
            shape: row,
            meaning: data::Meaning::Codes { count: usize::MAX >> 1 },
        },
        _ => bail!("{}: a model takes float32 or int64", input.name),
    };
    let width = output.sizes.last().copied().flatten();
    let width = width.with_context(|| format!("{}: how many numbers a row gives isn't said", output.name))?;
    let words = network.words();
    let labels =
        words.iter().find(|(key, _)| key == "labels").and_then(|(_, text)| serde_json::from_str(text).ok());
    let told = classes.map(|classes| classes.split(',').map(|name| name.trim().to_string()).collect());
    let task = match told.or(labels) {
        Some(names) => {
            let names: Vec<String> = names;
            if names.len() != width {
                bail!("{} classes are named, and the network tells {width} apart", names.len());
            }
            Task::Classes { names }
        }
        None => {
            let names = (0..width).map(|at| format!("{}.{at}", output.name)).collect();
            Task::Numbers { names, scale: vec![1.0; width], offset: vec![0.0; width] }
        }
    };
    Ok(Model::of_network(network, &form, task)?)
}

/// What a network takes, gives and has.
fn about(network: &onnx::Network) -> String {
    let port = |port: &onnx::Port| {
        let size = |size: &Option<usize>| size.map_or_else(|| "?".to_string(), |size| size.to_string());
        let sizes: Vec<String> = port.sizes.iter().map(size).collect();
        format!("{} {}[{}]", port.name, port.element.map_or("", onnx::Element::name), sizes.join(", "))
    };
    let list = |ports: Vec<onnx::Port>| ports.iter().map(port).collect::<Vec<_>>().join("; ");
    format!(
        "takes  {}\ngives  {}\nhas    {} parameters in {} tensors\n",
        list(network.inputs()),
        list(network.outputs()),
        network.parameter_count(),
        network.parameters().len()
    )
}

fn weights(flags: &Flags, into: &Path, out: &Path) -> Result<()> {
    let mapping = Mapping::of(&flags.map)?;
    let mut model = Model::load(into)?;
    let fit = if flags.lenient { Fit::Lenient } else { Fit::Strict };
    let report = Weights::open(&flags.file)?.load_into(model.layers(), &mapping, fit)?;
    // What is known of the weights that were there before is true no more.
    let training = &mut model.about_mut().training;
    training.clear();
    training.insert("weights".to_string(), flags.file.display().to_string().into());
    model.save(out)?;
    println!("{report}\n{}: {} parameters", out.display(), model.parameter_count());
    Ok(())
}
