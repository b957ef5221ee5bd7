//! Sentences with a tag for each word, a line each, as the CoNLL tasks have them: columns with blanks or tabs between them, the word in the first and
//! its tag in the last; empty lines between sentences, `-DOCSTART-` between documents. Of CoNLL-U the words (column 2) and UPOS tags (column 4).

use std::path::Path;

use kiln_map::{Budget, counted};

use crate::error::{Error, Result};

/// A sentence: its words, and a tag for each where they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedSentence {
    /// The words.
    pub words: Vec<String>,
    /// Their tags; none where the file has words alone.
    pub tags: Vec<String>,
}

/// What stands between documents.
const DOCUMENT: &str = "-DOCSTART-";

/// As many columns a line of CoNLL-U has.
const UNIVERSAL: usize = 10;

/// The sentences of a file, each word with its tag.
///
/// # Errors
/// Where it can't be read, has no sentence, or a line has other columns than those before; with its line.
pub fn read_conll(path: impl AsRef<Path>) -> Result<Vec<TaggedSentence>> {
    let path = path.as_ref();
    let text = super::read_text(path)?;
    // A word and its tag are texts of their own, however short.
    const LINE: u64 = 192;
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() as u64 + 1;
    Budget::default().bytes(lines * LINE).map_err(|exceeded| Error::from(exceeded).in_file(path))?;
    conll(&text).map_err(|error| error.in_file(path))
}

/// The sentences of a text, each word with its tag; a text of one column has words alone.
///
/// ```
/// let sentences = kiln_data::conll("John B-PER\nsmiles O\n\nBerlin B-LOC\n")?;
/// assert_eq!((sentences.len(), &sentences[0].tags[..]), (2, &["B-PER".to_string(), "O".to_string()][..]));
/// assert!(kiln_data::conll("John B-PER\nsmiles\n").unwrap_err().to_string().contains("line 2"));
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where there is no sentence, or a line has other columns than those before; with its line.
pub fn conll(text: &str) -> Result<Vec<TaggedSentence>> {
    let (mut sentences, mut sentence) = (Vec::new(), TaggedSentence::default());
    let mut signs = Signs::of(text);
    for (line, number) in text.lines().zip(1..) {
        let fields = fields(line);
        if fields.first().is_none_or(|first| *first == DOCUMENT) {
            end(&mut sentence, &mut sentences);
            continue;
        }
        if signs.are_of_comment(line, sentence.words.is_empty()) {
            continue;
        }
        let count = signs.columns_with(line);
        if fields.len() != count {
            return Err(Error::new(format!(
                "it has {}, and the lines before have {count}; a word and its tag stand on each, and an empty line between sentences",
                counted(fields.len(), "column")
            ))
            .at_line(number));
        }
        let is_universal = count == UNIVERSAL && is_word_number(fields[0]);
        if is_universal && fields[0].contains(['-', '.']) {
            // Several words written as one, and words that aren't written: their parts have lines of their own.
            continue;
        }
        let (word, tag) = if is_universal { (fields[1], fields[3]) } else { (fields[0], fields[count - 1]) };
        if word.is_empty() || (tag.is_empty() && count > 1) {
            return Err(Error::new("a word or tag is empty").at_line(number));
        }
        sentence.words.push(word.to_string());
        if count > 1 {
            sentence.tags.push(tag.to_string());
        }
    }
    end(&mut sentence, &mut sentences);
    if sentences.is_empty() {
        return Err(Error::new("there is no sentence in it"));
    }
    Ok(sentences)
}

/// Whether a text looks like sentences with tags: many lines, all with as many columns, of which the last says few different things, and at least
/// two sentences.
pub fn is_conll(text: &str) -> bool {
    const LOOKED_AT: usize = 2000;
    let (mut rows, mut breaks, mut signs) = (0, 0, Signs::of(text));
    let mut tags = std::collections::HashSet::new();
    for line in text.lines().take(LOOKED_AT) {
        let fields = fields(line);
        if fields.first().is_none_or(|first| *first == DOCUMENT) {
            breaks += usize::from(rows > 0);
            continue;
        }
        if signs.are_of_comment(line, true) {
            continue;
        }
        if fields.len() < 2 || signs.columns_with(line) != fields.len() {
            return false;
        }
        rows += 1;
        tags.extend(fields.last().map(|tag| tag.to_string()));
    }
    rows >= 4
        && breaks > 0
        && (2 * tags.len() <= rows || signs.columns.is_some_and(|columns| columns.count == UNIVERSAL))
}

/// What tells a comment from a word, which may start with its sign too.
struct Signs {
    /// Those of the first word's line.
    columns: Option<WordColumns>,
    /// Whether the file's first line is a comment: then others stand before its sentences, with as many fields as a word's line perhaps.
    starts_with_comment: bool,
}

/// How the lines of words are parted.
#[derive(Clone, Copy)]
struct WordColumns {
    count: usize,
    /// By tabs, which a comment then hasn't.
    is_tabbed: bool,
}

