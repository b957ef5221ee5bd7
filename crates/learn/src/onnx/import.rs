//! ONNX files as models: what a file doesn't say of raw data and of answers is told, or was recorded by kiln when it wrote the file.

use kiln_data::{
    CellFormat, Curve, Form, ImageSize, Meaning, NumberTarget, TablePreparation, TargetColumn, ValueKind,
};
use kiln_map::counted;
use kiln_onnx::{Network, OnnxDType, Port};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::model::{ClassSets, InputSpec, Pixels, Task};
use crate::preparation::{ImagePreparation, Preparation};
use crate::{Error, Model, Result};

/// What an ONNX file doesn't say.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Which of several outputs is meant.
    pub output: Option<String>,
    /// What the network tells apart.
    pub classes: Option<Vec<String>>,
    /// How raw data become what it takes.
    pub raw: Raw,
}

/// How raw data become what a network takes.
#[derive(Clone, Debug, Default)]
pub enum Raw {
    /// Nobody said. Only a network of bytes shows it: it takes the pixels of images as they are.
    #[default]
    Unsaid,
    /// From pictures.
    Images(Images),
    /// From these columns of a table, which hold numbers, in this order; and the column with the answers, for evaluations.
    Columns(Vec<String>, Option<String>),
}

/// How pictures become what a network takes: pixels from 0 to 1 times `scale`, less `mean`, by `deviation`.
///
/// ```
/// use kiln::onnx::Images;
///
/// let own = Images { mean: vec![0.1307], deviation: vec![0.3081], ..Images::default() };
/// assert_eq!((own.scale, Images::imagenet().mean.len()), (1.0, 3));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// 1 where a network takes numbers from 0 to 1, 255 where it takes them as bytes are.
    pub scale: f32,
    /// One for each channel, or one for all.
    pub mean: Vec<f32>,
    /// One for each channel, or one for all.
    pub deviation: Vec<f32>,
    /// The share of a picture's shorter side that the network sees, of its middle; without it all of the picture is squeezed into the
    /// network's size.
    pub crop: Option<f64>,
    /// Height and width, where the file leaves them free.
    pub size: Option<[usize; 2]>,
}

impl Default for Images {
    /// Numbers from 0 to 1, whole pictures.
    fn default() -> Images {
        Images { scale: 1.0, mean: vec![0.0], deviation: vec![1.0], crop: None, size: None }
    }
}

impl Images {
    /// As the networks of torchvision and most others that were trained on ImageNet have them.
    pub fn imagenet() -> Images {
        Images {
            mean: vec![0.485, 0.456, 0.406],
            deviation: vec![0.229, 0.224, 0.225],
            crop: Some(0.875),
            ..Images::default()
        }
    }

    /// What the network's numbers are made by.
    fn pixels(&self, channels: usize, channels_last: bool) -> Result<Pixels> {
        let each = |numbers: &[f32], what: &str| match numbers {
            [one] => Ok(vec![*one; channels]),
            all if all.len() == channels => Ok(all.to_vec()),
            all => Err(fault(format!(
                "{} for the {what}, and images of {}",
                counted(all.len(), "number"),
                counted(channels, "channel")
            ))),
        };
        let (mean, deviation) = (each(&self.mean, "mean")?, each(&self.deviation, "deviation")?);
        if let Some(none) = deviation.iter().find(|deviation| !(deviation.is_finite() && **deviation != 0.0))
        {
            return Err(fault(format!("pixels can't be divided by {none}")));
        }
        let factor = deviation.iter().map(|deviation| self.scale / deviation).collect();
        let shift = mean.iter().zip(&deviation).map(|(mean, deviation)| -mean / deviation).collect();
        Ok(Pixels { factor, shift, channels_last })
    }
}

