//! Who may ask: bearer tokens, from a file or the environment, never from the command line, where every process sees them.

use std::env::VarError;
use std::hint::black_box;
use std::path::Path;

use hyper::header::{AUTHORIZATION, HeaderMap};

/// The variable that tokens are taken from.
pub const VARIABLE: &str = "KILN_SERVE_TOKENS";

/// The tokens that are taken; anybody may ask where there are none.
#[derive(Clone, Default)]
pub struct BearerTokens(Vec<Vec<u8>>);

impl std::fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl BearerTokens {
    /// Those of a text, a line each; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// Where there is none, or one has letters that no header may have.
    pub fn of(text: &str) -> Result<BearerTokens, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let tokens: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
        if tokens.is_empty() {
            return Err("there is no token in it; write one a line".to_string());
        }
        match tokens.iter().all(|token| token.iter().all(u8::is_ascii_graphic)) {
            true => Ok(BearerTokens(tokens)),
            false => Err("a token has letters, digits and signs of ASCII, and no space".to_string()),
        }
    }

    /// Those of a file, or of the environment where there is none; nobody is asked for one where both say nothing.
    ///
    /// # Errors
    /// Where the file can't be read, or there is no token where some are said to be.
    pub fn find(file: Option<&Path>) -> Result<BearerTokens, String> {
        match (file, std::env::var(VARIABLE)) {
            (Some(file), _) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                BearerTokens::of(&text).map_err(|error| format!("{}: {error}", file.display()))
            }
            (None, Ok(text)) => {
                BearerTokens::of(&text.replace(',', "\n")).map_err(|error| format!("{VARIABLE}: {error}"))
            }
            (None, Err(VarError::NotPresent)) => Ok(BearerTokens::default()),
            // Nobody who set it meant everybody to come in.
            (None, Err(VarError::NotUnicode(_))) => {
                Err(format!("{VARIABLE}: it isn't UTF-8, and a token has letters, digits and signs of ASCII"))
            }
        }
    }

    /// Whether anybody may ask.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether whoever sends these headers may ask.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        if self.is_open() {
            return true;
        }
        let Some(given) = headers.get(AUTHORIZATION).map(|value| value.as_bytes()) else { return false };
        let Some((scheme, token)) = given.split_at_checked(7) else { return false };
        // All are compared, whichever it is.
        let found = self.0.iter().fold(false, |found, known| found | is_same(known, token));
        scheme.eq_ignore_ascii_case(b"bearer ") && found
    }
}

/// Whether two texts are the same, in a time that depends on the length of the given one alone.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    let mut differ = known.len() ^ given.len();
    for (at, byte) in given.iter().enumerate() {
        let other = known.get(at % known.len().max(1)).copied().unwrap_or(0);
        differ |= black_box(usize::from(byte ^ other));
    }
    black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_token_is_taken_as_it_is_and_no_other() {
        let tokens = BearerTokens::of("# ours\nsecret-1\n\n  other  \n").unwrap();
        let allows = |said: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(said).unwrap());
            tokens.allow(&headers)
        };
        for good in ["Bearer secret-1", "bearer other"] {
            assert!(allows(good), "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer secret-",
            "Bearer secret-11",
            "Basic secret-1",
            "Bearer  secret-1",
            "Bearer secret-1secret-1",
        ] {
            assert!(!allows(bad), "{bad}");
        }
        assert!(!tokens.allow(&HeaderMap::new()) && BearerTokens::default().allow(&HeaderMap::new()));
        assert!(BearerTokens::of("#\n").is_err() && BearerTokens::of("a b").is_err());
        assert!(!format!("{tokens:?}").contains("secret"));
    }
}
