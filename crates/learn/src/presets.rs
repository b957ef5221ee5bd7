//! Rows of layers that suit a kind of data, by name: one table, from which the command chooses and over which tests of models go.

mod series;

use kiln_map::nearest;

use crate::{Error, Result};

/// Layers by a name.
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// The data they are for.
    pub suits: &'static [Suits],
    /// The learning rate that suits them, where it isn't what suits their data.
    pub rate: Option<f64>,
    /// How many pieces of a text they see at once, where it isn't what suits texts.
    pub window: Option<usize>,
    /// How they are trained, where it isn't what suits their data: of so many rows, whose targets are numbers or classes.
    pub recipe: Option<fn(usize, bool) -> Recipe>,
    /// The layer in front that makes waves of a table's numbers, where they have one.
    pub waves: Option<&'static str>,
    /// Their text, for rows of this shape and, of texts, so many pieces.
    text: fn(&[usize], usize) -> String,
}

/// How layers are trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// How often the training set is gone through at most.
    pub epochs: u64,
    /// Rows of a step.
    pub batch_size: usize,
    /// The learning rate.
    pub rate: f64,
    /// How it changes, by name.
    pub schedule: &'static str,
    /// How much weights shrink, in proportion to the rate.
    pub decay: f64,
    /// After how many epochs without a better one it ends.
    pub early_stop: u64,
    /// How much of each label goes to all classes.
    pub smoothing: f64,
}

/// Data that layers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suits {
    /// Rows of numbers.
    Tables,
    /// Images `[channels, height, width]`.
    Images,
    /// Texts that go on.
    Texts,
    /// Texts of classes.
    Sorted,
    /// Sentences whose words have tags.
    Tagged,
    /// Pairs of texts.
    Pairs,
    /// Series that are forecast.
    Series,
}

/// Models that are no rows of layers before they are fitted; they suit tables.
pub const FITTED: [&str; 1] = ["trees"];

/// Every preset.
pub const PRESETS: [Preset; 24] = [
    Preset::new("linear", &[Suits::Tables, Suits::Images], |shape, _| flat(shape) + "dense"),
    Preset::new("mlp", &[Suits::Tables, Suits::Images], mlp),
    Preset::new("realmlp", &[Suits::Tables], |_, _| realmlp()).by(by_realmlp).with_waves("waves"),
    Preset::new("tabm", &[Suits::Tables], |_, _| tabm()).by(by_tabm).with_waves("waves"),
    Preset::new("cnn", &[Suits::Images], |shape, _| cnn(shape)),
    Preset::new("resnet18", &[Suits::Images], |_, _| resnet18()),
    Preset::new("gru", &[Suits::Texts], |_, pieces| gru(pieces, 384, 0.0)).at(6e-3),
    Preset::new("lstm", &[Suits::Texts], |_, pieces| lstm(pieces)).at(6e-3),
    Preset::new("wavenet", &[Suits::Texts], |_, pieces| wavenet(pieces)).at(3e-3),
    Preset::new("transformer", &[Suits::Texts], |_, pieces| transformer(pieces)).at(2e-3).seeing(64),
    Preset::new("llama", &[Suits::Texts], |_, pieces| llama(pieces)).at(3e-3).seeing(64),
    Preset::new("words", &[Suits::Sorted], |_, pieces| words(pieces)).at(1e-2),
    Preset::new("bilstm", &[Suits::Sorted], |_, pieces| {
        both_ways("lstm 64", pieces) + "max-over-time, dropout 0.3, dense"
    }),
    Preset::new("encoder", &[Suits::Sorted], |_, pieces| {
        encoder(pieces) + "mean-over-time, dropout 0.3, dense"
    }),
    Preset::new("bilstm", &[Suits::Tagged], |_, pieces| {
        both_ways("lstm 96", pieces) + "dropout 0.3, dense, transpose"
    }),
    Preset::new("bigru", &[Suits::Tagged], |_, pieces| {
        both_ways("gru 96", pieces) + "dropout 0.3, dense, transpose"
    }),
    Preset::new("encoder", &[Suits::Tagged], |_, pieces| encoder(pieces) + "dense, transpose"),
    // What is read and what is written are one sequence: the steps of what is written look back at all that was read.
    Preset::new("transformer", &[Suits::Pairs], |_, pieces| {
        let blocks = ["transformer 4 causal"; 3].join(", ");
        format!("embedding {pieces} 96 padded, sinusoidal-positions, {blocks}, layer-norm, dense {pieces}, transpose")
    })
    .at(2e-3),
    Preset::new("llama", &[Suits::Pairs], |_, pieces| {
        let blocks = ["decoder 4"; 3].join(", ");
        format!("embedding {pieces} 96 padded, {blocks}, rms-norm, dense {pieces} no-bias, transpose")
    })
    .at(3e-3),
    Preset::new("gru", &[Suits::Pairs], |_, pieces| {
        format!("embedding {pieces} 64 padded, gru 224, dense {pieces}, transpose")
    })
    .at(4e-3),
    Preset::new("mlp", &[Suits::Series], |sizes, _| series::mlp(sizes)).by(series::recipe),
    Preset::new("wavenet", &[Suits::Series], |sizes, _| series::wavenet(sizes)).by(series::recipe),
    Preset::new("lstm", &[Suits::Series], |sizes, _| series::lstm(sizes)).by(series::recipe),
    Preset::new("transformer", &[Suits::Series], |sizes, _| series::transformer(sizes)).by(series::recipe),
];

