//! Whether a target's numbers are better learned by their logarithms: held-out rows say it, by sums of bent lines that are fitted both ways. Straight
//! lines would say too little: an exponential of one goes far off where its inputs are large.

use kiln_data::{Dataset, Unit};

use super::moments::ProductSums;
use super::rows::{Design, HeldRows, SetRows, TargetRows, dealt, sample};
use super::solve::Cholesky;
use crate::Result;

/// How far off rows that were held out are, in the target's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Off {
    /// The root of the mean squared error.
    pub rmse: f64,
    /// The mean absolute error.
    pub mae: f64,
}

/// A skewed target both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// How skewed the numbers are: their third moment by their deviation; 2 is that of waiting times.
    pub skewness: f64,
    /// As it is.
    pub plain: Off,
    /// By the logarithm.
    pub log: Off,
}

/// Numbers less skewed than this are learned as they are.
const SKEWED: f64 = 1.0;
const ROWS: usize = 10_000;
const FEATURES: usize = 400;
const FOLDS: usize = 4;
/// The quantiles of an input at which its line bends.
const BENDS: [f64; 2] = [1.0 / 3.0, 2.0 / 3.0];
/// Strengths beside the mean square of a feature over the rows.
const STRENGTHS: [f64; 3] = [1e-4, 1e-2, 1.0];

impl Skew {
    /// Whether the logarithm is clearly better and nothing is lost by it.
    pub fn wants_log(&self) -> bool {
        self.log.mae < 0.97 * self.plain.mae && self.log.rmse <= self.plain.rmse
    }
}

/// How skewed one of a set's targets is, and what its logarithm brings; nothing where it isn't skewed, the logarithm is as skewed, or columns
/// are too many to tell quickly. The set has its numbers in the unit `plain`; codes are the sizes of columns of codes.
///
/// # Errors
/// Where rows can't be read.
pub fn skew(
    train: &dyn Dataset,
    codes: &[usize],
    (target, plain): (usize, Unit),
    log: Unit,
    seed: u64,
) -> Result<Option<Skew>> {
    let width = train.x().width();
    let design = Design { amounts: width.saturating_sub(codes.len()), codes: codes.to_vec() };
    let taken = sample(train.len(), ROWS, seed);
    let rows = SetRows { set: train, target, class_weights: None };
    let some = HeldRows::of(&rows, width, |row| taken.get(row).copied().unwrap_or(false))?;
    let numbers: Vec<f64> = some.targets().iter().map(|learned| plain.truth(*learned)).collect();
    let bent: Vec<f64> = numbers.iter().map(|number| log.learned(*number)).collect();
    let skewness = third(&numbers);
    let is_straighter = third(&bent).abs() < 0.7 * skewness;
    if skewness < SKEWED || !is_straighter || some.len() < 20 * FOLDS {
        return Ok(None);
    }
    let design = Design { amounts: design.amounts * (BENDS.len() + 1), ..design };
    if design.features() > FEATURES {
        return Ok(None);
    }
    let mut some = some.bent(width - design.codes.len(), &BENDS);
    let fold = dealt(some.len(), FOLDS, seed);
    let mut best = Vec::new();
    for (unit, targets) in [(plain, some.targets().to_vec()), (log, bent)] {
        some.retarget(targets);
        let each = off(&design, &some, &fold, &numbers, unit)?;
        best.extend(each.into_iter().min_by(|a, b| a.rmse.total_cmp(&b.rmse)));
    }
    Ok(match best.as_slice() {
        [plain, log] => Some(Skew { skewness, plain: *plain, log: *log }),
        _ => None,
    })
}

/// The third moment, by the deviation.
fn third(numbers: &[f64]) -> f64 {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let moment =
        |power: fn(f64) -> f64| numbers.iter().map(|number| power(number - mean)).sum::<f64>() / count;
    let variance = moment(|off| off * off);
    moment(|off| off * off * off) / (variance * variance.sqrt()).max(f64::MIN_POSITIVE)
}

/// How far off rows are that were held out, for each strength.
fn off(design: &Design, rows: &HeldRows, fold: &[u8], numbers: &[f64], unit: Unit) -> Result<Vec<Off>> {
    let each = ProductSums::of_folds(design, rows, fold, FOLDS)?;
    let mut sums = vec![[0.0; 2]; STRENGTHS.len()];
    for held in 0..FOLDS {
        let others = each.iter().enumerate().filter(|(at, _)| *at != held).map(|(_, own)| own);
        let mut all = each[held].clone();
        all.add(&each[held], -1.0);
        others.for_each(|own| all.add(own, 1.0));
        let (xx, xy) = all.centred();
        let size = xy.len();
        let square = (0..size).map(|at| xx[at * size + at]).sum::<f64>() / size.max(1) as f64;
        for (sums, strength) in sums.iter_mut().zip(STRENGTHS) {
            let mut weights = xy.clone();
            match Cholesky::of(&xx, size, |_| strength * square) {
                Some(factor) => factor.solve(&mut weights),
                None => {
                    sums.fill(f64::INFINITY);
                    continue;
                }
            }
            let bias = all.bias(&weights);
            let [own, other] = predicted(design, rows, (&weights, bias), fold, held as u8)?;
            let [truth, said] = [0, 1].map(|at| {
                other.iter().map(|row| if at == 0 { numbers[row.0] } else { unit.truth(row.1) }).sum::<f64>()
            });
            // As a model's predictions are lifted to the right mean.
            let factor = if unit.curve.is_straight() { 1.0 } else { truth / said.max(f64::MIN_POSITIVE) };
            for (row, output) in own {
                let off = factor * unit.truth(output) - numbers[row];
                sums[0] += off * off;
                sums[1] += off.abs();
            }
        }
    }
    let count = rows.len() as f64;
    Ok(sums
        .into_iter()
        .map(|[squares, sizes]| Off { rmse: (squares / count).sqrt(), mae: sizes / count })
        .collect())
}

/// What weights say of the rows of a fold and of all others, each with its place; no more or less than what they were fitted to.
fn predicted(
    design: &Design,
    rows: &HeldRows,
    (weights, bias): (&[f64], f64),
    fold: &[u8],
    held: u8,
) -> Result<[Vec<(usize, f64)>; 2]> {
    let is_held = |row: usize| fold.get(row) == Some(&held);
    let fitted =
        rows.targets().iter().enumerate().filter(|(row, _)| !is_held(*row)).map(|(_, target)| *target);
    let (least, most) = fitted.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), target| {
        (least.min(target), most.max(target))
    });
    let mut all = [Vec::new(), Vec::new()];
    rows.each(0..rows.len(), &mut |row, inputs, _, _| {
        let output = (design.score(inputs, weights) + bias).max(least).min(most);
        all[usize::from(!is_held(row))].push((row, output));
    })?;
    Ok(all)
}
