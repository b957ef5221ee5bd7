//! The bounds and the middle of an interval: three quantiles, each by its pinball loss, made smooth within less and less of 0.

use super::likelihood::Likelihood;
use super::rows::{Design, TargetRows};
use super::solve::WeightSign;
use super::{Chosen, LinearOptions, LinearWeights, chosen};
use crate::Result;
use crate::model::quantiles;

/// Within how much of 0 a loss is smooth, beside the deviation of a target that is 1.
const WIDTH: f64 = 0.02;

/// Weights of the lower bound, the middle and the upper bound, with the strength that is best for the middle.
pub(super) fn fit(
    design: &Design,
    rows: &dyn TargetRows,
    interval: f64,
    signs: &[WeightSign],
    options: &LinearOptions,
) -> Result<(LinearWeights, Chosen)> {
    let [low, middle, high] =
        quantiles(interval).map(|quantile| Likelihood::Quantile { quantile, width: WIDTH });
    let (of_middle, chosen) = chosen::fit(design, rows, middle, signs, options)?;
    let options = options.clone().strength(chosen.strength);
    let (of_low, _) = chosen::fit(design, rows, low, signs, &options)?;
    let (of_high, _) = chosen::fit(design, rows, high, signs, &options)?;
    let (each, biases) =
        [of_low, of_middle, of_high].into_iter().map(|own| (own.each.concat(), own.biases[0])).unzip();
    Ok((LinearWeights { each, biases }, chosen))
}
