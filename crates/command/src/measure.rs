//! How good predictions are: the figures that suit the task, in the units of the data.

use std::ops::Range;

use anyhow::{Result, bail};
use kiln_learn::data::{Batch, Curve, Dataset, Unit};
use kiln_learn::metrics::{Average, BinaryScores, Confusion, EntityScores, Numbers, are_of_entities};
use kiln_learn::model::{About, ClassSets, PartMeaning, Task, TaskPart, Views, number_of};
use kiln_learn::prelude::*;
use kiln_learn::trainer::{Judged, mean_loss};
use kiln_learn::{Model, Preparation};
use serde_json::{Map, Value};

use super::figures::{
    InSets, PredictedNumbers, characters_of_a_piece, in_words_of_texts, loss_of, of_labels, poisson_deviance,
    quadratic_kappa,
};
use super::out::counted;

/// Windows of a text, or pairs, that are measured at once.
const WINDOWS: usize = 256;

/// Figures of a model on a set, and what they were made from.
pub struct Measured {
    /// The figures by name, the most telling first.
    pub numbers: Vec<(String, f64)>,
    pub of: Of,
    /// Of words whose tags are of entities: how many of each kind there are and were found.
    pub entities: EntityScores,
}

/// What figures were made from.
pub enum Of {
    Classes {
        names: Vec<String>,
        rows: Vec<Judged>,
        confusion: Confusion,
        /// Where sets of classes are predicted.
        in_sets: Option<InSets>,
    },
    Numbers(Vec<PredictedNumbers>),
    /// Several targets, some of which are classes.
    Several(Vec<MeasuredTarget>),
    Text,
}

/// One of several targets.
pub struct MeasuredTarget {
    pub name: String,
    /// As it would be alone.
    pub measured: Measured,
}

impl Measured {
    /// Holds what a model says against what was right.
    pub fn new(task: &Task, model: &Model, set: &dyn Dataset) -> Result<Measured> {
        Measured::seen(task, model, set, None)
    }

