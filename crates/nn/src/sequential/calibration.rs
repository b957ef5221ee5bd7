//! Rows of layers without what was put behind them to make their outputs right.

use super::{Kind, Sequential, Spec};

impl Sequential {
    /// The same row without the layers at its end that calibrate outputs ([`Sequential::calibrate`], [`Sequential::isotonic`]): what a training
    /// goes on with, whose outputs are calibrated anew.
    ///
    /// ```
    /// use kiln_nn::Sequential;
    ///
    /// let layers: Sequential = "dense 3, calibrate".parse()?;
    /// assert_eq!(layers.uncalibrated().to_text()?, "dense 3");
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    pub fn uncalibrated(mut self) -> Sequential {
        let calibrates =
            |kind: &Kind| matches!(kind, Kind::Described(Spec::Calibrate | Spec::Isotonic { .. }, _));
        while self.parts.last().is_some_and(|part| calibrates(&part.kind)) {
            self.parts.pop();
        }
        self
    }
}
