//! What a training can be told, as one table: each line is a flag of `kiln train` and a key of its TOML file.
//! Long: the table has a line for each setting, and stands in one place.

mod value;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kiln_map::nearest;

use self::value::SettingValue;
pub use self::value::{Amount, Count, Rate, Seconds, Seed, Share, Threads, Whole, seconds};

/// A line of the table.
pub struct SettingKey {
    pub name: &'static str,
    pub heading: &'static str,
    /// The parts of a training (of [`PARTS`]) whose numbers it changes. A run that goes on keeps such a setting, unless the change is allowed.
    pub changes: &'static [&'static str],
    /// What stands for the value in the help; nothing for a switch.
    pub value: &'static str,
    pub help: &'static str,
    /// Reads a value, from a flag or the file.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
    /// The value as TOML, if it was set.
    pub get: fn(&Settings) -> Option<toml::Value>,
}

macro_rules! keys {
    ($($heading:literal { $($name:literal $field:ident: $type:tt [$changes:expr] = $value:literal $help:literal;)* })*) => {
        /// What was said, by flags or in a file. What wasn't is chosen when the data are known.
        #[derive(Clone, Debug, Default)]
        pub struct Settings {
            /// Where the data are.
            pub data: Option<PathBuf>,
            $($(pub $field: Option<$type>,)*)*
        }

        /// The table.
        pub const KEYS: &[SettingKey] = &[$($(SettingKey {
            name: $name,
            heading: $heading,
            changes: $changes,
            value: $value,
            help: $help,
            set: |settings, text| {
                settings.$field = Some(<$type as SettingValue>::read(text)?);
                Ok(())
            },
            get: |settings| settings.$field.as_ref().map(SettingValue::write),
        },)*)*];
    };
}

/// Of settings that change no number, or only how many of them there are.
const NOTHING: &[&str] = &[];

/// Of settings that say which rows there are and what they look like, from which much follows.
const ROWS: &[&str] =
    &["data", "validation data", "layers", "loss", "optimizer", "order of rows", "class weights", "metrics"];

/// Of settings that say what the layers are.
const LAYERS: &[&str] = &["layers", "loss", "optimizer"];

/// Of the seed, from which the parts of the data follow too.
const SEED: &[&str] = &["seed", "data", "validation data", "order of rows", "class weights"];

/// Where randomness starts, if nobody says.
pub const DEFAULT_SEED: u64 = 7;

/// The heading of what is about data.
const DATA: &str = "Data";

