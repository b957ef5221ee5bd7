//! What the next steps are below with some probability: where no season multiplies, by the variance in closed form (Hyndman and others, chapter 6) as if it
//! were normal, which it is where errors add; else from paths that are drawn with a fixed seed.

use kiln_data::Rng;

use super::{Ets, SeasonKind};
use crate::forecast::normal::quantile;

/// How many paths are drawn, each with its mirror image.
const PATHS: usize = 2000;
const SEED: u64 = 0x6574_7300;

pub(super) fn quantiles(ets: &Ets, shares: &[f64], horizon: usize) -> Vec<Vec<f64>> {
    if ets.form.season == SeasonKind::Multiplicative {
        return drawn(ets, shares, horizon);
    }
    let points = ets.points(horizon);
    let spreads = spreads(ets, &points);
    let of_share = |share: &f64| {
        let far = quantile(*share);
        points.iter().zip(&spreads).map(|(point, spread)| point + far * spread).collect()
    };
    shares.iter().map(of_share).collect()
}

/// The deviation of each step.
fn spreads(ets: &Ets, points: &[f64]) -> Vec<f64> {
    let own = &ets.parameters;
    let (mut power, mut faded) = (1.0, 0.0);
    // How much of an error is left so many steps later.
    let mut left = Vec::with_capacity(points.len());
    // The mean square of what is expected of a step, for errors that are shares of it.
    let mut squares: Vec<f64> = Vec::with_capacity(points.len());
    let mut spreads = Vec::with_capacity(points.len());
    for (step, point) in points.iter().enumerate() {
        let before = |square: &dyn Fn(usize) -> f64| -> f64 {
            left.iter()
                .enumerate()
                .map(|(later, left): (usize, &f64)| left * left * square(step - 1 - later))
                .sum()
        };
        spreads.push(if ets.form.is_relative() {
            let square = point * point + ets.variance * before(&|at| squares[at]);
            squares.push(square);
            ((1.0 + ets.variance) * square - point * point).max(0.0).sqrt()
        } else {
            (ets.variance * (1.0 + before(&|_| 1.0))).sqrt()
        });
        power *= own.phi;
        faded += power;
        let is_season =
            ets.form.season == SeasonKind::Additive && (step + 1).is_multiple_of(ets.form.seasons());
        left.push(own.alpha + own.beta * faded + if is_season { own.gamma } else { 0.0 });
    }
    spreads
}

/// From paths that begin where the series ends.
fn drawn(ets: &Ets, shares: &[f64], horizon: usize) -> Vec<Vec<f64>> {
    let mut reached = vec![Vec::with_capacity(2 * PATHS); horizon];
    let mut rng = Rng::new(SEED);
    let mut draws = vec![0.0; horizon];
    for _ in 0..PATHS {
        draws.iter_mut().for_each(|draw| *draw = rng.normal());
        for sign in [1.0, -1.0] {
            path(ets, draws.iter().map(|draw| sign * draw), |step, value| reached[step].push(value));
        }
    }
    reached.iter_mut().for_each(|values| values.sort_by(f64::total_cmp));
    let of_share = |share: &f64| reached.iter().map(|values| at_share(values, *share)).collect();
    shares.iter().map(of_share).collect()
}

/// One path of the model, with these draws as its errors.
fn path(ets: &Ets, draws: impl Iterator<Item = f64>, mut take: impl FnMut(usize, f64)) {
    let (form, own) = (ets.form, &ets.parameters);
    let mut states = ets.last.clone();
    let deviation = ets.variance.sqrt();
    for (step, draw) in draws.enumerate() {
        let place = step % form.seasons();
        let q = states.level + own.phi * states.slope;
        let season = states.seasonal[place];
        let expected = match form.season {
            SeasonKind::None => q,
            SeasonKind::Additive => q + season,
            SeasonKind::Multiplicative => q * season,
        };
        // What is below −1 would turn the sign of what can't be below zero.
        let error =
            if form.is_relative() { expected * (deviation * draw).max(-1.0) } else { deviation * draw };
        take(step, expected + error);
        let moved = match form.season {
            SeasonKind::None => error,
            SeasonKind::Additive => {
                states.seasonal[place] = season + own.gamma * error;
                error
            }
            SeasonKind::Multiplicative => {
                states.seasonal[place] = season + if q == 0.0 { 0.0 } else { own.gamma * error / q };
                if season == 0.0 { 0.0 } else { error / season }
            }
        };
        states.level = q + own.alpha * moved;
        states.slope = own.phi * states.slope + own.beta * moved;
    }
}

/// Of values in order the one that such a share lies below, between two neighbours in proportion.
pub(in crate::forecast) fn at_share(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = sorted[place as usize];
    let above = sorted[(place as usize + 1).min(last)];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::ets::{EtsErrors, EtsForm, EtsParameters, EtsStates, TrendKind};

    #[test]
    fn paths_spread_as_the_closed_form_says() {
        let seasons = [(SeasonKind::None, 0.0), (SeasonKind::Additive, 0.2)];
        let errors = [(EtsErrors::Additive, 4.0), (EtsErrors::Multiplicative, 0.01)];
        for ((season, gamma), (error, variance)) in
            seasons.into_iter().flat_map(|own| errors.map(|error| (own, error)))
        {
            for (trend, beta, phi) in
                [(TrendKind::None, 0.0, 1.0), (TrendKind::Additive, 0.1, 1.0), (TrendKind::Damped, 0.1, 0.9)]
            {
                let form = EtsForm { error, trend, season, period: 3 };
                let seasonal = if season == SeasonKind::None { vec![1.0] } else { vec![1.0, -2.0, 1.0] };
                let slope = if trend == TrendKind::None { 0.0 } else { 0.5 };
                let first = EtsStates { level: 20.0, slope, seasonal };
                let ets = Ets {
                    form,
                    parameters: EtsParameters { alpha: 0.4, beta, gamma, phi },
                    last: first.clone(),
                    first,
                    variance,
                    likelihood: 0.0,
                    aicc: 0.0,
                };
                let (closed, drawn) =
                    (quantiles(&ets, &[0.1, 0.5, 0.9], 9), drawn(&ets, &[0.1, 0.5, 0.9], 9));
                for step in 0..9 {
                    let width = closed[2][step] - closed[0][step];
                    for at in 0..3 {
                        let far = (closed[at][step] - drawn[at][step]).abs();
                        assert!(far < 0.06 * width, "{form} step {step}: {far} of {width}");
                    }
                }
            }
        }
    }

    #[test]
    fn shares_lie_between_neighbours() {
        let values = [1.0, 2.0, 4.0];
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| at_share(&values, share)),
            [1.0, 1.5, 2.0, 3.0, 4.0]
        );
        assert!(at_share(&[], 0.5).is_nan());
    }
}