/// What kiln writes into a file of its own, so that it becomes the same model again.
#[derive(Serialize, Deserialize)]
struct Recorded {
    input: InputSpec,
    task: Task,
    #[serde(default)]
    preparation: Preparation,
    #[serde(default)]
    threshold: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sets: Vec<Option<ClassSets>>,
    /// Whether the graph takes raw data and gives answers.
    is_whole: bool,
}

/// The word it stands under.
const WORD: &str = "kiln";

/// What a file says of the model it was made of.
pub(super) fn recorded(model: &Model, is_whole: bool) -> (String, String) {
    let about = model.about();
    // What is done to pixels is in the graph.
    let input = InputSpec { pixels: None, ..about.input.clone() };
    let recorded = Recorded {
        input,
        task: about.task.clone(),
        preparation: about.preparation.clone(),
        threshold: about.threshold,
        sets: about.sets.clone(),
        is_whole,
    };
    (WORD.to_string(), json!(recorded).to_string())
}

impl Model {
    /// A network of an ONNX file as a model: with what kiln recorded in a file of its own, else with what is told.
    ///
    /// # Errors
    /// Where it takes or gives more than one value, sizes other than the batch are free, or what is told doesn't fit.
    pub fn from_onnx(mut network: Network, import: &Import) -> Result<Model> {
        let word = network.words().into_iter().find(|(key, _)| key == WORD);
        let read = |(_, text): (String, String)| serde_json::from_str::<Recorded>(&text);
        let recorded = word.map(read).transpose().map_err(|error| {
            fault(format!(
                "what kiln recorded in the file of the model it was made of can't be read: {error}"
            ))
        })?;
        if let (Some(Recorded { preparation, .. }), false) = (&recorded, matches!(import.raw, Raw::Unsaid))
            && *preparation != Preparation::Unsaid
        {
            return Err(fault(
                "the file is kiln's own and says how raw data become its input; nothing needs to be told of pixels or columns",
            ));
        }
        choose_output(&mut network, import, recorded.as_ref())?;
        let port = single_input(&network, recorded.as_ref())?;
        let (input, preparation) = match &recorded {
            Some(recorded) => own_input(&port, recorded)?,
            None => told_input(&port, import)?,
        };
        if let Some(why) = network.free_batch()? {
            return Err(fixed(&port, &why));
        }
        let softmax = network.without_softmax();
        let names = names(&network, import, recorded.as_ref());
        let output = network.outputs().first().map(|port| port.name.clone()).unwrap_or_default();
        // Those of trees and their like are made by no softmax that could be taken off.
        let is_classifier = recorded.is_none() && network.class_labels().is_some();
        if !softmax && is_classifier && PROBABILITIES.contains(&output.as_str()) {
            network.with_logarithm();
        }
        // A single number tells two classes apart.
        if names.as_ref().is_some_and(|names| names.len() == 2) {
            network.without_sigmoid();
        }
        let nothing = Task::plain_numbers(Vec::new());
        let mut model = Model::behind(network, input, nothing, preparation)?;
        let width = width(&model, &port)?;
        model.about_mut().threshold = recorded.as_ref().and_then(|own| own.threshold);
        model.about_mut().sets = recorded.as_ref().map(|own| own.sets.clone()).unwrap_or_default();
        model.about_mut().task = match (names, recorded) {
            (Some(names), _) => named(names, &width)?,
            (None, Some(Recorded { task, is_whole: false, .. })) => task,
            (None, Some(Recorded { task: task @ Task::Text { .. }, .. })) => task,
            (None, None) if softmax => {
                named((0..width.iter().product()).map(|class: usize| class.to_string()).collect(), &width)?
            }
            (None, recorded) => {
                let count = width.iter().product();
                let own = match recorded.map(|recorded| recorded.task) {
                    Some(Task::Numbers { names, .. }) if names.len() == count => Some(names),
                    _ => None,
                };
                let names = own.unwrap_or_else(|| (0..count).map(|at| format!("{output}.{at}")).collect());
                Task::plain_numbers(names)
            }
        };
        if let Raw::Columns(columns, target) = &import.raw {
            model.about_mut().set_columns(columns, target.as_deref())?;
        }
        Ok(model)
    }
}

