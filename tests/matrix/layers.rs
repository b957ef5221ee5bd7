//! Every layer's word through the library.

use std::collections::HashMap;

use kiln::data::{Cut, Form, Meaning, Rng, Set, Tokens, ValueKind};
use kiln::model::{About, Task};
use kiln::onnx::Export;
use kiln::prelude::*;
use kiln::preparation::TextPreparation;
use kiln::sequential::{Takes, words};
use kiln::trainer::{Checkpoints, Run};
use kiln::weights::{self, Fit, Mapping, Weights};
use kiln::{Model, Module, SpatialRank, TimeAxis};
use kiln_testkit::Folder;

use crate::{Faults, ensure};

/// Rows such as a layer takes, of three classes.
fn rows(takes: Takes) -> Set {
    const ROWS: usize = 12;
    let mut rng = Rng::new(5);
    let labels: Vec<i64> = (0..ROWS as i64).map(|row| row % 3).collect();
    let classes = Form::class(3);
    let sizes: &[usize] = match takes {
        Takes::Rows => &[4],
        Takes::Columns => &[6],
        Takes::Sequences => &[4, 8],
        Takes::Images => &[4, 6, 6],
        Takes::Volumes => &[4, 4, 4, 4],
        Takes::Codes => &[4],
    };
    let width: usize = sizes.iter().product();
    let set = match takes {
        Takes::Codes => {
            let codes: Vec<i64> = (0..ROWS * width).map(|_| rng.below(4) as i64).collect();
            let form =
                Form { kind: ValueKind::I64, shape: sizes.to_vec(), meaning: Meaning::Codes { count: 4 } };
            Set::new(codes, form, labels, classes)
        }
        _ => {
            let number = |at: usize| match takes == Takes::Columns && at % width >= width - 2 {
                true => (at % 4) as f32,
                false => rng.normal() as f32,
            };
            let numbers: Vec<f32> = (0..ROWS * width).map(number).collect();
            Set::new(numbers, Form::numbers(sizes), labels, classes)
        }
    };
    set.unwrap().named(["ant", "bee", "cat"])
}

/// A layer between others that learn: gradients go through it.
fn model_with(takes: Takes, layer: &str) -> String {
    let front = match takes {
        Takes::Rows => "dense 4, ",
        Takes::Sequences => "dense 8, ",
        Takes::Images | Takes::Volumes => "conv 4 1, ",
        Takes::Columns | Takes::Codes => "",
    };
    let flat = if layer.ends_with("padded") { "mean-over-time" } else { "flatten" };
    format!("{front}{layer}, {flat}, dense 3")
}

fn trainer<'a>(model: Sequential, epochs: u64, set: &'a Set) -> Trainer<'a, Sequential> {
    let trainer =
        Trainer::new(model, CrossEntropy::new(), AdamW::new(0.02)).epochs(epochs).batch_size(5).seed(3);
    trainer.metrics(["accuracy"]).validate(set).quiet()
}

/// The bits of everything a model keeps, by name.
fn kept(model: &impl Module) -> HashMap<String, Vec<u8>> {
    let bits = |data: Data| data.to_le_bytes();
    let parameters = model.parameters().into_iter().map(|(name, param)| (name, bits(param.value().unwrap())));
    let states = model.states().into_iter().map(|(name, state)| (name, bits(state.read().unwrap())));
    parameters.chain(states).collect()
}

