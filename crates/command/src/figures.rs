//! Figures that no metric of training is: losses of single numbers, how likely counts are, how far classes in order are off.

use anyhow::Result;
use kiln_learn::Preparation;
use kiln_learn::data::{Curve, Cut, Dataset, Unit};
use kiln_learn::metrics::{Average, Confusion, EntityScores};
use kiln_learn::model::{ClassSets, quantiles};
use kiln_learn::trainer::Judged;

/// What a row's number loses, in the units that are learned in.
pub fn loss_of(outputs: &[f32], truth: f64, unit: &Unit, interval: Option<f64>) -> f64 {
    let pinball = |(output, quantile): (&f32, f64)| {
        let error = truth - f64::from(*output);
        (quantile * error).max((quantile - 1.0) * error)
    };
    match (interval, outputs) {
        (Some(share), bounds) => bounds.iter().zip(quantiles(share)).map(pinball).sum::<f64>() / 3.0,
        (None, [output, ..]) if unit.curve == Curve::Count => {
            libm::exp(f64::from(*output)) - truth * f64::from(*output)
        }
        (None, [output, ..]) => (f64::from(*output) - truth) * (f64::from(*output) - truth),
        (None, []) => f64::NAN,
    }
}

/// How much less far off classes are than by chance, by the squares of how far: 1 where all are right.
pub fn quadratic_kappa(confusion: &Confusion) -> f64 {
    let classes = confusion.classes();
    let each = || (0..classes).flat_map(|truth| (0..classes).map(move |said| (truth, said)));
    let far = |truth: usize, said: usize| (truth.abs_diff(said) as f64) * (truth.abs_diff(said) as f64);
    let count = |truth: usize, said: usize| confusion.count(truth, said) as f64;
    let of_truth = |truth: usize| (0..classes).map(|said| count(truth, said)).sum::<f64>();
    let of_said = |said: usize| (0..classes).map(|truth| count(truth, said)).sum::<f64>();
    let all: f64 = (0..classes).map(of_truth).sum();
    let own: f64 = each().map(|(truth, said)| far(truth, said) * count(truth, said)).sum();
    let chance: f64 =
        each().map(|(truth, said)| far(truth, said) * of_truth(truth) * of_said(said) / all).sum();
    1.0 - own / chance
}

/// Twice the mean of how much likelier counts are by themselves than by the means that were predicted.
pub fn poisson_deviance(truth: &[f64], predicted: &[f64]) -> f64 {
    let one = |(truth, mean): (&f64, &f64)| {
        let mean = mean.max(f64::MIN_POSITIVE);
        let log = if *truth > 0.0 { truth * libm::log(truth / mean) } else { 0.0 };
        2.0 * (log - truth + mean)
    };
    truth.iter().zip(predicted).map(one).sum::<f64>() / truth.len() as f64
}

/// Of several targets each of which a row has or hasn't, how well those that it has are found.
pub fn of_labels(labels: &[(&[Judged], &Confusion)]) -> Vec<(String, f64)> {
    let sum = |truth: usize, said: usize| -> f64 {
        labels.iter().map(|(_, confusion)| confusion.count(truth, said) as f64).sum()
    };
    let (found, wrong) = (sum(1, 1), sum(0, 1) + sum(1, 0));
    let all = found + wrong + sum(0, 0);
    let alone = labels.iter().map(|(_, confusion)| confusion.f1(Average::Binary(1))).sum::<f64>();
    let rows = labels.first().map_or(0, |(rows, _)| rows.len());
    let exact = (0..rows).filter(|&row| labels.iter().all(|(own, _)| own[row].is_right())).count();
    let figures = [
        ("f1 micro", 2.0 * found / (2.0 * found + wrong).max(1.0)),
        ("f1 macro", alone / labels.len().max(1) as f64),
        ("hamming", wrong / all.max(1.0)),
        ("exact match", exact as f64 / rows.max(1) as f64),
    ];
    figures.map(|(name, number)| (name.to_string(), number)).to_vec()
}

/// Precision, recall and F1 of each kind of entity, as a table.
pub fn entity_table(entities: &EntityScores) -> String {
    let left = entities.kinds().map(|(kind, _)| kind.chars().count()).max().unwrap_or(0).max(8);
    let mut text = format!("{:>left$}  precision  recall      f1  entities\n", "");
    let all = entities.all();
    for (kind, counts) in entities.kinds().chain([("all", all)]) {
        text += &format!(
            "{kind:>left$}     {:.4}  {:.4}  {:.4}  {:>8}\n",
            counts.precision(),
            counts.recall(),
            counts.f1(),
            counts.there
        );
    }
    text
}