impl crate::model::About {
    /// Rows are these columns of a table, as they are.
    fn set_columns(&mut self, columns: &[String], target: Option<&str>) -> Result<()> {
        let width: usize = self.input.shape.iter().product();
        if columns.len() != width || self.input.shape.len() != 1 {
            return Err(fault(format!(
                "the network takes rows of {:?}, and named for it: {}",
                self.input.shape,
                counted(columns.len(), "column")
            )));
        }
        let mut plan = TablePreparation::plain(columns)?;
        let several: Vec<&str> = target.iter().flat_map(|all| all.split(',')).map(str::trim).collect();
        if let (Task::Numbers { names, .. }, true) = (&mut self.task, several.len() > 1) {
            if names.len() != several.len() {
                return Err(fault(format!(
                    "the network gives {}, and named for them: {}",
                    counted(names.len(), "number"),
                    counted(several.len(), "column")
                )));
            }
            *names = several.iter().map(|name| name.to_string()).collect();
            let plain = |column: &String| NumberTarget {
                column: column.clone(),
                mean: 0.0,
                deviation: 1.0,
                curve: Curve::Straight,
                interval: None,
                format: CellFormat::default(),
            };
            plan = plan.with_target(TargetColumn::Numbers { columns: names.iter().map(plain).collect() });
        } else if let Some(column) = target {
            let column = column.to_string();
            plan = plan.with_target(match &mut self.task {
                Task::Classes { names } => {
                    TargetColumn::Classes { column, names: names.clone(), ordered: false }
                }
                Task::Numbers { names, .. } if names.len() == 1 => {
                    names[0] = column.clone();
                    let (mean, deviation, curve, interval) = (0.0, 1.0, Curve::Straight, None);
                    TargetColumn::Number { column, mean, deviation, curve, interval }
                }
                _ => {
                    return Err(fault(format!(
                        "the network gives several numbers, and {column} is one column; name one for each, with commas between them"
                    )));
                }
            });
        }
        self.preparation = plan.into();
        Ok(())
    }
}

fn fault(message: impl Into<String>) -> Error {
    Error::Onnx(kiln_onnx::Error::Network(message.into()))
}

/// What outputs of probabilities are called by skl2onnx and onnxmltools.
const PROBABILITIES: [&str; 3] = ["probabilities", "output_probability", "output_probabilities"];

/// Leaves one output.
fn choose_output(network: &mut Network, import: &Import, recorded: Option<&Recorded>) -> Result<()> {
    if recorded.is_some_and(|own| own.is_whole && matches!(own.task, Task::Tags { .. })) {
        return Err(fault(
            "kiln wrote this file with its answers as words: it gives a tag for each, and a model gives scores. Use the model it was made of, \
             or export that --without-preprocessing; from Rust kiln::onnx::load runs this one",
        ));
    }
    let own = recorded.filter(|own| own.is_whole).and_then(|own| match own.task {
        Task::Classes { .. } => Some("probabilities"),
        Task::Numbers { interval: Some(_), .. } => Some("prediction"),
        Task::Numbers { .. } | Task::Several { .. } | Task::Tags { .. } | Task::Text { .. } => None,
    });
    let outputs = network.outputs();
    // Classifiers give a label beside the probabilities that it follows from.
    let scores = || {
        let is_scores = |port: &&Port| PROBABILITIES.contains(&port.name.as_str());
        outputs.iter().find(is_scores).map(|port| port.name.as_str())
    };
    if let Some(name) = import.output.as_deref().or(own).or_else(scores) {
        return Ok(network.keep(&[name])?);
    }
    match network.outputs().as_slice() {
        [_] => Ok(()),
        all => {
            let names: Vec<&str> = all.iter().map(|port| port.name.as_str()).collect();
            let names = names.join(", ");
            Err(fault(format!(
                "a model gives one value, and this network {}: {names}; say which is meant, --output NAME",
                all.len()
            )))
        }
    }
}

