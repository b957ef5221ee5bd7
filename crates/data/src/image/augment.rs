//! Images varied as they are read: each time another way, which follows from the bits the set is given for the row and epoch, so
//! that a training that goes on sees what it would have seen.

use std::fmt;
use std::str::FromStr;

use super::tone::Tone;
use crate::dataset::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::values::{Form, ValueKind, Values};

/// How images are varied, each amount at random up to the one given.
///
/// ```
/// use kiln_data::Augment;
///
/// let augment: Augment = "flip, shift 2, rotate 10, cutout 6".parse()?;
/// assert_eq!(augment.to_string(), "flip, shift 2, rotate 10, cutout 6");
/// let error = "flop".parse::<Augment>().unwrap_err().to_string();
/// assert!(error.contains("flip"));
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment(Vec<Change>);

/// One way to vary an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Left and right change places, or don't.
    Flip,
    /// Up and down change places, or don't.
    FlipUp,
    /// Moved by up to so many pixels each way.
    Shift(f32),
    /// Turned by up to so many degrees.
    Rotate(f32),
    /// Larger or smaller by up to this share.
    Scale(f32),
    /// A piece of the image's size, cut from it with so many pixels of ground around.
    Crop(f32),
    /// Brighter or darker, with more or less contrast, by up to this share.
    Colour(f32),
    /// Each pixel changed, with this deviation from 0 to 1.
    Noise(f32),
    /// A square of this side emptied.
    Cutout(f32),
    /// Slanted by up to this share, across and upwards.
    Shear(f32),
    /// Colours stronger or weaker by up to this share.
    Saturation(f32),
    /// Fewer shades: up to so many of the 8 bits go.
    Posterise(f32),
    /// Shades above a limit inverted, where up to this share of all shades lies above it.
    Solarise(f32),
    /// All shades made equally frequent, or not.
    Equalise,
    /// The darkest shade made black and the brightest white, or not.
    Contrast,
    /// So many of these changes, drawn anew for each image, each up to this strength of 30 (RandAugment).
    Random(f32, f32),
}

/// A word, the change it makes of a number, and the most that number may be (0 where it takes none).
type NamedChange = (&'static str, fn(f32) -> Change, f32);

/// The word of changes that are drawn, which takes two numbers, and the most of each.
const RANDOM: (&str, [f32; 2]) = ("random", [10.0, 30.0]);

const WORDS: [NamedChange; 15] = [
    ("flip", |_| Change::Flip, 0.0),
    ("flip-up", |_| Change::FlipUp, 0.0),
    ("shift", Change::Shift, 1e4),
    ("rotate", Change::Rotate, 180.0),
    ("scale", Change::Scale, 0.9),
    ("crop", Change::Crop, 1e4),
    ("colour", Change::Colour, 1.0),
    ("noise", Change::Noise, 1.0),
    ("cutout", Change::Cutout, 1e4),
    ("shear", Change::Shear, 1.0),
    ("saturation", Change::Saturation, 1.0),
    ("posterise", Change::Posterise, 7.0),
    ("solarise", Change::Solarise, 1.0),
    ("equalise", |_| Change::Equalise, 0.0),
    ("contrast", |_| Change::Contrast, 0.0),
];

impl FromIterator<Change> for Augment {
    fn from_iter<C: IntoIterator<Item = Change>>(changes: C) -> Augment {
        Augment(changes.into_iter().collect())
    }
}

impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Augment> {
        let change = |part: &str| {
            let mut words = part.split_whitespace();
            let word = words.next().unwrap_or("").to_lowercase().replace("color", "colour");
            if word == RANDOM.0 {
                let mut number =
                    |most: f32| words.next()?.parse().ok().filter(|number| (0.0..=most).contains(number));
                let [count, strength] = RANDOM.1.map(&mut number);
                return match (count, strength, words.next()) {
                    (Some(count), Some(strength), None) if count.fract() == 0.0 => {
                        Ok(Change::Random(count, strength))
                    }
                    _ => Err(Error::new(
                        "random takes how many changes are drawn (10 at most) and how strong they are (30 at most), as in \"random 2 9\"",
                    )),
                };
            }
            let Some((_, make, most)) = WORDS.iter().find(|(name, ..)| *name == word) else {
                let names = WORDS.map(|(name, ..)| name).join(", ") + ", random";
                return Err(Error::new(format!("no image can be varied by \"{word}\"; there are {names}")));
            };
            match (*most, words.next().map(str::parse::<f32>), words.next()) {
                (0.0, None, None) => Ok(make(0.0)),
                (0.0, ..) => Err(Error::new(format!("{word} takes no number"))),
                (most, Some(Ok(amount)), None) if amount >= 0.0 && amount <= most => Ok(make(amount)),
                (most, ..) => Err(Error::new(format!(
                    "{word} takes a number from 0 to {most}, as in \"{word} {}\"",
                    most.min(2.0)
                ))),
            }
        };
        text.split(',').map(change).collect::<Result<_>>().map(Augment)
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |change: &Change| match change {
            Change::Flip => "flip".to_string(),
            Change::FlipUp => "flip-up".to_string(),
            Change::Shift(amount) => format!("shift {amount}"),
            Change::Rotate(amount) => format!("rotate {amount}"),
            Change::Scale(amount) => format!("scale {amount}"),
            Change::Crop(amount) => format!("crop {amount}"),
            Change::Colour(amount) => format!("colour {amount}"),
            Change::Noise(amount) => format!("noise {amount}"),
            Change::Cutout(amount) => format!("cutout {amount}"),
            Change::Shear(amount) => format!("shear {amount}"),
            Change::Saturation(amount) => format!("saturation {amount}"),
            Change::Posterise(amount) => format!("posterise {amount}"),
            Change::Solarise(amount) => format!("solarise {amount}"),
            Change::Equalise => "equalise".to_string(),
            Change::Contrast => "contrast".to_string(),
            Change::Random(count, strength) => format!("random {count} {strength}"),
        };
        f.write_str(&self.0.iter().map(text).collect::<Vec<_>>().join(", "))
    }
}

