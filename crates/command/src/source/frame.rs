//! Frames: tables of any size, by way of a file of prepared rows that says what it was made of. Which part a row is of follows from its
//! number and the seed.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{
    Cell, Dataset, Frame, Framing, Rng, TablePreparation, TargetColumn, by_time, grouped,
};
use serde_json::{Value, json};

use super::cuts::moment;
use super::table::{NUMBERS, TABLES, choices, front, of_model, own_columns, task_of, usual, with_flags};
use super::{Habits, Ties, TrainingData, counts, name_of, shares};
use crate::base::Base;
use crate::folder::scratch;
use crate::large::LargeTable;
use crate::out::counted;
use crate::reading::{READING, ReadingFlags};
use crate::report::Shows;
use crate::settings::Settings;

/// The rows of a table, in a frame that is made of it, or was and still holds.
pub(super) fn framed(path: &Path, to: &Path, settings: &Settings, seed: u64) -> Result<TrainingData> {
    let target = settings.target.as_deref().context("--frame needs --target, the column to predict")?;
    let reading = ReadingFlags::of(settings).reading()?;
    let choices = match reading.first_rows(path).ok().flatten() {
        Some(first) => choices(&first.table, settings, None, &mut Vec::new())?.1,
        None => with_flags(usual(settings)?.target(target), settings, &[target.to_string()])?,
    };
    let origin = origin(path, settings, seed)?;
    let note = match stale(to, &origin)? {
        None => format!(
            "{}: the frame was made of this table, target, seed and choices, and is used as it is",
            to.display()
        ),
        Some(why) => {
            let parts = FrameParts::ByNumber { shares: shares(settings, 0.1), seed };
            let framing = Framing::new(choices).reading(reading).train(move |row| parts.of_row(row) == 0);
            framing.origin(origin).make(path, to)?;
            why.map_or(format!("{}: made of the table", to.display()), |why| {
                format!("{}: the frame is made anew, because {why}", to.display())
            })
        }
    };
    let source = frame(to, settings, seed)?;
    Ok(TrainingData { name: name_of(path), said: [vec![note], source.said].concat(), ..source })
}

/// The rows of a table that would take more memory than a file may, in a frame that goes again.
pub(super) fn unasked(
    path: &Path,
    large: &LargeTable,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let mut said = Vec::new();
    let own = base.map(own_columns).transpose()?;
    let reading = match &own {
        Some(own) => own.reading(),
        None => ReadingFlags::of(settings).reading()?,
    };
    let known = own.as_ref().and_then(|own| own.target()).map(TargetColumn::columns);
    let (targets, choices) = choices(&large.first, settings, known.as_deref(), &mut said)?;
    let framing = || {
        let framing = Framing::new(choices.clone()).reading(reading.clone());
        framing.progress(LargeTable::progress(is_quiet(settings)))
    };
    let shares = shares(settings, 0.2);
    let parts = FrameParts::of(path, &framing(), shares, settings, seed, &mut said)?;
    let train = parts.clone();
    let framing_of_rows = framing().train(move |row| train.of_row(row) == 0);
    let framing = match (base, own) {
        (Some(base), Some(own)) => {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            let target = match of_model(base, &targets) {
                Some(target) => target,
                None => {
                    framing_of_rows.fitted(path)?.target().context("a column to predict was chosen")?.clone()
                }
            };
            Framing::prepared(own.with_target(target))
        }
        _ => framing_of_rows,
    };
    let frame = large.frame(framing, path, &scratch(settings.out.as_deref()), is_quiet(settings));
    let frame = match base {
        Some(base) => frame.with_context(|| base.hint())?,
        None => frame?,
    };
    let source = of_frame(frame, path, (shares, &parts), settings)?;
    Ok(TrainingData { said: [said, source.said].concat(), ..source })
}

/// Which of the three parts each row of a frame is in.
#[derive(Clone)]
enum FrameParts {
    /// By its number: the same whenever it is asked with one seed.
    ByNumber { shares: [f64; 3], seed: u64 },
    /// As was decided by a column of all rows.
    Known(Arc<Vec<u8>>),
}

