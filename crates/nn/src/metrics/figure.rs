//! The metrics of the field, by name.

use std::fmt;
use std::str::FromStr;

use kiln_ir::{Error, ErrorKind, Result};

use super::confusion::{Average, Confusion};
use super::numbers::Numbers;
use super::scores::{BinaryScores, ClassScores};
use super::{Metric, Needs, Seen, Targets};
use kiln_map::nearest;

/// A metric of the field, by its name.
///
/// ```
/// use kiln_nn::metrics::{Figure, Metric, Seen, Targets};
///
/// let mut metric: Figure = "f1 macro".parse()?;
/// let logits = [2.0, 0.1, 0.3, 1.0];
/// metric.update(&Seen { outputs: &logits, width: 2, targets: Targets::Classes(&[0, 1]) })?;
/// assert_eq!(metric.value(), 1.0);
/// let error = "acuracy".parse::<Figure>().unwrap_err().to_string();
/// assert!(error.contains("did you mean accuracy?"));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    measure: Measure,
    accumulator: Accumulator,
}

/// What it measures, and of what kind of numbers.
#[derive(Clone, Copy, Debug)]
enum Measure {
    Confusion(OfConfusion, Option<Average>),
    Scores(OfScores),
    TopK(usize),
    Numbers(fn(&Numbers) -> f64, bool),
    Perplexity,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum OfConfusion {
    Accuracy,
    Balanced,
    Precision,
    Recall,
    FBeta(f64),
    Specificity,
    TypeI,
    TypeII,
    Matthews,
    Kappa,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum OfScores {
    RocAuc,
    PrAuc,
    LogLoss,
    Brier,
    Calibration,
}

/// What was gathered of the batches so far.
#[derive(Clone, Debug, PartialEq)]
enum Accumulator {
    Nothing,
    Confusion(Confusion),
    Binary(BinaryScores),
    Classes(ClassScores),
    Numbers(Numbers),
    /// Of how many classes is known where it wasn't read back from a state that didn't say.
    Sum {
        sum: f64,
        count: f64,
        classes: Option<usize>,
    },
}

impl Accumulator {
    /// Of how many classes it is, where that is known.
    fn classes(&self) -> Option<usize> {
        match self {
            Accumulator::Nothing | Accumulator::Numbers(_) => None,
            Accumulator::Confusion(confusion) => Some(confusion.classes()),
            Accumulator::Binary(_) => Some(2),
            Accumulator::Classes(scores) => Some(scores.classes()),
            Accumulator::Sum { classes, .. } => *classes,
        }
    }
}

/// Names without a number in them, and what they mean.
const FIGURES: [(&str, Measure); 23] = [
    ("accuracy", Measure::Confusion(OfConfusion::Accuracy, None)),
    ("balanced-accuracy", Measure::Confusion(OfConfusion::Balanced, None)),
    ("precision", Measure::Confusion(OfConfusion::Precision, Some(Average::Macro))),
    ("recall", Measure::Confusion(OfConfusion::Recall, Some(Average::Macro))),
    ("f1", Measure::Confusion(OfConfusion::FBeta(1.0), Some(Average::Macro))),
    ("specificity", Measure::Confusion(OfConfusion::Specificity, Some(Average::Macro))),
    ("type-i-error", Measure::Confusion(OfConfusion::TypeI, Some(Average::Macro))),
    ("type-ii-error", Measure::Confusion(OfConfusion::TypeII, Some(Average::Macro))),
    ("matthews", Measure::Confusion(OfConfusion::Matthews, None)),
    ("kappa", Measure::Confusion(OfConfusion::Kappa, None)),
    ("roc-auc", Measure::Scores(OfScores::RocAuc)),
    ("pr-auc", Measure::Scores(OfScores::PrAuc)),
    ("log-loss", Measure::Scores(OfScores::LogLoss)),
    ("brier", Measure::Scores(OfScores::Brier)),
    ("calibration-error", Measure::Scores(OfScores::Calibration)),
    ("perplexity", Measure::Perplexity),
    ("mse", Measure::Numbers(Numbers::mse, false)),
    ("rmse", Measure::Numbers(Numbers::rmse, false)),
    ("mae", Measure::Numbers(Numbers::mae, false)),
    ("mape", Measure::Numbers(Numbers::mape, false)),
    ("r2", Measure::Numbers(Numbers::r2, true)),
    ("explained-variance", Measure::Numbers(Numbers::explained_variance, true)),
    ("pearson", Measure::Numbers(Numbers::pearson, true)),
];

impl FromStr for Figure {
    type Err = Error;

    /// A figure by name: `accuracy`, `top-5`, `f2 weighted`, `recall binary` (of class 1), `r2`.
    fn from_str(text: &str) -> Result<Figure> {
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or("").to_ascii_lowercase().replace('_', "-");
        let refuse = |message: String| Error::new(ErrorKind::Value, "metrics", message).nowhere();
        let number = |prefix: &str| word.strip_prefix(prefix).and_then(|rest| rest.parse::<f64>().ok());
        let known = FIGURES.iter().find(|(name, _)| *name == word).map(|(_, figure)| *figure);
        let figure = match (known, number("top-"), number("f")) {
            (Some(figure), ..) => figure,
            (_, Some(k), _) if k >= 1.0 => Measure::TopK(k as usize),
            (_, _, Some(beta)) if beta > 0.0 => {
                Measure::Confusion(OfConfusion::FBeta(beta), Some(Average::Macro))
            }
            _ => {
                let names = FIGURES.iter().map(|(name, _)| *name).chain(["top-5", "f2"]);
                let all = || names.clone().collect::<Vec<_>>().join(", ");
                let meant = match nearest(&word, names.clone()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", all()),
                };
                return Err(refuse(format!("there is no metric {text}; {meant}")));
            }
        };
        let figure = match (figure, words.next()) {
            (figure, None) => figure,
            (Measure::Confusion(of, Some(_)), Some(word)) => {
                let average = match word {
                    "macro" => Average::Macro,
                    "micro" => Average::Micro,
                    "weighted" => Average::Weighted,
                    "binary" => Average::Binary(1),
                    _ => {
                        return Err(refuse(format!(
                            "{text}: averages are macro, micro, weighted and binary"
                        )));
                    }
                };
                Measure::Confusion(of, Some(average))
            }
            (_, Some(word)) => return Err(refuse(format!("{text}: {word} means nothing here"))),
        };
        Ok(Figure { name: text.to_string(), measure: figure, accumulator: Accumulator::Nothing })
    }
}

impl Figure {
    /// The names of those that need such targets, with an example of each that has a number in its name.
    pub fn names(needs: Needs) -> impl Iterator<Item = &'static str> {
        let kind = |measure: &Measure| match measure {
            Measure::Numbers(..) => Needs::Numbers,
            Measure::Confusion(..) | Measure::Scores(_) | Measure::TopK(_) | Measure::Perplexity => {
                Needs::Classes
            }
        };
        let numbered = ["top-5", "f2"].into_iter().filter(move |_| needs == Needs::Classes);
        let plain = FIGURES.iter().filter(move |(_, measure)| kind(measure) == needs);
        plain.map(|(name, _)| *name).chain(numbered)
    }

    /// Refuses what was gathered for another figure, or of other classes than there are `now`.
    fn check(&self, accumulator: &Accumulator, now: Option<usize>) -> Result<()> {
        let of_kind = matches!(
            (self.measure, accumulator),
            (_, Accumulator::Nothing)
                | (Measure::Confusion(..), Accumulator::Confusion(_))
                | (Measure::Scores(_), Accumulator::Binary(_) | Accumulator::Classes(_))
                | (
                    Measure::Scores(OfScores::LogLoss) | Measure::TopK(_) | Measure::Perplexity,
                    Accumulator::Sum { .. }
                )
                | (Measure::Numbers(..), Accumulator::Numbers(_))
        );
        if !of_kind {
            let message = format!("what {} had seen can't be read back: it is another figure's", self.name);
            return Err(Error::new(ErrorKind::Value, "metrics", message).nowhere());
        }
        match (accumulator.classes(), now) {
            (Some(gathered), Some(now)) if gathered != now => {
                let message = format!(
                    "{} was gathered of {gathered} classes, and now there are {now}; `reset` it in between",
                    self.name
                );
                Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere())
            }
            _ => Ok(()),
        }
    }

