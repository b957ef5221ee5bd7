//! What people bring themselves to a trainer: objectives of several inputs and losses, metrics, steps in turn, structs. Whatever it is, it
//! is logged, watched, saved and goes on as everything else does.

use std::path::PathBuf;

use kiln::data::{Form, Set};
use kiln::metrics::{History, Result as MetricResult, Seen, Targets};
use kiln::prelude::*;
use kiln::schedule::{Cosine, Warmup};
use kiln::trainer::{ClassWeights, CsvLog, TrainState};
use kiln_testkit::Folder;

/// Two inputs, of which two targets are made.
struct Net {
    left: Dense,
    right: Sequential,
    side: Dense,
    size: Dense,
}
kiln::parameters!(Net { left, right, side, size });

fn net() -> Net {
    let [left, side, size] = Key::new(3).split();
    Net {
        left: Dense::new(2, 8, left),
        right: Sequential::new().seed(4).dense(8).batch_norm().relu().dropout(0.2),
        side: Dense::new(8, 2, side),
        size: Dense::new(8, 1, size),
    }
}

impl Net {
    fn both(&self, rows: &Rows, cx: &Context) -> (Tensor, Tensor) {
        let body = self.left.forward(&rows.x(), cx).tanh() + self.right.forward(&rows.get("other"), cx);
        (self.side.forward(&body, cx), self.size.forward(&body, cx))
    }
}

fn objective(net: &Net, cx: &Context, rows: &Rows) -> Objective {
    weighed(net, cx, rows, 0.5)
}

fn weighed(net: &Net, cx: &Context, rows: &Rows, weight: f64) -> Objective {
    let (side, size) = net.both(rows, cx);
    Objective::new()
        .loss("side", 1.0, CrossEntropy::new().each(&side, &rows.y()))
        .loss("size", weight, Mse::new().each(&size, &rows.get("size")))
        .output("side", &side, "y")
        .output("size", &size, "size")
}

/// Moons, each with another point and a number.
fn set(rows: usize, seed: u64) -> Set {
    let (moons, others) = (data::moons(rows, 0.2, seed), data::moons(rows, 0.3, seed + 100));
    let points = others.inputs().as_f32().unwrap().to_vec();
    let sizes = points.chunks(2).map(|point| point[0] - point[1]).collect::<Vec<f32>>();
    let set = moons.with("other", points, Form::numbers(&[2])).unwrap();
    set.with("size", sizes, Form::numbers(&[1])).unwrap()
}

/// The share of outputs near the truth; of classes those that are surely right.
#[derive(Clone, Default)]
struct Near {
    near: f64,
    all: f64,
}

impl Metric for Near {
    fn name(&self) -> &str {
        "near"
    }

    fn larger_is_better(&self) -> bool {
        true
    }

    fn update(&mut self, seen: &Seen) -> MetricResult<()> {
        let rows = seen.outputs.chunks(seen.width);
        self.near += match seen.targets {
            Targets::Classes(classes) => {
                let sure =
                    |(row, class): &(&[f32], &i64)| row[**class as usize] > row[1 - **class as usize] + 1.0;
                rows.zip(classes).filter(sure).count()
            }
            Targets::Numbers(numbers) => {
                rows.zip(numbers).filter(|(row, truth)| (row[0] - **truth).abs() < 0.3).count()
            }
        } as f64;
        self.all += (seen.outputs.len() / seen.width) as f64;
        Ok(())
    }

    fn value(&self) -> f64 {
        self.near / self.all
    }

    fn state(&self) -> Vec<f64> {
        vec![self.near, self.all]
    }

