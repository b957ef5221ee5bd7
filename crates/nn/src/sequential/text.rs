//! The text form of a row of layers, both ways: `conv 32 3 padding same, relu, pool 2, flatten, dense 10`.
//!
//! A layer is a word, then numbers, then settings by name; layers are separated by commas. `residual(…)` holds a row,
//! `parallel(…; …)` and `sum(…; …)` hold several.

use std::fmt;
use std::fmt::Write;
use std::str::FromStr;

use kiln_ir::{Error, ErrorKind, Result};

use super::words::{Reads, Word, words};
use super::{Join, Kind, Part, Sequential, Spec, sequence};
use crate::layers::{Activation, Dropout, Pool, Upsample};
use crate::tensor::conv::ConvOptions;
use crate::tensor::pool::PoolOptions;
use crate::tensor::window::{Padding, PerAxis};
use kiln_map::nearest;

impl Sequential {
    /// The row as text that [`str::parse`] reads back.
    ///
    /// # Errors
    /// Where it holds a closure or a layer of one's own.
    pub fn to_text(&self) -> Result<String> {
        let mut texts = Vec::with_capacity(self.parts.len());
        for (position, part) in self.parts.iter().enumerate() {
            let rows = |rows: &[Sequential]| -> Result<String> {
                Ok(rows.iter().map(Sequential::to_text).collect::<Result<Vec<_>>>()?.join("; "))
            };
            let text = match &part.kind {
                Kind::Described(spec, _) => spec.to_string(),
                Kind::Residual(body, _) => format!("residual({})", body.to_text()?),
                Kind::Parallel(list, Join::Concat) => format!("parallel({})", rows(list)?),
                Kind::Parallel(list, Join::Sum) => format!("sum({})", rows(list)?),
                Kind::Lambda(_) | Kind::Own(_) => {
                    let what = part.name.clone().unwrap_or_else(|| part.kind.title());
                    let message = format!("layer {position} ({what}) is code and has no text form");
                    return Err(Error::new(ErrorKind::Value, "to_text", message).nowhere());
                }
            };
            texts.push(match &part.name {
                None => text,
                Some(name) if is_name(name) => format!("{text} as {name}"),
                Some(name) => {
                    let message = format!("the name {name:?} of layer {position} has no text form; letters, digits, - and _ have");
                    return Err(Error::new(ErrorKind::Value, "to_text", message).nowhere());
                }
            });
        }
        Ok(texts.join(", "))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Dense { outputs, bias } => {
                f.write_str("dense")?;
                if let Some(outputs) = outputs {
                    write!(f, " {outputs}")?;
                }
                f.write_str(if *bias { "" } else { " no-bias" })
            }
            Spec::Conv { outputs, window, options, bias } => {
                write!(f, "conv {outputs} {}{}", sizes(window), moves(options))?;
                f.write_str(if *bias { "" } else { " no-bias" })
            }
            Spec::Depthwise { window, options } => write!(f, "depthwise {}{}", sizes(window), moves(options)),
            Spec::ConvTranspose { outputs, window, options } => {
                write!(f, "conv-transpose {outputs} {}{}", sizes(window), moves(options))
            }
            Spec::Embedding(count, size) => write!(f, "embedding {count} {size}"),
            Spec::EmbedColumns(columns) => {
                f.write_str("embed-columns")?;
                columns.iter().try_for_each(|(count, size)| write!(f, " {count}:{size}"))
            }
            Spec::BatchNorm => f.write_str("batch-norm"),
            Spec::LayerNorm => f.write_str("layer-norm"),
            Spec::RmsNorm => f.write_str("rms-norm"),
            Spec::GroupNorm(groups) => write!(f, "group-norm {groups}"),
            Spec::InstanceNorm => f.write_str("instance-norm"),
            Spec::PRelu => f.write_str("prelu"),
            Spec::Activation(activation) => match activation {
                Activation::LeakyRelu(slope) => write!(f, "leaky-relu {slope}"),
                Activation::Elu(alpha) => write!(f, "elu {alpha}"),
                Activation::Celu(alpha) => write!(f, "celu {alpha}"),
                other => {
                    let is_it = |word: &&Word| matches!(&word.reads, Reads::Activation(own) if own == other);
                    f.write_str(words().find(is_it).map_or("", |found| found.word))
                }
            },
            Spec::Pool(pool) => match pool {
                Pool::Max(options) => write!(f, "pool {}", pooling(options)),
                Pool::Average(options) => write!(f, "avg-pool {}", pooling(options)),
                Pool::AdaptiveMax(to) => write!(f, "adaptive-pool {}", joined(to)),
                Pool::AdaptiveAverage(to) => write!(f, "adaptive-avg-pool {}", joined(to)),
                Pool::GlobalMax => f.write_str("global-pool"),
                Pool::GlobalAverage => f.write_str("global-avg-pool"),
            },
            Spec::Dropout(Dropout::Elements(probability)) => write!(f, "dropout {probability}"),
            Spec::Dropout(Dropout::Channels(probability)) => write!(f, "spatial-dropout {probability}"),
            Spec::Dropout(Dropout::Alpha(probability)) => write!(f, "alpha-dropout {probability}"),
            Spec::Flatten => f.write_str("flatten"),
            Spec::Transpose => f.write_str("transpose"),
            Spec::Reshape(to) => {
                f.write_str("reshape")?;
                to.iter().try_for_each(|size| write!(f, " {size}"))
            }
            Spec::Upsample(Upsample::Nearest(factor)) => write!(f, "upsample {factor}"),
            Spec::Upsample(Upsample::Linear(factor)) => write!(f, "upsample-linear {factor}"),
            Spec::Recurrent { cell, hidden, options } => {
                sequence::write_recurrent(f, *cell, *hidden, options)
            }
            Spec::Attention { heads, causal, dropout } => {
                write!(f, "attention {heads}{}", if *causal { " causal" } else { "" })?;
                sequence::write_dropout(f, *dropout)
            }
            Spec::Transformer { heads, options } => sequence::write_transformer(f, *heads, options),
            Spec::Positions(steps) => write!(f, "positions {steps}"),
            Spec::SinusoidalPositions => f.write_str("sinusoidal-positions"),
            Spec::OverTime(over) => f.write_str(sequence::over_time(*over)),
        }
    }
}

