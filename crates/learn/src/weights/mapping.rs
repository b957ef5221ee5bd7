//! Rules by which names of a file become names of a model.

use std::str::FromStr;

use kiln_nn::{Error, ErrorKind};

/// Ordered rules, each a text: `backbone.* -> features.*`. A star on the left stands for any text (the shortest that fits), and the
/// first star on the right for what the first on the left stood for, and so on. The first rule whose left side is a name decides what
/// becomes of it; names that no rule fits stay as they are. A right side that is empty leaves the tensor out.
///
/// A rule that ends in `transposed` also turns matrices: PyTorch's `Linear` stores `[outputs, inputs]`, kiln's
/// [`Dense`](crate::Dense) `[inputs, outputs]`.
///
/// ```
/// use kiln::weights::Mapping;
///
/// let mapping = Mapping::of(["module.fc.* -> 4.* transposed", "module.* -> *", "optimizer.* ->"])?;
/// assert_eq!(mapping.name("module.conv1.weight").as_deref(), Some("conv1.weight"));
/// assert_eq!(mapping.name("module.fc.bias").as_deref(), Some("4.bias"));
/// assert_eq!(mapping.name("optimizer.state.0"), None);
/// assert_eq!(mapping.name("norm.bias").as_deref(), Some("norm.bias"));
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    from: String,
    /// Nothing where the tensor is left out.
    to: Option<String>,
    is_transposed: bool,
}

/// What becomes of a tensor.
#[derive(Debug, PartialEq)]
pub(super) struct Destination {
    pub name: String,
    pub is_transposed: bool,
}

impl Mapping {
    /// Names stay as they are.
    pub fn new() -> Mapping {
        Mapping::default()
    }

    /// These rules, in their order.
    ///
    /// # Errors
    /// Where a text is no rule.
    pub fn of(rules: impl IntoIterator<Item = impl AsRef<str>>) -> crate::Result<Mapping> {
        rules.into_iter().try_fold(Mapping::new(), |mapping, rule| mapping.rule(rule.as_ref()))
    }

    /// Adds a rule after those there are.
    ///
    /// # Errors
    /// Where the text is no rule.
    pub fn rule(mut self, rule: &str) -> crate::Result<Mapping> {
        self.rules.push(rule.parse()?);
        Ok(self)
    }

    /// The name in the model for one in the file; `None` where it is left out.
    pub fn name(&self, name: &str) -> Option<String> {
        self.target(name).map(|target| target.name)
    }

    /// The left sides that are none of these names: rules that did nothing.
    pub(super) fn idle<'a>(&'a self, names: &[&str]) -> Vec<&'a str> {
        let fits = |from: &str| names.iter().any(|name| captures(from, name).is_some());
        self.rules.iter().map(|rule| rule.from.as_str()).filter(|from| !fits(from)).collect()
    }

    pub(super) fn target(&self, name: &str) -> Option<Destination> {
        for rule in &self.rules {
            if let Some(stood) = captures(&rule.from, name) {
                let to = rule.to.as_ref()?;
                return Some(Destination { name: fill(to, &stood), is_transposed: rule.is_transposed });
            }
        }
        Some(Destination { name: name.to_string(), is_transposed: false })
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rule, Error> {
        let fault = |what: &str| {
            let message = format!("`{text}` is no rule: {what}; rules look like `backbone.* -> features.*`");
            Err(Error::new(ErrorKind::Value, "mapping", message).nowhere())
        };
        let Some((from, to)) = text.split_once("->") else { return fault("it has no `->`") };
        let (from, to) = (from.trim(), to.trim());
        let (to, is_transposed) = match to.strip_suffix("transposed") {
            Some(rest) if rest.ends_with(char::is_whitespace) => (rest.trim_end(), true),
            _ => (to, false),
        };
        if from.is_empty() {
            return fault("its left side is empty");
        }
        if [from, to].iter().any(|side| side.contains(char::is_whitespace) || side.contains("->")) {
            return fault("names have no spaces, and it has one `->`");
        }
        if to.matches('*').count() > from.matches('*').count() {
            return fault("its right side has more stars than its left");
        }
        let to = Some(to.to_string()).filter(|to| !to.is_empty());
        Ok(Rule { from: from.to_string(), to, is_transposed })
    }
}

/// What each star stands for, where the pattern fits the whole text.
pub(crate) fn captures<'a>(pattern: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = pattern.split('*');
    let mut rest = text.strip_prefix(parts.next()?)?;
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty().then(Vec::new) };
    let mut stood = Vec::new();
    for part in parts {
        let (star, after) = rest.split_once(part)?;
        stood.push(star);
        rest = after;
    }
    stood.push(rest.strip_suffix(last)?);
    Some(stood)
}

/// A pattern with its stars replaced, one after the other.
fn fill(pattern: &str, stood: &[&str]) -> String {
    let mut parts = pattern.split('*');
    let mut filled = parts.next().unwrap_or_default().to_string();
    for (part, star) in parts.zip(stood) {
        filled += star;
        filled += part;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_the_shortest_text_that_fits() {
        assert_eq!(captures("a.*.b.*", "a.x.y.b.z.b.w"), Some(vec!["x.y", "z.b.w"]));
        assert_eq!(captures("*.weight", "a.weight.weight"), Some(vec!["a.weight"]));
        assert_eq!(captures("*", ""), Some(vec![""]));
        assert_eq!(captures("a", "ab"), None);
        assert_eq!(captures("a*a", "a"), None);
        assert_eq!(fill("x.*.y.*", &["1", "2"]), "x.1.y.2");
        assert_eq!(fill("x.*", &["1", "2"]), "x.1");
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        // Layers move up by one; each name goes through one rule only.
        let mapping = Mapping::of(["2.* -> 1.*", "1.* -> 0.* transposed"]).unwrap();
        assert_eq!(mapping.name("2.bias").as_deref(), Some("1.bias"));
        assert!(mapping.target("1.weight").unwrap().is_transposed);
        for wrong in ["a.* b.*", "a -> *", " -> a", "a b -> c", "a -> b -> c"] {
            let error = Mapping::new().rule(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("is no rule"), "{error}");
        }
    }
}
