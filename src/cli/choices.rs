//! Optimizers, schedules and layers by name.

use anyhow::{Context as _, Result, anyhow, bail};
use kiln::nearest;
use kiln::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Groups, Lamb, Lion, Muon, NAdam, Optimizer, RAdam, RmsProp, Sgd,
};
use kiln::prelude::Sequential;
use kiln::schedule::{Constant, Cosine, Exponential, Linear, OneCycle, Schedule, StepDecay, Warmup};

const OPTIMIZERS: [&str; 14] = [
    "sgd", "momentum", "nesterov", "adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "adagrad",
    "adadelta", "lion", "lamb", "muon",
];

/// The optimizer of a name. Biases and norms don't decay.
pub fn optimizer(name: &str, rate: f64, decay: f64) -> Result<Box<dyn Optimizer>> {
    macro_rules! decayed {
        ($optimizer:expr) => {
            Box::new(Groups::new($optimizer.weight_decay(decay)).no_decay_on_biases_and_norms())
        };
    }
    Ok(match name {
        "sgd" => decayed!(Sgd::new(rate)),
        "momentum" => decayed!(Sgd::new(rate).momentum(0.9)),
        "nesterov" => decayed!(Sgd::new(rate).momentum(0.9).nesterov(true)),
        "adam" => decayed!(Adam::new(rate)),
        "adamw" => decayed!(AdamW::new(rate)),
        "adamax" => decayed!(Adamax::new(rate)),
        "nadam" => decayed!(NAdam::new(rate)),
        "radam" => decayed!(RAdam::new(rate)),
        "rmsprop" => decayed!(RmsProp::new(rate)),
        "adagrad" => decayed!(Adagrad::new(rate)),
        "adadelta" => decayed!(Adadelta::new(rate)),
        "lion" => decayed!(Lion::new(rate)),
        "lamb" => decayed!(Lamb::new(rate)),
        "muon" => decayed!(Muon::new(rate)),
        _ => bail!("there is no optimizer {name}; {}", meant(name, &OPTIMIZERS)),
    })
}

/// The schedule of a rule: `cosine`, `warmup 100, one-cycle`, `step 30 0.1`.
pub fn schedule(rule: &str, steps: u64) -> Result<Box<dyn Schedule>> {
    let (warmup, rule) = match rule.split_once(',') {
        Some((first, rest)) => {
            let mut words = first.split_whitespace();
            if words.next() != Some("warmup") {
                bail!("\"{rule}\": only a warmup stands in front of another rule: \"warmup 100, cosine\"");
            }
            let count = words.next().and_then(|count| count.parse::<u64>().ok());
            (
                count
                    .ok_or_else(|| anyhow!("\"{rule}\": how many steps of warmup? \"warmup 100, cosine\""))?,
                rest.trim(),
            )
        }
        None => (0, rule.trim()),
    };
    let mut words = rule.split_whitespace();
    let name = words.next().unwrap_or("");
    let numbers: Vec<f64> = words
        .map(|word| word.parse().with_context(|| format!("\"{rule}\": {word} is no number")))
        .collect::<Result<_>>()?;
    let rest = steps.saturating_sub(warmup).max(1);
    let then: Box<dyn Schedule> = match (name, numbers.as_slice()) {
        ("constant", []) => Box::new(Constant),
        ("cosine", []) => Box::new(Cosine::new(rest)),
        ("one-cycle", []) => Box::new(OneCycle::new(rest)),
        ("linear", []) => Box::new(Linear::new(rest, 1.0, 0.0)),
        ("exponential", &[gamma]) => Box::new(Exponential::new(gamma)),
        ("step", &[every, gamma]) if every >= 1.0 => Box::new(StepDecay::new(every as u64, gamma)),
        ("constant" | "cosine" | "one-cycle" | "linear", _) => bail!("\"{rule}\": {name} takes no number"),
        ("exponential", _) => bail!("\"{rule}\": write the factor of each step: \"exponential 0.999\""),
        ("step", _) => bail!("\"{rule}\": write how many steps and the factor: \"step 1000 0.1\""),
        _ => {
            let names = ["constant", "cosine", "one-cycle", "linear", "exponential", "step"];
            bail!("there is no schedule {name}; {}", meant(name, &names));
        }
    };
    Ok(if warmup > 0 { Box::new(Warmup::new(warmup, then)) } else { then })
}

/// What stands for the layers of a small residual network: two blocks of each size.
fn resnet18() -> String {
    let block = |channels: usize, stride: usize| {
        let first = format!("conv {channels} 3 stride {stride} padding 1 no-bias, batch-norm, relu");
        format!("residual({first}, conv {channels} 3 padding 1 no-bias, batch-norm), relu")
    };
    let stages = [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)];
    let blocks: Vec<String> = stages.iter().map(|&(channels, stride)| block(channels, stride)).collect();
    format!(
        "conv 64 3 padding 1 no-bias, batch-norm, relu, {}, global-avg-pool, flatten, dense",
        blocks.join(", ")
    )
}

/// Two convolutions, each with pooling, as often as the image is large enough.
fn cnn(shape: &[usize]) -> String {
    let side = shape.iter().skip(1).copied().min().unwrap_or(1);
    let (mut text, mut side, mut channels) = (String::new(), side, 32);
    while side >= 5 && channels <= 256 {
        let padding = if side < 12 { " padding 1" } else { "" };
        text += &format!("conv {channels} 3{padding}, relu, pool 2, ");
        side = if side < 12 { side / 2 } else { (side - 2) / 2 };
        channels *= 2;
        if side <= 6 {
            break;
        }
    }
    text + "flatten, dropout 0.25, dense 128, relu, dropout 0.4, dense"
}

