//! Predictions as cells, lines and objects: what `kiln predict` prints and `kiln serve` answers.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use kiln_data::{Column, Table, Unit};
use serde_json::{Map, Value, json};

use crate::model::{About, NamedTask, PartMeaning, Task, TaskPart};
use crate::predictor::Prediction;

/// What was predicted, as JSON has it.
fn value(answer: &Prediction, task: &Task) -> Value {
    let mut numbers = rounded(answer, task);
    match answer {
        Prediction::Classes { .. } => answer.class().into(),
        Prediction::Several { .. } => {
            let each = each_target(answer, task);
            Value::Object(each.map(|(name, said, task)| (name.to_string(), value(said, task))).collect())
        }
        Prediction::Numbers { .. } | Prediction::Text { .. } if numbers.len() == 1 => numbers.next().into(),
        Prediction::Numbers { .. } | Prediction::Text { .. } => numbers.collect::<Vec<_>>().into(),
    }
}

/// What is said of each of several targets, and what it is.
fn each_target<'a>(
    answer: &'a Prediction,
    task: &'a Task,
) -> impl Iterator<Item = (&'a str, &'a Prediction, &'a Task)> {
    let targets = if let Task::Several { targets } = task { targets.as_slice() } else { &[] };
    answer.targets().zip(targets).map(|((name, said), target)| (name, said, &target.task))
}

/// The numbers that were predicted, with no more digits than mean something.
fn rounded(answer: &Prediction, task: &Task) -> impl ExactSizeIterator<Item = f64> {
    let numbers: Vec<f64> = answer.numbers().map(|(_, number)| number).collect();
    let units = units(task);
    numbers.into_iter().enumerate().map(move |(at, number)| in_unit(number, units.get(at)))
}

/// What the numbers of a task are learned as.
fn units(task: &Task) -> Vec<Unit> {
    match task {
        Task::Numbers { .. } => task.parts().iter().filter_map(|part| part.meaning.unit()).collect(),
        Task::Classes { .. } | Task::Several { .. } | Task::Text { .. } | Task::Tags { .. } => Vec::new(),
    }
}

fn in_unit(number: f64, unit: Option<&Unit>) -> f64 {
    shortest(number, unit.map_or(1.0, |unit| unit.slope(number)))
}

/// The lower and the upper bound of each number that has some, as [`rounded`].
fn bounds(answer: &Prediction, task: &Task) -> Vec<[f64; 2]> {
    let units = units(task);
    let one = |(at, bounds): (usize, &[f64; 2])| bounds.map(|bound| in_unit(bound, units.get(at)));
    answer.all_bounds().iter().enumerate().map(one).collect()
}

/// The likeliest classes, or the numbers.
pub fn best(answer: &Prediction, task: &Task, count: usize) -> String {
    let mut all: Vec<(&str, f32)> = answer.probabilities().collect();
    if all.is_empty() {
        let bounds = bounds(answer, task);
        let interval = bounds.iter().map(|[low, high]| format!("  {low} to {high}"));
        return value(answer, task).to_string() + &interval.collect::<String>();
    }
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown = all.iter().take(count.max(1)).map(|(name, p)| format!("{name} {:.2} %", 100.0 * p));
    let set = answer.set().map(|set| format!("  {{{}}}", set.collect::<Vec<_>>().join(", ")));
    shown.collect::<Vec<_>>().join("  ") + &set.unwrap_or_default()
}

/// The names of the columns that are added to a table.
pub fn header(about: &About) -> Vec<String> {
    let mut names = Vec::new();
    let has_set = |at: usize| about.sets.get(at).is_some_and(Option::is_some);
    match &about.task {
        Task::Classes { names: classes } => {
            names.push("prediction".to_string());
            names.extend(classes.iter().map(|class| format!("p({class})")));
            names.extend(has_set(0).then(|| "set".to_string()));
        }
        Task::Numbers { .. } | Task::Several { .. } => {
            for (at, TaskPart { name, meaning, .. }) in about.task.parts().into_iter().enumerate() {
                names.push(format!("predicted {name}"));
                match meaning {
                    PartMeaning::Classes(classes) => {
                        names.extend(classes.iter().map(|class| format!("p({name}={class})")));
                        names.extend(has_set(at).then(|| format!("set of {name}")));
                    }
                    PartMeaning::Number { interval: Some(_), .. } => {
                        names.extend([format!("{name}.low"), format!("{name}.high")]);
                    }
                    PartMeaning::Number { interval: None, .. } => {}
                }
            }
        }
        Task::Text { .. } | Task::Tags { .. } => {}
    }
    names.iter().map(|name| quoted(name).into_owned()).collect()
}

/// Writes the names of a table's columns and of those that are added.
pub fn table_header(table: &Table, about: &About, out: &mut impl Write) -> std::io::Result<()> {
    let names = table.names().map(|name| quoted(name).into_owned()).chain(header(about));
    writeln!(out, "{}", names.collect::<Vec<_>>().join(","))
}