    /// As [`Measured::new`], of images that are seen in several views.
    pub fn seen(task: &Task, model: &Model, set: &dyn Dataset, views: Option<&Views>) -> Result<Measured> {
        match task {
            Task::Text { .. } => {
                if matches!(model.about().preparation, Preparation::Pairs(_)) {
                    return Measured::of_pairs(model.layers(), pairs_written(model, set)?, set);
                }
                let characters = characters_of_a_piece(&model.about().preparation, set)?;
                Measured::of_text(model.layers(), characters, set)
            }
            Task::Tags { names } => tags(names, model, set),
            Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. } => {
                let (mut targets, held) = (SeenTarget::all(task, &model.about().sets), set.y().width());
                if held != targets.len() {
                    bail!(
                        "the model predicts {} for a row, and the data have {held}",
                        counted(targets.len(), "number")
                    );
                }
                let see = |batch: &Batch, outputs: &[f32]| {
                    see(&mut targets, batch, outputs);
                    Ok(())
                };
                match views {
                    Some(views) => model.predict_views(set, views, see)?,
                    None => model.predict_each(set, see)?,
                }
                let target = model.about().preparation.table().and_then(|plan| plan.target());
                let ordered = target.map_or(Vec::new(), |target| target.are_ordered());
                let measured = figures(task, targets)?.ranked(&ordered);
                match model.about().threshold {
                    Some(threshold) => measured.decided(threshold),
                    None => Ok(measured),
                }
            }
        }
    }

    /// Of outputs that are known already, for rows of a set.
    pub fn of_outputs(about: &About, set: &impl Dataset, outputs: &[f32]) -> Result<Measured> {
        /// Rows that are read at a time.
        const ROWS: usize = 4096;
        let mut targets = SeenTarget::all(&about.task, &about.sets);
        let width = outputs.len() / set.len().max(1);
        for (batch, outputs) in set.batches(ROWS).zip(outputs.chunks((ROWS * width).max(1))) {
            see(&mut targets, &batch?, outputs);
        }
        let target = about.preparation.table().and_then(|plan| plan.target());
        let ordered = target.map_or(Vec::new(), |target| target.are_ordered());
        Ok(figures(&about.task, targets)?.ranked(&ordered))
    }

    /// With figures of how far classes that go from little to much are off, of those targets that are such.
    fn ranked(mut self, ordered: &[bool]) -> Measured {
        match &mut self.of {
            Of::Classes { rows, confusion, .. } if ordered.first() == Some(&true) => {
                let off = |row: &Judged| f64::from(row.class.abs_diff(row.label));
                let mean = rows.iter().map(off).sum::<f64>() / rows.len() as f64;
                let place = self.numbers.len().min(2);
                let figures = [("quadratic-kappa", quadratic_kappa(confusion)), ("classes-off", mean)];
                let figures = figures.map(|(name, number)| (name.to_string(), number));
                self.numbers.splice(place..place, figures);
            }
            Of::Several(each) => {
                for (at, one) in each.iter_mut().enumerate() {
                    let nothing =
                        Measured { numbers: Vec::new(), of: Of::Text, entities: EntityScores::default() };
                    let own = std::mem::replace(&mut one.measured, nothing);
                    let known = own.numbers.len();
                    one.measured = own.ranked(ordered.get(at..).unwrap_or_default());
                    if one.measured.numbers.len() > known {
                        let added = one.measured.numbers.iter().skip(2).take(2);
                        self.numbers
                            .extend(added.map(|(name, number)| (format!("{}.{name}", one.name), *number)));
                    }
                }
            }
            Of::Classes { .. } | Of::Numbers(_) | Of::Text => {}
        }
        self
    }

    /// The same where the second of two classes is said above this probability.
    pub fn decided(self, threshold: f64) -> Result<Measured> {
        match self.of {
            Of::Classes { names, rows, in_sets, .. } if names.len() == 2 => {
                classes(names, rows.into_iter().map(|row| row.decided(threshold)).collect(), in_sets)
            }
            of => Ok(Measured { of, ..self }),
        }
    }

    /// What is written of pairs, and how well it is foreseen.
    fn of_pairs<const N: usize>(
        layers: &impl Layer,
        written: [(&str, f64); N],
        set: &dyn Dataset,
    ) -> Result<Measured> {
        let loss = mean_loss(layers, CrossEntropy::new(), set, WINDOWS)?;
        let numbers = written.into_iter().chain([("perplexity", libm::exp(loss)), ("loss", loss)]);
        let numbers = numbers.map(|(name, number)| (name.to_string(), number)).collect();
        Ok(Measured { numbers, of: Of::Text, entities: EntityScores::default() })
    }

    /// How well layers foresee the pieces of a text, which have so many characters in the mean.
    pub fn of_text(layers: &impl Layer, characters_of_a_piece: f64, set: &dyn Dataset) -> Result<Measured> {
        let loss = mean_loss(layers, CrossEntropy::new(), set, WINDOWS)?;
        let [perplexity, bits] = in_words_of_texts(loss, characters_of_a_piece);
        let numbers = vec![perplexity, ("loss".to_string(), loss), bits];
        Ok(Measured { numbers, of: Of::Text, entities: EntityScores::default() })
    }

    /// The rows of two classes that are no and yes.
    fn yes_or_no(&self) -> Option<(&[Judged], &Confusion)> {
        match &self.of {
            Of::Classes { names, rows, confusion, .. } if names.iter().eq(["no", "yes"]) => {
                Some((rows, confusion))
            }
            Of::Classes { .. } | Of::Numbers(_) | Of::Several(_) | Of::Text => None,
        }
    }

    /// How many rows it is of; of a text none.
    pub fn rows(&self) -> usize {
        match &self.of {
            Of::Text => 0,
            Of::Classes { rows, .. } => rows.len(),
            Of::Numbers(each) => each.first().map_or(0, |own| own.truth.len()),
            Of::Several(each) => each.first().map_or(0, |one| one.measured.rows()),
        }
    }

    /// How many of its first figures are of all of several targets.
    pub fn of_all(&self) -> usize {
        self.numbers.iter().take_while(|(name, _)| !name.contains('.')).count()
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let number = |number: f64| Value::from((number.is_finite()).then_some(number));
        Value::Object(
            self.numbers.iter().map(|(name, value)| (name.clone(), number(*value))).collect::<Map<_, _>>(),
        )
    }

    /// On one line; of several targets each has one besides.
    pub fn line(&self) -> String {
        let line = |numbers: &mut dyn Iterator<Item = (&str, f64)>| {
            numbers.map(|(name, number)| format!("{name} {number:.4}")).collect::<Vec<_>>().join("  ")
        };
        match &self.of {
            Of::Numbers(each) if each.len() > 1 => {
                let first =
                    line(&mut self.numbers.iter().take(2).map(|(name, number)| (name.as_str(), *number)));
                let width = each.iter().map(|own| own.name.chars().count()).max().unwrap_or(0);
                let lines = each.iter().map(|own| {
                    format!("\n       {:width$}  {}", own.name, line(&mut own.figures.iter().copied()))
                });
                first + &lines.collect::<String>()
            }
            Of::Several(each) => {
                let first = line(
                    &mut self
                        .numbers
                        .iter()
                        .take(self.of_all())
                        .map(|(name, number)| (name.as_str(), *number)),
                );
                let width = each.iter().map(|own| own.name.chars().count()).max().unwrap_or(0);
                let lines =
                    each.iter().map(|own| format!("\n       {:width$}  {}", own.name, own.measured.line()));
                first + &lines.collect::<String>()
            }
            Of::Classes { .. } | Of::Numbers(_) | Of::Text => {
                line(&mut self.numbers.iter().map(|(name, number)| (name.as_str(), *number)))
            }
        }
    }
}