fn joined(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// `3`, or `3x5`.
fn sizes(window: &PerAxis) -> String {
    match window {
        PerAxis::Same(size) => size.to_string(),
        PerAxis::Each(sizes) => joined(sizes),
    }
}

fn padding(padding: &Padding) -> String {
    match padding {
        Padding::Both(each) => sizes(each),
        Padding::Same => "same".to_string(),
        Padding::Sides(sides) => {
            sides.iter().map(|(before, behind)| format!("{before}:{behind}")).collect::<Vec<_>>().join("x")
        }
    }
}

/// The settings that aren't what they are by themselves.
fn moves(options: &ConvOptions) -> String {
    let plain = ConvOptions::new();
    let mut text = String::new();
    let mut setting = |differs: bool, name: &str, value: String| {
        if differs {
            let _ = write!(text, " {name} {value}");
        }
    };
    setting(options.stride != plain.stride, "stride", sizes(&options.stride));
    setting(options.padding != plain.padding, "padding", padding(&options.padding));
    setting(options.dilation != plain.dilation, "dilation", sizes(&options.dilation));
    setting(options.groups != plain.groups, "groups", options.groups.to_string());
    setting(options.output_padding != plain.output_padding, "output-padding", sizes(&options.output_padding));
    text
}

fn pooling(options: &PoolOptions) -> String {
    let plain = PoolOptions::new(options.window.clone());
    let mut text = sizes(&options.window);
    if let Some(stride) = &options.stride {
        let _ = write!(text, " stride {}", sizes(stride));
    }
    if options.padding != plain.padding {
        let _ = write!(text, " padding {}", padding(&options.padding));
    }
    if options.dilation != plain.dilation {
        let _ = write!(text, " dilation {}", sizes(&options.dilation));
    }
    if options.ceil_mode {
        text.push_str(" ceil");
    }
    if !options.count_include_pad {
        text.push_str(" without-padding");
    }
    text
}

impl FromStr for Sequential {
    type Err = Error;

    /// Reads a row of layers. Each may have a name, which is its place in paths: `dense 10 as head`.
    ///
    /// ```
    /// use kiln_nn::Sequential;
    ///
    /// let text = "conv 32 3 padding same, relu, residual(conv 32 3 padding 1, batch-norm, relu), flatten, dense";
    /// assert_eq!(text.parse::<Sequential>()?.to_text()?, text);
    /// let error = "conv 32 3, rellu".parse::<Sequential>().unwrap_err().to_string();
    /// assert!(error.contains("layer 2") && error.contains("`relu`"), "{error}");
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Sequential> {
        let mut reader = Reader { rest: text, depth: 0 };
        let row = reader.row()?;
        match reader.rest.trim() {
            "" => Ok(row),
            rest => Err(mistake(format!("`{rest}` is left over; a bracket is closed that wasn't opened"))),
        }
    }
}

fn mistake(message: String) -> Error {
    Error::new(ErrorKind::Value, "layers", message).nowhere()
}

/// Whether a layer's name can stand in a text.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

struct Reader<'a> {
    rest: &'a str,
    /// How many brackets are open.
    depth: usize,
}