    fn restore(&mut self, state: &[f64]) -> MetricResult<()> {
        let [near, all] = state.try_into().unwrap_or_default();
        (self.near, self.all) = (near, all);
        Ok(())
    }
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

fn weights(model: &impl Module) -> Vec<(String, Vec<u8>)> {
    let parameters = model.parameters().into_iter().map(|(path, p)| (path, p.value().unwrap().to_le_bytes()));
    let states = model.states().into_iter().map(|(path, s)| (path, s.read().unwrap().to_le_bytes()));
    parameters.chain(states).collect()
}

fn bits(history: &History) -> Vec<(String, Vec<u64>)> {
    let series =
        |name: &String| history.series(name).unwrap().iter().map(|number| number.to_bits()).collect();
    history.names().iter().map(|name| (name.clone(), series(name))).collect()
}

/// Trains without a break, and cut at each of these steps; all end with the same bits.
fn goes_on<M: Module>(name: &str, cuts: &[u64], trainer: &dyn Fn() -> Trainer<'static, M>) {
    let (folder, train) = (Folder::new(name), set(90, 1));
    let whole = trainer().fit(&train).unwrap();
    for &cut in cuts {
        let path = folder.at("cut.state");
        let first = trainer().callback(CutAt(cut, path.clone())).fit(&train).unwrap();
        assert_eq!((first.steps(), TrainState::load(&path).unwrap().step()), (cut, cut));
        let second = trainer().resume(&path).fit(&train).unwrap();
        assert_eq!(second.steps(), whole.steps(), "cut at {cut}");
        assert_eq!(weights(second.model()), weights(whole.model()), "cut at {cut}");
        assert_eq!(bits(second.history()), bits(whole.history()), "cut at {cut}");
    }
}

fn several() -> Trainer<'static, Net> {
    Trainer::of(net(), AdamW::new(0.02), objective)
        .epochs(4)
        .batch_size(16)
        .seed(5)
        .validate_fraction(0.2)
        .metric_of("side", "accuracy".parse::<Figure>().unwrap())
        .metric_of("size", "r2".parse::<Figure>().unwrap())
        .metric(Near::default())
        .metric_of("size", Near::default())
        .schedule_over(|steps| Warmup::new(3, Cosine::new(steps)))
        .accumulate(2)
        .ema(0.9)
        .clip(Clip::GlobalNorm(1.0))
        .callback(EarlyStopping::on("val_near").patience(3))
        .quiet()
}

/// The same model, each half with its own optimizer, one after the other, and a teacher that follows.
struct Taught {
    net: Net,
    teacher: Net,
}
kiln::parameters!(Taught { net, teacher });

fn taught() -> Taught {
    let taught = Taught { net: net(), teacher: net() };
    for net in [&taught.net, &taught.teacher] {
        net.right.build([1, 2]).unwrap();
    }
    taught.teacher.copy_from(&taught.net).unwrap();
    taught
}

fn in_turn(share: f64) -> Trainer<'static, Taught> {
    let (first, second) = (AdamW::new(0.02), Sgd::new(0.01).momentum(0.9));
    let sides = Phase::new(2, move |taught: &Taught, step, rows| {
        let (side, _) = taught.net.both(rows, step.context());
        let loss = side.cross_entropy(&rows.y());
        step.minimise("net.left", &taught.net.left, &first, &loss)?;
        step.minimise("net.side", &taught.net.side, &first, &loss)?;
        Ok(Objective::new().loss("side", 1.0, loss))
    });
    let sizes = Phase::new(1, move |taught: &Taught, step, rows| {
        let (side, size) = taught.net.both(rows, step.context());
        let noise = step.context().key().normal([rows.count(), 1], 0.0, 0.1);
        let loss = (&size + noise).mse(&rows.get("size"));
        step.minimise("net.size", &taught.net.size, &second, &loss)?;
        step.minimise("net.right", &taught.net.right, &second, &loss)?;
        step.lerp(&taught.teacher, &taught.net, share)?;
        Ok(Objective::new().loss("size", 1.0, loss).output("side", &side, "y"))
    });
    Trainer::alternating(taught(), 0.02, [sides, sizes])
        .evaluated_by(|taught: &Taught, cx, rows| objective(&taught.teacher, cx, rows))
        .epochs(4)
        .batch_size(16)
        .validate_fraction(0.2)
        .metrics(["accuracy"])
        .schedule_over(Cosine::new)
        .ema(0.9)
        .callback(EarlyStopping::on("val_accuracy").patience(9))
        .quiet()
}

#[test]
fn a_training_of_several_inputs_losses_and_metrics_goes_on_bit_for_bit() {
    goes_on("several", &[1, 2, 5, 8, 17], &several);
}

#[test]
fn steps_in_turn_with_optimizers_of_their_own_go_on_bit_for_bit() {
    goes_on("in-turn", &[1, 2, 3, 4, 5, 11, 17], &|| in_turn(0.1));
}

