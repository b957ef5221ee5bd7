//! Objectives and steps of one's own whose losses and outputs aren't always the same, that look at a batch as a whole, or weigh rows.

use std::path::PathBuf;

use kiln::prelude::*;
use kiln::schedule::RateFinder;
use kiln::trainer::{ClassWeights, Moment};
use kiln_testkit::Folder;

fn layers() -> Sequential {
    Sequential::new().seed(2).dense(8).relu().dense(2)
}

#[test]
fn a_loss_that_is_only_lowered_keeps_its_name() {
    let set = data::moons(64, 0.2, 1);
    // The loss beside it comes first and is of another size, so that whoever mixes them up is seen.
    let trainer = Trainer::of(layers(), Sgd::new(0.0), |model: &Sequential, cx, rows| {
        let logits = model.forward(&rows.x(), cx);
        let objective = Objective::new();
        let objective = match cx.is_training() {
            true => objective.loss("beside", 1.0, logits.square().mean(..) * 0.0 + 7.0),
            false => objective,
        };
        objective
            .loss("main", 1.0, CrossEntropy::new().each(&logits, &rows.y()))
            .output("class", &logits, "y")
    });
    let run = trainer.epochs(1).metrics(["accuracy"]).validate(&set).quiet().fit(&set).unwrap();
    let last = |name: &str| run.history().series(name).unwrap()[0];
    let main = run.evaluate(&set).unwrap().number("loss").unwrap();
    assert_eq!(last("beside.loss"), 7.0);
    for (name, expected) in [("main.loss", main), ("loss", main + 7.0), ("val_loss", main)] {
        assert!((last(name) - expected).abs() < 1e-5, "{name} {} and {expected}", last(name));
    }
    assert_eq!(last("accuracy"), last("val_accuracy"));
}

#[test]
fn outputs_of_evaluation_alone_are_refused_by_name() {
    let set = data::moons(40, 0.2, 1);
    for first in [true, false] {
        let trainer = Trainer::of(layers(), Sgd::new(0.1), move |model: &Sequential, cx, rows| {
            let logits = model.forward(&rows.x(), cx);
            let objective = Objective::new().loss("main", 1.0, logits.cross_entropy(&rows.y()));
            let further = |objective: Objective| match cx.is_training() {
                true => objective,
                false => objective.output("further", &logits, "y"),
            };
            match first {
                true => further(objective).output("class", &logits, "y"),
                false => further(objective.output("class", &logits, "y")),
            }
        });
        let metric = "accuracy".parse::<kiln::metrics::Figure>().unwrap();
        let error = trainer.metric_of("further", metric).quiet().fit(&set).err().unwrap().to_string();
        assert!(error.contains("class in training and"), "{error}");
        assert!(error.contains("further") && error.contains("in evaluation"), "{error}");
    }
}

/// What a step shows of some rows and not of others would be taken for something else.
#[test]
fn a_step_that_shows_other_losses_of_fewer_rows_is_refused() {
    let set = data::moons(40, 0.2, 1);
    let shown = |logits: &Tensor, rows: &Rows| {
        let objective = Objective::new().loss("main", 1.0, logits.cross_entropy(&rows.y()));
        if rows.count() < 16 { objective } else { objective.loss("beside", 1.0, logits.square().mean(..)) }
    };
    let sgd = Sgd::new(0.1);
    let custom = Trainer::custom(layers(), 0.1, move |model: &Sequential, step, rows| {
        let logits = model.forward(&rows.x(), step.context());
        step.minimise("", model, &sgd, &logits.cross_entropy(&rows.y()))?;
        Ok(shown(&logits, rows))
    });
    let error = custom.batch_size(16).quiet().fit(&set).err().unwrap().to_string();
    assert!(error.contains("main, beside for these rows, and were main"), "{error}");
}

