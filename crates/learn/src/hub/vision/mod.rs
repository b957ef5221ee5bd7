//! Transformers of pictures in a hub's folder: what they say of pictures.

#[cfg(feature = "image")]
mod pictures;

use std::path::Path;
use std::sync::Arc;

use kiln_data::Form;
use kiln_map::counted;
use kiln_nn::models::{EncoderBlockOptions, VisionConfig, VisionHead, VisionTransformer};
use kiln_nn::{Context, Key, Layer, Module, Tensor, Visitor};
use serde_json::{Map, Value};

use super::config::{activation, divides};
use super::encoder::config::{ClassMeaning, labels};
use super::fields::Fields;
use super::folder::{self, HubFolder};
use super::names::Naming;
use super::{classes, layout};
use crate::predictor::Prediction;
use crate::programs::Programs;
use crate::row::Pixels;
use crate::{Error, Result};

/// The kinds of transformers of pictures that are read.
pub(super) const KINDS: [&str; 1] = ["vit"];

/// The file that says how pictures become what a model takes.
const PREPROCESSOR: &str = "preprocessor_config.json";

/// A transformer of pictures of a hub's folder: ViT, bare or with classes.
///
/// ```no_run
/// use kiln::data::Picture;
/// use kiln::hub::VisionModel;
///
/// let model = VisionModel::open("vit-base")?;
/// let said = model.predict(&[Picture::open("cat.jpg")?])?;
/// println!("{:?}", said[0].class());
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Debug)]
pub struct VisionModel {
    is_bare: bool,
    model: VisionTransformer,
    pixels: Pixels,
    labels: Arc<[String]>,
    programs: Programs,
    /// What `config.json` holds, to write back.
    described: Map<String, Value>,
    /// What [`PREPROCESSOR`] holds, if there is one.
    prepared: Option<Map<String, Value>>,
}

impl VisionModel {
    /// Of a folder.
    ///
    /// # Errors
    /// Where a file is missing or damaged, the model is of a kind that isn't known, tensors don't fit what `config.json` says, or pictures
    /// are prepared in a way that isn't known; it names them.
    pub fn open(folder: impl AsRef<Path>) -> Result<VisionModel> {
        let folder = HubFolder::open(folder)?;
        let weights = folder.weights();
        let has_pooler = weights
            .as_ref()
            .is_ok_and(|weights| weights.iter().any(|weight| weight.name().ends_with("pooler.dense.weight")));
        let (config, labels) =
            config(&folder.described, has_pooler).map_err(|message| folder.fault(message))?;
        let prepared = folder.object(PREPROCESSOR)?;
        let empty = Map::new();
        let pixels = pixels(prepared.as_ref().unwrap_or(&empty), config.picture)
            .map_err(|message| folder.fault_in(PREPROCESSOR, message))?;
        let weights = weights?;
        let model = folder.within(&weights, || VisionTransformer::new(&config, Key::new(0)))?;
        layout::load(&model, Naming::Vit, &weights)?;
        Ok(VisionModel {
            is_bare: folder::is_bare(&weights, Naming::Vit),
            model,
            pixels,
            labels: labels.into(),
            programs: Programs::new(&[1, 8, 32]),
            described: folder.described,
            prepared,
        })
    }

    /// Writes the folder that [`VisionModel::open`] and other systems read.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let store = layout::store(&self.model, Naming::Vit)?;
        let store = if self.is_bare { folder::bare(store, Naming::Vit) } else { store };
        folder::save(folder, &store, &self.described, None)?;
        match &self.prepared {
            Some(prepared) => folder::write_object(&folder.join(PREPROCESSOR), prepared),
            None => Ok(()),
        }
    }

    /// What it is.
    pub fn config(&self) -> &VisionConfig {
        self.model.config()
    }

    /// Its layers, with their weights.
    pub fn model(&self) -> &VisionTransformer {
        &self.model
    }

    /// What it says of pictures of its size as bytes, `[pictures, channels, height, width]`: of which class each is.
    ///
    /// # Errors
    /// Where it tells no classes apart, or there are no whole pictures.
    pub fn predict_pixels(&self, pixels: &[u8]) -> Result<Vec<Prediction>> {
        let VisionHead::Classes(_) = self.config().head else {
            return Err(Error::Preparation(
                "the model tells no classes of pictures apart; from Rust VisionModel::model gives what each patch means".to_string(),
            ));
        };
        let form = Form::pixels(&self.config().picture);
        let count = pixels.len() / form.width().max(1);
        let mut logits = Vec::new();
        self.programs.run(&BehindPixels(self), &form, pixels, count, &mut logits)?;
        let said = |logits: &[f32]| classes::said(logits, &self.labels, ClassMeaning::One);
        Ok(logits.chunks((logits.len() / count.max(1)).max(1)).map(said).collect())
    }

    /// The names of the classes that it tells apart, if it does.
    pub fn labels(&self) -> &[String] {
        match self.config().head {
            VisionHead::Classes(_) => &self.labels,
            VisionHead::Steps | VisionHead::Pooler => &[],
        }
    }
}

/// The layers behind what pixels from 0 to 1 go through.
struct BehindPixels<'m>(&'m VisionModel);

impl Module for BehindPixels<'_> {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.model.visit(visitor);
    }
}

impl Layer for BehindPixels<'_> {
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        self.0.model.forward(&self.0.pixels.of(x), context)
    }
}

/// No picture's side is longer.
const LONGEST: u64 = 1 << 16;

