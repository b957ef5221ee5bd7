//! The fits of a selection, one after the other, and what follows from them.

use std::time::{Duration, Instant};

use kiln_data::{Dataset, Subset};
use kiln_map::counted;
use kiln_nn::sequential::Blended;
use kiln_nn::{Layer, Sequential};

use super::attempt::attempt;
use super::board::{Leaderboard, Standing};
use super::candidate::JobClock;
use super::clock::{ALL, TimeAllowance};
use super::journal::{FitJournal, FitRecord, about};
use super::score::{SelectionScore, TaskScore, averaged, blended, outputs_of};
use super::weights::{HeldPiece, JudgedPieces, Verdict};
use super::{FoldRows, HeldOut, Selected, Selection, SelectionProgress, WatchSelection};
use crate::model::About;
use crate::terminal::Interrupt;
use crate::trainer::predict;
use crate::{Error, Result};

/// A model, and what it says of the rows that its fold holds out.
struct FoldFit {
    layers: Sequential,
    /// What is averaged: `[rows, outputs]`.
    said: Vec<f32>,
    seconds: f64,
    was_cut: bool,
}

/// What is known of a candidate.
struct Tried {
    by_fold: Vec<Option<FoldFit>>,
    seconds: f64,
    failed: Option<String>,
}

/// A selection under way.
pub(super) struct Fits<'f, 's> {
    selection: &'f Selection<'s>,
    rows: &'f dyn Dataset,
    about: About,
    of: Blended,
    loss: Option<TaskScore>,
    tried: Vec<Tried>,
    records: Vec<FitRecord>,
    journal: Option<FitJournal>,
    watch: Option<WatchSelection<'s>>,
    interrupt: Interrupt,
    signal: Option<i32>,
}

/// Rows that are judged at a time.
const BATCH: usize = 1024;

/// Rows on which weights are sought at most.
const JUDGED: usize = 50_000;

/// A selection of fewer folds than these is judged on parts of what they hold out, so many in all.
const FOLDS: usize = 3;
const PIECES: usize = 6;

impl<'f, 's> Fits<'f, 's> {
    pub(super) fn new(
        selection: &'f Selection<'s>,
        rows: &'f dyn Dataset,
        journal: Option<FitJournal>,
        watch: Option<WatchSelection<'s>>,
    ) -> Result<Fits<'f, 's>> {
        let blank =
            |_| Tried { by_fold: selection.folds.iter().map(|_| None).collect(), seconds: 0.0, failed: None };
        let loss = match selection.figure {
            Some(_) => None,
            None => Some(TaskScore::new(&selection.task, rows)?),
        };
        Ok(Fits {
            about: about(rows, &selection.task),
            of: blended(&selection.task)?,
            loss,
            tried: selection.candidates.iter().map(blank).collect(),
            records: Vec::new(),
            selection,
            rows,
            journal,
            watch,
            interrupt: Interrupt::listen(),
            signal: None,
        })
    }

    fn score(&self) -> &dyn SelectionScore {
        match (&self.selection.figure, &self.loss) {
            (Some(figure), _) => &*figure.score,
            (None, Some(loss)) => loss,
            (None, None) => &|_: &[f32], _: &[usize]| f64::NAN,
        }
    }

    pub(super) fn run(mut self) -> Result<Selected> {
        match &self.selection.repeated {
            Some(records) => self.again(records)?,
            None => self.anew()?,
        }
        self.answer()
    }

    /// The fits that were done before, each as it was.
    fn again(&mut self, records: &[FitRecord]) -> Result<()> {
        for record in records.iter().filter(|record| record.fold.is_some()) {
            if self.signal.is_some() {
                return Ok(());
            }
            let place = self.place(&record.candidate)?;
            match &record.failed {
                Some(why) => {
                    self.tried[place].failed = Some(why.clone());
                    self.records.push(record.clone());
                }
                None => {
                    self.fit(place, record.fold, JobClock::Repeat(record.clone()))?;
                }
            }
        }
        Ok(())
    }