    /// Joins what another of the same kind has seen.
    ///
    /// # Errors
    /// Where it is another figure, or of other classes.
    pub fn merge(&mut self, other: &Figure) -> Result<()> {
        if self.name != other.name {
            let message = format!("{} can't join {}", other.name, self.name);
            return Err(Error::new(ErrorKind::Value, "metrics", message).nowhere());
        }
        self.check(&self.accumulator, other.accumulator.classes())?;
        match (&mut self.accumulator, &other.accumulator) {
            (_, Accumulator::Nothing) => {}
            (own @ Accumulator::Nothing, theirs) => *own = theirs.clone(),
            (Accumulator::Confusion(own), Accumulator::Confusion(theirs)) => own.merge(theirs)?,
            (Accumulator::Binary(own), Accumulator::Binary(theirs)) => own.merge(theirs),
            (Accumulator::Classes(own), Accumulator::Classes(theirs)) => own.merge(theirs),
            (Accumulator::Numbers(own), Accumulator::Numbers(theirs)) => own.merge(theirs),
            (
                Accumulator::Sum { sum, count, classes },
                Accumulator::Sum { sum: more, count: further, classes: theirs },
            ) => {
                (*sum, *count, *classes) = (*sum + more, *count + further, classes.or(*theirs));
            }
            _ => {
                let message = format!("{} of other classes can't be joined", self.name);
                return Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere());
            }
        }
        Ok(())
    }

    /// Gathers a batch of classes whose sizes fit.
    fn take(&mut self, seen: &Seen, labels: &[i64], width: usize) -> Result<()> {
        let refuse = |message: String| {
            Err(Error::new(ErrorKind::Shape, "metrics", format!("{}: {message}", self.name)).nowhere())
        };
        let (rows, classes) = (labels.len(), width.max(2));
        match &mut self.accumulator {
            Accumulator::Confusion(confusion) => {
                if let Some(label) = labels.iter().find(|label| !(0..classes as i64).contains(label)) {
                    return refuse(format!(
                        "label {label} is none of the {classes} classes, which count from 0"
                    ));
                }
                for (&label, row) in labels.iter().zip(seen.outputs.chunks(width)) {
                    confusion.add_one(label, chosen(row));
                }
                Ok(())
            }
            Accumulator::Binary(scores) => {
                let positive = |row: &[f32]| probabilities(row)[1];
                let known = labels.iter().all(|label| (0..2).contains(label));
                if !known {
                    return refuse("a label is neither 0 nor 1".to_string());
                }
                let scored: Vec<f64> = seen.outputs.chunks(width).map(positive).collect();
                scores.add(&scored, &labels.iter().map(|&label| label == 1).collect::<Vec<_>>())
            }
            Accumulator::Classes(scores) => {
                scores.add(&seen.outputs.chunks(width).flat_map(probabilities).collect::<Vec<_>>(), labels)
            }
            Accumulator::Sum { sum, count, classes: known } => {
                let mut batch = ClassScores::new(classes);
                batch.add(&seen.outputs.chunks(width).flat_map(probabilities).collect::<Vec<_>>(), labels)?;
                let mean = match self.measure {
                    Measure::TopK(k) => batch.top_k(k),
                    _ => batch.log_loss(),
                };
                *sum += mean * rows as f64;
                *count += rows as f64;
                *known = Some(classes);
                Ok(())
            }
            Accumulator::Nothing | Accumulator::Numbers(_) => Ok(()),
        }
    }
}

