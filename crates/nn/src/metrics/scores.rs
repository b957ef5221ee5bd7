//! Figures that need the scores themselves: areas under curves, log loss, calibration. All scores are kept, so the areas are
//! exact; merging only joins the lists.

use kiln_ir::{Error, ErrorKind, Result};

/// The least probability a logarithm is taken of, as in scikit-learn for `f64`.
const LEAST: f64 = f64::EPSILON;

/// Probabilities (or for the areas any scores) of the positive class, and whether it was that.
///
/// ```
/// use kiln_nn::metrics::BinaryScores;
///
/// let mut scores = BinaryScores::default();
/// scores.add(&[0.9, 0.4, 0.35, 0.8], &[true, false, true, true])?;
/// assert_eq!(scores.roc_auc(), 2.0 / 3.0);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryScores {
    seen: Vec<(f64, bool)>,
}

impl BinaryScores {
    /// Keeps a batch.
    ///
    /// # Errors
    /// Where the lengths differ or a score is no number.
    pub fn add(&mut self, scores: &[f64], positive: &[bool]) -> Result<()> {
        if scores.len() != positive.len() {
            let message = format!("{} labels for {} scores", positive.len(), scores.len());
            return Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere());
        }
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            let message = format!("score {at} of the batch is NaN");
            return Err(Error::new(ErrorKind::NonFinite, "metrics", message).nowhere());
        }
        self.seen.extend(scores.iter().copied().zip(positive.iter().copied()));
        Ok(())
    }

    /// Joins another's scores.
    pub fn merge(&mut self, other: &BinaryScores) {
        self.seen.extend_from_slice(&other.seen);
    }

    pub(super) fn state(&self, state: &mut Vec<f64>) {
        state.extend(self.seen.iter().flat_map(|&(score, positive)| [score, f64::from(u8::from(positive))]));
    }

    pub(super) fn restored(state: &[f64]) -> Option<BinaryScores> {
        let (pairs, rest) = state.as_chunks();
        let seen = pairs.iter().map(|&[score, positive]| (score, positive != 0.0)).collect();
        rest.is_empty().then_some(BinaryScores { seen })
    }

    /// For each different score from the highest down: how many positive and negative ones have it or more.
    fn steps(&self) -> Vec<(f64, f64)> {
        let mut sorted = self.seen.clone();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut steps, mut sums) = (Vec::new(), (0.0, 0.0));
        for (position, &(score, positive)) in sorted.iter().enumerate() {
            if positive {
                sums.0 += 1.0
            } else {
                sums.1 += 1.0
            }
            if sorted.get(position + 1).is_none_or(|next| next.0 != score) {
                steps.push(sums);
            }
        }
        steps
    }

    /// The area under the curve of true over false positives: how often a positive one scores above a negative one, ties
    /// counting half. `NaN` where one of the classes doesn't occur.
    pub fn roc_auc(&self) -> f64 {
        let steps = self.steps();
        let Some(&(positive, negative)) = steps.last() else { return f64::NAN };
        let (mut area, mut before) = (0.0, (0.0, 0.0));
        for &(hits, alarms) in &steps {
            area += (alarms - before.1) * (hits + before.0) / 2.0;
            before = (hits, alarms);
        }
        area / (positive * negative)
    }

    /// The area under the curve of precision over recall, as a sum of steps (average precision); 0 without positive ones, as
    /// scikit-learn says.
    pub fn average_precision(&self) -> f64 {
        let steps = self.steps();
        let Some(&(positive, _)) = steps.last() else { return f64::NAN };
        if positive == 0.0 {
            return 0.0;
        }
        let (mut area, mut before) = (0.0, 0.0);
        for &(hits, alarms) in &steps {
            area += (hits - before) / positive * hits / (hits + alarms);
            before = hits;
        }
        area
    }

    fn mean(&self, each: impl Fn(f64, bool) -> f64) -> f64 {
        self.seen.iter().map(|&(score, positive)| each(score, positive)).sum::<f64>() / self.seen.len() as f64
    }

    /// The mean surprise of the truth under the probabilities, in nats.
    pub fn log_loss(&self) -> f64 {
        self.mean(|p, positive| {
            let p = p.clamp(LEAST, 1.0 - LEAST);
            -libm::log(if positive { p } else { 1.0 - p })
        })
    }

    /// Brier's score: the mean squared distance of the probabilities from what was true.
    pub fn brier(&self) -> f64 {
        self.mean(|p, positive| {
            let error = p - f64::from(u8::from(positive));
            error * error
        })
    }

    /// The expected calibration error: how far, over bins of equal width, the mean probability is from the share of
    /// positive ones, weighted by how many are in the bin.
    pub fn calibration_error(&self, bins: usize) -> f64 {
        let mut sums = vec![(0.0, 0.0); bins.max(1)];
        for &(p, positive) in &self.seen {
            let bin = ((p * bins as f64) as usize).min(bins.max(1) - 1);
            sums[bin].0 += p;
            sums[bin].1 += f64::from(u8::from(positive));
        }
        sums.iter().map(|(confident, right)| (confident - right).abs()).sum::<f64>() / self.seen.len() as f64
    }
}

