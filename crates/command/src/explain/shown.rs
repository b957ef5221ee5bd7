//! Explanations as lines, objects and cells.

use std::fmt::Write as _;

use kiln_learn::explain::{ExplainMethod, Explainer, RowExplanation};
use serde_json::{Map, Value, json};

/// How long the longest bar is.
const BAR: usize = 24;

/// A name or value longer than this is cut.
const LONGEST: usize = 28;

/// Numbers to four digits that mean something, with a sign where it is asked for.
pub(super) fn number(value: f64, signed: bool) -> String {
    let decimals = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 1.0 || size == 0.0 => 3,
        _ => 4,
    };
    match signed {
        true => format!("{value:+.decimals$}"),
        false => format!("{value:.decimals$}"),
    }
}

/// Text of at most so many letters.
fn cut(text: &str) -> String {
    match text.chars().nth(LONGEST) {
        None => text.to_string(),
        Some(_) => text.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

/// Columns or pieces of a row, and what each moves.
pub(super) struct Movers<'m> {
    pub(super) names: Vec<&'m str>,
    /// What the row has there; nothing where names say it.
    pub(super) values: &'m [String],
    pub(super) moved: &'m [f64],
    /// How far each may be off, where they are sampled.
    pub(super) errors: &'m [f64],
}

impl Movers<'_> {
    /// The strongest, a line each, and what the others come to.
    pub(super) fn lines(&self, top: usize) -> String {
        let mut order: Vec<usize> = (0..self.moved.len()).collect();
        order.sort_by(|a, b| self.moved[*b].abs().total_cmp(&self.moved[*a].abs()));
        let (shown, others) = order.split_at(top.min(order.len()));
        let largest = shown.first().map_or(0.0, |at| self.moved[*at].abs()).max(f64::MIN_POSITIVE);
        let value = |at: &usize| self.values.get(*at).map_or(String::new(), |value| cut(value));
        let left = shown.iter().map(|at| cut(self.names[*at]).chars().count()).max().unwrap_or(0).max(8);
        let middle = shown.iter().map(|at| value(at).chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for at in shown {
            let moved = self.moved[*at];
            let bar = "█".repeat(((moved.abs() / largest) * BAR as f64).round() as usize);
            let error =
                self.errors.get(*at).map_or(String::new(), |error| format!(" ± {}", number(*error, false)));
            let (name, value) = (cut(self.names[*at]), value(at));
            let _ =
                writeln!(text, "  {name:left$}  {value:middle$}  {:>9}{error}  {bar}", number(moved, true));
        }
        if !others.is_empty() {
            let sum: f64 = others.iter().map(|at| self.moved[*at]).sum();
            let name = format!("{} more", others.len());
            let _ = writeln!(text, "  {name:left$}  {:middle$}  {:>9}", "", number(sum, true));
        }
        text
    }
}

/// From the baseline to the output.
pub(super) fn adds_up(baseline: f64, moved: f64, output: f64) -> String {
    let rest = output - baseline - moved;
    let said = match rest.abs() <= 1e-4 * output.abs().max(baseline.abs()).max(1e-3) {
        true => String::new(),
        false => format!(", {} of it what the integral misses", number(rest, true)),
    };
    format!(
        "  {} {} = {}{said}",
        number(baseline, false),
        number(output - baseline, true),
        number(output, false)
    )
}

/// What all of it adds up to.
pub(super) fn sum(explainer: &Explainer, why: &RowExplanation) -> String {
    let in_unit = match (explainer.number(why.output), explainer.number(why.baseline)) {
        (Some(output), Some(baseline)) if output != why.output => {
            format!("  ({} from {})", number(output, false), number(baseline, false))
        }
        _ => String::new(),
    };
    adds_up(why.baseline, why.moved.iter().sum(), why.output) + &in_unit
}

/// What the columns move in the mean over all rows, whichever way.
pub(super) fn means(explainer: &Explainer, all: &[RowExplanation], top: usize) -> String {
    let columns = explainer.columns().count();
    let mean = |at: usize| all.iter().map(|why| why.moved[at].abs()).sum::<f64>() / all.len().max(1) as f64;
    let moved: Vec<f64> = (0..columns).map(mean).collect();
    let mut order: Vec<usize> = (0..columns).collect();
    order.sort_by(|a, b| moved[*b].total_cmp(&moved[*a]));
    let names: Vec<&str> = explainer.columns().collect();
    let largest = order.first().map_or(0.0, |at| moved[*at]).max(f64::MIN_POSITIVE);
    let left = order.iter().take(top).map(|at| cut(names[*at]).chars().count()).max().unwrap_or(0).max(8);
    let mut text = String::new();
    for at in order.into_iter().take(top) {
        let bar = "█".repeat((moved[at] / largest * BAR as f64).round() as usize);
        let _ = writeln!(text, "  {:left$}  {:>9}  {bar}", cut(names[at]), number(moved[at], false));
    }
    text
}

/// A row's explanation as an object.
pub(super) fn object(explainer: &Explainer, why: &RowExplanation, values: &[String]) -> Map<String, Value> {
    let by_name = |numbers: &[f64]| -> Value {
        explainer
            .columns()
            .zip(numbers)
            .map(|(name, number)| (name.to_string(), json!(number)))
            .collect::<Map<_, _>>()
            .into()
    };
    let given: Map<String, Value> = explainer
        .columns()
        .zip(values)
        .map(|(name, value)| (name.to_string(), value.as_str().into()))
        .collect();
    let mut object = Map::new();
    if let Some(class) = why.class.and_then(|class| explainer.classes().get(class)) {
        object.insert("class".to_string(), class.as_str().into());
    }
    if !explainer.target().is_empty() {
        object.insert("target".to_string(), explainer.target().into());
    }
    object.insert("method".to_string(), explainer.method().name().into());
    object.insert("scale".to_string(), explainer.scale().to_string().into());
    object.insert("output".to_string(), json!(why.output));
    object.insert("baseline".to_string(), json!(why.baseline));
    object.insert("moved".to_string(), by_name(&why.moved));
    if explainer.method() == ExplainMethod::Sampled {
        object.insert("errors".to_string(), by_name(&why.errors));
    }
    object.insert("rest".to_string(), json!(why.rest()));
    object.insert("values".to_string(), given.into());
    object
}
