//! Tables: which column is predicted, which rows are of which part, how columns become numbers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{
    self, Choices, Curve, Dataset, Encoding, Table, TablePreparation, TargetColumn, TargetKind, Treatment,
    Unit, by_time, fractions, grouped, stratified,
};
use kiln_learn::explain::KeptRows;
use kiln_learn::model::{PartMeaning, Task, listed};
use kiln_learn::{Places, Preparation};

use super::cuts::{keys, moments};
use super::{Habits, Ties, TrainingData, counts, name_of, shares, skew};
use crate::base::Base;
use crate::choices::meant;
use crate::out::counted;
use crate::reading::ReadingFlags;
use crate::report::Shows;
use crate::settings::Settings;
use crate::train::decide;

pub(super) const TABLES: Habits = Habits {
    preset: "mlp",
    epochs: 150,
    batch_size: 32,
    rate: 3e-3,
    optimizer: "adamw",
    schedule: "cosine",
    decay: 0.01,
    early_stop: 60,
    smoothing: 0.0,
    clip: None,
};

/// Rows that an ensemble learns in a time that nobody minds.
const MOST_OF_MEMBERS: usize = 20_000;

/// Names a column to predict usually has.
const TARGETS: [&str; 5] = ["target", "label", "class", "y", "species"];

/// How columns become numbers, by the names people say.
const TREATMENTS: [(&str, Treatment); 12] = [
    ("standardise", Treatment::Standardise),
    ("min-max", Treatment::MinMax),
    ("robust", Treatment::Robust),
    ("smooth-clip", Treatment::SmoothClip),
    ("log", Treatment::Log),
    ("as-is", Treatment::AsIs),
    ("words", Treatment::OneHot),
    ("codes", Treatment::Codes),
    ("text", Treatment::Text),
    ("calendar", Treatment::Calendar),
    ("cycles", Treatment::Cycles),
    ("drop", Treatment::Drop),
];

/// How a table's columns are read and used, as the settings say, and the columns to predict.
pub(super) fn choices(
    table: &Table,
    settings: &Settings,
    known: Option<&[&str]>,
    said: &mut Vec<String>,
) -> Result<(Vec<String>, Choices)> {
    let is_there = |wanted: &str| table.names().any(|name| name == wanted);
    let known = known.filter(|known| known.iter().all(|known| is_there(known)));
    let targets = match (&settings.target, known) {
        // A name may have a comma in it.
        (Some(target), _) if is_there(target) => vec![target.clone()],
        (Some(targets), _) => {
            let one = |said: &str| Ok(numbered(table, said)?.unwrap_or(said).to_string());
            targets.split(',').map(|said| one(said.trim())).collect::<Result<_>>()?
        }
        (None, Some(known)) => known.iter().map(|known| known.to_string()).collect(),
        (None, None) => {
            let named = TARGETS
                .iter()
                .find_map(|wanted| table.names().find(|name| name.eq_ignore_ascii_case(wanted)));
            let target = named.or(table.names().last()).context("a table has columns")?;
            said.push(format!("predicting the column {target}; --target says another"));
            vec![target.to_string()]
        }
    };
    let choices = with_flags(usual(settings)?.targets(&targets), settings, &targets)?;
    Ok((targets, choices))
}

/// How columns become numbers of which nothing is said.
pub(super) fn usual(settings: &Settings) -> Result<Choices> {
    match settings.numbers.as_deref() {
        // A run from before the setting goes on with what was usual then.
        None if settings.resume.is_some() => Ok(Choices::new()),
        how => {
            let how = how.unwrap_or(NUMBERS);
            let of_numbers: Vec<(&str, Treatment)> =
                TREATMENTS.into_iter().filter(|(_, treatment)| treatment.is_of_numbers()).collect();
            let known = of_numbers.iter().find(|(name, _)| *name == how);
            let names: Vec<&str> = of_numbers.iter().map(|(name, _)| *name).collect();
            let (_, treatment) =
                known.with_context(|| format!("--numbers: there is no way {how}; {}", meant(how, &names)))?;
            Ok(Choices::new().numbers(*treatment).codes_above(MOST_COLUMNS))
        }
    }
}