impl Preset {
    const fn new(name: &'static str, suits: &'static [Suits], text: fn(&[usize], usize) -> String) -> Preset {
        Preset { name, suits, rate: None, window: None, recipe: None, waves: None, text }
    }

    /// With a learning rate of its own.
    const fn at(self, rate: f64) -> Preset {
        Preset { rate: Some(rate), ..self }
    }

    /// Trained in a way of its own.
    const fn by(self, recipe: fn(usize, bool) -> Recipe) -> Preset {
        Preset { recipe: Some(recipe), ..self }
    }

    /// With waves of numbers in front.
    const fn with_waves(self, layer: &'static str) -> Preset {
        Preset { waves: Some(layer), ..self }
    }

    /// With a window of its own.
    const fn seeing(self, window: usize) -> Preset {
        Preset { window: Some(window), ..self }
    }

    /// The preset of a name for a kind of data.
    pub fn of(name: &str, data: Suits) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name && preset.suits.contains(&data))
    }
}

/// The layers of a preset for data of a kind: rows of this shape (of series the numbers of the window, of the past, of steps and of each step), and of texts so many pieces; the last may wait to be told how many outputs it
/// has.
///
/// ```
/// use kiln::presets::{Suits, layers};
///
/// assert_eq!(layers("linear", Suits::Images, &[3, 8, 8], 0)?, "flatten, dense");
/// let error = layers("cnn", Suits::Tables, &[13], 0).unwrap_err().to_string();
/// assert!(error.contains("for images"), "{error}");
/// # Ok::<(), kiln::Error>(())
/// ```
///
/// # Errors
/// Where there is none of this name, or it is for other data.
pub fn layers(name: &str, data: Suits, shape: &[usize], pieces: usize) -> Result<String> {
    let refuse = |message: String| Err(Error::Training(message));
    let named: Vec<&Preset> = PRESETS.iter().filter(|preset| preset.name == name).collect();
    if named.is_empty() {
        let mut names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).chain(FITTED).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
        let meant = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names.join(", ")),
        };
        return refuse(format!("there is no preset {name}; {meant}"));
    }
    if let Some(preset) = named.iter().find(|preset| preset.suits.contains(&data)) {
        return Ok((preset.text)(shape, pieces));
    }
    let fitting = PRESETS.iter().filter(|preset| preset.suits.contains(&data));
    let fitting = fitting.map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    let what = named.iter().flat_map(|preset| preset.suits).map(|suits| suits.name());
    let what = what.collect::<Vec<_>>().join(" and ");
    refuse(format!("{name} is for {what}, and the data are {}; there are {fitting}", data.name()))
}

impl Suits {
    /// What they are, in messages.
    fn name(self) -> &'static str {
        match self {
            Suits::Tables => "tables",
            Suits::Images => "images",
            Suits::Texts => "texts that go on",
            Suits::Sorted => "texts with classes",
            Suits::Tagged => "sentences with tags",
            Suits::Pairs => "pairs of texts",
            Suits::Series => "series",
        }
    }
}

