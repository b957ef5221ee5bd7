//! From what is known of a column's training rows to how it becomes inputs, or why it doesn't.

use super::choices::{Choices, Impute, Treatment};
use super::column::ColumnKind;
use super::feature::{DatePart, Encoding, Feature, Scale, Vocabulary};
use super::summary::{ColumnSummary, DATE_PARTS, SummarisedColumn};
use super::words::{are_texts, known_words};
use crate::error::{Error, Result};
use kiln_map::counted;

/// Whether a column counts the rows, so that nothing is to be learned from it.
fn is_count(column: &SummarisedColumn, choices: &Choices) -> bool {
    let is_told = choices.treatments.iter().any(|(name, _)| *name == column.name);
    !is_told && (column.unnamed || column.summary.counts_rows())
}

/// Whether a column's name says that its numbers are no amounts.
fn names_codes(name: &str) -> bool {
    let ends = ["id", "ids", "code", "zip", "zipcode", "postcode", "plz", "sku"];
    let last = name.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    ends.iter().any(|end| last.eq_ignore_ascii_case(end)) || last.ends_with("Id") || last.ends_with("ID")
}

/// A column's inputs; nothing where it has none to give. What was noticed is added to the notes. A count of rows is left out unless
/// it is to be taken too.
pub(super) fn fit_column(
    column: &SummarisedColumn,
    choices: &Choices,
    with_counts: bool,
    notes: &mut Vec<String>,
) -> Result<Option<Feature>> {
    let SummarisedColumn { name, kind, summary, unnamed, format } = column;
    let (name, kind) = (name.as_str(), *kind);
    if is_count(column, choices) && !with_counts {
        let why = if *unnamed { "has no name in the file, as an index has" } else { "counts the rows" };
        notes.push(format!("column {name} {why}; it is left out (--columns \"{name}: as-is\" takes it)"));
        return Ok(None);
    }
    let told = choices.treatments.iter().find(|(column, _)| column == name).map(|(_, treatment)| *treatment);
    let named = names_codes(name) && summary.are_many_codes();
    let many = named || summary.behave_as_codes();
    let is_plain = kind == ColumnKind::Number
        && matches!(choices.numbers, Treatment::Standardise | Treatment::SmoothClip);
    if many && is_plain && told.is_none() {
        let why = match named {
            true => "is named as codes are, and its numbers come again and again",
            false => {
                "has whole numbers beside which the target differs, and between neighbours as much as between any two, as codes do"
            }
        };
        notes.push(format!(
            "column {name} {why}: they count as words (--columns \"{name}: standardise\" takes amounts)"
        ));
    }
    let treatment = told.unwrap_or(match kind {
        ColumnKind::Number if is_plain && (many || summary.are_codes()) => of_words(summary, choices),
        ColumnKind::Number => choices.numbers,
        ColumnKind::Category if is_free_text(summary) => {
            notes.push(format!(
                "column {name} is free text: its most frequent words are inputs, 1 where a text has them (--columns \"{name}: drop\" leaves it out)"
            ));
            Treatment::Text
        }
        ColumnKind::Category | ColumnKind::Boolean => of_words(summary, choices),
        ColumnKind::Date => Treatment::Calendar,
    });
    if treatment == Treatment::Drop {
        return Ok(None);
    }
    if summary.present() == 0 {
        notes.push(format!("column {name} has no value in the training rows; it is left out"));
        return Ok(None);
    }
    use Treatment::*;
    let fits = match kind {
        ColumnKind::Number => !matches!(treatment, Calendar | Cycles | Text),
        ColumnKind::Category | ColumnKind::Boolean => matches!(treatment, OneHot | Codes | Text),
        ColumnKind::Date => matches!(treatment, Calendar | Cycles),
    };
    if !fits {
        return Err(Error::new(format!(
            "{treatment:?} doesn't suit a column of kind {kind}; treat it otherwise, or read it as another kind"
        ))
        .in_column(name));
    }
    let flag = summary.missing > 0;
    let encoding = match treatment {
        OneHot | Codes => words(name, summary, choices, treatment, told.is_some(), notes)?,
        Text => texts(name, summary, notes),
        Calendar | Cycles => dates(summary, treatment == Cycles, flag),
        _ => Some(number(name, summary, choices, treatment, flag)?),
    };
    let constant = match treatment {
        OneHot | Codes | Text => false,
        Calendar | Cycles => encoding.is_none(),
        _ => summary.least == summary.most && !flag,
    };
    if constant {
        notes.push(format!("column {name} is the same in all training rows; it is left out"));
        return Ok(None);
    }
    // What the training rows show, whatever words other rows have: `true` and `false` are also written 1 and 0 later.
    let truths = summary.words.keys().all(|word| word == "true" || word == "false");
    let kind = match kind {
        ColumnKind::Category | ColumnKind::Boolean if truths => ColumnKind::Boolean,
        ColumnKind::Boolean => ColumnKind::Category,
        other => other,
    };
    let format = format.clone();
    Ok(encoding.map(|encoding| Feature { column: name.to_string(), kind, encoding, format }))
}

/// How words become inputs of which nothing is said.
fn of_words(summary: &ColumnSummary, choices: &Choices) -> Treatment {
    let many = summary.counts().is_some_and(|counts| counts.len() > choices.one_hot);
    // Where each comes once or twice, none is known well enough.
    if many && !hardly_again(summary) { Treatment::Codes } else { Treatment::OneHot }
}

