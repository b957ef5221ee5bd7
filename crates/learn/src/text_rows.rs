//! Texts side by side: rows of codes of a few lengths, padded at their ends, and the programs for them. Each gets what it would alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use kiln_nn::Compiled;

use crate::Result;

/// Numbers of rows that programs are compiled for.
const ROWS: [usize; 3] = [1, 8, 32];

/// The shortest rows that programs are compiled for; others are twice as long, and so on, up to what a model sees.
const SHORTEST: usize = 16;

/// A text as codes.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodedText {
    pub codes: Vec<u32>,
    /// Of which of two texts each is.
    pub types: Vec<u32>,
}

/// Texts as rows of one length.
pub(crate) struct TextRows {
    pub rows: usize,
    pub steps: usize,
    pub codes: Vec<i64>,
    pub types: Vec<i64>,
    /// 1 for each code, 0 for padding.
    pub mask: Vec<i64>,
}

/// Runs texts of up to `window` codes, those of like length together; `see` gets a text's place and what was computed for its row.
pub(crate) fn each_text(
    texts: &[CodedText],
    window: usize,
    padding: i64,
    mut run: impl FnMut(&TextRows) -> Result<Vec<f32>>,
    mut see: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&text| texts[text].codes.len());
    let mut left = order.as_slice();
    while !left.is_empty() {
        let rows = rows_for(left.len());
        let (group, rest) = left.split_at(rows.min(left.len()));
        left = rest;
        let longest = group.iter().map(|&text| texts[text].codes.len()).max().unwrap_or(0);
        let rows = TextRows::of(texts, group, rows, steps_for(longest, window), padding);
        let found = run(&rows)?;
        let width = found.len() / rows.rows.max(1);
        group.iter().zip(found.chunks(width.max(1))).for_each(|(&text, row)| see(text, row));
    }
    Ok(())
}

/// How many rows go through at once where so many are left.
fn rows_for(left: usize) -> usize {
    let fits = |rows: &&usize| left > **rows / 2 || **rows == 1;
    ROWS.iter().rev().find(fits).copied().unwrap_or(1)
}

/// The length of rows in which so many codes have room.
fn steps_for(longest: usize, window: usize) -> usize {
    let mut steps = SHORTEST;
    while steps < longest {
        steps *= 2;
    }
    steps.min(window).max(1)
}

impl TextRows {
    /// All of some texts at once.
    pub(crate) fn all(texts: &[CodedText], window: usize, padding: i64) -> TextRows {
        let longest = texts.iter().map(|text| text.codes.len()).max().unwrap_or(0);
        let group: Vec<usize> = (0..texts.len()).collect();
        TextRows::of(texts, &group, texts.len(), steps_for(longest, window), padding)
    }

    /// The same rows, so long.
    pub(crate) fn widened(&self, steps: usize, padding: i64) -> TextRows {
        let wide = |numbers: &[i64], with: i64| {
            let more = std::iter::repeat_n(with, steps.saturating_sub(self.steps));
            numbers
                .chunks(self.steps.max(1))
                .flat_map(|row| row.iter().copied().chain(more.clone()))
                .collect()
        };
        TextRows {
            rows: self.rows,
            steps,
            codes: wide(&self.codes, padding),
            types: wide(&self.types, 0),
            mask: wide(&self.mask, 0),
        }
    }

    /// A group of texts, filled up to so many rows with copies of the last, for which nothing can go wrong that doesn't for itself.
    fn of(texts: &[CodedText], group: &[usize], rows: usize, steps: usize, padding: i64) -> TextRows {
        let mut all = TextRows { rows, steps, codes: Vec::new(), types: Vec::new(), mask: Vec::new() };
        let last = group.last().into_iter().cycle();
        for &text in group.iter().chain(last).take(rows) {
            let CodedText { codes, types } = &texts[text];
            let filled = |numbers: &[u32], with: i64| {
                let own: Vec<i64> = numbers.iter().map(|&number| i64::from(number)).collect();
                own.into_iter().chain(std::iter::repeat(with)).take(steps).collect::<Vec<_>>()
            };
            all.codes.extend(filled(codes, padding));
            all.types.extend(filled(types, 0));
            all.mask.extend(filled(&vec![1; codes.len()], 0));
        }
        all
    }
}

/// What a program for rows of texts is of: which result, how many rows, how long.
type ProgramKey = (&'static str, usize, usize);

/// Programs for rows of texts, each compiled when it is first needed.
#[derive(Default)]
pub(crate) struct TextPrograms(Mutex<HashMap<ProgramKey, Compiled>>);

impl TextPrograms {
    /// The program for these rows that gives `what`.
    pub(crate) fn get(
        &self,
        what: &'static str,
        rows: &TextRows,
        compile: impl FnOnce() -> Result<Compiled>,
    ) -> Result<Compiled> {
        let mut programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (what, rows.rows, rows.steps);
        if let Some(program) = programs.get(&key) {
            return Ok(program.clone());
        }
        let program = compile()?;
        programs.insert(key, program.clone());
        Ok(program)
    }
}

impl fmt::Debug for TextPrograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextPrograms").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_seen_once_in_a_row_that_it_fits_in() {
        for count in [0, 1, 2, 4, 5, 9, 16, 17, 40, 70] {
            let text = |at: usize| CodedText {
                codes: (0..(at * 7) % 40 + 1).map(|code| code as u32).collect(),
                types: vec![1; (at * 7) % 40 + 1],
            };
            let texts: Vec<CodedText> = (0..count).map(text).collect();
            let mut seen = vec![0; count];
            let run = |rows: &TextRows| {
                assert!(ROWS.contains(&rows.rows) && [16, 32, 40].contains(&rows.steps));
                let sum = |row: &[i64]| row.iter().sum::<i64>() as f32;
                Ok(rows.mask.chunks(rows.steps).map(sum).collect())
            };
            let see = |text: usize, row: &[f32]| {
                assert_eq!(row, [texts[text].codes.len() as f32]);
                seen[text] += 1;
            };
            each_text(&texts, 40, 0, run, see).unwrap();
            assert_eq!(seen, vec![1; count]);
        }
    }
}