/// The changes that are drawn of at a strength from 0 to 1, for images of so many pixels on a side: after Cubuk and others, RandAugment
/// (2020), with those of its list that are here.
fn drawn(rng: &mut Rng, strength: f32, side: f32) -> Option<Change> {
    let all = [
        // As it is.
        None,
        Some(Change::Rotate(30.0 * strength)),
        Some(Change::Shear(0.3 * strength)),
        Some(Change::Shift(0.33 * side * strength)),
        Some(Change::Colour(0.9 * strength)),
        Some(Change::Saturation(0.9 * strength)),
        Some(Change::Posterise(4.0 * strength)),
        Some(Change::Solarise(strength)),
        Some(Change::Equalise),
        Some(Change::Contrast),
    ];
    all[rng.below(all.len())]
}

impl Augment {
    /// With each draw of changes in the place of the word for it.
    fn settled(&self, rng: &mut Rng, side: usize) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.0.len());
        for change in &self.0 {
            match *change {
                Change::Random(count, strength) => {
                    let draws = (0..count as usize).filter_map(|_| drawn(rng, strength / 30.0, side as f32));
                    changes.extend(draws);
                }
                change => changes.push(change),
            }
        }
        changes
    }

    /// Varies one image `[channels, height, width]`, with this ground around it.
    pub fn apply(&self, pixels: &mut [u8], [channels, height, width]: [usize; 3], ground: u8, draw: u64) {
        let mut rng = Rng::new(draw);
        // Where a pixel comes from: the middle, turned and scaled, and moved.
        let (mut across, mut down) = ([1f32, 0.0], [0f32, 1.0]);
        let (mut right, mut below, mut moved) = (0f32, 0f32, false);
        let (mut gain, mut lift, mut deviation) = (1f32, 0f32, 0f32);
        let (mut holes, mut tones) = (Vec::new(), Vec::new());
        for change in self.settled(&mut rng, height.min(width)) {
            let mut around = |amount: f32| amount * (2.0 * rng.uniform() as f32 - 1.0);
            moved |= change.moves();
            match change {
                Change::Flip => {
                    if rng.uniform() < 0.5 {
                        across = across.map(|x| -x);
                    }
                }
                Change::FlipUp => {
                    if rng.uniform() < 0.5 {
                        down = down.map(|x| -x);
                    }
                }
                Change::Shift(amount) => (right, below) = (right + around(amount), below + around(amount)),
                Change::Crop(amount) => {
                    (right, below) = (right + around(amount).round(), below + around(amount).round())
                }
                Change::Rotate(degrees) => {
                    let (sin, cos) = libm::sincosf(around(degrees).to_radians());
                    let turn = |[x, y]: [f32; 2]| [x * cos - y * sin, x * sin + y * cos];
                    (across, down) = (turn(across), turn(down));
                }
                Change::Scale(share) => {
                    let factor = 1.0 + around(share);
                    (across, down) = (across.map(|x| x / factor), down.map(|x| x / factor));
                }
                Change::Colour(share) => {
                    (gain, lift) = (gain * (1.0 + around(share)), lift + 128.0 * around(share))
                }
                Change::Noise(amount) => deviation = libm::hypotf(deviation, 255.0 * amount),
                Change::Cutout(side) => {
                    let side = side as usize;
                    holes.push((rng.below(height + side), rng.below(width + side), side));
                }
                Change::Shear(share) => {
                    let (slant, rise) = (around(share), around(share));
                    let sheared = |[x, y]: [f32; 2]| [x + slant * y, y + rise * x];
                    (across, down) = (sheared(across), sheared(down));
                }
                Change::Saturation(share) => tones.push(Tone::Saturation(1.0 + around(share))),
                Change::Posterise(bits) => {
                    tones.push(Tone::Posterise((rng.uniform() as f32 * bits).round() as u32))
                }
                Change::Solarise(share) => tones.push(Tone::Solarise(1.0 - rng.uniform() as f32 * share)),
                Change::Equalise | Change::Contrast if rng.uniform() < 0.5 => {}
                Change::Equalise => tones.push(Tone::Equalise),
                Change::Contrast => tones.push(Tone::Contrast),
                // They are drawn.
                Change::Random(..) => {}
            }
        }
        for image in pixels.chunks_exact_mut(height * width).take(channels) {
            if moved {
                warp(image, [height, width], across, down, [right, below], ground);
            }
            if gain != 1.0 || lift != 0.0 || deviation > 0.0 {
                for pixel in image.iter_mut() {
                    let noise = if deviation > 0.0 { deviation * rng.normal() as f32 } else { 0.0 };
                    let value = (f32::from(*pixel) - 128.0) * gain + 128.0 + lift + noise;
                    *pixel = value.round().clamp(0.0, 255.0) as u8;
                }
            }
        }
        tones.iter().for_each(|tone| tone.apply(pixels, channels, height * width));
        for image in pixels.chunks_exact_mut(height * width).take(channels) {
            for &(bottom, end, side) in &holes {
                for row in bottom.saturating_sub(side)..bottom.min(height) {
                    image[row * width + end.saturating_sub(side).min(width)..row * width + end.min(width)]
                        .fill(ground);
                }
            }
        }
    }
}

