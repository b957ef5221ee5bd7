//! Metrics against scikit-learn's (`values.jsonl`, made by `make.py`), in one batch and in several that are merged.

use kiln_nn::metrics::{
    Average, BinaryScores, ClassScores, Confusion, EntityScores, Figure, History, Metric, Numbers, Seen,
    Targets, are_of_entities, entities,
};
use serde_json::{Value, json};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn labels(value: &Value) -> Vec<i64> {
    numbers(value).into_iter().map(|x| x as i64).collect()
}

/// The figure by its name in the file, whatever kind of case it is.
fn of_classes(c: &Confusion, figure: &str) -> f64 {
    let (what, how) = figure.split_once(' ').unwrap_or((figure, ""));
    let average = match how {
        "macro" => Average::Macro,
        "micro" => Average::Micro,
        "weighted" => Average::Weighted,
        _ => Average::Binary(1),
    };
    match what {
        "accuracy" => c.accuracy(),
        "balanced" => c.balanced_accuracy(),
        "matthews" => c.matthews(),
        "kappa" => c.kappa(),
        "precision" => c.precision(average),
        "recall" => c.recall(average),
        "f1" => c.f1(average),
        "f2" => c.f_beta(2.0, average),
        "specificity" => c.specificity(average),
        other => panic!("{other}"),
    }
}