fn number(
    name: &str,
    summary: &ColumnSummary,
    choices: &Choices,
    treatment: Treatment,
    flag: bool,
) -> Result<Encoding> {
    let (shift, spread) = match treatment {
        Treatment::MinMax => (summary.least, summary.most - summary.least),
        Treatment::Robust | Treatment::SmoothClip => {
            let [low, middle, high] = summary.quantiles([0.25, 0.5, 0.75]);
            // Where half of all are the same the quartiles say nothing of how far the others lie.
            (middle, if high > low { high - low } else { summary.numbers.deviation() })
        }
        Treatment::Log => (summary.logs.mean, summary.logs.deviation()),
        Treatment::AsIs => (0.0, 1.0),
        _ => (summary.numbers.mean, summary.numbers.deviation()),
    };
    let factor = if spread > 0.0 { 1.0 / spread } else { 1.0 };
    let fill = match choices.impute {
        Impute::Mean => summary.numbers.mean,
        Impute::Median => summary.quantiles([0.5])[0],
    };
    if ![shift, spread, factor, fill].iter().all(|number| number.is_finite()) {
        let (least, most) = (summary.least, summary.most);
        return Err(Error::new(format!(
            "numbers from {least:e} to {most:e} have no spread to be scaled by; take their logarithm or drop them"
        ))
        .in_column(name));
    }
    let (log, clip) = (treatment == Treatment::Log, treatment == Treatment::SmoothClip);
    Ok(Encoding::Number { scale: Scale { log, shift, factor, clip }, fill, flag })
}

fn words(
    name: &str,
    summary: &ColumnSummary,
    choices: &Choices,
    treatment: Treatment,
    told: bool,
    notes: &mut Vec<String>,
) -> Result<Option<Encoding>> {
    let Some(counts) = summary.counts() else {
        let message =
            "the numbers have more than 1,000 different values, too many for words; treat them as amounts";
        return Err(Error::new(message).in_column(name));
    };
    let (all, present, missing) = (counts.len(), summary.present(), summary.missing > 0);
    if all < 2 && !missing {
        notes.push(format!("column {name} is the same in all training rows; it is left out"));
        return Ok(None);
    }
    if !told && hardly_again(summary) {
        notes.push(format!(
            "column {name} has {all} different words in {}, as an identifier has; it is left out",
            counted(present as usize, "row")
        ));
        return Ok(None);
    }
    let mut kept: Vec<(usize, String, u64)> =
        counts.into_iter().enumerate().map(|(at, (word, count))| (at, word, count)).collect();
    kept.retain(|(_, _, count)| *count >= choices.rare);
    if treatment == Treatment::OneHot && kept.len() > choices.most {
        kept.sort_by_key(|(at, _, count)| (std::cmp::Reverse(*count), *at));
        kept.truncate(choices.most);
        kept.sort_by_key(|(at, _, _)| *at);
        let most = choices.most;
        notes.push(format!(
            "column {name} has {all} different words; the {most} most frequent have inputs of their own"
        ));
    }
    let other = kept.len() < all;
    let words: Vec<String> = kept.iter().map(|(_, word, _)| word.clone()).collect();
    if treatment == Treatment::Codes {
        return Ok(Some(Encoding::Codes { vocabulary: Vocabulary { words, other: true, missing } }));
    }
    if words.is_empty() && !missing {
        let rare = choices.rare;
        notes.push(format!("column {name} has no word that comes in {rare} training rows; it is left out"));
        return Ok(None);
    }
    if let ([(_, first, _), (_, second, count)], false) = (kept.as_slice(), other) {
        let share = *count as f64 / present as f64;
        return Ok(Some(Encoding::Pair { words: [first.clone(), second.clone()], share, flag: missing }));
    }
    Ok(Some(Encoding::OneHot { vocabulary: Vocabulary { words, other, missing } }))
}

/// Whether words hardly come again, as those of an identifier or of free text.
fn hardly_again(summary: &ColumnSummary) -> bool {
    let all = summary.words.len();
    all > 100 && 2 * all as u64 > summary.present()
}

fn is_free_text(summary: &ColumnSummary) -> bool {
    hardly_again(summary) && are_texts(&summary.words) && !known_words(&summary.words).is_empty()
}

fn texts(name: &str, summary: &ColumnSummary, notes: &mut Vec<String>) -> Option<Encoding> {
    let words = known_words(&summary.words);
    if words.is_empty() {
        notes.push(format!(
            "column {name} has no word that some of its texts have and others haven't; it is left out"
        ));
        return None;
    }
    Some(Encoding::Text { words })
}

fn dates(summary: &ColumnSummary, cycles: bool, flag: bool) -> Option<Encoding> {
    let part = |part: usize| {
        let moments = summary.dates.get(part)?;
        let deviation = moments.deviation();
        let cycle = cycles && part > 0;
        // A part that is always the same says nothing.
        (deviation > 0.0).then_some(DatePart { part, mean: moments.mean, deviation, cycle })
    };
    let parts: Vec<DatePart> = (0..DATE_PARTS.len()).filter_map(part).collect();
    (!parts.is_empty() || flag).then_some(Encoding::Date { parts, flag })
}
