//! Of what a model is made, as far as explanations care: sums of trees and of linear layers have exact ones, what has slopes has gradients.

use std::ops::Range;

use kiln_nn::sequential::{Blended, PartView};
use kiln_nn::{Data, Module, Sequential, Spec};

use super::trees::ForestParts;
use crate::{Error, Result};

/// A part of a model whose output is the sum of all parts.
pub(super) struct Addend<'m> {
    /// The row of layers it is.
    pub(super) row: &'m Sequential,
    /// How many of its layers stand before the last: none, or the one that makes vectors of codes.
    pub(super) front: usize,
    /// By what each of its outputs is multiplied.
    pub(super) shares: Vec<f64>,
    pub(super) of: AddendKind,
}

pub(super) enum AddendKind {
    Trees(ForestParts),
    /// `[features, outputs]`.
    Linear(Vec<f32>),
}

/// The parts of a model of which these outputs are sums of trees and linear layers; nothing of any other. A row gives so many outputs.
pub(super) fn addends<'m>(
    layers: &'m Sequential,
    asked: &Range<usize>,
    outputs: usize,
) -> Result<Option<Vec<Addend<'m>>>> {
    let mut all = Vec::new();
    Ok(add(layers, &vec![1.0; outputs], asked, &mut all)?.then_some(all))
}

/// Adds a row's parts; whether it has no others.
fn add<'m>(
    row: &'m Sequential,
    shares: &[f64],
    asked: &Range<usize>,
    all: &mut Vec<Addend<'m>>,
) -> Result<bool> {
    let front = front(row);
    let mut shares = shares.to_vec();
    // What was calibrated afterwards is multiplied once more.
    for place in front + 1..row.len() {
        match row.part(place) {
            Some((path, PartView::Described(Spec::Calibrate))) => {
                let states = row.states();
                let factor = states.iter().find(|(name, _)| *name == format!("{path}.factor"));
                let Some((_, factor)) = factor else { return Ok(false) };
                let factor = factor.read()?;
                let factor = numbers(&factor)?;
                if factor.len() != shares.len() {
                    return Ok(false);
                }
                shares.iter_mut().zip(factor).for_each(|(share, factor)| *share *= f64::from(*factor));
            }
            _ => return Ok(false),
        }
    }
    let Some((path, part)) = row.part(front) else { return Ok(false) };
    match part {
        PartView::Blend { rows, weights, of } if front == 0 && is_straight(of, asked) => {
            let weights = weights.read()?;
            for (row, weight) in rows.iter().zip(numbers(&weights)?) {
                let own: Vec<f64> = shares.iter().map(|share| share * f64::from(*weight)).collect();
                if !add(row, &own, asked, all)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        PartView::Described(Spec::Trees { .. }) => {
            all.push(Addend { row, front, shares, of: AddendKind::Trees(ForestParts::of(row, &path)?) });
            Ok(true)
        }
        PartView::Described(Spec::Dense { .. }) => {
            let parameters = row.parameters();
            let weight = parameters.iter().find(|(name, _)| *name == format!("{path}.weight"));
            let Some((_, weight)) = weight else { return Ok(false) };
            let weight = weight.value()?;
            all.push(Addend { row, front, shares, of: AddendKind::Linear(numbers(&weight)?.to_vec()) });
            Ok(true)
        }
        PartView::Described(_) | PartView::Blend { .. } | PartView::Rows(_) | PartView::Own => Ok(false),
    }
}

/// Whether a blend averages these outputs as they are.
fn is_straight(of: &Blended, asked: &Range<usize>) -> bool {
    match of {
        Blended::Numbers => true,
        Blended::Classes => false,
        Blended::Targets(_) => asked.len() == 1,
    }
}

fn numbers(data: &Data) -> Result<&[f32]> {
    data.as_slice::<f32>()
        .ok_or_else(|| Error::Preparation("the model's weights aren't single floats".to_string()))
}

/// How many layers make vectors of codes before all others: none or one.
pub(super) fn front(row: &Sequential) -> usize {
    usize::from(matches!(row.part(0), Some((_, PartView::Described(Spec::EmbedColumns { .. })))))
}

/// How long the vectors of codes are that the first layer makes.
pub(super) fn vectors(row: &Sequential) -> Vec<usize> {
    match row.part(0) {
        Some((_, PartView::Described(Spec::EmbedColumns { columns }))) => {
            columns.iter().map(|(_, size)| *size).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the outputs have slopes in the numbers that come in: codes of columns must be vectors before anything else.
pub(super) fn has_slopes(layers: &Sequential, codes: usize) -> bool {
    is_smooth(layers, front(layers)) && (codes == 0 || front(layers) == 1)
}

fn is_smooth(row: &Sequential, first: usize) -> bool {
    (first..row.len()).all(|place| match row.part(place) {
        Some((_, PartView::Described(spec))) => {
            !matches!(spec, Spec::Trees { .. } | Spec::EmbedColumns { .. } | Spec::Embedding { .. })
        }
        Some((_, PartView::Blend { rows, .. } | PartView::Rows(rows))) => {
            rows.iter().all(|row| is_smooth(row, 0))
        }
        // A network of another system may have trees in it, and a closure anything.
        Some((_, PartView::Own)) | None => false,
    })
}