keys! {
    "Data" {
        "target" target: String [ROWS] = "COLUMN" "The column of a table to predict, by its name or its number from 1; several with commas between them [default: target, label, class or y, else the last]";
        "task" task: String [ROWS] = "KIND" "classes, ordinal (classes from little to much), labels (any number of them, in a list such as a;b;c), number or count (whole numbers whose mean is predicted), where a table doesn't show which; of several targets one word for all, or one for each with commas between them";
        "target-scale" target_scale: String [ROWS] = "HOW" "What a number is learned as: as-is, or log where few are very large; of several targets one word for all, or one for each [default: log where that is measured to be better]";
        "order" order: String [ROWS] = "CLASSES" "The classes of an ordinal target from little to much, with commas between them [default: as numbers are]";
        "interval" interval: Share [ROWS] = "SHARE" "Predict numbers with two bounds between which this share of all lie, such as 0.9; the number is then the middle of what may come";
        "ignore" ignore: String [ROWS] = "COLUMNS" "Columns of a table to leave out, with commas between them";
        "embed" embed: String [ROWS] = "COLUMNS" "Columns of a table whose words become vectors that are learned, with commas between them";
        "columns" columns: String [ROWS] = "HOW" "How columns of a table become numbers: \"age: robust, zip: words, when: cycles, id: drop\"; also standardise, smooth-clip, min-max, log, as-is, codes, text, calendar";
        "numbers" numbers: String [ROWS] = "HOW" "How columns of numbers become inputs of which --columns says nothing: smooth-clip (by their quartiles, far ones drawn in), standardise, robust, min-max, log, as-is [default: smooth-clip]";
        "header" header: String [ROWS] = "YES|NO" "Whether the first row of a table names its columns [default: what the rows below show]";
        "missing" missing: String [ROWS] = "WORDS" "Words that say in any column that its value is missing, with commas between them, besides the usual ones";
        "decimal" decimal: String [ROWS] = "SIGN" "What stands before decimals: . or , [default: what the numbers show]";
        "thousands" thousands: String [ROWS] = "SIGN" "What stands between thousands: , . ' or space [default: what the numbers show]";
        "dates" dates: String [ROWS] = "ORDER" "How dates such as 03/04/2024 are meant: dmy, mdy or ymd [default: what the dates show]";
        "delimiter" delimiter: String [ROWS] = "SIGN" "What stands between cells: , ; | tab, or another sign [default: what the first rows show]";
        "encoding" encoding: String [ROWS] = "NAME" "How a text is encoded: utf-8, utf-16 or latin-1 (windows-1252) [default: what its bytes show]";
        "sheet" sheet: String [ROWS] = "NAME|N" "The sheet of a workbook, by its name or its number from 1 [default: the first that isn't empty]";
        "member" member: String [ROWS] = "NAME|N" "The table of a zip archive, by its name or its number from 1 [default: the only one]";
        "text" text: String [ROWS] = "COLUMN" "The column of a table that holds texts, to learn the --target from their words";
        "pairs" pairs: bool [ROWS] = "" "The --target is a text too, which the model learns to write when it has read the --text";
        "frame" frame: PathBuf [NOTHING] = "FILE.kdf" "Turn a table larger than memory into a file of prepared rows once, and train from that";
        "images" images: String [ROWS] = "COLUMN" "The column of a table that holds paths of images, from the table's folder on";
        "group" group: String [ROWS] = "COLUMN" "Rows that are equal in this column (a patient, a speaker) stay in one part";
        "time" time: String [ROWS] = "COLUMN" "Rows are cut in parts by this number or date: later ones are validated and tested with; of series the column of times";
        "forecast" forecast: Count [ROWS] = "STEPS" "Forecast so many next steps of the --target, of one series or of several";
        "series" series: String [ROWS] = "COLUMNS" "Columns that say which series a row is of, with commas between them [default: all rows are one series]";
        "known" known: String [ROWS] = "COLUMNS" "Columns whose future is known when a forecast is made, such as prices and holidays, with commas between them";
        "frequency" frequency: String [ROWS] = "HOW" "How often a series has a value: hourly, daily, weekdays, weekly, monthly, quarterly, yearly, every 15 minutes, steps of 1 [default: what the times show]";
        "season" season: Count [ROWS] = "STEPS" "After how many steps a series repeats [default: what foretells best]";
        "duplicates" duplicates: String [ROWS] = "HOW" "What several rows of one series and one step are: their mean, or their sum [default: mean]";
        "gaps" gaps: String [ROWS] = "HOW" "What steps without a value are: missing, or zero [default: missing]";
        "test" test: PathBuf [ROWS] = "FILE" "Another table, to test with at the end; all rows of the first are trained on and validated with";
        "val" val: PathBuf [ROWS] = "FILE" "Another table, to validate with while training";
        "test-fraction" test_fraction: Share [ROWS] = "SHARE" "The share kept for the test at the end, where no test set comes with the data; 0 of a table keeps none [default: 0.2]";
        "val-fraction" val_fraction: Share [ROWS] = "SHARE" "The share of the rest that is held out for validation while training [default: 0.1; of tables 0.2]";
        "image-size" image_size: Count [ROWS] = "PIXELS" "Resize images to a square of this side [default: a size that suits all of them, in their proportions, 64 on the longer side at most]";
        "grey" grey: bool [ROWS] = "" "Read images without colour";
        "strict" strict: bool [NOTHING] = "" "Stop at an image that can't be read, instead of leaving it out";
        "augment" augment: String [&["data"]] = "CHANGES" "Vary training images: \"flip, shift 2, rotate 10, scale 0.1, noise 0.05, cutout 6\"; flip-up, crop, colour, shear, saturation, posterise, solarise, equalise, contrast; \"random 2 9\" draws two of them at strength 9 of 30 (RandAugment); none [default: of photos a little, else none]";
        "pieces" pieces: String [ROWS] = "WHAT" "What a text is cut in: characters, bytes, words, or learned N (byte pairs) [default: characters; where there are classes, words]";
        "window" window: Count [ROWS] = "LENGTH" "How many pieces of a text are seen at once [default: 256, for attention 64, of a short text fewer; of texts with classes 128]";
    }
    "Model" {
        "layers" layers: String [LAYERS] = "LAYERS" "The layers: \"conv 32 3, relu, max-pool 2, flatten, dense 128, relu, dropout 0.3, dense\"; --help lists all";
        "preset" preset: String [LAYERS] = "NAME" "Known models: linear, mlp, cnn, resnet18; for tables also trees, realmlp, tabm [default of --quick: tabm, above 20,000 rows mlp]; for texts gru, lstm, wavenet, transformer, llama [default: a gru whose size suits the text and --time-limit]; for texts with classes words, bilstm, encoder; for sentences with tags bilstm, bigru, encoder; for pairs of texts transformer, llama, gru";
        "from" from: PathBuf [NOTHING] = "MODEL" "Start from this model: its layers, its weights, and how raw data become its input; or from a language model's folder, with its pieces";
        "freeze" freeze: String [LAYERS] = "PATTERNS" "Parameters of --from that stay as they are, by their paths, with commas between them: \"features.*, stem.*\"";
        "lora" lora: Count [LAYERS] = "RANK" "Train low-rank adapters (LoRA) of this rank beside every dense layer of --from, a language model's folder, and leave its weights as they are; their scale is 2";
        "head" head: bool [LAYERS] = "" "Give the model of --from a new last layer, for what the data's classes (or numbers) are";
        "monotone" monotone: String [LAYERS] = "SIGNS" "Columns of which more never says less of what is predicted (of two classes of the second), or more: \"age:+, price:-\"; of linear models";
    }
    "Training" {
        "epochs" epochs: Whole [NOTHING] = "N" "How often to go through the training set";
        "batch-size" batch_size: Count [&["batch size"]] = "N" "How many rows make one step; the last batch of an epoch may be smaller";
        "lr" lr: Rate [&["rate"]] = "RATE" "The learning rate";
        "optimizer" optimizer: String [&["optimizer"]] = "NAME" "sgd, momentum, nesterov, adam, adamw, adamax, nadam, radam, rmsprop, adagrad, adadelta, lion, lamb or muon";
        "schedule" schedule: String [&["schedule"]] = "RULE" "constant, cosine, flat-cosine, one-cycle, linear, exponential G, step N G; \"warmup N, …\" in front of any, for half of the steps at most";
        "weight-decay" weight_decay: Amount [&["optimizer"]] = "SHARE" "How much weights shrink, in proportion to the rate";
        "label-smoothing" label_smoothing: Amount [&["loss"]] = "SHARE" "How much of each label goes to all classes";
        "clip" clip: Amount [&["clip"]] = "NORM" "The most the norm of all gradients may be";
        "accumulate" accumulate: Count [&["accumulated batches"]] = "N" "Change the weights after every N batches only";
        "layer-decay" layer_decay: Share [&["optimizer"]] = "SHARE" "Each layer's rate as a share of that of the layer behind it (discriminative rates), such as 0.8: what lies near the input changes less";
        "unfreeze-every" unfreeze_every: Count [&["optimizer"]] = "N" "Train the last layer first; every N epochs the layer in front of those that are trained joins them (gradual unfreezing)";
        "ema" ema: Share [&["averages"]] = "DECAY" "Keep a moving average of the weights, and use it";
        "sampling" sampling: String [&["order of rows"]] = "WHICH" "shuffled; or balanced: each class drawn equally often";
        "class-weights" class_weights: String [&["class weights"]] = "WHICH" "balanced, or none";
        "threshold" threshold: String [NOTHING] = "HOW" "Of two classes, above which probability it is the second: a number such as 0.3, or the one that is best on the validation rows by f1 or balanced (balanced accuracy) [default: 0.5]";
        "coverage" coverage: Share [NOTHING] = "SHARE" "Predict the set of classes that holds the right one for this share of all rows, such as 0.9, by rows that were held out; numbers have --interval";
        "sets" sets: String [NOTHING] = "HOW" "Which classes are in a set: lac (the likely ones: the smallest sets), aps (the likeliest until they add up), or per-class (as many rows of each class are held) [default: lac]";
        "calibrate" calibrate: String [NOTHING] = "HOW" "How probabilities and intervals are put right on rows that were held out: none, temperature, isotonic (two classes) or auto (what measurably helps) [default: auto of several models; else intervals alone]";
        "metric" metric: String [&["metrics"]] = "NAME" "The validation figure that says which epoch is the best, and is shown: loss, accuracy, f1, roc-auc, log-loss, …; of numbers r2, mae, rmse, … [default: loss]";
        "early-stop" early_stop: Whole [NOTHING] = "N" "End when validation is no better for N epochs; 0 never does";
        "refit" refit: bool [NOTHING] = "" "When the best epoch is known, train once more for as many epochs on all rows, validation included";
        "time-limit" time_limit: Seconds [NOTHING] = "TIME" "Take so long at most, from the start to the report: 90s, 10m, 2h; schedules are fitted to it";
        "quick" quick: bool [NOTHING] = "" "Of a table train one network at once, instead of trying several kinds of models on folds";
        "k-fold" k_fold: Count [NOTHING] = "N" "Cross-validate with N folds first, and say how much results vary";
        "seed" seed: Seed [SEED] = "NUMBER" "Where randomness starts [default: 7]";
        "device" device: String [NOTHING] = "NAME" "Where to compute: cpu, or another that `kiln devices` lists [default: cpu]";
        "threads" threads: Threads [NOTHING] = "N" "How many threads may work [default: every core, or KILN_THREADS]";
    }
    "Run" {
        "out" out: PathBuf [NOTHING] = "DIR" "The folder of the run [default: a new one in runs/]";
        "checkpoint-dir" checkpoint_dir: PathBuf [NOTHING] = "DIR" "Where checkpoints go [default: checkpoints/ in the run's folder]";
        "checkpoint-every" checkpoint_every: String [NOTHING] = "HOW OFTEN" "\"2 epochs\" or \"500 steps\" [default: every epoch]";
        "keep-neighbours" keep_neighbours: Count [NOTHING] = "N" "Keep at most so many rows of a table in the model's file, with their answers, for whoever has it to read: `kiln explain --neighbours` shows the nearest";
        "keep" keep: Whole [NOTHING] = "N" "How many checkpoints stay besides the last and the best [default: 0]";
        "log-csv" log_csv: PathBuf [NOTHING] = "FILE" "Another place for the table of epochs";
        "tensorboard" tensorboard: PathBuf [NOTHING] = "DIR" "Write events for TensorBoard";
        "repeat" repeat: PathBuf [NOTHING] = "RESULT" "Do what a run did that chose among models, bit for bit: its result.json, which says what its clock decided";
        "resume" resume: PathBuf [NOTHING] = "DIR" "Go on with the run in this folder";
        "quiet" quiet: bool [NOTHING] = "" "Print the result and nothing else";
        "json" json: bool [NOTHING] = "" "Print JSON for programs, an object a line";
    }
}