impl Change {
    /// Whether pixels come from other places.
    fn moves(self) -> bool {
        match self {
            Change::Flip | Change::FlipUp | Change::Shift(_) | Change::Rotate(_) | Change::Scale(_) => true,
            Change::Crop(_) | Change::Shear(_) => true,
            Change::Colour(_) | Change::Noise(_) | Change::Cutout(_) | Change::Saturation(_) => false,
            Change::Posterise(_) | Change::Solarise(_) | Change::Equalise | Change::Contrast => false,
            Change::Random(..) => false,
        }
    }
}

/// Reads each pixel from where it comes from, between the four nearest.
fn warp(
    image: &mut [u8],
    [height, width]: [usize; 2],
    across: [f32; 2],
    down: [f32; 2],
    [right, below]: [f32; 2],
    ground: u8,
) {
    let old = image.to_vec();
    let (middle_x, middle_y) = ((width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0);
    let at = |row: isize, column: isize| match row >= 0
        && column >= 0
        && (row as usize) < height
        && (column as usize) < width
    {
        true => f32::from(old[row as usize * width + column as usize]),
        false => f32::from(ground),
    };
    for row in 0..height {
        for column in 0..width {
            let (x, y) = (column as f32 - middle_x - right, row as f32 - middle_y - below);
            let from_x = x * across[0] + y * down[0] + middle_x;
            let from_y = x * across[1] + y * down[1] + middle_y;
            let (left, top) = (from_x.floor(), from_y.floor());
            let (share_x, share_y) = (from_x - left, from_y - top);
            let (left, top) = (left as isize, top as isize);
            let line = |row: isize| at(row, left) * (1.0 - share_x) + at(row, left + 1) * share_x;
            let value = line(top) * (1.0 - share_y) + line(top + 1) * share_y;
            image[row * width + column] = value.round() as u8;
        }
    }
}

/// A set of images whose rows are varied.
#[derive(Clone, Debug)]
pub struct Augmented<D> {
    of: D,
    augment: Augment,
    sizes: [usize; 3],
    ground: u8,
}

impl<D: Dataset> Augmented<D> {
    /// A set's images `[channels, height, width]` in bytes, varied.
    ///
    /// # Errors
    /// Where the set isn't one of such images.
    pub fn new(of: D, augment: Augment, ground: u8) -> Result<Augmented<D>> {
        let form = of.x();
        match (form.kind, form.shape.as_slice()) {
            (ValueKind::U8, &[channels, height, width]) if width > 0 && height > 0 => {
                Ok(Augmented { of, augment, sizes: [channels, height, width], ground })
            }
            _ => Err(Error::new(format!("only images in bytes can be varied, not rows of {:?}", form.shape))),
        }
    }
}

impl<D: Dataset> Dataset for Augmented<D> {
    fn len(&self) -> usize {
        self.of.len()
    }

    fn x(&self) -> Form {
        self.of.x()
    }

    fn y(&self) -> Form {
        self.of.y()
    }

    fn further(&self) -> Vec<(String, Form)> {
        self.of.further()
    }

    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
        let before = batch.x.len();
        self.of.read(row, draw, batch)?;
        if let Values::U8(values) = &mut batch.x
            && let Some(image) = values.get_mut(before..)
        {
            self.augment.apply(image, self.sizes, self.ground, draw);
        }
        Ok(())
    }

    fn is_weighted(&self) -> bool {
        self.of.is_weighted()
    }

    fn is_varied(&self) -> bool {
        true
    }

    fn names(&self) -> &[String] {
        self.of.names()
    }

    fn labels(&self) -> Result<Vec<i64>> {
        self.of.labels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Set, digits};

    fn image() -> Vec<u8> {
        (0..64).map(|at| (at * 4) as u8).collect()
    }

    fn changed(text: &str, draw: u64) -> Vec<u8> {
        let mut pixels = image();
        text.parse::<Augment>().unwrap().apply(&mut pixels, [1, 8, 8], 0, draw);
        pixels
    }

    #[test]
    fn each_change_follows_from_its_bits() {
        for text in [
            "flip",
            "flip-up",
            "shift 2",
            "rotate 20",
            "scale 0.2",
            "crop 3",
            "colour 0.3",
            "noise 0.1",
            "cutout 4",
            "shear 0.4",
            "posterise 6",
            "solarise 0.8",
            "equalise",
            "contrast",
            "random 2 20",
        ] {
            assert_eq!(changed(text, 7), changed(text, 7), "{text}");
            assert!((0..20).any(|draw| changed(text, draw) != image()), "{text} changes nothing");
            let amount = text.split(' ').next().unwrap();
            let by_nothing = match amount {
                "flip" | "flip-up" | "equalise" | "contrast" => continue,
                "random" => "random 0 9".to_string(),
                amount => format!("{amount} 0"),
            };
            assert_eq!(changed(&by_nothing, 7), image(), "{text} by nothing");
        }
        let flipped: Vec<u8> = image().chunks(8).flat_map(|row| row.iter().rev().copied()).collect();
        assert!((0..20).all(|draw| [image(), flipped.clone()].contains(&changed("flip", draw))));
        let holes = (0..50).map(|draw| changed("cutout 4", draw).iter().filter(|&&pixel| pixel == 0).count());
        assert!(holes.max().unwrap() <= 17);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "",
            "spin",
            "shift",
            "shift x",
            "shift -1",
            "flip 3",
            "rotate 10 20",
            "scale 2",
            "random 2",
            "random 1.5 3",
            "random 2 31",
        ] {
            assert!(text.parse::<Augment>().is_err(), "{text}");
        }
        let rows = Set::classes(vec![1f32; 4], Form::numbers(&[2]), vec![0, 1]).unwrap();
        assert!(Augmented::new(rows, Augment::default(), 0).is_err());
    }

    #[test]
    fn an_augmented_set_differs_by_epoch_and_is_the_same_by_seed() {
        let set = Augmented::new(digits(20, 1), "shift 2, rotate 10".parse().unwrap(), 0).unwrap();
        let epoch = |epoch: u64| set.batches(20).shuffle(3).epoch(epoch).next().unwrap().unwrap();
        assert_eq!(epoch(0), epoch(0));
        assert_ne!(epoch(0).x, epoch(1).x);
    }
}
