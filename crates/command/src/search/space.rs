//! A file of settings of which some are open.

use anyhow::{Context as _, Result, anyhow, bail};
use kiln_learn::metrics::{Figure, Metric as _};
use kiln_learn::trainer::search::{Range, Search};
use kiln_map::nearest;
use serde_json::{Map, Value};

use crate::settings::{KEYS, SettingKey, Settings};

/// What is the same in all trials, and what isn't.
pub(super) struct Space {
    fixed: Settings,
    open: Vec<(&'static SettingKey, OpenSetting)>,
    /// What decides.
    pub(super) figure: String,
    pub(super) larger_is_better: bool,
}

/// What a setting may be.
enum OpenSetting {
    Of(Vec<toml::Value>),
    Range { range: Range, whole: bool },
}

/// Settings of which there is one in all trials.
const CLOSED: [&str; 6] = ["out", "resume", "repeat", "quiet", "json", "metric"];

impl Space {
    /// What a text says.
    pub(super) fn of(text: &str) -> Result<Space> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            anyhow!("line {}: {}", line.unwrap_or(1), error.message())
        })?;
        let (mut fixed, mut open) = (String::new(), Vec::new());
        for (name, value) in table {
            let key = KEYS.iter().find(|key| key.name == name);
            let choice = match (&value, key) {
                (toml::Value::Array(_) | toml::Value::Table(_), None) => bail!("{}", unknown(&name)),
                (toml::Value::Array(values), Some(key)) => OpenSetting::Of(listed(key, values)?),
                (toml::Value::Table(range), Some(key)) => ranged(key, range)?,
                _ => {
                    fixed += &format!("{name} = {value}\n");
                    continue;
                }
            };
            if CLOSED.contains(&name.as_str()) {
                bail!("{name} is one and the same in all trials");
            }
            open.extend(key.map(|key| (key, choice)));
        }
        if open.is_empty() {
            bail!(
                "no setting is open; write a list of values for one, or a range: lr = {{ from = 1e-4, to = 1e-1, log = true }}"
            );
        }
        let fixed = Settings::from_toml(&fixed)?;
        let figure = fixed.metric.clone().unwrap_or("loss".to_string());
        let own = figure.rsplit_once('.').map_or(figure.as_str(), |(_, own)| own);
        let larger_is_better =
            figure != "loss" && own.parse::<Figure>().is_ok_and(|figure| figure.larger_is_better());
        Ok(Space { fixed, open, figure, larger_is_better })
    }

    /// The names of what is open.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.open.iter().map(|(key, _)| key.name).collect()
    }

    /// A search that chooses what is open.
    pub(super) fn put_in(&self, search: Search) -> Search {
        self.open.iter().fold(search, |search, (key, open)| match open {
            OpenSetting::Of(values) => {
                let texts: Vec<String> = values.iter().map(text_of).collect();
                search.words(key.name, texts.iter().map(String::as_str))
            }
            OpenSetting::Range { range, .. } => search.range(key.name, *range),
        })
    }

    /// The settings of a trial.
    pub(super) fn settings(&self, chosen: &Map<String, Value>, epochs: Option<u64>) -> Result<Settings> {
        let mut settings = self.fixed.clone();
        for (key, open) in &self.open {
            let value =
                chosen.get(key.name).with_context(|| format!("nothing is chosen for {}", key.name))?;
            let text = match (value.as_f64(), open) {
                (Some(number), OpenSetting::Range { whole: true, .. }) => {
                    format!("{}", number.round() as i64)
                }
                (Some(number), _) => number.to_string(),
                (None, _) => value.as_str().unwrap_or_default().to_string(),
            };
            (key.set)(&mut settings, &text).map_err(|message| anyhow!("{}: {message}", key.name))?;
        }
        if let Some(epochs) = epochs {
            settings.epochs = Some(crate::settings::Whole(epochs));
        }
        // A trial is of one model.
        if settings.one_model().is_none() {
            settings.quick = Some(true);
        }
        Ok(settings)
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, KEYS.iter().map(|key| key.name)) {
        Some(near) => format!("{name} is nothing that can be set; did you mean {near}?"),
        None => format!("{name} is nothing that can be set"),
    }
}

/// The values of a list, each of which the setting can have.
fn listed(key: &SettingKey, values: &[toml::Value]) -> Result<Vec<toml::Value>> {
    if values.is_empty() {
        bail!("{}: the list is empty", key.name);
    }
    for value in values {
        if matches!(value, toml::Value::Array(_) | toml::Value::Table(_) | toml::Value::Datetime(_)) {
            bail!("{}: a list has texts, numbers or truths", key.name);
        }
        let text = text_of(value);
        (key.set)(&mut Settings::default(), &text)
            .map_err(|message| anyhow!("{} = {text}: {message}", key.name))?;
    }
    Ok(values.to_vec())
}

/// A range, both ends of which the setting can have.
fn ranged(key: &SettingKey, table: &toml::Table) -> Result<OpenSetting> {
    if let Some(name) = table.keys().find(|name| !["from", "to", "log"].contains(&name.as_str())) {
        bail!("{}: a range has from, to and log, and no {name}", key.name);
    }
    let end = |name: &str| -> Result<f64> {
        let value = table.get(name).with_context(|| format!("{}: a range has from and to", key.name))?;
        let number = value.as_float().or(value.as_integer().map(|whole| whole as f64));
        number.with_context(|| format!("{}: {name} is a number", key.name))
    };
    let (from, to) = (end("from")?, end("to")?);
    let can_be = |number: f64| (key.set)(&mut Settings::default(), &number.to_string());
    for number in [from, to] {
        can_be(number).map_err(|message| anyhow!("{} = {number}: {message}", key.name))?;
    }
    // What can't lie between two whole numbers is whole.
    let whole = from.fract() == 0.0 && to.fract() == 0.0 && can_be(0.5 + from.min(to)).is_err();
    let mut range = Range::new(from, to);
    if table.get("log").is_some_and(|log| log.as_bool() == Some(true)) {
        range = range.logarithmic();
    }
    Ok(OpenSetting::Range { range: if whole { range.whole() } else { range }, whole })
}

fn text_of(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// A setting of a trial, in few digits.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value.map(|value| (value.as_f64(), value)) {
        Some((Some(number), _)) if number == 0.0 || (1e-2..1e5).contains(&number.abs()) => {
            format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_string()
        }
        Some((Some(number), _)) => format!("{number:.2e}"),
        Some((None, value)) => value.as_str().unwrap_or_default().to_string(),
        None => String::new(),
    }
}
