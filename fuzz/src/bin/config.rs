//! What a TOML file tells `kiln train`: one that is taken comes back from its own text.
#![no_main]

use kiln_fuzz::{file, fuzz_target, seeds};

// The command keeps its settings to itself; this file of it stands by itself, so it is read in as it is.
#[allow(dead_code)]
#[path = "../../../crates/command/src/settings/mod.rs"]
mod settings;
use settings::Settings;

const SEEDS: [&str; 3] = [
    "data = \"größe.csv\"\nepochs = 3\nlr = 1e-3\nlayers = \"dense 3, relu\"\nquiet = true\n",
    "# Data\ntest-fraction = 0.25\ngrey = false\nwindow = \"64\"\n\n# Training\ntime-limit = \"1.5h\"\nseed = 18_446\n",
    "out = 'runs/x'\nthreads = 0x10\naugment = \"\"\"flip,\nshift 2\"\"\"\nclip = inf\n[x]\ny = [1, 2024-01-31]\n",
];

fuzz_target!(init: seeds(SEEDS), |bytes: &[u8]| {
    if let Ok(settings) = Settings::from_file(&file("input.toml", bytes)) {
        let text = settings.to_toml();
        let again = Settings::from_file(&file("again.toml", text.as_bytes())).unwrap();
        assert_eq!(again.to_toml(), text);
        assert_eq!(Settings::default().or(&settings).to_toml(), text);
    }
});
