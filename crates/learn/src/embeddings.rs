//! What texts mean as rows of numbers.

/// A row of numbers for each text, of one width: texts that mean alike have rows that point alike.
///
/// ```
/// use kiln::Embeddings;
///
/// let embeddings = Embeddings::new(vec![3.0, 4.0, 0.0, 2.0], 2);
/// assert_eq!(embeddings.normalized().rows().collect::<Vec<_>>(), [[0.6, 0.8], [0.0, 1.0]]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    numbers: Vec<f32>,
    width: usize,
}

impl Embeddings {
    /// Of rows of so many numbers, one after the other.
    pub fn new(numbers: Vec<f32>, width: usize) -> Embeddings {
        Embeddings { numbers, width }
    }

    /// How many numbers a text has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.numbers.chunks_exact(self.width.max(1))
    }

    /// The same with rows of length 1, so that products of rows are cosines. A row of zeros stays one.
    pub fn normalized(mut self) -> Embeddings {
        for row in self.numbers.chunks_exact_mut(self.width.max(1)) {
            let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            if squares > 0.0 {
                let length = squares.sqrt();
                row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
            }
        }
        self
    }
}

/// The mean of the first `count` of steps `[steps, width]`: padding stands behind them. One after the other in double precision, so that
/// padding changes no bit.
pub(crate) fn mean_of_steps(steps: &[f32], width: usize, count: usize) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    for step in steps.chunks_exact(width.max(1)).take(count) {
        sums.iter_mut().zip(step).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
}
