//! `kiln search`: good settings of a training, found by trials. Each is a run of `kiln train` in a folder of its own, so that trials run
//! beside each other and one that fails harms no other.

mod space;
mod trials;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::trainer::search::Search;
use serde_json::{Map, Value, json};

use self::space::Space;
use self::trials::{Begun, Done, TrialJournal, Trials};
use crate::folder::Folder;
use crate::out::{self, counted};
use crate::settings::Settings;

/// What `kiln search --help` adds.
const AFTER_HELP: &str = "The file is one of settings, as `kiln train --print-config` prints them, in which some are open: a list is chosen from, a table is a range.

  data = \"heart.csv\"
  target = \"target\"
  epochs = 60
  preset = [\"linear\", \"mlp\"]
  batch-size = [16, 32, 64]
  lr = { from = 1e-4, to = 1e-1, log = true }
  weight-decay = { from = 0.0, to = 0.1 }

A range has `log = true` where the size of a number is what matters; settings that are whole numbers stay whole. What decides is the
validation loss, or what `metric` says. The best settings are printed as a file that `kiln train` takes, and are best.toml in the folder.
The same command goes on with a search that was ended: trials that are over aren't run again.";

/// Look for good settings of a training, by trials.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct SearchFlags {
    /// A TOML file of settings, some of which are open
    space: PathBuf,
    /// tpe (where good trials lie), random, or halving (the better third trains three times as long, and so on)
    #[arg(long, value_name = "NAME", default_value = "tpe")]
    strategy: String,
    /// How many trials
    #[arg(long, value_name = "N", default_value_t = 20)]
    trials: usize,
    /// How many run beside each other; each gets its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Of a halving the epochs of the first round
    #[arg(long, value_name = "N", default_value_t = 5)]
    first: u64,
    /// Begin no further trial after this time: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = crate::settings::seconds)]
    time_limit: Option<Duration>,
    /// The folder of the search
    #[arg(long, value_name = "DIR", default_value = "search")]
    out: PathBuf,
    /// Where randomness starts
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    seed: u64,
    /// Print the best settings and nothing else
    #[arg(long)]
    quiet: bool,
}

/// One in so many of a halving's round goes on, for so many times as long.
const FACTOR: usize = 3;

/// Searches.
pub fn run(flags: SearchFlags) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&flags.space).with_context(|| flags.space.display().to_string())?;
    let space = Space::of(&text).with_context(|| flags.space.display().to_string())?;
    if flags.trials == 0 || flags.jobs == 0 {
        bail!("--trials and --jobs are 1 at least");
    }
    let search = match flags.strategy.as_str() {
        "tpe" => Search::estimated(flags.trials, flags.seed),
        "random" => Search::random(flags.trials, flags.seed),
        "halving" => Search::halving(flags.trials, flags.seed, flags.first),
        other => bail!("--strategy {other}: {}", crate::choices::meant(other, &["tpe", "random", "halving"])),
    };
    let search = space.put_in(search);
    let search = if space.larger_is_better { search.maximise() } else { search };
    // Before anything is made: what is wrong with a range is said now.
    search.ask(0, &[])?;
    std::fs::create_dir_all(&flags.out).with_context(|| flags.out.display().to_string())?;
    let folder = Folder::open(&flags.out)?;
    let about = json!({ "space": text, "strategy": flags.strategy, "trials": flags.trials, "seed": flags.seed, "first": flags.first });
    let journal = TrialJournal::open(&folder, &about)?;
    let say = |line: &str| {
        if !flags.quiet {
            out::note(line)
        }
    };
    let mut trials = Trials::new(&folder, &space, journal, flags.jobs, flags.time_limit);
    match flags.strategy.as_str() {
        "halving" => halve(&search, &mut trials, &flags, &say)?,
        _ => trials.run(&say, None, &mut |begun, done| {
            let told: Vec<(Map<String, Value>, f64)> =
                done.iter().map(|done| (done.settings.clone(), done.score.unwrap_or(f64::NAN))).collect();
            Ok(search.ask(begun, &told)?.map(|settings| Begun { settings, epochs: None }))
        })?,
    }
    finish(trials.done, &space, &folder, &say)
}

/// Rounds, of which the better third goes on for three times as long.
fn halve(search: &Search, trials: &mut Trials, flags: &SearchFlags, say: &dyn Fn(&str)) -> Result<()> {
    let (mut epochs, mut round) = (flags.first.max(1), Vec::new());
    while let Some(settings) = search.ask(round.len(), &[])? {
        round.push(settings);
    }
    while !round.is_empty() && !trials.is_over() {
        say(&format!("{} of {}", counted(round.len(), "trial"), counted(epochs as usize, "epoch")));
        let before = trials.done.len();
        trials.run(say, Some(epochs), &mut |begun, _| {
            let next = round.get(begun - before).cloned();
            Ok(next.map(|settings| Begun { settings, epochs: Some(epochs) }))
        })?;
        let mut over: Vec<Done> = trials.done[before..].to_vec();
        trials.rank(&mut over);
        let stay = round.len() / FACTOR;
        round = over
            .into_iter()
            .take(stay)
            .filter(|done| done.score.is_some())
            .map(|done| done.settings)
            .collect();
        epochs = epochs.saturating_mul(FACTOR as u64);
    }
    Ok(())
}

/// Says what came out, and prints the best settings.
fn finish(mut done: Vec<Done>, space: &Space, folder: &Folder, say: &dyn Fn(&str)) -> Result<ExitCode> {
    trials::rank(&mut done, space.larger_is_better);
    say(&table(&done, space));
    let Some(best) = done.first().filter(|best| best.score.is_some()) else {
        bail!("no trial came to a model; {} has what each said", folder.path().display());
    };
    let settings: Settings = space.settings(&best.settings, best.epochs)?;
    let text = settings.to_toml();
    folder.write("best.toml", &text)?;
    out::text(text)?;
    say(&format!("\nnext: kiln train {}", folder.at("best.toml").display()));
    Ok(ExitCode::SUCCESS)
}

/// The trials, the best first.
fn table(done: &[Done], space: &Space) -> String {
    let names = space.names();
    let has_epochs = done.iter().any(|done| done.epochs.is_some());
    let mut table = vec![vec!["trial".to_string(), space.figure.clone()]];
    table[0].extend(names.iter().map(|name| name.to_string()));
    table[0].extend(has_epochs.then(|| "epochs".to_string()));
    table[0].push("seconds".to_string());
    for done in done {
        let score = done.score.map_or("failed".to_string(), |score| format!("{score:.5}"));
        let mut row = vec![done.number.to_string(), score];
        row.extend(names.iter().map(|name| space::shown(done.settings.get(*name))));
        row.extend(has_epochs.then(|| done.epochs.map_or(String::new(), |epochs| epochs.to_string())));
        row.push(format!("{:.1}", done.seconds));
        table.push(row);
    }
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    let mut text: Vec<String> = table.iter().map(line).collect();
    text.extend(
        done.iter().filter_map(|done| Some(format!("trial {}: {}", done.number, done.failed.as_ref()?))),
    );
    text.join("\n")
}
