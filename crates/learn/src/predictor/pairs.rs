//! The text that is written when another was read.

use crate::generate::{GenerateOptions, Speaker};
use crate::preparation::PairPreparation;
use crate::{Error, Predictor, Preparation, Result};

impl Predictor {
    /// What a model of pairs writes for each of these texts. With [`temperature`](GenerateOptions::temperature) 0 each piece is the likeliest, with
    /// [`beams`](GenerateOptions::beams) a search finds a likelier text.
    ///
    /// ```no_run
    /// use kiln::generate::GenerateOptions;
    ///
    /// let predictor = kiln::Predictor::load("dates.kiln")?;
    /// let written = predictor.predict_targets(&["3 May 2021"], &GenerateOptions::new().temperature(0.0))?;
    /// assert_eq!(written, ["2021-05-03"]);
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model isn't one of pairs, or an option makes no sense.
    pub fn predict_targets(&self, sources: &[&str], options: &GenerateOptions) -> Result<Vec<String>> {
        // So many go on side by side.
        const ROWS: usize = 64;
        let own = self.pairs()?;
        let ends = own.ends();
        let speaker = Speaker {
            layers: self.model().layers(),
            pieces_axis: 1,
            pieces: own,
            window: own.window,
            ends: &ends,
        };
        let mut written = Vec::with_capacity(sources.len());
        for some in sources.chunks(ROWS) {
            written.extend(speaker.generate_many(some, options)?);
        }
        Ok(written)
    }

    fn pairs(&self) -> Result<&PairPreparation> {
        match &self.model().about().preparation {
            Preparation::Pairs(pairs) => Ok(pairs),
            Preparation::Unsaid
            | Preparation::Table(_)
            | Preparation::Images(_)
            | Preparation::Text(_)
            | Preparation::Tags(_)
            | Preparation::Forecast(_) => {
                Err(Error::Preparation("the model writes no text for another".to_string()))
            }
        }
    }
}