fn single_input(network: &Network, recorded: Option<&Recorded>) -> Result<Port> {
    let mut inputs = network.inputs();
    let in_graph = recorded.is_some_and(|own| own.is_whole && own.preparation.table().is_some());
    let names = |inputs: &[Port]| inputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
    if in_graph {
        return Err(fault(format!(
            "kiln wrote this file with the preparation of its table in the graph: it takes each column as an input of its own ({}), and \
             a model takes rows. Use the model it was made of, or export that --without-preprocessing; from Rust kiln::onnx::load runs \
             this one",
            names(&inputs)
        )));
    }
    match (inputs.pop(), inputs.is_empty()) {
        (Some(one), true) => Ok(one),
        (last, _) => {
            inputs.extend(last);
            Err(fault(format!(
                "a model takes one value, and this network {}: {}; from Rust kiln::onnx::load runs it",
                inputs.len(),
                names(&inputs)
            )))
        }
    }
}

/// The input of a file of kiln's own.
fn own_input(port: &Port, recorded: &Recorded) -> Result<(InputSpec, Preparation)> {
    let row: Vec<Option<usize>> = recorded.input.shape.iter().map(|&size| Some(size)).collect();
    let fits = |(given, own): (&Option<usize>, &Option<usize>)| {
        given == own || (given.is_none() && recorded.preparation.is_padded())
    };
    if port.sizes.len() != row.len() + 1 || !port.sizes.iter().skip(1).zip(&row).all(fits) {
        return Err(fault(format!(
            "{}: the file was made for rows of {:?}, and takes others",
            port.name, recorded.input.shape
        )));
    }
    let mut input = recorded.input.clone();
    if port.element == Some(OnnxDType::U8) {
        // The graph scales bytes; rows of images are scaled everywhere.
        let channels = row.first().copied().flatten().unwrap_or(1);
        input = InputSpec::of(&Form::pixels(&recorded.input.shape));
        input.pixels = Some(Images { scale: 255.0, ..Images::default() }.pixels(channels, false)?);
    }
    Ok((input, recorded.preparation.clone()))
}

/// The input of a file of somebody else's, and how raw data become it.
fn told_input(port: &Port, import: &Import) -> Result<(InputSpec, Preparation)> {
    let is_bytes = port.element == Some(OnnxDType::U8);
    let bytes = Images { scale: 255.0, ..Images::default() };
    match &import.raw {
        Raw::Images(images) => image_input(port, images),
        Raw::Unsaid if is_bytes => image_input(port, &bytes),
        Raw::Unsaid | Raw::Columns(..) => {
            let row: Option<Vec<usize>> = port.sizes.iter().skip(1).copied().collect();
            let row = row.filter(|_| !port.sizes.is_empty());
            let row = row.ok_or_else(|| {
                fault(format!("{}: only the batch, the first axis, may be of free size; the sizes of images can be told", port.name))
            })?;
            let form = match port.element {
                Some(OnnxDType::F32 | OnnxDType::F64 | OnnxDType::F16 | OnnxDType::Bf16) => {
                    Form::numbers(&row)
                }
                Some(OnnxDType::I64 | OnnxDType::I32) => Form {
                    kind: ValueKind::I64,
                    shape: row,
                    meaning: Meaning::Codes { count: usize::MAX >> 1 },
                },
                _ => {
                    return Err(fault(format!(
                        "{}: a model takes floats, int32 or int64, or bytes of images",
                        port.name
                    )));
                }
            };
            Ok((InputSpec::of(&form), Preparation::Unsaid))
        }
    }
}

