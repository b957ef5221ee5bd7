//! `kiln import`: what other systems wrote. The kind of file decides what is done with it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::onnx::verify::{Tolerance, data_sets, verify};
use kiln_learn::onnx::{Images, Import, Raw};
use kiln_learn::weights::{Fit, Mapping, Weights};
use kiln_learn::{Model, Module, onnx};

use super::out;

/// Take in what another system wrote: an ONNX file, or weights for a model
///
/// An ONNX file (.onnx) is checked: its operators, its inputs and outputs. With --out it becomes a model, which predicts, is evaluated and trained
/// like any other. What the file doesn't say is told here: what pixels become (--pixels), which columns a row has (--columns), what the
/// classes are called (--classes). Files that `kiln export` wrote say it themselves. A batch that the file fixes is made free. With --verify it is run on recorded inputs and held
/// beside recorded outputs, in the layout of ONNX's own tests (test_data_set_*/input_*.pb and output_*.pb); how near is --tolerance. Exit code 0: all agree; 1:
/// something is wrong; 3: an operator isn't known.
///
/// Of weights it reads safetensors (also several, by their index), PyTorch's state dicts (.pt, .pth), NumPy's .npz and JSON. Nothing in a file is ever executed.
/// Every parameter and running statistic of the model must be in the file, in its shape, and nothing else; what doesn't fit is listed, and a
/// rule renames it, turns it or leaves it out.
#[derive(Args)]
#[command(
    after_long_help = "Networks of images get a picture's pixels, resized to the network's size, in grey or colour as it has one channel or three, with axes in its
order: first in the range that --pixels says, then less --mean and by --std, as torchvision's Normalize. A softmax at the end is taken off: models
give logits.

Rules for names of weights are tried in their order, and the first that fits a name decides. A star on the left stands for any text, the same star
on the right for that text.

Examples:
  kiln import net.onnx                          what it takes, gives and has
  kiln import resnet18.onnx --out resnet18.kiln --pixels imagenet --classes imagenet_classes.txt
  kiln import mnist.onnx --out mnist.kiln --pixels 0..1 --mean 0.1307 --std 0.3081 --classes 0,1,2,3,4,5,6,7,8,9
  kiln import iris.onnx --out iris.kiln --columns sepal_length,sepal_width,petal_length,petal_width --classes setosa,versicolor,virginica
  kiln import net.onnx --verify recorded/       run it on recorded inputs
  kiln import new.safetensors --into model.kiln --out better.kiln
  kiln import net.pt --into model.kiln --out net.kiln --map 'features.* -> *' --map 'fc.* -> 7.* transposed'
  kiln import backbone.pth --into model.kiln --out started.kiln --map 'head.* ->' --lenient

PyTorch's Linear stores [outputs, inputs], kiln's dense layer [inputs, outputs]: `transposed` turns matrices. A model to put weights into comes
of `kiln train DATA --layers LAYERS --epochs 0 --out DIR`; `kiln inspect` shows the names on either side."
)]
pub struct ImportFlags {
    /// The ONNX file, or the file of weights
    file: PathBuf,

    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The names of the classes with commas between them, or a file with one on each line
    #[arg(long, value_name = "NAMES|FILE", help_heading = "ONNX")]
    classes: Option<String>,

    /// The range of the pixels that the network takes; imagenet: 0..1 with ImageNet's mean and deviation, cropped by 0.875
    #[arg(long, value_name = "RANGE", help_heading = "ONNX", allow_hyphen_values = true, value_parser = RANGES)]
    pixels: Option<String>,