impl FrameParts {
    /// As the settings say, of the rows of a file that have a target.
    fn of(
        path: &Path,
        framing: &Framing,
        shares: [f64; 3],
        settings: &Settings,
        seed: u64,
        said: &mut Vec<String>,
    ) -> Result<FrameParts> {
        let parts = match (&settings.group, &settings.time) {
            (None, None) => return Ok(FrameParts::ByNumber { shares, seed }),
            (Some(_), Some(_)) => bail!("--group and --time both say how rows are cut; leave one out"),
            (Some(name), None) => {
                said.push(format!("rows with the same {name} stay in one part"));
                let key = |cell: Cell| {
                    let mut hasher = DefaultHasher::new();
                    cell.text().hash(&mut hasher);
                    hasher.finish()
                };
                // Numbered as they come, which is what a table in memory is cut by.
                let mut known = HashMap::new();
                let keys = framing.gather(path, name, key)?.into_iter().map(|key| {
                    let next = known.len() as i64;
                    *known.entry(key).or_insert(next)
                });
                grouped(&keys.collect::<Vec<_>>(), &shares, seed)?
            }
            (None, Some(name)) => {
                said.push(format!("cut by {name}: the latest rows are tested with"));
                let moments = framing.gather(path, name, |cell| moment(cell).unwrap_or(f64::NAN))?;
                if let Some(row) = moments.iter().position(|moment| moment.is_nan()) {
                    bail!(
                        "--time {name}: row {} of those with a target has no number and no date there",
                        row + 1
                    );
                }
                by_time(&moments, &shares)?
            }
        };
        let mut each = vec![0; parts.iter().map(Vec::len).sum()];
        for (part, rows) in (0u8..).zip(&parts) {
            rows.iter().for_each(|row| each[*row] = part);
        }
        Ok(FrameParts::Known(Arc::new(each)))
    }

    /// The part of a row.
    fn of_row(&self, row: u64) -> usize {
        match self {
            FrameParts::ByNumber { shares, seed } => {
                let place = Rng::new(*seed).derive(row).uniform();
                usize::from(place >= shares[0]) + usize::from(place >= shares[0] + shares[1])
            }
            FrameParts::Known(parts) => {
                usize::try_from(row).ok().and_then(|row| parts.get(row)).map_or(0, |part| usize::from(*part))
            }
        }
    }
}

fn is_quiet(settings: &Settings) -> bool {
    settings.quiet == Some(true) || settings.json == Some(true)
}

/// The rows of another file, prepared as a frame's are: a set, or a frame of its own where that would take too much memory.
fn other(path: &Path, plan: &TablePreparation, settings: &Settings) -> Result<Box<dyn Dataset>> {
    let reading = plan.reading();
    if let Some(large) = LargeTable::of(path, &reading) {
        let framing = Framing::prepared(plan.clone());
        return Ok(Box::new(large.frame(
            framing,
            path,
            &scratch(settings.out.as_deref()),
            is_quiet(settings),
        )?));
    }
    let table = reading.open(path)?;
    let targets = plan.target().context("a table needs a column to predict")?.columns();
    let rows = table.rows_with_all(&targets)?;
    if rows.is_empty() {
        bail!("{}: no row has a {}", path.display(), targets.join(" and a "));
    }
    Ok(Box::new(plan.apply(&table, &rows)?))
}

/// Everything that a frame's rows and their preparation follow from.
fn origin(path: &Path, settings: &Settings, seed: u64) -> Result<Value> {
    let place = || path.display().to_string();
    let about = fs::metadata(path).with_context(place)?;
    let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let sum = kiln_files::file_checksum(path).with_context(place)?;
    let Settings { target, task, target_scale, order, ignore, columns, embed, numbers, .. } = settings;
    let is_from_before = settings.resume.is_some() && numbers.is_none();
    let numbers = (!is_from_before).then(|| numbers.as_deref().unwrap_or(NUMBERS));
    let interval = settings.interval.map(|share| share.0);
    let mut origin = json!({
        "source": fs::canonicalize(path).with_context(place)?,
        "bytes": about.len(),
        "changed": changed.map(|since| since.as_secs_f64()),
        "content": format!("{sum:016x}"),
        "target": target, "task": task, "target-scale": target_scale, "order": order, "interval": interval, "ignore": ignore, "columns": columns, "embed": embed, "numbers": numbers,
        "seed": seed,
        "shares": shares(settings, 0.1),
    });
    for (name, said) in READING.iter().zip(ReadingFlags::of(settings).said()) {
        origin[*name] = json!(said);
    }
    Ok(origin)
}

