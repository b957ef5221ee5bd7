//! Many trainings: folds, searches, and the one that looks for a rate.

use kiln::trainer::cross_validate;
use kiln::trainer::search::Search;

use super::*;

#[test]
fn folds_hold_every_row_out_once() {
    let set = data::moons(90, 0.15, 1);
    let mut held = Vec::new();
    let folds = cross_validate(&set, 3, 5, |fold| {
        held.extend_from_slice(fold.held.rows());
        let model = Sequential::new().dense(16).relu().dense(2);
        Trainer::new(model, CrossEntropy::new(), Adam::new(0.03)).epochs(20).metrics(["accuracy"]).quiet()
    })
    .unwrap();
    held.sort_unstable();
    assert_eq!(held, Vec::from_iter(0..90));
    assert!(folds.mean("accuracy").unwrap() > 0.8, "{folds}");
    assert!(folds.deviation("loss").unwrap() >= 0.0);
    assert_eq!(folds.to_string().lines().count(), 6);
}

#[test]
fn a_search_ranks_goes_on_from_its_journal_and_survives_failures() {
    let folder = Folder::new("search");
    let journal = folder.at("trials.jsonl");
    let mut ran = 0;
    let mut search = |stop_after: usize| {
        Search::grid().numbers("x", [3.0, 1.0, 2.0, -1.0]).words("kind", ["a", "b"]).journal(&journal).run(
            |trial| {
                if ran == stop_after {
                    return Err(kiln::Error::Training("no more today".to_string()));
                }
                ran += 1;
                match trial.number("x") {
                    x if x < 0.0 => Err(kiln::Error::Training("below zero".to_string())),
                    x => Ok(x + if trial.word("kind") == "b" { 0.5 } else { 0.0 }),
                }
            },
        )
    };
    let ranking = search(usize::MAX).unwrap();
    assert_eq!(
        ranking.best().map(|trial| (trial.number("x"), trial.word("kind").to_string())),
        Some((1.0, "a".into()))
    );
    let table = ranking.to_string();
    assert!(table.lines().next().unwrap().contains("rank") && table.contains("below zero"), "{table}");
    assert_eq!(ranking.outcomes().len(), 8);
    // Nothing is left to run.
    let again = search(0).unwrap();
    assert_eq!(again.to_string(), table);
    assert_eq!(ran, 8);
    let nothing = Search::grid().run(|_| Ok(0.0)).unwrap_err().to_string();
    assert!(nothing.contains("something to choose"));
    let range = Search::grid().between("x", 0.0, 1.0).run(|_| Ok(0.0)).unwrap_err().to_string();
    assert!(range.contains("no grid"), "{range}");
}

#[test]
fn a_halving_gives_the_better_trials_more_epochs() {
    let mut budgets = Vec::new();
    let ranking = Search::halving(9, 4, 2)
        .magnitude("rate", 1e-5, 1e-1)
        .run(|trial| {
            budgets.push(trial.epochs(0));
            Ok((trial.number("rate").ln() - 1e-3f64.ln()).abs())
        })
        .unwrap();
    assert_eq!(budgets, [2, 2, 2, 2, 2, 2, 2, 2, 2, 6, 6, 6, 18]);
    let scores: Vec<f64> = ranking.outcomes().iter().map(|outcome| outcome.score).collect();
    assert_eq!(scores.len(), 9);
    assert!(scores.windows(2).all(|pair| pair[0] <= pair[1]), "{ranking}");
}

#[test]
fn trials_that_fall_behind_are_pruned() {
    let (train, valid) = data::moons(200, 0.1, 1).split(0.7);
    let mut epochs = Vec::new();
    Search::grid()
        .numbers("rate", [0.03, 0.02, 0.05, 1e-7])
        .run(|trial| {
            let model = Sequential::new().dense(16).relu().dense(2);
            let trainer =
                Trainer::new(model, CrossEntropy::new(), Adam::new(trial.number("rate"))).epochs(10);
            let run = trainer.validate(&valid).callback(trial.prune("val_loss")).quiet().fit(&train)?;
            epochs.push(run.history().len());
            Ok(run.history().best("val_loss", false).map_or(f64::NAN, |(_, loss)| loss))
        })
        .unwrap();
    assert_eq!(epochs[..3], [10, 10, 10]);
    assert_eq!(epochs[3], 2);
}

#[test]
fn looking_for_a_rate_leaves_the_weights_alone() {
    let set = data::moons(200, 0.1, 1);
    let model = Sequential::new().seed(5).dense(16).relu().dense(2);
    model.build([1, 2]).unwrap();
    let before = weights(&model);
    let trainer = Trainer::new(&model, CrossEntropy::new(), Adam::new(1e-3)).quiet();
    let found = trainer.find_rate(&set, kiln::schedule::RateFinder::new(1e-6, 10.0, 60)).unwrap();
    assert!(found.curve().len() > 20 && found.suggestion().is_some());
    assert_eq!(weights(&model), before);
}
