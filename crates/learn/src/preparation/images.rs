//! Pictures as a model takes them.

use kiln_data::{Augment, Change, Dataset, Form, ImageSize, edge_brightness};
use serde::{Deserialize, Serialize};

use super::means;
use super::unanswered::{Unanswered, unanswered};
use crate::row::InputSpec;
use crate::{Error, Result};

/// How pictures become rows: their size and channels, and what is done to reach them.
///
/// ```
/// use kiln::data::{ImageSize, Picture};
/// use kiln::preparation::ImagePreparation;
///
/// let images = ImagePreparation::new(ImageSize { channels: 1, height: 4, width: 4 });
/// let (pixels, note) = images.pixels(&Picture::blank(8, 8));
/// assert_eq!((pixels.len(), note.as_deref()), (16, Some("resized from 8 × 8 to 4 × 4")));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredImages", into = "StoredImages")]
pub struct ImagePreparation {
    /// The size and channels of a row.
    pub size: ImageSize,
    /// The brightness of the edges of the images it was trained on, if that is known: pictures on the opposite ground are inverted.
    pub ground: Option<f64>,
    /// The share of a picture's shorter side that is seen; all of it, squeezed, without.
    pub crop: Option<f64>,
}

/// What a file holds of it.
#[derive(Clone, Serialize, Deserialize)]
struct StoredImages {
    channels: usize,
    height: usize,
    width: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ground: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crop: Option<f64>,
}

impl From<ImagePreparation> for StoredImages {
    fn from(images: ImagePreparation) -> StoredImages {
        let ImagePreparation { size: ImageSize { channels, height, width }, ground, crop } = images;
        StoredImages { channels, height, width, ground, crop }
    }
}

impl TryFrom<StoredImages> for ImagePreparation {
    type Error = String;

    fn try_from(stored: StoredImages) -> Result<ImagePreparation, String> {
        let StoredImages { channels, height, width, ground, crop } = stored;
        match crop.filter(|crop| !(*crop > 0.0 && *crop <= 1.0)) {
            Some(crop) => {
                Err(format!("it sees a share of {crop} of a picture; that is above 0 and at most 1"))
            }
            None => Ok(ImagePreparation { size: ImageSize { channels, height, width }, ground, crop }),
        }
    }
}

impl ImagePreparation {
    /// Pictures of this size, others squeezed into it.
    pub fn new(size: ImageSize) -> ImagePreparation {
        ImagePreparation { size, ground: None, crop: None }
    }

    /// As the rows of a set of images show it: their size, and how bright their ground is.
    ///
    /// # Errors
    /// Where its rows aren't images `[channels, height, width]` of bytes, or can't be read.
    pub fn fit(set: &dyn Dataset) -> Result<ImagePreparation> {
        let &[channels, height, width] = set.x().shape.as_slice() else {
            let message = format!("images are [channels, height, width], and these rows {:?}", set.x().shape);
            return Err(Error::Preparation(message));
        };
        let size = ImageSize { channels, height, width };
        let rows: Vec<usize> = (0..set.len().min(200)).collect();
        let batch = set.gather(&rows)?;
        let pixels = batch.x.as_u8().unwrap_or_default();
        let edges = pixels.chunks(channels * height * width).map(|image| edge_brightness(image, size));
        let ground = edges.sum::<f64>() / rows.len().max(1) as f64;
        Ok(ImagePreparation { ground: Some(ground), ..ImagePreparation::new(size) })
    }

    /// The form of its rows.
    pub fn form(&self) -> Form {
        let ImageSize { channels, height, width } = self.size;
        Form::pixels(&[channels, height, width])
    }

    /// Changes that leave nearly every image what it is: moved by a sixteenth of its side, and with colours (a photo, most likely) also
    /// mirrored, brighter or darker.
    pub fn light_changes(&self) -> Augment {
        let shift = Change::Shift((self.size.height.min(self.size.width) / 16).max(1) as f32);
        match self.size.channels {
            3 => [Change::Flip, shift, Change::Colour(0.1)].into_iter().collect(),
            _ => [shift].into_iter().collect(),
        }
    }

    /// How many bytes a row has.
    pub(crate) fn len(&self) -> usize {
        self.size.channels * self.size.height * self.size.width
    }

    /// The bytes of a row as they are: no picture, but as many numbers as an image has.
    ///
    /// # Errors
    /// Where there are more or fewer.
    pub fn raw(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let ImageSize { channels, height, width } = self.size;
        match bytes.len() == self.len() {
            true => Ok(bytes),
            false => Err(Error::Preparation(format!(
                "{} bytes came in, and an image of {channels} × {height} × {width} has {}",
                bytes.len(),
                self.len()
            ))),
        }
    }

    /// Pixels of images, one after the other, as rows without answers.
    ///
    /// # Errors
    /// Where they aren't whole images.
    pub fn rows(&self, pixels: Vec<u8>) -> Result<Unanswered> {
        let count = pixels.len() / self.len().max(1);
        Ok(Unanswered { rows: unanswered(pixels, self.form(), count)?, notes: Vec::new() })
    }

    pub(super) fn check(&self, input: &InputSpec) -> Result<()> {
        let ImageSize { channels, height, width } = self.size;
        let own = [channels, height, width];
        match input.shape == own {
            true => means("pictures'", input, &self.form()),
            false => Err(Error::Preparation(format!(
                "the model's file says that its images are {own:?} (channels, height, width), and its input is {:?}",
                input.shape
            ))),
        }
    }
}