/// The way of a layer through everything that is done with models.
fn live(faults: &mut Faults, folder: &Folder, takes: Takes, layer: &str) {
    let of = format!("`{layer}` of {takes:?}");
    let (set, text) = (rows(takes), model_with(takes, layer));
    let parsed = || text.parse::<Sequential>().map(|row| row.seed(11));
    let whole = faults.cell(&of, "train", || trainer(parsed()?, 3, &set).fit(&set));
    let Some(run) = whole else { return };
    faults.cell(&of, "resume", || {
        let checkpoints = folder.at("checkpoints");
        trainer(parsed()?, 2, &set).checkpoints(Checkpoints::new(&checkpoints)).fit(&set)?;
        let rest = trainer(parsed()?, 3, &set).resume(Checkpoints::last(&checkpoints)).fit(&set)?;
        let same = kept(rest.model()) == kept(run.model());
        ensure(same, || "the weights aren't those of the whole training".to_string())
    });
    faults.cell(&of, "evaluate", || {
        let loss = run.evaluate(&set)?.number("loss").unwrap_or(f64::NAN);
        run.report(&set)?;
        ensure(loss.is_finite(), || format!("the loss is {loss}"))
    });
    for kind in ["kiln", "safetensors", "json"] {
        let path = folder.at(&format!("model.{kind}"));
        faults.cell(&of, kind, || {
            run.save(&path)?;
            let model = Model::load(&path)?;
            let same = kept(model.layers()) == kept(run.model());
            ensure(same, || "other weights are read than were written".to_string())?;
            ensure(model.about().layers == run.model().to_text()?, || model.about().layers.clone())?;
            let (own, theirs) = (run.predict(&set)?, model.predict(&set)?);
            ensure(own == theirs, || "it predicts otherwise".to_string())
        });
    }
    let Some(model) = faults.cell(&of, "load", || Model::load(folder.at("model.kiln"))) else { return };
    known(faults, folder, &of, &model, &run);
    faults.cell(&of, "fine-tune", || taught(model, folder, &set));
}

/// What is said and written of a model.
fn known(faults: &mut Faults, folder: &Folder, of: &str, model: &Model, run: &Run<Sequential>) {
    let form = model.about().input.form();
    let shape: Vec<usize> = std::iter::once(2).chain(form.shape.iter().copied()).collect();
    faults.cell(of, "inspect", || {
        let summary = Summary::of_type(model.layers(), shape.as_slice(), kiln::model::dtype(&form))?;
        let own = run.model().parameter_count();
        ensure(summary.trained == own, || format!("{} parameters, not {own}", summary.trained))
    });
    faults.cell(of, "onnx", || {
        let (_, checked) = model.save_onnx(folder.at("model.onnx"), &Export::default())?;
        let near = checked.largest <= 1e-4 * checked.most.max(1.0);
        ensure(near, || checked.to_string())
    });
    for kind in ["safetensors", "npz"] {
        faults.cell(of, &format!("weights as {kind}"), || {
            let path = folder.at(&format!("weights.{kind}"));
            weights::save(model.layers(), &path)?;
            let fresh: Sequential = model.about().layers.parse()?;
            let blank = Tensor::zeros(shape.as_slice()).cast(kiln::model::dtype(&form));
            fresh.forward(&blank, &Context::inference());
            Weights::open(&path)?.load_into(&fresh, &Mapping::new(), Fit::Strict)?;
            let same = kept(&fresh) == kept(model.layers());
            ensure(same, || "other weights are read than were written".to_string())
        });
    }
}

/// Other classes for a model, of which the first layer stays.
fn taught(model: Model, folder: &Folder, set: &Set) -> kiln::Result<()> {
    let names = ["even", "odd"].map(str::to_string).to_vec();
    let (model, new) = model.new_head(Task::Classes { names: names.clone() }, 9)?;
    let frozen = model.parameters().iter().any(|(name, _)| name.starts_with("0."));
    if frozen {
        model.freeze("0.*")?;
    }
    let before = kept(model.layers());
    let labels = (0..set.len() as i64).map(|row| row % 2).collect();
    let set = Set::classes(set.inputs().clone(), set.x(), labels)?.named(names);
    let about = model.about().clone();
    let run =
        Trainer::new(model.layers(), CrossEntropy::new(), Adam::new(0.02)).epochs(1).quiet().fit(&set)?;
    let after = kept(run.model());
    let moved = |name: &String| before.get(name) != after.get(name);
    let stays = before.keys().filter(|name| name.starts_with("0.")).all(|name| !moved(name));
    ensure(stays && new.iter().all(moved), || "it isn't the new last layer that is trained".to_string())?;
    model.save_as(&about, folder.at("taught.kiln"))?;
    let taught = Model::load(folder.at("taught.kiln"))?;
    ensure(taught.predict(&set)?.width() == 2, || "it doesn't tell two classes apart".to_string())
}

#[test]
fn every_layer_is_trained_kept_and_used() {
    let folder = Folder::new("layers");
    let mut faults = Faults::default();
    for &(takes, layer) in words().flat_map(|word| word.examples) {
        live(&mut faults, &folder, takes, layer);
    }
    faults.settle();
}

