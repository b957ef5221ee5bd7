//! Pictures: what each place of them moves, drawn over them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{ImageSize, encode_png};
use kiln_learn::explain::{PictureBaseline, PictureExplanation, class_scale, explain_pictures};
use kiln_learn::preparation::ImagePreparation;
use kiln_learn::{Model, Predictor};

use super::ExplainFlags;
use super::shown::{adds_up, number};
use crate::out;
use crate::predict::lines::{best, object};
use crate::rows;

/// The shorter side of what is drawn is at least so many pixels.
const SIDE: usize = 224;

/// What a drawing's name ends in, behind the picture's own.
const ENDING: &str = "why.png";

pub(super) fn run(flags: &ExplainFlags, model: Model, images: &ImagePreparation) -> Result<()> {
    let is_several =
        |input: &PathBuf| rows::is_standard_input(input) || input.is_dir() || rows::archive(input).is_some();
    if flags.out.is_none() && flags.inputs.iter().any(is_several) {
        bail!("say where the drawings of a folder, an archive or the standard input go: --out DIR");
    }
    let predictor = Predictor::new(model)?;
    let about = predictor.model().about();
    let asked = rows::without_answers(about, &flags.inputs)?;
    asked.notes.iter().for_each(out::note);
    asked.failed.iter().for_each(|failed| out::note(format_args!("error: {failed}")));
    let size = images.size;
    let one = size.channels * size.height * size.width;
    let pixels = asked.rows.inputs().as_u8().context("pictures are bytes")?;
    let count = asked.files.len().min(flags.rows.unwrap_or(usize::MAX));
    let rows = images.rows(pixels[..count * one].to_vec())?.rows;
    let said = predictor.predict(&rows)?;
    let baseline = flags.baseline.unwrap_or_default();
    let why = explain_pictures(predictor.model(), &rows, flags.class.as_deref(), baseline)?;
    let classes = match said.first() {
        Some(answer) => answer.probabilities().map(|(name, _)| name.to_string()).collect(),
        None => Vec::new(),
    };
    let scale = class_scale(classes.len());
    for (row, ((why, said), file)) in why.iter().zip(&said).zip(&asked.files).enumerate() {
        let path = drawing(file, flags.out.as_deref(), row);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let drawn = overlay(&pixels[row * one..][..one], size, &why.places(size.channels));
        kiln_files::write(&path, drawn?).with_context(|| path.display().to_string())?;
        let class = classes.get(why.class).map_or("", String::as_str);
        match flags.json {
            true => {
                let mut line = object(Some(file), said, &about.task, row);
                line["class"] = class.into();
                line["scale"] = scale.to_string().into();
                line["output"] = why.output.into();
                line["baseline"] = why.baseline.into();
                line["rest"] = why.rest().into();
                line["drawing"] = path.display().to_string().into();
                out::line(line)?;
            }
            false => {
                out::line(format_args!(
                    "{}: {}  [{scale} of {class}]\n{}\n  {}; drawn in {}",
                    file.display(),
                    best(said, &about.task, 1),
                    adds_up(why.baseline, why.output - why.baseline - why.rest(), why.output),
                    split(why),
                    path.display()
                ))?;
            }
        }
    }
    if !flags.json {
        let from = match baseline {
            PictureBaseline::Ground => "an empty picture as bright as the training's edges",
            PictureBaseline::Black => "a black picture",
            PictureBaseline::Blurred => "the picture blurred",
        };
        out::line(format_args!(
            "integrated gradients from {from}; red speaks for the class, blue against it"
        ))?;
    }
    match asked.failed.is_empty() {
        true => Ok(()),
        false => bail!("{} couldn't be read", out::counted(asked.failed.len(), "picture")),
    }
}

/// How much speaks for the class, and how much against it.
fn split(why: &PictureExplanation) -> String {
    let sum = |sign: f64| why.moved.iter().map(|moved| (moved * sign).max(0.0)).sum::<f64>() * sign;
    format!("{} for it, {} against it", number(sum(1.0), true), number(sum(-1.0), true))
}

/// Where the drawing of a picture goes: beside it, or in a folder.
fn drawing(file: &Path, folder: Option<&Path>, row: usize) -> PathBuf {
    let name = file.file_name().map(|name| format!("{}.{ENDING}", name.to_string_lossy()));
    match (folder, name) {
        (None, Some(name)) => file.with_file_name(name),
        (Some(folder), Some(name)) => folder.join(format!("{}-{name}", row + 1)),
        (folder, None) => folder.unwrap_or(Path::new("")).join(format!("{}.{ENDING}", row + 1)),
    }
}

/// A picture in grey with what each place moves over it: red for, blue against.
fn overlay(pixels: &[u8], size: ImageSize, places: &[f64]) -> Result<Vec<u8>> {
    let ImageSize { channels, height, width } = size;
    let plane = height * width;
    let grey = |at: usize| {
        (0..channels).map(|channel| f64::from(pixels[channel * plane + at])).sum::<f64>() / channels as f64
    };
    let mut sizes: Vec<f64> = places.iter().map(|moved| moved.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    // A few pixels that are far above all others hide nothing.
    let full =
        sizes.get(sizes.len().saturating_sub(1) * 995 / 1000).copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
    let larger = SIDE.div_ceil(height.min(width).max(1)).max(1);
    let drawn = ImageSize { channels: 3, height: height * larger, width: width * larger };
    let area = drawn.height * drawn.width;
    let mut all = vec![0u8; 3 * area];
    for at in 0..area {
        let (row, column) = (at / drawn.width / larger, at % drawn.width / larger);
        let place = row * width + column;
        let (ground, strength) = (0.35 * grey(place) + 60.0, (places[place] / full).clamp(-1.0, 1.0));
        let colour = if strength > 0.0 { [255.0, 40.0, 30.0] } else { [40.0, 90.0, 255.0] };
        for (channel, own) in colour.into_iter().enumerate() {
            let mixed = ground + (own - ground) * strength.abs();
            all[channel * area + at] = mixed.round().clamp(0.0, 255.0) as u8;
        }
    }
    Ok(encode_png(&all, drawn)?)
}