/// Why a frame can't be used for this origin: none where it can, no reason where there is no frame yet.
fn stale(frame: &Path, origin: &Value) -> Result<Option<Option<String>>> {
    if !frame.exists() {
        return Ok(Some(None));
    }
    let mut start = Vec::new();
    fs::File::open(frame)
        .and_then(|file| file.take(4).read_to_end(&mut start))
        .with_context(|| frame.display().to_string())?;
    if !start.is_empty() && start != *b"\x89KDF" {
        bail!("{}: this is no frame, and would be lost; choose another name for --frame", frame.display());
    }
    let why = match Frame::open(frame) {
        Err(error) => Some(format!("it can't be used ({error})")),
        Ok(frame) => match frame.origin() {
            None => Some("it doesn't say what it was made of".to_string()),
            Some(then) => difference(then, origin),
        },
    };
    Ok(why.map(Some))
}

/// What rows follow from that differs. Where the source lies and when it was changed is for people to read: its content decides.
fn difference(then: &Value, now: &Value) -> Option<String> {
    if then["content"] != now["content"] {
        return Some(match then["source"] == now["source"] {
            true => "the table has changed since".to_string(),
            false => format!("it was made of {}", then["source"].as_str().unwrap_or("another table")),
        });
    }
    let shown = |value: &Value| match value {
        Value::Null => "not said".to_string(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    // What an older frame doesn't know of wasn't said then.
    let own = [
        "target",
        "task",
        "target-scale",
        "order",
        "interval",
        "ignore",
        "columns",
        "embed",
        "numbers",
        "seed",
        "shares",
    ];
    let mut known = own.iter().chain(&READING);
    let name = known.find(|name| then[**name] != now[**name])?;
    Some(format!("its {name} was {}, and is {} now", shown(&then[*name]), shown(&now[*name])))
}

/// The rows of a frame that was made before.
pub(super) fn frame(path: &Path, settings: &Settings, seed: u64) -> Result<TrainingData> {
    let shares = shares(settings, 0.1);
    of_frame(Frame::open(path)?, path, (shares, &FrameParts::ByNumber { shares, seed }), settings)
}

fn of_frame(
    frame: Frame,
    path: &Path,
    (shares, part_of): ([f64; 3], &FrameParts),
    settings: &Settings,
) -> Result<TrainingData> {
    let mut said = vec![format!("a frame of {}", counted(frame.len(), "row"))];
    let plan = frame.preparation().context("the frame doesn't say how its rows were made")?.clone();
    let (task, found) = task_of(&plan)?;
    said.push(found);
    said.extend(plan.notes().iter().cloned());
    let mut parts = vec![Vec::new(); 3];
    (0..frame.len()).for_each(|row| parts[part_of.of_row(row as u64)].push(row));
    let names = ["training", "validation", "test"].into_iter().zip(&parts).zip(shares);
    if let Some(((name, _), _)) = names.into_iter().find(|((_, part), share)| part.is_empty() && *share > 0.0)
    {
        bail!("{}: no row is left for the {name} part", path.display());
    }
    let frame = std::sync::Arc::new(frame);
    let mut parts = parts.into_iter().map(|rows| Box::new(frame.clone().subset(rows)) as Box<dyn Dataset>);
    let mut next = || parts.next().context("there are three parts");
    let (train, mut valid, mut test) = (next()?, next()?, next()?);
    let own = [(&settings.val, &mut valid, "validate"), (&settings.test, &mut test, "test")];
    for (file, part, to) in own {
        let Some(file) = file else { continue };
        *part = other(file, &plan, settings)?;
        said.push(format!("{} of {} to {to} with", counted(part.len(), "row"), file.display()));
    }
    said.push(counts(&*train, &*valid, &*test));
    let habits = Habits { epochs: 10, batch_size: 256, early_stop: 0, ..TABLES };
    Ok(TrainingData {
        ties: if let FrameParts::Known(_) = part_of { Ties::Unknown } else { Ties::Free },
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        front: front(&plan),
        preparation: plan.clone().into(),
        shows: Shows::Columns(Box::new(plan)),
        habits,
    })
}
