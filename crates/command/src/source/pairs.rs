//! Pairs of texts in two columns of a table, of which the second is written when the first was read.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use kiln_learn::Preparation;
use kiln_learn::data::{ColumnKind, Cut, Dataset, fractions};
use kiln_learn::model::Task;
use kiln_learn::preparation::{PairPreparation, PairRows};
use kiln_learn::presets::Suits;

use super::text::{TEXTS, called, is_padded, tokens};
use super::{Habits, Ties, TrainingData, counts, name_of, shares};
use crate::base::Base;
use crate::out::counted;
use crate::reading::ReadingFlags;
use crate::report::Shows;
use crate::settings::Settings;

const PAIRS: Habits = Habits { preset: "gru", batch_size: 16, epochs: 30, early_stop: 5, ..TEXTS };

/// More pieces of a pair than this are seen at once only where it is said.
const WINDOW: usize = 256;

/// A table of pairs.
pub(super) fn pairs(
    path: &Path,
    piped: Option<&[u8]>,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let (Some(source), Some(target)) = (&settings.text, &settings.target) else {
        bail!("--pairs needs --text, the column that is read, and --target, the column that is written");
    };
    let reading = match base.map(|base| base.preparation()) {
        Some(Preparation::Pairs(pairs)) => pairs.reading(),
        // Texts are what stands there, whatever it looks like.
        _ => ReadingFlags::of(settings).reading()?.others(ColumnKind::Category),
    };
    let table = match piped {
        Some(bytes) => reading.read(bytes)?,
        None => reading.open(path)?,
    };
    let parts = fractions(table.len(), &shares(settings, 0.1), seed)?;
    let texts = |column: &str| -> Result<Vec<String>> {
        let column = table.column(column)?;
        Ok((0..table.len()).map(|row| column.cell(row).text().unwrap_or_default().into_owned()).collect())
    };
    let all: Vec<[String; 2]> = texts(source)?.into_iter().zip(texts(target)?).map(|(a, b)| [a, b]).collect();
    let part = |at: usize| parts.get(at).into_iter().flatten().filter_map(|&row| all.get(row));
    let preparation = match base.map(|base| (base.preparation(), base)) {
        Some((Preparation::Pairs(pairs), _)) => {
            PairPreparation { source: source.clone(), target: target.clone(), ..pairs.clone() }
        }
        Some((_, base)) => bail!("{}, and {} has pairs of texts", base.takes(), path.display()),
        None => {
            let text: String = part(0).flatten().map(|text| text.clone() + "\n").collect();
            let tokens =
                tokens(&text, settings, Cut::Characters).with_context(|| path.display().to_string())?;
            let padded = is_padded(settings, Suits::Pairs, PAIRS.preset, &tokens)?;
            let own = PairPreparation::new(tokens, 1, source, target);
            let longest = all.iter().map(|[source, target]| own.length(source, target)).max().unwrap_or(1);
            let window = settings.window.map_or(longest.clamp(1, WINDOW), |window| window.0);
            PairPreparation { window, padded, file: table.file_format().clone(), ..own }
        }
    };
    let (mut said, mut left_out) = (table.notes().to_vec(), 0);
    let mut rows = |at: usize| -> Result<Box<dyn Dataset>> {
        let PairRows { set, left_out: more } =
            preparation.labelled(part(at)).with_context(|| path.display().to_string())?;
        left_out += more;
        Ok(Box::new(set))
    };
    let (train, valid, test) = (rows(0)?, rows(1)?, rows(2)?);
    said.push(format!(
        "{} of texts: {source} is read, {target} is written; {} of {}, up to {} of both",
        counted(all.len() - left_out, "pair"),
        called(&preparation.tokens),
        counted(preparation.tokens.count(), "kind"),
        preparation.window
    ));
    if left_out > 0 {
        said.push(format!(
            "{} longer than {} left out; --window sees more at once",
            counted(left_out, "pair"),
            counted(preparation.window, "piece")
        ));
    }
    said.push(counts(&*train, &*valid, &*test));
    Ok(TrainingData {
        ties: Ties::Free,
        name: name_of(path),
        said,
        task: Task::Text { pieces: preparation.count() },
        train,
        valid,
        test,
        preparation: preparation.into(),
        front: String::new(),
        shows: Shows::Nothing,
        habits: PAIRS,
    })
}
