//! What texts mean to a trained model.

use std::collections::BTreeMap;

use kiln_data::Form;
use kiln_nn::{Context, Layer, Module, Sequential, Tensor, Visitor};

use super::Predictor;
use crate::embeddings::{Embeddings, mean_of_steps};
use crate::{Error, Result};

/// A row of layers up to what scores.
pub(super) struct Features<'l>(pub &'l Sequential);

impl Module for Features<'_> {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.visit(visitor);
    }
}

impl Layer for Features<'_> {
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        self.0.features(x, context)
    }
}

/// Texts that go through the layers at once.
const AT_ONCE: usize = 64;

/// A text to embed: its place among them, how many of its codes are its own, and the codes.
struct EmbeddedText {
    place: usize,
    length: usize,
    codes: Vec<i64>,
}

impl Predictor {
    /// What texts mean to a model that was trained on some: what goes into its last dense layer, which scores; of a model that scores each
    /// piece the mean over the pieces of a text. Longer ones than it can see are cut.
    ///
    /// ```no_run
    /// use kiln::Predictor;
    ///
    /// let meanings = Predictor::load("reviews.kiln")?.embed(["a fine film", "a waste of time"])?.normalized();
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model takes something else, or no layer of it scores what others make.
    pub fn embed<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> Result<Embeddings> {
        let model = self.model();
        let own = model.about().texts()?;
        // Those that are rows of one length go through together.
        let mut alike: BTreeMap<usize, Vec<EmbeddedText>> = BTreeMap::new();
        let mut count = 0;
        for text in texts {
            let codes = own.codes(text);
            let length = own.tokens.encode(text).len().clamp(1, codes.len().max(1));
            alike.entry(codes.len()).or_default().push(EmbeddedText { place: count, length, codes });
            count += 1;
        }
        let width = self.width_of(own.window)?;
        let mut all = vec![0.0; count * width];
        for (&steps, texts) in &alike {
            let form = Form { shape: vec![steps], ..own.form() };
            for some in texts.chunks(AT_ONCE) {
                let codes: Vec<i64> = some.iter().flat_map(|text| text.codes.iter().copied()).collect();
                let mut found = Vec::new();
                self.0.features.run(&Features(model.layers()), &form, &codes, some.len(), &mut found)?;
                let size = (found.len() / some.len()).max(1);
                for (text, found) in some.iter().zip(found.chunks(size)) {
                    let row = &mut all[text.place * width..(text.place + 1) * width];
                    match size == width {
                        true => row.copy_from_slice(found),
                        false => row.copy_from_slice(&mean_of_steps(found, width, text.length)),
                    }
                }
            }
        }
        Ok(Embeddings::new(all, width))
    }

    /// How many numbers a text means.
    fn width_of(&self, steps: usize) -> Result<usize> {
        let blank = Tensor::zeros([1, steps]).cast(kiln_nn::DType::I64);
        let features = self.model().layers().features(&blank, &Context::inference());
        if let Some(error) = features.error() {
            return Err(error.clone().into());
        }
        let shape = features.shape();
        match *shape.sizes() {
            [_, width] => Ok(width),
            [_, own, width] if own == steps => Ok(width),
            ref other => Err(Error::Preparation(format!(
                "the model's last dense layer takes {other:?} of a text; an embedding is a row of numbers, or one for each of its {steps} places"
            ))),
        }
    }
}
