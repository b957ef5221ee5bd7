//! What the feature `image` brings to a predictor.

use kiln_data::Picture;

use super::{Prediction, Predictor};
use crate::Result;

impl Predictor {
    /// What the model says of a picture, given the bytes of its file (PNG, JPEG, BMP, WebP, GIF, TIFF, PNM, ICO).
    ///
    /// # Errors
    /// Where they are no picture, or the model takes something else.
    pub fn predict_image(&self, file: &[u8]) -> Result<Prediction> {
        let images = self.0.model.about().pictures()?;
        self.one(&images.form(), &images.pixels(&Picture::read(file)?).0)
    }

    /// What the model says of a picture that is decoded already.
    ///
    /// # Errors
    /// Where the model takes something else.
    pub fn predict_picture(&self, picture: &Picture) -> Result<Prediction> {
        let images = self.0.model.about().pictures()?;
        self.one(&images.form(), &images.pixels(picture).0)
    }
}
