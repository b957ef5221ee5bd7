//! What the feature `image` brings to transformers of pictures: files and pictures as what they take.

use kiln_data::{ImageSize, Picture};

use super::VisionModel;
use crate::Result;
use crate::predictor::Prediction;

impl VisionModel {
    /// What it says of pictures: of which class each is. Others than of its size are resized as its folder says, all of them seen.
    ///
    /// # Errors
    /// Where it tells no classes apart.
    pub fn predict(&self, pictures: &[Picture]) -> Result<Vec<Prediction>> {
        let [channels, height, width] = self.config().picture;
        let size = ImageSize { channels, height, width };
        let pixels: Vec<u8> = pictures.iter().flat_map(|picture| picture.pixels(size)).collect();
        self.predict_pixels(&pixels)
    }
}