fn assert_figures(case: &Value, found: impl Fn(&str) -> f64) {
    for (figure, expected) in case["figures"].as_object().unwrap() {
        let found = found(figure);
        let what = format!("{figure} of {}", case["name"]);
        match expected.as_f64() {
            None => assert!(found.is_nan(), "{what} is {found}, not NaN"),
            Some(expected) => {
                assert!(
                    (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
                    "{what}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn every_figure_is_scikit_learn_s_however_batches_are_cut() {
    let mut checked = 0;
    for line in include_str!("values.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        checked += 1;
        match case["kind"].as_str().unwrap() {
            "classes" => {
                let (truth, predicted) = (labels(&case["truth"]), labels(&case["predicted"]));
                let count = case["count"].as_u64().unwrap() as usize;
                let mut whole = Confusion::new(count);
                whole.add(&truth, &predicted).unwrap();
                assert_figures(&case, |figure| of_classes(&whole, figure));
                let matrix = (0..count).flat_map(|t| (0..count).map(move |p| (t, p)));
                let found: Vec<f64> = matrix.map(|(t, p)| whole.count(t, p) as f64).collect();
                assert_eq!(found, numbers(&case["matrix"]));
                let mut parts = Confusion::new(count);
                for (truth, predicted) in truth.chunks(3).zip(predicted.chunks(3)).rev() {
                    let mut part = Confusion::new(count);
                    part.add(truth, predicted).unwrap();
                    parts.merge(&part).unwrap();
                }
                assert_eq!(parts, whole);
            }
            "binary" => {
                let positive: Vec<bool> = labels(&case["truth"]).iter().map(|&label| label == 1).collect();
                let scores = numbers(&case["scores"]);
                let mut merged = BinaryScores::default();
                for (scores, positive) in scores.chunks(7).zip(positive.chunks(7)).rev() {
                    let mut part = BinaryScores::default();
                    part.add(scores, positive).unwrap();
                    merged.merge(&part);
                }
                assert_figures(&case, |figure| match figure {
                    "roc" => merged.roc_auc(),
                    "pr" => merged.average_precision(),
                    "log_loss" => merged.log_loss(),
                    "brier" => merged.brier(),
                    other => panic!("{other}"),
                });
            }
            "several" => {
                let count = case["count"].as_u64().unwrap() as usize;
                let (truth, p) = (labels(&case["truth"]), numbers(&case["p"]));
                let mut merged = ClassScores::new(count);
                for (p, truth) in p.chunks(8 * count).zip(truth.chunks(8)) {
                    let mut part = ClassScores::new(count);
                    part.add(p, truth).unwrap();
                    merged.merge(&part);
                }
                assert_figures(&case, |figure| match figure {
                    "roc macro" => merged.roc_auc(false),
                    "roc weighted" => merged.roc_auc(true),
                    "log_loss" => merged.log_loss(),
                    "top 1" => merged.top_k(1),
                    "top 2" => merged.top_k(2),
                    other => panic!("{other}"),
                });
            }
            _ => {
                let (truth, predicted) = (numbers(&case["truth"]), numbers(&case["predicted"]));
                let mut merged = Numbers::default();
                for (predicted, truth) in predicted.chunks(4).zip(truth.chunks(4)).rev() {
                    let mut part = Numbers::default();
                    part.add(predicted, truth).unwrap();
                    merged.merge(&part);
                }
                assert_figures(&case, |figure| match figure {
                    "mse" => merged.mse(),
                    "rmse" => merged.rmse(),
                    "mae" => merged.mae(),
                    "mape" => merged.mape(),
                    "r2" => merged.r2(),
                    "explained" => merged.explained_variance(),
                    "pearson" => merged.pearson(),
                    other => panic!("{other}"),
                });
            }
        }
    }
    assert!(checked >= 24);
}

#[test]
fn calibration_is_the_distance_of_confidence_from_truth() {
    let mut scores = BinaryScores::default();
    // Two in the bin around 0.25, one of them positive; two around 0.95, both positive.
    scores.add(&[0.25, 0.25, 0.95, 0.95], &[true, false, true, true]).unwrap();
    let expected = (2.0 * (0.25f64 - 0.5).abs() + 2.0 * (0.95f64 - 1.0).abs()) / 4.0;
    assert!((scores.calibration_error(10) - expected).abs() < 1e-12);
    let mut classes = ClassScores::new(3);
    classes.add(&[0.7, 0.2, 0.1, 0.1, 0.1, 0.8], &[0, 0]).unwrap();
    assert!((classes.calibration_error(10) - (0.3 + 0.8) / 2.0).abs() < 1e-12);
    assert!(BinaryScores::default().calibration_error(10).is_nan());
}

#[test]
fn metrics_by_name_take_logits() {
    let logits = [2.0f32, 1.0, 0.0, 0.5, 3.0, 0.0, 0.0, 0.1, 0.2, 1.0, 1.0, 1.0];
    let seen = Seen { outputs: &logits, width: 3, targets: Targets::Classes(&[0, 1, 0, 0]) };
    let value = |name: &str| {
        let mut metric: Figure = name.parse().unwrap();
        metric.update(&seen).unwrap();
        let mut again: Figure = name.parse().unwrap();
        again.merge(&metric).unwrap();
        assert!(again.value() == metric.value() || metric.value().is_nan(), "{name}");
        metric.value()
    };
    assert_eq!(value("accuracy"), 0.75); // of equal logits the first
    assert_eq!(value("top-2"), 0.75);
    assert_eq!(value("top-3"), 1.0);
    assert_eq!(value("recall weighted"), 0.75);
    assert_eq!(value("type-ii-error binary"), 0.0);
    assert!((value("perplexity").ln() - value("log-loss")).abs() < 1e-12);
    // One logit is the positive class'.
    let seen = Seen { outputs: &[2.0, -1.0, 0.5], width: 1, targets: Targets::Classes(&[1, 0, 0]) };
    let mut accuracy: Figure = "accuracy".parse().unwrap();
    accuracy.update(&seen).unwrap();
    assert!((accuracy.value() - 2.0 / 3.0).abs() < 1e-12);
    let mut auc: Figure = "roc-auc".parse().unwrap();
    auc.update(&seen).unwrap();
    assert_eq!(auc.value(), 1.0);
    let mut r2: Figure = "r2".parse().unwrap();
    r2.update(&Seen { outputs: &[1.0, 2.0], width: 1, targets: Targets::Numbers(&[1.0, 2.0]) }).unwrap();
    assert_eq!(r2.value(), 1.0);
    r2.reset();
    assert!(r2.value().is_nan() && r2.larger_is_better());
}

#[test]
fn mistakes_are_errors_and_leave_the_counts_alone() {
    let mut confusion = Confusion::new(2);
    confusion.add(&[0, 1], &[0, 1]).unwrap();
    let before = confusion.clone();
    assert!(
        confusion.add(&[0, 2], &[0, 1]).unwrap_err().to_string().contains("label 2 is none of the 2 classes")
    );
    assert!(confusion.add(&[0], &[0, 1]).unwrap_err().to_string().contains("1 labels for 2 predictions"));
    assert!(confusion.merge(&Confusion::new(3)).is_err());
    assert_eq!(confusion, before);
    assert!(Confusion::new(2).accuracy().is_nan() && Confusion::new(2).f1(Average::Macro).is_nan());
    assert!(BinaryScores::default().add(&[f64::NAN], &[true]).is_err());
    for (name, part) in [
        ("acuracy", "did you mean accuracy?"),
        ("f1 makro", "averages are macro"),
        ("mse macro", "means nothing here"),
        ("nonsense-of-some-length", "there are accuracy"),
    ] {
        let error = name.parse::<Figure>().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mut accuracy: Figure = "accuracy".parse().unwrap();
    let wrong = Seen { outputs: &[0.0; 4], width: 2, targets: Targets::Numbers(&[0.0; 2]) };
    assert!(accuracy.update(&wrong).unwrap_err().to_string().contains("numbers, not classes"));
}

#[test]
fn tables_are_aligned() {
    let mut confusion = Confusion::new(3);
    confusion.add(&[0, 1, 2, 2, 1], &[0, 2, 2, 2, 1]).unwrap();
    let table = confusion.to_string();
    assert!(
        table.lines().all(|line| line.chars().count() == table.lines().next().unwrap().chars().count()),
        "{table}"
    );
    let report = confusion.report(&["ant", "bee"]);
    assert!(report.contains("ant") && report.contains("0.8000"), "{report}");
    assert_eq!(confusion.predicted(), [1, 1, 3]);
    let mut history = History::default();
    history.record(&[("loss", 1.0)]);
    history.record(&[("loss", 0.5), ("accuracy", 0.7)]);
    assert_eq!(history.best("loss", false), Some((1, 0.5)));
    assert!(history.series("accuracy").unwrap()[0].is_nan());
    assert_eq!(history.to_string().lines().count(), 3);
}

/// As many classes as a model has outputs, of which few occur.
#[test]
fn figures_of_many_classes_take_no_more_room_than_what_is_seen() {
    const WIDTH: usize = 65_536;
    let rows = [(3usize, 3i64), (3, 70), (70, 70), (WIDTH - 1, 3), (3, 3)];
    let small = |class: i64| [3, 70, WIDTH as i64 - 1].iter().position(|known| *known == class).unwrap();
    for name in [
        "accuracy",
        "f1 macro",
        "f1 weighted",
        "recall micro",
        "matthews",
        "kappa",
        "balanced-accuracy",
        "top-1",
        "log-loss",
        "perplexity",
    ] {
        let mut wide: Figure = name.parse().unwrap();
        let mut narrow: Figure = name.parse().unwrap();
        for (predicted, label) in rows {
            let mut outputs = vec![-200f32; WIDTH];
            let mut few = vec![-200f32; 3];
            (outputs[predicted], few[small(predicted as i64)]) = (2.0, 2.0);
            wide.update(&Seen { outputs: &outputs, width: WIDTH, targets: Targets::Classes(&[label]) })
                .unwrap();
            let label = small(label) as i64;
            narrow.update(&Seen { outputs: &few, width: 3, targets: Targets::Classes(&[label]) }).unwrap();
        }
        assert!(
            (wide.value() - narrow.value()).abs() < 1e-9,
            "{name}: {} and {}",
            wide.value(),
            narrow.value()
        );
        let state = wide.state();
        assert!(state.len() < 20, "{name} keeps {} numbers", state.len());
        let mut again: Figure = name.parse().unwrap();
        again.restore(&state).unwrap();
        again.merge(&wide).unwrap();
        assert!((again.value() - wide.value()).abs() < 1e-9, "{name}");
    }
}

#[test]
fn counts_of_classes_there_are_not_are_not_read_back() {
    let mut metric: Figure = "accuracy".parse().unwrap();
    let classes = 3.0;
    metric.restore(&[6.0, classes, 2.0, 1.0, 5.0]).unwrap();
    // As the first version wrote it: all pairs.
    let mut table: Figure = "accuracy".parse().unwrap();
    table.restore(&[1.0, classes, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0]).unwrap();
    assert_eq!(table.state(), metric.state());
    for broken in [
        &[6.0][..],
        &[6.0, 3.0, 2.0, 1.0],
        &[6.0, 3.0, 3.0, 1.0, 5.0],
        &[6.0, 3.0, -1.0, 1.0, 5.0],
        &[1.0, 2.0, 5.0],
    ] {
        assert!(metric.restore(broken).is_err(), "{broken:?}");
    }
}

fn classes<'a>(outputs: &'a [f32], width: usize, labels: &'a [i64]) -> Seen<'a> {
    Seen { outputs, width, targets: Targets::Classes(labels) }
}

const OF_CLASSES: [&str; 6] = ["accuracy", "roc-auc", "brier", "log-loss", "top-2", "perplexity"];

#[test]
fn a_batch_of_no_rows_changes_nothing() {
    for name in OF_CLASSES {
        let mut metric: Figure = name.parse().unwrap();
        metric.update(&classes(&[], 3, &[])).unwrap();
        assert!(metric.value().is_nan(), "{name}");
        metric.update(&classes(&[2.0, 1.0, 0.0, 0.0, 1.0, 3.0], 3, &[0, 1])).unwrap();
        let before = metric.state();
        // Of how many outputs none are isn't always known.
        for width in [3, 0, 7] {
            metric.update(&classes(&[], width, &[])).unwrap();
        }
        assert_eq!(metric.state(), before, "{name}");
    }
}

#[test]
fn outputs_of_another_width_than_was_gathered_are_an_error_that_names_both() {
    let (three, two) = ([2f32, 1.0, 0.0, 0.0, 1.0, 3.0], [1f32, 0.0, 0.5, 2.0]);
    for name in OF_CLASSES {
        let mut metric: Figure = name.parse().unwrap();
        // One that fails decides nothing.
        assert!(metric.update(&classes(&two, 2, &[0, 9])).is_err(), "{name}");
        let mut narrow = metric.clone();
        metric.update(&classes(&three, 3, &[0, 1])).unwrap();
        narrow.update(&classes(&two, 2, &[0, 1])).unwrap();
        // One logit is of two classes as well.
        narrow.update(&classes(&[0.5, -0.5], 1, &[0, 1])).unwrap();
        for (metric, other, before, now) in [
            (&metric, classes(&two, 2, &[0, 1]), "3 classes", "are 2"),
            (&narrow, classes(&three, 3, &[0, 1]), "2 classes", "are 3"),
        ] {
            let mut metric = metric.clone();
            let state = metric.state();
            let mut again: Figure = name.parse().unwrap();
            again.restore(&state).unwrap();
            for metric in [&mut metric, &mut again] {
                let error = metric.update(&other).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains(before) && error.contains(now), "{error}");
                assert_eq!(metric.state(), state, "{name}");
            }
            metric.reset();
            metric.update(&other).unwrap();
        }
        assert!(metric.merge(&narrow).is_err(), "{name}");
    }
}

#[test]
fn what_another_kind_of_figure_had_seen_is_not_read_back() {
    let seen = classes(&[2.0, 1.0, 0.0, 0.0, 1.0, 3.0], 3, &[0, 1]);
    let kinds = ["accuracy", "roc-auc", "top-2", "mse"];
    let states = kinds.map(|name| {
        let mut metric: Figure = name.parse().unwrap();
        match name {
            "mse" => {
                metric.update(&Seen { outputs: &[1.0], width: 1, targets: Targets::Numbers(&[2.0]) }).unwrap()
            }
            _ => metric.update(&seen).unwrap(),
        }
        metric.state()
    });
    for (own, name) in kinds.iter().enumerate() {
        for (other, state) in states.iter().enumerate() {
            let mut metric: Figure = name.parse().unwrap();
            metric.restore(&states[own]).unwrap();
            let restored = metric.restore(state);
            assert_eq!(restored.is_ok(), own == other, "{name} from {}", kinds[other]);
            if let Err(error) = restored {
                assert!(error.to_string().contains(name), "{error}");
            }
            assert_eq!(metric.state(), states[own]);
        }
    }
    // As it was written before it said of how many classes it is.
    let mut perplexity: Figure = "perplexity".parse().unwrap();
    perplexity.restore(&[5.0, 2.0, 2.0]).unwrap();
    perplexity.update(&seen).unwrap();
    assert_eq!(perplexity.state().last(), Some(&3.0));
}

/// Entities and their figures beside seqeval's (`entities.py`).
#[test]
fn entities_are_those_of_another_program() {
    let cases: Vec<Value> =
        include_str!("entities.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() >= 18);
    for case in &cases {
        let tags = |tags: &'_ Value| -> Vec<String> {
            tags.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_string()).collect()
        };
        let sentences =
            |name: &str| -> Vec<Vec<String>> { case[name].as_array().unwrap().iter().map(tags).collect() };
        let (truth, said) = (sentences("truth"), sentences("said"));
        let mut scores = EntityScores::default();
        for (at, (truth, said)) in truth.iter().zip(&said).enumerate() {
            let [truth, said] = [truth, said].map(|tags| tags.iter().map(String::as_str).collect::<Vec<_>>());
            let (truth, said) = (&truth[..], &said[..]);
            let found: Vec<Value> = entities(truth)
                .iter()
                .map(|entity| json!([entity.kind, entity.first, entity.last]))
                .collect();
            assert_eq!(Value::from(found), case["entities"][at], "{truth:?}");
            scores.add(truth, said);
        }
        let near = |own: f64, theirs: &Value| (own - theirs.as_f64().unwrap()).abs() < 1e-12;
        let all = scores.all();
        for (own, theirs) in
            [all.precision(), all.recall(), all.f1()].into_iter().zip(case["all"].as_array().unwrap())
        {
            assert!(near(own, theirs), "{own} and {theirs}");
        }
        for (kind, counts) in scores.kinds() {
            let theirs = &case["kinds"][kind];
            assert!(
                near(counts.precision(), &theirs[0]) && near(counts.recall(), &theirs[1]),
                "{kind}: {counts:?}"
            );
            assert_eq!(counts.there as u64, theirs[2].as_u64().unwrap());
        }
    }
    assert!(
        are_of_entities(["O", "B-PER", "U-LOC"])
            && !are_of_entities(["O", "NOUN"])
            && !are_of_entities(["O"])
    );
}
