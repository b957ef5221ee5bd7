//! The values that `config.json` names, each read as what it should be.

use serde_json::{Map, Value};

/// The values of an object by their names.
pub(super) struct Fields<'v>(pub &'v Map<String, Value>);

impl Fields<'_> {
    pub(super) fn known(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn count(&self, name: &str) -> Result<usize, String> {
        let value = self.known(name).ok_or_else(|| format!("it doesn't say \"{name}\""))?;
        let count = value.as_u64().filter(|&count| (1..=MOST).contains(&count));
        count
            .map(|count| count as usize)
            .ok_or_else(|| format!("\"{name}\" is {value}, and should be a whole number from 1"))
    }

    pub(super) fn count_or(&self, name: &str, otherwise: usize) -> Result<usize, String> {
        if self.known(name).is_some() { self.count(name) } else { Ok(otherwise) }
    }

    /// The code of a piece.
    pub(super) fn code_or(&self, name: &str, otherwise: u32) -> Result<u32, String> {
        match self.known(name) {
            None => Ok(otherwise),
            Some(value) => {
                let code = value.as_u64().and_then(|code| u32::try_from(code).ok());
                code.ok_or_else(|| format!("\"{name}\" is {value}, and should be the code of a piece"))
            }
        }
    }

    pub(super) fn number_or(&self, name: &str, otherwise: f64) -> Result<f64, String> {
        match self.known(name) {
            None => Ok(otherwise),
            Some(value) => {
                value.as_f64().ok_or_else(|| format!("\"{name}\" is {value}, and should be a number"))
            }
        }
    }

    /// A share below 1, such as of what is dropped.
    pub(super) fn share_or(&self, name: &str, otherwise: f64) -> Result<f64, String> {
        match self.number_or(name, otherwise)? {
            share if (0.0..1.0).contains(&share) => Ok(share),
            share => Err(format!("\"{name}\" is {share}, and should be a share below 1")),
        }
    }

    pub(super) fn flag_or(&self, name: &str, otherwise: bool) -> Result<bool, String> {
        match self.known(name) {
            None => Ok(otherwise),
            Some(value) => {
                value.as_bool().ok_or_else(|| format!("\"{name}\" is {value}, and should be true or false"))
            }
        }
    }

    pub(super) fn text_or<'a>(&'a self, name: &str, otherwise: &'a str) -> Result<&'a str, String> {
        match self.known(name) {
            None => Ok(otherwise),
            Some(value) => {
                value.as_str().ok_or_else(|| format!("\"{name}\" is {value}, and should be a text"))
            }
        }
    }
}

/// No model has more of anything.
const MOST: u64 = 1 << 31;