/// How columns of numbers become inputs unless told otherwise.
pub const NUMBERS: &str = "smooth-clip";

/// Words that get an input each; of more, each gets a vector.
const MOST_COLUMNS: usize = 9;

/// The column of a number, where none is named so.
fn numbered<'a>(table: &'a Table, said: &str) -> Result<Option<&'a str>> {
    let Some(number) = said.parse::<usize>().ok().filter(|_| table.names().all(|name| name != said)) else {
        return Ok(None);
    };
    let named = number.checked_sub(1).and_then(|place| table.names().nth(place));
    let count = table.columns().len();
    named
        .map(Some)
        .with_context(|| format!("there is no column {number}; columns are numbered from 1 to {count}"))
}

/// What flags say of columns.
pub(super) fn with_flags(mut choices: Choices, settings: &Settings, targets: &[String]) -> Result<Choices> {
    if let Some(kinds) = &settings.task {
        let kind = |said: &str| match said.trim() {
            "classes" => Ok(TargetKind::Classes),
            "number" => Ok(TargetKind::Number),
            "count" => Ok(TargetKind::Count),
            "ordinal" => Ok(TargetKind::Ordinal),
            "labels" => Ok(TargetKind::Labels),
            other => {
                bail!(
                    "--task is classes, ordinal, labels, number or count (of several targets one for each), not {other}"
                )
            }
        };
        choices = choices.target_kinds(kinds.split(',').map(kind).collect::<Result<Vec<_>>>()?);
    }
    for (target, is_log) in scales(settings, targets)?.into_iter().flatten() {
        choices = if is_log { choices.log_target(target) } else { choices };
    }
    if let Some(order) = &settings.order {
        if settings.task.as_deref().is_none_or(|kinds| !kinds.contains("ordinal")) {
            bail!("--order is of the classes of an ordinal target; say --task ordinal");
        }
        choices = choices.order(order.split(',').map(str::trim));
    }
    if let Some(share) = settings.interval {
        choices = choices.interval(share.0);
    }
    for column in settings.ignore.iter().flat_map(|columns| columns.split(',')) {
        choices = choices.treat(column.trim(), Treatment::Drop);
    }
    for said in settings.columns.iter().flat_map(|columns| columns.split(',')) {
        let Some((column, how)) = said.rsplit_once(':') else {
            bail!("--columns {said}: a column, a colon, and how it becomes numbers, like \"age: robust\"");
        };
        let how = how.trim();
        let known = TREATMENTS.iter().find(|(name, _)| *name == how);
        let names: Vec<&str> = TREATMENTS.iter().map(|(name, _)| *name).collect();
        let (_, treatment) = known.with_context(|| {
            format!("--columns {}: there is no way {how}; {}", said.trim(), meant(how, &names))
        })?;
        choices = choices.treat(column.trim(), *treatment);
    }
    for column in settings.embed.iter().flat_map(|columns| columns.split(',')) {
        choices = choices.treat(column.trim(), Treatment::Codes);
    }
    Ok(choices)
}