/// Brackets within brackets; more is nobody's model.
const DEEPEST: usize = 32;

impl<'a> Reader<'a> {
    /// Layers up to a closing bracket, a semicolon or the end.
    fn row(&mut self) -> Result<Sequential> {
        let mut row = Sequential::new();
        loop {
            let layer = self.layer().map_err(|error| {
                let place = format!("layer {}: ", row.len() + 1);
                mistake(if error.message.starts_with("layer ") {
                    error.message
                } else {
                    place + &error.message
                })
            })?;
            let (kind, name) = layer;
            row.parts.push(Part { name, kind });
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => return row.check_names().map(|()| row),
            }
        }
    }

    /// A layer, and its name if it has one: `dense 10 as head`.
    fn layer(&mut self) -> Result<(Kind, Option<String>)> {
        let end = self.rest.find([',', ';', '(', ')']).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let mut own = text.split_whitespace();
        let Some(word) = own.next() else {
            return Err(mistake("nothing stands here; write a layer such as `dense 10`".to_string()));
        };
        let word = word.to_ascii_lowercase().replace('_', "-");
        let Some(rest) = self.rest.strip_prefix('(') else {
            let mut settings = Settings { word: &word, words: own.collect() };
            let name = settings.name()?;
            let spec = match known(&word)?.reads {
                Reads::Activation(activation) => Spec::Activation(activation),
                Reads::Layer(read) => read(&mut settings)?,
                Reads::Residual | Reads::Parallel(_) => {
                    return Err(mistake(format!("`{word}` holds layers: {word}(dense 10, relu)")));
                }
            };
            settings.end()?;
            return Ok((Kind::Described(spec, Default::default()), name));
        };
        let reads = match own.next() {
            None => known(&word)?.reads,
            Some(more) => return Err(mistake(format!("`{word}`: `{more}` means nothing before a bracket"))),
        };
        if let Reads::Activation(_) | Reads::Layer(_) = reads {
            let with: Vec<String> = words()
                .filter(|word| matches!(word.reads, Reads::Residual | Reads::Parallel(_)))
                .map(|word| format!("`{}`", word.word))
                .collect();
            return Err(mistake(format!("`{word}` takes no bracket; {} do", with.join(", "))));
        }
        let mut rows = self.rows(&word, rest)?;
        let end = self.rest.find([',', ';', '(', ')']).unwrap_or(self.rest.len());
        let (behind, rest) = self.rest.split_at(end);
        self.rest = rest;
        let mut settings = Settings { word: &word, words: behind.split_whitespace().collect() };
        let name = settings.name()?;
        settings.end()?;
        let kind = match (reads, rows.len()) {
            (Reads::Parallel(join), _) => Kind::Parallel(rows, join),
            (_, 1) => Kind::Residual(rows.remove(0), Default::default()),
            _ => return Err(mistake(format!("`{word}` holds one row"))),
        };
        Ok((kind, name))
    }

    /// The rows in the bracket that a word has opened.
    fn rows(&mut self, word: &str, rest: &'a str) -> Result<Vec<Sequential>> {
        self.rest = rest;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(mistake(format!("more than {DEEPEST} brackets stand within one another")));
        }
        let mut rows = vec![self.row()?];
        while let Some(rest) = self.rest.strip_prefix(';') {
            self.rest = rest;
            rows.push(self.row()?);
        }
        self.rest = self
            .rest
            .strip_prefix(')')
            .ok_or_else(|| mistake(format!("the bracket of `{word}(` isn't closed")))?;
        self.depth -= 1;
        Ok(rows)
    }
}

