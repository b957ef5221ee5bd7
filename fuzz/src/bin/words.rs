//! Small texts: how images are varied, and metrics. Those that are taken come back from their own text.
#![no_main]

use kiln::metrics::{Figure, Metric, Seen, Targets};
use kiln_data::Augment;
use kiln_fuzz::{fuzz_target, seeds};

const SEEDS: [&str; 6] = [
    "flip, shift 2, rotate 10, scale 0.1, noise 0.05, cutout 6, crop 2, colour 0.5, flip-up",
    "f1 macro",
    "top-3",
    "recall binary",
    "roc-auc",
    "calibration-error",
];

fuzz_target!(init: seeds(SEEDS), |bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(augment) = text.parse::<Augment>() {
        let text = augment.to_string();
        assert_eq!(text.parse::<Augment>().unwrap().to_string(), text);
        augment.apply(&mut [7; 2 * 3 * 5], [2, 3, 5], 0, 1);
    }
    if let Ok(mut metric) = text.parse::<Figure>() {
        let seen = Seen { outputs: &[0.1, 0.9, -1.0, 2.0, 0.0, 0.0], width: 3, targets: Targets::Classes(&[2, 0]) };
        if metric.update(&seen).is_ok() {
            let _ = metric.value();
        }
    }
});
