//! Counts of which class was taken for which, and all that follows from them. Counts are whole numbers, so batches and workers
//! may come in any order.

use std::collections::HashMap;
use std::fmt;

use kiln_ir::{Error, ErrorKind, Result};

/// How figures of single classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// That of one class, which counts as positive.
    Binary(usize),
    /// Their mean, over the classes that occur, as truth or as prediction.
    Macro,
    /// From the sums of their counts.
    Micro,
    /// Their mean, weighted by how often each is true.
    Weighted,
}

/// `count(truth, predicted)` for every pair of classes.
///
/// ```
/// use kiln_nn::metrics::{Average, Confusion};
///
/// let mut confusion = Confusion::new(3);
/// confusion.add(&[0, 1, 2, 2], &[0, 2, 2, 2])?;
/// assert_eq!(confusion.accuracy(), 0.75);
/// assert_eq!(confusion.recall(Average::Binary(2)), 1.0);
/// println!("{}", confusion.report(&["ant", "bee", "cat"]));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// Of the pairs of truth and prediction that occur: a model may have more outputs than a table of all pairs had room for.
    counts: HashMap<(usize, usize), u64>,
}

/// Of one class: predicted rightly, predicted wrongly, missed, and neither.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct ClassCounts {
    hit: f64,
    false_alarm: f64,
    missed: f64,
    rest: f64,
}

impl ClassCounts {
    fn precision(self) -> f64 {
        ratio(self.hit, self.hit + self.false_alarm)
    }

    fn recall(self) -> f64 {
        ratio(self.hit, self.hit + self.missed)
    }

    fn f_beta(self, beta: f64) -> f64 {
        let square = beta * beta;
        ratio((1.0 + square) * self.hit, (1.0 + square) * self.hit + square * self.missed + self.false_alarm)
    }
}

/// So many pairs have room from the beginning, and are counted without allocating.
const ROOM: usize = 1024;

/// 0 where there is nothing to divide by, as scikit-learn's `zero_division=0`.
fn ratio(above: f64, below: f64) -> f64 {
    if below == 0.0 { 0.0 } else { above / below }
}

impl Confusion {
    /// No counts yet.
    pub fn new(classes: usize) -> Confusion {
        let pairs = classes.saturating_mul(classes).min(ROOM);
        Confusion { classes, counts: HashMap::with_capacity(pairs) }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts a batch.
    ///
    /// # Errors
    /// Where the lengths differ, or a label isn't one of the classes.
    pub fn add(&mut self, truth: &[i64], predicted: &[i64]) -> Result<()> {
        if truth.len() != predicted.len() {
            let message = format!("{} labels for {} predictions", truth.len(), predicted.len());
            return Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere());
        }
        for &label in truth.iter().chain(predicted) {
            if self.class(label).is_none() {
                let message =
                    format!("label {label} is none of the {} classes, which count from 0", self.classes);
                return Err(Error::new(ErrorKind::Value, "metrics", message).nowhere());
            }
        }
        for (&truth, &predicted) in truth.iter().zip(predicted) {
            self.add_one(truth, predicted);
        }
        Ok(())
    }

    fn class(&self, label: i64) -> Option<usize> {
        usize::try_from(label).ok().filter(|&class| class < self.classes)
    }

    /// Counts one, if both are classes.
    pub(super) fn add_one(&mut self, truth: i64, predicted: i64) {
        if let (Some(truth), Some(predicted)) = (self.class(truth), self.class(predicted)) {
            *self.counts.entry((truth, predicted)).or_default() += 1;
        }
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }

    pub(super) fn state(&self, state: &mut Vec<f64>) {
        let mut pairs: Vec<_> = self.counts.iter().collect();
        pairs.sort_unstable();
        state.push(self.classes as f64);
        let numbers = |(&(truth, predicted), &count)| [truth as f64, predicted as f64, count as f64];
        state.extend(pairs.into_iter().flat_map(numbers));
    }

    pub(super) fn restored(state: &[f64]) -> Option<Confusion> {
        let (&classes, pairs) = state.split_first()?;
        let mut confusion = Confusion::new(classes as usize);
        let (pairs, rest) = pairs.as_chunks();
        for &[truth, predicted, count] in pairs {
            let pair = (confusion.class(truth as i64)?, confusion.class(predicted as i64)?);
            confusion.counts.insert(pair, count as u64);
        }
        rest.is_empty().then_some(confusion)
    }

    /// From the counts of all pairs in a row, as checkpoints of the first version have them.
    pub(super) fn restored_table(state: &[f64]) -> Option<Confusion> {
        let (&classes, counts) = state.split_first()?;
        let mut confusion = Confusion::new(classes as usize);
        let classes = confusion.classes;
        let seen = counts.iter().enumerate().filter(|(_, count)| **count != 0.0);
        let is_whole = classes.checked_mul(classes) == Some(counts.len());
        is_whole.then(|| {
            confusion.counts.extend(seen.map(|(at, &count)| ((at / classes, at % classes), count as u64)));
            confusion
        })
    }