/// What a word begins.
fn known(word: &str) -> Result<&'static Word> {
    if let Some(found) = words().find(|known| known.word == word) {
        return Ok(found);
    }
    let known = words().map(|known| known.word);
    let meant = match nearest(word, known.clone()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; layers are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Err(mistake(format!("there is no layer `{word}`{meant}")))
}

/// The words behind a layer's first.
pub(super) struct Settings<'a> {
    word: &'a str,
    words: Vec<&'a str>,
}

impl Settings<'_> {
    /// Takes a word that stands by itself.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| *word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// Takes a setting by name.
    fn named(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.words.iter().position(|word| *word == name) else { return Ok(None) };
        self.words.remove(at);
        match at < self.words.len() {
            true => Ok(Some(self.words.remove(at).to_string())),
            false => Err(mistake(format!("`{}`: `{name}` needs a value", self.word))),
        }
    }

    /// The name a layer is given.
    fn name(&mut self) -> Result<Option<String>> {
        match self.named("as")? {
            Some(name) if !is_name(&name) => {
                Err(mistake(format!("`{name}` is no name; it has letters, digits, - and _")))
            }
            name => Ok(name),
        }
    }

    pub(super) fn optional<T: FromStr>(&mut self, what: &str) -> Result<Option<T>> {
        if self.words.is_empty() {
            return Ok(None);
        }
        let word = self.words.remove(0);
        let bad = || mistake(format!("`{}`: {what} should be a number, not `{word}`", self.word));
        word.parse().map(Some).map_err(|_| bad())
    }

    pub(super) fn number<T: FromStr>(&mut self, what: &str) -> Result<T> {
        match self.optional(what)? {
            Some(value) => Ok(value),
            None => Err(mistake(format!("`{}` needs a number: {what}", self.word))),
        }
    }

    /// A setting by name that is a number.
    pub(super) fn named_number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.named(name)? else { return Ok(None) };
        let bad = || mistake(format!("`{}`: {name} should be a number, not `{text}`", self.word));
        text.parse().map(Some).map_err(|_| bad())
    }

    /// A setting by name that is a probability; 0 where it isn't given.
    pub(super) fn named_probability(&mut self, name: &str) -> Result<f64> {
        let value = self.named_number(name)?.unwrap_or(0.0);
        self.a_probability(value)
    }

    pub(super) fn probability(&mut self) -> Result<f64> {
        let value = self.number("the probability")?;
        self.a_probability(value)
    }

    fn a_probability(&self, value: f64) -> Result<f64> {
        match (0.0..1.0).contains(&value) {
            true => Ok(value),
            false => {
                Err(mistake(format!("`{}`: a probability of {value}; it is from 0 to below 1", self.word)))
            }
        }
    }

    /// All that is left, as pairs of numbers: `12:8 5:4`.
    pub(super) fn pairs(&mut self, what: &str) -> Result<Vec<(usize, usize)>> {
        let pair = |word: &str| {
            let both = word.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            both.filter(|&(count, size)| count > 0 && size > 0)
                .ok_or_else(|| mistake(format!("`{}`: write {what}, such as 12:8, not `{word}`", self.word)))
        };
        let pairs: Vec<_> = self.words.iter().map(|word| pair(word)).collect::<Result<_>>()?;
        self.words.clear();
        match pairs.is_empty() {
            true => Err(mistake(format!("`{}` needs {what} for each column, such as 12:8", self.word))),
            false => Ok(pairs),
        }
    }

    pub(super) fn list(&mut self, what: &str) -> Result<Vec<usize>> {
        let text: String = self.number(what)?;
        self.numbers(what, &text)
    }

    fn numbers(&self, what: &str, text: &str) -> Result<Vec<usize>> {
        let bad = || mistake(format!("`{}`: {what} should be a number or `3x5`, not `{text}`", self.word));
        text.split('x').map(|part| part.parse().map_err(|_| bad())).collect()
    }

    fn per_axis(&self, what: &str, text: &str) -> Result<PerAxis> {
        let numbers = self.numbers(what, text)?;
        Ok(match numbers[..] {
            [same] => PerAxis::Same(same),
            _ => PerAxis::Each(numbers),
        })
    }

    pub(super) fn sizes(&mut self, what: &str) -> Result<PerAxis> {
        let text: String = self.number(what)?;
        self.per_axis(what, &text)
    }

    fn padding(&mut self) -> Result<Option<Padding>> {
        let Some(text) = self.named("padding")? else { return Ok(None) };
        if text == "same" {
            return Ok(Some(Padding::Same));
        }
        if !text.contains(':') {
            return Ok(Some(Padding::Both(self.per_axis("padding", &text)?)));
        }
        let bad = || {
            mistake(format!(
                "`{}`: padding should be `1`, `1x2`, `0:1x2:2` or `same`, not `{text}`",
                self.word
            ))
        };
        let side = |part: &str| {
            let (before, behind) = part.split_once(':').ok_or_else(bad)?;
            Ok((before.parse().map_err(|_| bad())?, behind.parse().map_err(|_| bad())?))
        };
        Ok(Some(Padding::Sides(text.split('x').map(side).collect::<Result<_>>()?)))
    }

    pub(super) fn moves(&mut self) -> Result<ConvOptions> {
        let mut options = ConvOptions::new();
        if let Some(text) = self.named("stride")? {
            options.stride = self.per_axis("stride", &text)?;
        }
        if let Some(padding) = self.padding()? {
            options.padding = padding;
        }
        if let Some(text) = self.named("dilation")? {
            options.dilation = self.per_axis("dilation", &text)?;
        }
        if let Some(text) = self.named("groups")? {
            options.groups = match self.numbers("groups", &text)?[..] {
                [groups] => groups,
                _ => return Err(mistake(format!("`{}`: groups are one number, not `{text}`", self.word))),
            };
        }
        if let Some(text) = self.named("output-padding")? {
            options.output_padding = self.per_axis("output-padding", &text)?;
        }
        Ok(options)
    }

    pub(super) fn pooling(&mut self) -> Result<PoolOptions> {
        let (stride, padding) = (self.named("stride")?, self.padding()?);
        let dilation = self.named("dilation")?;
        let (ceil, without) = (self.flag("ceil"), self.flag("without-padding"));
        let mut options =
            PoolOptions::new(self.sizes("the window")?).ceil_mode(ceil).count_include_pad(!without);
        if let Some(text) = stride {
            options.stride = Some(self.per_axis("stride", &text)?);
        }
        if let Some(padding) = padding {
            options.padding = padding;
        }
        if let Some(text) = dilation {
            options.dilation = self.per_axis("dilation", &text)?;
        }
        Ok(options)
    }

    fn end(&self) -> Result<()> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(mistake(format!("`{}`: `{word}` means nothing here", self.word))),
        }
    }
}
