//! Small dense algebra in double precision: products in a fixed order, Cholesky, and coordinate descent.

/// Sums that are kept side by side, so that they are computed in vectors.
const LANES: usize = 8;

/// `Σ a · b`, in one order everywhere.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum::<f64>();
    for (a, b) in a_chunks.zip(b_chunks) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + rest
}

/// As [`dot`], of as many numbers as the first has.
pub(super) fn dot_f32(a: &[f32], b: &[f64]) -> f64 {
    let b = b.get(..a.len()).unwrap_or_default();
    let mut sums = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest = rest.map(|(&a, b)| f64::from(a) * b).sum::<f64>();
    for (a, b) in a_chunks.zip(b_chunks) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (&a, b))| *sum += f64::from(a) * b);
    }
    sums.iter().sum::<f64>() + rest
}

/// `sums += factor · x`
pub(super) fn add_scaled(sums: &mut [f64], factor: f64, x: &[f64]) {
    sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
}

/// As [`add_scaled`].
pub(super) fn add_scaled_f32(sums: &mut [f64], factor: f64, x: &[f32]) {
    sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += factor * f64::from(x));
}

/// The triangle `L` of `L · Lᵀ = A + ridge · 1`, row by row.
pub(super) struct Cholesky {
    size: usize,
    rows: Vec<f64>,
}

impl Cholesky {
    /// Of a symmetric matrix `[size, size]`, of which the lower triangle is read; nothing where it isn't positive definite.
    pub fn of(matrix: &[f64], size: usize, ridge: impl Fn(usize) -> f64) -> Option<Cholesky> {
        let mut rows = matrix.to_vec();
        for row in 0..size {
            let (above, own) = rows.split_at_mut(row * size);
            let own = &mut own[..size];
            for (column, other) in above.chunks_exact(size).enumerate() {
                let sum = own[column] - dot(&own[..column], &other[..column]);
                own[column] = sum / other[column];
            }
            let square = own[row] + ridge(row) - dot(&own[..row], &own[..row]);
            // The smallest that a division by it keeps finite.
            if square.is_nan() || square <= 1e-13 * (own[row] + ridge(row)).abs() {
                return None;
            }
            own[row] = square.sqrt();
        }
        Some(Cholesky { size, rows })
    }

    /// `x` of `A · x = b`, in the place of `b`.
    pub fn solve(&self, b: &mut [f64]) {
        let row = |at: usize| &self.rows[at * self.size..][..self.size];
        for at in 0..self.size {
            let (before, own) = b.split_at_mut(at);
            own[0] = (own[0] - dot(&row(at)[..at], before)) / row(at)[at];
        }
        for at in (0..self.size).rev() {
            let (before, own) = b.split_at_mut(at);
            own[0] /= row(at)[at];
            add_scaled(before, -own[0], &row(at)[..at]);
        }
    }
}

/// What weights may be: any number, none below 0, none above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightSign {
    /// Any.
    #[default]
    Free,
    /// More of the input never says less.
    Rising,
    /// More of the input never says more.
    Falling,
}

impl WeightSign {
    /// The nearest weight that is allowed.
    pub(super) fn nearest(self, weight: f64) -> f64 {
        match self {
            WeightSign::Free => weight,
            WeightSign::Rising => weight.max(0.0),
            WeightSign::Falling => weight.min(0.0),
        }
    }
}

/// How often all weights are gone through at most.
const SWEEPS: usize = 1000;

/// Weights of least `½ wᵀAw − bᵀw + ½ l2 |w|² + l1 |w|₁` with the signs that they may have, by coordinate descent from where they are.
pub(super) fn descend(
    matrix: &[f64],
    b: &[f64],
    (l1, l2): (f64, f64),
    signs: &[WeightSign],
    weights: &mut [f64],
) {
    let size = b.len();
    let row = |at: usize| &matrix[at * size..][..size];
    // b − A·w
    let mut left = b.to_vec();
    for (at, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
        add_scaled(&mut left, -weight, row(at));
    }
    let largest = b.iter().fold(0.0f64, |most, b| most.max(b.abs()));
    let mut one = |at: usize, weights: &mut [f64]| {
        let own = row(at)[at];
        if own <= 0.0 {
            return 0.0;
        }
        let pull = left[at] + own * weights[at];
        let shrunk = (pull.abs() - l1).max(0.0).copysign(pull);
        let sign = signs.get(at).copied().unwrap_or_default();
        let weight = sign.nearest(shrunk / (own + l2));
        let change = weight - weights[at];
        if change != 0.0 {
            add_scaled(&mut left, -change, row(at));
            weights[at] = weight;
        }
        change.abs() * own
    };
    let mut active: Vec<usize> = Vec::new();
    for sweep in 0..SWEEPS {
        // After a sweep over all, those that aren't 0 are gone through until they stay.
        let everything = sweep == 0 || active.is_empty();
        let most = match everything {
            true => (0..size).fold(0.0f64, |most, at| most.max(one(at, weights))),
            false => active.iter().fold(0.0f64, |most, &at| most.max(one(at, weights))),
        };
        match (most <= 1e-9 * largest, everything) {
            (true, true) => break,
            (true, false) => active.clear(),
            (false, true) => active = (0..size).filter(|&at| weights[at] != 0.0).collect(),
            (false, false) => {}
        }
    }
}
