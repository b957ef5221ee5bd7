//! Selections of candidates that cost nothing: what is chosen, what a fault does, and that a journal and a record repeat it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use kiln_data::{Dataset, Form, Set, folds};
use kiln_nn::{Data, Module, Param, Sequential, Tensor};
use kiln_testkit::Folder;

use super::{Candidate, Job, Selected, Selection};
use crate::model::Task;
use crate::prelude::*;
use crate::{Error, Result};

/// Rows of two numbers, whose first is the answer.
fn rows() -> Set {
    let mut rng = kiln_data::Rng::new(4);
    let x: Vec<f32> = (0..200).map(|_| rng.normal() as f32).collect();
    let y = x.iter().step_by(2).copied().collect();
    Set::numbers(x, Form::numbers(&[2]), y, 1).unwrap()
}

/// A dense layer with these weights, which every fit counts.
struct Fixed<'c> {
    name: &'static str,
    weights: [f32; 2],
    fits: &'c Cell<usize>,
    refits: bool,
}

impl Candidate for Fixed<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn fit(&self, job: &Job) -> Result<Sequential> {
        self.fits.set(self.fits.get() + 1);
        let layers = Sequential::new().dense(1);
        layers.build([1, job.train.x().width()])?;
        let set = |param: &Param, numbers: Vec<f32>| {
            param.set(&Tensor::new(numbers.clone(), param.shape().clone()))
        };
        let parameters = layers.parameters();
        set(&parameters[0].1, self.weights.to_vec())?;
        set(&parameters[1].1, vec![0.0])?;
        Ok(layers)
    }

    fn refits(&self) -> bool {
        self.refits
    }
}

/// One that fails in its way.
struct Faulty(&'static str);

impl Candidate for Faulty {
    fn name(&self) -> &str {
        self.0
    }

    fn fit(&self, job: &Job) -> Result<Sequential> {
        match self.0 {
            "error" => Err(Error::Training("no memory is left".to_string())),
            "panic" => panic!("on purpose"),
            "nan" => {
                let zero = Cell::new(0);
                let weights = [f32::NAN, 0.0];
                Fixed { name: "nan", weights, fits: &zero, refits: false }.fit(job)
            }
            _ => Ok("dense 3".parse()?),
        }
    }
}

fn selection<'s>(fits: &'s Cell<usize>) -> Selection<'s> {
    let fixed = |name, weights, refits| Fixed { name, weights, fits, refits };
    Selection::new(Task::of(&rows()))
        .candidate(fixed("off", [1.0, 0.5], false))
        .candidate(fixed("right", [1.0, 0.0], true))
        .candidate(fixed("far", [0.0, 0.0], false))
        .folds(folds(100, None, 4, 1).unwrap())
}

fn kept(selected: &Selected) -> Vec<Data> {
    let parameters = selected.layers.parameters();
    let all = parameters.iter().map(|(_, param)| param.value().unwrap());
    all.chain(selected.layers.states().iter().map(|(_, state)| state.read().unwrap())).collect()
}

#[test]
fn the_best_is_chosen_and_faults_end_nothing() {
    let fits = Cell::new(0);
    let mut selection = selection(&fits);
    for name in ["error", "panic", "nan", "width"] {
        selection = selection.candidate(Faulty(name));
    }
    let selected = selection.run(&rows()).unwrap();
    let board = &selected.board;
    let names: Vec<&str> = board.standings.iter().map(|standing| standing.name.as_str()).collect();
    assert_eq!(names[..3], ["right", "off", "far"], "{board}");
    assert_eq!((board.standings[0].share, board.standings[0].score, board.folds), (1.0, Some(0.0), 4));
    for (name, why) in
        [("error", "no memory"), ("panic", "on purpose"), ("nan", "no finite"), ("width", "1 are asked")]
    {
        let failed = board.of(name).unwrap().failed.clone().unwrap();
        assert!(failed.contains(why), "{failed}");
    }
    // Each fold once, and the best once more on all rows.
    assert_eq!((fits.get(), selected.layers.to_text().unwrap().as_str()), (3 * 4 + 1, "dense 1"));
    assert!(selected.said[0].contains("right") && board.to_string().contains("means over 4 folds"));
    let nothing =
        Selection::new(Task::of(&rows())).candidate(Faulty("error")).folds(folds(100, None, 2, 1).unwrap());
    let error = nothing.run(&rows()).err().unwrap().to_string();
    assert!(error.contains("error: no memory is left"), "{error}");
}