fn image_input(port: &Port, images: &Images) -> Result<(InputSpec, Preparation)> {
    let is_colour = |size: Option<usize>| matches!(size, Some(1 | 3));
    let &[_, first, second, third] = port.sizes.as_slice() else {
        return Err(fault(format!(
            "{}: images have four axes, and this input {}",
            port.name,
            port.sizes.len()
        )));
    };
    let channels_last = !is_colour(first) && is_colour(third);
    let (channels, height, width) =
        if channels_last { (third, first, second) } else { (first, second, third) };
    let Some(channels) = channels.filter(|_| is_colour(channels)) else {
        return Err(fault(format!(
            "{}: pictures have 1 channel (grey) or 3 (colour), on the second axis or the last",
            port.name
        )));
    };
    let size = |own: Option<usize>, told: Option<usize>| match (own, told) {
        (Some(own), Some(told)) if own != told => {
            Err(fault(format!("{}: its images are of {own} pixels, and {told} is told", port.name)))
        }
        (Some(size), _) | (None, Some(size)) => Ok(size),
        (None, None) => Err(fault(format!(
            "{}: how large its images are is free; say it, --image-size PIXELS",
            port.name
        ))),
    };
    let height = size(height, images.size.map(|[height, _]| height))?;
    let width = size(width, images.size.map(|[_, width]| width))?;
    let mut input = InputSpec::of(&Form::pixels(&[channels, height, width]));
    let pixels = images.pixels(channels, channels_last)?;
    let changes = channels_last || pixels != Images::default().pixels(channels, false)?;
    input.pixels = changes.then_some(pixels);
    let own = ImagePreparation::new(ImageSize { channels, height, width });
    Ok((input, ImagePreparation { crop: images.crop, ..own }.into()))
}

/// What classes are called, if that is known.
fn names(network: &Network, import: &Import, recorded: Option<&Recorded>) -> Option<Vec<String>> {
    let labels = || {
        let words = network.words();
        let (_, text) = words.iter().find(|(key, _)| key == "labels")?;
        serde_json::from_str(text).ok()
    };
    let own = match recorded.map(|recorded| &recorded.task) {
        Some(Task::Classes { names }) => Some(names.clone()),
        // Of words, not of rows.
        Some(Task::Tags { .. }) => return None,
        _ => None,
    };
    import.classes.clone().or(own).or_else(labels).or_else(|| network.class_labels())
}

/// The sizes of what a row gives. All batches must go.
fn width(model: &Model, port: &Port) -> Result<Vec<usize>> {
    let one = model.shape_for(1)?.sizes().to_vec();
    let two = model.shape_for(2);
    let is_free = one.first() == Some(&1) && two.as_ref().is_ok_and(|two| two.iter().next() == Some(&2));
    match is_free {
        true => Ok(one[1..].to_vec()),
        false => {
            let why = two.err().map(|error| error.to_string());
            Err(fixed(port, &why.unwrap_or_else(|| format!("it gives {one:?} for one row"))))
        }
    }
}

/// Why a network that computes batches of one size only is no model, and the mend.
fn fixed(port: &Port, why: &str) -> Error {
    let name = &port.name;
    let size = match port.sizes.first() {
        Some(Some(size)) => format!("fixes its batch at {size}"),
        _ => "fixes its batch".to_string(),
    };
    fault(format!(
        "{name}: the file {size}, and can't be computed with another ({why}); write it with a free batch: in PyTorch torch.onnx.export(…, \
         input_names=[\"{name}\"], dynamic_axes={{\"{name}\": {{0: \"batch\"}}}})"
    ))
}

/// Classes, if the network tells as many apart.
fn named(names: Vec<String>, width: &[usize]) -> Result<Task> {
    match width {
        &[count] if count == names.len() || (count == 1 && names.len() == 2) => Ok(Task::Classes { names }),
        _ => Err(fault(format!(
            "the network gives {width:?} for a row, and named for it: {}",
            counted(names.len(), "class")
        ))),
    }
}
