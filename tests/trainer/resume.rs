//! A training that was cut goes on with the same bits, and only the same training does.

use std::path::{Path, PathBuf};

use kiln::data::{Cut, Tokens, Windows};
use kiln::generate::TextSamples;
use kiln::preparation::TextPreparation;
use kiln::presets::{self, PRESETS, Suits};
use kiln::trainer::TrainState;

use super::*;

/// The bytes of everything in a checkpoint but the time that was spent.
fn all_but_time(path: &Path) -> Vec<(String, Vec<u8>)> {
    let tensors = kiln::store::TensorFile::load(path).unwrap().tensors;
    let tensors = tensors.into_iter().filter(|(name, _)| name != "seconds");
    tensors.map(|(name, stored)| (name, stored.data.to_le_bytes())).collect()
}

/// Saves before the first step.
struct SaveFirst(PathBuf);

impl Callback for SaveFirst {
    fn before(&mut self, at: &mut Moment) -> Result<()> {
        at.save(&self.0);
        Ok(())
    }
}

#[test]
fn a_training_cut_at_any_step_goes_on_bit_for_bit() {
    let folder = Folder::new("resume");
    let (train, valid) = data::moons(150, 0.2, 1).split(0.7);
    let whole = full(&valid).fit(&train).unwrap();
    let steps = whole.steps();
    assert_eq!(train.len(), 105, "the last batch is a short one");
    // Ends of epochs, their starts, and places drawn with a fixed seed.
    let mut rng = data::Rng::new(3);
    let drawn: Vec<u64> = (0..8).map(|_| 1 + rng.below(steps as usize - 1) as u64).collect();
    for cut in [1, 6, 7, 8, 14, steps - 1].into_iter().chain(drawn).filter(|cut| *cut < steps) {
        let path = folder.at("cut.state");
        let first = full(&valid).callback(CutAt(cut, path.clone())).fit(&train).unwrap();
        assert_eq!(first.steps(), cut);
        assert_eq!(TrainState::load(&path).unwrap().step(), cut);
        let second = full(&valid).resume(&path).fit(&train).unwrap();
        assert_eq!(second.steps(), steps, "cut at {cut}");
        assert_eq!(weights(second.model()), weights(whole.model()), "cut at {cut}");
        assert_eq!(bits(second.history()), bits(whole.history()), "cut at {cut}");
        assert_eq!(second.stopped(), whole.stopped());
        // What is read back is all there before anything runs again.
        let path = folder.at("again.state");
        let again = full(&valid).epochs(0).callback(SaveFirst(path.clone())).resume(folder.at("cut.state"));
        again.fit(&train).unwrap();
        let (before, after) = (all_but_time(&folder.at("cut.state")), all_but_time(&path));
        assert!(before == after, "cut at {cut}");
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused_with_what_differs() {
    let folder = Folder::new("other");
    let (train, valid) = data::moons(150, 0.2, 1).split(0.7);
    let path = folder.at("cut.state");
    full(&valid).callback(CutAt(3, path.clone())).fit(&train).unwrap();
    let error = |trainer: Trainer<Sequential>| trainer.fit(&train).err().unwrap().to_string();
    let batch = error(full(&valid).batch_size(8).resume(&path));
    assert!(batch.contains("batch size: 16 then, 8 now"), "{batch}");
    let other = Trainer::new(Sequential::new().dense(3), CrossEntropy::new(), AdamW::new(0.1));
    let other = error(other.batch_size(16).seed(11).accumulate(2).validate(&valid).resume(&path).quiet());
    assert!(other.contains("layers: 0 dense 16: [1, 16] then, 0 dense 3: [1, 3] now"), "{other}");
    for part in ["loss", "optimizer", "rate", "schedule", "clip", "averages", "plateau", "metrics"] {
        assert!(other.contains(part), "{part}: {other}");
    }
    std::fs::write(&path, &std::fs::read(&path).unwrap()[..200]).unwrap();
    let broken = error(full(&valid).resume(&path));
    assert!(broken.contains("cut.state") && broken.contains("cut off"), "{broken}");
    let missing = error(full(&valid).resume(folder.at("none.state")));
    assert!(missing.contains("none.state"), "{missing}");
    assert!(full(&valid).resume_if_there(folder.at("none.state")).fit(&train).is_ok());
}

/// A network of one's own, which says nothing of its layers.
struct Own {
    first: Dense,
    second: Dense,
    tanh: bool,
}
kiln::parameters!(Own { first, second });

impl Layer for Own {
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let x = self.first.forward(x, context);
        self.second.forward(&if self.tanh { x.tanh() } else { x.relu() }, context)
    }
}

fn own(tanh: bool) -> Own {
    Own { first: Dense::new(2, 4, Key::new(1)), second: Dense::new(4, 2, Key::new(2)), tanh }
}

/// A loss of one's own.
fn squares(power: f64) -> impl Fn(&Tensor, &Tensor) -> Tensor {
    move |x: &Tensor, y: &Tensor| (x - y.one_hot(2).cast(DType::F32)).abs().pow(power)
}

fn begun<'a>(model: Own, loss: impl Loss + 'a, optimizer: impl Optimizer + 'a) -> Trainer<'a, Own> {
    Trainer::new(model, loss, optimizer).epochs(4).batch_size(16).seed(3).quiet()
}

fn usual<'a>() -> Trainer<'a, Own> {
    begun(own(false), squares(2.0), AdamW::new(0.01))
}

#[test]
fn what_differs_is_named_also_where_it_is_code_of_ones_own_and_goes_on_where_it_is_allowed() {
    let folder = Folder::new("own");
    let (train, valid) = data::moons(100, 0.2, 1).split(0.7);
    let path = folder.at("cut.state");
    begun(own(false), squares(2.0), AdamW::new(0.01)).callback(CutAt(7, path.clone())).fit(&train).unwrap();
    let frozen = || {
        let model = own(false);
        model.freeze("first.*").unwrap();
        begun(model, squares(2.0), AdamW::new(0.01))
    };
    let other = data::moons(70, 0.2, 2);
    let cases: [(&str, &dyn Fn() -> Trainer<'static, Own>); 16] = [
        ("layers", &|| begun(own(true), squares(2.0), AdamW::new(0.01))),
        ("layers", &frozen),
        ("loss", &|| begun(own(false), squares(2.5), AdamW::new(0.01))),
        ("rate", &|| begun(own(false), squares(2.0), AdamW::new(0.02))),
        ("optimizer", &|| begun(own(false), squares(2.0), Adam::new(0.01))),
        ("optimizer", &|| begun(own(false), squares(2.0), AdamW::new(0.01).weight_decay(0.02))),
        ("optimizer", &|| begun(own(false), squares(2.0), AdamW::new(0.01).betas(0.8, 0.999))),
        ("schedule", &|| usual().schedule_over(Cosine::new)),
        ("plateau", &|| usual().reduce_on_plateau(ReduceOnPlateau::new(0.5, 1), "loss")),
        ("clip", &|| usual().clip(Clip::Value(1.0))),
        ("penalties", &|| usual().l2(0.1)),
        ("averages", &|| usual().swa(1, 1)),
        ("accumulated batches", &|| usual().accumulate(3)),
        ("batch size", &|| usual().batch_size(8)),
        ("order of rows", &|| usual().order(data::Order::InTurn)),
        ("metrics", &|| usual().metrics(["accuracy"])),
    ];
    for (part, trainer) in cases {
        let error = trainer().resume(&path).fit(&train).err().unwrap().to_string();
        assert!(
            error.contains(&format!("{part}: ")) && error.contains(&format!("({part}")),
            "{part}: {error}"
        );
        let also = if part == "layers" { "optimizer" } else { part };
        let run = trainer().allow_changes([part, also]).resume(&path).fit(&train);
        let run = run.unwrap_or_else(|error| panic!("{part}: {error}"));
        assert!(run.steps() > 7, "{part}");
    }
    let error = usual().resume(&path).fit(&other).err().unwrap().to_string();
    assert!(error.contains("data: other rows") && !error.contains("loss"), "{error}");
    usual().allow_changes(["data"]).resume(&path).fit(&other).unwrap();
    let watched = begun(own(false), squares(2.0), AdamW::new(0.01)).validate(&valid);
    let error = watched.resume(&path).fit(&train).err().unwrap().to_string();
    assert!(error.contains("validation data"), "{error}");
    // How long it lasts may change.
    assert_eq!(usual().epochs(9).resume(&path).fit(&train).unwrap().history().len(), 9);
    let error = usual().allow_changes(["shedule"]).fit(&train).err().unwrap().to_string();
    assert!(error.contains("did you mean schedule?"), "{error}");
}

/// What a model said last, by a log.
fn last_sample(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    line["sample"].as_str().unwrap().to_string()
}

/// A training on windows of a text, with averages.
fn reading<'a>(model: &'a Sequential, valid: &'a Windows) -> Trainer<'a, &'a Sequential> {
    let trainer = Trainer::new(model, CrossEntropy::new(), AdamW::new(0.01)).schedule_over(Cosine::new);
    trainer.epochs(2).batch_size(8).seed(3).validate(valid).ema(0.8).quiet()
}

#[test]
fn a_text_goes_on_bit_for_bit_with_every_preset_and_samples_change_nothing() {
    let folder = Folder::new("resume-texts");
    let text = "the cat sat on the mat, and the rat sat on the hat. ".repeat(10);
    let tokens = Tokens::fit(&text, Cut::Characters, 100).unwrap();
    let (pieces, window) = (tokens.count(), 16);
    let (train, valid) = Windows::new(tokens.encode(&text), pieces, window).unwrap().split(0.8).unwrap();
    let (train, preparation) = (train.moved(), TextPreparation::new(tokens, window));
    let known = PRESETS.iter().filter(|preset| preset.suits.contains(&Suits::Texts));
    let mut rows: Vec<String> =
        known.map(|preset| presets::layers(preset.name, Suits::Texts, &[window], pieces).unwrap()).collect();
    rows.push(presets::gru(pieces, 24, 0.2));
    rows.push(format!("embedding {pieces} 16, lstm 16 layers 2 dropout 0.1, dense {pieces}, transpose"));
    rows.push(format!("embedding {pieces} 16, transformer 2 causal dropout 0.1, dense {pieces}, transpose"));
    for layers in rows {
        let model = || layers.parse::<Sequential>().unwrap().seed(5);
        let (whole, log) = (model(), folder.at("whole.jsonl"));
        let samples = TextSamples::new(&whole, &preparation).prompt("the");
        let run =
            reading(&whole, &valid).callback(samples).callback(JsonlLog::new(&log)).fit(&train).unwrap();
        let said = last_sample(&log);
        assert!(said.starts_with("the") && said.len() > 50, "{layers}: {said}");
        let (plain, history) = (model(), bits(run.history()));
        let without = reading(&plain, &valid).fit(&train).unwrap();
        assert!(weights(&plain) == weights(&whole) && bits(without.history()) == history, "{layers}");
        let epoch = run.steps() / 2;
        for cut in [epoch - 1, epoch + 1] {
            let (first, second) = (model(), model());
            let (path, log) = (folder.at("cut.state"), folder.at("cut.jsonl"));
            let samples = TextSamples::new(&first, &preparation).prompt("the");
            let cut_off = reading(&first, &valid).callback(samples).callback(JsonlLog::new(&log));
            cut_off.callback(CutAt(cut, path.clone())).fit(&train).unwrap();
            let samples = TextSamples::new(&second, &preparation).prompt("the");
            let rest = reading(&second, &valid).callback(samples).callback(JsonlLog::new(&log)).resume(&path);
            let rest = rest.fit(&train).unwrap();
            assert!(weights(&second) == weights(&whole), "{layers}: cut at {cut}");
            assert_eq!(bits(rest.history()), history, "{layers}: cut at {cut}");
            assert_eq!(last_sample(&log), said, "{layers}: cut at {cut}");
        }
    }
}
