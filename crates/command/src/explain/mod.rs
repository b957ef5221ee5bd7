//! `kiln explain`: why a model answers as it does.

mod change;
mod near;
mod pictures;
mod shown;
mod table;
mod texts;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::Preparation;
use kiln_learn::explain::{ExplainMethod, PictureBaseline};
use kiln_learn::hub;

use super::reading::{READING, ReadingFlags};
use super::rows;

/// Say why a model answers as it does
///
/// What each column of a row moves the answer by, from what the model says of rows like the training's to what it says of this one; all of it adds up
/// to the difference. Trees and linear models have exact Shapley values, networks integrated gradients, and what is neither sampled Shapley values,
/// with how far they may be off.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln explain runs/heart-1/model.kiln new.csv
  kiln explain runs/heart-1/model.kiln new.csv --class 1 --top 5
  kiln explain runs/heart-1/model.kiln new.csv --out why.csv     all rows, a column of what each column moves
  kiln explain runs/heart-1/model.kiln new.csv --json            an object for each row
  kiln explain runs/heart-1/model.kiln new.csv --change --fixed age,sex
                                                                 the smallest change that turns each answer
  kiln explain prices.kiln new.csv --below 200000 --rows 1
  kiln explain model.kiln new.csv --neighbours 3                 rows that the training kept (kiln train --keep-neighbours)
  cat new.csv | kiln explain model.kiln -
  kiln explain runs/photos-1/model.kiln cat.jpg                  draws cat.jpg.why.png beside it
  kiln explain reviews.kiln --text \"a fine story\" --out why.html
  kiln explain reviews-bert/ --text \"a fine film\"                by words, of a hub's model that tells texts apart
  kiln explain imported.kiln new.csv --background train.csv      a file without rows to compare with")]
pub struct ExplainFlags {
    /// The model's file
    model: PathBuf,

    /// A table as `kiln predict` takes it, or - for the standard input; of models of pictures those, of a hub's folder files with a text on each line
    inputs: Vec<PathBuf>,

    /// A text to explain, of a model that tells texts apart, instead of a file
    #[arg(long, value_name = "TEXT", conflicts_with = "inputs")]
    text: Vec<String>,

    /// Of classes the one whose score is explained [default: of each row the class that is said]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// Which of several targets [default: the first]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// How many rows are shown, the first [default: 5; all with --out or --json]
    #[arg(long, value_name = "N")]
    rows: Option<usize>,

    /// How many columns are shown of each row, those that move the most [default: 10]
    #[arg(long, value_name = "K")]
    top: Option<usize>,

    /// How: exact, gradients or sampled [default: the first of them that the model has]
    #[arg(long, value_name = "NAME", value_parser = |name: &str| name.parse::<ExplainMethod>())]
    method: Option<ExplainMethod>,

    /// Of sampled values how many orders of columns are walked, both ways each [default: 4 to 50, as many as take seconds]
    #[arg(long, value_name = "N")]
    orders: Option<usize>,

    /// A table of rows to compare with, instead of what the model's file knows of its training's
    #[arg(long, value_name = "FILE")]
    background: Option<PathBuf>,

    #[command(flatten)]
    change: change::ChangeFlags,

    /// Show so many of the rows that the training kept (--keep-neighbours) which are nearest, with their answers
    #[arg(long, value_name = "K")]
    neighbours: Option<usize>,

    #[command(flatten)]
    reading: ReadingFlags,

    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,

    /// What pictures are compared with: ground (one as bright as the training's edges), black or blurred [default: ground]
    #[arg(long, value_name = "WHAT", value_parser = |name: &str| name.parse::<PictureBaseline>())]
    baseline: Option<PictureBaseline>,

    /// Write all rows of a table as CSV, what was said and what each column moves; the folder where drawings of pictures go [default: beside them]; texts as a page of HTML
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
}

pub fn run(flags: ExplainFlags) -> Result<()> {
    if flags.inputs.is_empty() && flags.text.is_empty() {
        bail!("name what is to be explained: kiln explain MODEL ROWS");
    }
    if hub::is_model(&flags.model) {
        flags.only(Explained::FolderTexts, "a model of a hub's folder")?;
        return texts::of_folder(&flags);
    }
    let mut model = rows::asked(&flags.model)?;
    flags.reading.tell(&mut model)?;
    match model.about().preparation.clone() {
        Preparation::Table(_) | Preparation::Unsaid => {
            flags.only(Explained::Tables, "a model of tables")?;
            table::run(&flags, model)
        }
        Preparation::Images(images) => {
            flags.only(Explained::Pictures, "a model of pictures")?;
            pictures::run(&flags, model, &images)
        }
        Preparation::Text(_) => {
            flags.only(Explained::Texts, "a model of texts")?;
            texts::run(&flags, model)
        }
        other @ (Preparation::Tags(_) | Preparation::Pairs(_) | Preparation::Forecast(_)) => {
            bail!(
                "{}; explained are models of tables, pictures and texts that are told apart",
                other.takes(&model.about().input)
            )
        }
    }
}

/// What is explained.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Explained {
    Tables,
    Pictures,
    /// By a model that kiln trained.
    Texts,
    /// By one of a hub's folder.
    FolderTexts,
}

/// So many columns, pieces or words are shown where nobody says how many.
const TOP: usize = 10;

impl ExplainFlags {
    fn top(&self) -> usize {
        self.top.unwrap_or(TOP)
    }

    /// Refuses flags that change nothing for what is explained.
    fn only(&self, what: Explained, model: &str) -> Result<()> {
        let of_tables = [
            ("target", self.target.is_some()),
            ("method", self.method.is_some()),
            ("background", self.background.is_some()),
            ("neighbours", self.neighbours.is_some()),
            ("change", self.change.options()?.is_some()),
        ];
        let is_of_texts = matches!(what, Explained::Texts | Explained::FolderTexts);
        let others = [
            ("text", !self.text.is_empty() && !is_of_texts),
            ("baseline", self.baseline.is_some() && what != Explained::Pictures),
            ("top", self.top.is_some() && what == Explained::Pictures),
            // Whether those of a table are sampled is known later.
            ("orders", self.orders.is_some() && matches!(what, Explained::Pictures | Explained::Texts)),
        ];
        let of_tables = of_tables.into_iter().filter(|_| what != Explained::Tables);
        let reading = READING.into_iter().zip(self.reading.said().map(Option::is_some));
        let reading = reading.filter(|_| what == Explained::FolderTexts);
        if let Some((name, _)) = of_tables.chain(others).chain(reading).find(|(_, said)| *said) {
            bail!("--{name} changes nothing for {model}; leave it out");
        }
        if self.top.is_some() && (self.json || self.out.is_some()) {
            bail!("--top is for what is shown; --json and --out have all of it");
        }
        if is_of_texts && self.out.is_some() && self.json {
            bail!("--out writes texts as a page of HTML; --json prints objects, without --out");
        }
        if what == Explained::Tables
            && self.out.is_some()
            && (self.json || self.neighbours.is_some() || self.change.options()?.is_some())
        {
            bail!("--out writes what columns move as CSV; --json prints all of it");
        }
        Ok(())
    }
}
