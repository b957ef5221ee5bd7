//! Exact Shapley values of sums of trees and linear layers, column by column.

use kiln_data::Form;
use kiln_nn::{Context, Function, Input, Sequential, Tensor};

use super::anatomy::{AddendKind, vectors};
use super::asked::WantedScore;
use super::trees::{TreeGame, shapley};
use super::{Explainer, RowExplanation};
use crate::background::ColumnSlots;
use crate::inputs::meant;
use crate::{Error, Result};

/// Rows that go through the first layers together.
const TOGETHER: usize = 256;

impl Explainer<'_> {
    /// Explains exactly.
    pub(super) fn exactly(
        &self,
        rows: &[f32],
        outputs: &[f32],
        wanted: &[WantedScore],
    ) -> Result<Vec<RowExplanation>> {
        let compared = self.compared(usize::MAX);
        let each = outputs.len() / wanted.len().max(1);
        let said = self.ask(&compared, compared.len() / self.width().max(1))?;
        let mut moved = vec![0.0; wanted.len() * self.groups.len()];
        for addend in &self.addends {
            let x = features(addend.row, addend.front, &self.form, rows)?;
            let background = features(addend.row, addend.front, &self.form, &compared)?;
            let width = x.len() / wanted.len().max(1);
            let player = players(&self.groups, self.codes, &vectors(addend.row), width)?;
            let counts = |wanted: &WantedScore| -> Vec<f64> {
                wanted.weights.iter().zip(&addend.shares).map(|(weight, share)| weight * share).collect()
            };
            let weights: Vec<f64> = wanted.iter().flat_map(counts).collect();
            let game = TreeGame {
                x: &x,
                background: &background,
                width,
                player: &player,
                players: self.groups.len(),
                weights: &weights,
                outputs: each,
            };
            match &addend.of {
                AddendKind::Trees(forest) => shapley(forest, &game, &mut moved)?,
                AddendKind::Linear(weight) => linear(weight, &game, &mut moved)?,
            }
        }
        let row = |(at, moved): (usize, &[f64])| {
            let wanted = &wanted[at];
            let count = said.len() / each.max(1);
            let sum: f64 = said.chunks(each.max(1)).map(|outputs| wanted.of(outputs)).sum();
            RowExplanation {
                class: wanted.class,
                output: wanted.of(&outputs[at * each..][..each]),
                baseline: sum / count.max(1) as f64,
                moved: moved.to_vec(),
                errors: Vec::new(),
            }
        };
        Ok(moved.chunks(self.groups.len().max(1)).enumerate().map(row).collect())
    }
}

/// What each feature moves: its weight times how far it is from the background's mean.
pub(super) fn linear(weight: &[f32], game: &TreeGame, sums: &mut [f64]) -> Result<()> {
    let (width, outputs) = (game.width, game.outputs);
    if weight.len() != width * outputs {
        return Err(Error::Preparation("the linear layer's weights aren't of its inputs".to_string()));
    }
    let count = game.background.len() / width.max(1);
    let mut mean = vec![0.0; width];
    for row in game.background.chunks(width.max(1)) {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / count as f64);
    }
    for (at, row) in game.x.chunks(width.max(1)).enumerate() {
        let of_row = &game.weights[at * outputs..][..outputs];
        for (feature, value) in row.iter().enumerate() {
            let own = weight[feature * outputs..][..outputs].iter().zip(of_row);
            let slope: f64 = own.map(|(weight, counts)| f64::from(*weight) * counts).sum();
            sums[at * game.players + game.player[feature]] += slope * (f64::from(*value) - mean[feature]);
        }
    }
    Ok(())
}

/// What the first layers of a row make of prepared rows: of none the numbers as they mean.
pub(super) fn features(row: &Sequential, front: usize, form: &Form, rows: &[f32]) -> Result<Vec<f32>> {
    let width = form.width();
    let own = form.clone();
    let mut function = Function::inference(row, move |row: &Sequential, context: &Context, [x]| {
        row.span(0..front, &meant(&x, &own), context)
    });
    in_parts(rows, width, |rows, count| Ok(function.run([Input::new(rows, &[count, width])])?[0].clone()))
}

/// Vectors of codes with what the first layer says of where their texts end.
pub(super) fn in_context(layers: &Sequential, x: &Tensor, codes: &Tensor, context: &Context) -> Tensor {
    match layers.span(0..1, codes, context).error() {
        Some(error) => error.into(),
        None => x.clone(),
    }
}

/// What the layers behind the first make of one row of features in this shape, of vectors beside the codes that they are of.
pub(super) fn behind(
    row: &Sequential,
    front: usize,
    features: &[f32],
    shape: &[usize],
    codes: Option<&[i64]>,
) -> Result<Vec<f32>> {
    let has_codes = codes.is_some();
    let mut function = Function::inference(row, move |row: &Sequential, context: &Context, [x, codes]| {
        let x = if has_codes { in_context(row, &x, &codes, context) } else { x };
        row.span(front..row.len(), &x, context)
    });
    let (codes, shape) = (codes.unwrap_or(&[0]), [&[1], shape].concat());
    let out = function.run([Input::new(features, &shape), Input::new(codes, &[1, codes.len()])])?;
    Ok(out.first().and_then(|out| out.as_slice::<f32>()).unwrap_or_default().to_vec())
}

/// Runs rows a few at a time, always as many, so that one program does.
fn in_parts(
    rows: &[f32],
    width: usize,
    mut run: impl FnMut(&[f32], usize) -> Result<kiln_nn::Data>,
) -> Result<Vec<f32>> {
    let count = rows.len() / width.max(1);
    let together = TOGETHER.min(count.max(1));
    let mut all = Vec::new();
    for part in rows.chunks(together * width.max(1)) {
        let own = part.len() / width.max(1);
        let mut filled = part.to_vec();
        let last = part[(own - 1) * width..].to_vec();
        (own..together).for_each(|_| filled.extend_from_slice(&last));
        let out = run(&filled, together)?;
        let out = out.as_slice::<f32>().unwrap_or_default();
        all.extend_from_slice(&out[..out.len() / together * own]);
    }
    Ok(all)
}

/// Which column each feature is of, behind vectors of codes where there are some: amounts first, then each code's vector.
pub(super) fn players(
    groups: &[ColumnSlots],
    codes: usize,
    vectors: &[usize],
    width: usize,
) -> Result<Vec<usize>> {
    let sizes = |at: usize, places: usize| match at.checked_sub(groups.len() - codes) {
        Some(code) if !vectors.is_empty() => vectors.get(code).copied().unwrap_or(0),
        _ => places,
    };
    let each = groups.iter().enumerate();
    let player: Vec<usize> =
        each.flat_map(|(at, (_, places))| std::iter::repeat_n(at, sizes(at, places.len()))).collect();
    match player.len() == width && (vectors.is_empty() || vectors.len() == codes) {
        true => Ok(player),
        false => Err(Error::Preparation(format!(
            "the first layer gives {width} features, and the columns have {}",
            player.len()
        ))),
    }
}