    /// Adds another's counts.
    ///
    /// # Errors
    /// Where it has another number of classes.
    pub fn merge(&mut self, other: &Confusion) -> Result<()> {
        if self.classes != other.classes {
            let message = format!("counts of {} classes can't join those of {}", other.classes, self.classes);
            return Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere());
        }
        other.counts.iter().for_each(|(&pair, more)| *self.counts.entry(pair).or_default() += more);
        Ok(())
    }

    /// How often `truth` was taken for `predicted`; 0 for classes there aren't.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts.get(&(truth, predicted)).copied().unwrap_or(0)
    }

    /// How many examples were counted.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How often each class is true.
    pub fn support(&self) -> Vec<u64> {
        self.by_class(|(truth, _)| truth)
    }

    /// How often each class was predicted.
    pub fn predicted(&self) -> Vec<u64> {
        self.by_class(|(_, predicted)| predicted)
    }

    fn by_class(&self, class: impl Fn((usize, usize)) -> usize) -> Vec<u64> {
        let mut sums = vec![0; self.classes];
        for (&pair, count) in &self.counts {
            sums[class(pair)] += count;
        }
        sums
    }

    fn right(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// Those of every class.
    fn cells(&self) -> Vec<ClassCounts> {
        let total = self.total() as f64;
        let both = self.support().into_iter().zip(self.predicted()).enumerate();
        both.map(|(class, (support, predicted))| {
            let hit = self.count(class, class) as f64;
            let (missed, false_alarm) = (support as f64 - hit, predicted as f64 - hit);
            ClassCounts { hit, false_alarm, missed, rest: total - hit - missed - false_alarm }
        })
        .collect()
    }

    /// A figure of single classes, as one.
    fn averaged(&self, average: Average, figure: impl Fn(ClassCounts) -> f64) -> f64 {
        if self.total() == 0 {
            return f64::NAN;
        }
        let all = self.cells();
        let cells = all.iter().copied();
        match average {
            Average::Binary(class) => {
                let absent = ClassCounts { rest: self.total() as f64, ..ClassCounts::default() };
                figure(all.get(class).copied().unwrap_or(absent))
            }
            Average::Micro => figure(cells.fold(ClassCounts::default(), |sum, cells| ClassCounts {
                hit: sum.hit + cells.hit,
                false_alarm: sum.false_alarm + cells.false_alarm,
                missed: sum.missed + cells.missed,
                rest: sum.rest + cells.rest,
            })),
            Average::Macro => {
                let figures: Vec<f64> =
                    cells.filter(|c| c.hit + c.missed + c.false_alarm > 0.0).map(figure).collect();
                figures.iter().sum::<f64>() / figures.len() as f64
            }
            Average::Weighted => {
                let weighted = cells.map(|cells| (cells.hit + cells.missed) * figure(cells));
                weighted.sum::<f64>() / self.total() as f64
            }
        }
    }

    /// The share of examples that are right; `NaN` without examples, as all figures here.
    pub fn accuracy(&self) -> f64 {
        self.right() as f64 / self.total() as f64
    }

    /// The mean recall of the classes that occur as truth.
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls = self.cells().into_iter().filter(|c| c.hit + c.missed > 0.0);
        let recalls: Vec<f64> = recalls.map(|c| c.hit / (c.hit + c.missed)).collect();
        recalls.iter().sum::<f64>() / recalls.len() as f64
    }

    /// The share of predictions that are right.
    pub fn precision(&self, average: Average) -> f64 {
        self.averaged(average, ClassCounts::precision)
    }

    /// The share of the true ones that are found.
    pub fn recall(&self, average: Average) -> f64 {
        self.averaged(average, ClassCounts::recall)
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(&self, average: Average) -> f64 {
        self.f_beta(1.0, average)
    }

    /// The harmonic mean of precision and recall, recall counting `beta` times as much.
    pub fn f_beta(&self, beta: f64, average: Average) -> f64 {
        self.averaged(average, |cells| cells.f_beta(beta))
    }

    /// The share of the others that aren't taken for it.
    pub fn specificity(&self, average: Average) -> f64 {
        self.averaged(average, |c| ratio(c.rest, c.rest + c.false_alarm))
    }

    /// Type I errors: the share of the others that are taken for it.
    pub fn type_i_error(&self, average: Average) -> f64 {
        self.averaged(average, |c| ratio(c.false_alarm, c.rest + c.false_alarm))
    }

    /// Type II errors: the share of the true ones that are missed.
    pub fn type_ii_error(&self, average: Average) -> f64 {
        self.averaged(average, |c| ratio(c.missed, c.hit + c.missed))
    }

    /// Matthews' correlation of truth and prediction, also of more than two classes; 0 where one of them is always the same.
    pub fn matthews(&self) -> f64 {
        let (support, predicted) = (self.support(), self.predicted());
        let total = self.total() as f64;
        let dot = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
        let above = self.right() as f64 * total - dot(&support, &predicted);
        let below = (total * total - dot(&predicted, &predicted)) * (total * total - dot(&support, &support));
        if total == 0.0 { f64::NAN } else { ratio(above, below.sqrt()) }
    }

    /// Cohen's kappa: how much more often truth and prediction agree than by chance.
    pub fn kappa(&self) -> f64 {
        let total = self.total() as f64;
        let chance: f64 = self
            .support()
            .iter()
            .zip(self.predicted())
            .map(|(&a, b)| a as f64 / total * (b as f64 / total))
            .sum();
        (self.accuracy() - chance) / (1.0 - chance)
    }

    /// So many of the classes that occur, as truth or as prediction: those with the least F1 first, of equal ones the more frequent.
    pub fn worst(&self, most: usize) -> Vec<usize> {
        let cells = self.cells();
        let support = |class: usize| cells[class].hit + cells[class].missed;
        let occurs = |class: &usize| support(*class) + cells[*class].false_alarm > 0.0;
        let mut classes: Vec<usize> = (0..self.classes).filter(occurs).collect();
        let f1 = |class: usize| cells[class].f_beta(1.0);
        classes.sort_by(|&a, &b| {
            f1(a).total_cmp(&f1(b)).then(support(b).total_cmp(&support(a))).then(a.cmp(&b))
        });
        classes.truncate(most);
        classes
    }

    /// So many pairs of truth and prediction that differ, with their counts, the most frequent first.
    pub fn mistakes(&self, most: usize) -> Vec<(usize, usize, u64)> {
        let wrong = self.counts.iter().filter(|((truth, predicted), _)| truth != predicted);
        let mut pairs: Vec<_> =
            wrong.map(|(&(truth, predicted), &count)| (truth, predicted, count)).collect();
        pairs.sort_unstable_by_key(|&(truth, predicted, count)| (std::cmp::Reverse(count), truth, predicted));
        pairs.truncate(most);
        pairs
    }

    /// Precision, recall, F1 and count of each class and their averages, as a table. Classes without a name get their number.
    pub fn report(&self, names: &[&str]) -> String {
        self.report_of(&(0..self.classes).collect::<Vec<_>>(), names)
    }

    /// As [`Confusion::report`], with lines for some classes only; the averages are of all.
    pub fn report_of(&self, classes: &[usize], names: &[&str]) -> String {
        let name = |class: usize| names.get(class).map_or_else(|| class.to_string(), |name| name.to_string());
        let width = classes.iter().map(|&class| name(class).chars().count()).max().unwrap_or(0).max(12);
        let row = |name: &str, figures: [f64; 3], count: u64| {
            let [precision, recall, f1] = figures;
            let pad = " ".repeat(width - name.chars().count());
            format!("{pad}{name}  {precision:9.4}  {recall:9.4}  {f1:9.4}  {count:9}\n")
        };
        let figures = |average: Average| [self.precision(average), self.recall(average), self.f1(average)];
        let head = ["precision", "recall", "f1", "count"].map(|title| format!("  {title:>9}")).concat();
        let mut text = format!("{}{head}\n", " ".repeat(width));
        let nothing = self.total() == 0;
        let cells = self.cells();
        for &class in classes {
            let cells = cells.get(class).copied().unwrap_or_default();
            let own = [cells.precision(), cells.recall(), cells.f_beta(1.0)];
            let own = if nothing { [f64::NAN; 3] } else { own };
            text += &row(&name(class), own, (cells.hit + cells.missed) as u64);
        }
        text.push('\n');
        text += &row("macro", figures(Average::Macro), self.total());
        text += &row("weighted", figures(Average::Weighted), self.total());
        text + &format!("{:>width$}  {:>31.4}  {:9}", "accuracy", self.accuracy(), self.total())
    }
}

impl fmt::Display for Confusion {
    /// Truth downwards, prediction across.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.counts.values().copied().max().unwrap_or(0).max(self.classes as u64);
        let width = longest.to_string().len().max(3);
        write!(f, "{:>width$} |", "")?;
        (0..self.classes).try_for_each(|class| write!(f, " {class:>width$}"))?;
        write!(f, "\n{}", "-".repeat((width + 1) * (self.classes + 1) + 1))?;
        for truth in 0..self.classes {
            write!(f, "\n{truth:>width$} |")?;
            (0..self.classes)
                .try_for_each(|predicted| write!(f, " {:>width$}", self.count(truth, predicted)))?;
        }
        Ok(())
    }
}