    fn place(&self, name: &str) -> Result<usize> {
        let place = self.selection.candidates.iter().position(|candidate| candidate.name() == name);
        place.ok_or_else(|| Error::Training(format!("there is no candidate {name} to repeat")))
    }

    /// Fold by fold, all candidates before the next.
    fn anew(&mut self) -> Result<()> {
        let spent = self
            .journal
            .as_ref()
            .map_or(0.0, |journal| journal.records.iter().map(|record| record.seconds).sum());
        let limit = self.selection.limit;
        // A selection that goes on has time for something in any case.
        let most = limit.map_or(spent, |limit| spent.min(0.9 * limit.as_secs_f64()));
        let budget = TimeAllowance::new(limit, Duration::from_secs_f64(most));
        let folds = self.selection.folds.len();
        for fold in 0..folds {
            let alive: Vec<usize> =
                (0..self.tried.len()).filter(|&at| self.tried[at].failed.is_none()).collect();
            let is_known = |at: &usize| self.is_kept(*at, fold);
            if fold > 0 && !alive.iter().all(is_known) {
                let of_last = |at: &usize| self.tried[*at].longest();
                let again = |at: &&usize| self.selection.candidates[**at].refits();
                let refits: f64 = alive.iter().filter(again).map(of_last).sum();
                if !budget.has(alive.iter().map(of_last).sum(), ALL * refits) {
                    self.tell(SelectionProgress::Enough(fold, folds));
                    return Ok(());
                }
            }
            for (turn, &at) in alive.iter().enumerate() {
                let clock = match self.tried[at].by_fold.iter().flatten().next() {
                    Some(before) => budget.later(before.seconds, before.was_cut),
                    None => budget.first(alive.len() - turn),
                };
                self.fit(at, Some(fold), clock)?;
                if self.signal.is_some() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn is_kept(&self, at: usize, fold: usize) -> bool {
        let name = self.selection.candidates[at].name();
        let records = self.journal.iter().flat_map(|journal| &journal.records);
        records.into_iter().any(|record| record.candidate == name && record.fold == Some(fold))
    }

    fn tell(&mut self, progress: SelectionProgress) {
        if let Some(watch) = &mut self.watch {
            watch(progress);
        }
    }

    /// Fits a candidate to a fold, or to all rows, unless that is kept already. The model of all rows is given back.
    fn fit(&mut self, at: usize, fold: Option<usize>, clock: JobClock) -> Result<Option<Sequential>> {
        let selection = self.selection;
        let candidate = &*selection.candidates[at];
        let all: FoldRows;
        let (train, held) = match fold {
            Some(fold) => selection
                .folds
                .get(fold)
                .ok_or_else(|| Error::Training(format!("there is no fold {} to repeat", fold + 1)))?,
            None => {
                all = (self.rows_of_all(), Vec::new());
                &all
            }
        };
        if let Some(kept) = self.kept(candidate.name(), fold) {
            return self.put(at, fold, held, kept);
        }
        self.tell(SelectionProgress::Begins(candidate.name(), fold, selection.folds.len()));
        let (record, layers) = attempt(candidate, self.rows, (train, held), fold, selection.seed, clock);
        let heard = self.interrupt.asked();
        if let Some(signal) = record.1.or(heard) {
            self.signal = Some(signal);
            return Ok(None);
        }
        self.put(at, fold, held, (record.0, layers))
    }

    fn rows_of_all(&self) -> Vec<usize> {
        (0..self.rows.len()).collect()
    }

    /// What the journal keeps of a fit.
    fn kept(&self, name: &str, fold: Option<usize>) -> Option<(FitRecord, Option<Sequential>)> {
        let journal = self.journal.as_ref()?;
        let record = journal.records.iter().find(|record| record.candidate == name && record.fold == fold)?;
        match record.failed {
            Some(_) => Some((record.clone(), None)),
            None => Some((record.clone(), Some(journal.model(name, fold)?))),
        }
    }

    /// Takes a fit that is over: asks its model of the rows that were held out, keeps it, and tells.
    fn put(
        &mut self,
        at: usize,
        fold: Option<usize>,
        held: &[usize],
        (mut record, layers): (FitRecord, Option<Sequential>),
    ) -> Result<Option<Sequential>> {
        let mut score = None;
        let mut fitted = None;
        if let Some(layers) = &layers
            && fold.is_some()
        {
            match self.said(layers, held) {
                Ok((outputs, said)) => {
                    score = Some(self.score().of(&outputs, held)).map(|score| self.shown(score));
                    fitted = Some(said);
                }
                Err(error) => record.failed = Some(error.to_string()),
            }
        }
        let is_new = self.kept(&record.candidate, fold).is_none();
        if let Some(journal) = self.journal.as_mut().filter(|_| is_new) {
            let layers = layers.as_ref().filter(|_| record.failed.is_none());
            journal.keep(&record, layers, &self.about)?;
        }
        self.tell(SelectionProgress::Ends(&record, score));
        self.tried[at].seconds += record.seconds;
        if record.failed.is_some() && fold.is_some() {
            self.tried[at].failed = record.failed.clone();
        }
        let (seconds, was_cut) = (record.seconds, !record.decided.is_empty());
        let is_sound = record.failed.is_none();
        self.records.push(record);
        match (layers, fold, fitted) {
            (Some(layers), Some(fold), Some(said)) if is_sound => {
                self.tried[at].by_fold[fold] = Some(FoldFit { layers, said, seconds, was_cut });
                Ok(None)
            }
            (layers, ..) => Ok(layers.filter(|_| is_sound)),
        }
    }

    /// The outputs of a model for rows, and what is averaged of them.
    fn said(&self, layers: &Sequential, rows: &[usize]) -> Result<(Vec<f32>, Vec<f32>)> {
        let set = Subset::new(self.rows, rows.to_vec());
        let outputs = predict(layers as &dyn Layer, &set, BATCH)?.outputs().to_vec();
        let width = self.selection.task.outputs();
        if outputs.len() != rows.len() * width {
            let given = outputs.len() / rows.len().max(1);
            let given = counted(given, "number");
            return Err(Error::Training(format!("it gives {given} a row, and {width} are asked for")));
        }
        if outputs.iter().any(|output| !output.is_finite()) {
            return Err(Error::Training("what it says of some row is no finite number".to_string()));
        }
        let mut said = outputs.clone();
        averaged(&mut said, width, &self.of);
        Ok((outputs, said))
    }

    /// A score as people see it.
    fn shown(&self, score: f64) -> f64 {
        match &self.selection.figure {
            Some(figure) if figure.larger_is_better => -score,
            _ => score,
        }
    }

    /// The candidates that can be compared, and the folds on which all of them can.
    fn comparable(&self) -> (Vec<usize>, Vec<usize>) {
        let is_tried = |at: &usize| {
            self.tried[*at].failed.is_none() && self.tried[*at].by_fold.iter().any(Option::is_some)
        };
        let models: Vec<usize> = (0..self.tried.len()).filter(is_tried).collect();
        let is_whole = |fold: &usize| models.iter().all(|&at| self.tried[at].by_fold[*fold].is_some());
        let folds = (0..self.selection.folds.len()).filter(is_whole).collect();
        (models, folds)
    }

    /// Parts of the rows that were held out, with what each of these candidates says of them: a fold each or, of few folds, parts of them.
    fn pieces(&self, models: &[usize], folds: &[usize]) -> Vec<HeldPiece> {
        let width = self.selection.task.outputs();
        let parts = if folds.len() >= FOLDS { 1 } else { PIECES / folds.len().max(1) };
        let all: usize = folds.iter().map(|&fold| self.selection.folds[fold].1.len()).sum();
        let stride = (all * width).div_ceil(8 * JUDGED).max(1);
        let mut pieces = Vec::with_capacity(folds.len() * parts);
        for &fold in folds {
            let held = &self.selection.folds[fold].1;
            // Each part has a row where there are as many.
            let parts = parts.min(held.len() / stride.min(held.len().max(1))).max(1);
            for part in 0..parts {
                let places: Vec<usize> = (0..held.len()).step_by(stride).skip(part).step_by(parts).collect();
                let said = |&at: &usize| {
                    let fitted = self.tried[at].by_fold[fold].as_ref();
                    let said = fitted.map_or(&[][..], |fitted| &fitted.said);
                    places.iter().flat_map(|place| said[place * width..][..width].iter().copied()).collect()
                };
                let said = models.iter().map(said).collect();
                pieces.push(HeldPiece { rows: places.iter().map(|&place| held[place]).collect(), said });
            }
        }
        pieces
    }

    /// Compares, and puts the answer together.
    fn answer(mut self) -> Result<Selected> {
        let (models, folds) = self.comparable();
        if models.is_empty() || folds.is_empty() {
            return Err(self.nothing());
        }
        let width = self.selection.task.outputs();
        let judged =
            JudgedPieces { pieces: self.pieces(&models, &folds), width, of: &self.of, score: self.score() };
        let verdict = judged.weights();
        let single = |model: usize| {
            (0..models.len()).map(|other| f64::from(u8::from(other == model))).collect::<Vec<_>>()
        };
        let each = |model: usize| {
            let weights = single(model);
            judged.pieces.iter().map(|piece| self.shown(judged.on(piece, &weights))).collect::<Vec<f64>>()
        };
        let scores: Vec<Vec<f64>> = (0..models.len()).map(each).collect();
        let blend = verdict.blend.as_ref().map(|each| each.iter().map(|score| self.shown(*score)).collect());
        let mut said = vec![verdict.told(&models.iter().map(|&at| self.name(at)).collect::<Vec<_>>())];
        let held = self.held(&verdict, &models, &folds);
        let parts = self.parts(&verdict, &models, &mut said)?;
        let board = self.board(&verdict, &models, scores, blend, folds.len());
        let layers = match parts.len() {
            1 => parts.into_iter().next().map(|(layers, _)| layers).unwrap_or_default(),
            _ => {
                let (rows, weights): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                Sequential::new().blend(rows, &weights, self.of.clone())
            }
        };
        Ok(Selected { layers, board, held, said, records: self.records, interrupted: self.signal })
    }

    /// What the answer says of the rows that were held out, by the models that didn't learn from them.
    fn held(&self, verdict: &Verdict, models: &[usize], folds: &[usize]) -> HeldOut {
        let width = self.selection.task.outputs();
        let mut held = HeldOut { rows: Vec::new(), outputs: Vec::new() };
        for &fold in folds {
            let rows = &self.selection.folds[fold].1;
            let mut mean = vec![0f64; rows.len() * width];
            for (&at, weight) in models.iter().zip(&verdict.weights).filter(|(_, weight)| **weight > 0.0) {
                let said = self.tried[at].by_fold[fold].as_ref().map_or(&[][..], |fitted| &fitted.said);
                mean.iter_mut().zip(said).for_each(|(mean, own)| *mean += weight * f64::from(*own));
            }
            let mut mean: Vec<f32> = mean.into_iter().map(|value| value as f32).collect();
            outputs_of(&mut mean, width, &self.of);
            held.rows.extend_from_slice(rows);
            held.outputs.append(&mut mean);
        }
        held
    }

    fn nothing(&self) -> Error {
        let why = self.selection.candidates.iter().zip(&self.tried);
        let why = why.filter_map(|(candidate, tried)| {
            Some(format!("{}: {}", candidate.name(), tried.failed.as_ref()?))
        });
        let why: Vec<String> = why.collect();
        match self.signal {
            Some(_) => Error::Training("interrupted before any model was fitted".to_string()),
            None => Error::Training(format!("no candidate came to a model: {}", why.join("; "))),
        }
    }

    fn name(&self, at: usize) -> &'f str {
        self.selection.candidates[at].name()
    }

    /// The models of the answer and their weights: of each candidate one that is fitted to all rows, or those of its folds.
    fn parts(
        &mut self,
        verdict: &Verdict,
        models: &[usize],
        said: &mut Vec<String>,
    ) -> Result<Vec<(Sequential, f64)>> {
        let mut parts = Vec::new();
        for (&at, &weight) in models.iter().zip(&verdict.weights).filter(|(_, weight)| **weight > 0.0) {
            if let Some(layers) = self.on_all(at)? {
                said.push(format!("{} is fitted once more, to all rows", self.name(at)));
                parts.push((layers, weight));
                continue;
            }
            let fitted: Vec<FoldFit> = self.tried[at].by_fold.iter_mut().filter_map(Option::take).collect();
            let count = fitted.len();
            // In the order of time the last fold has learned from nearly all.
            let left_out = if self.selection.is_ordered { count.saturating_sub(1) } else { 0 };
            let fitted = fitted.into_iter().skip(left_out);
            let count = fitted.len();
            if count > 1 {
                said.push(format!(
                    "{} is the mean of the models of its {}",
                    self.name(at),
                    counted(count, "fold")
                ));
            }
            parts.extend(fitted.map(|one| (one.layers, weight / count as f64)));
        }
        Ok(parts)
    }

    /// A candidate on all rows, where it is one to be fitted so and there is time.
    fn on_all(&mut self, at: usize) -> Result<Option<Sequential>> {
        if !self.selection.candidates[at].refits() || self.signal.is_some() {
            return Ok(None);
        }
        let clock = match &self.selection.repeated {
            Some(records) => {
                let name = self.name(at);
                let of_all = |record: &&FitRecord| {
                    record.candidate == name && record.fold.is_none() && record.failed.is_none()
                };
                let Some(record) = records.iter().find(of_all) else { return Ok(None) };
                JobClock::Repeat(record.clone())
            }
            None => {
                let long = ALL * self.tried[at].longest();
                match self.selection.limit {
                    None => JobClock::Free,
                    Some(limit) => {
                        JobClock::Until(Instant::now() + Duration::from_secs_f64(2.0 * long + 0.1), limit)
                    }
                }
            }
        };
        self.fit(at, None, clock)
    }

    fn board(
        &self,
        verdict: &Verdict,
        models: &[usize],
        scores: Vec<Vec<f64>>,
        blend: Option<Vec<f64>>,
        folds: usize,
    ) -> Leaderboard {
        let mut standings = Vec::new();
        for ((&at, each), &weight) in models.iter().zip(scores).zip(&verdict.weights) {
            let standing = Standing::new(self.name(at), each, self.tried[at].seconds);
            standings.push(Standing { share: weight, ..standing });
        }
        if let Some(each) = blend {
            standings.push(Standing::new("blend", each, 0.0));
        }
        for (at, tried) in self.tried.iter().enumerate().filter(|(at, _)| !models.contains(at)) {
            let failed = tried.failed.clone().unwrap_or_else(|| "there was no time for it".to_string());
            let standing = Standing::new(self.name(at), Vec::new(), tried.seconds);
            standings.push(Standing { failed: Some(failed), ..standing });
        }
        let (figure, larger) = match &self.selection.figure {
            Some(figure) => (figure.name.as_str(), figure.larger_is_better),
            None => ("loss", false),
        };
        Leaderboard::new(figure, larger, folds, standings)
    }
}

impl Tried {
    /// The longest of its fits.
    fn longest(&self) -> f64 {
        self.by_fold.iter().flatten().map(|fitted| fitted.seconds).fold(0.0, f64::max)
    }
}
