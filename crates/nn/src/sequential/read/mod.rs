//! A row of layers from its text: `conv 32 3 padding same, relu, max-pool 2, flatten, dense 10`.
//!
//! A layer is a word, then values in their turn, then arguments by name; layers are separated by commas. `residual(…)` holds a row,
//! `parallel(…; …)`, `sum(…; …)` and `blend(…; …)` hold several. A mistake says which layer it is in, the column and the mend.

mod arguments;

use std::str::FromStr;

use kiln_ir::{Error, ErrorKind, Result};

use super::table::{Begins, Mistake, Word, found, words};
use super::{Blend, Blended, Kind, Part, Sequential};
use arguments::Arguments;
use kiln_map::nearest;

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
    /// assert!(error.contains("layer 2, column 12: there is no layer `rellu`; did you mean `relu`?"), "{error}");
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Sequential> {
        let mut parser = Parser { text, at: 0, depth: 0, layer: 0 };
        let row = parser.row().and_then(|row| {
            let rest = parser.rest().trim();
            let message = || format!("`{rest}` is left over; a bracket is closed that wasn't opened");
            if rest.is_empty() { Ok(row) } else { Err(Mistake { at: parser.at, message: message() }) }
        });
        row.map_err(|Mistake { at, message }| {
            let place = format!("layer {}, {}: {message}", parser.layer, place(text, at));
            Error::new(ErrorKind::Value, "layers", place).nowhere()
        })
    }
}

/// Where in a text a byte stands, as people count: columns from 1, and lines where there are several.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[start..].chars().count() + 1;
    match text.contains('\n') {
        false => format!("column {column}"),
        true => format!("line {}, column {column}", before.matches('\n').count() + 1),
    }
}

/// A word of a text, and where it stands.
#[derive(Clone, Copy)]
struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// How far a text is read.
struct Parser<'a> {
    text: &'a str,
    /// The byte that is next.
    at: usize,
    /// How many brackets are open.
    depth: usize,
    /// Which layer of its row is read.
    layer: usize,
}

/// Brackets within brackets; more is nobody's model.
const DEEPEST: usize = 32;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes a sign, if it comes next.
    fn takes(&mut self, sign: char) -> bool {
        let comes = self.rest().starts_with(sign);
        self.at += if comes { sign.len_utf8() } else { 0 };
        comes
    }

    /// Takes the words up to the next sign.
    fn tokens(&mut self) -> Vec<Token<'a>> {
        let (rest, from) = (self.rest(), self.at);
        let text = &rest[..rest.find([',', ';', '(', ')']).unwrap_or(rest.len())];
        self.at += text.len();
        let mut tokens = Vec::new();
        let mut start = None;
        for (at, sign) in text.char_indices().chain([(text.len(), ' ')]) {
            match (sign.is_whitespace(), start) {
                (false, None) => start = Some(at),
                (true, Some(begun)) => {
                    tokens.push(Token { at: from + begun, text: &text[begun..at] });
                    start = None;
                }
                _ => {}
            }
        }
        tokens
    }

    /// Layers up to a closing bracket, a semicolon or the end.
    fn row(&mut self) -> Result<Sequential, Mistake> {
        let (mut row, mut starts) = (Sequential::new(), Vec::new());
        loop {
            self.layer = row.len() + 1;
            self.at += self.rest().len() - self.rest().trim_start().len();
            starts.push(self.at);
            let (kind, name) = self.layer()?;
            self.layer = row.len() + 1;
            row.parts.push(Part { name, kind });
            if !self.takes(',') {
                break;
            }
        }
        match row.ambiguous_name() {
            None => Ok(row),
            Some((position, message)) => {
                self.layer = position + 1;
                Err(Mistake { at: starts[position], message })
            }
        }
    }

    /// A layer, and its name if it has one: `dense 10 as head`.
    fn layer(&mut self) -> Result<(Kind, Option<String>), Mistake> {
        let start = self.at;
        let mut own = self.tokens();
        if own.is_empty() {
            let message = "nothing stands here; write a layer such as `dense 10`".to_string();
            return Err(Mistake { at: start, message });
        }
        let first = own.remove(0);
        let mistake = |message: String| Mistake { at: first.at, message };
        let word = first.text.to_ascii_lowercase().replace('_', "-");
        let (known, rank) = found(&word).ok_or_else(|| mistake(unknown(&word)))?;
        let opens = self.takes('(');
        let row = match (known.begins, opens) {
            (Begins::Layer(blank), false) => {
                let mut arguments = Arguments::new(&word, own, self.at);
                let name = arguments.name()?;
                let spec = arguments.layer(known, rank, blank())?;
                return Ok((Kind::Described(spec, Default::default()), name));
            }
            (Begins::Layer(_), true) => return Err(mistake(bracketless(&word))),
            (_, false) => {
                return Err(mistake(format!("`{word}` holds layers: write {word}(dense 10, relu)")));
            }
            (begins, true) => begins,
        };
        if let Some(more) = own.first() {
            let message = format!("`{word}`: `{}` means nothing before a bracket", more.text);
            return Err(Mistake { at: more.at, message });
        }
        let mut rows = self.rows(&word, first.at)?;
        let behind = self.tokens();
        let mut arguments = Arguments::new(&word, behind, self.at);
        let name = arguments.name()?;
        let blended = if let Begins::Blend = row { arguments.blended(known)? } else { Blended::Numbers };
        arguments.end(&[])?;
        let kind = match (row, rows.len()) {
            (Begins::Blend, _) => Kind::Blend(Blend::new(rows, blended)),
            (Begins::Parallel(join), _) => Kind::Parallel(rows, join),
            (_, 1) => Kind::Residual(rows.remove(0), Default::default()),
            _ => {
                return Err(mistake(format!(
                    "`{word}` holds one row; `;` stands in `parallel`, `sum` and `blend`"
                )));
            }
        };
        Ok((kind, name))
    }

    /// The rows in the bracket that a word at `opened` has opened.
    fn rows(&mut self, word: &str, opened: usize) -> Result<Vec<Sequential>, Mistake> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let message = format!("more than {DEEPEST} brackets stand within one another");
            return Err(Mistake { at: opened, message });
        }
        let outer = self.layer;
        let mut rows = vec![self.row()?];
        while self.takes(';') {
            rows.push(self.row()?);
        }
        self.layer = outer;
        if !self.takes(')') {
            let message = format!("the bracket of `{word}(` isn't closed; put `)` behind its layers");
            return Err(Mistake { at: opened, message });
        }
        self.depth -= 1;
        Ok(rows)
    }
}

/// What a word may have meant that begins nothing.
fn unknown(word: &str) -> String {
    let names: Vec<String> = words().flat_map(Word::names).collect();
    let meant = match nearest(word, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("layers are {}", words().map(|known| known.word).collect::<Vec<_>>().join(", ")),
    };
    format!("there is no layer `{word}`; {meant}")
}

fn bracketless(word: &str) -> String {
    let with: Vec<String> = words()
        .filter(|word| !matches!(word.begins, Begins::Layer(_)))
        .map(|word| format!("`{}`", word.word))
        .collect();
    format!("`{word}` takes no bracket; {} do", with.join(", "))
}
