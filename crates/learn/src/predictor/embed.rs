//! What texts mean to a trained model.

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
        let (mut codes, mut lengths) = (Vec::new(), Vec::new());
        for text in texts {
            lengths.push(own.tokens.encode(text).len().clamp(1, own.window));
            codes.extend(own.codes(text));
        }
        model.shape_for(1)?;
        let mut found = Vec::new();
        self.0.features.run(&Features(model.layers()), &own.form(), &codes, lengths.len(), &mut found)?;
        let size = found.len() / lengths.len().max(1);
        let blank = Tensor::zeros([1, own.window]).cast(kiln_nn::DType::I64);
        let shape = model.layers().features(&blank, &Context::inference()).shape();
        match shape.sizes() {
            [_, width] => Ok(Embeddings::new(found, *width)),
            [_, steps, width] if *steps == own.window => {
                let rows = found.chunks(size.max(1)).zip(&lengths);
                let means = rows.flat_map(|(steps, &count)| mean_of_steps(steps, *width, count));
                Ok(Embeddings::new(means.collect(), *width))
            }
            other => Err(Error::Preparation(format!(
                "the model's last dense layer takes {other:?} of a text; an embedding is a row of numbers, or one for each of its {} places",
                own.window
            ))),
        }
    }
}
