//! What comes next after each of several texts: a step of sequences that a cache keeps, where layers allow it, else the last window again.

use kiln_nn::{Cache, DType, Function, Input, TimeAxis};

use super::speaker::{Speaker, WholeWindow, logits};
use crate::Result;

/// Pieces that are taken in at once, the most first, of which each count has a program.
const STEPS: [usize; 3] = [64, 8, 1];

/// The logits of what comes next after texts that grow.
pub(super) enum Next<'p> {
    Cached(CachedTexts<'p>),
    Windows(WholeWindow<'p>, usize),
}

/// Texts whose pieces went through the layers, which keep what they need of them.
pub(super) struct CachedTexts<'p> {
    cache: Cache,
    go_on: Function<'p, 1>,
    texts: Vec<CachedText>,
    pieces_axis: usize,
}

/// What the cache has of a text.
#[derive(Clone, Default)]
struct CachedText {
    codes: Vec<u32>,
    /// How many of the first ones were left out, of a text that is longer than a model that counts places can see.
    skipped: usize,
}

impl<'p> Next<'p> {
    /// For so many texts, which become no longer than so many pieces: no more is kept than there will be.
    pub(super) fn new(speaker: &Speaker<'p>, rows: usize, most: usize) -> Next<'p> {
        let whole = || Next::Windows(WholeWindow::new(speaker), speaker.window);
        let time = speaker.layers.time_axis(TimeAxis { axis: 1, rank: 2 });
        if !time.is_ok_and(|time| time == TimeAxis { axis: 3 - speaker.pieces_axis, rank: 3 }) {
            return whole();
        }
        let cache = Cache::new(rows, speaker.window.min(most.max(1)));
        let mut go_on = Function::cached(speaker.layers, &cache, |layers, context, [x]| {
            layers.forward(&x, context).cast(DType::F32)
        });
        // Traced once, so that it is known whether layers count places, and whether they can go on at all.
        if go_on.graph([Input::new(&vec![0i64; rows], &[rows, 1])]).is_err() {
            return whole();
        }
        let texts = vec![CachedText::default(); rows];
        Next::Cached(CachedTexts { cache, go_on, texts, pieces_axis: speaker.pieces_axis })
    }

    /// The logits after the texts in these rows, in their order. A text is one that was there before with more pieces, or another one.
    pub(super) fn after(&mut self, codes: &[Vec<u32>], rows: &[usize]) -> Result<Vec<Vec<f64>>> {
        match self {
            Next::Cached(texts) => texts.after(codes, rows),
            Next::Windows(whole, window) => {
                let seen = |row: &usize| &codes[*row][codes[*row].len().saturating_sub(*window)..];
                rows.iter().map(|row| Ok(whole.after_each(seen(row))?.pop().unwrap_or_default())).collect()
            }
        }
    }
}

impl CachedTexts<'_> {
    fn after(&mut self, codes: &[Vec<u32>], rows: &[usize]) -> Result<Vec<Vec<f64>>> {
        self.take_places(codes, rows)?;
        let mut found = vec![Vec::new(); rows.len()];
        let missing = |text: &CachedText, row: usize| codes[row].len() - text.skipped - text.codes.len();
        loop {
            let most = rows.iter().map(|&row| missing(&self.texts[row], row)).max().unwrap_or(0);
            let Some(&steps) = STEPS.iter().find(|&&steps| steps <= most.min(self.cache.capacity())) else {
                return Ok(found);
            };
            let mut active = vec![false; self.texts.len()];
            let mut input = vec![0i64; self.texts.len() * steps];
            for &row in rows {
                let text = &mut self.texts[row];
                if missing(text, row) < steps {
                    continue;
                }
                active[row] = true;
                let from = text.skipped + text.codes.len();
                let taken = &codes[row][from..from + steps];
                text.codes.extend(taken);
                let places = &mut input[row * steps..(row + 1) * steps];
                places.iter_mut().zip(taken).for_each(|(place, &code)| *place = i64::from(code));
            }
            self.cache.activate(&active)?;
            let said = self.go_on.run([Input::new(&input, &[self.texts.len(), steps])])?;
            let said = said.first().and_then(|said| said.as_slice::<f32>()).unwrap_or_default();
            let width = said.len() / self.texts.len().max(1);
            for (found, &row) in found.iter_mut().zip(rows) {
                if active[row] && missing(&self.texts[row], row) == 0 {
                    let own = &said[row * width..(row + 1) * width];
                    *found = logits(own, steps, steps - 1, self.pieces_axis);
                }
            }
        }
    }

    /// Each text goes on where one that it begins with is, else it begins anew.
    fn take_places(&mut self, codes: &[Vec<u32>], rows: &[usize]) -> Result<()> {
        let begins = |text: &CachedText, codes: &[u32]| {
            let rest = codes.get(text.skipped..).unwrap_or_default();
            text.codes.len() < rest.len() && rest.starts_with(&text.codes)
        };
        let mut from: Vec<Option<usize>> = (0..self.texts.len()).map(Some).collect();
        let mut texts = self.texts.clone();
        for &row in rows {
            let all = &codes[row];
            let found = std::iter::once(row)
                .chain(0..self.texts.len())
                .find(|&other| begins(&self.texts[other], all));
            let goes_on = |text: &CachedText| {
                let fits = !self.cache.is_bounded() || all.len() - text.skipped <= self.cache.capacity();
                fits && !text.codes.is_empty()
            };
            from[row] = found.filter(|&other| goes_on(&self.texts[other]));
            texts[row] = match from[row] {
                Some(other) => self.texts[other].clone(),
                None => CachedText { codes: Vec::new(), skipped: self.skipped(all.len()) },
            };
        }
        self.texts = texts;
        Ok(self.cache.reorder(&from)?)
    }

    /// How many of the first pieces of a text that begins anew are left out: none of one that there is room for, else all but what fills
    /// half of the room.
    fn skipped(&self, length: usize) -> usize {
        let capacity = self.cache.capacity();
        if length <= capacity || !self.cache.is_bounded() { 0 } else { length - capacity.div_ceil(2) }
    }
}