#[test]
fn an_objective_may_compare_the_halves_of_a_batch() {
    let set = data::moons(64, 0.2, 1);
    let trainer = Trainer::of(layers(), Adam::new(0.01), |model: &Sequential, cx, rows| {
        let y = model.forward(&rows.x(), cx);
        let half = y.size(0) / 2;
        let [left, right] = y.split(0, [half, half]);
        let together = (left - right).square().mean(..);
        Objective::new()
            .loss("class", 1.0, y.cross_entropy(&rows.y()))
            .loss("together", 0.1, together)
            .output("class", &y, "y")
    });
    let run =
        trainer.epochs(2).batch_size(16).metrics(["accuracy"]).validate(&set).quiet().fit(&set).unwrap();
    assert!(run.evaluate(&set).unwrap().number("together.loss").unwrap().is_finite());
    assert_eq!(run.outputs(&set).unwrap()[0].1.len(), 64);
}

/// Rows that count nothing change nothing, and a step may show what it lowered as it is.
#[test]
fn a_step_of_ones_own_weighs_rows_itself() {
    let set = data::moons(40, 0.2, 1);
    let labels = set.labels().unwrap();
    let train = |weights: Vec<f32>, classes: Option<Vec<f32>>| {
        let sgd = Sgd::new(0.5);
        let custom = Trainer::custom(layers(), 0.5, move |model: &Sequential, step, rows| {
            let losses = CrossEntropy::new().each(&model.forward(&rows.x(), step.context()), &rows.y());
            let loss = match rows.weights() {
                Some(weights) => (losses.values * weights).sum(..) / weights.sum(..),
                None => losses.values.mean(..),
            };
            step.minimise("", model, &sgd, &loss)?;
            Ok(loss.into())
        });
        let custom = custom.evaluated_by(|model: &Sequential, cx, rows| {
            model.forward(&rows.x(), cx).cross_entropy(&rows.y())
        });
        let custom = match classes {
            Some(classes) => custom.class_weights(ClassWeights::Given(classes)),
            None => custom,
        };
        let weighted = set.clone().weighted(weights).unwrap();
        let run = custom.epochs(3).batch_size(40).validate(&set).quiet().fit(&weighted).unwrap();
        (run.history().series("loss").unwrap().to_vec(), run.history().series("val_loss").unwrap().to_vec())
    };
    let by_class: Vec<f32> = labels.iter().map(|label| if *label == 0 { 1.0 } else { 3.0 }).collect();
    let (rows, classes) = (train(by_class, None), train(vec![1.0; 40], Some(vec![1.0, 3.0])));
    assert_eq!(rows, classes);
    assert_ne!(rows, train(vec![1.0; 40], None));
}

/// Saves at one step and ends there, as a crash would.
struct CutAt(u64, PathBuf);

impl Callback for CutAt {
    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        if at.step == self.0 {
            at.save(&self.1);
            at.stop("cut");
        }
        Ok(())
    }
}

/// Steps of one's own that weigh nothing, and settings around them.
fn momentous() -> Trainer<'static, Sequential> {
    let sgd = Sgd::new(0.1).momentum(0.9);
    let custom = Trainer::custom(layers(), 0.1, move |model: &Sequential, step, rows| {
        let logits = model.forward(&rows.x(), step.context());
        step.minimise("", model, &sgd, &logits.cross_entropy(&rows.y()))?;
        Ok(Objective::new().loss("class", 1.0, CrossEntropy::new().each(&logits, &rows.y())))
    });
    custom.epochs(4).batch_size(10).quiet()
}