#[test]
fn numbers_of_each_loss_output_and_metric_are_logged_and_watched() {
    let (folder, train) = (Folder::new("own-log"), set(90, 1));
    let log = folder.at("log.csv");
    let run = several().callback(CsvLog::new(&log)).fit(&train).unwrap();
    let header = std::fs::read_to_string(&log).unwrap().lines().next().unwrap().to_string();
    let numbers = ["loss", "side.loss", "size.loss", "side.accuracy", "size.r2", "near", "size.near"];
    let validated: Vec<String> = numbers.iter().map(|name| format!("val_{name}")).collect();
    assert_eq!(header, format!("epoch,step,seconds,{},{},rate", numbers.join(","), validated.join(",")));
    let last = |name: &str| *run.history().series(name).unwrap().last().unwrap();
    assert!((last("loss") - last("side.loss") - 0.5 * last("size.loss")).abs() < 1e-6);
    let exact = last("val_side.loss") + 0.5 * last("val_size.loss");
    assert!((last("val_loss") - exact).abs() < 1e-12, "the validation's parts make its loss");
    assert!(run.to_string().contains("val_near"), "{run}");
    // Early stopping knows that more of it is better.
    let (best, _) = run.history().best("val_near", true).unwrap();
    let (stopped, most) = (run.history().len(), run.history().series("val_near").unwrap()[best]);
    assert!(stopped == 4 || stopped == best + 4, "{stopped} epochs, the best is {best} with {most}");
    let outputs = run.outputs(&train).unwrap();
    let widths: Vec<(&str, usize, usize)> =
        outputs.iter().map(|(name, numbers)| (name.as_str(), numbers.len(), numbers.width())).collect();
    assert_eq!(widths, [("side", 90, 2), ("size", 90, 1)]);
}

/// Also with weights of rows and classes, clipped, accumulated and averaged.
#[test]
fn an_objective_that_is_a_loss_is_that_loss_to_the_bit() {
    let train =
        data::moons(100, 0.2, 1).weighted((0..100).map(|row| 0.5 + row as f32 * 0.01).collect()).unwrap();
    let model = || Sequential::new().seed(2).dense(8).batch_norm().relu().dropout(0.2).dense(2);
    fn cared<'a, M: Module>(trainer: Trainer<'a, M>) -> Trainer<'a, M> {
        let cared = trainer.epochs(3).batch_size(16).seed(4).ema(0.9).clip(Clip::Value(0.1)).accumulate(2);
        cared.class_weights(ClassWeights::Given(vec![1.0, 3.0])).metrics(["accuracy"]).quiet()
    }
    let said = |model: &Sequential, cx: &Context, rows: &Rows| {
        let logits = model.forward(&rows.x(), cx);
        let losses = CrossEntropy::new().each(&logits, &rows.y());
        Objective::new().loss("loss", 1.0, losses).output("class", &logits, "y")
    };
    let plain = cared(Trainer::new(model(), CrossEntropy::new(), Adam::new(0.02))).fit(&train).unwrap();
    let of = cared(Trainer::of(model(), Adam::new(0.02), said)).fit(&train).unwrap();
    assert_eq!(weights(of.model()), weights(plain.model()));
    assert_eq!(bits(of.history()), bits(plain.history()));
    assert_eq!(of.evaluate(&train).unwrap(), plain.evaluate(&train).unwrap());
}

fn model_of(model: &Sequential, step: &Update, rows: &Rows) -> Tensor {
    model.forward(&rows.x(), step.context())
}

#[test]
fn a_custom_step_that_lowers_a_loss_is_the_loss_to_the_bit() {
    let train = data::moons(100, 0.2, 1);
    let model = || Sequential::new().seed(2).dense(8).relu().dropout(0.2).dense(2);
    let plain = Trainer::new(model(), CrossEntropy::new(), Adam::new(0.02)).ema(0.9).epochs(3).quiet();
    let adam = Adam::new(0.02);
    let custom = Trainer::custom(model(), 0.02, move |model: &Sequential, step, rows| {
        let loss = model_of(model, step, rows).cross_entropy(&rows.y());
        step.minimise("", model, &adam, &loss)?;
        Ok(loss.into())
    });
    let (plain, custom) =
        (plain.fit(&train).unwrap(), custom.ema(0.9).epochs(3).quiet().fit(&train).unwrap());
    assert_eq!(weights(custom.model()), weights(plain.model()));
    assert_eq!(bits(custom.history()), bits(plain.history()));
}