/// A table, of whose columns one is predicted from the others.
pub(super) fn table(
    path: &Path,
    piped: Option<&[u8]>,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let own = base.map(own_columns).transpose()?;
    let reading = match &own {
        Some(own) => own.reading(),
        None => ReadingFlags::of(settings).reading()?,
    };
    let table = match piped {
        Some(bytes) => reading.read(bytes)?,
        None => reading.open(path)?,
    };
    let mut said = vec![format!(
        "a table of {} and {}",
        counted(table.len(), "row"),
        counted(table.columns().len(), "column")
    )];
    said.extend(table.notes().iter().cloned());
    let known = own.as_ref().and_then(|own| own.target()).map(TargetColumn::columns);
    let (targets, choices) = choices(&table, settings, known.as_deref(), &mut said)?;
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let rows = table.rows_with_all(&targets)?;
    if rows.len() < table.len() {
        let (missing, names) = (table.len() - rows.len(), targets.join(" or "));
        let verb = if missing == 1 { "is" } else { "are" };
        said.push(format!("{} {verb} left out, because {names} is missing there", counted(missing, "row")));
    }
    // What the target is follows from all rows; what inputs are scaled by from those that are trained on.
    let whole = TablePreparation::fit(&table, &rows, &choices)?;
    let of_target = whole.target().context("a column to predict was chosen")?.clone();
    let of_target = match base {
        Some(base) => of_model(base, &targets).unwrap_or(of_target),
        None => of_target,
    };
    // Where models are chosen by folds, every row is held out in one of them.
    let why_not = decide::why_not(settings, rows.len());
    let chooses = base.is_none() && settings.one_model().is_none() && rows.len() >= decide::ROWS;
    said.extend(why_not.filter(|_| base.is_none() && settings.resume.is_none()));
    let shares = shares(settings, if chooses { 0.0 } else { 0.2 });
    let parts = match (&settings.group, &settings.time, &of_target) {
        (Some(_), Some(_), _) => bail!("--group and --time both say how rows are cut; leave one out"),
        (Some(name), ..) => {
            said.push(format!("rows with the same {name} stay in one part"));
            grouped(&keys(table.column(name)?, &rows), &shares, seed)?
        }
        (_, Some(name), _) => {
            said.push(format!("cut by {name}: the latest rows are tested with"));
            by_time(&moments(&table, name, &rows)?, &shares)?
        }
        (.., TargetColumn::Number { .. } | TargetColumn::Numbers { .. } | TargetColumn::Labels { .. }) => {
            fractions(rows.len(), &shares, seed)?
        }
        // Classes, and of several targets every combination, are in each part alike.
        (.., TargetColumn::Classes { .. } | TargetColumn::Several { .. }) => {
            stratified(&combinations(&table, &of_target, &rows)?, &shares, seed)?
        }
    };
    let parts: Vec<Vec<usize>> = parts.iter().map(|part| part.iter().map(|&at| rows[at]).collect()).collect();
    let of_training = parts.first().map_or(&[][..], Vec::as_slice);
    let ties = match (&settings.group, &settings.time) {
        (Some(name), _) => Ties::Groups(keys(table.column(name)?, of_training)),
        (None, Some(name)) => Ties::Times(moments(&table, name, of_training)?),
        (None, None) => Ties::Free,
    };
    let names = ["training", "validation", "test"].iter().zip(&parts).zip(shares);
    // Where no share is wanted, none is missed.
    if let Some(((name, _), _)) = names.into_iter().find(|((_, part), share)| part.is_empty() && *share > 0.0)
    {
        bail!("{}: no row is left for the {name} part", path.display());
    }
    let [first, validation, last] = parts.as_slice() else { bail!("a table is cut in three parts") };
    let mut preparation = TablePreparation::fit(&table, first, &choices)?;
    if let (None, None) = (&own, &settings.target_scale) {
        preparation = skew::found(preparation, &table, first, &choices, seed, &mut said)?;
    }
    if let Some(own) = own {
        let fitted = preparation.target().cloned();
        preparation = own.with_target(match (base.and_then(|base| of_model(base, &targets)), fitted) {
            (Some(target), _) => target,
            (None, Some(fitted)) => fitted.with_classes_of(&of_target),
            (None, None) => of_target,
        });
    } else if let Some(fitted) = preparation.target().cloned() {
        preparation = preparation.with_target(fitted.with_classes_of(&of_target));
    }
    said.extend(preparation.notes().iter().cloned());
    let repeated = table.repeated(last, &[&first[..], validation].concat()).len();
    if repeated > 0 && is_remarkable(&table, &rows) {
        said.push(format!(
            "{repeated} of the {} test rows also stand among the others: the test is easier for it",
            last.len()
        ));
    }
    let (task, found) = task_of(&preparation)?;
    said.push(found);
    let set = |rows: &[usize]| -> Result<Box<dyn Dataset>> {
        let set = preparation.apply(&table, rows);
        match base {
            Some(base) => Ok(Box::new(set.with_context(|| base.hint())?)),
            None => Ok(Box::new(set?)),
        }
    };
    let (train, valid, test) = (set(first)?, set(validation)?, set(last)?);
    let mut other = |file: &Option<PathBuf>, part: &str| -> Result<Option<(Table, Vec<usize>)>> {
        let Some(file) = file else { return Ok(None) };
        let table = preparation.reading().open(file)?;
        let rows = table.rows_with_all(&targets)?;
        said.push(format!("{} of {} to {part} with", counted(rows.len(), "row"), file.display()));
        if rows.is_empty() {
            bail!("{}: no row has a {}", file.display(), targets.join(" and a "));
        }
        Ok(Some((table, rows)))
    };
    let to_validate = other(&settings.val, "validate")?;
    let to_test = other(&settings.test, "test")?;
    let of_file = |(table, rows): &(Table, Vec<usize>)| -> Result<Box<dyn Dataset>> {
        Ok(Box::new(preparation.apply(table, rows)?))
    };
    let valid = to_validate.as_ref().map(of_file).transpose()?.unwrap_or(valid);
    let test = to_test.as_ref().map(of_file).transpose()?.unwrap_or(test);
    let (columns, width) = (preparation.groups().len(), preparation.width());
    let verb = if columns == 1 { "becomes" } else { "become" };
    said.push(format!("{} {verb} {} a row", counted(columns, "column"), counted(width, "number")));
    said.push(counts(&*train, &*valid, &*test));
    let preset = if train.len() > MOST_OF_MEMBERS { TABLES.preset } else { "tabm" };
    let front = front(&preparation);
    let stored = preparation.clone().into();
    let kept = match settings.keep_neighbours {
        Some(count) => Some(Box::new(KeptRows::new(&table, first, &preparation, count.0)?)),
        None => None,
    };
    let (table, rows) = to_test.unwrap_or((table, last.clone()));
    let shows = Shows::Table { table: Box::new(table), rows, plan: Box::new(preparation), kept };
    Ok(TrainingData {
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        preparation: stored,
        front,
        shows,
        habits: Habits { preset, ..TABLES },
        ties,
    })
}