#[test]
fn opposite_errors_are_blended_to_one_model() {
    let fits = Cell::new(0);
    let fixed = |name, weights| Fixed { name, weights, fits: &fits, refits: false };
    let selected = Selection::new(Task::of(&rows()))
        .candidate(fixed("above", [1.0, 0.6]))
        .candidate(fixed("below", [1.0, -0.6]))
        .folds(folds(100, None, 5, 1).unwrap())
        .run(&rows())
        .unwrap();
    let text = selected.layers.to_text().unwrap();
    assert!(text.starts_with("blend(dense 1; dense 1;") && text.matches("dense").count() == 10, "{text}");
    assert_eq!(selected.board.standings[0].name, "blend");
    let set = rows();
    let said = crate::trainer::predict(&selected.layers, &set, 16).unwrap();
    let off = said
        .outputs()
        .iter()
        .enumerate()
        .map(|(row, said)| (said - set.gather(&[row]).unwrap().y.get(0).unwrap() as f32).abs());
    assert!(off.fold(0.0, f32::max) < 1e-5);
}

#[test]
fn a_journal_and_a_record_give_the_same_bits_and_fit_nothing_twice() {
    let folder = Folder::new("selection");
    let (journal, fits) = (folder.at("fits"), Cell::new(0));
    let first = selection(&fits).journal(&journal).run(&rows()).unwrap();
    let done = fits.get();
    let again = selection(&fits).journal(&journal).run(&rows()).unwrap();
    assert_eq!((fits.get(), kept(&first)), (done, kept(&again)));
    assert_eq!(first.records, again.records);
    // A line that was cut, a model that is gone: those fits alone are done again.
    let list = journal.join("journal.jsonl");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, &text[..text.len() - 5]).unwrap();
    std::fs::remove_file(journal.join("far-2.kiln")).unwrap();
    let mended = selection(&fits).journal(&journal).run(&rows()).unwrap();
    assert_eq!((fits.get(), kept(&mended)), (done + 2, kept(&first)));
    let repeated = selection(&fits).repeat(first.records.clone()).run(&rows()).unwrap();
    assert_eq!((fits.get(), kept(&repeated)), (2 * done + 2, kept(&first)));
    // Other rows, or other folds, are another selection.
    let other = selection(&fits).folds(folds(100, None, 3, 1).unwrap()).journal(&journal).run(&rows());
    assert!(other.err().unwrap().to_string().contains("other rows, folds or candidates"));
}

/// A network that trains for a long time, unless a clock ends it.
struct Slow;

impl Candidate for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn fit(&self, job: &Job) -> Result<Sequential> {
        let model = Sequential::new().seed(job.seed).dense(8).relu().dense(1);
        let mut trainer =
            Trainer::new(model, Mse::new(), Adam::new(0.01)).epochs(1_000_000).seed(job.seed).quiet();
        trainer = trainer.schedule_over(crate::schedule::Cosine::new);
        if let Some(limit) = job.time_limit() {
            trainer = trainer.callback(limit);
        }
        Ok(trainer.fit(&job.train)?.into_model())
    }
}

#[test]
fn what_a_clock_decided_is_decided_again_bit_for_bit() {
    let selection =
        || Selection::new(Task::of(&rows())).candidate(Slow).folds(folds(100, None, 3, 1).unwrap());
    let began = Instant::now();
    let first = selection().limit(Some(Duration::from_millis(900))).run(&rows()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(first.records.iter().any(|record| !record.decided.is_empty()), "{:?}", first.records);
    let text = serde_json::to_string(&first.records).unwrap();
    let again = selection().repeat(serde_json::from_str(&text).unwrap()).run(&rows()).unwrap();
    assert_eq!(kept(&again), kept(&first));
    let decided = |selected: &Selected| {
        selected.records.iter().map(|record| record.decided.clone()).collect::<Vec<_>>()
    };
    assert_eq!(decided(&again), decided(&first));
}