fn flat(shape: &[usize]) -> String {
    if shape.len() > 1 { "flatten, ".to_string() } else { String::new() }
}

fn mlp(shape: &[usize], _: usize) -> String {
    let front = flat(shape);
    match shape.len() {
        3 => front + "dense 256, relu, dropout 0.2, dense 128, relu, dense",
        _ => front + "dense 128, relu, dropout 0.3, dense 128, relu, dropout 0.3, dense",
    }
}

/// The ingredients of RealMLP that were worth their time here (docs/tables.md).
fn realmlp() -> String {
    let block = "dense 128, mish, dropout 0.15, ";
    format!("scale rate 6, {block}{block}{block}dense")
}

fn by_realmlp(rows: usize, numbers: bool) -> Recipe {
    let epochs = (1_000_000 / rows.max(1) as u64).clamp(10, 256);
    Recipe {
        epochs,
        batch_size: 256,
        rate: if numbers { 1e-2 } else { 3e-3 },
        schedule: "cosine",
        decay: 0.1,
        early_stop: 40,
        smoothing: 0.0,
    }
}

/// Members that share two layers, as TabM's smaller form has them, behind the waves of RealMLP.
fn tabm() -> String {
    let block = "dense 128, relu, dropout 0.1, ";
    format!("members 16, {block}{block}members-dense")
}