/// Convolutions over a text that look further and further back, never ahead.
fn wavenet(pieces: usize) -> String {
    let block = |dilation: usize| {
        let back = 2 * dilation;
        format!("residual(conv 128 3 padding {back}:0 dilation {dilation}, relu, conv 128 1)")
    };
    let blocks: Vec<String> = [1, 2, 4, 8, 16].map(block).to_vec();
    format!("embedding {pieces} 64, transpose, conv 128 1, {}, relu, conv {pieces} 1", blocks.join(", "))
}

/// The layers of a text's preset; none for any other name.
fn for_text(name: &str, pieces: usize) -> Option<String> {
    Some(match name {
        "wavenet" => wavenet(pieces),
        "words" => format!(
            "embedding {pieces} 64, transpose, conv 64 5 padding same, relu, global-pool, flatten, dropout 0.5, dense"
        ),
        // Classes stand on axis 1, where the loss looks for them.
        "lstm" => format!("embedding {pieces} 64, lstm 192, dense {pieces}, transpose"),
        "gru" => format!("embedding {pieces} 64, gru 224, dense {pieces}, transpose"),
        "transformer" => {
            let blocks = ["transformer 4 causal"; 2].join(", ");
            format!(
                "embedding {pieces} 96, sinusoidal-positions, {blocks}, layer-norm, dense {pieces}, transpose"
            )
        }
        _ => return None,
    })
}

/// The layers of a preset for inputs of this shape (and for texts of so many pieces); the last is told how many outputs it has.
pub fn preset(name: &str, shape: &[usize], pieces: Option<usize>) -> Result<String> {
    if let Some(text) = for_text(name, pieces.unwrap_or(0)) {
        return match pieces {
            Some(_) => Ok(text),
            None => bail!("{name} is for texts, and the data are rows of {shape:?}"),
        };
    }
    if pieces.is_some() {
        bail!(
            "{name} is not for texts; wavenet, lstm, gru, transformer (what comes next) and words (texts with classes) are"
        );
    }
    let images = shape.len() == 3;
    let flat = if shape.len() > 1 { "flatten, " } else { "" };
    Ok(match name {
        "linear" => format!("{flat}dense"),
        "mlp" if images => format!("{flat}dense 256, relu, dropout 0.2, dense 128, relu, dense"),
        "mlp" => format!("{flat}dense 128, relu, dropout 0.3, dense 128, relu, dropout 0.3, dense"),
        "cnn" if images => cnn(shape),
        "resnet18" if images => resnet18(),
        "cnn" | "resnet18" => {
            bail!("{name} is for images, and the data are rows of {shape:?}; mlp or linear would fit")
        }
        _ => bail!(
            "there is no preset {name}; {}",
            meant(
                name,
                &["linear", "mlp", "cnn", "resnet18", "wavenet", "lstm", "gru", "transformer", "words"]
            )
        ),
    })
}

/// Layers from their text.
pub fn layers(text: &str, outputs: usize, seed: u64) -> Result<Sequential> {
    Ok(text.parse::<Sequential>()?.outputs(outputs).seed(seed))
}

/// The mend of a name that isn't known.
pub fn meant(name: &str, names: &[&str]) -> String {
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::prelude::*;

    #[test]
    fn every_optimizer_and_rule_is_found_and_others_are_not() {
        for name in OPTIMIZERS {
            assert_eq!(optimizer(name, 0.1, 0.01).unwrap().rate(), 0.1, "{name}");
        }
        assert!(optimizer("adamm", 0.1, 0.0).err().unwrap().to_string().contains("did you mean adam"));
        let factor = |rule: &str, step: u64| schedule(rule, 100).unwrap().factor(step);
        assert_eq!((factor("linear", 0), factor("linear", 50)), (1.0, 0.5));
        assert_eq!((factor("warmup 10, cosine", 9), factor("step 10 0.5", 10)), (1.0, 0.5));
        for wrong in ["cosin", "step 3", "cosine 4", "warmup x, cosine", "linear, cosine", "exponential"] {
            assert!(schedule(wrong, 100).is_err(), "{wrong}");
        }
    }

    #[test]
    fn presets_fit_the_images_they_are_for() {
        for side in [5, 8, 12, 28, 32, 64, 96] {
            for name in ["linear", "mlp", "cnn"] {
                let model = layers(&preset(name, &[3, side, side], None).unwrap(), 10, 1).unwrap();
                assert_eq!(model.build([2, 3, side, side]).unwrap().sizes(), [2, 10], "{name} of {side}");
            }
        }
        let resnet = layers(&preset("resnet18", &[3, 32, 32], None).unwrap(), 10, 1).unwrap();
        resnet.build([1, 3, 32, 32]).unwrap();
        // Torchvision's with a stem for small images, less the norms in its shortcuts (two numbers for each of 896 channels).
        assert_eq!(resnet.parameter_count(), 11_173_962 - 2 * 896);
        assert!(preset("cnn", &[13], None).is_err());
    }

    #[test]
    fn presets_for_texts_say_what_comes_next_at_each_step() {
        for name in ["wavenet", "lstm", "gru", "transformer"] {
            let model = layers(&preset(name, &[16], Some(30)).unwrap(), 30, 1).unwrap();
            let codes = Tensor::zeros([2, 16]).cast(DType::I64);
            let y = model.forward(&codes, &Context::inference());
            assert_eq!(y.shape().sizes(), [2, 30, 16], "{name}");
            assert!(preset(name, &[16], None).is_err(), "{name}");
        }
        let error = preset("cnn", &[16], Some(30)).unwrap_err().to_string();
        assert!(error.contains("not for texts"), "{error}");
    }
}