/// Whether rows that are the same are so by more than chance: where columns have few different values all told, many rows must be.
fn is_remarkable(table: &Table, rows: &[usize]) -> bool {
    let different = |column: &data::Column| {
        let texts = rows.iter().map(|&row| column.cell(row).text());
        texts.collect::<std::collections::HashSet<_>>().len() as f64
    };
    let possible: f64 = table.columns().iter().map(different).product();
    possible > 20.0 * rows.len() as f64
}

/// How the model a training starts from takes columns.
pub(super) fn own_columns(base: &Base) -> Result<TablePreparation> {
    match base.preparation() {
        Preparation::Table(plan) => Ok((**plan).clone()),
        _ => bail!("{}, and the data are a table", base.takes()),
    }
}

/// What the model a training starts from predicts, of this column; nothing where its last layer is new.
pub(super) fn of_model(base: &Base, columns: &[&str]) -> Option<TargetColumn> {
    let own = base.preparation().table().and_then(|plan| plan.target());
    match (&base.model.about().task, columns) {
        _ if base.head => None,
        (Task::Classes { names }, [column]) => {
            let ordered = own.is_some_and(|own| own.are_ordered() == [true]);
            Some(TargetColumn::Classes { column: column.to_string(), names: names.clone(), ordered })
        }
        (Task::Numbers { scale, offset, curves, interval, .. }, [column]) => Some(TargetColumn::Number {
            column: column.to_string(),
            mean: *offset.first()?,
            deviation: *scale.first()?,
            curve: curves.first().copied().unwrap_or_default(),
            interval: *interval,
        }),
        (Task::Numbers { .. } | Task::Several { .. }, columns) => {
            own.filter(|own| own.columns() == columns).cloned()
        }
        (Task::Classes { .. } | Task::Text { .. } | Task::Tags { .. }, _) => None,
    }
}

/// What is predicted, and how that is said.
pub(super) fn task_of(plan: &TablePreparation) -> Result<(Task, String)> {
    let target = plan.target().context("a table needs a column to predict")?;
    let task = Task::of_target(target);
    let columns = target.columns();
    if let TargetColumn::Labels { column, names, separator } = target {
        let said = format!("labels of {column}, with {separator} between them: {}", listed(names));
        return Ok((task, said));
    }
    let ordered = target.are_ordered();
    let said = columns.iter().zip(task.parts()).zip(&ordered).map(|((column, part), is_ordered)| match part
        .meaning
    {
        PartMeaning::Classes(names) => {
            let what = if *is_ordered { "classes from little to much" } else { "classes" };
            format!("{what} of {column}: {}", listed(names))
        }
        PartMeaning::Number { unit, interval } => number_said(column, &unit, interval),
    });
    let said = said.collect::<Vec<_>>().join("; ");
    Ok((task, said))
}