fn by_tabm(rows: usize, _: bool) -> Recipe {
    // Large tables are learned in fewer rounds.
    let epochs = (600_000 / rows.max(1) as u64).clamp(10, 150);
    Recipe {
        epochs,
        batch_size: 128,
        rate: 3e-3,
        schedule: "cosine",
        decay: 0.01,
        early_stop: 16,
        smoothing: 0.0,
    }
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

/// How long the vectors of pieces are in front of a recurrent layer.
pub const CODED: usize = 64;

/// The preset `gru` for texts of so many pieces, with a state of so many numbers and this dropout behind it.
///
/// ```
/// assert_eq!(kiln::presets::gru(66, 512, 0.1), "embedding 66 64, gru 512, dropout 0.1, dense 66, transpose");
/// ```
pub fn gru(pieces: usize, width: usize, dropout: f64) -> String {
    let dropout = if dropout > 0.0 { format!("dropout {dropout}, ") } else { String::new() };
    // Classes stand on axis 1, where the loss looks for them.
    format!("embedding {pieces} {CODED}, gru {width}, {dropout}dense {pieces}, transpose")
}

fn lstm(pieces: usize) -> String {
    format!("embedding {pieces} {CODED}, lstm 384, dense {pieces}, transpose")
}

/// Convolutions over a text that look further and further back, never ahead.
fn wavenet(pieces: usize) -> String {
    let block = |dilation: usize| {
        let back = 2 * dilation;
        format!("residual(conv 128 3 padding {back}:0 dilation {dilation}, relu, conv 128 1)")
    };
    let blocks: Vec<String> = [1, 2, 4, 8, 16, 32].map(block).to_vec();
    format!("embedding {pieces} 64, transpose, conv 128 1, {}, relu, conv {pieces} 1", blocks.join(", "))
}

/// Blocks of attention that never look ahead.
fn transformer(pieces: usize) -> String {
    let blocks = ["transformer 4 causal"; 4].join(", ");
    format!("embedding {pieces} 128, sinusoidal-positions, {blocks}, layer-norm, dense {pieces}, transpose")
}

/// Blocks as Llama's.
fn llama(pieces: usize) -> String {
    let blocks = ["decoder 4"; 4].join(", ");
    format!("embedding {pieces} 128, {blocks}, rms-norm, dense {pieces} no-bias, transpose")
}

/// The mean of words' vectors. Of 876 speeches of five persons it tells 59 % apart (a logistic regression of weighted words 51); with convolutions
/// before the mean 50, and with their strongest answers alone 30 to 38.
fn words(pieces: usize) -> String {
    format!("embedding {pieces} 64 padded, dropout 0.5, mean-over-time, dense")
}

/// A recurrent layer over a text from both its ends.
fn both_ways(layer: &str, pieces: usize) -> String {
    format!("embedding {pieces} 64 padded, dropout 0.3, {layer} bidirectional, ")
}

/// Blocks of attention over a text, to both sides.
fn encoder(pieces: usize) -> String {
    let blocks = ["transformer 4 dropout 0.1"; 2].join(", ");
    format!("embedding {pieces} 64 padded, sinusoidal-positions, {blocks}, layer-norm, ")
}

#[cfg(test)]
mod tests {
    use kiln_nn::{Context, DType, Layer, Module, Sequential, Tensor};

    use super::*;

    /// The layers of a preset, with the number of outputs in their place.
    fn made(name: &str, data: Suits, shape: &[usize], pieces: usize, outputs: usize) -> Sequential {
        layers(name, data, shape, pieces).unwrap().parse::<Sequential>().unwrap().outputs(outputs)
    }

    #[test]
    fn presets_fit_the_images_they_are_for() {
        for side in [5, 8, 12, 28, 32, 64, 96] {
            for name in ["linear", "mlp", "cnn"] {
                let model = made(name, Suits::Images, &[3, side, side], 0, 10);
                assert_eq!(model.build([2, 3, side, side]).unwrap().sizes(), [2, 10], "{name} of {side}");
            }
        }
        let resnet = made("resnet18", Suits::Images, &[3, 32, 32], 0, 10);
        resnet.build([1, 3, 32, 32]).unwrap();
        // Torchvision's with a stem for small images, less the norms in its shortcuts (two numbers for each of 896 channels).
        assert_eq!(resnet.parameter_count(), 11_173_962 - 2 * 896);
    }

    #[test]
    fn presets_for_texts_say_what_comes_next_at_each_step() {
        for preset in PRESETS.iter().filter(|preset| preset.suits.contains(&Suits::Texts)) {
            let model = made(preset.name, Suits::Texts, &[16], 30, 30);
            let codes = Tensor::zeros([2, 16]).cast(DType::I64);
            let y = model.forward(&codes, &Context::inference());
            assert_eq!(y.shape().sizes(), [2, 30, 16], "{}", preset.name);
        }
    }

    #[test]
    fn presets_of_sequences_know_where_these_end() {
        for preset in &PRESETS {
            let codes = Tensor::new(vec![1i64, 2, -1, -1, 3, 4, 5, 6], [2, 4]);
            for (suits, sizes) in
                [(Suits::Sorted, &[2, 3][..]), (Suits::Tagged, &[2, 3, 4]), (Suits::Pairs, &[2, 30, 4])]
            {
                if preset.suits.contains(&suits) {
                    let y = made(preset.name, suits, &[4], 30, 3).forward(&codes, &Context::inference());
                    assert_eq!(y.error().map(|error| error.to_string()), None, "{}", preset.name);
                    assert_eq!(y.shape().sizes(), sizes, "{}", preset.name);
                }
            }
        }
    }

    #[test]
    fn presets_of_series_give_a_number_for_each_step() {
        for preset in PRESETS.iter().filter(|preset| preset.suits.contains(&Suits::Series)) {
            for [window, steps] in [[1, 1], [7, 3], [24, 6], [48, 28], [104, 12]] {
                let model = made(preset.name, Suits::Series, &[window, window + 6, steps, 9], 0, steps);
                let y = model.build([3, window + 6 + steps * 9]).unwrap();
                assert_eq!(y.sizes(), [3, steps], "{} of {window}", preset.name);
            }
        }
    }

    #[test]
    fn a_preset_for_other_data_is_refused() {
        let all = [
            Suits::Tables,
            Suits::Images,
            Suits::Texts,
            Suits::Sorted,
            Suits::Tagged,
            Suits::Pairs,
            Suits::Series,
        ];
        for preset in &PRESETS {
            for data in all {
                let suits = |other: &&Preset| other.name == preset.name && other.suits.contains(&data);
                let sizes: &[usize] = if data == Suits::Series { &[24, 30, 6, 9] } else { &[3, 16, 16] };
                let found = layers(preset.name, data, sizes, 30);
                assert_eq!(
                    found.is_ok(),
                    PRESETS.iter().any(|other| suits(&other)),
                    "{} for {data:?}",
                    preset.name
                );
            }
        }
        let error = layers("cnnn", Suits::Tables, &[13], 0).unwrap_err().to_string();
        assert!(error.contains("did you mean cnn?"), "{error}");
    }
}