/// What is seen of one target, row by row.
enum SeenTarget {
    Classes {
        outputs: Range<usize>,
        names: Vec<String>,
        rows: Vec<Judged>,
        sets: Option<ClassSets>,
        in_sets: InSets,
    },
    Number {
        outputs: Range<usize>,
        unit: Unit,
        interval: Option<f64>,
        seen: PredictedNumbers,
    },
}

impl SeenTarget {
    fn all(task: &Task, sets: &[Option<ClassSets>]) -> Vec<SeenTarget> {
        let one = |(at, part): (usize, TaskPart)| match part.meaning {
            PartMeaning::Classes(names) => SeenTarget::Classes {
                outputs: part.outputs,
                names: names.to_vec(),
                rows: Vec::new(),
                sets: sets.get(at).cloned().flatten(),
                in_sets: InSets::default(),
            },
            PartMeaning::Number { unit, interval } => SeenTarget::Number {
                outputs: part.outputs,
                unit,
                interval,
                seen: PredictedNumbers { name: part.name.to_string(), ..PredictedNumbers::default() },
            },
        };
        task.parts().into_iter().enumerate().map(one).collect()
    }
}

/// Takes a batch and what a model gave for it.
fn see(targets: &mut [SeenTarget], batch: &Batch, outputs: &[f32]) {
    let (count, width) = (targets.len(), outputs.len() / batch.rows().max(1));
    for (at, target) in targets.iter_mut().enumerate() {
        let truth = (at..batch.y.len()).step_by(count).filter_map(|at| batch.y.get(at));
        match target {
            SeenTarget::Classes { outputs: places, rows, sets, in_sets, .. } => {
                for (row, label) in outputs.chunks(width.max(1)).zip(truth) {
                    // Alone it has all outputs, of which there may be a single one for two classes.
                    let own = if count == 1 { Some(row) } else { row.get(places.clone()) };
                    let own = own.unwrap_or_default();
                    rows.push(Judged::new(own, label as i64));
                    sets.iter().for_each(|sets| in_sets.see(sets, own, label as usize));
                }
            }
            SeenTarget::Number { outputs: places, unit, interval, seen } => {
                for (row, truth) in outputs.chunks(width.max(1)).zip(truth) {
                    let own = row.get(places.clone()).unwrap_or_default();
                    let (number, bounds) = number_of(own, unit);
                    seen.truth.push(unit.truth(truth));
                    seen.predicted.push(number);
                    seen.bounds.extend(bounds);
                    seen.losses += loss_of(own, truth, unit, *interval);
                }
            }
        }
    }
}

