//! What the feature `image` brings to a preparation of images: files and pictures as its rows.

use std::path::Path;

use kiln_data::{Picture, Pictures, Set, edge_brightness};

use super::ImagePreparation;
use crate::Result;

/// Darker edges than this are a dark ground, and brighter ones than 255 less this a bright one.
const DARK: f64 = 90.0;

impl ImagePreparation {
    /// How files are read as it wants them.
    pub fn pictures(&self) -> Pictures {
        let pictures = if self.size.channels == 1 { Pictures::new().grey() } else { Pictures::new() };
        match self.shorter_side() {
            Some(shorter) => pictures.size(self.size).middle(shorter),
            None => pictures.size(self.size),
        }
    }

    /// The side to which the shorter one of a picture is brought, of which a share is seen.
    fn shorter_side(&self) -> Option<usize> {
        let shorter = self.size.height.min(self.size.width) as f64;
        self.crop.map(|crop| (shorter / crop + 1e-9) as usize)
    }

    /// A picture as a row, `[channels, height, width]`, and what was done to it.
    pub fn pixels(&self, picture: &Picture) -> (Vec<u8>, Option<String>) {
        let size = self.size;
        let mut pixels = match self.shorter_side() {
            Some(shorter) => picture.middle(size, shorter),
            None => picture.pixels(size),
        };
        let mut notes = Vec::new();
        let (height, width, _) = picture.size();
        if self.crop.is_none() && (height, width) != (size.height, size.width) {
            notes.push(format!("resized from {height} × {width} to {} × {}", size.height, size.width));
        }
        let own = edge_brightness(&pixels, size);
        let ground = self.ground.unwrap_or(f64::NAN);
        if ground < DARK && own > 255.0 - DARK || ground > 255.0 - DARK && own < DARK {
            pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
            let kind = if ground < DARK { "light on dark" } else { "dark on light" };
            notes.push(format!("inverted, because the model was trained on {kind}"));
        }
        (pixels, (!notes.is_empty()).then(|| notes.join(", ")))
    }

    /// A folder of pictures in folders by class, and a word on each that was left out.
    pub(crate) fn folder(&self, path: &Path) -> Result<(Set, Vec<String>)> {
        let gallery = self.pictures().folder(path)?;
        let notes = gallery.left_out();
        Ok((gallery.set, notes))
    }
}