/// Writes a table's rows with what is said of each.
pub fn table_rows(
    table: &Table,
    answers: &[Prediction],
    task: &Task,
    out: &mut impl Write,
) -> std::io::Result<()> {
    for (row, answer) in answers.iter().enumerate() {
        let cell = |column: &Column| {
            column.cell(row).text().map_or(String::new(), |text| quoted(&text).into_owned())
        };
        let read = table.columns().iter().map(cell).collect::<Vec<_>>().join(",");
        let mut line = read.into_bytes();
        cells(answer, task, &mut line)?;
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

/// Writes what stands in them.
pub fn cells(answer: &Prediction, task: &Task, line: &mut impl Write) -> std::io::Result<()> {
    if let Some(class) = answer.class() {
        write!(line, ",{}", quoted(class))?;
    }
    answer.probabilities().try_for_each(|(_, p)| write!(line, ",{p:.6}"))?;
    if let Some(set) = answer.set() {
        // As lists of labels are written.
        write!(line, ",{}", quoted(&set.collect::<Vec<_>>().join(";")))?;
    }
    let bounds = bounds(answer, task);
    for (at, number) in rounded(answer, task).enumerate() {
        write!(line, ",{number}")?;
        bounds.get(at).into_iter().flatten().try_for_each(|bound| write!(line, ",{bound}"))?;
    }
    each_target(answer, task).try_for_each(|(_, said, task)| cells(said, task, line))
}

/// The number with the fewest digits that is the same in single precision, which is what a model computes in; where that is too coarse for
/// what differs (moments since 1970, a few seconds apart), with digits to a hundred-thousandth of the unit that it learned in.
pub fn shortest(number: f64, scale: f64) -> f64 {
    let single = number as f32;
    if (f64::from(single) - number).abs() <= 1e-4 * scale.abs() {
        return single.to_string().parse().unwrap_or(number);
    }
    let decimals = (-libm::log10(1e-5 * scale.abs())).ceil().clamp(0.0, 17.0);
    format!("{number:.*}", decimals as usize).parse().unwrap_or(number)
}

/// A row's prediction as an object, with the file it is of.
pub fn object(file: Option<&Path>, answer: &Prediction, task: &Task, row: usize) -> Value {
    let mut object = json!({ "row": row, "prediction": value(answer, task) });
    if let Some(file) = file {
        object["input"] = file.display().to_string().into();
    }
    match answer {
        Prediction::Classes { .. } => {
            object["probabilities"] = probabilities(answer);
            if let Some(set) = answer.set() {
                object["set"] = set.collect();
            }
        }
        Prediction::Several { .. } => {
            let classes = answer.targets().filter(|(_, said)| said.class().is_some());
            let each = classes.map(|(name, said)| (name.to_string(), probabilities(said)));
            object["probabilities"] = Value::Object(each.collect());
            let sets =
                answer.targets().filter_map(|(name, said)| Some((name.to_string(), said.set()?.collect())));
            let sets: Map<_, _> = sets.collect();
            if !sets.is_empty() {
                object["set"] = Value::Object(sets);
            }
            let numbers = each_target(answer, task).filter(|(_, said, _)| !said.all_bounds().is_empty());
            let each: Map<_, _> =
                numbers.map(|(name, said, task)| (name.to_string(), interval(said, task))).collect();
            if !each.is_empty() {
                object["interval"] = Value::Object(each);
            }
        }
        Prediction::Numbers { bounds, .. } if !bounds.is_empty() => {
            object["interval"] = interval(answer, task)
        }
        Prediction::Numbers { .. } | Prediction::Text { .. } => {}
    }
    object
}

/// What a prediction is of, where no model says it: of a hub's folder.
pub fn task(said: &Prediction) -> Task {
    match said {
        Prediction::Classes { names, .. } => Task::Classes { names: names.to_vec() },
        Prediction::Numbers { names, .. } => Task::plain_numbers(names.to_vec()),
        Prediction::Several { targets } => {
            let named =
                targets.iter().map(|(name, said)| NamedTask { name: name.to_string(), task: task(said) });
            Task::Several { targets: named.collect() }
        }
        Prediction::Text { scores, .. } => Task::Text { pieces: scores.len() },
    }
}

/// The bounds of a number, `[low, high]`, or of several.
fn interval(answer: &Prediction, task: &Task) -> Value {
    match bounds(answer, task).as_slice() {
        [one] => json!(one),
        all => json!(all),
    }
}

/// The probabilities of all classes, by their names.
fn probabilities(answer: &Prediction) -> Value {
    let each = answer.probabilities().map(|(name, p)| (name.to_string(), shortest(p.into(), 1.0).into()));
    Value::Object(each.collect::<Map<_, _>>())
}

/// A cell of CSV, in quotes where it needs them.
pub fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (number, scale, said) in [
            (f64::from(0.1f32), 1.0, "0.1"),
            (181_234.562_5, 80_000.0, "181234.56"),
            (1_700_000_123.456_789, 60.0, "1700000123.4568"),
            (-3.0, 1.0, "-3"),
            (1e300, 1e299, "1e300"),
            (f64::NAN, 1.0, "NaN"),
        ] {
            let written = shortest(number, scale);
            assert_eq!(format!("{written:?}").trim_end_matches(".0"), said, "{number}");
            if scale == 1.0 && number.is_finite() {
                assert_eq!(written as f32, number as f32);
            }
        }
    }
}
