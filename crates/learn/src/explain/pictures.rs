//! Why a picture is taken for what it is: integrated gradients of its pixels, from a picture with nothing on it.

use kiln_data::{Dataset, Form, Set};
use kiln_map::counted;

use super::ExplainedScale;
use super::asked::{AskedTarget, WantedScore};
use super::exact::behind;
use super::gradients::{Slopes, StraightPath, integrated};
use crate::model::Model;
use crate::preparation::{ImagePreparation, Preparation};
use crate::{Error, Result};

/// What a picture is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureBaseline {
    /// One as bright everywhere as the edges of the training's pictures; black where that isn't known.
    #[default]
    Ground,
    /// A black one.
    Black,
    /// Itself, blurred until nothing in it can be told.
    Blurred,
}

impl std::str::FromStr for PictureBaseline {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<PictureBaseline, String> {
        match name {
            "ground" => Ok(PictureBaseline::Ground),
            "black" => Ok(PictureBaseline::Black),
            "blurred" => Ok(PictureBaseline::Blurred),
            _ => Err("it is ground, black or blurred".to_string()),
        }
    }
}

/// What each pixel of a picture moves.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureExplanation {
    /// The class whose score it is, by its place.
    pub class: usize,
    /// The score of the picture.
    pub output: f64,
    /// That of what it is compared with.
    pub baseline: f64,
    /// What each pixel moves, `[channels, height, width]`.
    pub moved: Vec<f64>,
}

impl PictureExplanation {
    /// What is left of the output less the baseline and all that is moved: the error of the integral.
    pub fn rest(&self) -> f64 {
        self.output - self.baseline - self.moved.iter().sum::<f64>()
    }

    /// What each place moves, all channels together, `[height, width]`.
    pub fn places(&self, channels: usize) -> Vec<f64> {
        let plane = self.moved.len() / channels.max(1);
        (0..plane).map(|at| self.moved.iter().skip(at).step_by(plane.max(1)).sum()).collect()
    }
}

/// Explains the pictures of a set.
///
/// ```
/// use kiln::data::{ImageSize, Set};
/// use kiln::explain::{PictureBaseline, explain_pictures};
/// use kiln::preparation::ImagePreparation;
/// use kiln::prelude::*;
///
/// // Whether the left or the right of eight columns is bright.
/// let images = ImagePreparation::new(ImageSize { channels: 1, height: 8, width: 8 });
/// let bright = |at: usize, row: usize| if at % 8 == row % 2 * 5 + 1 { 200u8 } else { (at * 7 % 20) as u8 };
/// let pixels: Vec<u8> = (0..32).flat_map(|row| (0..64).map(move |at| bright(at, row))).collect();
/// let set = Set::classes(pixels, images.form(), (0..32).map(|row| row % 2).collect())?.named(["left", "right"]);
/// let trainer = Trainer::new(Sequential::new().flatten().dense(2), CrossEntropy::new(), Adam::new(0.05));
/// let model = trainer.epochs(20).quiet().fit(&set)?.with_preparation(images)?;
/// let why = explain_pictures(&model, &set, None, PictureBaseline::Black)?;
/// let places = why[1].places(1);
/// let most = (0..64).max_by(|a, b| places[*a].total_cmp(&places[*b])).unwrap();
/// assert_eq!((why[1].class, most % 8), (1, 6));
/// assert!(why[1].rest().abs() < 1e-3);
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where the model doesn't tell pictures apart, they are of another size, or it has no slopes.
pub fn explain_pictures(
    model: &Model,
    set: &Set,
    class: Option<&str>,
    baseline: PictureBaseline,
) -> Result<Vec<PictureExplanation>> {
    let about = model.about();
    let Preparation::Images(images) = &about.preparation else {
        return Err(Error::Preparation(format!(
            "{}, and pictures are explained",
            about.preparation.takes(&about.input)
        )));
    };
    let asked = AskedTarget::new(&about.task, about.threshold, None, class)?;
    let form = set.x();
    let width = form.width();
    if form.shape != about.input.shape {
        return Err(Error::Preparation(format!(
            "the pictures are {:?}, and the model takes {:?}",
            form.shape, about.input.shape
        )));
    }
    if set.inputs().is_empty() {
        return Ok(Vec::new());
    }
    let scale = scale(&form);
    let inputs = set.inputs();
    let x: Vec<f32> = (0..inputs.len()).map(|at| inputs.get(at).unwrap_or_default() as f32 * scale).collect();
    let outputs = about.task.outputs();
    let mut ways = Vec::new();
    for picture in x.chunks(width.max(1)) {
        let from = blank(picture, images, &form, scale, baseline);
        let (there, own) = (
            behind(model.layers(), 0, &from, &form.shape, None)?,
            behind(model.layers(), 0, picture, &form.shape, None)?,
        );
        if own.len() != outputs && own.len() != 1 {
            return Err(Error::Preparation(format!(
                "the model gives {} for a picture",
                counted(own.len(), "number")
            )));
        }
        let wanted = asked.wanted(&own)?;
        ways.push(PictureWay { from, output: wanted.of(&own), baseline: wanted.of(&there), wanted });
    }
    let outputs = ways.first().map_or(0, |way| way.wanted.weights.len());
    let mut slopes = Slopes::new(model.layers(), 0, &form.shape, outputs, |x, _, _| x.clone());
    let all: Vec<StraightPath> = x
        .chunks(width.max(1))
        .zip(&ways)
        .map(|(to, way)| StraightPath {
            from: &way.from,
            to,
            weights: &way.wanted.weights,
            difference: way.output - way.baseline,
        })
        .collect();
    let found = integrated(&mut slopes, &all)?;
    let told = |(moved, way): (Vec<f64>, &PictureWay)| PictureExplanation {
        class: way.wanted.class.unwrap_or(0),
        output: way.output,
        baseline: way.baseline,
        moved,
    };
    Ok(found.into_iter().zip(&ways).map(told).collect())
}