/// A loss of texts, in nats a piece, as perplexity and in bits a character, which says the same of models that cut texts in other pieces.
pub fn in_words_of_texts(loss: f64, characters_of_a_piece: f64) -> [(String, f64); 2] {
    let bits = loss / std::f64::consts::LN_2 / characters_of_a_piece;
    [("perplexity".to_string(), libm::exp(loss)), ("bits-per-character".to_string(), bits)]
}

/// How many characters a piece has, in the mean of a set of texts that go on.
pub fn characters_of_a_piece(preparation: &Preparation, set: &dyn Dataset) -> Result<f64> {
    /// Rows whose pieces are put together at a time.
    const ROWS: usize = 4096;
    let tokens = match preparation {
        Preparation::Text(text) if text.tokens.cut() != Cut::Characters => &text.tokens,
        _ => return Ok(1.0),
    };
    let (mut pieces, mut characters) = (0, 0);
    for batch in (&set).batches(ROWS) {
        let batch = batch?;
        let codes = (0..batch.y.len()).filter_map(|at| batch.y.get(at)).map(|code| code as u32);
        let codes: Vec<u32> = codes.collect();
        (pieces, characters) = (pieces + codes.len(), characters + tokens.decode(&codes).chars().count());
    }
    Ok(characters as f64 / pieces.max(1) as f64)
}

/// One target's numbers, in its own unit.
#[derive(Default)]
pub struct PredictedNumbers {
    pub name: String,
    pub truth: Vec<f64>,
    pub predicted: Vec<f64>,
    /// The bounds of each row, where an interval is predicted.
    pub bounds: Vec<[f64; 2]>,
    /// The sum of the rows' losses, in the units that are learned in.
    pub losses: f64,
    /// Its figures alone.
    pub figures: Vec<(&'static str, f64)>,
}

impl PredictedNumbers {
    /// How far a row is off.
    pub fn off(&self, row: usize) -> f64 {
        (self.predicted[row] - self.truth[row]).abs()
    }

    /// How far a row is off, by how far rows are off in the mean.
    pub fn off_by_mean(&self, row: usize) -> f64 {
        let mean = self.figures.iter().find(|(name, _)| *name == "mae").map_or(1.0, |(_, mean)| *mean);
        self.off(row) / mean.max(f64::MIN_POSITIVE)
    }
}

/// Sets of classes beside what is true.
#[derive(Clone, Debug, Default)]
pub struct InSets {
    /// Whether each row's class is in its set.
    pub held: Vec<bool>,
    /// How many classes are in.
    pub sizes: Vec<usize>,
}

impl InSets {
    /// Takes a row's outputs and its class.
    pub fn see(&mut self, sets: &ClassSets, outputs: &[f32], label: usize) {
        let set = sets.of_outputs(outputs);
        self.held.push(set.get(label).copied().unwrap_or(false));
        self.sizes.push(set.iter().filter(|is_in| **is_in).count());
    }

    /// The share of rows whose class is in their set, and how many classes are in the mean.
    pub fn figures(&self) -> [(&'static str, f64); 2] {
        let rows = self.held.len() as f64;
        let held = self.held.iter().filter(|held| **held).count() as f64;
        [("coverage", held / rows), ("set-size", self.sizes.iter().sum::<usize>() as f64 / rows)]
    }
}

/// A number for an axis.
pub fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_string(),
        n if !(1e-3..1e9).contains(&n) => format!("{number:.1e}"),
        n if n >= 1e4 => figure(number),
        _ => {
            let text = format!("{number:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

/// A number as people write it: large ones whole with their thousands apart, small ones to four places that count.
pub fn figure(number: f64) -> String {
    let size = number.abs();
    let places = match size {
        _ if size >= 1e15 || (size < 1e-4 && size > 0.0) => return format!("{number:.4e}"),
        _ if size >= 1e4 => 0,
        _ if size >= 100.0 => 2,
        _ => 4,
    };
    let text = format!("{number:.places$}");
    let digits = text.find('.').unwrap_or(text.len());
    let sign = usize::from(text.starts_with('-'));
    let (whole, rest) = text.split_at(digits);
    let mut apart = String::with_capacity(text.len() + 5);
    for (at, letter) in whole.chars().enumerate() {
        if at > sign && (digits - at).is_multiple_of(3) && size >= 1e4 {
            apart.push(',');
        }
        apart.push(letter);
    }
    apart + rest
}