#[test]
fn what_differs_in_code_of_ones_own_is_named() {
    let (folder, train) = (Folder::new("own-parts"), set(60, 1));
    let path = folder.at("cut.state");
    let of = |weight: f64| {
        let objective = move |net: &Net, cx: &Context, rows: &Rows| weighed(net, cx, rows, weight);
        Trainer::of(net(), AdamW::new(0.02), objective).epochs(2).quiet()
    };
    of(0.5).callback(CutAt(2, path.clone())).fit(&train).unwrap();
    of(0.5).resume(&path).fit(&train).unwrap();
    let error = of(0.25).resume(&path).fit(&train).err().unwrap().to_string();
    assert!(error.contains("loss: not the one of the checkpoint") && error.contains("(loss)"), "{error}");
    of(0.25).allow_changes(["loss"]).resume(&path).fit(&train).unwrap();
    // A number that only the further inputs have is part of the data.
    let mut sizes = set(60, 1).all().unwrap().further[1].as_f32().unwrap().to_vec();
    sizes[7] += 1.0;
    let points = set(60, 1).all().unwrap().further[0].clone();
    let other = data::moons(60, 0.2, 1).with("other", points, Form::numbers(&[2])).unwrap();
    let other = other.with("size", sizes, Form::numbers(&[1])).unwrap();
    let error = of(0.5).resume(&path).fit(&other).err().unwrap().to_string();
    assert!(error.contains("(data)"), "{error}");
    in_turn(0.1).callback(CutAt(2, path.clone())).fit(&train).unwrap();
    in_turn(0.1).resume(&path).fit(&train).unwrap();
    let error = in_turn(0.2).resume(&path).fit(&train).err().unwrap().to_string();
    assert!(error.contains("step: not the one of the checkpoint") && error.contains("(step)"), "{error}");
    in_turn(0.2).allow_changes(["step"]).resume(&path).fit(&train).unwrap();
}

#[test]
fn what_makes_no_sense_is_said_before_the_first_step() {
    let train = set(40, 1);
    let error = |trainer: Trainer<Net>| trainer.quiet().fit(&train).err().unwrap().to_string();
    let lost = Trainer::of(net(), Adam::new(0.1), |net, cx, rows| {
        net.side.forward(&net.left.forward(&rows.get("othr"), cx), cx).cross_entropy(&rows.y())
    });
    assert!(error(lost).contains("the rows have no othr; did you mean other?"));
    let lost = Trainer::of(net(), Adam::new(0.1), |net, cx, rows| {
        let (side, _) = net.both(rows, cx);
        Objective::new().loss("side", 1.0, side.cross_entropy(&rows.y())).output("side", &side, "sise")
    });
    assert!(error(lost).contains("the target of output side: the rows have no sise; did you mean size?"));
    let of = || Trainer::of(net(), Adam::new(0.1), objective);
    assert!(
        error(of().metric_of("sid", Near::default())).contains("there is no output sid; did you mean side?")
    );
    assert!(error(of().metric(Near::default()).metric(Near::default())).contains("are called near"));
    assert!(error(of().metrics(["r2"])).contains("r2 is of numbers, and the targets are classes"));
    assert!(
        error(Trainer::of(net(), Adam::new(0.1), |_, _, _| Objective::new())).contains("no loss to lower")
    );
    let adam = Adam::new(0.1);
    let custom = Trainer::custom(net(), 0.1, move |net: &Net, step, rows| {
        let loss = net.both(rows, step.context()).0.cross_entropy(&rows.y());
        step.minimise("", net, &adam, &loss)?;
        Ok(loss.into())
    });
    let run = custom.epochs(1).quiet().fit(&train).unwrap();
    assert!(run.evaluate(&train).unwrap_err().to_string().contains("Trainer::evaluated_by does"));
    let error = of().evaluated_by(objective).quiet().fit(&train).err().unwrap().to_string();
    assert!(error.contains("evaluated_by is for steps of one's own"), "{error}");
}

/// A net of one input.
struct Small {
    hidden: Dense,
    out: Dense,
}
kiln::parameters!(Small { hidden, out });