/// The figures of all targets.
fn figures(task: &Task, targets: Vec<SeenTarget>) -> Result<Measured> {
    let is_mixed = matches!(task, Task::Several { .. });
    let (mut each, mut of_numbers) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            SeenTarget::Classes { names, rows, sets, in_sets, .. } => {
                each.push(classes(names, rows, sets.map(|_| in_sets))?);
            }
            SeenTarget::Number { unit, seen, .. } if is_mixed => {
                each.push(numbers(vec![(seen, unit.curve)])?)
            }
            SeenTarget::Number { unit, seen, .. } => of_numbers.push((seen, unit.curve)),
        }
    }
    if !is_mixed {
        return each.pop().map_or_else(|| numbers(of_numbers), Ok);
    }
    let names = task.parts().into_iter().map(|part| part.name.to_string());
    let each: Vec<MeasuredTarget> =
        names.zip(each).map(|(name, measured)| MeasuredTarget { name, measured }).collect();
    let loss = |one: &MeasuredTarget| {
        let own = one.measured.numbers.iter().find(|(name, _)| name == "loss");
        own.map_or(f64::NAN, |(_, loss)| *loss)
    };
    let mean = each.iter().map(loss).sum::<f64>() / each.len().max(1) as f64;
    let mut all = vec![("loss".to_string(), mean)];
    // Of targets each of which a row has or hasn't.
    let labels: Option<Vec<_>> = each.iter().map(|one| one.measured.yes_or_no()).collect();
    all.extend(labels.iter().flat_map(|labels| of_labels(labels)));
    for MeasuredTarget { name, measured } in &each {
        all.extend(measured.numbers.iter().map(|(figure, number)| (format!("{name}.{figure}"), *number)));
    }
    Ok(Measured { numbers: all, of: Of::Several(each), entities: EntityScores::default() })
}

/// Of words as of rows, and of the entities that they are.
fn tags(names: &[String], model: &Model, set: &dyn Dataset) -> Result<Measured> {
    let (mut rows, mut entities) = (Vec::new(), EntityScores::default());
    let with_entities = are_of_entities(names.iter().map(String::as_str));
    let name = |class: u32| names.get(class as usize).map_or("O", String::as_str);
    model.predict_each(set, |batch, outputs| {
        let labels: Vec<i64> =
            (0..batch.y.len()).filter_map(|at| batch.y.get(at)).map(|at| at as i64).collect();
        let places = labels.len() / batch.rows().max(1);
        let each = outputs.len() / batch.rows().max(1);
        for (labels, outputs) in labels.chunks(places.max(1)).zip(outputs.chunks(each.max(1))) {
            let first = rows.len();
            for (place, &label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
                let scores: Vec<f32> = outputs.iter().skip(place).step_by(places).copied().collect();
                rows.push(Judged::new(&scores, label));
            }
            if with_entities {
                let truth: Vec<&str> = rows[first..].iter().map(|row: &Judged| name(row.label)).collect();
                let said: Vec<&str> = rows[first..].iter().map(|row| name(row.class)).collect();
                entities.add(&truth, &said);
            }
        }
        Ok(())
    })?;
    if rows.is_empty() {
        bail!("no word of the data has a tag that the model knows");
    }
    let measured = classes(names.to_vec(), rows, None)?;
    let mut numbers = measured.numbers;
    if with_entities {
        let all = entities.all();
        let figures = [("f1", all.f1()), ("precision", all.precision()), ("recall", all.recall())];
        let named = figures.map(|(name, number)| (format!("entity {name}"), number));
        numbers.splice(0..0, named);
    }
    Ok(Measured { numbers, entities, ..measured })
}