impl Signs {
    fn of(text: &str) -> Signs {
        let first = text.lines().next().unwrap_or_default();
        Signs { columns: None, starts_with_comment: first.starts_with("# ") && !first.contains('\t') }
    }

    /// Whether a line is a comment, where a sentence starts or within one.
    fn are_of_comment(&self, line: &str, is_start: bool) -> bool {
        if !line.starts_with('#') {
            return false;
        }
        match self.columns {
            Some(WordColumns { is_tabbed: true, count }) if count > 1 => !line.contains('\t'),
            Some(WordColumns { count, .. }) => {
                let is_other = fields(line).len() != count;
                let is_announced = is_start && self.starts_with_comment && line.starts_with("# ");
                (is_other && (is_start || count == UNIVERSAL)) || is_announced
            }
            None => !line.contains('\t'),
        }
    }

    /// How many columns the lines of words have; a first one says it.
    fn columns_with(&mut self, line: &str) -> usize {
        let own = || WordColumns { count: fields(line).len(), is_tabbed: line.contains('\t') };
        self.columns.get_or_insert_with(own).count
    }
}

fn fields(line: &str) -> Vec<&str> {
    match line.contains('\t') {
        true => line.trim_end_matches(['\r', '\n']).split('\t').map(str::trim).collect(),
        false => line.split_whitespace().collect(),
    }
}

fn is_word_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '-' || c == '.')
}

fn end(sentence: &mut TaggedSentence, sentences: &mut Vec<TaggedSentence>) {
    if !sentence.words.is_empty() {
        sentences.push(std::mem::take(sentence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sentences: &[TaggedSentence]) -> Vec<String> {
        sentences.iter().map(|sentence| sentence.words.join(" ")).collect()
    }

    #[test]
    fn the_forms_of_the_tasks_are_read() {
        let text = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n# # O O\n7 CD O O\n";
        let sentences = conll(text).unwrap();
        assert_eq!(words(&sentences), ["EU rejects", "# 7"]);
        assert_eq!(sentences[0].tags, ["B-ORG", "O"]);
        let universal = "# text = vámonos al mar\n1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_\n1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_\n2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_\n\n# x\n1\tmar\tmar\tNOUN\t_\t_\t0\troot\t_\t_\n1.1\tx\tx\tX\t_\t_\t_\t_\t_\t_\n";
        let sentences = conll(universal).unwrap();
        assert_eq!(words(&sentences), ["vamos nos", "mar"]);
        assert_eq!(sentences[0].tags, ["VERB", "PRON"]);
        assert_eq!(conll("a\nb\r\n\r\nc\r\n").unwrap().len(), 2);
        assert!(conll("a\nb\n").unwrap()[0].tags.is_empty());
        // Blanks within a column where tabs part them.
        assert_eq!(conll("New York\tLOC\nis\tO\n").unwrap()[0].words[0], "New York");
    }

    #[test]
    fn comments_with_as_many_fields_as_columns_are_no_words() {
        let words_of = |text: &str| words(&conll(text).unwrap());
        let row = |word: &str| format!("1\t{word}\t{word}\tNOUN\t_\t_\t0\troot\t_\t_\n");
        let comment = "# text = one two three four five six seven\n";
        let universal = format!("{comment}{}\n{comment}{}{comment}{}", row("a"), row("b"), row("#"));
        assert_eq!(words_of(&universal), ["a", "b #"]);
        assert!(is_conll(&format!("{universal}\n{universal}")));
        assert_eq!(words_of("# one\na O\n\n# two\nb O\n# O\n"), ["a", "b #"]);
        // Words that start with the sign, where nothing announces comments.
        assert_eq!(words_of("a O\n\n# O\n#b O\n"), ["a", "# #b"]);
        assert_eq!(words_of("#a\tO\nb\tO\n\n#\tO\n"), ["#a b", "#"]);
        assert_eq!(words_of("a O\n\n#begin document (x); part 000\nb O\n"), ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let error = |text: &str| conll(text).unwrap_err().to_string();
        assert!(error("").contains("no sentence") && error("\n\n-DOCSTART- O\n").contains("no sentence"));
        assert!(error("a O\nb O\nc\n").contains("line 3: it has 1 column, and the lines before have 2"));
        assert!(error("a\tO\nb\t\n").contains("line 2: a word or tag is empty"));
    }

    #[test]
    fn prose_is_none() {
        let tagged = "EU B-ORG\nis O\n\nhere O\nnow O\n";
        assert!(is_conll(tagged) && is_conll(&format!("# made\n{tagged}")));
        for text in [
            "It was the best of times,\nit was the worst\n\nof times.\nIt was\n",
            "one two\nthree four\n\nfive six\nseven eight\n",
            "a O\nb O\nc O\nd O\n",
            "",
            "\n\n\n",
        ] {
            assert!(!is_conll(text), "{text}");
        }
    }
}