impl Metric for Figure {
    fn name(&self) -> &str {
        &self.name
    }

    fn larger_is_better(&self) -> bool {
        match self.measure {
            Measure::Confusion(of, _) => !matches!(of, OfConfusion::TypeI | OfConfusion::TypeII),
            Measure::Scores(of) => matches!(of, OfScores::RocAuc | OfScores::PrAuc),
            Measure::TopK(_) => true,
            Measure::Numbers(_, larger) => larger,
            Measure::Perplexity => false,
        }
    }

    /// Refuses where sizes don't fit, a label is no class, or the targets aren't of the kind the figure needs.
    fn update(&mut self, seen: &Seen) -> Result<()> {
        let refuse = |message: String| {
            Err(Error::new(ErrorKind::Shape, "metrics", format!("{}: {message}", self.name)).nowhere())
        };
        let width = seen.width.max(1);
        let rows = seen.outputs.len() / width;
        if let Measure::Numbers(..) = self.measure {
            let Targets::Numbers(truth) = seen.targets else {
                return refuse("the targets are classes, not numbers".to_string());
            };
            if matches!(self.accumulator, Accumulator::Nothing) {
                self.accumulator = Accumulator::Numbers(Numbers::default());
            }
            if let Accumulator::Numbers(numbers) = &mut self.accumulator {
                let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                numbers.add(&wide(seen.outputs), &wide(truth))?;
            }
            return Ok(());
        }
        let Targets::Classes(labels) = seen.targets else {
            return refuse("the targets are numbers, not classes".to_string());
        };
        if labels.len() != rows || seen.outputs.len() != rows * width {
            return refuse(format!("{} labels for {} outputs of {width}", labels.len(), seen.outputs.len()));
        }
        if rows == 0 {
            // Its mean would be of nothing.
            return Ok(());
        }
        let classes = width.max(2);
        if matches!(&self.accumulator, Accumulator::Confusion(kept) if kept.is_empty() && kept.classes() != classes)
        {
            // Only the room for another model's classes is left of it.
            self.accumulator = Accumulator::Nothing;
        }
        self.check(&self.accumulator, Some(classes))?;
        let begins = matches!(self.accumulator, Accumulator::Nothing);
        if begins {
            let sum = Accumulator::Sum { sum: 0.0, count: 0.0, classes: Some(classes) };
            self.accumulator = match self.measure {
                Measure::Confusion(..) => Accumulator::Confusion(Confusion::new(classes)),
                Measure::Perplexity | Measure::TopK(_) => sum,
                Measure::Scores(_) if width == 1 || width == 2 => {
                    Accumulator::Binary(BinaryScores::default())
                }
                Measure::Scores(OfScores::LogLoss) => sum,
                _ => Accumulator::Classes(ClassScores::new(classes)),
            };
        }
        let taken = self.take(seen, labels, width);
        if taken.is_err() && begins {
            self.accumulator = Accumulator::Nothing;
        }
        taken
    }