/// Of pairs the share whose target is written as it stands, and that of single pieces. With each
/// piece likeliest behind the right ones before it, the likeliest text is the right one.
fn pairs_written(model: &Model, set: &dyn Dataset) -> Result<[(&'static str, f64); 2]> {
    let (mut exact, mut right, mut all) = (0, 0, 0);
    model.predict_each(set, |batch, outputs| {
        let rows = batch.rows().max(1);
        let (places, each) = (batch.y.len() / rows, outputs.len() / rows);
        let codes = each / places.max(1);
        for (row, outputs) in outputs.chunks(each.max(1)).enumerate() {
            let (before, right_before) = (all, right);
            for place in 0..places {
                let Some(label) = batch.y.get(row * places + place).filter(|label| *label >= 0.0) else {
                    continue;
                };
                let score = |code: usize| outputs[code * places + place];
                let best =
                    (1..codes).fold(0, |best, code| if score(code) > score(best) { code } else { best });
                all += 1;
                right += usize::from(best == label as usize);
            }
            exact += usize::from(all - before == right - right_before);
        }
        Ok(())
    })?;
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    Ok([("exact match", share(exact, set.len())), ("token accuracy", share(right, all))])
}

fn classes(names: Vec<String>, rows: Vec<Judged>, in_sets: Option<InSets>) -> Result<Measured> {
    let count = names.len().max(2);
    let mut confusion = Confusion::new(count);
    let labels: Vec<i64> = rows.iter().map(|row| row.label.into()).collect();
    let classes: Vec<i64> = rows.iter().map(|row| row.class.into()).collect();
    confusion.add(&labels, &classes)?;
    let scores = |of: fn(&Judged) -> (f32, bool)| -> Result<BinaryScores> {
        let mut scores = BinaryScores::default();
        let (said, is): (Vec<f64>, Vec<bool>) = rows.iter().map(of).map(|(p, is)| (f64::from(p), is)).unzip();
        scores.add(&said, &is)?;
        Ok(scores)
    };
    let loss = scores(|row| (row.truth, true))?.log_loss();
    let mut numbers = vec![("accuracy".to_string(), confusion.accuracy()), ("loss".to_string(), loss)];
    let mut add = |name: &str, number: f64| numbers.push((name.to_string(), number));
    if count == 2 {
        let binary = scores(|row| (row.second, row.label == 1))?;
        add("f1", confusion.f1(Average::Binary(1)));
        add("roc-auc", binary.roc_auc());
        add("pr-auc", binary.average_precision());
    } else {
        add("f1 macro", confusion.f1(Average::Macro));
        add("balanced-accuracy", confusion.balanced_accuracy());
        if count > 5 {
            add("top-3", rows.iter().filter(|row| row.ahead < 3).count() as f64 / rows.len() as f64);
        }
    }
    let sure = scores(|row| (row.sure, row.is_right()))?;
    add("calibration-error", sure.calibration_error(10));
    in_sets.iter().flat_map(InSets::figures).for_each(|(name, number)| add(name, number));
    let of = Of::Classes { names, rows, confusion, in_sets };
    Ok(Measured { numbers, of, entities: EntityScores::default() })
}

/// Of numbers, each with the curve that it was learned by.
fn numbers(seen: Vec<(PredictedNumbers, Curve)>) -> Result<Measured> {
    let (count, mut each) = (seen.len(), Vec::new());
    let (mut r2, mut loss) = (0.0, 0.0);
    for (mut own, curve) in seen {
        let mut all = Numbers::default();
        all.add(&own.predicted, &own.truth)?;
        let share = 1.0 / count as f64;
        let rows = own.truth.len() as f64;
        (r2, loss) = (r2 + share * all.r2(), loss + share * own.losses / rows);
        own.figures =
            vec![("r2", all.r2()), ("rmse", all.rmse()), ("mae", all.mae()), ("pearson", all.pearson())];
        if curve == Curve::Count {
            own.figures.push(("poisson-deviance", poisson_deviance(&own.truth, &own.predicted)));
        }
        if !own.bounds.is_empty() {
            let holds = |(bounds, truth): &(&[f64; 2], &f64)| bounds[0] <= **truth && **truth <= bounds[1];
            let held = own.bounds.iter().zip(&own.truth).filter(holds).count();
            own.figures.push(("coverage", held as f64 / rows));
            let width = own.bounds.iter().map(|[low, high]| high - low).sum::<f64>() / rows;
            own.figures.push(("interval-width", width));
        }
        each.push(own);
    }
    let mut numbers = vec![("r2".to_string(), r2), ("loss".to_string(), loss)];
    for own in &each {
        // Of several targets each figure is behind its name.
        let figures = own.figures.iter().filter(|(name, _)| count > 1 || *name != "r2");
        numbers.extend(figures.map(|(name, number)| match count {
            1 => (name.to_string(), *number),
            _ => (format!("{}.{name}", own.name), *number),
        }));
    }
    Ok(Measured { numbers, of: Of::Numbers(each), entities: EntityScores::default() })
}
