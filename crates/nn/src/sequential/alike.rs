//! Whether two descriptions are of the same layers.

use super::{Kind, Part, Sequential};

/// Whether two texts are of the same layers, by whatever words: those of earlier versions too. A rank that one leaves open is the other's.
///
/// ```
/// use kiln_nn::sequential::alike;
///
/// assert!(alike("conv 8 3, pool 2 as small", "conv2d 8 3, max-pool2d 2 as small"));
/// assert!(!alike("conv1d 8 3", "conv2d 8 3"));
/// ```
pub fn alike(one: &str, other: &str) -> bool {
    let rows = || Some((one.parse::<Sequential>().ok()?, other.parse::<Sequential>().ok()?));
    one == other || rows().is_some_and(|(one, other)| rows_alike(&one, &other))
}

fn rows_alike(one: &Sequential, other: &Sequential) -> bool {
    one.len() == other.len() && one.parts.iter().zip(&other.parts).all(|(one, other)| parts_alike(one, other))
}

fn parts_alike(one: &Part, other: &Part) -> bool {
    let alike = match (&one.kind, &other.kind) {
        (Kind::Described(one, _), Kind::Described(other, _)) => {
            one.with_rank(other.rank()) == other.with_rank(one.rank())
        }
        (Kind::Residual(one, _), Kind::Residual(other, _)) => rows_alike(one, other),
        (Kind::Parallel(ones, join), Kind::Parallel(others, as_well)) => {
            let all_alike = || ones.iter().zip(others).all(|(one, other)| rows_alike(one, other));
            join == as_well && ones.len() == others.len() && all_alike()
        }
        (Kind::Blend(one), Kind::Blend(other)) => {
            let all_alike = || one.rows.iter().zip(&other.rows).all(|(one, other)| rows_alike(one, other));
            one.of == other.of && one.rows.len() == other.rows.len() && all_alike()
        }
        _ => false,
    };
    alike && one.name == other.name
}