impl Layer for Small {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.out.forward(&self.hidden.forward(x, cx).relu(), cx)
    }
}

fn small(width: usize) -> Small {
    let [hidden, out] = Key::new(width as u64).split();
    Small { hidden: Dense::new(2, width, hidden), out: Dense::new(width, 2, out) }
}

#[test]
fn a_struct_is_saved_and_loaded_into_one_that_fits() {
    let (folder, train) = (Folder::new("own-model"), data::moons(80, 0.2, 1).named(["up", "down"]));
    let run = Trainer::new(small(8), CrossEntropy::new(), Adam::new(0.02)).epochs(4).metrics(["accuracy"]);
    let run = run.quiet().fit(&train).unwrap();
    for name in ["net.kiln", "net.json"] {
        let path = folder.at(name);
        run.save(&path).unwrap();
        let model = Model::load_into(&path, small(8)).unwrap();
        assert_eq!(weights(model.module()), weights(run.model()));
        assert_eq!(model.predict(&train).unwrap(), run.predict(&train).unwrap());
        let evaluated = model.evaluate(&train, CrossEntropy::new(), ["accuracy"]).unwrap();
        assert_eq!(evaluated.number("accuracy"), run.evaluate(&train).unwrap().number("accuracy"));
        assert_eq!(model.about().training["epochs"], 4);
        let wide = Model::load_into(&path, small(9)).err().unwrap().to_string();
        assert!(wide.contains(name) && wide.contains("hidden.weight") && wide.contains("[2, 8]"), "{wide}");
        let other = Model::load_into(&path, Dense::new(2, 2, Key::new(1))).err().unwrap().to_string();
        assert!(other.contains("hidden.weight") && other.contains("it lacks: weight, bias"), "{other}");
        let error = Model::load(&path).err().unwrap().to_string();
        assert!(error.contains("Model::load_into"), "{error}");
    }
    let rows = data::friedman(10, 0.1, 1);
    let path = folder.at("net.kiln");
    assert!(Model::load_into(&path, small(8)).unwrap().predict(&rows).is_err());
}

/// A net whose body takes its sizes from the first rows.
struct Lazy {
    body: Sequential,
    out: Dense,
}
kiln::parameters!(Lazy { body, out });

impl Layer for Lazy {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.out.forward(&self.body.forward(x, cx), cx)
    }
}

#[test]
fn layers_that_no_row_has_reached_are_built_before_weights_are_loaded_into_them() {
    let (folder, train) = (Folder::new("own-lazy"), data::moons(40, 0.2, 1));
    let lazy =
        || Lazy { body: Sequential::new().dense(6).batch_norm().relu(), out: Dense::new(6, 2, Key::new(1)) };
    let run =
        Trainer::new(lazy(), CrossEntropy::new(), Adam::new(0.02)).epochs(1).quiet().fit(&train).unwrap();
    let path = folder.at("lazy.kiln");
    run.save(&path).unwrap();
    let error = Model::load_into(&path, lazy()).err().unwrap().to_string();
    assert!(error.contains("body.0.weight") && error.contains("Sequential::build"), "{error}");
    let built = lazy();
    built.body.build([1, 2]).unwrap();
    let model = Model::load_into(&path, built).unwrap();
    assert_eq!(model.predict(&train).unwrap(), run.predict(&train).unwrap());
    let elsewhere = folder.at("x.onnx");
    std::fs::write(&elsewhere, b"onnx").unwrap();
    let error = Model::load_into(&elsewhere, lazy()).err().unwrap().to_string();
    assert!(error.contains("kiln import"), "{error}");
}

#[test]
fn a_step_of_ones_own_trains_on_the_device_that_is_asked_for() {
    let train = set(40, 1);
    let device = kiln::device("reference").unwrap();
    let here = in_turn(0.1).epochs(1).fit(&train).unwrap();
    let there = in_turn(0.1).epochs(1).device(&device).fit(&train).unwrap();
    let [a, b] = [&here, &there].map(|run| run.history().series("loss").unwrap()[0]);
    assert!((a - b).abs() < 1e-4 * a.abs(), "{a} here, {b} there");
    assert_eq!(there.model().parameters()[0].1.variable().unwrap().device().unwrap().name(), "reference");
}