/// A setting with a name of its own is no part of the step, and the step goes on as it was.
#[test]
fn settings_around_a_step_of_ones_own_change_by_their_names() {
    let (folder, set) = (Folder::new("around"), data::moons(40, 0.2, 1));
    let path = folder.at("cut.state");
    // So much that it changes nothing.
    let clipped = |most: f64| momentous().clip(Clip::GlobalNorm(most));
    let whole = clipped(1e6).fit(&set).unwrap();
    clipped(1e6).callback(CutAt(6, path.clone())).fit(&set).unwrap();
    let error = clipped(1e5).resume(&path).fit(&set).err().unwrap().to_string();
    assert!(error.contains("(clip)"), "{error}");
    let second = clipped(1e5).allow_changes(["clip"]).resume(&path).fit(&set).unwrap();
    let weights = |model: &Sequential| -> Vec<Vec<u8>> {
        model.parameters().iter().map(|(_, param)| param.value().unwrap().to_le_bytes()).collect()
    };
    // Moments that began anew would end elsewhere.
    assert_eq!(weights(second.model()), weights(whole.model()));
    type Changed = fn(Trainer<'static, Sequential>) -> Trainer<'static, Sequential>;
    let changes: [(&str, Changed); 4] = [
        ("penalties", |trainer| trainer.l2(0.1)),
        ("averages", |trainer| trainer.ema(0.9)),
        ("class weights", |trainer| trainer.class_weights(ClassWeights::Given(vec![1.0, 3.0]))),
        ("seed", |trainer| trainer.seed(9)),
    ];
    for (part, changed) in changes {
        let trainer = || changed(clipped(1e6)).resume(&path);
        let error = trainer().fit(&set).err().unwrap().to_string();
        assert!(error.contains(&format!("({part})")), "{part}: {error}");
        if part != "averages" {
            trainer().allow_changes([part]).fit(&set).unwrap();
        }
    }
}

#[test]
fn a_rate_is_found_for_one_kind_of_step_and_mistakes_are_said_first() {
    let set = data::moons(40, 0.2, 1);
    let phase = |scale: f64| {
        let sgd = Sgd::new(0.1);
        Phase::new(1, move |model: &Sequential, step: &mut Update, rows: &Rows| {
            let loss = model.forward(&rows.x(), step.context()).cross_entropy(&rows.y()) * scale;
            step.minimise("", model, &sgd, &loss)?;
            Ok(loss.into())
        })
    };
    let find = |trainer: Trainer<Sequential>| trainer.find_rate(&set, RateFinder::new(1e-4, 1.0, 10));
    let error =
        find(Trainer::alternating(layers(), 0.1, [phase(1.0), phase(100.0)])).err().unwrap().to_string();
    assert!(error.contains("phases") && error.contains("Trainer::custom"), "{error}");
    find(Trainer::alternating(layers(), 0.1, [phase(1.0)])).unwrap();
    let mistaken = Trainer::new(layers(), CrossEntropy::new(), Adam::new(0.1)).metrics(["acuracy"]);
    let error = find(mistaken).err().unwrap().to_string();
    assert!(error.contains("did you mean accuracy?"), "{error}");
}

#[test]
fn each_member_of_an_ensemble_is_lowered_by_a_loss_of_its_own() {
    let set = data::moons(32, 0.2, 1);
    let layers = || "members 3, dense 4, tanh, members-dense 2".parse::<Sequential>().unwrap().seed(3);
    let trainer = Trainer::new(layers(), CrossEntropy::new(), Sgd::new(0.5)).epochs(2).batch_size(32);
    let run = trainer.quiet().fit(&set).unwrap();
    // The same, member by member.
    let goal = |model: &Sequential, cx: &Context, rows: &Rows| {
        let _ = model.forward(&rows.x(), cx);
        let Some(members) = cx.members() else {
            return Objective::new().loss("loss", 1.0, Tensor::from(0.0));
        };
        let losses = (0..3).map(|member| members.narrow(1, member, 1).squeeze(1).cross_entropy(&rows.y()));
        Objective::new().loss("loss", 1.0, losses.reduce(|sum, loss| sum + loss).unwrap() / 3.0)
    };
    let apart =
        Trainer::of(layers(), Sgd::new(0.5), goal).epochs(2).batch_size(32).quiet().fit(&set).unwrap();
    let numbers = |model: &Sequential| -> Vec<f32> {
        model
            .parameters()
            .iter()
            .flat_map(|(_, param)| param.value().unwrap().as_slice::<f32>().unwrap().to_vec())
            .collect()
    };
    for (one, other) in numbers(run.model()).into_iter().zip(numbers(apart.model())) {
        assert!((one - other).abs() < 1e-5, "{one} and {other}");
    }
    // Where a layer follows, what the members said isn't what comes out.
    let model: Sequential = "members 3, members-dense 4, relu".parse().unwrap();
    let cx = Context::training(Key::new(1));
    assert_eq!(model.forward(&Tensor::ones([2, 5]), &cx).shape().sizes(), [2, 4]);
    assert!(cx.members().is_none());
}
