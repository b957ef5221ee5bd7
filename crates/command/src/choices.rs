//! Optimizers, schedules and layers by name.

use anyhow::{Context as _, Result, anyhow, bail};
use kiln_learn::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Groups, Lamb, Lion, Muon, NAdam, Optimizer, RAdam, RmsProp, Sgd,
};
use kiln_learn::prelude::Sequential;
use kiln_learn::schedule::{
    Constant, Cosine, Exponential, FlatCosine, Linear, OneCycle, Schedule, StepDecay, Warmup,
};
use kiln_map::nearest;

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
    // A training of few steps would never come to the rule itself.
    let warmup = warmup.min(steps / 2);
    let rest = steps.saturating_sub(warmup).max(1);
    let then: Box<dyn Schedule> = match (name, numbers.as_slice()) {
        ("constant", []) => Box::new(Constant),
        ("cosine", []) => Box::new(Cosine::new(rest)),
        ("flat-cosine", []) => Box::new(FlatCosine::new(rest)),
        ("one-cycle", []) => Box::new(OneCycle::new(rest)),
        ("linear", []) => Box::new(Linear::new(rest, 1.0, 0.0)),
        ("exponential", &[gamma]) => Box::new(Exponential::new(gamma)),
        ("step", &[every, gamma]) if every >= 1.0 => Box::new(StepDecay::new(every as u64, gamma)),
        ("constant" | "cosine" | "flat-cosine" | "one-cycle" | "linear", _) => {
            bail!("\"{rule}\": {name} takes no number")
        }
        ("exponential", _) => bail!("\"{rule}\": write the factor of each step: \"exponential 0.999\""),
        ("step", _) => bail!("\"{rule}\": write how many steps and the factor: \"step 1000 0.1\""),
        _ => {
            let names = ["constant", "cosine", "flat-cosine", "one-cycle", "linear", "exponential", "step"];
            bail!("there is no schedule {name}; {}", meant(name, &names));
        }
    };
    Ok(if warmup > 0 { Box::new(Warmup::new(warmup, then)) } else { then })
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

    #[test]
    fn every_optimizer_and_rule_is_found_and_others_are_not() {
        for name in OPTIMIZERS {
            assert_eq!(optimizer(name, 0.1, 0.01).unwrap().rate(), 0.1, "{name}");
        }
        assert!(optimizer("adamm", 0.1, 0.0).err().unwrap().to_string().contains("did you mean adam"));
        let factor = |rule: &str, step: u64| schedule(rule, 100).unwrap().factor(step);
        assert_eq!((factor("linear", 0), factor("linear", 50)), (1.0, 0.5));
        assert_eq!((factor("warmup 10, cosine", 9), factor("step 10 0.5", 10)), (1.0, 0.5));
        // A warm-up takes half of a short training at most.
        let short = |step: u64| schedule("warmup 50, cosine", 30).unwrap().factor(step);
        assert!(short(14) == 1.0 && short(22) < 0.6 && short(29) < 0.02, "{} {}", short(22), short(29));
        for wrong in ["cosin", "step 3", "cosine 4", "warmup x, cosine", "linear, cosine", "exponential"] {
            assert!(schedule(wrong, 100).is_err(), "{wrong}");
        }
    }
}