    /// What is taken off pixels then: a number for each channel, or one for all, in the unit of --pixels
    #[arg(
        long,
        value_name = "NUMBERS",
        help_heading = "ONNX",
        value_delimiter = ',',
        requires = "pixels",
        allow_hyphen_values = true
    )]
    mean: Vec<f32>,

    /// What pixels are divided by then, as --mean
    #[arg(long, value_name = "NUMBERS", help_heading = "ONNX", value_delimiter = ',', requires = "pixels")]
    std: Vec<f32>,

    /// Keep a picture's proportions and take its middle, this share of the shorter side; torchvision's 224 of 256 is 0.875 [default: the
    /// whole picture, squeezed]
    #[arg(long, value_name = "SHARE", help_heading = "ONNX", requires = "pixels", value_parser = share)]
    crop: Option<f64>,

    /// The side of the images, where the file leaves it free
    #[arg(long, value_name = "PIXELS", help_heading = "ONNX", requires = "pixels")]
    image_size: Option<usize>,

    /// The columns of a table that make a row, in the network's order, with commas between them; they hold numbers, and a missing one
    /// counts as 0
    #[arg(
        long,
        value_name = "COLUMNS",
        help_heading = "ONNX",
        value_delimiter = ',',
        conflicts_with = "pixels"
    )]
    columns: Vec<String>,

    /// The column of a table that holds the answers, for `kiln eval`
    #[arg(long, value_name = "COLUMN", help_heading = "ONNX", requires = "columns")]
    target: Option<String>,

    /// Which of several outputs is meant
    #[arg(long, value_name = "NAME", help_heading = "ONNX")]
    output: Option<String>,

    /// A folder with recorded inputs and outputs to hold the network beside
    #[arg(long, value_name = "DIR", help_heading = "ONNX", conflicts_with = "out")]
    verify: Option<PathBuf>,

    /// How far a number may lie from what was recorded, in proportion to the largest of its output; 3e-2 suits networks of small integers
    #[arg(
        long,
        value_name = "SHARE",
        help_heading = "ONNX",
        requires = "verify",
        default_value = "1e-4",
        value_parser = tolerance
    )]
    tolerance: f64,

    /// The model that the weights are for
    #[arg(long, value_name = "MODEL", help_heading = "Weights")]
    into: Option<PathBuf>,

    /// A rule for names, `FROM -> TO`; may be given several times
    #[arg(long, value_name = "RULE", help_heading = "Weights")]
    map: Vec<String>,

    /// Let the model keep what the file lacks, and pass over what the model has no place for
    #[arg(long, help_heading = "Weights")]
    lenient: bool,
}

/// What can be said of pixels.
const RANGES: [&str; 4] = ["imagenet", "0..1", "-1..1", "0..255"];

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "write a share above 0 and up to 1, such as 0.875".to_string())
}

impl ImportFlags {
    /// What is told of a network.
    fn told(&self) -> Result<Import> {
        let raw = match (self.pixels.as_deref(), self.columns.as_slice()) {
            (Some(range), _) => Raw::Images(self.images(range)),
            (None, []) => Raw::Unsaid,
            (None, columns) => {
                let columns = columns.iter().map(|name| name.trim().to_string()).collect();
                Raw::Columns(columns, self.target.clone())
            }
        };
        let classes = self.classes.as_deref().map(names).transpose()?;
        Ok(Import { output: self.output.clone(), classes, raw })
    }

    fn images(&self, range: &str) -> Images {
        let mut images = match range {
            "imagenet" => Images::imagenet(),
            "-1..1" => Images { mean: vec![0.5], deviation: vec![0.5], ..Images::default() },
            "0..255" => Images { scale: 255.0, ..Images::default() },
            _ => Images::default(),
        };
        if range == "-1..1" {
            // What is told then is of numbers in that range: (2x - 1 - mean) / std.
            let each = |numbers: &[f32], f: fn(f32) -> f32| numbers.iter().map(|&number| f(number)).collect();
            if !self.mean.is_empty() {
                images.mean = each(&self.mean, |mean| (mean + 1.0) / 2.0);
            }
            if !self.std.is_empty() {
                images.deviation = each(&self.std, |deviation| deviation / 2.0);
            }
        } else {
            if !self.mean.is_empty() {
                images.mean = self.mean.clone();
            }
            if !self.std.is_empty() {
                images.deviation = self.std.clone();
            }
        }
        images.crop = self.crop.or(images.crop);
        images.size = self.image_size.map(|side| [side, side]);
        images
    }

