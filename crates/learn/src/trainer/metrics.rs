//! The metrics of a training: which output each looks at, what its numbers are called, and what it sees of a batch.

use kiln_data::{Batch, Form, Values};
use kiln_map::nearest;
use kiln_nn::Data;
use kiln_nn::metrics::{Metric, Needs, Seen, Targets};

use super::objective::Shown;
use super::rows::{RowLayout, column};
use crate::{Error, Result};

/// A metric that was asked for.
#[derive(Clone)]
pub(super) struct Asked {
    /// The output it is of; the first one unless said.
    pub(super) output: Option<String>,
    pub(super) metric: Box<dyn Metric>,
}

impl Asked {
    /// What its numbers are called.
    pub(super) fn name(&self) -> String {
        match &self.output {
            Some(output) => format!("{output}.{}", self.metric.name()),
            None => self.metric.name().to_string(),
        }
    }

    /// Whether there is the output that it is of.
    pub(super) fn is_shown(&self, shown: &Shown) -> bool {
        shown.outputs.iter().any(|output| self.output.as_ref().is_none_or(|wanted| output.name == *wanted))
    }
}

/// A metric by its full name.
#[derive(Clone)]
pub struct NamedMetric {
    pub(super) name: String,
    pub(super) metric: Box<dyn Metric>,
}

impl NamedMetric {
    /// What its numbers are called: its own name, behind that of the output it is of where there are several.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The metric.
    pub fn metric(&self) -> &dyn Metric {
        &*self.metric
    }
}

/// Metrics on the outputs that they are of.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) all: Vec<NamedMetric>,
    /// For each the place of its output among those that are looked at.
    of: Vec<usize>,
    /// The outputs that are looked at, and what would have been right for each.
    pub(super) outputs: Vec<usize>,
    truths: Vec<Truth>,
}

impl Metrics {
    /// # Errors
    /// Where an output isn't there, targets aren't what a metric needs, or two have one name. That is said before an hour of training, not
    /// after.
    pub(super) fn new(
        asked: &[Asked],
        shown: &Shown,
        layout: &RowLayout,
        taken: &[String],
    ) -> Result<Metrics> {
        let refuse = |message: String| Err(Error::Training(message));
        let mut metrics =
            Metrics { all: Vec::new(), of: Vec::new(), outputs: Vec::new(), truths: Vec::new() };
        for one in asked {
            let name = one.name();
            if ["loss", "rate"].contains(&name.as_str())
                || taken.contains(&name)
                || metrics.all.iter().any(|known| known.name == name)
            {
                return refuse(format!("two numbers of this training are called {name}"));
            }
            let names = || shown.outputs.iter().map(|output| output.name.as_str());
            let output = match &one.output {
                None => 0,
                Some(wanted) => match names().position(|name| name == wanted) {
                    Some(place) => place,
                    None => {
                        let mend = match nearest(wanted, names()) {
                            Some(near) => format!("did you mean {near}?"),
                            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                        };
                        return refuse(format!("{name}: there is no output {wanted}; {mend}"));
                    }
                },
            };
            let Some(of) = shown.outputs.get(output) else {
                return refuse(format!(
                    "{name} has nothing to look at; name an output with Objective::output"
                ));
            };
            let form = layout.form(of.target);
            if one.metric.needs() == Needs::Numbers && form.codes().is_some() {
                return refuse(format!(
                    "{name} is of numbers, and the targets are classes; accuracy or f1 would be of classes"
                ));
            }
            let seen = metrics.outputs.iter().position(|&known| known == output);
            metrics.of.push(seen.unwrap_or(metrics.outputs.len()));
            if seen.is_none() {
                metrics.outputs.push(output);
                metrics.truths.push(Truth::new(form, of.target));
            }
            let mut metric = one.metric.clone();
            metric.reset();
            metrics.all.push(NamedMetric { name, metric });
        }
        Ok(metrics)
    }

