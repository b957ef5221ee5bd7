//! Which method puts classes right, by rows that it wasn't found on.

use kiln_data::Rng;

use super::{CalibrationMethod, isotonic, temperature};

/// A smaller gain in log loss is none that anybody sees.
const LEAST_GAIN: f64 = 1e-4;

/// In how many folds rows are cut to choose a method.
const FOLDS: usize = 5;

/// Which method is taken, and what it gains on rows that it wasn't found on.
pub(super) struct MethodChoice {
    pub(super) method: &'static str,
    pub(super) tried: &'static str,
    /// The mean gain in log loss, and its standard error.
    pub(super) gain: [f64; 2],
}

impl MethodChoice {
    pub(super) fn of(
        logits: &[f64],
        classes: usize,
        labels: &[usize],
        method: CalibrationMethod,
    ) -> MethodChoice {
        let before: Vec<f64> = logits
            .chunks(classes)
            .zip(labels)
            .map(|(row, &label)| temperature::loss(row, label, 1.0))
            .collect();
        let by_temperature = crossed(labels.len(), |found, held| {
            let own = found.iter().flat_map(|&row| &logits[row * classes..][..classes]).copied();
            let own_labels: Vec<usize> = found.iter().map(|&row| labels[row]).collect();
            let slope = 1.0 / temperature::fit(&own.collect::<Vec<f64>>(), classes, &own_labels);
            held.iter()
                .map(|&row| temperature::loss(&logits[row * classes..][..classes], labels[row], slope))
                .collect()
        });
        let temperature = MethodChoice {
            method: "temperature",
            tried: "a temperature",
            gain: gain(&before, &by_temperature),
        };
        if classes != 2 || method == CalibrationMethod::Temperature {
            return temperature.taken(method);
        }
        let margins = isotonic::margins(logits);
        let by_line = crossed(labels.len(), |found, held| {
            let own: Vec<f64> = found.iter().map(|&row| margins[row]).collect();
            let own_labels: Vec<usize> = found.iter().map(|&row| labels[row]).collect();
            let line = isotonic::fit(&own, &own_labels);
            let bent = |row: usize| [0.0, f64::from(isotonic::height(&line, margins[row] as f32))];
            held.iter().map(|&row| temperature::loss(&bent(row), labels[row], 1.0)).collect()
        });
        let isotonic = MethodChoice { method: "isotonic", tried: "a line", gain: gain(&before, &by_line) };
        if method == CalibrationMethod::Isotonic {
            return isotonic;
        }
        let [more, error] = gain(&by_temperature, &by_line);
        let is_better = more > error && isotonic.gain[0] > isotonic.gain[1];
        if is_better { isotonic } else { temperature.taken(method) }
    }

    /// The same, or nothing where what it gains is within its error and nobody asked for it.
    fn taken(self, method: CalibrationMethod) -> MethodChoice {
        let is_worth = self.gain[0] > self.gain[1].max(LEAST_GAIN) || method != CalibrationMethod::Auto;
        if is_worth { self } else { MethodChoice { method: "none", ..self } }
    }
}

/// What is said of all rows, such as losses, of each by what was found on the others' folds.
pub(super) fn crossed<T: Clone + Default>(rows: usize, say: impl Fn(&[usize], &[usize]) -> Vec<T>) -> Vec<T> {
    let mut order: Vec<usize> = (0..rows).collect();
    Rng::new(0).shuffle(&mut order);
    let mut all = vec![T::default(); rows];
    for fold in 0..FOLDS {
        let is_held = |at: usize| at % FOLDS == fold;
        let rows_where = |wanted: bool| {
            order.iter().enumerate().filter(move |(at, _)| is_held(*at) == wanted).map(|(_, &row)| row)
        };
        let (found, held) = (rows_where(false).collect::<Vec<_>>(), rows_where(true).collect::<Vec<_>>());
        held.iter().zip(say(&found, &held)).for_each(|(&row, said)| all[row] = said);
    }
    all
}

/// The mean of how much less each row's loss is, and its standard error.
fn gain(before: &[f64], after: &[f64]) -> [f64; 2] {
    let rows = before.len().max(1) as f64;
    let each = || before.iter().zip(after).map(|(before, after)| before - after);
    let mean = each().sum::<f64>() / rows;
    let squares: f64 = each().map(|gain| (gain - mean) * (gain - mean)).sum();
    [mean, (squares / (rows - 1.0).max(1.0) / rows).sqrt()]
}