    /// A flag that is for ONNX files, if one was given.
    fn of_networks(&self) -> Option<&'static str> {
        let given = [
            ("--classes", self.classes.is_some()),
            ("--pixels", self.pixels.is_some()),
            ("--columns", !self.columns.is_empty()),
            ("--output", self.output.is_some()),
            ("--verify", self.verify.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}

/// A share of the largest number.
fn tolerance(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| share.is_finite() && *share >= 0.0);
    share.ok_or_else(|| "a share is a number from 0 on, as 1e-4".to_string())
}

/// Names with commas between them, or the lines of a file.
fn names(told: &str) -> Result<Vec<String>> {
    let path = Path::new(told);
    let own = |name: &str| name.trim().to_string();
    if !path.is_file() {
        if !told.contains(',') && path.extension().is_some_and(|extension| extension == "txt") {
            bail!("{told}: there is no such file; --classes names classes, or a file with one on each line");
        }
        return Ok(told.split(',').map(own).collect());
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(own).filter(|name| !name.is_empty()).collect())
}

pub fn run(flags: ImportFlags) -> Result<()> {
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(kind));
    if is(&flags.file, "onnx") {
        return network(&flags);
    }
    if let Some(flag) = flags.of_networks() {
        let file = flags.file.display();
        bail!("{flag} is for .onnx, and {file} is none; weights go into a model, --into MODEL --out FILE");
    }
    let (Some(into), Some(out)) = (&flags.into, &flags.out) else {
        let file = flags.file.display();
        bail!(
            "{file}: weights go into a model; say --into MODEL and --out FILE (`kiln inspect {file}` lists them)"
        );
    };
    if !["kiln", "safetensors", "json"].iter().any(|kind| is(out, kind)) {
        bail!("{}: a model's name ends in .kiln, .safetensors or .json", out.display());
    }
    weights(&flags, into, out)
}

/// A network of a file, and whether it computes what was recorded.
fn network(flags: &ImportFlags) -> Result<()> {
    if flags.into.is_some() || flags.lenient || !flags.map.is_empty() {
        bail!("--into, --map and --lenient are for weights; {} is a whole network", flags.file.display());
    }
    let network = onnx::load(&flags.file).with_context(|| flags.file.display().to_string())?;
    if let Some(out) = &flags.out {
        let described = about(&network);
        let model =
            Model::from_onnx(network, &flags.told()?).with_context(|| flags.file.display().to_string())?;
        model.save(out)?;
        out::text(described)?;
        out::line(format_args!(
            "{}: {}",
            out.display(),
            out::counted(Model::load(out)?.parameter_count(), "parameter")
        ))?;
        if model.about().is_unsaid() {
            out::line(
                "how raw data become its input isn't said: predictions and evaluations will ask for it (--pixels, --columns; kiln import --help)",
            )?;
        }
        return Ok(());
    }
    if let Some(flag) = flags.of_networks().filter(|flag| *flag != "--verify") {
        bail!("{flag} says something of a model: say --out FILE too");
    }
    let Some(folder) = &flags.verify else {
        return out::text(about(&network));
    };
    let mut wrong = 0;
    for set in data_sets(folder)? {
        for compared in verify(&network, &set, Tolerance::of_largest(flags.tolerance))
            .with_context(|| set.display().to_string())?
        {
            out::line(format_args!("{}: {compared}", set.display()))?;
            wrong += usize::from(compared.fault.is_some());
        }
    }
    if wrong > 0 {
        bail!("{}: {} not as it was recorded", flags.file.display(), out::counted(wrong, "output"));
    }
    Ok(())
}

/// What a network takes, gives and has.
pub fn about(network: &onnx::Network) -> String {
    let port = |port: &onnx::Port| {
        let size = |size: &Option<usize>| size.map_or_else(|| "?".to_string(), |size| size.to_string());
        let sizes: Vec<String> = port.sizes.iter().map(size).collect();
        format!("{} {}[{}]", port.name, port.element.map_or("", onnx::OnnxDType::name), sizes.join(", "))
    };
    let list = |ports: Vec<onnx::Port>| ports.iter().map(port).collect::<Vec<_>>().join("; ");
    format!(
        "takes  {}\ngives  {}\nhas    {} in {}\n",
        list(network.inputs()),
        list(network.outputs()),
        out::counted(network.parameter_count(), "parameter"),
        out::counted(network.parameters().len(), "tensor")
    )
}

fn weights(flags: &ImportFlags, into: &Path, out: &Path) -> Result<()> {
    let mapping = Mapping::of(&flags.map)?;
    let mut model = Model::load(into)?;
    let fit = if flags.lenient { Fit::Lenient } else { Fit::Strict };
    let report = Weights::open(&flags.file)?.load_into(model.layers(), &mapping, fit)?;
    // What is known of the weights that were there before is true no more.
    let training = &mut model.about_mut().training;
    training.clear();
    training.insert("weights".to_string(), flags.file.display().to_string().into());
    model.save(out)?;
    out::line(format_args!(
        "{report}\n{}: {}",
        out.display(),
        out::counted(model.parameter_count(), "parameter")
    ))
}
