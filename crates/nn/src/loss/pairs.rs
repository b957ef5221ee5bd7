//! Losses of pairs and triples of vectors `[batch, size]`: their mean over the batch, as PyTorch's.

use crate::tensor::Tensor;

/// Vectors that belong together (target 1) should point the same way, others (target −1) not within `margin` of it.
#[track_caller]
pub fn cosine_embedding(a: &Tensor, b: &Tensor, target: &Tensor, margin: f64) -> Tensor {
    let (a, b) = (a.wide(), b.wide());
    // As PyTorch keeps the root away from zero.
    let length = |x: &Tensor| x.square().sum(-1) + 1e-12;
    let cosine = (&a * &b).sum(-1) / (length(&a) * length(&b)).sqrt();
    target.gt(0).select(1.0 - &cosine, (cosine - margin).relu()).mean(..)
}

/// An anchor should be nearer to what belongs to it than to what doesn't, by `margin`; distances are `p`-norms.
#[track_caller]
pub fn triplet_margin(anchor: &Tensor, positive: &Tensor, negative: &Tensor, margin: f64, p: f64) -> Tensor {
    let anchor = anchor.wide();
    let distance = |other: &Tensor| (&anchor - other.wide() + 1e-6).norm(-1, p);
    (distance(positive) - distance(negative) + margin).relu().mean(..)
}

/// Vectors that belong together (target 1) should be near each other, others (target 0) at least `margin` apart; the squares
/// of what is missing.
#[track_caller]
pub fn contrastive(a: &Tensor, b: &Tensor, target: &Tensor, margin: f64) -> Tensor {
    let square = (a.wide() - b.wide()).square().sum(-1);
    // The root's slope at zero is infinite: two equal vectors that shouldn't be.
    let distance = (&square + 1e-12).sqrt();
    target.gt(0).select(square, (margin - distance).relu().square()).mean(..)
}
