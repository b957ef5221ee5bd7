//! What a model says of images that it sees several times, each time varied a little.

use kiln_data::{Augment, Batch, Dataset};

use super::{Model, Task};
use crate::inputs::each_batch;
use crate::predictions::all_probabilities_of;
use crate::{Error, Result};

/// How often an image is seen, and how it is varied after the first time. A view is the same change for all rows, whatever batch they are
/// in.
///
/// ```
/// use kiln::model::Views;
///
/// let views = Views::new(4, "flip, shift 2".parse()?, 0)?;
/// assert_eq!(views.count(), 4);
/// assert!(Views::new(0, "flip".parse()?, 0).is_err());
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Views {
    count: usize,
    augment: Augment,
    ground: u8,
}

/// More views than this are surely a mistake.
const MOST: usize = 1000;

impl Views {
    /// So many, the first of the image as it is, varied by changes over a ground.
    ///
    /// # Errors
    /// Where there is none, or there are more than anybody waits for.
    pub fn new(count: usize, augment: Augment, ground: u8) -> Result<Views> {
        match (1..=MOST).contains(&count) {
            true => Ok(Views { count, augment, ground }),
            false => {
                Err(Error::Preparation(format!("{count} views of an image make no sense; 1 to {MOST} do")))
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Model {
    /// As [`Model::predict_each`], of images that are seen in several views: of classes the logarithms of the mean probabilities, of numbers
    /// their means.
    ///
    /// # Errors
    /// As there, and where its rows are no images of bytes.
    pub fn predict_views(
        &self,
        set: &dyn Dataset,
        views: &Views,
        mut see: impl FnMut(&Batch, &[f32]) -> Result<()>,
    ) -> Result<()> {
        const ROWS: usize = 256;
        let form = set.x();
        let &[channels, height, width] = form.shape.as_slice() else {
            return Err(Error::Preparation(format!("views are of images, not of rows of {:?}", form.shape)));
        };
        self.about().input.check(&form)?;
        let is_classes = matches!(self.about().task, Task::Classes { .. });
        let mut outputs = Vec::new();
        each_batch(set, ROWS, |batch| {
            let Some(pixels) = batch.x.as_u8() else {
                return Err(Error::Preparation("views are of images in bytes".to_string()));
            };
            let mut means: Vec<f64> = Vec::new();
            for view in 0..views.count {
                let mut varied = pixels.to_vec();
                if view > 0 {
                    for image in varied.chunks_exact_mut((channels * height * width).max(1)) {
                        views.augment.apply(image, [channels, height, width], views.ground, view as u64);
                    }
                }
                outputs.clear();
                self.run(&form, &varied, batch.rows(), &mut outputs)?;
                let said: Vec<f32> = match is_classes {
                    true => outputs
                        .chunks(outputs.len() / batch.rows().max(1))
                        .flat_map(all_probabilities_of)
                        .collect(),
                    false => outputs.clone(),
                };
                means.resize(said.len(), 0.0);
                means.iter_mut().zip(said).for_each(|(mean, said)| *mean += f64::from(said));
            }
            let of = |sum: &f64| {
                let mean = sum / views.count as f64;
                // A probability of nothing has no logarithm.
                if is_classes {
                    libm::log(mean.max(f64::from(f32::MIN_POSITIVE))) as f32
                } else {
                    mean as f32
                }
            };
            see(batch, &means.iter().map(of).collect::<Vec<_>>())
        })
    }
}