/// Probabilities of several classes, and which was true.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScores {
    classes: usize,
    probabilities: Vec<f64>,
    labels: Vec<usize>,
}

impl ClassScores {
    /// Nothing seen yet.
    pub fn new(classes: usize) -> ClassScores {
        ClassScores { classes, probabilities: Vec::new(), labels: Vec::new() }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Keeps a batch of probabilities `[batch, classes]`.
    ///
    /// # Errors
    /// Where the sizes don't fit, or a label is none of the classes.
    pub fn add(&mut self, probabilities: &[f64], labels: &[i64]) -> Result<()> {
        if probabilities.len() != labels.len() * self.classes {
            let message = format!(
                "{} probabilities for {} labels of {} classes",
                probabilities.len(),
                labels.len(),
                self.classes
            );
            return Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere());
        }
        let known = |label: i64| usize::try_from(label).ok().filter(|&class| class < self.classes);
        if let Some(label) = labels.iter().find(|&&label| known(label).is_none()) {
            let message =
                format!("label {label} is none of the {} classes, which count from 0", self.classes);
            return Err(Error::new(ErrorKind::Value, "metrics", message).nowhere());
        }
        self.labels.extend(labels.iter().filter_map(|&label| known(label)));
        self.probabilities.extend_from_slice(probabilities);
        Ok(())
    }

    /// Joins another's.
    pub fn merge(&mut self, other: &ClassScores) {
        self.probabilities.extend_from_slice(&other.probabilities);
        self.labels.extend_from_slice(&other.labels);
    }

    pub(super) fn state(&self, state: &mut Vec<f64>) {
        state.push(self.classes as f64);
        state.extend(self.labels.iter().map(|&label| label as f64));
        state.extend_from_slice(&self.probabilities);
    }

    pub(super) fn restored(state: &[f64]) -> Option<ClassScores> {
        let (&classes, rest) = state.split_first()?;
        let classes = classes as usize;
        let rows = rest.len() / (classes + 1);
        let (labels, probabilities) = rest.split_at_checked(rows)?;
        let labels: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
        let fits = probabilities.len() == rows * classes && labels.iter().all(|&label| label < classes);
        fits.then(|| ClassScores { classes, probabilities: probabilities.to_vec(), labels })
    }

    /// One class against all others.
    pub fn one_against_rest(&self, class: usize) -> BinaryScores {
        let scores = self.probabilities.iter().skip(class).step_by(self.classes.max(1)).copied();
        BinaryScores { seen: scores.zip(self.labels.iter().map(|&label| label == class)).collect() }
    }

    /// The mean area under the ROC curves of each class against the rest; of those that occur if `weighted`, by how often.
    pub fn roc_auc(&self, weighted: bool) -> f64 {
        let mut counts = vec![0.0; self.classes];
        self.labels.iter().for_each(|&label| counts[label] += 1.0);
        let count = |class: usize| counts[class];
        let weight = |class: usize| if weighted { count(class) } else { 1.0 };
        let classes = (0..self.classes).filter(|&class| !weighted || count(class) > 0.0);
        let (sum, all) = classes.fold((0.0, 0.0), |(sum, all), class| {
            (sum + weight(class) * self.one_against_rest(class).roc_auc(), all + weight(class))
        });
        sum / all
    }

    fn rows(&self) -> impl Iterator<Item = (&[f64], usize)> {
        self.probabilities.chunks(self.classes.max(1)).zip(self.labels.iter().copied())
    }

    /// The mean surprise of the truth under the probabilities, in nats.
    pub fn log_loss(&self) -> f64 {
        let surprise = |(row, label): (&[f64], usize)| -libm::log(row[label].clamp(LEAST, 1.0 - LEAST));
        self.rows().map(surprise).sum::<f64>() / self.labels.len() as f64
    }

    /// The share of examples whose class is among the `k` most probable; of equal ones the earlier class counts first.
    pub fn top_k(&self, k: usize) -> f64 {
        let among = |(row, label): &(&[f64], usize)| {
            let own = row[*label];
            let ahead = row.iter().enumerate().filter(|&(class, &p)| p > own || (p == own && class < *label));
            ahead.count() < k
        };
        self.rows().filter(among).count() as f64 / self.labels.len() as f64
    }

    /// The expected calibration error of the most probable class, over bins of equal width.
    pub fn calibration_error(&self, bins: usize) -> f64 {
        let best = self.rows().map(|(row, label)| {
            let most =
                (1..row.len()).fold(0, |most, class| if row[class] > row[most] { class } else { most });
            (row[most], most == label)
        });
        BinaryScores { seen: best.collect() }.calibration_error(bins)
    }
}
