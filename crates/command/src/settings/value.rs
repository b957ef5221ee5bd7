//! What a setting can be: text as a person writes it, and back.

use std::path::PathBuf;
use std::time::Duration;

/// What a value can be.
pub(super) trait SettingValue: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn write(&self) -> toml::Value;
}

impl SettingValue for String {
    fn read(text: &str) -> Result<String, String> {
        match text.trim() {
            // A space may be what is meant.
            "" if text == " " => Ok(text.to_string()),
            "" => Err("it is empty".to_string()),
            text => Ok(text.to_string()),
        }
    }

    fn write(&self) -> toml::Value {
        self.clone().into()
    }
}

impl SettingValue for PathBuf {
    fn read(text: &str) -> Result<PathBuf, String> {
        String::read(text).map(PathBuf::from)
    }

    fn write(&self) -> toml::Value {
        self.display().to_string().into()
    }
}

impl SettingValue for bool {
    fn read(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| "it is true or false".to_string())
    }

    fn write(&self) -> toml::Value {
        (*self).into()
    }
}

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident($type:ty), $is:ident, $fits:expr, $message:literal;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name(pub $type);

        impl SettingValue for $name {
            fn read(text: &str) -> Result<$name, String> {
                match text.trim().replace('_', "").parse::<$type>() {
                    Ok($is) if $fits => Ok($name($is)),
                    _ => Err($message.to_string()),
                }
            }

            fn write(&self) -> toml::Value {
                let text = self.0.to_string();
                match text.parse::<i64>() {
                    Ok(whole) => whole.into(),
                    Err(_) => text.parse::<f64>().map_or(toml::Value::String(text), toml::Value::Float),
                }
            }
        }
    )*};
}

numbers! {
    /// From 1.
    Count(usize), count, count > 0, "write a whole number from 1, such as 32";
    /// From 0.
    Whole(u64), _count, true, "write a whole number from 0, such as 10";
    /// Any whole number.
    Seed(u64), _seed, true, "write a whole number, such as 7";
    /// How many threads may work.
    Threads(usize), count, (1..=1024).contains(&count), "write a whole number from 1 to 1024";
    /// Above 0.
    Rate(f64), rate, rate > 0.0 && rate <= 1e3, "write a number above 0 and at most 1000, such as 0.01 or 1e-3";
    /// From 0.
    Amount(f64), amount, amount >= 0.0 && amount.is_finite(), "write a number from 0, such as 0.1";
    /// From 0 to below 1.
    Share(f64), share, (0.0..1.0).contains(&share), "write a share from 0 to below 1, such as 0.2";
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub Duration);

impl SettingValue for Seconds {
    fn read(text: &str) -> Result<Seconds, String> {
        let text = text.trim();
        let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at) => text.split_at(at),
            None => (text, "s"),
        };
        let seconds = match unit.trim() {
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => f64::NAN,
        };
        let span = number.trim().parse::<f64>().ok().map(|number| number * seconds);
        let span = span.and_then(|span| Duration::try_from_secs_f64(span).ok());
        let span = span.filter(|span| !span.is_zero());
        span.map(Seconds).ok_or_else(|| "write a time above 0 such as 90s, 10m or 2h".to_string())
    }

    fn write(&self) -> toml::Value {
        format!("{}s", self.0.as_secs_f64()).into()
    }
}

/// A time as people write it: 90s, 10m.
pub fn seconds(text: &str) -> Result<std::time::Duration, String> {
    Seconds::read(text).map(|seconds| seconds.0)
}