fn number_said(column: &str, unit: &Unit, interval: Option<f64>) -> String {
    let Unit { scale, offset, curve } = unit;
    let what = match curve {
        Curve::Straight => format!("{column} is a number, {offset:.4} ± {scale:.4}"),
        Curve::Log { .. } => {
            let (middle, times) = (unit.truth(0.0), libm::exp(*scale));
            format!(
                "{column} is a number, learned by its logarithm: about {middle:.4}, times or divided by {times:.2}"
            )
        }
        Curve::Count => format!("{column} is a count, {scale:.4} in the mean"),
    };
    match interval {
        Some(share) => {
            let share = 100.0 * share;
            format!("{what}; predicted are its middle and the bounds between which {share} % of all lie")
        }
        None => what,
    }
}

/// Which targets are learned by their logarithm, where that is told.
fn scales<'t>(settings: &Settings, targets: &'t [String]) -> Result<Option<Vec<(&'t str, bool)>>> {
    let Some(said) = &settings.target_scale else { return Ok(None) };
    let scale = |said: &str| match said.trim() {
        "log" => Ok(true),
        "as-is" => Ok(false),
        other => bail!("--target-scale is log or as-is (of several targets one for each), not {other}"),
    };
    let scales = said.split(',').map(scale).collect::<Result<Vec<_>>>()?;
    let names = targets.iter().map(String::as_str);
    match scales.as_slice() {
        [all] => Ok(Some(names.map(|name| (name, *all)).collect())),
        each if each.len() == targets.len() => Ok(Some(names.zip(each.iter().copied()).collect())),
        each => bail!(
            "--target-scale says {} of {}; say one for each",
            counted(each.len(), "scale"),
            counted(targets.len(), "target")
        ),
    }
}

/// A layer that makes vectors of codes, if columns are codes: about as long as the root of how many there are.
pub(super) fn front(plan: &TablePreparation) -> String {
    let size = |count: usize| ((count as f64).sqrt().ceil() as usize + 1).clamp(2, 32);
    let columns: Vec<String> = plan
        .vocabularies()
        .iter()
        .map(|(_, words)| format!(" {}:{}", words.size(), size(words.size())))
        .collect();
    if columns.is_empty() { String::new() } else { format!("embed-columns{}, ", columns.concat()) }
}

/// The places of numbers in a row: of what isn't only 0 or 1, nor a code.
pub fn numbers(plan: &TablePreparation) -> Places {
    let mut places = Vec::new();
    for (feature, (_, inputs)) in plan.features().iter().zip(plan.groups()) {
        match &feature.encoding {
            Encoding::Number { .. } => places.push(inputs.start),
            Encoding::Date { parts, .. } => {
                let width: usize = parts.iter().map(|part| 1 + usize::from(part.cycle)).sum();
                places.extend(inputs.take(width));
            }
            Encoding::Pair { .. }
            | Encoding::OneHot { .. }
            | Encoding::Codes { .. }
            | Encoding::Text { .. } => {}
        }
    }
    places.into_iter().collect()
}

/// The class of each row; of several targets the combination of classes.
fn combinations(table: &Table, target: &TargetColumn, rows: &[usize]) -> Result<Vec<i64>> {
    let mut labels = vec![0i64; rows.len()];
    for (column, names) in target.class_columns() {
        let column = table.column(column)?;
        let places: HashMap<&str, i64> = names.iter().map(String::as_str).zip(0..).collect();
        for (label, &row) in labels.iter_mut().zip(rows) {
            let text = column.cell(row).text().unwrap_or_default();
            let class = places.get(text.as_ref()).copied().unwrap_or(0);
            *label = label.wrapping_mul(names.len() as i64).wrapping_add(class);
        }
    }
    Ok(labels)
}