    fn value(&self) -> f64 {
        match (self.measure, &self.accumulator) {
            (Measure::Confusion(of, average), Accumulator::Confusion(confusion)) => {
                let average = average.unwrap_or(Average::Macro);
                match of {
                    OfConfusion::Accuracy => confusion.accuracy(),
                    OfConfusion::Balanced => confusion.balanced_accuracy(),
                    OfConfusion::Precision => confusion.precision(average),
                    OfConfusion::Recall => confusion.recall(average),
                    OfConfusion::FBeta(beta) => confusion.f_beta(beta, average),
                    OfConfusion::Specificity => confusion.specificity(average),
                    OfConfusion::TypeI => confusion.type_i_error(average),
                    OfConfusion::TypeII => confusion.type_ii_error(average),
                    OfConfusion::Matthews => confusion.matthews(),
                    OfConfusion::Kappa => confusion.kappa(),
                }
            }
            (Measure::Scores(of), Accumulator::Binary(scores)) => match of {
                OfScores::RocAuc => scores.roc_auc(),
                OfScores::PrAuc => scores.average_precision(),
                OfScores::LogLoss => scores.log_loss(),
                OfScores::Brier => scores.brier(),
                OfScores::Calibration => scores.calibration_error(10),
            },
            (Measure::Scores(of), Accumulator::Classes(scores)) => {
                let classes = 0..scores.classes();
                let mean = |each: fn(&BinaryScores) -> f64| {
                    let figures = classes.clone().map(|class| each(&scores.one_against_rest(class)));
                    figures.sum::<f64>() / scores.classes() as f64
                };
                match of {
                    OfScores::RocAuc => scores.roc_auc(false),
                    OfScores::PrAuc => mean(BinaryScores::average_precision),
                    OfScores::LogLoss => scores.log_loss(),
                    // The sum over the classes, as the squared distance of two vectors.
                    OfScores::Brier => mean(BinaryScores::brier) * scores.classes() as f64,
                    OfScores::Calibration => scores.calibration_error(10),
                }
            }
            (Measure::TopK(_) | Measure::Scores(_), Accumulator::Sum { sum, count, .. }) => sum / count,
            (Measure::Numbers(figure, _), Accumulator::Numbers(numbers)) => figure(numbers),
            (Measure::Perplexity, Accumulator::Sum { sum, count, .. }) => libm::exp(sum / count),
            _ => f64::NAN,
        }
    }