/// Every layer that never looks ahead is written as a graph of next steps, in which what it keeps comes in and goes out; the file is held beside
/// the cached pass of the model.
#[test]
fn every_layer_that_goes_on_step_by_step_does_so_as_onnx() {
    let folder = Folder::new("steps");
    let mut faults = Faults::default();
    let tokens = Tokens::fit("abcdef", Cut::Characters, 10).unwrap();
    let pieces = tokens.count();
    let codes = Tensor::zeros([2, 8]).cast(DType::I64);
    let mut gone_on = Vec::new();
    for &(_, layer) in words().flat_map(|word| word.examples) {
        for turn in ["", "transpose, "] {
            let text = format!("embedding {pieces} 8, {turn}{layer}, {turn}dense {pieces}, transpose");
            let Ok(layers) = text.parse::<Sequential>() else { continue };
            let layers = layers.seed(3);
            let y = layers.forward(&codes, &Context::inference());
            let last = TimeAxis { axis: 2, rank: 3 };
            let goes_on = layers.time_axis(TimeAxis { axis: 1, rank: 2 }).is_ok_and(|time| time == last);
            if !goes_on || y.error().is_some() || y.shape().sizes() != [2, pieces, 8] {
                continue;
            }
            gone_on.push(layer);
            faults.cell(&format!("`{turn}{layer}`"), "onnx of next steps", || {
                let form =
                    Form { kind: ValueKind::I64, shape: vec![8], meaning: Meaning::Codes { count: pieces } };
                let about = About::new(&layers, &form, Task::Text { pieces })?;
                let model =
                    Model::new(layers, about).with_preparation(TextPreparation::new(tokens.clone(), 8))?;
                for opset in [13, 17, 23] {
                    let options = kiln::onnx::Options { opset, ..Default::default() };
                    let export = Export { options, cache: true, ..Export::default() };
                    let (_, checked) = model.save_onnx(folder.at("steps.onnx"), &export)?;
                    let near = checked.largest <= 1e-5 * checked.most.max(1.0) && checked.rows == 8;
                    ensure(near, || format!("version {opset}: {checked}"))?;
                }
                Ok::<(), kiln::Error>(())
            });
        }
    }
    for word in ["attention", "transformer", "decoder", "gru", "lstm", "rnn", "conv", "positions", "dense"] {
        assert!(gone_on.iter().any(|layer| layer.starts_with(word)), "{word} is not among {gone_on:?}");
    }
    faults.settle();
}

/// A layer that says a rank is never trained on rows of another: the error says which word, what came, and what to write.
#[test]
fn no_layer_is_trained_on_rows_of_another_rank() {
    let mut faults = Faults::default();
    let spatial = [Takes::Sequences, Takes::Images, Takes::Volumes];
    let ranks = SpatialRank::ALL.into_iter().zip(spatial);
    for word in words().filter(|word| word.is_ranked()) {
        let rest = ["4 2", "2"]
            .into_iter()
            .find(|rest| format!("{} {rest}", word.word).parse::<Sequential>().is_ok());
        let rest = rest.unwrap();
        for (rank, own) in ranks.clone() {
            for takes in [Takes::Rows, Takes::Sequences, Takes::Images, Takes::Volumes]
                .into_iter()
                .filter(|takes| *takes != own)
            {
                let layer = format!("{}{rank} {rest}", word.word);
                faults.cell(&format!("`{layer}` of {takes:?}"), "refused", || {
                    let model = format!("{layer}, flatten, dense 3").parse()?;
                    let Err(error) = trainer(model, 1, &rows(takes)).fit(&rows(takes)) else {
                        return ensure(false, || "it is trained".to_string());
                    };
                    let error = error.to_string();
                    let mend = match ranks.clone().find(|(_, own)| *own == takes) {
                        Some((other, _)) => format!("`{}{other}`", word.word),
                        None => "`reshape ".to_string(),
                    };
                    let shape =
                        rows(takes).x().shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                    let says = [layer.clone(), mend, shape].iter().all(|part| error.contains(part));
                    ensure(says, || error)
                });
            }
        }
    }
    faults.settle();
}