    /// Takes a batch's outputs, those that are looked at.
    pub(super) fn update(&mut self, batch: &Batch, outputs: &[Data]) -> Result<()> {
        // Nobody looks, and targets may be many.
        if outputs.is_empty() {
            return Ok(());
        }
        self.truths.iter_mut().for_each(|truth| truth.take(column(batch, truth.place)));
        for (named, &of) in self.all.iter_mut().zip(&self.of) {
            let (Some(outputs), Some(truth)) = (outputs.get(of), self.truths.get(of)) else { continue };
            truth.show(outputs, batch.rows(), &mut *named.metric)?;
        }
        Ok(())
    }

    pub(super) fn reset(&mut self) {
        self.all.iter_mut().for_each(|named| named.metric.reset());
    }

    /// The numbers so far, by name.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (String, f64)> {
        self.all.iter().map(|named| (named.name.clone(), named.metric.value()))
    }
}

/// The targets of a batch as metrics see them, in room that is kept.
#[derive(Clone)]
struct Truth {
    /// Their place among the rows' columns.
    place: usize,
    scale: f32,
    classes: Vec<i64>,
    numbers: Vec<f32>,
    codes: bool,
    /// Whether each row has several places with a label each, of which classes lie in front of them in outputs.
    stepwise: bool,
}

impl Truth {
    fn new(form: &Form, place: usize) -> Truth {
        let scale = match form.meaning {
            kiln_data::Meaning::Numbers { scale } => scale,
            kiln_data::Meaning::Codes { .. } => 1.0,
        };
        let codes = form.codes().is_some();
        let stepwise = codes && !form.shape.is_empty();
        Truth { place, scale, classes: Vec::new(), numbers: Vec::new(), codes, stepwise }
    }

    /// The targets of this batch.
    fn take(&mut self, y: &Values) {
        self.classes.clear();
        self.numbers.clear();
        let numbers = (0..y.len()).filter_map(|at| y.get(at)).map(|number| number * f64::from(self.scale));
        // 0 and 1 as numbers are classes too, for a metric that asks for them.
        if self.codes || numbers.clone().all(|number| number.fract() == 0.0) {
            self.classes.extend(numbers.clone().map(|number| number as i64));
        }
        self.numbers.extend(numbers.map(|number| number as f32));
    }

    /// Shows a batch's outputs to a metric.
    fn show(&self, outputs: &Data, rows: usize, metric: &mut dyn Metric) -> Result<()> {
        let outputs = outputs.as_slice::<f32>().unwrap_or_default();
        if self.stepwise && metric.needs() != Needs::Numbers && !self.classes.is_empty() {
            return self.show_steps(outputs, rows, metric);
        }
        let as_classes = match metric.needs() {
            Needs::Classes => !self.classes.is_empty(),
            Needs::Numbers => false,
            Needs::Either => self.codes,
        };
        let (targets, count) = match as_classes {
            true => (Targets::Classes(&self.classes), self.classes.len()),
            false => (Targets::Numbers(&self.numbers), rows),
        };
        metric.update(&Seen { outputs, width: outputs.len() / count.max(1), targets })?;
        Ok(())
    }

    /// Shows places one by one, of outputs `[rows, classes, places]`; those without a label count nowhere.
    fn show_steps(&self, outputs: &[f32], rows: usize, metric: &mut dyn Metric) -> Result<()> {
        let (places, width) = (self.classes.len() / rows.max(1), outputs.len() / self.classes.len().max(1));
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for (at, &label) in self.classes.iter().enumerate().filter(|(_, label)| **label >= 0) {
            let own = &outputs[at / places * places * width..];
            scores.extend((0..width).map(|class| own[class * places + at % places]));
            labels.push(label);
        }
        if !labels.is_empty() {
            metric.update(&Seen { outputs: &scores, width, targets: Targets::Classes(&labels) })?;
        }
        Ok(())
    }
}