/// The command `kiln train`, with a flag for each line of the table.
pub fn command(command: Command) -> Command {
    let flag = |key: &'static SettingKey| {
        let arg = Arg::new(key.name).long(key.name).help(key.help).help_heading(key.heading);
        match key.value {
            "" => arg.action(ArgAction::SetTrue),
            value => arg.value_name(value).value_parser(move |text: &str| {
                (key.set)(&mut Settings::default(), text).map(|()| text.to_string())
            }),
        }
    };
    let data = Arg::new("data")
        .value_name("DATA")
        .value_parser(value_parser!(PathBuf))
        .help("A table, a folder of images, MNIST's folder, a text, or a TOML file; made digits if left out");
    command.arg(data).args(KEYS.iter().map(flag))
}

impl Settings {
    /// Refuses settings about data other than those `known` for this kind of data, which would change nothing.
    pub fn only(&self, kind: &str, known: &[&str]) -> Result<()> {
        let set = |key: &&SettingKey| {
            key.heading == DATA && (key.get)(self).is_some() && !known.contains(&key.name)
        };
        match KEYS.iter().find(set) {
            Some(key) => bail!("--{} changes nothing for {kind}; leave it out", key.name),
            None => Ok(()),
        }
    }

    /// The parts that may differ from a run's, by what `--allow-changes` names: settings of the table, or `data`.
    pub fn parts(allowed: &[&str]) -> Result<Vec<&'static str>> {
        let mut parts = Vec::new();
        let known = || KEYS.iter().filter(|key| !key.changes.is_empty());
        for name in allowed {
            if *name == "data" {
                parts.extend(ROWS);
                continue;
            }
            let Some(key) = known().find(|key| key.name == *name) else {
                let mend = match (
                    nearest(name, known().map(|key| key.name)),
                    KEYS.iter().any(|key| key.name == *name),
                ) {
                    (_, true) => "it changes no number and needn't be allowed".to_string(),
                    (Some(near), false) => format!("did you mean {near}?"),
                    (None, false) => {
                        format!(
                            "there are data, {}",
                            known().map(|key| key.name).collect::<Vec<_>>().join(", ")
                        )
                    }
                };
                bail!("--allow-changes {name}: {mend}");
            };
            parts.extend(key.changes);
        }
        Ok(parts)
    }

    /// What `--allow-changes` calls a part.
    pub fn named(part: &str) -> &'static str {
        let is_named = |key: &&SettingKey| key.heading != DATA && key.changes.first() == Some(&part);
        let only =
            KEYS.iter().find(|key| is_named(key) && key.changes.len() == 1).or(KEYS.iter().find(is_named));
        only.map_or("data", |key| key.name)
    }

    /// Refuses settings that change numbers, are `said` anew for a run that goes on, and aren't what they were `then`, unless they are
    /// allowed. What isn't said is as it was; where somebody changed the run's file, its checkpoint knows.
    pub fn only_as_before(&self, said: &Settings, then: &Settings, allowed: &[&str]) -> Result<()> {
        for key in KEYS.iter().filter(|key| !key.changes.is_empty() && (key.get)(said).is_some()) {
            // A preset is kept as the layers it is.
            let key = KEYS.iter().find(|other| key.name == "preset" && other.name == "layers").unwrap_or(key);
            let (was, is) = ((key.get)(then), (key.get)(self));
            if was != is && !allowed.contains(&key.name) {
                let shown = |value: Option<toml::Value>| {
                    value.map_or("nothing".to_string(), |value| value.to_string())
                };
                bail!(
                    "--{}: the run has {}, and what goes on keeps it ({} is asked for); --allow-changes {} lets it change",
                    key.name,
                    shown(was),
                    shown(is),
                    key.name
                );
            }
        }
        Ok(())
    }

    /// A setting that describes one model or how it is trained, if there is one: no others are tried beside it.
    pub fn one_model(&self) -> Option<&'static str> {
        let any = "monotone metric threshold coverage sets calibrate time-limit seed device threads";
        let of_run = ["checkpoint-dir", "checkpoint-every", "keep", "log-csv", "tensorboard"];
        let is_of_one = |key: &&SettingKey| {
            let is_of_any = any.split(' ').any(|name| name == key.name);
            let of_model = ["Model", "Training"].contains(&key.heading) && !is_of_any;
            (of_model || of_run.contains(&key.name) || key.name == "frame") && (key.get)(self).is_some()
        };
        KEYS.iter().find(is_of_one).map(|key| key.name)
    }

    /// Whether any of these settings is said.
    pub fn says_any(&self, names: &[&str]) -> bool {
        KEYS.iter().any(|key| names.contains(&key.name) && (key.get)(self).is_some())
    }

    /// Refuses settings that change nothing for this kind of model.
    pub fn without(&self, kind: &str, names: &[&str]) -> Result<()> {
        match KEYS.iter().find(|key| names.contains(&key.name) && (key.get)(self).is_some()) {
            Some(key) => bail!("--{} changes nothing for {kind}; leave it out", key.name),
            None => Ok(()),
        }
    }

    /// Refuses settings that the model a training starts from has decided.
    pub fn only_without_base(&self, names: &[&str]) -> Result<()> {
        match KEYS.iter().find(|key| names.contains(&key.name) && (key.get)(self).is_some()) {
            Some(key) => bail!("--{} is what the model of --from says already; leave it out", key.name),
            None => Ok(()),
        }
    }

    /// What the flags say.
    pub fn from_flags(matches: &ArgMatches) -> Result<Settings> {
        let mut settings =
            Settings { data: matches.get_one::<PathBuf>("data").cloned(), ..Settings::default() };
        for key in KEYS {
            let text = match key.value {
                "" => matches.get_flag(key.name).then(|| "true".to_string()),
                _ => matches.get_one::<String>(key.name).cloned(),
            };
            if let Some(text) = text {
                (key.set)(&mut settings, &text).map_err(|message| anyhow!("--{}: {message}", key.name))?;
            }
        }
        Ok(settings)
    }

    /// What a TOML file says.
    pub fn from_file(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let settings = Settings::from_toml(&text).with_context(|| path.display().to_string())?;
        match settings.data.is_none() && KEYS.iter().all(|key| (key.get)(&settings).is_none()) {
            true => bail!(
                "{}: nothing is set in it; `kiln train DATA --print-config` shows what can be",
                path.display()
            ),
            false => Ok(settings),
        }
    }

    /// What the settings of a run were. They say all that is chosen for it, which tells them from other files.
    pub fn of_run(path: &Path) -> Result<Settings> {
        let settings = Settings::from_file(path)?;
        match settings {
            // What is fitted has no epochs.
            Settings { preset: Some(_), seed: Some(_), .. } => Ok(settings),
            Settings {
                epochs: Some(_),
                batch_size: Some(_),
                lr: Some(_),
                optimizer: Some(_),
                seed: Some(_),
                ..
            } => Ok(settings),
            _ => bail!(
                "{}: these aren't the settings of a run, which say epochs, batch-size, lr, optimizer and seed; was it changed?",
                path.display()
            ),
        }
    }

    /// What a TOML text says.
    pub fn from_toml(text: &str) -> Result<Settings> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            anyhow!("line {}: {}", line.unwrap_or(1), error.message())
        })?;
        let mut settings = Settings::default();
        for (name, value) in &table {
            let line =
                1 + text.lines().take_while(|line| !line.trim_start().starts_with(name.as_str())).count();
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                _ => bail!("line {line}: {name} is a {}; write `{name} = value`", value.type_str()),
            };
            if name == "data" {
                settings.data = Some(PathBuf::from(text));
                continue;
            }
            let names = KEYS.iter().map(|key| key.name);
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                let mend = match nearest(name, names.clone().chain(["data"])) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are data, {}", names.collect::<Vec<_>>().join(", ")),
                };
                bail!("line {line}: {name} is nothing that can be set; {mend}");
            };
            (key.set)(&mut settings, &text)
                .map_err(|message| anyhow!("line {line}: {name} = {value}: {message}"))?;
        }
        Ok(settings)
    }

    /// These, and those of another where these say nothing.
    pub fn or(mut self, other: &Settings) -> Settings {
        self.data = self.data.or_else(|| other.data.clone());
        for key in KEYS {
            if let (None, Some(value)) = ((key.get)(&self), (key.get)(other)) {
                let text = match value {
                    toml::Value::String(text) => text,
                    value => value.to_string(),
                };
                // It was read once already.
                let _ = (key.set)(&mut self, &text);
            }
        }
        self
    }

    /// As a TOML file, by the headings of the table.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        if let Some(data) = &self.data {
            text += &format!("data = {}\n", toml::Value::from(data.display().to_string()));
        }
        let mut heading = "";
        for key in KEYS {
            if let Some(value) = (key.get)(self) {
                if key.heading != heading {
                    heading = key.heading;
                    text += &format!("\n# {heading}\n");
                }
                text += &format!("{} = {value}\n", key.name);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