/// Where a picture's way begins, and what is said at both of its ends.
struct PictureWay {
    from: Vec<f32>,
    output: f64,
    baseline: f64,
    wanted: WantedScore,
}

/// In what pictures and texts are explained, of so many classes.
pub fn class_scale(classes: usize) -> ExplainedScale {
    if classes == 2 { ExplainedScale::LogOdds } else { ExplainedScale::Score }
}

/// What bytes are multiplied by.
fn scale(form: &Form) -> f32 {
    match form.meaning {
        kiln_data::Meaning::Numbers { scale } => scale,
        kiln_data::Meaning::Codes { .. } => 1.0,
    }
}

/// The picture with nothing on it that another is compared with.
fn blank(
    picture: &[f32],
    images: &ImagePreparation,
    form: &Form,
    scale: f32,
    baseline: PictureBaseline,
) -> Vec<f32> {
    match baseline {
        PictureBaseline::Black => vec![0.0; picture.len()],
        PictureBaseline::Ground => vec![images.ground.unwrap_or(0.0) as f32 * scale; picture.len()],
        PictureBaseline::Blurred => {
            let (height, width) = (form.shape[1], form.shape[2]);
            let mut blurred = picture.to_vec();
            let reach = (height.max(width) / 4).max(1);
            for plane in blurred.chunks_mut((height * width).max(1)) {
                for _ in 0..3 {
                    smooth(plane, (height, width), reach);
                }
            }
            blurred
        }
    }
}

/// The mean of each place's surroundings, along rows and then along columns.
fn smooth(plane: &mut [f32], (height, width): (usize, usize), reach: usize) {
    let mut line = |start: usize, step: usize, count: usize| {
        let values: Vec<f32> = (0..count).map(|at| plane[start + at * step]).collect();
        for at in 0..count {
            let (first, last) = (at.saturating_sub(reach), (at + reach + 1).min(count));
            plane[start + at * step] = values[first..last].iter().sum::<f32>() / (last - first) as f32;
        }
    };
    (0..height).for_each(|row| line(row * width, 1, width));
    (0..width).for_each(|column| line(column, width, height));
}