/// One number, or two, for the two sides of a picture.
fn sides(fields: &Fields, name: &str) -> std::result::Result<[usize; 2], String> {
    let missing = || format!("it doesn't say \"{name}\"");
    let value = fields.known(name).ok_or_else(missing)?;
    let both = match value.as_array().map(Vec::as_slice) {
        None => Some([value, value]),
        Some([height, width]) => Some([height, width]),
        Some(_) => None,
    };
    let side = |side: &Value| side.as_u64().filter(|side| (1..=LONGEST).contains(side));
    match both.map(|both| both.map(side)) {
        Some([Some(height), Some(width)]) => Ok([height as usize, width as usize]),
        _ => Err(format!("\"{name}\" is {value}, and should be a height and a width of 1 to {LONGEST}")),
    }
}

/// A transformer of pictures as a configuration says it, and the names of classes.
fn config(
    object: &Map<String, Value>,
    has_pooler: bool,
) -> std::result::Result<(VisionConfig, Vec<String>), String> {
    let fields = Fields(object);
    let architectures = fields.known("architectures").and_then(Value::as_array);
    let name = architectures.and_then(|names| names.first()).and_then(Value::as_str).unwrap_or("ViTModel");
    let labels = labels(&fields)?;
    let head = match name {
        "ViTForImageClassification" => VisionHead::Classes(labels.len()),
        "ViTModel" if has_pooler => VisionHead::Pooler,
        "ViTModel" => VisionHead::Steps,
        other => {
            return Err(format!(
                "its \"architectures\" say \"{other}\"; kiln reads ViTModel and ViTForImageClassification"
            ));
        }
    };
    let pooler = fields.text_or("pooler_act", "tanh")?;
    if pooler != "tanh" {
        return Err(format!("\"pooler_act\" is \"{pooler}\"; kiln computes tanh"));
    }
    let (width, heads) = (fields.count("hidden_size")?, fields.count("num_attention_heads")?);
    divides(width, heads)?;
    let ([height, across], patch) = (sides(&fields, "image_size")?, sides(&fields, "patch_size")?);
    let block = EncoderBlockOptions {
        feedforward: fields.count("intermediate_size")?,
        activation: activation(fields.text_or("hidden_act", "gelu")?)?,
        epsilon: fields.number_or("layer_norm_eps", 1e-12)?,
        bias: fields.flag_or("qkv_bias", true)?,
        pre_norm: true,
        dropout: fields.share_or("hidden_dropout_prob", 0.0)?,
        attention_dropout: fields.share_or("attention_probs_dropout_prob", 0.0)?,
        ..EncoderBlockOptions::new(width, heads)
    };
    let channels = fields.count_or("num_channels", 3)?;
    if !matches!(channels, 1 | 3) {
        return Err(format!("\"num_channels\" is {channels}, and pictures have 1 or 3"));
    }
    let config = VisionConfig {
        picture: [channels, height, across],
        patch,
        width,
        blocks: fields.count("num_hidden_layers")?,
        block,
        head,
    };
    match config.patches() {
        0 => Err(format!(
            "\"patch_size\" {} × {} is more than \"image_size\" {height} × {across}",
            patch[0], patch[1]
        )),
        _ => Ok((config, labels)),
    }
}

/// What pixels from 0 to 1 go through, of pictures of this many channels, height and width.
fn pixels(object: &Map<String, Value>, picture: [usize; 3]) -> std::result::Result<Pixels, String> {
    let fields = Fields(object);
    let [channels, height, width] = picture;
    let flag = |name: &str| fields.flag_or(name, true);
    if flag("do_resize")? {
        if let Some(size) = fields.known("size") {
            let side = |name: &str| size.get(name).unwrap_or(size).as_u64();
            if [side("height"), side("width")] != [Some(height as u64), Some(width as u64)] {
                return Err(format!("\"size\" is {size}, and the model takes {height} × {width}"));
            }
        }
        let resample = fields.number_or("resample", 2.0)?;
        if resample != 2.0 {
            return Err(format!("\"resample\" is {resample}; kiln resizes by 2, which is bilinear"));
        }
    }
    let scale = match flag("do_rescale")? {
        true => 255.0 * fields.number_or("rescale_factor", 1.0 / 255.0)?,
        false => 255.0,
    };
    let each = |name: &str, usual: f64| -> std::result::Result<Vec<f32>, String> {
        match fields.known(name) {
            None => Ok(vec![usual as f32; channels]),
            Some(value) => {
                let numbers: Vec<f32> = value.as_array().map_or(Vec::new(), |list| {
                    list.iter().filter_map(Value::as_f64).map(|number| number as f32).collect()
                });
                let fits = numbers.len() == channels && numbers.iter().all(|number| number.is_finite());
                fits.then_some(numbers).ok_or_else(|| {
                    format!("\"{name}\" is {value}, and should be {}", counted(channels, "number"))
                })
            }
        }
    };
    let is_normalized = flag("do_normalize")?;
    let (mean, deviation) = match is_normalized {
        true => (each("image_mean", 0.5)?, each("image_std", 0.5)?),
        false => (vec![0.0; channels], vec![1.0; channels]),
    };
    if deviation.contains(&0.0) {
        return Err("\"image_std\" has a 0, by which nothing can be divided".to_string());
    }
    Ok(Pixels {
        factor: deviation.iter().map(|deviation| scale as f32 / deviation).collect(),
        shift: mean.iter().zip(&deviation).map(|(mean, deviation)| -mean / deviation).collect(),
        channels_last: false,
    })
}