    fn state(&self) -> Vec<f64> {
        let mut state = Vec::new();
        match &self.accumulator {
            Accumulator::Nothing => return state,
            Accumulator::Confusion(_) => state.push(6.0),
            Accumulator::Binary(_) => state.push(2.0),
            Accumulator::Classes(_) => state.push(3.0),
            Accumulator::Numbers(_) => state.push(4.0),
            Accumulator::Sum { sum, count, classes } => {
                state.extend([5.0, *sum, *count]);
                state.extend(classes.map(|classes| classes as f64));
            }
        }
        match &self.accumulator {
            Accumulator::Nothing | Accumulator::Sum { .. } => {}
            Accumulator::Confusion(confusion) => confusion.state(&mut state),
            Accumulator::Binary(scores) => scores.state(&mut state),
            Accumulator::Classes(scores) => scores.state(&mut state),
            Accumulator::Numbers(numbers) => numbers.state(&mut state),
        }
        state
    }

    fn restore(&mut self, state: &[f64]) -> Result<()> {
        let accumulator = match state.split_first() {
            None => Some(Accumulator::Nothing),
            Some((1.0, rest)) => Confusion::restored_table(rest).map(Accumulator::Confusion),
            Some((6.0, rest)) => Confusion::restored(rest).map(Accumulator::Confusion),
            Some((2.0, rest)) => BinaryScores::restored(rest).map(Accumulator::Binary),
            Some((3.0, rest)) => ClassScores::restored(rest).map(Accumulator::Classes),
            Some((4.0, rest)) => Numbers::restored(rest).map(Accumulator::Numbers),
            Some((5.0, &[sum, count])) => Some(Accumulator::Sum { sum, count, classes: None }),
            Some((5.0, &[sum, count, classes])) => {
                Some(Accumulator::Sum { sum, count, classes: Some(classes as usize) })
            }
            Some(_) => None,
        };
        let broken = || {
            let message = format!("what {} had seen can't be read back", self.name);
            Error::new(ErrorKind::Value, "metrics", message).nowhere()
        };
        let accumulator = accumulator.ok_or_else(broken)?;
        self.check(&accumulator, None)?;
        self.accumulator = accumulator;
        Ok(())
    }

    fn needs(&self) -> Needs {
        match self.measure {
            Measure::Numbers(..) => Needs::Numbers,
            Measure::Confusion(..) | Measure::Scores(_) | Measure::TopK(_) | Measure::Perplexity => {
                Needs::Classes
            }
        }
    }

    /// Forgets what was seen and keeps the room for it.
    fn reset(&mut self) {
        match &mut self.accumulator {
            Accumulator::Confusion(confusion) => confusion.clear(),
            other => *other = Accumulator::Nothing,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.4}", self.name, self.value())
    }
}

/// The class with the highest logit, the first of equal ones; of one logit whether it is above zero.
fn chosen(row: &[f32]) -> i64 {
    match row {
        [logit] => i64::from(*logit > 0.0),
        _ => (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }) as i64,
    }
}

/// Logits as probabilities; one logit as those of the negative and the positive class.
fn probabilities(row: &[f32]) -> Vec<f64> {
    let wide: Vec<f64> = match row {
        [logit] => vec![0.0, f64::from(*logit)],
        _ => row.iter().map(|&x| f64::from(x)).collect(),
    };
    let most = wide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = wide.iter().map(|x| libm::exp(x - most)).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|x| x / sum).collect()
}
