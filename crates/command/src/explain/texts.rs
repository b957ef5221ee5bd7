//! Texts: what each piece or word of them moves.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use kiln_learn::explain::{TextExplanation, class_scale, explain_text, explain_words};
use kiln_learn::hub::{self, HubModel};
use kiln_learn::{Model, Prediction, Predictor};
use serde_json::json;

use super::ExplainFlags;
use super::shown::{Movers, adds_up};
use crate::out;
use crate::predict::lines::{best, object};
use crate::predict::task_of;
use crate::report::drawing::escape;
use crate::rows;

/// So many orders of words are walked where nobody says how many.
const ORDERS: usize = 8;

/// What a model that kiln trained says of texts, by their pieces.
pub(super) fn run(flags: &ExplainFlags, model: Model) -> Result<()> {
    let predictor = Predictor::new(model)?;
    let about = predictor.model().about();
    let texts = match flags.text.is_empty() {
        false => flags.text.clone(),
        true => {
            let kiln_learn::Preparation::Text(own) = &about.preparation else {
                bail!("the model takes no texts")
            };
            let columns = own
                .columns
                .as_ref()
                .context("the model goes on with texts, and texts that are told apart are explained")?;
            let asked = rows::without_answers(about, &flags.inputs)?;
            let table = asked.table.context("texts stand in a table")?;
            let column = table.column(&columns.text)?;
            (0..table.len()).map(|row| column.cell(row).text().unwrap_or_default().into_owned()).collect()
        }
    };
    let mut told = ToldTexts::default();
    for text in texts.iter().take(flags.rows.unwrap_or(usize::MAX)) {
        let said = predictor.predict_text(text)?;
        told.add(text, said, explain_text(predictor.model(), text, flags.class.as_deref())?);
    }
    told.say(flags, "integrated gradients of the pieces' vectors, from a text with nothing in it")
}

/// What a model of a hub's folder says of texts, by their words.
pub(super) fn of_folder(flags: &ExplainFlags) -> Result<()> {
    let HubModel::Encoder(model) = hub::open(&flags.model)? else {
        bail!(
            "{}: of models of a hub's folder those that tell texts apart are explained",
            flags.model.display()
        );
    };
    let mut texts = flags.text.clone();
    for input in &flags.inputs {
        texts.extend(rows::text(input)?.lines().filter(|line| !line.trim().is_empty()).map(str::to_string));
    }
    if texts.is_empty() {
        bail!("give texts (--text TEXT), or name files with one on each line");
    }
    let ask = |texts: &[String]| model.predict(texts.iter().map(String::as_str));
    let mut told = ToldTexts::default();
    for text in texts.iter().take(flags.rows.unwrap_or(usize::MAX)) {
        let said = ask(std::slice::from_ref(text))?.pop().context("nothing is said of the text")?;
        let why = explain_words(&ask, text, flags.class.as_deref(), flags.orders.unwrap_or(ORDERS))?;
        told.add(text, said, why);
    }
    told.say(
        flags,
        "sampled Shapley values of leaving words out, from the text without any (± a standard error)",
    )
}

/// All that there is to tell.
#[derive(Default)]
struct ToldTexts(Vec<(String, Prediction, TextExplanation)>);

impl ToldTexts {
    fn add(&mut self, text: &str, said: Prediction, why: TextExplanation) {
        self.0.push((text.to_string(), said, why));
    }

    fn say(&self, flags: &ExplainFlags, how: &str) -> Result<()> {
        if let Some(path) = &flags.out {
            return self.page(path, how);
        }
        for (row, (text, said, why)) in self.0.iter().enumerate() {
            let task = task_of(said);
            if flags.json {
                let mut line = object(None, said, &task, row);
                let pieces =
                    why.pieces.iter().map(|(piece, moved)| json!({ "piece": piece, "moved": moved }));
                line["text"] = text.as_str().into();
                line["class"] = why.class.as_str().into();
                line["output"] = why.output.into();
                line["baseline"] = why.baseline.into();
                line["rest"] = why.rest().into();
                line["pieces"] = pieces.collect::<Vec<_>>().into();
                if !why.errors.is_empty() {
                    line["errors"] = json!(why.errors);
                }
                out::line(line)?;
                continue;
            }
            out::line(format_args!("{}  [{}]", best(said, &task, 1), scale(why, said)))?;
            out::painted(&strengths(why))?;
            let (names, moved): (Vec<&str>, Vec<f64>) =
                why.pieces.iter().map(|(piece, moved)| (piece.trim(), *moved)).unzip();
            let movers = Movers { names, values: &[], moved: &moved, errors: &why.errors };
            let sum = adds_up(why.baseline, moved.iter().sum(), why.output);
            out::text(format_args!("{}{sum}\n\n", movers.lines(flags.top())))?;
        }
        if !flags.json {
            out::line(how)?;
        }
        Ok(())
    }

    /// All texts as a page, each piece on a ground in the colour of what it moves.
    fn page(&self, path: &Path, how: &str) -> Result<()> {
        let mut html = "<!doctype html><meta charset=\"utf-8\"><title>Why</title>\
            <style>body{font:16px/1.7 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}\
            span{border-radius:3px;white-space:pre-wrap}small{color:#555}</style>"
            .to_string();
        for (_, said, why) in &self.0 {
            write!(
                html,
                "<p><b>{}</b> <small>{}</small><br>",
                escape(&best(said, &task_of(said), 1)),
                escape(&scale(why, said))
            )?;
            for ((piece, strength), (_, moved)) in strengths(why).iter().zip(&why.pieces) {
                let colour = if *strength > 0.0 { "255,70,50" } else { "60,110,255" };
                write!(
                    html,
                    "<span style=\"background:rgba({colour},{:.2})\" title=\"{moved:+.4}\">{}</span>",
                    strength.abs() * 0.75,
                    escape(piece)
                )?;
            }
            write!(
                html,
                "<br><small>{}</small></p>",
                escape(&adds_up(why.baseline, why.output - why.baseline - why.rest(), why.output))
            )?;
        }
        write!(html, "<p><small>{}; red speaks for the class, blue against it</small></p>", escape(how))?;
        kiln_files::write(path, html).with_context(|| path.display().to_string())?;
        out::note(format_args!(
            "{}: why {} are what they are",
            path.display(),
            out::counted(self.0.len(), "answer")
        ));
        Ok(())
    }
}

/// In what a text is explained.
fn scale(why: &TextExplanation, said: &Prediction) -> String {
    let scale = class_scale(said.probabilities().count());
    format!("{scale} of {}", why.class)
}

/// The pieces, and how strong each is beside the strongest.
fn strengths(why: &TextExplanation) -> Vec<(String, f64)> {
    let largest = why.pieces.iter().map(|(_, moved)| moved.abs()).fold(f64::MIN_POSITIVE, f64::max);
    why.pieces.iter().map(|(piece, moved)| (piece.clone(), moved / largest)).collect()
}
