//! Images varied as they are read: each time another way, which follows from the bits the set is given for the row and epoch, so
//! that a training that goes on sees what it would have seen.

use std::fmt;
use std::str::FromStr;

use crate::dataset::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::values::{Form, Meaning, ValueKind, Values};

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
}

/// A word, the change it makes of a number, and the most that number may be (0 where it takes none).
type NamedChange = (&'static str, fn(f32) -> Change, f32);

const WORDS: [NamedChange; 9] = [
    ("flip", |_| Change::Flip, 0.0),
    ("flip-up", |_| Change::FlipUp, 0.0),
    ("shift", Change::Shift, 1e4),
    ("rotate", Change::Rotate, 180.0),
    ("scale", Change::Scale, 0.9),
    ("crop", Change::Crop, 1e4),
    ("colour", Change::Colour, 1.0),
    ("noise", Change::Noise, 1.0),
    ("cutout", Change::Cutout, 1e4),
];

impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Augment> {
        let change = |part: &str| {
            let mut words = part.split_whitespace();
            let word = words.next().unwrap_or("").to_lowercase().replace("color", "colour");
            let Some((_, make, most)) = WORDS.iter().find(|(name, ..)| *name == word) else {
                let names = WORDS.map(|(name, ..)| name).join(", ");
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
        };
        f.write_str(&self.0.iter().map(text).collect::<Vec<_>>().join(", "))
    }
}

impl Augment {
    /// Varies one image `[channels, height, width]`, with this ground around it.
    pub fn apply(&self, pixels: &mut [u8], [channels, height, width]: [usize; 3], ground: u8, draw: u64) {
        let mut rng = Rng::new(draw);
        // Where a pixel comes from: the middle, turned and scaled, and moved.
        let (mut across, mut down) = ([1f32, 0.0], [0f32, 1.0]);
        let (mut right, mut below, mut moved) = (0f32, 0f32, false);
        let (mut gain, mut lift, mut deviation) = (1f32, 0f32, 0f32);
        let mut holes = Vec::new();
        for change in &self.0 {
            let mut around = |amount: f32| amount * (2.0 * rng.uniform() as f32 - 1.0);
            moved |= !matches!(change, Change::Colour(_) | Change::Noise(_) | Change::Cutout(_));
            match *change {
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
            for &(bottom, end, side) in &holes {
                for row in bottom.saturating_sub(side)..bottom.min(height) {
                    image[row * width + end.saturating_sub(side).min(width)..row * width + end.min(width)]
                        .fill(ground);
                }
            }
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

    fn names(&self) -> &[String] {
        self.of.names()
    }

    fn labels(&self) -> Result<Vec<i64>> {
        self.of.labels()
    }
}

/// A set whose rows are blends of two: inputs as amounts, targets as shares of the classes.
#[derive(Clone, Debug)]
pub struct Mixed<D> {
    of: D,
    strength: f64,
    cut: bool,
}

impl<D: Dataset> Mixed<D> {
    /// Mixup: each row is blended with another; the larger the strength (0.2 is usual), the more evenly.
    ///
    /// # Errors
    /// Where the targets aren't one class each.
    pub fn up(of: D, strength: f64) -> Result<Mixed<D>> {
        Mixed::new(of, strength, false)
    }

    /// CutMix: a rectangle of each image comes from another.
    ///
    /// # Errors
    /// Where the targets aren't one class each, or the inputs no images.
    pub fn cut(of: D, strength: f64) -> Result<Mixed<D>> {
        match of.x().shape.len() {
            3 => Mixed::new(of, strength, true),
            _ => Err(Error::new("only images can be cut and mixed")),
        }
    }

    fn new(of: D, strength: f64, cut: bool) -> Result<Mixed<D>> {
        if of.y().codes().is_none() || of.y().width() != 1 {
            return Err(Error::new("only rows with one class each can be mixed"));
        }
        if let Some((name, _)) = of.further().first() {
            return Err(Error::new(format!(
                "rows can't be mixed that have more than x and y: there is {name}"
            )));
        }
        if !(strength > 0.0 && strength.is_finite()) {
            return Err(Error::new(format!("the strength of mixing must be above 0, not {strength}")));
        }
        Ok(Mixed { of, strength, cut })
    }

    /// A share from Beta(strength, strength), by Jöhnk's method.
    fn share(&self, rng: &mut Rng) -> f64 {
        for _ in 0..1000 {
            let mut share = || libm::pow(rng.uniform(), 1.0 / self.strength);
            let (a, b) = (share(), share());
            if a + b > 0.0 && a + b <= 1.0 {
                return a / (a + b);
            }
        }
        0.5
    }
}

impl<D: Dataset> Dataset for Mixed<D> {
    fn len(&self) -> usize {
        self.of.len()
    }

    fn x(&self) -> Form {
        let form = self.of.x();
        let scale = match form.meaning {
            Meaning::Numbers { scale } => scale,
            Meaning::Codes { .. } => 1.0,
        };
        Form { kind: ValueKind::F32, meaning: Meaning::Numbers { scale }, ..form }
    }

    fn y(&self) -> Form {
        Form::numbers(&[self.of.y().codes().unwrap_or(0)])
    }

    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
        let mut rng = Rng::new(draw);
        let other = rng.below(self.of.len());
        let share = self.share(&mut rng);
        let mut both = Batch::of(&self.of);
        self.of.read(row, rng.bits(), &mut both)?;
        self.of.read(other, rng.bits(), &mut both)?;
        let (form, classes) = (self.of.x(), self.of.y().codes().unwrap_or(0));
        let width = form.width();
        let number = |at: usize| both.x.get(at).unwrap_or(0.0);
        let mut own = share.max(1.0 - share);
        if let (true, &[_, height, across]) = (self.cut, form.shape.as_slice()) {
            let side = (1.0 - own).sqrt();
            let (rows, columns) = ((height as f64 * side) as usize, (across as f64 * side) as usize);
            let (top, left) = (rng.below(height - rows + 1), rng.below(across - columns + 1));
            for at in 0..width {
                let (row, column) = (at / across % height, at % across);
                let inside = (top..top + rows).contains(&row) && (left..left + columns).contains(&column);
                batch.x.push(number(if inside { width + at } else { at }));
            }
            own = 1.0 - (rows * columns) as f64 / (height * across) as f64;
        } else {
            for at in 0..width {
                batch.x.push(own * number(at) + (1.0 - own) * number(width + at));
            }
        }
        let class = |at: usize| both.y.get(at).unwrap_or(-1.0) as usize;
        for at in 0..classes {
            let from = |position: usize, share: f64| if class(position) == at { share } else { 0.0 };
            batch.y.push(from(0, own) + from(1, 1.0 - own));
        }
        batch.weights.extend(both.weights.first());
        Ok(())
    }

    fn is_weighted(&self) -> bool {
        self.of.is_weighted()
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
        ] {
            assert_eq!(changed(text, 7), changed(text, 7), "{text}");
            assert!((0..20).any(|draw| changed(text, draw) != image()), "{text} changes nothing");
            let amount = text.split(' ').next().unwrap();
            if !amount.starts_with("flip") {
                assert_eq!(changed(&format!("{amount} 0"), 7), image(), "{text} by nothing");
            }
        }
        let flipped: Vec<u8> = image().chunks(8).flat_map(|row| row.iter().rev().copied()).collect();
        assert!((0..20).all(|draw| [image(), flipped.clone()].contains(&changed("flip", draw))));
        let holes = (0..50).map(|draw| changed("cutout 4", draw).iter().filter(|&&pixel| pixel == 0).count());
        assert!(holes.max().unwrap() <= 17);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "spin", "shift", "shift x", "shift -1", "flip 3", "rotate 10 20", "scale 2"] {
            assert!(text.parse::<Augment>().is_err(), "{text}");
        }
        let rows = Set::classes(vec![1f32; 4], Form::numbers(&[2]), vec![0, 1]).unwrap();
        assert!(Augmented::new(rows.clone(), Augment::default(), 0).is_err());
        assert!(Mixed::cut(rows.clone(), 0.2).is_err() && Mixed::up(rows, -1.0).is_err());
    }

    #[test]
    fn an_augmented_set_differs_by_epoch_and_is_the_same_by_seed() {
        let set = Augmented::new(digits(20, 1), "shift 2, rotate 10".parse().unwrap(), 0).unwrap();
        let epoch = |epoch: u64| set.batches(20).shuffle(3).epoch(epoch).next().unwrap().unwrap();
        assert_eq!(epoch(0), epoch(0));
        assert_ne!(epoch(0).x, epoch(1).x);
    }

    #[test]
    fn mixed_rows_have_shares_that_sum_to_one() {
        for set in [Mixed::up(digits(30, 1), 0.4).unwrap(), Mixed::cut(digits(30, 1), 0.4).unwrap()] {
            let batch = set.batches(30).shuffle(1).next().unwrap().unwrap();
            let y = batch.y.as_f32().unwrap();
            assert!(y.chunks(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
            assert!(y.chunks(10).any(|row| row.iter().filter(|share| **share > 0.0).count() == 2));
            assert_eq!(batch.x.len(), 30 * 784);
        }
    }
}
